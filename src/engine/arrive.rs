//! New connections: taken, or turned away with advice as long as that costs little.

use super::{Engine, Now, Socket};
use crate::callers::{Caller, Seat, TurnedAway};
use crate::http::{Refusal, Route};
use crate::limits::{
    RETRY_AFTER_S, TOLD_OVER_TLS_COUNT_PER_S, TURNED_AWAY_COUNT_MAX, TURNED_AWAY_MS,
};
use crate::log::LogPort;
use crate::peer::{Marks, Peer};
use crate::rates::{Bucket, Rate};
use crate::slots::Slot;
use crate::timers::ticks;
use std::net::IpAddr;

/// What someone is told who came when all connections or all memory was taken.
pub(super) const FULL: Refusal = Refusal::unavailable("the server is full", RETRY_AFTER_S);

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Takes a new connection. `make` registers its socket under the slot and hands it over. One that is too many is
    /// told so; of those, one too many is closed at once, before anything is made for it.
    pub fn accept(
        &mut self,
        now: Now,
        caller: Caller,
        make: impl FnOnce(Slot, &mut S::Common) -> Option<S>,
    ) {
        let seat = match self.is_draining {
            true => Err(TurnedAway::Stopping),
            false => self.site.admit(caller.address, now.mono_ms),
        };
        if let Err(denial) = seat {
            self.count(denial);
            if !self.may_tell(denial, caller.is_plain, now.mono_ms) {
                return;
            }
        }
        let slot = self.peers.next_slot();
        let Some(socket) = make(slot, &mut self.common) else {
            if let Ok(seat) = seat {
                self.site.release(seat, now.mono_ms);
            }
            return;
        };
        self.now = now;
        self.hub.counters.accepted_total += 1;
        self.peers.insert(Peer::new(socket, now.tick()));
        if let Ok(seat) = seat {
            self.take_in(slot.index, seat);
        }
        let of_socket = || self.peers.get(slot)?.socket.address();
        self.note_origin(slot, caller.address.or_else(of_socket));
        let handshake_ms = self.settings.limits.handshake_ms;
        self.arm(slot.index, now.tick() + ticks(handshake_ms));
        if let Err(denial) = seat {
            self.turn_away(slot, denial);
        }
    }

    /// The address of a connection's client is known now, or turns out to be another one: from here on the connection
    /// counts there. False: there are too many of that address, so the connection ends, and has given its place back as
    /// one has that is turned away when it is accepted. It is told why if `is_plain`, which is that no handshake is
    /// needed for it, and as long as there are places for that.
    ///
    /// It is for connections that come through a proxy, once that has said whose they are. Each call counts as one
    /// handshake of the address, so it is made once for a connection, or once for each upgrade.
    pub(super) fn reseat(&mut self, slot: Slot, address: IpAddr, is_plain: bool) -> bool {
        if self.is_turned_away(slot) {
            return true;
        }
        let old = self.seats.get(&slot.index).copied();
        let old = old.unwrap_or(Seat::UNCOUNTED);
        let mono_ms = self.now.mono_ms;
        match self.site.reseat(old, address, mono_ms) {
            Ok(seat) => {
                self.take_in(slot.index, seat);
                true
            }
            Err(denial) => {
                self.count(denial);
                if self.may_tell(denial, is_plain, mono_ms) {
                    let seat = self.take_seat(slot.index);
                    self.site.release(seat, mono_ms);
                    self.turn_away(slot, denial);
                } else {
                    self.doom(slot.index);
                }
                false
            }
        }
    }

    /// Notes whether a connection comes from this machine itself, as far as that is known now.
    pub(super) fn note_origin(&mut self, slot: Slot, address: Option<IpAddr>) {
        let is_local = address.is_some_and(|address| address.to_canonical().is_loopback());
        if let Some(peer) = self.peers.get_mut(slot) {
            match is_local {
                true => _ = peer.marks.set(Marks::LOCAL),
                false => peer.marks.clear(Marks::LOCAL),
            }
        }
    }

    fn take_in(&mut self, index: u32, seat: Seat) {
        match seat {
            Seat::UNCOUNTED => _ = self.seats.remove(&index),
            seat => _ = self.seats.insert(index, seat),
        }
    }

    /// The seat of a connection that has gone.
    pub(super) fn take_seat(&mut self, index: u32) -> Seat {
        let seat = self.seats.remove(&index).unwrap_or(Seat::UNCOUNTED);
        if self.seats.capacity() > 1024 && self.seats.len() < self.seats.capacity() / 4 {
            self.seats.shrink_to_fit();
        }
        seat
    }

    /// Lets the address of a connection pay for a room that its next join has made.
    pub(super) fn pay_rooms(&mut self, slot: Slot) {
        let address = self.address(slot);
        self.hub.joins_from(address);
    }

    /// Whether there is a place in which a connection can be told why it is turned away. Where that is not plain, it takes
    /// a handshake, so that few are told, and none of an address that asks for so many.
    fn may_tell(&mut self, denial: TurnedAway, is_plain: bool, mono_ms: u64) -> bool {
        if self.turned_away_count >= told_count_max(denial) {
            return false;
        }
        is_plain
            || match denial {
                TurnedAway::Full | TurnedAway::Memory => self.told_over_tls.take(mono_ms),
                TurnedAway::AddressFull
                | TurnedAway::AddressHasty { .. }
                | TurnedAway::Stopping => false,
            }
    }

    /// Tells a connection that there are too many. Where that is so of all together, it may ask for something first:
    /// how the server is can be asked at any time.
    fn turn_away(&mut self, slot: Slot, denial: TurnedAway) {
        self.turned_away_count += 1;
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.marks.set(Marks::TURNED_AWAY);
        }
        match denial {
            TurnedAway::Full | TurnedAway::Memory => {
                self.arm(slot.index, self.now.tick() + ticks(TURNED_AWAY_MS));
            }
            TurnedAway::AddressFull | TurnedAway::AddressHasty { .. } | TurnedAway::Stopping => {
                let reply = self.closing();
                self.refuse_request(slot, reply, refusal_of(denial));
            }
        }
    }

    /// Whether what a connection asks for is answered: all of it, unless it was one too many.
    pub(super) fn may_ask_for(&self, slot: Slot, route: &Route<'_>) -> bool {
        !self.is_turned_away(slot) || matches!(route, Route::Health | Route::Ready | Route::Metrics)
    }

    /// Whether a connection was one too many.
    pub(super) fn is_turned_away(&self, slot: Slot) -> bool {
        let peer = self.peers.get(slot);
        peer.is_some_and(|peer| peer.marks.has(Marks::TURNED_AWAY))
    }

    fn count(&mut self, denial: TurnedAway) {
        let counters = &mut self.hub.counters;
        match denial {
            TurnedAway::Full | TurnedAway::Stopping => counters.turned_away_total += 1,
            TurnedAway::Memory => counters.memory_full_total += 1,
            TurnedAway::AddressFull => counters.address_full_total += 1,
            TurnedAway::AddressHasty { .. } => counters.address_hasty_total += 1,
        }
    }
}

/// How often connections with TLS were told of late that there are too many.
#[derive(Debug, Default)]
pub(super) struct ToldOverTls(Bucket);

impl ToldOverTls {
    fn take(&mut self, mono_ms: u64) -> bool {
        Rate::per_s(TOLD_OVER_TLS_COUNT_PER_S).is_none_or(|rate| self.0.take(rate, mono_ms).is_ok())
    }
}

/// How many may be told at a time. An address that floods does not use up the places of the others.
fn told_count_max(denial: TurnedAway) -> u32 {
    match denial {
        TurnedAway::Full | TurnedAway::Memory | TurnedAway::Stopping => TURNED_AWAY_COUNT_MAX,
        TurnedAway::AddressFull | TurnedAway::AddressHasty { .. } => TURNED_AWAY_COUNT_MAX / 2,
    }
}

fn refusal_of(denial: TurnedAway) -> Refusal {
    match denial {
        TurnedAway::Full | TurnedAway::Memory => FULL,
        TurnedAway::AddressFull => {
            Refusal::too_many("too many connections from your address", RETRY_AFTER_S)
        }
        TurnedAway::AddressHasty { wait_ms } => {
            let wait_s = u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX);
            Refusal::too_many("your address connects too often", wait_s)
        }
        TurnedAway::Stopping => Refusal::unavailable("the server is stopping", RETRY_AFTER_S),
    }
}
