//! Phase 8: peers with replies of their own, and peers that can take bytes again.
//!
//! The order is: the rest of a frame that was begun; own replies; then the memberships with a backlog, round robin,
//! one slice each.

use super::fan_out::is_served;
use super::{Engine, Socket};
use crate::limits::{REPLY_BYTES_MAX, SEGMENT_BYTES};
use crate::log::LogPort;
use crate::peer::{Marks, Sent};
use crate::proto::event;
use crate::room::{Connection, Link, Progress, Room, Space};
use crate::ws::frame::{self, Opcode};

/// Room frames that one peer gets before others have their turn, in slices.
const SLICES_PER_FLUSH: u32 = 8;

/// What came of one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slice {
    /// There was nothing.
    Nothing,
    /// All of it was taken.
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
        if self.finish_frame(index) == Slice::Short || self.flush_replies(index) == Slice::Short {
            return;
        }
        let Some(peer) = self.peers.at_mut(index) else {
            return;
        };
        if is_served(peer.phase) {
            self.flush_rooms(index);
        } else {
            self.finish(index);
        }
    }

    /// Finishes the frame in which the peer stands: the ring was left at its room.
    fn finish_frame(&mut self, index: u32) -> Slice {
        let Some(link) = self.hub.ring(index) else {
            return Slice::Nothing;
        };
        let Some(room) = self.hub.rooms.at(link.room) else {
            return Slice::Nothing;
        };
        let Some(member) = room.members.get(link.member as usize) else {
            return Slice::Nothing;
        };
        if !member.is_mid_frame() {
            return Slice::Nothing;
        }
        // One byte further is inside the frame, so the gathering ends behind it.
        let end = member.cursor + 1;
        match self.send_gathered(link, end) {
            Slice::Whole if self.stands_mid_frame(link) => Slice::Short,
            slice => slice,
        }
    }

    fn stands_mid_frame(&self, link: Link) -> bool {
        let room = self.hub.rooms.at(link.room);
        let member = room.and_then(|room| room.members.get(link.member as usize));
        member.is_some_and(|member| member.is_mid_frame())
    }

    fn flush_replies(&mut self, index: u32) -> Slice {
        loop {
            let Some(peer) = self.peers.at_mut(index) else {
                return Slice::Nothing;
            };
            let Some(replies) = &mut peer.replies else {
                return Slice::Whole;
            };
            if replies.is_empty() {
                let replies = peer.replies.take();
                replies
                    .into_iter()
                    .for_each(|replies| self.recycle(replies));
                self.mark_read(index);
                return Slice::Whole;
            }
            if !peer.marks.has(Marks::WRITABLE) {
                return Slice::Short;
            }
            let length = replies.len();
            let was_full = length >= REPLY_BYTES_MAX;
            let sent = peer.socket.send(replies.rest());
            self.hub.counters.sends_total += 1;
            match sent {
                Sent::Bytes(count) => {
                    replies.advance(count);
                    self.hub.counters.sent_bytes_total += count as u64;
                    if was_full {
                        // A peer that is not read shows life by what it takes.
                        peer.heard = self.now.tick();
                    }
                    if count < length {
                        self.hub.counters.sends_blocked_total += 1;
                        peer.marks.clear(Marks::WRITABLE);
                        if was_full && peer.reply_bytes() < REPLY_BYTES_MAX {
                            self.mark_read(index);
                        }
                        return Slice::Short;
                    }
                }
                Sent::Blocked => {
                    self.hub.counters.sends_blocked_total += 1;
                    peer.marks.clear(Marks::WRITABLE);
                    return Slice::Short;
                }
                Sent::Failed => {
                    self.doom(index);
                    return Slice::Short;
                }
            }
        }
    }

    fn flush_rooms(&mut self, index: u32) {
        for _ in 0..SLICES_PER_FLUSH {
            let Some(link) = self.next_backlog(index) else {
                return;
            };
            self.hub.turn_ring(index, link);
            if self.tell_loss(link) {
                // The `gap` goes before what follows it.
                if self.flush_replies(index) == Slice::Short {
                    return;
                }
                continue;
            }
            let head = self
                .hub
                .rooms
                .at(link.room)
                .map_or(0, |room| room.tail.head());
            if self.send_gathered(link, head) == Slice::Short {
                return;
            }
        }
        if self.next_backlog(index).is_some() {
            self.mark_flush(index);
        }
    }

    /// The next membership, in the order of the ring, for which there are frames.
    fn next_backlog(&self, index: u32) -> Option<Link> {
        self.hub.links(index).find(|link| {
            let Some(room) = self.hub.rooms.at(link.room) else {
                return false;
            };
            let member = room.members.get(link.member as usize);
            member.is_some_and(|member| member.is_lost() || member.cursor < room.tail.head())
        })
    }

    /// Copies what a member may see up to `end`, a slice at most, and sends it.
    fn send_gathered(&mut self, link: Link, end: u64) -> Slice {
        let Some(room) = self.hub.rooms.at_mut(link.room) else {
            return Slice::Nothing;
        };
        let Room {
            tail, members, key, ..
        } = room;
        let Some(member) = members.get_mut(link.member as usize) else {
            return Slice::Nothing;
        };
        let index = member.peer;
        let Some(slot) = self.peers.slot_at(index) else {
            return Slice::Nothing;
        };
        let own = Connection {
            shard: self.place.shard,
            slot,
        };
        let Some(peer) = self.peers.at_mut(index) else {
            return Slice::Nothing;
        };
        if !peer.marks.has(Marks::WRITABLE) || peer.marks.has(Marks::DOOMED) {
            return Slice::Short;
        }
        self.gathered.clear();
        let cut = member.cut(key.space, own);
        tail.gather(
            member.cursor,
            end,
            cut,
            SEGMENT_BYTES,
            &mut self.gathered,
            &mut self.runs,
        );
        let length = self.gathered.len();
        let sent = if length == 0 {
            Sent::Bytes(0)
        } else {
            peer.socket.send(&self.gathered)
        };
        let counters = &mut self.hub.counters;
        counters.sends_total += u64::from(length > 0);
        match sent {
            Sent::Bytes(count) => {
                counters.sent_bytes_total += count as u64;
                member.advance(self.runs.position_after(count), tail);
                if member.cursor >= tail.head() {
                    member.has_own = false;
                }
                if count < length {
                    counters.sends_blocked_total += 1;
                    peer.marks.clear(Marks::WRITABLE);
                    self.hub.turn_ring(index, link);
                    return Slice::Short;
                }
                Slice::Whole
            }
            Sent::Blocked => {
                counters.sends_blocked_total += 1;
                peer.marks.clear(Marks::WRITABLE);
                Slice::Short
            }
            Sent::Failed => {
                self.doom(index);
                Slice::Short
            }
        }
    }

    /// Tells a member that fell off the tail what it missed, and lets it go on at the tail. Returns whether it had.
    fn tell_loss(&mut self, link: Link) -> bool {
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
        if had >= kept || key.space == Space::Raw {
            // Only passing frames are missing; a relay's reader is closed by the hub.
            return true;
        }
        let (key, index) = (key.clone(), member.peer);
        let target = key.target();
        let gap = event::Gap {
            target: &target,
            from_seq_id: had + 1,
            to_seq_id: kept,
            reason: "expired",
        };
        let mut text = Vec::new();
        gap.encode(&mut text);
        self.hub.counters.gaps_total += 1;
        if let Some(replies) = self.replies(index) {
            frame::encode(replies.buffer(), Opcode::Text, &text);
        }
        true
    }
}
