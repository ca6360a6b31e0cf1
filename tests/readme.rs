//! What README.md says about settings is what the program says.

mod common;

use std::collections::BTreeMap;

use common::{program, run_to_end};

/// Settings whose default the machine decides.
const OF_THE_MACHINE: [&str; 3] = ["shards", "max_connections", "connections_per_address_max"];

/// The rows of the table of bounds: setting and default.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let table = include_str!("../README.md").split("### Bounds").nth(1);
    let rows = table
        .expect("it has the table")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (setting, row) = row.split_once("` | ").expect("a setting");
        let (default, _) = row.split_once(" | ").expect("a default");
        (setting, default)
    })
    .collect()
}

#[test]
fn the_table_of_bounds_has_every_number() {
    let (status, settings, _) = run_to_end(program().arg("--check-config"));
    assert!(status.success());
    let mut documented = documented();
    for line in settings.lines() {
        // What is for others than this machine alone is a comment.
        let line = line.strip_prefix("# ").unwrap_or(line);
        let (setting, default) = line.split_once(" = ").expect("TOML");
        let row = documented.remove(setting);
        if default.parse::<u64>().is_ok() && !OF_THE_MACHINE.contains(&setting) {
            assert_eq!(row, Some(default), "{setting}");
        }
    }
    assert!(documented.is_empty(), "no settings: {documented:?}");
}
