//! Which names of rooms and users, and which session secrets, are taken.

use std::fmt;

use crate::limits::{NAME_BYTES_MAX, SESSION_BYTES_MAX, SESSION_BYTES_MIN};

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has no characters.
    Empty,
    /// It has more than [`NAME_BYTES_MAX`] bytes of UTF-8.
    TooLong,
    /// It has a control character (Unicode category Cc), which could not be shown.
    ControlCharacter,
}

/// Checks the name of a room or a user: 1 to [`NAME_BYTES_MAX`] bytes of UTF-8 without control characters.
///
/// Names are compared byte for byte: there is no folding of case and no normalisation.
pub fn check(name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        Err(Fault::Empty)
    } else if name.len() > NAME_BYTES_MAX {
        Err(Fault::TooLong)
    } else if name.chars().any(char::is_control) {
        Err(Fault::ControlCharacter)
    } else {
        Ok(())
    }
}

/// Whether a `session` secret that a client brings has a length that is taken:
/// [`SESSION_BYTES_MIN`] to [`SESSION_BYTES_MAX`] bytes.
pub fn is_session(secret: &str) -> bool {
    (SESSION_BYTES_MIN..=SESSION_BYTES_MAX).contains(&secret.len())
}

/// Reads on from the name of the field, as in "`room_id` is empty".
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Empty => write!(f, "is empty; a name has 1 to {NAME_BYTES_MAX} bytes"),
            Fault::TooLong => write!(
                f,
                "is too long; a name has 1 to {NAME_BYTES_MAX} bytes of UTF-8"
            ),
            Fault::ControlCharacter => f.write_str("has a control character; a name has none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        let too_long = "n".repeat(NAME_BYTES_MAX + 1);
        // 'é' has two bytes: the bound counts bytes, not characters.
        let longest_wide = "é".repeat(NAME_BYTES_MAX / 2);
        let too_long_wide = "é".repeat(NAME_BYTES_MAX / 2 + 1);
        let rows: &[(&str, Result<(), Fault>)] = &[
            ("a", Ok(())),
            (" ", Ok(())),
            ("\"quoted\" \\ <b>", Ok(())),
            ("日本語 😀 \u{2028}", Ok(())),
            (&longest, Ok(())),
            (&longest_wide, Ok(())),
            ("", Err(Fault::Empty)),
            (&too_long, Err(Fault::TooLong)),
            (&too_long_wide, Err(Fault::TooLong)),
        ];
        for (name, expected) in rows {
            assert_eq!(check(name), *expected, "{name:?}");
        }
    }

    #[test]
    fn control_characters_are_refused_and_no_others() {
        for character in '\0'..=char::MAX {
            let control = matches!(character, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}');
            let name: String = ['a', character, 'b'].iter().collect();
            assert_eq!(check(&name).is_err(), control, "{character:?}");
        }
    }

    #[test]
    fn sessions() {
        for (length, taken) in [
            (0, false),
            (SESSION_BYTES_MIN - 1, false),
            (SESSION_BYTES_MIN, true),
            (SESSION_BYTES_MAX, true),
            (SESSION_BYTES_MAX + 1, false),
        ] {
            assert_eq!(is_session(&"s".repeat(length)), taken, "{length} bytes");
        }
    }
}
