//! Frames compressed: the second encoding of a room's log, made once for all members that negotiated
//! permessage-deflate, and what one connection is sent alone.

use crate::limits::{DEFLATE_BYTES_MIN, DEFLATED_BYTES_EXTRA, DEFLATED_BYTES_PER_TURN};
use crate::ws::deflate::Deflater;
use crate::ws::frame::{self, Opcode, encode_header};
use crate::ws::{Header, frame::payload_of};

/// The window that members of rooms share, in bits. Who negotiated a smaller one gets plain frames.
pub const WINDOW_BITS: u8 = 15;

/// Compresses messages into frames. One per shard, so that connections at rest hold no compressor.
#[derive(Debug, Default)]
pub struct FrameDeflater {
    deflater: Deflater,
    payload: Vec<u8>,
    frame: Vec<u8>,
    /// Bytes that were compressed in this turn, also where that was of no use, see [`DEFLATED_BYTES_EXTRA`].
    turn_bytes: usize,
    left_out_total: u64,
}

impl FrameDeflater {
    /// A turn begins, with a share of its own.
    pub fn begin(&mut self) {
        self.turn_bytes = 0;
    }

    /// Messages that went as they are because enough was compressed in their turn.
    pub fn left_out_total(&self) -> u64 {
        self.left_out_total
    }

    /// A plain frame compressed, where it is long enough and becomes shorter by it.
    pub fn frame(&mut self, plain: &[u8]) -> Option<&[u8]> {
        let (header, _) = Header::parse(plain).ok().flatten()?;
        if !self.compress(payload_of(plain), WINDOW_BITS) {
            return None;
        }
        self.frame.clear();
        encode_header(&mut self.frame, header.opcode, true, self.payload.len());
        self.frame.extend_from_slice(&self.payload);
        (self.frame.len() < plain.len()).then_some(&self.frame)
    }

    /// Appends a message as one frame, compressed where `window_bits` allows it and it is worth it. Returns whether
    /// it was.
    pub fn encode(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        window_bits: u8,
        out: &mut Vec<u8>,
    ) -> bool {
        let is_compressed = window_bits > 0 && self.compress(payload, window_bits);
        if is_compressed {
            encode_header(out, opcode, true, self.payload.len());
            out.extend_from_slice(&self.payload);
        } else {
            frame::encode(out, opcode, payload);
        }
        is_compressed
    }

    fn compress(&mut self, payload: &[u8], window_bits: u8) -> bool {
        self.payload.clear();
        self.payload.shrink_to(256 * 1024);
        if payload.len() < DEFLATE_BYTES_MIN {
            return false;
        }
        if self.turn_bytes >= DEFLATED_BYTES_PER_TURN {
            self.left_out_total += 1;
            return false;
        }
        self.turn_bytes += payload.len() + DEFLATED_BYTES_EXTRA;
        self.deflater
            .compress(payload, window_bits, &mut self.payload)
    }
}
