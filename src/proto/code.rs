//! The stable words and numbers with which the server says no.
//!
//! # Error codes
//!
//! The `code` of an `error` event. The connection stays open; close codes say when it does not. *Retry* is the usual
//! value of `retryable`: the same command may succeed later as it is. A send that failed with a retryable code may
//! have happened: repeat it with its `id`, which makes a second copy impossible.
//!
//! | code | meaning | what a client does | retry |
//! |---|---|---|---|
//! | `bad_json` | not JSON, not an object, nested too deep, a lone surrogate, or a field given twice | correct the sender | no |
//! | `unknown_type` | no command has this `type` | correct the sender | no |
//! | `bad_field` | a field is missing or has a wrong type or value; the message names it | correct the field | no |
//! | `bad_name` | a room's or user's name is empty, too long or has control characters | choose another name | no |
//! | `name_taken` | the name belongs to another session | bring its `session`, or choose another name | no |
//! | `unknown_user` | nobody holds the name that a private message went to | check the name | no |
//! | `not_joined` | sending, `history` and `who` need membership | `join` the room, then repeat | no |
//! | `too_large` | the message exceeds a bound in `welcome.limits` | send less | no |
//! | `rate_limited` | too many commands in too short a time | wait `retry_after_ms`, then repeat | yes |
//! | `too_many_rooms` | this connection, or its address, is in as many rooms as allowed; or, where `retryable` says so, the server has no place for another now | `leave` one first, or try again later | no |
//! | `room_full` | the room takes no more members | try again later | yes |
//! | `forbidden` | the user may not do this | ask for the right to | no |
//! | `unauthorized` | the token or session is missing, wrong or expired | get a new one, then connect again | no |
//! | `storage` | the disk fails or is full | repeat with the same `id` after a pause | yes |
//! | `overloaded` | more work waits than the server takes on | repeat with the same `id` after a pause | yes |
//! | `shutting_down` | the server stops | repeat with the same `id` on the next connection | yes |
//! | `internal` | a fault of the server | repeat with the same `id`, once; then report it | yes |
//!
//! # Close codes
//!
//! The number in the WebSocket close frame, and the `code` of the `bye` event, which comes before it where the client
//! did nothing wrong. The hundreds of the numbers from 4000 on say when to come back, so that a client obeys codes that
//! it has never seen.
//!
//! | code | meaning | come back |
//! |---|---|---|
//! | 1000 | the answer to the client's own close | as the client likes |
//! | 1001 | the server shuts down | after a pause |
//! | 1002 | the client broke RFC 6455 | not before the client is corrected |
//! | 1003 | binary data on `/ws`, which takes text | not before the client is corrected |
//! | 1007 | text that is not UTF-8 | not before the client is corrected |
//! | 1008 | a rule was broken that has no code of its own | not before the client is corrected |
//! | 1009 | a message larger than `welcome.limits.message_bytes_max` | with smaller messages |
//! | 1011 | a fault of the server | after a pause |
//! | 1013 | the server is overloaded | after a pause |
//! | 4000-4099 | refused for good; 4001: the identity was refused; 4002: the token has expired | no; after 4002 with a new token |
//! | 4100-4199 | not now | after a pause |
//! | 4200-4299 | a new connection is the remedy; 4200: too slow a reader | at once, from the last position |

use std::fmt;

/// Why a command was refused; see the table of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not JSON, or JSON that is not taken.
    BadJson,
    /// No command has this `type`.
    UnknownType,
    /// A field is missing, or has a wrong type or value.
    BadField,
    /// A name is empty, too long, or has control characters.
    BadName,
    /// The name belongs to another session.
    NameTaken,
    /// Nobody holds the name that a private message went to.
    UnknownUser,
    /// The command needs membership of the room.
    NotJoined,
    /// The message exceeds a bound.
    TooLarge,
    /// Too many commands in too short a time.
    RateLimited,
    /// No further room may be joined.
    TooManyRooms,
    /// The room takes no more members.
    RoomFull,
    /// The user may not do this.
    Forbidden,
    /// The identity could not be proven.
    Unauthorized,
    /// The disk fails or is full.
    Storage,
    /// More work waits than the server takes on.
    Overloaded,
    /// The server stops.
    ShuttingDown,
    /// A fault of the server.
    Internal,
}

impl Code {
    /// Every code, in the order of the table.
    pub const ALL: [Code; 17] = [
        Code::BadJson,
        Code::UnknownType,
        Code::BadField,
        Code::BadName,
        Code::NameTaken,
        Code::UnknownUser,
        Code::NotJoined,
        Code::TooLarge,
        Code::RateLimited,
        Code::TooManyRooms,
        Code::RoomFull,
        Code::Forbidden,
        Code::Unauthorized,
        Code::Storage,
        Code::Overloaded,
        Code::ShuttingDown,
        Code::Internal,
    ];

    /// The word on the wire, which never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadJson => "bad_json",
            Code::UnknownType => "unknown_type",
            Code::BadField => "bad_field",
            Code::BadName => "bad_name",
            Code::NameTaken => "name_taken",
            Code::UnknownUser => "unknown_user",
            Code::NotJoined => "not_joined",
            Code::TooLarge => "too_large",
            Code::RateLimited => "rate_limited",
            Code::TooManyRooms => "too_many_rooms",
            Code::RoomFull => "room_full",
            Code::Forbidden => "forbidden",
            Code::Unauthorized => "unauthorized",
            Code::Storage => "storage",
            Code::Overloaded => "overloaded",
            Code::ShuttingDown => "shutting_down",
            Code::Internal => "internal",
        }
    }

    /// Whether the same command may succeed later as it is. Where one case is known better, its event says so.
    pub fn retryable(self) -> bool {
        match self {
            Code::RateLimited
            | Code::RoomFull
            | Code::Storage
            | Code::Overloaded
            | Code::ShuttingDown
            | Code::Internal => true,
            Code::BadJson
            | Code::UnknownType
            | Code::BadField
            | Code::BadName
            | Code::NameTaken
            | Code::UnknownUser
            | Code::NotJoined
            | Code::TooLarge
            | Code::TooManyRooms
            | Code::Forbidden
            | Code::Unauthorized => false,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the documented table of error codes: the word, and whether to retry.
    fn documented() -> Vec<(&'static str, bool)> {
        let rows = include_str!("code.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `"));
        rows.map(|row| (row.split('`').next().unwrap(), row.ends_with("| yes |")))
            .collect()
    }

    #[test]
    fn the_documented_table_is_the_code() {
        let coded: Vec<_> = Code::ALL
            .iter()
            .map(|code| (code.as_str(), code.retryable()))
            .collect();
        assert_eq!(documented(), coded);
    }

    #[test]
    fn all_lists_every_code_once() {
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, at, "{code}");
        }
        assert_eq!(Code::Internal as usize + 1, Code::ALL.len());
    }
}
