//! Phase 7: what rooms have for their members. One write per membership and pass, straight from the room's segments.
//!
//! A pass walks the members from last to first, so that a removal moves only visited ones, and joiners, who are added
//! behind, catch up by themselves. It ends at the head at which it began. A large room takes several turns, one slice
//! each, and rooms take turns among themselves.

use super::flush::send;
use super::{Engine, Socket};
use crate::limits::{LOOK_COUNT_PER_SEND, SEND_COUNT_PER_TURN, SHARED_BYTES_MAX};
use crate::log::LogPort;
use crate::peer::{Marks, Peer, Phase};
use crate::room::{Connection, Cut, Encoding, Fan, Link, Room, Runs, Tail};
use crate::slots::Slot;

/// How members are walked. The server does it in the one way that is the default; the simulator takes smaller slices.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Sends of room frames in one turn.
    pub send_count: u32,
    /// A bug on purpose: passes go from first to last, so that they skip whoever a removal moves to a visited place.
    /// The simulator has to see it. Without debug assertions it does nothing.
    pub is_forward: bool,
}

impl Default for Walk {
    fn default() -> Walk {
        Walk {
            send_count: SEND_COUNT_PER_TURN,
            is_forward: false,
        }
    }
}

impl Walk {
    /// The member that comes next in a room of `count`, where `next` are still to be served.
    fn member(self, next: u32, count: u32) -> Option<u32> {
        match cfg!(debug_assertions) && self.is_forward && next > 0 {
            true => count.checked_sub(next),
            false => next.checked_sub(1),
        }
    }
}

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Lets passes walk in another way from now on. It is for the simulator.
    pub fn set_walk(&mut self, walk: Walk) {
        self.walk = walk;
    }

    pub(super) fn fan_out(&mut self) {
        let mut sends = self.walk.send_count;
        self.shared.forget();
        for _ in 0..self.hub.dirty.len() {
            let Some(slot) = self.hub.dirty.pop_front() else {
                return;
            };
            if !self.pass(slot, &mut sends) {
                self.hub.dirty.push_back(slot);
            }
            if sends == 0 {
                return;
            }
        }
    }

    /// Goes on with the pass of one room. Returns whether it is over.
    fn pass(&mut self, slot: Slot, sends: &mut u32) -> bool {
        let Some((mut next, end)) = self.hub.begin_pass(slot) else {
            return true;
        };
        let mut looks = *sends * LOOK_COUNT_PER_SEND;
        while next > 0 {
            if *sends == 0 || looks == 0 {
                if let Some(room) = self.hub.rooms.at_mut(slot.index) {
                    room.fan = Fan::Running { next, end };
                }
                return false;
            }
            // Members may have gone since the last slice.
            let count = self
                .hub
                .rooms
                .at(slot.index)
                .map_or(0, |room| room.members.len());
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            next = next.min(count);
            let Some(member) = self.walk.member(next, count) else {
                break;
            };
            next -= 1;
            looks -= 1;
            if self.serve_member(
                Link {
                    room: slot.index,
                    member,
                },
                end,
            ) {
                *sends -= 1;
            }
        }
        self.hub.finish_pass(slot.index, end);
        self.hub.trim(slot.index);
        true
    }

    /// Sends a member its backlog up to `end`, with its own replies before it. Returns whether it was sent anything.
    fn serve_member(&mut self, link: Link, end: u64) -> bool {
        let Some(room) = self.hub.rooms.at_mut(link.room) else {
            return false;
        };
        let Room {
            tail, members, key, ..
        } = room;
        let Some(member) = members.get_mut(link.member as usize) else {
            return false;
        };
        if member.cursor >= end && !member.is_lost() {
            return false;
        }
        let index = member.peer;
        let Some(peer) = self.peers.at_mut(index) else {
            return false;
        };
        if !peer.marks.has(Marks::WRITABLE)
            || peer.marks.has(Marks::DOOMED)
            || !is_served(peer.phase)
        {
            return false;
        }
        let goes_first = peer.replies.is_some() || peer.marks.has(Marks::MID_FRAME);
        if goes_first || !member.is_uncut() {
            // Something is to be left out, or goes first: the flush knows how.
            self.flush(index);
            return true;
        }
        let cut = member.cut(key.space, Connection::NONE);
        let backlog = self
            .shared
            .backlog(tail, link.room, member.cursor, end, cut);
        let Peer { socket, marks, .. } = peer;
        let (common, counters) = (&mut self.common, &mut self.hub.counters);
        let Some(count) = send(socket, common, marks, backlog.bytes, counters) else {
            self.doom(index);
            return true;
        };
        let is_whole = count == backlog.bytes.len();
        let cursor = backlog.position_after(count, member.cursor);
        if is_whole {
            member.cursor = cursor;
        } else {
            member.advance(cursor, tail);
            if member.is_mid_frame() {
                marks.set(Marks::MID_FRAME);
            }
        }
        if is_whole && cursor < end {
            self.mark_flush(index);
        }
        true
    }
}

/// A backlog that was gathered for one member, and serves all that stand at the same place.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Room, cursor, end and encoding.
    key: Option<(u32, u64, u64, Encoding)>,
    bytes: Vec<u8>,
    runs: Runs,
}

/// What one member is sent: a slice of a segment, or of what was gathered.
struct Backlog<'a> {
    bytes: &'a [u8],
    runs: Option<&'a Runs>,
}

impl Shared {
    /// What a member at `cursor` is sent up to `end`.
    fn backlog<'a>(
        &'a mut self,
        tail: &'a Tail,
        room: u32,
        cursor: u64,
        end: u64,
        cut: Cut,
    ) -> Backlog<'a> {
        if cut.encoding == Encoding::Plain
            && let Some(bytes) = tail.slice(cursor, end)
        {
            return Backlog { bytes, runs: None };
        }
        let key = Some((room, cursor, end, cut.encoding));
        if self.key != key {
            self.key = key;
            self.bytes.clear();
            tail.gather(
                cursor,
                end,
                cut,
                SHARED_BYTES_MAX,
                &mut self.bytes,
                &mut self.runs,
            );
        }
        Backlog {
            bytes: &self.bytes,
            runs: Some(&self.runs),
        }
    }

    /// Forgets what was gathered: it holds for one turn, as frames may be compacted between two.
    fn forget(&mut self) {
        self.key = None;
        self.bytes.clear();
        self.bytes.shrink_to(SHARED_BYTES_MAX);
    }
}

impl Backlog<'_> {
    /// The position of a member that stood at `cursor` and took `count` bytes.
    fn position_after(&self, count: usize, cursor: u64) -> u64 {
        match self.runs {
            Some(runs) => runs.position_after(count),
            None => cursor + count as u64,
        }
    }
}

/// Whether a phase gets frames of rooms.
pub(super) fn is_served(phase: Phase) -> bool {
    match phase {
        Phase::Chat | Phase::Relay => true,
        Phase::Http
        | Phase::Hello
        | Phase::Claiming
        | Phase::Echo
        | Phase::Closing
        | Phase::Ending
        | Phase::Lingering => false,
    }
}
