//! Phase 9: deadlines. Each peer has one timer; a deadline that moved away is found when the old one fires.

use super::arrive::FULL;
use super::{Engine, Socket};
use crate::http::Refusal;
use crate::limits::{REPLY_BYTES_MAX, STANDSTILL_MS};
use crate::log::LogPort;
use crate::peer::{Marks, Phase};
use crate::slots::Slot;
use crate::timers::{Tick, ticks};
use crate::ws::CloseCode;
use crate::ws::frame::{self, Opcode};

impl<S: Socket, L: LogPort> Engine<S, L> {
    pub(super) fn expire(&mut self) {
        self.hub.expire();
        let now = self.now.tick();
        let mut fired = Vec::new();
        self.timers.advance(now, &mut fired);
        for (index, tick) in fired {
            self.fire(index, tick, now);
        }
    }

    fn fire(&mut self, index: u32, tick: Tick, now: Tick) {
        let Some(peer) = self.peers.at_mut(index) else {
            return;
        };
        if peer.armed != tick {
            return;
        }
        peer.armed = 0;
        if now.saturating_sub(peer.deadline) >= ticks(STANDSTILL_MS) {
            // The shard itself stood still, as in a suspended machine. That is nobody's silence: the peer was not
            // asked, and what it sent is yet to come.
            peer.heard = now;
            let grace_ms = STANDSTILL_MS.min(self.settings.limits.heartbeat_ms);
            self.arm(index, now + ticks(grace_ms));
        } else if peer.deadline > now {
            let deadline = peer.deadline;
            self.arm(index, deadline);
        } else if let Some(slot) = self.peers.slot_at(index) {
            self.time_out(slot);
        }
    }

    fn time_out(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get(slot) else {
            return;
        };
        match peer.phase {
            Phase::Http if peer.marks.has(Marks::TURNED_AWAY) => {
                self.refuse_request(slot, self.closing(), FULL);
            }
            Phase::Http if peer.spill.is_some() => {
                self.hub.counters.handshake_timeouts_total += 1;
                self.refuse_request(slot, self.closing(), Refusal::TIMEOUT);
            }
            // It asked for nothing, or not again: there is nothing to answer.
            Phase::Http => self.end(slot),
            Phase::Hello | Phase::Claiming => {
                self.hub.counters.handshake_timeouts_total += 1;
                self.dismiss_with(slot, CloseCode::LATER, "identity was not settled in time");
            }
            Phase::Chat | Phase::Relay | Phase::Echo => self.check_life(slot),
            Phase::Closing | Phase::Ending | Phase::Lingering => self.doom(slot.index),
        }
    }

    /// A ping each interval; silence for two of them is the end, and so is a token that has expired.
    fn check_life(&mut self, slot: Slot) {
        if self.check_token(slot) {
            return;
        }
        let interval = ticks(self.settings.limits.heartbeat_ms);
        let now = self.now.tick();
        let is_held_back = self.hub.is_held_back(slot);
        let awaited_bytes = self.hub.awaited_bytes(slot);
        let is_paused = self.throttle.is_paused(slot.index);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let reply_bytes = peer.reply_bytes();
        let is_awaiting =
            reply_bytes < REPLY_BYTES_MAX && reply_bytes + awaited_bytes >= REPLY_BYTES_MAX;
        if is_held_back || is_awaiting || is_paused {
            // Time in which it is not read is not silence.
            peer.heard = now;
        }
        if now.saturating_sub(peer.heard) >= 2 * interval {
            self.hub.counters.silent_closed_total += 1;
            self.dismiss_with(slot, CloseCode::SLOW, "no sign of life");
            return;
        }
        self.ping(slot);
        self.arm_open(slot, now + interval);
    }

    fn ping(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get(slot) else {
            return;
        };
        // A blocked peer would not get it in time, and a full one is watched by what it takes.
        if !peer.marks.has(Marks::WRITABLE) || peer.reply_bytes() >= REPLY_BYTES_MAX {
            return;
        }
        let mark = match peer.phase {
            Phase::Chat => self.hub.inbox_mark(slot).map(|seq| seq.to_string()),
            _ => None,
        };
        if let Some(replies) = self.replies(slot.index) {
            frame::encode(
                replies.buffer(),
                Opcode::Ping,
                mark.unwrap_or_default().as_bytes(),
            );
        }
        self.mark_flush(slot.index);
    }
}
