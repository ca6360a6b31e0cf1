//! The `roomcast` program. See the [library](roomcast) for everything else.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use log::LevelFilter;
use roomcast::config::{self, Config};
use roomcast::reactor::signals::Signals;
use roomcast::reactor::{AUDIT, Server, sys};
use roomcast::tools;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    if let Some(tool) = tools::named(&arguments) {
        return match tools::run(&tool) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let setup = match config::load(arguments, env::vars_os(), sys::survey()) {
        Ok(setup) => setup,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    start_log(setup.config.log);
    for note in &setup.notes {
        log::warn!("{note}");
    }
    if setup.check_only {
        print(&setup.toml);
        return ExitCode::SUCCESS;
    }
    match run(&setup.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            if !log::log_enabled!(log::Level::Error) {
                // Whoever wants no log still wants to know why nothing runs.
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Logs from this level on. What moderators did is no matter of level: it is there unless nothing is.
fn start_log(level: LevelFilter) {
    let audit = match level {
        LevelFilter::Off => LevelFilter::Off,
        LevelFilter::Error | LevelFilter::Warn | LevelFilter::Info => LevelFilter::Info,
        LevelFilter::Debug | LevelFilter::Trace => level,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .filter_module(AUDIT, audit)
        .init();
}

fn run(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::start(config)?;
    log::info!(
        "roomcast {} serves; shards: {}, connections at most: {}, bytes of a message at most: {}",
        env!("CARGO_PKG_VERSION"),
        config.shards,
        config.limits.connection_count_max,
        config.limits.message_bytes_max
    );
    let stopper = server.stopper();
    let drain_ms = config.limits.drain_ms;
    let stop = {
        let stopper = stopper.clone();
        move |signal| {
            let open = stopper.connection_count();
            log::info!(
                "stopping on {signal}; open connections: {open}, time for them: {drain_ms} ms"
            );
            stopper.stop();
        }
    };
    let signals = Signals::catch(stop, server.reloader())?;
    if let Some(address) = server.admin_address() {
        log::info!("admin on http://{address}");
    }
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    print(&format!("listening on {scheme}://{}\n", server.address()));
    let counters = server.run(Some(signals))?;
    log::info!(
        "stopped; connections: {}, messages: {}, connections cut by the deadline: {}",
        counters.accepted_total,
        counters.messages_received_total,
        stopper.connection_count()
    );
    Ok(())
}

/// To standard output, at once. Nobody is left to be told when it is closed.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
