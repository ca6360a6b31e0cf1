//! The answer to a client's key in the opening handshake (RFC 6455, 4.2.2). The rest of it is HTTP's:
//! [`Upgrade`](crate::http::Upgrade) reads the request, [`upgrade`](crate::http::response::upgrade) writes the answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};

/// Length of the value of `Sec-WebSocket-Accept`, in bytes.
pub const ACCEPT_BYTES: usize = 28;

/// Appended to the key before it is hashed (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` that answers `key`.
pub fn accept_key(key: &str) -> [u8; ACCEPT_BYTES] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; ACCEPT_BYTES];
    let written = BASE64.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(ACCEPT_BYTES), "20 bytes are 28 digits");
    accept
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
}
