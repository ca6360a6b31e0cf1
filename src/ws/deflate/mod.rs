//! Compressed messages (RFC 7692, permessage-deflate), each of which stands alone.
//!
//! | RFC 7692 | item |
//! |---|---|
//! | 5 and 7.1 negotiation | [`negotiate`], [`Agreed`] |
//! | 6.1 and 7.2.1 sending | [`Deflater`], [`encode_compressed`](super::frame::encode_compressed) |
//! | 6.2 and 7.2.2 receiving | [`Message::Compressed`](super::Message::Compressed), [`Inflater`] |
//!
//! Every agreement forbids context takeover on both sides. So a message is compressed once, whoever receives it; and
//! a connection costs no memory for its compression, as one [`Deflater`] and one [`Inflater`] serve any number.

mod deflater;
mod inflater;
mod offer;

#[cfg(test)]
mod tests;

pub use deflater::Deflater;
pub use inflater::Inflater;
pub use offer::{Agreed, negotiate};

/// What a flush ends with: the lengths of an empty stored block. It is not sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The largest window, as an exponent of 2: what each side may use where nothing else was agreed.
const WINDOW_BITS_MAX: u8 = 15;
