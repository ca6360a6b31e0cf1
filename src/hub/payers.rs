//! Who pays for rooms: the address whose connection had a room made, for as long as the room is in memory.

use super::Hub;
use crate::callers::network_of;
use crate::hashing::HashKey;
use crate::room::Key;
use hashbrown::HashMap;
use std::net::IpAddr;

/// The rooms of this shard's homes that an address pays for.
#[derive(Debug)]
pub struct Payers {
    by_room: HashMap<u32, IpAddr, HashKey>,
    room_counts: HashMap<IpAddr, u32, HashKey>,
}

impl Payers {
    /// Nobody pays for anything.
    pub fn new(hash_key: HashKey) -> Payers {
        Payers {
            by_room: HashMap::with_hasher(hash_key),
            room_counts: HashMap::with_hasher(hash_key),
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

    /// Whether a room is here, or may be made.
    pub(super) fn may_exist(&self, key: &Key, payer: Option<IpAddr>) -> bool {
        let share = |all: u32| all.div_ceil(u32::from(self.place.count));
        let is_paid = payer.is_none_or(|payer| {
            self.payers.room_count(payer) < share(self.limits.rooms_per_address_max)
        });
        self.find(key).is_some()
            || self.rooms.len() < share(self.limits.room_count_max) as usize && is_paid
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
