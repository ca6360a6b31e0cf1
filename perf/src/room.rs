//! Where members meet, and how they speak there.

use crate::connection::Welcome;
use crate::destination::{Address, Destination};
use crate::ledger::Audience;

/// Name of the room that is measured.
pub const ROOM: &str = "perf";

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Path and query of the upgrade.
    pub path: String,
    /// When a connection is a member.
    pub welcome: Welcome,
    /// How messages look.
    pub dialect: Dialect,
    /// Who gets a message.
    pub audience: Audience,
}

/// How messages look on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The stamp is the message, on the way there and back.
    Bare,
    /// The stamp is the `content` of a message of `roomcast.v1`.
    Chat,
    /// What stands before and behind the stamp when it is sent. Where it stands in what comes back is found out.
    Template {
        /// What stands before it.
        before: String,
        /// What stands behind it.
        behind: String,
    },
}

impl Room {
    /// A plain relay at a path.
    pub fn relay(path: &str) -> Room {
        Room {
            path: path.into(),
            welcome: Welcome::Upgrade,
            dialect: Dialect::Bare,
            audience: Audience::Others,
        }
    }

    /// roomcast's relay.
    pub fn raw() -> Room {
        Room::relay(&format!("/raw/{ROOM}"))
    }

    /// roomcast's chat.
    pub fn chat() -> Room {
        Room {
            path: format!("/ws?room={ROOM}"),
            welcome: Welcome::Joined,
            dialect: Dialect::Chat,
            audience: Audience::All,
        }
    }

    /// Another room of the same server, which nobody publishes in.
    pub fn another(&self) -> Room {
        let path = match self.dialect {
            Dialect::Bare | Dialect::Chat => self.path.replace(ROOM, "arrivals"),
            Dialect::Template { .. } => self.path.clone(),
        };
        Room {
            path,
            ..self.clone()
        }
    }

    /// How to get there.
    pub fn at(&self, address: Address) -> Destination {
        Destination {
            welcome: self.welcome,
            ..Destination::plain(address, &self.path)
        }
    }
}

impl Dialect {
    /// Reads a template: the message as it is sent, with `{}` in place of its text.
    ///
    /// # Errors
    ///
    /// It has no such place.
    pub fn template(text: &str) -> Result<Dialect, String> {
        if text == "{}" {
            return Ok(Dialect::Bare);
        }
        let (before, behind) = text
            .split_once("{}")
            .ok_or("a message with {} where its text stands")?;
        Ok(Dialect::Template {
            before: before.into(),
            behind: behind.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_a_place_for_the_text() {
        assert_eq!(Dialect::template("{}"), Ok(Dialect::Bare));
        let publish = Dialect::template("{\"text\":\"{}\"}").unwrap();
        let expected = Dialect::Template {
            before: "{\"text\":\"".into(),
            behind: "\"}".into(),
        };
        assert_eq!(publish, expected);
        assert!(Dialect::template("nothing").is_err());
    }

    #[test]
    fn those_who_arrive_go_elsewhere() {
        assert_eq!(Room::raw().another().path, "/raw/arrivals");
        assert_eq!(Room::chat().another().path, "/ws?room=arrivals");
        assert_eq!(Room::relay("/").another().path, "/");
    }
}
