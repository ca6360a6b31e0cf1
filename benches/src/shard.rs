//! A shard in memory: one room of so many members, all of whom read at once.

use std::cell::{Cell, RefCell};
use std::mem;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use roomcast::callers::{Caller, Seat, TurnedAway};
use roomcast::engine::{Engine, Now, Place, Received, Sent, Settings, Site, Socket};
use roomcast::hashing::HashKey;
use roomcast::log::MemoryLog;
use roomcast::slots::Slot;

use crate::frames::{MASK, masked, message_command};

/// The clock stands still, so that no timer fires.
const NOW: Now = Now {
    mono_ms: 1_000,
    unix_ms: 1_700_000_000_000,
};

/// A client's connection: what it sent, and how much it was sent.
#[derive(Debug, Default)]
struct Line {
    to_read: RefCell<Vec<u8>>,
    sent_bytes: Cell<usize>,
}

/// The server's end of a connection that takes everything.
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
    members: Vec<(Slot, Rc<Line>)>,
    /// A command as it is on the wire.
    frame: Vec<u8>,
    /// Where the digits of its `id` are.
    id: Range<usize>,
    payload_bytes: usize,
    sent_count: u32,
}

impl Shard {
    /// A room with its members, one of whom sends a `message` command of so many bytes again and again, each with an
    /// `id` of its own.
    pub fn new(member_count: usize, command_bytes: usize) -> Shard {
        let command = message_command(command_bytes);
        let digits = command.find("000001").expect("an id");
        let frame = masked(&command);
        let start = frame.len() - command.len() + digits;
        let hash_key = HashKey::new((1, 2));
        let engine = Engine::new(
            Place { shard: 0, count: 1 },
            Arc::new(Settings::default()),
            Arc::new(Process),
            MemoryLog::new(hash_key),
            hash_key,
            [7; 32],
        );
        let mut shard = Shard {
            engine,
            members: Vec::new(),
            frame,
            id: start..start + 6,
            payload_bytes: command.len(),
            sent_count: 0,
        };
        for _ in 0..member_count {
            shard.join();
        }
        shard
    }

    /// The first member sends the command `count` times, each in a turn of its own.
    ///
    /// # Panics
    /// Where a member is not sent as many messages.
    pub fn messages(&mut self, count: usize) {
        let before: Vec<usize> = self.sent_bytes().collect();
        for _ in 0..count {
            self.name_next();
            let frame = mem::take(&mut self.frame);
            self.send(0, &frame);
            self.frame = frame;
        }
        // Each member gets more than the command, as a message has a number and a time besides.
        for (before, after) in before.into_iter().zip(self.sent_bytes()) {
            assert!(
                after - before > count * self.frame.len(),
                "a message is missing"
            );
        }
    }

    /// Gives the command the next `id`, in place.
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
        let request = "GET /ws?room=lobby HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let (line, mut slot) = (Rc::new(Line::default()), Slot::NONE);
        self.engine.accept(NOW, Caller::UNKNOWN, |given, ()| {
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
        self.engine.turn(NOW);
        while self.engine.timeout_ms(NOW) == Some(0) {
            self.engine.turn(NOW);
        }
    }

    fn sent_bytes(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|(_, line)| line.sent_bytes.get())
    }
}
