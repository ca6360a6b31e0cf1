//! The table of threats (`docs/threats.md`) names tests that are there.

use std::fs;
use std::path::Path;

/// The rows of all tables: threat, what happens, tests.
fn rows() -> Vec<[String; 3]> {
    let text = include_str!("../docs/threats.md");
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| threat |"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [threat, answer, tests] = cells[..] else {
            panic!("three columns, not {line:?}")
        };
        [threat, answer, tests].map(str::to_owned)
    })
    .collect()
}

#[test]
fn every_threat_has_its_test() {
    let rows = rows();
    assert!(rows.len() > 30, "{}", rows.len());
    for [threat, answer, tests] in &rows {
        assert!(
            !threat.is_empty() && !answer.is_empty(),
            "{threat}: {answer}"
        );
        for test in tests.split(", ") {
            let name = test
                .strip_prefix('`')
                .and_then(|test| test.strip_suffix('`'));
            let (file, function) = name
                .and_then(|name| name.split_once("::"))
                .unwrap_or_else(|| panic!("{threat}: {test:?} is no test"));
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests")
                .join(file);
            let source = fs::read_to_string(path.with_extension("rs"));
            let source = source.unwrap_or_else(|_| panic!("{threat}: there is no file {file}"));
            assert!(
                source.contains(&format!("fn {function}(")),
                "{threat}: there is no test {test}"
            );
        }
    }
}

#[test]
fn no_threat_stands_there_twice() {
    let mut threats: Vec<String> = rows().into_iter().map(|[threat, ..]| threat).collect();
    let count = threats.len();
    threats.sort_unstable();
    threats.dedup();
    assert_eq!(threats.len(), count);
}
