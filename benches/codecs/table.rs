//! Rows of figures that were measured side by side, as one table in Markdown.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion};
use serde_json::Value;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Roomcast,
    Tungstenite,
    Fastwebsockets,
    /// What the row is measured by: its name stands in the table.
    Yardstick(&'static str),
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Roomcast => "roomcast",
            Who::Tungstenite => "tungstenite",
            Who::Fastwebsockets => "fastwebsockets",
            Who::Yardstick(name) => name,
        }
    }
}

/// What was measured so far.
pub struct Table {
    folder: PathBuf,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    payload_bytes: usize,
    figures: Vec<(Who, f64)>,
}

/// A row that is being measured.
pub struct Measuring<'a> {
    table: &'a mut Table,
    group: BenchmarkGroup<'a, WallTime>,
    /// How often one round does what the row is about.
    count: usize,
    row: Row,
}

impl Table {
    /// An empty one; Criterion writes what it measured below `folder`.
    pub fn new(folder: &Path) -> Table {
        Table {
            folder: folder.to_owned(),
            rows: Vec::new(),
        }
    }

    /// Begins a row about payloads of so many bytes, of which each measured round handles `count`.
    pub fn row<'a>(
        &'a mut self,
        criterion: &'a mut Criterion,
        name: impl Into<String>,
        payload_bytes: usize,
        count: usize,
    ) -> Measuring<'a> {
        let name = name.into();
        Measuring {
            group: criterion.benchmark_group(&name),
            table: self,
            count,
            row: Row {
                name,
                payload_bytes,
                figures: Vec::new(),
            },
        }
    }
}

impl Measuring<'_> {
    /// Measures one side. Sides that a filter leaves out have no figure.
    pub fn side(&mut self, who: Who, rounds: impl FnMut(&mut Bencher)) -> &mut Self {
        self.group.bench_function(who.name(), rounds);
        let path = self.table.folder.join(file_name(&self.row.name));
        let path = path.join(file_name(who.name())).join("new/estimates.json");
        if let Some(round_ns) = median_ns(&path) {
            self.row.figures.push((who, round_ns / self.count as f64));
        }
        self
    }

    /// Ends the row.
    pub fn end(self) {
        self.group.finish();
        if !self.row.figures.is_empty() {
            self.table.rows.push(self.row);
        }
    }
}

/// How Criterion calls the folder of a name that has nothing of a path but slashes.
fn file_name(name: &str) -> String {
    name.replace('/', "_")
}

fn median_ns(path: &Path) -> Option<f64> {
    let estimates: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

impl Row {
    fn ns(&self, is_meant: impl Fn(Who) -> bool) -> Option<f64> {
        let mut figures = self.figures.iter();
        figures.find(|(who, _)| is_meant(*who)).map(|(_, ns)| *ns)
    }

    fn time(&self, who: Who) -> String {
        let time = self.ns(|other| other == who).map(nanoseconds);
        time.unwrap_or_else(|| "–".to_owned())
    }

    /// The other's time, with ours as 1.
    fn ratio(&self, who: Who) -> String {
        let (ours, other) = (
            self.ns(|other| other == Who::Roomcast),
            self.ns(|other| other == who),
        );
        match (ours, other) {
            (Some(ours), Some(other)) => format!("{:.1}", other / ours),
            (Some(_), None) | (None, _) => "–".to_owned(),
        }
    }

    fn rate(&self) -> String {
        match self.ns(|who| who == Who::Roomcast) {
            Some(ns) if self.payload_bytes > 0 => {
                format!("{:.1}", self.payload_bytes as f64 / ns)
            }
            Some(_) | None => "–".to_owned(),
        }
    }

    /// The yardstick's time, and how near we come to its speed.
    fn yardstick(&self) -> String {
        let yardstick = self.figures.iter().find_map(|(who, ns)| match who {
            Who::Yardstick(name) => Some((name, *ns)),
            Who::Roomcast | Who::Tungstenite | Who::Fastwebsockets => None,
        });
        match (yardstick, self.ns(|who| who == Who::Roomcast)) {
            (Some((name, ns)), Some(ours)) => {
                let percent = 100.0 * ns / ours;
                format!("{name}: {}, {percent:.0} %", nanoseconds(ns))
            }
            (Some(_), None) | (None, _) => "–".to_owned(),
        }
    }
}

fn nanoseconds(ns: f64) -> String {
    if ns < 100.0 {
        format!("{ns:.1} ns")
    } else if ns < 10_000.0 {
        format!("{ns:.0} ns")
    } else {
        format!("{:.1} µs", ns / 1_000.0)
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what | roomcast | tungstenite | fastwebsockets | tungstenite ÷ roomcast \
             | fastwebsockets ÷ roomcast | roomcast, GB/s | yardstick, and roomcast's speed in % of it |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|---|")?;
        for row in &self.rows {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                row.name,
                row.time(Who::Roomcast),
                row.time(Who::Tungstenite),
                row.time(Who::Fastwebsockets),
                row.ratio(Who::Tungstenite),
                row.ratio(Who::Fastwebsockets),
                row.rate(),
                row.yardstick()
            )?;
        }
        Ok(())
    }
}
