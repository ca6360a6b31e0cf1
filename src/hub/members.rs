//! What only members may do, at the room's home.
//!
//! A connection sends on behind its join without waiting for the answer, and is linked to the room meanwhile: that it
//! was let in only the home knows, which had the join before.

use super::Hub;
use crate::mail::{Denied, Reserve};
use crate::proto::{Code, Refusal};
use crate::room::{Connection, Key, Space};
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
        let home = self
            .find(room)
            .and_then(|index| self.rooms.at(index)?.home());
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

    /// At the home: refuses what only members may do, where its sender is none. Says whether it did.
    pub(super) fn refuse_outsider(&mut self, room: &Key, user: &str, sent: Sent<'_>) -> bool {
        let Some(denied) = self.outside(room, user) else {
            return false;
        };
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
        true
    }
}
