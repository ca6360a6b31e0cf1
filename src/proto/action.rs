//! What moderators do to users.

use super::Kind;

/// What a moderator wants done to a user of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To take the user out of the room. It may come back.
    Kick,
    /// To let the user send nothing to the room.
    Mute,
    /// To let it send again.
    Unmute,
    /// To take the user out of the room, and not let it in again.
    Ban,
    /// To let it in again.
    Unban,
}

impl Action {
    /// Its command.
    pub fn kind(self) -> Kind {
        match self {
            Action::Kick => Kind::Kick,
            Action::Mute => Kind::Mute,
            Action::Unmute => Kind::Unmute,
            Action::Ban => Kind::Ban,
            Action::Unban => Kind::Unban,
        }
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        self.kind().as_str()
    }

    /// Whether it takes something from the user.
    pub fn is_against(self) -> bool {
        match self {
            Action::Kick | Action::Mute | Action::Ban => true,
            Action::Unmute | Action::Unban => false,
        }
    }
}
