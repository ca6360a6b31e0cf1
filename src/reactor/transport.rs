//! The sockets that the engine reads and writes: TCP as it is, or with layers over it.

use std::net::IpAddr;

use mio::net::TcpStream;

use super::preface::{self, Preface};
use super::raw;
use super::tls::{Tally, Tls};
use crate::engine::{Received, Sent, Socket, Traffic};
use crate::slots::Slot;

/// One connection's bytes.
#[derive(Debug)]
pub enum Transport {
    /// TCP as it is.
    Plain(TcpStream),
    /// TCP under TLS, with the index of its session.
    Tls(TcpStream, u32),
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

/// What the transports of a shard have in common.
#[derive(Default)]
pub struct Common {
    /// Where TLS is spoken.
    pub tls: Option<Tls>,
}

// What an idle connection is reckoned with. In debug builds mio adds what it checks.
#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Transport>() <= 16);

impl Common {
    /// A turn begins.
    pub fn begin(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.begin();
        }
    }

    /// What was counted of TLS.
    pub fn tally(&self) -> Option<Tally> {
        self.tls.as_ref().map(Tls::tally)
    }
}

impl Transport {
    /// The transport of a new connection in this slot.
    pub fn new(stream: TcpStream, slot: Slot, common: &mut Common) -> Transport {
        match &mut common.tls {
            Some(tls) => Transport::Tls(stream, tls.add(slot)),
            None => Transport::Plain(stream),
        }
    }

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
            Transport::Plain(stream) | Transport::Tls(stream, _) => Some(stream),
            Transport::Fronted(inner) => inner.as_ref()?.stream(),
            Transport::Observed(observed) => observed.below.stream(),
        }
    }

    /// The session of TLS on this connection, with the connection.
    fn session(&self) -> Option<(u32, &TcpStream)> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(stream, session) => Some((*session, stream)),
            Transport::Fronted(inner) => inner.as_ref()?.session(),
            Transport::Observed(observed) => observed.below.session(),
        }
    }

    /// Reads what stands before the connection's own bytes, and those if there is nothing to tell.
    fn recv_first(&mut self, common: &mut Common, into: &mut [u8]) -> Received {
        let Some(preface) = self.stream().map(preface::take) else {
            return Received::Failed;
        };
        let header = match preface {
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
            Preface::Taken(client) => Some(client),
        };
        if let Transport::Fronted(inner) = self
            && let Some(inner) = inner.take()
        {
            *self = *inner;
        }
        header.map_or_else(|| self.recv(common, into), Received::Proxied)
    }
}

impl Observed {
    fn recv(&mut self, common: &mut Common, into: &mut [u8]) -> Received {
        let received = self.below.recv(common, into);
        if let Received::Bytes(count) | Received::Part(count) = received {
            self.traffic.received_bytes += count as u64;
        }
        received
    }

    fn send(&mut self, common: &mut Common, bytes: &[u8]) -> Sent {
        let sent = self.below.send(common, bytes);
        if let Sent::Bytes(count) | Sent::Held(count) = sent {
            self.traffic.sent_bytes += count as u64;
        }
        sent
    }
}

impl Socket for Transport {
    type Common = Common;

    fn recv(&mut self, common: &mut Common, into: &mut [u8]) -> Received {
        match self {
            Transport::Plain(stream) => raw::recv(stream, into),
            Transport::Tls(stream, session) => match &mut common.tls {
                Some(tls) => tls.recv(*session, stream, into),
                None => Received::Failed,
            },
            Transport::Fronted(_) => self.recv_first(common, into),
            Transport::Observed(observed) => observed.recv(common, into),
        }
    }

    fn send(&mut self, common: &mut Common, bytes: &[u8]) -> Sent {
        match self {
            Transport::Plain(stream) => raw::send(stream, bytes),
            Transport::Tls(stream, session) => match &mut common.tls {
                Some(tls) => tls.send(*session, stream, bytes),
                None => Sent::Failed,
            },
            Transport::Fronted(inner) => inner
                .as_mut()
                .map_or(Sent::Failed, |inner| inner.send(common, bytes)),
            Transport::Observed(observed) => observed.send(common, bytes),
        }
    }

    fn flush(&mut self, common: &mut Common) -> Sent {
        match (self.session(), &mut common.tls) {
            (Some((session, stream)), Some(tls)) => tls.flush(session, stream),
            (Some(_) | None, _) => Sent::Bytes(0),
        }
    }

    fn held_bytes(&self, common: &Common) -> usize {
        match (&common.tls, self.session()) {
            (Some(tls), Some((session, _))) => tls.held_bytes(session),
            (Some(_) | None, _) => 0,
        }
    }

    fn overdue(common: &mut Common) -> Option<Slot> {
        common.tls.as_mut()?.overdue()
    }

    fn shutdown(&mut self, common: &mut Common) {
        match (self.session(), &mut common.tls) {
            (Some((session, stream)), Some(tls)) => tls.shutdown(session, stream),
            (Some(_) | None, _) => _ = self.stream().map(raw::shutdown),
        }
    }

    fn free(&mut self, common: &mut Common) {
        if let (Some((session, _)), Some(tls)) = (self.session(), &mut common.tls) {
            tls.remove(session);
        }
    }

    fn address(&self) -> Option<IpAddr> {
        // On a dual-stack socket 10.0.0.7 shows as ::ffff:10.0.0.7; both are one client.
        let address = self.stream()?.peer_addr().ok()?;
        Some(address.ip().to_canonical())
    }

    fn traffic(&self) -> Traffic {
        match self {
            Transport::Plain(_) | Transport::Tls(..) | Transport::Fronted(_) => Traffic::default(),
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
        match ours.recv(&mut Common::default(), &mut [0; 16]) {
            Received::Blocked => None,
            other @ (Received::Bytes(_)
            | Received::Part(_)
            | Received::Proxied(_)
            | Received::Closed
            | Received::Malformed
            | Received::Failed
            | Received::Broken
            | Received::Misused) => Some(other),
        }
    }

    #[test]
    fn bytes_then_nothing_then_the_end() {
        let (mut ours, mut client) = pair();
        assert!(matches!(
            ours.recv(&mut Common::default(), &mut [0; 16]),
            Received::Blocked
        ));
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
        assert!(matches!(
            ours.send(&mut Common::default(), b"x"),
            Sent::Failed
        ));
    }

    #[test]
    fn a_full_socket_blocks_and_a_half_close_ends_the_stream() {
        let (mut ours, mut client) = pair();
        let mut sent = 0;
        eventually(|| match ours.send(&mut Common::default(), &[7; 65536]) {
            Sent::Bytes(count) => {
                sent += count;
                None
            }
            Sent::Blocked | Sent::Held(_) => Some(()),
            Sent::Failed => panic!("the connection is well"),
        });
        ours.shutdown(&mut Common::default());
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
        assert!(matches!(
            ours.recv(&mut Common::default(), &mut [0; 16]),
            Received::Blocked
        ));
        client
            .write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 5 6\r\nhello")
            .unwrap();
        let address = "192.0.2.7".parse().unwrap();
        assert_eq!(
            eventually(|| outcome(&mut ours)),
            Received::Proxied(Some(address))
        );
        assert_eq!(eventually(|| outcome(&mut ours)), Received::Bytes(5));
        assert_eq!(ours.send(&mut Common::default(), b"hi"), Sent::Bytes(2));
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
}
