//! What an operator sees of a shard: its largest rooms, or its busiest connections.
//!
//! A shard looks at a stretch of them in each turn, so that nobody waits for it, and keeps only the largest. What it
//! finds is no snapshot: rooms and connections come and go in between.

use super::{Engine, Socket};
use crate::hub::RoomView;
use crate::limits::LOOK_COUNT_PER_TURN;
use crate::log::LogPort;
use crate::peer::{Phase, Traffic};
use smol_str::SmolStr;
use std::net::IpAddr;

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// Its shard.
    pub shard: u16,
    /// Where its client is, as far as that is known.
    pub address: Option<IpAddr>,
    /// Whose it is, once settled.
    pub user: Option<SmolStr>,
    /// See [`Phase`].
    pub phase: Phase,
    /// The rooms that it is in or joining.
    pub room_count: u16,
    /// What went over it.
    pub traffic: Traffic,
}

/// A look at everything of one kind, over several turns.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The place where the next turn begins.
    at: u32,
    /// What was found so far.
    pub found: Found,
}

/// What a survey has found.
#[derive(Clone, Debug)]
pub enum Found {
    /// Rooms and relays at home on the shard, by connections.
    Rooms(Largest<RoomView>),
    /// Connections of the shard, by bytes.
    Connections(Largest<ConnectionView>),
}

impl Found {
    /// How many there were to look at.
    pub fn offered(&self) -> u64 {
        match self {
            Found::Rooms(rooms) => rooms.offered,
            Found::Connections(connections) => connections.offered,
        }
    }

    /// The largest of both. What another kind of survey found adds nothing.
    pub fn merge(self, other: Found) -> Found {
        match (self, other) {
            (Found::Rooms(all), Found::Rooms(more)) => Found::Rooms(all.merge(more)),
            (Found::Connections(all), Found::Connections(more)) => {
                Found::Connections(all.merge(more))
            }
            (all @ Found::Rooms(_), Found::Connections(_))
            | (all @ Found::Connections(_), Found::Rooms(_)) => all,
        }
    }
}

impl Survey {
    /// Looks for so many of the rooms with the most connections.
    pub fn of_rooms(most: usize) -> Survey {
        Survey {
            at: 0,
            found: Found::Rooms(Largest::new(most)),
        }
    }

    /// Looks for so many of the connections with the most bytes.
    pub fn of_connections(most: usize) -> Survey {
        Survey {
            at: 0,
            found: Found::Connections(Largest::new(most)),
        }
    }
}

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Looks on, for this turn. Returns whether that was all.
    pub fn look(&self, survey: &mut Survey) -> bool {
        let end = survey.at.saturating_add(LOOK_COUNT_PER_TURN);
        let places = survey.at..end;
        survey.at = end;
        match &mut survey.found {
            Found::Rooms(found) => {
                let views = places.filter_map(|index| self.hub.room_view(index));
                views.for_each(|view| found.offer(u64::from(view.connections), view));
                end >= self.hub.rooms.places()
            }
            Found::Connections(found) => {
                let views = places.filter_map(|index| self.connection_view(index));
                views.for_each(|view| found.offer(view.traffic.bytes(), view));
                end >= self.peers.places()
            }
        }
    }

    fn connection_view(&self, index: u32) -> Option<ConnectionView> {
        let slot = self.peers.slot_at(index)?;
        let peer = self.peers.get(slot)?;
        let (user, room_count) = self.hub.client_view(slot);
        Some(ConnectionView {
            shard: self.place.shard,
            address: self.address(slot),
            user,
            phase: peer.phase,
            room_count,
            traffic: peer.socket.traffic(),
        })
    }
}

/// The largest of what was offered.
#[derive(Clone, Debug)]
pub struct Largest<T> {
    most: usize,
    /// In no order; up to twice as many as are wanted.
    kept: Vec<(u64, T)>,
    /// What was offered in all.
    pub offered: u64,
}

impl<T> Largest<T> {
    /// Keeps so many.
    pub fn new(most: usize) -> Largest<T> {
        Largest {
            most,
            kept: Vec::new(),
            offered: 0,
        }
    }

    /// One of this size.
    pub fn offer(&mut self, size: u64, item: T) {
        self.offered += 1;
        self.kept.push((size, item));
        if self.kept.len() >= self.most.saturating_mul(2).max(1) {
            self.cut();
        }
    }

    /// The largest of both.
    pub fn merge(mut self, other: Largest<T>) -> Largest<T> {
        self.offered += other.offered;
        self.kept.extend(other.kept);
        self.cut();
        self
    }

    /// What is kept, the largest first.
    pub fn into_sorted(mut self) -> Vec<T> {
        self.cut();
        self.kept.into_iter().map(|(_, item)| item).collect()
    }

    fn cut(&mut self) {
        self.kept.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        self.kept.truncate(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_largest_are_kept(sizes in prop::collection::vec(0..50_u64, 0..60), most in 0..12_usize, cut in 0..60_usize) {
            let (first, second) = sizes.split_at(cut.min(sizes.len()));
            let mut whole = Largest::new(most);
            for sizes in [first, second] {
                let mut part = Largest::new(most);
                for size in sizes {
                    part.offer(*size, *size);
                    prop_assert!(part.kept.len() < (2 * most).max(1));
                }
                whole = whole.merge(part);
            }
            prop_assert_eq!(whole.offered, sizes.len() as u64);
            let mut sorted = sizes.clone();
            sorted.sort_by_key(|size| std::cmp::Reverse(*size));
            sorted.truncate(most);
            prop_assert_eq!(whole.into_sorted(), sorted);
        }
    }
}
