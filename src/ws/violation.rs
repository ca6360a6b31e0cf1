//! The ways in which a peer can break the protocol.

use std::fmt;

use super::close::CloseCode;

/// A rule that the peer broke. The connection is over: nothing more is read from it.
///
/// Its text fits a close frame as the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A reserved bit is set, and no extension gives it a meaning there (RFC 6455, 5.2; RFC 7692, 6).
    ReservedBit,
    /// The opcode is one of 3-7 and 11-15 (RFC 6455, 5.2).
    UnknownOpcode,
    /// A control frame without FIN (RFC 6455, 5.5).
    ControlFragmented,
    /// A control frame of more than 125 bytes (RFC 6455, 5.5).
    ControlTooLong,
    /// A length in more bytes than it needs (RFC 6455, 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (RFC 6455, 5.2).
    LengthHighBit,
    /// A client's frame without a mask (RFC 6455, 5.1).
    Unmasked,
    /// A continuation where no message has begun (RFC 6455, 5.4).
    ContinuationUnexpected,
    /// A new message before the last fragment of the one before (RFC 6455, 5.4).
    ContinuationExpected,
    /// A message longer than [`Rules`](super::Rules) allow, told by a header or once inflated (RFC 6455, 10.4).
    TooBig,
    /// A message in more fragments than [`Rules`](super::Rules) allow (RFC 6455, 10.4).
    TooManyFragments,
    /// A compressed message that no compressor makes (RFC 7692, 7.2.2).
    DeflateCorrupt,
    /// Text that is not UTF-8, or that ends inside a character (RFC 6455, 8.1).
    TextNotUtf8,
    /// A close payload of one byte, which can't hold a code (RFC 6455, 5.5.1).
    CloseTooShort,
    /// A close code that must not be sent (RFC 6455, 7.4).
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (RFC 6455, 5.5.1).
    CloseReasonNotUtf8,
}

impl Violation {
    /// The code that the peer is told (RFC 6455, 7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::ReservedBit
            | Violation::UnknownOpcode
            | Violation::ControlFragmented
            | Violation::ControlTooLong
            | Violation::LengthNotMinimal
            | Violation::LengthHighBit
            | Violation::Unmasked
            | Violation::ContinuationUnexpected
            | Violation::ContinuationExpected
            | Violation::CloseTooShort
            | Violation::CloseCodeInvalid => CloseCode::PROTOCOL,
            Violation::DeflateCorrupt | Violation::TextNotUtf8 | Violation::CloseReasonNotUtf8 => {
                CloseCode::INVALID_PAYLOAD
            }
            Violation::TooManyFragments => CloseCode::POLICY,
            Violation::TooBig => CloseCode::TOO_BIG,
        }
    }

    /// The rule in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Violation::ReservedBit => "a reserved bit is set",
            Violation::UnknownOpcode => "the opcode is unknown",
            Violation::ControlFragmented => "a control frame must not be fragmented",
            Violation::ControlTooLong => "a control frame holds at most 125 bytes",
            Violation::LengthNotMinimal => "a length must take the fewest bytes possible",
            Violation::LengthHighBit => "the highest bit of a 64-bit length must be 0",
            Violation::Unmasked => "frames from a client must be masked",
            Violation::ContinuationUnexpected => "there is no message to continue",
            Violation::ContinuationExpected => "the message before has not ended",
            Violation::TooBig => "the message is too big",
            Violation::TooManyFragments => "the message has too many fragments",
            Violation::DeflateCorrupt => "the compressed message is corrupt",
            Violation::TextNotUtf8 => "the text is not UTF-8",
            Violation::CloseTooShort => "a close payload holds at least a code",
            Violation::CloseCodeInvalid => "this close code must not be sent",
            Violation::CloseReasonNotUtf8 => "the close reason is not UTF-8",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Violation {}
