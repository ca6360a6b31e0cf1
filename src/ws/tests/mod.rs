//! The protocol as a whole: streams of frames, cut anywhere, against a naive reading.

mod corpus;
mod deflate;
pub(super) mod random;
mod reference;

use std::collections::HashSet;

use self::corpus::{broken_streams, masked, streams};
use self::random::Random;
use self::reference::Reference;
use super::deflate::Inflater;
use super::{Header, Input, Message, Opcode, Protocol, Rules, Violation};
use crate::limits::FRAGMENT_COUNT_MAX;

/// Small, so that small streams reach them.
const RULES: Rules = Rules {
    message_bytes_max: 300,
    fragment_count_max: 5,
    deflate: false,
};
/// The same where messages may be compressed.
const DEFLATE_RULES: Rules = Rules {
    deflate: true,
    ..RULES
};
/// What an assembly holds beside the message.
const ASSEMBLY_BYTES_MAX: usize = 300;

/// A [`Message`] that owns its payload, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Text(String),
    Binary(Vec<u8>),
    Compressed(Opcode, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Broken(Violation),
}

impl From<Message<'_>> for Event {
    fn from(message: Message<'_>) -> Event {
        match message {
            Message::Text(text) => Event::Text(text.to_owned()),
            Message::Binary(bytes) => Event::Binary(bytes.to_owned()),
            Message::Compressed(opcode, bytes) => Event::Compressed(opcode, bytes.to_owned()),
            Message::Ping(bytes) => Event::Ping(bytes.to_owned()),
            Message::Pong(bytes) => Event::Pong(bytes.to_owned()),
            Message::Close(close) => {
                Event::Close(close.map(|(code, reason)| (code.0, reason.to_owned())))
            }
        }
    }
}

/// All events that come of `chunk`; checks what holds after any chunk.
fn feed(protocol: &mut Protocol, chunk: &[u8], rules: &Rules) -> Vec<Event> {
    let mut events = Vec::new();
    let mut bytes = chunk.to_owned();
    let mut input = Input::new(&mut bytes);
    loop {
        match protocol.next(&mut input, rules) {
            Ok(Some(message)) => events.push(message.into()),
            Ok(None) => break,
            Err(violation) => {
                events.push(Event::Broken(violation));
                assert_eq!(protocol.held_bytes(), 0, "there is nothing to hold it for");
            }
        }
    }
    assert!(input.is_empty(), "None means that the input is used up");
    assert!(protocol.held_bytes() <= rules.message_bytes_max + ASSEMBLY_BYTES_MAX);
    events
}

fn receive<'c>(chunks: impl IntoIterator<Item = &'c [u8]>, rules: &Rules) -> Vec<Event> {
    let mut protocol = Protocol::new();
    chunks
        .into_iter()
        .flat_map(|chunk| feed(&mut protocol, chunk, rules))
        .collect()
}

/// The close code that each rule asks for; a new rule has to be listed here and provoked above.
fn expected_code(violation: Violation) -> u16 {
    match violation {
        Violation::ReservedBit
        | Violation::UnknownOpcode
        | Violation::ControlFragmented
        | Violation::ControlTooLong
        | Violation::LengthNotMinimal
        | Violation::LengthHighBit
        | Violation::Unmasked
        | Violation::ContinuationUnexpected
        | Violation::ContinuationExpected
        | Violation::CloseTooShort
        | Violation::CloseCodeInvalid => 1002,
        Violation::DeflateCorrupt | Violation::TextNotUtf8 | Violation::CloseReasonNotUtf8 => 1007,
        Violation::TooManyFragments => 1008,
        Violation::TooBig => 1009,
    }
}

const VIOLATION_COUNT: usize = 16;

fn chunks_of(stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([stream.len()]);
    starts
        .zip(ends)
        .map(|(start, end)| stream[start..end].to_vec())
        .collect()
}

fn check_cuts(stream: &[u8], cuts: &[usize], rules: &Rules, expected: &[Event]) {
    let chunks = chunks_of(stream, cuts);
    assert_eq!(
        receive(chunks.iter().map(Vec::as_slice), rules),
        expected,
        "{stream:x?} cut at {cuts:?}"
    );
}

/// Receives a stream in all ways to cut it once, and, where it is short, twice.
fn check_all_cuts(stream: &[u8], rules: &Rules) {
    let expected = Reference::read(stream, rules);
    check_cuts(stream, &[], rules, &expected);
    for cut in 0..=stream.len() {
        check_cuts(stream, &[cut], rules, &expected);
    }
    let all: Vec<usize> = (1..stream.len()).collect();
    check_cuts(stream, &all, rules, &expected);
    if stream.len() < 120 {
        for second in 0..=stream.len() {
            (0..=second).for_each(|first| check_cuts(stream, &[first, second], rules, &expected));
        }
    }
}

#[test]
fn each_stream_gives_the_same_messages_at_each_cut() {
    let broken = broken_streams()
        .into_iter()
        .map(|(stream, _)| [masked(true, Opcode::Text, "before"), stream].concat());
    for stream in streams().into_iter().chain(broken) {
        check_all_cuts(&stream, &RULES);
    }
}

#[test]
fn the_streams_give_what_was_put_in() {
    let text = |text: &str| Event::Text(text.to_owned());
    let expected = [
        vec![
            text("Grüße"),
            text(""),
            Event::Binary(vec![0, 255, 128]),
            Event::Ping(vec![]),
            Event::Ping(b"ping".to_vec()),
            Event::Pong(b"pong".to_vec()),
            Event::Close(Some((1000, "bye".to_owned()))),
        ],
        vec![
            Event::Ping(b"between".to_vec()),
            Event::Pong(vec![]),
            text("aä€😀"),
            Event::Binary(vec![]),
            Event::Close(None),
        ],
        vec![
            Event::Binary(vec![7; 125]),
            text(&"x".repeat(126)),
            Event::Ping(vec![1; 125]),
            Event::Binary([vec![9; 200], vec![8; 100]].concat()),
            text(&"ä".repeat(150)),
        ],
    ];
    for (stream, expected) in streams().iter().zip(expected) {
        assert_eq!(receive([stream.as_slice()], &RULES), expected);
    }
}

#[test]
fn each_violation_is_provoked_and_has_its_code() {
    let mut provoked = HashSet::new();
    for (stream, violation) in broken_streams() {
        let events = receive([stream.as_slice()], &RULES);
        assert_eq!(events, [Event::Broken(violation)], "{stream:x?}");
        assert_eq!(violation.close_code().0, expected_code(violation));
        assert!((1..=123).contains(&violation.to_string().len()));
        provoked.insert(violation);
    }
    let mut inflater = Inflater::default();
    let corrupt = inflater.message(Opcode::Binary, &[0xff], 300);
    assert_eq!(corrupt, Err(Violation::DeflateCorrupt));
    assert_eq!(expected_code(Violation::DeflateCorrupt), 1007);
    assert_eq!(Violation::DeflateCorrupt.close_code().0, 1007);
    provoked.insert(Violation::DeflateCorrupt);
    assert_eq!(provoked.len(), VIOLATION_COUNT);
}

#[test]
fn nothing_comes_after_the_end() {
    let ends = broken_streams().into_iter().map(|(stream, _)| stream);
    let closes = [
        masked(true, Opcode::Close, ""),
        masked(true, Opcode::Close, b"\x03\xe8"),
    ];
    for end in ends.chain(closes) {
        for cut in 0..=end.len() {
            let mut protocol = Protocol::new();
            let events = [
                feed(&mut protocol, &end[..cut], &RULES),
                feed(&mut protocol, &end[cut..], &RULES),
            ]
            .concat();
            assert_eq!(events.len(), 1, "{end:x?}");
            assert_eq!(
                feed(&mut protocol, &masked(true, Opcode::Text, "late"), &RULES),
                []
            );
            assert_eq!(feed(&mut protocol, &[0xff; 20], &RULES), []);
            assert_eq!(protocol.held_bytes(), 0);
        }
    }
}

#[test]
fn bad_text_fails_at_its_first_bad_byte() {
    let cases: &[(&[u8], usize)] = &[
        // payload, index of the first byte that makes it invalid
        (b"hello \xff and more", 6),
        (
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
            12,
        ),
        (b"\xed\xa0\x80", 1),
        (b"\xf0\x80\x80\x80", 1),
        (b"\xe2\x82\x28 and more", 2),
        (b"\xf0\x9f\x98\x41", 3),
        (b"a\x80", 1),
        (b"\xc0\xaf", 0),
    ];
    for (payload, bad) in cases {
        for fin in [true, false] {
            // The frame says that more is to come than ever does.
            let whole = masked(fin, Opcode::Text, [*payload, &[b'x'; 20]].concat());
            let bad_end = whole.len() - payload.len() - 20 + bad + 1;
            for start in 0..bad_end {
                let mut protocol = Protocol::new();
                assert_eq!(feed(&mut protocol, &whole[..start], &RULES), []);
                assert_eq!(
                    feed(&mut protocol, &whole[start..bad_end - 1], &RULES),
                    [],
                    "{payload:x?} from {start}"
                );
                let events = feed(&mut protocol, &whole[bad_end - 1..bad_end], &RULES);
                assert_eq!(
                    events,
                    [Event::Broken(Violation::TextNotUtf8)],
                    "{payload:x?} from {start}"
                );
            }
        }
    }
}

#[test]
fn what_just_fits_is_taken() {
    use Opcode::{Binary, Continuation, Text};
    let fragments = |parts: &[&[u8]]| {
        let (last, parts) = parts.split_last().expect("more than one");
        let (first, parts) = parts.split_first().expect("more than one");
        let mut stream = masked(false, Text, first);
        parts
            .iter()
            .for_each(|part| stream.extend(masked(false, Continuation, part)));
        stream.extend(masked(true, Continuation, last));
        stream
    };
    let cases = [
        (masked(true, Binary, [5; 300]), Event::Binary(vec![5; 300])),
        (
            fragments(&[&[b'x'; 200], &[b'x'; 100]]),
            Event::Text("x".repeat(300)),
        ),
        (
            fragments(&[&[b'x'; 298], b"\xc3", b"\xa4"]),
            Event::Text("x".repeat(298) + "ä"),
        ),
        (
            fragments(&[b"", b"", b"", b"", b""]),
            Event::Text(String::new()),
        ),
    ];
    for (stream, expected) in cases {
        assert_eq!(receive([stream.as_slice()], &RULES), [expected]);
    }
}

#[test]
fn what_is_a_byte_too_big_is_refused_at_its_header() {
    use Opcode::{Binary, Continuation, Text};
    let cut = ["x".repeat(297).as_bytes(), b"\xf0\x9f\x98"].concat();
    let cases = [
        (masked(true, Binary, [5; 301]), 8),
        (
            [
                masked(false, Text, [b'x'; 200]),
                masked(true, Continuation, [b'x'; 101]),
            ]
            .concat(),
            214,
        ),
        // Bytes of a character that is not complete count as well.
        (
            [
                masked(false, Text, cut),
                masked(true, Continuation, b"\x80"),
            ]
            .concat(),
            314,
        ),
    ];
    for (stream, header_end) in cases {
        assert_eq!(receive([&stream[..header_end - 1]], &RULES), []);
        for end in [header_end, stream.len()] {
            assert_eq!(
                receive([&stream[..end]], &RULES),
                [Event::Broken(Violation::TooBig)]
            );
        }
    }
}

#[test]
fn a_bound_on_messages_says_nothing_about_control_frames() {
    let rules = Rules {
        message_bytes_max: 0,
        fragment_count_max: 1,
        deflate: false,
    };
    let ping = masked(true, Opcode::Ping, [1; 125]);
    for cut in 0..=ping.len() {
        let events = receive([&ping[..cut], &ping[cut..]], &rules);
        assert_eq!(events, [Event::Ping(vec![1; 125])], "cut at {cut}");
    }
}

#[test]
fn rules_allow_any_message_in_fragments_of_a_reasonable_size() {
    for (message_bytes_max, fragment_count_max) in [
        (0, FRAGMENT_COUNT_MAX),
        (64 * 1024, FRAGMENT_COUNT_MAX),
        (16 << 20, 1 << 18),
        (usize::MAX, u32::MAX),
    ] {
        assert_eq!(
            Rules::new(message_bytes_max),
            Rules {
                message_bytes_max,
                fragment_count_max,
                deflate: false,
            }
        );
    }
}

#[test]
fn memory_follows_the_bytes_that_came() {
    let rules = Rules::new(16 << 20);
    for opcode in [Opcode::Text, Opcode::Binary] {
        let frame = masked(true, opcode, vec![b'x'; 16 << 20]);
        let mut protocol = Protocol::new();
        for (end, held_bytes_max) in [
            (1, 300),
            (14, 300),
            (15, 310),
            (1_014, 2_300),
            (100_000, 200_300),
        ] {
            let mut protocol = Protocol::new();
            assert_eq!(feed(&mut protocol, &frame[..end], &rules), []);
            assert!(
                protocol.held_bytes() <= held_bytes_max,
                "{} after {end}",
                protocol.held_bytes()
            );
        }
        let events: Vec<Event> = frame
            .chunks(60_000)
            .flat_map(|chunk| feed(&mut protocol, chunk, &rules))
            .collect();
        assert_eq!(events.len(), 1);
        assert_eq!(protocol.held_bytes(), 0);
    }
}

#[test]
fn nothing_is_held_between_messages() {
    for stream in streams() {
        let mut protocol = Protocol::new();
        assert_eq!(protocol.held_bytes(), 0);
        let mut rest = stream.as_slice();
        while let Ok(Some((header, header_bytes))) = Header::parse(rest) {
            let (frame, next) =
                rest.split_at(header_bytes + usize::try_from(header.length).expect("small"));
            let unfragmented =
                header.fin && header.opcode != Opcode::Continuation && protocol.held_bytes() == 0;
            for byte in frame {
                feed(&mut protocol, &[*byte], &RULES);
            }
            if unfragmented {
                assert_eq!(protocol.held_bytes(), 0);
            }
            rest = next;
        }
    }
}

#[test]
fn whole_frames_are_borrowed_and_what_was_not_taken_stays_masked() {
    let first = masked(true, Opcode::Text, "the first");
    let second = masked(true, Opcode::Ping, "the second");
    let mut bytes = [first.clone(), second.clone()].concat();
    let range = bytes.as_ptr_range();
    let (mut protocol, mut input) = (Protocol::new(), Input::new(&mut bytes));
    let message = protocol.next(&mut input, &RULES).expect("valid");
    let Some(Message::Text(text)) = message else {
        panic!("{message:?}")
    };
    assert_eq!(text, "the first");
    assert!(range.contains(&text.as_ptr()));
    assert_eq!(protocol.held_bytes(), 0);
    assert_eq!(input.rest(), second);
}

/// Random streams, most of them with a fault somewhere, in random chunks.
#[test]
fn random_streams_equal_the_naive_reading() {
    for seed in 1..=4_000 {
        for rules in [RULES, DEFLATE_RULES] {
            let mut random = Random(seed);
            let stream = random.stream(&rules);
            let mut chunks = Vec::new();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (chunk, next) = rest.split_at((1 + random.below(40)).min(rest.len()));
                chunks.push(chunk);
                rest = next;
            }
            let expected = Reference::read(&stream, &rules);
            let whole = receive([stream.as_slice()], &rules);
            assert_eq!(whole, expected, "seed {seed}");
            assert_eq!(receive(chunks, &rules), expected, "seed {seed} in chunks");
        }
    }
}
