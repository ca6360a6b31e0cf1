//! Commands that wait for their answer, and how each may be refused.

use super::super::logs::{Gone, Logs};
use super::super::{Asked, Excuses};
use super::Chat;
use crate::told::{Log, Position};

/// A command that has no answer yet.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: Option<String>,
    pub(super) asked: Asked,
    /// The room that it is about was being joined, or was joined.
    pub(super) expects_member: bool,
    /// It was a member of the room when it asked, or became one before the answer.
    pub(super) was_inside: bool,
    /// Messages of the log that were known to be deleted.
    pub(super) gone: Gone,
    /// Of a page of a log: where the log was seen to stand.
    pub(super) stood: Option<Position>,
}

impl Chat {
    /// Takes the command that is answered: one that may well be, where the same was asked more than once.
    pub(super) fn close(
        &mut self,
        id: Option<&str>,
        is_it: impl Fn(&Asked) -> bool,
    ) -> Result<Asked, String> {
        self.close_open(id, is_it).map(|open| open.asked)
    }

    pub(super) fn close_open(
        &mut self,
        id: Option<&str>,
        is_it: impl Fn(&Asked) -> bool,
    ) -> Result<Open, String> {
        let same = |open: &Open| open.id.as_deref() == id && is_it(&open.asked);
        let place = self
            .open
            .iter()
            .position(|open| same(open) && open.expects_member);
        let place = place.or_else(|| self.open.iter().position(same));
        let place = place.ok_or_else(|| "nothing was asked".to_owned())?;
        let open = self.take(place);
        if let Some(room) = room_of(&open.asked).filter(|_| !open.was_inside) {
            self.intruded = Some(room.to_owned());
        }
        Ok(open)
    }

    /// Takes a command that is answered. Of several with one `id`, or none, it is not known which one that is: all of
    /// them were sent from inside if one was.
    pub(super) fn take(&mut self, place: usize) -> Open {
        let same = |open: &Open, other: &Open| {
            open.id == other.id && room_of(&open.asked) == room_of(&other.asked)
        };
        let mut taken = self.open.remove(place);
        let mut others: Vec<&mut Open> = self.open.iter_mut().collect();
        others.retain(|open| same(open, &taken));
        taken.was_inside |= others.iter().any(|open| open.was_inside);
        for open in others {
            open.was_inside |= taken.was_inside;
        }
        taken
    }

    /// Whether a command may be refused with this code.
    pub(super) fn is_right(&self, open: &Open, code: &str, logs: &Logs, excuses: &Excuses) -> bool {
        match (&open.asked, code) {
            (Asked::Wrong { codes }, _) => codes.contains(&code),
            (Asked::Message { .. } | Asked::History { .. } | Asked::Delete { .. }, "storage") => {
                excuses.failing_disk
            }
            // It was not a message, or another's, or is deleted already.
            (Asked::Delete { .. }, "bad_field" | "forbidden") => true,
            // It is not the moderator's, or is about nobody who is there or is banned, or about the moderator.
            (Asked::Moderate { .. }, "unknown_user" | "forbidden") => true,
            (Asked::Moderate { .. }, "storage") => excuses.failing_disk,
            (Asked::Join { .. }, "room_full") => excuses.few_members,
            (
                Asked::Join { .. }
                | Asked::Who { .. }
                | Asked::Message {
                    to: Log::Room(_), ..
                }
                | Asked::History {
                    of: Log::Room(_), ..
                },
                "forbidden",
            ) => excuses.has_bans,
            (
                Asked::Message {
                    to: Log::Room(_), ..
                }
                | Asked::Delete { .. },
                "overloaded",
            ) => excuses.slow_disk || excuses.failing_disk,
            (Asked::Join { .. }, "too_many_rooms") => excuses.few_rooms,
            (
                Asked::Message {
                    to: Log::Inbox(user),
                    ..
                },
                "unknown_user",
            ) => !logs.is_known(user) || user.starts_with("guest-"),
            (
                Asked::Message {
                    to: Log::Inbox(_), ..
                },
                "overloaded",
            ) => true,
            (
                Asked::Leave { room }
                | Asked::Who { room }
                | Asked::Delete { room, .. }
                | Asked::Moderate { room }
                | Asked::Message {
                    to: Log::Room(room),
                    ..
                }
                | Asked::History {
                    of: Log::Room(room),
                    ..
                },
                "not_joined",
            ) => !open.expects_member || self.refused_rooms.contains(room),
            _ => false,
        }
    }
}

/// The room whose members alone may do that.
pub(super) fn room_of(asked: &Asked) -> Option<&str> {
    match asked {
        Asked::Who { room }
        | Asked::Delete { room, .. }
        | Asked::Moderate { room }
        | Asked::Message {
            to: Log::Room(room),
            ..
        }
        | Asked::History {
            of: Log::Room(room),
            ..
        } => Some(room),
        Asked::Hello
        | Asked::Join { .. }
        | Asked::Leave { .. }
        | Asked::Message {
            to: Log::Inbox(_), ..
        }
        | Asked::Signal { .. }
        | Asked::History {
            of: Log::Inbox(_), ..
        }
        | Asked::Wrong { .. } => None,
    }
}
