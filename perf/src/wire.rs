//! WebSocket frames and the handshake (RFC 6455), as far as a measurement needs them: whole messages, compressed
//! (RFC 7692) where that was asked for.

use std::io;

use crate::limits::FRAME_BYTES_MAX;

/// A text message.
pub const TEXT: u8 = 1;
/// A binary message.
pub const BINARY: u8 = 2;
/// The end of a connection.
pub const CLOSE: u8 = 8;
/// Asks for a sign of life.
pub const PING: u8 = 9;
/// The sign of life.
pub const PONG: u8 = 10;

/// The nonce of every handshake: that of RFC 6455, section 1.3, so that nobody has to compute the answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Mask of everything that this program sends. Not zero, so that a server has its work with it.
pub const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is.
    pub opcode: u8,
    /// Whether the payload is compressed.
    pub is_deflated: bool,
    /// The mask, where there is one.
    pub mask: Option<[u8; 4]>,
    /// Where the payload begins.
    pub start: usize,
    /// Where the payload and the frame end.
    pub end: usize,
}

/// Reads the head of the first frame. None where the frame, payload included, is not there as a whole.
///
/// # Errors
///
/// The frame is a fragment, uses an unknown extension, or is longer than anything that was asked for.
pub fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xb0 != 0x80 {
        let text = format!("a frame begins with {first:#04x}: fragments were not asked for");
        return Err(io::Error::other(text));
    }
    let (length, extended) = match second & 0x7f {
        126 => match rest.first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a frame of {length} bytes was not asked for"
        )));
    }
    let mask = if second & 0x80 == 0 {
        None
    } else {
        match rest.get(extended..).and_then(<[u8]>::first_chunk) {
            Some(mask) => Some(*mask),
            None => return Ok(None),
        }
    };
    let start = 2 + extended + if mask.is_some() { 4 } else { 0 };
    let end = start + length as usize;
    let head = Head {
        opcode: first & 0x0f,
        is_deflated: first & 0x40 != 0,
        mask,
        start,
        end,
    };
    Ok((end <= bytes.len()).then_some(head))
}

/// Appends the head of an unmasked frame.
pub fn encode_head(opcode: u8, length: usize, out: &mut Vec<u8>) {
    encode_length(opcode, length, 0, out);
}

/// Appends a whole masked frame. Returns where its payload begins.
pub fn encode_masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) -> usize {
    encode_length(opcode, payload.len(), 0x80, out);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    start
}

fn encode_length(opcode: u8, length: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => out.push(masked | short),
        (_, Ok(long)) => {
            out.push(masked | 126);
            out.extend_from_slice(&long.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A request to upgrade. With `deflate` it offers compression of each message by itself.
pub fn request(host: &str, path: &str, deflate: bool) -> Vec<u8> {
    let offer = if deflate { OFFER } else { "" };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    )
    .into_bytes()
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                     client_no_context_takeover\r\n";

/// The answer to an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its length.
    pub length: usize,
    /// Whether the server took the offer to compress.
    pub is_deflated: bool,
}

/// Reads the answer to [`request`]. Some once it is there.
///
/// # Errors
///
/// The answer is no, or makes no sense.
pub fn accepted(bytes: &[u8]) -> io::Result<Option<Accepted>> {
    let Some(length) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
        return if bytes.len() > 16 * 1024 {
            Err(io::Error::other("the answer to the upgrade does not end"))
        } else {
            Ok(None)
        };
    };
    let text = String::from_utf8_lossy(&bytes[..length]);
    if text.starts_with("HTTP/1.1 101 ") && text.contains(ACCEPT) {
        return Ok(Some(Accepted {
            length,
            is_deflated: text.contains("permessage-deflate"),
        }));
    }
    let line = text.lines().next().unwrap_or_default();
    Err(io::Error::other(format!("the upgrade was refused: {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_class_are_read_back_at_every_cut() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut frame = Vec::new();
            let start = encode_masked(BINARY, &payload, &mut frame);
            for cut in (0..frame.len()).filter(|cut| *cut < 300 || *cut > frame.len() - 3) {
                assert_eq!(head(&frame[..cut]).unwrap(), None, "{length} cut at {cut}");
            }
            let head = head(&frame).unwrap().unwrap();
            assert_eq!((head.opcode, head.mask), (BINARY, Some(MASK)));
            assert_eq!((head.start, head.end), (start, frame.len()));
            let unmasked = frame[start..]
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(a, b)| a ^ b);
            assert!(unmasked.eq(payload));
        }
    }

    #[test]
    fn unmasked_heads_are_read_back() {
        for length in [0, 125, 126, 65_536] {
            let mut frame = Vec::new();
            encode_head(TEXT, length, &mut frame);
            let start = frame.len();
            frame.resize(start + length, b'x');
            let head = head(&frame).unwrap().unwrap();
            assert_eq!(
                (head.opcode, head.mask, head.start, head.end),
                (TEXT, None, start, start + length)
            );
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        for frame in [
            &[0x01u8, 1][..],
            &[0xa1, 1],
            &[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0],
        ] {
            assert!(head(frame).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn only_the_right_answer_opens() {
        let yes =
            format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        let found = accepted(yes.as_bytes()).unwrap();
        let plain = Accepted {
            length: yes.len(),
            is_deflated: false,
        };
        assert_eq!(found, Some(plain));
        assert_eq!(accepted(&yes.as_bytes()[..yes.len() - 1]).unwrap(), None);
        assert!(accepted(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert!(accepted(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
    }
}
