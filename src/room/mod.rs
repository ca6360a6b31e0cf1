//! A room is a log, and a member is a cursor into it.
//!
//! Rooms of chat, inboxes of users and raw relays are the same thing under different [`Space`]s. Every shard with
//! members has a [`Room`]; on the shard that the name belongs to it is the [home](Role::Home), which orders the
//! frames, elsewhere a [replica](Role::Replica), which repeats them.

mod batch;
mod home;
mod member;
mod parked;
mod segment;
mod slow;
mod tail;

pub use batch::{Batch, BatchFrame};
pub use home::{Home, Opening, Pending, Step, Subscriber};
pub use member::{Link, Membership, Progress};
pub use parked::Parked;
pub use segment::{Encoding, Frame, Kind};
pub use slow::SlowMode;
pub use tail::{Cut, Runs, Tail};

use crate::hashing::{HashKey, NameIndex};
use crate::proto::Target;
use crate::slots::{Slot, Slots};
use crate::timers::Tick;
use std::sync::Arc;

/// The namespaces of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Rooms of the chat protocol.
    Chat,
    /// Users' inboxes, by the user's name.
    Inbox,
    /// Relays of `/raw/{room}`.
    Raw,
}

/// What a log is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// See [`Space`].
    pub space: Space,
    /// Name of the room or user.
    pub name: Arc<str>,
}

impl Key {
    /// The key's hash: it chooses the shard and the bucket.
    pub fn hash(space: Space, name: &str, key: HashKey) -> u64 {
        // An inbox lives where its user does, so both hash alike.
        key.hash(space as u8, name)
    }

    /// How the log is called on the wire.
    pub fn target(&self) -> Target<'_> {
        match self.space {
            Space::Chat | Space::Raw => Target::room(&self.name),
            Space::Inbox => Target::user(&self.name),
        }
    }
}

/// The connection that a frame came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its shard.
    pub shard: u16,
    /// Its slot there.
    pub slot: Slot,
}

impl Connection {
    /// No connection: the server itself, or one that is not known any more.
    pub const NONE: Connection = Connection {
        shard: u16::MAX,
        slot: Slot::NONE,
    };
}

/// Which part of a room this shard plays.
#[derive(Debug)]
pub enum Role {
    /// It orders the room.
    Home(Box<Home>),
    /// It repeats what the home sends. `synced` once the home's first answer is in: earlier batches are stale.
    Replica {
        /// See above.
        synced: bool,
    },
}

/// Where a room stands in the fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// Everyone awake has everything.
    Idle,
    /// It waits for its pass.
    Waiting,
    /// A pass is under way: members below `next` are still to be served, up to position `end`.
    Running {
        /// See above.
        next: u32,
        /// See above.
        end: u64,
    },
}

/// What came of trimming a room.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trimmed {
    /// Someone fell off the tail.
    pub left_behind: bool,
    /// More could go, but someone who is behind may yet read it.
    pub is_held: bool,
}

/// One room on one shard.
#[derive(Debug)]
pub struct Room {
    /// See [`Key`].
    pub key: Key,
    /// Names the numbering; opaque outside.
    pub epoch: u64,
    /// The frames that memory keeps.
    pub tail: Tail,
    /// How many of the members are sent the second encoding: none is made while there are none.
    pub deflated_count: u32,
    /// This shard's members, in no order; those that are still joining among them.
    pub members: Vec<Membership>,
    /// See [`Role`].
    pub role: Role,
    /// Place of its [rule](crate::rules::RoomRules), if it has one.
    pub rule: Option<u16>,
    /// See [`Fan`].
    pub fan: Fan,
    /// Every member that is awake is past this position.
    pub released: u64,
    /// Messages up to this one are kept nowhere any more: memory is to let go of them.
    pub expired: u64,
    /// Of an inbox: its readers were asked to confirm what came up to this position.
    pub asked: u64,
    /// Bytes of passing frames since the last pass began.
    pub passing_bytes: usize,
    /// The tick for which its timer is armed; 0 if none.
    pub armed: Tick,
    /// Tick at which a frame was last added or a member came or went.
    pub touched: Tick,
}

impl Room {
    /// An empty room behind message `seq` of `epoch`.
    pub fn new(key: Key, role: Role, epoch: u64, seq: u64) -> Room {
        let tail = Tail::new(seq);
        Room {
            key,
            epoch,
            released: tail.head(),
            asked: tail.head(),
            tail,
            deflated_count: 0,
            members: Vec::new(),
            role,
            rule: None,
            fan: Fan::Idle,
            expired: 0,
            passing_bytes: 0,
            armed: 0,
            touched: 0,
        }
    }

    /// Whether it is one of those of which there may be so many: of a room once, at its home, and of an inbox never, as
    /// there are no more of them than users.
    fn is_bounded(&self) -> bool {
        self.home().is_some() && self.key.space != Space::Inbox
    }

    /// The home's part, where this is the home.
    pub fn home(&self) -> Option<&Home> {
        match &self.role {
            Role::Home(home) => Some(home),
            Role::Replica { .. } => None,
        }
    }

    /// See [`Room::home`].
    pub fn home_mut(&mut self) -> Option<&mut Home> {
        match &mut self.role {
            Role::Home(home) => Some(home),
            Role::Replica { .. } => None,
        }
    }

    /// Drops old segments over the bound, and those that are expired, `now`. One that a reader is still behind on is kept
    /// for a moment.
    pub fn trim(&mut self, tail_bytes_max: usize, now: Tick) -> Trimmed {
        let mut trimmed = Trimmed::default();
        self.compact();
        while self.tail.is_over(tail_bytes_max, self.released)
            || self.tail.is_expired(self.expired, self.released)
        {
            let is_recent = self.tail.is_recent(tail_bytes_max, now, self.touched);
            if is_recent && self.is_needed(self.tail.first_end()) {
                trimmed.is_held = true;
                break;
            }
            trimmed.left_behind |= self.drop_first();
        }
        trimmed
    }

    /// Forgets signals and the like that everyone awake has had, on the other shards too.
    fn compact(&mut self) {
        let subscribers = self.home().into_iter().flat_map(|home| &home.subscribers);
        let sent = subscribers.map(|subscriber| subscriber.cursor).min();
        let released = self.released.min(sent.unwrap_or(u64::MAX));
        let Room { tail, members, .. } = self;
        tail.compact(released, |start, end| {
            Room::is_read_between(members, start, end)
        });
    }

    /// Whether someone has yet to read up to `end`.
    fn is_needed(&self, end: u64) -> bool {
        let mut subscribers = self.home().into_iter().flat_map(|home| &home.subscribers);
        let mut members = self.members.iter();
        members.any(|member| member.cursor < end && !member.is_lost())
            || subscribers.any(|subscriber| subscriber.cursor < end)
    }

    /// Drops the oldest segment, and notes for everyone who stood in it where they were. Returns whether there was
    /// such a member.
    pub fn drop_first(&mut self) -> bool {
        let end = self.tail.first_end();
        let left_behind = self.lose(end);
        self.tail.drop_first();
        if let Role::Home(home) = &mut self.role {
            home.lose(end);
        }
        left_behind
    }

    /// Marks everyone before `end` as having lost the frames up to there.
    pub fn lose(&mut self, end: u64) -> bool {
        let mut left_behind = false;
        for member in &mut self.members {
            if member.cursor < end && !member.is_lost() {
                left_behind = true;
                member.lose(&mut self.tail);
            }
        }
        left_behind
    }

    /// Whether a member stands inside a frame between two positions.
    pub fn is_read_between(members: &[Membership], start: u64, end: u64) -> bool {
        members
            .iter()
            .any(|member| member.is_mid_frame() && (start..end).contains(&member.cursor))
    }
}

/// The rooms of one shard, by slot and by key.
#[derive(Debug, Default)]
pub struct Rooms {
    slots: Slots<Room>,
    index: NameIndex,
    home_count: usize,
}

impl Rooms {
    /// Place of the room with this key.
    pub fn find(&self, space: Space, name: &str, hash_key: HashKey) -> Option<u32> {
        self.index.find(Key::hash(space, name, hash_key), |index| {
            self.slots
                .at(index)
                .is_some_and(|room| room.key.space == space && *room.key.name == *name)
        })
    }

    /// Adds a room.
    pub fn insert(&mut self, room: Room, hash_key: HashKey) -> u32 {
        let hash = Key::hash(room.key.space, &room.key.name, hash_key);
        self.home_count += usize::from(room.is_bounded());
        let index = self.slots.insert(room).index;
        let slots = &self.slots;
        self.index
            .insert(hash, index, |index| rehash(slots, index, hash_key));
        index
    }

    /// Takes a room out.
    pub fn remove(&mut self, index: u32, hash_key: HashKey) -> Option<Room> {
        let room = self.slots.at(index)?;
        let hash = Key::hash(room.key.space, &room.key.name, hash_key);
        let slots = &self.slots;
        self.index
            .remove(hash, index, |index| rehash(slots, index, hash_key));
        let room = self.slots.remove(index);
        self.home_count -= usize::from(room.as_ref().is_some_and(Room::is_bounded));
        self.slots.shrink();
        room
    }

    /// The room at a place.
    pub fn at(&self, index: u32) -> Option<&Room> {
        self.slots.at(index)
    }

    /// See [`Rooms::at`].
    pub fn at_mut(&mut self, index: u32) -> Option<&mut Room> {
        self.slots.at_mut(index)
    }

    /// The room that a slot means, if it still is.
    pub fn get(&self, slot: Slot) -> Option<&Room> {
        self.slots.get(slot)
    }

    /// See [`Rooms::get`].
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Room> {
        self.slots.get_mut(slot)
    }

    /// The full slot of the room at a place.
    pub fn slot_at(&self, index: u32) -> Slot {
        self.slots.slot_at(index).unwrap_or(Slot::NONE)
    }

    /// Every room with its place.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Room)> {
        self.slots.iter().map(|(slot, room)| (slot.index, room))
    }

    /// Places that a room may be at: those below this.
    pub fn places(&self) -> u32 {
        self.slots.places()
    }

    /// How many there are of those that are bounded in number, which are counted where they are at home.
    pub fn home_count(&self) -> usize {
        self.home_count
    }

    /// How many there are, replicas and inboxes included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

fn rehash(slots: &Slots<Room>, index: u32, hash_key: HashKey) -> u64 {
    slots.at(index).map_or(0, |room| {
        Key::hash(room.key.space, &room.key.name, hash_key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{BURST_MS, BURST_TAIL_COUNT_MAX, SEGMENT_BYTES};
    use crate::timers::ticks;

    const TAIL_BYTES_MAX: usize = 2 * SEGMENT_BYTES;

    /// A room with a reader at its start that stands still, and with `count` full segments sealed at tick 100.
    fn room(count: usize) -> Room {
        let name = "room".into();
        let space = Space::Raw;
        let mut room = Room::new(Key { space, name }, Role::Replica { synced: true }, 1, 0);
        let mut member = Membership::joining(0, true, 0);
        member.start(room.tail.head(), 0);
        room.members.push(member);
        for _ in 0..=count {
            let frame = [0; SEGMENT_BYTES];
            room.tail
                .append(&frame, None, Kind::Numbered, Connection::NONE);
            room.tail.stamp(100);
        }
        room.released = room.tail.head();
        room
    }

    #[test]
    fn a_burst_loses_no_reader_at_once() {
        let mut room = room(8);
        let trimmed = room.trim(TAIL_BYTES_MAX, 100);
        assert!(trimmed.is_held && !trimmed.left_behind);
        let later = 100 + ticks(BURST_MS);
        assert!(room.trim(TAIL_BYTES_MAX, later - 1).is_held);
        let trimmed = room.trim(TAIL_BYTES_MAX, later);
        assert!(trimmed.left_behind && !trimmed.is_held);
        assert_eq!(room.tail.head() - room.tail.start(), TAIL_BYTES_MAX as u64);
    }

    #[test]
    fn what_has_expired_goes_and_a_reader_that_is_behind_has_a_moment() {
        // The last segment is the one that is not sealed.
        for (expired, left) in [(0, 4), (1, 3), (3, 1), (4, 0), (9, 0)] {
            let mut room = room(3);
            room.touched = 100;
            room.expired = expired;
            let bytes = left * SEGMENT_BYTES as u64;
            let trimmed = room.trim(usize::MAX, 100);
            assert_eq!((trimmed.is_held, trimmed.left_behind), (expired > 0, false));
            let trimmed = room.trim(usize::MAX, 100 + ticks(BURST_MS));
            assert_eq!((trimmed.is_held, trimmed.left_behind), (false, expired > 0));
            assert_eq!(room.tail.head() - room.tail.start(), bytes, "{expired}");
            assert_eq!(room.tail.seq(), 4);
        }
        // What only passes is not of the message before it.
        let mut passing = room(0);
        passing.members.clear();
        passing.tail.reset(1);
        passing
            .tail
            .append(b"psst", None, Kind::Passing, Connection::NONE);
        (passing.released, passing.expired) = (passing.tail.head(), 1);
        passing.trim(usize::MAX, 200);
        assert!(!passing.tail.is_empty());
        let mut room = room(3);
        (room.released, room.expired) = (room.tail.start(), 9);
        room.members.clear();
        room.trim(usize::MAX, 200);
        assert_eq!(room.tail.seq_before(), 0, "the pass is not through yet");
    }

    #[test]
    fn a_burst_has_a_bound() {
        let mut room = room(2 * BURST_TAIL_COUNT_MAX + 4);
        assert!(room.trim(TAIL_BYTES_MAX, 100).left_behind);
        // Whoever is lost is not waited for.
        assert_eq!(room.tail.head() - room.tail.start(), TAIL_BYTES_MAX as u64);
    }

    #[test]
    fn without_readers_behind_the_bound_holds_at_once() {
        let mut room = room(8);
        room.members.clear();
        let trimmed = room.trim(TAIL_BYTES_MAX, 100);
        assert!(!trimmed.is_held && !trimmed.left_behind);
        assert_eq!(room.tail.head() - room.tail.start(), TAIL_BYTES_MAX as u64);
    }
}
