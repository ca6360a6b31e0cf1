//! Phase 4: what peers send. One `recv` and a bounded number of objects for each peer and turn; what is over waits in
//! the peer's spill, and the peer on the list.

use super::{Engine, Socket};
use crate::http::{Refusal, Reply};
use crate::hub::Hub;
use crate::limits::{
    INFLATED_BYTES_PER_TURN, METRICS_COUNT_PER_TURN, OBJECT_COUNT_PER_PEER_MAX,
    OBJECT_COUNT_PER_PEER_MIN, OBJECT_COUNT_PER_TURN, REPLY_BYTES_MAX, TOKEN_COUNT_PER_TURN,
};
use crate::log::LogPort;
use crate::peer::{Marks, Peer, Phase, Received, Spill};
use crate::slots::Slot;
use crate::ws::{Input, Protocol, Rules};

/// Why taking stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Everything was taken that makes an object.
    Empty,
    /// The turn's share was taken; go on in the next.
    Budget,
    /// The peer has to take its own replies first.
    Replies,
    /// What the peer sent has to be kept first.
    Uncommitted,
    /// It has yet to be settled who the peer is.
    Identity,
    /// There is no room where it sends to; try again soon.
    Room,
    /// It sends faster than it may.
    Rate,
}

impl<S: Socket, L: LogPort> Engine<S, L> {
    pub(super) fn read_peers(&mut self) {
        let mut list = std::mem::take(&mut self.to_read);
        let mut buffer = std::mem::take(&mut self.read_buffer);
        self.inflated_bytes = 0;
        self.object_share = object_share(list.len() + self.to_retry.len());
        self.token_count = 0;
        self.metrics_count = 0;
        for index in list.drain(..) {
            if self.is_postponed(index) {
                self.postponed.push(index);
            } else {
                self.read_listed(index, &mut buffer);
            }
        }
        self.retry_peers(&mut buffer);
        self.read_buffer = buffer;
        // Those who had to wait come first.
        list.append(&mut self.postponed);
        list.append(&mut self.to_read);
        self.to_read = list;
        self.to_read.shrink_to(4096);
    }

    /// Whether a peer is not read in this turn because of what others have brought already, which is counted.
    pub(super) fn is_postponed(&mut self, index: u32) -> bool {
        let Some(peer) = self.peers.at_mut(index) else {
            return false;
        };
        let is_inflated = peer.window_bits > 0 && self.inflated_bytes >= INFLATED_BYTES_PER_TURN;
        let is_checked = peer.marks.has(Marks::TOKEN) && self.token_count >= TOKEN_COUNT_PER_TURN;
        let is_written =
            peer.marks.has(Marks::METRICS) && self.metrics_count >= METRICS_COUNT_PER_TURN;
        let is_postponed = is_inflated || is_checked || is_written;
        if is_postponed {
            // Time in which it is not read is not silence.
            peer.heard = self.now.tick();
            self.hub.counters.inflating_postponed_total += u64::from(is_inflated);
            self.hub.counters.tokens_postponed_total += u64::from(is_checked);
            self.hub.counters.metrics_postponed_total += u64::from(is_written);
        }
        is_postponed
    }

    /// Reads a peer that was on a list, and is no longer.
    pub(super) fn read_listed(&mut self, index: u32, buffer: &mut [u8]) {
        let Some(peer) = self.peers.at_mut(index) else {
            return;
        };
        peer.marks.clear(Marks::TOKEN);
        peer.marks.clear(Marks::METRICS);
        peer.marks.clear(Marks::TO_READ);
        let (phase, is_doomed) = (peer.phase, peer.marks.has(Marks::DOOMED));
        if !is_doomed && let Some(slot) = self.peers.slot_at(index) {
            self.read_peer(slot, phase, buffer);
            self.deliver();
        }
    }

    fn read_peer(&mut self, slot: Slot, phase: Phase, buffer: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if peer.has_waiting() && phase != Phase::Lingering {
            self.take_spill(slot);
            return;
        }
        if !peer.marks.has(Marks::READABLE) || !may_read(peer, slot, &self.hub) {
            return;
        }
        // It was told to go and has had its time to hear that; who sends that much on has no ear.
        let is_to_go = phase == Phase::Lingering && peer.marks.has(Marks::TURNED_AWAY);
        match peer.socket.recv(&mut self.common, buffer) {
            Received::Bytes(count) if is_to_go && count == buffer.len() => self.doom(slot.index),
            Received::Bytes(count) => {
                let is_drained = count < buffer.len() && !peer.marks.has(Marks::HUNG_UP);
                self.received(slot, buffer.get_mut(..count), is_drained);
            }
            Received::Part(count) => self.received(slot, buffer.get_mut(..count), false),
            Received::Blocked => peer.marks.clear(Marks::READABLE),
            Received::Proxied(client) => {
                match client {
                    Some(client) => self.named_by_header(slot, client),
                    None => _ = peer.marks.set(Marks::UNNAMED),
                }
                self.mark_read(slot.index);
            }
            Received::Closed => {
                peer.marks.clear(Marks::READABLE);
                self.ended(slot);
            }
            Received::Malformed => {
                self.hub.counters.proxy_malformed_total += 1;
                self.doom(slot.index);
            }
            Received::Failed => self.doom(slot.index),
            Received::Broken => self.broke_off(slot),
            Received::Misused => {
                // In the clear, so that nothing is said of TLS that one could believe.
                let reply = Reply::closing(self.now.unix_ms);
                self.refuse_request(slot, reply, Refusal::WITHOUT_TLS);
            }
        }
    }

    fn received(&mut self, slot: Slot, bytes: Option<&mut [u8]>, is_drained: bool) {
        let (Some(peer), Some(bytes)) = (self.peers.get_mut(slot), bytes) else {
            return;
        };
        if is_drained {
            peer.marks.clear(Marks::READABLE);
        }
        peer.heard = self.now.tick();
        self.hub.counters.received_bytes_total += bytes.len() as u64;
        if !bytes.is_empty() {
            self.take_bytes(slot, bytes);
        }
        if !is_drained {
            self.mark_read(slot.index);
        }
    }

    /// New bytes: behind what is spilled already, or straight from the buffer.
    fn take_bytes(&mut self, slot: Slot, bytes: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        match &mut peer.spill {
            Some(spill) if spill.at < spill.bytes.len() => {
                spill.bytes.drain(..spill.at);
                spill.at = 0;
                spill.bytes.extend_from_slice(bytes);
                self.take_spill(slot);
            }
            Some(_) | None => {
                let (taken, stop) = self.take_objects(slot, bytes);
                if let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty())
                    && let Some(peer) = self.peers.get_mut(slot)
                {
                    let spill = peer.spill_mut();
                    spill.bytes.clear();
                    spill.bytes.extend_from_slice(rest);
                    spill.at = 0;
                }
                self.stopped(slot, stop);
            }
        }
    }

    fn take_spill(&mut self, slot: Slot) {
        let Some(spill) = self
            .peers
            .get_mut(slot)
            .and_then(|peer| peer.spill.as_mut())
        else {
            return;
        };
        let (mut bytes, at) = (std::mem::take(&mut spill.bytes), spill.at);
        let (taken, stop) = self.take_objects(slot, bytes.get_mut(at..).unwrap_or_default());
        if let Some(spill) = self
            .peers
            .get_mut(slot)
            .and_then(|peer| peer.spill.as_mut())
        {
            spill.at = at + taken;
            spill.bytes = bytes;
        }
        self.stopped(slot, stop);
    }

    /// Puts the peer on the list that fits, and frees a spill that is used up.
    fn stopped(&mut self, slot: Slot, stop: Stop) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if let Some(spill) = &mut peer.spill {
            spill.is_waiting = stop != Stop::Empty;
            if spill.is_empty() && stop == Stop::Empty {
                peer.spill = None;
            }
        }
        match stop {
            Stop::Budget => self.mark_read(slot.index),
            Stop::Room => self.retry_later(slot),
            Stop::Replies => self.hub.counters.replies_full_total += 1,
            Stop::Uncommitted => self.hub.counters.uncommitted_full_total += 1,
            Stop::Rate => self.slow(slot),
            Stop::Identity => {}
            Stop::Empty => {
                if peer.marks.has(Marks::READABLE) {
                    self.mark_read(slot.index);
                }
            }
        }
    }

    /// Takes objects, whatever the phase makes of the bytes. Returns how many bytes were used.
    fn take_objects(&mut self, slot: Slot, bytes: &mut [u8]) -> (usize, Stop) {
        let (mut at, mut budget) = (0, self.object_share);
        loop {
            let Some(peer) = self.peers.get_mut(slot) else {
                return (at, Stop::Empty);
            };
            if peer.marks.has(Marks::DOOMED) {
                return (bytes.len(), Stop::Empty);
            }
            let phase = peer.phase;
            let rest = bytes.get_mut(at..).unwrap_or_default();
            match phase {
                Phase::Http => {
                    let (taken, stop) = self.take_request(slot, rest, &mut budget);
                    at += taken;
                    if let Some(stop) = stop {
                        return (at, stop);
                    }
                }
                Phase::Ending | Phase::Lingering => return (bytes.len(), Stop::Empty),
                Phase::Hello
                | Phase::Claiming
                | Phase::Chat
                | Phase::Relay
                | Phase::Echo
                | Phase::Closing => {
                    let (taken, stop) = self.take_messages(slot, rest, &mut budget);
                    return (at + taken, stop);
                }
            }
        }
    }

    fn take_messages(&mut self, slot: Slot, bytes: &mut [u8], budget: &mut u32) -> (usize, Stop) {
        if let Some(stop) = self.take_text_rest(slot, budget) {
            return (0, stop);
        }
        let Some(peer) = self.peers.get_mut(slot) else {
            return (0, Stop::Empty);
        };
        let mut protocol = std::mem::take(&mut peer.protocol);
        let (length, mut rules) = (bytes.len(), self.rules);
        rules.deflate = peer.window_bits > 0;
        let mut input = Input::new(bytes);
        let stop = match self.take_echoes(slot, &mut protocol, &mut input, &rules, budget) {
            Some(stop) => stop,
            None => self.take_each(slot, &mut protocol, &mut input, &rules, budget),
        };
        let mut taken = length - input.rest().len();
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.protocol = protocol;
            if peer.phase == Phase::Ending {
                // Nobody wants the rest.
                taken = length;
            }
        }
        (taken, stop)
    }

    fn take_each(
        &mut self,
        slot: Slot,
        protocol: &mut Protocol,
        input: &mut Input<'_>,
        rules: &Rules,
        budget: &mut u32,
    ) -> Stop {
        loop {
            if let Some(stop) = self.must_stop(slot, *budget) {
                return stop;
            }
            match protocol.next(input, rules) {
                Ok(Some(message)) => {
                    self.hub.counters.messages_received_total += 1;
                    if let Some(stop) = self.take_message(slot, message, budget) {
                        return stop;
                    }
                }
                Ok(None) => return Stop::Empty,
                Err(violation) => {
                    self.violated(slot, violation.close_code(), violation.as_str());
                    return Stop::Empty;
                }
            }
        }
    }

    /// Whether the next message of a peer has to wait.
    pub(super) fn must_stop(&mut self, slot: Slot, budget: u32) -> Option<Stop> {
        let peer = self.peers.get(slot)?;
        match peer.phase {
            Phase::Closing => return None,
            Phase::Claiming => return Some(Stop::Identity),
            // The message before was one too many.
            Phase::Ending | Phase::Lingering => return Some(Stop::Empty),
            Phase::Http | Phase::Hello | Phase::Chat | Phase::Relay | Phase::Echo => {}
        }
        let waiting =
            peer.reply_bytes() + self.hub.effects.bytes_waiting() + self.hub.awaited_bytes(slot);
        if waiting >= REPLY_BYTES_MAX {
            return Some(Stop::Replies);
        }
        if self.hub.is_held_back(slot) {
            return Some(Stop::Uncommitted);
        }
        if budget == 0 {
            return Some(Stop::Budget);
        }
        if self.must_slow(slot, peer.phase) {
            return Some(Stop::Rate);
        }
        (peer.phase == Phase::Relay && self.hub.must_relay_wait(slot)).then_some(Stop::Room)
    }

    /// The other side sends no more.
    fn ended(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.marks.set(Marks::ENDED);
        // A socket may still hold the end of what it was given.
        let is_flushed = peer.replies.is_none() && peer.socket.held_bytes(&self.common) == 0;
        match peer.phase {
            Phase::Lingering => self.doom(slot.index),
            Phase::Http | Phase::Closing | Phase::Ending if !is_flushed => self.end(slot),
            Phase::Http
            | Phase::Closing
            | Phase::Ending
            | Phase::Hello
            | Phase::Claiming
            | Phase::Chat
            | Phase::Relay
            | Phase::Echo => self.doom(slot.index),
        }
    }
}

/// Whether a peer may be read now: its own replies have room, its messages are kept, and its echo is through.
fn may_read<S: Socket>(peer: &Peer<S>, slot: Slot, hub: &Hub) -> bool {
    match peer.phase {
        Phase::Echo => peer.replies.is_none(),
        Phase::Claiming => false,
        Phase::Http | Phase::Hello | Phase::Chat | Phase::Relay => {
            let reply_bytes = peer.reply_bytes() + hub.awaited_bytes(slot);
            reply_bytes < REPLY_BYTES_MAX && !hub.is_held_back(slot)
        }
        Phase::Closing | Phase::Ending | Phase::Lingering => true,
    }
}

/// How many objects each of so many ready peers may bring to a turn: whoever is nearly alone sends what it has for one
/// fan-out instead of several, and a crowd does not wait longer for it.
fn object_share(ready_count: usize) -> u32 {
    let ready_count = u32::try_from(ready_count).unwrap_or(u32::MAX).max(1);
    (OBJECT_COUNT_PER_TURN / ready_count)
        .clamp(OBJECT_COUNT_PER_PEER_MIN, OBJECT_COUNT_PER_PEER_MAX)
}

impl Spill {
    /// The bytes of a request head so far, with how far they were looked at.
    pub(super) fn scan_from_start(&mut self) -> crate::http::Scan {
        std::mem::take(&mut self.scan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_large_only_where_few_share() {
        for (ready_count, share) in [
            (0, 256),
            (1, 256),
            (4, 256),
            (5, 204),
            (16, 64),
            (17, 64),
            (1_000_000, 64),
            (usize::MAX, 64),
        ] {
            assert_eq!(object_share(ready_count), share, "{ready_count} ready");
        }
    }
}
