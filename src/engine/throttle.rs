//! How fast connections may send: messages, bytes and joins per second, each by a token bucket.
//!
//! Nothing is kept of a connection whose buckets are full. One that is over a bound is told so once, where the
//! protocol has words for it, and is not read until there is a token again: what it sends on waits with itself.
//!
//! A rate that nobody has set does not hold for this machine's own addresses, where load generators are.

use super::{Engine, Socket};
use crate::hashing::HashKey;
use crate::limits::{Limits, RATE_PAUSE_MS_MAX, RATE_SWEEP_MS};
use crate::log::LogPort;
use crate::peer::{Marks, Phase};
use crate::proto::{Code, Request};
use crate::rates::{Bucket, Rate};
use crate::slots::Slot;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The rates of a shard's connections.
#[derive(Debug)]
pub(super) struct Throttle {
    messages: Bound,
    bytes: Bound,
    joins: Bound,
    /// By the index of the slot.
    spent: HashMap<u32, Spent, HashKey>,
    /// Connections that are not read until a time.
    paused: BinaryHeap<Reverse<(u64, Slot)>>,
    swept_ms: u64,
}

/// A rate that may be bounded.
#[derive(Clone, Copy, Debug)]
struct Bound {
    rate: Option<Rate>,
    is_for_local: bool,
}

impl Bound {
    fn new(per_s: u32, is_for_local: bool) -> Bound {
        Bound {
            rate: Rate::per_s(per_s.into()),
            is_for_local,
        }
    }

    /// The rate that a connection is held to, which comes from this machine or not.
    fn of(self, is_local: bool) -> Option<Rate> {
        self.rate.filter(|_| self.is_for_local || !is_local)
    }
}

/// What a connection has used.
#[derive(Debug, Default)]
struct Spent {
    messages: Bucket,
    bytes: Bucket,
    joins: Bucket,
    /// Whether it was told that it is too fast, since it last was not.
    is_told: bool,
    /// Whether it is in `paused`.
    is_paused: bool,
}

impl Throttle {
    pub(super) fn new(limits: &Limits, hash_key: HashKey) -> Throttle {
        Throttle {
            messages: Bound::new(
                limits.messages_per_connection_per_s_max,
                limits.messages_bound_loopback,
            ),
            bytes: Bound::new(
                limits.bytes_per_connection_per_s_max,
                limits.bytes_bound_loopback,
            ),
            joins: Bound::new(
                limits.joins_per_connection_per_s_max,
                limits.joins_bound_loopback,
            ),
            spent: HashMap::with_hasher(hash_key),
            paused: BinaryHeap::new(),
            swept_ms: 0,
        }
    }

    /// Whether messages of a connection are counted, which comes from this machine or not.
    pub(super) fn bounds_messages(&self, is_local: bool) -> bool {
        self.messages.of(is_local).is_some() || self.bytes.of(is_local).is_some()
    }

    /// A message of so many bytes was taken.
    fn spend(&mut self, index: u32, is_local: bool, bytes: usize, mono_ms: u64) {
        let (messages, rate) = (self.messages.of(is_local), self.bytes.of(is_local));
        if messages.is_none() && rate.is_none() {
            return;
        }
        let spent = self.spent.entry(index).or_default();
        if let Some(rate) = messages {
            spent.messages.spend(rate, 1, mono_ms);
        }
        if let Some(rate) = rate {
            spent.bytes.spend(rate, bytes as u64, mono_ms);
        }
        spent.is_told = false;
    }

    /// Bytes were taken beside those of messages.
    fn spend_bytes(&mut self, index: u32, is_local: bool, bytes: usize, mono_ms: u64) {
        if let Some(rate) = self.bytes.of(is_local) {
            let spent = self.spent.entry(index).or_default();
            spent.bytes.spend(rate, bytes as u64, mono_ms);
        }
    }

    /// Takes a join.
    fn take_join(&mut self, index: u32, is_local: bool, mono_ms: u64) -> Result<(), u64> {
        match self.joins.of(is_local) {
            Some(rate) => {
                let spent = self.spent.entry(index).or_default();
                spent.joins.take(rate, mono_ms)
            }
            None => Ok(()),
        }
    }

    /// How long the next message of a connection has to wait, in milliseconds.
    pub(super) fn wait_ms(&self, index: u32, mono_ms: u64) -> u64 {
        let wait_ms = |rate: Option<Rate>, bucket: Bucket| {
            rate.map_or(0, |rate| bucket.wait_ms(rate, mono_ms))
        };
        self.spent.get(&index).map_or(0, |spent| {
            let messages = wait_ms(self.messages.rate, spent.messages);
            messages.max(wait_ms(self.bytes.rate, spent.bytes))
        })
    }

    /// It was told, or there is nothing to tell it with: the next is not taken before its time.
    fn note_told(&mut self, index: u32) {
        if let Some(spent) = self.spent.get_mut(&index) {
            spent.is_told = true;
        }
    }

    fn is_told(&self, index: u32) -> bool {
        self.spent.get(&index).is_some_and(|spent| spent.is_told)
    }

    /// Whether a connection is not read now.
    pub(super) fn is_paused(&self, index: u32) -> bool {
        self.spent.get(&index).is_some_and(|spent| spent.is_paused)
    }

    /// Lets a connection wait. Returns whether it did not already.
    fn pause(&mut self, slot: Slot, mono_ms: u64) -> bool {
        let wait_ms = self
            .wait_ms(slot.index, mono_ms)
            .clamp(1, RATE_PAUSE_MS_MAX);
        let Some(spent) = self.spent.get_mut(&slot.index) else {
            return false;
        };
        let is_new = !std::mem::replace(&mut spent.is_paused, true);
        if is_new {
            self.paused.push(Reverse((mono_ms + wait_ms, slot)));
        }
        is_new
    }

    /// The next connection whose pause is over.
    fn next_due(&mut self, mono_ms: u64) -> Option<Slot> {
        let Reverse((until_ms, _)) = *self.paused.peek()?;
        if until_ms > mono_ms {
            return None;
        }
        let Reverse((_, slot)) = self.paused.pop()?;
        Some(slot)
    }

    /// When the next pause is over.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.paused.peek().map(|Reverse((until_ms, _))| *until_ms)
    }

    /// A connection has gone.
    pub(super) fn forget(&mut self, index: u32) {
        if !self.spent.is_empty() {
            self.spent.remove(&index);
        }
    }

    /// Forgets full buckets, now and then.
    fn sweep(&mut self, mono_ms: u64) {
        if self.spent.is_empty() || mono_ms < self.swept_ms + RATE_SWEEP_MS {
            return;
        }
        self.swept_ms = mono_ms;
        self.spent.retain(|_, spent| {
            let buckets = [spent.messages, spent.bytes, spent.joins];
            spent.is_paused || !buckets.iter().all(|bucket| bucket.is_full(mono_ms))
        });
        self.spent.shrink_to(64);
    }
}

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Reads connections again whose pause is over.
    pub(super) fn resume_paced(&mut self) {
        let mono_ms = self.now.mono_ms;
        while let Some(slot) = self.throttle.next_due(mono_ms) {
            let Some(peer) = self.peers.get_mut(slot) else {
                continue;
            };
            // Time in which it is not read is not silence.
            peer.heard = self.now.tick();
            if let Some(spent) = self.throttle.spent.get_mut(&slot.index) {
                spent.is_paused = false;
            }
            self.mark_read(slot.index);
        }
        self.throttle.sweep(mono_ms);
    }

    /// Whether the next message of a peer has to wait because it sends too fast. A chat is told first.
    pub(super) fn must_slow(&self, slot: Slot, phase: Phase) -> bool {
        if self.throttle.wait_ms(slot.index, self.now.mono_ms) == 0 {
            return false;
        }
        match phase {
            Phase::Hello | Phase::Claiming | Phase::Chat => self.throttle.is_told(slot.index),
            Phase::Http | Phase::Relay | Phase::Echo => true,
            Phase::Closing | Phase::Ending | Phase::Lingering => false,
        }
    }

    /// Does not read a peer for a while.
    pub(super) fn slow(&mut self, slot: Slot) {
        if self.throttle.pause(slot, self.now.mono_ms) {
            self.hub.counters.rate_paused_total += 1;
        }
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.heard = self.now.tick();
        }
    }

    /// A message of so many bytes was taken.
    pub(super) fn spend(&mut self, slot: Slot, bytes: usize) {
        let is_local = self.is_local(slot);
        self.throttle
            .spend(slot.index, is_local, bytes, self.now.mono_ms);
    }

    /// A message had so many bytes more than were counted with it.
    pub(super) fn spend_bytes(&mut self, slot: Slot, bytes: usize) {
        if bytes > 0 {
            let is_local = self.is_local(slot);
            self.throttle
                .spend_bytes(slot.index, is_local, bytes, self.now.mono_ms);
        }
    }

    fn is_local(&self, slot: Slot) -> bool {
        let peer = self.peers.get(slot);
        peer.is_some_and(|peer| peer.marks.has(Marks::LOCAL))
    }

    /// Something was taken that is answered in any case; but the next may have to wait.
    pub(super) fn spend_anyway(&mut self, slot: Slot, bytes: usize) {
        let mono_ms = self.now.mono_ms;
        self.spend(slot, bytes);
        if self.throttle.wait_ms(slot.index, mono_ms) > 0 {
            self.throttle.note_told(slot.index);
        }
    }

    /// Refuses a command that comes too fast. Returns whether it was refused.
    pub(super) fn refuse_hasty(&mut self, slot: Slot, request: &Request<'_>) -> bool {
        let wait_ms = self.throttle.wait_ms(slot.index, self.now.mono_ms);
        if wait_ms == 0 {
            return false;
        }
        self.throttle.note_told(slot.index);
        self.refuse_rate(
            slot,
            request,
            wait_ms,
            "too many messages in too short a time",
        );
        true
    }

    /// Refuses a join that comes too fast. Returns whether it was refused.
    pub(super) fn refuse_hasty_join(&mut self, slot: Slot, request: &Request<'_>) -> bool {
        let is_local = self.is_local(slot);
        let taken = self
            .throttle
            .take_join(slot.index, is_local, self.now.mono_ms);
        match taken {
            Ok(()) => false,
            Err(wait_ms) => {
                self.refuse_rate(slot, request, wait_ms, "too many joins in too short a time");
                true
            }
        }
    }

    fn refuse_rate(&mut self, slot: Slot, request: &Request<'_>, wait_ms: u64, text: &'static str) {
        self.hub.counters.rate_limited_total += 1;
        let refusal = request.refuse(Code::RateLimited, text);
        self.hub.refuse_for(slot, &refusal, wait_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: u32 = 3;

    fn throttle(messages: u32, bytes: u32, joins: u32) -> Throttle {
        let limits = Limits {
            messages_per_connection_per_s_max: messages,
            bytes_per_connection_per_s_max: bytes,
            joins_per_connection_per_s_max: joins,
            ..Limits::default()
        };
        Throttle::new(&limits, HashKey::new((1, 2)))
    }

    #[test]
    fn what_nobody_bounds_is_not_counted() {
        let mut throttle = throttle(0, 0, 0);
        throttle.spend(PEER, false, usize::MAX, 0);
        assert_eq!(
            (
                throttle.wait_ms(PEER, 0),
                throttle.take_join(PEER, false, 0)
            ),
            (0, Ok(()))
        );
        assert!(throttle.spent.is_empty());
    }

    #[test]
    fn either_bound_makes_wait() {
        let mut throttle = throttle(10, 1000, 0);
        (0..50).for_each(|_| throttle.spend(PEER, false, 0, 0));
        assert_eq!(throttle.wait_ms(PEER, 0), 100);
        assert_eq!(throttle.wait_ms(PEER + 1, 0), 0);
        throttle.spend(PEER + 1, false, 6000, 0);
        assert_eq!(throttle.wait_ms(PEER + 1, 0), 1001);
    }

    #[test]
    fn what_nobody_has_set_holds_for_others_than_this_machine() {
        let mut throttle = throttle(10, 1000, 1);
        throttle.bytes.is_for_local = true;
        (0..100).for_each(|_| throttle.spend(PEER, true, 0, 0));
        assert_eq!(throttle.wait_ms(PEER, 0), 0);
        assert!((0..100).all(|_| throttle.take_join(PEER, true, 0).is_ok()));
        throttle.spend(PEER, true, 6000, 0);
        assert_eq!(throttle.wait_ms(PEER, 0), 1001);
        (0..5).for_each(|_| throttle.take_join(PEER, false, 0).unwrap());
        assert_eq!(throttle.take_join(PEER, false, 0), Err(1000));
        assert!(throttle.bounds_messages(true));
        throttle.bytes.is_for_local = false;
        assert!(throttle.bounds_messages(false) && !throttle.bounds_messages(true));
    }

    #[test]
    fn buckets_exist_only_while_they_are_not_full() {
        let mut throttle = throttle(10, 0, 10);
        throttle.spend(1, false, 0, 1000);
        (0..20).for_each(|_| throttle.spend(2, false, 0, 1000));
        throttle.take_join(3, false, 1000).unwrap();
        for (mono_ms, count) in [(1001, 3), (2001, 1), (3000, 1), (3001, 0)] {
            throttle.sweep(mono_ms);
            assert_eq!(throttle.spent.len(), count, "{mono_ms}");
        }
        throttle.spend(1, false, 0, 5000);
        throttle.forget(1);
        assert!(throttle.spent.is_empty());
    }

    #[test]
    fn a_pause_is_over_in_time() {
        let mut throttle = throttle(1, 0, 0);
        let slot = Slot {
            index: PEER,
            generation: 7,
        };
        (0..7).for_each(|_| throttle.spend(PEER, false, 0, 0));
        assert!(throttle.pause(slot, 0) && !throttle.pause(slot, 0));
        assert_eq!(throttle.next_ms(), Some(RATE_PAUSE_MS_MAX));
        assert_eq!(throttle.next_due(RATE_PAUSE_MS_MAX - 1), None);
        assert_eq!(throttle.next_due(RATE_PAUSE_MS_MAX), Some(slot));
        assert_eq!(
            (throttle.next_due(u64::MAX), throttle.next_ms()),
            (None, None)
        );
    }
}
