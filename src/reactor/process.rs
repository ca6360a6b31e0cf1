//! What all shards of the process share: the count of connections, the stop, and what each has counted.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::counters::Counters;
use crate::engine::Site;
use crate::metrics::{self, About};
use crate::store::Desk;

/// The process as its shards see it.
pub struct Process {
    about: About,
    connection_count: AtomicU32,
    is_draining: AtomicBool,
    /// Shards that still have something to flush, or may get something.
    undrained_count: AtomicU16,
    store: OnceLock<Arc<Desk>>,
    reload_count: AtomicU64,
    reload_failure_count: AtomicU64,
    /// One lock per shard, which nobody else takes but for a scrape.
    counters: Vec<Mutex<Counters>>,
}

impl Process {
    /// A process that serves.
    pub fn new(about: About) -> Process {
        Process {
            connection_count: AtomicU32::new(0),
            is_draining: AtomicBool::new(false),
            undrained_count: AtomicU16::new(about.shard_count),
            store: OnceLock::new(),
            reload_count: AtomicU64::new(0),
            reload_failure_count: AtomicU64::new(0),
            counters: (0..about.shard_count).map(|_| Mutex::default()).collect(),
            about,
        }
    }

    /// Everything is kept by this store.
    pub fn has_store(&self, desk: Arc<Desk>) {
        let _ = self.store.set(desk);
    }

    /// Starts the stop. The shards have to be woken to see it.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// Whether the stop has begun.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Notes that one more shard has nothing left to do; true if it was the last.
    pub fn shard_drained(&self) -> bool {
        self.undrained_count.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether no shard has anything left to do.
    pub fn is_drained(&self) -> bool {
        self.undrained_count.load(Ordering::Acquire) == 0
    }

    /// Connections that were admitted and are still there.
    pub fn connection_count(&self) -> u32 {
        self.connection_count.load(Ordering::Relaxed)
    }

    /// Publishes what a shard has counted.
    pub fn publish(&self, shard: u16, counters: &Counters) {
        let slot = &self.counters[usize::from(shard)];
        slot.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(counters);
    }

    /// Notes that something was read again, and whether it was taken.
    pub fn reloaded(&self, is_taken: bool) {
        let count = match is_taken {
            true => &self.reload_count,
            false => &self.reload_failure_count,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something was read again and taken, and how often it was refused.
    pub fn reload_counts(&self) -> (u64, u64) {
        let taken = self.reload_count.load(Ordering::Relaxed);
        (taken, self.reload_failure_count.load(Ordering::Relaxed))
    }

    /// What all shards together have counted.
    pub fn total(&self) -> Counters {
        self.counters
            .iter()
            .fold(Counters::default(), |mut total, counters| {
                total.add(&counters.lock().unwrap_or_else(PoisonError::into_inner));
                total
            })
    }
}

impl Site for Process {
    fn admit(&self) -> bool {
        let more = |count: u32| (count < self.about.connection_count_max).then_some(count + 1);
        self.connection_count
            .try_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn release(&self) {
        self.connection_count.fetch_sub(1, Ordering::Relaxed);
    }

    fn metrics(&self, out: &mut String) {
        metrics::render(out, &self.total(), &self.about);
        metrics::render_reloads(out, self.reload_counts());
        if let Some(desk) = self.store.get() {
            metrics::render_store(out, desk);
        }
    }

    fn readiness(&self) -> Result<(), &'static str> {
        if self.is_draining() {
            Err("draining")
        } else if self.store.get().is_some_and(|desk| !desk.is_well()) {
            Err("the disk does not take messages")
        } else if self.store.get().is_some_and(|desk| desk.is_stalled()) {
            Err("the disk stands still")
        } else {
            Ok(())
        }
    }

    fn audit(&self, line: &str) {
        log::info!(target: AUDIT, "{line}");
    }
}

/// The target of what is written down about moderators, in the log.
const AUDIT: &str = "audit";

#[cfg(test)]
mod tests {
    use super::*;

    fn process(shard_count: u16, connection_count_max: u32) -> Process {
        Process::new(About {
            shard_count,
            connection_count_max,
            started_unix_ms: 0,
        })
    }

    #[test]
    fn connections_are_admitted_up_to_the_bound() {
        let process = process(1, 2);
        assert!(process.admit() && process.admit());
        assert!(!process.admit() && !process.admit());
        assert_eq!(process.connection_count(), 2);
        process.release();
        assert_eq!(process.connection_count(), 1);
        assert!(process.admit());
        assert!(!process.admit());
    }

    #[test]
    fn readiness_ends_with_the_stop() {
        let process = process(2, 1);
        assert_eq!(process.readiness(), Ok(()));
        process.drain();
        assert_eq!(process.readiness(), Err("draining"));
        assert!(!process.shard_drained() && !process.is_drained());
        assert!(process.shard_drained() && process.is_drained());
    }

    #[test]
    fn metrics_add_the_shards_up() {
        let process = process(2, 1);
        process.publish(
            0,
            &Counters {
                connections: 9,
                ..Counters::default()
            },
        );
        process.publish(
            0,
            &Counters {
                connections: 1,
                ..Counters::default()
            },
        );
        process.publish(
            1,
            &Counters {
                connections: 2,
                ..Counters::default()
            },
        );
        let mut out = String::new();
        process.metrics(&mut out);
        assert!(out.contains("\nroomcast_connections 3\n"), "{out}");
    }
}
