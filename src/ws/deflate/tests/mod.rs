//! Both directions, against each other and against a naive reading.

mod naive;

use flate2::{Compress, Compression, FlushCompress};

use super::{Deflater, Inflater};
use crate::limits::{INFLATED_BYTES_KEPT, INFLATED_BYTES_START};
use crate::ws::tests::random::Random;
use crate::ws::{Message, Opcode, Violation};

/// JSON as a chat has it.
fn text(random: &mut Random, length: usize) -> Vec<u8> {
    let words = [
        "hello", "room", "the", "grüße", "deploy", "failed", "again", "😀", "lunch",
    ];
    let mut text = Vec::new();
    while text.len() < length {
        let (sequence, word) = (random.below(100_000), random.pick(&words));
        text.extend(format!(r#"{{"seq_id":{sequence},"content":"{word}"}}"#).bytes());
    }
    text.truncate(length);
    text
}

/// A whole stream or a flushed part of one, tail included, as any client may make it.
fn compress(bytes: &[u8], level: u32, flush: FlushCompress) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 1000);
    let mut compressor = Compress::new(Compression::new(level), false);
    let compressed = compressor.compress_vec(bytes, &mut out, flush);
    compressed.expect("no state can be wrong");
    assert!(out.len() < out.capacity(), "there is room for all");
    out
}

/// The payload of a message, as any client may make it.
fn payload_of(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut out = compress(bytes, level, FlushCompress::Sync);
    out.truncate(out.len() - 4);
    out
}

fn inflate(
    inflater: &mut Inflater,
    payload: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, Violation> {
    match inflater.message(Opcode::Binary, payload, bytes_max)? {
        Message::Binary(bytes) => Ok(bytes.to_owned()),
        other => panic!("{other:?}"),
    }
}

/// Sizes at and around powers of 2, and some between.
fn sizes() -> Vec<usize> {
    let edges = (8..=16).flat_map(|bits| (1 << bits) - 1..=(1 << bits) + 1);
    (0..400)
        .chain(edges)
        .chain([20_000, 65_793, 70_000])
        .collect()
}

#[test]
fn all_sizes_come_back() {
    let (mut deflater, mut inflater, mut random) =
        (Deflater::default(), Inflater::default(), Random(7));
    let mut deflated_count = 0;
    for size in sizes() {
        for bytes in [
            vec![b'x'; size],
            text(&mut random, size),
            random.bytes(size),
        ] {
            let mut out = b"before".to_vec();
            if deflater.compress(&bytes, 15, &mut out) {
                let payload = out.strip_prefix(b"before").expect("only appends");
                assert!(payload.len() < size);
                assert_eq!(inflate(&mut inflater, payload, size), Ok(bytes.clone()));
                deflated_count += 1;
            } else {
                assert_eq!(out, b"before");
            }
            for level in [0, 6] {
                let theirs = payload_of(&bytes, level);
                assert_eq!(inflate(&mut inflater, &theirs, size), Ok(bytes.clone()));
            }
        }
    }
    assert!(deflated_count > sizes().len(), "{deflated_count}");
}

#[test]
fn only_what_becomes_shorter_is_compressed() {
    let (mut deflater, mut random) = (Deflater::default(), Random(3));
    for size in sizes() {
        let mut out = Vec::new();
        assert!(!deflater.compress(&random.bytes(size), 15, &mut out));
        assert_eq!(out, b"");
        let repeated = vec![b'x'; size];
        assert_eq!(
            deflater.compress(&repeated, 15, &mut out),
            size > 6,
            "{size}"
        );
    }
    let mut out = Vec::new();
    assert!(deflater.compress(&text(&mut random, 1024), 15, &mut out));
    assert!(out.len() < 512, "{}", out.len());
}

#[test]
fn distances_stay_within_the_window() {
    let (mut deflater, mut random) = (Deflater::default(), Random(11));
    for window_bits in 8..=15_u8 {
        let window = 1_usize << window_bits;
        for size in [
            200,
            255,
            256,
            257,
            1000,
            window - 1,
            window,
            window + 1,
            70_000,
        ] {
            // Each part comes again at many distances.
            let parts: Vec<_> = (0..8).map(|_| random.bytes(25)).collect();
            let mut bytes = Vec::new();
            while bytes.len() < size {
                bytes.extend(&parts[random.below(8)]);
                let gap = random.below(600);
                bytes.extend(text(&mut random, gap));
            }
            bytes.truncate(size);
            let mut out = Vec::new();
            let is_compressed = deflater.compress(&bytes, window_bits, &mut out);
            if !is_compressed {
                assert!(size < 300 || window_bits == 8, "{size} {window_bits}");
                continue;
            }
            let inflated = naive::inflate(&out, size).expect("valid");
            assert_eq!(inflated.bytes, bytes);
            assert!(inflated.distance_max <= window, "{}", inflated.distance_max);
        }
    }
}

#[test]
fn no_window_but_those_of_an_agreement_is_used() {
    let mut deflater = Deflater::default();
    for (window_bits, size, expected) in [
        (0, 100, false),
        (7, 500, false),
        (8, 255, true),
        (8, 256, false),
        (9, 500, true),
        (15, 70_000, true),
        (16, 70_000, false),
        (u8::MAX, 70_000, false),
    ] {
        let mut out = Vec::new();
        let is_compressed = deflater.compress(&vec![b'x'; size], window_bits, &mut out);
        assert_eq!(is_compressed, expected, "{window_bits} {size}");
        assert_eq!(out.is_empty(), !expected);
    }
}

/// The payloads of RFC 7692, 7.2.3.
#[test]
fn the_rfc_examples_are_inflated() {
    let mut inflater = Inflater::default();
    for (payload, expected) in [
        (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], Ok(&b"Hello"[..])),
        // It refers to the message before.
        (b"\xf2\x00\x11\x00\x00", Err(Violation::DeflateCorrupt)),
        // No compression.
        (
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            Ok(b"Hello"),
        ),
        // A block that is marked as the last.
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", Ok(b"Hello")),
        // Two blocks, with a flush between them.
        (
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            Ok(b"Hello"),
        ),
        (b"\x00", Ok(b"")),
        // An empty message with the fixed code.
        (b"\x02\x00", Ok(b"")),
        // The last block without the byte that the flush behind it leaves; and what may follow it.
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00", Ok(b"Hello")),
        (
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00",
            Ok(b"HelloHello"),
        ),
        (
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00",
            Ok(b"HelloHello"),
        ),
        (
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00\x00\xff\xff\x00",
            Ok(b"Hello"),
        ),
        (
            b"\xf3\x48\xcd\xc9\xc9\x07\x00garbage",
            Err(Violation::DeflateCorrupt),
        ),
        (
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00",
            Err(Violation::DeflateCorrupt),
        ),
        (b"", Err(Violation::DeflateCorrupt)),
        (b"\x06", Err(Violation::DeflateCorrupt)),
    ] {
        let inflated = inflate(&mut inflater, payload, 10);
        assert_eq!(
            inflated.as_deref(),
            expected.as_ref().map(|bytes| *bytes),
            "{payload:x?}"
        );
        assert_eq!(
            naive::inflate(payload, 10).map(|naive| naive.bytes),
            inflated
        );
    }
}

#[test]
fn a_payload_that_was_cut_is_corrupt() {
    let (mut inflater, text) = (Inflater::default(), text(&mut Random(5), 2000));
    for level in [1, 6] {
        let payload = payload_of(&text, level);
        for end in 0..payload.len() {
            assert_eq!(
                inflate(&mut inflater, &payload[..end], 10_000),
                Err(Violation::DeflateCorrupt),
                "level {level} cut at {end}"
            );
        }
    }
}

#[test]
fn text_is_checked_once_it_is_inflated() {
    let mut inflater = Inflater::default();
    for (bytes, expected) in [
        (&b""[..], Ok(Message::Text(""))),
        (b"plain", Ok(Message::Text("plain"))),
        ("grüße 😀".as_bytes(), Ok(Message::Text("grüße 😀"))),
        (b"ok \xff", Err(Violation::TextNotUtf8)),
        (b"cut \xe2\x82", Err(Violation::TextNotUtf8)),
        (b"\xed\xa0\x80", Err(Violation::TextNotUtf8)),
    ] {
        let payload = payload_of(bytes, 6);
        assert_eq!(inflater.message(Opcode::Text, &payload, 100), expected);
        let binary = inflater.message(Opcode::Binary, &payload, 100);
        assert_eq!(binary, Ok(Message::Binary(bytes)));
    }
}

#[test]
fn a_bomb_stops_at_the_bound() {
    let zeros = vec![0; 4 << 20];
    let bombs = [
        payload_of(&zeros, 9),
        compress(&zeros, 9, FlushCompress::Finish),
        // Each of its streams is far from the bound.
        compress(&zeros[..100], 9, FlushCompress::Finish).repeat(1_000),
    ];
    for bomb in &bombs {
        for bytes_max in [0, 1, 300, 4_096, 65_535, 65_536] {
            let mut inflater = Inflater::default();
            for _ in 0..2 {
                assert_eq!(
                    inflate(&mut inflater, bomb, bytes_max),
                    Err(Violation::TooBig)
                );
                assert!(
                    inflater.held_bytes() <= bytes_max + 1,
                    "{}",
                    inflater.held_bytes()
                );
            }
        }
    }
}

#[test]
fn a_message_of_just_the_bound_is_taken() {
    let mut inflater = Inflater::default();
    for size in [0, 1, 300, 4_095, 4_096, 4_097, 65_536, 1 << 20] {
        for (level, byte) in [(0, 1), (1, 0), (9, 0)] {
            let bytes = vec![byte; size];
            let payload = payload_of(&bytes, level);
            assert_eq!(inflate(&mut inflater, &payload, size), Ok(bytes));
            if let Some(bytes_max) = size.checked_sub(1) {
                let inflated = inflate(&mut inflater, &payload, bytes_max);
                assert_eq!(inflated, Err(Violation::TooBig), "{size}");
            }
        }
    }
}

#[test]
fn memory_of_a_large_message_is_given_back() {
    let mut inflater = Inflater::default();
    assert_eq!(inflater.held_bytes(), 0);
    let (small, large) = (payload_of(b"small", 6), payload_of(&[7; 1 << 20], 6));
    inflate(&mut inflater, &small, 1 << 20).expect("valid");
    assert_eq!(inflater.held_bytes(), INFLATED_BYTES_START);
    for give_back in [Inflater::trim, |inflater: &mut Inflater| {
        let small = inflate(inflater, &payload_of(b"small", 6), 1 << 20);
        assert_eq!(small, Ok(b"small".to_vec()));
    }] {
        inflate(&mut inflater, &large, 1 << 20).expect("valid");
        assert!(inflater.held_bytes() >= 1 << 20);
        give_back(&mut inflater);
        assert!(inflater.held_bytes() <= INFLATED_BYTES_START);
    }
    let kept = payload_of(&[7; INFLATED_BYTES_KEPT - 1], 6);
    inflate(&mut inflater, &kept, 1 << 20).expect("valid");
    inflater.trim();
    assert_eq!(inflater.held_bytes(), INFLATED_BYTES_KEPT);
}

/// Streams in several blocks and of several levels, most of them damaged.
fn random_payload(random: &mut Random) -> Vec<u8> {
    if random.below(8) == 0 {
        let length = random.below(60);
        return random.bytes(length);
    }
    let mut payload = Vec::new();
    for _ in 0..1 + random.below(3) {
        let (length, level) = (random.below(700), random.pick(&[0, 1, 2, 6]));
        let bytes = match random.below(3) {
            0 => random.bytes(length),
            1 => text(random, length),
            _ => vec![b'x'; length],
        };
        let flush = random.pick(&[FlushCompress::Sync, FlushCompress::Finish]);
        payload.extend(compress(&bytes, level, flush));
    }
    for _ in 0..random.below(3) {
        // The head of a block decides most.
        let end = random.pick(&[payload.len(), payload.len().min(40)]);
        payload[random.below(end)] ^= 1 << random.below(8);
    }
    payload.truncate(payload.len() - random.pick(&[0, 0, 1, 4, 9]).min(payload.len()));
    payload
}

#[test]
fn damaged_payloads_equal_the_naive_reading() {
    let mut used_before = Inflater::default();
    let (mut valid_count, mut corrupt_count, mut too_big_count) = (0, 0, 0);
    for seed in 1..=2_000 {
        let mut random = Random(seed);
        let payload = random_payload(&mut random);
        let bytes_max = random.pick(&[300, 1_500, 100_000]);
        let expected = naive::inflate(&payload, bytes_max).map(|naive| naive.bytes);
        for inflater in [&mut used_before, &mut Inflater::default()] {
            let inflated = inflate(inflater, &payload, bytes_max);
            assert_eq!(inflated, expected, "seed {seed}");
        }
        match expected {
            Ok(_) => valid_count += 1,
            Err(Violation::TooBig) => too_big_count += 1,
            Err(_) => corrupt_count += 1,
        }
    }
    let counts = [valid_count, corrupt_count, too_big_count];
    assert!(counts.iter().all(|count| *count > 150), "{counts:?}");
}
