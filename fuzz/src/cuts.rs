//! Streams that arrive in pieces, cut wherever the input likes.

use roomcast::ws::{Input, Message, Opcode, Protocol, Rules, Violation};

/// The pieces of an input. The first byte of each piece is its length; the last piece may be shorter.
pub fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (&length, bytes) = rest.split_first()?;
        let (piece, after) = bytes.split_at(usize::from(length).min(bytes.len()));
        rest = after;
        Some(piece)
    })
}

/// What came of a stream of frames, as values that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A compressed message, as it came.
    Compressed(Opcode, Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close with its code and reason.
    Close(Option<(u16, String)>),
    /// A rule was broken.
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

/// Reads pieces of a stream, and checks what holds for any stream: nothing follows a close or a violation, messages
/// keep to the rules, and what is held between two pieces grows with what came and stays within its bound.
pub fn events<'d>(pieces: impl Iterator<Item = &'d [u8]>, rules: &Rules) -> Vec<Event> {
    let (mut protocol, mut events, mut came) = (Protocol::new(), Vec::new(), 0);
    let mut is_over = false;
    for piece in pieces {
        let mut bytes = piece.to_vec();
        came += bytes.len();
        let mut input = Input::new(&mut bytes);
        loop {
            let event = match protocol.next(&mut input, rules) {
                Ok(None) => break,
                Ok(Some(message)) => Event::from(message),
                Err(violation) => Event::Broken(violation),
            };
            assert!(!is_over, "{event:?} after the end");
            check(&event, rules);
            is_over = matches!(event, Event::Close(_) | Event::Broken(_));
            events.push(event);
        }
        assert!(input.is_empty(), "input is left over");
        check_held(&protocol, came, rules);
        assert!(
            !is_over || protocol.held_bytes() == 0,
            "memory is held after the end"
        );
    }
    events
}

fn check(event: &Event, rules: &Rules) {
    let (length, length_max) = match event {
        Event::Text(text) => (text.len(), rules.message_bytes_max),
        Event::Binary(bytes) | Event::Compressed(_, bytes) => {
            (bytes.len(), rules.message_bytes_max)
        }
        Event::Ping(bytes) | Event::Pong(bytes) => (bytes.len(), 125),
        Event::Close(close) => (close.as_ref().map_or(0, |(_, reason)| reason.len()), 123),
        Event::Broken(violation) => (violation.as_str().len(), 123),
    };
    assert!(length <= length_max, "{length} bytes in {event:.60?}");
}

/// Bytes for the state of a message that is not complete, besides its content: the state itself, and a control frame
/// that was cut.
const STATE_BYTES_MAX: usize = 128 + 2 * 125;

fn check_held(protocol: &Protocol, came: usize, rules: &Rules) {
    let bound = STATE_BYTES_MAX + rules.message_bytes_max.min(2 * came);
    let held = protocol.held_bytes();
    assert!(held <= bound, "{held} bytes are held of {came} that came");
}
