//! What a client asks for.

use std::borrow::Cow;

use super::fields::{Field, Fields, Key, Problem};
use super::{Action, Code, Position, Target, json};
use crate::limits::TYPE_BYTES_SHOWN_MAX;
use crate::secret::Secret;

/// The commands in one text frame, one at a time.
///
/// ```
/// use roomcast::proto::{Command, Commands, Target};
///
/// let mut commands = Commands::new(r#"{"type":"who","room_id":"a"} {"type":"join","room_id":"b"}"#);
/// let who = commands.next().unwrap().unwrap();
/// assert_eq!(who.command.target(), Some(Target::room("a")));
/// assert_eq!(commands.rest(), r#" {"type":"join","room_id":"b"}"#);
/// ```
#[derive(Clone, Debug)]
pub struct Commands<'a> {
    rest: &'a str,
}

impl<'a> Commands<'a> {
    /// The commands in the text of a frame, or in the [rest](Commands::rest) of one.
    pub fn new(text: &'a str) -> Commands<'a> {
        Commands { rest: text }
    }

    /// What has not been taken yet; nothing after text that is not JSON.
    pub fn rest(&self) -> &'a str {
        self.rest
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Request<'a>, Refusal<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.trim_start_matches(json::WHITE_SPACE);
        if text.is_empty() {
            self.rest = text;
            return None;
        }
        let (fields, end) = Fields::parse(text);
        self.rest = end
            .as_ref()
            .ok()
            .and_then(|&end| text.get(end..))
            .unwrap_or_default();
        Some(
            end.and_then(|_| Request::read(&fields))
                .map_err(|problem| Refusal::of(&fields, problem)),
        )
    }
}

/// A command and what its reply shall be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Comes back in the reply; at most [`ID_BYTES_MAX`](crate::limits::ID_BYTES_MAX) bytes.
    pub id: Option<Cow<'a, str>>,
    /// What is asked for.
    pub command: Command<'a>,
}

impl<'a> Request<'a> {
    /// Refuses the command: `message` tells a human what was wrong and what to do.
    pub fn refuse(&self, code: Code, message: impl Into<Cow<'static, str>>) -> Refusal<'_> {
        Refusal {
            code,
            message: message.into(),
            request: Cow::Borrowed(self.command.kind().as_str()),
            id: self.id.as_deref().map(Cow::Borrowed),
            target: self.command.target(),
        }
    }

    fn read(fields: &Fields<'a>) -> Result<Request<'a>, Problem> {
        fields.distinct()?;
        let id = fields.optional(Key::Id, Field::id)?;
        let kind = fields.required(Key::Type, Field::text)?;
        let kind =
            Kind::parse(&kind).ok_or_else(|| Problem::new(Code::UnknownType, UNKNOWN_TYPE))?;
        Ok(Request {
            id,
            command: Command::read(kind, fields)?,
        })
    }
}

const UNKNOWN_TYPE: &str = "unknown `type`; there are hello, join, leave, message, signal, history, who, heartbeat, \
     kick, mute, unmute, ban, unban and delete";

/// What a client asks for. Every value is checked: names are names, numbers lie within their bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Who the client is, where the URL did not say; later, a new token for the same user.
    Hello {
        /// The name that it wants; without one the server makes one up.
        user: Option<Cow<'a, str>>,
        /// The secret that holds the name.
        session: Option<Secret<Cow<'a, str>>>,
        /// Where tokens are wanted: proves who the user is.
        token: Option<Secret<Cow<'a, str>>>,
        /// What it has seen of its inbox.
        inbox_since: Option<Position<'a>>,
    },
    /// To be a member of a room.
    Join {
        /// The room's name.
        room_id: Cow<'a, str>,
        /// What it has seen of the room; without it, delivery starts at the head.
        since: Option<Position<'a>>,
        /// Whether its own messages come back to this connection; they do unless it says `false`.
        echo: bool,
    },
    /// To be a member no more.
    Leave {
        /// The room's name.
        room_id: Cow<'a, str>,
    },
    /// To be kept and delivered.
    Message {
        /// Where it goes.
        target: Target<'a>,
        /// Any JSON, as it came in.
        content: &'a str,
        /// Any JSON, as it came in.
        metadata: Option<&'a str>,
    },
    /// To be delivered and forgotten.
    Signal {
        /// Where it goes.
        target: Target<'a>,
        /// Any JSON, as it came in.
        content: &'a str,
    },
    /// A page of a log: the newest one where neither bound is given. There are never both.
    History {
        /// Whose log: a room's, or one's own inbox.
        target: Target<'a>,
        /// The page ends just before this `seq_id`.
        before: Option<u64>,
        /// The page starts just after this `seq_id`.
        after: Option<u64>,
        /// Most messages on the page, from 1 to [`HISTORY_COUNT_MAX`](crate::limits::HISTORY_COUNT_MAX).
        limit: Option<usize>,
    },
    /// The members of a room.
    Who {
        /// The room's name.
        room_id: Cow<'a, str>,
    },
    /// A sign of life.
    Heartbeat {
        /// The client's clock, in milliseconds since the Unix epoch.
        timestamp: Option<i64>,
    },
    /// Something to be done to a user of a room.
    Moderate {
        /// What.
        action: Action,
        /// The room's name.
        room_id: Cow<'a, str>,
        /// The user's name.
        user: Cow<'a, str>,
        /// Of a mute or a ban: how long it lasts, up to
        /// [`SANCTION_SECONDS_MAX`](crate::limits::SANCTION_SECONDS_MAX); for good without it.
        seconds: Option<u64>,
        /// Why, in at most [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes.
        reason: Option<Cow<'a, str>>,
    },
    /// A message to be taken back.
    Delete {
        /// The room's name.
        room_id: Cow<'a, str>,
        /// The message's number.
        seq_id: u64,
    },
}

impl<'a> Command<'a> {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Command::Hello { .. } => Kind::Hello,
            Command::Join { .. } => Kind::Join,
            Command::Leave { .. } => Kind::Leave,
            Command::Message { .. } => Kind::Message,
            Command::Signal { .. } => Kind::Signal,
            Command::History { .. } => Kind::History,
            Command::Who { .. } => Kind::Who,
            Command::Heartbeat { .. } => Kind::Heartbeat,
            Command::Moderate { action, .. } => action.kind(),
            Command::Delete { .. } => Kind::Delete,
        }
    }

    /// The room or user that it is about.
    pub fn target(&self) -> Option<Target<'_>> {
        match self {
            Command::Hello { .. } | Command::Heartbeat { .. } => None,
            Command::Join { room_id, .. }
            | Command::Leave { room_id }
            | Command::Who { room_id }
            | Command::Moderate { room_id, .. }
            | Command::Delete { room_id, .. } => Some(Target::room(room_id)),
            Command::Message { target, .. }
            | Command::Signal { target, .. }
            | Command::History { target, .. } => Some(target.by_ref()),
        }
    }

    fn read(kind: Kind, fields: &Fields<'a>) -> Result<Command<'a>, Problem> {
        Ok(match kind {
            Kind::Hello => Command::Hello {
                user: fields.optional(Key::User, Field::name)?,
                session: fields
                    .optional(Key::Session, Field::session)?
                    .map(Secret::from),
                token: fields.optional(Key::Token, Field::text)?.map(Secret::from),
                inbox_since: fields.optional(Key::InboxSince, Field::position)?,
            },
            Kind::Join => Command::Join {
                room_id: fields.required(Key::RoomId, Field::name)?,
                since: fields.optional(Key::Since, Field::position)?,
                echo: fields.optional(Key::Echo, Field::flag)?.unwrap_or(true),
            },
            Kind::Leave => Command::Leave {
                room_id: fields.required(Key::RoomId, Field::name)?,
            },
            Kind::Message => Command::Message {
                target: target(fields)?,
                content: fields.required(Key::Content, Field::json)?,
                metadata: fields.given(Key::Metadata, Field::json)?,
            },
            Kind::Signal => Command::Signal {
                target: target(fields)?,
                content: fields.required(Key::Content, Field::json)?,
            },
            Kind::History => history(fields)?,
            Kind::Who => Command::Who {
                room_id: fields.required(Key::RoomId, Field::name)?,
            },
            Kind::Heartbeat => Command::Heartbeat {
                timestamp: fields.optional(Key::Timestamp, Field::timestamp)?,
            },
            Kind::Kick => moderate(Action::Kick, fields)?,
            Kind::Mute => moderate(Action::Mute, fields)?,
            Kind::Unmute => moderate(Action::Unmute, fields)?,
            Kind::Ban => moderate(Action::Ban, fields)?,
            Kind::Unban => moderate(Action::Unban, fields)?,
            Kind::Delete => Command::Delete {
                room_id: fields.required(Key::RoomId, Field::name)?,
                seq_id: fields.required(Key::SeqId, Field::seq_id)?,
            },
        })
    }
}

fn moderate<'a>(action: Action, fields: &Fields<'a>) -> Result<Command<'a>, Problem> {
    Ok(Command::Moderate {
        action,
        room_id: fields.required(Key::RoomId, Field::name)?,
        user: fields.required(Key::User, Field::name)?,
        seconds: fields.optional(Key::Seconds, Field::seconds)?,
        reason: fields.optional(Key::Reason, Field::reason)?,
    })
}

fn history<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Problem> {
    let target = target(fields)?;
    let before = fields.optional(Key::Before, Field::seq_id)?;
    let after = fields.optional(Key::After, Field::seq_id)?;
    if before.is_some() && after.is_some() {
        let message = "`before` and `after` are both there; a page has one of them, or neither";
        return Err(Problem::new(Code::BadField, message));
    }
    Ok(Command::History {
        target,
        before,
        after,
        limit: fields.optional(Key::Limit, Field::limit)?,
    })
}

fn target<'a>(fields: &Fields<'a>) -> Result<Target<'a>, Problem> {
    let room_id = fields.optional(Key::RoomId, Field::name)?;
    let to = fields.optional(Key::To, Field::name)?;
    match (room_id, to) {
        (Some(name), None) => Ok(Target::Room(name)),
        (None, Some(name)) => Ok(Target::User(name)),
        (None, None) => Err(Problem::new(
            Code::BadField,
            "`room_id` and `to` are both missing; send one of them",
        )),
        (Some(_), Some(_)) => Err(Problem::new(
            Code::BadField,
            "`room_id` and `to` are both there; send one of them",
        )),
    }
}

/// The `type` of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Command::Message`]
    Message,
    /// [`Command::Signal`]
    Signal,
    /// [`Command::Heartbeat`]
    Heartbeat,
    /// [`Command::Join`]
    Join,
    /// [`Command::Leave`]
    Leave,
    /// [`Command::History`]
    History,
    /// [`Command::Who`]
    Who,
    /// [`Command::Hello`]
    Hello,
    /// [`Command::Delete`]
    Delete,
    /// [`Action::Kick`]
    Kick,
    /// [`Action::Mute`]
    Mute,
    /// [`Action::Unmute`]
    Unmute,
    /// [`Action::Ban`]
    Ban,
    /// [`Action::Unban`]
    Unban,
}

impl Kind {
    /// Every type, the frequent ones first.
    pub const ALL: [Kind; 14] = [
        Kind::Message,
        Kind::Signal,
        Kind::Heartbeat,
        Kind::Join,
        Kind::Leave,
        Kind::History,
        Kind::Who,
        Kind::Hello,
        Kind::Delete,
        Kind::Kick,
        Kind::Mute,
        Kind::Unmute,
        Kind::Ban,
        Kind::Unban,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Signal => "signal",
            Kind::Heartbeat => "heartbeat",
            Kind::Join => "join",
            Kind::Leave => "leave",
            Kind::History => "history",
            Kind::Who => "who",
            Kind::Hello => "hello",
            Kind::Delete => "delete",
            Kind::Kick => "kick",
            Kind::Mute => "mute",
            Kind::Unmute => "unmute",
            Kind::Ban => "ban",
            Kind::Unban => "unban",
        }
    }

    fn parse(text: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }
}

/// Why a command was refused, and which: all that its `error` event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// For programs.
    pub code: Code,
    /// For humans: what was wrong, where, and what to do.
    pub message: Cow<'static, str>,
    /// The command's `type`. An unknown one is cut to
    /// [`TYPE_BYTES_SHOWN_MAX`] bytes; empty where none could be read.
    pub request: Cow<'a, str>,
    /// The command's `id`, where it could be read.
    pub id: Option<Cow<'a, str>>,
    /// The room or user that the command is about, where it could be read.
    pub target: Option<Target<'a>>,
}

impl<'a> Refusal<'a> {
    /// Reads again what can be read of an object that was refused.
    fn of(fields: &Fields<'a>, problem: Problem) -> Refusal<'a> {
        let name = |key| fields.optional(key, Field::name).ok().flatten();
        let room = name(Key::RoomId).map(Target::Room);
        Refusal {
            code: problem.code,
            message: problem.message,
            request: fields
                .required(Key::Type, Field::text)
                .map(type_shown)
                .unwrap_or_default(),
            id: fields.optional(Key::Id, Field::id).ok().flatten(),
            target: room.or_else(|| name(Key::To).map(Target::User)),
        }
    }
}

/// A type as an `error` repeats it.
fn type_shown(text: Cow<'_, str>) -> Cow<'_, str> {
    if let Some(kind) = Kind::parse(&text) {
        return Cow::Borrowed(kind.as_str());
    }
    let end = (0..=TYPE_BYTES_SHOWN_MAX)
        .rev()
        .find(|&end| text.is_char_boundary(end));
    Cow::Owned(text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
