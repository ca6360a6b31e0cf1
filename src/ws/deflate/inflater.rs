//! Incoming messages.

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::limits::{INFLATED_BYTES_KEPT, INFLATED_BYTES_START};
use crate::ws::{Message, Opcode, Violation};

/// What is read behind the payload: the tail that was not sent (RFC 7692, 7.2.2), then a last block, empty and stored.
/// The stream ends there only if the payload was not cut inside a block.
const END: [u8; 9] = {
    let [a, b, c, d] = TAIL;
    [a, b, c, d, 1, a, b, c, d]
};

/// Inflates the messages of any number of connections, into memory that is used again. Keep one per thread.
#[derive(Debug, Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    inflated: Vec<u8>,
}

/// Where the input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Behind the last block of a stream.
    Stream,
    /// Inside a stream.
    Input,
}

impl Inflater {
    /// The message that a [`Message::Compressed`] stands for.
    ///
    /// `bytes_max` bounds the inflated payload, and the memory with it, however much the compressed one stands for.
    /// A block that is marked as the last ends a stream, and what follows starts another (RFC 7692, 7.2.3.4).
    ///
    /// # Errors
    /// [`Violation::TooBig`] once there are more than `bytes_max` bytes, [`Violation::DeflateCorrupt`] where they are
    /// not the result of any compression, [`Violation::TextNotUtf8`].
    pub fn message(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        bytes_max: usize,
    ) -> Result<Message<'_>, Violation> {
        self.trim();
        self.inflated.clear();
        open(&mut self.stream).reset(false);
        match self.inflate(payload, bytes_max)? {
            End::Stream => {}
            End::Input => match self.inflate(&END, bytes_max)? {
                End::Stream => {}
                End::Input => return Err(Violation::DeflateCorrupt),
            },
        }
        Message::new(opcode, &self.inflated)
    }

    /// Gives back the memory that a large message took. The next message does so as well.
    pub fn trim(&mut self) {
        if self.inflated.capacity() > INFLATED_BYTES_KEPT {
            self.inflated = Vec::new();
        }
    }

    /// Heap bytes held for messages.
    pub fn held_bytes(&self) -> usize {
        self.inflated.capacity()
    }

    /// Goes on with all of `rest`.
    fn inflate(&mut self, mut rest: &[u8], bytes_max: usize) -> Result<End, Violation> {
        loop {
            let status = self.step(&mut rest, bytes_max);
            // Too much is too big also where the excess is corrupt, so that it does not depend on the memory at hand.
            if self.inflated.len() > bytes_max {
                return Err(Violation::TooBig);
            }
            match status.ok_or(Violation::DeflateCorrupt)? {
                Status::StreamEnd if rest.is_empty() => return Ok(End::Stream),
                Status::StreamEnd => open(&mut self.stream).reset(false),
                Status::BufError if rest.is_empty() => return Ok(End::Input),
                // There was input, and room for output.
                Status::BufError => return Err(Violation::DeflateCorrupt),
                Status::Ok => {}
            }
        }
    }

    /// Takes what it can from `rest`; `None` where it is corrupt.
    fn step(&mut self, rest: &mut &[u8], bytes_max: usize) -> Option<Status> {
        self.make_room(bytes_max);
        let stream = open(&mut self.stream);
        let taken_before = stream.total_in();
        let status = stream.decompress_vec(rest, &mut self.inflated, FlushDecompress::None);
        let taken = usize::try_from(stream.total_in() - taken_before).ok()?;
        *rest = rest.get(taken..)?;
        status.ok()
    }

    /// Room for at least one byte: doubling, but never more than tells that there are too many.
    fn make_room(&mut self, bytes_max: usize) {
        let (length, capacity) = (self.inflated.len(), self.inflated.capacity());
        if length == capacity {
            let doubled = capacity.saturating_mul(2).max(INFLATED_BYTES_START);
            let wanted = doubled.min(bytes_max.saturating_add(1));
            self.inflated.reserve_exact(wanted.saturating_sub(length));
        }
    }
}

/// The stream, which takes no memory before the first message.
fn open(stream: &mut Option<Decompress>) -> &mut Decompress {
    stream.get_or_insert_with(|| Decompress::new(false))
}
