//! What proxies write into a request about its client.

use std::net::IpAddr;

use super::field::Lines;
use super::list;
use crate::proxy::Networks;

/// The fields of a request that proxies add: `X-Forwarded-For`, `X-Real-IP` and `X-Forwarded-Proto`. Anyone can send
/// them, so what they say depends on who did: see [`Forwarded::client`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    section: &'a [u8],
}

/// Where a request comes from, as far as that can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Whether a proxy that is believed says that it came by TLS.
    pub is_secure: bool,
}

impl<'a> Forwarded<'a> {
    /// The fields of a section that was checked.
    pub(super) fn new(section: &'a [u8]) -> Forwarded<'a> {
        Forwarded { section }
    }

    /// The client of a request that came from `nearest`, where proxies in `trusted` are believed.
    ///
    /// Each proxy appends the address that it saw, so that the list is read from its end: the first address that is no
    /// proxy of ours is the client, and what stands before it came from there. Where an element is no address, the
    /// one behind it is as far as we know. `X-Real-IP` counts where there is no list.
    pub fn client(&self, nearest: IpAddr, trusted: &Networks) -> Client {
        if !trusted.contain(nearest) {
            return Client {
                address: nearest,
                is_secure: false,
            };
        }
        let hops = self.lines("x-forwarded-for");
        let address = if hops.values().next().is_some() {
            walk(
                nearest,
                hops.values().flat_map(list::elements).rev(),
                trusted,
            )
        } else {
            self.real_ip().unwrap_or(nearest)
        };
        Client {
            address,
            is_secure: self.is_secure(),
        }
    }

    fn real_ip(&self) -> Option<IpAddr> {
        let mut values = self.lines("x-real-ip").values();
        let value = values.next()?;
        values.next().is_none().then(|| address(value))?
    }

    /// Whether all that name a scheme name one of TLS. Some proxies call it `wss` where an upgrade is asked for.
    fn is_secure(&self) -> bool {
        let mut schemes = self
            .lines("x-forwarded-proto")
            .values()
            .flat_map(list::elements)
            .peekable();
        let is_tls = |scheme: &[u8]| {
            scheme.eq_ignore_ascii_case(b"https") || scheme.eq_ignore_ascii_case(b"wss")
        };
        schemes.peek().is_some() && schemes.all(is_tls)
    }

    fn lines(&self, name: &'static str) -> Lines<'a> {
        Lines::new(self.section, name)
    }
}

/// From the nearest hop outwards, until one is no proxy of ours.
fn walk<'h>(nearest: IpAddr, hops: impl Iterator<Item = &'h [u8]>, trusted: &Networks) -> IpAddr {
    let mut client = nearest;
    for hop in hops.map_while(address) {
        client = hop;
        if !trusted.contain(hop) {
            break;
        }
    }
    client
}

/// An address, which some proxies write with the port: `192.0.2.1:80`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            address
                .parse()
                .ok()
                .filter(|address: &IpAddr| is_whole && address.is_ipv6())
        }
        None => match text.split_once(':') {
            // One colon alone is that of a port.
            Some((address, port)) if is_port(port) => address.parse().ok(),
            Some(_) | None => text.parse().ok(),
        },
    };
    address.map(|address: IpAddr| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(text: &str) -> Networks {
        text.split_whitespace()
            .map(|network| network.parse().unwrap())
            .collect()
    }

    fn client(nearest: &str, trusted: &str, section: &str) -> Client {
        let section = section.replace('\n', "\r\n") + "\r\n\r\n";
        Forwarded::new(section.as_bytes()).client(ip(nearest), &networks(trusted))
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        const OURS: &str = "127.0.0.1 10.0.0.0/8 fd00::/8";
        for (nearest, section, expected) in [
            // Nobody is believed who is not ours.
            ("192.0.2.9", "X-Forwarded-For: 198.51.100.1", "192.0.2.9"),
            ("192.0.2.9", "X-Real-IP: 198.51.100.1", "192.0.2.9"),
            ("::1", "X-Forwarded-For: 198.51.100.1", "::1"),
            ("127.0.0.1", "Host: x", "127.0.0.1"),
            ("127.0.0.1", "X-Forwarded-For: 198.51.100.1", "198.51.100.1"),
            ("127.0.0.1", "x-forwarded-for:198.51.100.1", "198.51.100.1"),
            ("fd00::1", "X-Forwarded-For: 2001:db8::7", "2001:db8::7"),
            (
                "10.0.0.1",
                "X-Forwarded-For: ::ffff:198.51.100.1",
                "198.51.100.1",
            ),
            // What the client itself wrote stands further left.
            (
                "127.0.0.1",
                "X-Forwarded-For: 6.6.6.6, 198.51.100.1",
                "198.51.100.1",
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: 10.6.6.6,198.51.100.1",
                "198.51.100.1",
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: 6.6.6.6\nX-Forwarded-For: 198.51.100.1",
                "198.51.100.1",
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: 6.6.6.6, 198.51.100.1, 10.0.0.7",
                "198.51.100.1",
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: 6.6.6.6, 198.51.100.1\nA: b\nX-Forwarded-For: 10.0.0.7, 10.0.0.8",
                "198.51.100.1",
            ),
            // A client within our own networks.
            (
                "127.0.0.1",
                "X-Forwarded-For: 10.0.0.9, 10.0.0.7",
                "10.0.0.9",
            ),
            // With ports.
            (
                "127.0.0.1",
                "X-Forwarded-For: 198.51.100.1:4711",
                "198.51.100.1",
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: [2001:db8::7]:4711",
                "2001:db8::7",
            ),
            ("127.0.0.1", "X-Forwarded-For: [2001:db8::7]", "2001:db8::7"),
            // As far as is known.
            ("127.0.0.1", "X-Forwarded-For: unknown", "127.0.0.1"),
            (
                "127.0.0.1",
                "X-Forwarded-For: 6.6.6.6, unknown",
                "127.0.0.1",
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: 6.6.6.6, _hidden, 10.0.0.7",
                "10.0.0.7",
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: 6.6.6.6, \u{e4}, 10.0.0.7",
                "10.0.0.7",
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: 198.51.100.1,, ,",
                "198.51.100.1",
            ),
            ("127.0.0.1", "X-Forwarded-For:", "127.0.0.1"),
            // The other field.
            ("127.0.0.1", "X-Real-IP: 198.51.100.1", "198.51.100.1"),
            (
                "127.0.0.1",
                "X-Real-IP: 6.6.6.6\nX-Real-IP: 6.6.6.7",
                "127.0.0.1",
            ),
            ("127.0.0.1", "X-Real-IP: 6.6.6.6, 6.6.6.7", "127.0.0.1"),
            ("127.0.0.1", "X-Real-IP: me", "127.0.0.1"),
            (
                "127.0.0.1",
                "X-Real-IP: 6.6.6.6\nX-Forwarded-For: 198.51.100.1",
                "198.51.100.1",
            ),
            (
                "127.0.0.1",
                "X-Real-IP: 6.6.6.6\nX-Forwarded-For: unknown",
                "127.0.0.1",
            ),
        ] {
            let found = client(nearest, OURS, section).address;
            assert_eq!(found, ip(expected), "{nearest} {section:?}");
        }
        let spoofed = client("127.0.0.1", "", "X-Forwarded-For: 6.6.6.6");
        assert_eq!(
            spoofed.address,
            ip("127.0.0.1"),
            "nobody is believed by default"
        );
    }

    #[test]
    fn what_looks_like_an_address_and_is_none_is_not_guessed_at() {
        for text in [
            "",
            "1.2.3",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:65536",
            "1.2.3.4:+1",
            ":80",
            "[1.2.3.4]:80",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[::1]x",
            "::1]",
            "01.2.3.4",
            "1.2.3.4 ",
            "fe80::1%eth0",
            "localhost",
        ] {
            assert_eq!(address(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_proxy_that_is_believed_says_that_a_request_came_by_tls() {
        for (nearest, section, expected) in [
            ("127.0.0.1", "X-Forwarded-Proto: https", true),
            ("127.0.0.1", "X-Forwarded-Proto: HTTPS", true),
            ("127.0.0.1", "X-Forwarded-Proto: wss", true),
            ("127.0.0.1", "X-Forwarded-Proto: https, wss", true),
            ("127.0.0.1", "X-Forwarded-Proto: http", false),
            ("127.0.0.1", "X-Forwarded-Proto: https, http", false),
            (
                "127.0.0.1",
                "X-Forwarded-Proto: http\nX-Forwarded-Proto: https",
                false,
            ),
            ("127.0.0.1", "X-Forwarded-Proto:", false),
            ("127.0.0.1", "Host: x", false),
            ("192.0.2.9", "X-Forwarded-Proto: https", false),
        ] {
            let found = client(nearest, "127.0.0.1", section).is_secure;
            assert_eq!(found, expected, "{nearest} {section:?}");
        }
    }

    proptest! {
        /// Whatever a client writes itself stands left of what the proxies append, and changes nothing.
        #[test]
        fn a_client_does_not_choose_its_address(
            own in "[0-9a-f.:, ]{0,40}", address in any::<[u8; 4]>(), proxies in 0..4_usize
        ) {
            let trusted = networks("10.0.0.0/8");
            let address = IpAddr::from(address);
            prop_assume!(!trusted.contain(address));
            let appended = format!("{address}{}", ", 10.0.0.2".repeat(proxies));
            for list in [format!("X-Forwarded-For: {own},{appended}\r\n\r\n"),
                         format!("X-Forwarded-For: {own}\r\nX-Forwarded-For: {appended}\r\n\r\n")] {
                let found = Forwarded::new(list.as_bytes()).client(ip("10.0.0.1"), &trusted);
                prop_assert_eq!(found.address, address);
            }
        }
    }
}
