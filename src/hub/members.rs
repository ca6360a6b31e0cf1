//! What only members may do, and that they leave, at the room's home.
//!
//! A connection sends on behind its join without waiting for the answer, and is linked to the room meanwhile: that it
//! was let in only the home knows, which had the join before.

use super::{Hub, epoch_text};
use crate::mail::{Denied, Reserve};
use crate::proto::{Code, Refusal, event};
use crate::room::{Connection, Key, Room, Space};
use crate::slots::Slot;
use std::borrow::Cow;

/// A command that reached a home, as far as its refusal needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    /// Who sent it.
    pub from: Connection,
    /// Its type.
    pub request: &'static str,
    /// Its `id`.
    pub id: Option<&'a str>,
    /// The room that was reserved for its answer.
    pub reserve: Reserve,
}

impl Hub {
    /// At the home: whether some connection of a user is in a room.
    pub(super) fn is_present(&self, room: &Key, user: &str) -> bool {
        self.find(room)
            .is_some_and(|index| self.is_present_at(index, user))
    }

    /// The same for the room at a place.
    pub(super) fn is_present_at(&self, index: u32, user: &str) -> bool {
        let home = self.rooms.at(index).and_then(Room::home);
        let user = self.users.find(user, self.hash_key);
        home.zip(user)
            .is_some_and(|(home, user)| home.presence.contains_key(&user))
    }

    /// At the home: why a user may not do what members do, where that is so. One who is banned may still be counted as
    /// present, while its connections are being told.
    pub(super) fn outside(&self, room: &Key, user: &str) -> Option<Denied> {
        match room.space {
            // Nobody else names an inbox here, and in a relay nobody has a name.
            Space::Inbox | Space::Raw => None,
            Space::Chat => match self.banned(room, user) {
                Some(denied) => Some(*denied),
                None if self.is_present(room, user) => None,
                None => Some(*Denied::new(Code::NotJoined, "join the room first")),
            },
        }
    }

    /// At the home: refuses what only members may do, where its sender is none. Gives the code with which it did.
    pub(super) fn refuse_outsider(
        &mut self,
        room: &Key,
        user: &str,
        sent: Sent<'_>,
    ) -> Option<Code> {
        let denied = self.outside(room, user)?;
        self.counters.forbidden_total += u64::from(denied.code == Code::Forbidden);
        let refusal = Refusal {
            code: denied.code,
            message: denied.message,
            request: sent.request.into(),
            id: sent.id.map(Cow::Borrowed),
            target: Some(room.target()),
        };
        let Sent { from, reserve, .. } = sent;
        self.send_refusal_until(from, room, &refusal, denied.retry_after_ms, reserve);
        Some(denied.code)
    }

    /// At the home: a connection of `from` has left.
    pub(super) fn leave_home(
        &mut self,
        (from, join): (u16, Option<u64>),
        key: &Key,
        user: &str,
        to: Option<Slot>,
        id: Option<&str>,
    ) {
        let is_refused = join.is_some_and(|number| self.refused_joins.remove(&(from, number)));
        let Some(index) = self.find(key).filter(|_| !is_refused) else {
            // The join before it was refused: it was never counted.
            debug_assert!(is_refused, "a room with members is in memory");
            self.counters.bugs_total += u64::from(!is_refused);
            if let Some(slot) = to {
                self.refuse_leave(Connection { shard: from, slot }, key, id);
            }
            return;
        };
        if let Some(home) = self.rooms.at_mut(index).and_then(Room::home_mut)
            && let Some(subscriber) = home.subscriber(from)
        {
            subscriber.member_count = subscriber.member_count.saturating_sub(1);
            if subscriber.member_count == 0 {
                // Answers that wait behind frames would wait for ever.
                let answers = std::mem::take(&mut subscriber.answers);
                home.subscribers
                    .retain(|subscriber| subscriber.shard != from);
                answers
                    .into_iter()
                    .for_each(|(_, answer)| self.post(from, answer));
            }
        }
        if key.space == Space::Chat {
            self.exit(index, user);
        }
        self.touch(index);
        if let Some(to) = to {
            self.tell_left(
                Connection {
                    shard: from,
                    slot: to,
                },
                index,
                id,
            );
        }
        self.drop_if_idle(index);
    }

    pub(super) fn refuse_leave(&mut self, to: Connection, key: &Key, id: Option<&str>) {
        let refusal = Refusal {
            code: Code::NotJoined,
            message: "join the room first".into(),
            request: "leave".into(),
            id: id.map(Cow::Borrowed),
            target: Some(key.target()),
        };
        self.send_refusal(to, key, &refusal, Reserve::Nothing);
    }

    fn tell_left(&mut self, to: Connection, index: u32, id: Option<&str>) {
        let Some(room) = self.rooms.at(index) else {
            return;
        };
        let (name, epoch, seq_id) = (
            room.key.name.clone(),
            epoch_text(room.epoch),
            room.tail.seq(),
        );
        let members = u64::from(self.member_count(index));
        let left = event::Left {
            room_id: &name,
            epoch: &epoch,
            seq_id,
            members,
            event: None,
            measure: event::Measure::default(),
            id,
        };
        self.reply(Some(index), to, Reserve::Nothing, |out| left.encode(out));
    }
}
