//! What the hub wants done to connections, gathered while commands are applied and carried out by the engine.

use crate::slots::Slot;
use crate::ws::CloseCode;
use crate::ws::frame::{self, Opcode};
use std::ops::Range;

/// One effect on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// These of the bytes that are handed over with it are a frame of its own replies.
    Reply(Range<usize>),
    /// These are the rest of a frame that was begun: they go before everything else.
    Rest(Range<usize>),
    /// These are the chunk of its room's frames that it asked for, and it may ask for the next; none where there is none.
    Chunk(Range<usize>),
    /// Its identity is settled: its frames may be read.
    Settled,
    /// It is pinged as soon as it was sent what waits for it.
    Ask,
    /// It is closed with this code, after what it was told before.
    Close(CloseCode, &'static str),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<(Slot, Effect)>,
    bytes: Vec<u8>,
    text: Vec<u8>,
}

impl Effects {
    /// A reply whose JSON text is appended by `encode`.
    pub fn reply(&mut self, to: Slot, encode: impl FnOnce(&mut Vec<u8>)) {
        self.text.clear();
        encode(&mut self.text);
        let start = self.bytes.len();
        frame::encode(&mut self.bytes, Opcode::Text, &self.text);
        self.list.push((to, Effect::Reply(start..self.bytes.len())));
    }

    /// A reply that is encoded already.
    pub fn frame(&mut self, to: Slot, frame: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.list.push((to, Effect::Reply(start..self.bytes.len())));
    }

    /// See [`Effect::Rest`].
    pub fn rest(&mut self, to: Slot, rest: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(rest);
        self.list.push((to, Effect::Rest(start..self.bytes.len())));
    }

    /// See [`Effect::Chunk`].
    pub fn chunk(&mut self, to: Slot, frames: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frames);
        self.list.push((to, Effect::Chunk(start..self.bytes.len())));
    }

    /// See [`Effect::Settled`].
    pub fn settled(&mut self, to: Slot) {
        self.list.push((to, Effect::Settled));
    }

    /// See [`Effect::Ask`].
    pub fn ask(&mut self, to: Slot) {
        self.list.push((to, Effect::Ask));
    }

    /// See [`Effect::Close`].
    pub fn close(&mut self, to: Slot, code: CloseCode, reason: &'static str) {
        self.list.push((to, Effect::Close(code, reason)));
    }

    /// Bytes of replies that wait here.
    pub fn bytes_waiting(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Hands each effect to `each`, with the bytes of a reply, and forgets them.
    pub fn drain(&mut self, mut each: impl FnMut(Slot, &Effect, &[u8])) {
        for (to, effect) in self.list.drain(..) {
            let bytes = match &effect {
                Effect::Reply(range) | Effect::Rest(range) | Effect::Chunk(range) => {
                    self.bytes.get(range.clone()).unwrap_or_default()
                }
                Effect::Settled | Effect::Ask | Effect::Close(..) => &[],
            };
            each(to, &effect, bytes);
        }
        self.bytes.clear();
        self.bytes.shrink_to(512 * 1024);
        self.text.shrink_to(512 * 1024);
        self.list.shrink_to(4096);
    }
}
