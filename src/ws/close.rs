//! Close frames: codes and reasons (RFC 6455, 5.5.1 and 7.4).

use super::frame::{self, Opcode};
use super::utf8;
use super::violation::Violation;
use crate::limits::CONTROL_BYTES_MAX;

const CODE_BYTES: usize = 2;

/// Why a connection ends.
///
/// In the private range (4000-4999) the hundreds tell a client what to do: 40xx do not come back, 41xx come back after
/// a pause, 42xx come back now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server shuts down, or the page was left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// A type of data that this endpoint does not take.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// Data that is not what its type says, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// A bound of ours that has no code of its own.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message that is too big.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// A bug of ours.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// The server is overloaded.
    pub const TRY_AGAIN: CloseCode = CloseCode(1013);
    /// The identity was refused: do not come back.
    pub const REFUSED: CloseCode = CloseCode(4001);
    /// The token has expired: come back with a new one only.
    pub const EXPIRED: CloseCode = CloseCode(4002);
    /// Come back after a pause.
    pub const LATER: CloseCode = CloseCode(4100);
    /// The peer read too slowly: come back now.
    pub const SLOW: CloseCode = CloseCode(4200);

    /// Whether it tells the peer not to come back as it is.
    pub fn is_final(self) -> bool {
        matches!(self.0, 4000..=4099)
    }

    /// Whether it tells the peer to come back after a pause.
    pub fn asks_for_pause(self) -> bool {
        matches!(self.0, 1001 | 1011 | 1013 | 4100..=4199)
    }

    /// Whether the code may stand in a close frame: RFC 6455, 7.4, and the codes registered since (1012-1014).
    ///
    /// 1004 has no meaning; 1005, 1006 and 1015 are only for an endpoint's own use.
    pub fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// Reads the payload of a close frame: `None` where it is empty.
///
/// # Errors
/// [`Violation`] where it is a single byte, or the code or the reason is invalid.
pub fn parse(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<CODE_BYTES>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Violation::CloseTooShort)
        };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.is_sendable() {
        return Err(Violation::CloseCodeInvalid);
    }
    let reason = utf8::validate(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
    Ok(Some((code, reason)))
}

/// Appends a whole close frame. A reason that does not fit is cut at a character; without a code there is none.
pub fn encode(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
    let Some(CloseCode(code)) = code else {
        return frame::encode_header(out, Opcode::Close, false, 0);
    };
    let reason = clip(reason, CONTROL_BYTES_MAX - CODE_BYTES);
    frame::encode_header(out, Opcode::Close, false, CODE_BYTES + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// The longest start of `text` that has at most `bytes_max` bytes.
fn clip(text: &str, bytes_max: usize) -> &str {
    let ends = (0..=bytes_max).rev();
    ends.filter_map(|end| text.get(..end))
        .next()
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_code(code: u16) -> Result<Option<(CloseCode, &'static str)>, Violation> {
        parse(&code.to_be_bytes()).map(|close| close.map(|(code, _)| (code, "")))
    }

    #[test]
    fn exactly_the_sendable_codes_are_taken() {
        let refused = [0..=999, 1004..=1006, 1015..=2999, 5000..=u16::MAX];
        for code in 0..=u16::MAX {
            let expected = if refused.iter().any(|range| range.contains(&code)) {
                Err(Violation::CloseCodeInvalid)
            } else {
                Ok(Some((CloseCode(code), "")))
            };
            assert_eq!(parse_code(code), expected, "{code}");
        }
    }

    #[test]
    fn payloads_are_read_or_refused() {
        type Expected = Result<Option<(CloseCode, &'static str)>, Violation>;
        let cases: &[(&[u8], Expected)] = &[
            (b"", Ok(None)),
            (b"\x03", Err(Violation::CloseTooShort)),
            (b"\x03\xe8", Ok(Some((CloseCode::NORMAL, "")))),
            (b"\x03\xe9bye", Ok(Some((CloseCode::GOING_AWAY, "bye")))),
            (b"\x03\xe8\xc3\xa4", Ok(Some((CloseCode::NORMAL, "ä")))),
            (b"\x03\xe8\xc3", Err(Violation::CloseReasonNotUtf8)),
            (b"\x03\xe8ok\xff", Err(Violation::CloseReasonNotUtf8)),
            (b"\x03\xed", Err(Violation::CloseCodeInvalid)),
            (b"\x03\xed\xff", Err(Violation::CloseCodeInvalid)),
        ];
        for (payload, expected) in cases {
            assert_eq!(&parse(payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn what_is_encoded_parses_back() {
        for (code, reason) in [
            (CloseCode::NORMAL, ""),
            (CloseCode::SLOW, "fell behind"),
            (CloseCode::REFUSED, "ä€😀"),
        ] {
            let mut out = b"before".to_vec();
            encode(&mut out, Some(code), reason);
            let frame = out.strip_prefix(b"before").expect("only appends");
            assert_eq!(frame[0], 0x88);
            assert_eq!(parse(frame::payload_of(frame)), Ok(Some((code, reason))));
        }
        let mut out = Vec::new();
        encode(&mut out, None, "not sent");
        assert_eq!(out, [0x88, 0]);
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        for (reason, expected) in [
            ("x".repeat(123), "x".repeat(123)),
            ("x".repeat(124), "x".repeat(123)),
            ("ä".repeat(62), "ä".repeat(61)),
            ("😀".repeat(99), "😀".repeat(30)),
        ] {
            let mut out = Vec::new();
            encode(&mut out, Some(CloseCode::POLICY), &reason);
            assert_eq!(
                parse(frame::payload_of(&out)),
                Ok(Some((CloseCode::POLICY, expected.as_str())))
            );
        }
    }
}
