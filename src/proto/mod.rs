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
//! | `command` | an object's fields to a [`Command`] |
//! | `fields` | one object to its fields, and a field to a value |
//! | [`event`] | what the server sends |
//! | `json` | what a value must keep to beyond the grammar |
//! | `object` | writing JSON text |
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
//! Nothing here knows who is connected, which rooms exist or what time it is.

pub mod code;
mod command;
pub mod event;
mod fields;
mod json;
pub mod name;
mod object;

use std::borrow::Cow;

pub use code::Code;
pub use command::{Command, Commands, Kind, Refusal, Request};
pub use json::is_sound;

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
