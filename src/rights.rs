//! What a user may do in which rooms, as an authority said it: the rights that a token grants by room name patterns.
//!
//! Rights restrict: who has them may do only what they grant. Who has none is restricted by the
//! [rules](crate::rules) of the rooms alone.

/// Something that a user may be granted in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To be a member, and to read.
    Join,
    /// To send messages and signals.
    Send,
    /// To kick, mute and ban, and to delete the messages of others. It includes the other rights.
    Moderate,
}

/// A name in which `*` stands for any text, also for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// The pattern as it is written.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.into())
    }

    /// The same again.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name fits.
    pub fn fits(&self, name: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return *self.0 == *name;
        };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        let inside = name
            .strip_prefix(start)
            .and_then(|name| name.strip_suffix(end));
        let Some(mut inside) = inside else {
            return false;
        };
        // The first place of each part leaves the most for those behind it.
        middle.split('*').all(|part| match inside.find(part) {
            Some(at) => {
                inside = inside.get(at + part.len()..).unwrap_or_default();
                true
            }
            None => false,
        })
    }
}

/// What is granted in the rooms whose names fit a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which rooms.
    pub pattern: Pattern,
    /// See [`Right::Join`].
    pub join: bool,
    /// See [`Right::Send`].
    pub send: bool,
    /// See [`Right::Moderate`].
    pub moderate: bool,
}

impl Grant {
    fn has(&self, right: Right) -> bool {
        self.moderate
            || match right {
                Right::Join => self.join,
                Right::Send => self.send,
                Right::Moderate => false,
            }
    }
}

/// All that one user is granted. Nothing else is allowed to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(Box<[Grant]>);

impl Rights {
    /// These grants together.
    pub fn new(grants: Vec<Grant>) -> Rights {
        Rights(grants.into())
    }

    /// Whether some grant gives a right in a room.
    pub fn allows(&self, right: Right, room: &str) -> bool {
        self.0
            .iter()
            .any(|grant| grant.has(right) && grant.pattern.fits(room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, is_fit) in [
            ("*", "", true),
            ("*", "lobby", true),
            ("", "lobby", false),
            ("lobby", "lobby", true),
            ("lobby", "lobby2", false),
            ("log-*", "log-7", true),
            ("log-*", "xlog-7", false),
            ("*-log", "a-log", true),
            ("*-log", "a-logs", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "ac", false),
            ("a*b*b*c", "a1b2c", false),
            ("a*b*b*c", "abbc", true),
            ("a**c", "ac", true),
            ("a*a", "a", false),
            ("*é*", "café au lait", true),
        ] {
            let fits = Pattern::new(pattern).fits(name);
            assert_eq!(fits, is_fit, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn a_right_is_one_that_some_grant_gives() {
        let grant = |pattern, join, send, moderate| Grant {
            pattern: Pattern::new(pattern),
            join,
            send,
            moderate,
        };
        let rights = Rights::new(vec![
            grant("lobby", true, false, false),
            grant("team-*", true, true, false),
            grant("team-red", false, false, true),
        ]);
        for (room, expected) in [
            ("lobby", [true, false, false]),
            ("team-blue", [true, true, false]),
            ("team-red", [true, true, true]),
            ("elsewhere", [false, false, false]),
        ] {
            let all = [Right::Join, Right::Send, Right::Moderate];
            let allowed = all.map(|right| rights.allows(right, room));
            assert_eq!(allowed, expected, "{room}");
        }
        assert!(!Rights::default().allows(Right::Join, "lobby"));
    }
}
