//! Who is muted in a room, or banned from it, and until when. Kept at the home of the room, whether the room is in
//! memory or not.

use crate::hashing::HashKey;
use crate::limits::{SANCTION_COUNT_MAX, SANCTION_PARTS_PER_MODERATOR, SANCTIONS_PER_ROOM_MAX};
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

/// Why there is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Its room has too many, or the shard.
    Room,
    /// Its moderator has given too many.
    Moderator,
}

/// The sanctions of the rooms at home on one shard.
#[derive(Debug)]
pub struct Sanctions {
    sanctions: HashMap<Place, Arc<Sanction>, HashKey>,
    by_room: Counts,
    by_moderator: Counts,
    /// How many are being kept, and come in when they are.
    awaited: usize,
    count_max: usize,
}

impl Sanctions {
    /// Nobody is sanctioned. One of `shard_count` shares the bound on all of them.
    pub fn new(hash_key: HashKey, shard_count: u16) -> Sanctions {
        Sanctions {
            sanctions: HashMap::with_hasher(hash_key),
            by_room: Counts(HashMap::with_hasher(hash_key)),
            by_moderator: Counts(HashMap::with_hasher(hash_key)),
            awaited: 0,
            count_max: SANCTION_COUNT_MAX
                .div_ceil(usize::from(shard_count).max(1))
                .max(SANCTIONS_PER_ROOM_MAX),
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

    /// Takes the room that one needs: it is about to be kept. With `is_bound` its moderator has a part of all alone.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn reserve(&mut self, sanction: &Sanction, is_bound: bool) -> Result<(), Full> {
        self.has_room(sanction, is_bound)?;
        self.awaited += 1;
        Ok(())
    }

    /// Gives that room back: it is kept, or could not be.
    pub fn release(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }

    /// Whether there is room for one more of this room and this moderator, or this one replaces another.
    fn has_room(&self, sanction: &Sanction, is_bound: bool) -> Result<(), Full> {
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
        let is_full = |count: usize, count_max: usize| count + self.awaited >= count_max;
        let of_moderator = self.by_moderator.get(&sanction.by);
        if self.sanctions.contains_key(&place) {
            Ok(())
        } else if is_full(self.sanctions.len(), self.count_max)
            || is_full(self.by_room.get(room), SANCTIONS_PER_ROOM_MAX)
        {
            Err(Full::Room)
        } else if is_bound && is_full(of_moderator, self.count_max / SANCTION_PARTS_PER_MODERATOR) {
            Err(Full::Moderator)
        } else {
            Ok(())
        }
    }

    /// Adds one, in the place of the one before.
    pub fn insert(&mut self, sanction: Arc<Sanction>) {
        let place = Place {
            room: Arc::clone(&sanction.room),
            user: Arc::clone(&sanction.user),
            penalty: sanction.penalty,
        };
        self.by_room.add(&sanction.room);
        self.by_moderator.add(&sanction.by);
        if let Some(before) = self.sanctions.insert(place, sanction) {
            self.uncount(&before);
        }
    }

    fn uncount(&mut self, sanction: &Sanction) {
        self.by_room.subtract(&sanction.room);
        self.by_moderator.subtract(&sanction.by);
    }

    /// Ends one. Says whether it was there.
    pub fn remove(&mut self, room: &str, user: &str, penalty: Penalty) -> bool {
        let place = PlaceRef {
            room,
            user,
            penalty,
        };
        let Some(before) = self.sanctions.remove(&place) else {
            return false;
        };
        self.uncount(&before);
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

/// How many there are under a name.
#[derive(Debug)]
struct Counts(HashMap<Arc<str>, u32, HashKey>);

impl Counts {
    fn get(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0) as usize
    }

    fn add(&mut self, name: &Arc<str>) {
        *self.0.entry(Arc::clone(name)).or_insert(0) += 1;
    }

    fn subtract(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sanction(room: &str, user: &str, until_ms: Option<u64>) -> Arc<Sanction> {
        of("mod", room, user, until_ms)
    }

    fn of(by: &str, room: &str, user: &str, until_ms: Option<u64>) -> Arc<Sanction> {
        Arc::new(Sanction {
            room: room.into(),
            user: user.into(),
            penalty: Penalty::Mute,
            until_ms,
            reason: None,
            by: by.into(),
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
        assert!(sanctions.is_empty());
        assert!(sanctions.by_room.0.is_empty() && sanctions.by_moderator.0.is_empty());
    }

    /// Adds as many as there is room for, of one moderator in rooms that are full one after the other.
    fn fill(sanctions: &mut Sanctions, by: &str, is_bound: bool) -> Full {
        for number in 0.. {
            let room = format!("{by} {}", number / SANCTIONS_PER_ROOM_MAX);
            let next = of(by, &room, &format!("u{number}"), None);
            if let Err(full) = sanctions.has_room(&next, is_bound) {
                return full;
            }
            sanctions.insert(next);
        }
        unreachable!("there is a bound")
    }

    #[test]
    fn a_room_and_a_shard_have_so_many() {
        for shard_count in [1, 2, 5, 6, 64] {
            let mut sanctions = sanctions(shard_count);
            let share = SANCTION_COUNT_MAX.div_ceil(usize::from(shard_count));
            assert_eq!(fill(&mut sanctions, "mod", false), Full::Room);
            assert_eq!(sanctions.len(), share.max(SANCTIONS_PER_ROOM_MAX));
            assert_eq!(sanctions.by_room.get("mod 0"), SANCTIONS_PER_ROOM_MAX);
        }
        let mut sanctions = sanctions(4);
        fill(&mut sanctions, "mod", false);
        // One that is there may be changed still, by another as well.
        let change = of("other", "mod 0", "u0", Some(1));
        assert_eq!(sanctions.has_room(&change, true), Ok(()));
        sanctions.insert(change);
        assert_eq!(sanctions.by_moderator.get("other"), 1);
        sanctions.remove("mod 0", "u0", Penalty::Mute);
        assert_eq!(sanctions.by_moderator.get("other"), 0);
        let in_room = |room| sanction(room, "v", None);
        assert_eq!(sanctions.has_room(&in_room("mod 0"), false), Ok(()));
        sanctions.insert(in_room("mod 0"));
        let user = format!("u{SANCTIONS_PER_ROOM_MAX}");
        assert!(sanctions.remove("mod 1", &user, Penalty::Mute));
        let next = sanction("mod 0", "w", None);
        assert_eq!(sanctions.has_room(&next, false), Err(Full::Room));
        assert_eq!(sanctions.has_room(&in_room("mod 1"), false), Ok(()));
    }

    #[test]
    fn a_moderator_who_is_bound_has_a_part_of_a_shards() {
        for shard_count in [1, 2, 64] {
            let mut sanctions = sanctions(shard_count);
            let part = sanctions.count_max / SANCTION_PARTS_PER_MODERATOR;
            for number in 1..SANCTION_PARTS_PER_MODERATOR {
                let full = fill(&mut sanctions, &format!("m{number}"), true);
                assert_eq!((full, sanctions.len()), (Full::Moderator, number * part));
            }
            // What one has is given back, and who is not bound has the rest.
            assert!(sanctions.remove("m1 0", "u0", Penalty::Mute));
            assert_eq!(fill(&mut sanctions, "m1", true), Full::Moderator);
            assert_eq!(fill(&mut sanctions, "m2", false), Full::Room);
        }
    }
}
