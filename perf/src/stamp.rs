//! What is sent, and how it is known again: every message carries who sent it and its number, and is filled up with
//! words that every reader compares.

use crate::room::{Dialect, ROOM};
use crate::wire;
use crate::words::{self, TEXT_COUNT};

/// Who sent a message, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the publisher.
    pub publisher: u32,
    /// Number of the message, from 0, for each publisher.
    pub number: u32,
}

/// What a payload turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One of our messages, whole.
    Message(Stamp),
    /// Something that the server says on its own.
    Other,
    /// The server refuses something, or a message was changed on its way.
    Wrong,
}

/// Frames with the stamp still to be filled in, and the knowledge to read them again.
pub struct Mould {
    dialect: Dialect,
    /// What follows a stamp; which of them, the stamp decides.
    fillers: Vec<Vec<u8>>,
    /// Masked frames with each of them, all of the same length, and with the stamp of publisher 0, message 0.
    frames: Vec<Vec<u8>>,
    /// Where the stamp stands in a frame, and in the payload.
    at: usize,
    payload_at: usize,
}

/// Length of a stamp: `p0123n01234567`.
const STAMP_BYTES: usize = 14;
const CONTENT: &[u8] = b"\"content\":\"";

impl Mould {
    /// A mould for messages of `bytes` bytes, of which the stamp is a part. For all but [`Dialect::Bare`] that is the
    /// length of the text inside.
    pub fn new(dialect: &Dialect, bytes: usize) -> Mould {
        let filler_bytes = bytes.saturating_sub(STAMP_BYTES);
        let (before, behind) = surroundings(dialect);
        let payload_at = before.len();
        let mut mould = Mould {
            dialect: dialect.clone(),
            fillers: Vec::with_capacity(TEXT_COUNT),
            frames: Vec::with_capacity(TEXT_COUNT),
            at: 0,
            payload_at,
        };
        for number in 0..TEXT_COUNT {
            let filler = words::text(number, filler_bytes);
            let mut payload = before.clone().into_bytes();
            payload.extend_from_slice(b"p0000n00000000");
            payload.extend_from_slice(&filler);
            payload.extend_from_slice(behind.as_bytes());
            let mut frame = Vec::new();
            mould.at = payload_at + wire::encode_masked(wire::TEXT, &payload, &mut frame);
            mould.fillers.push(filler);
            mould.frames.push(frame);
        }
        mould
    }

    /// Length of a whole frame, in bytes.
    pub fn frame_bytes(&self) -> usize {
        self.frames[0].len()
    }

    /// Appends the frame of one message.
    pub fn cast(&self, stamp: Stamp, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frames[stamp.text()]);
        let digits = &mut out[start + self.at..start + self.at + STAMP_BYTES];
        write_hex(
            stamp.publisher,
            &mut digits[1..5],
            self.mask_from(self.payload_at + 1),
        );
        write_hex(
            stamp.number,
            &mut digits[6..],
            self.mask_from(self.payload_at + 6),
        );
    }

    /// The mask as it lies over the payload from a place on.
    fn mask_from(&self, place: usize) -> [u8; 4] {
        std::array::from_fn(|step| wire::MASK[(place + step) % 4])
    }

    /// Reads what a server sent.
    pub fn read(&self, payload: &[u8]) -> Reading {
        match &self.dialect {
            Dialect::Bare => match self.read_stamp(payload) {
                Some((stamp, [])) => Reading::Message(stamp),
                Some(_) | None => Reading::Wrong,
            },
            Dialect::Chat if payload.starts_with(b"{\"type\":\"message\"") => {
                let at = memchr::memmem::find(payload, CONTENT).map(|at| at + CONTENT.len());
                let content = at.and_then(|at| payload.get(at..)).unwrap_or_default();
                match self.read_stamp(content) {
                    Some((stamp, [b'"', ..])) => Reading::Message(stamp),
                    Some(_) | None => Reading::Wrong,
                }
            }
            Dialect::Chat if payload.starts_with(b"{\"type\":\"error\"") => Reading::Wrong,
            Dialect::Chat if payload.starts_with(b"{\"type\":\"gap\"") => Reading::Wrong,
            Dialect::Chat => Reading::Other,
            Dialect::Template { .. } => self.find(payload).map_or(Reading::Other, Reading::Message),
        }
    }

    /// Looks for a stamp with its filler anywhere.
    fn find(&self, payload: &[u8]) -> Option<Stamp> {
        memchr::memchr_iter(b'p', payload)
            .find_map(|start| self.read_stamp(&payload[start..]))
            .map(|(stamp, _)| stamp)
    }

    /// Reads a stamp with its filler. Returns what follows as well.
    fn read_stamp<'a>(&self, bytes: &'a [u8]) -> Option<(Stamp, &'a [u8])> {
        let (digits, rest) = bytes.split_first_chunk::<STAMP_BYTES>()?;
        if digits[0] != b'p' || digits[5] != b'n' {
            return None;
        }
        let stamp = Stamp {
            publisher: read_hex(&digits[1..5])?,
            number: read_hex(&digits[6..])?,
        };
        let rest = rest.strip_prefix(self.fillers[stamp.text()].as_slice())?;
        Some((stamp, rest))
    }
}

impl Stamp {
    /// Which text its message has.
    fn text(self) -> usize {
        (self.publisher as usize).wrapping_add(self.number as usize) % TEXT_COUNT
    }
}

/// What stands before and behind a stamp when it is sent.
fn surroundings(dialect: &Dialect) -> (String, String) {
    match dialect {
        Dialect::Bare => (String::new(), String::new()),
        Dialect::Chat => (
            format!("{{\"type\":\"message\",\"room_id\":\"{ROOM}\",\"content\":\""),
            "\"}".into(),
        ),
        Dialect::Template { before, behind } => (before.clone(), behind.clone()),
    }
}

fn write_hex(value: u32, out: &mut [u8], mask: [u8; 4]) {
    let digits = out.len();
    for (place, out) in out.iter_mut().enumerate() {
        let digit = value >> (4 * (digits - 1 - place)) & 0xf;
        *out = b"0123456789abcdef"[digit as usize] ^ mask[place % 4];
    }
}

fn read_hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u32::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(mould: &Mould, stamp: Stamp) -> Vec<u8> {
        let mut frame = b"before".to_vec();
        mould.cast(stamp, &mut frame);
        let frame = &frame[6..];
        let head = wire::head(frame).unwrap().unwrap();
        assert_eq!(head.end, mould.frame_bytes());
        let mask = head.mask.unwrap();
        frame[head.start..]
            .iter()
            .zip(mask.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect()
    }

    #[test]
    fn every_stamp_is_read_back() {
        for bytes in [16, 17, 128, 200, 32_768] {
            let mould = Mould::new(&Dialect::Bare, bytes);
            for (publisher, number) in [(0, 0), (63, 1), (0xfedc, 0x89ab_cdef), (1, u32::MAX)] {
                let stamp = Stamp { publisher, number };
                let payload = payload(&mould, stamp);
                assert_eq!(payload.len(), bytes);
                assert_eq!(mould.read(&payload), Reading::Message(stamp));
            }
        }
    }

    #[test]
    fn a_stamp_is_found_in_a_chat_message() {
        let mould = Mould::new(&Dialect::Chat, 128);
        let stamp = Stamp {
            publisher: 5,
            number: 77,
        };
        let sent = String::from_utf8(payload(&mould, stamp)).unwrap();
        let content = sent
            .strip_prefix("{\"type\":\"message\",\"room_id\":\"perf\",")
            .unwrap();
        let received = format!("{{\"type\":\"message\",\"seq_id\":9,\"sender\":\"x\",{content}");
        assert_eq!(mould.read(received.as_bytes()), Reading::Message(stamp));
        assert_eq!(
            mould.read(b"{\"type\":\"ack\",\"seq_id\":9}"),
            Reading::Other
        );
        assert_eq!(
            mould.read(b"{\"type\":\"error\",\"code\":\"overloaded\"}"),
            Reading::Wrong
        );
    }

    #[test]
    fn a_stamp_is_found_wherever_a_stranger_puts_it() {
        let publish = Dialect::template("[\"say\",\"{}\"]").unwrap();
        let mould = Mould::new(&publish, 40);
        let stamp = Stamp {
            publisher: 3,
            number: 4,
        };
        let sent = String::from_utf8(payload(&mould, stamp)).unwrap();
        assert!(sent.starts_with("[\"say\",\"p0003n"));
        let received = format!("{{\"from\":\"abc\",\"said\":{sent}}}");
        assert_eq!(mould.read(received.as_bytes()), Reading::Message(stamp));
        assert_eq!(mould.read(b"{\"hello\":1}"), Reading::Other);
    }

    #[test]
    fn messages_in_a_row_say_different_things() {
        let mould = Mould::new(&Dialect::Bare, 128);
        let said = |number| {
            let stamp = Stamp {
                publisher: 0,
                number,
            };
            payload(&mould, stamp).split_off(STAMP_BYTES)
        };
        assert_ne!(said(0), said(1));
        assert!(said(0).contains(&b' '));
    }

    #[test]
    fn a_changed_message_is_wrong_wherever_it_changed() {
        let mould = Mould::new(&Dialect::Bare, 64);
        let stamp = Stamp {
            publisher: 1,
            number: 2,
        };
        let right = payload(&mould, stamp);
        for place in 0..right.len() {
            let mut wrong = right.clone();
            wrong[place] ^= 1;
            assert_ne!(
                mould.read(&wrong),
                Reading::Message(stamp),
                "changed at {place}"
            );
        }
        assert_eq!(mould.read(&right[..63]), Reading::Wrong);
        assert_eq!(
            mould.read(&[right.as_slice(), b"x"].concat()),
            Reading::Wrong
        );
    }
}
