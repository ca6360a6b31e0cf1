//! One connection of the chat protocol, as its client may understand it.

mod answers;
mod open;

use super::logs::{Gone, Logs};
use super::reader::Reader;
use super::{Asked, Conn, Excuses, Since};
use crate::told::{Log, Message, Position, Told};
use open::{Open, room_of};
use std::collections::{BTreeMap, BTreeSet};

/// See the [module](self).
#[derive(Debug)]
pub struct Chat {
    conn: Conn,
    wanted: Option<String>,
    inbox_since: Option<Since>,
    is_eager: bool,
    user: Option<String>,
    is_refused: bool,
    rooms: BTreeMap<String, Reader>,
    /// The last epoch of every room that was ever joined.
    epochs: BTreeMap<String, String>,
    /// Whether the last command about a room was to join it.
    wishes: BTreeMap<String, bool>,
    refused_rooms: BTreeSet<String>,
    inbox: Option<Reader>,
    open: Vec<Open>,
    signals: BTreeSet<String>,
    /// A room in which something was done for it, though this connection was not let in.
    intruded: Option<String>,
}

impl Chat {
    /// A connection that has not been welcomed.
    pub fn new(
        conn: Conn,
        wanted: Option<String>,
        inbox_since: Option<Since>,
        is_eager: bool,
        logs: &mut Logs,
    ) -> Chat {
        if let (Some(user), Some(since)) = (&wanted, &inbox_since) {
            logs.confirmed(user, since.seq);
        }
        Chat {
            conn,
            wanted,
            inbox_since,
            is_eager,
            user: None,
            is_refused: false,
            rooms: BTreeMap::new(),
            epochs: BTreeMap::new(),
            wishes: BTreeMap::new(),
            refused_rooms: BTreeSet::new(),
            inbox: None,
            open: Vec::new(),
            signals: BTreeSet::new(),
            intruded: None,
        }
    }

    /// Whose it is.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Its client has stopped reading.
    pub fn stalled(&mut self) {
        self.is_eager = false;
    }

    /// Whether its identity was refused, after which it is closed.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether it is a member of a room.
    pub fn is_in(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    /// Whether it is a member of a room, or was last heard to want that.
    pub fn may_be_in(&self, room: &str) -> bool {
        self.is_in(room) || self.wishes.get(room) == Some(&true)
    }

    /// Takes the room that it had something of without being let in, if it had.
    pub fn take_intrusion(&mut self) -> Option<String> {
        self.intruded.take()
    }

    /// Whether what passes in a log comes to it.
    pub fn reads(&self, log: &Log) -> bool {
        match log {
            Log::Room(room) => self.is_in(room),
            Log::Inbox(user) => self.user.as_ref() == Some(user),
        }
    }

    /// Whether a signal came.
    pub fn has_heard(&self, signal: &str) -> bool {
        self.signals.contains(signal)
    }

    /// Its client asks for something.
    pub fn asked(&mut self, id: Option<&str>, asked: &Asked, logs: &mut Logs) {
        // Who speaks before the welcome speaks under the name that is asked for.
        let user = self.user.clone().or_else(|| self.wanted.clone());
        let user = user.unwrap_or_default();
        let expects_member = match asked {
            Asked::Join { room, .. } => {
                self.wishes.insert(room.clone(), true);
                true
            }
            Asked::Leave { room } => self.wishes.insert(room.clone(), false) == Some(true),
            Asked::Who { room } | Asked::Delete { room, .. } | Asked::Moderate { room } => {
                self.wishes.get(room) == Some(&true)
            }
            Asked::Message { to, .. }
            | Asked::Signal { to, .. }
            | Asked::History { of: to, .. } => {
                matches!(to, Log::Room(room) if self.wishes.get(room) == Some(&true))
            }
            Asked::Hello | Asked::Wrong { .. } => false,
        };
        match asked {
            Asked::Message {
                to,
                content,
                metadata,
            } => logs.sent(
                self.conn,
                &user,
                (to, content),
                metadata.as_deref(),
                id,
                false,
            ),
            Asked::Signal { to, content } => {
                logs.sent(self.conn, &user, (to, content), None, id, true);
                // It has no answer but an error.
                return;
            }
            Asked::Delete { room, seq } => {
                logs.deletes(self.conn, &user, &Log::Room(room.clone()), *seq, id);
            }
            Asked::Hello
            | Asked::Join { .. }
            | Asked::Leave { .. }
            | Asked::History { .. }
            | Asked::Who { .. }
            | Asked::Moderate { .. }
            | Asked::Wrong { .. } => {}
        }
        let gone = match asked {
            Asked::Join { room, .. } => logs.gone(&Log::Room(room.clone())),
            Asked::History { of, .. } => logs.gone(of),
            Asked::Hello
            | Asked::Leave { .. }
            | Asked::Message { .. }
            | Asked::Signal { .. }
            | Asked::Who { .. }
            | Asked::Delete { .. }
            | Asked::Moderate { .. }
            | Asked::Wrong { .. } => Gone::default(),
        };
        self.open.push(Open {
            id: id.map(str::to_owned),
            asked: asked.clone(),
            expects_member,
            was_inside: room_of(asked).is_some_and(|room| self.is_in(room)),
            gone,
            stood: self.stood(asked, logs),
        });
    }

    /// Where the log of which a page is asked for was seen to stand.
    fn stood(&self, asked: &Asked, logs: &Logs) -> Option<Position> {
        let Asked::History { of, .. } = asked else {
            return None;
        };
        let epoch = match of {
            Log::Room(room) => self.epochs.get(room),
            Log::Inbox(_) => self.inbox.as_ref().map(|inbox| &inbox.epoch),
        };
        let epoch = epoch?.clone();
        let seq = logs.head(of, &epoch);
        Some(Position { epoch, seq })
    }

    /// The server says how much of the inbox it has written.
    pub fn pinged(&mut self, mark: u64, logs: &mut Logs) -> Result<(), String> {
        let inbox = self.inbox.as_mut();
        let inbox = inbox.ok_or_else(|| format!("c{}: a mark without an inbox", self.conn))?;
        inbox
            .had(mark, logs)
            .map_err(|fault| format!("c{}: mark {mark}: {fault}", self.conn))
    }

    /// The client says that it has the inbox up to the mark.
    pub fn ponged(&mut self, mark: u64, logs: &mut Logs) {
        if let Some(user) = &self.user {
            logs.confirmed(user, mark);
        }
    }

    /// The server tells something.
    pub fn told(&mut self, told: &Told, logs: &mut Logs, excuses: &Excuses) -> Result<(), String> {
        if self.user.is_none() && !matches!(told, Told::Welcome { .. } | Told::Error { .. }) {
            let is_last = matches!(told, Told::Bye { .. });
            return if is_last {
                Ok(())
            } else {
                Err("before the welcome".to_owned())
            };
        }
        match told {
            Told::Welcome {
                user,
                inbox,
                recovered,
                id,
                ..
            } => self.welcomed(user, inbox, *recovered, id.as_deref(), logs),
            Told::Joined { .. } => self.joined(told, logs),
            Told::Left {
                room,
                is_removed: true,
                ..
            } => self.removed(room),
            Told::Left { room, id, .. } => self.left(room, id.as_deref()),
            Told::Done { room, id } => {
                let is_it = |asked: &Asked| matches!(asked, Asked::Moderate { room: other } if other == room);
                self.close(id.as_deref(), is_it).map(|_| ())
            }
            Told::Message(message) => self.message(message, logs),
            Told::Ack {
                to,
                seq,
                timestamp,
                dup,
                id,
            } => self.acked(to, *seq, *timestamp, *dup, id.as_deref(), logs),
            Told::Signal {
                to,
                sender,
                content,
            } => self.signal(to, sender, content, logs),
            Told::History { .. } => self.history(told, logs),
            Told::Presence {
                room,
                count,
                members,
                id,
            } => self.presence(room, *count, members.as_deref(), id.as_deref()),
            Told::Gap { of, first, last } => {
                let is_eager = self.is_eager;
                let reader = self.reader(of)?;
                reader.lost(*first, *last, is_eager, logs)
            }
            Told::System { room } => self.reader(&Log::Room(room.clone())).map(|_| ()),
            Told::Error {
                code,
                request,
                about,
                id,
            } => self.refused(code, request, about.as_ref(), id.as_deref(), logs, excuses),
            Told::Heartbeat | Told::Bye { .. } => Ok(()),
        }
    }

    /// Nothing comes any more.
    pub fn done(&self, logs: &mut Logs) -> Result<(), String> {
        if let Some(open) = self.open.first() {
            return Err(format!("{open:?} was never answered"));
        }
        let rooms = self.rooms.values();
        rooms
            .chain(&self.inbox)
            .try_for_each(|reader| reader.done(logs))
    }

    fn message(&mut self, message: &Message, logs: &mut Logs) -> Result<(), String> {
        let log = self.log_of(message)?;
        let reader = self.reader(&log)?;
        let epoch = reader.epoch.clone();
        reader.took(message.seq, logs)?;
        reader.gone.check(&epoch, message)?;
        logs.seen(&log, &epoch, message)
    }

    /// The log in which a message lies that this connection sees: the room's, or its own user's.
    fn log_of(&self, message: &Message) -> Result<Log, String> {
        match (&message.to, &self.user) {
            (Log::Room(_), _) => Ok(message.to.clone()),
            (Log::Inbox(to), Some(user)) if to == user || message.sender == *user => {
                Ok(Log::Inbox(user.clone()))
            }
            (Log::Inbox(_), _) => Err("somebody else's message".to_owned()),
        }
    }

    fn reader(&mut self, log: &Log) -> Result<&mut Reader, String> {
        let reader = match log {
            Log::Room(room) => self.rooms.get_mut(room),
            Log::Inbox(user) if self.user.as_ref() == Some(user) => self.inbox.as_mut(),
            Log::Inbox(_) => None,
        };
        reader.ok_or_else(|| "it does not read that".to_owned())
    }

    fn signal(&mut self, to: &Log, sender: &str, content: &str, logs: &Logs) -> Result<(), String> {
        self.reader(to)?;
        logs.signal(self.conn, to, sender, content)?;
        if self.signals.insert(content.to_owned()) {
            Ok(())
        } else {
            Err("a signal came twice".to_owned())
        }
    }
}
