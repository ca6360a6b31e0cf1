//! How many rooms there may be, and who pays for them: the address whose connection had a room made, for as long as the
//! room is in memory.

use super::Hub;
use crate::callers::network_of;
use crate::hashing::HashKey;
use crate::limits::{KEPT_HOLD_MS, ROOM_SWEEP_COUNT_MIN, ROOM_SWEEP_MS, ROOM_SWEEP_PART};
use crate::mail::Denied;
use crate::proto::Code;
use crate::room::{Home, Key, Room, Space};
use crate::timers::{Tick, ticks};
use hashbrown::HashMap;
use std::net::IpAddr;

/// Which bound of rooms is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    /// That of the server: others may leave theirs.
    OfServer,
    /// That of the client's address.
    OfAddress,
}

impl TooMany {
    /// What the client is told.
    pub fn denied(self) -> Box<Denied> {
        match self {
            TooMany::OfAddress => {
                let text =
                    "your address has had as many rooms made as it may: join one that exists";
                Denied::new(Code::TooManyRooms, text)
            }
            TooMany::OfServer => Box::new(Denied {
                code: Code::TooManyRooms,
                message: "the server has no place for another room now: come back later".into(),
                is_for_now: true,
                retry_after_ms: Some(KEPT_HOLD_MS.into()),
            }),
        }
    }
}

/// The rooms of this shard's homes that an address pays for.
#[derive(Debug)]
pub struct Payers {
    by_room: HashMap<u32, IpAddr, HashKey>,
    room_counts: HashMap<IpAddr, u32, HashKey>,
    /// Before this no place is made for rooms.
    next_sweep: Tick,
}

impl Payers {
    /// Nobody pays for anything.
    pub fn new(hash_key: HashKey) -> Payers {
        Payers {
            by_room: HashMap::with_hasher(hash_key),
            room_counts: HashMap::with_hasher(hash_key),
            next_sweep: 0,
        }
    }

    /// Rooms that an address pays for.
    fn room_count(&self, payer: IpAddr) -> u32 {
        self.room_counts.get(&payer).copied().unwrap_or(0)
    }

    fn charge(&mut self, room: u32, payer: IpAddr) {
        debug_assert!(!self.by_room.contains_key(&room), "a room is paid for once");
        self.by_room.insert(room, payer);
        *self.room_counts.entry(payer).or_insert(0) += 1;
    }

    /// A room has gone.
    pub fn release(&mut self, room: u32) {
        if let Some(payer) = self.by_room.remove(&room)
            && let Some(count) = self.room_counts.get_mut(&payer)
        {
            *count -= 1;
            if *count == 0 {
                self.room_counts.remove(&payer);
            }
        }
    }
}

impl Hub {
    /// Says where the connection is whose join comes next.
    pub fn joins_from(&mut self, address: Option<IpAddr>) {
        let limits = &self.limits;
        let is_bound =
            |address: &IpAddr| limits.bounds_loopback || !address.to_canonical().is_loopback();
        self.payer = address
            .filter(|_| limits.rooms_per_address_max > 0)
            .filter(is_bound)
            .map(network_of);
    }

    /// Why a room that is not here may not be made.
    pub(super) fn one_too_many(&self, key: &Key, payer: Option<IpAddr>) -> Option<TooMany> {
        let bound = self.share(self.limits.rooms_per_address_max);
        let is_paid = |payer| (self.payers.room_count(payer) as usize) < bound;
        if self.find(key).is_some() {
            None
        } else if !payer.is_none_or(is_paid) {
            Some(TooMany::OfAddress)
        } else {
            (self.rooms.home_count() >= self.room_count_max()).then_some(TooMany::OfServer)
        }
    }

    /// At the home: where a room that is asked for is one too many, rooms that nobody is in go before their time, those
    /// first that have been empty for longest. To look for them takes the longer the more rooms there are, so that is
    /// not done for each, and several go at once.
    pub(super) fn make_place(&mut self, key: &Key) {
        let (bound, now) = (self.room_count_max(), self.now.tick());
        if self.rooms.home_count() < bound
            || self.find(key).is_some()
            || now < self.payers.next_sweep
        {
            return;
        }
        self.payers.next_sweep = now + ticks(ROOM_SWEEP_MS);
        let is_empty = |room: &Room| {
            let is_deserted = room.home().is_some_and(Home::is_deserted);
            room.key.space == Space::Chat && room.members.is_empty() && is_deserted
        };
        let rooms = self.rooms.iter().filter(|(_, room)| is_empty(room));
        let mut rooms: Vec<(Tick, u32)> =
            rooms.map(|(index, room)| (room.touched, index)).collect();
        rooms.sort_unstable();
        rooms.truncate(ROOM_SWEEP_COUNT_MIN.max(bound / ROOM_SWEEP_PART));
        self.counters.rooms_dropped_total += rooms.len() as u64;
        rooms
            .into_iter()
            .for_each(|(_, room)| self.remove_room(room));
    }

    fn room_count_max(&self) -> usize {
        self.share(self.limits.room_count_max)
    }

    /// This shard's part of a bound.
    fn share(&self, all: u32) -> usize {
        all.div_ceil(u32::from(self.place.count)) as usize
    }

    /// A room that may exist; where it is made at its home, somebody pays for it.
    pub(super) fn find_or_make_for(&mut self, key: &Key, payer: Option<IpAddr>) -> u32 {
        let is_home = self.home_of(key.space, &key.name) == self.place.shard;
        let payer = payer.filter(|_| is_home && self.find(key).is_none());
        let index = self.find_or_make(key);
        if let Some(payer) = payer {
            self.payers.charge(index, payer);
        }
        index
    }
}
