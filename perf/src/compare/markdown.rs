//! The table.

use std::fmt::Write as _;

use super::Measured;
use super::shown::Shown;
use crate::figures::Bottleneck;
use crate::report::{Column, Spread, machine, short};

/// The server whose figures the others are compared with, where it took part.
const REFERENCE: &str = "bare";

/// A page with the table, how to read it, and what went wrong.
pub fn page(command: &str, measured: &[Measured]) -> String {
    let mut out = format!(
        "# roomcast and its peers\n\n{}; `roomcast-perf {command}`\n\n",
        machine()
    );
    out.push_str(HOW);
    let names = names(measured);
    let _ = write!(out, "\n| |");
    for name in &names {
        let _ = write!(out, " {name} |");
    }
    let _ = writeln!(out, "\n|---|{}", "--:|".repeat(names.len()));
    for Measured { row, report } in measured {
        let _ = writeln!(out, "| **{}** |{}", row.title, " |".repeat(names.len()));
        for shown in row.shown {
            line(shown, &report.columns, &names, &mut out);
        }
    }
    notes(measured, &mut out);
    faults(measured, &mut out);
    out
}

const HOW: &str = "Medians of all rounds (least to most), and the ratio to the bare loop's median. Servers took turns; \
                   each ran on cores of its own. **s**: the server was at its limit; **g**: the generator was, so that \
                   the server could do more a second, while its cost stands.\n";

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

fn line(shown: &Shown, columns: &[Column], names: &[&str], out: &mut String) {
    let spread = |name: &str| {
        let column = columns.iter().find(|column| column.name == name)?;
        Some((column, column.spread(shown.figure)?))
    };
    if names.iter().all(|name| spread(name).is_none()) {
        return;
    }
    let reference = spread(REFERENCE).map(|(_, spread)| spread.median);
    let _ = write!(out, "| {} |", shown.title);
    for name in names {
        let _ = match spread(name) {
            Some((column, spread)) => write!(
                out,
                " {} |",
                cell(
                    &spread,
                    shown.scale,
                    reference.filter(|_| *name != REFERENCE)
                ) + mark(column.bottleneck())
            ),
            None => write!(out, " |"),
        };
    }
    out.push('\n');
}

fn cell(spread: &Spread, scale: f64, reference: Option<f64>) -> String {
    let [median, min, max] =
        [spread.median, spread.min, spread.max].map(|value| short(value * scale));
    let mut cell = median.clone();
    if (&min, &max) != (&median, &median) {
        let _ = write!(cell, " ({min} to {max})");
    }
    if let Some(reference) = reference.filter(|reference| *reference > 0.0) {
        let _ = write!(cell, " · {:.2}×", spread.median / reference);
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

    fn measured(fault: Option<&str>) -> Measured {
        let column = |name: &str, value| Column {
            name: name.into(),
            rounds: vec![Figures {
                numbers: vec![("server_cpu_us_per_delivery".into(), value)],
                faults: fault.into_iter().map(str::to_owned).collect(),
                ..Figures::default()
            }],
        };
        Measured {
            row: rows::all().remove(0),
            report: Report {
                command: String::new(),
                columns: vec![column("roomcast ws", 3.0), column("bare", 2.0)],
            },
        }
    }

    #[test]
    fn figures_stand_beside_those_of_the_bare_loop() {
        let page = page("compare", &[measured(None)]);
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
        let mut measured = measured(None);
        for column in &mut measured.report.columns {
            column.rounds[0].notes.push("it was loud".into());
        }
        let page = page("compare", &[measured]);
        let expected = "\nmembers-10: it was loud (roomcast ws in round 1, bare in round 1)\n";
        assert!(page.contains(expected), "{page}");
    }

    #[test]
    fn faults_stand_below() {
        let page = page("compare", &[measured(Some("1 messages never came"))]);
        assert!(page.contains("FAULT in members-10, bare, round 1: 1 messages never came"));
    }
}
