//! Listening sockets: bound so that nobody else's are joined by mistake.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};
use socket2::{Domain, Protocol, Socket, Type};

use super::accepting::{Accepting, News};
use super::token::Subject;
use crate::limits::{BACKLOG_COUNT, NOTSENT_LOWAT_BYTES};

/// Binds `count` listening sockets to one address; where its port is 0, to one free port.
///
/// The first is bound and listens without `SO_REUSEPORT`, which fails if anybody has the address, another server of
/// ours included; only then it is opened to the others. (Linux judges the flags at each bind, so that there is no
/// moment at which two servers could both succeed.)
///
/// # Errors
///
/// The address is in use, or cannot be bound for another reason.
pub fn bind(address: SocketAddr, count: u16) -> io::Result<Vec<TcpListener>> {
    let first = socket(address)?;
    listen(&first, address)?;
    if count == 1 {
        return Ok(vec![TcpListener::from_std(first.into())]);
    }
    first.set_reuse_port(true)?;
    let first = TcpListener::from_std(first.into());
    let address = first.local_addr()?;
    let others = (1..count).map(|_| {
        let other = socket(address)?;
        other.set_reuse_port(true)?;
        listen(&other, address)?;
        Ok(TcpListener::from_std(other.into()))
    });
    std::iter::once(Ok(first)).chain(others).collect()
}

/// A socket whose options the accepted ones inherit (on Linux), so that an accept costs one system call.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // Connections of a server that just stopped linger on the port; they are no reason not to start.
    socket.set_reuse_address(true)?;
    // A turn's frames leave in one send, so that Nagle's algorithm could only delay them.
    socket.set_tcp_nodelay(true)?;
    // What the kernel holds cannot be shared between readers, nor skipped when they are slow.
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    if address.is_ipv6() {
        // [::] serves IPv4 as well, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn listen(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_COUNT)
}

/// A shard's listening socket in its poll.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    accepting: Accepting,
}

impl Listener {
    /// Registers `socket`.
    ///
    /// # Errors
    ///
    /// The poll did not take it.
    pub fn new(mut socket: TcpListener, registry: &Registry) -> io::Result<Listener> {
        registry.register(&mut socket, Subject::Listener.token(), Interest::READABLE)?;
        Ok(Listener {
            socket,
            accepting: Accepting::default(),
        })
    }

    /// Remembers an event.
    pub fn ready(&mut self) {
        self.accepting.ready();
    }

    /// How long the poll may wait before the next [`Listener::accept`].
    pub fn timeout_ms(&self, mono_ms: u64) -> Option<u64> {
        self.accepting.timeout_ms(mono_ms)
    }

    /// Accepts what waits, within a budget, and gives each connection and its address to `take`. See [`Accepting::accept`].
    pub fn accept(
        &mut self,
        mono_ms: u64,
        take: impl FnMut((TcpStream, SocketAddr)) -> io::Result<()>,
    ) -> Option<News> {
        self.accepting
            .accept(mono_ms, || self.socket.accept(), take)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as StdStream;
    use std::time::Duration;

    use mio::{Events, Poll};
    use socket2::SockRef;

    use super::*;

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn accept_one(listener: &TcpListener) -> TcpStream {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let token = Subject::Listener.token();
        let mut listener =
            TcpListener::from_std(SockRef::from(listener).try_clone().unwrap().into());
        poll.registry()
            .register(&mut listener, token, Interest::READABLE)
            .unwrap();
        poll.poll(&mut events, Some(Duration::from_secs(10)))
            .unwrap();
        listener.accept().unwrap().0
    }

    #[test]
    fn an_address_in_use_is_refused_with_one_shard_and_with_several() {
        for (ours, theirs) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 4)] {
            let listeners = bind(any_port(), ours).unwrap();
            let address = listeners[0].local_addr().unwrap();
            assert!(
                listeners
                    .iter()
                    .all(|listener| listener.local_addr().unwrap() == address)
            );
            let error = bind(address, theirs).expect_err("the address is in use");
            assert_eq!(
                error.kind(),
                io::ErrorKind::AddrInUse,
                "{ours} and {theirs}"
            );
            drop(listeners);
            bind(address, theirs).expect("the address is free again");
        }
    }

    #[test]
    fn a_port_with_lingering_connections_can_be_bound_again() {
        let listener = bind(any_port(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let client = StdStream::connect(address).unwrap();
        // Closed on our side first, so that it is ours that lingers.
        drop((accept_one(&listener), listener));
        drop(client);
        bind(address, 2).expect("lingering connections are no reason not to start");
    }

    #[test]
    fn connections_spread_over_the_listeners() {
        let listeners = bind(any_port(), 2).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let clients: Vec<StdStream> = (0..64)
            .map(|_| StdStream::connect(address).unwrap())
            .collect();
        let counts: Vec<usize> = listeners
            .iter()
            .map(|listener| std::iter::from_fn(|| listener.accept().ok()).count())
            .collect();
        assert_eq!(counts.iter().sum::<usize>(), clients.len());
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    #[test]
    fn accepted_sockets_inherit_the_options() {
        for address in [any_port(), "[::1]:0".parse().unwrap()] {
            let Ok(listeners) = bind(address, 1) else {
                assert!(address.is_ipv6(), "only IPv6 may be missing on a machine");
                continue;
            };
            let _client = StdStream::connect(listeners[0].local_addr().unwrap()).unwrap();
            let accepted = accept_one(&listeners[0]);
            let accepted = SockRef::from(&accepted);
            assert!(accepted.tcp_nodelay().unwrap());
            assert_eq!(accepted.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT_BYTES);
        }
    }

    #[test]
    fn the_unspecified_ipv6_address_serves_ipv4_as_well() {
        let Ok(listeners) = bind("[::]:0".parse().unwrap(), 2) else {
            return;
        };
        let port = listeners[0].local_addr().unwrap().port();
        StdStream::connect(("127.0.0.1", port)).expect("IPv4 is served");
        StdStream::connect(("::1", port)).expect("IPv6 is served");
    }
}
