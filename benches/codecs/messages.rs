//! What a message passes between two frames: its JSON, its encoding, and its compression.

use std::borrow::Cow;
use std::hint::black_box;

use bytes::Bytes;
use criterion::Criterion;
use fastwebsockets::Payload;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use roomcast::proto::{Command, Commands};
use roomcast::ws::deflate::{Deflater, Inflater};
use roomcast::ws::{Message, Opcode, frame};
use roomcast_benches::frames::{ascii, message_command};
use serde::Deserialize;
use serde_json::value::RawValue;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::table::{Table, Who};

pub fn measure(criterion: &mut Criterion, table: &mut Table) {
    for bytes in [16, 125, 1024] {
        encoding(criterion, table, bytes);
    }
    for bytes in [128, 1024] {
        compressing(criterion, table, bytes);
        inflating(criterion, table, bytes);
    }
    command(criterion, table, 128);
}

/// Header and payload into a buffer that has room.
fn encoding(criterion: &mut Criterion, table: &mut Table, bytes: usize) {
    let text = ascii(bytes);
    let mut out = Vec::with_capacity(bytes + 64);
    let mut row = table.row(criterion, format!("encode text of {bytes} B"), bytes, 1);
    row.side(Who::Roomcast, |b| {
        b.iter(|| {
            out.clear();
            frame::encode(&mut out, Opcode::Text, black_box(text.as_bytes()));
            black_box(&out);
        });
    });
    row.side(Who::Tungstenite, |b| {
        let payload = Bytes::from(text.clone());
        b.iter(|| {
            out.clear();
            let frame = Frame::message(payload.clone(), OpCode::Data(Data::Text), true);
            frame.format(&mut out).expect("there is room");
            black_box(&out);
        });
    });
    row.side(Who::Fastwebsockets, |b| {
        b.iter(|| {
            out.clear();
            let payload = Payload::Borrowed(black_box(text.as_bytes()));
            black_box(fastwebsockets::Frame::text(payload).write(&mut out));
        });
    });
    row.end();
}

/// Once per message, however many members are sent the result.
fn compressing(criterion: &mut Criterion, table: &mut Table, bytes: usize) {
    let text = message_command(bytes);
    let mut out = Vec::with_capacity(2 * bytes);
    let mut row = table.row(criterion, format!("compress {bytes} B"), bytes, 1);
    row.side(Who::Roomcast, |b| {
        let mut deflater = Deflater::default();
        b.iter(|| {
            out.clear();
            assert!(deflater.compress(black_box(text.as_bytes()), 15, &mut out));
            black_box(&out);
        });
    });
    row.side(Who::Yardstick("flate2 at its default level"), |b| {
        let mut stream = Compress::new(Compression::default(), false);
        b.iter(|| {
            out.clear();
            stream.reset();
            let status =
                stream.compress_vec(black_box(text.as_bytes()), &mut out, FlushCompress::Sync);
            black_box((status.expect("there is room"), &out));
        });
    });
    row.end();
}

fn inflating(criterion: &mut Criterion, table: &mut Table, bytes: usize) {
    let text = message_command(bytes);
    let mut compressed = Vec::new();
    assert!(Deflater::default().compress(text.as_bytes(), 15, &mut compressed));
    let mut row = table.row(criterion, format!("inflate and check {bytes} B"), bytes, 1);
    row.side(Who::Roomcast, |b| {
        let mut inflater = Inflater::default();
        b.iter(|| {
            let message = inflater.message(Opcode::Text, black_box(&compressed), 64 * 1024);
            assert!(matches!(black_box(message), Ok(Message::Text(_))));
        });
    });
    row.side(Who::Yardstick("flate2, unchecked"), |b| {
        let mut stream = Decompress::new(false);
        let mut out = Vec::with_capacity(2 * bytes);
        b.iter(|| {
            out.clear();
            stream.reset(false);
            let status =
                stream.decompress_vec(black_box(&compressed), &mut out, FlushDecompress::Sync);
            black_box((status.expect("it is valid"), &out));
        });
    });
    row.end();
}

/// The same fields by `serde_json`, which checks neither names nor depth.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct ByDerive<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    room_id: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

fn command(criterion: &mut Criterion, table: &mut Table, bytes: usize) {
    let text = message_command(bytes);
    let name = format!("parse a message command of {bytes} B");
    let mut row = table.row(criterion, name, bytes, 1);
    row.side(Who::Roomcast, |b| {
        b.iter(|| {
            let request = Commands::new(black_box(&text)).next();
            let request = request.expect("there is one").expect("it is valid");
            assert!(matches!(request.command, Command::Message { .. }));
            black_box(&request);
        });
    });
    row.side(Who::Yardstick("serde_json, derived"), |b| {
        b.iter(|| {
            let parsed: ByDerive<'_> = serde_json::from_str(black_box(&text)).expect("it is valid");
            black_box(&parsed);
        });
    });
    row.end();
}
