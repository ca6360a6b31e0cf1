//! Promise: a fan-out in a large room delays a message of another room by one slice at most.
//!
//! What counts is sends, so no clock takes part: a shard with sockets that only remember what they were sent.

use roomcast::callers::{Caller, Seat, TurnedAway};
use roomcast::engine::{Engine, Now, Place, Received, Sent, Settings, Site, Socket};
use roomcast::hashing::HashKey;
use roomcast::limits::SEND_COUNT_PER_TURN;
use roomcast::log::MemoryLog;
use roomcast::slots::Slot;
use roomcast::ws::Opcode;
use roomcast::ws::frame::encode_masked;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

const MEMBER_COUNT: usize = 18_000;

/// What the sends of a bystander's own message come to: its acknowledgement, and itself to both members.
const OWN_SEND_COUNT: u64 = 3;

const NOW: Now = Now {
    mono_ms: 1_000,
    unix_ms: 1_700_000_000_000,
};

/// The client's end of a connection.
#[derive(Debug, Default)]
struct Line {
    to_read: RefCell<Vec<u8>>,
    sent: RefCell<Vec<u8>>,
    /// When it was last sent anything.
    sent_at: Cell<u64>,
}

impl Line {
    fn count(&self, text: &str) -> usize {
        let sent = self.sent.borrow();
        let texts = sent.windows(text.len());
        texts.filter(|found| *found == text.as_bytes()).count()
    }

    /// How many messages with this content it has.
    fn heard(&self, content: &str) -> usize {
        self.count(&format!(r#""content":"{content}""#))
    }
}

/// The server's end, which takes everything, and a clock that all of them share: one tick for each send.
struct End {
    line: Rc<Line>,
    clock: Rc<Cell<u64>>,
}

impl Socket for End {
    type Common = ();

    fn recv(&mut self, (): &mut (), into: &mut [u8]) -> Received {
        let mut bytes = self.line.to_read.borrow_mut();
        if bytes.is_empty() {
            return Received::Blocked;
        }
        let count = bytes.len();
        into[..count].copy_from_slice(&bytes);
        bytes.clear();
        Received::Bytes(count)
    }

    fn send(&mut self, (): &mut (), bytes: &[u8]) -> Sent {
        self.line.sent.borrow_mut().extend_from_slice(bytes);
        self.clock.set(self.clock.get() + 1);
        self.line.sent_at.set(self.clock.get());
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

struct Shard {
    engine: Engine<End, MemoryLog>,
    clock: Rc<Cell<u64>>,
    lines: Vec<(Slot, Rc<Line>)>,
}

impl Shard {
    /// Members 0 and 1 are in the room `side`, all others in `large`.
    fn new() -> Shard {
        let hash_key = HashKey::new((1, 2));
        let mut shard = Shard {
            engine: Engine::new(
                Place { shard: 0, count: 1 },
                Arc::new(Settings::default()),
                Arc::new(Process),
                MemoryLog::new(hash_key),
                hash_key,
                [7; 32],
            ),
            clock: Rc::default(),
            lines: Vec::new(),
        };
        for index in 0..MEMBER_COUNT + 2 {
            shard.join(if index < 2 { "side" } else { "large" });
        }
        shard.settle();
        for (_, line) in &shard.lines {
            assert_eq!(line.count(r#""type":"joined""#), 1);
            line.sent.borrow_mut().clear();
        }
        shard
    }

    fn join(&mut self, room: &str) {
        let request = format!(
            "GET /ws?room={room} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let (line, clock) = (Rc::new(Line::default()), Rc::clone(&self.clock));
        let mut slot = Slot::NONE;
        self.engine.accept(NOW, Caller::UNKNOWN, |given, ()| {
            slot = given;
            let line = Rc::clone(&line);
            Some(End { line, clock })
        });
        self.lines.push((slot, line));
        self.arrive(self.lines.len() - 1, request.as_bytes());
        self.engine.turn(NOW);
    }

    fn say(&mut self, member: usize, room: &str, content: &str) {
        let command = format!(
            r#"{{"type":"message","room_id":"{room}","content":"{content}","id":"{content}"}}"#
        );
        let mut frame = Vec::new();
        encode_masked(
            &mut frame,
            true,
            false,
            Opcode::Text,
            [1, 2, 3, 4],
            command.as_bytes(),
        );
        self.arrive(member, &frame);
    }

    fn arrive(&mut self, member: usize, bytes: &[u8]) {
        let (slot, line) = &self.lines[member];
        line.to_read.borrow_mut().extend_from_slice(bytes);
        self.engine.ready(*slot, true, false, false);
    }

    fn settle(&mut self) {
        while self.engine.timeout_ms(NOW) == Some(0) {
            self.engine.turn(NOW);
        }
    }

    /// Says something to the side, and returns how many sends it takes until the other one there has it.
    fn sends_until_the_side_hears(&mut self, content: &str) -> u64 {
        let said_at = self.clock.get();
        self.say(0, "side", content);
        while self.lines[1].1.heard(content) == 0 {
            assert_eq!(self.engine.timeout_ms(NOW), Some(0), "{content} is lost");
            self.engine.turn(NOW);
        }
        self.lines[1].1.sent_at.get() - said_at
    }

    fn large(&self) -> impl Iterator<Item = &Line> {
        self.lines[2..].iter().map(|(_, line)| line.as_ref())
    }
}

#[test]
fn another_room_waits_for_one_slice_at_most() {
    let mut shard = Shard::new();
    let slice = u64::from(SEND_COUNT_PER_TURN);
    let mut waited_most = 0;
    // In the turn in which the fan-out begins, right after, and anywhere until shortly before its end.
    for turn_count in [0, 1, 2, 7, 20, 33] {
        shard.say(2, "large", &format!("to all {turn_count}."));
        for _ in 0..turn_count {
            shard.engine.turn(NOW);
        }
        let waited = shard.sends_until_the_side_hears(&format!("aside {turn_count}."));
        assert!(
            waited <= slice + OWN_SEND_COUNT,
            "{waited} sends, {turn_count} turns after the fan-out began"
        );
        waited_most = waited_most.max(waited);
        let missing = shard.large().filter(|line| line.count("to all") == 0);
        assert!(missing.count() > 0, "it was still going on");
        shard.settle();
        for line in shard.large() {
            assert_eq!(line.heard(&format!("to all {turn_count}.")), 1);
            line.sent.borrow_mut().clear();
        }
    }
    assert!(
        waited_most > slice,
        "a slice came between, and it was whole"
    );
}

#[test]
fn a_message_during_a_fan_out_goes_with_the_next_pass() {
    let mut shard = Shard::new();
    shard.say(2, "large", "first.");
    shard.engine.turn(NOW);
    shard.say(3, "large", "second.");
    let heard =
        |shard: &Shard, text: &str| shard.large().filter(|line| line.heard(text) == 1).count();
    shard.engine.turn(NOW);
    assert_eq!(
        heard(&shard, "second."),
        1,
        "only its sender has it, with the acknowledgement"
    );
    shard.settle();
    assert_eq!(heard(&shard, "first."), MEMBER_COUNT);
    assert_eq!(heard(&shard, "second."), MEMBER_COUNT);
}
