//! What an operator sees of rooms and of who is connected.

use super::{Hub, Slot};
use crate::room::{Role, Space};
use smol_str::SmolStr;
use std::sync::Arc;

/// One room or relay at its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// Its home.
    pub shard: u16,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is a relay of `/raw/{room}`.
    pub is_relay: bool,
    /// Distinct users that are there; nobody has a name in a relay.
    pub users: u32,
    /// Connections that are there or joining, on every shard.
    pub connections: u32,
    /// `seq_id` of its last message.
    pub seq: u64,
    /// Memory that this shard holds of its log, in bytes.
    pub bytes: usize,
}

impl Hub {
    /// The room or relay at a place, if its home is here. An inbox is its user's own affair.
    pub fn room_view(&self, index: u32) -> Option<RoomView> {
        let room = self.rooms.at(index)?;
        let is_relay = match room.key.space {
            Space::Chat => false,
            Space::Raw => true,
            Space::Inbox => return None,
        };
        let Role::Home(home) = &room.role else {
            return None;
        };
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let others: u32 = home
            .subscribers
            .iter()
            .map(|other| other.member_count)
            .sum();
        Some(RoomView {
            shard: self.place.shard,
            name: Arc::clone(&room.key.name),
            is_relay,
            users: count(home.presence.len()),
            connections: count(room.members.len()).saturating_add(others),
            seq: room.tail.seq(),
            bytes: room.tail.memory() + room.tail.kept_bytes(),
        })
    }

    /// Whose a connection is, once settled, and how many rooms it is in.
    pub fn client_view(&self, peer: Slot) -> (Option<SmolStr>, u16) {
        let Some(client) = self.clients.get(peer) else {
            return (None, 0);
        };
        let user = client.user().and_then(|user| self.users.at(user));
        (user.map(|user| user.name.clone()), client.room_count)
    }
}
