//! Answers of the log service, and frames into segments.
//!
//! A room's segments grow only from here: from what the service has kept, from signals, and from what a home sends to
//! its replicas. A frame is encoded once.

use super::Hub;
use super::publish::draft_bytes;
use crate::limits::{INBOX_ASK_PARTS, PASSING_BYTES_MAX, STORE_RETRY_MS};
use crate::log::{
    Answers, Append, Draft, Opened, Outcome, Request, Standing, What, copy_key, encode_message,
};
use crate::mail::{Letter, Mail, Reserve};
use crate::proto::{Code, event};
use crate::room::{Connection, Home, Key, Kind, Room, Space};
use crate::slots::Slot;
use crate::timers::ticks;
use crate::ws::{Opcode, frame};

/// What the service says of one message that it kept, now or before.
#[derive(Clone, Copy, Debug)]
struct Given {
    seq: u64,
    unix_ms: u64,
    dup: bool,
    /// Whether the sender's own copy of it is to be kept.
    is_owed: bool,
}

impl Hub {
    /// Applies what the log service answered, in order.
    pub(super) fn answered(&mut self, answers: Answers) {
        let Answers {
            mut submission,
            outcomes,
            is_asked,
        } = answers;
        for (request, outcome) in submission.requests.iter().zip(outcomes) {
            match request {
                Request::Open { log, key, .. } => self.opened(*log, key, outcome),
                Request::Append(append) => {
                    let draft = submission.draft(append);
                    if is_asked {
                        self.no_longer_submitted(append, &draft);
                    }
                    self.appended(append, &draft, outcome);
                    self.look_if_idle(append.log);
                }
                Request::Find { message, standing } => {
                    let draft = submission.draft(message);
                    self.no_longer_submitted(message, &draft);
                    match outcome {
                        Outcome::Missing => self.not_found(message, *standing, &draft),
                        known => self.appended(message, &draft, known),
                    }
                    self.look_if_idle(message.log);
                }
                Request::Note(note) => self.noted(note, outcome),
                Request::Close { .. } => {}
                Request::Trimmed { log, seq } => self.trimmed(*log, *seq),
            }
        }
        if self.submission.is_empty() {
            submission.clear();
            self.submission = submission;
        }
    }

    /// A log stands where the service says; mail that waited for that goes on.
    fn opened(&mut self, log: Slot, key: &Key, outcome: Outcome) {
        let Outcome::Opened(opened) = outcome else {
            // The table could not say: it is asked again when the room's timer fires.
            self.counters.storage_errors_total += 1;
            let tick = self.now.tick() + ticks(STORE_RETRY_MS);
            if let Some(home) = self.rooms.get_mut(log).and_then(|room| room.home_mut()) {
                home.ask_again = Some(tick);
                self.arm_room(log.index, tick);
            }
            return;
        };
        let Some(room) = self.rooms.get_mut(log) else {
            return;
        };
        let Opened { head, .. } = opened;
        room.epoch = head.epoch;
        room.tail.reset(head.seq);
        let Some(home) = room.home_mut() else { return };
        home.trimmed = opened.trimmed;
        home.confirmed = opened.confirmed;
        home.opened = opened;
        let parked = self.unpark(log.index);
        if key.space == Space::Inbox {
            self.trust_inbox(&key.name);
            // Before the mail that waited: a signal among it is for who follows already.
            self.open_inbox(log.index);
        }
        if let Some(parked) = parked {
            for (from, mail) in parked.into_mail() {
                self.deliver(from, mail);
                // The answers to this one come before those to the next.
                self.settle();
            }
        }
        self.look_if_idle(log);
    }

    /// Lets a room's timer look whether the room is still needed: what it waited for may have been all that kept it.
    fn look_if_idle(&mut self, log: Slot) {
        let room = self.rooms.get(log).filter(|room| room.members.is_empty());
        if room.and_then(Room::home).is_some_and(Home::is_deserted) {
            self.arm_room(log.index, self.now.tick() + 1);
        }
    }

    /// What the service tells unasked was refused before, and counted then.
    fn no_longer_submitted(&mut self, append: &Append, draft: &Draft<'_>) {
        let room = self.rooms.get_mut(append.log);
        if let Some(home) = room.and_then(Room::home_mut) {
            let bytes = draft_bytes(draft);
            debug_assert!(home.submitted_bytes >= bytes, "each is counted once");
            home.submitted_bytes = home.submitted_bytes.saturating_sub(bytes);
        }
    }

    fn appended(&mut self, append: &Append, draft: &Draft<'_>, outcome: Outcome) {
        let Some(room) = self.rooms.get(append.log) else {
            self.refuse_gone(append, draft);
            return;
        };
        let key = room.key.clone();
        let given = match outcome {
            Outcome::Kept { seq, unix_ms } => Given {
                seq,
                unix_ms,
                dup: false,
                is_owed: true,
            },
            Outcome::Met {
                seq,
                unix_ms,
                is_owed,
            } => Given {
                seq,
                unix_ms,
                dup: true,
                is_owed,
            },
            Outcome::Refused
            | Outcome::Missing
            | Outcome::Opened(_)
            | Outcome::Closed
            | Outcome::Noted => {
                self.counters.storage_errors_total += 1;
                self.doubt_inbox(append.log);
                if !append.is_copy {
                    let text =
                        "the server could not keep the message: send it again with the same `id`";
                    self.refuse(append.from, &key, draft, Code::Storage, text);
                }
                return;
            }
        };
        if given.dup {
            self.counters.duplicates_total += 1;
        } else {
            self.counters.messages_numbered_total += 1;
            self.append_message(append, &key, draft, given);
        }
        if !append.is_copy {
            if given.is_owed {
                self.copy_to_sender(append, &key, draft, given);
            }
            self.acknowledge(append, &key, draft, given);
        }
    }

    /// A message that would have been refused was not kept before.
    fn not_found(&mut self, message: &Append, standing: Standing, draft: &Draft<'_>) {
        match self.rooms.get(message.log).map(|room| room.key.clone()) {
            Some(key) => self.publish_new(&key, message.from, standing, draft),
            None => self.refuse_gone(message, draft),
        }
    }

    /// Only the inbox of a guest goes while messages for it are on their way.
    fn refuse_gone(&mut self, append: &Append, draft: &Draft<'_>) {
        if let Some(to) = draft.to.filter(|_| !append.is_copy) {
            let key = Key {
                space: Space::Inbox,
                name: to.into(),
            };
            let text = "nobody holds this name any more";
            self.refuse(append.from, &key, draft, Code::UnknownUser, text);
        }
    }

    fn append_message(&mut self, append: &Append, key: &Key, draft: &Draft<'_>, given: Given) {
        self.encode_frame(|out| encode_message(key, given.seq, given.unix_ms, draft, out));
        self.append(append.log.index, Kind::Numbered, append.from);
        let seq = self
            .rooms
            .at(append.log.index)
            .map_or(0, |room| room.tail.seq());
        debug_assert_eq!(seq, given.seq, "segments and numbers run in step");
        if let What::Deletion(seq) = draft.what {
            self.deleted(append.log.index, seq, draft.sender, append.client);
        }
    }

    /// The sender's own inbox gets a private message too, unless it is the same inbox.
    fn copy_to_sender(&mut self, append: &Append, key: &Key, draft: &Draft<'_>, given: Given) {
        if key.space != Space::Inbox || *key.name == *draft.sender {
            return;
        }
        let epoch = self.rooms.at(append.log.index).map_or(0, |room| room.epoch);
        let dedupe = copy_key(self.id_key, &key.name, epoch, given.seq);
        let room = Key {
            space: Space::Inbox,
            name: draft.sender.into(),
        };
        let letter = Box::new(Letter::new(draft));
        self.post_home(
            &room.clone(),
            Mail::Copy {
                room,
                from: append.from,
                dedupe,
                letter,
            },
        );
    }

    fn acknowledge(&mut self, append: &Append, key: &Key, draft: &Draft<'_>, given: Given) {
        let target = key.target();
        let home = self.rooms.at(append.log.index).and_then(|room| room.home());
        let ack = event::Ack {
            id: draft.id,
            target: &target,
            seq_id: given.seq,
            timestamp: given.unix_ms,
            durable: home.is_some_and(|home| home.is_kept),
            dup: given.dup,
        };
        let room = Some(append.log.index);
        let reserve = Reserve::Message(draft_bytes(draft));
        self.reply(room, append.from, reserve, |out| ack.encode(out));
    }

    /// Encodes the frame that [`Hub::append`] appends next.
    pub(super) fn encode_frame(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.text.clear();
        encode(&mut self.text);
        self.frame.clear();
        frame::encode(&mut self.frame, Opcode::Text, &self.text);
    }

    /// Adds the encoded frame to a room's log and lets its members wait for it. A passing frame over the room's
    /// budget is dropped instead.
    pub(super) fn append(&mut self, index: u32, kind: Kind, from: Connection) {
        let frame = std::mem::take(&mut self.frame);
        self.append_bytes(index, &frame, kind, from);
        self.frame = frame;
        self.mark_dirty(index);
    }

    pub(super) fn append_bytes(&mut self, index: u32, bytes: &[u8], kind: Kind, from: Connection) {
        let touched = self.now.tick();
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        if kind == Kind::Passing {
            if room.passing_bytes + bytes.len() > PASSING_BYTES_MAX {
                self.counters.passing_dropped_total += 1;
                return;
            }
            room.passing_bytes += bytes.len();
        }
        room.touched = touched;
        let deflated = match room.deflated_count {
            0 => None,
            _ => self.deflater.frame(bytes),
        };
        self.counters.compressions_total += u64::from(deflated.is_some());
        let before = room.tail.memory();
        if room.tail.append(bytes, deflated, kind, from) {
            room.tail.stamp(touched);
        }
        self.log_bytes = self.log_bytes + room.tail.memory() - before;
        self.mark_own(index, from);
        self.ask_readers(index);
    }

    /// Asks who reads an inbox to confirm it before it is taken for full: usually that is done once in an interval.
    fn ask_readers(&mut self, index: u32) {
        let bytes_max = self.limits.inbox_bytes_max / INBOX_ASK_PARTS;
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        let head = room.tail.head();
        if room.key.space != Space::Inbox || head.saturating_sub(room.asked) <= bytes_max as u64 {
            return;
        }
        room.asked = head;
        for member in &room.members {
            self.effects.ask(self.clients.slot_at(member.peer));
        }
    }
}
