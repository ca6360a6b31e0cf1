//! One connection's incoming frames as messages.

use std::mem;

use super::assembly::{Assembly, Step};
use super::close::{self, CloseCode};
use super::frame::{Header, Opcode};
use super::mask::unmask;
use super::utf8;
use super::violation::Violation;
use crate::limits::{FRAGMENT_BYTES_MEAN_MIN, FRAGMENT_COUNT_MAX};

/// The receiving half of a connection after its handshake.
///
/// ```
/// use roomcast::ws::{Input, Message, Protocol, Rules};
///
/// let mut received = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
/// let (mut protocol, mut input) = (Protocol::new(), Input::new(&mut received));
/// let rules = Rules::new(64 * 1024);
/// while let Some(message) = protocol.next(&mut input, &rules)? {
///     assert_eq!(message, Message::Text("hi"));
/// }
/// # Ok::<(), roomcast::ws::Violation>(())
/// ```
#[derive(Debug, Default)]
pub struct Protocol {
    /// Nothing between two messages: then a connection has 8 bytes of it.
    kept: Option<Box<Kept>>,
}

/// What a connection is at that is not between two messages.
#[derive(Debug, Default)]
struct Kept {
    stage: Stage,
    assembly: Assembly,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// A frame is cut, or a message lacks fragments.
    #[default]
    Assembling,
    /// The message of this opcode was assembled and handed out; its memory goes with the next call.
    HandedOut(Opcode),
    /// A close frame or a violation came: the rest is ignored (RFC 6455, 5.5.1 and 7.1.7).
    Closed,
}

/// Bounds on what a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Payload bytes of one message, as they come: compressed where it is.
    pub message_bytes_max: usize,
    /// Frames of one message, empty ones included.
    pub fragment_count_max: u32,
    /// Whether messages may be compressed: permessage-deflate was agreed on (RFC 7692).
    pub deflate: bool,
}

/// A message or a control frame. It borrows the read buffer, or the protocol where it had to be assembled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A compressed message of one of the two kinds, for [`Inflater::message`](super::deflate::Inflater::message).
    Compressed(Opcode, &'a [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or unasked.
    Pong(&'a [u8]),
    /// To be answered by a close with the same code. Nothing comes after it.
    Close(Option<(CloseCode, &'a str)>),
}

/// Received bytes, of which a [`Protocol`] takes as many as it needs. Payloads are unmasked in place.
#[derive(Debug)]
pub struct Input<'b> {
    rest: &'b mut [u8],
}

impl Protocol {
    /// A connection on which nothing was received yet.
    pub fn new() -> Protocol {
        Protocol::default()
    }

    /// The next message of `input`; `None` once it is used up.
    ///
    /// An incomplete end of the input is kept here, so the next input goes on where this one ended.
    ///
    /// # Errors
    /// [`Violation`] at the first byte that breaks a rule, also inside a frame that is not complete. All messages
    /// before it were handed out; nothing comes after it.
    #[inline]
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut Input<'b>,
        rules: &Rules,
    ) -> Result<Option<Message<'a>>, Violation> {
        if self.kept.is_some() {
            self.settle();
        }
        if self.kept.is_none() {
            match Whole::take(input, rules) {
                Ok(Some(whole)) => {
                    if whole.opcode == Opcode::Close {
                        self.close();
                    }
                    return whole.message().inspect_err(|_| self.close());
                }
                Ok(None) => {}
                Err(violation) => {
                    self.close();
                    return Err(violation);
                }
            }
        }
        self.next_assembled(input, rules)
    }

    /// Heap bytes held for what is incomplete; 0 between messages, and after the end.
    pub fn held_bytes(&self) -> usize {
        let kept = self.kept.as_ref();
        let kept = kept.filter(|kept| kept.stage != Stage::Closed);
        kept.map_or(0, |kept| kept.assembly.held_bytes())
    }

    #[cold]
    fn close(&mut self) {
        self.kept = Some(Box::new(Kept {
            stage: Stage::Closed,
            assembly: Assembly::default(),
        }));
    }

    fn next_assembled<'a, 'b: 'a>(
        &'a mut self,
        input: &mut Input<'b>,
        rules: &Rules,
    ) -> Result<Option<Message<'a>>, Violation> {
        if input.is_empty() {
            return Ok(None);
        }
        let kept = self.kept.get_or_insert_default();
        if kept.stage == Stage::Closed {
            input.take(usize::MAX);
            return Ok(None);
        }
        match kept.assembly.advance(input, rules) {
            Ok(Step::Starved) => Ok(None),
            Ok(Step::Borrowed(message)) => {
                match message {
                    Message::Close(_) => self.close(),
                    Message::Text(_)
                    | Message::Binary(_)
                    | Message::Compressed(..)
                    | Message::Ping(_)
                    | Message::Pong(_) => self.go_on(),
                }
                Ok(Some(message))
            }
            Ok(Step::Assembled(opcode)) => {
                kept.stage = Stage::HandedOut(opcode);
                self.handed_out()
            }
            Err(violation) => {
                self.close();
                Err(violation)
            }
        }
    }

    fn handed_out(&mut self) -> Result<Option<Message<'_>>, Violation> {
        match &self.kept {
            Some(kept) => match kept.stage {
                Stage::HandedOut(opcode) => kept.assembly.message(opcode).map(Some),
                Stage::Assembling | Stage::Closed => Ok(None),
            },
            None => Ok(None),
        }
    }

    /// Lets go of a message that was handed out.
    #[cold]
    fn settle(&mut self) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        match kept.stage {
            Stage::HandedOut(Opcode::Close) => self.close(),
            Stage::HandedOut(Opcode::Text | Opcode::Binary | Opcode::Continuation) => {
                self.kept = None;
            }
            Stage::HandedOut(Opcode::Ping | Opcode::Pong) => {
                kept.stage = Stage::Assembling;
                kept.assembly.forget_control();
                self.go_on();
            }
            Stage::Assembling | Stage::Closed => {}
        }
    }

    /// Behind a control frame, which may stand alone or between fragments.
    fn go_on(&mut self) {
        self.kept.take_if(|kept| !kept.assembly.has_message());
    }
}

/// A frame as nearly all come: whole, unfragmented, within bounds; its payload is unmasked.
///
/// It is a step of its own, and small, so that a message is made where the caller wants it and not copied: a copy of
/// fields that were just written one by one has to wait for each of them, which takes longer than all the rest.
struct Whole<'b> {
    opcode: Opcode,
    is_compressed: bool,
    /// Known to be ASCII.
    is_ascii: bool,
    payload: &'b [u8],
}

impl<'b> Whole<'b> {
    /// The next frame. `None` leaves it to [`Assembly`], which judges all others.
    #[inline]
    fn take(input: &mut Input<'b>, rules: &Rules) -> Result<Option<Whole<'b>>, Violation> {
        let Some((header, header_bytes)) = Header::parse(input.rest())? else {
            return Ok(None);
        };
        let (true, Some(mask)) = (header.fin, header.mask) else {
            return Ok(None);
        };
        if header.rsv1 && !rules.deflate {
            return Ok(None);
        }
        let arrived = input.rest().len() - header_bytes;
        let length = match usize::try_from(header.length) {
            Ok(length) if length <= arrived && length <= rules.message_bytes_max => length,
            Ok(_) | Err(_) => return Ok(None),
        };
        input.take(header_bytes);
        let payload = input.take(length);
        Ok(Some(Whole {
            opcode: header.opcode,
            is_compressed: header.rsv1,
            is_ascii: unmask(payload, mask, 0),
            payload,
        }))
    }

    #[inline]
    fn message<'a>(self) -> Result<Option<Message<'a>>, Violation>
    where
        'b: 'a,
    {
        match self.opcode {
            opcode if self.is_compressed => Ok(Some(Message::Compressed(opcode, self.payload))),
            Opcode::Text => match utf8::validate_as_it_looks(self.payload, self.is_ascii) {
                Ok(text) => Ok(Some(Message::Text(text))),
                Err(_) => Err(Violation::TextNotUtf8),
            },
            opcode @ (Opcode::Binary
            | Opcode::Continuation
            | Opcode::Close
            | Opcode::Ping
            | Opcode::Pong) => Message::new(opcode, self.payload).map(Some),
        }
    }
}

impl<'a> Message<'a> {
    /// Bytes of its payload, without the code of a close.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(bytes)
            | Message::Compressed(_, bytes)
            | Message::Ping(bytes)
            | Message::Pong(bytes) => bytes.len(),
            Message::Close(close) => close.map_or(0, |(_, reason)| reason.len()),
        }
    }

    /// The message of an unfragmented frame; a continuation is none.
    #[inline]
    pub(super) fn new(opcode: Opcode, payload: &'a [u8]) -> Result<Message<'a>, Violation> {
        match opcode {
            Opcode::Text => utf8::validate(payload)
                .map(Message::Text)
                .map_err(|_| Violation::TextNotUtf8),
            Opcode::Binary => Ok(Message::Binary(payload)),
            Opcode::Ping => Ok(Message::Ping(payload)),
            Opcode::Pong => Ok(Message::Pong(payload)),
            Opcode::Close => close::parse(payload).map(Message::Close),
            Opcode::Continuation => Err(Violation::ContinuationUnexpected),
        }
    }
}

impl Rules {
    /// Rules for messages of at most `message_bytes_max`, in fragments of a reasonable size, not compressed.
    pub fn new(message_bytes_max: usize) -> Rules {
        let fragment_count_max =
            u32::try_from(message_bytes_max / FRAGMENT_BYTES_MEAN_MIN).unwrap_or(u32::MAX);
        Rules {
            message_bytes_max,
            fragment_count_max: fragment_count_max.max(FRAGMENT_COUNT_MAX),
            deflate: false,
        }
    }
}

impl<'b> Input<'b> {
    /// All of `received` is input.
    #[inline]
    pub fn new(received: &'b mut [u8]) -> Input<'b> {
        Input { rest: received }
    }

    /// What no message was made of yet, still masked. Give it again with more bytes behind it, or go on from here.
    #[inline]
    pub fn rest(&self) -> &[u8] {
        self.rest
    }

    /// Whether all was taken.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the next `bytes_max` bytes, or all where there are fewer.
    #[inline]
    pub(super) fn take(&mut self, bytes_max: usize) -> &'b mut [u8] {
        let rest = mem::take(&mut self.rest);
        let (taken, rest) = rest.split_at_mut(bytes_max.min(rest.len()));
        self.rest = rest;
        taken
    }
}

const _: () = assert!(size_of::<Protocol>() == 8);
