//! The client's side of the WebSocket handshake (RFC 6455, 4.2.1).

use super::field::Fields;
use super::list::{Extensions, Protocols};
use super::refusal::Refusal;
use super::request::Version;
use crate::secret::Secret;

/// See [`Offer::token`].
const TOKEN_PREFIX: &str = "roomcast.token.";

/// Whether a request asks for WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade<'a> {
    /// It does not. HTTP/1.0 never does (RFC 9110, 7.8).
    None,
    /// It does, well-formed.
    WebSocket(Offer<'a>),
    /// It does, but cannot be granted. Paths that serve no WebSocket ignore this (RFC 9110, 7.8).
    Refused(Refusal),
}

/// What the client of a well-formed upgrade brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// `Sec-WebSocket-Key`: 16 bytes in 24 characters of base64.
    pub key: &'a str,
    /// Subprotocols.
    pub protocols: Protocols<'a>,
    /// Extensions.
    pub extensions: Extensions<'a>,
}

impl<'a> Upgrade<'a> {
    pub(super) fn parse(version: Version, fields: Fields<'_, 'a>) -> Upgrade<'a> {
        let asked = version == Version::Http11
            && fields.lists("connection", "upgrade")
            && fields.lists("upgrade", "websocket");
        if !asked {
            return Upgrade::None;
        }
        Offer::parse(fields).map_or_else(Upgrade::Refused, Upgrade::WebSocket)
    }
}

impl<'a> Offer<'a> {
    /// The token that comes as a subprotocol, since pages can set no other field: `roomcast.token.` and the token. It
    /// is never chosen.
    pub fn token(&self) -> Option<Secret<&'a str>> {
        let mut names = self.protocols.iter();
        names
            .find_map(|name| name.strip_prefix(TOKEN_PREFIX))
            .map(Secret::new)
    }

    fn parse(fields: Fields<'_, 'a>) -> Result<Offer<'a>, Refusal> {
        // The version first: another one may have other rules for the rest.
        if fields.single("sec-websocket-version", Refusal::VERSION_TWICE)? != Some("13") {
            return Err(Refusal::WEBSOCKET_VERSION);
        }
        let key = fields.single("sec-websocket-key", Refusal::KEY)?;
        let protocols = Protocols::parse(fields.lines("sec-websocket-protocol"));
        let extensions = Extensions::parse(fields.lines("sec-websocket-extensions"));
        Ok(Offer {
            key: key.filter(|key| is_key(key)).ok_or(Refusal::KEY)?,
            protocols: protocols.ok_or(Refusal::PROTOCOLS)?,
            extensions: extensions.ok_or(Refusal::EXTENSIONS)?,
        })
    }
}

/// Whether these are 16 bytes in base64: 22 characters and the padding. The 4 bits that the last character has too
/// many may be anything (RFC 4648, 3.5): the key is hashed, not decoded.
fn is_key(key: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.strip_suffix("==")
        .is_some_and(|data| data.len() == 22 && data.bytes().all(is_base64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixteen_bytes_in_base64() {
        for (key, valid) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AAAAAAAAAAAAAAAAAAAAAA==", true),
            ("++//++//++//++//++//+/==", true),
            ("", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZQ===", false),
            ("dGhlIHNhbXBsZSBub25jZQA=", false),
            ("dGhlIHNhbXBsZSBub25jZQAA", false),
            ("dGhlIHNhbXBsZSBub25jZQAA==", false),
            ("dGhlIHNhbXBsZSBub25j==", false),
            ("dGhl-HNhbXBsZSBub25jZQ==", false),
            ("dGhl_HNhbXBsZSBub25jZQ==", false),
            ("dGhl HNhbXBsZSBub25jZQ==", false),
            ("dGhl=HNhbXBsZSBub25jZQ==", false),
            (
                "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}==",
                false,
            ),
        ] {
            assert_eq!(is_key(key), valid, "{key}");
        }
    }
}
