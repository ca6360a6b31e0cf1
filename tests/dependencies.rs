//! What the program is built from: crates of the registry alone, pinned to their content, under licences that allow it,
//! and none of those that it names itself in two versions.
//!
//! `deny.toml` says the same to cargo-deny, which also knows advisories, where it and their database can be had.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

/// Licences that allow what this program's own licence does. `deny.toml` lists the same.
const LICENCES: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What cargo knows of the program, for Linux.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Cargo.lock fits: {error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
});

struct Package {
    name: &'static str,
    version: &'static str,
    licence: Option<&'static str>,
    source: Option<&'static str>,
    requirements: Vec<(&'static str, &'static str)>,
}

fn list(value: &'static Value) -> impl Iterator<Item = &'static Value> {
    value.as_array().expect("a list").iter()
}

/// Every package that ends up in the program, or that builds one which does: the program itself first.
fn packages() -> Vec<Package> {
    let packages: BTreeMap<&str, &Value> = list(&METADATA["packages"])
        .map(|package| (package["id"].as_str().expect("an id"), package))
        .collect();
    let nodes: BTreeMap<&str, &Value> = list(&METADATA["resolve"]["nodes"])
        .map(|node| (node["id"].as_str().expect("an id"), node))
        .collect();
    let root = METADATA["resolve"]["root"].as_str().expect("the program");
    let (mut reached, mut open) = (BTreeSet::from([root]), vec![root]);
    let mut found = Vec::new();
    while let Some(id) = open.pop() {
        found.push(package(packages[id]));
        for dependency in list(&nodes[id]["deps"]) {
            let is_built = list(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev");
            let id = dependency["pkg"].as_str().expect("an id");
            if is_built && reached.insert(id) {
                open.push(id);
            }
        }
    }
    found
}

fn package(value: &'static Value) -> Package {
    let text = |key: &str| value[key].as_str();
    let requirements = list(&value["dependencies"]).map(|dependency| {
        let text = |key: &str| dependency[key].as_str().expect("a text");
        (text("name"), text("req"))
    });
    Package {
        name: text("name").expect("a name"),
        version: text("version").expect("a version"),
        licence: text("license"),
        source: text("source"),
        requirements: requirements.collect(),
    }
}

#[test]
fn every_source_is_the_registry() {
    let packages = packages();
    assert!(packages.len() > 40, "{}", packages.len());
    assert_eq!((packages[0].name, packages[0].source), ("roomcast", None));
    for package in &packages[1..] {
        assert_eq!(package.source, Some(REGISTRY), "{}", package.name);
    }
    // Those that only test it as well.
    for package in list(&METADATA["packages"]) {
        let source = package["source"].as_str();
        assert!(matches!(source, None | Some(REGISTRY)), "{source:?}");
    }
}

#[test]
fn every_package_is_pinned_to_its_content() {
    let text = include_str!("../Cargo.lock");
    let pinned = text
        .split("[[package]]")
        .filter(|package| package.contains(REGISTRY));
    let (mut count, mut unpinned) = (0, Vec::new());
    for package in pinned {
        count += 1;
        let checksum = package
            .lines()
            .find_map(|line| line.strip_prefix("checksum = \""));
        if checksum.is_none_or(|checksum| checksum.trim_end_matches('"').len() != 64) {
            unpinned.push(package);
        }
    }
    assert!(count > 40 && unpinned.is_empty(), "{unpinned:?}");
}

#[test]
fn every_licence_is_allowed() {
    for package in packages() {
        let licence = package.licence.unwrap_or("none");
        assert!(is_allowed(licence), "{} is under {licence}", package.name);
    }
}

/// Crates of which others still have an older version: `jsonwebtoken` of this one.
const TWICE: [&str; 1] = ["base64"];

#[test]
fn no_crate_that_is_named_here_is_there_twice() {
    let packages = packages();
    for (name, requirement) in &packages[0].requirements {
        let versions: Vec<&str> = packages
            .iter()
            .filter(|package| package.name == *name)
            .map(|package| package.version)
            .collect();
        let is_known = TWICE.contains(name);
        assert!(versions.len() <= 1 || is_known, "{name}: {versions:?}");
        assert_ne!(*requirement, "*", "{name} has a version");
    }
}

#[test]
fn the_list_for_cargo_deny_is_the_same() {
    let text = include_str!("../deny.toml")
        .parse::<toml::Table>()
        .expect("TOML");
    let allowed = text["licenses"]["allow"].as_array().expect("a list");
    let allowed: Vec<&str> = allowed
        .iter()
        .filter_map(|licence| licence.as_str())
        .collect();
    assert_eq!(allowed, LICENCES);
}

/// Whether an SPDX expression allows what is wanted: `AND` binds more than `OR`, which older crates write as `/`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let is_allowed = any(&mut words);
    is_allowed && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>) -> bool {
    let mut is_allowed = all(words);
    while words.next_if_eq(&"OR").is_some() {
        is_allowed |= all(words);
    }
    is_allowed
}

fn all(words: &mut Words<'_>) -> bool {
    let mut is_allowed = one(words);
    while words.next_if_eq(&"AND").is_some() {
        is_allowed &= one(words);
    }
    is_allowed
}

fn one(words: &mut Words<'_>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let is_allowed = any(words);
        return words.next_if_eq(&")").is_some() && is_allowed;
    }
    let Some(licence) = words.next() else {
        return false;
    };
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        Some(exception) => LICENCES.contains(&&*format!("{licence} WITH {exception}")),
        None => LICENCES.contains(&licence),
    }
}

#[test]
fn expressions_are_read_as_spdx_has_them() {
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("MIT OR GPL-3.0 AND ISC", true),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0 WITH Classpath-exception-2.0", false),
        ("(MIT", false),
        ("MIT ISC", false),
        ("", false),
        ("none", false),
    ] {
        assert_eq!(is_allowed(expression), expected, "{expression:?}");
    }
}
