//! All measurements with all servers in turn: a table, the figures as JSON, and charts.

mod charts;
pub mod draw;
mod markdown;
mod overload;
mod rows;
mod shown;
mod task;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::args::{Compare, Contestant, Endpoint, roomcast_beside};
use crate::figures::Figures;
use crate::limits::{TRY_COUNT_MAX, WAITED_PERCENT_MAX};
use crate::peers::Peer;
use crate::progress::Progress;
use crate::report::{Column, Report, machine};
use crate::server::{Choice, Server, Setting};
use crate::turns;
use overload::Floor;
use rows::Row;
use task::Task;

/// A row with what was measured.
pub struct Measured {
    row: Row,
    report: Report,
}

/// One server in one row.
struct Step {
    row: usize,
    column: usize,
    contestant: Contestant,
    setting: Setting,
}

/// Measures, and writes what came of it.
///
/// # Errors
///
/// The folder cannot be written. What goes wrong with a server is a fault in the report.
pub fn run(compare: &Compare) -> io::Result<ExitCode> {
    crate::cores::raise_descriptor_limit()?;
    fs::create_dir_all(&compare.out)?;
    let contestants = contestants(compare);
    let (mut measured, steps) = plan(compare, &contestants);
    if steps.is_empty() {
        return Err(io::Error::other("there is no such measurement"));
    }
    let rounds = compare.common.rounds;
    let seconds = |step: &Step| measured[step.row].row.task.seconds(compare.seconds);
    let mut progress = Progress::new(
        (1..=rounds)
            .flat_map(|round| steps.iter().map(move |step| (round, step)))
            .filter(|(round, step)| measured[step.row].row.is_due(*round))
            .map(|(_, step)| seconds(step))
            .sum(),
    );
    let mut floor = Floor::default();
    for round in 1..=rounds {
        for step in in_turns(&steps, round, rounds) {
            let Measured { row, report } = &mut measured[step.row];
            if !row.is_due(round) {
                continue;
            }
            let column = &mut report.columns[step.column];
            progress.begin(&format!("{round}/{rounds} {}: {}", row.name, column.name));
            let figures = step.attempt(row, compare.seconds, &mut floor, &mut progress);
            column.rounds.push(figures);
            progress.advance(row.task.seconds(compare.seconds));
        }
        // What there is can be read while the next round runs.
        write(compare, &measured)?;
    }
    progress.finish();
    print!("{}", fs::read_to_string(compare.out.join("report.md"))?);
    let is_faulty = measured.iter().any(|measured| measured.report.is_faulty());
    Ok(ExitCode::from(u8::from(is_faulty)))
}

/// The steps of a round: row by row, and in each of them the servers in their turns.
fn in_turns(steps: &[Step], round: u32, rounds: u32) -> impl Iterator<Item = &Step> {
    let rows = steps.chunk_by(|one, other| one.row == other.row);
    rows.flat_map(move |row| turns::order(row.len(), round, rounds).map(|place| &row[place]))
}

impl Step {
    /// Measures; what cannot be measured is a fault, and the others go on.
    fn attempt(
        &self,
        row: &Row,
        measure_s: u32,
        floor: &mut Floor,
        progress: &mut Progress,
    ) -> Figures {
        self.measure(row, measure_s, floor, progress)
            .unwrap_or_else(|error| {
                progress.note(&format!("nothing was measured: {error}"));
                Figures {
                    faults: vec![format!("nothing was measured: {error}")],
                    ..Figures::default()
                }
            })
    }

    /// Measures with a fresh server; again where others had the cores meanwhile, and keeps the calmest.
    fn measure(
        &self,
        row: &Row,
        measure_s: u32,
        floor: &mut Floor,
        progress: &mut Progress,
    ) -> io::Result<Figures> {
        let task = floor.settle(row.task, measure_s, &self.setting)?;
        let mut calmest: Option<Figures> = None;
        let mut faults = Vec::new();
        for _ in 0..TRY_COUNT_MAX {
            let server = Server::start(&self.contestant.choice, &self.setting)?;
            let mut figures = task.run(&self.contestant, measure_s, &server)?;
            server.stop()?;
            if let Task::Overload { .. } = row.task {
                overload::forgive(&mut figures, &self.contestant.choice);
            }
            // A fault counts, however busy the machine was.
            faults.append(&mut figures.faults);
            let waited_percent = figures.waited_percent();
            if calmest
                .as_ref()
                .is_none_or(|calmest| waited_percent < calmest.waited_percent())
            {
                calmest = Some(figures);
            }
            if waited_percent <= WAITED_PERCENT_MAX {
                break;
            }
            progress.note(&format!(
                "others had the cores for {waited_percent:.0} % of the time"
            ));
        }
        let mut figures = calmest.unwrap_or_default();
        figures.faults = faults;
        figures.notes.extend(row.who_shares(&self.setting));
        Ok(figures)
    }
}

/// The servers: those that were named. Where only programs were, they take part beside roomcast and every peer that this
/// machine has.
fn contestants(compare: &Compare) -> Vec<Contestant> {
    let named = compare.common.named();
    let is_program = |choice: &Choice| matches!(choice, Choice::Program(_));
    let choices = if named.iter().all(is_program) {
        let peers = Peer::value_variants().iter().filter(|peer| peer.is_there());
        std::iter::once(roomcast_beside())
            .chain(peers.map(|peer| Choice::Peer(*peer)))
            .chain(named)
            .collect()
    } else {
        named
    };
    let endpoints = [Endpoint::Ws, Endpoint::Raw];
    compare.common.contestants_among(choices, &endpoints)
}

/// What the programs that take part are called.
fn programs(compare: &Compare) -> Vec<String> {
    let programs = compare.common.named().into_iter();
    let programs = programs.filter(|choice| matches!(choice, Choice::Program(_)));
    programs.map(|choice| choice.name()).collect()
}

/// The rows that were asked for, and who takes part in each of them.
fn plan(compare: &Compare, contestants: &[Contestant]) -> (Vec<Measured>, Vec<Step>) {
    let (mut measured, mut steps) = (Vec::new(), Vec::new());
    for mut row in rows::all()
        .into_iter()
        .filter(|row| row.is_named(&compare.rows))
    {
        row.is_repeated |= !compare.rows.is_empty();
        let mut columns = Vec::new();
        for contestant in contestants.iter().filter(|one| row.takes(one)) {
            steps.push(Step {
                row: measured.len(),
                column: columns.len(),
                contestant: contestant.clone(),
                setting: row.setting(compare.common.setting(contestant.is_tls)),
            });
            columns.push(Column {
                name: contestant.name(),
                rounds: Vec::new(),
            });
        }
        let report = Report {
            command: row.title.clone(),
            columns,
        };
        measured.push(Measured { row, report });
    }
    (measured, steps)
}

fn write(compare: &Compare, measured: &[Measured]) -> io::Result<()> {
    let out: &Path = &compare.out;
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    fs::write(
        out.join("report.md"),
        markdown::page(&command, &programs(compare), measured),
    )?;
    let json = format!("{:#}\n", json(&command, measured));
    fs::write(out.join("report.json"), json)?;
    for (name, chart) in charts::all(measured)? {
        fs::write(out.join(name), chart)?;
    }
    Ok(())
}

fn json(command: &str, measured: &[Measured]) -> Value {
    let rows: Vec<Value> = measured
        .iter()
        .map(|Measured { row, report }| json!({ "name": row.name, "report": report.json() }))
        .collect();
    json!({ "command": command, "machine": machine(), "measurements": rows })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn compare(line: &str) -> Compare {
        let line = format!("p compare {line}");
        match Arguments::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
        {
            Command::Compare(compare) => compare,
            other => panic!("{other:?}"),
        }
    }

    fn names(compare: &Compare) -> Vec<String> {
        contestants(compare).iter().map(Contestant::name).collect()
    }

    #[test]
    fn a_program_takes_part_beside_all_others_by_its_file_name() {
        let everybody = names(&compare(""));
        assert_eq!(everybody[..3], ["roomcast ws", "roomcast raw", "bare"]);
        let with_program = compare("--server program:/opt/uws/uWebSockets");
        let (last, others) = names(&with_program)
            .split_last()
            .map(|(last, others)| (last.clone(), others.to_vec()))
            .unwrap();
        assert_eq!((last.as_str(), others), ("uWebSockets", everybody));
        assert_eq!(programs(&with_program), ["uWebSockets"]);
        let some = compare("--server bare --server program:/opt/uws/uWebSockets");
        assert_eq!(names(&some), ["bare", "uWebSockets"]);
    }

    #[test]
    fn a_program_is_in_every_row_that_peers_are_in() {
        let compare = compare("--server bare --server program:/opt/uws/uWebSockets");
        for row in rows::all() {
            let takes: Vec<bool> = contestants(&compare)
                .iter()
                .map(|one| row.takes(one))
                .collect();
            assert_eq!(takes[0], takes[1], "{}", row.name);
        }
    }

    #[test]
    fn each_round_measures_every_server_of_a_row_and_begins_with_another() {
        let compare =
            compare("--rows echo,burst --server bare --server program:/a --server program:/b");
        let (measured, steps) = plan(&compare, &contestants(&compare));
        let places = |round| -> Vec<(String, usize)> {
            let name = |step: &Step| measured[step.row].row.name.clone();
            in_turns(&steps, round, 3)
                .map(|step| (name(step), step.column))
                .collect()
        };
        let of = |row: &str, columns: [usize; 3]| columns.map(|column| (row.to_owned(), column));
        assert_eq!(places(1)[..3], of("burst", [0, 1, 2]));
        assert_eq!(places(2)[..3], of("burst", [1, 2, 0]));
        assert_eq!(places(3)[3..6], of("echo-1", [2, 0, 1]));
    }

    #[test]
    fn memory_is_measured_in_every_round_where_it_is_asked_for() {
        let is_due = |line: &str| {
            let compare = compare(line);
            let (measured, _) = plan(&compare, &contestants(&compare));
            let idle = measured.iter().find(|one| one.row.name == "idle").unwrap();
            [1, 2].map(|round| idle.row.is_due(round))
        };
        assert_eq!(is_due("--server bare"), [true, false]);
        assert_eq!(is_due("--server bare --rows idle"), [true, true]);
    }
}
