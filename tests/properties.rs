//! What holds for any input: fast code equals a naive twin, and the cuts of a stream mean nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::http::{Parsed, Scan, parse};
use roomcast::limits::INFLATED_BYTES_KEPT;
use roomcast::proto::Commands;
use roomcast::ws::close::{self, CloseCode};
use roomcast::ws::deflate::{Deflater, Inflater};
use roomcast::ws::mask::unmask;
use roomcast::ws::utf8::{self, Utf8};
use roomcast::ws::{Header, Input, Message, Opcode, Protocol, Rules, Violation, frame};

/// Cases of each property; `PROPTEST_CASES` sets another number.
const CASE_COUNT: u32 = 256;

fn config() -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|count| count.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(given.unwrap_or(CASE_COUNT))
    }
}

/// A message as a value: what it is, whether it is compressed, and its payload.
type Event = Result<(Opcode, bool, Vec<u8>), Violation>;

/// Bounds that the streams below meet.
const RULES: Rules = Rules {
    message_bytes_max: 400,
    fragment_count_max: 6,
    deflate: true,
};

/// Bytes for the state of an incomplete message, besides its content.
const STATE_BYTES_MAX: usize = 512;

fn event(message: Message<'_>) -> (Opcode, bool, Vec<u8>) {
    let is_compressed = matches!(message, Message::Compressed(..));
    let (opcode, payload) = match message {
        Message::Compressed(opcode, bytes) => (opcode, bytes.into()),
        Message::Text(text) => (Opcode::Text, text.into()),
        Message::Binary(bytes) => (Opcode::Binary, bytes.into()),
        Message::Ping(bytes) => (Opcode::Ping, bytes.into()),
        Message::Pong(bytes) => (Opcode::Pong, bytes.into()),
        Message::Close(None) => (Opcode::Close, Vec::new()),
        Message::Close(Some((code, reason))) => (
            Opcode::Close,
            [&code.0.to_be_bytes(), reason.as_bytes()].concat(),
        ),
    };
    (opcode, is_compressed, payload)
}

/// Reads a stream cut after each of these lengths, and asks for the bound on memory after each piece.
fn read(stream: &[u8], lengths: &[usize]) -> Vec<Event> {
    let (mut protocol, mut events, mut rest) = (Protocol::new(), Vec::new(), stream);
    for length in lengths.iter().copied().chain([usize::MAX]) {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        let mut piece = piece.to_vec();
        let mut input = Input::new(&mut piece);
        loop {
            match protocol.next(&mut input, &RULES) {
                Ok(Some(message)) => events.push(Ok(event(message))),
                Ok(None) => break,
                Err(violation) => events.push(Err(violation)),
            }
        }
        let came = stream.len() - rest.len();
        let bound = STATE_BYTES_MAX + RULES.message_bytes_max.min(2 * came);
        assert!(
            protocol.held_bytes() <= bound,
            "{} held",
            protocol.held_bytes()
        );
    }
    events
}

/// A frame that is mostly allowed.
fn a_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        4 => Just(Opcode::Text),
        4 => Just(Opcode::Binary),
        4 => Just(Opcode::Continuation),
        2 => Just(Opcode::Ping),
        1 => Just(Opcode::Pong),
    ];
    let payload = prop_oneof![
        "[a-z€ß😀]{0,60}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..140),
    ];
    let flags = (any::<bool>(), proptest::bool::weighted(0.1));
    (opcode, payload, any::<[u8; 4]>(), flags).prop_map(|(opcode, payload, mask, (fin, rsv1))| {
        let mut out = Vec::new();
        let fin = fin || opcode.is_control();
        let bytes_max = if opcode.is_control() { 125 } else { usize::MAX };
        let payload = &payload[..payload.len().min(bytes_max)];
        frame::encode_masked(&mut out, fin, rsv1, opcode, mask, payload);
        out
    })
}

/// A few frames, in which sometimes one byte is wrong.
fn a_stream() -> impl Strategy<Value = Vec<u8>> {
    let fault = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (vec(a_frame(), 1..12), fault).prop_map(|(frames, fault)| {
        let mut stream = frames.concat();
        if let Some((place, byte)) = fault {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        stream
    })
}

/// Text that is nearly UTF-8.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => "\\PC{0,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..4),
        1 => vec(0x80..=0xf5_u8, 0..4),
    ];
    vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// What a message compresses to, and what it was where no byte was changed.
fn a_compressed_payload() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
    let repeated = (vec(any::<u8>(), 1..40), 1..4_000_usize);
    let repeated = repeated.prop_map(|(part, count)| part.repeat(count));
    let fault = proptest::option::weighted(0.5, (any::<prop::sample::Index>(), any::<u8>()));
    let compressed = (repeated, fault).prop_filter_map("it has to be of use", |(plain, fault)| {
        let (mut out, mut deflater) = (Vec::new(), Deflater::default());
        if !deflater.compress(&plain, 15, &mut out) {
            return None;
        }
        let Some((place, byte)) = fault else {
            return Some((out, Some(plain)));
        };
        let place = place.index(out.len());
        out[place] = byte;
        Some((out, None))
    });
    prop_oneof![
        4 => compressed,
        1 => vec(any::<u8>(), 0..200).prop_map(|bytes| (bytes, None)),
    ]
}

/// Whether bytes are UTF-8 by the table of RFC 3629, 4.
fn is_utf8_naively(mut bytes: &[u8]) -> bool {
    while let Some((&lead, rest)) = bytes.split_first() {
        let (first, count) = match lead {
            0x00..=0x7f => (0..=0, 0),
            0xc2..=0xdf => (0x80..=0xbf, 1),
            0xe0 => (0xa0..=0xbf, 2),
            0xed => (0x80..=0x9f, 2),
            0xe1..=0xef => (0x80..=0xbf, 2),
            0xf0 => (0x90..=0xbf, 3),
            0xf4 => (0x80..=0x8f, 3),
            0xf1..=0xf3 => (0x80..=0xbf, 3),
            _ => return false,
        };
        let Some(tail) = rest.get(..count) else {
            return false;
        };
        let is_tail = tail.iter().skip(1).all(|byte| (0x80..=0xbf).contains(byte));
        if !is_tail || tail.first().is_some_and(|byte| !first.contains(byte)) {
            return false;
        }
        bytes = &rest[count..];
    }
    true
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn unmasking_equals_a_naive_twin(
        bytes in vec(any::<u8>(), 0..2_000), mask in any::<[u8; 4]>(), phase in any::<usize>(),
        start in 0..64_usize,
    ) {
        let mut fast = bytes.clone();
        let start = start.min(fast.len());
        unmask(&mut fast[start..], mask, phase);
        let mut naive = bytes;
        for (index, byte) in naive[start..].iter_mut().enumerate() {
            *byte ^= mask[(phase % 4 + index) % 4];
        }
        prop_assert_eq!(fast, naive);
    }

    #[test]
    fn utf8_equals_a_naive_twin_however_it_is_cut(bytes in nearly_text(), cuts in vec(0..9_usize, 0..9)) {
        let is_valid = is_utf8_naively(&bytes);
        prop_assert_eq!(utf8::validate(&bytes).is_ok(), is_valid);
        let (mut utf8, mut text, mut rest) = (Utf8::default(), String::new(), &bytes[..]);
        let mut pushed = Ok(());
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (part, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            pushed = pushed.and_then(|()| utf8.push(part, &mut text));
        }
        prop_assert_eq!(pushed.and_then(|()| utf8.finish()).is_ok(), is_valid);
        prop_assert!(!is_valid || text.as_bytes() == bytes);
    }

    #[test]
    fn lengths_equal_a_naive_twin(length in prop_oneof![0..300_usize, 65_000..66_000_usize], masked in any::<bool>()) {
        let mut naive = vec![0x82];
        let flag = if masked { 0x80 } else { 0 };
        match length {
            0..126 => naive.push(flag + length as u8),
            126..65_536 => naive.extend([flag + 126, (length / 256) as u8, (length % 256) as u8]),
            _ => {
                naive.push(flag + 127);
                naive.extend((0..8).rev().map(|place| (length >> (8 * place)) as u8));
            }
        }
        let mut out = Vec::new();
        if masked {
            frame::encode_masked(&mut out, true, false, Opcode::Binary, [0; 4], &vec![0; length]);
            out.truncate(naive.len());
        } else {
            frame::encode_header(&mut out, Opcode::Binary, false, length);
        }
        prop_assert_eq!(&out, &naive);
        let parsed = Header::parse(&[&naive[..], &[0; 4]].concat());
        prop_assert_eq!(parsed.map(|header| header.map(|(header, _)| header.length)), Ok(Some(length as u64)));
    }

    #[test]
    fn any_segmentation_of_frames_gives_the_same_events(stream in a_stream(), cuts in vec(0..200_usize, 0..12)) {
        let whole = read(&stream, &[]);
        prop_assert_eq!(&read(&stream, &cuts), &whole);
        prop_assert_eq!(&read(&stream, &vec![1; stream.len()]), &whole);
    }

    #[test]
    fn any_bytes_at_all_are_read_within_the_bound(stream in vec(any::<u8>(), 0..600), cuts in vec(0..90_usize, 0..12)) {
        prop_assert_eq!(read(&stream, &cuts), read(&stream, &[]));
    }

    #[test]
    fn inflating_anything_stays_within_the_bound(
        payloads in vec(a_compressed_payload(), 1..6), bytes_max in prop_oneof![0..9_000_usize, Just(100_000)],
    ) {
        let mut inflater = Inflater::default();
        for (payload, plain) in payloads {
            let inflated = inflater.message(Opcode::Binary, &payload, bytes_max);
            let inflated = inflated.map(|message| event(message).2);
            match plain {
                Some(plain) if plain.len() <= bytes_max => prop_assert_eq!(inflated, Ok(plain)),
                Some(_) => prop_assert_eq!(inflated, Err(Violation::TooBig)),
                None => prop_assert!(inflated.is_err() || inflated.is_ok_and(|it| it.len() <= bytes_max)),
            }
            // One byte more tells that there are too many.
            prop_assert!(inflater.held_bytes() <= bytes_max + 1, "{} held", inflater.held_bytes());
            inflater.trim();
            prop_assert!(inflater.held_bytes() <= INFLATED_BYTES_KEPT);
        }
    }

    #[test]
    fn any_segmentation_of_a_request_gives_the_same_verdict(
        fields in vec("(Host|Upgrade|Content-Length|X)[: \t]{1,2}[a-z0-9\\x00, ]{0,9}(\r\n|\n|\r)", 0..5),
        line in "(\r\n)?(GET|POST|get) /[a-z%0-9/?=]{0,9} HTTP/[12]\\.[01]\r\n", cuts in vec(0..40_usize, 0..9),
    ) {
        let bytes = format!("{line}{}\r\nrest", fields.concat()).into_bytes();
        let whole = format!("{:?}", parse(&bytes, &mut Scan::default()));
        let (mut scan, mut end) = (Scan::default(), 0);
        for cut in cuts.into_iter().chain([bytes.len()]) {
            end = bytes.len().min(end + cut);
            let parsed = parse(&bytes[..end], &mut scan);
            if parsed != Parsed::Partial || end == bytes.len() {
                prop_assert_eq!(format!("{:?}", parsed), whole);
                break;
            }
        }
    }

    #[test]
    fn commands_are_taken_one_by_one_with_nothing_lost(text in "([{}\\[\\]\",:\\\\ ]|type|join|room_id|\\PC){0,60}") {
        let mut commands = Commands::new(&text);
        loop {
            let before = commands.rest();
            let next = commands.next();
            prop_assert_eq!(&Commands::new(before).next(), &next);
            prop_assert!(before.ends_with(commands.rest()));
            if next.is_none() {
                break;
            }
            prop_assert!(commands.rest().len() < before.len());
        }
    }

    #[test]
    fn close_payloads_are_read_back(code in any::<u16>(), reason in "\\PC{0,90}") {
        let mut out = Vec::new();
        close::encode(&mut out, Some(CloseCode(code)), &reason);
        match close::parse(frame::payload_of(&out)) {
            Ok(Some((read, kept))) => {
                prop_assert_eq!(read.0, code);
                prop_assert!(reason.starts_with(kept) && kept.len() + 4 > reason.len().min(123));
            }
            other => {
                prop_assert_eq!(other, Err(Violation::CloseCodeInvalid));
                prop_assert!(!CloseCode(code).is_sendable());
            }
        }
    }
}
