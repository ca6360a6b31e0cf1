//! Messages, signals and relayed frames on their way into a log.

use super::Hub;
use crate::limits::ROOM_BACKLOG_BYTES_MAX;
use crate::log::{Draft, What};
use crate::mail::{Denied, Letter, Mail, Reserve};
use crate::proto::{Code, Refusal, event};
use crate::room::{Connection, Key, Kind, Link, Role, Room, SlowMode, Space};
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
        is_moderator: bool,
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
            self.publish_home(key, from, is_moderator, draft);
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
                    is_moderator,
                    letter,
                },
            );
        }
    }

    /// At the home: hands a message to the log service.
    pub(super) fn publish_home(
        &mut self,
        key: &Key,
        from: Connection,
        is_moderator: bool,
        draft: &Draft<'_>,
    ) {
        let Some(index) = self.log_of(key, from, draft) else {
            return;
        };
        if let Some(denied) = self.silenced(key, draft.sender) {
            let reserve = Reserve::Message(draft_bytes(draft));
            self.refuse_silenced(from, key, draft, denied, ("message", reserve));
            return;
        }
        if self.is_stalled() && self.is_kept(key) {
            self.refuse_stalled(from, key, draft);
            return;
        }
        if !is_moderator && let Err(wait_ms) = self.slow_down(index, draft.sender) {
            self.refuse_slow(from, key, draft, wait_ms);
            return;
        }
        let dedupe = draft
            .id
            .map(|id| self.id_key.wide(&[draft.sender.as_bytes(), id.as_bytes()]));
        self.submit(index, from, dedupe, false, draft);
    }

    /// The log that a message goes to, if its sender may write there.
    fn log_of(&mut self, key: &Key, from: Connection, draft: &Draft<'_>) -> Option<u32> {
        match key.space {
            Space::Chat | Space::Raw => {
                let index = self.find(key);
                let user = self.users.find(draft.sender, self.hash_key);
                let is_member = index.is_some_and(|index| {
                    let home = self.rooms.at(index).and_then(Room::home);
                    home.zip(user)
                        .is_some_and(|(home, user)| home.presence.contains_key(&user))
                });
                if !is_member {
                    self.refuse(
                        from,
                        key,
                        draft,
                        Code::NotJoined,
                        "join the room before sending to it",
                    );
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
                if self.is_inbox_full(key, draft) {
                    self.counters.inbox_full_total += 1;
                    let text = "the inbox is full: send again when its user has read it";
                    self.refuse(from, key, draft, Code::Overloaded, text);
                    return None;
                }
                let index = self.find_or_make(key);
                if self.is_opening(index) {
                    let letter = Box::new(Letter::new(draft));
                    self.set_aside(Mail::Publish {
                        room: key.clone(),
                        from,
                        is_moderator: false,
                        letter,
                    });
                    return None;
                }
                Some(index)
            }
        }
    }

    /// Lets a user of a room with slow mode write, or says for how many milliseconds it has to wait.
    fn slow_down(&mut self, index: u32, user: &str) -> Result<(), u64> {
        let (now_ms, hash_key) = (self.now.mono_ms, self.hash_key);
        let Some(room) = self.rooms.at_mut(index) else {
            return Ok(());
        };
        let rule = room.rule.and_then(|place| self.room_rules.at(place));
        let pause_ms = rule.and_then(|rule| rule.slow_mode_ms);
        match room.home_mut().zip(pause_ms) {
            Some((home, pause_ms)) => home
                .slow
                .get_or_insert_with(|| Box::new(SlowMode::new(hash_key)))
                .admit(user, now_ms, pause_ms),
            None => Ok(()),
        }
    }

    pub(super) fn is_opening(&self, index: u32) -> bool {
        let home = self.rooms.at(index).and_then(Room::home);
        home.is_some_and(|home| matches!(home.opening, crate::room::Opening::Asked(_)))
    }

    fn is_inbox_full(&self, key: &Key, draft: &Draft<'_>) -> bool {
        let Some(room) = self.find(key).and_then(|index| self.rooms.at(index)) else {
            return false;
        };
        let Some(home) = room.home() else {
            return false;
        };
        let from = room
            .tail
            .position_after(home.confirmed.max(room.tail.seq_before()));
        let waiting = from.map_or(0, |from| (room.tail.head() - from) as usize);
        waiting + home.stored_bytes() + home.submitted_bytes + draft_bytes(draft)
            > self.limits.inbox_bytes_max
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

    fn refuse_silenced(
        &mut self,
        from: Connection,
        key: &Key,
        draft: &Draft<'_>,
        denied: Denied,
        (request, reserve): (&'static str, Reserve),
    ) {
        self.counters.forbidden_total += 1;
        let refusal = Refusal {
            message: denied.message,
            ..refusal(key, draft, denied.code, "", request)
        };
        self.send_refusal_until(from, key, &refusal, denied.retry_after_ms, reserve);
    }

    fn refuse_slow(&mut self, from: Connection, key: &Key, draft: &Draft<'_>, wait_ms: u64) {
        self.counters.slow_mode_total += 1;
        let text = "this room is in slow mode: wait before you write again";
        let refusal = refusal(key, draft, Code::RateLimited, text, "message");
        let reserve = Reserve::Message(draft_bytes(draft));
        self.send_refusal_until(from, key, &refusal, Some(wait_ms), reserve);
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

fn refusal<'a>(
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
