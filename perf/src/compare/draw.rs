//! Charts once more, from the figures of comparisons that were made before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::{Measured, charts, rows};
use crate::args::Draw;
use crate::figures::Figures;
use crate::report::{Column, Report};

/// Draws what several comparisons measured; where two have a row, the later one counts.
///
/// # Errors
///
/// A file cannot be read, is not a report, or the folder cannot be written.
pub fn run(draw: &Draw) -> io::Result<ExitCode> {
    let mut measured: Vec<Measured> = Vec::new();
    for path in &draw.reports {
        for row in read(path)? {
            measured.retain(|earlier| earlier.row.name != row.row.name);
            measured.push(row);
        }
    }
    fs::create_dir_all(&draw.out)?;
    for (name, chart) in charts::all(&measured)? {
        let path: PathBuf = draw.out.join(name);
        fs::write(&path, chart)?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> io::Result<Vec<Measured>> {
    let wrong = |what: &str| io::Error::other(format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let report: Value = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    let measurements = report["measurements"].as_array();
    let measurements = measurements.ok_or_else(|| wrong("this is no report.json of `compare`"))?;
    Ok(measurements.iter().filter_map(measurement).collect())
}

/// One row; none where this version has no such row.
fn measurement(value: &Value) -> Option<Measured> {
    let name = value["name"].as_str()?;
    let row = rows::all().into_iter().find(|row| row.name == name)?;
    let servers = value["report"]["servers"].as_array()?;
    let report = Report {
        command: row.title.clone(),
        columns: servers.iter().filter_map(column).collect(),
    };
    Some(Measured { row, report })
}

fn column(value: &Value) -> Option<Column> {
    let figures = value["figures"].as_object()?;
    let round = |number: usize| Figures {
        numbers: figures
            .iter()
            .filter_map(|(name, figure)| Some((name.clone(), figure["rounds"][number].as_f64()?)))
            .collect(),
        // What is written is the median of all rounds.
        distribution: serde_json::from_value(value["latency_distribution"].clone())
            .unwrap_or_default(),
        ..Figures::default()
    };
    let rounds = figures
        .values()
        .filter_map(|figure| Some(figure["rounds"].as_array()?.len()));
    Some(Column {
        name: value["name"].as_str()?.into(),
        rounds: (0..rounds.max().unwrap_or(0)).map(round).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_as_it_was() {
        let figures = |cost| Figures {
            numbers: vec![("server_cpu_us_per_delivery".into(), cost)],
            distribution: vec![(0.5, 1.25), (0.99, 3.5)],
            ..Figures::default()
        };
        let report = Report {
            command: String::new(),
            columns: vec![Column {
                name: "bare".into(),
                rounds: vec![figures(2.5), figures(3.5)],
            }],
        };
        let value = serde_json::json!({ "name": "members-500", "report": report.json() });
        let Measured { row, report } = measurement(&value).unwrap();
        assert_eq!(row.name, "members-500");
        let [column] = &report.columns[..] else {
            panic!("there is one server");
        };
        assert_eq!((column.name.as_str(), column.rounds.len()), ("bare", 2));
        let spread = column.spread("server_cpu_us_per_delivery").unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (2.5, 3.0, 3.5));
        assert_eq!(column.distribution(), [(0.5, 1.25), (0.99, 3.5)]);
    }
}
