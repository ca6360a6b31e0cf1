//! WebSocket (RFC 6455), server side: bytes in, messages out, and back.
//!
//! | RFC 6455 | item |
//! |---|---|
//! | 4.2.2 opening handshake | [`handshake`] |
//! | 5.2 header, 5.5 control frames | [`frame::Header`], [`frame::encode`] |
//! | 5.3 masking | [`mask::unmask`] |
//! | 5.4 fragmentation, 5.6 data frames | [`Protocol`] |
//! | 5.5.1 and 7.4 close codes and reasons | [`close`] |
//! | 8.1 UTF-8, checked as it arrives | [`utf8::Utf8`] |
//! | 10.2 origin | [`origin`] |
//! | 10.4 bounds | [`Rules`] |
//!
//! What is not here: sockets, the clock and randomness; answers (whoever drives a [`Protocol`] sends the pong and
//! echoes the close); reading an HTTP request; extensions. The seam for one (RFC 7692) is the RSV1 bit, which
//! [`frame::Header`] carries and [`Protocol`] refuses in a single place.
//!
//! Nothing is allocated for a frame that arrives whole. Only what a read has cut, or what its sender has fragmented,
//! is copied, into memory that grows with the bytes that came and never with the length that was declared.

pub mod close;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod origin;
pub mod utf8;

mod assembly;
mod protocol;
mod violation;

#[cfg(test)]
mod tests;

pub use close::CloseCode;
pub use frame::{Header, Opcode};
pub use protocol::{Input, Message, Protocol, Rules};
pub use violation::Violation;
