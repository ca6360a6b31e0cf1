use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// A header of version 2.
fn v2(version_command: u8, family_protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [
        SIGNATURE_V2,
        &[version_command, family_protocol],
        &length,
        body,
    ]
    .concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xd4, 0x31, 1, 0xbb];

fn v6() -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let ports = [0xd4, 0x31, 1, 0xbb];
    [&address("2001:db8::7")[..], &address("2001:db8::1"), &ports].concat()
}

/// Every header that is one, with its client.
fn headers() -> Vec<(Vec<u8>, Option<IpAddr>)> {
    let unix = vec![b'/'; 216];
    let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 7], &[0; 20]].concat();
    let with_tlvs = [&V4[..], &[4, 0, 1, 9, 0xea, 0, 2, 1, 2]].concat();
    let line = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            line("PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\r\n"),
            ip("192.0.2.7"),
        ),
        (
            line("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"),
            ip("0.0.0.0"),
        ),
        (
            line("PROXY TCP6 2001:db8::7 2001:db8::1 54321 443\r\n"),
            ip("2001:db8::7"),
        ),
        (
            line("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"),
            ip("192.0.2.7"),
        ),
        (
            line(&format!(
                "PROXY TCP6 {0} {0} 65535 65535\r\n",
                "ffff:".repeat(7) + "ffff"
            )),
            ip(&("ffff:".repeat(7) + "ffff")),
        ),
        (line("PROXY UNKNOWN\r\n"), None),
        (line("PROXY UNKNOWN 192.0.2.7 whatever \u{7}\r\r\n"), None),
        (line(&format!("PROXY UNKNOWN {}\r\n", "f".repeat(91))), None),
        (v2(0x21, 0x11, &V4), ip("192.0.2.7")),
        (v2(0x21, 0x11, &with_tlvs), ip("192.0.2.7")),
        (v2(0x21, 0x21, &v6()), ip("2001:db8::7")),
        (v2(0x21, 0x21, &mapped), ip("192.0.2.7")),
        // A datagram is no connection of ours, a path no address, and what is not specified is nothing.
        (v2(0x21, 0x12, &V4), None),
        (v2(0x21, 0x10, &V4), None),
        (v2(0x21, 0x22, &v6()), None),
        (v2(0x21, 0x31, &unix), None),
        (v2(0x21, 0x00, &[]), None),
        (v2(0x21, 0x00, &[1, 2, 3]), None),
        // LOCAL: the proxy speaks for itself, whatever else stands there.
        (v2(0x20, 0x00, &[]), None),
        (v2(0x20, 0x11, &V4), None),
        (v2(0x20, 0x11, &[]), None),
        (v2(0x20, 0xff, &[9; 300]), None),
        (
            v2(
                0x21,
                0x11,
                &[&V4[..], &vec![0; PROXY_HEADER_BYTES_MAX - 16 - 12]].concat(),
            ),
            ip("192.0.2.7"),
        ),
    ]
}

#[test]
fn every_header_is_read_at_every_cut() {
    for (header, client) in headers() {
        for cut in 0..header.len() {
            assert_eq!(
                parse(&header[..cut]),
                Parsed::Partial,
                "{header:?} at {cut}"
            );
        }
        let header_bytes = header.len();
        let expected = Parsed::Header {
            client,
            header_bytes,
        };
        for behind in [
            &b""[..],
            b"\r",
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            SIGNATURE_V2,
        ] {
            let bytes = [&header[..], behind].concat();
            assert_eq!(parse(&bytes), expected, "{header:?} before {behind:?}");
        }
    }
}

#[test]
fn what_begins_like_a_header_and_is_none_is_malformed() {
    let line = |text: &str| ("PROXY ".to_owned() + text).into_bytes();
    let long = v2(0x21, 0x11, &vec![0; PROXY_HEADER_BYTES_MAX - 16 + 1]);
    for (bytes, fault) in [
        (line("\r\n"), Fault::Line),
        (line("UNKNOWN\n"), Fault::Line),
        (line("UNKNOWNS\r\n"), Fault::Line),
        (line("unknown\r\n"), Fault::Line),
        (line("TCP4\r\n"), Fault::Line),
        (line("TCP5 1.2.3.4 1.2.3.4 1 2\r\n"), Fault::Line),
        (line("tcp4 1.2.3.4 1.2.3.4 1 2\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4 1 2\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4 1\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"), Fault::Line),
        (line("TCP4  1.2.3.4 1.2.3.4 1 2\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"), Fault::Line),
        (line("TCP4 1.2.3.4\t1.2.3.4 1 2\r\n"), Fault::Line),
        (line("TCP4 01.2.3.4 1.2.3.4 1 2\r\n"), Fault::Line),
        (line("TCP4 1.2.3 1.2.3.4 1 2\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4 1 02\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4 +1 2\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4  2\r\n"), Fault::Line),
        (line("TCP4 ::1 ::1 1 2\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 ::1 1 2\r\n"), Fault::Line),
        (line("TCP6 1.2.3.4 1.2.3.4 1 2\r\n"), Fault::Line),
        (line("TCP6 ::1 1.2.3.4 1 2\r\n"), Fault::Line),
        (line("TCP6 [::1] ::1 1 2\r\n"), Fault::Line),
        (line("TCP4 1.2.3.4 1.2.3.4 1 2\0\r\n"), Fault::Line),
        ([&line("TCP4 "), &b"\xff\r\n"[..]].concat(), Fault::Line),
        (line(&"x".repeat(101)), Fault::LineTooLong),
        (
            line(&format!("UNKNOWN {}\r\n", "f".repeat(92))),
            Fault::LineTooLong,
        ),
        (v2(0x11, 0x11, &V4), Fault::Version),
        (v2(0x31, 0x11, &V4), Fault::Version),
        (v2(0x00, 0x11, &V4), Fault::Version),
        (v2(0x22, 0x11, &V4), Fault::Command),
        (v2(0x2f, 0x11, &V4), Fault::Command),
        (v2(0x21, 0x41, &V4), Fault::Family),
        (v2(0x21, 0x13, &V4), Fault::Family),
        (v2(0x21, 0xff, &V4), Fault::Family),
        (v2(0x21, 0x11, &V4[..11]), Fault::TooShort),
        (v2(0x21, 0x12, &V4[..11]), Fault::TooShort),
        (v2(0x21, 0x11, &[]), Fault::TooShort),
        (v2(0x21, 0x21, &v6()[..35]), Fault::TooShort),
        (v2(0x21, 0x31, &[0; 215]), Fault::TooShort),
        (long.clone(), Fault::TooLong),
        // As soon as the length is known: nothing of it is waited for.
        (long[..16].to_vec(), Fault::TooLong),
        (
            v2(0x21, 0x11, &[])[..13]
                .to_vec()
                .into_iter()
                .chain([0x41])
                .collect(),
            Fault::Family,
        ),
    ] {
        assert_eq!(parse(&bytes), Parsed::Malformed(fault), "{bytes:?}");
        let before = (0..bytes.len()).map(|cut| parse(&bytes[..cut]));
        for parsed in before {
            assert!(
                matches!(parsed, Parsed::Partial | Parsed::Malformed(_)),
                "{parsed:?} of {bytes:?}"
            );
        }
        assert!(!fault.as_str().is_empty());
    }
}

#[test]
fn what_else_a_connection_begins_with_is_foreign() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROPFIND / HTTP/1.1\r\n",
        b"PROXY/1.1",
        b"PROXY\t",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"proxy TCP4",
        b"\r\nGET / HTTP/1.1\r\n",
        b"\r\n\r\nGET",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\x16\x03\x01\x02\x00",
        b"\n",
        b"\0",
    ] {
        assert_eq!(parse(bytes), Parsed::Foreign, "{bytes:?}");
    }
}

proptest! {
    /// What is known does not change when more comes, and a header never reaches beyond its bound.
    #[test]
    fn more_bytes_never_change_what_is_known(
        start in prop_oneof![
            Just(b"PROXY ".to_vec()),
            Just(b"PROXY TCP4 1.2.3.4 ".to_vec()),
            Just(SIGNATURE_V2.to_vec()),
            Just([SIGNATURE_V2, &[0x21, 0x11, 0]].concat()),
            Just(Vec::new()),
        ],
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, rest].concat();
        let mut known = Parsed::Partial;
        for cut in 0..=bytes.len() {
            let parsed = parse(&bytes[..cut]);
            prop_assert!(known == Parsed::Partial || known == parsed, "{:?} at {}", bytes, cut);
            if let Parsed::Header { header_bytes, .. } = parsed {
                prop_assert!(header_bytes <= cut.min(PROXY_HEADER_BYTES_MAX));
            }
            known = parsed;
        }
    }

    #[test]
    fn lines_come_back(client in any::<[u8; 4]>(), v6 in any::<u128>(), ports in any::<(u16, u16)>()) {
        let (client, v6) = (Ipv4Addr::from(client), Ipv6Addr::from_bits(v6));
        for (family, address) in [("TCP4", IpAddr::from(client)), ("TCP6", IpAddr::from(v6))] {
            let line = format!("PROXY {family} {address} {address} {} {}\r\n", ports.0, ports.1);
            let expected = Parsed::Header {
                client: Some(address.to_canonical()),
                header_bytes: line.len(),
            };
            prop_assert_eq!(parse(line.as_bytes()), expected);
        }
    }
}
