//! The sockets that the engine reads and writes.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown};

use mio::net::TcpStream;
use rustix::net::{RecvFlags, SendFlags};

use super::preface::{self, Preface};
use crate::engine::{Received, Sent, Socket, Traffic};

/// One connection's bytes.
#[derive(Debug)]
pub enum Transport {
    /// TCP as it is.
    Plain(TcpStream),
    /// One from a proxy of ours, until it is known whether a header comes before its own bytes. Empty only within
    /// [`Socket::recv`].
    Fronted(Option<Box<Transport>>),
    /// One whose bytes are counted, for an operator to see.
    Observed(Box<Observed>),
}

/// See [`Transport::Observed`].
#[derive(Debug)]
pub struct Observed {
    below: Transport,
    traffic: Traffic,
}

impl Transport {
    /// This one, with a header of the PROXY protocol before it, or none.
    pub fn fronted(self) -> Transport {
        Transport::Fronted(Some(Box::new(self)))
    }

    /// This one, accepted at `since_ms`, with its bytes counted.
    pub fn observed(self, since_ms: u64) -> Transport {
        let traffic = Traffic {
            since_ms,
            ..Traffic::default()
        };
        let below = self;
        Transport::Observed(Box::new(Observed { below, traffic }))
    }

    /// The connection below; `None` only while a header is taken.
    fn stream(&self) -> Option<&TcpStream> {
        match self {
            Transport::Plain(stream) => Some(stream),
            Transport::Fronted(inner) => inner.as_ref()?.stream(),
            Transport::Observed(observed) => observed.below.stream(),
        }
    }

    /// Reads what stands before the connection's own bytes, and those if there is nothing to tell.
    fn recv_first(&mut self, into: &mut [u8]) -> Received {
        let Some(preface) = self.stream().map(preface::take) else {
            return Received::Failed;
        };
        let client = match preface {
            Preface::Awaited => return Received::Blocked,
            Preface::Malformed(fault) => {
                let proxy = self.address();
                log::debug!(
                    "a PROXY header of {proxy:?} is malformed: {}",
                    fault.as_str()
                );
                return Received::Malformed;
            }
            Preface::Absent => None,
            Preface::Taken(client) => client,
        };
        if let Transport::Fronted(inner) = self
            && let Some(inner) = inner.take()
        {
            *self = *inner;
        }
        client.map_or_else(|| self.recv(into), Received::Proxied)
    }
}

/// What a failed call means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Nothing to do until the next edge.
    Blocked,
    /// A signal came in between; the same call again.
    Interrupted,
    /// The connection is gone.
    Gone,
}

/// The one place where an I/O error of a connection is judged.
fn classify(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock => Failure::Blocked,
        ErrorKind::Interrupted => Failure::Interrupted,
        // Reset, aborted, timed out, unreachable, out of memory: it makes no difference to us which.
        _ => Failure::Gone,
    }
}

/// Both calls go to the kernel directly: libc's are points of cancellation, which with more than one thread costs a
/// twentieth of a small echo.
fn receive(stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    let (count, _) = rustix::net::recv(stream, into, RecvFlags::empty())?;
    Ok(count)
}

/// See [`receive`].
fn transmit(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?)
}

impl Observed {
    fn recv(&mut self, into: &mut [u8]) -> Received {
        let received = self.below.recv(into);
        if let Received::Bytes(count) = received {
            self.traffic.received_bytes += count as u64;
        }
        received
    }

    fn send(&mut self, bytes: &[u8]) -> Sent {
        let sent = self.below.send(bytes);
        if let Sent::Bytes(count) = sent {
            self.traffic.sent_bytes += count as u64;
        }
        sent
    }
}

impl Socket for Transport {
    fn recv(&mut self, into: &mut [u8]) -> Received {
        debug_assert!(
            !into.is_empty(),
            "an empty buffer would look like the end of the stream"
        );
        match self {
            Transport::Fronted(_) => self.recv_first(into),
            Transport::Observed(observed) => observed.recv(into),
            Transport::Plain(stream) => loop {
                match receive(stream, into).map_err(|error| classify(&error)) {
                    Ok(0) => break Received::Closed,
                    Ok(count) => break Received::Bytes(count),
                    Err(Failure::Blocked) => break Received::Blocked,
                    Err(Failure::Interrupted) => {}
                    Err(Failure::Gone) => break Received::Failed,
                }
            },
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Sent {
        debug_assert!(
            !bytes.is_empty(),
            "a send of nothing says nothing about the socket"
        );
        match self {
            Transport::Fronted(inner) => inner
                .as_mut()
                .map_or(Sent::Failed, |inner| inner.send(bytes)),
            Transport::Observed(observed) => observed.send(bytes),
            Transport::Plain(stream) => loop {
                match transmit(stream, bytes).map_err(|error| classify(&error)) {
                    Ok(0) => break Sent::Failed,
                    Ok(count) => break Sent::Bytes(count),
                    Err(Failure::Blocked) => break Sent::Blocked,
                    Err(Failure::Interrupted) => {}
                    Err(Failure::Gone) => break Sent::Failed,
                }
            },
        }
    }

    fn shutdown(&mut self) {
        // Fails only where the connection is gone, which the next recv tells.
        let _ = self.stream().map(|stream| stream.shutdown(Shutdown::Write));
    }

    fn address(&self) -> Option<IpAddr> {
        // On a dual-stack socket 10.0.0.7 shows as ::ffff:10.0.0.7; both are one client.
        let address = self.stream()?.peer_addr().ok()?;
        Some(address.ip().to_canonical())
    }

    fn traffic(&self) -> Traffic {
        match self {
            Transport::Plain(_) | Transport::Fronted(_) => Traffic::default(),
            Transport::Observed(observed) => observed.traffic,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream as StdStream};
    use std::time::{Duration, Instant};

    use super::*;

    fn pair() -> (Transport, StdStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Transport::Plain(TcpStream::from_std(ours)), client)
    }

    /// Repeats `attempt` until it gives something, for at most ten seconds.
    fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match attempt() {
                Some(value) => break value,
                None => assert!(Instant::now() < deadline, "it did not happen in time"),
            }
            std::thread::yield_now();
        }
    }

    fn outcome(ours: &mut Transport) -> Option<Received> {
        match ours.recv(&mut [0; 16]) {
            Received::Blocked => None,
            other @ (Received::Bytes(_)
            | Received::Proxied(_)
            | Received::Closed
            | Received::Malformed
            | Received::Failed) => Some(other),
        }
    }

    #[test]
    fn bytes_then_nothing_then_the_end() {
        let (mut ours, mut client) = pair();
        assert!(matches!(ours.recv(&mut [0; 16]), Received::Blocked));
        client.write_all(b"hello").unwrap();
        assert!(matches!(
            eventually(|| outcome(&mut ours)),
            Received::Bytes(5)
        ));
        drop(client);
        assert!(matches!(
            eventually(|| outcome(&mut ours)),
            Received::Closed
        ));
    }

    #[test]
    fn a_reset_is_a_failure() {
        let (mut ours, client) = pair();
        socket2::SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);
        assert!(matches!(
            eventually(|| outcome(&mut ours)),
            Received::Failed
        ));
        assert!(matches!(ours.send(b"x"), Sent::Failed));
    }

    #[test]
    fn a_full_socket_blocks_and_a_half_close_ends_the_stream() {
        let (mut ours, mut client) = pair();
        let mut sent = 0;
        eventually(|| match ours.send(&[7; 65536]) {
            Sent::Bytes(count) => {
                sent += count;
                None
            }
            Sent::Blocked => Some(()),
            Sent::Failed => panic!("the connection is well"),
        });
        ours.shutdown();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), sent);
    }

    #[test]
    fn an_address_is_that_of_the_client() {
        let (ours, client) = pair();
        assert_eq!(ours.address(), Some(client.local_addr().unwrap().ip()));
    }

    #[test]
    fn a_header_comes_before_what_is_counted() {
        let (ours, mut client) = pair();
        let mut ours = ours.fronted().observed(7);
        assert!(matches!(ours.recv(&mut [0; 16]), Received::Blocked));
        client
            .write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 5 6\r\nhello")
            .unwrap();
        let address = "192.0.2.7".parse().unwrap();
        assert_eq!(
            eventually(|| outcome(&mut ours)),
            Received::Proxied(address)
        );
        assert_eq!(eventually(|| outcome(&mut ours)), Received::Bytes(5));
        assert_eq!(ours.send(b"hi"), Sent::Bytes(2));
        let traffic = ours.traffic();
        assert_eq!(
            (traffic.since_ms, traffic.received_bytes, traffic.sent_bytes),
            (7, 5, 2)
        );
        client.write_all(b"PROXY TCP4").unwrap();
        let again = eventually(|| outcome(&mut ours));
        assert_eq!(
            again,
            Received::Bytes(10),
            "only the first bytes are a header"
        );
    }

    #[test]
    fn only_a_blocked_and_an_interrupted_call_leave_a_connection() {
        for (error, failure) in [
            (ErrorKind::WouldBlock, Failure::Blocked),
            (ErrorKind::Interrupted, Failure::Interrupted),
            (ErrorKind::ConnectionReset, Failure::Gone),
            (ErrorKind::BrokenPipe, Failure::Gone),
            (ErrorKind::TimedOut, Failure::Gone),
            (ErrorKind::OutOfMemory, Failure::Gone),
            (ErrorKind::Other, Failure::Gone),
        ] {
            assert_eq!(classify(&error.into()), failure, "{error:?}");
        }
    }
}
