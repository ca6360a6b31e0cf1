//! The same bytes to our decoder and to tungstenite's, with the same bound on messages: the same messages, and the
//! same verdict.

use super::cuts::{self, Event};
use roomcast::ws::{Rules, Violation};
use std::io::{self, Read, Write};
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

/// Payload bytes of a message for both; small, so that it is met.
const MESSAGE_BYTES_MAX: usize = 200;

/// Exception: a close code registered since (bad gateway), which they do not know and answer with one of their own.
const CODE_OURS_ALONE: u16 = 1014;

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By a close frame.
    Closed,
    /// The bytes are at their end.
    Starved,
    /// By what breaks a rule.
    Broken,
}

/// Input: a stream of frames.
pub fn run(data: &[u8]) {
    let rules = Rules {
        message_bytes_max: MESSAGE_BYTES_MAX,
        // They do not count fragments.
        fragment_count_max: u32::MAX,
        // Nor do they inflate.
        deflate: false,
    };
    let mut ours = cuts::events(std::iter::once(data), &rules);
    let violation = match ours.last() {
        Some(Event::Broken(violation)) => Some(*violation),
        _ => None,
    };
    if violation.is_some() {
        ours.pop();
    }
    if let Some(Event::Close(Some((CODE_OURS_ALONE, _)))) = ours.last() {
        ours.pop();
        ours.push(Event::Close(Some((1002, "Protocol violation".to_owned()))));
    }
    let our_end = match ours.last() {
        _ if violation.is_some() => End::Broken,
        Some(Event::Close(_)) => End::Closed,
        _ => End::Starved,
    };
    let (theirs, their_end) = read(data);
    if violation.is_some_and(is_ours_alone) {
        assert!(
            theirs.starts_with(&ours),
            "messages before {violation:?}: {theirs:?}"
        );
        return;
    }
    assert_eq!(ours, theirs, "before {violation:?}");
    match violation {
        // They judge a frame once it is complete, so at the end of the bytes they may still wait.
        Some(_) => assert_ne!(their_end, End::Closed, "{violation:?}"),
        None => assert_eq!(our_end, their_end),
    }
}

/// Exceptions: rules that they do not know, or know in another way.
fn is_ours_alone(violation: Violation) -> bool {
    match violation {
        // They take lengths of any form (RFC 6455, 5.2: "the minimal number of bytes MUST be used").
        Violation::LengthNotMinimal
        // The same in a control frame, where no longer form is ever right.
        | Violation::ControlTooLong
        // They answer such a close with 1002 themselves and tell it as a close.
        | Violation::CloseCodeInvalid => true,
        Violation::ReservedBit
        | Violation::UnknownOpcode
        | Violation::ControlFragmented
        | Violation::LengthHighBit
        | Violation::Unmasked
        | Violation::ContinuationUnexpected
        | Violation::ContinuationExpected
        | Violation::TooBig
        | Violation::TooManyFragments
        | Violation::DeflateCorrupt
        | Violation::TextNotUtf8
        | Violation::CloseTooShort
        | Violation::CloseReasonNotUtf8 => false,
    }
}

/// Reads a stream with tungstenite.
fn read(data: &[u8]) -> (Vec<Event>, End) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .read_buffer_size(4096);
    let mut socket = WebSocket::from_raw_socket(Stream(data), Role::Server, Some(config));
    let mut events = Vec::new();
    loop {
        let event = match socket.read() {
            Ok(Message::Text(text)) => Event::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Event::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Event::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Event::Pong(bytes.to_vec()),
            Ok(Message::Close(close)) => {
                let close =
                    close.map(|close| (close.code.into(), close.reason.as_str().to_owned()));
                events.push(Event::Close(close));
                return (events, End::Closed);
            }
            Ok(Message::Frame(_)) => unreachable!("reading gives no frames"),
            Err(error) => return (events, end_of(&error)),
        };
        events.push(event);
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => End::Starved,
        Error::Protocol(_)
        | Error::Utf8(_)
        | Error::Capacity(CapacityError::MessageTooLong { .. }) => End::Broken,
        error => unreachable!("{error}"),
    }
}

/// The bytes, then the end. What is written to it is lost.
struct Stream<'d>(&'d [u8]);

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
