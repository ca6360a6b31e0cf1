//! Phase 9: deadlines. Each peer has one timer; a deadline that moved away is found when the old one fires.

use super::arrive::FULL;
use super::flush::send;
use super::{Engine, Socket};
use crate::http::Refusal;
use crate::limits::{PING_SILENCE_PERCENT, REPLY_BYTES_MAX, STANDSTILL_MS};
use crate::log::LogPort;
use crate::peer::{Marks, Peer, Phase};
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
            Phase::Http => {
                self.hub.counters.idle_closed_total += 1;
                self.end(slot);
            }
            Phase::Hello | Phase::Claiming => {
                self.hub.counters.handshake_timeouts_total += 1;
                self.dismiss_with(slot, CloseCode::LATER, "identity was not settled in time");
            }
            Phase::Chat | Phase::Relay | Phase::Echo => self.check_life(slot),
            Phase::Closing | Phase::Ending | Phase::Lingering => self.doom(slot.index),
        }
    }

    /// Who has been silent for long is asked, and who stays silent for two intervals is let go; so is one whose token has
    /// expired. Where an inbox has messages there is a ping in each interval, as the answer confirms them.
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
        // It is for us to read it: it waits for room, or for its turn.
        let is_listed = peer.marks.has(Marks::TO_READ);
        if is_held_back || is_awaiting || is_paused || is_listed {
            // Time in which it is not read is not silence.
            peer.heard = now;
        }
        let heard = peer.heard;
        if now.saturating_sub(heard) >= 2 * interval {
            self.hub.counters.silent_closed_total += 1;
            self.dismiss_with(slot, CloseCode::SLOW, "no sign of life");
            return;
        }
        let mark = match peer.phase {
            Phase::Chat => self.hub.inbox_mark(slot),
            _ => None,
        };
        let ask = heard + ping_ticks(interval);
        if mark.is_none() && now < ask {
            self.arm_open(slot, ask);
            return;
        }
        self.ping(slot, mark);
        let next = match mark {
            Some(_) => now + interval,
            None => heard + 2 * interval,
        };
        self.arm_open(slot, next);
    }

    fn ping(&mut self, slot: Slot, mark: Option<u64>) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        // A blocked peer would not get it in time, and a full one is watched by what it takes.
        if !peer.marks.has(Marks::WRITABLE) || peer.reply_bytes() >= REPLY_BYTES_MAX {
            return;
        }
        let mark = mark.map(|seq| seq.to_string()).unwrap_or_default();
        let mut ping = std::mem::take(&mut self.gathered);
        ping.clear();
        frame::encode(&mut ping, Opcode::Ping, mark.as_bytes());
        let is_next = peer.replies.is_none() && !peer.marks.has(Marks::MID_FRAME);
        let Peer { socket, marks, .. } = peer;
        let (common, counters) = (&mut self.common, &mut self.hub.counters);
        // Usually nothing else waits, so it needs neither a buffer of the peer's own nor another turn.
        match is_next.then(|| send(socket, common, marks, &ping, counters)) {
            Some(None) => self.doom(slot.index),
            Some(Some(count)) if count == ping.len() => {}
            sent @ (Some(Some(_)) | None) => {
                let rest = ping.get(sent.flatten().unwrap_or(0)..).unwrap_or_default();
                if let Some(replies) = self.replies(slot.index) {
                    replies.buffer().extend_from_slice(rest);
                }
                self.mark_flush(slot.index);
            }
        }
        self.gathered = ping;
    }
}

/// For how long a peer may be silent before it is asked, of an interval in ticks.
fn ping_ticks(interval: Tick) -> Tick {
    interval + interval * PING_SILENCE_PERCENT / 100
}
