//! Peers that wait for room where they send to. Nobody tells them when there is some, so they are tried again, in the
//! order in which they were last: all of them while that is of use, and so many of them in vain.

use super::{Engine, Socket};
use crate::limits::RETRY_COUNT_PER_TURN;
use crate::log::LogPort;
use crate::peer::Marks;
use crate::slots::Slot;

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Puts a peer behind those that wait already. It stays marked, so that it is on no other list.
    pub(super) fn retry_later(&mut self, slot: Slot) {
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.marks.set(Marks::TO_READ);
            // Time in which it is not read is not silence.
            peer.heard = self.now.tick();
            self.to_retry.push_back(slot);
        }
    }

    /// Tries those again that wait, until enough of them have to wait on.
    pub(super) fn retry_peers(&mut self, buffer: &mut [u8]) {
        let mut vain_count = 0;
        for _ in 0..self.to_retry.len() {
            if vain_count == RETRY_COUNT_PER_TURN {
                self.hub.counters.retries_postponed_total += 1;
                break;
            }
            let Some(slot) = self.to_retry.pop_front() else {
                break;
            };
            if self.peers.get(slot).is_none() {
                continue;
            }
            if self.is_postponed(slot.index) {
                self.to_retry.push_back(slot);
            } else {
                self.hub.counters.retries_total += 1;
                self.read_listed(slot.index, buffer);
            }
            vain_count += u32::from(self.to_retry.back() == Some(&slot));
        }
        self.to_retry.shrink_to(4096);
    }
}
