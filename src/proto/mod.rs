//! The JSON envelope of `roomcast.v1`: text in, [commands](Command) out; [events](event) in, text out.
//!
//! A client sends JSON objects in text frames, one or several to a frame. [`Commands`] takes them one at a time, so
//! that whoever reads can stop between two objects and keep the [rest](Commands::rest). Each object becomes a
//! [`Request`] or a [`Refusal`]; a refusal holds what its `error` event says.
//!
//! | module | what |
//! |---|---|
//! | [`code`] | the stable tables of error codes and close codes |
//! | [`name`] | which names of rooms and users, and which secrets, are taken |
//! | `action` | what moderators do to users |
//! | `command` | an object's fields to a [`Command`] |
//! | `fields` | one object to its fields, and a field to a value |
//! | [`event`] | what the server sends |
//! | `json` | what a value must keep to beyond the grammar |
//! | `object` | writing JSON text |
//! | `seen` | reading what the server itself has encoded |
//!
//! # What is taken
//!
//! * Unknown fields are passed over. A known field that stands twice makes the object `bad_json`, since two readers
//!   could see different values in it.
//! * `null` in an optional field counts as not given. It is a value only in `content` and `metadata`, which are kept
//!   as the bytes that came in: number forms, white space and the order of keys survive.
//! * Objects are told apart by their braces; white space between them is welcome and not required.
//! * When an object is not JSON, nobody can tell where it ends: the rest of its frame is dropped. Every other
//!   refusal concerns one object alone.
//!
//! # Moderation
//!
//! | a client sends | fields | gets |
//! |---|---|---|
//! | `kick` | `room_id`, `user`, `reason?` | `done`; the user's connections get `left` with `event`, `by`, `reason?` |
//! | `mute`, `ban` | the same, `seconds?` | `done` with `until?` once it is kept; a ban is a kick as well |
//! | `unmute`, `unban` | `room_id`, `user` | `done` |
//! | `delete` | `room_id`, `seq_id` | `ack` with the number of the deletion, once it is kept; everyone gets `deleted` |
//!
//! * The room hears of kicks, bans, mutes and unmutes by `system`, whose `event` says which, with `sender` (the user),
//!   `by`, `reason?` and `until?`.
//! * They are refused with `not_joined`, `forbidden` (not a moderator, or the user is one by configuration),
//!   `unknown_user` (to be kicked: not in the room; to be let off: not muted or banned), `bad_field` and `storage`.
//! * `deleted` is numbered like a message: `room_id`, `seq_id`, `deleted_seq_id`, `timestamp`, `sender` (who deleted),
//!   `id?`. It counts as a `message` for `since`, and stands among the `messages` of a `history`. The message itself is
//!   from then on a `message` with `deleted: true` and without `content`, `metadata` and `id`; where a message was very
//!   short, without `timestamp` too.
//! * To delete what is not a message, or is deleted already, is a `bad_field`: who repeats a `delete` after a loss takes
//!   the latter for a success. Who is no moderator deletes what was sent under its name since the name is its own, and
//!   with a token all that was sent under it; anything else is `forbidden`.
//!
//! Nothing here knows who is connected, which rooms exist or what time it is.

mod action;
pub mod code;
mod command;
pub mod event;
mod fields;
mod json;
pub mod name;
mod object;
mod seen;

use std::borrow::Cow;

pub use action::Action;
pub use code::Code;
pub use command::{Command, Commands, Kind, Refusal, Request};
pub use json::is_sound;
pub use seen::Seen;

/// Where a message goes: the `room_id` or the `to` of a command or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A room, by its name.
    Room(Cow<'a, str>),
    /// A user's inbox, by the user's name.
    User(Cow<'a, str>),
}

impl<'a> Target<'a> {
    /// The room of this name.
    pub fn room(name: &'a str) -> Target<'a> {
        Target::Room(Cow::Borrowed(name))
    }

    /// The inbox of the user of this name.
    pub fn user(name: &'a str) -> Target<'a> {
        Target::User(Cow::Borrowed(name))
    }

    /// The name, whichever it is.
    pub fn name(&self) -> &str {
        match self {
            Target::Room(name) | Target::User(name) => name,
        }
    }

    /// The same target, borrowed from this one.
    pub fn by_ref(&self) -> Target<'_> {
        match self {
            Target::Room(name) => Target::room(name),
            Target::User(name) => Target::user(name),
        }
    }

    /// The field that carries it.
    fn key(&self) -> &'static str {
        match self {
            Target::Room(_) => "room_id",
            Target::User(_) => "to",
        }
    }
}

/// A place in a log: what comes after it is what its holder has not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// Which life of the log, an opaque string of at most
    /// [`EPOCH_BYTES_MAX`](crate::limits::EPOCH_BYTES_MAX) bytes.
    pub epoch: Cow<'a, str>,
    /// Number of the last message seen, below [`SEQ_END`](crate::limits::SEQ_END).
    pub seq_id: u64,
}
