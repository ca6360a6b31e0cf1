//! Where connections go, and what they ask for there.

use std::io;
use std::net::SocketAddr;

use crate::connection::Welcome;
use crate::wire;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Destination {
    /// The server.
    pub address: Address,
    /// Path and query of the upgrade.
    pub path: String,
    /// When a connection is open.
    pub welcome: Welcome,
    /// Whether connections offer compression.
    pub deflate: bool,
    /// Whether so little of what is not read fits into the sockets as on a network, see
    /// [`STALLED_SEGMENT_BYTES`](crate::limits::STALLED_SEGMENT_BYTES).
    pub is_narrow: bool,
}

/// Where a server listens, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where.
    pub socket: SocketAddr,
    /// Whether for TLS.
    pub is_tls: bool,
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Address {
        Address {
            socket,
            is_tls: false,
        }
    }
}

impl Destination {
    /// A plain connection that is open after the upgrade.
    pub fn plain(address: impl Into<Address>, path: &str) -> Destination {
        Destination {
            address: address.into(),
            path: path.into(),
            welcome: Welcome::Upgrade,
            deflate: false,
            is_narrow: false,
        }
    }
}

/// A destination with its request.
pub struct Route {
    /// The destination.
    pub destination: Destination,
    /// The request to upgrade.
    pub request: Vec<u8>,
}

impl Route {
    /// Makes the request.
    ///
    /// # Errors
    ///
    /// The address is not on this machine.
    pub fn new(destination: Destination) -> io::Result<Route> {
        let Destination {
            address, deflate, ..
        } = destination;
        let socket = address.socket;
        if !socket.ip().is_loopback() {
            return Err(io::Error::other(format!(
                "{socket} is not a loopback address, and nothing else is measured"
            )));
        }
        let request = wire::request(&socket.to_string(), &destination.path, deflate);
        Ok(Route {
            destination,
            request,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_loopback_is_measured() {
        let route = |address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            Route::new(Destination::plain(address, "/"))
        };
        for address in ["192.0.2.1:80", "[2001:db8::1]:80", "0.0.0.0:80"] {
            assert!(route(address).is_err(), "{address}");
        }
        for address in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80"] {
            assert!(route(address).is_ok(), "{address}");
        }
    }
}
