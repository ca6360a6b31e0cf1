//! What holds between two turns: looked at by the simulator and the fuzzers, never by the server itself.

use super::clients::member;
use super::{Hub, Identity};
use crate::limits::{PARKED_BYTES_MAX, PARKED_BYTES_PER_LOG_MAX};
use crate::room::{Encoding, Home, Link, Membership, Parked, Progress, Room, Space, Tail};
use crate::users::NOBODY;

impl Hub {
    /// See [`Engine::audit`](crate::engine::Engine::audit).
    pub fn audit(&self) -> Result<(), String> {
        if !self.local.is_empty() || !self.effects.is_empty() {
            return Err(format!("left over: {:?} {:?}", self.local, self.effects));
        }
        self.audit_bytes()?;
        for (index, room) in self.rooms.iter() {
            self.audit_room(index, room)
                .map_err(|fault| format!("room {:?}: {fault}", room.key))?;
        }
        for peer in 0..self.clients.places() {
            self.audit_client(peer)
                .map_err(|fault| format!("client {peer}: {fault}"))?;
        }
        self.audit_users()
    }

    /// See [`Engine::audit_end`](crate::engine::Engine::audit_end).
    pub fn audit_end(&self) -> Result<(), String> {
        let left = (
            self.refused_joins.len(),
            self.parked_bytes,
            self.claiming.len(),
        );
        match left {
            (0, 0, 0) => Ok(()),
            left => Err(format!(
                "refused joins, parked bytes and claims are left: {left:?}"
            )),
        }
    }

    fn audit_bytes(&self) -> Result<(), String> {
        let tails = || self.rooms.iter().map(|(_, room)| &room.tail);
        let held: usize = tails().map(Tail::memory).sum();
        if held != self.log_bytes {
            return Err(format!(
                "logs hold {held} bytes, {} are counted",
                self.log_bytes
            ));
        }
        let homes = || self.rooms.iter().filter_map(|(_, room)| room.home());
        let claims: usize = self.claiming.values().map(Parked::bytes).sum();
        let parked = claims + homes().map(Home::parked_bytes).sum::<usize>();
        if parked != self.parked_bytes {
            return Err(format!(
                "{parked} bytes wait for logs, {} are counted",
                self.parked_bytes
            ));
        }
        // A leave may wait for each join, and the last piece of mail may be a long one.
        let bound = |bytes_max: usize| 2 * bytes_max + self.limits.message_bytes_max + 1024;
        let most = homes().map(Home::parked_bytes).max().unwrap_or(0);
        let is_over = most > bound(PARKED_BYTES_PER_LOG_MAX) || parked > bound(PARKED_BYTES_MAX);
        if self.durable && is_over {
            return Err(format!("{parked} bytes wait for logs, {most} for one"));
        }
        let kept: usize = tails().map(Tail::kept_bytes).sum();
        let kept_max = self.limits.stalled_bytes_max + self.limits.message_bytes_max + 1024;
        if kept > kept_max {
            return Err(format!("{kept} bytes are kept for stalled readers"));
        }
        Ok(())
    }

    fn audit_room(&self, index: u32, room: &Room) -> Result<(), String> {
        let tail = &room.tail;
        for (place, membership) in room.members.iter().enumerate() {
            let link = Link {
                room: index,
                member: u32::try_from(place).unwrap_or(u32::MAX),
            };
            if !self
                .clients
                .links(membership.peer, &self.rooms)
                .any(|other| other == link)
            {
                return Err(format!(
                    "member {place} is not in the ring of client {}",
                    membership.peer
                ));
            }
            let cursor = membership.cursor;
            let is_boundary = tail.is_boundary(cursor, membership.encoding);
            let is_right = match membership.progress() {
                Progress::Joining => cursor == u64::MAX,
                Progress::Boundary => (tail.start()..=tail.head()).contains(&cursor) && is_boundary,
                Progress::MidFrame => cursor < tail.head() && !is_boundary,
                Progress::Lost => true,
                Progress::LostMidFrame => !is_boundary,
            };
            if !is_right {
                return Err(format!(
                    "member {place} stands wrong in {}..{}: {membership:?}",
                    tail.start(),
                    tail.head()
                ));
            }
        }
        let stalled = room
            .members
            .iter()
            .filter(|member| member.progress() == Progress::LostMidFrame);
        if stalled.count() != tail.kept_readers() {
            return Err("frames are kept for others than who stands in them".to_owned());
        }
        let deflated = |member: &&Membership| member.encoding == Encoding::Deflated;
        if room.members.iter().filter(deflated).count() != room.deflated_count as usize {
            return Err("the members of the second encoding are counted wrong".to_owned());
        }
        if room.home().is_none() && room.members.is_empty() && room.key.space != Space::Inbox {
            return Err("a replica without members".to_owned());
        }
        Ok(())
    }

    fn audit_client(&self, peer: u32) -> Result<(), String> {
        let Some(client) = self.clients.at(peer) else {
            return Ok(());
        };
        let (mut room_count, mut mid_frame) = (0, None);
        for link in self.clients.links(peer, &self.rooms) {
            let membership = member(&self.rooms, link).ok_or("its ring leads nowhere")?;
            if membership.peer != peer {
                return Err("its ring leads to another's membership".to_owned());
            }
            let is_inbox = self
                .rooms
                .at(link.room)
                .is_some_and(|room| room.key.space == Space::Inbox);
            room_count += u16::from(!is_inbox);
            if membership.is_mid_frame() && mid_frame.replace(link).is_some() {
                return Err("it stands in two frames at once".to_owned());
            }
        }
        if room_count != client.room_count {
            return Err(format!(
                "it is in {room_count} rooms, {} are counted",
                client.room_count
            ));
        }
        Ok(())
    }

    /// Whether a connection stands in the middle of a frame of one of its rooms.
    pub fn is_mid_frame(&self, peer: u32) -> bool {
        let mut members = self
            .links(peer)
            .filter_map(|link| member(&self.rooms, link));
        members.any(|membership| membership.is_mid_frame())
    }

    fn audit_users(&self) -> Result<(), String> {
        for (index, user) in self.users.iter() {
            let identities = (0..self.clients.places()).filter_map(|peer| self.clients.at(peer));
            let is_its = |identity| match identity {
                Identity::Claiming(user) | Identity::Settled(user) => user == index,
                Identity::Nobody => false,
            };
            let connections = identities.filter(|client| is_its(client.identity)).count();
            let homes = self.rooms.iter().filter_map(|(_, room)| room.home());
            let mentions = homes.filter(|home| {
                home.presence.contains_key(&index)
                    || home.leaving.iter().any(|pending| pending.user == index)
            });
            let is_right = user.connections as usize == connections
                && user.mentions as usize == mentions.count()
                && (user.connections > 0 || user.first_peer == NOBODY);
            if !is_right {
                return Err(format!(
                    "user {:?} has {connections} connections: {user:?}",
                    user.name
                ));
            }
        }
        Ok(())
    }
}
