//! What all shards of the process share: who may connect, the stop, and what each has counted.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::admission::Admission;
use crate::callers::{Seat, TurnedAway};
use crate::counters::Counters;
use crate::engine::Site;
use crate::metrics::{self, About};
use crate::store::Desk;

/// The process as its shards see it.
pub struct Process {
    about: About,
    admission: Admission,
    is_draining: AtomicBool,
    /// Shards that may still send to others what they had when the stop began.
    unpaused_count: AtomicU16,
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
    pub fn new(about: About, admission: Admission) -> Process {
        Process {
            admission,
            is_draining: AtomicBool::new(false),
            unpaused_count: AtomicU16::new(about.shard_count),
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

    /// Notes that one more shard has seen the stop, and sent the others what it had for them; true if it was the last.
    pub fn shard_paused(&self) -> bool {
        self.unpaused_count.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether every shard has sent what it had when the stop began.
    pub fn is_paused(&self) -> bool {
        self.unpaused_count.load(Ordering::Acquire) == 0
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
        self.admission.connection_count()
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
    fn admit(&self, address: Option<IpAddr>, mono_ms: u64) -> Result<Seat, TurnedAway> {
        self.admission.admit(address, mono_ms)
    }

    fn release(&self, seat: Seat, mono_ms: u64) {
        self.admission.release(seat, mono_ms);
    }

    fn reseat(&self, seat: Seat, address: IpAddr, mono_ms: u64) -> Result<Seat, TurnedAway> {
        self.admission.reseat(seat, address, mono_ms)
    }

    fn metrics(&self, out: &mut String) {
        metrics::render(out, &self.total(), &self.about);
        metrics::render_reloads(out, self.reload_counts());
        let (address_count, forgotten) = self.admission.figures();
        metrics::render_addresses(out, address_count, forgotten);
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

/// The target in the log of what is written down about moderators. It is logged at `info`, and a log at any level but
/// `off` should have it.
pub const AUDIT: &str = "audit";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn process(shard_count: u16) -> Process {
        let about = About {
            shard_count,
            connection_count_max: 1,
            started_unix_ms: 0,
        };
        Process::new(about, Admission::new(&Limits::default()))
    }

    #[test]
    fn readiness_ends_with_the_stop() {
        let process = process(2);
        assert_eq!(process.readiness(), Ok(()));
        process.drain();
        assert_eq!(process.readiness(), Err("draining"));
        assert!(!process.shard_drained() && !process.is_drained());
        assert!(process.shard_drained() && process.is_drained());
    }

    #[test]
    fn metrics_add_the_shards_up() {
        let process = process(2);
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
