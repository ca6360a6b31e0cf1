//! Frames of clients, from the header alone to whole messages out of a stream.

use std::hint::black_box;
use std::io::Cursor;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion};
use fastwebsockets::Role as FastRole;
use roomcast::limits::READ_BYTES;
use roomcast::ws::{Header, Input, Message, Protocol, Rules};
use roomcast_benches::feed::{Feed, ready};
use roomcast_benches::frames::{ascii, headers, masked};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::table::{Table, Who};

/// Frames that a read brings where many are under way.
const MANY: usize = 64;

pub fn measure(criterion: &mut Criterion, table: &mut Table) {
    header(criterion, table);
    in_place(criterion, table, 16);
    in_place(criterion, table, 125);
    stream(criterion, table, 16, MANY);
    stream(criterion, table, 125, MANY);
    stream(criterion, table, 16, 1);
    stream(criterion, table, 125, 1);
    stream(criterion, table, 1024, 1);
    stream(criterion, table, 60 * 1024, 1);
}

fn header(criterion: &mut Criterion, table: &mut Table) {
    let headers = headers();
    let mut row = table.row(criterion, "parse a header", 0, headers.len());
    row.side(Who::Roomcast, |b| {
        b.iter(|| {
            for header in &headers {
                black_box(Header::parse(black_box(header))).expect("it is valid");
            }
        });
    });
    row.side(Who::Tungstenite, |b| {
        b.iter(|| {
            for header in &headers {
                let mut cursor = Cursor::new(black_box(header));
                black_box(FrameHeader::parse(&mut cursor)).expect("it is valid");
            }
        });
    });
    row.end();
}

/// Without the copy out of the stream: what decoding adds to the `recv` that a server does anyway.
fn in_place(criterion: &mut Criterion, table: &mut Table, text_bytes: usize) {
    let name = format!("decode text of {text_bytes} B in the read buffer");
    let text = ascii(text_bytes);
    let mut row = table.row(criterion, name, text_bytes, MANY);
    row.side(Who::Roomcast, |b| {
        let (mut reader, mut feed) = (Reader::new(), Feed::new(&masked(&text), MANY));
        reader.check(&mut feed, &text, MANY);
        b.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let bytes = feed.recv(&mut reader.buffer);
                let began = Instant::now();
                reader.decode(bytes);
                total += began.elapsed();
            }
            total
        });
    });
    row.end();
}

/// As a server does it: bytes are read from a stream, messages come out, each is looked at and dropped.
fn stream(criterion: &mut Criterion, table: &mut Table, text_bytes: usize, count: usize) {
    let name = match count {
        1 => format!("read and decode text of {text_bytes} B"),
        _ => format!("read and decode text of {text_bytes} B, {count} a read"),
    };
    let text = ascii(text_bytes);
    let feed = Feed::new(&masked(&text), count);
    let mut row = table.row(criterion, name, text_bytes, count);
    row.side(Who::Roomcast, |b| {
        let (mut reader, mut feed) = (Reader::new(), feed.clone());
        reader.check(&mut feed, &text, count);
        b.iter(|| {
            let bytes = feed.recv(&mut reader.buffer);
            reader.decode(bytes);
        });
    });
    row.side(Who::Tungstenite, |b| {
        tungstenite(b, feed.clone(), &text, count)
    });
    row.side(Who::Fastwebsockets, |b| {
        fastwebsockets(b, feed.clone(), &text, count)
    });
    row.end();
}

/// Uses a payload as little as possible: where it is and how long. It is text by then, so nobody may leave that out.
#[inline(always)]
fn look(payload: &[u8]) {
    black_box(payload.as_ptr());
    black_box(payload.len());
}

/// What a shard has for all its connections, and one of these.
struct Reader {
    buffer: Vec<u8>,
    protocol: Protocol,
    rules: Rules,
}

impl Reader {
    fn new() -> Reader {
        Reader {
            buffer: vec![0; READ_BYTES],
            protocol: Protocol::new(),
            rules: Rules::new(64 * 1024),
        }
    }

    fn decode(&mut self, bytes: usize) {
        let mut input = Input::new(&mut self.buffer[..bytes]);
        while let Ok(Some(Message::Text(text))) = self.protocol.next(&mut input, &self.rules) {
            look(text.as_bytes());
        }
        assert!(input.is_empty());
    }

    fn check(&mut self, feed: &mut Feed, text: &str, count: usize) {
        let bytes = feed.recv(&mut self.buffer);
        let mut input = Input::new(&mut self.buffer[..bytes]);
        for _ in 0..count {
            let message = self.protocol.next(&mut input, &self.rules);
            assert_eq!(message, Ok(Some(Message::Text(text))));
        }
        assert!(input.is_empty());
    }
}

fn tungstenite(b: &mut Bencher, feed: Feed, text: &str, count: usize) {
    // It fills what is free of its read buffer with zeros at each read. So small a buffer costs it least.
    let buffer_bytes = feed.round_bytes().max(1024);
    let config = WebSocketConfig::default().read_buffer_size(buffer_bytes);
    let mut socket = tungstenite::WebSocket::from_raw_socket(feed, Role::Server, Some(config));
    let message = socket.read().expect("it is valid");
    assert_eq!(message.to_text().expect("it is text"), text);
    b.iter(|| {
        for _ in 0..count {
            let Ok(tungstenite::Message::Text(text)) = socket.read() else {
                unreachable!("it is valid");
            };
            look(text.as_bytes());
        }
    });
}

fn fastwebsockets(b: &mut Bencher, feed: Feed, text: &str, count: usize) {
    let socket = fastwebsockets::WebSocket::after_handshake(feed, FastRole::Server);
    // Without it, fragments are left to the caller.
    let mut socket = fastwebsockets::FragmentCollector::new(socket);
    let frame = ready(socket.read_frame()).expect("it is valid");
    assert_eq!(&*frame.payload, text.as_bytes());
    drop(frame);
    b.iter(|| {
        for _ in 0..count {
            let Ok(frame) = ready(socket.read_frame()) else {
                unreachable!("it is valid");
            };
            look(&frame.payload);
        }
    });
}
