//! Calls on a stream socket, and the one place where their errors are judged.

use std::io::{self, ErrorKind};
use std::net::Shutdown;

use mio::net::TcpStream;
use rustix::net::{RecvFlags, SendFlags};

use crate::engine::{Received, Sent};

/// What a failed call means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing to do until the next edge.
    Blocked,
    /// The connection is gone.
    Gone,
}

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A signal came in between; the same call again.
    Again,
    Fail(Failure),
}

fn classify(error: &io::Error) -> Verdict {
    match error.kind() {
        ErrorKind::WouldBlock => Verdict::Fail(Failure::Blocked),
        ErrorKind::Interrupted => Verdict::Again,
        // Reset, aborted, timed out, unreachable, out of memory: it makes no difference to us which.
        _ => Verdict::Fail(Failure::Gone),
    }
}

/// Reads what has come. Both this call and [`send`]'s go to the kernel directly: libc's are points of cancellation,
/// which with more than one thread costs a twentieth of a small echo.
pub fn recv(stream: &TcpStream, into: &mut [u8]) -> Received {
    debug_assert!(
        !into.is_empty(),
        "an empty buffer would look like the end of the stream"
    );
    loop {
        let error = match rustix::net::recv(stream, &mut *into, RecvFlags::empty()) {
            Ok((0, _)) => return Received::Closed,
            Ok((count, _)) => return Received::Bytes(count),
            Err(error) => io::Error::from(error),
        };
        match classify(&error) {
            Verdict::Again => {}
            Verdict::Fail(Failure::Blocked) => return Received::Blocked,
            Verdict::Fail(Failure::Gone) => return Received::Failed,
        }
    }
}

/// Writes as much as fits.
pub fn send(stream: &TcpStream, bytes: &[u8]) -> Sent {
    match transmit(stream, bytes) {
        Ok(count) => Sent::Bytes(count),
        Err(Failure::Blocked) => Sent::Blocked,
        Err(Failure::Gone) => Sent::Failed,
    }
}

/// See [`send`]. At least one byte was taken where it gives a number.
pub fn transmit(stream: &TcpStream, bytes: &[u8]) -> Result<usize, Failure> {
    debug_assert!(
        !bytes.is_empty(),
        "a send of nothing says nothing about the socket"
    );
    loop {
        let error = match rustix::net::send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(0) => return Err(Failure::Gone),
            Ok(count) => return Ok(count),
            Err(error) => io::Error::from(error),
        };
        match classify(&error) {
            Verdict::Again => {}
            Verdict::Fail(failure) => return Err(failure),
        }
    }
}

/// Says that nothing more is sent. Fails only where the connection is gone, which the next recv tells.
pub fn shutdown(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_blocked_and_an_interrupted_call_leave_a_connection() {
        for (error, verdict) in [
            (ErrorKind::WouldBlock, Verdict::Fail(Failure::Blocked)),
            (ErrorKind::Interrupted, Verdict::Again),
            (ErrorKind::ConnectionReset, Verdict::Fail(Failure::Gone)),
            (ErrorKind::BrokenPipe, Verdict::Fail(Failure::Gone)),
            (ErrorKind::TimedOut, Verdict::Fail(Failure::Gone)),
            (ErrorKind::OutOfMemory, Verdict::Fail(Failure::Gone)),
            (ErrorKind::Other, Verdict::Fail(Failure::Gone)),
        ] {
            assert_eq!(classify(&error.into()), verdict, "{error:?}");
        }
    }
}
