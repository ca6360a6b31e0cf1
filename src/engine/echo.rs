//! The short way of `/echo`: messages go from the read buffer straight into the peer's replies, which are looked up
//! once for all of them.

use super::flush::send;
use super::read::Stop;
use super::{Engine, Socket};
use crate::limits::REPLY_BYTES_MAX;
use crate::log::LogPort;
use crate::peer::{Marks, Peer, Phase, Replies};
use crate::slots::Slot;
use crate::ws::frame::{self, Opcode};
use crate::ws::{Input, Message, Protocol, Rules, Violation};

/// What ended a run of echoes.
enum End<'m> {
    Stopped(Stop),
    Violated(Violation),
    /// A control frame.
    Met(Message<'m>),
}

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Echoes the messages of a peer that asked for that, as long as neither side compresses and no rate bounds it. No
    /// stop means that it is another peer, or that a control frame was taken: the rest goes the usual way.
    pub(super) fn take_echoes(
        &mut self,
        slot: Slot,
        protocol: &mut Protocol,
        input: &mut Input<'_>,
        rules: &Rules,
        budget: &mut u32,
    ) -> Option<Stop> {
        let peer = self.peers.get_mut(slot)?;
        let is_bounded = self.throttle.bounds_messages(peer.marks.has(Marks::LOCAL));
        if peer.phase != Phase::Echo || peer.window_bits > 0 || is_bounded {
            return None;
        }
        let mut replies = peer
            .replies
            .take()
            .or_else(|| self.spare.pop())
            .unwrap_or_default();
        let before = *budget;
        // A function of its own could not return what is borrowed only where the loop ends.
        let end = loop {
            if replies.len() >= REPLY_BYTES_MAX {
                break End::Stopped(Stop::Replies);
            }
            if *budget == 0 {
                break End::Stopped(Stop::Budget);
            }
            let (opcode, payload) = match protocol.next(input, rules) {
                Ok(Some(Message::Text(text))) => (Opcode::Text, text.as_bytes()),
                Ok(Some(Message::Binary(bytes))) => (Opcode::Binary, bytes),
                Ok(Some(message)) => break End::Met(message),
                Ok(None) => break End::Stopped(Stop::Empty),
                Err(violation) => break End::Violated(violation),
            };
            frame::encode(replies.buffer(), opcode, payload);
            *budget -= 1;
        };
        self.hub.counters.messages_received_total += u64::from(before - *budget);
        let is_through = self.send_echoes(slot, replies);
        match end {
            // Nobody would call it back.
            End::Stopped(Stop::Replies) if is_through => Some(Stop::Budget),
            End::Stopped(stop) => Some(stop),
            End::Violated(violation) => {
                self.violated(slot, violation.close_code(), violation.as_str());
                Some(Stop::Empty)
            }
            End::Met(message) => {
                self.hub.counters.messages_received_total += 1;
                self.take_message(slot, message, budget)
            }
        }
    }

    /// Sends what there is at once: nobody else has a part in it, so nothing is gained by waiting for the end of the turn.
    /// Returns whether the socket took all of it.
    fn send_echoes(&mut self, slot: Slot, mut replies: Box<Replies>) -> bool {
        let Some(peer) = self.peers.get_mut(slot) else {
            return false;
        };
        let Peer { socket, marks, .. } = peer;
        let (common, counters) = (&mut self.common, &mut self.hub.counters);
        match send(socket, common, marks, replies.rest(), counters) {
            Some(count) => replies.advance(count),
            None => {
                self.doom(slot.index);
                return false;
            }
        }
        if replies.is_empty() {
            self.recycle(replies);
            return true;
        }
        peer.replies = Some(replies);
        // What was put aside may have joined them.
        self.mark_flush(slot.index);
        false
    }
}
