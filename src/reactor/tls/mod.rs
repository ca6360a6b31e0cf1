//! TLS 1.2 and 1.3 of the connections of one shard.
//!
//! [rustls] does the protocol and [ring](rustls::crypto::ring) the cryptography, of which a C compiler builds all that is
//! not Rust. rustls' unbuffered interface leaves the buffers to us, so a connection at rest has none: what comes is
//! decrypted in the shard's scratch, what goes is encrypted there, a record for each send, and only what is cut in the
//! middle is kept with the connection, within [`TLS_PARTIAL_BYTES_MAX`](crate::limits::TLS_PARTIAL_BYTES_MAX) one way and
//! one record the other.
//!
//! Handshakes are what is dear: a turn does [`TLS_HANDSHAKE_STEPS_PER_TURN`] steps of them, or as many as begin within
//! [`TLS_HANDSHAKE_US_PER_TURN`], and the others wait unread, so that a storm of them does not delay who is connected.
//! After a handshake, new keys are: a session that asks for them again and again, with next to no data, is broken off
//! ([`TLS_IDLE_RECORD_COUNT_MAX`](crate::limits::TLS_IDLE_RECORD_COUNT_MAX)).

mod files;
mod idle;
mod pair;
mod session;

pub use self::files::open;
pub use self::pair::KeyError;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use rustls::ServerConfig;

use self::session::{Session, Step};
use crate::counters::Counters;
use crate::engine::{Received, Sent};
use crate::limits::{
    READ_BYTES, TLS_HANDSHAKE_STEPS_PER_TURN, TLS_HANDSHAKE_US_PER_TURN, TLS_RECORD_BYTES_MAX,
};
use crate::slots::{Slot, Slots};

/// What a record takes beside what is in it (RFC 8446, 5.2; RFC 5246, 6.2.3), and room for messages of the protocol
/// that go before it.
const OVERHEAD_BYTES: usize = 1024;

/// What new connections are made with. It may be replaced at any time; who is connected keeps what was theirs.
#[derive(Debug)]
pub struct Current(RwLock<Arc<ServerConfig>>);

impl Current {
    /// Starts with this.
    pub fn new(config: Arc<ServerConfig>) -> Current {
        Current(RwLock::new(config))
    }

    /// What the next connection is made with.
    pub fn load(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on new connections are made with this.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

/// The TLS sessions of a shard.
pub struct Tls {
    current: Arc<Current>,
    sessions: Slots<Box<Session>>,
    /// What came, from the kernel to its decryption.
    incoming: Vec<u8>,
    /// What goes, from its encryption to the kernel.
    outgoing: Vec<u8>,
    tally: Tally,
    share: Share,
    holding: Holding,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Handshakes that ended well.
    pub done: u64,
    /// Those of them that went on from an earlier session.
    pub resumed: u64,
    /// Handshakes and sessions that the other side broke, and handshakes that it left.
    pub failed: u64,
    /// Handshakes that took too long.
    pub timed_out: u64,
    /// Times that a handshake waited for the next turn.
    pub postponed: u64,
    /// Bytes that wait for sockets that are full.
    pub held_bytes: u64,
}

/// What handshakes have had of a turn.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    step_count: u32,
    time: Duration,
}

/// What sessions hold for sockets that are full.
#[derive(Debug)]
struct Holding {
    bytes: usize,
    bytes_max: usize,
    /// Counts the times that a session began to hold bytes.
    stall_count: u64,
    /// The indices of those that hold bytes, by when they began to: the one that has held them longest comes first.
    stalled: BTreeMap<u64, u32>,
}

impl Tls {
    /// No session yet. Sessions hold up to `held_bytes_max` bytes together for sockets that are full.
    pub fn new(current: Arc<Current>, held_bytes_max: usize) -> Tls {
        Tls {
            current,
            sessions: Slots::default(),
            incoming: vec![0; READ_BYTES],
            outgoing: vec![0; TLS_RECORD_BYTES_MAX + OVERHEAD_BYTES],
            tally: Tally::default(),
            share: Share::default(),
            holding: Holding {
                bytes: 0,
                bytes_max: held_bytes_max,
                stall_count: 0,
                stalled: BTreeMap::new(),
            },
        }
    }

    /// A turn begins.
    pub fn begin(&mut self) {
        self.share = Share::default();
    }

    /// Adds a session for the connection in this slot, and gives its index.
    pub fn add(&mut self, slot: Slot) -> u32 {
        self.sessions.insert(Box::new(Session::new(slot))).index
    }

    /// Takes a session out. Whoever goes in the middle of a handshake has failed it.
    pub fn remove(&mut self, index: u32) {
        if let Some(session) = self.sessions.remove(index) {
            self.holding.forget(&session);
            self.tally.failed += u64::from(session.is_half_open());
        }
        self.sessions.shrink();
    }

    /// See [`Socket::recv`](crate::engine::Socket::recv).
    pub fn recv(&mut self, index: u32, stream: &TcpStream, into: &mut [u8]) -> Received {
        let Some(session) = self.sessions.at_mut(index) else {
            return Received::Failed;
        };
        let is_opening = session.is_opening();
        if is_opening && self.share.is_used_up() {
            self.tally.postponed += 1;
            return Received::Part(0);
        }
        let began = is_opening.then(Instant::now);
        let before = session.counted_bytes();
        let mut step = Step {
            current: &self.current,
            incoming: &mut self.incoming,
            outgoing: &mut self.outgoing,
            tally: &mut self.tally,
            step_count: &mut self.share.step_count,
        };
        let received = session.recv(stream, &mut step, into);
        self.share.time += began.map_or(Duration::ZERO, |began| began.elapsed());
        self.holding.recount(index, session, before);
        received
    }

    /// See [`Socket::send`](crate::engine::Socket::send).
    pub fn send(&mut self, index: u32, stream: &TcpStream, bytes: &[u8]) -> Sent {
        let Some(session) = self.sessions.at_mut(index) else {
            return Sent::Failed;
        };
        let before = session.counted_bytes();
        let sent = session.send(stream, &mut self.outgoing, bytes);
        self.holding.recount(index, session, before);
        sent
    }

    /// See [`Socket::flush`](crate::engine::Socket::flush).
    pub fn flush(&mut self, index: u32, stream: &TcpStream) -> Sent {
        let Some(session) = self.sessions.at_mut(index) else {
            return Sent::Failed;
        };
        let before = session.counted_bytes();
        let sent = session.flush(stream);
        self.holding.recount(index, session, before);
        sent
    }

    /// See [`Socket::held_bytes`](crate::engine::Socket::held_bytes).
    pub fn held_bytes(&self, index: u32) -> usize {
        let session = self.sessions.at(index);
        session.map_or(0, |session| session.held_bytes())
    }

    /// See [`Socket::overdue`](crate::engine::Socket::overdue).
    pub fn overdue(&mut self) -> Option<Slot> {
        if self.holding.bytes <= self.holding.bytes_max {
            return None;
        }
        let (_, index) = self.holding.stalled.first_key_value()?;
        let session = self.sessions.at_mut(*index)?;
        self.holding.forget(session);
        session.give_up();
        Some(session.slot)
    }

    /// See [`Socket::shutdown`](crate::engine::Socket::shutdown).
    pub fn shutdown(&mut self, index: u32, stream: &TcpStream) {
        if let Some(session) = self.sessions.at_mut(index) {
            let before = session.counted_bytes();
            session.shutdown(stream, &mut self.outgoing, &mut self.tally);
            self.holding.recount(index, session, before);
        }
    }

    /// What was counted, and is held now.
    pub fn tally(&self) -> Tally {
        Tally {
            held_bytes: self.holding.bytes as u64,
            ..self.tally
        }
    }
}

impl Share {
    /// Whether the next step has to wait. What only takes time, as looking for bytes that have not come, does not keep
    /// the first step from being done.
    fn is_used_up(self) -> bool {
        let is_late = self.time >= Duration::from_micros(TLS_HANDSHAKE_US_PER_TURN);
        self.step_count >= TLS_HANDSHAKE_STEPS_PER_TURN || (self.step_count > 0 && is_late)
    }
}

impl Tally {
    /// Brings the counters of the shard up to date.
    pub fn count(self, counters: &mut Counters) {
        counters.tls_handshakes_total = self.done;
        counters.tls_resumed_total = self.resumed;
        counters.tls_failed_total = self.failed;
        counters.tls_handshake_timeouts_total = self.timed_out;
        counters.tls_postponed_total = self.postponed;
        counters.tls_held_bytes = self.held_bytes;
    }
}

impl Holding {
    /// A session held `before` bytes, and may hold another number now.
    fn recount(&mut self, index: u32, session: &mut Session, before: usize) {
        let after = session.counted_bytes();
        self.bytes = self.bytes + after - before;
        if before == 0 && after > 0 {
            self.stall_count += 1;
            session.stalled_since = self.stall_count;
            self.stalled.insert(session.stalled_since, index);
        } else if before > 0 && after == 0 {
            self.stalled.remove(&session.stalled_since);
        }
    }

    /// What a session holds counts no longer.
    fn forget(&mut self, session: &Session) {
        let bytes = session.counted_bytes();
        if bytes > 0 {
            self.bytes -= bytes;
            self.stalled.remove(&session.stalled_since);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as StdStream};

    use rustls::crypto::ring;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    /// Sessions of which nothing will come, that may hold `held_bytes_max` bytes together.
    fn sessions(held_bytes_max: usize) -> Tls {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        Tls::new(Arc::new(Current::new(Arc::new(config))), held_bytes_max)
    }

    fn stream() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream)
    }

    #[test]
    fn those_that_have_held_bytes_for_longest_go_first() {
        let (mut tls, stream) = (sessions(250), stream());
        let add = |tls: &mut Tls, index| {
            let generation = 0;
            tls.add(Slot { index, generation })
        };
        let places: Vec<u32> = (0..6).map(|slot| add(&mut tls, slot)).collect();
        // What is to be said before the handshake is over is held.
        for slot in [4, 2, 0, 5, 1, 3, 4] {
            let sent = tls.send(places[slot], &stream, &[7; 100]);
            assert_eq!(sent, Sent::Held(100), "{slot}");
        }
        assert_eq!(tls.tally().held_bytes, 700);
        // One that goes holds nothing any more, and one that comes in its place has just begun.
        tls.remove(places[2]);
        let place = add(&mut tls, 6);
        assert_eq!(place, places[2], "it is used again");
        tls.send(place, &stream, &[7; 100]);
        let overdue = std::iter::from_fn(|| tls.overdue());
        let overdue: Vec<u32> = overdue.map(|slot| slot.index).collect();
        assert_eq!(overdue, [4, 0, 5, 1]);
        assert_eq!(tls.tally().held_bytes, 200);
        // Who was told holds on, and does not count.
        tls.send(places[0], &stream, &[7; 100]);
        assert_eq!(tls.tally().held_bytes, 200);
        places.into_iter().for_each(|place| tls.remove(place));
        assert_eq!((tls.holding.bytes, tls.holding.stalled.len()), (0, 0));
    }

    /// Steps that a turn does where each takes so long.
    fn steps(us: u64) -> u32 {
        let mut share = Share::default();
        while !share.is_used_up() {
            share.step_count += 1;
            share.time += Duration::from_micros(us);
        }
        share.step_count
    }

    #[test]
    fn a_turn_has_so_many_steps_and_so_much_time_for_handshakes() {
        for (us, count) in [
            (0, 8),
            (125, 8),
            (142, 8),
            (143, 7),
            (499, 3),
            (500, 2),
            (999, 2),
            (1_000, 1),
            (5_000, 1),
            (1_000_000, 1),
        ] {
            assert_eq!(steps(us), count, "{us} us each");
        }
        let waited = Share {
            step_count: 0,
            time: Duration::from_secs(1),
        };
        assert!(!waited.is_used_up(), "one step is done in any case");
    }
}
