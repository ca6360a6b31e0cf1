//! What a client of the chat protocol says: each action as JSON on its way, and as the oracle hears of it.

use crate::book::Book;
use crate::client::{Client, Kept};
use crate::connection::Pace;
use crate::oracle::{Asked, Event};
use crate::plan::{Action, MODERATOR, Plan};
use crate::told::{Log, Position};
use roomcast::ws::Opcode;

/// Commands that are refused, with the codes that may say so.
const WRONG: [(&str, &[&str]); 6] = [
    ("\"type\":\"fly\"", &["unknown_type"]),
    ("\"type\":\"join\"", &["bad_field"]),
    ("\"type\":\"join\",\"room_id\":\"\"", &["bad_name"]),
    ("\"type\":\"message\",\"room_id\":\"a\"", &["bad_field"]),
    ("\"type\":\"hello\"", &["bad_field"]),
    (
        "\"type\":\"history\",\"to\":\"nobody at all\"",
        &["forbidden"],
    ),
];

impl Client {
    /// Does one thing.
    ///
    /// # Errors
    ///
    /// A promise was broken.
    pub fn act(
        &mut self,
        action: Action,
        plan: &Plan,
        now_ms: u64,
        book: &mut Book,
    ) -> Result<(), String> {
        if !self.is_ready() {
            return Ok(());
        }
        match action {
            Action::Join => self.join(book),
            Action::Leave => self.leave(book),
            Action::Message => {
                let room = Log::Room(self.some_room(book));
                self.say(room, plan.content_bytes_max, book)
            }
            Action::Resend => self.resend(book),
            Action::Private => match self.somebody(book) {
                Some(user) => self.say(Log::Inbox(user), plan.content_bytes_max, book),
                None => Ok(()),
            },
            Action::Signal => {
                let room = Log::Room(self.some_room(book));
                self.signal(room, plan.content_bytes_max, book)
            }
            Action::PrivateSignal => match self.somebody(book) {
                Some(user) => self.signal(Log::Inbox(user), plan.content_bytes_max, book),
                None => Ok(()),
            },
            Action::History => self.history(book),
            Action::Who => {
                let room = self.some_room(book);
                self.who_is_in(&room, book)
            }
            Action::Heartbeat => {
                self.batch
                    .push("{\"type\":\"HEARTBEAT\",\"timestamp\":1}".to_owned());
                Ok(())
            }
            Action::Ping => {
                self.send_batch();
                if let Some(connection) = &mut self.connection {
                    connection.send_control(Opcode::Ping, b"are you there", &mut self.rng);
                }
                Ok(())
            }
            Action::Wrong => self.wrong(book),
            Action::Stall => {
                let until_ms = now_ms + *self.rng.pick(&[50, 500, 5_000]);
                let pace = if self.rng.chance(200) {
                    Pace::Deaf
                } else {
                    Pace::Stalled { until_ms }
                };
                let Some(connection) = &mut self.connection else {
                    return Ok(());
                };
                connection.stall(pace);
                let conn = connection.number;
                book.note(Event::Stalled { conn })
            }
            Action::Disconnect => self.disconnect(now_ms, book),
            Action::Delete => self.delete(book),
            Action::Kick => self.moderate("kick", book),
            Action::Ban => self.moderate("ban", book),
            Action::Unban => self.moderate("unban", book),
        }
    }

    /// Asks to be a member of some room, from where it was, or from somewhere that makes no sense, or from now on.
    fn join(&mut self, book: &mut Book) -> Result<(), String> {
        let room = self.rng.pick(&book.rooms).clone();
        let since = match (self.positions.get(&room), self.rng.below(6)) {
            (Some(position), 0..4) => Some(position.clone()),
            (Some(position), 4) => Some(Position {
                seq: position.seq + 1_000_000,
                ..position.clone()
            }),
            (Some(position), _) => Some(Position {
                seq: position.seq.saturating_sub(self.rng.below(40) as u64),
                ..position.clone()
            }),
            (None, 0) => Some(Position {
                epoch: "of another life".to_owned(),
                seq: 0,
            }),
            (None, _) => None,
        };
        let since = since.filter(|_| self.rng.chance(800));
        let echo = !self.rng.chance(200);
        self.join_from(&room, since, echo, book)
    }

    /// Asks to be a member.
    pub fn join_from(
        &mut self,
        room: &str,
        since: Option<Position>,
        echo: bool,
        book: &mut Book,
    ) -> Result<(), String> {
        let id = self.next_id("join");
        let mut text = format!("{{\"type\":\"join\",\"id\":\"{id}\",\"room_id\":\"{room}\"");
        if let Some(Position { epoch, seq }) = &since {
            text += &format!(",\"since\":{{\"epoch\":\"{epoch}\",\"seq_id\":{seq}}}");
        }
        if !echo {
            text += ",\"echo\":false";
        }
        text.push('}');
        let room = room.to_owned();
        self.ask(Some(id), Asked::Join { room, since, echo }, text, book)
    }

    fn leave(&mut self, book: &mut Book) -> Result<(), String> {
        let room = self.some_room(book);
        let id = self.next_id("leave");
        let text = format!("{{\"type\":\"leave\",\"id\":\"{id}\",\"room_id\":\"{room}\"}}");
        self.ask(Some(id), Asked::Leave { room }, text, book)
    }

    /// Sends a new message, mostly with an `id`.
    pub fn say(&mut self, to: Log, bytes_max: usize, book: &mut Book) -> Result<(), String> {
        let (content, token) = book.content(bytes_max, &mut self.rng);
        let metadata = self.rng.chance(200).then(|| format!("{{\"of\": {token}}}"));
        let id = format!("m{token}");
        if self.rng.chance(150) {
            return self.send_message(&to, None, &content, metadata, book);
        }
        self.kept.push(Kept {
            to: to.clone(),
            id: id.clone(),
            content: content.clone(),
            metadata: metadata.clone(),
            is_acked: false,
        });
        if self.kept.len() > 50 {
            self.kept.remove(0);
        }
        self.send_message(&to, Some(id), &content, metadata, book)
    }

    /// Sends something again under its `id`, rather what has no `ack` yet.
    fn resend(&mut self, book: &mut Book) -> Result<(), String> {
        let unacked: Vec<Kept> = self
            .kept
            .iter()
            .filter(|kept| !kept.is_acked)
            .cloned()
            .collect();
        let from = if unacked.is_empty() {
            &self.kept
        } else {
            &unacked
        };
        // A guest is somebody else on each connection: the message would be another's.
        let from = from.iter().filter(|_| self.is_named()).collect::<Vec<_>>();
        let Some(kept) = self.rng.pick_some(&from).map(|kept| (*kept).clone()) else {
            return Ok(());
        };
        self.send_message(&kept.to, Some(kept.id), &kept.content, kept.metadata, book)
    }

    fn send_message(
        &mut self,
        to: &Log,
        id: Option<String>,
        content: &str,
        metadata: Option<String>,
        book: &mut Book,
    ) -> Result<(), String> {
        let mut text = format!(
            "{{\"type\":\"message\",{},\"content\": {content} ",
            field(to)
        );
        if let Some(id) = &id {
            text += &format!(",\"id\":\"{id}\"");
        }
        if let Some(metadata) = &metadata {
            text += &format!(",\"metadata\":{metadata}");
        }
        text.push('}');
        let asked = Asked::Message {
            to: to.clone(),
            content: content.to_owned(),
            metadata,
        };
        self.ask(id, asked, text, book)
    }

    /// Sends a signal.
    pub fn signal(&mut self, to: Log, bytes_max: usize, book: &mut Book) -> Result<(), String> {
        let (content, _) = book.content(bytes_max, &mut self.rng);
        let text = format!(
            "{{\"type\":\"signal\",{},\"content\":{content}}}",
            field(&to)
        );
        self.ask(None, Asked::Signal { to, content }, text, book)
    }

    fn history(&mut self, book: &mut Book) -> Result<(), String> {
        let of = match self.user.clone().filter(|_| self.rng.chance(300)) {
            Some(user) => Log::Inbox(user),
            None => Log::Room(self.some_room(book)),
        };
        let edge = self.rng.chance(700).then(|| self.rng.between(1, 60) as u64);
        let (before, after) = if self.rng.chance(500) {
            (edge, None)
        } else {
            (None, edge)
        };
        let limit = self.rng.chance(500).then(|| self.rng.between(1, 20));
        self.page(of, before, after, limit, book)
    }

    /// Asks for a page of a log.
    pub fn page(
        &mut self,
        of: Log,
        before: Option<u64>,
        after: Option<u64>,
        limit: Option<usize>,
        book: &mut Book,
    ) -> Result<(), String> {
        let id = self.next_id("history");
        let mut text = format!("{{\"type\":\"history\",\"id\":\"{id}\",{}", field(&of));
        if let Some(before) = before {
            text += &format!(",\"before\":{before}");
        }
        if let Some(after) = after {
            text += &format!(",\"after\":{after}");
        }
        if let Some(limit) = limit {
            text += &format!(",\"limit\":{limit}");
        }
        text.push('}');
        let asked = Asked::History {
            of,
            before,
            after,
            limit,
        };
        self.ask(Some(id), asked, text, book)
    }

    /// Asks who is in a room.
    pub fn who_is_in(&mut self, room: &str, book: &mut Book) -> Result<(), String> {
        let id = self.next_id("who");
        let text = format!("{{\"type\":\"who\",\"id\":\"{id}\",\"room_id\":\"{room}\"}}");
        let room = room.to_owned();
        self.ask(Some(id), Asked::Who { room }, text, book)
    }

    /// Wants a message to be deleted: rather a new one, maybe another's, maybe none.
    fn delete(&mut self, book: &mut Book) -> Result<(), String> {
        let room = self.some_room(book);
        let head = self.positions.get(&room).map_or(0, |position| position.seq);
        let seq = (head + 1).saturating_sub(self.rng.below(12) as u64);
        self.delete_message(&room, seq, book)
    }

    /// Wants this message to be deleted.
    pub fn delete_message(&mut self, room: &str, seq: u64, book: &mut Book) -> Result<(), String> {
        let id = self.next_id("delete");
        let text = format!(
            "{{\"type\":\"delete\",\"id\":\"{id}\",\"room_id\":\"{room}\",\"seq_id\":{seq}}}"
        );
        let room = room.to_owned();
        self.ask(Some(id), Asked::Delete { room, seq }, text, book)
    }

    /// Wants a user to be taken out of a room, kept out, or let in again; mostly it is the moderator who does.
    fn moderate(&mut self, kind: &str, book: &mut Book) -> Result<(), String> {
        let is_moderator = self.user.as_deref() == Some(MODERATOR);
        let user = self.somebody(book);
        let user = user.filter(|_| is_moderator || self.rng.chance(100));
        let Some(user) = user else { return Ok(()) };
        let (room, id) = (self.some_room(book), self.next_id(kind));
        let mut text = format!(
            "{{\"type\":\"{kind}\",\"id\":\"{id}\",\"room_id\":\"{room}\",\"user\":\"{user}\""
        );
        if kind == "ban" && self.rng.chance(300) {
            text += &format!(",\"seconds\":{}", self.rng.between(1, 5));
        }
        text.push('}');
        self.ask(Some(id), Asked::Moderate { room }, text, book)
    }

    fn wrong(&mut self, book: &mut Book) -> Result<(), String> {
        if self.rng.chance(200) {
            // What is not JSON takes the rest of its frame with it.
            self.send_batch();
            let codes = &["bad_json"];
            self.ask(
                None,
                Asked::Wrong { codes },
                "{\"type\":\"join\",".to_owned(),
                book,
            )?;
            self.send_batch();
            return Ok(());
        }
        let (fields, codes) = *self.rng.pick(&WRONG);
        let id = self.next_id("wrong");
        let text = format!("{{\"id\":\"{id}\",{fields}}}");
        self.ask(Some(id), Asked::Wrong { codes }, text, book)
    }

    fn disconnect(&mut self, now_ms: u64, book: &mut Book) -> Result<(), String> {
        self.send_batch();
        self.flush(now_ms);
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if self.rng.chance(400) {
            connection.close(&mut self.rng);
            return Ok(());
        }
        connection.cut(now_ms, &mut self.rng);
        self.read(now_ms, book)
    }

    /// Rather a room that it is in.
    fn some_room(&mut self, book: &Book) -> String {
        let joined: Vec<&String> = self.rooms.keys().collect();
        let joined = self.rng.pick_some(&joined).filter(|_| self.rng.chance(900));
        joined.map_or_else(
            || self.rng.pick(&book.rooms).clone(),
            |room| (*room).clone(),
        )
    }

    /// Anyone: somebody who was here, or might come, or never will.
    fn somebody(&mut self, book: &Book) -> Option<String> {
        if self.rng.chance(50) {
            return Some("nobody at all".to_owned());
        }
        self.rng.pick_some(&book.users).cloned()
    }
}

/// The field that says where something goes.
fn field(to: &Log) -> String {
    match to {
        Log::Room(room) => format!("\"room_id\":\"{room}\""),
        Log::Inbox(user) => format!("\"to\":\"{user}\""),
    }
}
