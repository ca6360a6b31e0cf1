//! The sockets that the engine reads and writes. TLS becomes the second variant.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown};

use mio::net::TcpStream;
use rustix::net::{RecvFlags, SendFlags};

use crate::engine::{Received, Sent, Socket};

/// One connection's bytes.
#[derive(Debug)]
pub enum Transport {
    /// TCP as it is.
    Plain(TcpStream),
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

impl Socket for Transport {
    fn recv(&mut self, into: &mut [u8]) -> Received {
        debug_assert!(
            !into.is_empty(),
            "an empty buffer would look like the end of the stream"
        );
        match self {
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
        let _ = match self {
            Transport::Plain(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    fn address(&self) -> Option<IpAddr> {
        match self {
            // On a dual-stack socket 10.0.0.7 shows as ::ffff:10.0.0.7; both are one client.
            Transport::Plain(stream) => stream
                .peer_addr()
                .ok()
                .map(|address| address.ip().to_canonical()),
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
            other @ (Received::Bytes(_) | Received::Closed | Received::Failed) => Some(other),
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
