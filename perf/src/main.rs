//! `roomcast-perf`: a load generator that measures roomcast and its peers.

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

use args::{Arguments, Command, Common};
use figures::Figures;
use report::{Column, Report};
use server::{Choice, Server};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Fanout(fanout) => compare(&fanout.common, |choice, server| {
            fanout::run(&fanout.plan(choice), server)
        }),
        Command::Echo(echo) => compare(&echo.common, |_, server| echo::run(&echo.plan(), server)),
        Command::Idle(idle) => compare(&idle.common, |choice, server| {
            idle::run(&idle.plan(choice), server)
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
    run: impl Fn(&Choice, &Server) -> io::Result<Figures>,
) -> io::Result<ExitCode> {
    cores::raise_descriptor_limit()?;
    let (choices, setting) = (common.choices(), common.setting());
    let column = |choice: &Choice| Column {
        name: choice.name(),
        rounds: Vec::new(),
    };
    let mut columns: Vec<Column> = choices.iter().map(column).collect();
    for round in 1..=common.rounds {
        for (choice, column) in choices.iter().zip(&mut columns) {
            eprintln!("round {round} of {}: {}", common.rounds, column.name);
            let server = Server::start(choice, &setting)?;
            column.rounds.push(run(choice, &server)?);
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
