//! Inboxes at their user's home: where one stands, and whether the log service has to be asked. An inbox at rest is two
//! numbers in its user.

use super::{Hub, shared};
use crate::log::Head;
use crate::mail::{Since, Sync};
use crate::room::{Key, Space};
use crate::slots::Slot;
use crate::users::Claim;

impl Hub {
    /// The inbox of a user, made if it was kept, if the log service has yet to say where it stands.
    pub(super) fn opening_inbox(&mut self, user: u32) -> Option<u32> {
        let name = shared(&self.users.at(user)?.name);
        let space = Space::Inbox;
        let index = match self.is_inbox_stored(&name) {
            true => self.find_or_make(&Key { space, name }),
            false => self.rooms.find(space, &name, self.hash_key)?,
        };
        self.is_opening(index).then_some(index)
    }

    /// Whether the log service keeps messages of an inbox, or may.
    pub(super) fn is_inbox_stored(&self, name: &str) -> bool {
        let Some(index) = self.users.find(name, self.hash_key) else {
            return false;
        };
        self.durable
            && self.users.at(index).is_some_and(|user| match user.claim {
                Claim::Held | Claim::Left { .. } => {
                    user.inbox.seq > 0 || self.doubted.contains(&index)
                }
                Claim::Mentioned | Claim::Guest { .. } => false,
            })
    }

    /// A message for an inbox was refused, but may be kept. An inbox that was empty is asked for when it is next
    /// needed: the room, which is told if the log service finds the message, may have gone by then.
    pub(super) fn doubt_inbox(&mut self, inbox: Slot) {
        let room = self.rooms.get(inbox).filter(|room| room.tail.seq() == 0);
        if let Some(room) = room
            && room.key.space == Space::Inbox
            && room.home().is_some_and(|home| home.is_kept)
            && let Some(user) = self.users.find(&room.key.name, self.hash_key)
        {
            self.doubted.insert(user);
        }
    }

    /// The log service has said where an inbox stands.
    pub(super) fn trust_inbox(&mut self, name: &str) {
        if let Some(user) = self.users.find(name, self.hash_key) {
            self.doubted.remove(&user);
        }
    }

    /// At the user's home: how a connection on a shard follows the inbox.
    pub(super) fn inbox_sync(
        &mut self,
        user: u32,
        shard: u16,
        since: Option<Since>,
        have: Option<u64>,
    ) -> Sync {
        let Some(entry) = self.users.at(user) else {
            return Sync::NOTHING;
        };
        if let Some(index) = self.rooms.find(Space::Inbox, &entry.name, self.hash_key) {
            return self.sync(index, shard, since, have);
        }
        if entry.inbox.epoch == 0 {
            let epoch = self.fresh_epoch();
            if let Some(entry) = self.users.at_mut(user) {
                entry.inbox = Head { epoch, seq: 0 };
            }
        }
        let head = self
            .users
            .at(user)
            .map_or(Head { epoch: 0, seq: 0 }, |entry| entry.inbox);
        let recovered = since.map(|since| since.check(head));
        Sync {
            epoch: head.epoch,
            head: head.seq,
            from: head.seq,
            recovered,
            ..Sync::NOTHING
        }
    }

    /// Where the log of a room that is made now stands.
    pub(super) fn first_head(&mut self, key: &Key) -> (u64, u64) {
        let inbox = match key.space {
            Space::Inbox => self
                .users
                .find(&key.name, self.hash_key)
                .and_then(|user| self.users.at(user)),
            Space::Chat | Space::Raw => None,
        };
        match inbox.map(|user| user.inbox) {
            Some(head) if head.epoch != 0 => (head.epoch, head.seq),
            Some(_) | None => (self.fresh_epoch(), 0),
        }
    }
}
