//! Who says who a connection is: the seam between the engine and what knows keys and cryptography.

use crate::rights::Rights;
use std::fmt;
use std::sync::Arc;

/// How identity is settled.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// A free name is anyone's who asks for it first, and stays theirs by a session secret.
    #[default]
    Guest,
    /// Every connection brings a token, which names its user.
    Token(Arc<dyn Authority>),
}

/// Checks tokens.
pub trait Authority: fmt::Debug + Send + Sync {
    /// What a token says, if it holds at this time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// Why it does not hold.
    fn check(&self, token: &str, unix_ms: u64) -> Result<Badge, Denial>;
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// The user.
    pub user: Box<str>,
    /// When it expires, in milliseconds since the Unix epoch.
    pub until_unix_ms: u64,
    /// What it grants in which rooms. `None` where it says nothing of rooms: then it restricts nothing.
    pub rights: Option<Rights>,
}

/// Why there is no pass. The texts hold nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// There is no token.
    Missing,
    /// It is longer than [`TOKEN_BYTES_MAX`](crate::limits::TOKEN_BYTES_MAX).
    TooLong,
    /// It is no token, or lacks what a token must have.
    Malformed,
    /// It calls for something that is not understood here (RFC 7515, 4.1.11).
    Critical,
    /// No key of its algorithm and name is known.
    Key,
    /// It was not made with the key.
    Signature,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    Early,
    /// It is meant for others.
    Audience,
    /// Someone else made it.
    Issuer,
    /// Its `sub` is no name of a user.
    User,
    /// Its `rooms` cannot be read, or are more than [`TOKEN_ROOM_COUNT_MAX`](crate::limits::TOKEN_ROOM_COUNT_MAX).
    Rooms,
    /// It does not allow the room that the URL names.
    Room,
    /// It names another user than the connection's.
    OtherUser,
}

impl Denial {
    /// What the client is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Denial::Missing => "this server wants a token: bring one",
            Denial::TooLong => "the token is too long",
            Denial::Malformed => {
                "the token is malformed, signed in no way that is taken here, or lacks `sub` or `exp`"
            }
            Denial::Critical => "the token has a `crit` that is not understood here",
            Denial::Key => "no key is known for the `alg` and `kid` of the token",
            Denial::Signature => "the signature of the token is wrong",
            Denial::Expired => "the token has expired: bring a new one",
            Denial::Early => "the token is not valid yet",
            Denial::Audience => "the `aud` of the token is not this server",
            Denial::Issuer => "the `iss` of the token is not trusted here",
            Denial::User => {
                "the `sub` of the token is no user name of 1 to 128 bytes without control characters"
            }
            Denial::Rooms => {
                "the `rooms` of the token are no list of at most 64 names and grants of join, send and moderate"
            }
            Denial::Room => "the token does not let you join this room and send to it",
            Denial::OtherUser => "the token is another user's",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
