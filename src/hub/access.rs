//! Who may do what in a room, at the connection's side: the rules of rooms, and the rights that a token grants.

use super::Hub;
use crate::proto::{Code, Refusal, Request};
use crate::rights::{Right, Rights};
use crate::room::{Key, Space};
use crate::rules::{Access, RoomRule};
use crate::slots::Slot;

impl Hub {
    /// From now on a connection may only do what these rights allow; with `None` they are not restricted. It leaves
    /// the rooms that it may not be in any more.
    pub fn restrict(&mut self, peer: Slot, rights: Option<Rights>) {
        let Some(client) = self.clients.get_mut(peer) else {
            return;
        };
        client.has_rights = rights.is_some();
        match rights {
            Some(rights) => self.rights.insert(peer.index, rights),
            None => self.rights.remove(&peer.index),
        };
        self.leave_forbidden(peer);
        self.settle();
    }

    /// Whoever may not be in a room any more leaves it.
    fn leave_forbidden(&mut self, peer: Slot) {
        let rooms = self.clients.links(peer.index, &self.rooms);
        let rooms = rooms.filter_map(|link| Some(self.rooms.at(link.room)?.key.clone()));
        let rooms: Vec<Key> = rooms
            .filter(|key| !self.may(peer, Access::Join, key))
            .collect();
        for key in rooms {
            let refusal = Refusal {
                code: Code::Forbidden,
                message: forbidden(Access::Join).into(),
                request: "join".into(),
                id: None,
                target: Some(key.target()),
            };
            self.refuse_command(peer, &refusal);
            if let Some(link) = self.joined_room(peer, key.space, &key.name) {
                self.leave(peer, link, Some(peer), None);
            }
        }
    }

    /// A connection goes, and its rights with it.
    pub(super) fn revoke(&mut self, peer: Slot) {
        if self
            .clients
            .get(peer)
            .is_some_and(|client| client.has_rights)
        {
            self.rights.remove(&peer.index);
            self.rights.shrink_to(self.rights.len() * 2);
        }
    }

    /// The rule of a room, if it has one.
    pub(super) fn rule_of(&self, key: &Key) -> Option<&RoomRule> {
        if self.room_rules.is_empty() || key.space != Space::Chat {
            return None;
        }
        let place = match self.find(key).and_then(|index| self.rooms.at(index)) {
            Some(room) => room.rule,
            None => self.room_rules.find(&key.name),
        };
        self.room_rules.at(place?)
    }

    /// Whether a connection may do something in a room. Nothing else has rules.
    pub(super) fn may(&self, peer: Slot, access: Access, key: &Key) -> bool {
        let is_ruled = !self.room_rules.is_empty() || !self.rights.is_empty();
        if key.space != Space::Chat || !(is_ruled || access == Access::Moderate) {
            return true;
        }
        let rule = self.rule_of(key);
        let rights = self.rights_of(peer);
        let is_moderator = self.is_moderator(peer, key);
        let is_granted = match rights {
            Some(rights) => is_moderator || rights.allows(right(access), &key.name),
            None => true,
        };
        let Some(rule) = rule else {
            return is_granted && (access != Access::Moderate || is_moderator);
        };
        let user = self.user_name(peer).unwrap_or_default();
        let is_opened = access == Access::Join && rule.is_private && rights.is_some();
        is_granted && (is_opened || rule.allows(access, user, is_moderator))
    }

    /// Whether a connection may be in a relay. It cannot be told there that it may not send.
    pub fn may_relay(&self, peer: Slot, room: &str) -> bool {
        self.rights_of(peer).is_none_or(|rights| {
            rights.allows(Right::Join, room) && rights.allows(Right::Send, room)
        })
    }

    /// Whether a connection's user moderates a room.
    pub(super) fn is_moderator(&self, peer: Slot, key: &Key) -> bool {
        let rights = self.rights_of(peer);
        let user = self.user_name(peer).unwrap_or_default();
        rights.is_some_and(|rights| rights.allows(Right::Moderate, &key.name))
            || self.moderates_by_rule(key, user)
    }

    /// Whether a user moderates a room by the configuration.
    pub(super) fn moderates_by_rule(&self, key: &Key, user: &str) -> bool {
        self.rule_of(key)
            .is_some_and(|rule| rule.is_moderator(user))
    }

    /// Refuses a command that its user may not give.
    pub(super) fn refuse_forbidden(&mut self, peer: Slot, access: Access, request: &Request<'_>) {
        self.counters.forbidden_total += 1;
        self.refuse_command(peer, &request.refuse(Code::Forbidden, forbidden(access)));
    }

    fn rights_of(&self, peer: Slot) -> Option<&Rights> {
        let client = self.clients.get(peer)?;
        client.has_rights.then(|| self.rights.get(&peer.index))?
    }
}

/// What a user is told who may not.
pub(super) fn forbidden(access: Access) -> &'static str {
    match access {
        Access::Join => "you may not join this room",
        Access::Read => "you may not read what was said here before you came",
        Access::Write => "you may not write in this room",
        Access::Moderate => "you do not moderate this room",
    }
}

/// The right that a token must grant for it.
fn right(access: Access) -> Right {
    match access {
        Access::Join | Access::Read => Right::Join,
        Access::Write => Right::Send,
        Access::Moderate => Right::Moderate,
    }
}
