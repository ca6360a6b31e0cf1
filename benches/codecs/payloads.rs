//! The parts of decoding whose time grows with the payload.

use std::hint::black_box;

use criterion::Criterion;
use fastwebsockets::{Frame, OpCode, Payload};
use roomcast::ws::mask::unmask;
use roomcast::ws::utf8;
use roomcast_benches::frames::{MASK, ascii, masked_payload, multi_byte};

use crate::table::{Table, Who};

const SIZES: [(usize, &str); 3] = [(64, "64 B"), (1024, "1 KiB"), (64 * 1024, "64 KiB")];

pub fn measure(criterion: &mut Criterion, table: &mut Table) {
    for (bytes, size) in SIZES {
        unmasking(criterion, table, bytes, size);
    }
    for (bytes, size) in SIZES {
        let text = masked_payload(&ascii(bytes));
        validation(criterion, table, &text, &format!("{size} of ASCII"));
    }
    for (bytes, size) in SIZES {
        let text = masked_payload(&multi_byte(bytes));
        validation(
            criterion,
            table,
            &text,
            &format!("{size} of longer characters"),
        );
    }
}

/// In place, again and again: each second time it is masked.
fn unmasking(criterion: &mut Criterion, table: &mut Table, bytes: usize, size: &str) {
    let mut payload = masked_payload(&ascii(bytes));
    let mut row = table.row(criterion, format!("unmask {size}"), bytes, 1);
    row.side(Who::Roomcast, |b| {
        b.iter(|| unmask(black_box(&mut payload), black_box(MASK), 0));
    });
    row.side(Who::Fastwebsockets, |b| {
        b.iter(|| fastwebsockets::unmask(black_box(&mut payload), black_box(MASK)));
    });
    let mut copy = payload.clone();
    row.side(Who::Yardstick("copy"), |b| {
        b.iter(|| black_box(&mut copy).copy_from_slice(black_box(&payload)));
    });
    row.end();
}

/// From masked bytes, which are copied in before, to text.
fn validation(criterion: &mut Criterion, table: &mut Table, masked: &[u8], what: &str) {
    let mut payload = masked.to_vec();
    let name = format!("copy in, unmask and check {what}");
    let mut row = table.row(criterion, name, masked.len(), 1);
    row.side(Who::Roomcast, |b| {
        b.iter(|| {
            payload.copy_from_slice(black_box(masked));
            unmask(&mut payload, black_box(MASK), 0);
            black_box(utf8::validate(&payload)).expect("it is valid");
        });
    });
    row.side(Who::Fastwebsockets, |b| {
        b.iter(|| {
            payload.copy_from_slice(black_box(masked));
            let payload = Payload::BorrowedMut(&mut payload);
            let mut frame = Frame::new(true, OpCode::Text, Some(black_box(MASK)), payload);
            frame.unmask();
            assert!(black_box(frame.is_utf8()));
            black_box(&frame);
        });
    });
    row.side(Who::Yardstick("copy twice"), |b| {
        let mut copy = payload.clone();
        b.iter(|| {
            payload.copy_from_slice(black_box(masked));
            black_box(&mut copy).copy_from_slice(black_box(&payload));
        });
    });
    row.end();
}
