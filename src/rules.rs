//! What the operator says of rooms: who may do what there, how many may be members, and how fast they may write.

use crate::rights::Pattern;

/// What a user wants to do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be a member, and to see what is said meanwhile.
    Join,
    /// To see what was said before.
    Read,
    /// To send messages and signals.
    Write,
    /// To kick, mute and ban, and to delete the messages of others.
    Moderate,
}

/// Whom a rule means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// Everyone.
    #[default]
    All,
    /// The moderators of the room.
    Moderators,
    /// Nobody, moderators included.
    Nobody,
    /// The users of these names, in order, and the moderators.
    Users(Box<[Box<str>]>),
}

impl Who {
    /// The users of these names, and the moderators.
    pub fn users(names: impl IntoIterator<Item = Box<str>>) -> Who {
        let mut names: Vec<Box<str>> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Who::Users(names.into())
    }

    /// Whether a user is meant.
    pub fn includes(&self, user: &str, is_moderator: bool) -> bool {
        match self {
            Who::All => true,
            Who::Moderators => is_moderator,
            Who::Nobody => false,
            Who::Users(names) => {
                is_moderator || names.binary_search_by(|name| (**name).cmp(user)).is_ok()
            }
        }
    }
}

/// The rule of the rooms whose names fit a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRule {
    /// Which rooms.
    pub pattern: Pattern,
    /// Who may be a member.
    pub join: Who,
    /// Who of them may see what was said before they came.
    pub read: Who,
    /// Who of them may send.
    pub write: Who,
    /// Who moderates: never everyone.
    pub moderate: Who,
    /// Whether a [right](crate::rights::Right::Join) that a token grants opens the room too.
    pub is_private: bool,
    /// Distinct users that may be in the room; moderators come in beyond that.
    pub members_max: Option<u32>,
    /// Least time between two messages of a user in milliseconds; moderators need not wait.
    pub slow_mode_ms: Option<u32>,
}

impl RoomRule {
    /// Whether the rule makes a user a moderator.
    pub fn is_moderator(&self, user: &str) -> bool {
        self.moderate.includes(user, false)
    }

    /// Whether a user may do something.
    pub fn allows(&self, access: Access, user: &str, is_moderator: bool) -> bool {
        match access {
            Access::Join => self.join.includes(user, is_moderator),
            Access::Read => self.read.includes(user, is_moderator),
            Access::Write => self.write.includes(user, is_moderator),
            Access::Moderate => is_moderator,
        }
    }
}

/// The rules of all rooms: the first whose pattern fits a room's name is its rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomRules(Box<[RoomRule]>);

impl RoomRules {
    /// These rules, at most [`ROOM_RULE_COUNT_MAX`](crate::limits::ROOM_RULE_COUNT_MAX).
    pub fn new(rules: Vec<RoomRule>) -> RoomRules {
        RoomRules(rules.into())
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Place of the rule of a room, if it has one.
    pub fn find(&self, room: &str) -> Option<u16> {
        let place = self.0.iter().position(|rule| rule.pattern.fits(room))?;
        u16::try_from(place).ok()
    }

    /// The rule at a place.
    pub fn at(&self, place: u16) -> Option<&RoomRule> {
        self.0.get(usize::from(place))
    }

    /// Whether some rule means users by their names.
    pub fn names_users(&self) -> bool {
        let is_named = |who: &Who| matches!(who, Who::Users(names) if !names.is_empty());
        let lists =
            |rule: &RoomRule| [&rule.join, &rule.read, &rule.write, &rule.moderate].map(is_named);
        self.0.iter().any(|rule| lists(rule).contains(&true))
    }

    /// Every rule, the first first.
    pub fn iter(&self) -> impl Iterator<Item = &RoomRule> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str) -> RoomRule {
        RoomRule {
            pattern: Pattern::new(pattern),
            join: Who::All,
            read: Who::All,
            write: Who::All,
            moderate: Who::users(["mod".into()]),
            is_private: false,
            members_max: None,
            slow_mode_ms: None,
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = RoomRules::new(vec![rule("news-1"), rule("news-*"), rule("*-1")]);
        for (room, place) in [
            ("news-1", Some(0)),
            ("news-2", Some(1)),
            ("x-1", Some(2)),
            ("x", None),
        ] {
            assert_eq!(rules.find(room), place, "{room}");
        }
    }

    #[test]
    fn moderators_are_meant_wherever_someone_is() {
        for (who, ann, bob, moderator) in [
            (Who::All, true, true, true),
            (Who::users(["ann".into(), "ann".into()]), true, false, true),
            (Who::users([]), false, false, true),
            (Who::Moderators, false, false, true),
            (Who::Nobody, false, false, false),
        ] {
            let rule = RoomRule {
                write: who.clone(),
                ..rule("*")
            };
            for (user, expected) in [("ann", ann), ("bob", bob), ("mod", moderator)] {
                let is_moderator = rule.is_moderator(user);
                assert_eq!(
                    rule.allows(Access::Write, user, is_moderator),
                    expected,
                    "{who:?} {user}"
                );
                assert_eq!(
                    rule.allows(Access::Moderate, user, is_moderator),
                    user == "mod"
                );
            }
        }
    }
}
