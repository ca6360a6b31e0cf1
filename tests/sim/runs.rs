//! Runs of seeds: one, or many on all cores, and what they came to.

use crate::less::Less;
use crate::planted::Planted;
use crate::world::World;
use roomcast::counters::Counters;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What some runs came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What their shards counted.
    pub counters: Counters,
    pub seed_count: u64,
    /// What clients did and saw, each judged by the oracle.
    pub event_count: u64,
    /// Ends of a process, after each of which another one went on with its disk.
    pub crash_count: u64,
    /// How much time passed in them, in milliseconds.
    pub lived_ms: u64,
}

impl Tally {
    /// Adds what others came to.
    pub fn add(&mut self, other: &Tally) {
        self.counters.add(&other.counters);
        self.seed_count += other.seed_count;
        self.event_count += other.event_count;
        self.crash_count += other.crash_count;
        self.lived_ms += other.lived_ms;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = &self.counters;
        write!(
            f,
            "{} seeds: {} hours, {} events, {} turns, {} sends, {} messages, {} of them repeated, {} crashes",
            self.seed_count,
            self.lived_ms / 3_600_000,
            self.event_count,
            counters.turns_total,
            counters.sends_total,
            counters.messages_numbered_total,
            counters.duplicates_total,
            self.crash_count
        )
    }
}

/// Runs one seed, less something; a panic of the engine is a failure like any other.
pub fn run(
    seed: u64,
    less: &Less,
    planted: Option<Planted>,
    is_told: bool,
) -> Result<Tally, String> {
    let result = catch_unwind(AssertUnwindSafe(|| {
        World::new(seed, less, planted, is_told).run()
    }));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// Runs so many seeds on all cores. Gives those that failed too, with how.
pub fn run_all(seeds: Range<u64>) -> (Tally, Vec<(u64, String)>) {
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new((Tally::default(), Vec::new()));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let result = run(seed, &Less::default(), None, false);
            let mut all = all.lock().expect("a worker catches its panics");
            match result {
                Ok(tally) => all.0.add(&tally),
                Err(fault) => all.1.push((seed, fault)),
            }
        }
    };
    let worker_count = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        for _ in 0..worker_count {
            scope.spawn(worker);
        }
    });
    let (tally, mut failures) = all.into_inner().expect("a worker catches its panics");
    failures.sort_unstable();
    (tally, failures)
}
