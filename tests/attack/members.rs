//! A thousand members of a room who do nothing wrong, each read as soon as something comes, by one thread.

use crate::common::{Client, Opcode, PATIENCE, Server, Socket, Stream, json, masked};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// Time between two messages to the room: one connection may send twenty in a second.
const PACE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 60 });
/// Members that share an address.
const MEMBERS_PER_ADDRESS: usize = 10;
/// The room.
pub const ROOM: &str = "calm";

/// The members, one of whom speaks.
pub struct Members {
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    speaker: Line,
    /// When each message was due, by its number.
    due: Vec<Instant>,
    delays: Vec<Duration>,
}

struct Member {
    stream: Line,
    received: Vec<u8>,
    /// The number of the message that comes next.
    next: usize,
}

/// A connection that does not wait, with TLS or without.
enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// How long deliveries took, in order of length.
pub struct Delays(Vec<Duration>);

impl Members {
    /// So many members, and one who speaks.
    pub fn join(server: &Server, count: usize) -> Members {
        let poll = Poll::new().expect("a poll");
        let members = (0..count).map(|number| {
            let (mut stream, received) = enter(server, number);
            let registry = poll.registry();
            registry
                .register(stream.tcp(), Token(number), Interest::READABLE)
                .expect("a poll");
            Member {
                stream,
                received,
                next: 0,
            }
        });
        let members = members.collect();
        let (mut speaker, _) = enter(server, count);
        let registry = poll.registry();
        registry
            .register(speaker.tcp(), Token(count), Interest::READABLE)
            .expect("a poll");
        Members {
            poll,
            events: Events::with_capacity(1024),
            members,
            speaker,
            due: Vec::new(),
            delays: Vec::new(),
        }
    }

    /// Lets one speak at a fixed pace, and gives how long it took each member to get each message, counted from when
    /// it was due. None is lost and none comes twice.
    pub fn measure(&mut self, time: Duration) -> Delays {
        let start = Instant::now();
        while start.elapsed() < time {
            self.say();
            let next = *self.due.last().expect("one was said") + PACE;
            while Instant::now() < next {
                self.hear(next.saturating_duration_since(Instant::now()));
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while self.members.iter().any(|it| it.next < self.due.len()) {
            assert!(Instant::now() < deadline, "everyone gets everything");
            self.hear(Duration::from_millis(100));
        }
        let mut delays = std::mem::take(&mut self.delays);
        delays.sort();
        Delays(delays)
    }

    fn say(&mut self) {
        let due = match self.due.last() {
            // A measurement of its own begins now.
            Some(last) if last.elapsed() < 2 * PACE => *last + PACE,
            Some(_) | None => Instant::now(),
        };
        let number = self.due.len();
        self.due.push(due);
        let command = json!({"type": "message", "room_id": ROOM, "content": number});
        let frame = masked(Opcode::Text, command.to_string().as_bytes());
        self.speaker.write_all(&frame).expect("the server reads");
    }

    fn hear(&mut self, patience: Duration) {
        self.poll
            .poll(&mut self.events, Some(patience))
            .expect("a poll");
        for event in &self.events {
            let Some(member) = self.members.get_mut(event.token().0) else {
                skip(&mut self.speaker);
                continue;
            };
            member.read();
            let now = Instant::now();
            for number in member.take() {
                assert_eq!(number, member.next, "none is lost and none comes twice");
                member.next += 1;
                self.delays
                    .push(now.saturating_duration_since(self.due[number]));
            }
        }
    }
}

impl From<Stream> for Line {
    fn from(stream: Stream) -> Line {
        match stream {
            Stream::Plain(stream) => Line::Plain(TcpStream::from_std(stream)),
            Stream::Tls(stream) => {
                let StreamOwned { conn, sock, .. } = *stream;
                let below = TcpStream::from_std(sock);
                Line::Tls(Box::new(StreamOwned::new(conn, below)))
            }
        }
    }
}

impl Line {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Line::Plain(stream) => stream,
            Line::Tls(stream) => &mut stream.sock,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Plain(stream) => stream.read(into),
            Line::Tls(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Line::Plain(stream) => stream.write_all(bytes),
            Line::Tls(stream) => stream.write_all(bytes),
        }
    }
}

impl Member {
    /// Reads all that has come.
    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server closed a connection that did nothing wrong"),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("a connection that did nothing wrong broke: {error}"),
            }
        }
    }

    /// The numbers of the messages that have come whole.
    fn take(&mut self) -> Vec<usize> {
        let (mut numbers, mut at) = (Vec::new(), 0);
        while let Some((opcode, payload)) = frame_at(&self.received, at) {
            assert_eq!(opcode, 1, "nothing but texts");
            numbers.extend(number_of(&self.received[payload.clone()]));
            at = payload.end;
        }
        self.received.drain(..at);
        numbers
    }
}

/// Joins from an address that is shared with few others.
fn enter(server: &Server, number: usize) -> (Line, Vec<u8>) {
    let address = number / MEMBERS_PER_ADDRESS;
    let source = format!("127.1.{}.{}", address / 200, address % 200 + 1);
    let path = format!("/ws?room={ROOM}");
    let stream = server.secure(server.connect_from(&source));
    let socket = Socket::open(stream, &server.host(), &path);
    let mut client = Client::on(socket);
    client.take("joined");
    let (stream, received) = client.socket.into_parts();
    stream.tcp().set_nonblocking(true).expect("a socket");
    (Line::from(stream), received)
}

/// Opcode and place of the payload of a whole frame of the server.
fn frame_at(bytes: &[u8], at: usize) -> Option<(u8, std::ops::Range<usize>)> {
    let head = bytes.get(at..at + 2)?;
    let (start, length) = match head[1] {
        126 => {
            let length = bytes.get(at + 2..at + 4)?;
            (
                at + 4,
                usize::from(u16::from_be_bytes([length[0], length[1]])),
            )
        }
        127 => panic!("no frame here is so long"),
        length => (at + 2, usize::from(length)),
    };
    let end = start + length;
    (bytes.len() >= end).then(|| (head[0] & 15, start..end))
}

/// The number that a message says; others than the speaker say none.
fn number_of(text: &[u8]) -> Option<usize> {
    let event: serde_json::Value = serde_json::from_slice(text).expect("JSON");
    (event["type"] == "message").then_some(())?;
    let number = event["content"].as_u64()?;
    Some(usize::try_from(number).expect("a small number"))
}

fn skip(stream: &mut Line) {
    let mut buffer = [0; 16 * 1024];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

impl Delays {
    /// The delay that so many of a thousand deliveries do not exceed.
    pub fn p(&self, permille: usize) -> Duration {
        self.0[self.0.len() * permille / 1000]
    }

    pub fn show(&self) -> String {
        format!(
            "deliveries p50 {:.1?}, p99 {:.1?}, max {:.1?} of {}",
            self.p(500),
            self.p(990),
            self.0.last().expect("there are some"),
            self.0.len()
        )
    }
}
