//! WebSocket (RFC 6455), server side: bytes in, messages out, and back.
//!
//! | RFC 6455 | item |
//! |---|---|
//! | 4.2.2 answer to the key of the opening handshake | [`handshake`] |
//! | 5.2 header, 5.5 control frames | [`frame::Header`], [`frame::encode`] |
//! | 5.3 masking | [`mask::unmask`] |
//! | 5.4 fragmentation, 5.6 data frames | [`Protocol`] |
//! | 5.5.1 and 7.4 close codes and reasons | [`close`] |
//! | 8.1 UTF-8, checked as it arrives | [`utf8::Utf8`] |
//! | 10.2 origin | [`origin`] |
//! | 10.4 bounds | [`Rules`] |
//! | RFC 7692 permessage-deflate | [`deflate`] |
//!
//! What is not here: sockets, the clock and randomness; answers (whoever drives a [`Protocol`] sends the pong, echoes
//! the close and inflates what is compressed); reading an HTTP request.
//!
//! Nothing is allocated for a frame that arrives whole. Only what a read has cut, or what its sender has fragmented,
//! is copied, into memory that grows with the bytes that came and never with the length that was declared.

pub mod close;
pub mod deflate;
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
