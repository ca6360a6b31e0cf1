//! A reading of frames that shares nothing with the code under test.

use std::str;

use super::Event;
use crate::ws::{Opcode, Rules, Violation};

/// The naive reading: all bytes at hand, one step after the other, nothing shared with the code under test.
pub(super) struct Reference<'s> {
    rest: &'s [u8],
    /// The first byte of the message in fragments, its bytes, and its frames.
    message: Option<(u8, Vec<u8>, u32)>,
    events: Vec<Event>,
}

impl<'s> Reference<'s> {
    pub(super) fn read(stream: &'s [u8], rules: &Rules) -> Vec<Event> {
        let mut reference = Reference {
            rest: stream,
            message: None,
            events: Vec::new(),
        };
        loop {
            match reference.frame(rules) {
                Ok(true) => {}
                Ok(false) => return reference.events,
                Err(violation) => {
                    reference.events.push(Event::Broken(violation));
                    return reference.events;
                }
            }
        }
    }

    /// Reads a frame; `false` at the end of the stream or of the connection.
    fn frame(&mut self, rules: &Rules) -> Result<bool, Violation> {
        let bytes = self.rest;
        if bytes.len() < 2 {
            return Ok(false);
        }
        let (fin, rsv, opcode) = (bytes[0] >> 7 == 1, bytes[0] >> 4 & 7, bytes[0] & 15);
        let (masked, short) = (bytes[1] >> 7 == 1, u64::from(bytes[1] & 127));
        match (opcode, rsv & 4 != 0, rsv & 3 != 0) {
            (3..=7 | 11.., _, _) => return Err(Violation::UnknownOpcode),
            (_, _, true) | (0 | 8.., true, _) => return Err(Violation::ReservedBit),
            _ => {}
        }
        if opcode >= 8 && !fin {
            return Err(Violation::ControlFragmented);
        }
        if opcode >= 8 && short > 125 {
            return Err(Violation::ControlTooLong);
        }
        let length_bytes = if short == 126 {
            2
        } else if short == 127 {
            8
        } else {
            0
        };
        if bytes.len() < 2 + length_bytes {
            return Ok(false);
        }
        let long = bytes[2..2 + length_bytes]
            .iter()
            .fold(0_u128, |sum, byte| sum * 256 + u128::from(*byte));
        let length = if length_bytes == 0 {
            u128::from(short)
        } else {
            long
        };
        if (length_bytes == 2 && length < 126) || (length_bytes == 8 && length <= 65_535) {
            return Err(Violation::LengthNotMinimal);
        }
        if length >= 1 << 63 {
            return Err(Violation::LengthHighBit);
        }
        let header_bytes = 2 + length_bytes + if masked { 4 } else { 0 };
        if bytes.len() < header_bytes {
            return Ok(false);
        }
        if rsv != 0 && !rules.deflate {
            return Err(Violation::ReservedBit);
        }
        if !masked {
            return Err(Violation::Unmasked);
        }
        let mask = &bytes[header_bytes - 4..header_bytes];
        let payload = bytes[header_bytes..]
            .iter()
            .enumerate()
            .map(|(index, byte)| byte ^ mask[index % 4]);
        let payload: Vec<u8> = payload
            .take(usize::try_from(length).unwrap_or(usize::MAX))
            .collect();
        let complete = payload.len() as u128 == length;
        self.rest = &bytes[header_bytes + payload.len()..];
        if opcode >= 8 {
            if complete {
                self.control(opcode, payload)
            } else {
                Ok(false)
            }
        } else {
            self.data((rsv, opcode), fin, length, payload, rules)
                .map(|()| complete)
        }
    }

    fn data(
        &mut self,
        (rsv, opcode): (u8, u8),
        fin: bool,
        length: u128,
        part: Vec<u8>,
        rules: &Rules,
    ) -> Result<(), Violation> {
        let (first, mut bytes, frames) = match (opcode, self.message.take()) {
            (0, None) => return Err(Violation::ContinuationUnexpected),
            (0, Some(message)) => message,
            (_, Some(_)) => return Err(Violation::ContinuationExpected),
            (opcode, None) => (rsv << 4 | opcode, Vec::new(), 0),
        };
        let text = first == 0x01;
        if frames == rules.fragment_count_max {
            return Err(Violation::TooManyFragments);
        }
        if bytes.len() as u128 + length > rules.message_bytes_max as u128 {
            return Err(Violation::TooBig);
        }
        let complete = part.len() as u128 == length;
        bytes.extend(part);
        match str::from_utf8(&bytes) {
            Err(error) if text && (error.error_len().is_some() || (fin && complete)) => {
                return Err(Violation::TextNotUtf8);
            }
            Ok(_) | Err(_) => {}
        }
        if fin && complete {
            self.events.push(match first {
                0x01 => Event::Text(String::from_utf8(bytes).expect("checked above")),
                0x41 => Event::Compressed(Opcode::Text, bytes),
                0x42 => Event::Compressed(Opcode::Binary, bytes),
                _ => Event::Binary(bytes),
            });
        } else {
            self.message = Some((first, bytes, frames + 1));
        }
        Ok(())
    }

    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Result<bool, Violation> {
        let event = match (opcode, payload.as_slice()) {
            (9, _) => Event::Ping(payload),
            (10, _) => Event::Pong(payload),
            (_, []) => Event::Close(None),
            (_, [_]) => return Err(Violation::CloseTooShort),
            (_, [high, low, reason @ ..]) => {
                let code = u16::from(*high) * 256 + u16::from(*low);
                if !(1000..5000).contains(&code)
                    || (1004..1007).contains(&code)
                    || (1015..3000).contains(&code)
                {
                    return Err(Violation::CloseCodeInvalid);
                }
                let reason = str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
                Event::Close(Some((code, reason.to_owned())))
            }
        };
        self.events.push(event);
        Ok(opcode != 8)
    }
}
