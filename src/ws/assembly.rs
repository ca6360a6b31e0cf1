//! A frame that a read has cut, or a message that comes in fragments (RFC 6455, 5.4).

use super::frame::{HEADER_BYTES_MAX, Header, Opcode};
use super::mask::unmask;
use super::protocol::{Input, Message, Rules};
use super::utf8::Utf8;
use super::violation::Violation;

/// What is kept between two reads. Its memory grows with the bytes that came.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    frame: Frame,
    /// The data message that has begun.
    message: Option<Partial>,
    /// Payload of a control frame that was cut.
    control: Vec<u8>,
}

/// What [`Assembly::advance`] came to.
pub(super) enum Step<'b> {
    /// All input was taken.
    Starved,
    /// A control frame that was not cut.
    Borrowed(Message<'b>),
    /// [`Assembly::message`] has the message of this opcode.
    Assembled(Opcode),
}

/// Where the input stands.
#[derive(Debug)]
enum Frame {
    Header(Prefix),
    Payload(Payload),
}

/// The start of a header; empty between two frames.
#[derive(Debug, Default)]
struct Prefix {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

/// A frame whose header was admitted.
#[derive(Clone, Copy, Debug)]
struct Payload {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    length: usize,
    taken: usize,
}

/// The part of a data message that came.
#[derive(Debug)]
struct Partial {
    content: Content,
    fragment_count: u32,
}

#[derive(Debug)]
enum Content {
    Text {
        text: String,
        utf8: Utf8,
    },
    Binary(Vec<u8>),
    /// Of a text or a binary message; nothing is known of it before it is inflated.
    Compressed(Opcode, Vec<u8>),
}

impl Assembly {
    /// Takes input up to the end of the next message or control frame.
    ///
    /// # Errors
    /// The first [`Violation`], after which the assembly is of no use.
    pub(super) fn advance<'b>(
        &mut self,
        input: &mut Input<'b>,
        rules: &Rules,
    ) -> Result<Step<'b>, Violation> {
        loop {
            match &mut self.frame {
                Frame::Header(prefix) => {
                    let Some(header) = prefix.fill(input)? else {
                        return Ok(Step::Starved);
                    };
                    self.frame = Frame::Payload(self.open(header, rules)?);
                }
                Frame::Payload(payload) => {
                    let part = payload.take(input);
                    let payload = *payload;
                    if payload.is_complete() {
                        self.frame = Frame::default();
                    }
                    if let Some(step) = self.put(payload, part, rules)? {
                        return Ok(step);
                    }
                }
            }
        }
    }

    /// The message of which [`Step::Assembled`] told.
    pub(super) fn message(&self, opcode: Opcode) -> Result<Message<'_>, Violation> {
        match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => Message::new(opcode, &self.control),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => match &self.message {
                Some(Partial {
                    content: Content::Text { text, .. },
                    ..
                }) => Ok(Message::Text(text)),
                Some(Partial {
                    content: Content::Binary(bytes),
                    ..
                }) => Ok(Message::Binary(bytes)),
                Some(Partial {
                    content: Content::Compressed(opcode, bytes),
                    ..
                }) => Ok(Message::Compressed(*opcode, bytes)),
                None => Err(Violation::ContinuationUnexpected),
            },
        }
    }

    pub(super) fn forget_control(&mut self) {
        self.control = Vec::new();
    }

    /// Whether a data message has begun.
    pub(super) fn has_message(&self) -> bool {
        self.message.is_some()
    }

    pub(super) fn held_bytes(&self) -> usize {
        let content_bytes = self
            .message
            .as_ref()
            .map_or(0, |message| message.content.capacity());
        size_of::<Assembly>() + self.control.capacity() + content_bytes
    }

    /// Judges a frame by its header, before any of its payload is looked at.
    fn open(&mut self, header: Header, rules: &Rules) -> Result<Payload, Violation> {
        if header.rsv1 && !rules.deflate {
            return Err(Violation::ReservedBit);
        }
        let mask = header.mask.ok_or(Violation::Unmasked)?;
        let Header {
            fin,
            rsv1,
            opcode,
            length,
            ..
        } = header;
        let length = match (opcode, &mut self.message) {
            // Short enough for any bound: the header said so.
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => usize::try_from(length).ok(),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Violation::ContinuationExpected);
            }
            (Opcode::Continuation, None) => return Err(Violation::ContinuationUnexpected),
            (Opcode::Text | Opcode::Binary, begun @ None) => begun
                .insert(Partial::new(opcode, rsv1))
                .admit(length, rules)?,
            (Opcode::Continuation, Some(message)) => message.admit(length, rules)?,
        };
        let length = length.ok_or(Violation::TooBig)?;
        Ok(Payload {
            fin,
            opcode,
            mask,
            length,
            taken: 0,
        })
    }

    /// Adds a part of a payload: its end, or all the input there is.
    fn put<'b>(
        &mut self,
        payload: Payload,
        part: &'b [u8],
        rules: &Rules,
    ) -> Result<Option<Step<'b>>, Violation> {
        match payload.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                self.put_control(payload, part).map(Some)
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                self.put_data(payload, part, rules)
            }
        }
    }

    fn put_control<'b>(&mut self, payload: Payload, part: &'b [u8]) -> Result<Step<'b>, Violation> {
        if part.len() == payload.length {
            return Message::new(payload.opcode, part).map(Step::Borrowed);
        }
        self.control.extend_from_slice(part);
        if !payload.is_complete() {
            return Ok(Step::Starved);
        }
        Message::new(payload.opcode, &self.control)?;
        Ok(Step::Assembled(payload.opcode))
    }

    fn put_data<'b>(
        &mut self,
        payload: Payload,
        part: &[u8],
        rules: &Rules,
    ) -> Result<Option<Step<'b>>, Violation> {
        let Some(Partial { content, .. }) = &mut self.message else {
            return Err(Violation::ContinuationUnexpected);
        };
        content.push(part, rules.message_bytes_max)?;
        if !payload.is_complete() {
            return Ok(Some(Step::Starved));
        }
        if !payload.fin {
            return Ok(None);
        }
        content.finish()?;
        Ok(Some(Step::Assembled(payload.opcode)))
    }
}

impl Default for Frame {
    fn default() -> Frame {
        Frame::Header(Prefix::default())
    }
}

impl Prefix {
    /// The header, once it is complete.
    fn fill(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, Violation> {
        let had = self.length;
        for (slot, byte) in self.bytes.iter_mut().skip(had).zip(input.rest()) {
            *slot = *byte;
            self.length += 1;
        }
        let Some((header, header_bytes)) =
            Header::parse(self.bytes.get(..self.length).unwrap_or_default())?
        else {
            input.take(self.length - had);
            return Ok(None);
        };
        // What was had before was no whole header.
        input.take(header_bytes.saturating_sub(had));
        Ok(Some(header))
    }
}

impl Payload {
    fn take<'b>(&mut self, input: &mut Input<'b>) -> &'b [u8] {
        let part = input.take(self.length - self.taken);
        unmask(part, self.mask, self.taken);
        self.taken += part.len();
        part
    }

    fn is_complete(&self) -> bool {
        self.taken == self.length
    }
}

impl Partial {
    /// A message that begins with a frame of this opcode, text or binary.
    fn new(opcode: Opcode, is_compressed: bool) -> Partial {
        let content = match opcode {
            _ if is_compressed => Content::Compressed(opcode, Vec::new()),
            Opcode::Text => Content::Text {
                text: String::new(),
                utf8: Utf8::default(),
            },
            Opcode::Binary | Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => {
                Content::Binary(Vec::new())
            }
        };
        Partial {
            content,
            fragment_count: 0,
        }
    }

    /// Lets the next frame of the message in; its length where no bound is passed.
    fn admit(&mut self, length: u64, rules: &Rules) -> Result<Option<usize>, Violation> {
        self.fragment_count = self.fragment_count.saturating_add(1);
        if self.fragment_count > rules.fragment_count_max {
            return Err(Violation::TooManyFragments);
        }
        let room = rules
            .message_bytes_max
            .saturating_sub(self.content.length());
        Ok(usize::try_from(length)
            .ok()
            .filter(|length| *length <= room))
    }
}

impl Content {
    /// Adds the next part, with at most `bytes_max` in all.
    fn push(&mut self, part: &[u8], bytes_max: usize) -> Result<(), Violation> {
        match self {
            Content::Text { text, utf8 } => {
                let needed = text.len() + utf8.cut_bytes() + part.len();
                text.reserve_exact(growth(text.len(), text.capacity(), needed, bytes_max));
                utf8.push(part, text).map_err(|_| Violation::TextNotUtf8)
            }
            Content::Binary(bytes) | Content::Compressed(_, bytes) => {
                let needed = bytes.len() + part.len();
                bytes.reserve_exact(growth(bytes.len(), bytes.capacity(), needed, bytes_max));
                bytes.extend_from_slice(part);
                Ok(())
            }
        }
    }

    fn finish(&self) -> Result<(), Violation> {
        match self {
            Content::Text { utf8, .. } => utf8.finish().map_err(|_| Violation::TextNotUtf8),
            Content::Binary(_) | Content::Compressed(..) => Ok(()),
        }
    }

    fn length(&self) -> usize {
        match self {
            Content::Text { text, utf8 } => text.len() + utf8.cut_bytes(),
            Content::Binary(bytes) | Content::Compressed(_, bytes) => bytes.len(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Content::Text { text, .. } => text.capacity(),
            Content::Binary(bytes) | Content::Compressed(_, bytes) => bytes.capacity(),
        }
    }
}

/// Bytes to reserve beyond `length`: doubling, so that many small parts are copied no more than a few times, but
/// never over the bound.
fn growth(length: usize, capacity: usize, needed: usize, bytes_max: usize) -> usize {
    if needed <= capacity {
        0
    } else {
        needed.max(capacity.saturating_mul(2).min(bytes_max)) - length
    }
}
