//! Messages, signals and relayed frames on their way into a log.

use super::Hub;
use super::members::Sent;
use crate::limits::ROOM_BACKLOG_BYTES_MAX;
use crate::log::{Draft, Standing, What};
use crate::mail::{Letter, Mail, Reserve};
use crate::proto::{Code, Refusal, event};
use crate::room::{Connection, Key, Kind, Link, Role, Room, Space};
use crate::slots::Slot;
use crate::ws::Opcode;
use crate::ws::frame;
use std::borrow::Cow;

impl Hub {
    /// At the connection's side: a message to a room or an inbox.
    pub(super) fn publish(
        &mut self,
        key: &Key,
        from: Connection,
        standing: Standing,
        draft: &Draft<'_>,
    ) {
        let reserve = Reserve::Message(draft_bytes(draft));
        self.clients.reserve(from.slot, reserve);
        let is_open = self
            .find(key)
            .and_then(|index| self.rooms.at(index))
            .and_then(Room::home)
            .is_some_and(|home| matches!(home.opening, crate::room::Opening::Open));
        if is_open {
            self.publish_home(key, from, standing, draft);
        } else if self.is_stalled() {
            // Before it waits anywhere: the sender is read again, and so nothing else bounds this.
            self.refuse_stalled(from, key, draft);
        } else {
            let letter = Box::new(Letter::new(draft));
            self.post_home(
                key,
                Mail::Publish {
                    room: key.clone(),
                    from,
                    standing,
                    letter,
                },
            );
        }
    }

    /// At the home: hands a message to the log service. What was kept before and comes again under its `id` gets its
    /// first `ack`, whatever has become of its sender and the room meanwhile.
    pub(super) fn publish_home(
        &mut self,
        key: &Key,
        from: Connection,
        standing: Standing,
        draft: &Draft<'_>,
    ) {
        let Some(index) = self.may_keep(key, from, standing, draft) else {
            return;
        };
        match (
            self.objection((index, key), standing, draft),
            self.dedupe_of(draft),
        ) {
            (Some(_), Some(dedupe)) => {
                let log = self.rooms.slot_at(index);
                let from = (from, self.client_number(from));
                self.submission.find(log, from, dedupe, standing, draft);
                self.note_submitted(index, draft);
            }
            (Some(objection), None) => self.object(from, key, draft, objection),
            (None, dedupe) => self.submit(index, from, dedupe, false, draft),
        }
    }

    /// The same for a message to which something was objected, and which was not kept before.
    pub(super) fn publish_new(
        &mut self,
        key: &Key,
        from: Connection,
        standing: Standing,
        draft: &Draft<'_>,
    ) {
        let Some(index) = self.may_keep(key, from, standing, draft) else {
            return;
        };
        match self.objection((index, key), standing, draft) {
            Some(objection) => self.object(from, key, draft, objection),
            None => self.submit(index, from, self.dedupe_of(draft), false, draft),
        }
    }

    /// The log that a message goes to, if there is one and the disk does not stand still.
    fn may_keep(
        &mut self,
        key: &Key,
        from: Connection,
        standing: Standing,
        draft: &Draft<'_>,
    ) -> Option<u32> {
        let index = self.log_of(key, from, standing, draft)?;
        if self.is_stalled() && self.is_kept(key) {
            self.refuse_stalled(from, key, draft);
            return None;
        }
        Some(index)
    }

    /// Under which key a message is met again.
    fn dedupe_of(&self, draft: &Draft<'_>) -> Option<u128> {
        let id = draft.id?;
        Some(self.id_key.wide(&[draft.sender.as_bytes(), id.as_bytes()]))
    }

    /// The log that a message goes to, if its sender is there.
    fn log_of(
        &mut self,
        key: &Key,
        from: Connection,
        standing: Standing,
        draft: &Draft<'_>,
    ) -> Option<u32> {
        match key.space {
            Space::Chat | Space::Raw => {
                let sent = Sent {
                    from,
                    request: "message",
                    id: draft.id,
                    reserve: Reserve::Message(draft_bytes(draft)),
                };
                let index = self.find(key);
                // To one that is banned and still counted as present it is objected later.
                let is_present = index.is_some_and(|index| self.is_present_at(index, draft.sender));
                if !is_present && self.refuse_outsider(key, draft.sender, sent).is_some() {
                    return None;
                }
                index
            }
            Space::Inbox => {
                if !self.is_held(&key.name) {
                    self.refuse(
                        from,
                        key,
                        draft,
                        Code::UnknownUser,
                        "nobody holds this name",
                    );
                    return None;
                }
                let index = self.find_or_make(key);
                if self.is_opening(index) {
                    let letter = Box::new(Letter::new(draft));
                    self.set_aside(Mail::Publish {
                        room: key.clone(),
                        from,
                        standing,
                        letter,
                    });
                    return None;
                }
                Some(index)
            }
        }
    }

    pub(super) fn is_opening(&self, index: u32) -> bool {
        let home = self.rooms.at(index).and_then(Room::home);
        home.is_some_and(|home| matches!(home.opening, crate::room::Opening::Asked(_)))
    }

    /// Puts a message into this turn's submission.
    pub(super) fn submit(
        &mut self,
        index: u32,
        from: Connection,
        dedupe: Option<u128>,
        is_copy: bool,
        draft: &Draft<'_>,
    ) {
        let log = self.rooms.slot_at(index);
        let from = (from, self.client_number(from));
        self.submission.append(log, from, dedupe, is_copy, draft);
        self.note_submitted(index, draft);
    }

    fn note_submitted(&mut self, index: u32, draft: &Draft<'_>) {
        if let Some(home) = self.rooms.at_mut(index).and_then(Room::home_mut) {
            home.submitted_bytes += draft_bytes(draft);
        }
    }

    /// At the sender's home: keeps its own copy of a private message.
    pub(super) fn copy_home(&mut self, key: &Key, from: Connection, dedupe: u128, letter: &Letter) {
        if !self.is_held(&key.name) {
            return;
        }
        let index = self.find_or_make(key);
        if self.is_opening(index) {
            let letter = Box::new(letter.clone());
            self.set_aside(Mail::Copy {
                room: key.clone(),
                from,
                dedupe,
                letter,
            });
            return;
        }
        self.submit(index, from, Some(dedupe), true, &letter.draft());
    }

    /// At the connection's side: something for whoever is there now.
    pub(super) fn signal(&mut self, key: &Key, from: Connection, draft: &Draft<'_>) {
        let letter = Box::new(Letter::new(draft));
        self.post_home(
            key,
            Mail::Signal {
                room: key.clone(),
                from,
                letter,
            },
        );
    }

    /// At the home: lets a signal pass.
    pub(super) fn signal_home(&mut self, key: &Key, from: Connection, draft: &Draft<'_>) {
        let sent = Sent {
            from,
            request: "signal",
            id: draft.id,
            reserve: Reserve::Nothing,
        };
        if self.refuse_outsider(key, draft.sender, sent).is_some() {
            return;
        }
        let index = match key.space {
            Space::Chat | Space::Raw => self.find(key),
            Space::Inbox if !self.is_held(&key.name) => {
                self.refuse_signal(from, key, draft);
                return;
            }
            Space::Inbox => Some(self.find_or_make(key)),
        };
        let Some(index) = index else { return };
        if self.is_opening(index) {
            let letter = Box::new(Letter::new(draft));
            let room = key.clone();
            self.set_aside(Mail::Signal { room, from, letter });
            return;
        }
        if let Some(denied) = self.silenced(key, draft.sender) {
            self.refuse_silenced(from, key, draft, denied, ("signal", Reserve::Nothing));
            return;
        }
        self.counters.signals_total += 1;
        let target = key.target();
        let timestamp = self.now.unix_ms;
        let signal = event::Signal {
            target: &target,
            sender: draft.sender,
            content: draft.content,
            timestamp,
        };
        self.encode_frame(|out| signal.encode(out));
        self.append(index, Kind::Passing, from);
    }

    /// A frame of a relay, which goes to all others as it is.
    pub fn relay(&mut self, peer: Slot, opcode: Opcode, payload: &[u8]) {
        let Some(link) = self.clients.links(peer.index, &self.rooms).next() else {
            return;
        };
        self.counters.raw_frames_total += 1;
        self.frame.clear();
        frame::encode(&mut self.frame, opcode, payload);
        let from = self.connection(peer);
        let Some(room) = self.rooms.at(link.room) else {
            return;
        };
        match room.role {
            Role::Home(_) => self.append(link.room, Kind::Numbered, from),
            Role::Replica { .. } => {
                let room = room.key.clone();
                let frame = self.frame.as_slice().into();
                self.post_home(&room.clone(), Mail::Relay { room, from, frame });
            }
        }
    }

    /// At a relay's home: a frame of another shard.
    pub(super) fn relay_home(&mut self, key: &Key, from: Connection, frame: &[u8]) {
        let Some(index) = self.find(key) else { return };
        self.frame.clear();
        self.frame.extend_from_slice(frame);
        self.append(index, Kind::Numbered, from);
    }

    /// Whether what is sent to this room has to wait, and counts it: its fan-out, or the mail to its home, is behind.
    pub(super) fn is_pushed_back(&mut self, space: Space, name: &str) -> bool {
        let home = self.home_of(space, name);
        if home != self.place.shard {
            return self.is_mail_full(home);
        }
        let index = self.rooms.find(space, name, self.hash_key);
        index.is_some_and(|index| self.may_catch_up(index) && self.is_room_behind(index))
    }

    /// Whether waiting helps: not where a log cannot be opened now. What finds no room there is refused.
    fn may_catch_up(&self, index: u32) -> bool {
        let home = self.rooms.at(index).and_then(Room::home);
        let is_stuck = home.is_some_and(|home| home.ask_again.is_some()) || self.is_stalled();
        !(is_stuck && self.is_opening(index))
    }

    /// The same for the relay that a connection is in.
    pub fn must_relay_wait(&mut self, peer: Slot) -> bool {
        let Some(Link { room, .. }) = self.clients.links(peer.index, &self.rooms).next() else {
            return false;
        };
        let home = self.rooms.at(room).and_then(|room| match room.role {
            Role::Home(_) => None,
            Role::Replica { .. } => Some(self.home_of(room.key.space, &room.key.name)),
        });
        match home {
            Some(home) => self.is_mail_full(home),
            None => self.is_room_behind(room),
        }
    }

    fn is_mail_full(&mut self, home: u16) -> bool {
        let is_full = self.is_full(home);
        self.counters.mail_full_total += u64::from(is_full);
        is_full
    }

    fn is_room_behind(&mut self, room: u32) -> bool {
        let is_behind = self.rooms.at(room).is_some_and(is_behind);
        self.counters.room_backlog_full_total += u64::from(is_behind);
        is_behind
    }

    /// Answers a message with an error.
    pub(super) fn refuse(
        &mut self,
        from: Connection,
        key: &Key,
        draft: &Draft<'_>,
        code: Code,
        text: &'static str,
    ) {
        let request = match draft.what {
            What::Message | What::Deleted => "message",
            What::Deletion(_) => "delete",
        };
        let refusal = refusal(key, draft, code, text, request);
        let reserve = Reserve::Message(draft_bytes(draft));
        self.send_refusal(from, key, &refusal, reserve);
    }

    fn refuse_stalled(&mut self, from: Connection, key: &Key, draft: &Draft<'_>) {
        self.counters.storage_stalled_total += 1;
        let text = "the disk is too slow: send it again later";
        self.refuse(from, key, draft, Code::Overloaded, text);
    }

    fn refuse_signal(&mut self, from: Connection, key: &Key, draft: &Draft<'_>) {
        let refusal = refusal(
            key,
            draft,
            Code::UnknownUser,
            "nobody holds this name",
            "signal",
        );
        self.send_refusal(from, key, &refusal, Reserve::Nothing);
    }

    pub(super) fn send_refusal(
        &mut self,
        from: Connection,
        key: &Key,
        refusal: &Refusal<'_>,
        reserve: Reserve,
    ) {
        self.send_refusal_until(from, key, refusal, None, reserve);
    }

    /// The same where it is known after how many milliseconds it may be tried again.
    pub(super) fn send_refusal_until(
        &mut self,
        from: Connection,
        key: &Key,
        refusal: &Refusal<'_>,
        retry_after_ms: Option<u64>,
        reserve: Reserve,
    ) {
        self.counters.errors_total += 1;
        let error = event::Error::until(refusal, retry_after_ms);
        self.reply(self.find(key), from, reserve, |out| error.encode(out));
    }
}

pub(super) fn refusal<'a>(
    key: &'a Key,
    draft: &Draft<'a>,
    code: Code,
    text: &'static str,
    request: &'static str,
) -> Refusal<'a> {
    let id = draft.id.map(Cow::Borrowed);
    Refusal {
        code,
        message: text.into(),
        request: request.into(),
        id,
        target: Some(key.target()),
    }
}

/// Whether a room has more on its way than its fan-out shall hold.
fn is_behind(room: &Room) -> bool {
    let home = room.home();
    let waiting = home.map_or(0, |home| home.submitted_bytes + home.parked_bytes());
    (room.tail.head() - room.released) as usize + waiting > ROOM_BACKLOG_BYTES_MAX
}

/// About what a message adds to a log, in bytes.
pub(super) fn draft_bytes(draft: &Draft<'_>) -> usize {
    draft.content.len() + draft.metadata.map_or(0, str::len) + 128
}
