//! How connections end: the close handshake (RFC 6455, 7), the end of HTTP, and the stop of the server.

use super::{Engine, Socket};
use crate::log::LogPort;
use crate::peer::{Marks, Phase};
use crate::proto::event::Bye;
use crate::slots::Slot;
use crate::timers::ticks;
use crate::ws::CloseCode;
use crate::ws::close;
use crate::ws::frame::{self, Opcode};

/// Why everyone has to go at once.
const STOPPING: &str = "the server is stopping";

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// The peer broke a rule: it is told which, and nothing more is taken from it.
    pub(super) fn violated(&mut self, slot: Slot, code: CloseCode, reason: &str) {
        self.hub.counters.violations_total += 1;
        self.close(slot, code, reason);
        self.end(slot);
    }

    /// The peer sent a Close: it gets the same code back, and then our end.
    pub(super) fn peer_closed(&mut self, slot: Slot, code: Option<CloseCode>) {
        let is_answer = self
            .peers
            .get(slot)
            .is_some_and(|peer| peer.phase == Phase::Closing);
        if !is_answer {
            self.send_close(slot, code, "");
        }
        self.end(slot);
    }

    /// Sends a Close, after which the peer's is awaited.
    pub(super) fn close(&mut self, slot: Slot, code: CloseCode, reason: &str) {
        let Some(peer) = self.peers.get(slot) else {
            return;
        };
        if !peer.phase.is_open() {
            return;
        }
        self.send_close(slot, Some(code), reason);
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.phase = Phase::Closing;
            if let Some(spill) = &mut peer.spill {
                // Frames are still decoded, to find the peer's Close; what was decoded is not wanted any more.
                spill.text.clear();
                spill.first_room = None;
            }
        }
        self.arm(
            slot.index,
            self.now.tick() + ticks(self.settings.limits.close_ms),
        );
        // The peer's own Close may be here already.
        self.mark_read(slot.index);
    }

    fn send_close(&mut self, slot: Slot, code: Option<CloseCode>, reason: &str) {
        // It leaves its rooms; a frame that was begun is finished first, and nothing else of them follows.
        self.hub.disconnect(slot);
        let Some(replies) = self.replies(slot.index) else {
            return;
        };
        let mut payload = Vec::new();
        close::encode(&mut payload, code, reason);
        replies.buffer().extend_from_slice(&payload);
        replies.drop_aside();
        self.mark_flush(slot.index);
    }

    /// The layer below the connection is broken: what it was told there is all that it hears.
    pub(super) fn broke_off(&mut self, slot: Slot) {
        self.hub.disconnect(slot);
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.replies = None;
        }
        self.end(slot);
        self.mark_flush(slot.index);
    }

    /// Everything was said: what is left is flushed, then we send no more.
    pub(super) fn end(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if matches!(peer.phase, Phase::Ending | Phase::Lingering) {
            return;
        }
        peer.phase = Phase::Ending;
        peer.spill = None;
        self.arm(
            slot.index,
            self.now.tick() + ticks(self.settings.limits.close_ms),
        );
        self.mark_flush(slot.index);
    }

    /// Everything is flushed: tells the other side that it was all, and waits for its end.
    pub(super) fn finish(&mut self, index: u32) {
        let Some(peer) = self.peers.at_mut(index) else {
            return;
        };
        if peer.phase != Phase::Ending || peer.socket.held_bytes(&self.common) > 0 {
            return;
        }
        peer.socket.shutdown(&mut self.common);
        if peer.marks.has(Marks::ENDED) {
            self.doom(index);
            return;
        }
        peer.phase = Phase::Lingering;
        peer.marks.set(Marks::READABLE);
        self.mark_read(index);
    }

    /// The server stops: everyone is told, with advice when to come back.
    pub fn drain(&mut self, now: super::Now) {
        if std::mem::replace(&mut self.is_draining, true) {
            return;
        }
        self.now = now;
        self.hub.begin(now);
        let slots: Vec<Slot> = self.peers.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.dismiss(slot);
        }
    }

    /// Whether nobody is left to be told.
    pub fn drained(&self) -> bool {
        self.is_draining && self.peers.is_empty()
    }

    fn dismiss(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get(slot) else {
            return;
        };
        // A socket may still hold the end of what it was given.
        let is_quiet = peer.replies.is_none() && peer.socket.held_bytes(&self.common) == 0;
        match peer.phase {
            // It was answered all that it asked for, or is about to be.
            Phase::Http if is_quiet => self.doom(slot.index),
            Phase::Http => self.end(slot),
            Phase::Hello | Phase::Claiming | Phase::Chat | Phase::Relay | Phase::Echo => {
                self.dismiss_with(slot, CloseCode::GOING_AWAY, STOPPING);
            }
            Phase::Closing | Phase::Ending | Phase::Lingering => {}
        }
    }

    /// Closes, after a `bye` where the chat protocol is spoken. Who is refused was told by an `error`.
    pub(super) fn dismiss_with(&mut self, slot: Slot, code: CloseCode, reason: &str) {
        let is_told = self.peers.get(slot).is_some_and(|peer| {
            matches!(peer.phase, Phase::Hello | Phase::Claiming | Phase::Chat)
                && code != CloseCode::REFUSED
        });
        if is_told {
            self.say_bye(slot, code, reason);
        }
        self.close(slot, code, reason);
    }

    /// Says in words what the close behind it says in a number.
    fn say_bye(&mut self, slot: Slot, code: CloseCode, reason: &str) {
        let retry_after_ms = code.asks_for_pause().then(|| self.hub.return_ms());
        let bye = Bye {
            code: code.0,
            reason,
            reconnect: !code.is_final(),
            retry_after_ms,
        };
        let mut text = Vec::new();
        bye.encode(&mut text);
        if let Some(replies) = self.replies(slot.index) {
            frame::encode(replies.buffer(), Opcode::Text, &text);
        }
    }
}
