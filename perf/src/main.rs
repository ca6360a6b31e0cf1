//! `roomcast-perf`: a load generator that measures roomcast and its peers.
//!
//! ```text
//! cargo build --release --workspace
//! target/release/roomcast-perf fanout --members 5000 --rate 20 --bytes 128
//! target/release/roomcast-perf fanout --members 500 --in-flight 16 --endpoint ws,raw \
//!     --server target/release/roomcast --server bare --rounds 5
//! target/release/roomcast-perf echo --depth 16 --server target/release/roomcast --server bare
//! target/release/roomcast-perf idle --members 1000,5000,18000
//! ```
//!
//! A [`crowd`] is all client connections on one poll; [`fanout`], [`echo`] and [`idle`] are what it can do, and
//! give [`figures`]; [`server`] starts what is measured; [`bare`] is the limit to compare with. On a
//! machine that has other things to do, `chrt -f 1` before the command keeps both sides' cores for them.

mod args;
mod bare;
mod clock;
mod connection;
mod cores;
mod crowd;
mod echo;
mod fanout;
mod figures;
mod idle;
mod ledger;
mod limits;
mod pace;
mod process;
mod report;
mod server;
mod stamp;
#[cfg(test)]
mod tests;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, Common, Contestant, Endpoint};
use figures::Figures;
use report::{Column, Report};
use server::Server;
use stamp::Dialect;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Fanout(fanout) => compare(&fanout.common, &fanout.endpoint, |dialect, server| {
            fanout::run(&fanout.plan(dialect), server)
        }),
        Command::Echo(echo) => compare(&echo.common, &[Endpoint::Raw], |_, server| {
            echo::run(&echo.plan(), server)
        }),
        Command::Idle(idle) => compare(&idle.common, &idle.endpoint, |dialect, server| {
            idle::run(&idle.plan(dialect), server)
        }),
        Command::Bare => serve(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("roomcast-perf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets the servers take turns, and shows what came of it.
fn compare(
    common: &Common,
    endpoints: &[Endpoint],
    run: impl Fn(Dialect, &Server) -> io::Result<Figures>,
) -> io::Result<ExitCode> {
    cores::raise_descriptor_limit()?;
    let (contestants, setting) = (common.contestants(endpoints), common.setting());
    let column = |contestant: &Contestant| Column {
        name: contestant.name(),
        rounds: Vec::new(),
    };
    let mut columns: Vec<Column> = contestants.iter().map(column).collect();
    for round in 1..=common.rounds {
        for (contestant, column) in contestants.iter().zip(&mut columns) {
            eprintln!("round {round} of {}: {}", common.rounds, column.name);
            let server = Server::start(&contestant.choice, &setting)?;
            column.rounds.push(run(contestant.dialect, &server)?);
            server.stop()?;
        }
    }
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    show(&Report { command, columns }, common)
}

fn show(report: &Report, common: &Common) -> io::Result<ExitCode> {
    io::stdout().write_all(report.table().as_bytes())?;
    if let Some(path) = &common.json {
        std::fs::write(path, format!("{:#}\n", report.json()))?;
    }
    Ok(if report.is_faulty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn serve() -> io::Result<ExitCode> {
    let bare = bare::Bare::listen()?;
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{}", bare.address()?)?;
    out.flush()?;
    drop(out);
    bare.run()?;
    Ok(ExitCode::SUCCESS)
}
