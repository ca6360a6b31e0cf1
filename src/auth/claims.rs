//! What a token says about its user (RFC 7519, 4.1), as far as it matters here.

use crate::authority::Denial;
use crate::limits::TOKEN_ROOM_COUNT_MAX;
use crate::rights::{Grant, Pattern, Rights};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// The claims. Others are ignored.
#[derive(Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: Box<str>,
    /// When it expires.
    pub exp: NumericDate,
    /// When it becomes valid.
    pub nbf: Option<NumericDate>,
    /// What it grants in which rooms, read when everything else is right. An explicit `null` is no absence, which would
    /// open all rooms: an issuer whose list came to nothing may not mean that.
    #[serde(default, deserialize_with = "present")]
    pub rooms: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// An entry of `rooms`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Room {
    /// A pattern alone: to join, and to send.
    Pattern(Box<str>),
    /// A pattern, and what is granted there.
    Grant {
        pattern: Box<str>,
        allow: Vec<Allow>,
    },
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Allow {
    Join,
    Send,
    Moderate,
}

/// The rights that a `rooms` claim gives. What is not understood grants nothing: the token is refused.
pub fn rights(rooms: Value) -> Result<Rights, Denial> {
    let rooms: Vec<Room> = serde_json::from_value(rooms).map_err(|_| Denial::Rooms)?;
    if rooms.len() > TOKEN_ROOM_COUNT_MAX {
        return Err(Denial::Rooms);
    }
    Ok(Rights::new(rooms.iter().map(Room::grant).collect()))
}

impl Room {
    fn grant(&self) -> Grant {
        let (pattern, allow) = match self {
            Room::Pattern(pattern) => (pattern, &[Allow::Join, Allow::Send][..]),
            Room::Grant { pattern, allow } => (pattern, &allow[..]),
        };
        Grant {
            pattern: Pattern::new(pattern),
            join: allow.contains(&Allow::Join),
            send: allow.contains(&Allow::Send),
            moderate: allow.contains(&Allow::Moderate),
        }
    }
}

/// Whole seconds since the Unix epoch (RFC 7519, 2). Fractions are cut off.
#[derive(Clone, Copy)]
pub struct NumericDate {
    seconds: u64,
}

impl NumericDate {
    /// The same in milliseconds.
    pub fn unix_ms(self) -> u64 {
        self.seconds.saturating_mul(1000)
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NumericDate, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since the Unix epoch")
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<NumericDate, E> {
                Ok(NumericDate { seconds })
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<NumericDate, E> {
                let time = Duration::try_from_secs_f64(seconds).map_err(E::custom)?;
                Ok(NumericDate {
                    seconds: time.as_secs(),
                })
            }
        }

        deserializer.deserialize_any(Number)
    }
}
