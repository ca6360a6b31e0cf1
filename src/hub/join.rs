//! Joining and leaving at the connection's side.

use super::clients::{member, member_mut};
use super::{Hub, epoch_text, shared};
use crate::mail::{Denied, Mail, Pass, Since, Sync};
use crate::proto::{Refusal, Target, event};
use crate::room::{Connection, Key, Link, Membership, Role, Runs, Space};
use crate::rules::Access;
use crate::slots::Slot;
use std::borrow::Cow;

impl Hub {
    /// Asks a room's home for membership. One that is a member already starts anew. The caller has checked that the
    /// connection may have one more room.
    pub(super) fn join(
        &mut self,
        peer: Slot,
        key: Key,
        since: Option<Since>,
        echo: bool,
        id: Option<&str>,
    ) {
        let user = shared(self.user_name(peer).unwrap_or_default());
        if let Some(link) = self
            .find(&key)
            .and_then(|room| self.clients.membership(peer.index, room, &self.rooms))
        {
            self.leave(peer, link, None, None);
        }
        self.join_count += 1;
        let number = self.join_count;
        let have = self.replica_start(&key);
        let payer = self.payer.take();
        let pass = Pass {
            may_read: self.may(peer, Access::Read, &key),
            is_moderator: self.is_moderator(peer, &key),
        };
        if self.home_of(key.space, &key.name) == self.place.shard && self.find(&key).is_none() {
            // It is not even made for somebody who is refused.
            if let Err(denied) = self.admit(&key, &user, pass, payer) {
                self.refuse_join(peer, &key, *denied, id);
                return;
            }
        }
        let room = self.find_or_make_for(&key, payer);
        let membership = Membership::joining(peer.index, echo, number);
        self.clients.link(room, membership, &mut self.rooms);
        if let Some(client) = self.clients.get_mut(peer) {
            client.room_count += 1;
        }
        let from = self.connection(peer);
        let join = Mail::Join {
            room: key.clone(),
            from,
            user,
            pass,
            since,
            have,
            number,
            payer,
            id: id.map(Box::from),
        };
        self.post_home(&key, join);
    }

    /// A connection enters a relay: it is sent what the others send, and has no other voice.
    pub fn enter_relay(&mut self, peer: Slot, name: &str) {
        self.join(
            peer,
            Key {
                space: Space::Raw,
                name: shared(name),
            },
            None,
            false,
            None,
        );
        self.settle();
    }

    /// The `seq_id` before the frames of a replica that is in step with its home.
    fn replica_start(&self, key: &Key) -> Option<u64> {
        let room = self.rooms.at(self.find(key)?)?;
        match room.role {
            Role::Replica { synced: true } => Some(room.tail.seq_before()),
            Role::Replica { synced: false } | Role::Home(_) => None,
        }
    }

    /// At the connection's side: the home has answered.
    pub(super) fn joined(
        &mut self,
        key: &Key,
        to: Slot,
        outcome: Result<(Box<Sync>, u32), Box<Denied>>,
        number: u64,
        id: Option<&str>,
    ) {
        let room = self.find(key);
        let link = room.and_then(|room| self.clients.membership(to.index, room, &self.rooms));
        // The place may be another connection's by now, and the connection may have left, or joined anew: such an
        // answer is from before the replica that is here now.
        let is_joining = |link: &Link| {
            member(&self.rooms, *link).is_some_and(|member| member.is_joining_as(number))
        };
        let link = link
            .filter(|_| self.clients.get(to).is_some())
            .filter(is_joining);
        match outcome {
            Ok((sync, members)) => {
                // A replica begins whoever is answered: it is that of all who wait here.
                let replica = room.filter(|_| link.is_some() || sync.is_new);
                if let Some(replica) = replica {
                    self.sync_replica(replica, &sync);
                    // The answer comes behind all frames up to its head, but for those that the home had to drop.
                    self.skip_to(replica, sync.head);
                }
                if key.space == Space::Chat {
                    self.tell_joined(to, &key.name, &sync, members, id);
                }
                if let Some(link) = link {
                    self.start_member(link, sync.from);
                }
            }
            Err(denied) => {
                if let Some(link) = link {
                    self.leave(to, link, None, None);
                }
                self.refuse_join(to, key, *denied, id);
            }
        }
    }

    fn tell_joined(&mut self, to: Slot, name: &str, sync: &Sync, members: u32, id: Option<&str>) {
        let recovery = match sync.recovered {
            None => event::Recovery::NotAsked,
            Some(Ok(())) => event::Recovery::Recovered,
            Some(Err(reason)) => event::Recovery::Lost(reason),
        };
        let epoch = epoch_text(sync.epoch);
        let joined = event::Joined {
            room_id: name,
            epoch: &epoch,
            seq_id: sync.head,
            members: members.into(),
            recovery,
            id,
        };
        self.effects.reply(to, |out| joined.encode(out));
    }

    fn refuse_join(&mut self, to: Slot, key: &Key, denied: Denied, id: Option<&str>) {
        if key.space == Space::Raw {
            // Whatever else it was sent would pass for a message of the relay.
            self.effects
                .close(to, crate::ws::CloseCode::TRY_AGAIN, "too many rooms");
            return;
        }
        let Denied {
            code,
            message,
            is_for_now,
            retry_after_ms,
        } = denied;
        let refusal = Refusal {
            code,
            message,
            request: "join".into(),
            id: id.map(Cow::Borrowed),
            target: Some(Target::room(&key.name)),
        };
        let mut error = event::Error::until(&refusal, retry_after_ms);
        error.retryable |= is_for_now;
        self.counters.errors_total += 1;
        self.effects.reply(to, |out| error.encode(out));
    }

    /// Lets a member read from behind message `from`.
    pub(super) fn start_member(&mut self, link: Link, from: u64) {
        let Some(room) = self.rooms.at_mut(link.room) else {
            return;
        };
        let head = room.tail.head();
        let position = room.tail.position_after(from);
        let Some(member) = room.members.get_mut(link.member as usize) else {
            return;
        };
        match position {
            Some(position) => member.start(position, head),
            None => member.start_lost(room.tail.start(), from.min(room.tail.seq_before())),
        }
        let is_behind = member.cursor < head || member.is_lost();
        if is_behind {
            self.mark_dirty(link.room);
        }
    }

    /// At the connection's side: it leaves, and with `to` wants to be told.
    pub(super) fn leave(&mut self, peer: Slot, link: Link, to: Option<Slot>, id: Option<&str>) {
        let Some(room) = self.rooms.at(link.room) else {
            return;
        };
        let key = room.key.clone();
        let user = shared(self.user_name(peer).unwrap_or_default());
        let join = room.members.get(link.member as usize);
        let leave = Mail::Leave {
            room: key.clone(),
            user,
            join: join.and_then(Membership::joining_number),
            to,
            id: id.map(Box::from),
        };
        self.drop_membership(peer, link);
        if key.space != Space::Inbox {
            self.post_home(&key, leave);
        }
    }

    /// Ends a membership on this shard; a replica without members ends with it.
    fn drop_membership(&mut self, peer: Slot, link: Link) {
        self.save_rest(peer, link);
        if self.clients.unlink(link, &mut self.rooms).is_none() {
            return;
        }
        let Some(room) = self.rooms.at(link.room) else {
            return;
        };
        let (is_inbox, is_empty) = (room.key.space == Space::Inbox, room.members.is_empty());
        let is_replica = room.home().is_none();
        if let Some(client) = self.clients.get_mut(peer)
            && !is_inbox
        {
            client.room_count -= 1;
        }
        if is_empty && let Some(room) = self.rooms.at_mut(link.room) {
            room.released = room.tail.head();
        }
        if is_empty && is_replica && !is_inbox {
            self.remove_room(link.room);
        }
    }

    /// A member that leaves in the middle of a frame still has to get the rest of it.
    pub(super) fn save_rest(&mut self, peer: Slot, link: Link) {
        let Some(room) = self.rooms.at(link.room) else {
            return;
        };
        let member = room.members.get(link.member as usize);
        let Some(member) = member.filter(|member| member.is_mid_frame()) else {
            return;
        };
        let cut = member.cut(room.key.space, self.connection(peer));
        let (mut rest, mut runs) = (Vec::new(), Runs::default());
        // One byte further is inside the frame, so the gathering ends behind it.
        room.tail.gather(
            member.cursor,
            member.cursor + 1,
            cut,
            1,
            &mut rest,
            &mut runs,
        );
        self.effects.rest(peer, &rest);
    }

    /// A connection has gone: it leaves everything.
    pub fn disconnect(&mut self, peer: Slot) {
        self.permits.remove(peer);
        if self.clients.get(peer).is_none() {
            return;
        }
        loop {
            let Some(link) = self.clients.links(peer.index, &self.rooms).next() else {
                break;
            };
            self.leave(peer, link, None, None);
        }
        self.drop_identity(peer);
        self.revoke(peer);
        self.clients.remove(peer);
        self.settle();
    }

    /// The membership that a command is about, if the connection has it.
    pub(super) fn joined_room(&self, peer: Slot, space: Space, name: &str) -> Option<Link> {
        let room = self.rooms.find(space, name, self.hash_key)?;
        self.clients.membership(peer.index, room, &self.rooms)
    }

    /// Lets an author's own frame be looked for before its backlog is sent.
    pub(super) fn mark_own(&mut self, room: u32, author: Connection) {
        if !self.is_here(author) {
            return;
        }
        if let Some(link) = self
            .clients
            .membership(author.slot.index, room, &self.rooms)
            && let Some(member) = member_mut(&mut self.rooms, link)
        {
            member.has_own = true;
        }
    }
}
