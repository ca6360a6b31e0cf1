//! The `roomcast` program. See the [library](roomcast) for everything else.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use roomcast::config::{self, Config};
use roomcast::reactor::{Server, Stopper, signals, sys};

fn main() -> ExitCode {
    let setup = match config::load(env::args_os(), env::vars_os(), sys::survey()) {
        Ok(setup) => setup,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    env_logger::Builder::new()
        .filter_level(setup.config.log)
        .init();
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
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::start(config)?;
    log::info!(
        "roomcast {} serves with {} shards, at most {} connections and {} bytes a message",
        env!("CARGO_PKG_VERSION"),
        config.shards,
        config.limits.connection_count_max,
        config.limits.message_bytes_max
    );
    let stopper = server.stopper();
    let drain_ms = config.limits.drain_ms;
    signals::watch(move |signal| stop(&stopper, signal, drain_ms))?;
    print(&format!("listening on http://{}\n", server.address()));
    let counters = server.join()?;
    log::info!(
        "stopped after {} connections and {} messages; {} connections were cut",
        counters.accepted_total,
        counters.messages_received_total,
        counters.connections
    );
    Ok(())
}

fn stop(stopper: &Stopper, signal: &str, drain_ms: u32) {
    let connections = stopper.counters().connections;
    log::info!(
        "stopping on {signal}: {connections} connections have up to {drain_ms} ms to be closed"
    );
    stopper.stop();
}

/// To standard output, at once. Nobody is left to be told when it is closed.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
