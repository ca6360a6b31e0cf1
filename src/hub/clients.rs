//! Which user a connection is, and the ring of its memberships.

use crate::limits::{REPLY_BYTES_MAX, UNCOMMITTED_BYTES_UNIT};
use crate::mail::Reserve;
use crate::room::{Encoding, Link, Membership, Room, Rooms};
use crate::slots::Slot;
use crate::users::NOBODY;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody's yet, or a relay's, where nobody has a name.
    Nobody,
    /// The user's at this place, if its home grants that.
    Claiming(u32),
    /// The user's at this place.
    Settled(u32),
}

/// What the hub knows of one connection.
#[derive(Debug)]
pub struct Client {
    generation: u32,
    /// See [`Identity`].
    pub identity: Identity,
    /// The membership that was served last; from it, the ring leads through all.
    pub ring: Link,
    /// The next connection of the same user.
    pub next_of_user: u32,
    /// Memberships, the joining ones included; inboxes are not counted.
    pub room_count: u16,
    /// Which encoding of its rooms' frames it is sent.
    pub encoding: Encoding,
    /// Whether it may only do what its rights allow.
    pub has_rights: bool,
    /// Pages that are on their way to it.
    page_count: u8,
    /// What it sent and is not kept yet, in [`UNCOMMITTED_BYTES_UNIT`].
    uncommitted: u16,
}

impl Client {
    /// The user, once settled.
    pub fn user(&self) -> Option<u32> {
        match self.identity {
            Identity::Settled(user) => Some(user),
            Identity::Nobody | Identity::Claiming(_) => None,
        }
    }

    /// Room reserved for pages that are on their way, in bytes.
    pub fn awaited_bytes(&self) -> usize {
        usize::from(self.page_count) * REPLY_BYTES_MAX
    }

    /// What it sent and is not kept yet, in bytes.
    pub fn uncommitted_bytes(&self) -> usize {
        usize::from(self.uncommitted) * UNCOMMITTED_BYTES_UNIT
    }
}

/// The clients of a shard, in step with the engine's peers.
#[derive(Debug, Default)]
pub struct Clients {
    clients: Vec<Option<Client>>,
}

impl Clients {
    /// Adds the client of a connection.
    pub fn insert(&mut self, peer: Slot, encoding: Encoding) {
        let index = peer.index as usize;
        if index >= self.clients.len() {
            self.clients.resize_with(index + 1, || None);
        }
        self.clients[index] = Some(Client {
            generation: peer.generation,
            identity: Identity::Nobody,
            ring: Link::NONE,
            next_of_user: NOBODY,
            room_count: 0,
            encoding,
            has_rights: false,
            page_count: 0,
            uncommitted: 0,
        });
    }

    /// Forgets a client.
    pub fn remove(&mut self, peer: Slot) {
        if self.get(peer).is_some() {
            self.clients[peer.index as usize] = None;
        }
        while let Some(None) = self.clients.last() {
            self.clients.pop();
        }
        if self.clients.capacity() > 64 && self.clients.len() < self.clients.capacity() / 4 {
            self.clients.shrink_to_fit();
        }
    }

    /// The client of a connection, if it still is.
    pub fn get(&self, peer: Slot) -> Option<&Client> {
        self.at(peer.index)
            .filter(|client| client.generation == peer.generation)
    }

    /// See [`Clients::get`].
    pub fn get_mut(&mut self, peer: Slot) -> Option<&mut Client> {
        self.at_mut(peer.index)
            .filter(|client| client.generation == peer.generation)
    }

    /// Whatever client is at a place now.
    pub fn at(&self, index: u32) -> Option<&Client> {
        self.clients.get(index as usize)?.as_ref()
    }

    /// See [`Clients::at`].
    pub fn at_mut(&mut self, index: u32) -> Option<&mut Client> {
        self.clients.get_mut(index as usize)?.as_mut()
    }

    /// Places that a client may be at: those below this.
    pub fn places(&self) -> u32 {
        u32::try_from(self.clients.len()).unwrap_or(u32::MAX)
    }

    /// The slot of whatever client is at a place now.
    pub fn slot_at(&self, index: u32) -> Slot {
        self.at(index).map_or(Slot::NONE, |client| Slot {
            index,
            generation: client.generation,
        })
    }

    /// An answer for a connection is on its way.
    pub fn reserve(&mut self, peer: Slot, reserve: Reserve) {
        if let Some(client) = self.get_mut(peer) {
            match reserve {
                Reserve::Nothing => {}
                Reserve::Message(bytes) => {
                    client.uncommitted = client.uncommitted.saturating_add(units(bytes));
                }
                Reserve::Page => client.page_count = client.page_count.saturating_add(1),
            }
        }
    }

    /// The answer has come.
    pub fn release(&mut self, peer: Slot, reserve: Reserve) {
        if let Some(client) = self.get_mut(peer) {
            match reserve {
                Reserve::Nothing => {}
                Reserve::Message(bytes) => {
                    client.uncommitted = client.uncommitted.saturating_sub(units(bytes));
                }
                Reserve::Page => client.page_count = client.page_count.saturating_sub(1),
            }
        }
    }

    /// The membership of a client in a room.
    pub fn membership(&self, peer: u32, room: u32, rooms: &Rooms) -> Option<Link> {
        self.links(peer, rooms).find(|link| link.room == room)
    }

    /// Every membership of a client, the one to be served next first.
    pub fn links<'a>(&self, peer: u32, rooms: &'a Rooms) -> impl Iterator<Item = Link> + use<'a> {
        let last = self.at(peer).map_or(Link::NONE, |client| client.ring);
        let mut at = last;
        let mut done = last == Link::NONE;
        std::iter::from_fn(move || {
            if done {
                return None;
            }
            at = member(rooms, at)?.next;
            done = at == last;
            Some(at)
        })
    }

    /// Adds a membership to its room and to the ring of its client.
    pub fn link(
        &mut self,
        room: u32,
        mut membership: Membership,
        rooms: &mut Rooms,
    ) -> Option<Link> {
        let peer = membership.peer;
        let client = self.at_mut(peer)?;
        membership.encoding = client.encoding;
        let entered = rooms.at_mut(room)?;
        entered.deflated_count += u32::from(client.encoding == Encoding::Deflated);
        let members = &mut entered.members;
        let link = Link {
            room,
            member: u32::try_from(members.len()).ok()?,
        };
        members.push(membership);
        let before = client.ring;
        client.ring = link;
        let next = match member_mut(rooms, before) {
            Some(before) => std::mem::replace(&mut before.next, link),
            None => link,
        };
        member_mut(rooms, link)?.next = next;
        Some(link)
    }

    /// Takes a membership out of the ring of its client and out of its room. The room's last member moves to its
    /// place.
    pub fn unlink(&mut self, link: Link, rooms: &mut Rooms) -> Option<Membership> {
        let peer = member(rooms, link)?.peer;
        self.unring(peer, link, rooms);
        let room = rooms.at_mut(link.room)?;
        let last = u32::try_from(room.members.len()).ok()?.checked_sub(1)?;
        if last != link.member {
            self.relink(
                room.members.last()?.peer,
                Link {
                    member: last,
                    ..link
                },
                link,
                rooms,
            );
        }
        let room = rooms.at_mut(link.room)?;
        let membership = room.members.swap_remove(link.member as usize);
        membership.forget(&mut room.tail);
        room.deflated_count -= u32::from(membership.encoding == Encoding::Deflated);
        shrink(room);
        Some(membership)
    }

    /// Lets the ring go on behind a membership, which was just served.
    pub fn turn_ring(&mut self, peer: u32, served: Link) {
        if let Some(client) = self.at_mut(peer) {
            client.ring = served;
        }
    }

    fn unring(&mut self, peer: u32, link: Link, rooms: &mut Rooms) {
        let Some(before) = self.before(peer, link, rooms) else {
            return;
        };
        let next = member(rooms, link).map_or(Link::NONE, |member| member.next);
        if let Some(before) = member_mut(rooms, before) {
            before.next = next;
        }
        if let Some(client) = self.at_mut(peer)
            && client.ring == link
        {
            client.ring = if before == link { Link::NONE } else { before };
        }
    }

    /// A membership of `peer` moves from one link to another.
    fn relink(&mut self, peer: u32, from: Link, to: Link, rooms: &mut Rooms) {
        let Some(before) = self.before(peer, from, rooms) else {
            return;
        };
        if let Some(before) = member_mut(rooms, before) {
            before.next = to;
        }
        if let Some(client) = self.at_mut(peer)
            && client.ring == from
        {
            client.ring = to;
        }
    }

    /// The membership whose `next` is `link`.
    fn before(&self, peer: u32, link: Link, rooms: &Rooms) -> Option<Link> {
        let first = self.at(peer)?.ring;
        let mut at = first;
        loop {
            let next = member(rooms, at)?.next;
            if next == link {
                return Some(at);
            }
            at = next;
            if at == first {
                return None;
            }
        }
    }
}

/// The membership behind a link.
pub fn member(rooms: &Rooms, link: Link) -> Option<&Membership> {
    rooms.at(link.room)?.members.get(link.member as usize)
}

/// See [`member`].
pub fn member_mut(rooms: &mut Rooms, link: Link) -> Option<&mut Membership> {
    rooms
        .at_mut(link.room)?
        .members
        .get_mut(link.member as usize)
}

/// What a message counts as uncommitted. The longest message that a server can be set to take fits.
fn units(bytes: usize) -> u16 {
    u16::try_from(bytes.div_ceil(UNCOMMITTED_BYTES_UNIT)).unwrap_or(u16::MAX)
}

fn shrink(room: &mut Room) {
    if room.members.capacity() > 16 && room.members.len() < room.members.capacity() / 4 {
        room.members.shrink_to(room.members.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::HashKey;
    use crate::room::{Key, Role, Space};

    /// Every peer's ring visits exactly the memberships that the rooms hold for it.
    fn check(clients: &Clients, rooms: &Rooms, peers: u32) {
        for peer in 0..peers {
            let mut by_ring: Vec<Link> = clients.links(peer, rooms).collect();
            let mut by_room: Vec<Link> = rooms
                .iter()
                .flat_map(|(room, value)| (0..value.members.len()).map(move |m| (room, m, value)))
                .filter(|(_, m, value)| value.members[*m].peer == peer)
                .map(|(room, m, _)| Link {
                    room,
                    member: m as u32,
                })
                .collect();
            by_ring.sort_by_key(|link| (link.room, link.member));
            by_room.sort_by_key(|link| (link.room, link.member));
            assert_eq!(by_ring, by_room, "peer {peer}");
        }
    }

    #[test]
    fn rings_and_rooms_agree_whatever_comes_and_goes() {
        let key = HashKey::new((3, 4));
        let (mut clients, mut rooms) = (Clients::default(), Rooms::default());
        for name in ["a", "b", "c", "d"] {
            let key_of = Key {
                space: Space::Chat,
                name: name.into(),
            };
            rooms.insert(Room::new(key_of, Role::Replica { synced: true }, 1, 0), key);
        }
        for index in 0..6 {
            clients.insert(
                Slot {
                    index,
                    generation: 0,
                },
                Encoding::Plain,
            );
        }
        let mut state = 7u32;
        for _ in 0..2000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (peer, room) = (state >> 8 & 7, state >> 16 & 3);
            if peer > 5 {
                continue;
            }
            match clients.membership(peer, room, &rooms) {
                Some(link) => assert_eq!(clients.unlink(link, &mut rooms).unwrap().peer, peer),
                None => assert!(
                    clients
                        .link(room, Membership::joining(peer, true, 1), &mut rooms)
                        .is_some()
                ),
            }
            if let Some(link) = clients.links(peer, &rooms).next() {
                clients.turn_ring(peer, link);
            }
            check(&clients, &rooms, 6);
        }
    }

    #[test]
    fn a_client_is_small() {
        assert!(size_of::<Option<Client>>() <= 32);
    }
}
