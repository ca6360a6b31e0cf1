//! Compressed messages in frames (RFC 7692, 6).

use super::corpus::{MASK, broken_streams, masked, streams};
use super::{DEFLATE_RULES, Event, RULES, check_all_cuts, feed, receive};
use crate::ws::deflate::{Deflater, Inflater};
use crate::ws::{Header, Input, Message, Opcode, Protocol, Rules, Violation, frame};

/// "Hello" as RFC 7692, 7.2.3.1 has it.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// A frame with RSV1.
fn marked(fin: bool, opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode_masked(&mut out, fin, true, opcode, MASK, payload.as_ref());
    out
}

fn compressed(opcode: Opcode, payload: &[u8]) -> Event {
    Event::Compressed(opcode, payload.to_owned())
}

/// Streams of which some messages are compressed.
fn compressed_streams() -> Vec<(Vec<u8>, Vec<Event>)> {
    use Opcode::{Binary, Continuation, Ping, Text};
    vec![
        (
            [
                marked(true, Text, HELLO),
                masked(true, Text, "plain"),
                marked(true, Binary, b"\x00"),
                marked(true, Text, ""),
            ]
            .concat(),
            vec![
                compressed(Text, HELLO),
                Event::Text("plain".to_owned()),
                compressed(Binary, b"\x00"),
                compressed(Text, b""),
            ],
        ),
        (
            // As RFC 7692, 7.2.3.1 cuts it, with a control frame between. Compressed text is not UTF-8.
            [
                marked(false, Text, b"\xf2\x48\xcd"),
                masked(true, Ping, "ping"),
                masked(true, Continuation, b"\xc9\xc9\x07\x00"),
                marked(false, Binary, ""),
                masked(false, Continuation, HELLO),
                masked(true, Continuation, ""),
                masked(true, Binary, HELLO),
            ]
            .concat(),
            vec![
                Event::Ping(b"ping".to_vec()),
                compressed(Text, HELLO),
                compressed(Binary, HELLO),
                Event::Binary(HELLO.to_vec()),
            ],
        ),
        (
            [
                marked(true, Text, vec![0xff; 300]),
                marked(false, Binary, vec![0xfe; 200]),
                masked(true, Continuation, vec![0xfd; 100]),
            ]
            .concat(),
            vec![
                compressed(Text, &[0xff; 300]),
                compressed(Binary, &[vec![0xfe; 200], vec![0xfd; 100]].concat()),
            ],
        ),
    ]
}

/// Streams that break a rule although compression was agreed on.
fn broken_with_deflate() -> Vec<(Vec<u8>, Violation)> {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    let begun = |frame: Vec<u8>| [marked(false, Text, "first"), frame].concat();
    let mut rsv2 = marked(true, Text, HELLO);
    rsv2[0] |= 0x20;
    vec![
        (marked(true, Ping, ""), Violation::ReservedBit),
        (marked(true, Pong, ""), Violation::ReservedBit),
        (marked(true, Close, ""), Violation::ReservedBit),
        (marked(true, Continuation, "x"), Violation::ReservedBit),
        (
            begun(marked(true, Continuation, "x")),
            Violation::ReservedBit,
        ),
        (begun(marked(true, Ping, "x")), Violation::ReservedBit),
        (rsv2, Violation::ReservedBit),
        (
            begun(marked(true, Text, "x")),
            Violation::ContinuationExpected,
        ),
        (marked(true, Binary, [1; 301]), Violation::TooBig),
        (
            begun(masked(true, Continuation, [1; 296])),
            Violation::TooBig,
        ),
        (
            begun(masked(false, Continuation, "").repeat(5)),
            Violation::TooManyFragments,
        ),
        (b"\xc1\x01x".to_vec(), Violation::Unmasked),
    ]
}

#[test]
fn compressed_messages_are_handed_out_as_they_came() {
    for (stream, expected) in compressed_streams() {
        assert_eq!(receive([stream.as_slice()], &DEFLATE_RULES), expected);
        let without_agreement = receive([stream.as_slice()], &RULES);
        assert_eq!(without_agreement, [Event::Broken(Violation::ReservedBit)]);
    }
}

#[test]
fn rules_are_kept_with_the_agreement() {
    for (stream, violation) in broken_with_deflate() {
        let events = receive([stream.as_slice()], &DEFLATE_RULES);
        assert_eq!(events, [Event::Broken(violation)], "{stream:x?}");
    }
}

#[test]
fn each_stream_gives_the_same_messages_at_each_cut() {
    let compressed = compressed_streams().into_iter().map(|(stream, _)| stream);
    let broken = broken_with_deflate().into_iter().chain(broken_streams());
    let broken = broken.map(|(stream, _)| [marked(true, Opcode::Text, "x"), stream].concat());
    for stream in compressed.chain(streams()).chain(broken) {
        check_all_cuts(&stream, &DEFLATE_RULES);
    }
}

#[test]
fn a_compressed_message_that_came_whole_is_borrowed() {
    let mut bytes = marked(true, Opcode::Text, HELLO);
    let range = bytes.as_ptr_range();
    let (mut protocol, mut input) = (Protocol::new(), Input::new(&mut bytes));
    let message = protocol.next(&mut input, &DEFLATE_RULES).expect("valid");
    let Some(Message::Compressed(Opcode::Text, payload)) = message else {
        panic!("{message:?}")
    };
    assert_eq!(payload, HELLO);
    assert!(range.contains(&payload.as_ptr()));
    assert_eq!(protocol.held_bytes(), 0);
}

#[test]
fn nothing_is_held_behind_a_compressed_message() {
    let stream = [
        marked(false, Opcode::Text, HELLO),
        masked(true, Opcode::Continuation, HELLO),
    ]
    .concat();
    let mut protocol = Protocol::new();
    for byte in &stream {
        feed(&mut protocol, &[*byte], &DEFLATE_RULES);
    }
    feed(
        &mut protocol,
        &masked(true, Opcode::Pong, ""),
        &DEFLATE_RULES,
    );
    assert_eq!(protocol.held_bytes(), 0);
}

/// From a payload to a server's frame, and from a client's frames, cut into two anywhere, back to the payload.
#[test]
fn messages_come_back_through_frames_at_each_cut() {
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    let text = r#"{"type":"message","room_id":"général","content":"hello"}"#.repeat(20);
    let mut payload = Vec::new();
    assert!(deflater.compress(text.as_bytes(), 15, &mut payload));
    let rules = Rules {
        deflate: true,
        ..Rules::new(64 * 1024)
    };
    for cut in 0..=payload.len() {
        let mut stream = [
            marked(false, Opcode::Text, &payload[..cut]),
            masked(true, Opcode::Continuation, &payload[cut..]),
        ]
        .concat();
        let (mut protocol, mut input) = (Protocol::new(), Input::new(&mut stream));
        let message = protocol.next(&mut input, &rules).expect("valid");
        let Some(Message::Compressed(opcode, assembled)) = message else {
            panic!("{message:?}")
        };
        let message = inflater.message(opcode, assembled, rules.message_bytes_max);
        assert_eq!(message, Ok(Message::Text(&text)), "cut at {cut}");
    }
}

#[test]
fn frames_of_compressed_messages_are_marked() {
    // The frame of RFC 7692, 7.2.3.1.
    let mut out = Vec::new();
    frame::encode_compressed(&mut out, Opcode::Text, HELLO);
    assert_eq!(out, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    assert_eq!(frame::payload_of(&out), HELLO);

    let long = vec![5; 70_000];
    let mut out = Vec::new();
    frame::encode_compressed(&mut out, Opcode::Binary, &long);
    let (header, _) = Header::parse(&out).expect("valid").expect("complete");
    let expected = Header {
        fin: true,
        rsv1: true,
        opcode: Opcode::Binary,
        mask: None,
        length: 70_000,
    };
    assert_eq!(header, expected);
    assert_eq!(frame::payload_of(&out), long);
}
