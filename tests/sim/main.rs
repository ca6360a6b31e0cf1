//! The deterministic simulator: the real engines of one to three shards, on a network and a clock that are made up,
//! against clients of every kind and a model of what they were promised.
//!
//! Everything follows from one number. A run that fails says which, and
//! `ROOMCAST_SIM_SEED=N cargo test --test sim` runs that one alone, with `ROOMCAST_SIM_TRACE=1` and `-- --nocapture`
//! told step by step. `ROOMCAST_SIM_SEEDS=N` runs more of them than usual, from `ROOMCAST_SIM_FIRST` on.
//!
//! In half of the runs there is a disk: the real log service and the real desk before a made-up table (`disk`, `table`)
//! that is slow, fails, and keeps or loses whole transactions when the process ends, which it may after any turn. At
//! the end of a run the disk is compared with everything that anyone saw. `planted` has bugs that have to be seen.

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
mod planted;
mod relays;
mod rng;
mod scenes;
mod stage;
mod table;
mod tokens;
mod told;
mod wire;
mod world;

use planted::Planted;
use roomcast::counters::Counters;
use std::env;
use std::ops::Range;
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
fn run(seed: u64, planted: Option<Planted>) -> Result<Counters, String> {
    let is_told = number("ROOMCAST_SIM_TRACE") == Some(1);
    let result = catch_unwind(AssertUnwindSafe(|| {
        World::new(seed, planted, is_told).run()
    }));
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

/// Runs so many seeds on all cores.
fn run_all(seeds: Range<u64>) -> (Counters, Vec<String>) {
    let next = AtomicU64::new(seeds.start);
    let worker = || {
        let (mut total, mut failures) = (Counters::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (total, failures);
            }
            match run(seed, None) {
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
        let counted = run(seed, None).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{counted:?}");
        return;
    }
    let first = number("ROOMCAST_SIM_FIRST").unwrap_or(0);
    let count = number("ROOMCAST_SIM_SEEDS").unwrap_or(SEED_COUNT);
    let (counted, failures) = run_all(first..first + count);
    println!(
        "{count} seeds: {} turns, {} sends, {} messages, {} of them repeated",
        counted.turns_total,
        counted.sends_total,
        counted.messages_numbered_total,
        counted.duplicates_total
    );
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

/// What no run can move: there are no descriptors, addresses, rates, origins, proxies, TLS, tokens, bounds of rooms and
/// bans, messages are too short to inflate a turn's worth of them (`tests/attack` does), and nothing is left at the end.
const OUT_OF_REACH: [&str; 27] = [
    "connections",
    "rooms",
    "users",
    "log_bytes",
    "origin_refused_total",
    "proxied_total",
    "proxy_malformed_total",
    "tls_handshakes_total",
    "tls_resumed_total",
    "tls_failed_total",
    "tls_handshake_timeouts_total",
    "tls_held_bytes",
    "room_full_total",
    "slow_mode_total",
    "sanctions_refused_total",
    "tokens_checked_total",
    "unauthorized_total",
    "tokens_expired_total",
    "tokens_postponed_total",
    "accept_paused_total",
    "memory_full_total",
    "address_full_total",
    "address_hasty_total",
    "rate_limited_total",
    "rate_paused_total",
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
        let mut world = World::new(seed, None, false);
        world.keep_trace();
        world.run().unwrap();
        format!("{:?}", world.trace())
    };
    for seed in 0..4 {
        assert!(trace(seed) == trace(seed), "seed {seed} means two runs");
    }
}
