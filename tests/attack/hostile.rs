//! A crowd of connections that mean no good, driven by one thread.

use crate::common::{Opcode, PATIENCE, deflated, fragment, marked, masked, tls, upgrade};
use rustls::ClientConnection;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The default of `--max-message`.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// What a bomb inflates to.
const BOMB_BYTES: usize = 8 << 20;
/// Bytes that a connection sends before the next has its turn.
const TURN_BYTES: usize = 64 * 1024;
/// The end of what was received that is kept: enough for a close frame.
const TAIL_BYTES: usize = 256;

/// A deflated block with codes of 1 to 15 bits, so that the tables for them are large, and only its end in it: 247 bits,
/// the last ones first.
const HOLLOW_BLOCK: &str = "\
    0000001111110111011110110011110101011001000111100110101000101100010010000000000001111110111011110110\
    0111101010110010001111001101010001011000100100000001101011111111111111111100100100100100100100100100\
    10010010010010010000010000000011111110111101100";
/// The same with 33 spaces in it: 291 bits.
const TABLES_BLOCK: &str = "\
    0100000000000000000000000000000000000000110000111011110110011110101011001000111100110101000101100010\
    0111110111100001000000111011110110011110101011001000111100110101000101100010011111100101000011111110\
    0001111001010100010010110010110010010010010010010010010010010000001100000011111110111101100";

/// What a hostile connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A few KiB that inflate to many MiB.
    Bomb,
    /// Messages that inflate to just what is allowed, without end: nothing but their cost is wrong with them.
    Stuffed,
    /// The same with white space, which says nothing to the chat.
    Blank,
    /// Messages as long as they may be that inflate to nothing: blocks that hold no more than their tables of codes.
    Hollow,
    /// The same with as much in each block as it takes: what comes of it is about as long as what was sent.
    Tables,
    /// A long message of which all but the end comes, then a byte now and then.
    Trickle,
    /// The header of a frame of 2^63 - 1 bytes.
    Giant,
    /// A hundred thousand empty fragments.
    Fragments,
    /// Pings whose pongs are not read.
    Pings,
    /// Nonsense whose refusals are read a little slower than they come.
    Sips,
    /// Connections that say nothing, as many as there may be and more.
    Connections,
    /// Upgrades, one after the other.
    Handshakes,
    /// Messages to a room, as fast as they are taken.
    Messages,
    /// Request heads that come byte by byte and never end.
    SlowHeaders,
    /// Pages of history that are asked for and not read, by members of the room.
    Deaf,
    /// The first flight of a TLS handshake, and nothing more.
    HalfHandshakes,
}

impl Attack {
    pub const ALL: &[Attack] = &[
        Attack::Bomb,
        Attack::Stuffed,
        Attack::Blank,
        Attack::Hollow,
        Attack::Tables,
        Attack::Trickle,
        Attack::Giant,
        Attack::Fragments,
        Attack::Pings,
        Attack::Sips,
    ];

    /// What one address does to push the others out.
    pub const SIEGE: &[Attack] = &[
        Attack::Connections,
        Attack::Handshakes,
        Attack::Messages,
        Attack::SlowHeaders,
        Attack::Deaf,
        Attack::Giant,
    ];

    /// The same where TLS is spoken: nobody else gets as far.
    pub const SIEGE_OF_TLS: &[Attack] = &[Attack::Connections, Attack::HalfHandshakes];

    /// The code of the close that it meets, if it does.
    fn close_code(self) -> Option<u16> {
        match self {
            Attack::Bomb | Attack::Giant => Some(1009),
            Attack::Fragments => Some(1008),
            Attack::Stuffed
            | Attack::Blank
            | Attack::Hollow
            | Attack::Tables
            | Attack::Trickle
            | Attack::Pings
            | Attack::Sips => None,
            Attack::Connections
            | Attack::Handshakes
            | Attack::Messages
            | Attack::SlowHeaders
            | Attack::Deaf
            | Attack::HalfHandshakes => None,
        }
    }

    fn script(self) -> Script {
        let text = |bytes: usize| marked(true, Opcode::Text, &deflated(&vec![b' '; bytes]));
        let empty = |fin, opcode| fragment(fin, opcode, b"");
        let (path, first, again) = match self {
            Attack::Bomb => ("/echo", text(BOMB_BYTES), vec![]),
            Attack::Stuffed => ("/echo", vec![], text(MESSAGE_BYTES_MAX)),
            Attack::Blank => ("/ws", vec![], text(MESSAGE_BYTES_MAX)),
            Attack::Hollow => ("/echo", vec![], blocks(HOLLOW_BLOCK)),
            Attack::Tables => ("/echo", vec![], blocks(TABLES_BLOCK)),
            Attack::Trickle => {
                let whole = masked(Opcode::Binary, &vec![0x37; MESSAGE_BYTES_MAX]);
                let (first, last) = whole.split_at(whole.len() - 10_000);
                ("/echo", first.to_vec(), last[..1].to_vec())
            }
            Attack::Giant => {
                let mut header = vec![0x82, 0xff];
                header.extend(u64::to_be_bytes(u64::MAX >> 1));
                header.extend([0; 4]);
                ("/raw/r", header, vec![0; 1000])
            }
            Attack::Fragments => {
                let first = empty(false, Opcode::Text);
                ("/ws", first, empty(false, Opcode::Continuation))
            }
            Attack::Pings => ("/echo", vec![], masked(Opcode::Ping, &[7; 125])),
            Attack::Sips => ("/ws", vec![], masked(Opcode::Text, b"{}{}{}{}{}{}{}{}")),
            Attack::Connections => ("", vec![], vec![]),
            Attack::Handshakes => ("/ws", vec![], vec![]),
            Attack::Messages => {
                let message = br#"{"type":"message","room_id":"siege","content":"!"}"#;
                ("/ws?room=siege", vec![], masked(Opcode::Text, message))
            }
            Attack::HalfHandshakes => ("", client_hello(), vec![]),
            Attack::SlowHeaders => ("", b"GET / HTTP/1.1\r\n".to_vec(), b"X".to_vec()),
            Attack::Deaf => {
                let history = br#"{"type":"history","room_id":"calm","limit":500}"#;
                ("/ws?room=calm", vec![], masked(Opcode::Text, history))
            }
        };
        let times = match self {
            Attack::Trickle | Attack::SlowHeaders => 1,
            _ => TURN_BYTES / again.len().max(1),
        };
        let read_bytes = match self {
            Attack::Pings | Attack::Deaf => 0,
            Attack::Sips => 4 * 1024,
            _ => usize::MAX,
        };
        Script {
            path,
            first,
            again: again.repeat(times),
            read_bytes,
            leaves: matches!(self, Attack::Handshakes | Attack::HalfHandshakes),
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attack::Bomb => "bombs",
            Attack::Stuffed => "messages stuffed to the limit",
            Attack::Blank => "messages stuffed with blanks",
            Attack::Hollow => "messages of empty blocks",
            Attack::Tables => "messages of tables of codes",
            Attack::Trickle => "unfinished messages",
            Attack::Giant => "headers of 2^63 - 1",
            Attack::Fragments => "empty fragments",
            Attack::Pings => "unread pongs",
            Attack::Sips => "refusals read in sips",
            Attack::Connections => "connections",
            Attack::Handshakes => "handshakes",
            Attack::Messages => "messages",
            Attack::SlowHeaders => "slow headers",
            Attack::Deaf => "slow readers",
            Attack::HalfHandshakes => "half handshakes",
        })
    }
}

/// What all connections of one attack send, and how they read.
struct Script {
    /// Of the upgrade; empty where there is none.
    path: &'static str,
    first: Vec<u8>,
    /// Sent again and again, if there is any.
    again: Vec<u8>,
    /// Read at a time.
    read_bytes: usize,
    /// Whether it goes with the first answer.
    leaves: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Tally(Vec<(Attack, Count)>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    opened: u64,
    closed_as_due: u64,
    closed_otherwise: u64,
    sent_bytes: u64,
}

/// Connections that attack in turns.
pub struct Crowd {
    address: SocketAddr,
    /// Where they come from.
    source: IpAddr,
    scripts: Vec<(Attack, Script)>,
    connections: Vec<Hostile>,
    tally: Tally,
}

/// One connection.
struct Hostile {
    stream: TcpStream,
    /// The place of its attack.
    place: usize,
    request: Vec<u8>,
    /// How much it sent, in all.
    sent: usize,
    /// The end of what it received.
    tail: Vec<u8>,
}

/// How a turn of a connection ended.
enum Turn {
    Idle,
    Busy,
    /// The server has gone.
    Over,
}

impl Crowd {
    /// So many connections, which attack in these ways.
    pub fn new(address: SocketAddr, count: usize, attacks: &[Attack]) -> Crowd {
        Crowd::of(address, address.ip(), count, attacks)
    }

    /// The same from another address of this machine.
    pub fn of(address: SocketAddr, source: IpAddr, count: usize, attacks: &[Attack]) -> Crowd {
        let mut crowd = Crowd {
            address,
            source,
            scripts: attacks.iter().map(|it| (*it, it.script())).collect(),
            connections: Vec::new(),
            tally: Tally(attacks.iter().map(|it| (*it, Count::default())).collect()),
        };
        for number in 0..count {
            let connection = crowd.open(number % attacks.len());
            crowd.connections.push(connection);
        }
        crowd
    }

    /// Attacks until it is over, and until each attack met its answer often enough. Whoever is closed comes again.
    pub fn run(&mut self, is_over: &AtomicBool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_over.load(Ordering::Relaxed)
            || !self.tally.is_enough() && Instant::now() < deadline
        {
            let mut is_busy = false;
            for index in 0..self.connections.len() {
                is_busy |= self.turn(index);
            }
            if !is_busy {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// What came of it so far.
    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }

    fn turn(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        let place = connection.place;
        let (attack, script) = &self.scripts[place];
        let sent_before = connection.sent;
        let turn = connection.turn(script);
        let count = &mut self.tally.0[place].1;
        count.sent_bytes += (connection.sent - sent_before) as u64;
        match turn {
            Turn::Idle => false,
            // A trickle takes its time.
            Turn::Busy => !matches!(attack, Attack::Trickle | Attack::SlowHeaders),
            Turn::Over => {
                match attack.close_code() {
                    Some(code) if connection.was_told(code) => count.closed_as_due += 1,
                    Some(_) | None => count.closed_otherwise += 1,
                }
                self.connections[index] = self.open(place);
                true
            }
        }
    }

    fn open(&mut self, place: usize) -> Hostile {
        self.tally.0[place].1.opened += 1;
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.connect() {
                Ok(stream) => break stream,
                // Of so many, some meet what is left of one before.
                Err(error) => assert!(Instant::now() < deadline, "the server accepts: {error}"),
            }
        };
        Hostile {
            stream,
            place,
            request: self.scripts[place].1.request(self.address),
            sent: 0,
            tail: Vec::new(),
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket?;
        // A reset at the end, so that no port is held for a minute by each of thousands.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.bind(&SocketAddr::new(self.source, 0).into())?;
        socket.connect(&self.address.into())?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }
}

impl Hostile {
    /// Reads a share and sends a share.
    fn turn(&mut self, script: &Script) -> Turn {
        match self.read(script.read_bytes) {
            Turn::Over => Turn::Over,
            Turn::Busy if script.leaves => Turn::Over,
            Turn::Idle => self.write(script),
            Turn::Busy => {
                self.write(script);
                Turn::Busy
            }
        }
    }

    fn read(&mut self, bytes_max: usize) -> Turn {
        let mut buffer = [0; TURN_BYTES];
        let buffer = &mut buffer[..bytes_max.min(TURN_BYTES)];
        if buffer.is_empty() {
            return Turn::Idle;
        }
        match self.stream.read(buffer) {
            Ok(0) => Turn::Over,
            Ok(count) => {
                self.tail.extend_from_slice(&buffer[..count]);
                let kept = self.tail.len().min(TAIL_BYTES);
                self.tail.drain(..self.tail.len() - kept);
                Turn::Busy
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Turn::Idle,
            Err(_) => Turn::Over,
        }
    }

    fn write(&mut self, script: &Script) -> Turn {
        let once = self.request.len();
        let bytes = match self.sent.checked_sub(once) {
            None => &self.request[self.sent..],
            Some(_) if script.again.is_empty() => return Turn::Idle,
            Some(beyond) => &script.again[beyond % script.again.len()..],
        };
        match self.stream.write(bytes) {
            Ok(count) => {
                self.sent += count;
                Turn::Busy
            }
            // That the server has gone is for the reader to find out.
            Err(_) => Turn::Idle,
        }
    }

    /// Whether a close frame with this code is at the end of what came.
    fn was_told(&self, code: u16) -> bool {
        let [high, low] = code.to_be_bytes();
        let mut frames = self.tail.windows(4);
        frames.any(|at| matches!(at, [0x88, _, a, b] if *a == high && *b == low))
    }
}

/// A compressed message that is as long as it may be, of one block again and again.
fn blocks(bits: &str) -> Vec<u8> {
    let count = MESSAGE_BYTES_MAX * 8 / bits.len() - 1;
    let mut bits: Vec<u8> = bits.bytes().rev().map(|bit| bit - b'0').collect();
    bits = bits.repeat(count);
    // The header of the stored block that the other side adds.
    bits.extend([0; 3]);
    let byte = |bits: &[u8]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit);
    let payload: Vec<u8> = bits.chunks(8).map(byte).collect();
    marked(true, Opcode::Text, &payload)
}

/// What a client of TLS says first.
fn client_hello() -> Vec<u8> {
    let connection = ClientConnection::new(tls::trusting(), tls::name());
    let mut hello = Vec::new();
    let mut connection = connection.expect("a configuration for TLS");
    connection
        .write_tls(&mut hello)
        .expect("a vector takes all");
    hello
}

impl Script {
    /// The upgrade, and what comes once behind it.
    fn request(&self, address: SocketAddr) -> Vec<u8> {
        if self.path.is_empty() {
            return self.first.clone();
        }
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let head = upgrade(&address.to_string(), self.path, offer);
        [head.as_bytes(), &self.first].concat()
    }
}

impl Count {
    /// Whether it was an attack at all.
    fn is_enough(&self, attack: Attack) -> bool {
        match (attack, attack.close_code()) {
            (Attack::Connections | Attack::Handshakes | Attack::HalfHandshakes, _) => {
                self.opened > 500
            }
            (_, Some(_)) => self.closed_as_due > 20,
            (_, None) => self.sent_bytes > 10_000,
        }
    }
}

impl Tally {
    /// Sees to it that the attack took place, and met the answer that it should.
    pub fn check(&self, attack: Attack) {
        let (_, count) = self.0.iter().find(|row| row.0 == attack).expect("a row");
        assert_eq!(count.closed_otherwise, 0, "{attack}: {self}");
        assert!(count.is_enough(attack), "{attack}: {self}");
    }

    fn is_enough(&self) -> bool {
        self.0
            .iter()
            .all(|(attack, count)| count.is_enough(*attack))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum =
            |number: fn(&Count) -> u64| -> u64 { self.0.iter().map(|row| number(&row.1)).sum() };
        write!(
            f,
            "{} connections, {} closed as due, {} otherwise, {:.1} MiB sent",
            sum(|count| count.opened),
            sum(|count| count.closed_as_due),
            sum(|count| count.closed_otherwise),
            sum(|count| count.sent_bytes) as f64 / f64::from(1 << 20)
        )
    }
}
