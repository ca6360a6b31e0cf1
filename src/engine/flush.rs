//! Phase 8: peers with replies of their own, and peers that can take bytes again.
//!
//! The order is: the rest of a frame that was begun; own replies; then the memberships with a backlog, round robin,
//! one slice each.

use super::fan_out::is_served;
use super::{Engine, Socket};
use crate::counters::Counters;
use crate::hub::encode_gap;
use crate::limits::{
    GATHERED_REPLY_BYTES_MAX, REPLY_BYTES_MAX, SEGMENT_BYTES, SLICE_COUNT_PER_FLUSH,
};
use crate::log::LogPort;
use crate::peer::{Marks, Peer, Sent};
use crate::room::{Connection, Link, Membership, Progress, Room, Space};
use crate::slots::Slot;
use crate::ws::CloseCode;

/// What came of one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slice {
    /// All of it was taken, or there was nothing.
    Whole,
    /// The socket is full, or broken.
    Short,
}

impl<S: Socket, L: LogPort> Engine<S, L> {
    pub(super) fn flush_peers(&mut self) {
        let mut list = std::mem::take(&mut self.to_flush);
        for index in list.drain(..) {
            let Some(peer) = self.peers.at_mut(index) else {
                continue;
            };
            peer.marks.clear(Marks::TO_FLUSH);
            if !peer.marks.has(Marks::DOOMED) {
                self.flush(index);
            }
        }
        list.append(&mut self.to_flush);
        list.shrink_to(4096);
        self.to_flush = list;
    }

    /// Writes what a peer can take now.
    pub(super) fn flush(&mut self, index: u32) {
        if self.flush_held(index) == Slice::Short || self.finish_frame(index) == Slice::Short {
            return;
        }
        let Some(peer) = self.peers.at(index) else {
            return;
        };
        if is_served(peer.phase) {
            self.flush_rooms(index);
        } else if self.flush_replies(index) == Slice::Whole {
            self.finish(index);
        }
    }

    /// Lets the socket go on with what it holds.
    fn flush_held(&mut self, index: u32) -> Slice {
        let Some(peer) = self.peers.at_mut(index) else {
            return Slice::Short;
        };
        if peer.socket.held_bytes(&self.common) == 0 {
            return Slice::Whole;
        }
        match peer.socket.flush(&mut self.common) {
            Sent::Bytes(_) => Slice::Whole,
            Sent::Held(_) | Sent::Blocked => {
                peer.marks.clear(Marks::WRITABLE);
                Slice::Short
            }
            Sent::Failed => {
                self.doom(index);
                Slice::Short
            }
        }
    }

    /// Closes those whose sockets have held bytes for longest, while all together hold too many.
    pub(super) fn close_overdue(&mut self) {
        while let Some(slot) = S::overdue(&mut self.common) {
            self.hub.counters.stalled_closed_total += 1;
            match self.peers.get(slot) {
                Some(peer) if peer.phase.is_open() => {
                    self.dismiss_with(slot, CloseCode::SLOW, "stalled for too long");
                }
                Some(_) | None => self.doom(slot.index),
            }
        }
    }

    /// Finishes the frame of a room in which the peer stands.
    fn finish_frame(&mut self, index: u32) -> Slice {
        let Some(peer) = self.peers.at(index) else {
            return Slice::Short;
        };
        if !peer.marks.has(Marks::MID_FRAME) {
            return Slice::Whole;
        }
        let is_begun = |link: &Link| {
            let room = self.hub.rooms.at(link.room);
            let member = room.and_then(|room| room.members.get(link.member as usize));
            member.is_some_and(|member| member.is_mid_frame())
        };
        let Some(link) = self.hub.links(index).find(is_begun) else {
            // It left that room: the rest of the frame is about to join its replies.
            return Slice::Short;
        };
        let Some(room) = self.hub.rooms.at(link.room) else {
            return Slice::Whole;
        };
        let end = match &peer.replies {
            // What follows it goes along.
            None => room.tail.head(),
            // One byte further is inside the frame, so the gathering ends behind it.
            Some(_) => {
                let member = room.members.get(link.member as usize);
                member.map_or(0, |member| member.cursor + 1)
            }
        };
        self.send_room(link, end)
    }

    fn flush_replies(&mut self, index: u32) -> Slice {
        loop {
            let Some(peer) = self.peers.at_mut(index) else {
                return Slice::Short;
            };
            let Peer {
                socket,
                marks,
                replies,
                ..
            } = peer;
            let Some(replies) = replies else {
                return Slice::Whole;
            };
            let (length, own_length) = (replies.len(), replies.own_len());
            if length == 0 {
                self.drop_replies(index);
                return Slice::Whole;
            }
            let (common, counters) = (&mut self.common, &mut self.hub.counters);
            let Some(count) = send(socket, common, marks, replies.rest(), counters) else {
                self.doom(index);
                return Slice::Short;
            };
            replies.advance(count);
            if own_length >= REPLY_BYTES_MAX {
                if count > 0 {
                    // A peer that is not read shows life by what it takes.
                    peer.heard = self.now.tick();
                }
                self.resume(index);
            }
            if count < length {
                return Slice::Short;
            }
        }
    }

    /// Own replies are through: their buffer serves others, and the peer may be read again.
    fn drop_replies(&mut self, index: u32) {
        let replies = self
            .peers
            .at_mut(index)
            .and_then(|peer| peer.replies.take());
        if let Some(replies) = replies {
            self.recycle(replies);
            self.resume(index);
        }
    }

    /// Reads a peer again that was not read because of its replies.
    fn resume(&mut self, index: u32) {
        let Some(peer) = self.peers.at(index) else {
            return;
        };
        let has_room = peer.reply_bytes() < REPLY_BYTES_MAX;
        if has_room && (peer.marks.has(Marks::READABLE) || peer.has_waiting()) {
            self.mark_read(index);
        }
    }

    /// The same for every peer.
    pub(super) fn resume_all(&mut self) {
        let slots: Vec<Slot> = self.peers.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.resume(slot.index);
        }
    }

    fn flush_rooms(&mut self, index: u32) {
        for _ in 0..SLICE_COUNT_PER_FLUSH {
            let Some(link) = self.next_backlog(index) else {
                let has_chunk = self.peers.at(index).is_some_and(has_chunk);
                if self.flush_replies(index) == Slice::Whole && has_chunk {
                    // There may be another one to ask for.
                    self.mark_flush(index);
                }
                return;
            };
            self.hub.turn_ring(index, link);
            // The `gap` goes before what follows it.
            if self.tell_loss(link) {
                continue;
            }
            let replies = self.peers.at(index).and_then(|peer| peer.replies.as_ref());
            let replies = replies.map_or(0, |replies| replies.len());
            if replies > GATHERED_REPLY_BYTES_MAX && self.flush_replies(index) == Slice::Short {
                return;
            }
            let head = self
                .hub
                .rooms
                .at(link.room)
                .map_or(0, |room| room.tail.head());
            if self.send_room(link, head) == Slice::Short {
                return;
            }
        }
        self.mark_flush(index);
    }

    /// The next membership, in the order of the ring, for which there are frames.
    fn next_backlog(&self, index: u32) -> Option<Link> {
        let may_ask = !self.hub.is_durable() || self.peers.at(index).is_some_and(may_ask);
        self.hub.links(index).find(|link| {
            let Some(room) = self.hub.rooms.at(link.room) else {
                return false;
            };
            let member = room.members.get(link.member as usize);
            member.is_some_and(|member| match member.progress() {
                // A relay's reader cannot be told what it missed: nothing follows, and the hub closes it.
                Progress::Lost => room.key.space != Space::Raw && may_ask,
                Progress::LostMidFrame => true,
                Progress::Joining | Progress::Boundary | Progress::MidFrame => {
                    member.cursor < room.tail.head()
                }
            })
        })
    }

    /// Sends a peer its own replies and what a member may see up to `end`, a slice at most, in one write. In the
    /// middle of a frame the replies wait.
    fn send_room(&mut self, link: Link, end: u64) -> Slice {
        let Some(room) = self.hub.rooms.at_mut(link.room) else {
            return Slice::Whole;
        };
        let Room {
            tail, members, key, ..
        } = room;
        let Some(member) = members.get_mut(link.member as usize) else {
            return Slice::Whole;
        };
        let index = member.peer;
        let Some(slot) = self.peers.slot_at(index) else {
            return Slice::Short;
        };
        let Some(peer) = self.peers.at_mut(index) else {
            return Slice::Short;
        };
        if !peer.marks.has(Marks::WRITABLE) || peer.marks.has(Marks::DOOMED) {
            return Slice::Short;
        }
        let Peer {
            socket,
            marks,
            replies,
            ..
        } = peer;
        // With replies behind a frame, the sending ends where the frame does.
        let stretch = match replies {
            None if member.is_plain() => tail.stretch(member.cursor, end),
            Some(_) | None => None,
        };
        let replies = replies.as_deref_mut();
        let mut own_replies = replies.filter(|_| !member.is_mid_frame());
        self.gathered.clear();
        if let Some(replies) = &own_replies {
            self.gathered.extend_from_slice(replies.rest());
        }
        let own_bytes = self.gathered.len();
        let bytes = match stretch {
            Some(bytes) => bytes,
            None => {
                let own = Connection {
                    shard: self.place.shard,
                    slot,
                };
                let cut = member.cut(key.space, own);
                let (gathered, runs) = (&mut self.gathered, &mut self.runs);
                tail.gather(member.cursor, end, cut, SEGMENT_BYTES, gathered, runs);
                &self.gathered
            }
        };
        let (common, counters) = (&mut self.common, &mut self.hub.counters);
        let Some(count) = send(socket, common, marks, bytes, counters) else {
            self.doom(index);
            return Slice::Short;
        };
        let is_whole = count == bytes.len();
        if let Some(replies) = own_replies.as_mut().filter(|_| own_bytes > 0) {
            replies.advance(count.min(own_bytes));
        }
        if let Some(taken) = count.checked_sub(own_bytes) {
            let position = match stretch {
                Some(_) => member.cursor + taken as u64,
                None => self.runs.position_after(taken),
            };
            member.advance(position, tail);
            if member.cursor >= tail.head() {
                member.has_own = false;
            }
            match member.is_mid_frame() {
                true => _ = marks.set(Marks::MID_FRAME),
                false => marks.clear(Marks::MID_FRAME),
            }
        }
        if peer
            .replies
            .as_ref()
            .is_some_and(|replies| replies.is_empty())
        {
            self.drop_replies(index);
        }
        if is_whole { Slice::Whole } else { Slice::Short }
    }

    /// Asks the log service for what a member lacks that memory has not. Returns false where there is no such thing.
    fn ask_chunk(&mut self, link: Link) -> bool {
        let Some(room) = self.hub.rooms.at(link.room) else {
            return false;
        };
        let kept = room.tail.seq_before();
        let member = room.members.get(link.member as usize);
        let is_behind =
            |member: &&Membership| member.progress() == Progress::Lost && member.had() < kept;
        let Some(index) = member.filter(is_behind).map(|member| member.peer) else {
            return false;
        };
        let Some(slot) = self.peers.slot_at(index) else {
            return false;
        };
        let is_asked = self.hub.ask_chunk(link, slot);
        if is_asked && let Some(peer) = self.peers.at_mut(index) {
            peer.marks.set(Marks::READING);
        }
        is_asked
    }

    /// Lets a member that fell off the tail go on: with what the log service has, or at the tail, where it is told
    /// what it missed. Returns whether it had fallen off.
    fn tell_loss(&mut self, link: Link) -> bool {
        if self.ask_chunk(link) {
            return true;
        }
        let Some(room) = self.hub.rooms.at_mut(link.room) else {
            return false;
        };
        let Room {
            tail, members, key, ..
        } = room;
        let Some(member) = members.get_mut(link.member as usize) else {
            return false;
        };
        if member.progress() != Progress::Lost {
            return false;
        }
        let (had, kept) = (member.had(), tail.seq_before());
        let cursor = tail.position_after(had.max(kept)).unwrap_or(tail.start());
        member.start(cursor, tail.head());
        if had >= kept {
            // Only passing frames are missing.
            return true;
        }
        let (key, index) = (key.clone(), member.peer);
        self.hub.counters.gaps_total += 1;
        if let Some(replies) = self.replies(index) {
            encode_gap(&key, had + 1, kept, replies.buffer());
        }
        true
    }
}

/// Whether a peer may ask for a chunk of a room's log: it has taken the one before, and takes more.
fn may_ask<S>(peer: &Peer<S>) -> bool {
    peer.marks.has(Marks::WRITABLE) && !peer.marks.has(Marks::READING) && !has_chunk(peer)
}

fn has_chunk<S>(peer: &Peer<S>) -> bool {
    let replies = peer.replies.as_ref();
    replies.is_some_and(|replies| replies.has_chunk())
}

/// Writes to a socket and counts it. A full socket is left unwritable. `None` where the connection is broken.
pub(super) fn send<S: Socket>(
    socket: &mut S,
    common: &mut S::Common,
    marks: &mut Marks,
    bytes: &[u8],
    counters: &mut Counters,
) -> Option<usize> {
    if bytes.is_empty() {
        return Some(0);
    }
    if !marks.has(Marks::WRITABLE) || marks.has(Marks::DOOMED) {
        return Some(0);
    }
    counters.sends_total += 1;
    let (count, is_full) = match socket.send(common, bytes) {
        Sent::Bytes(count) => (count, count < bytes.len()),
        Sent::Held(count) => (count, true),
        Sent::Blocked => (0, true),
        Sent::Failed => return None,
    };
    counters.sent_bytes_total += count as u64;
    if is_full {
        counters.sends_blocked_total += 1;
        marks.clear(Marks::WRITABLE);
    }
    Some(count)
}
