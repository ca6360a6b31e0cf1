//! Frames between a home and its replicas, and inboxes as they come to life.
//!
//! A replica is a member too: it has a cursor in the home's log, and credit. What it is sent goes in the same FIFO as
//! the answers to its joins, so that both are in step.

use super::clients::member;
use super::{Hub, shared};
use crate::limits::{CREDIT_BYTES, SHARED_BYTES_MAX};
use crate::log::{Note, Request};
use crate::mail::{Mail, Sync};
use crate::room::{
    Batch, Fan, Home, Key, Membership, Opening, Parked, Role, Room, Space, Step, Tail,
};
use crate::slots::Slot;
use crate::users::NOBODY;
use std::sync::Arc;

impl Hub {
    /// Sends to the replicas what they lack, as far as their credit goes: one shared buffer per turn.
    pub fn forward(&mut self) {
        let unsent = std::mem::take(&mut self.unsent);
        for slot in &unsent {
            self.forward_room(*slot);
        }
        // Only now: what is dropped to make room may be of any log, and must not be what is yet to be sent.
        for slot in unsent {
            let is_empty = |room: &Room| room.members.is_empty();
            if self.rooms.get(slot).is_some_and(is_empty) {
                // No pass begins or ends here: nobody else would do that.
                self.trim(slot.index);
            }
        }
    }

    fn forward_room(&mut self, slot: Slot) {
        let Some(room) = self.rooms.get_mut(slot) else {
            return;
        };
        let (key, epoch) = (room.key.clone(), room.epoch);
        if room.members.is_empty() {
            // No pass begins here, so the budget of passing frames is renewed by sending them on.
            room.passing_bytes = 0;
        }
        let Room { tail, role, .. } = room;
        let Role::Home(home) = role else { return };
        home.is_unsent = false;
        let mut mail = Vec::new();
        // Subscribers mostly stand at the same place: they share the buffer.
        let mut last = None;
        for subscriber in &mut home.subscribers {
            while let Some(step) = subscriber.step(tail.head()) {
                let piece = match step {
                    Step::Answer(answer) => answer,
                    Step::Frames { from, end } => {
                        let (reach, batch) = export_once(tail, from, end, &mut last);
                        subscriber.cursor = reach;
                        subscriber.owed_bytes += batch.bytes.len() as u64;
                        let room = key.clone();
                        Mail::Frames { room, epoch, batch }
                    }
                };
                mail.push((subscriber.shard, piece));
            }
        }
        mail.into_iter()
            .for_each(|(shard, mail)| self.post(shard, mail));
    }

    /// At the home: a replica has taken bytes, and may be sent as many more.
    pub(super) fn credited(&mut self, from: u16, key: &Key, bytes: u64) {
        let Some(index) = self.find(key) else { return };
        let Some(home) = self.rooms.at_mut(index).and_then(Room::home_mut) else {
            return;
        };
        let Some(subscriber) = home.subscriber(from) else {
            return;
        };
        subscriber.owed_bytes = subscriber.owed_bytes.saturating_sub(bytes);
        self.mark_dirty(index);
    }

    /// At the home: an answer that must arrive behind the frames before it.
    pub(super) fn answer_in_order(&mut self, index: u32, shard: u16, answer: Mail) {
        if let Some(room) = self.rooms.at_mut(index) {
            let head = room.tail.head();
            if let Some(subscriber) = room.home_mut().and_then(|home| home.subscriber(shard))
                && (subscriber.cursor < head || !subscriber.answers.is_empty())
            {
                subscriber.answers.push_back((head, answer));
                self.mark_dirty(index);
                return;
            }
        }
        self.post(shard, answer);
    }

    /// At a replica: frames of its home.
    pub(super) fn follow(&mut self, from: u16, key: &Key, epoch: u64, batch: &Batch) {
        let bytes = batch.bytes.len() as u64;
        self.post(
            from,
            Mail::Took {
                room: key.clone(),
                bytes,
            },
        );
        let Some(index) = self.replica_for(key, epoch, batch.seq_before) else {
            return;
        };
        self.skip_to(index, batch.seq_before);
        for (bytes, frame) in batch.iter() {
            self.append_bytes(index, bytes, frame.kind, frame.author);
        }
        self.mark_dirty(index);
    }

    /// At a replica: what comes next is behind message `seq`. Where it is not there, the home had to drop frames before
    /// this shard had them. A home has all of its frames.
    pub(super) fn skip_to(&mut self, index: u32, seq: u64) {
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        if room.home().is_some() || room.tail.seq() == seq {
            return;
        }
        let head = room.tail.head();
        let left_behind = room.lose(head + 1);
        self.log_bytes -= room.tail.memory();
        room.tail.reset(seq);
        if left_behind {
            self.left_behind(index);
        }
    }

    /// The replica that frames are for, if it is in step. That of an inbox comes to life with its first frames.
    fn replica_for(&mut self, key: &Key, epoch: u64, seq_before: u64) -> Option<u32> {
        if let Some(index) = self.find(key) {
            let is_synced = matches!(self.rooms.at(index)?.role, Role::Replica { synced: true });
            return is_synced.then_some(index);
        }
        let user = self.users.find(&key.name, self.hash_key)?;
        if key.space != Space::Inbox || self.users.at(user)?.first_peer == NOBODY {
            return None;
        }
        let room = Room::new(
            key.clone(),
            Role::Replica { synced: true },
            epoch,
            seq_before,
        );
        let index = self.rooms.insert(room, self.hash_key);
        self.link_inbox(index, user, seq_before);
        Some(index)
    }

    /// At a replica: brings it in step with the home's first answer, or adds the older frames of a later one.
    ///
    /// Who waits to be let in keeps a replica in memory that its home has ended, as nobody else is left: what it has is
    /// not in step any more then, and it begins anew. Nobody reads it, as the home has let nobody in meanwhile.
    pub(super) fn sync_replica(&mut self, index: u32, sync: &Sync) {
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        let before = room.tail.memory();
        match &mut room.role {
            Role::Home(_) => return,
            Role::Replica { synced: true } if !sync.is_new => {
                if let Some(batch) = &sync.backfill {
                    room.tail.prepend(&batch.until(room.tail.seq_before()));
                }
            }
            Role::Replica { synced } => {
                *synced = true;
                room.epoch = sync.epoch;
                room.tail.reset(
                    sync.backfill
                        .as_ref()
                        .map_or(sync.head, |batch| batch.seq_before),
                );
                for (bytes, frame) in sync.backfill.iter().flat_map(|batch| batch.iter()) {
                    room.tail.append(bytes, None, frame.kind, frame.author);
                }
                room.released = room.tail.head();
            }
        }
        self.log_bytes = self.log_bytes + room.tail.memory() - before;
    }

    /// At a home: an inbox has its first message, and everyone of its user follows it.
    pub(super) fn open_inbox(&mut self, index: u32) {
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        let (seq, head) = (room.tail.seq(), room.tail.head());
        let Some(user) = self.users.find(&room.key.name, self.hash_key) else {
            return;
        };
        let shards = self.users.at(user).map_or(0, |user| user.shards);
        if let Some(home) = room.home_mut() {
            for shard in (0..64).filter(|shard| shards & (1 << shard) != 0) {
                home.subscribe(shard, seq, head);
            }
        }
        self.link_inbox(index, user, seq);
    }

    /// At a home: a shard has a connection of the inbox's user. An inbox that is yet to be opened gets to it then.
    pub(super) fn subscribe_inbox(&mut self, name: &str, shard: u16) {
        let index = self.rooms.find(Space::Inbox, name, self.hash_key);
        let Some(room) = index.and_then(|index| self.rooms.at_mut(index)) else {
            return;
        };
        let (seq, head) = (room.tail.seq(), room.tail.head());
        if let Some(home) = room.home_mut()
            && matches!(home.opening, Opening::Open)
        {
            home.subscribe(shard, seq, head);
        }
    }

    /// Lets every settled connection of a user read its inbox from behind message `seq`, unless it does already.
    fn link_inbox(&mut self, index: u32, user: u32, seq: u64) {
        let mut peer = self.users.at(user).map_or(NOBODY, |user| user.first_peer);
        while let Some(client) = self.clients.at(peer) {
            let next = client.next_of_user;
            if self.clients.membership(peer, index, &self.rooms).is_none()
                && let Some(link) =
                    self.clients
                        .link(index, Membership::joining(peer, false, 0), &mut self.rooms)
            {
                self.start_member(link, seq);
            }
            peer = next;
        }
    }

    /// At the connection's side: lets a connection that was just settled follow its inbox.
    pub(super) fn follow_inbox(&mut self, peer: Slot, user: u32, sync: Sync) {
        let Some(entry) = self.users.at(user) else {
            return;
        };
        let key = Key {
            space: Space::Inbox,
            name: shared(&entry.name),
        };
        let is_home = self.home_of(Space::Inbox, &key.name) == self.place.shard;
        let index = match self.find(&key) {
            Some(index) => index,
            // It has all that there was: a replica comes to life with the next frames.
            None if is_home || (sync.backfill.is_none() && sync.from >= sync.head) => return,
            None => {
                let room = Room::new(key, Role::Replica { synced: false }, sync.epoch, sync.head);
                self.rooms.insert(room, self.hash_key)
            }
        };
        if self.is_opening(index) {
            return;
        }
        self.sync_replica(index, &sync);
        let link = self.clients.link(
            index,
            Membership::joining(peer.index, false, 0),
            &mut self.rooms,
        );
        if let Some(link) = link {
            self.start_member(link, sync.from);
        }
        self.link_inbox(index, user, sync.head);
    }

    /// The last message of its inbox that was written to a connection, which a ping may ask to confirm.
    pub fn inbox_mark(&self, peer: Slot) -> Option<u64> {
        self.clients
            .links(peer.index, &self.rooms)
            .find_map(|link| {
                let room = self.rooms.at(link.room)?;
                let member = member(&self.rooms, link)?;
                let is_inbox =
                    room.key.space == Space::Inbox && !member.is_lost() && !member.is_mid_frame();
                is_inbox.then(|| room.tail.seq_at(member.cursor))
            })
    }

    /// A connection has surely had its inbox up to message `seq`.
    pub fn confirm(&mut self, peer: Slot, seq: u64) {
        let Some(name) = self.user_name(peer) else {
            return;
        };
        let room = Key {
            space: Space::Inbox,
            name: shared(name),
        };
        self.post_home(&room.clone(), Mail::Confirm { room, seq });
        self.settle();
    }

    /// At the user's home: its inbox was had up to message `seq`.
    pub(super) fn confirm_home(&mut self, key: &Key, seq: u64) {
        let Some(room) = self.find(key).and_then(|index| self.rooms.at_mut(index)) else {
            return;
        };
        let seq = seq.min(room.tail.seq());
        let name = Arc::clone(&room.key.name);
        if let Some(home) = room.home_mut()
            && seq > home.confirmed
        {
            home.confirmed = seq;
            if home.is_kept {
                let note = Note::Confirm { name, seq };
                self.submission.requests.push(Request::Note(note));
            }
        }
    }

    /// The home's part of a room that is made now.
    pub(super) fn new_home(&self, space: Space, is_kept: bool) -> Role {
        let opening = match space {
            Space::Chat | Space::Inbox => Opening::Asked(Parked::default()),
            Space::Raw => Opening::Open,
        };
        Role::Home(Box::new(Home::new(opening, is_kept, self.hash_key)))
    }

    /// A replica's numbered frames are whole; where it is idle, everyone awake has them.
    pub fn finish_pass(&mut self, index: u32, end: u64) {
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        room.released = room.released.max(end);
        room.fan = Fan::Idle;
        if room.tail.head() > end {
            self.mark_dirty(index);
        }
    }

    /// A pass of a room's fan-out begins, or goes on. Returns how many members are still to be served, and the position
    /// at which it ends: no more than what is gathered once for all of them.
    pub fn begin_pass(&mut self, slot: Slot) -> Option<(u32, u64)> {
        let room = self.rooms.get_mut(slot)?;
        match room.fan {
            Fan::Running { next, end } => Some((next, end)),
            Fan::Idle | Fan::Waiting => {
                room.passing_bytes = 0;
                let next = u32::try_from(room.members.len()).unwrap_or(u32::MAX);
                let end = room.tail.pass_end(room.released, SHARED_BYTES_MAX);
                room.fan = Fan::Running { next, end };
                Some((next, end))
            }
        }
    }
}

/// A batch that was exported, and the positions between which it lies.
type Exported = (u64, u64, u64, Arc<Batch>);

/// Frames between two positions, and the position that they reach. What was exported last is not exported again.
fn export_once(tail: &Tail, from: u64, end: u64, last: &mut Option<Exported>) -> (u64, Arc<Batch>) {
    if let Some((last_from, last_end, reach, batch)) = last
        && (*last_from, *last_end) == (from, end)
    {
        return (*reach, Arc::clone(batch));
    }
    let (batch, reach) = tail.export(from, end, true, BATCH_BYTES);
    let batch = Arc::new(batch);
    *last = Some((from, end, reach, Arc::clone(&batch)));
    (reach, batch)
}

/// About how large one batch is: half of the credit, so that one can be on its way while the other is taken.
const BATCH_BYTES: usize = CREDIT_BYTES as usize / 2;
