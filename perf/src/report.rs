//! What is shown in the end: medians of all rounds, one column for each server, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::figures::{Bottleneck, Figures};

/// The rounds of one server.
pub struct Column {
    /// What the server is called.
    pub name: String,
    /// What each round measured.
    pub rounds: Vec<Figures>,
}

/// One number over all rounds of one server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// See the [module](self).
pub struct Report {
    /// What was done, as it was typed.
    pub command: String,
    /// One for each server.
    pub columns: Vec<Column>,
}

impl Report {
    /// Whether something went wrong in any round.
    pub fn is_faulty(&self) -> bool {
        self.columns
            .iter()
            .flat_map(|column| &column.rounds)
            .any(|round| !round.faults.is_empty())
    }

    /// A table to read.
    pub fn table(&self) -> String {
        let mut out = format!("{}\n{}\n\n{:44}", self.command, machine(), "");
        for (place, column) in self.columns.iter().enumerate() {
            let _ = write!(out, "{:>14} {:23}", column.name, "(least .. most)");
            let _ = write!(out, "{}", if place > 0 { " ratio" } else { "" });
        }
        for name in self.names() {
            let _ = write!(out, "\n{name:44}");
            let first = self.columns.first().and_then(|column| column.spread(name));
            for (place, column) in self.columns.iter().enumerate() {
                let Some(Spread { median, min, max }) = column.spread(name) else {
                    continue;
                };
                let range = format!("({} .. {})", short(min), short(max));
                let _ = write!(out, "{:>14} {range:23}", short(median));
                if let Some(first) = first.filter(|_| place > 0 && median != 0.0) {
                    let _ = write!(out, " {:5.2}", first.median / median);
                }
            }
        }
        out.push('\n');
        for column in &self.columns {
            column.words(&mut out);
        }
        out
    }

    /// The same for programs, with the number of every round.
    pub fn json(&self) -> Value {
        let columns: Vec<Value> = self.columns.iter().map(Column::json).collect();
        json!({ "command": self.command, "machine": machine(), "servers": columns })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let first = self
            .columns
            .first()
            .and_then(|column| column.rounds.first());
        first
            .into_iter()
            .flat_map(|round| round.numbers.iter().map(|(name, _)| name.as_str()))
    }
}

impl Spread {
    /// None where there are no values.
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Spread { median, min, max })
    }
}

impl Column {
    fn values(&self, name: &str) -> Vec<f64> {
        let numbers = self.rounds.iter().flat_map(|round| &round.numbers);
        numbers
            .filter(|(other, _)| other == name)
            .map(|(_, value)| *value)
            .collect()
    }

    /// A number over all rounds, by its name.
    pub fn spread(&self, name: &str) -> Option<Spread> {
        Spread::of(self.values(name))
    }

    /// How latencies are distributed: shares, and the median of the milliseconds within which they arrived.
    pub fn distribution(&self) -> Vec<(f64, f64)> {
        let shares = self.rounds.first().map(|round| &round.distribution);
        let shares = shares.into_iter().flatten().enumerate();
        shares
            .filter_map(|(place, (share, _))| {
                let rounds = self.rounds.iter();
                let values = rounds.filter_map(|round| round.distribution.get(place));
                Some((
                    *share,
                    Spread::of(values.map(|(_, ms)| *ms).collect())?.median,
                ))
            })
            .collect()
    }

    /// Which side was at its limit, in the middle of all rounds, where that was measured.
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        let percent = |name: &str| self.spread(name).map(|spread| spread.median);
        let busy = |cpu: &str, waited: &str| Some(percent(cpu)? + percent(waited)?);
        Some(Bottleneck::of(
            busy("server_cpu_percent", "server_waited_percent")?,
            busy("client_cpu_percent", "client_waited_percent")?,
        ))
    }

    fn words(&self, out: &mut String) {
        for (number, round) in self.rounds.iter().enumerate() {
            let bottleneck = round.bottleneck().map(Bottleneck::words);
            let notes = round.notes.iter().map(String::as_str);
            for note in bottleneck.into_iter().chain(notes) {
                let _ = writeln!(out, "{}, round {}: {note}", self.name, number + 1);
            }
            for fault in &round.faults {
                let _ = writeln!(out, "{}, round {}: FAULT: {fault}", self.name, number + 1);
            }
        }
    }

    fn json(&self) -> Value {
        let mut figures = Map::new();
        for (name, _) in self
            .rounds
            .first()
            .map(|round| &round.numbers)
            .into_iter()
            .flatten()
        {
            if let Some(Spread { median, min, max }) = self.spread(name) {
                figures.insert(name.clone(), json!({ "median": median, "min": min, "max": max, "rounds": self.values(name) }));
            }
        }
        let words = |pick: fn(&Figures) -> &Vec<String>| -> Vec<String> {
            self.rounds.iter().flat_map(pick).cloned().collect()
        };
        json!({
            "name": self.name,
            "figures": figures,
            "latency_distribution": self.distribution(),
            "bottleneck": self.bottleneck().map(Bottleneck::words),
            "notes": words(|round| &round.notes),
            "faults": words(|round| &round.faults),
        })
    }
}

/// A number in about four digits.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

/// What this runs on.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{count} × {}, Linux {}",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, values: &[f64]) -> Column {
        let figures = |value| Figures {
            numbers: vec![("cpu_us".into(), value)],
            ..Figures::default()
        };
        Column {
            name: name.into(),
            rounds: values.iter().map(|value| figures(*value)).collect(),
        }
    }

    #[test]
    fn a_median_stands_with_its_range() {
        let spread = |values: &[f64]| column("x", values).spread("cpu_us");
        assert_eq!(
            spread(&[3.0, 1.0, 2.0]),
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            spread(&[4.0, 1.0]),
            Some(Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            })
        );
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn the_table_compares_the_first_server_with_the_others() {
        let columns = vec![column("roomcast", &[3.0]), column("bare", &[2.0])];
        let report = Report {
            command: "fanout".into(),
            columns,
        };
        assert!(report.table().contains(" 1.50"), "{}", report.table());
        assert_eq!(
            report.json()["servers"][1]["figures"]["cpu_us"]["median"],
            2.0
        );
        assert!(!report.is_faulty());
    }

    #[test]
    fn faults_are_shown() {
        let mut faulty = column("roomcast", &[1.0]);
        faulty.rounds[0].faults.push("3 messages never came".into());
        let report = Report {
            command: String::new(),
            columns: vec![faulty],
        };
        assert!(report.is_faulty() && report.table().contains("FAULT: 3 messages never came"));
    }
}
