//! All client connections of a run, on one thread and one poll.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Clock;
use crate::connection::{Connection, Stage};
use crate::destination::{Address, Destination, Route};
use crate::limits::{
    CONNECTIONS_PER_ADDRESS, OPENING_COUNT_MAX, OPENING_MS, SCRATCH_BYTES, STALLED_RECEIVE_BYTES,
    STALLED_SEGMENT_BYTES,
};
use crate::line::Line;

const TIMER: Token = Token(usize::MAX);

/// How many crowds there were, by which their networks are told apart.
static CROWD_COUNT: AtomicU8 = AtomicU8::new(0);

/// A message that came.
pub struct Arrival<'a> {
    /// Which connection it came on, in the order in which they were made.
    pub connection: usize,
    /// When it was read, see [`Clock`].
    pub at_ns: u64,
    /// What it says.
    pub payload: &'a [u8],
    /// Whether that is compressed.
    pub is_deflated: bool,
}

/// See the [module](self).
pub struct Crowd {
    clock: Clock,
    poll: Poll,
    events: Events,
    routes: Vec<Route>,
    connections: Vec<Option<Connection>>,
    open_count: usize,
    reads_total: u64,
    pings_total: u64,
    faults: Vec<String>,
    lost_count: usize,
    scratch: Vec<u8>,
    timer: Option<OwnedFd>,
    network: u8,
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    ///
    /// The address is not on this machine, or there is no poll to be had.
    pub fn new(clock: Clock, destination: Destination) -> io::Result<Crowd> {
        Ok(Crowd {
            clock,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            routes: vec![Route::new(destination)?],
            connections: Vec::new(),
            open_count: 0,
            reads_total: 0,
            pings_total: 0,
            faults: Vec::new(),
            lost_count: 0,
            scratch: vec![0; SCRATCH_BYTES],
            timer: None,
            network: CROWD_COUNT.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Lets connections that are opened from now on go somewhere else.
    ///
    /// # Errors
    ///
    /// The address is not on this machine.
    pub fn head_for(&mut self, destination: Destination) -> io::Result<()> {
        self.routes.push(Route::new(destination)?);
        Ok(())
    }

    /// Opens connections until there are `count`, a bounded number at a time.
    ///
    /// # Errors
    ///
    /// One of them could not be opened, or not in time.
    pub fn open(&mut self, count: usize) -> io::Result<()> {
        let deadline_ns = self.clock.now_ns() + (OPENING_MS + count as u64) * 1_000_000;
        while self.open_count < count {
            self.begin(count)?;
            self.turn(Some(Duration::from_millis(100)), |_| ())?;
            if let Some(fault) = self.faults.first() {
                return Err(io::Error::other(fault.clone()));
            }
            if self.clock.now_ns() > deadline_ns {
                let text = format!(
                    "only {} of {count} connections opened in time",
                    self.open_count
                );
                return Err(io::Error::other(text));
            }
        }
        Ok(())
    }

    /// Lets time pass, and takes what comes.
    ///
    /// # Errors
    ///
    /// The poll failed.
    pub fn rest(&mut self, time: Duration) -> io::Result<()> {
        let end_ns = self.clock.now_ns() + time.as_nanos() as u64;
        while self.clock.now_ns() < end_ns {
            let left = Duration::from_nanos(end_ns - self.clock.now_ns().min(end_ns));
            self.turn(Some(left), |_| ())?;
        }
        Ok(())
    }

    /// Waits for events, at most for `timeout`, and takes everything that has come.
    ///
    /// # Errors
    ///
    /// The poll failed. What happens to one connection is kept as a [fault](Crowd::faults).
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        mut message: impl FnMut(Arrival<'_>),
    ) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(index) = event.token();
            if event.token() == TIMER {
                self.note_timer();
                continue;
            }
            if let Err(error) = self.serve(
                index,
                event.is_writable(),
                event.is_read_closed(),
                &mut message,
            ) {
                self.lose(index, &error);
            }
        }
        self.events = events;
        Ok(())
    }

    /// Opens connections without waiting for them, until `count` were made, as far as not too many are under way.
    ///
    /// # Errors
    ///
    /// The machine has no sockets left.
    pub fn begin(&mut self, count: usize) -> io::Result<()> {
        while self.connections.len() < count
            && self.connections.len() - self.open_count < OPENING_COUNT_MAX
        {
            self.connect()?;
        }
        Ok(())
    }

    /// Never reads from a connection again. The server is not told.
    pub fn stall(&mut self, index: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(index) {
            // It was registered; and what is not, brings nothing either.
            let _ = self.poll.registry().deregister(connection.stream_mut());
        }
    }

    /// Sends frames on one connection.
    pub fn send(&mut self, index: usize, frames: &[u8]) {
        if let Some(Some(connection)) = self.connections.get_mut(index)
            && let Err(error) = connection.send(frames)
        {
            self.lose(index, &error);
        }
    }

    /// Whether a connection has something to send that its socket does not take yet, or is gone.
    pub fn is_blocked(&self, index: usize) -> bool {
        let connection = self.connections.get(index).and_then(Option::as_ref);
        connection.is_none_or(Connection::is_blocked)
    }

    /// Lets a timer end a [turn](Crowd::turn) early, until another one takes its place.
    ///
    /// # Errors
    ///
    /// The poll does not take it.
    pub fn watch(&mut self, timer: OwnedFd) -> io::Result<()> {
        let fd = timer.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        self.timer = Some(timer);
        Ok(())
    }

    /// The clock of the run.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Connections that are open, those that were lost since included.
    pub fn open_count(&self) -> usize {
        self.open_count
    }

    /// Reads that brought something.
    pub fn reads_total(&self) -> u64 {
        self.reads_total
    }

    /// Pings that came and were answered.
    pub fn pings_total(&self) -> u64 {
        self.pings_total
    }

    /// What went wrong with connections, the first few in words.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        if self.lost_count > faults.len() {
            faults.push(format!("{} connections were lost in all", self.lost_count));
        }
        faults
    }

    /// Closes every connection.
    pub fn leave(&mut self) {
        self.connections.clear();
        self.open_count = 0;
    }

    /// A timer goes on only when it was read.
    fn note_timer(&mut self) {
        if let Some(timer) = &self.timer {
            // It rings again whatever the count says.
            let _ = rustix::io::read(timer, &mut [0; 8]);
        }
    }

    fn connect(&mut self) -> io::Result<()> {
        let index = self.connections.len();
        let route = self.routes.len() - 1;
        let destination = &self.routes[route].destination;
        let Address {
            socket: address,
            is_tls,
        } = destination.address;
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if destination.is_narrow {
            socket.set_recv_buffer_size(STALLED_RECEIVE_BYTES)?;
            socket.set_tcp_mss(STALLED_SEGMENT_BYTES)?;
        }
        if let Some(source) = source(address, self.network, index) {
            socket.bind(&source.into())?;
        }
        match socket.connect(&address.into()) {
            Err(error)
                if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
            {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(index), interest)?;
        let line = match is_tls {
            true => Line::secure(stream)?,
            false => Line::Plain(stream),
        };
        self.connections.push(Some(Connection::new(line, route)));
        Ok(())
    }

    fn serve(
        &mut self,
        index: usize,
        is_writable: bool,
        is_closed: bool,
        message: &mut impl FnMut(Arrival<'_>),
    ) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return Ok(());
        };
        let route = &self.routes[connection.route()];
        if is_writable && (connection.is_blocked() || connection.stage() == Stage::Connecting) {
            connection.writable(&route.request)?;
        }
        let was_open = connection.stage() == Stage::Open;
        loop {
            let (length, is_drained) = connection.read(&mut self.scratch)?;
            if length > 0 {
                self.reads_total += 1;
                let at_ns = self.clock.now_ns();
                let take = |payload: &[u8], is_deflated| {
                    message(Arrival {
                        connection: index,
                        at_ns,
                        payload,
                        is_deflated,
                    })
                };
                let bytes = &self.scratch[..length];
                self.pings_total += connection.take(bytes, route.destination.welcome, take)?;
            }
            // A socket that was closed has its end still to be read, which no event tells again.
            if is_drained && (length == 0 || !is_closed) {
                break;
            }
        }
        if !was_open && connection.stage() == Stage::Open {
            self.open_count += 1;
        }
        Ok(())
    }

    fn lose(&mut self, index: usize, error: &io::Error) {
        self.lost_count += 1;
        if self.faults.len() < 5 {
            self.faults.push(format!("connection {index}: {error}"));
        }
        if let Some(connection) = self.connections.get_mut(index)
            && let Some(mut connection) = connection.take()
        {
            // It is closed at once, so a failure means nothing.
            let _ = self.poll.registry().deregister(connection.stream_mut());
        }
    }
}

/// The address to connect from, in 127.`network`.0.0: each crowd has its own, as ports are not free again for a minute after
/// the connections of the one before it.
fn source(to: SocketAddr, network: u8, index: usize) -> Option<SocketAddr> {
    let step = u8::try_from(index / CONNECTIONS_PER_ADDRESS).ok()?;
    match to.ip() {
        IpAddr::V4(_) => Some(SocketAddr::from((
            Ipv4Addr::new(127, network, 0, step.checked_add(1)?),
            0,
        ))),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_come_from_many_addresses() {
        let to = "127.0.0.1:80".parse().unwrap();
        for (network, step, address) in [
            (0, 0, "127.0.0.1:0"),
            (0, 16, "127.0.0.17:0"),
            (7, 1, "127.7.0.2:0"),
        ] {
            for index in [
                step * CONNECTIONS_PER_ADDRESS,
                (step + 1) * CONNECTIONS_PER_ADDRESS - 1,
            ] {
                assert_eq!(source(to, network, index), Some(address.parse().unwrap()));
            }
        }
        assert_eq!(source("[::1]:80".parse().unwrap(), 0, 199_999), None);
    }
}
