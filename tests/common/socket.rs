//! A WebSocket client that does as it is told, and checks every frame of the server against RFC 6455.

use super::{Opcode, PATIENCE, left_of};
use roomcast::ws::frame::encode_masked;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
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
    stream: TcpStream,
    received: Vec<u8>,
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

/// The head of an upgrade request, with further lines, each with its line end.
pub fn upgrade(host: &str, path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    )
}

impl Socket {
    /// Upgrades a connection.
    pub fn open(mut stream: TcpStream, host: &str, path: &str) -> Socket {
        let request = upgrade(host, path, "");
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        Socket::upgraded(stream)
    }

    /// Reads the answer to an upgrade request that was sent already.
    pub fn upgraded(stream: TcpStream) -> Socket {
        stream.set_nodelay(true).expect("a socket");
        let mut socket = Socket {
            stream,
            received: Vec::new(),
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
        assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
        socket
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
            if let Some((frame, length)) = parse(&self.received) {
                self.received.drain(..length);
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
        self.stream
            .shutdown(Shutdown::Write)
            .expect("an open socket");
    }

    /// The connection below.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
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
                ErrorKind::ConnectionReset => Some(0),
                ErrorKind::Interrupted => self.receive_before(deadline),
                _ => panic!("reading from the server: {error}"),
            },
        }
    }
}

/// The frame at the start of `bytes` and its length. A server's frames are whole, unmasked, plain and minimal.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, ..] = *bytes else {
        return None;
    };
    assert_eq!(first & 0x70, 0, "no reserved bit is set: {first:x}");
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
    let payload = bytes.get(header..end)?.to_vec();
    let frame = match first & 0x0f {
        0x1 => Frame::Text(String::from_utf8(payload).expect("text is UTF-8")),
        0x2 => Frame::Binary(payload),
        0x8 => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        0x9 => Frame::Ping(payload),
        0xa => Frame::Pong(payload),
        opcode => panic!("an opcode of {opcode}"),
    };
    Some((frame, end))
}
