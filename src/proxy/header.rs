//! The PROXY protocol (HAProxy's proxy-protocol.txt, 2): a header before everything else on a connection, in which a
//! proxy says where the connection comes from. Version 1 is a line of text, version 2 is binary.
//!
//! Both begin with bytes that no request and no ClientHello begins with, so that a proxy may also leave it out. That is
//! only safe where none but proxies of ours can connect from their addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// What version 1 begins with.
pub const SIGNATURE_V1: &[u8] = b"PROXY ";
/// What version 2 begins with.
pub const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its CRLF, in bytes (2.1).
const LINE_BYTES_MAX: usize = 107;
/// Signature, version and command, family and protocol, length (2.2).
const FIXED_BYTES: usize = 16;

/// What the first bytes of a connection amount to so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// They are no header, and no more bytes can make them one.
    Foreign,
    /// They may become a header.
    Partial,
    /// A header.
    Header {
        /// Where the connection comes from. None where it is the proxy's own, as a health check is, or came by a way
        /// without addresses of the internet.
        client: Option<IpAddr>,
        /// The header's length in bytes; what follows belongs to the connection.
        header_bytes: usize,
    },
    /// They begin like a header and are none.
    Malformed(Fault),
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The line of version 1 is not one that the protocol knows.
    Line,
    /// Version 1 and no end of the line within 107 bytes.
    LineTooLong,
    /// The signature of version 2, and another version.
    Version,
    /// A command other than LOCAL and PROXY.
    Command,
    /// An address family or a protocol that is not assigned.
    Family,
    /// Shorter than its addresses.
    TooShort,
    /// Longer than [`PROXY_HEADER_BYTES_MAX`].
    TooLong,
}

impl Fault {
    /// One short sentence.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::Line => "the line is not one of version 1",
            Fault::LineTooLong => "the line of version 1 has no end",
            Fault::Version => "the version is not 2",
            Fault::Command => "the command is neither LOCAL nor PROXY",
            Fault::Family => "the address family or the protocol is unknown",
            Fault::TooShort => "the header is shorter than its addresses",
            Fault::TooLong => "the header is too long",
        }
    }
}

/// Parses the header at the start of `bytes`, the first bytes of a connection.
pub fn parse(bytes: &[u8]) -> Parsed {
    if let Some(line) = bytes.strip_prefix(SIGNATURE_V1) {
        parse_v1(line)
    } else if let Some(rest) = bytes.strip_prefix(SIGNATURE_V2) {
        parse_v2(rest)
    } else if SIGNATURE_V1.starts_with(bytes) || SIGNATURE_V2.starts_with(bytes) {
        Parsed::Partial
    } else {
        Parsed::Foreign
    }
}

/// Version 1, behind its signature.
fn parse_v1(bytes: &[u8]) -> Parsed {
    let most = LINE_BYTES_MAX - SIGNATURE_V1.len();
    let window = bytes.get(..most).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() == most {
            Parsed::Malformed(Fault::LineTooLong)
        } else {
            Parsed::Partial
        };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    match line.and_then(client_of_line) {
        Some(client) => Parsed::Header {
            client,
            header_bytes: SIGNATURE_V1.len() + end + 1,
        },
        None => Parsed::Malformed(Fault::Line),
    }
}

/// The client that a line names; `None` where it is no such line.
fn client_of_line(line: &[u8]) -> Option<Option<IpAddr>> {
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        // Whatever follows has no meaning (2.1).
        return Some(None);
    }
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let family = words.next()?;
    let addresses = [words.next()?, words.next()?];
    let ports = [words.next()?, words.next()?];
    let is_port = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        is_number
            && text
                .parse::<u16>()
                .is_ok_and(|port| port.to_string() == text)
    };
    if words.next().is_some() || !ports.into_iter().all(is_port) {
        return None;
    }
    let [client, server] = addresses.map(|text| text.parse::<IpAddr>().ok());
    let (client, server) = (client?, server?);
    let is_right = match family {
        "TCP4" => client.is_ipv4() && server.is_ipv4(),
        "TCP6" => client.is_ipv6() && server.is_ipv6(),
        _ => false,
    };
    is_right.then_some(Some(client.to_canonical()))
}

/// Version 2, behind its signature.
fn parse_v2(bytes: &[u8]) -> Parsed {
    // Each byte is judged as soon as it is there.
    let is_local = match bytes.first() {
        None => return Parsed::Partial,
        Some(0x20) => true,
        Some(0x21) => false,
        Some(0x22..=0x2f) => return Parsed::Malformed(Fault::Command),
        Some(_) => return Parsed::Malformed(Fault::Version),
    };
    let family = match bytes.get(1).map(|byte| (byte >> 4, byte & 0xf)) {
        None => return Parsed::Partial,
        Some((family @ 0..=3, protocol @ 0..=2)) => (family, protocol),
        // A LOCAL connection's is not looked at (2.2).
        Some(_) if is_local => (0, 0),
        Some(_) => return Parsed::Malformed(Fault::Family),
    };
    let Some(length) = bytes.get(2..).and_then(<[u8]>::first_chunk) else {
        return Parsed::Partial;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    let header_bytes = FIXED_BYTES + length;
    if header_bytes > PROXY_HEADER_BYTES_MAX {
        return Parsed::Malformed(Fault::TooLong);
    }
    let family = if is_local { (0, 0) } else { family };
    if length < addresses_bytes(family.0) {
        return Parsed::Malformed(Fault::TooShort);
    }
    let Some(body) = bytes.get(4..4 + length) else {
        return Parsed::Partial;
    };
    Parsed::Header {
        client: client_of_body(family, body),
        header_bytes,
    }
}

/// What the addresses of a family take, in bytes.
fn addresses_bytes(family: u8) -> usize {
    match family {
        1 => 4 + 4 + 2 + 2,
        2 => 16 + 16 + 2 + 2,
        3 => 108 + 108,
        _ => 0,
    }
}

/// The client's address is the first, if it is one of the internet and the connection a stream. Extensions (TLVs) come
/// after the addresses, and none of them is needed here.
fn client_of_body(family: (u8, u8), body: &[u8]) -> Option<IpAddr> {
    match family {
        (1, 1) => {
            let octets: [u8; 4] = *body.first_chunk()?;
            Some(Ipv4Addr::from(octets).into())
        }
        (2, 1) => {
            let octets: [u8; 16] = *body.first_chunk()?;
            Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
