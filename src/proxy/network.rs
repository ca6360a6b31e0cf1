//! Ranges of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits, as `10.0.0.0/8` or `2001:db8::/32`; one address alone without `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address. IPv4 that is written as IPv6 (`::ffff:10.0.0.0/104`) is kept as IPv4.
    first: IpAddr,
    /// How many bits are the same.
    prefix_bits: u8,
}

/// Why a text is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the `/` is no address.
    Address,
    /// What stands behind the `/` is no number up to the address's count of bits.
    Prefix,
    /// Bits behind the prefix are set, so that it is not clear what was meant. This is the network of that address.
    HostBits(Network),
}

/// A list of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Network {
    /// Whether an address lies in it. IPv4 that shows as IPv6 is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, address) = (self.first, address.to_canonical());
        first.is_ipv4() == address.is_ipv4() && masked(address, self.prefix_bits) == first
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let written_bits = bits_of(written);
        let prefix_bits = prefix.map_or(Ok(written_bits), |text| prefix_of(text, written_bits))?;
        let address = written.to_canonical();
        // Those of a mapped address begin with 96 bits that say so; a shorter prefix means more than IPv4.
        let (address, prefix_bits) = match prefix_bits.checked_sub(written_bits - bits_of(address))
        {
            Some(prefix_bits) => (address, prefix_bits),
            None => (written, prefix_bits),
        };
        let first = masked(address, prefix_bits);
        let network = Network { first, prefix_bits };
        if first == address {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(network))
        }
    }
}

fn prefix_of(text: &str, most: u8) -> Result<u8, NetworkError> {
    // `parse` alone would take a sign.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|bits| is_number && *bits <= most);
    number.ok_or(NetworkError::Prefix)
}

fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with all bits behind the first `prefix_bits` cleared.
fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    let behind = u32::from(bits_of(address).saturating_sub(prefix_bits));
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::Address => {
                f.write_str("is no address; write it as 127.0.0.1, 10.0.0.0/8 or fd00::/8")
            }
            NetworkError::Prefix => {
                f.write_str("has no prefix length behind its /: 0 to 32, or 0 to 128 with IPv6")
            }
            NetworkError::HostBits(network) => {
                write!(
                    f,
                    "has bits behind its prefix; write the network as {network}"
                )
            }
        }
    }
}

impl std::error::Error for NetworkError {}

impl Networks {
    /// Whether an address lies in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether one of them is all of IPv4 or of IPv6.
    pub fn contain_everybody(&self) -> bool {
        self.0.iter().any(|network| network.prefix_bits == 0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Networks {
        Networks(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_are_read_and_written() {
        for (text, written) in [
            ("127.0.0.1", "127.0.0.1/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("fd00::/8", "fd00::/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(network));
        }
    }

    #[test]
    fn what_is_no_network_is_told_from_what_is_not_meant() {
        for (text, error) in [
            ("", "is no address"),
            ("localhost", "is no address"),
            ("10.0.0", "is no address"),
            ("10.0.0.0.0/8", "is no address"),
            ("010.0.0.0/8", "is no address"),
            (" 10.0.0.0/8", "is no address"),
            ("[::1]", "is no address"),
            ("::1%eth0", "is no address"),
            ("10.0.0.0:80", "is no address"),
            ("/8", "is no address"),
            ("10.0.0.0/", "has no prefix length"),
            ("10.0.0.0/33", "has no prefix length"),
            ("10.0.0.0/-1", "has no prefix length"),
            ("10.0.0.0/+8", "has no prefix length"),
            ("10.0.0.0/8/8", "has no prefix length"),
            ("10.0.0.0/255.0.0.0", "has no prefix length"),
            ("::/129", "has no prefix length"),
            ("10.0.0.1/8", "as 10.0.0.0/8"),
            ("10.0.0.1/0", "as 0.0.0.0/0"),
            ("fd00::1/64", "as fd00::/64"),
            ("::ffff:10.0.0.1/104", "as 10.0.0.0/8"),
            ("::ffff:10.0.0.1/90", "as ::ffc0:0:0/90"),
        ] {
            let read: Result<Network, NetworkError> = text.parse();
            let said = read.expect_err(text).to_string();
            assert!(said.contains(error), "{text}: {said}");
        }
    }

    #[test]
    fn an_address_lies_in_its_networks() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "9.255.255.255", false),
            ("10.0.0.0/8", "::ffff:10.9.9.9", true),
            ("10.0.0.0/8", "::10.9.9.9", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.2", false),
            ("10.1.2.2/31", "10.1.2.3", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("::/0", "::ffff:1.2.3.4", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("::1", "::1", true),
            ("::1", "::2", false),
        ] {
            let networks: Networks = [network.parse().unwrap()].into_iter().collect();
            let address = address.parse().unwrap();
            assert_eq!(networks.contain(address), expected, "{network} {address}");
        }
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
        assert!(Networks::default().is_empty());
    }

    /// The definition, bit by bit.
    fn naive(first: u128, address: u128, width: usize, prefix: usize) -> bool {
        let bits = |number: u128| format!("{number:0width$b}");
        bits(first)[..prefix] == bits(address)[..prefix]
    }

    proptest! {
        #[test]
        fn containment_is_that_of_the_first_bits(
            first in any::<u32>(), address in any::<u32>(), shared in 0..=32_u32, prefix in 0..=32_u8
        ) {
            // Two addresses have few bits in common by chance.
            let address = address ^ (address ^ first) & u32::MAX.checked_shl(32 - shared).unwrap_or(0);
            let (v4, other) = (Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(address));
            let network = Network { first: masked(v4.into(), prefix), prefix_bits: prefix };
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            let expected = naive(first.into(), address.into(), 32, prefix.into());
            prop_assert_eq!(network.contains(other.into()), expected);
            prop_assert_eq!(network.contains(other.to_ipv6_mapped().into()), expected);
        }

        #[test]
        fn the_same_with_ipv6(first in any::<u128>(), flip in 0..128_u8, prefix in 0..=128_u8) {
            let address = first ^ (1 << (127 - flip));
            let v6 = Ipv6Addr::from_bits(first);
            prop_assume!(v6.to_ipv4_mapped().is_none());
            prop_assume!(Ipv6Addr::from_bits(address).to_ipv4_mapped().is_none());
            let network = Network { first: masked(v6.into(), prefix), prefix_bits: prefix };
            let expected = naive(first, address, 128, prefix.into());
            prop_assert_eq!(network.contains(Ipv6Addr::from_bits(address).into()), expected);
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:./]{0,24}") {
            let _ = text.parse::<Network>();
        }
    }
}
