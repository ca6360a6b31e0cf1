//! One shard without its operating system: peers, hub, timers, and the turn.
//!
//! The shell tells readiness, mail and the time, and calls [`Engine::turn`]; everything else happens here, over a
//! socket trait, so that the simulator and the fuzzers run the same code as the reactor.

mod arrive;
mod audit;
mod chat;
mod close;
mod deliver;
mod echo;
mod fan_out;
mod flush;
pub mod overview;
mod proxied;
mod read;
mod retry;
mod throttle;
mod timer;
mod tokens;
mod web;

pub use self::fan_out::Walk;
pub use crate::hub::{Now, Place, Restored};
pub use crate::peer::{Received, Sent, Socket, Traffic};

use self::arrive::ToldOverTls;
use self::fan_out::Shared;
use self::proxied::Proxied;
use self::throttle::Throttle;
use crate::authority::Auth;
use crate::callers::{Seat, TurnedAway};
use crate::counters::Counters;
use crate::hashing::HashKey;
use crate::http::Endpoints;
use crate::hub::Hub;
use crate::limits::{Limits, READ_BYTES};
use crate::log::LogPort;
use crate::mail::Mail;
use crate::peer::{Marks, Peer, Replies};
use crate::proxy::Networks;
use crate::room::Runs;
use crate::rules::RoomRules;
use crate::sanctions::Sanction;
use crate::slots::{Slot, Slots};
use crate::timers::{TICK_MS, Tick, Wheel};
use crate::ws::Rules;
use crate::ws::deflate::Inflater;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// What an operator decides.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// See [`Limits`].
    pub limits: Limits,
    /// Whether `/raw/{room}` and `/echo` are there.
    pub endpoints: Endpoints,
    /// Whether permessage-deflate is negotiated with who offers it.
    pub deflate: bool,
    /// Whether TLS is spoken with whoever connects.
    pub is_tls: bool,
    /// Whether browsers are told to come with TLS alone (RFC 6797).
    pub is_strict: bool,
    /// How identity is settled.
    pub auth: Auth,
    /// Origins that may connect besides the own one; `*` for any.
    pub origins: Vec<String>,
    /// Who may do what in which rooms.
    pub room_rules: Arc<RoomRules>,
    /// Whose word counts for where a connection comes from.
    pub trusted_proxies: Networks,
}

/// What a shard asks of the process that it stands in.
pub trait Site: Send + Sync {
    /// Takes one of the connections that the process, and a client at this address, may have. Without an address it
    /// counts in all only, until [`Site::reseat`].
    ///
    /// # Errors
    ///
    /// There are none left.
    fn admit(&self, address: Option<IpAddr>, mono_ms: u64) -> Result<Seat, TurnedAway>;

    /// Gives one back.
    fn release(&self, seat: Seat, mono_ms: u64);

    /// Moves one to another address. The old seat is given back with that.
    ///
    /// # Errors
    ///
    /// There are none left of that address, and the old seat is kept.
    fn reseat(&self, seat: Seat, address: IpAddr, mono_ms: u64) -> Result<Seat, TurnedAway>;

    /// Appends the metrics of all shards, in the Prometheus text format.
    fn metrics(&self, out: &mut String);

    /// Whether the process can serve; the error says why not.
    fn readiness(&self) -> Result<(), &'static str>;

    /// Writes down what somebody has done who has a right that others have not: `key=value` pairs, in which quoted
    /// texts have no control characters.
    fn audit(&self, _line: &str) {}
}

/// See the [module](self).
pub struct Engine<S: Socket, L> {
    settings: Arc<Settings>,
    site: Arc<dyn Site>,
    place: Place,
    log: L,
    hub: Hub,
    /// Mail of other shards that came since the last turn.
    inbox: Vec<(u16, Vec<Mail>)>,
    rules: Rules,
    peers: Slots<Peer<S>>,
    /// What proxies said, by the peer's index.
    proxied: HashMap<u32, Proxied, HashKey>,
    /// What the sockets have in common.
    common: S::Common,
    timers: Wheel,
    now: Now,
    walk: Walk,
    /// Peers that may have something to read.
    to_read: Vec<u32>,
    /// Peers that wait for room elsewhere, by how long ago they were tried: see [`retry`].
    to_retry: VecDeque<Slot>,
    /// Peers that may have something to write.
    to_flush: Vec<u32>,
    doomed: Vec<u32>,
    turned_away_count: u32,
    told_over_tls: ToldOverTls,
    throttle: Throttle,
    /// What connections take of those that their addresses may have, where that is counted, by the peer's index.
    seats: HashMap<u32, Seat, HashKey>,
    is_draining: bool,
    read_buffer: Vec<u8>,
    gathered: Vec<u8>,
    runs: Runs,
    shared: Shared,
    inflater: Inflater,
    /// Objects that each peer may bring to this turn.
    object_share: u32,
    /// Bytes inflated in this turn, and those that they came from by their weight.
    inflated_bytes: usize,
    /// Tokens checked in this turn.
    token_count: u32,
    /// Times that the metrics were written in this turn.
    metrics_count: u32,
    /// Peers that wait for the next turn because of these three; empty between turns.
    postponed: Vec<u32>,
    #[expect(clippy::vec_box, reason = "the boxes are what is used again")]
    spare: Vec<Box<Replies>>,
}

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// A shard without connections. `hash_key` is the same on all shards; `seed` feeds everything random.
    pub fn new(
        place: Place,
        settings: Arc<Settings>,
        site: Arc<dyn Site>,
        log: L,
        hash_key: HashKey,
        seed: [u8; 32],
    ) -> Engine<S, L> {
        let hub = Hub::new(
            place,
            settings.limits.clone(),
            Arc::clone(&settings.room_rules),
            &log,
            hash_key,
            seed,
        );
        Engine {
            throttle: Throttle::new(&settings.limits, hash_key),
            seats: HashMap::with_hasher(hash_key),
            rules: Rules::new(settings.limits.message_bytes_max),
            settings,
            site,
            place,
            log,
            hub,
            inbox: Vec::new(),
            peers: Slots::default(),
            proxied: HashMap::with_hasher(hash_key),
            common: S::Common::default(),
            timers: Wheel::new(0),
            now: Now {
                mono_ms: 0,
                unix_ms: 0,
            },
            walk: Walk::default(),
            to_read: Vec::new(),
            to_retry: VecDeque::new(),
            to_flush: Vec::new(),
            doomed: Vec::new(),
            turned_away_count: 0,
            told_over_tls: ToldOverTls::default(),
            is_draining: false,
            read_buffer: vec![0; READ_BYTES],
            gathered: Vec::new(),
            runs: Runs::default(),
            shared: Shared::default(),
            inflater: Inflater::default(),
            object_share: 0,
            inflated_bytes: 0,
            token_count: 0,
            metrics_count: 0,
            postponed: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// A name that was claimed before the process started, at its home. Before the first turn.
    pub fn restore(&mut self, name: &Restored) {
        self.hub.restore(name);
    }

    /// A mute or a ban that was kept before the process started, at its home. Before the first turn.
    pub fn restore_sanction(&mut self, sanction: &Arc<Sanction>) {
        self.hub.restore_sanction(sanction);
    }

    /// The socket of a peer is ready, for what the shell was told. Nothing happens before the next turn.
    pub fn ready(&mut self, slot: Slot, readable: bool, writable: bool, hung_up: bool) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let marks = &mut peer.marks;
        if writable
            && (marks.set(Marks::WRITABLE) || peer.socket.held_bytes(&self.common) > 0)
            && marks.set(Marks::TO_FLUSH)
        {
            self.to_flush.push(slot.index);
        }
        if hung_up {
            marks.set(Marks::HUNG_UP);
        }
        if readable || hung_up {
            marks.set(Marks::READABLE);
            if marks.set(Marks::TO_READ) {
                self.to_read.push(slot.index);
            }
        }
    }

    /// Hands over mail of another shard, in its order. Nothing happens before the next turn.
    pub fn mail(&mut self, from: u16, mail: Vec<Mail>) {
        self.inbox.push((from, mail));
    }

    /// One turn, phases 3 to 9: see the table of the crate documentation. Events came before; accepting comes after.
    pub fn turn(&mut self, now: Now) {
        self.now = now;
        self.hub.begin(now);
        self.hub.counters.turns_total += 1;
        if self.hub.begin_stall(&self.log) {
            self.resume_all();
        }
        self.take_mail();
        self.resume_paced();
        self.read_peers();
        self.hub.commit(&mut self.log);
        self.hub.forward();
        self.deliver();
        self.fan_out();
        self.flush_peers();
        self.close_overdue();
        self.expire();
        self.hub.commit(&mut self.log);
        self.hub.forward();
        self.deliver();
        self.bury();
        self.deliver();
        self.hub.gauge();
        self.hub.counters.connections = self.peers.len() as u64;
    }

    /// Mail of this turn for another shard.
    pub fn outgoing(&mut self, to: u16) -> Vec<Mail> {
        self.hub.outgoing(to)
    }

    /// Says how much mail waits in the FIFO to another shard, in bytes.
    pub fn backlog(&mut self, to: u16, bytes: usize) {
        self.hub.backlog(to, bytes);
    }

    /// How long the shell may wait for events; 0 where there is more to do at once, `None` for as long as it likes.
    pub fn timeout_ms(&self, now: Now) -> Option<u64> {
        let is_busy = !self.to_read.is_empty()
            || !self.to_flush.is_empty()
            || !self.hub.dirty.is_empty()
            || !self.doomed.is_empty()
            || !self.inbox.is_empty();
        if is_busy {
            return Some(0);
        }
        let retry = (!self.to_retry.is_empty()).then_some(1);
        let due = |tick: Tick| (u64::from(tick) * TICK_MS).saturating_sub(now.mono_ms);
        let timers = [self.timers.next(), self.hub.next_tick()]
            .into_iter()
            .flatten()
            .map(due)
            .min();
        let pause = self.throttle.next_ms();
        let pause = pause.map(|until_ms| until_ms.saturating_sub(now.mono_ms));
        [retry, timers, pause].into_iter().flatten().min()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.hub.counters
    }

    /// The shell counted something.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.hub.counters
    }

    /// What the sockets have in common.
    pub fn common_mut(&mut self) -> &mut S::Common {
        &mut self.common
    }

    /// How many connections there are.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    fn take_mail(&mut self) {
        for (from, mail) in std::mem::take(&mut self.inbox) {
            mail.into_iter().for_each(|mail| self.hub.take(from, mail));
        }
        self.deliver();
    }

    fn mark_read(&mut self, index: u32) {
        if let Some(peer) = self.peers.at_mut(index)
            && peer.marks.set(Marks::TO_READ)
        {
            self.to_read.push(index);
        }
    }

    fn mark_flush(&mut self, index: u32) {
        if let Some(peer) = self.peers.at_mut(index)
            && peer.marks.set(Marks::TO_FLUSH)
        {
            self.to_flush.push(index);
        }
    }

    /// Lets the phase of a peer end at `deadline`.
    fn arm(&mut self, index: u32, deadline: Tick) {
        let Some(peer) = self.peers.at_mut(index) else {
            return;
        };
        peer.deadline = deadline;
        if peer.armed == 0 || deadline < peer.armed {
            peer.armed = self.timers.arm(index, deadline);
        }
    }

    /// The connection is over: it is freed at the end of the turn.
    fn doom(&mut self, index: u32) {
        if let Some(peer) = self.peers.at_mut(index)
            && peer.marks.set(Marks::DOOMED)
        {
            self.doomed.push(index);
        }
    }

    /// Frees the doomed. Only here, so that no index changes its meaning within a turn.
    fn bury(&mut self) {
        for index in std::mem::take(&mut self.doomed) {
            let Some(slot) = self.peers.slot_at(index) else {
                continue;
            };
            self.hub.disconnect(slot);
            self.forget_proxied(index);
            self.throttle.forget(index);
            let Some(mut peer) = self.peers.remove(index) else {
                continue;
            };
            peer.socket.free(&mut self.common);
            if peer.marks.has(Marks::TURNED_AWAY) {
                self.turned_away_count -= 1;
            } else {
                let seat = self.take_seat(index);
                self.site.release(seat, self.now.mono_ms);
            }
            if let Some(replies) = peer.replies {
                self.recycle(replies);
            }
        }
        self.peers.shrink();
    }

    /// A peer's replies, made if there are none.
    fn replies(&mut self, index: u32) -> Option<&mut Replies> {
        let peer = self.peers.at_mut(index)?;
        if peer.replies.is_none() {
            peer.replies = Some(self.spare.pop().unwrap_or_default());
        }
        peer.replies.as_deref_mut()
    }

    fn recycle(&mut self, mut replies: Box<Replies>) {
        if self.spare.len() < 64 && replies.recycle() {
            self.spare.push(replies);
        }
    }
}
