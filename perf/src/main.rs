//! `roomcast-perf`: a load generator that measures roomcast and its peers.
//!
//! ```text
//! cargo build --release --workspace
//! target/release/roomcast-perf compare --rounds 3
//! target/release/roomcast-perf fanout --members 5000 --rate 20 --bytes 128
//! target/release/roomcast-perf fanout --members 500 --in-flight 16 --endpoint ws,raw \
//!     --server target/release/roomcast --server bare --rounds 5
//! target/release/roomcast-perf echo --depth 16 --server target/release/roomcast --server bare
//! target/release/roomcast-perf idle --members 1000,5000,18000
//! target/release/roomcast-perf durable --rounds 3
//! ```
//!
//! A [`crowd`] is all client connections on one poll, and a [`load`] what they do in a [`room`]; [`fanout`],
//! [`stalled`], [`churn`], [`echo`], [`idle`] and [`durable`] are the measurements, which give [`figures`]; [`server`] starts what is
//! measured; [`peers`] are what to compare with, of which [`bare`](peers::bare) is the limit; [`compare`] does all of
//! it. On a machine that has other things to do, `chrt -f 1` before the command keeps both sides' cores for them.
//! `perf/README.md` tells how to read what comes out.

mod args;
mod calls;
mod churn;
mod clock;
mod compare;
mod connection;
mod cores;
mod crowd;
mod deflate;
mod destination;
mod durable;
mod echo;
mod fanout;
mod figures;
mod idle;
mod ledger;
mod limits;
mod line;
mod load;
mod pace;
mod peers;
mod process;
mod progress;
mod report;
mod room;
mod server;
mod sides;
mod snapshot;
mod stalled;
mod stamp;
#[cfg(test)]
mod tests;
mod turns;
mod wire;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, Common, Contestant, Endpoint};
use figures::Figures;
use report::{Column, Report};
use server::{Server, Setting};

fn main() -> ExitCode {
    let result = match &Arguments::parse().command {
        Command::Compare(all) => compare::run(all),
        Command::Draw(it) => compare::draw::run(it),
        Command::Fanout(it) => {
            take_turns(&it.common, &it.endpoints.endpoint, None, |one, server| {
                fanout::run(&it.plan(one.room.clone()), server)
            })
        }
        Command::Stalled(it) => {
            take_turns(&it.common, &it.endpoints.endpoint, None, |one, server| {
                stalled::run(&it.plan(one.room.clone()), server)
            })
        }
        Command::Echo(it) => take_turns(&it.common, &[Endpoint::Raw], None, |one, server| {
            echo::run(&it.plan(one.echo_path()), server)
        }),
        Command::Idle(it) => take_turns(
            &it.common,
            &it.endpoints.endpoint,
            Some(it.ping_ms),
            |one, server| idle::run(&it.plan(one.room.clone()), server),
        ),
        Command::Burst(it) => {
            take_turns(&it.common, &it.endpoints.endpoint, None, |one, server| {
                churn::burst(&it.plan(one.room.clone()), server)
            })
        }
        Command::Arrivals(it) => {
            take_turns(&it.common, &it.endpoints.endpoint, None, |one, server| {
                churn::arrivals(&it.plan(one.room.clone()), server)
            })
        }
        Command::Durable(it) => beside_memory(it),
        Command::Serve { peer, ping_ms } => peer.serve(*ping_ms).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("roomcast-perf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets the servers take turns, and shows what came of it. The bare loop pings once in `ping_ms`, if ever.
fn take_turns(
    common: &Common,
    endpoints: &[Endpoint],
    ping_ms: Option<u32>,
    run: impl Fn(&Contestant, &Server) -> io::Result<Figures>,
) -> io::Result<ExitCode> {
    cores::raise_descriptor_limit()?;
    let contestants = common.contestants(endpoints);
    let column = |contestant: &Contestant| Column {
        name: contestant.name(),
        rounds: Vec::new(),
    };
    let mut columns: Vec<Column> = contestants.iter().map(column).collect();
    for round in 1..=common.rounds {
        for place in turns::order(contestants.len(), round, common.rounds) {
            let (contestant, column) = (&contestants[place], &mut columns[place]);
            eprintln!("round {round} of {}: {}", common.rounds, column.name);
            let setting = Setting {
                ping_ms,
                ..common.setting(contestant.is_tls)
            };
            let server = Server::start(&contestant.choice, &setting)?;
            column.rounds.push(run(contestant, &server)?);
            server.stop()?;
        }
    }
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    show(&Report { command, columns }, common)
}

/// Lets roomcast with a data folder and roomcast in memory take turns, and shows what came of it.
fn beside_memory(durable: &args::Durable) -> io::Result<ExitCode> {
    cores::raise_descriptor_limit()?;
    let (plan, common) = (durable.plan()?, &durable.common);
    let columns = [("--data", true), ("--memory", false)];
    let mut columns = columns.map(|(name, is_durable)| {
        let (name, rounds) = (name.into(), Vec::new());
        (Column { name, rounds }, is_durable)
    });
    let mut rates = Vec::new();
    for round in 1..=common.rounds {
        for (column, is_durable) in &mut columns {
            eprintln!("round {round} of {}: {}", common.rounds, column.name);
            column
                .rounds
                .push(durable::run(&plan, *is_durable, &mut rates)?);
        }
    }
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let columns = columns.map(|(column, _)| column).into();
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
