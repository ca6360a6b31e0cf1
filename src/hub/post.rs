//! Mail between the shards: whose it is, and who is told.

use super::Hub;
use crate::hashing::HashKey;
use crate::limits::MAIL_BYTES_MAX;
use crate::mail::Mail;
use crate::room::{Key, Space};

/// Mail of one turn for one shard.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    mail: Vec<Mail>,
    bytes: usize,
    /// Bytes that wait in the FIFO, as the shell last said.
    backlog_bytes: usize,
}

impl Hub {
    /// Mail of this turn for another shard.
    pub fn outgoing(&mut self, to: u16) -> Vec<Mail> {
        let Some(outbox) = self.outboxes.get_mut(usize::from(to)) else {
            return Vec::new();
        };
        outbox.bytes = 0;
        std::mem::take(&mut outbox.mail)
    }

    /// How much mail waits in the FIFO to another shard.
    pub fn backlog(&mut self, to: u16, bytes: usize) {
        if let Some(outbox) = self.outboxes.get_mut(usize::from(to)) {
            outbox.backlog_bytes = bytes;
        }
    }

    /// Whether mail to a shard has to wait.
    pub(super) fn is_full(&self, to: u16) -> bool {
        self.outboxes
            .get(usize::from(to))
            .is_some_and(|outbox| outbox.bytes + outbox.backlog_bytes > MAIL_BYTES_MAX)
    }

    /// The shard that a name belongs to.
    pub(super) fn home_of(&self, space: Space, name: &str) -> u16 {
        HashKey::shard(Key::hash(space, name, self.hash_key), self.place.count)
    }

    pub(super) fn post(&mut self, to: u16, mail: Mail) {
        if to == self.place.shard {
            self.local.push_back(mail);
        } else if let Some(outbox) = self.outboxes.get_mut(usize::from(to)) {
            outbox.bytes += mail.bytes();
            outbox.mail.push(mail);
        }
    }

    /// Posts a command to the home of its room.
    pub(super) fn post_home(&mut self, room: &Key, mail: Mail) {
        let home = self.home_of(room.space, &room.name);
        self.post(home, mail);
    }

    /// Takes the mail that this shard wrote to itself.
    pub(super) fn settle(&mut self) {
        while let Some(mail) = self.local.pop_front() {
            self.deliver(self.place.shard, mail);
        }
    }

    pub(super) fn deliver(&mut self, from: u16, mail: Mail) {
        if let Some(mail) = self.park(from, mail) {
            self.apply(from, mail);
        }
    }

    fn apply(&mut self, from: u16, mail: Mail) {
        match mail {
            Mail::Claim { .. } => self.claim(mail),
            Mail::Claimed {
                to,
                name,
                outcome,
                id,
            } => self.claimed(to, &name, outcome, id.as_deref()),
            Mail::Gone { name } => self.gone(from, &name),
            Mail::Join { .. } => self.join_home(mail),
            Mail::Joined {
                room,
                to,
                outcome,
                number,
                id,
            } => self.joined(&room, to, outcome, number, id.as_deref()),
            Mail::Leave {
                room,
                user,
                join,
                to,
                id,
            } => self.leave_home((from, join), &room, &user, to, id.as_deref()),
            Mail::Publish {
                room,
                from,
                standing,
                letter,
            } => self.publish_home(&room, from, standing, &letter.draft()),
            Mail::Copy {
                room,
                from,
                dedupe,
                letter,
            } => self.copy_home(&room, from, dedupe, &letter),
            Mail::Relay { room, from, frame } => self.relay_home(&room, from, &frame),
            Mail::Signal { room, from, letter } => self.signal_home(&room, from, &letter.draft()),
            Mail::History {
                room,
                from,
                user,
                page,
                id,
            } => self.history_home(&room, (from, &user), page, id.as_deref()),
            Mail::Who {
                room,
                from,
                user,
                id,
            } => self.who_home(&room, (from, &user), id.as_deref()),
            Mail::Moderate { room, asked, order } => self.moderate_home(&room, &asked, &order),
            Mail::Delete { room, deletion } => self.delete_home(&room, deletion),
            Mail::AskOwner {
                room,
                deletion,
                unix_ms,
            } => self.answer_owner(room, deletion, unix_ms),
            Mail::Owner {
                room,
                deletion,
                is_owner,
            } => self.owner_known(&room, &deletion, is_owner),
            Mail::Erase { room, seq } => self.erase_in(&room, seq),
            Mail::Trimmed { room, seq } => {
                if let Some(index) = self.find(&room) {
                    self.let_go(index, seq);
                }
            }
            Mail::Remove { room, removal } => self.remove_from(&room, &removal),
            Mail::Confirm { room, seq } => self.confirm_home(&room, seq),
            Mail::Frames { room, epoch, batch } => self.follow(from, &room, epoch, &batch),
            Mail::Took { room, bytes } => self.credited(from, &room, bytes),
            Mail::Reply { to, frame, reserve } => {
                self.clients.release(to, reserve);
                self.effects.frame(to, &frame);
            }
        }
    }
}
