//! The committed inputs of the fuzz targets, and the inputs that once broke one, without a fuzzer: see
//! `fuzz/README.md`.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use targets::TARGETS;

/// Most seeds of one target, so that they stay a choice by hand.
const SEED_COUNT_MAX: usize = 40;

/// Longest seed in bytes, for the same reason.
const SEED_BYTES_MAX: u64 = 2_000;

fn fuzz(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(folder)
}

/// The files of a folder in the order of their names; none where the folder is missing.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs every input of a target, and names the one that fails.
fn replay(name: &str) {
    let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let seeds = files(&fuzz("seeds").join(name));
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for file in seeds.iter().chain(&files(&fuzz("regressions").join(name))) {
        let input = fs::read(file).unwrap();
        let run = *run;
        assert!(
            catch_unwind(move || run(&input)).is_ok(),
            "see above: {}",
            file.display()
        );
    }
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test] fn $target() { replay(stringify!($target)); })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($target)),*];
            assert_eq!(replayed.to_vec(), TARGETS.map(|(name, _)| name));
        }
    };
}

replayed! { command connection deflate differential frames header http proxy roundtrip shard }

#[test]
fn every_folder_has_its_target() {
    for folder in files(&fuzz("seeds"))
        .into_iter()
        .chain(files(&fuzz("regressions")))
    {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(
            TARGETS.iter().any(|(target, _)| *target == name),
            "{}",
            folder.display()
        );
    }
}

#[test]
fn every_target_has_its_fuzzer() {
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let fuzzer = fs::read_to_string(fuzz("fuzz_targets").join(name).with_extension("rs"));
        assert!(
            fuzzer
                .unwrap()
                .contains(&format!("roomcast_fuzz::{name}::run(data)"))
        );
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
}

#[test]
fn seeds_are_few_and_small() {
    for folder in files(&fuzz("seeds")) {
        let seeds = files(&folder);
        assert!(seeds.len() <= SEED_COUNT_MAX, "{}", folder.display());
        for seed in seeds {
            let bytes = fs::metadata(&seed).unwrap().len();
            assert!(bytes <= SEED_BYTES_MAX, "{}", seed.display());
        }
    }
}
