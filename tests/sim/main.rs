//! The deterministic simulator: the real engines of one to three shards, on a network and a clock that are made up,
//! against clients of every kind and a model of what they were promised.
//!
//! Everything follows from one number. A run that fails says which, and
//! `ROOMCAST_SIM_SEED=N cargo test --test sim` runs that one alone, with `ROOMCAST_SIM_TRACE=1` and `-- --nocapture`
//! told step by step. `ROOMCAST_SIM_SEEDS=N` runs more of them than usual.

mod book;
mod client;
mod commands;
mod connection;
mod disk;
mod hostile;
mod link;
mod network;
mod oracle;
mod plan;
mod relays;
mod rng;
mod scenes;
mod stage;
mod told;
mod wire;
mod world;

use roomcast::counters::Counters;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use world::World;

/// Seeds that are run without being asked.
const SEED_COUNT: u64 = 200;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Runs one seed; a panic of the engine is a failure like any other.
fn run(seed: u64) -> Result<Counters, String> {
    let is_told = number("ROOMCAST_SIM_TRACE") == Some(1);
    let result = catch_unwind(AssertUnwindSafe(|| World::new(seed, is_told).run()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|fault| {
        format!(
            "seed {seed} {fault}\n  again: ROOMCAST_SIM_SEED={seed} ROOMCAST_SIM_TRACE=1 cargo test --test sim seeds -- --nocapture"
        )
    })
}

/// Runs seeds `0..count` on all cores, up to the first few failures.
fn run_all(count: u64) -> (Counters, Vec<String>) {
    let next = AtomicU64::new(0);
    let worker = || {
        let (mut total, mut failures) = (Counters::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return (total, failures);
            }
            match run(seed) {
                Ok(counted) => total.add(&counted),
                Err(failure) => failures.push(failure),
            }
        }
    };
    let worker_count = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..worker_count).map(|_| scope.spawn(worker)).collect();
        let mut all = (Counters::default(), Vec::new());
        for worker in workers {
            let (tally, failures) = worker.join().expect("a worker catches its panics");
            all.0.add(&tally);
            all.1.extend(failures);
        }
        all
    })
}

#[test]
fn seeds() {
    if let Some(seed) = number("ROOMCAST_SIM_SEED") {
        let counted = run(seed).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{counted:?}");
        return;
    }
    let (counted, failures) = run_all(number("ROOMCAST_SIM_SEEDS").unwrap_or(SEED_COUNT));
    assert!(
        failures.is_empty(),
        "{} seeds failed:\n{}",
        failures.len(),
        failures
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    if number("ROOMCAST_SIM_SEEDS").is_none() {
        check_reach(&counted);
    }
}

/// What no run can move: there are no disk, no descriptors and no origins, messages are too short to inflate a turn's
/// worth of them (`tests/attack` does), and nothing is left at the end.
const OUT_OF_REACH: [&str; 11] = [
    "connections",
    "rooms",
    "users",
    "log_bytes",
    "origin_refused_total",
    "storage_errors_total",
    "storage_stalled_total",
    "chunks_total",
    "accept_paused_total",
    "inflating_postponed_total",
    "bugs_total",
];

/// Every other bound was met by some run: a simulator that never gets there finds nothing there.
fn check_reach(counted: &Counters) {
    for (name, _, _, value) in counted.rows() {
        println!("{name} {value}");
    }
    for (name, _, _, value) in counted.rows() {
        let is_reached = value > 0 || OUT_OF_REACH.contains(&name);
        assert!(is_reached, "no run got to {name}");
    }
}

#[test]
fn a_seed_means_the_same_run_every_time() {
    let trace = |seed| {
        let mut world = World::new(seed, false);
        world.keep_trace();
        world.run().unwrap();
        format!("{:?}", world.trace())
    };
    for seed in 0..4 {
        assert!(trace(seed) == trace(seed), "seed {seed} means two runs");
    }
}
