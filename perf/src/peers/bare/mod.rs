//! The least that a server can do: one poll, one `write` for each member and turn, nothing else. What it uses is what
//! the kernel takes, so it is the limit that others are compared with. `/raw/…` is one room for everybody, but for those
//! who wait in `/raw/arrivals`; `/echo` sends back. It pings only where it is told to. It trusts its peers, and serves only
//! loopback.

mod member;
mod pings;

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::wire;
use member::Member;
pub use member::Mode;
use pings::{PING, Pings};

const LISTENER: Token = Token(usize::MAX);

/// See the [module](self).
pub struct Bare {
    poll: Poll,
    listener: TcpListener,
    members: Slab<Member>,
    /// Members that are in the room.
    room: Vec<u32>,
    scratch: Vec<u8>,
    /// Frames of this turn, for everybody but their authors.
    frames: Vec<u8>,
    parts: Vec<Part>,
    gathered: Vec<u8>,
    gone: Vec<usize>,
    pings: Option<Pings>,
}

/// The frames of this turn that came from one read of one author.
struct Part {
    author: u32,
    start: usize,
    end: usize,
}

impl Bare {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    pub fn listen() -> io::Result<Bare> {
        let mut listener = TcpListener::from_std(super::listener()?);
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Bare {
            poll,
            listener,
            members: Slab::new(),
            room: Vec::new(),
            scratch: vec![0; 64 * 1024],
            frames: Vec::new(),
            parts: Vec::new(),
            gathered: Vec::new(),
            gone: Vec::new(),
            pings: None,
        })
    }

    /// Pings every connection once in so many milliseconds.
    pub fn ping_each(&mut self, interval_ms: u32) {
        self.pings = Some(Pings::new(interval_ms));
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for ever.
    ///
    /// # Errors
    ///
    /// The poll failed.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let pause = self.pings.as_ref().and_then(Pings::pause);
            match self.poll.poll(&mut events, pause) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let mut is_new = false;
            for event in &events {
                match event.token() {
                    LISTENER => is_new = true,
                    Token(index) => self.serve(index, event.is_writable(), event.is_read_closed()),
                }
            }
            self.fan_out();
            self.ping();
            self.bury();
            if is_new {
                self.accept();
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let entry = self.members.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered =
                self.poll
                    .registry()
                    .register(&mut stream, Token(entry.key()), interest);
            if registered.and_then(|()| stream.set_nodelay(true)).is_ok() {
                entry.insert(Member::new(stream));
            }
        }
    }

    fn serve(&mut self, index: usize, is_writable: bool, is_closed: bool) {
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        let served = if is_writable && member.is_blocked() {
            member.flush()
        } else {
            Ok(())
        };
        if served.and_then(|()| self.read(index)).is_err() || is_closed {
            self.gone.push(index);
        }
    }

    /// Reads until nothing is left.
    fn read(&mut self, index: usize) -> io::Result<()> {
        let Some(member) = self.members.get_mut(index) else {
            return Ok(());
        };
        loop {
            let (length, is_drained) = member.read(&mut self.scratch)?;
            let bytes = self.scratch.get_mut(..length).unwrap_or_default();
            let start = self.frames.len();
            let was_http = member.mode() == Mode::Http;
            member.take(bytes, &mut self.frames)?;
            if was_http
                && member.mode() != Mode::Http
                && let Some(pings) = &mut self.pings
            {
                member.ping_tick = pings.arm(index as u32);
            }
            match member.mode() {
                Mode::Room if was_http => self.room.push(index as u32),
                Mode::Room if self.frames.len() > start => {
                    self.parts.push(Part {
                        author: index as u32,
                        start,
                        end: self.frames.len(),
                    });
                }
                Mode::Echo if self.frames.len() > start => {
                    member.send(self.frames.get(start..).unwrap_or_default())?;
                    self.frames.truncate(start);
                }
                Mode::Http | Mode::Room | Mode::Echo | Mode::Aside => {}
            }
            if is_drained {
                return Ok(());
            }
        }
    }

    /// One write for each member of the room.
    fn fan_out(&mut self) {
        if self.frames.is_empty() {
            return;
        }
        for index in &self.room {
            let Some(member) = self.members.get_mut(*index as usize) else {
                continue;
            };
            let is_author = self.parts.iter().any(|part| part.author == *index);
            let bytes = if is_author {
                self.gathered.clear();
                for part in self.parts.iter().filter(|part| part.author != *index) {
                    self.gathered.extend_from_slice(
                        self.frames.get(part.start..part.end).unwrap_or_default(),
                    );
                }
                &self.gathered
            } else {
                &self.frames
            };
            if !bytes.is_empty() && member.send(bytes).is_err() {
                self.gone.push(*index as usize);
            }
        }
        self.frames.clear();
        self.parts.clear();
    }

    fn ping(&mut self) {
        let Some(pings) = &mut self.pings else {
            return;
        };
        while let Some(due) = pings.next() {
            let member = self.members.get_mut(due.index as usize);
            // Who has its place now may be due at another time.
            let Some(member) = member.filter(|member| member.ping_tick == due.tick) else {
                continue;
            };
            member.ping_tick = pings.arm(due.index);
            if member.send(&PING).is_err() {
                self.gone.push(due.index as usize);
            }
        }
    }

    fn bury(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        for index in std::mem::take(&mut self.gone) {
            self.members.try_remove(index);
        }
        self.room
            .retain(|index| self.members.contains(*index as usize));
    }
}

/// The end of the request, and what it asks for.
pub fn requested(head: &[u8]) -> Option<(usize, Mode)> {
    let end = memchr::memmem::find(head, b"\r\n\r\n")? + 4;
    let mode = if head.starts_with(b"GET /echo ") {
        Mode::Echo
    } else if head.starts_with(b"GET /raw/arrivals ") {
        Mode::Aside
    } else {
        Mode::Room
    };
    Some((end, mode))
}

/// The answer to every request: every request of this program has the same key.
pub fn answer() -> String {
    let accept = wire::ACCEPT;
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}
