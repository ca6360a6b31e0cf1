//! The table.

use std::fmt::Write as _;

use super::Measured;
use super::shown::Shown;
use crate::figures::Bottleneck;
use crate::report::{Column, Spread, machine, short};

/// The server whose figures the others are compared with, where it took part.
const BARE: &str = "bare";

/// A page with the table, how to read it, and what went wrong. Beside the bare loop, `programs` are what others are
/// compared with.
pub fn page(command: &str, programs: &[String], measured: &[Measured]) -> String {
    let mut out = format!(
        "# roomcast and its peers\n\n{}; `roomcast-perf {command}`\n\n",
        machine()
    );
    let then: String = programs
        .iter()
        .map(|program| format!(", then to that of {program}"))
        .collect();
    let _ = writeln!(out, "{HOW}{then}. {MARKS}");
    let names = names(measured);
    let references: Vec<&str> = std::iter::once(BARE)
        .chain(programs.iter().map(String::as_str))
        .collect();
    let round_count = |measured: &Measured| {
        let columns = measured.report.columns.iter();
        columns.map(|column| column.rounds.len()).max().unwrap_or(0)
    };
    let round_count_max = measured.iter().map(round_count).max().unwrap_or(0);
    let _ = write!(out, "\n| |");
    for name in &names {
        let _ = write!(out, " {name} |");
    }
    let _ = writeln!(out, "\n|---|{}", "--:|".repeat(names.len()));
    for one in measured {
        let Measured { row, report } = one;
        let count = round_count(one);
        let rounds = if count < round_count_max {
            format!(" (rounds: {count})")
        } else {
            String::new()
        };
        let empty = " |".repeat(names.len());
        let _ = writeln!(out, "| **{}**{rounds} |{empty}", row.title);
        for shown in row.shown {
            line(shown, &report.columns, &names, &references, &mut out);
        }
    }
    notes(measured, &mut out);
    faults(measured, &mut out);
    out
}

const HOW: &str = "Medians of all rounds (least to most), and the ratio to the bare loop's median";
const MARKS: &str = "Servers took turns, which each round began with another of them; each ran on cores of its own. \
                     **s**: the server was at its limit; **g**: the generator was, so that the server could do more a \
                     second, while its cost stands.";

/// All servers, in the order in which they come.
fn names(measured: &[Measured]) -> Vec<&str> {
    let mut names = Vec::new();
    for column in measured
        .iter()
        .flat_map(|measured| &measured.report.columns)
    {
        if !names.contains(&column.name.as_str()) {
            names.push(&column.name);
        }
    }
    names
}

fn line(shown: &Shown, columns: &[Column], names: &[&str], references: &[&str], out: &mut String) {
    let spread = |name: &str| {
        let column = columns.iter().find(|column| column.name == name)?;
        Some((column, column.spread(shown.figure)?))
    };
    if names.iter().all(|name| spread(name).is_none()) {
        return;
    }
    let ratio = |name: &str, median: f64, reference: &str| {
        let (_, to) = spread(reference).filter(|_| name != reference)?;
        (to.median > 0.0).then(|| median / to.median)
    };
    let _ = write!(out, "| {} |", shown.title);
    for name in names {
        let _ = match spread(name) {
            Some((column, spread)) => {
                let ratios: Vec<Option<f64>> = references
                    .iter()
                    .map(|reference| ratio(name, spread.median, reference))
                    .collect();
                let mark = mark(column.bottleneck());
                write!(out, " {}{mark} |", cell(&spread, shown.scale, &ratios))
            }
            None => write!(out, " |"),
        };
    }
    out.push('\n');
}

/// A median with its range, and its ratios if there are any.
fn cell(spread: &Spread, scale: f64, ratios: &[Option<f64>]) -> String {
    let [median, min, max] =
        [spread.median, spread.min, spread.max].map(|value| short(value * scale));
    let mut cell = median.clone();
    if (&min, &max) != (&median, &median) {
        let _ = write!(cell, " ({min} to {max})");
    }
    if ratios.iter().any(Option::is_some) {
        for ratio in ratios {
            let _ = match ratio {
                // A hundredth is no ratio of two digits.
                Some(ratio) if *ratio < 0.1 => write!(cell, " · {ratio:.4}×"),
                Some(ratio) => write!(cell, " · {ratio:.2}×"),
                None => write!(cell, " · –"),
            };
        }
    }
    cell
}

fn mark(bottleneck: Option<Bottleneck>) -> &'static str {
    match bottleneck {
        Some(Bottleneck::Server) => " **s**",
        Some(Bottleneck::Generator) => " **g**",
        Some(Bottleneck::Both) => " **s g**",
        Some(Bottleneck::None) | None => "",
    }
}

/// What a reader of the figures above should know: what holds for several servers or rounds of a row stands there once.
fn notes(measured: &[Measured], out: &mut String) {
    for Measured { row, report } in measured {
        let mut notes: Vec<(&str, Vec<String>)> = Vec::new();
        for column in &report.columns {
            for (number, round) in column.rounds.iter().enumerate() {
                for note in &round.notes {
                    let place = format!("{} in round {}", column.name, number + 1);
                    match notes.iter_mut().find(|(other, _)| other == note) {
                        Some((_, places)) => places.push(place),
                        None => notes.push((note, vec![place])),
                    }
                }
            }
        }
        for (note, places) in notes {
            let _ = writeln!(out, "\n{}: {note} ({})", row.name, places.join(", "));
        }
    }
}

fn faults(measured: &[Measured], out: &mut String) {
    for Measured { row, report } in measured {
        for column in &report.columns {
            for (number, round) in column.rounds.iter().enumerate() {
                for fault in &round.faults {
                    let number = number + 1;
                    let _ = writeln!(
                        out,
                        "\nFAULT in {}, {}, round {number}: {fault}",
                        row.name, column.name
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::rows;
    use crate::figures::Figures;
    use crate::report::Report;

    fn column(name: &str, cost_us: f64) -> Column {
        Column {
            name: name.into(),
            rounds: vec![Figures {
                numbers: vec![("server_cpu_us_per_delivery".into(), cost_us)],
                ..Figures::default()
            }],
        }
    }

    fn measured() -> Measured {
        Measured {
            row: rows::all().remove(0),
            report: Report {
                command: String::new(),
                columns: vec![column("roomcast ws", 3.0), column("bare", 2.0)],
            },
        }
    }

    #[test]
    fn a_program_is_what_others_are_compared_with_too() {
        let mut measured = measured();
        measured.report.columns.push(column("uWebSockets", 40.0));
        let page = page("compare", &["uWebSockets".into()], &[measured]);
        let expected = "| 3.000 · 1.50× · 0.0750× | 2.000 · – · 0.0500× | 40.0 · 20.00× · – |";
        assert!(page.contains(expected), "{page}");
        assert!(page.contains("to the bare loop's median, then to that of uWebSockets. "));
    }

    #[test]
    fn a_row_of_fewer_rounds_says_so() {
        let (mut once, mut twice) = (measured(), measured());
        once.row.title = "idle members".into();
        for column in &mut twice.report.columns {
            column.rounds.push(column.rounds[0].clone());
        }
        let page = page("compare", &[], &[once, twice]);
        assert!(page.contains("| **idle members** (rounds: 1) |"), "{page}");
        assert_eq!(page.matches("(rounds:").count(), 1);
    }

    #[test]
    fn figures_stand_beside_those_of_the_bare_loop() {
        let page = page("compare", &[], &[measured()]);
        assert!(
            page.contains("| | roomcast ws | bare |\n|---|--:|--:|\n"),
            "{page}"
        );
        assert!(
            page.contains("| CPU per delivery, µs | 3.000 · 1.50× | 2.000 |"),
            "{page}"
        );
        assert!(
            !page.contains("system calls") && !page.contains("FAULT"),
            "{page}"
        );
    }

    #[test]
    fn notes_stand_below() {
        let mut measured = measured();
        for column in &mut measured.report.columns {
            column.rounds[0].notes.push("it was loud".into());
        }
        let page = page("compare", &[], &[measured]);
        let expected = "\nmembers-10: it was loud (roomcast ws in round 1, bare in round 1)\n";
        assert!(page.contains(expected), "{page}");
    }

    #[test]
    fn faults_stand_below() {
        let mut measured = measured();
        let fault = "1 messages never came";
        measured.report.columns[1].rounds[0]
            .faults
            .push(fault.into());
        let page = page("compare", &[], &[measured]);
        assert!(page.contains("FAULT in members-10, bare, round 1: 1 messages never came"));
    }
}
