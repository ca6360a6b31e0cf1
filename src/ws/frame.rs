//! Frames: the header in both directions, and whole frames of ours (RFC 6455, 5.2).

use super::mask::unmask;
use super::violation::Violation;
use crate::limits::CONTROL_BYTES_MAX;

/// Longest header: two bytes, a 64-bit length, a mask.
pub const HEADER_BYTES_MAX: usize = 2 + 8 + 4;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_RSV3: u8 = 0x30;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// Values of the 7-bit length that announce a longer one.
const LENGTH_16_BIT: u8 = 126;
const LENGTH_64_BIT: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// A text message or its first fragment.
    Text,
    /// A binary message or its first fragment.
    Binary,
    /// The end of the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    /// Whether it is one of the control frames, which are short, whole, and may stand between fragments.
    #[inline]
    pub fn is_control(self) -> bool {
        match self {
            Opcode::Continuation | Opcode::Text | Opcode::Binary => false,
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
        }
    }

    #[inline]
    fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xa => Some(Opcode::Pong),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }
}

/// A frame's header, of either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Last fragment of its message.
    pub fin: bool,
    /// Left to extensions: with RFC 7692, that the message is compressed. Only set on the first frame of a message.
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// Present in frames from clients.
    pub mask: Option<[u8; 4]>,
    /// Payload bytes; the peer's claim, not yet compared with any bound.
    pub length: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, with its own length in bytes; `None` while it is incomplete.
    ///
    /// # Errors
    /// The rules that concern a header alone, as early as the bytes so far tell that one is broken.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let (fin, rsv1) = (first & FIN != 0, first & RSV1 != 0);
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(Violation::UnknownOpcode)?;
        check_first_bytes(first, second, opcode)?;
        let Some((length, rest)) = parse_length(second & LENGTH, rest)? else {
            return Ok(None);
        };
        let (mask, rest) = if second & MASKED == 0 {
            (None, rest)
        } else {
            let Some((mask, rest)) = rest.split_first_chunk::<4>() else {
                return Ok(None);
            };
            (Some(*mask), rest)
        };
        let header = Header {
            fin,
            rsv1,
            opcode,
            mask,
            length,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }
}

#[inline]
fn check_first_bytes(first: u8, second: u8, opcode: Opcode) -> Result<(), Violation> {
    if first & RSV2_AND_RSV3 != 0 {
        return Err(Violation::ReservedBit);
    }
    if matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Ok(());
    }
    if first & RSV1 != 0 {
        return Err(Violation::ReservedBit);
    }
    if opcode.is_control() {
        if first & FIN == 0 {
            return Err(Violation::ControlFragmented);
        }
        if usize::from(second & LENGTH) > CONTROL_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
    }
    Ok(())
}

/// The length that `short` gives or announces, and what follows it; `None` while it is incomplete.
#[inline]
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    match short {
        LENGTH_16_BIT => {
            let Some((bytes, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            match u16::from_be_bytes(*bytes) {
                0..126 => Err(Violation::LengthNotMinimal),
                length => Ok(Some((u64::from(length), rest))),
            }
        }
        LENGTH_64_BIT => {
            let Some((bytes, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            match u64::from_be_bytes(*bytes) {
                0..0x1_0000 => Err(Violation::LengthNotMinimal),
                0x8000_0000_0000_0000.. => Err(Violation::LengthHighBit),
                length => Ok(Some((length, rest))),
            }
        }
        _ => Ok(Some((u64::from(short), rest))),
    }
}

/// Appends the header of a server's frame: unfragmented, unmasked.
#[inline]
pub fn encode_header(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload_len: usize) {
    push_header(out, first_byte(true, rsv1, opcode), 0, payload_len);
}

/// Appends a whole frame of the server.
#[inline]
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    encode_whole(out, opcode, false, payload);
}

/// Appends a whole frame of the server whose payload is compressed (RFC 7692, 6.1).
#[inline]
pub fn encode_compressed(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    encode_whole(out, opcode, true, payload);
}

#[inline]
fn encode_whole(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload: &[u8]) {
    out.reserve(HEADER_BYTES_MAX + payload.len());
    encode_header(out, opcode, rsv1, payload.len());
    out.extend_from_slice(payload);
}

/// The payload of a frame that one of the `encode` functions began; empty for anything else.
#[inline]
pub fn payload_of(frame: &[u8]) -> &[u8] {
    match Header::parse(frame) {
        Ok(Some((_, header_bytes))) => frame.get(header_bytes..).unwrap_or_default(),
        Ok(None) | Err(_) => &[],
    }
}

/// Appends a whole frame of a client, as tests, load generators and fuzzers need it.
///
/// It is written as it is asked for, also where it breaks a rule.
pub fn encode_masked(
    out: &mut Vec<u8>,
    fin: bool,
    rsv1: bool,
    opcode: Opcode,
    mask: [u8; 4],
    payload: &[u8],
) {
    push_header(out, first_byte(fin, rsv1, opcode), MASKED, payload.len());
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(out.split_at_mut(start).1, mask, 0);
}

#[inline]
fn first_byte(fin: bool, rsv1: bool, opcode: Opcode) -> u8 {
    opcode.bits() | if fin { FIN } else { 0 } | if rsv1 { RSV1 } else { 0 }
}

#[inline]
fn push_header(out: &mut Vec<u8>, first: u8, masked: u8, payload_len: usize) {
    if let Ok(short @ 0..LENGTH_16_BIT) = u8::try_from(payload_len) {
        out.extend_from_slice(&[first, masked | short]);
    } else if let Ok(length) = u16::try_from(payload_len) {
        let [a, b] = length.to_be_bytes();
        out.extend_from_slice(&[first, masked | LENGTH_16_BIT, a, b]);
    } else {
        let [a, b, c, d, e, f, g, h] = (payload_len as u64).to_be_bytes();
        out.extend_from_slice(&[first, masked | LENGTH_64_BIT, a, b, c, d, e, f, g, h]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first two bytes alone decide, rule by rule in the order of the bits.
    fn violation_of(first: u8, second: u8) -> Option<Violation> {
        let (opcode, length) = (first % 16, second % 128);
        let control = [8, 9, 10].contains(&opcode);
        let data = [0, 1, 2].contains(&opcode);
        if !control && !data {
            Some(Violation::UnknownOpcode)
        } else if first & 0x30 != 0 || (first / 64 % 2 == 1 && opcode != 1 && opcode != 2) {
            Some(Violation::ReservedBit)
        } else if control && first < 128 {
            Some(Violation::ControlFragmented)
        } else if control && length > 125 {
            Some(Violation::ControlTooLong)
        } else {
            None
        }
    }

    fn length_bytes_of(second: u8) -> usize {
        match second % 128 {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    /// The header that the bits spell, and its bytes, for a prefix that breaks no rule.
    fn header_of(first: u8, second: u8, tail: &[u8]) -> (Header, usize) {
        use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
        let opcodes = [
            (0, Continuation),
            (1, Text),
            (2, Binary),
            (8, Close),
            (9, Ping),
            (10, Pong),
        ];
        let (_, opcode) = opcodes
            .into_iter()
            .find(|(bits, _)| *bits == first % 16)
            .expect("known");
        let (length_bytes, tail) = tail.split_at(length_bytes_of(second));
        let masked = second >= 128;
        let header = Header {
            fin: first >= 128,
            rsv1: first / 64 % 2 == 1,
            opcode,
            mask: masked.then(|| tail[..4].try_into().expect("four bytes")),
            length: match length_bytes {
                [] => u64::from(second % 128),
                _ => length_bytes
                    .iter()
                    .fold(0, |sum, byte| sum * 256 + u64::from(*byte)),
            },
        };
        (header, 2 + length_bytes.len() + if masked { 4 } else { 0 })
    }

    #[test]
    fn all_65536_first_two_bytes_equal_the_naive_reading() {
        // Read as a length these bytes are long enough for 16 and for 64 bits, and positive.
        let tail = [1, 2, 3, 4, 5, 6, 7, 8, 0xa1, 0xa2, 0xa3, 0xa4];
        for prefix in 0..=u16::MAX {
            let [first, second] = prefix.to_be_bytes();
            let bytes = [&[first, second][..], &tail].concat();
            let expected = match violation_of(first, second) {
                Some(violation) => Err(violation),
                None => Ok(Some(header_of(first, second, &tail))),
            };
            assert_eq!(Header::parse(&bytes), expected, "{first:02x} {second:02x}");
            let cuts = expected.map_or(2, |header| {
                header.map_or(0, |(_, header_bytes)| header_bytes)
            });
            for cut in 0..cuts {
                assert_eq!(
                    Header::parse(&bytes[..cut]),
                    Ok(None),
                    "{first:02x} {second:02x} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn lengths_are_minimal_and_positive() {
        let cases: &[(&[u8], Result<u64, Violation>)] = &[
            (&[125], Ok(125)),
            (&[126, 0, 0], Err(Violation::LengthNotMinimal)),
            (&[126, 0, 125], Err(Violation::LengthNotMinimal)),
            (&[126, 0, 126], Ok(126)),
            (&[126, 0xff, 0xff], Ok(65_535)),
            (
                &[127, 0, 0, 0, 0, 0, 0, 0, 1],
                Err(Violation::LengthNotMinimal),
            ),
            (
                &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
                Err(Violation::LengthNotMinimal),
            ),
            (&[127, 0, 0, 0, 0, 0, 1, 0, 0], Ok(65_536)),
            (
                &[127, 0x7f, 255, 255, 255, 255, 255, 255, 255],
                Ok(u64::MAX >> 1),
            ),
            (
                &[127, 0x80, 0, 0, 0, 0, 0, 0, 0],
                Err(Violation::LengthHighBit),
            ),
            (
                &[127, 255, 255, 255, 255, 255, 255, 255, 255],
                Err(Violation::LengthHighBit),
            ),
        ];
        for (length, expected) in cases {
            let bytes = [&[0x82], *length].concat();
            let parsed = Header::parse(&bytes).map(|header| header.expect("complete").0.length);
            assert_eq!(parsed, *expected, "{length:x?}");
        }
    }

    #[test]
    fn both_encoders_parse_back_at_the_edges_of_the_lengths() {
        for length in [
            0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 200_000,
        ] {
            let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
            let length_bytes = [0, 2, 8][usize::from(length > 125) + usize::from(length > 65_535)];

            let mut ours = Vec::new();
            encode(&mut ours, Opcode::Binary, &payload);
            let (header, header_bytes) = Header::parse(&ours).expect("valid").expect("complete");
            let expected = Header {
                fin: true,
                rsv1: false,
                opcode: Opcode::Binary,
                mask: None,
                length: length as u64,
            };
            assert_eq!((header, header_bytes), (expected, 2 + length_bytes));
            assert_eq!(payload_of(&ours), payload);

            let mut theirs = Vec::new();
            encode_masked(
                &mut theirs,
                false,
                true,
                Opcode::Text,
                [1, 2, 3, 4],
                &payload,
            );
            let (header, header_bytes) = Header::parse(&theirs).expect("valid").expect("complete");
            let mask = Some([1, 2, 3, 4]);
            let expected = Header {
                fin: false,
                rsv1: true,
                opcode: Opcode::Text,
                mask,
                length: length as u64,
            };
            assert_eq!((header, header_bytes), (expected, 2 + length_bytes + 4));
            unmask(&mut theirs[header_bytes..], [1, 2, 3, 4], 0);
            assert_eq!(theirs[header_bytes..], payload);
        }
    }

    #[test]
    fn opcodes_encode_as_they_parse() {
        for bits in 0..16 {
            if let Some(opcode) = Opcode::from_bits(bits) {
                assert_eq!(opcode.bits(), bits);
                let mut out = Vec::new();
                encode_header(&mut out, opcode, opcode == Opcode::Text, 5);
                let rsv1 = if opcode == Opcode::Text { 0x40 } else { 0 };
                assert_eq!(out, [0x80 | rsv1 | bits, 5]);
            }
        }
    }

    #[test]
    fn payload_of_what_is_no_frame_is_empty() {
        for bytes in [
            &b""[..],
            b"\x81",
            b"\x81\x7e\x00",
            b"\x83\x01x",
            b"\x81\x00",
        ] {
            assert_eq!(payload_of(bytes), b"");
        }
    }
}
