//! A stream of frames that arrives in pieces: the same messages and the same verdict as in one piece.

use super::cuts::{Event, events, pieces};
use roomcast::ws::{Rules, Violation, frame};

/// The bounds that the first byte of an input chooses from: bytes of a message, fragments of it.
const RULES: [(usize, u32); 6] = [
    (300, 4),
    (65_536, 1024),
    (125, 64),
    (1000, 1),
    (8, 3),
    (0, 1),
];

/// Input: a byte that chooses the bounds, from 128 on with compressed messages, then [pieces].
pub fn run(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let rules = rules(choice);
    let whole: Vec<u8> = pieces(data).flatten().copied().collect();
    let expected = events(std::iter::once(&whole[..]), &rules);
    assert_eq!(events(pieces(data), &rules), expected, "in pieces");
    assert_eq!(events(whole.chunks(1), &rules), expected, "byte by byte");
    check_again(&expected, &rules);
}

/// The bounds that a byte chooses.
pub fn rules(choice: u8) -> Rules {
    let (message_bytes_max, fragment_count_max) = RULES[usize::from(choice) % RULES.len()];
    Rules {
        message_bytes_max,
        fragment_count_max,
        deflate: choice >= 128,
    }
}

/// The messages, each encoded as one frame, are the messages again.
fn check_again(events_before: &[Event], rules: &Rules) {
    let mut stream = Vec::new();
    for event in events_before {
        put(event, &mut stream);
    }
    let again = events(std::iter::once(&stream[..]), rules);
    let messages = |events: &[Event]| -> Vec<Event> {
        let is_message = |event: &&Event| !matches!(event, Event::Broken(_));
        events.iter().filter(is_message).cloned().collect()
    };
    assert_eq!(messages(&again), messages(events_before), "encoded again");
    assert!(
        again
            .iter()
            .all(|event| !matches!(event, Event::Broken(Violation::Unmasked)))
    );
}

/// Appends the frame of a client that means this.
pub fn put(event: &Event, stream: &mut Vec<u8>) {
    use roomcast::ws::Opcode::{Binary, Close, Ping, Pong, Text};
    let mut close = Vec::new();
    let (opcode, payload) = match event {
        Event::Text(text) => (Text, text.as_bytes()),
        Event::Binary(bytes) => (Binary, &bytes[..]),
        Event::Compressed(opcode, bytes) => (*opcode, &bytes[..]),
        Event::Ping(bytes) => (Ping, &bytes[..]),
        Event::Pong(bytes) => (Pong, &bytes[..]),
        Event::Close(None) => (Close, &[][..]),
        Event::Close(Some((code, reason))) => {
            close.extend_from_slice(&code.to_be_bytes());
            close.extend_from_slice(reason.as_bytes());
            (Close, &close[..])
        }
        Event::Broken(_) => return,
    };
    let is_compressed = matches!(event, Event::Compressed(..));
    frame::encode_masked(
        stream,
        true,
        is_compressed,
        opcode,
        [0xa5, 0, 0xff, 0x3c],
        payload,
    );
}
