//! What holds between two turns: looked at by the simulator and the fuzzers, never by the server itself.

use super::fan_out::is_served;
use super::{Engine, Socket};
use crate::limits::{HISTORY_BYTES_MAX, REPLY_BYTES_MAX};
use crate::log::LogPort;
use crate::peer::{Marks, Peer};
use crate::room::{Membership, Progress, Room};
use crate::slots::Slot;

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Looks at everything that the shard holds; takes as long as that is much.
    ///
    /// # Errors
    ///
    /// Names an invariant that is broken.
    pub fn audit(&self) -> Result<(), String> {
        self.hub.audit()?;
        self.peers
            .iter()
            .try_for_each(|(slot, peer)| self.audit_peer(slot, peer))?;
        self.hub
            .rooms
            .iter()
            .try_for_each(|(_, room)| self.audit_readers(room))
    }

    /// Looks at what is left once nobody is connected and no mail is on its way.
    ///
    /// # Errors
    ///
    /// Says what is left that should not be.
    pub fn audit_end(&self) -> Result<(), String> {
        self.hub.audit_end()
    }

    /// Whoever could take it has everything up to where the room's last pass ended.
    fn audit_readers(&self, room: &Room) -> Result<(), String> {
        let is_behind = |member: &&Membership| match member.progress() {
            Progress::Boundary | Progress::MidFrame => member.cursor < room.released,
            Progress::Joining | Progress::Lost | Progress::LostMidFrame => false,
        };
        let is_awake = |peer: &Peer<S>| {
            peer.marks.has(Marks::WRITABLE)
                && !peer.marks.has(Marks::TO_FLUSH)
                && !peer.marks.has(Marks::DOOMED)
                && is_served(peer.phase)
        };
        for member in room.members.iter().filter(is_behind) {
            if self.peers.at(member.peer).is_some_and(is_awake) {
                return Err(format!(
                    "a pass of room {:?} to {} has skipped peer {}: {member:?}",
                    room.key, room.released, member.peer
                ));
            }
        }
        Ok(())
    }

    fn audit_peer(&self, slot: Slot, peer: &Peer<S>) -> Result<(), String> {
        let index = slot.index;
        // A place on a list may be left over from the peer before; a mark without a place means to wait for ever.
        let is_listed =
            self.to_read.contains(&index) || self.to_retry.iter().any(|slot| slot.index == index);
        if peer.marks.has(Marks::TO_READ) && !is_listed {
            return Err(format!("peer {index} is marked to be read, but not listed"));
        }
        if peer.marks.has(Marks::TO_FLUSH) && !self.to_flush.contains(&index) {
            return Err(format!(
                "peer {index} is marked to be flushed, but not listed"
            ));
        }
        if peer.marks.has(Marks::MID_FRAME) != self.hub.is_mid_frame(index) {
            return Err(format!(
                "peer {index} is marked to be in the middle of a frame, or is, but not both"
            ));
        }
        // The bound, and the one reply that passes it: a page and what surrounds it, or an echo.
        let reply_bytes_max =
            REPLY_BYTES_MAX + HISTORY_BYTES_MAX + 2 * self.settings.limits.message_bytes_max + 1024;
        if peer.reply_bytes() > reply_bytes_max {
            return Err(format!(
                "peer {index} has {} bytes of replies",
                peer.reply_bytes()
            ));
        }
        Ok(())
    }
}
