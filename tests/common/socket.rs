//! A WebSocket client that does as it is told, and checks every frame of the server against RFC 6455.

use super::{Opcode, PATIENCE, Stream, left_of};
use miniz_oxide::MZFlush;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use roomcast::ws::frame::encode_masked;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// The key of RFC 6455, 1.3, and its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// One frame of the server, or the end of what it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame with this code, if it has one.
    Close(Option<u16>),
    /// The connection has ended.
    End,
}

/// A connection behind its upgrade.
pub struct Socket {
    stream: Stream,
    received: Vec<u8>,
    /// Whether the server may compress messages.
    is_deflating: bool,
    compressed_count: usize,
}

/// A whole masked frame.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    fragment(true, opcode, payload)
}

/// A masked frame that may be a fragment.
pub fn fragment(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_masked(&mut frame, fin, false, opcode, MASK, payload);
    frame
}

/// A masked frame with RSV1, as the first one of a compressed message has it.
pub fn marked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_masked(&mut frame, fin, true, opcode, MASK, payload);
    frame
}

/// A payload compressed as RFC 7692, 7.2.1 says, by another library than the server's.
pub fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut state = CompressorOxide::new(create_comp_flags_from_zip_params(6, 0, 0));
    // Enough for what cannot be compressed.
    let mut out = vec![0; payload.len() + payload.len() / 1000 + 64];
    let result = deflate(&mut state, payload, &mut out, MZFlush::Sync);
    assert_eq!(result.bytes_consumed, payload.len());
    out.truncate(result.bytes_written);
    let useful = out
        .strip_suffix(&[0, 0, 0xff, 0xff])
        .expect("a flush ends so");
    useful.to_vec()
}

/// The payload that a compressed one stands for (RFC 7692, 7.2.2).
fn inflated(payload: &[u8]) -> Vec<u8> {
    // The tail that was not sent, and a last block.
    let stream = [payload, b"\0\0\xff\xff\x01\0\0\xff\xff"].concat();
    miniz_oxide::inflate::decompress_to_vec(&stream).expect("the server compresses well")
}

/// The head of an upgrade request, with further lines, each with its line end.
pub fn upgrade(host: &str, path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    )
}

impl Socket {
    /// Upgrades a connection.
    pub fn open(stream: impl Into<Stream>, host: &str, path: &str) -> Socket {
        let mut stream = stream.into();
        let request = upgrade(host, path, "");
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        Socket::upgraded(stream)
    }

    /// Upgrades a connection with further lines in its request, each with its line end; the answer is given as well.
    pub fn open_with(
        stream: impl Into<Stream>,
        host: &str,
        path: &str,
        lines: &str,
    ) -> (Socket, String) {
        let mut stream = stream.into();
        let request = upgrade(host, path, lines);
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        Socket::answered(stream)
    }

    /// Upgrades a connection with an offer of extensions; what is agreed on is given as well.
    pub fn offer(
        stream: impl Into<Stream>,
        host: &str,
        path: &str,
        offer: &str,
    ) -> (Socket, Option<String>) {
        let mut stream = stream.into();
        let line = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let request = upgrade(host, path, &line);
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        let (mut socket, head) = Socket::answered(stream);
        let agreed = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        socket.is_deflating = agreed.is_some();
        (socket, agreed.map(str::to_owned))
    }

    /// Reads the answer to an upgrade request that was sent already, and that offered no extension.
    pub fn upgraded(stream: impl Into<Stream>) -> Socket {
        let (socket, head) = Socket::answered(stream.into());
        assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
        socket
    }

    fn answered(stream: Stream) -> (Socket, String) {
        stream.set_nodelay(true).expect("a socket");
        let mut socket = Socket {
            stream,
            received: Vec::new(),
            is_deflating: false,
            compressed_count: 0,
        };
        let deadline = Instant::now() + PATIENCE;
        let end = loop {
            let end = socket.received.windows(4).position(|at| at == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => assert!(
                    socket.receive(deadline),
                    "an answer to the upgrade, not {:?}",
                    String::from_utf8_lossy(&socket.received)
                ),
            }
        };
        let head: Vec<u8> = socket.received.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.contains(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n")),
            "{head}"
        );
        (socket, head)
    }

    /// How many messages came compressed.
    pub fn compressed_count(&self) -> usize {
        self.compressed_count
    }

    /// Sends a whole frame.
    pub fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.send_bytes(&masked(opcode, payload));
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes());
    }

    /// Sends a close frame.
    pub fn send_close(&mut self, code: u16) {
        self.send(Opcode::Close, &code.to_be_bytes());
    }

    /// Sends these bytes. That the server has gone is for the reader to find out.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes);
    }

    /// Sends these bytes, if the server still takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.stream.write_all(bytes)
    }

    /// The next frame. Panics if there is none in time.
    pub fn frame(&mut self) -> Frame {
        self.frame_within(PATIENCE)
            .expect("a frame, or the end, in time")
    }

    /// The next frame, if one comes in this time.
    pub fn frame_within(&mut self, patience: Duration) -> Option<Frame> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(frame) = self.next_received() {
                return Some(frame);
            }
            match self.receive_before(deadline) {
                Some(0) => {
                    assert!(
                        self.received.is_empty(),
                        "the end is not inside a frame: {:x?}",
                        self.received
                    );
                    return Some(Frame::End);
                }
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// The next frame that is not a ping; pings are answered.
    pub fn message(&mut self) -> Frame {
        loop {
            match self.frame() {
                Frame::Ping(payload) => self.send(Opcode::Pong, &payload),
                frame => return frame,
            }
        }
    }

    /// The next text message; pings are answered.
    pub fn text(&mut self) -> String {
        match self.message() {
            Frame::Text(text) => text,
            frame => panic!("a text, not {frame:?}"),
        }
    }

    /// Reads up to the close frame, gives its code, and sees to it that the server ends the connection behind it.
    pub fn closed(&mut self) -> Option<u16> {
        loop {
            match self.message() {
                Frame::Close(code) => {
                    self.send(Opcode::Close, &code.unwrap_or(1000).to_be_bytes());
                    self.ended();
                    return code;
                }
                Frame::End => panic!("a close frame comes before the end"),
                Frame::Text(_) | Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) => {}
            }
        }
    }

    /// Sees to it that the server ends the connection without another word.
    pub fn ended(&mut self) {
        assert_eq!(self.frame(), Frame::End);
    }

    /// Says that nothing more is sent.
    pub fn end(&mut self) {
        self.stream.end().expect("an open socket");
    }

    /// The connection below.
    pub fn stream(&self) -> &TcpStream {
        self.stream.tcp()
    }

    /// What is read from and written to.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// What was agreed on, where it is TLS.
    pub fn tls(&self) -> Option<&rustls::ClientConnection> {
        self.stream.tls()
    }

    /// The connection below, and what was received and not read.
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.received)
    }

    /// The next frame of what was received.
    fn next_received(&mut self) -> Option<Frame> {
        let (first, payload, length) = parse(&self.received)?;
        let is_compressed = first & 0x40 != 0;
        assert!(
            !is_compressed || self.is_deflating && matches!(first & 0x0f, 0x1 | 0x2),
            "nobody agreed on compression: {first:x}"
        );
        self.compressed_count += usize::from(is_compressed);
        let payload = match is_compressed {
            true => inflated(&payload),
            false => payload,
        };
        self.received.drain(..length);
        Some(frame_of(first & 0x0f, payload))
    }

    fn receive(&mut self, deadline: Instant) -> bool {
        matches!(self.receive_before(deadline), Some(1..))
    }

    /// Reads once; how much, or `None` if nothing came in time. A reset is an end: what came before it was read.
    fn receive_before(&mut self, deadline: Instant) -> Option<usize> {
        let mut buffer = [0; 64 * 1024];
        self.stream
            .set_read_timeout(Some(left_of(deadline)))
            .expect("a socket");
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Some(count)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => None,
                // Under TLS, one that was cut has no notice of its end.
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Some(0),
                ErrorKind::Interrupted => self.receive_before(deadline),
                _ => panic!("reading from the server: {error}"),
            },
        }
    }
}

/// The first byte of the frame at the start of `bytes`, its payload, and its length. A server's frames are whole,
/// unmasked and minimal.
fn parse(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let [first, second, ..] = *bytes else {
        return None;
    };
    assert_eq!(first & 0x30, 0, "RSV2 and RSV3 mean nothing: {first:x}");
    assert_eq!(first & 0x80, 0x80, "the server never fragments: {first:x}");
    assert!(second < 0x80, "a server does not mask");
    let (length, header) = match second {
        126 => {
            let length = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
            assert!(length >= 126, "a length of {length} is not minimal");
            (u64::from(length), 4)
        }
        127 => {
            let length = u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
            assert!(length >= 0x1_0000, "a length of {length} is not minimal");
            (length, 10)
        }
        _ => (u64::from(second), 2),
    };
    let end = header + usize::try_from(length).expect("frames fit memory");
    Some((first, bytes.get(header..end)?.to_vec(), end))
}

fn frame_of(opcode: u8, payload: Vec<u8>) -> Frame {
    match opcode {
        0x1 => Frame::Text(String::from_utf8(payload).expect("text is UTF-8")),
        0x2 => Frame::Binary(payload),
        0x8 => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        0x9 => Frame::Ping(payload),
        0xa => Frame::Pong(payload),
        opcode => panic!("an opcode of {opcode}"),
    }
}
