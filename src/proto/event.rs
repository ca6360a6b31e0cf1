//! What the server sends: each event appends its JSON text to a buffer.
//!
//! `type` comes first, then the fields in the order in which they stand here. A field whose value is `None` is left
//! out, and so is `dup` unless it is true. The `id` is that of the command that an event answers. Times are in
//! milliseconds since the Unix epoch. Text is escaped; `content` and `metadata` are JSON already and go in as they
//! are.

use super::object::{Object, write_string};
use super::{Refusal, Target};
use crate::limits::RETRY_AFTER_MS;

mod welcome;

pub use welcome::{Bounds, Inbox, Welcome};

/// Bytes that a message needs besides its texts: names of fields, punctuation and numbers.
const MESSAGE_FRAME_BYTES: usize = 256;

/// The client is a member of a room; the room's frames follow.
#[derive(Clone, Debug)]
pub struct Joined<'a> {
    /// The room's name.
    pub room_id: &'a str,
    /// Which life of the room's log.
    pub epoch: &'a str,
    /// Number of the newest message.
    pub seq_id: u64,
    /// Distinct users in the room.
    pub members: u64,
    /// What became of `since`.
    pub recovery: Recovery<'a>,
    /// See the [module](self).
    pub id: Option<&'a str>,
}

/// What became of the position from which a client wanted to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery<'a> {
    /// It gave none.
    NotAsked,
    /// Everything after it follows: `recovered: true`.
    Recovered,
    /// Delivery starts at the head, for this reason: `recovered: false`.
    Lost(&'a str),
}

impl Joined<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (recovered, reason) = match self.recovery {
            Recovery::NotAsked => (None, None),
            Recovery::Recovered => (Some(true), None),
            Recovery::Lost(reason) => (Some(false), Some(reason)),
        };
        Object::event("joined", out)
            .text("room_id", self.room_id)
            .text("epoch", self.epoch)
            .number("seq_id", self.seq_id)
            .number("members", self.members)
            .flag_if("recovered", recovered)
            .text_if("reason", reason)
            .text_if("id", self.id)
            .close();
    }
}

/// The client is no longer a member of a room.
#[derive(Clone, Debug)]
pub struct Left<'a> {
    /// The room's name.
    pub room_id: &'a str,
    /// Which life of the room's log.
    pub epoch: &'a str,
    /// Number of the newest message.
    pub seq_id: u64,
    /// Distinct users that stay.
    pub members: u64,
    /// What was done to the client, where it did not leave of its own accord.
    pub event: Option<SystemEvent>,
    /// More about that.
    pub measure: Measure<'a>,
    /// See the [module](self).
    pub id: Option<&'a str>,
}

impl Left<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut event = Object::event("left", out);
        event
            .text("room_id", self.room_id)
            .text("epoch", self.epoch)
            .number("seq_id", self.seq_id)
            .number("members", self.members)
            .text_if("event", self.event.map(SystemEvent::as_str));
        self.measure.write(&mut event);
        event.text_if("id", self.id).close();
    }
}

/// Who did something to a user, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure<'a> {
    /// The moderator.
    pub by: Option<&'a str>,
    /// In the moderator's words.
    pub reason: Option<&'a str>,
    /// When it ends, where that is known.
    pub until: Option<u64>,
}

impl Measure<'_> {
    fn write(&self, event: &mut Object<'_>) {
        event
            .text_if("by", self.by)
            .text_if("reason", self.reason)
            .number_if("until", self.until);
    }
}

/// What a moderator wanted done to a user is done.
#[derive(Clone, Debug)]
pub struct Done<'a> {
    /// The `type` of the command.
    pub request: &'a str,
    /// The room's name.
    pub room_id: &'a str,
    /// The user's name.
    pub user: &'a str,
    /// When it ends, where that is known.
    pub until: Option<u64>,
    /// See the [module](self).
    pub id: Option<&'a str>,
}

impl Done<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("done", out)
            .text("request", self.request)
            .text("room_id", self.room_id)
            .text("user", self.user)
            .number_if("until", self.until)
            .text_if("id", self.id)
            .close();
    }
}

/// A message, as everyone in its log gets it.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Its log.
    pub target: &'a Target<'a>,
    /// Its number in that log.
    pub seq_id: u64,
    /// When it was numbered.
    pub timestamp: u64,
    /// The user who sent it.
    pub sender: &'a str,
    /// JSON, as it came in.
    pub content: &'a str,
    /// JSON, as it came in.
    pub metadata: Option<&'a str>,
    /// The sender's `id` for it.
    pub id: Option<&'a str>,
}

impl Message<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let texts = self.content.len() + self.metadata.map_or(0, str::len);
        out.reserve(MESSAGE_FRAME_BYTES + texts + self.target.name().len() + self.sender.len());
        Object::event("message", out)
            .target(self.target)
            .number("seq_id", self.seq_id)
            .number("timestamp", self.timestamp)
            .text("sender", self.sender)
            .raw("content", self.content)
            .raw_if("metadata", self.metadata)
            .text_if("id", self.id)
            .close();
    }
}

/// A message was deleted. A number of the log goes to this event, so that nobody misses it.
#[derive(Clone, Debug)]
pub struct Deleted<'a> {
    /// The log.
    pub target: &'a Target<'a>,
    /// Its number in that log.
    pub seq_id: u64,
    /// Number of the message.
    pub deleted_seq_id: u64,
    /// When it was numbered.
    pub timestamp: u64,
    /// The user who deleted the message.
    pub sender: &'a str,
    /// The `id` of the command.
    pub id: Option<&'a str>,
}

impl Deleted<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("deleted", out)
            .target(self.target)
            .number("seq_id", self.seq_id)
            .number("deleted_seq_id", self.deleted_seq_id)
            .number("timestamp", self.timestamp)
            .text("sender", self.sender)
            .text_if("id", self.id)
            .close();
    }
}

/// What is left of a message that was deleted.
#[derive(Clone, Debug)]
pub struct Tombstone<'a> {
    /// Its log.
    pub target: &'a Target<'a>,
    /// Its number in that log.
    pub seq_id: u64,
    /// When it was numbered, where there is room to say so.
    pub timestamp: Option<u64>,
    /// The user who sent it.
    pub sender: &'a str,
}

impl Tombstone<'_> {
    /// Appends the event, a `message` without content.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("message", out)
            .target(self.target)
            .number("seq_id", self.seq_id)
            .number_if("timestamp", self.timestamp)
            .text("sender", self.sender)
            .flag("deleted", true)
            .close();
    }

    /// The event in exactly so many bytes, as far as that goes: filled up with white space, or without the time.
    pub fn encode_in(&self, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes);
        self.encode(&mut out);
        if out.len() > bytes {
            out.clear();
            let timestamp = None;
            Tombstone { timestamp, ..*self }.encode(&mut out);
        }
        out.resize(bytes.max(out.len()), b' ');
        out
    }
}

/// A message was kept.
#[derive(Clone, Debug)]
pub struct Ack<'a> {
    /// The `id` of the message.
    pub id: Option<&'a str>,
    /// The log that it went to.
    pub target: &'a Target<'a>,
    /// Its number in that log.
    pub seq_id: u64,
    /// When it was numbered.
    pub timestamp: u64,
    /// Whether it survives a crash.
    pub durable: bool,
    /// Whether it had been kept before, under the same `id`.
    pub dup: bool,
}

impl Ack<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("ack", out)
            .text_if("id", self.id)
            .target(self.target)
            .number("seq_id", self.seq_id)
            .number("timestamp", self.timestamp)
            .flag("durable", self.durable)
            .flag_if("dup", self.dup.then_some(true))
            .close();
    }
}

/// Something that is delivered and not kept.
#[derive(Clone, Debug)]
pub struct Signal<'a> {
    /// Where it goes.
    pub target: &'a Target<'a>,
    /// The user who sent it.
    pub sender: &'a str,
    /// JSON, as it came in.
    pub content: &'a str,
    /// When it came.
    pub timestamp: u64,
}

impl Signal<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("signal", out)
            .target(self.target)
            .text("sender", self.sender)
            .raw("content", self.content)
            .number("timestamp", self.timestamp)
            .close();
    }
}

/// A page of a log.
#[derive(Clone, Debug)]
pub struct History<'a> {
    /// Whose log.
    pub target: &'a Target<'a>,
    /// Which life of it.
    pub epoch: &'a str,
    /// Whether the log goes on in the direction paged.
    pub more: bool,
    /// See the [module](self).
    pub id: Option<&'a str>,
}

impl History<'_> {
    /// Appends the event with these messages, oldest first, each one the text of an encoded [`Message`].
    pub fn encode<'m>(&self, messages: impl IntoIterator<Item = &'m [u8]>, out: &mut Vec<u8>) {
        Object::event("history", out)
            .target(self.target)
            .text("epoch", self.epoch)
            .array("messages", messages, |message, out| {
                out.extend_from_slice(message)
            })
            .flag("more", self.more)
            .text_if("id", self.id)
            .close();
    }
}

/// Who is in a room.
#[derive(Clone, Debug)]
pub struct Presence<'a> {
    /// The room's name.
    pub room_id: &'a str,
    /// Distinct users in the room.
    pub count: u64,
    /// See the [module](self).
    pub id: Option<&'a str>,
}

impl Presence<'_> {
    /// Appends the event with the count alone.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.open(&mut Object::event("presence", out))
            .text_if("id", self.id)
            .close();
    }

    /// Appends the event with these names, which may be fewer than the count.
    pub fn encode_with<'m>(&self, members: impl IntoIterator<Item = &'m str>, out: &mut Vec<u8>) {
        self.open(&mut Object::event("presence", out))
            .array("members", members, write_string)
            .text_if("id", self.id)
            .close();
    }

    fn open<'e, 'o>(&self, event: &'e mut Object<'o>) -> &'e mut Object<'o> {
        event
            .text("room_id", self.room_id)
            .number("count", self.count)
    }
}

/// Messages that a reader will not get: it fell behind what is kept.
#[derive(Clone, Debug)]
pub struct Gap<'a> {
    /// The log.
    pub target: &'a Target<'a>,
    /// The first message that is missing.
    pub from_seq_id: u64,
    /// The last message that is missing.
    pub to_seq_id: u64,
    /// Why.
    pub reason: &'a str,
}

impl Gap<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("gap", out)
            .target(self.target)
            .number("from_seq_id", self.from_seq_id)
            .number("to_seq_id", self.to_seq_id)
            .text("reason", self.reason)
            .close();
    }
}

/// Something happened in a room.
#[derive(Clone, Debug)]
pub struct System<'a> {
    /// What.
    pub event: SystemEvent,
    /// The room's name.
    pub room_id: &'a str,
    /// Whom it is about.
    pub sender: &'a str,
    /// When.
    pub timestamp: u64,
    /// More about it, where a moderator did it.
    pub measure: Measure<'a>,
}

/// What happened in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemEvent {
    /// A user came.
    Join,
    /// A user went, and did not come back at once.
    Leave,
    /// The server has something to say.
    Notice,
    /// A user was taken out of the room.
    Kick,
    /// A user was taken out of the room for as long as it says.
    Ban,
    /// A user may not send.
    Mute,
    /// A user may send again.
    Unmute,
}

impl SystemEvent {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            SystemEvent::Join => "join",
            SystemEvent::Leave => "leave",
            SystemEvent::Notice => "notice",
            SystemEvent::Kick => "kick",
            SystemEvent::Ban => "ban",
            SystemEvent::Mute => "mute",
            SystemEvent::Unmute => "unmute",
        }
    }
}

impl System<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut event = Object::event("system", out);
        event
            .text("event", self.event.as_str())
            .text("room_id", self.room_id)
            .text("sender", self.sender)
            .number("timestamp", self.timestamp);
        self.measure.write(&mut event);
        event.close();
    }
}

/// A command was refused.
#[derive(Clone, Debug)]
pub struct Error<'a> {
    /// Which command, and why.
    pub refusal: &'a Refusal<'a>,
    /// Whether the same command may succeed later as it is; usually [`Code::retryable`](super::Code::retryable).
    pub retryable: bool,
    /// How long to wait before.
    pub retry_after_ms: Option<u64>,
}

impl<'a> From<&'a Refusal<'a>> for Error<'a> {
    fn from(refusal: &'a Refusal<'a>) -> Error<'a> {
        Error::until(refusal, None)
    }
}

impl<'a> Error<'a> {
    /// The same where it may be known when the command can succeed. Whatever may be repeated says when.
    pub fn until(refusal: &'a Refusal<'a>, retry_after_ms: Option<u64>) -> Error<'a> {
        let retryable = refusal.code.retryable();
        let usual_ms = retryable.then_some(RETRY_AFTER_MS);
        Error {
            refusal,
            retryable,
            retry_after_ms: retry_after_ms.or(usual_ms),
        }
    }

    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let refusal = self.refusal;
        Object::event("error", out)
            .text("code", refusal.code.as_str())
            .text("message", &refusal.message)
            .text("request", &refusal.request)
            .text_if("id", refusal.id.as_deref())
            .target_if(refusal.target.as_ref())
            .flag("retryable", self.retryable)
            .number_if("retry_after_ms", self.retry_after_ms)
            .close();
    }
}

/// The last event of a connection that the server closes.
#[derive(Clone, Debug)]
pub struct Bye<'a> {
    /// The close code that follows; see [`code`](super::code).
    pub code: u16,
    /// Why, for a human.
    pub reason: &'a str,
    /// Whether the client shall come back.
    pub reconnect: bool,
    /// How long to wait before.
    pub retry_after_ms: Option<u64>,
}

impl Bye<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("bye", out)
            .number("code", self.code.into())
            .text("reason", self.reason)
            .flag("reconnect", self.reconnect)
            .number_if("retry_after_ms", self.retry_after_ms)
            .close();
    }
}

/// When the client's token expires: told in time before it does, and in answer to a `hello` that brought a new one.
#[derive(Clone, Debug)]
pub struct TokenExpires {
    /// When; the connection is closed then.
    pub expires_at: u64,
    /// Now.
    pub timestamp: u64,
}

impl TokenExpires {
    /// Appends the event, with the `id` of the `hello` that it answers.
    pub fn encode(&self, id: Option<&str>, out: &mut Vec<u8>) {
        Object::event("token_expires", out)
            .number("expires_at", self.expires_at)
            .number("timestamp", self.timestamp)
            .text_if("id", id)
            .close();
    }
}

/// The answer to a client's sign of life.
#[derive(Clone, Debug)]
pub struct Heartbeat<'a> {
    /// The server's clock.
    pub timestamp: u64,
    /// See the [module](self).
    pub id: Option<&'a str>,
}

impl Heartbeat<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("heartbeat", out)
            .number("timestamp", self.timestamp)
            .text_if("id", self.id)
            .close();
    }
}

#[cfg(test)]
mod tests;
