//! A shard in memory: one room of so many members, all of whom read at once unless they are told not to.

use std::cell::{Cell, RefCell};
use std::mem;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use roomcast::callers::{Caller, Seat, TurnedAway};
use roomcast::engine::{Engine, Now, Place, Received, Sent, Settings, Site, Socket};
use roomcast::hashing::HashKey;
use roomcast::http::Endpoints;
use roomcast::limits::{Limits, PING_SILENCE_PERCENT};
use roomcast::log::MemoryLog;
use roomcast::slots::Slot;
use roomcast::ws::Opcode;
use roomcast::ws::frame::encode_masked;

use crate::frames::{MASK, ascii, masked, message_command};

/// What members are there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The chat.
    Chat,
    /// The chat, compressed for whoever gets it.
    Deflate,
    /// The relay.
    Raw,
    /// What they send comes back.
    Echo,
}

/// A client's connection: what it sent, and how much it was sent.
#[derive(Debug, Default)]
struct Line {
    to_read: RefCell<Vec<u8>>,
    sent_bytes: Cell<usize>,
    is_blocked: Cell<bool>,
}

/// The server's end of a connection that takes everything, or nothing.
struct End(Rc<Line>);

impl Socket for End {
    type Common = ();

    fn recv(&mut self, (): &mut (), into: &mut [u8]) -> Received {
        let mut bytes = self.0.to_read.borrow_mut();
        let count = bytes.len();
        if count == 0 {
            return Received::Blocked;
        }
        into[..count].copy_from_slice(&bytes);
        bytes.clear();
        Received::Bytes(count)
    }

    fn send(&mut self, (): &mut (), bytes: &[u8]) -> Sent {
        if self.0.is_blocked.get() {
            return Sent::Blocked;
        }
        self.0.sent_bytes.set(self.0.sent_bytes.get() + bytes.len());
        Sent::Bytes(bytes.len())
    }

    fn shutdown(&mut self, (): &mut ()) {}

    fn address(&self) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// A process of one shard that takes everyone.
struct Process;

impl Site for Process {
    fn admit(&self, _: Option<IpAddr>, _: u64) -> Result<Seat, TurnedAway> {
        Ok(Seat::UNCOUNTED)
    }

    fn release(&self, _: Seat, _: u64) {}

    fn reseat(&self, seat: Seat, _: IpAddr, _: u64) -> Result<Seat, TurnedAway> {
        Ok(seat)
    }

    fn metrics(&self, _: &mut String) {}

    fn readiness(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// See the [module](self).
pub struct Shard {
    engine: Engine<End, MemoryLog>,
    /// It stands still but for [pings](Shard::pings), so that no timer fires.
    now: Now,
    way: Way,
    members: Vec<(Slot, Rc<Line>)>,
    /// A message as a client sends it.
    frame: Vec<u8>,
    /// Where the digits of its `id` are, if it has one.
    id: Range<usize>,
    payload_bytes: usize,
    sent_count: u32,
}

/// How much a member is sent for each message, at least: a frame of anything.
const SENT_BYTES_MIN: usize = 20;

impl Shard {
    /// A room with its members, one of whom sends a message of so many bytes again and again. In the chat it is a
    /// `message` command, each time with another `id`.
    pub fn new(way: Way, member_count: usize, message_bytes: usize) -> Shard {
        let text = match way {
            Way::Chat | Way::Deflate => message_command(message_bytes),
            Way::Raw | Way::Echo => ascii(message_bytes),
        };
        let frame = masked(&text);
        let payload_start = frame.len() - text.len();
        let digits = text.find("000001").map(|at| payload_start + at);
        let hash_key = HashKey::new((1, 2));
        let settings = Settings {
            endpoints: Endpoints {
                raw: true,
                echo: true,
                ..Endpoints::default()
            },
            deflate: true,
            ..Settings::default()
        };
        let engine = Engine::new(
            Place { shard: 0, count: 1 },
            Arc::new(settings),
            Arc::new(Process),
            MemoryLog::new(hash_key),
            hash_key,
            [7; 32],
        );
        let mut shard = Shard {
            engine,
            now: Now {
                mono_ms: 1_000,
                unix_ms: 1_700_000_000_000,
            },
            way,
            members: Vec::new(),
            frame,
            id: digits.map_or(0..0, |at| at..at + 6),
            payload_bytes: text.len(),
            sent_count: 0,
        };
        for _ in 0..member_count {
            shard.join();
        }
        shard
    }

    /// The first member sends its message `count` times, each in a turn of its own.
    ///
    /// # Panics
    /// Where a member is not sent as many messages.
    pub fn messages(&mut self, count: usize) {
        let bytes_min = match self.way {
            // A message has a number and a time besides.
            Way::Chat => self.frame.len(),
            Way::Raw | Way::Echo => self.payload_bytes,
            Way::Deflate => SENT_BYTES_MIN,
        };
        // The author of what is relayed does not get it.
        let first = usize::from(self.way == Way::Raw);
        self.sending(first, count * bytes_min, |shard| {
            (0..count).for_each(|_| shard.message());
        });
    }

    /// `count` times, all members but the first take nothing while it sends as many messages as that, and then everything.
    ///
    /// # Panics
    /// Where a member is not sent as many messages.
    pub fn stalls(&mut self, count: usize, message_count: usize) {
        let bytes_min = count * message_count * self.frame.len();
        self.sending(1, bytes_min, |shard| {
            for _ in 0..count {
                shard.block(true);
                (0..message_count).for_each(|_| shard.message());
                shard.block(false);
                for (slot, _) in &shard.members[1..] {
                    shard.engine.ready(*slot, false, true, false);
                }
                shard.turn();
            }
        });
    }

    /// `count` times, the time comes to ping all members, who answer.
    ///
    /// # Panics
    /// Where a member is not sent as many pings.
    pub fn pings(&mut self, count: usize) {
        let mut pong = Vec::new();
        encode_masked(&mut pong, true, false, Opcode::Pong, MASK, &[]);
        let silence_percent = u64::from(100 + PING_SILENCE_PERCENT);
        let silence_ms = u64::from(Limits::default().heartbeat_ms) * silence_percent / 100;
        self.sending(0, count * 2, |shard| {
            for _ in 0..count {
                shard.pass(silence_ms);
                for (slot, line) in &shard.members {
                    line.to_read.borrow_mut().extend_from_slice(&pong);
                    shard.engine.ready(*slot, true, false, false);
                }
                shard.turn();
            }
        });
    }

    /// Sees to it that each member from `first` on is sent at least so much.
    fn sending(&mut self, first: usize, bytes_min: usize, send: impl FnOnce(&mut Shard)) {
        let before: Vec<usize> = self.sent_bytes().collect();
        send(self);
        for (before, after) in before.into_iter().zip(self.sent_bytes()).skip(first) {
            assert!(after - before >= bytes_min, "something is missing");
        }
    }

    fn message(&mut self) {
        self.name_next();
        let frame = mem::take(&mut self.frame);
        self.send(0, &frame);
        self.frame = frame;
    }

    fn block(&self, is_blocked: bool) {
        for (_, line) in &self.members[1..] {
            line.is_blocked.set(is_blocked);
        }
    }

    /// Gives the message the next `id`, in place, if it has one.
    fn name_next(&mut self) {
        self.sent_count += 1;
        let mut rest = self.sent_count;
        let payload_start = self.frame.len() - self.payload_bytes;
        for place in self.id.clone().rev() {
            let digit = b'0' + u8::try_from(rest % 10).expect("a digit");
            self.frame[place] = digit ^ MASK[(place - payload_start) % 4];
            rest /= 10;
        }
    }

    fn join(&mut self) {
        let (path, offer) = match self.way {
            Way::Chat => ("/ws?room=lobby", ""),
            Way::Deflate => (
                "/ws?room=lobby",
                "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            ),
            Way::Raw => ("/raw/lobby", ""),
            Way::Echo => ("/echo", ""),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        let (line, mut slot) = (Rc::new(Line::default()), Slot::NONE);
        self.engine.accept(self.now, Caller::UNKNOWN, |given, ()| {
            slot = given;
            Some(End(Rc::clone(&line)))
        });
        self.members.push((slot, line));
        self.send(self.members.len() - 1, request.as_bytes());
    }

    /// Lets bytes of a member arrive, and gives turns until all is done.
    fn send(&mut self, member: usize, bytes: &[u8]) {
        let (slot, line) = &self.members[member];
        line.to_read.borrow_mut().extend_from_slice(bytes);
        self.engine.ready(*slot, true, false, false);
        self.turn();
    }

    /// Gives turns until all is done.
    fn turn(&mut self) {
        self.engine.turn(self.now);
        while self.engine.timeout_ms(self.now) == Some(0) {
            self.engine.turn(self.now);
        }
    }

    /// Lets time pass, with a turn whenever the engine asks for one.
    fn pass(&mut self, time_ms: u64) {
        let end_ms = self.now.mono_ms + time_ms;
        while self.now.mono_ms < end_ms {
            let left_ms = end_ms - self.now.mono_ms;
            let step_ms = self.engine.timeout_ms(self.now).unwrap_or(left_ms);
            let step_ms = step_ms.min(left_ms);
            self.now.mono_ms += step_ms;
            self.now.unix_ms += step_ms;
            self.turn();
        }
    }

    fn sent_bytes(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|(_, line)| line.sent_bytes.get())
    }
}
