//! Who connects, as far as that can be told before a byte is read, and what a new connection is answered.

use std::net::{IpAddr, Ipv6Addr};

/// A connection that waits to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Where it comes from. `None` where that is not known yet, as behind a proxy that is about to say it: the
    /// connection counts in all, and for its address from [`Site::reseat`](crate::engine::Site::reseat) on.
    pub address: Option<IpAddr>,
    /// Whether it can be told in plain HTTP that it is turned away. With TLS that takes a handshake, which costs more
    /// than the connection: there few are told.
    pub is_plain: bool,
}

/// A place among the connections of one address; [`Seat::UNCOUNTED`] where these are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(pub u32);

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// There are as many connections as there may be.
    Full,
    /// The process has as much memory in use as it may.
    Memory,
    /// Its address has as many connections as it may.
    AddressFull,
    /// Its address comes too often; in so many milliseconds it may again.
    AddressHasty {
        /// See above.
        wait_ms: u64,
    },
    /// The server stops.
    Stopping,
}

impl Caller {
    /// One that says nothing of itself and speaks plain HTTP.
    pub const UNKNOWN: Caller = Caller {
        address: None,
        is_plain: true,
    };
}

impl Seat {
    /// Of a connection that counts for no address.
    pub const UNCOUNTED: Seat = Seat(u32::MAX);
}

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 address, which is the least that one customer
/// of a provider has (RFC 6177, 2).
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_is_one_address() {
        for (address, network) in [
            ("10.0.0.7", "10.0.0.7"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
            ("::1", "::"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(network_of(address).to_string(), network, "{address}");
        }
    }
}
