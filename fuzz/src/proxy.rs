//! The header of the PROXY protocol at each length of its prefix, against a reading that shares nothing with it; and
//! what proxies write into requests.

use roomcast::limits::PROXY_HEADER_BYTES_MAX;
use roomcast::proxy::header::{Parsed, SIGNATURE_V1, SIGNATURE_V2, parse};
use roomcast::proxy::{Network, Networks};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Input: the first bytes of a connection.
pub fn run(data: &[u8]) {
    check_cuts(data);
    if let Parsed::Header {
        client,
        header_bytes,
    } = parse(data)
    {
        assert!(header_bytes <= data.len().min(PROXY_HEADER_BYTES_MAX));
        let naive = naive(&data[..header_bytes]);
        assert_eq!(naive, Some(client), "{:02x?}", &data[..header_bytes]);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        check_network(text);
    }
}

/// Once something is known, more bytes do not change it.
fn check_cuts(data: &[u8]) {
    let mut before = Parsed::Partial;
    for end in 0..=data.len().min(PROXY_HEADER_BYTES_MAX + 1) {
        let parsed = parse(&data[..end]);
        assert!(
            before == Parsed::Partial || parsed == before,
            "{data:02x?} at {end}"
        );
        if parsed == Parsed::Partial {
            let start = &data[..end];
            let fits =
                |signature: &[u8]| start.starts_with(signature) || signature.starts_with(start);
            assert!(fits(SIGNATURE_V1) || fits(SIGNATURE_V2));
        }
        before = parsed;
    }
}

/// The client that a whole header names, read as its document has it.
fn naive(header: &[u8]) -> Option<Option<IpAddr>> {
    if header.starts_with(SIGNATURE_V2) {
        let length = usize::from(header[14]) * 256 + usize::from(header[15]);
        let body = &header[16..];
        assert_eq!(body.len(), length);
        let client = match (header[12], header[13]) {
            (0x21, 0x11) => Some(Ipv4Addr::new(body[0], body[1], body[2], body[3]).into()),
            (0x21, 0x21) => {
                let groups: Vec<u16> = body[..16]
                    .chunks(2)
                    .map(|pair| u16::from(pair[0]) * 256 + u16::from(pair[1]))
                    .collect();
                let address = Ipv6Addr::from(<[u16; 8]>::try_from(groups).expect("eight groups"));
                Some(IpAddr::from(address).to_canonical())
            }
            (0x20 | 0x21, _) => None,
            _ => return None,
        };
        return Some(client);
    }
    let line = header.strip_suffix(b"\r\n")?;
    assert!(header.len() <= 107, "as long as the document allows");
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4" | "TCP6", client, _, _, _] => {
            let client: IpAddr = client.parse().ok()?;
            assert_eq!(client.is_ipv4(), words[1] == "TCP4");
            Some(Some(client.to_canonical()))
        }
        _ => None,
    }
}

/// A network that can be read is written as what reads the same, and holds its own first address.
fn check_network(text: &str) {
    let Ok(network) = text.parse::<Network>() else {
        return;
    };
    let written = network.to_string();
    assert_eq!(written.parse(), Ok(network));
    let (first, _) = written.split_once('/').expect("it has a prefix");
    let networks: Networks = [network].into_iter().collect();
    assert!(networks.contain(first.parse().expect("an address")));
}
