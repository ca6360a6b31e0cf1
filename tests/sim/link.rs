//! One connection as the kernel would keep it: a bounded buffer each way, delays, ends, and edge-triggered readiness.
//!
//! Readiness is told as epoll does with `EPOLLET`: once when something changes. Bytes that arrive are an edge; room
//! for more bytes is one only after a send that was cut short or refused. A short read means that the buffer was
//! empty at that moment, as on Linux.

use crate::rng::Rng;
use roomcast::engine::{Received, Sent, Socket};
use roomcast::slots::Slot;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

/// A connection, shared by its two ends and the network between them.
pub type SharedLink = Rc<RefCell<Link>>;

/// What the kernel of one connection is like.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Bytes from the client that wait for the server.
    pub up_bytes_max: usize,
    /// Bytes from the server that wait for the client.
    pub down_bytes_max: usize,
    /// Longest time from a client's write to its arrival, in milliseconds.
    pub delay_ms_max: u64,
    /// How often a send is cut although there is room, in cases of 1000.
    pub cut_sends: u32,
}

impl Quality {
    /// A connection that takes everything at once.
    pub const IDEAL: Quality = Quality {
        up_bytes_max: 1 << 20,
        down_bytes_max: 1 << 24,
        delay_ms_max: 0,
        cut_sends: 0,
    };
}

/// Readiness that was not told yet.
#[derive(Clone, Copy, Debug, Default)]
struct Edges {
    readable: bool,
    writable: bool,
}

/// What one poll tells about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read, or the end.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The other side has ended, or the connection is broken.
    pub hung_up: bool,
}

/// What the client found when it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The server sends no more.
    End,
    /// The connection is broken.
    Broken,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Link {
    quality: Quality,
    rng: Rng,
    /// Bytes on their way to the server, with their time of arrival; no bytes are the end.
    flying: VecDeque<(u64, Vec<u8>)>,
    flying_bytes: usize,
    up: Queue,
    up_ended: bool,
    down: Queue,
    down_ended: bool,
    /// A send was cut: room is an edge.
    wants_room: bool,
    /// The kernel has no memory for this socket just now.
    is_squeezed: bool,
    is_broken: bool,
    has_crashed: bool,
    client_gone: bool,
    server_gone: bool,
    edges: Edges,
    place: Option<(u16, Slot)>,
    address: IpAddr,
}

impl Link {
    /// A connection that waits in a listener's queue.
    pub fn new(quality: Quality, rng: Rng) -> SharedLink {
        Rc::new(RefCell::new(Link {
            quality,
            rng,
            flying: VecDeque::new(),
            flying_bytes: 0,
            up: Queue::default(),
            up_ended: false,
            down: Queue::default(),
            down_ended: false,
            wants_room: false,
            is_squeezed: false,
            is_broken: false,
            has_crashed: false,
            client_gone: false,
            server_gone: false,
            edges: Edges::default(),
            place: None,
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        }))
    }

    /// The client writes. Returns how much was taken.
    pub fn client_send(&mut self, bytes: &[u8], now_ms: u64) -> usize {
        if self.is_broken || self.server_gone {
            return bytes.len();
        }
        let room = self
            .quality
            .up_bytes_max
            .saturating_sub(self.up.len() + self.flying_bytes);
        let count = room.min(bytes.len());
        if count > 0 {
            let arrival = self.arrival(now_ms);
            self.flying_bytes += count;
            self.flying.push_back((arrival, bytes[..count].to_vec()));
        }
        count
    }

    /// The client reads at most `count` bytes behind `into`.
    pub fn client_recv(&mut self, count: usize, into: &mut Vec<u8>) -> Read {
        if self.down.len() > 0 {
            let count = count.min(self.down.len());
            into.extend_from_slice(self.down.take(count));
            self.offer_room();
            Read::Bytes(count)
        } else if self.is_broken {
            Read::Broken
        } else if self.down_ended || self.server_gone {
            Read::End
        } else {
            Read::Nothing
        }
    }

    /// The client sends no more, but reads on.
    pub fn client_end(&mut self, now_ms: u64) {
        let arrival = self.arrival(now_ms);
        self.flying.push_back((arrival, Vec::new()));
    }

    /// The client closes its socket in order.
    pub fn client_close(&mut self, now_ms: u64) {
        self.client_end(now_ms);
        self.client_gone = true;
        self.down.clear();
        self.offer_room();
    }

    /// The client, or the network, breaks the connection.
    pub fn reset(&mut self) {
        self.is_broken = true;
        self.client_gone = true;
        self.up.clear();
        self.flying.clear();
        self.flying_bytes = 0;
        self.down.clear();
        self.edges = Edges {
            readable: true,
            writable: true,
        };
    }

    /// The server's process, or its machine, is no more. What it sent last may be lost.
    pub fn crash(&mut self) {
        self.has_crashed = true;
        self.is_broken = true;
        let kept = self.rng.below(self.down.len() + 1);
        self.down.keep(kept);
    }

    /// Whether the server's process has ended under it.
    pub fn has_crashed(&self) -> bool {
        self.has_crashed
    }

    /// The slot under which the server knows it.
    pub fn slot(&self) -> Option<Slot> {
        self.place.map(|(_, slot)| slot)
    }

    /// Forgets that there is room, which was not told yet or was about to be. Returns whether anyone waited for it.
    pub fn lose_room(&mut self) -> bool {
        let is_awaited = self.wants_room || self.edges.writable;
        self.wants_room = false;
        self.edges.writable = false;
        is_awaited
    }

    /// Lets what has arrived by now be readable.
    pub fn arrive(&mut self, now_ms: u64) {
        while self
            .flying
            .front()
            .is_some_and(|(arrival, _)| *arrival <= now_ms)
        {
            let Some((_, bytes)) = self.flying.pop_front() else {
                return;
            };
            self.flying_bytes -= bytes.len();
            self.up_ended |= bytes.is_empty();
            self.up.put(&bytes);
            self.edges.readable = true;
        }
    }

    /// When something arrives next.
    pub fn next_arrival(&self) -> Option<u64> {
        self.flying.front().map(|(arrival, _)| *arrival)
    }

    /// The kernel has memory for the socket again.
    pub fn relax(&mut self) {
        if self.is_squeezed {
            self.is_squeezed = false;
            self.offer_room();
        }
    }

    /// The server has registered the socket: what is ready already is the first edge.
    pub fn register(&mut self, shard: u16, slot: Slot) {
        self.place = Some((shard, slot));
        self.edges.writable = true;
        self.edges.readable |= self.up.len() > 0 || self.up_ended;
    }

    /// What a poll would tell, once.
    pub fn poll(&mut self) -> Option<(Slot, Readiness)> {
        let (_, slot) = self.place?;
        if !self.has_edge() {
            return None;
        }
        self.edges = Edges::default();
        Some((slot, self.readiness()))
    }

    /// What a poll would tell that reports too much.
    pub fn poll_spuriously(&self) -> Option<(Slot, Readiness)> {
        let (_, slot) = self.place?;
        Some((slot, self.readiness()))
    }

    /// Whether there is something to tell.
    pub fn has_edge(&self) -> bool {
        self.place.is_some() && !self.server_gone && (self.edges.readable || self.edges.writable)
    }

    /// Whether the server has let go of it.
    pub fn is_over(&self) -> bool {
        self.server_gone
    }

    /// Whether bytes, or their end, wait for the client.
    pub fn has_news(&self) -> bool {
        self.down.len() > 0 || self.is_broken || self.down_ended || self.server_gone
    }

    /// From now on nothing goes wrong any more, and there is room for everything.
    pub fn calm(&mut self) {
        self.quality = Quality::IDEAL;
        self.is_squeezed = false;
        self.offer_room();
    }

    fn readiness(&self) -> Readiness {
        Readiness {
            readable: self.up.len() > 0 || self.up_ended || self.is_broken,
            writable: self.is_broken || self.room() > 0,
            hung_up: self.up_ended || self.is_broken,
        }
    }

    fn room(&self) -> usize {
        if self.is_squeezed {
            0
        } else {
            self.quality.down_bytes_max.saturating_sub(self.down.len())
        }
    }

    /// A third of the buffer has to be free before room is worth an event.
    fn offer_room(&mut self) {
        if self.wants_room && self.room() * 3 >= self.quality.down_bytes_max {
            self.wants_room = false;
            self.edges.writable = true;
        }
    }

    fn arrival(&mut self, now_ms: u64) -> u64 {
        let delay = self.rng.below(self.quality.delay_ms_max as usize + 1) as u64;
        let last = self.flying.back().map_or(0, |(arrival, _)| *arrival);
        last.max(now_ms + delay)
    }

    fn server_recv(&mut self, into: &mut [u8]) -> Received {
        if self.is_broken {
            return Received::Failed;
        }
        let count = into.len().min(self.up.len());
        if count > 0 {
            into[..count].copy_from_slice(self.up.take(count));
            return Received::Bytes(count);
        }
        if self.up_ended {
            Received::Closed
        } else {
            Received::Blocked
        }
    }

    fn server_send(&mut self, bytes: &[u8]) -> Sent {
        assert!(!bytes.is_empty(), "a send of nothing");
        assert!(!self.down_ended, "a send after the end");
        if self.is_broken {
            return Sent::Failed;
        }
        if self.client_gone {
            // The answer to bytes for a closed socket is a reset.
            self.reset();
            return Sent::Bytes(bytes.len());
        }
        if self.rng.chance(self.quality.cut_sends) {
            let taken = self.rng.below(self.room().min(bytes.len()) + 1);
            self.is_squeezed = true;
            return self.take_some(bytes, taken);
        }
        self.take_some(bytes, self.room())
    }

    fn take_some(&mut self, bytes: &[u8], room: usize) -> Sent {
        let count = room.min(bytes.len());
        self.down.put(&bytes[..count]);
        if count < bytes.len() {
            self.wants_room = true;
        }
        if count == 0 {
            Sent::Blocked
        } else {
            Sent::Bytes(count)
        }
    }

    /// The server lets go. Bytes of the client that it never read turn the end into a reset, which may overtake what
    /// the server has sent.
    fn server_drop(&mut self) {
        self.server_gone = true;
        self.edges = Edges::default();
        if self.has_crashed {
            return;
        }
        if self.up.len() > 0 || self.flying.iter().any(|(_, bytes)| !bytes.is_empty()) {
            let kept = self.rng.below(self.down.len() + 1);
            self.down.keep(kept);
            self.is_broken = true;
        }
    }
}

/// The server's end of a [`Link`].
#[derive(Debug)]
pub struct SimSocket(pub SharedLink);

impl Socket for SimSocket {
    type Common = ();

    fn recv(&mut self, (): &mut (), into: &mut [u8]) -> Received {
        self.0.borrow_mut().server_recv(into)
    }

    fn send(&mut self, (): &mut (), bytes: &[u8]) -> Sent {
        self.0.borrow_mut().server_send(bytes)
    }

    fn shutdown(&mut self, (): &mut ()) {
        self.0.borrow_mut().down_ended = true;
    }

    fn address(&self) -> Option<IpAddr> {
        Some(self.0.borrow().address)
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.0.borrow_mut().server_drop();
    }
}

/// Bytes in order.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    at: usize,
}

impl Queue {
    fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.at == self.bytes.len() {
            self.clear();
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, count: usize) -> &[u8] {
        let start = self.at;
        self.at += count;
        &self.bytes[start..self.at]
    }

    fn keep(&mut self, count: usize) {
        self.bytes.truncate(self.at + count);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }
}
