//! Carries out what the hub wants done to connections.

use super::{Engine, Socket};
use crate::effects::Effect;
use crate::log::LogPort;
use crate::peer::{Marks, Peer, Phase};
use crate::proto::{Code, Refusal, event, name};
use crate::slots::Slot;

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Until the hub wants nothing more.
    pub(super) fn deliver(&mut self) {
        for line in std::mem::take(&mut self.hub.record.lines) {
            self.site.audit(&line);
        }
        while !self.hub.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.hub.effects);
            effects.drain(|slot, effect, bytes| match effect {
                Effect::Reply(_) => self.deliver_reply(slot, bytes),
                Effect::Rest(_) => self.deliver_rest(slot, bytes),
                Effect::Chunk(_) => self.deliver_chunk(slot, bytes),
                Effect::Settled => self.settled(slot),
                Effect::Ask => self.ask(slot),
                Effect::Close(code, reason) => self.dismiss_with(slot, *code, reason),
            });
            if self.hub.effects.is_empty() {
                // Its buffers are used again.
                self.hub.effects = effects;
            }
        }
    }

    fn deliver_reply(&mut self, slot: Slot, frame: &[u8]) {
        // Replies to who is being closed, or has gone, are for nobody.
        if !self
            .peers
            .get(slot)
            .is_some_and(|peer| peer.phase.is_open())
        {
            return;
        }
        if let Some(replies) = self.replies(slot.index) {
            replies.buffer().extend_from_slice(frame);
        }
        self.mark_flush(slot.index);
    }

    /// Whatever the connection is at: a frame that was begun is finished.
    fn deliver_rest(&mut self, slot: Slot, rest: &[u8]) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.marks.clear(Marks::MID_FRAME);
        if let Some(replies) = self.replies(slot.index) {
            replies.put_first(rest);
        }
        self.mark_flush(slot.index);
    }

    /// Frames of a room from the log service. They go the way of replies, but do not keep the peer from being read.
    fn deliver_chunk(&mut self, slot: Slot, frames: &[u8]) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.marks.clear(Marks::READING);
        if !peer.phase.is_open() {
            return;
        }
        if !frames.is_empty()
            && let Some(replies) = self.replies(slot.index)
        {
            replies.chunk(frames);
        }
        self.mark_flush(slot.index);
    }

    /// Lets the timer fire in which a ping goes out, with what it asks to confirm. One that is due has its own deadline
    /// still: by that it is seen whether the shard stood still.
    fn ask(&mut self, slot: Slot) {
        let now = self.now.tick();
        let is_early = |peer: &Peer<S>| peer.phase == Phase::Chat && peer.deadline > now;
        if self.peers.get(slot).is_some_and(is_early) {
            self.arm_open(slot, now);
        }
    }

    fn settled(&mut self, slot: Slot) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if peer.phase != Phase::Claiming {
            return;
        }
        let room = peer
            .spill
            .as_mut()
            .and_then(|spill| spill.first_room.take());
        self.enter(slot, Phase::Chat);
        if let Some(room) = room {
            self.join_first(slot, &room);
        }
        if let Some(spill) = self
            .peers
            .get_mut(slot)
            .and_then(|peer| peer.spill.as_mut())
        {
            spill.is_waiting = true;
        }
        self.mark_read(slot.index);
    }

    fn join_first(&mut self, slot: Slot, room: &str) {
        match name::check(room) {
            Ok(()) => {
                self.pay_rooms(slot);
                self.hub.join_first(slot, room);
            }
            Err(fault) => {
                let message = format!("`room` {fault}").into();
                let request = "join".into();
                let refusal = Refusal {
                    code: Code::BadName,
                    message,
                    request,
                    id: None,
                    target: None,
                };
                self.hub.counters.errors_total += 1;
                let mut text = Vec::new();
                event::Error::from(&refusal).encode(&mut text);
                self.hub
                    .effects
                    .reply(slot, |out| out.extend_from_slice(&text));
            }
        }
    }
}
