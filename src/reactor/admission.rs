//! Who may connect: bounds on all connections, on memory, and for each address on its connections and on how often it
//! comes.
//!
//! All shards share one table, which is looked at when a connection comes and when it goes. An address stands in it
//! while it has connections or its bucket is not full; of those that only wait for that, a bounded number is kept.
//!
//! An address that is not known at the accept is given later: `admit(None, ..)` counts the connection in all, and
//! `reseat` moves it to its address, as often as that turns out to be another one.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use slab::Slab;

use crate::callers::{Seat, TurnedAway, network_of};
use crate::limits::{Limits, MEMORY_AGE_MS, RESTING_ADDRESS_COUNT_MAX};
use crate::metrics;
use crate::rates::{Bucket, Rate};

/// The connections of a process.
#[derive(Debug)]
pub struct Admission {
    rules: Rules,
    connection_count: AtomicU32,
    memory: Memory,
    table: Mutex<Table>,
    forgotten: AtomicU64,
}

/// Memory of the process, as it was a moment ago.
#[derive(Debug, Default)]
struct Memory {
    resident_bytes: AtomicU64,
    /// From when on it is too old.
    until_ms: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    connection_count_max: u32,
    memory_bytes_max: u64,
    per_address_max: u32,
    per_address: Option<Rate>,
    bounds_loopback: bool,
}

/// Resting entries that are looked at whenever a connection goes.
const SWEEP_COUNT: usize = 4;

/// What is known of each address.
#[derive(Debug, Default)]
struct Table {
    entries: Slab<Entry>,
    by_network: HashMap<IpAddr, usize>,
    /// Places of entries that have, or had, no connection.
    resting: VecDeque<usize>,
}

#[derive(Debug)]
struct Entry {
    network: IpAddr,
    connection_count: u32,
    bucket: Bucket,
    /// Whether its place is in `resting`.
    is_queued: bool,
}

impl Admission {
    /// Nobody is there yet.
    pub fn new(limits: &Limits) -> Admission {
        Admission {
            rules: Rules {
                connection_count_max: limits.connection_count_max,
                memory_bytes_max: limits.memory_bytes_max,
                per_address_max: match limits.connections_per_address_max {
                    0 => u32::MAX,
                    most => most,
                },
                per_address: Rate::per_s(limits.handshakes_per_address_per_s_max.into()),
                bounds_loopback: limits.bounds_loopback,
            },
            connection_count: AtomicU32::new(0),
            memory: Memory::default(),
            table: Mutex::default(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Takes a connection. Its address comes first, so that one that floods does not even take the places in which
    /// others are told that all are taken.
    ///
    /// # Errors
    ///
    /// There are too many, in one way or another.
    pub fn admit(&self, address: Option<IpAddr>, mono_ms: u64) -> Result<Seat, TurnedAway> {
        let seat = self.sit(address, mono_ms)?;
        self.count_in(mono_ms).map(|()| seat).inspect_err(|_| {
            self.stand_up(seat, mono_ms);
        })
    }

    fn count_in(&self, mono_ms: u64) -> Result<(), TurnedAway> {
        let bytes_max = self.rules.memory_bytes_max;
        if bytes_max > 0 && self.memory.resident_bytes(mono_ms) > bytes_max {
            return Err(TurnedAway::Memory);
        }
        let most = self.rules.connection_count_max;
        let more = |count: u32| (count < most).then_some(count + 1);
        let count = &self.connection_count;
        let counted = count.try_update(Relaxed, Relaxed, more);
        counted.map(|_| ()).map_err(|_| TurnedAway::Full)
    }

    /// A connection has gone.
    pub fn release(&self, seat: Seat, mono_ms: u64) {
        self.connection_count.fetch_sub(1, Relaxed);
        self.stand_up(seat, mono_ms);
    }

    /// Moves a connection to another address. It has the new seat then, and no longer the old one.
    ///
    /// # Errors
    ///
    /// There are too many of that address; the connection keeps its seat, and is to be turned away.
    pub fn reseat(&self, seat: Seat, address: IpAddr, mono_ms: u64) -> Result<Seat, TurnedAway> {
        let new = self.sit(Some(address), mono_ms)?;
        self.stand_up(seat, mono_ms);
        Ok(new)
    }

    /// Connections that were admitted and are still there.
    pub fn connection_count(&self) -> u32 {
        self.connection_count.load(Relaxed)
    }

    /// Addresses that are in the table now, and how often one was forgotten early for want of room.
    pub fn figures(&self) -> (usize, u64) {
        (self.table().entries.len(), self.forgotten.load(Relaxed))
    }

    fn sit(&self, address: Option<IpAddr>, mono_ms: u64) -> Result<Seat, TurnedAway> {
        let rules = &self.rules;
        let is_bound = rules.per_address_max < u32::MAX || rules.per_address.is_some();
        match address.filter(|_| is_bound).map(|it| it.to_canonical()) {
            Some(address) if rules.bounds_loopback || !address.is_loopback() => {
                let place = self.table().sit(network_of(address), rules, mono_ms)?;
                Ok(u32::try_from(place).map_or(Seat::UNCOUNTED, Seat))
            }
            Some(_) | None => Ok(Seat::UNCOUNTED),
        }
    }

    fn stand_up(&self, seat: Seat, mono_ms: u64) {
        if seat != Seat::UNCOUNTED {
            let forgotten = self.table().stand_up(seat.0 as usize, mono_ms);
            self.forgotten.fetch_add(forgotten, Relaxed);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Whoever finds it too old looks again; the others go by what was known.
    fn resident_bytes(&self, mono_ms: u64) -> u64 {
        let until_ms = self.until_ms.load(Relaxed);
        let renew = |until_ms| (until_ms <= mono_ms).then_some(mono_ms + MEMORY_AGE_MS);
        if until_ms <= mono_ms && self.until_ms.try_update(Relaxed, Relaxed, renew).is_ok() {
            let resident_bytes = metrics::resident_bytes().unwrap_or(0);
            self.resident_bytes.store(resident_bytes, Relaxed);
        }
        self.resident_bytes.load(Relaxed)
    }
}

impl Table {
    fn sit(&mut self, network: IpAddr, rules: &Rules, mono_ms: u64) -> Result<usize, TurnedAway> {
        let place = match self.by_network.get(&network) {
            Some(place) => *place,
            None => self.add(network),
        };
        let Some(entry) = self.entries.get_mut(place) else {
            debug_assert!(false, "both halves of the table agree");
            return Err(TurnedAway::AddressFull);
        };
        if entry.connection_count >= rules.per_address_max {
            return Err(TurnedAway::AddressFull);
        }
        if let Some(rate) = rules.per_address {
            let hasty = |wait_ms| TurnedAway::AddressHasty { wait_ms };
            entry.bucket.take(rate, mono_ms).map_err(hasty)?;
        }
        entry.connection_count += 1;
        Ok(place)
    }

    fn add(&mut self, network: IpAddr) -> usize {
        let place = self.entries.insert(Entry {
            network,
            connection_count: 0,
            bucket: Bucket::default(),
            is_queued: false,
        });
        self.by_network.insert(network, place);
        place
    }

    /// Returns how many entries had to go early.
    fn stand_up(&mut self, place: usize, mono_ms: u64) -> u64 {
        let Some(entry) = self.entries.get_mut(place) else {
            debug_assert!(false, "who has a seat has an entry");
            return 0;
        };
        entry.connection_count = entry.connection_count.saturating_sub(1);
        if entry.connection_count == 0 && !entry.is_queued {
            entry.is_queued = true;
            self.resting.push_back(place);
        }
        self.sweep(mono_ms)
    }

    /// Looks at a few entries that may say nothing any more: as many more than come, so that none is left for long.
    fn sweep(&mut self, mono_ms: u64) -> u64 {
        let mut forgotten = 0;
        for _ in 0..SWEEP_COUNT {
            let Some(place) = self.resting.pop_front() else {
                break;
            };
            let Some(entry) = self.entries.get_mut(place) else {
                debug_assert!(false, "who rests has an entry");
                continue;
            };
            let is_full = entry.bucket.is_full(mono_ms);
            if entry.connection_count > 0 {
                entry.is_queued = false;
            } else if is_full || self.resting.len() >= RESTING_ADDRESS_COUNT_MAX {
                forgotten += u64::from(!is_full);
                self.forget(place);
            } else {
                self.resting.push_back(place);
            }
        }
        self.shrink();
        forgotten
    }

    fn forget(&mut self, place: usize) {
        if let Some(entry) = self.entries.try_remove(place) {
            self.by_network.remove(&entry.network);
        }
    }

    fn shrink(&mut self) {
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to_fit();
            self.by_network.shrink_to_fit();
            self.resting.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RATE_BUCKET_MS;

    fn admission(all: u32, per_address: u32, per_s: u32) -> Admission {
        Admission::new(&Limits {
            connection_count_max: all,
            connections_per_address_max: per_address,
            handshakes_per_address_per_s_max: per_s,
            ..Limits::default()
        })
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn connections_are_admitted_up_to_the_bound() {
        let admission = admission(2, 0, 0);
        let seat = admission.admit(None, 0).unwrap();
        assert!(admission.admit(address("10.0.0.1"), 0).is_ok());
        for _ in 0..2 {
            assert_eq!(admission.admit(None, 0), Err(TurnedAway::Full));
        }
        assert_eq!(admission.connection_count(), 2);
        admission.release(seat, 0);
        assert_eq!(admission.connection_count(), 1);
        assert!(admission.admit(None, 0).is_ok());
        assert_eq!(admission.admit(None, 0), Err(TurnedAway::Full));
    }

    #[test]
    fn memory_is_looked_at_now_and_then() {
        let memory = Memory::default();
        let bytes = memory.resident_bytes(0);
        assert!(bytes > 100_000, "{bytes}");
        memory.resident_bytes.store(5, Relaxed);
        assert_eq!(memory.resident_bytes(MEMORY_AGE_MS - 1), 5);
        assert!(memory.resident_bytes(MEMORY_AGE_MS) > 100_000);
        for (memory_bytes_max, outcome) in [(0, true), (100_000, false), (1 << 40, true)] {
            let admission = Admission::new(&Limits {
                memory_bytes_max,
                ..Limits::default()
            });
            assert_eq!(admission.admit(None, 0).is_ok(), outcome);
            assert_eq!(admission.connection_count(), u32::from(outcome));
        }
    }

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let admission = admission(100, 2, 0);
        let first = admission.admit(address("10.0.0.1"), 0).unwrap();
        assert!(admission.admit(address("::ffff:10.0.0.1"), 0).is_ok());
        let third = admission.admit(address("10.0.0.1"), 0);
        assert_eq!(third, Err(TurnedAway::AddressFull));
        assert!(admission.admit(address("10.0.0.2"), 0).is_ok());
        assert_eq!(
            admission.connection_count(),
            3,
            "who is denied is not there"
        );
        admission.release(first, 0);
        assert!(admission.admit(address("10.0.0.1"), 0).is_ok());

        for last in ["1", "2:3"] {
            let address = address(&format!("2001:db8::{last}"));
            assert!(admission.admit(address, 0).is_ok());
        }
        let same = admission.admit(address("2001:db8::9:9:9"), 0);
        assert_eq!(same, Err(TurnedAway::AddressFull), "one /64 is one address");
        assert!(admission.admit(address("2001:db8:0:1::1"), 0).is_ok());
    }

    #[test]
    fn an_address_comes_only_so_often() {
        let admission = admission(10_000, 0, 10);
        let held = 10 * RATE_BUCKET_MS / 1000;
        for _ in 0..held {
            let seat = admission.admit(address("10.0.0.1"), 500).unwrap();
            admission.release(seat, 500);
        }
        let hasty = admission.admit(address("10.0.0.1"), 500);
        assert_eq!(hasty, Err(TurnedAway::AddressHasty { wait_ms: 100 }));
        assert!(admission.admit(address("10.0.0.2"), 500).is_ok());
        assert!(admission.admit(address("10.0.0.1"), 600).is_ok());
        assert!(admission.admit(address("10.0.0.1"), 600).is_err());
    }

    #[test]
    fn this_machine_is_bound_only_if_asked() {
        for (bounds_loopback, is_bound) in [(false, false), (true, true)] {
            let admission = Admission::new(&Limits {
                connections_per_address_max: 1,
                handshakes_per_address_per_s_max: 1,
                bounds_loopback,
                ..Limits::default()
            });
            for text in ["127.0.0.2", "::1", "::ffff:127.0.0.1"] {
                assert!(admission.admit(address(text), 0).is_ok());
                let second = admission.admit(address(text), 0);
                assert_eq!(second.is_err(), is_bound, "{text}");
            }
        }
    }

    #[test]
    fn an_address_may_be_known_later() {
        let admission = admission(2, 1, 0);
        let unknown = admission.admit(None, 0).unwrap();
        assert_eq!(unknown, Seat::UNCOUNTED);
        let known = admission.reseat(unknown, address("10.0.0.1").unwrap(), 0);
        let known = known.expect("it is the first");
        assert_eq!(admission.connection_count(), 1);
        let other = admission.admit(None, 0).unwrap();
        let denied = admission.reseat(other, address("10.0.0.1").unwrap(), 0);
        assert_eq!(denied, Err(TurnedAway::AddressFull));
        let moved = admission.reseat(known, address("10.0.0.2").unwrap(), 0);
        let moved = moved.expect("it is the first there");
        let place = admission.reseat(other, address("10.0.0.1").unwrap(), 0);
        admission.release(place.expect("it is free again"), 0);
        admission.release(moved, 0);
        assert_eq!(
            (admission.connection_count(), admission.figures()),
            (0, (0, 0))
        );
    }

    #[test]
    fn addresses_that_have_gone_are_forgotten_once_their_buckets_are_full() {
        let admission = admission(100, 0, 1);
        let come_and_go = |text: &str, mono_ms| {
            let seat = admission.admit(address(text), mono_ms).unwrap();
            admission.release(seat, mono_ms);
        };
        come_and_go("10.0.0.1", 0);
        come_and_go("10.0.0.2", 500);
        assert_eq!(admission.figures(), (2, 0));
        come_and_go("10.0.0.3", 999);
        assert_eq!(admission.figures(), (3, 0));
        come_and_go("10.0.0.4", 1000);
        assert_eq!(admission.figures(), (3, 0), "one token comes in a second");
        let stays = admission.admit(address("10.0.0.2"), 1600).unwrap();
        come_and_go("10.0.0.5", 9000);
        assert_eq!(admission.figures(), (2, 0), "who is there is not forgotten");
        admission.release(stays, 9000);
        come_and_go("10.0.0.5", 20_000);
        come_and_go("10.0.0.5", 30_000);
        assert_eq!(admission.figures(), (1, 0));
    }

    #[test]
    fn the_table_is_bounded() {
        let admission = admission(100, 0, 1);
        let most = u32::try_from(RESTING_ADDRESS_COUNT_MAX).unwrap();
        for number in 0..most + 10 {
            let address = IpAddr::V4(number.into());
            let seat = admission.admit(Some(address), 0).unwrap();
            admission.release(seat, 0);
        }
        assert_eq!(admission.figures(), (RESTING_ADDRESS_COUNT_MAX, 10));
    }
}
