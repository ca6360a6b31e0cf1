//! The event that opens a connection.

use crate::limits::{HISTORY_COUNT_MAX, ID_BYTES_MAX, JSON_DEPTH_MAX, NAME_BYTES_MAX};
use crate::proto::object::Object;

/// The first event of a connection: who the client is, and what it may do.
#[derive(Clone, Debug)]
pub struct Welcome<'a> {
    /// Names this connection in logs.
    pub client_id: &'a str,
    /// The name of the client's user.
    pub user: &'a str,
    /// The secret that takes the name back; none where nothing is kept that it could take back.
    pub session: Option<&'a str>,
    /// Where the user's inbox is.
    pub inbox: Inbox<'a>,
    /// Interval of pings; a client that says nothing for two of them is closed.
    pub heartbeat_ms: u32,
    /// What the client has to keep to.
    pub limits: Bounds,
    /// Now.
    pub timestamp: u64,
    /// The `id` of the `hello` that it answers.
    pub id: Option<&'a str>,
}

/// Where a user's inbox is.
#[derive(Clone, Debug)]
pub struct Inbox<'a> {
    /// Which life of the inbox.
    pub epoch: &'a str,
    /// Number of its newest message.
    pub seq_id: u64,
    /// Where `inbox_since` was given: whether delivery goes on from there.
    pub recovered: Option<bool>,
}

/// The part of `welcome.limits` that an operator can move; the rest are constants.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Payload bytes of one WebSocket message.
    pub message_bytes_max: usize,
    /// Rooms that one connection is in.
    pub rooms_per_connection_max: u16,
    /// Messages of a log whose `id` is remembered.
    pub dedupe_count: usize,
    /// Hours for which an `id` is remembered besides; 0 where logs are in memory only.
    pub dedupe_hours: u32,
    /// Whether messages are on disk before they are acknowledged.
    pub durable: bool,
}

impl Welcome<'_> {
    /// Appends the event.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Object::event("welcome", out)
            .text("client_id", self.client_id)
            .text("user", self.user)
            .text_if("session", self.session)
            .object("inbox", |inbox| self.inbox.fill(inbox))
            .number("heartbeat_ms", self.heartbeat_ms.into())
            .object("limits", |limits| self.limits.fill(limits))
            .number("timestamp", self.timestamp)
            .text_if("id", self.id)
            .close();
    }
}

impl Inbox<'_> {
    fn fill(&self, object: &mut Object<'_>) {
        object
            .text("epoch", self.epoch)
            .number("seq_id", self.seq_id)
            .flag_if("recovered", self.recovered);
    }
}

impl Bounds {
    fn fill(&self, object: &mut Object<'_>) {
        object
            .count("message_bytes_max", self.message_bytes_max)
            .count("name_bytes_max", NAME_BYTES_MAX)
            .count("id_bytes_max", ID_BYTES_MAX)
            .number(
                "rooms_per_connection_max",
                self.rooms_per_connection_max.into(),
            )
            .count("history_count_max", HISTORY_COUNT_MAX)
            .count("json_depth_max", JSON_DEPTH_MAX)
            .count("dedupe_count", self.dedupe_count)
            .number("dedupe_hours", self.dedupe_hours.into())
            .flag("durable", self.durable);
    }
}
