//! The admin port: metrics, probes, and what an operator sees of rooms and connections.
//!
//! It is apart from the public one, so that a firewall can tell them from each other, and it stands on threads of its
//! own, so that a flood of the public port does not keep an operator out: one that accepts, and one for each of the few
//! connections that are served at a time. Each connection is for one request.
//!
//! Where it listens on a loopback address, it answers to an address or `localhost` alone: a page that an operator looks at
//! could otherwise let its own name lead to this machine ("DNS rebinding") and read what is for the operator.

mod answer;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::engine::overview::{Found, Survey};
use crate::http::{self, Parsed, Refusal, Reply, Scan};
use crate::limits::{
    ADMIN_CONNECTION_COUNT_MAX, ADMIN_REQUEST_MS, ADMIN_RETRY_AFTER_S, HEAD_BYTES_MAX,
};

/// What the admin port shows.
pub trait Source: Send + Sync {
    /// Appends the metrics of all shards, in the Prometheus text format.
    fn metrics(&self, out: &mut String);

    /// Whether the process can serve; the error says why not.
    fn readiness(&self) -> Result<(), &'static str>;

    /// Lets every shard look, and gives what each found, in order. `None` where one does not answer in time.
    fn survey(&self, survey: &Survey) -> Option<Vec<Found>>;

    /// Milliseconds since the start of the process, and since the Unix epoch.
    fn now_ms(&self) -> (u64, u64);
}

/// The admin port of a running server.
pub struct Admin {
    address: SocketAddr,
    socket: Arc<TcpListener>,
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Serves from now on.
    ///
    /// # Errors
    ///
    /// The system refused a thread.
    pub fn start(socket: TcpListener, source: Arc<dyn Source>) -> io::Result<Admin> {
        let address = socket.local_addr()?;
        let socket = Arc::new(socket);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let accept = Accept {
            socket: Arc::clone(&socket),
            source,
            is_local: address.ip().to_canonical().is_loopback(),
            is_stopping: Arc::clone(&is_stopping),
            open: Arc::default(),
        };
        let thread = thread::Builder::new()
            .name("admin".into())
            .spawn(move || accept.run())?;
        Ok(Admin {
            address,
            socket,
            is_stopping,
            thread,
        })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting. Who is being served is not waited for.
    pub fn stop(self) {
        self.is_stopping.store(true, Ordering::Release);
        // Wakes the thread that waits in accept(2).
        let woken = SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Both);
        if woken.is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// The thread that accepts.
struct Accept {
    socket: Arc<TcpListener>,
    source: Arc<dyn Source>,
    /// Whether it is reached from this machine alone.
    is_local: bool,
    is_stopping: Arc<AtomicBool>,
    /// Connections that are being served.
    open: Arc<AtomicUsize>,
}

impl Accept {
    fn run(self) {
        while !self.is_stopping.load(Ordering::Acquire) {
            match self.socket.accept() {
                Ok((stream, _)) => self.take(stream),
                // Short of descriptors, or a connection that was lost before it was taken.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn take(&self, stream: TcpStream) {
        let place = Place::take(&self.open);
        let (source, is_local) = (Arc::clone(&self.source), self.is_local);
        let serve = move |place: Option<Place>| {
            // The peer is gone, or too slow: nobody is left to be told.
            let _ = Connection::new(stream, &*source, is_local).serve(place.is_some());
        };
        match place {
            Some(place) => {
                // Without a thread the connection is closed, and whoever asks asks again.
                let _ = thread::Builder::new()
                    .name("admin-request".into())
                    .spawn(move || serve(Some(place)));
            }
            None => serve(None),
        }
    }
}

/// One of the connections that are served at a time, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Place> {
        let more = |count: usize| (count < ADMIN_CONNECTION_COUNT_MAX).then_some(count + 1);
        let taken = open.try_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.ok().map(|_| Place(Arc::clone(open)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One connection, for one request.
struct Connection<'s> {
    stream: TcpStream,
    source: &'s dyn Source,
    is_local: bool,
    deadline: Instant,
}

impl Connection<'_> {
    fn new(stream: TcpStream, source: &dyn Source, is_local: bool) -> Connection<'_> {
        Connection {
            stream,
            source,
            is_local,
            deadline: Instant::now() + Duration::from_millis(ADMIN_REQUEST_MS),
        }
    }

    /// Reads the request and answers it. One that is too many is told so unread.
    fn serve(mut self, has_place: bool) -> io::Result<()> {
        let mut answer = Vec::new();
        if has_place {
            self.read(&mut answer)?;
        } else {
            let refusal = Refusal::unavailable(
                "too many connections of the admin port",
                ADMIN_RETRY_AFTER_S,
            );
            self.reply().refusal(&mut answer, refusal);
        }
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(&answer)?;
        self.stream.shutdown(std::net::Shutdown::Write)?;
        self.stream.set_nonblocking(!has_place)?;
        self.linger()
    }

    /// Reads on until the other side ends: a socket that is closed with bytes unread takes the answer back. Where
    /// nobody may wait, this is what has come already.
    fn linger(&mut self) -> io::Result<()> {
        let mut rest = [0; 4096];
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            if self.stream.read(&mut rest)? == 0 {
                return Ok(());
            }
        }
    }

    fn read(&mut self, answer: &mut Vec<u8>) -> io::Result<()> {
        let mut bytes = vec![0; HEAD_BYTES_MAX + 1];
        let (mut length, mut scan) = (0, Scan::default());
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            let count = match self
                .stream
                .read(bytes.get_mut(length..).unwrap_or_default())
            {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            length += count;
            match http::parse(bytes.get(..length).unwrap_or_default(), &mut scan) {
                Parsed::Partial => {}
                Parsed::Refused(refusal) => {
                    self.reply().refusal(answer, refusal);
                    return Ok(());
                }
                Parsed::Request { request, .. }
                    if self.is_local && !answer::is_own_host(request.host) =>
                {
                    self.reply().refusal(answer, Refusal::FOREIGN_HOST);
                    return Ok(());
                }
                Parsed::Request { request, .. } => {
                    let reply = Reply {
                        with_body: Reply::to(&request, 0).with_body,
                        ..self.reply()
                    };
                    answer::write(self.source, &request, reply, answer);
                    return Ok(());
                }
            }
        }
    }

    fn reply(&self) -> Reply {
        Reply::closing(self.source.now_ms().1)
    }

    /// Time that is left; an error once there is none.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}
