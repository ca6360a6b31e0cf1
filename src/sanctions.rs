//! Who is muted in a room, or banned from it, and until when. Kept at the home of the room, whether the room is in
//! memory or not.

use crate::hashing::HashKey;
use crate::limits::{SANCTION_COUNT_MAX, SANCTIONS_PER_ROOM_MAX};
use hashbrown::{Equivalent, HashMap};
use std::sync::Arc;

/// What a sanctioned user may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Penalty {
    /// Send anything to the room.
    Mute,
    /// Be in the room.
    Ban,
}

impl Penalty {
    /// Both of them.
    pub const ALL: [Penalty; 2] = [Penalty::Mute, Penalty::Ban];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Penalty::Mute => "mute",
            Penalty::Ban => "ban",
        }
    }
}

/// One user in one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sanction {
    /// The room.
    pub room: Arc<str>,
    /// The user, whoever holds the name.
    pub user: Arc<str>,
    /// See [`Penalty`].
    pub penalty: Penalty,
    /// When it ends, in milliseconds since the Unix epoch; never where it is not told.
    pub until_ms: Option<u64>,
    /// Why, in the words of the moderator.
    pub reason: Option<Box<str>>,
    /// The moderator.
    pub by: Arc<str>,
    /// When it began, in milliseconds since the Unix epoch.
    pub since_ms: u64,
}

impl Sanction {
    /// Whether it has not ended yet.
    pub fn is_running(&self, unix_ms: u64) -> bool {
        self.until_ms.is_none_or(|until_ms| until_ms > unix_ms)
    }

    /// For how many milliseconds it goes on, where that is known.
    pub fn rest_ms(&self, unix_ms: u64) -> Option<u64> {
        Some(self.until_ms?.saturating_sub(unix_ms))
    }
}

/// Whom and what a sanction is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    room: Arc<str>,
    user: Arc<str>,
    penalty: Penalty,
}

/// The same, borrowed.
#[derive(Clone, Copy, Hash)]
struct PlaceRef<'a> {
    room: &'a str,
    user: &'a str,
    penalty: Penalty,
}

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        (self.penalty, self.user, self.room) == (place.penalty, &*place.user, &*place.room)
    }
}

/// The sanctions of the rooms at home on one shard.
#[derive(Debug)]
pub struct Sanctions {
    sanctions: HashMap<Place, Arc<Sanction>, HashKey>,
    by_room: HashMap<Arc<str>, u32, HashKey>,
    /// How many are being kept, and come in when they are.
    awaited: usize,
    count_max: usize,
}

impl Sanctions {
    /// Nobody is sanctioned. One of `shard_count` shares the bound on all of them.
    pub fn new(hash_key: HashKey, shard_count: u16) -> Sanctions {
        Sanctions {
            sanctions: HashMap::with_hasher(hash_key),
            by_room: HashMap::with_hasher(hash_key),
            awaited: 0,
            count_max: SANCTION_COUNT_MAX.div_ceil(usize::from(shard_count).max(1)),
        }
    }

    /// Whether nobody is sanctioned.
    pub fn is_empty(&self) -> bool {
        self.sanctions.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sanctions.len()
    }

    /// What keeps a user from something in a room now.
    pub fn find(
        &self,
        room: &str,
        user: &str,
        penalty: Penalty,
        unix_ms: u64,
    ) -> Option<&Arc<Sanction>> {
        let place = PlaceRef {
            room,
            user,
            penalty,
        };
        let sanction = self.sanctions.get(&place)?;
        Some(sanction).filter(|sanction| sanction.is_running(unix_ms))
    }

    /// Takes the room that one needs, if there is any: it is about to be kept.
    pub fn reserve(&mut self, sanction: &Sanction) -> bool {
        let has_room = self.has_room(sanction);
        self.awaited += usize::from(has_room);
        has_room
    }

    /// Gives that room back: it is kept, or could not be.
    pub fn release(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }

    /// Whether there is room for one more of this room, or this one replaces another.
    fn has_room(&self, sanction: &Sanction) -> bool {
        let Sanction {
            room,
            user,
            penalty,
            ..
        } = sanction;
        let place = PlaceRef {
            room,
            user,
            penalty: *penalty,
        };
        let of_room = self.by_room.get(room).copied().unwrap_or(0) as usize;
        self.sanctions.contains_key(&place)
            || (self.sanctions.len() + self.awaited < self.count_max
                && of_room + self.awaited < SANCTIONS_PER_ROOM_MAX)
    }

    /// Adds one, in the place of the one before.
    pub fn insert(&mut self, sanction: Arc<Sanction>) {
        let place = Place {
            room: Arc::clone(&sanction.room),
            user: Arc::clone(&sanction.user),
            penalty: sanction.penalty,
        };
        let room = Arc::clone(&sanction.room);
        if self.sanctions.insert(place, sanction).is_none() {
            *self.by_room.entry(room).or_insert(0) += 1;
        }
    }

    /// Ends one. Says whether it was there.
    pub fn remove(&mut self, room: &str, user: &str, penalty: Penalty) -> bool {
        let place = PlaceRef {
            room,
            user,
            penalty,
        };
        if self.sanctions.remove(&place).is_none() {
            return false;
        }
        if let Some(count) = self.by_room.get_mut(room) {
            *count -= 1;
            if *count == 0 {
                self.by_room.remove(room);
            }
        }
        self.sanctions.shrink_to(self.sanctions.len() * 2);
        true
    }

    /// Takes out what has ended.
    pub fn expire(&mut self, unix_ms: u64) -> Vec<Arc<Sanction>> {
        let over = self.sanctions.values();
        let over = over.filter(|sanction| !sanction.is_running(unix_ms));
        let over: Vec<Arc<Sanction>> = over.cloned().collect();
        for sanction in &over {
            self.remove(&sanction.room, &sanction.user, sanction.penalty);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sanction(room: &str, user: &str, until_ms: Option<u64>) -> Arc<Sanction> {
        Arc::new(Sanction {
            room: room.into(),
            user: user.into(),
            penalty: Penalty::Mute,
            until_ms,
            reason: None,
            by: "mod".into(),
            since_ms: 0,
        })
    }

    fn sanctions(shard_count: u16) -> Sanctions {
        Sanctions::new(HashKey::new((1, 2)), shard_count)
    }

    #[test]
    fn a_sanction_is_of_one_user_in_one_room_until_it_ends() {
        let mut sanctions = sanctions(1);
        sanctions.insert(sanction("r", "ann", Some(50)));
        sanctions.insert(sanction("r", "bob", None));
        for (room, user, penalty, unix_ms, is_there) in [
            ("r", "ann", Penalty::Mute, 49, true),
            ("r", "ann", Penalty::Mute, 50, false),
            ("r", "ann", Penalty::Ban, 0, false),
            ("s", "ann", Penalty::Mute, 0, false),
            ("r", "bob", Penalty::Mute, u64::MAX, true),
        ] {
            let found = sanctions.find(room, user, penalty, unix_ms).is_some();
            assert_eq!(found, is_there, "{room} {user} {penalty:?} {unix_ms}");
        }
        sanctions.insert(sanction("r", "ann", Some(80)));
        assert_eq!(sanctions.len(), 2);
        assert_eq!(sanctions.expire(79).len(), 0);
        assert_eq!(sanctions.expire(80).len(), 1);
        assert!(sanctions.remove("r", "bob", Penalty::Mute));
        assert!(!sanctions.remove("r", "bob", Penalty::Mute));
        assert!(sanctions.is_empty() && sanctions.by_room.is_empty());
    }

    #[test]
    fn a_room_and_a_shard_have_so_many() {
        let mut sanctions = sanctions(4);
        let share = SANCTION_COUNT_MAX / 4;
        for number in 0.. {
            let room = format!("r{}", number / SANCTIONS_PER_ROOM_MAX);
            let next = sanction(&room, &format!("u{number}"), None);
            if !sanctions.has_room(&next) {
                assert_eq!(sanctions.len(), share);
                break;
            }
            sanctions.insert(next);
        }
        // One that is there may be changed still.
        assert!(sanctions.has_room(&sanction("r0", "u0", Some(1))));
        sanctions.remove("r0", "u0", Penalty::Mute);
        assert!(sanctions.has_room(&sanction("r0", "v", None)));
        sanctions.insert(sanction("r0", "v", None));
        sanctions.remove("r1", &format!("u{SANCTIONS_PER_ROOM_MAX}"), Penalty::Mute);
        assert!(
            !sanctions.has_room(&sanction("r0", "w", None)),
            "its room is full"
        );
        assert!(sanctions.has_room(&sanction("r1", "w", None)));
    }
}
