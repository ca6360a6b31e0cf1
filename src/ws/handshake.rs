//! The server's part of the opening handshake (RFC 6455, 4.2.2), once a request was read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};

/// The version in `Sec-WebSocket-Version` that is spoken.
pub const VERSION: &str = "13";

/// Length of the value of `Sec-WebSocket-Accept`, in bytes.
pub const ACCEPT_BYTES: usize = 28;

/// Appended to the key before it is hashed (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether `key` is the value of a `Sec-WebSocket-Key`: base64 of 16 bytes.
///
/// The 4 bits that the last character has too many may be anything, as nobody looks at them.
pub fn is_valid_key(key: &str) -> bool {
    match key.as_bytes().split_last_chunk::<2>() {
        Some((digits, b"==")) => digits.len() == 22 && digits.iter().all(|digit| is_base64(*digit)),
        Some(_) | None => false,
    }
}

/// The value of `Sec-WebSocket-Accept` that answers `key`.
pub fn accept_key(key: &str) -> [u8; ACCEPT_BYTES] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; ACCEPT_BYTES];
    let written = BASE64.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(ACCEPT_BYTES), "20 bytes are 28 digits");
    accept
}

/// `spoken`, where the client offers it in a `Sec-WebSocket-Protocol` (a comma-separated list, compared by case).
pub fn choose_subprotocol<'s>(offered: &str, spoken: &'s str) -> Option<&'s str> {
    offered
        .split(',')
        .any(|name| name.trim_matches([' ', '\t']) == spoken)
        .then_some(spoken)
}

/// Appends the whole head of the answer that ends HTTP: what follows it are frames.
///
/// `subprotocol` must be one that the client offered.
pub fn encode_response(out: &mut Vec<u8>, key: &str, subprotocol: Option<&str>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(&accept_key(key));
    if let Some(subprotocol) = subprotocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

fn is_base64(digit: u8) -> bool {
    digit.is_ascii_alphanumeric() || matches!(digit, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_examples_are_answered() {
        // The first one is that of RFC 6455, 1.3.
        assert_eq!(
            &accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(
            &accept_key("x3JJHMbDL1EzLkh9GBhXDw=="),
            b"HSmrc0sMlYUkAGmm5OPpG2HaGWk="
        );
    }

    #[test]
    fn keys_are_24_digits_of_16_bytes() {
        let cases = [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AAAAAAAAAAAAAAAAAAAAAA==", true),
            ("++++//////////////////==", true),
            ("AAAAAAAAAAAAAAAAAAAAAB==", true),
            ("", false),
            ("==", false),
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZQ===", false),
            ("dGhlIHNhbXBsZSBub25jZ===", false),
            ("dGhlIHNhbXBsZSBub25jZSE=", false),
            ("dGhlIHNhbXBsZSBub25jZSEh", false),
            ("dGhlIHNhbXBsZSBub25jZ-==", false),
            ("dGhlIHNhbXBsZSBub25j Q==", false),
            ("dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==", false),
            ("dGhlIHNhbXBsZSBub25jä==", false),
            (" dGhlIHNhbXBsZSBub25jZQ==", false),
        ];
        for (key, expected) in cases {
            assert_eq!(is_valid_key(key), expected, "{key}");
        }
    }

    #[test]
    fn a_subprotocol_is_chosen_only_from_the_offers() {
        let cases = [
            ("roomcast.v1", true),
            ("graphql-ws, roomcast.v1", true),
            ("roomcast.v1,x", true),
            (",\t roomcast.v1 ,", true),
            ("", false),
            ("roomcast.v2", false),
            ("roomcast.v1x", false),
            ("Roomcast.V1", false),
            ("x roomcast.v1", false),
        ];
        for (offered, expected) in cases {
            let chosen = choose_subprotocol(offered, "roomcast.v1");
            assert_eq!(chosen, expected.then_some("roomcast.v1"), "{offered}");
        }
    }

    #[test]
    fn the_response_is_complete() {
        let mut out = Vec::new();
        encode_response(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", Some("roomcast.v1"));
        encode_response(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", None);
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let expected = format!("{head}Sec-WebSocket-Protocol: roomcast.v1\r\n\r\n{head}\r\n");
        assert_eq!(String::from_utf8(out), Ok(expected));
    }
}
