//! Compressed messages (RFC 7692, no context takeover), read without becoming the bottleneck.
//!
//! All members of a room get the same bytes, so a message is inflated for the first member that has it, and for the
//! others its bytes are compared with those. What differs is inflated too: the comparison only saves work.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};

use crate::limits::{FRAME_BYTES_MAX, SEEN_COUNT};
use crate::stamp::{Mould, Reading, Stamp};

/// What every compressed message ends with, and leaves out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// See the [module](self).
pub struct Unpacker {
    inflater: Inflater,
    /// Members whose messages differ from everybody else's, as they do not get their own.
    publisher_count: usize,
    /// Compressed messages that each member has had.
    positions: Vec<u64>,
    /// The last messages, each at its position in the room.
    seen: Vec<Seen>,
    inflated_total: u64,
}

#[derive(Clone)]
struct Seen {
    /// Its position, plus one.
    count: u64,
    bytes: Vec<u8>,
    stamp: Stamp,
}

/// Inflates one message after the other.
struct Inflater {
    stream: Decompress,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Unpacker {
    /// Nothing has come yet.
    pub fn new(member_count: usize, publisher_count: usize) -> Unpacker {
        let seen = Seen {
            count: 0,
            bytes: Vec::new(),
            stamp: Stamp {
                publisher: 0,
                number: 0,
            },
        };
        Unpacker {
            inflater: Inflater::new(),
            publisher_count,
            positions: vec![0; member_count],
            seen: vec![seen; SEEN_COUNT],
            inflated_total: 0,
        }
    }

    /// Reads what a member got.
    pub fn read(&mut self, member: usize, payload: &[u8], mould: &Mould) -> Reading {
        let Some(position) = self.positions.get_mut(member) else {
            return Reading::Wrong;
        };
        let seen = &mut self.seen[*position as usize % SEEN_COUNT];
        if seen.count == *position + 1 && seen.bytes == payload {
            *position += 1;
            return Reading::Message(seen.stamp);
        }
        self.inflated_total += 1;
        let reading = match self.inflater.inflate(payload) {
            Ok(text) => mould.read(text),
            Err(_) => Reading::Wrong,
        };
        if let Reading::Message(stamp) = reading {
            *position += 1;
            if member >= self.publisher_count && seen.count < *position {
                seen.count = *position;
                seen.stamp = stamp;
                seen.bytes.clear();
                seen.bytes.extend_from_slice(payload);
            }
        }
        reading
    }

    /// Messages that had to be inflated.
    pub fn inflated_total(&self) -> u64 {
        self.inflated_total
    }
}

/// Inflates a single message.
///
/// # Errors
///
/// It is not compressed data, or longer than anything that was asked for.
pub fn inflated(payload: &[u8]) -> io::Result<Vec<u8>> {
    Inflater::new().inflate(payload).map(<[u8]>::to_vec)
}

impl Inflater {
    fn new() -> Inflater {
        Inflater {
            stream: Decompress::new(false),
            input: Vec::new(),
            output: Vec::with_capacity(FRAME_BYTES_MAX as usize),
        }
    }

    fn inflate(&mut self, payload: &[u8]) -> io::Result<&[u8]> {
        self.stream.reset(false);
        self.input.clear();
        self.input.extend_from_slice(payload);
        self.input.extend_from_slice(&TAIL);
        self.output.clear();
        let status =
            self.stream
                .decompress_vec(&self.input, &mut self.output, FlushDecompress::Sync);
        match status {
            Ok(Status::Ok | Status::StreamEnd) if self.output.len() < self.output.capacity() => {
                Ok(&self.output)
            }
            Ok(_) => Err(io::Error::other(
                "a message inflates to more than asked for",
            )),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    use crate::room::Dialect;
    use crate::wire;

    fn mould() -> Mould {
        Mould::new(&Dialect::Bare, 200)
    }

    fn payload(number: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        let stamp = Stamp {
            publisher: 0,
            number,
        };
        mould().cast(stamp, &mut frame);
        let head = wire::head(&frame).unwrap().unwrap();
        let mask = head.mask.unwrap();
        let unmasked = frame[head.start..].iter().zip(mask.iter().cycle());
        unmasked.map(|(byte, mask)| byte ^ mask).collect()
    }

    fn deflated(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        let mut stream = Compress::new(Compression::fast(), false);
        stream
            .compress_vec(payload, &mut out, FlushCompress::Sync)
            .unwrap();
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    #[test]
    fn a_message_is_inflated_once_for_all_members() {
        let mut unpacker = Unpacker::new(10, 1);
        for number in 0..3 {
            let bytes = deflated(&payload(number));
            for member in 1..10 {
                let stamp = Stamp {
                    publisher: 0,
                    number,
                };
                let reading = unpacker.read(member, &bytes, &mould());
                assert_eq!(reading, Reading::Message(stamp));
            }
        }
        assert_eq!(unpacker.inflated_total(), 3);
    }

    #[test]
    fn what_differs_is_read_for_itself() {
        let mut unpacker = Unpacker::new(3, 1);
        let mut read = |member, number| {
            let bytes = deflated(&payload(number));
            unpacker.read(member, &bytes, &mould())
        };
        let message = |number| {
            Reading::Message(Stamp {
                publisher: 0,
                number,
            })
        };
        assert_eq!(read(1, 0), message(0));
        // The second member lost the first message, which the ledger will notice.
        assert_eq!(read(2, 1), message(1));
        assert_eq!(unpacker.read(1, b"no such data", &mould()), Reading::Wrong);
        assert_eq!(unpacker.read(9, b"", &mould()), Reading::Wrong);
    }
}
