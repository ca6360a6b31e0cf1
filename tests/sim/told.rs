//! What the server tells in words: its JSON, read field by field. A word or a field that is not in the protocol, or
//! one that is missing, is an error.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The log that something is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Log {
    /// A room, by its name.
    Room(String),
    /// An inbox, by its user's name.
    Inbox(String),
}

impl Log {
    /// Whether a server with a disk keeps it there. Of guests nothing is kept.
    pub fn is_durable(&self) -> bool {
        match self {
            Log::Room(_) => true,
            Log::Inbox(user) => !user.starts_with("guest-"),
        }
    }
}

/// A position in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which life of the log.
    pub epoch: String,
    /// The last message that was had.
    pub seq: u64,
}

/// A message of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was sent to.
    pub to: Log,
    /// Its number.
    pub seq: u64,
    /// Its time.
    pub timestamp: u64,
    /// Who sent it.
    pub sender: String,
    /// The bytes of its content.
    pub content: String,
    /// The bytes of its metadata.
    pub metadata: Option<String>,
    /// The sender's `id`.
    pub id: Option<String>,
    /// Whether it is only a tombstone: then it has no content, and may have no time.
    pub is_deleted: bool,
}

/// One event of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The first event.
    Welcome {
        user: String,
        session: Option<String>,
        inbox: Position,
        recovered: Option<bool>,
        id: Option<String>,
    },
    /// A membership begins.
    Joined {
        room: String,
        head: Position,
        members: u64,
        recovered: Option<bool>,
        reason: Option<String>,
        id: Option<String>,
    },
    /// A membership has ended.
    Left {
        room: String,
        is_removed: bool,
        id: Option<String>,
    },
    /// What a moderator wanted is done.
    Done { room: String, id: Option<String> },
    /// See [`Message`].
    Message(Message),
    /// A message was kept.
    Ack {
        to: Log,
        seq: u64,
        timestamp: u64,
        dup: bool,
        id: Option<String>,
    },
    /// Something that is not kept.
    Signal {
        to: Log,
        sender: String,
        content: String,
    },
    /// A page of a log.
    History {
        of: Log,
        epoch: String,
        messages: Vec<Message>,
        more: bool,
        id: Option<String>,
    },
    /// Who is there; without names, how many.
    Presence {
        room: String,
        count: u64,
        members: Option<Vec<String>>,
        id: Option<String>,
    },
    /// Messages that will not come.
    Gap { of: Log, first: u64, last: u64 },
    /// Somebody came or went.
    System { room: String },
    /// A command was refused.
    Error {
        code: String,
        request: String,
        about: Option<Log>,
        id: Option<String>,
    },
    /// The answer to a heartbeat.
    Heartbeat,
    /// A close follows.
    Bye { code: u16 },
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    room_id: Option<String>,
    to: Option<String>,
    seq_id: Option<u64>,
    timestamp: Option<u64>,
    sender: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    user: Option<String>,
    session: Option<String>,
    inbox: Option<InboxFields>,
    epoch: Option<String>,
    #[serde(borrow)]
    members: Option<&'a RawValue>,
    recovered: Option<bool>,
    reason: Option<String>,
    dup: Option<bool>,
    durable: Option<bool>,
    #[serde(borrow)]
    messages: Option<Vec<Fields<'a>>>,
    more: Option<bool>,
    count: Option<u64>,
    from_seq_id: Option<u64>,
    to_seq_id: Option<u64>,
    code: Option<serde_json::Value>,
    request: Option<String>,
    retryable: Option<bool>,
    retry_after_ms: Option<u64>,
    event: Option<String>,
    deleted: Option<bool>,
    deleted_seq_id: Option<u64>,
}

#[derive(Deserialize)]
struct InboxFields {
    epoch: String,
    seq_id: u64,
    recovered: Option<bool>,
}

/// Reads one event.
pub fn read(text: &str) -> Result<Told, String> {
    let fields: Fields<'_> =
        serde_json::from_str(text).map_err(|error| format!("not JSON: {error}: {text:.200}"))?;
    let kind = fields.kind.clone();
    tell(fields).ok_or_else(|| format!("a {kind} that lacks a field: {text:.200}"))
}

fn tell(fields: Fields<'_>) -> Option<Told> {
    let kind = fields.kind.clone();
    let id = fields.id.clone();
    Some(match kind.as_str() {
        "welcome" => welcome(fields)?,
        "joined" => Told::Joined {
            members: serde_json::from_str(fields.members?.get()).ok()?,
            head: Position {
                epoch: fields.epoch?,
                seq: fields.seq_id?,
            },
            room: fields.room_id?,
            recovered: fields.recovered,
            reason: fields.reason,
            id,
        },
        "left" => Told::Left {
            room: fields.room_id?,
            is_removed: matches!(fields.event.as_deref(), Some("kick" | "ban")),
            id,
        },
        "done" => Told::Done {
            room: fields.room_id?,
            id,
        },
        "message" | "deleted" => Told::Message(message(fields)?),
        "ack" => Told::Ack {
            to: log(&fields)?,
            seq: fields.seq_id?,
            timestamp: fields.timestamp?,
            dup: fields.durable.map(|_| fields.dup.unwrap_or(false))?,
            id,
        },
        "signal" => Told::Signal {
            to: log(&fields)?,
            sender: fields.sender?,
            content: fields.content?.get().to_owned(),
        },
        "history" => Told::History {
            of: log(&fields)?,
            epoch: fields.epoch?,
            messages: fields
                .messages?
                .into_iter()
                .map(message)
                .collect::<Option<_>>()?,
            more: fields.more?,
            id,
        },
        "presence" => Told::Presence {
            room: fields.room_id?,
            count: fields.count?,
            members: match fields.members {
                Some(members) => Some(serde_json::from_str(members.get()).ok()?),
                None => None,
            },
            id,
        },
        "gap" => Told::Gap {
            of: log(&fields)?,
            first: fields.from_seq_id?,
            last: fields.to_seq_id?,
        },
        "system" => Told::System {
            room: fields.room_id?,
        },
        "error" => Told::Error {
            about: (!fields.retryable? || fields.retry_after_ms.is_some()).then(|| log(&fields))?,
            code: fields.code?.as_str()?.to_owned(),
            request: fields.request?,
            id,
        },
        "heartbeat" => fields.timestamp.map(|_| Told::Heartbeat)?,
        "bye" => Told::Bye {
            code: u16::try_from(fields.code?.as_u64()?).ok()?,
        },
        _ => return None,
    })
}

fn welcome(fields: Fields<'_>) -> Option<Told> {
    let inbox = fields.inbox?;
    Some(Told::Welcome {
        user: fields.user?,
        session: fields.session,
        inbox: Position {
            epoch: inbox.epoch,
            seq: inbox.seq_id,
        },
        recovered: inbox.recovered,
        id: fields.id,
    })
}

/// A message, a tombstone, or a deletion, which counts as a message that says so.
fn message(fields: Fields<'_>) -> Option<Message> {
    let is_deleted = fields.deleted == Some(true);
    let is_bare = fields.content.is_none() && fields.metadata.is_none();
    if (is_deleted || fields.deleted_seq_id.is_some()) && !is_bare {
        return None;
    }
    let content = match fields.deleted_seq_id {
        Some(seq) => deletion(seq, fields.id.as_deref()),
        None if is_deleted => String::new(),
        None => fields.content?.get().to_owned(),
    };
    Some(Message {
        to: log(&fields)?,
        seq: fields.seq_id?,
        timestamp: match is_deleted {
            true => fields.timestamp.unwrap_or(0),
            false => fields.timestamp?,
        },
        sender: fields.sender?,
        content,
        metadata: fields.metadata.map(|metadata| metadata.get().to_owned()),
        id: fields.id,
        is_deleted,
    })
}

/// What stands for the content of a deletion.
pub fn deletion(seq: u64, id: Option<&str>) -> String {
    format!("deletion of {seq} as {id:?}")
}

/// The log that the event names; there is never more than one.
fn log(fields: &Fields<'_>) -> Option<Log> {
    match (&fields.room_id, &fields.to) {
        (Some(room), None) => Some(Log::Room(room.clone())),
        (None, Some(user)) => Some(Log::Inbox(user.clone())),
        (Some(_), Some(_)) | (None, None) => None,
    }
}
