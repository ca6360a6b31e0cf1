//! What a trusted proxy may say first on a connection. It is looked at where the kernel keeps it, and only a whole
//! header is taken away: whoever reads the connection next, TLS or not, begins at its first byte.

use std::net::IpAddr;

use mio::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::limits::PROXY_HEADER_BYTES_MAX;
use crate::proxy::header::{self, Fault, Parsed};

/// What came of a look at the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// Nothing yet that tells.
    Awaited,
    /// There is none: what is there belongs to the connection.
    Absent,
    /// A header was there, and has been taken. It names a client, or says that there is none but the proxy.
    Taken(Option<IpAddr>),
    /// Something that begins like a header and is none.
    Malformed(Fault),
}

/// Looks, and takes a header that is whole.
pub fn take(stream: &TcpStream) -> Preface {
    let mut bytes = [0; PROXY_HEADER_BYTES_MAX];
    let count = loop {
        match recv(stream, &mut bytes, RecvFlags::PEEK) {
            Ok((count, _)) => break count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Preface::Awaited,
            // Whoever reads next finds out the same.
            Err(_) => return Preface::Absent,
        }
    };
    match header::parse(bytes.get(..count).unwrap_or_default()) {
        Parsed::Foreign => Preface::Absent,
        Parsed::Partial if count == 0 || has_ended(stream) => Preface::Absent,
        Parsed::Partial => Preface::Awaited,
        Parsed::Malformed(fault) => Preface::Malformed(fault),
        Parsed::Header {
            client,
            header_bytes,
        } => {
            discard(stream, bytes.get_mut(..header_bytes).unwrap_or_default());
            Preface::Taken(client)
        }
    }
}

/// Takes bytes away that are known to be there.
fn discard(stream: &TcpStream, bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match recv(stream, rest, RecvFlags::empty()) {
            Ok((0, _)) => break,
            Ok((count, _)) => at += count,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
}

/// Whether the other side sends no more. Bytes that stay unread hide the end of the stream behind them.
fn has_ended(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&now)), Ok(1..))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream as StdStream};
    use std::time::{Duration, Instant};

    use super::*;

    fn pair() -> (TcpStream, StdStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (TcpStream::from_std(ours), client)
    }

    /// Looks until `is_it` is there, for at most ten seconds.
    fn eventually(stream: &TcpStream, is_it: impl Fn(Preface) -> bool) -> Preface {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let preface = take(stream);
            if is_it(preface) {
                return preface;
            }
            assert!(Instant::now() < deadline, "{preface:?}");
            std::thread::yield_now();
        }
    }

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 5 6\r\n";

    #[test]
    fn a_header_is_taken_whole_and_nothing_behind_it() {
        let (mut ours, mut client) = pair();
        assert_eq!(take(&ours), Preface::Awaited);
        for byte in &LINE[..LINE.len() - 1] {
            client.write_all(&[*byte]).unwrap();
            assert_eq!(take(&ours), Preface::Awaited);
        }
        client.write_all(b"\nGET /").unwrap();
        let taken = eventually(&ours, |preface| preface != Preface::Awaited);
        assert_eq!(taken, Preface::Taken(Some("192.0.2.7".parse().unwrap())));
        let mut rest = [0; 16];
        let count = ours.read(&mut rest).unwrap();
        assert_eq!(&rest[..count], b"GET /");
    }

    #[test]
    fn what_is_no_header_stays_where_it_is() {
        let (mut ours, mut client) = pair();
        client.write_all(b"POST /").unwrap();
        eventually(&ours, |preface| preface == Preface::Absent);
        let mut rest = [0; 16];
        let count = ours.read(&mut rest).unwrap();
        assert_eq!(&rest[..count], b"POST /");
    }

    #[test]
    fn a_stream_that_ends_within_a_header_has_none() {
        for sent in [&b""[..], b"PROXY TCP4"] {
            let (ours, mut client) = pair();
            client.write_all(sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            eventually(&ours, |preface| preface == Preface::Absent);
        }
    }

    #[test]
    fn a_malformed_header_is_told() {
        let (ours, mut client) = pair();
        client.write_all(b"PROXY TCP4 me you 5 6\r\n").unwrap();
        eventually(&ours, |preface| preface == Preface::Malformed(Fault::Line));
    }
}
