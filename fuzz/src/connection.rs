//! One connection at a time through anything that a client or a network can do to it: bytes of any kind in pieces of
//! any size, stalls, short writes, time that goes by or jumps, ends and resets.
//!
//! What must hold: no panic and no bug survived; what the server sends is well-formed; `/echo` gives back what it got,
//! in order and, where nobody cut it off, all of it; the shard comes to rest; what it holds for a peer is bounded; and
//! when the server stops, nothing is left.

use super::pipe::SharedPipe;
use super::reader::{Reader, Said};
use super::world::World;
use arbitrary::{Arbitrary, Unstructured};
use roomcast::ws::{Opcode, frame};
use std::collections::VecDeque;

/// One thing that happens. In an input each is a byte, whose low bits choose, and the operands. A byte from 128 on
/// lets it happen together with what follows, before the shard gets a turn.
#[derive(Debug, PartialEq, Eq)]
enum Operation<'a> {
    /// `a`: a new connection, after the one before was cut off.
    Connect,
    /// `b`: sends bytes as they are: a length, the bytes.
    Bytes(&'a [u8]),
    /// `c`: sends a request: which. From 128 on it offers permessage-deflate, with one of the windows.
    Request(u8),
    /// `d`: sends a message or a control frame: opcode and FIN, a length, the payload.
    Frame(u8, &'a [u8]),
    /// `e`: sends a JSON command: which.
    Command(u8),
    /// `f`: sends a frame of so many kilobytes.
    Large(u8),
    /// `g`: from now on what is sent arrives in pieces of so many bytes, with a turn after each; 0: in one.
    Pieces(u8),
    /// `h`: from now on so many bytes may wait for the client; 255: any number.
    Window(u8),
    /// `i`: the client reads so many bytes, times 16.
    Read(u8),
    /// `j`: time goes by.
    Pass(u8),
    /// `k`: time jumps.
    Jump(u8),
    /// `l`: the client sends no more.
    End,
    /// `m`: the connection breaks.
    Reset,
    /// `n`: readiness is told without a change.
    Nudge,
    /// `o`: the server stops.
    Stop,
    /// `p`: the last bytes are sent once more, so many times.
    Again(u8),
}

impl<'a> Arbitrary<'a> for Operation<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Operation<'a>> {
        fn bytes<'a>(u: &mut Unstructured<'a>) -> arbitrary::Result<&'a [u8]> {
            let length = u.arbitrary::<u8>()?;
            u.bytes(usize::from(length).min(u.len()))
        }
        Ok(match u.arbitrary::<u8>()? % 16 {
            1 => Operation::Connect,
            2 => Operation::Bytes(bytes(u)?),
            3 => Operation::Request(u.arbitrary()?),
            4 => Operation::Frame(u.arbitrary()?, bytes(u)?),
            5 => Operation::Command(u.arbitrary()?),
            6 => Operation::Large(u.arbitrary()?),
            7 => Operation::Pieces(u.arbitrary()?),
            8 => Operation::Window(u.arbitrary()?),
            9 => Operation::Read(u.arbitrary()?),
            10 => Operation::Pass(u.arbitrary()?),
            11 => Operation::Jump(u.arbitrary()?),
            12 => Operation::End,
            13 => Operation::Reset,
            14 => Operation::Nudge,
            15 => Operation::Stop,
            _ => Operation::Again(u.arbitrary()?),
        })
    }
}

impl Operation<'_> {
    /// Whether it adds to what waits for the server.
    fn sends(&self) -> bool {
        match self {
            Operation::Bytes(_)
            | Operation::Request(_)
            | Operation::Frame(..)
            | Operation::Command(_)
            | Operation::Large(_)
            | Operation::Again(_) => true,
            Operation::Connect
            | Operation::Pieces(_)
            | Operation::Window(_)
            | Operation::Read(_)
            | Operation::Pass(_)
            | Operation::Jump(_)
            | Operation::End
            | Operation::Reset
            | Operation::Nudge
            | Operation::Stop => false,
        }
    }
}

/// Targets of well-formed requests; those from [`UPGRADES`] on are upgrades.
const TARGETS: [&str; 12] = [
    "/",
    "/healthz",
    "/metrics",
    "/nothing",
    "/echo",
    "/echo",
    "/ws",
    "/ws?hello",
    "/ws?user=ann&session=0123456789abcdef&room=lobby",
    "/ws?user=ann&room=%0a",
    "/raw/lobby",
    "/readyz",
];

/// Place of the first target that is asked for by an upgrade, and of the first behind them that is not.
const UPGRADES: std::ops::Range<usize> = 4..11;

const COMMANDS: [&str; 12] = [
    r#"{"type":"hello","user":"ann","session":"0123456789abcdef","id":"h"}"#,
    r#"{"type":"join","room_id":"lobby","id":"j"}"#,
    r#"{"type":"join","room_id":"lobby","since":{"epoch":"x","seq_id":1},"echo":false}"#,
    r#"{"type":"leave","room_id":"lobby"}"#,
    r#"{"type":"message","room_id":"lobby","content":[1,2],"id":"m"}"#,
    r#"{"type":"message","to":"ann","content":{"a":"b"}}"#,
    r#"{"type":"signal","room_id":"lobby","content":null}"#,
    r#"{"type":"history","room_id":"lobby"}{"type":"history","to":"ann","limit":3}"#,
    r#"{"type":"who","room_id":"lobby"} {"type":"who","room_id":"other"}"#,
    r#"{"type":"heartbeat","id":"b"}"#,
    r#"{"type":"fly"}{"type":"join","#,
    r#"{"type":"message","room_id":"lobby","content":"twelve bytes"} "#,
];

/// Milliseconds that go by or are jumped over.
const TIMES: [u64; 8] = [1, 99, 101, 1_000, 5_001, 10_001, 25_001, 60_000];

/// Input: [`Operation`]s.
pub fn run(data: &[u8]) {
    let mut play = Play::new();
    let mut input = Unstructured::new(data);
    while let Some(is_held) = input.peek_bytes(1).map(|bytes| bytes[0] >= 128) {
        let Ok(operation) = Operation::arbitrary(&mut input) else {
            break;
        };
        play.perform(&operation);
        if !is_held {
            play.settle();
        }
    }
    play.finish();
}

struct Play {
    world: World,
    client: Client,
    piece_bytes: usize,
    last: Vec<u8>,
}

impl Play {
    fn new() -> Play {
        let mut world = World::new(1);
        let client = Client::new(world.connect(0));
        Play {
            world,
            client,
            piece_bytes: 0,
            last: Vec::new(),
        }
    }

    fn perform(&mut self, operation: &Operation<'_>) {
        if operation.sends() && self.client.pipe.borrow().is_full() {
            return;
        }
        match *operation {
            Operation::Connect => {
                self.client.leave();
                self.settle();
                self.client = Client::new(self.world.connect(0));
            }
            Operation::Bytes(bytes) => {
                self.client.is_tainted = true;
                self.send(bytes.to_vec());
            }
            Operation::Request(which) => self.request(which),
            Operation::Frame(first, payload) => self.frame(first, payload.to_vec()),
            Operation::Command(which) => {
                let text = COMMANDS[usize::from(which) % COMMANDS.len()];
                self.frame(0x81, text.into());
            }
            Operation::Large(kilobytes) => {
                self.frame(0x81, vec![b' '; usize::from(kilobytes) * 1024])
            }
            Operation::Pieces(bytes) => self.piece_bytes = usize::from(bytes),
            Operation::Window(255) => self.client.pipe.borrow_mut().open_window(usize::MAX),
            Operation::Window(bytes) => self.client.pipe.borrow_mut().open_window(bytes.into()),
            Operation::Read(bytes) => self.client.read(usize::from(bytes) * 16),
            Operation::Pass(which) => self.world.pass(TIMES[usize::from(which) % TIMES.len()]),
            Operation::Jump(which) => self.world.jump(TIMES[usize::from(which) % TIMES.len()]),
            Operation::End => self.client.pipe.borrow_mut().end(),
            Operation::Reset => self.client.pipe.borrow_mut().reset(),
            Operation::Nudge => self.client.pipe.borrow_mut().nudge(),
            Operation::Stop => self.world.stop(),
            Operation::Again(count) => {
                self.client.is_tainted = true;
                for _ in 0..count % 32 {
                    if !self.client.pipe.borrow().is_full() {
                        self.send(self.last.clone());
                    }
                }
            }
        }
    }

    fn request(&mut self, choice: u8) {
        let which = usize::from(choice) % TARGETS.len();
        let offer = format!(
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={}\r\n",
            8 + choice % 8
        );
        let offer = if choice >= 128 { &*offer } else { "" };
        self.client.is_echo |= TARGETS[which] == "/echo" && !self.client.has_asked;
        self.client.is_tainted |= self.client.has_asked && self.client.is_echo;
        self.client.has_asked = true;
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let upgrade = if UPGRADES.contains(&which) {
            upgrade
        } else {
            ""
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: a\r\n{upgrade}{offer}\r\n",
            TARGETS[which]
        );
        self.send(request.into_bytes());
    }

    fn frame(&mut self, first: u8, payload: Vec<u8>) {
        let opcode = match first & 15 {
            0 => Opcode::Continuation,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => Opcode::Text,
        };
        let (is_whole, is_compressed) = (first >= 128 || opcode.is_control(), first & 0x40 != 0);
        self.client
            .expect(opcode, is_whole && !is_compressed, &payload);
        let mut bytes = Vec::new();
        let mask = [first, 0x5a, 0, 0xff];
        frame::encode_masked(&mut bytes, is_whole, is_compressed, opcode, mask, &payload);
        self.send(bytes);
    }

    fn send(&mut self, bytes: Vec<u8>) {
        if self.piece_bytes == 0 || bytes.len() / self.piece_bytes > 200 {
            self.client.pipe.borrow_mut().send(&bytes);
        } else {
            for piece in bytes.chunks(self.piece_bytes) {
                self.client.pipe.borrow_mut().send(piece);
                self.settle();
            }
        }
        self.last = bytes;
    }

    fn settle(&mut self) {
        self.world.settle();
    }

    /// The client reads whatever still comes, then the server stops.
    fn finish(&mut self) {
        self.settle();
        self.client.pipe.borrow_mut().open_window(usize::MAX);
        for _ in 0..4 {
            self.settle();
            self.client.read(usize::MAX);
        }
        self.client.check_echoes();
        self.world.stop();
        self.client.read(usize::MAX);
        assert!(
            self.client.pipe.borrow().is_over(),
            "the connection outlives the server"
        );
        if self.client.pipe.borrow().ended_in_order() {
            self.client.reader.end();
        }
    }
}

struct Client {
    pipe: SharedPipe,
    reader: Reader,
    has_asked: bool,
    is_echo: bool,
    /// It sent what the harness does not understand, so that echoes are not known.
    is_tainted: bool,
    echoes: VecDeque<Said>,
    pings: VecDeque<Vec<u8>>,
}

impl Client {
    fn new(pipe: SharedPipe) -> Client {
        Client {
            pipe,
            reader: Reader::default(),
            has_asked: false,
            is_echo: false,
            is_tainted: false,
            echoes: VecDeque::new(),
            pings: VecDeque::new(),
        }
    }

    /// Notes what shall come back.
    fn expect(&mut self, opcode: Opcode, is_whole: bool, payload: &[u8]) {
        let text = std::str::from_utf8(payload).map(str::to_owned);
        let is_fine = is_whole && payload.len() <= 20_000 && self.has_asked;
        match (opcode, text) {
            _ if !is_fine || !self.is_echo || (opcode.is_control() && payload.len() > 125) => {
                self.is_tainted = true;
            }
            (Opcode::Text, Ok(text)) => self.echoes.push_back(Said::Text(text)),
            (Opcode::Binary, _) => self.echoes.push_back(Said::Binary(payload.to_vec())),
            (Opcode::Ping, _) => self.pings.push_back(payload.to_vec()),
            (Opcode::Pong, _) => {}
            (Opcode::Text | Opcode::Close | Opcode::Continuation, _) => self.is_tainted = true,
        }
    }

    fn read(&mut self, bytes_max: usize) {
        let bytes = self.pipe.borrow_mut().take(bytes_max);
        for said in self.reader.read(&bytes) {
            if self.is_tainted || !self.is_echo {
                continue;
            }
            match said {
                Said::Text(_) | Said::Binary(_) => {
                    assert_eq!(self.echoes.pop_front(), Some(said), "not what was sent");
                }
                Said::Pong(payload) => {
                    // Only the latest of many has to be answered (RFC 6455, 5.5.3).
                    let place = self.pings.iter().position(|ping| *ping == payload);
                    self.pings.drain(..=place.expect("a pong without a ping"));
                }
                // What was on its way meanwhile has no answer.
                Said::Close(_) => self.is_tainted = true,
                Said::Answer(_) | Said::Ping(_) => {}
            }
        }
    }

    /// Everything has come back, where nothing got between.
    fn check_echoes(&self) {
        let pipe = self.pipe.borrow();
        let is_cut = self.is_tainted || !pipe.is_open() || pipe.ended_in_order();
        if self.is_echo && !is_cut {
            assert!(self.reader.is_upgraded(), "no answer");
            assert!(
                self.echoes.is_empty() && self.pings.is_empty(),
                "unanswered"
            );
        }
    }

    /// Goes away, and checks what came before.
    fn leave(&mut self) {
        self.read(usize::MAX);
        self.pipe.borrow_mut().reset();
    }
}
