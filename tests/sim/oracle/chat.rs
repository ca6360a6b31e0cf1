//! One connection of the chat protocol, as its client may understand it.

use super::logs::{Gone, Logs};
use super::pages::Page;
use super::reader::Reader;
use super::{Asked, Conn, Excuses, Since};
use crate::told::{Log, Message, Position, Told};
use std::collections::{BTreeMap, BTreeSet};

/// A command that has no answer yet.
#[derive(Debug)]
struct Open {
    id: Option<String>,
    asked: Asked,
    /// The room that it is about was being joined, or was joined.
    expects_member: bool,
    /// It was a member of the room when it asked, or became one before the answer.
    was_inside: bool,
    /// Messages of the log that were known to be deleted.
    gone: Gone,
    /// Of a page of a log: where the log was seen to stand.
    stood: Option<Position>,
}

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

    fn welcomed(
        &mut self,
        user: &str,
        inbox: &Position,
        recovered: Option<bool>,
        id: Option<&str>,
        logs: &mut Logs,
    ) -> Result<(), String> {
        if self.user.is_some() {
            return Err("a second welcome".to_owned());
        }
        if self.wanted.as_deref().is_some_and(|wanted| wanted != user) {
            return Err(format!("{:?} was wanted", self.wanted));
        }
        if id.is_some() {
            self.close(id, |asked| matches!(asked, Asked::Hello))?;
        }
        self.user = Some(user.to_owned());
        logs.inbox(user, &inbox.epoch, inbox.seq);
        let (log, epoch) = (Log::Inbox(user.to_owned()), &inbox.epoch);
        self.inbox = Some(match (&self.inbox_since, recovered) {
            (Some(since), Some(true)) => {
                if since.seq > inbox.seq || since.epoch.as_ref().is_some_and(|e| e != epoch) {
                    return Err(format!("{since:?} cannot be recovered"));
                }
                logs.confirmed(user, since.seq);
                Reader::after(self.conn, log, epoch, since.seq, true)
            }
            (Some(_), Some(false)) | (None, None) => {
                Reader::after_or_before(self.conn, log, epoch, logs.confirmed_max(user))
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(format!("{:?} was asked", self.inbox_since));
            }
        });
        Ok(())
    }

    fn joined(&mut self, told: &Told, logs: &mut Logs) -> Result<(), String> {
        let Told::Joined {
            room,
            head,
            members,
            recovered,
            reason,
            id,
        } = told
        else {
            return Ok(());
        };
        let is_it =
            |asked: &Asked| matches!(asked, Asked::Join { room: other, .. } if other == room);
        let Open { asked, gone, .. } = self.close_open(id.as_deref(), is_it)?;
        let Asked::Join { since, echo, .. } = asked else {
            return Ok(());
        };
        let log = Log::Room(room.clone());
        logs.reached(&log, &head.epoch, head.seq);
        let after = match (&since, recovered) {
            (None, None) => head.seq,
            (Some(since), Some(true)) if since.epoch == head.epoch && since.seq <= head.seq => {
                since.seq
            }
            (Some(since), Some(false)) => {
                let is_so = match reason.as_deref() {
                    Some("epoch") => since.epoch != head.epoch,
                    Some("ahead") => since.seq > head.seq,
                    Some("expired") => {
                        let next = since.seq + 1;
                        logs.lost(self.conn, (&log, &head.epoch), (next, next), false);
                        since.epoch == head.epoch && since.seq < head.seq
                    }
                    Some(_) | None => false,
                };
                if !is_so {
                    return Err(format!(
                        "since {since:?} is not recovered, for a wrong reason"
                    ));
                }
                head.seq
            }
            (Some(_), _) | (None, Some(_)) => return Err(format!("since {since:?} was asked")),
        };
        if *members == 0 {
            return Err("nobody is in it".to_owned());
        }
        self.epochs.insert(room.clone(), head.epoch.clone());
        let mut reader = Reader::after(self.conn, log, &head.epoch, after, !echo);
        reader.gone = gone;
        self.rooms.insert(room.clone(), reader);
        for open in &mut self.open {
            open.was_inside |= room_of(&open.asked) == Some(room);
        }
        Ok(())
    }

    fn left(&mut self, room: &str, id: Option<&str>) -> Result<(), String> {
        self.close(
            id,
            |asked| matches!(asked, Asked::Leave { room: other } if other == room),
        )?;
        let was_in_it = self.rooms.remove(room).is_some();
        // A join that was sent behind it may have been refused before.
        match was_in_it || self.refused_rooms.contains(room) {
            true => Ok(()),
            false => Err("it was not in it".to_owned()),
        }
    }

    /// A moderator has taken it out: what it says to the room meanwhile is refused.
    fn removed(&mut self, room: &str) -> Result<(), String> {
        self.refused_rooms.insert(room.to_owned());
        let before = self.rooms.remove(room);
        before
            .map(|_| ())
            .ok_or_else(|| "it was not in it".to_owned())
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

    fn acked(
        &mut self,
        to: &Log,
        seq: u64,
        timestamp: u64,
        dup: bool,
        id: Option<&str>,
        logs: &mut Logs,
    ) -> Result<(), String> {
        self.close(id, |asked| match (asked, to) {
            (Asked::Message { to: other, .. }, to) => other == to,
            (Asked::Delete { room, .. }, Log::Room(other)) => room == other,
            _ => false,
        })?;
        let (Some(id), Some(user)) = (id, &self.user) else {
            return Ok(());
        };
        let epoch = match to {
            Log::Room(room) => self.epochs.get(room).map(String::as_str),
            Log::Inbox(_) => None,
        };
        logs.acked((to, epoch), (user, id), seq, timestamp, dup)
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

    fn history(&mut self, told: &Told, logs: &mut Logs) -> Result<(), String> {
        let Told::History {
            of,
            epoch,
            messages,
            more,
            id,
        } = told
        else {
            return Ok(());
        };
        let is_it =
            |asked: &Asked| matches!(asked, Asked::History { of: other, .. } if other == of);
        let Open {
            asked, gone, stood, ..
        } = self.close_open(id.as_deref(), is_it)?;
        let Asked::History {
            before,
            after,
            limit,
            ..
        } = asked
        else {
            return Ok(());
        };
        let page = Page {
            conn: self.conn,
            log: of,
            epoch,
            before,
            after,
            limit,
            stood,
            messages,
            more: *more,
        };
        page.judge(logs)?;
        for message in messages {
            let log = self.log_of(message)?;
            if log != *of {
                return Err("a message of another log".to_owned());
            }
            gone.check(epoch, message)?;
            logs.seen(of, epoch, message)?;
        }
        Ok(())
    }

    fn presence(
        &mut self,
        room: &str,
        count: u64,
        members: Option<&[String]>,
        id: Option<&str>,
    ) -> Result<(), String> {
        let Some(members) = members else {
            return self.reader(&Log::Room(room.to_owned())).map(|_| ());
        };
        self.close(
            id,
            |asked| matches!(asked, Asked::Who { room: other } if other == room),
        )?;
        if members.len() as u64 == count {
            Ok(())
        } else {
            Err("the count is not that of the names".to_owned())
        }
    }

    fn refused(
        &mut self,
        code: &str,
        request: &str,
        about: Option<&Log>,
        id: Option<&str>,
        logs: &Logs,
        excuses: &Excuses,
    ) -> Result<(), String> {
        if request == "signal" {
            return Ok(());
        }
        if self.user.is_none() && request == "hello" {
            self.is_refused = true;
            let is_known = match code {
                "name_taken" => true,
                "overloaded" => excuses.few_names,
                "storage" => excuses.failing_disk,
                _ => false,
            };
            return if is_known {
                Ok(())
            } else {
                Err("a claim refused".to_owned())
            };
        }
        let is_it = |open: &&Open| match (&open.asked, about) {
            (Asked::Message { to, .. }, Some(about)) if id.is_none() => to == about,
            _ => id.is_some() || matches!(open.asked, Asked::Wrong { .. }),
        };
        let same = |open: &&Open| open.id.as_deref() == id && is_it(open);
        // The same message may be on its way more than once.
        let place = self
            .open
            .iter()
            .position(|open| same(&open) && self.is_right(open, code, logs, excuses));
        let Some(place) = place else {
            return match self.open.iter().find(same) {
                Some(open) => Err(format!("a refusal of {open:?}")),
                None => Err("nothing was asked".to_owned()),
            };
        };
        let open = self.take(place);
        if let Asked::Join { room, .. } = open.asked {
            // Who was in it has left it for that.
            self.rooms.remove(&room);
            self.refused_rooms.insert(room);
        }
        Ok(())
    }

    /// Whether a command may be refused with this code.
    fn is_right(&self, open: &Open, code: &str, logs: &Logs, excuses: &Excuses) -> bool {
        match (&open.asked, code) {
            (Asked::Wrong { codes }, _) => codes.contains(&code),
            (Asked::Message { .. } | Asked::History { .. } | Asked::Delete { .. }, "storage") => {
                excuses.failing_disk
            }
            // It was not a message, or another's, or is deleted already.
            (Asked::Delete { .. }, "bad_field" | "forbidden") => true,
            // It is not the moderator's, or is about nobody who is there or is banned, or about the moderator.
            (Asked::Moderate { .. }, "unknown_user" | "forbidden") => true,
            (Asked::Moderate { .. }, "storage") => excuses.failing_disk,
            (Asked::Join { .. }, "room_full") => excuses.few_members,
            (
                Asked::Join { .. }
                | Asked::Who { .. }
                | Asked::Message {
                    to: Log::Room(_), ..
                }
                | Asked::History {
                    of: Log::Room(_), ..
                },
                "forbidden",
            ) => excuses.has_bans,
            (
                Asked::Message {
                    to: Log::Room(_), ..
                }
                | Asked::Delete { .. },
                "overloaded",
            ) => excuses.slow_disk || excuses.failing_disk,
            (Asked::Join { .. }, "too_many_rooms") => excuses.few_rooms,
            (
                Asked::Message {
                    to: Log::Inbox(user),
                    ..
                },
                "unknown_user",
            ) => !logs.is_known(user) || user.starts_with("guest-"),
            (
                Asked::Message {
                    to: Log::Inbox(_), ..
                },
                "overloaded",
            ) => true,
            (
                Asked::Leave { room }
                | Asked::Who { room }
                | Asked::Delete { room, .. }
                | Asked::Moderate { room }
                | Asked::Message {
                    to: Log::Room(room),
                    ..
                }
                | Asked::History {
                    of: Log::Room(room),
                    ..
                },
                "not_joined",
            ) => !open.expects_member || self.refused_rooms.contains(room),
            _ => false,
        }
    }

    /// Takes the command that is answered: one that may well be, where the same was asked more than once.
    fn close(&mut self, id: Option<&str>, is_it: impl Fn(&Asked) -> bool) -> Result<Asked, String> {
        self.close_open(id, is_it).map(|open| open.asked)
    }

    fn close_open(
        &mut self,
        id: Option<&str>,
        is_it: impl Fn(&Asked) -> bool,
    ) -> Result<Open, String> {
        let same = |open: &Open| open.id.as_deref() == id && is_it(&open.asked);
        let place = self
            .open
            .iter()
            .position(|open| same(open) && open.expects_member);
        let place = place.or_else(|| self.open.iter().position(same));
        let place = place.ok_or_else(|| "nothing was asked".to_owned())?;
        let open = self.take(place);
        if let Some(room) = room_of(&open.asked).filter(|_| !open.was_inside) {
            self.intruded = Some(room.to_owned());
        }
        Ok(open)
    }

    /// Takes a command that is answered. Of several with one `id`, or none, it is not known which one that is: all of
    /// them were sent from inside if one was.
    fn take(&mut self, place: usize) -> Open {
        let same = |open: &Open, other: &Open| {
            open.id == other.id && room_of(&open.asked) == room_of(&other.asked)
        };
        let mut taken = self.open.remove(place);
        let mut others: Vec<&mut Open> = self.open.iter_mut().collect();
        others.retain(|open| same(open, &taken));
        taken.was_inside |= others.iter().any(|open| open.was_inside);
        for open in others {
            open.was_inside |= taken.was_inside;
        }
        taken
    }
}

/// The room whose members alone may do that.
fn room_of(asked: &Asked) -> Option<&str> {
    match asked {
        Asked::Who { room }
        | Asked::Delete { room, .. }
        | Asked::Moderate { room }
        | Asked::Message {
            to: Log::Room(room),
            ..
        }
        | Asked::History {
            of: Log::Room(room),
            ..
        } => Some(room),
        Asked::Hello
        | Asked::Join { .. }
        | Asked::Leave { .. }
        | Asked::Message {
            to: Log::Inbox(_), ..
        }
        | Asked::Signal { .. }
        | Asked::History {
            of: Log::Inbox(_), ..
        }
        | Asked::Wrong { .. } => None,
    }
}
