//! The client's side of the wire, written anew and strict: whatever the server may not send is an error.

use crate::rng::Rng;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use roomcast::ws::Opcode;
use roomcast::ws::frame::encode_masked;

/// The key of RFC 6455, 1.3, and what it is answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What is offered, and what has to be in the answer, where messages may be compressed (RFC 7692).
const OFFER: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What a server may send once the connection is upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One JSON object on `/ws`, anything elsewhere.
    Text(String),
    /// Anything.
    Binary(Vec<u8>),
    /// Asks for a pong.
    Ping(Vec<u8>),
    /// Answers a ping.
    Pong(Vec<u8>),
    /// The end, with its code.
    Close(Option<u16>),
}

/// The answer to the upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Frames follow.
    Upgraded,
    /// It was refused with this status.
    Refused(u16),
}

/// Bytes of the server that make no whole frame yet.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    at: usize,
    /// Messages may be compressed, in both directions.
    pub deflates: bool,
}

impl Incoming {
    /// Where new bytes go.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.at);
        self.at = 0;
        &mut self.bytes
    }

    /// Whether a frame or a head was begun.
    pub fn is_mid(&self) -> bool {
        self.at < self.bytes.len()
    }

    /// The head of the answer to the upgrade, once it is whole.
    pub fn answer(&mut self) -> Result<Option<Answer>, String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&rest[..end]).map_err(|_| "a head that is not text")?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let answer = match status {
            Some(101) if head.contains(ACCEPT) => Answer::Upgraded,
            Some(101) => return Err(format!("a wrong accept key in {head:?}")),
            Some(status) => Answer::Refused(status),
            None => return Err(format!("no status in {head:?}")),
        };
        self.deflates = head.contains(AGREED);
        if head.contains("permessage-deflate") != self.deflates {
            return Err(format!("what is agreed in {head:?}?"));
        }
        self.at += end + 4;
        Ok(Some(answer))
    }

    /// The next whole frame.
    pub fn frame(&mut self) -> Result<Option<Frame>, String> {
        let rest = &self.bytes[self.at..];
        let [first, second, ..] = *rest else {
            return Ok(None);
        };
        let is_compressed = self.deflates && matches!(first, 0xc1 | 0xc2);
        if (first & 0xf0 != 0x80 && !is_compressed) || second & 0x80 != 0 {
            return Err(format!("a frame that begins with {first:02x} {second:02x}"));
        }
        let Some((length, start)) = length(rest, second)? else {
            return Ok(None);
        };
        let Some(payload) = rest.get(start..start + length) else {
            return Ok(None);
        };
        let frame = if is_compressed {
            frame(first & 0x0f, &inflated(payload)?)?
        } else {
            frame(first & 0x0f, payload)?
        };
        self.at += start + length;
        Ok(Some(frame))
    }
}

/// The payload's length and its place.
fn length(bytes: &[u8], short: u8) -> Result<Option<(usize, usize)>, String> {
    let (long, start, least) = match short {
        126 => (bytes.get(2..4), 4, 126),
        127 => (bytes.get(2..10), 10, 1 << 16),
        _ => return Ok(Some((usize::from(short), 2))),
    };
    let Some(long) = long else { return Ok(None) };
    let length = long
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length < least || length > 1 << 26 {
        return Err(format!("a frame of {length} bytes in {} bytes", long.len()));
    }
    Ok(Some((length, start)))
}

fn frame(opcode: u8, payload: &[u8]) -> Result<Frame, String> {
    if opcode >= 8 && payload.len() > 125 {
        return Err(format!("a control frame of {} bytes", payload.len()));
    }
    match opcode {
        1 => {
            let text = std::str::from_utf8(payload).map_err(|_| "text that is not UTF-8")?;
            Ok(Frame::Text(text.to_owned()))
        }
        2 => Ok(Frame::Binary(payload.to_vec())),
        8 => match *payload {
            [] => Ok(Frame::Close(None)),
            [high, low, ..] => Ok(Frame::Close(Some(u16::from_be_bytes([high, low])))),
            [_] => Err("a close of one byte".to_owned()),
        },
        9 => Ok(Frame::Ping(payload.to_vec())),
        10 => Ok(Frame::Pong(payload.to_vec())),
        _ => Err(format!("opcode {opcode}")),
    }
}

/// A message as it was before it was compressed.
fn inflated(payload: &[u8]) -> Result<Vec<u8>, String> {
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut message = Vec::with_capacity(1 << 20);
    let mut decompress = Decompress::new(false);
    let result = decompress.decompress_vec(&whole, &mut message, FlushDecompress::Sync);
    result.map_err(|error| format!("it does not inflate: {error}"))?;
    if decompress.total_in() == whole.len() as u64 {
        Ok(message)
    } else {
        Err("there is something behind what inflates".to_owned())
    }
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 100);
    let mut compress = Compress::new(Compression::fast(), false);
    let result = compress.compress_vec(payload, &mut out, FlushCompress::Sync);
    result.expect("bytes compress");
    out.truncate(out.len() - 4);
    out
}

/// The request that upgrades a connection.
pub fn upgrade(target: &str, offers_deflate: bool) -> Vec<u8> {
    let extensions = if offers_deflate {
        format!("Sec-WebSocket-Extensions: {OFFER}\r\n")
    } else {
        String::new()
    };
    format!(
        "GET {target} HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n{extensions}Sec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// Appends one frame.
pub fn put(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], rng: &mut Rng) {
    put_frame(out, true, opcode, payload, rng);
}

/// Appends one compressed message.
pub fn put_compressed(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], rng: &mut Rng) {
    let [a, b, c, d, ..] = rng.bits().to_le_bytes();
    encode_masked(out, true, true, opcode, [a, b, c, d], &deflated(payload));
}

/// Appends a message in some fragments, with pings between them.
pub fn put_in_pieces(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], rng: &mut Rng) {
    let (mut rest, mut opcode) = (payload, opcode);
    loop {
        let (piece, after) = rest.split_at(rng.between(0, rest.len()));
        let is_last = after.is_empty();
        put_frame(out, is_last, opcode, piece, rng);
        if is_last {
            return;
        }
        if rng.chance(300) {
            put(out, Opcode::Ping, b"between", rng);
        }
        (rest, opcode) = (after, Opcode::Continuation);
    }
}

fn put_frame(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], rng: &mut Rng) {
    let [a, b, c, d, ..] = rng.bits().to_le_bytes();
    encode_masked(out, fin, false, opcode, [a, b, c, d], payload);
}
