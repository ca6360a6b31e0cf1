//! JSON text: what a value must keep to beyond the grammar.

use crate::limits::JSON_DEPTH_MAX;

/// White space between JSON values (RFC 8259, 2).
pub(super) const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What is wrong with a value that keeps to the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has an array or object more than [`JSON_DEPTH_MAX`] deep.
    TooDeep,
    /// The string at this byte has half of a UTF-16 surrogate pair, which no receiver could turn into text.
    LoneSurrogate(usize),
}

/// Whether a value that is known to be grammatical may be a `content`.
pub fn is_sound(value: &str) -> bool {
    check(value).is_ok()
}

/// Checks a value that is known to be grammatical for what RFC 8259 (9 and 8.2) leaves to the receiver.
///
/// One pass without recursion, whatever the nesting. A text that is not JSON gives some answer, without a panic.
pub(super) fn check(value: &str) -> Result<(), Fault> {
    let mut depth = 0;
    let mut rest = value;
    while let Some((between, string)) = rest.split_once('"') {
        depth = depth_after(between, depth).ok_or(Fault::TooDeep)?;
        let at = value.len() - string.len() - 1;
        rest = after_string(string).ok_or(Fault::LoneSurrogate(at))?;
    }
    depth_after(rest, depth).map(|_| ()).ok_or(Fault::TooDeep)
}

/// The depth after a text that holds no string; `None` when it is too deep on the way.
fn depth_after(text: &str, mut depth: usize) -> Option<usize> {
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' if depth == JSON_DEPTH_MAX => return None,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Some(depth)
}

/// What follows a string whose opening quote has been taken; `None` when it has a lone surrogate.
fn after_string(string: &str) -> Option<&str> {
    // Most strings have no escape, and looking for one byte is many times faster than looking for either of two.
    match string.split_once('"') {
        Some((text, rest)) if !text.contains('\\') => Some(rest),
        _ => after_escaped_string(string),
    }
}

/// [`after_string`] for one with escapes.
fn after_escaped_string(mut string: &str) -> Option<&str> {
    while let Some(at) = string.find(['"', '\\']) {
        let (_, found) = string.split_at(at);
        string = match found.strip_prefix('\\') {
            Some(escape) => after_escape(escape)?,
            None => return found.strip_prefix('"'),
        };
    }
    Some("")
}

/// What follows an escape whose backslash has been taken; `None` when it is a lone surrogate.
fn after_escape(escape: &str) -> Option<&str> {
    let Some(digits) = escape.strip_prefix('u') else {
        let mut rest = escape.chars();
        rest.next();
        return Some(rest.as_str());
    };
    match code_unit(digits) {
        Some((0xD800..=0xDBFF, rest)) => match code_unit(rest.strip_prefix("\\u")?) {
            Some((0xDC00..=0xDFFF, rest)) => Some(rest),
            Some(_) | None => None,
        },
        Some((0xDC00..=0xDFFF, _)) => None,
        Some((_, rest)) => Some(rest),
        None => Some(digits),
    }
}

/// Four hexadecimal digits, and what follows them.
fn code_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn depth_is_bounded() {
        let deepest = JSON_DEPTH_MAX;
        let objects = |depth: usize| r#"{"a":"#.repeat(depth) + "0" + &"}".repeat(depth);
        let wide = format!("[{}0]", "[[]],".repeat(10_000));
        let rows = [
            ("0".to_string(), Ok(())),
            (nested(deepest), Ok(())),
            (nested(deepest + 1), Err(Fault::TooDeep)),
            (objects(deepest), Ok(())),
            (objects(deepest + 1), Err(Fault::TooDeep)),
            (format!("[\"{}\"]", "[".repeat(deepest + 1)), Ok(())),
            (format!("[\"\\\"{}\"]", "{".repeat(deepest + 1)), Ok(())),
            (
                format!("[\"\\\\\",{}]", nested(deepest)),
                Err(Fault::TooDeep),
            ),
            (wide, Ok(())),
            ("[".repeat(64 * 1024), Err(Fault::TooDeep)),
        ];
        for (value, expected) in rows {
            assert_eq!(check(&value), expected, "{:.80}", value);
        }
    }

    #[test]
    fn surrogates_come_in_pairs() {
        let rows = [
            (r#""\ud83d\ude00""#, Ok(())),
            (r#""\uD83D\uDE00""#, Ok(())),
            (r#""\ud83d\ude00\ud83d\ude00""#, Ok(())),
            (r#""\\ud83d""#, Ok(())),
            (r#""\\\\ude00""#, Ok(())),
            (r#""\ud7ff\ue000\uffff\u0000""#, Ok(())),
            (r#""\"\\\/\b\f\n\r\t""#, Ok(())),
            ("\"\u{1f600}\"", Ok(())),
            (r#""\ud800""#, Err(Fault::LoneSurrogate(0))),
            (r#""\udbff\ue000""#, Err(Fault::LoneSurrogate(0))),
            (r#""\ud83dx\ude00""#, Err(Fault::LoneSurrogate(0))),
            (r#""\ud83d\n""#, Err(Fault::LoneSurrogate(0))),
            (r#""\ude00\ud83d""#, Err(Fault::LoneSurrogate(0))),
            (r#""\ud83d\ud83d\ude00""#, Err(Fault::LoneSurrogate(0))),
            (r#""\ud83d\ude00\ude00""#, Err(Fault::LoneSurrogate(0))),
            (
                r#"{"a":"\\","b":["\udfff"]}"#,
                Err(Fault::LoneSurrogate(15)),
            ),
            (r#"{"\udead":1}"#, Err(Fault::LoneSurrogate(1))),
        ];
        for (value, expected) in rows {
            assert_eq!(check(value), expected, "{value}");
        }
    }

    /// Every escaped code unit alone is refused exactly when it is a surrogate, as `serde_json` has it.
    #[test]
    fn every_code_unit() {
        for unit in 0..=u16::MAX {
            let value = format!("\"\\u{unit:04x}\"");
            let as_text = serde_json::from_str::<String>(&value);
            assert_eq!(check(&value).is_ok(), as_text.is_ok(), "{value}");
        }
    }

    #[test]
    fn no_text_panics() {
        let text = r#"{"a":["\ud83d\ude00",-1.5e3,"é\\",{}],"b":"\u00e9"}"#;
        for (at, _) in text.char_indices() {
            let (start, end) = text.split_at(at);
            let _ = (check(start), check(end));
            let _ = (after_string(start), after_string(end));
        }
    }
}
