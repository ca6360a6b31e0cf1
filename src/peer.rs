//! One connection's life: HTTP, then WebSocket, then the end. State only; the [`engine`](crate::engine) moves it.

use crate::http::Scan;
use crate::slots::Slot;
use crate::timers::Tick;
use crate::ws::Protocol;
use crate::ws::frame::{self, Opcode};
use std::ops::Range;

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes are in the buffer: fewer than it holds mean that the socket has no more now. None where what came
    /// is not whole yet.
    Bytes(usize),
    /// So many bytes, perhaps none, and there may be more at once: the socket will not say so again.
    Part(usize),
    /// Nothing now; the socket will say when there is more.
    Blocked,
    /// Nothing of the connection's own: the proxy in front says where it comes from, or that it does not say that. There
    /// may be more at once.
    Proxied(Option<std::net::IpAddr>),
    /// The other side sends no more.
    Closed,
    /// What the proxy in front said cannot be read.
    Malformed,
    /// The connection is broken.
    Failed,
    /// The other side broke the rules of the layer below, and was told so there. Nothing more comes of it.
    Broken,
    /// The other side speaks without the layer below. What is sent now goes out in the clear; nothing more comes of it.
    Misused,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many bytes were taken: fewer than were given means that the socket is full now.
    Bytes(usize),
    /// So many bytes were taken, perhaps all, of which the socket holds some: it is full now, and goes on with them by
    /// [`Socket::flush`].
    Held(usize),
    /// Nothing was taken; the socket will say when it can take more.
    Blocked,
    /// The connection is broken.
    Failed,
}

/// A stream socket that never blocks.
pub trait Socket {
    /// What the sockets of a shard have in common.
    type Common: Default;

    /// Reads what has come, at most the buffer's size.
    fn recv(&mut self, common: &mut Self::Common, into: &mut [u8]) -> Received;

    /// Writes as much as fits.
    fn send(&mut self, common: &mut Self::Common, bytes: &[u8]) -> Sent;

    /// Goes on with what it holds, once it can take bytes again. `Bytes` where it holds nothing any more.
    fn flush(&mut self, _common: &mut Self::Common) -> Sent {
        Sent::Bytes(0)
    }

    /// Bytes that it took and has yet to send, see [`Sent::Held`].
    fn held_bytes(&self, _common: &Self::Common) -> usize {
        0
    }

    /// Of all sockets of a shard that hold bytes, the one that has held some for longest, where they hold too much
    /// together. It is told once.
    fn overdue(_common: &mut Self::Common) -> Option<Slot> {
        None
    }

    /// Says that nothing more is sent.
    fn shutdown(&mut self, common: &mut Self::Common);

    /// Gives back what it has of the common, before it is dropped.
    fn free(&mut self, _common: &mut Self::Common) {}

    /// Where the other side is.
    fn address(&self) -> Option<std::net::IpAddr>;

    /// What went over it, where that is counted.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

/// What went over one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// When it was accepted, in milliseconds since the start of the process.
    pub since_ms: u64,
    /// Bytes that came, without those of the layers below.
    pub received_bytes: u64,
    /// Bytes that went.
    pub sent_bytes: u64,
}

impl Traffic {
    /// Both ways together.
    pub fn bytes(&self) -> u64 {
        self.received_bytes + self.sent_bytes
    }
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It asks for things by HTTP.
    Http,
    /// It was upgraded and has yet to say who it is.
    Hello,
    /// The home of its name decides.
    Claiming,
    /// It chats.
    Chat,
    /// It is in a relay.
    Relay,
    /// What it sends comes back.
    Echo,
    /// Our Close is on its way; the other side's is awaited.
    Closing,
    /// What is left is flushed, then we send no more.
    Ending,
    /// We send no more, and wait for the other side to do the same.
    Lingering,
}

impl Phase {
    /// Whether WebSocket messages are taken.
    pub fn is_open(self) -> bool {
        match self {
            Phase::Hello | Phase::Claiming | Phase::Chat | Phase::Relay | Phase::Echo => true,
            Phase::Http | Phase::Closing | Phase::Ending | Phase::Lingering => false,
        }
    }
}

/// Marks of a peer, a bit each: readiness as the socket last showed it, and the lists that it is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u16);

impl Marks {
    /// Reading may give something.
    pub const READABLE: Marks = Marks(1);
    /// Writing may take something.
    pub const WRITABLE: Marks = Marks(2);
    /// The other side may have ended: a short read does not mean that all was read.
    pub const HUNG_UP: Marks = Marks(4);
    /// On the list of peers to read.
    pub const TO_READ: Marks = Marks(8);
    /// On the list of peers to flush.
    pub const TO_FLUSH: Marks = Marks(16);
    /// To be freed at the end of the turn.
    pub const DOOMED: Marks = Marks(32);
    /// The other side has ended.
    pub const ENDED: Marks = Marks(64);
    /// It is one too many, is told so, and is not counted among the others.
    pub const TURNED_AWAY: Marks = Marks(128);
    /// A frame of a room was begun: its rest is the next that goes out.
    pub const MID_FRAME: Marks = Marks(256);
    /// It has asked for a chunk of a room's log.
    pub const READING: Marks = Marks(512);
    /// What it sent has a token in it that waits for its turn.
    pub const TOKEN: Marks = Marks(1024);
    /// It asks for the metrics, which wait for their turn.
    pub const METRICS: Marks = Marks(2048);
    /// The proxy in front does not pass on who is behind it: what stands in a request of that is not its word.
    pub const UNNAMED: Marks = Marks(4096);
    /// It comes from this machine itself, for which rates do not hold that nobody has set.
    pub const LOCAL: Marks = Marks(8192);

    /// Whether a mark is set.
    pub fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    /// Sets a mark. Returns whether it was not set before.
    pub fn set(&mut self, mark: Marks) -> bool {
        let is_new = !self.has(mark);
        self.0 |= mark.0;
        is_new
    }

    /// Takes a mark back.
    pub fn clear(&mut self, mark: Marks) {
        self.0 &= !mark.0;
    }
}

/// What a peer sent that could not be taken yet.
#[derive(Debug, Default)]
pub struct Spill {
    /// Received bytes, as they came.
    pub bytes: Vec<u8>,
    /// How many of them were taken.
    pub at: usize,
    /// Whether they can be taken on without new ones.
    pub is_waiting: bool,
    /// The rest of a text message whose first objects were taken.
    pub text: String,
    /// Of a request head: how far it was looked at.
    pub scan: Scan,
    /// Of a request body: what is still to be skipped.
    pub skip_bytes: u64,
    /// The room that the URL named, to be joined once the identity is settled.
    pub first_room: Option<Box<str>>,
}

impl Spill {
    /// Whether nothing of it matters any more.
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
            && self.text.is_empty()
            && self.skip_bytes == 0
            && self.first_room.is_none()
    }
}

/// What a peer has not taken of its own replies.
#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    sent: usize,
    /// Where among them a chunk of a room's log lies: it waits with the replies, but is none.
    chunk: Range<usize>,
    /// The latest pong that found no room; it replaces those before it (RFC 6455, 5.5.3).
    pong: Option<Box<[u8]>>,
    /// The same for a heartbeat: an encoded frame.
    heartbeat: Option<Box<[u8]>>,
}

/// Replies beyond this are not joined by another pong or heartbeat: only the latest is kept.
const COALESCE_BYTES: usize = 4 * 1024;

impl Replies {
    /// Where to append encoded frames.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Adds a pong.
    pub fn pong(&mut self, payload: &[u8]) {
        if self.len() < COALESCE_BYTES {
            frame::encode(&mut self.bytes, Opcode::Pong, payload);
        } else {
            self.pong = Some(payload.into());
        }
    }

    /// Adds a heartbeat, an encoded frame.
    pub fn heartbeat(&mut self, frame: &[u8]) {
        if self.len() < COALESCE_BYTES {
            self.bytes.extend_from_slice(frame);
        } else {
            self.heartbeat = Some(frame.into());
        }
    }

    /// Adds a chunk of a room's log, frames as they go on the wire. There is one at a time.
    pub fn chunk(&mut self, frames: &[u8]) {
        debug_assert!(!self.has_chunk());
        self.chunk = self.bytes.len()..self.bytes.len() + frames.len();
        self.bytes.extend_from_slice(frames);
    }

    /// Whether a part of a chunk waits.
    pub fn has_chunk(&self) -> bool {
        self.chunk.end > self.sent
    }

    /// Forgets what was put aside: after a Close nothing may follow.
    pub fn drop_aside(&mut self) {
        self.pong = None;
        self.heartbeat = None;
    }

    /// Puts the rest of a frame that was begun before everything else.
    pub fn put_first(&mut self, rest: &[u8]) {
        self.bytes
            .splice(self.sent..self.sent, rest.iter().copied());
        if self.has_chunk() {
            self.chunk = self.chunk.start + rest.len()..self.chunk.end + rest.len();
        }
    }

    /// What is to be sent next.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Bytes that wait, but for a chunk of a room's log.
    pub fn own_len(&self) -> usize {
        let chunk = self
            .chunk
            .end
            .saturating_sub(self.sent.max(self.chunk.start));
        self.len() - chunk
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `count` bytes were sent. What was put aside joins when the rest is through.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent < self.bytes.len() {
            // A reader that never catches up entirely must not keep what it had already. No byte is moved twice for
            // less than one that was sent.
            if self.sent >= self.len() {
                self.bytes.drain(..self.sent);
                self.chunk = self.chunk.start.saturating_sub(self.sent)
                    ..self.chunk.end.saturating_sub(self.sent);
                self.sent = 0;
            }
            return;
        }
        self.bytes.clear();
        self.sent = 0;
        self.chunk = 0..0;
        if let Some(payload) = self.pong.take() {
            frame::encode(&mut self.bytes, Opcode::Pong, &payload);
        }
        if let Some(frame) = self.heartbeat.take() {
            self.bytes.extend_from_slice(&frame);
        }
    }

    /// Makes it fit for another peer. Returns false where it is too large to keep.
    pub fn recycle(&mut self) -> bool {
        self.bytes.clear();
        self.sent = 0;
        self.chunk = 0..0;
        self.pong = None;
        self.heartbeat = None;
        self.bytes.capacity() <= COALESCE_BYTES
    }
}

/// One connection. At rest it holds no buffer.
#[derive(Debug)]
pub struct Peer<S> {
    /// Its socket.
    pub socket: S,
    /// The WebSocket decoder.
    pub protocol: Protocol,
    /// See [`Spill`]. The box exists only while something waits in it.
    pub spill: Option<Box<Spill>>,
    /// See [`Replies`]. The box exists only while something waits in it.
    pub replies: Option<Box<Replies>>,
    /// When the phase ends, or the next ping is due.
    pub deadline: Tick,
    /// When the other side last gave a sign of life.
    pub heard: Tick,
    /// The tick for which its timer is armed.
    pub armed: Tick,
    /// See [`Phase`].
    pub phase: Phase,
    /// What it may be sent compressed: bits of the window that it negotiated; 0 without permessage-deflate.
    pub window_bits: u8,
    /// See [`Marks`].
    pub marks: Marks,
}

// With the index of its slot, a socket of 16 bytes, and what the hub knows of it, an idle connection stays within 96.
const _: () =
    assert!(size_of::<(u32, Peer<[u64; 2]>)>() + size_of::<Option<crate::hub::Client>>() <= 96);

impl<S> Peer<S> {
    /// A connection that was just accepted.
    pub fn new(socket: S, now: Tick) -> Peer<S> {
        let mut marks = Marks::default();
        marks.set(Marks::WRITABLE);
        Peer {
            socket,
            protocol: Protocol::new(),
            spill: None,
            replies: None,
            deadline: Tick::MAX,
            heard: now,
            armed: 0,
            phase: Phase::Http,
            window_bits: 0,
            marks,
        }
    }

    /// Bytes of own replies that wait; a chunk of a room's log among them does not count.
    pub fn reply_bytes(&self) -> usize {
        self.replies.as_ref().map_or(0, |replies| replies.own_len())
    }

    /// The spill, made if there is none.
    pub fn spill_mut(&mut self) -> &mut Spill {
        self.spill.get_or_insert_default()
    }

    /// Whether bytes wait that can be taken on at once.
    pub fn has_waiting(&self) -> bool {
        self.spill.as_ref().is_some_and(|spill| spill.is_waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_pong_joins_a_long_queue() {
        let mut replies = Replies::default();
        replies.buffer().extend_from_slice(&[0; COALESCE_BYTES]);
        for number in 0..100 {
            replies.pong(&[number]);
        }
        assert_eq!(replies.len(), COALESCE_BYTES);
        replies.advance(COALESCE_BYTES);
        assert_eq!(replies.rest(), [0x8a, 1, 99]);
        replies.advance(3);
        assert!(replies.is_empty());
    }

    #[test]
    fn every_ping_of_a_short_burst_is_answered() {
        let mut replies = Replies::default();
        for number in 0..10 {
            replies.pong(&[number]);
        }
        assert_eq!(replies.len(), 30);
    }

    #[test]
    fn what_was_sent_is_let_go_of_before_all_is() {
        let mut replies = Replies::default();
        replies.buffer().extend_from_slice(&[0; 1000]);
        let mut sent = 0;
        for number in 1..=100_000_u32 {
            replies.buffer().extend_from_slice(&number.to_be_bytes());
            replies.advance(4);
            sent += 4;
            assert_eq!(replies.len(), 1000);
            let expected = (sent / 4_u32).checked_sub(250);
            let first = replies.rest().first_chunk().expect("1000 bytes");
            assert_eq!(u32::from_be_bytes(*first), expected.map_or(0, |at| at + 1));
        }
        assert!(replies.bytes.capacity() <= 4 * 1000);
    }

    #[test]
    fn a_chunk_is_known_wherever_its_bytes_come_to_lie() {
        let mut replies = Replies::default();
        replies.buffer().extend_from_slice(b"own reply");
        replies.chunk(b"frames");
        for sent in 1..=15 {
            replies.advance(1);
            let own = 9_usize.saturating_sub(sent);
            assert_eq!((replies.own_len(), replies.len()), (own, 15 - sent));
            assert_eq!(replies.has_chunk(), sent < 15);
        }
    }

    #[test]
    fn the_rest_of_a_frame_goes_first() {
        let mut replies = Replies::default();
        replies.buffer().extend_from_slice(b"reply");
        replies.put_first(b"rest");
        assert_eq!(replies.rest(), b"restreply");
    }
}
