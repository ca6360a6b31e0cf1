//! The rooms and users of one shard: commands go in, effects and mail come out.
//!
//! The hub knows connections only by their slot. A command is checked where its connection is, then sent to the home
//! of its room or user, which may be this shard; there it is applied, and the answer comes back the same way.
//!
//! | file | what |
//! |---|---|
//! | `clients` | which user a connection is, and the ring of its memberships |
//! | `identity` | who a connection is: asking for a name, guests, the `welcome` |
//! | `claims` | names at their home: who may have one, and for how long |
//! | `owners` | whose share of all names a claim counts in, and since when a name is its owner's |
//! | `inboxes` | inboxes at their home: where one stands |
//! | `permits` | what tokens allow their connections, and until when |
//! | `command` | the commands of the protocol, at the connection's side |
//! | `join` | joining and leaving at the connection's side |
//! | `admission` | joining at the home: who is let in, and how a shard comes to follow |
//! | `members` | what only members may do, and that they leave, at the home |
//! | `payers` | how many rooms there may be, and who pays for them |
//! | `publish` | messages and signals on their way into a log |
//! | `objections` | why a message is not to be kept |
//! | `access` | who may do what in a room |
//! | `deletion` | deleting messages |
//! | `append` | answers of the log service, and frames into segments |
//! | `stored` | what the log service keeps beyond what memory holds |
//! | `deflater` | the second encoding of frames |
//! | `moderation` | kicks, mutes and bans |
//! | `record` | what is written down about them |
//! | `presence` | who is there, and telling it |
//! | `pages` | history and members, at the home |
//! | `parking` | what waits for a log that is not open yet |
//! | `replica` | frames between a home and its replicas |
//! | `upkeep` | timers, memory, rooms that nobody needs |
//! | `audit` | what holds between two turns, for the simulator |

mod access;
mod admission;
mod append;
mod audit;
mod claims;
mod clients;
mod command;
mod deflater;
mod deletion;
mod identity;
mod inboxes;
mod join;
mod members;
mod moderation;
mod objections;
mod overview;
mod owners;
mod pages;
mod parking;
mod payers;
mod permits;
mod post;
mod presence;
mod publish;
mod record;
mod replica;
mod stored;
mod upkeep;

pub use claims::Restored;
pub use clients::{Client, Clients, Identity};
pub use command::since_of;
pub use deflater::{FrameDeflater, WINDOW_BITS};
pub use identity::Hello;
pub use overview::RoomView;
pub use permits::Validity;
pub use record::Record;
pub use stored::encode_gap;

use self::owners::Claimed;
use self::payers::Payers;
use self::permits::Permits;
use self::post::Outbox;
use crate::counters::Counters;
use crate::effects::Effects;
use crate::hashing::HashKey;
use crate::limits::{Limits, RETURN_MS_END, RETURN_MS_MIN};
use crate::log::{LogPort, Read, Request, Submission};
use crate::mail::{Mail, Reserve};
use crate::rights::Rights;
use crate::room::{Connection, Fan, Key, Link, Parked, Role, Room, Rooms, Space};
use crate::rules::RoomRules;
use crate::sanctions::Sanctions;
use crate::slots::Slot;
use crate::timers::{Tick, Wheel, tick_at};
use crate::users::{Claim, Users};
use hashbrown::{HashMap, HashSet};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// The two clocks, read once per turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the start of the process; never runs backwards.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch, for people.
    pub unix_ms: u64,
}

impl Now {
    /// The tick of the timers.
    pub fn tick(self) -> Tick {
        tick_at(self.mono_ms)
    }
}

/// Where a hub stands among the shards of its process.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// This shard.
    pub shard: u16,
    /// How many there are.
    pub count: u16,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Hub {
    place: Place,
    hash_key: HashKey,
    /// Hashes ids, for as long as they are remembered.
    id_key: HashKey,
    limits: Limits,
    durable: bool,
    rng: StdRng,
    now: Now,
    /// The rooms of this shard.
    pub rooms: Rooms,
    users: Users,
    clients: Clients,
    room_rules: Arc<RoomRules>,
    /// Of the connections that have any, by place.
    rights: HashMap<u32, Rights, HashKey>,
    sanctions: Sanctions,
    permits: Permits,
    /// What is to be done to connections.
    pub effects: Effects,
    /// What is written down about moderation.
    pub record: Record,
    /// What was counted.
    pub counters: Counters,
    /// Rooms that wait for their pass of the fan-out, oldest first.
    pub dirty: VecDeque<Slot>,
    outboxes: Vec<Outbox>,
    /// Mail to this shard itself, taken after each command.
    local: VecDeque<Mail>,
    submission: Submission,
    /// What the log service last said of how it keeps up.
    pace: stored::Pace,
    /// What is to be asked of the log service at the end of the turn.
    reads: Vec<Read>,
    /// Connections whose reading failed, and when they may ask again.
    late_reads: VecDeque<(Tick, Slot)>,
    /// Claims that the log service is keeping, by user, with the mail that waits for that.
    claiming: HashMap<u32, Parked, HashKey>,
    /// Users whose inbox was empty, as far as is known, when a message for it was refused that may be kept after all.
    doubted: HashSet<u32, HashKey>,
    /// Homes whose replicas may be behind.
    unsent: Vec<Slot>,
    /// Rooms off whose tails members fell: the oldest first, among them all that keep frames for those.
    stalled: Vec<Slot>,
    timers: Wheel,
    /// By user: the names that are claimed.
    claims: HashMap<u32, Claimed, HashKey>,
    claims_by_address: HashMap<IpAddr, u32, HashKey>,
    payers: Payers,
    /// Who pays for a room that the next join has made.
    payer: Option<IpAddr>,
    log_bytes: usize,
    /// What waits for logs that are not open yet, in bytes.
    parked_bytes: usize,
    /// Joins that connections of this shard have asked for.
    join_count: u64,
    /// At the homes: joins that were refused, by shard and number, until their leave comes. Each join is ended by one
    /// leave, which is sent with the number of the join when the answer has not come or is a refusal: so it is known of
    /// which it is, and no more of them stand here than are on their way.
    refused_joins: HashSet<(u16, u64), HashKey>,
    hour: u16,
    /// Makes the second encoding of frames.
    pub deflater: FrameDeflater,
    name: String,
    text: Vec<u8>,
    frame: Vec<u8>,
}

impl Hub {
    /// A hub without rooms. `seed` feeds everything random; `hash_key` is the same on all shards.
    pub fn new(
        place: Place,
        limits: Limits,
        room_rules: Arc<RoomRules>,
        log: &impl LogPort,
        hash_key: HashKey,
        seed: [u8; 32],
    ) -> Hub {
        Hub {
            place,
            hash_key,
            id_key: log.id_key().unwrap_or(hash_key),
            limits,
            durable: log.is_durable(),
            rng: StdRng::from_seed(seed),
            now: Now {
                mono_ms: 0,
                unix_ms: 0,
            },
            rooms: Rooms::default(),
            users: Users::default(),
            clients: Clients::default(),
            room_rules,
            rights: HashMap::with_hasher(hash_key),
            sanctions: Sanctions::new(hash_key, place.count),
            permits: Permits::new(hash_key),
            effects: Effects::default(),
            record: Record::default(),
            counters: Counters::default(),
            dirty: VecDeque::new(),
            outboxes: (0..place.count).map(|_| Outbox::default()).collect(),
            local: VecDeque::new(),
            submission: Submission::default(),
            pace: stored::Pace::default(),
            reads: Vec::new(),
            late_reads: VecDeque::new(),
            claiming: HashMap::with_hasher(hash_key),
            doubted: HashSet::with_hasher(hash_key),
            unsent: Vec::new(),
            stalled: Vec::new(),
            timers: Wheel::new(0),
            claims: HashMap::with_hasher(hash_key),
            claims_by_address: HashMap::with_hasher(hash_key),
            payers: Payers::new(hash_key),
            payer: None,
            log_bytes: 0,
            parked_bytes: 0,
            join_count: 0,
            refused_joins: HashSet::with_hasher(hash_key),
            hour: upkeep::FIRST_HOUR,
            deflater: FrameDeflater::default(),
            name: String::new(),
            text: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Whether the log service keeps more than memory does.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Sets the clocks of a turn.
    pub fn begin(&mut self, now: Now) {
        self.now = now;
        self.deflater.begin();
    }

    /// Takes one piece of mail of another shard.
    pub fn take(&mut self, from: u16, mail: Mail) {
        self.counters.mail_total += 1;
        self.deliver(from, mail);
        self.settle();
    }

    /// Submits what was said to the log service and applies what it answers, until it has no more answers now.
    pub fn commit(&mut self, log: &mut impl LogPort) {
        self.take_found(log);
        loop {
            if !self.submission.is_empty() {
                log.submit(std::mem::take(&mut self.submission), self.now.unix_ms);
            }
            let Some(answers) = log.take() else { break };
            self.answered(answers);
            self.settle();
        }
        self.ask_reads(log);
        self.look_at(log);
    }

    fn find(&self, key: &Key) -> Option<u32> {
        self.rooms.find(key.space, &key.name, self.hash_key)
    }

    /// The room with this key, made if there is none; its home part too, where this is its home.
    fn find_or_make(&mut self, key: &Key) -> u32 {
        if let Some(index) = self.find(key) {
            return index;
        }
        let is_home = self.home_of(key.space, &key.name) == self.place.shard;
        let is_kept = is_home && self.is_kept(key);
        let role = if is_home {
            self.new_home(key.space, is_kept)
        } else {
            Role::Replica { synced: false }
        };
        let (epoch, seq) = self.first_head(key);
        let mut room = Room::new(key.clone(), role, epoch, seq);
        room.touched = self.now.tick();
        room.rule = match key.space {
            Space::Chat => self.room_rules.find(&key.name),
            Space::Inbox | Space::Raw => None,
        };
        let index = self.rooms.insert(room, self.hash_key);
        if is_home {
            if key.space != Space::Raw {
                let (log, key) = (self.rooms.slot_at(index), key.clone());
                let hint = crate::log::Head { epoch, seq };
                let open = Request::Open {
                    log,
                    key,
                    hint,
                    is_kept,
                };
                self.submission.requests.push(open);
            }
            self.arm_room(index, self.now.tick() + 1);
        }
        index
    }

    /// Whether a log with this home is kept by the log service. Of relays and guests nothing is.
    fn is_kept(&self, key: &Key) -> bool {
        let is_guest = || {
            let user = self.users.find(&key.name, self.hash_key);
            let user = user.and_then(|user| self.users.at(user));
            user.is_some_and(|user| matches!(user.claim, Claim::Guest { .. }))
        };
        match key.space {
            Space::Chat => self.durable,
            Space::Inbox => self.durable && !is_guest(),
            Space::Raw => false,
        }
    }

    /// Answers a connection, on this shard or another. What is said about a room does not overtake the answers to
    /// earlier joins that wait for its frames.
    fn reply(
        &mut self,
        room: Option<u32>,
        to: Connection,
        reserve: Reserve,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        if to.shard == self.place.shard {
            self.clients.release(to.slot, reserve);
            self.effects.reply(to.slot, encode);
            return;
        }
        self.text.clear();
        encode(&mut self.text);
        let mut frame = Vec::with_capacity(self.text.len() + 10);
        crate::ws::frame::encode(&mut frame, crate::ws::Opcode::Text, &self.text);
        let reply = Mail::Reply {
            to: to.slot,
            frame: frame.into(),
            reserve,
        };
        let home = room.and_then(|index| self.rooms.at_mut(index)?.home_mut());
        let answers = home
            .and_then(|home| home.subscriber(to.shard))
            .map(|subscriber| &mut subscriber.answers);
        match answers.and_then(|answers| Some((answers.back()?.0, answers))) {
            Some((position, answers)) => answers.push_back((position, reply)),
            None => self.post(to.shard, reply),
        }
    }

    /// Lets a room wait for its pass.
    fn mark_dirty(&mut self, index: u32) {
        let slot = self.rooms.slot_at(index);
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        if room.fan == Fan::Idle && !room.members.is_empty() {
            room.fan = Fan::Waiting;
            self.dirty.push_back(slot);
        }
        let is_empty = room.members.is_empty();
        if is_empty {
            room.released = room.tail.head();
        }
        if let Some(home) = room.home_mut()
            && (is_empty || !home.subscribers.is_empty())
            && !std::mem::replace(&mut home.is_unsent, true)
        {
            self.unsent.push(slot);
        }
    }

    /// Every membership of a connection, the one to be served next first.
    pub fn links(&self, peer: u32) -> impl Iterator<Item = Link> {
        self.clients.links(peer, &self.rooms)
    }

    /// A membership was served: the others have their turn before it.
    pub fn turn_ring(&mut self, peer: u32, served: Link) {
        self.clients.turn_ring(peer, served);
    }

    /// A pause for one who is to come back.
    pub fn return_ms(&mut self) -> u64 {
        RETURN_MS_MIN + self.rng.next_u64() % (RETURN_MS_END - RETURN_MS_MIN)
    }

    fn connection(&self, slot: Slot) -> Connection {
        Connection {
            shard: self.place.shard,
            slot,
        }
    }

    fn fresh_epoch(&mut self) -> u64 {
        self.rng.next_u64() | 1
    }

    /// A text of random hexadecimal digits, two for each of `bytes`.
    fn random_hex(&mut self, bytes: usize) -> String {
        (0..bytes)
            .map(|_| format!("{:02x}", self.rng.next_u32() & 0xff))
            .collect()
    }
}

/// How an epoch is written.
fn epoch_text(epoch: u64) -> String {
    format!("{epoch:016x}")
}

/// Reads an epoch; one that was not written by this program is none of its epochs.
fn parse_epoch(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or(0)
}

fn shared(name: &str) -> Arc<str> {
    Arc::from(name)
}
