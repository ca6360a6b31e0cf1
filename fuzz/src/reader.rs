//! What a client makes of the server's bytes: answers of HTTP, then frames. Strict: whatever a server must not send
//! is a panic.

use roomcast::ws::deflate::Inflater;
use roomcast::ws::{Message, Opcode};

/// Longest message that a server is believed to send, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// One thing that the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The answer to a request, by its status.
    Answer(u16),
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Asks for a pong.
    Ping(Vec<u8>),
    /// Answers a ping.
    Pong(Vec<u8>),
    /// The last frame.
    Close(Option<u16>),
}

/// Where a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Http,
    Frames,
    /// A close came; nothing may follow.
    Closed,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    stage: Stage,
    inflater: Inflater,
    /// permessage-deflate was agreed on.
    is_deflated: bool,
}

impl Reader {
    /// Reads on, with these bytes behind those before.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Said> {
        self.bytes.extend_from_slice(bytes);
        let mut said = Vec::new();
        loop {
            let next = match self.stage {
                Stage::Http => self.answer(),
                Stage::Frames => self.frame(),
                Stage::Closed => {
                    assert!(
                        self.bytes.is_empty(),
                        "{} bytes after the close",
                        self.bytes.len()
                    );
                    None
                }
            };
            let Some((next, used)) = next else {
                return said;
            };
            let is_deflated = contains(&self.bytes[..used], b"\r\nSec-WebSocket-Extensions: perm");
            self.bytes.drain(..used);
            match next {
                Said::Answer(101) => {
                    self.stage = Stage::Frames;
                    self.is_deflated = is_deflated;
                }
                Said::Close(_) => self.stage = Stage::Closed,
                Said::Answer(_)
                | Said::Text(_)
                | Said::Binary(_)
                | Said::Ping(_)
                | Said::Pong(_) => {}
            }
            said.push(next);
        }
    }

    /// Whether the connection was upgraded.
    pub fn is_upgraded(&self) -> bool {
        self.stage != Stage::Http
    }

    /// The connection has ended in order: nothing may have been begun.
    pub fn end(&self) {
        // The body of an answer to HEAD is not there, and nobody can tell by its head alone.
        assert!(
            self.bytes.is_empty() || self.stage == Stage::Http,
            "the end in the middle of a frame: {:02x?}",
            &self.bytes[..self.bytes.len().min(40)]
        );
    }

    /// One answer with its body. That of HEAD has none, which shows where the next answer, or nothing, follows.
    fn answer(&self) -> Option<(Said, usize)> {
        let end = self
            .bytes
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&self.bytes[..end]).expect("a head is ASCII");
        let rest = head.strip_prefix("HTTP/1.1 ").expect("an answer of HTTP");
        let status: u16 = rest[..3].parse().expect("a status");
        let lines = head
            .lines()
            .filter_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = lines
            .map(|length| length.parse::<usize>().expect("a length"))
            .sum();
        let body = &self.bytes[end + 4..];
        let is_without_body = body.starts_with(b"HTTP/1.1 ");
        if body.len() < length && !is_without_body {
            return None;
        }
        let used = end + 4 + if is_without_body { 0 } else { length };
        Some((Said::Answer(status), used))
    }

    fn frame(&mut self) -> Option<(Said, usize)> {
        let (&[first, second], rest) = self.bytes.split_first_chunk::<2>()?;
        let is_compressed = first & 0x40 != 0;
        assert_eq!(
            first & 0xb0,
            0x80,
            "a frame of the server is whole, with no bit too many"
        );
        assert!(
            self.is_deflated || !is_compressed,
            "compressed without an agreement"
        );
        assert!(second < 128, "a frame of the server is not masked");
        let (length, start) = match second {
            126 => (rest.get(..2)?.iter().fold(0, fold), 4),
            127 => (rest.get(..8)?.iter().fold(0, fold), 10),
            short => (usize::from(short), 2),
        };
        let least = [0, 126, 65_536][usize::from(second >= 126) + usize::from(second == 127)];
        assert!(length >= least, "a length of {length} in too many bytes");
        let payload = self.bytes.get(start..start + length)?;
        let opcode = first & 15;
        assert!(
            opcode < 8 || length <= 125,
            "a control frame of {length} bytes"
        );
        let said = match opcode {
            1 | 2 if is_compressed => inflate(&mut self.inflater, opcode, payload),
            _ if is_compressed => panic!("opcode {opcode} compressed"),
            1 => Said::Text(
                std::str::from_utf8(payload)
                    .expect("text is UTF-8")
                    .to_owned(),
            ),
            2 => Said::Binary(payload.to_vec()),
            8 => Said::Close(close_code(payload)),
            9 => Said::Ping(payload.to_vec()),
            10 => Said::Pong(payload.to_vec()),
            _ => panic!("opcode {opcode}"),
        };
        Some((said, start + length))
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn inflate(inflater: &mut Inflater, opcode: u8, payload: &[u8]) -> Said {
    let opcode = if opcode == 1 {
        Opcode::Text
    } else {
        Opcode::Binary
    };
    match inflater.message(opcode, payload, MESSAGE_BYTES_MAX) {
        Ok(Message::Text(text)) => Said::Text(text.to_owned()),
        Ok(Message::Binary(bytes)) => Said::Binary(bytes.to_owned()),
        other => panic!("{other:?} of a compressed message"),
    }
}

fn fold(number: usize, byte: &u8) -> usize {
    number << 8 | usize::from(*byte)
}

fn close_code(payload: &[u8]) -> Option<u16> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        assert!(payload.is_empty(), "a close of one byte");
        return None;
    };
    let code = u16::from_be_bytes(*code);
    assert!(
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999),
        "close {code}"
    );
    std::str::from_utf8(reason).expect("a reason is UTF-8");
    Some(code)
}
