//! UTF-8 that arrives in parts (RFC 6455, 8.1).

use std::{fmt, str};

/// What `simdutf8` checks at a time.
const BLOCK_BYTES: usize = 64;

/// The state between two parts of a text: the bytes of a character that the cut went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    cut: [u8; 3],
    cut_bytes: u8,
}

/// A byte came that no continuation can make valid, or the text ended inside a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl Utf8 {
    /// Appends the characters of the next part to `text`, except one that is cut at its end.
    ///
    /// # Errors
    /// [`InvalidUtf8`] as soon as the bytes so far can't be the start of any valid text. `text` is then of no use.
    pub fn push(&mut self, mut part: &[u8], text: &mut String) -> Result<(), InvalidUtf8> {
        while self.cut_bytes > 0 {
            let Some((&byte, rest)) = part.split_first() else {
                return Ok(());
            };
            self.push_byte(byte, text)?;
            part = rest;
        }
        let (whole, cut) = part.split_at(part.len() - cut_bytes(part));
        text.push_str(validate(whole)?);
        cut.iter().try_for_each(|&byte| self.push_byte(byte, text))
    }

    /// Tells that the text ends here.
    ///
    /// # Errors
    /// [`InvalidUtf8`] where it ends inside a character.
    pub fn finish(self) -> Result<(), InvalidUtf8> {
        if self.cut_bytes == 0 {
            Ok(())
        } else {
            Err(InvalidUtf8)
        }
    }

    /// Bytes that were pushed and are not yet in the text: at most 3.
    pub fn cut_bytes(self) -> usize {
        usize::from(self.cut_bytes)
    }

    fn push_byte(&mut self, byte: u8, text: &mut String) -> Result<(), InvalidUtf8> {
        let [a, b, c] = self.cut;
        let bytes = match self.cut_bytes {
            0 => [byte, 0, 0, 0],
            1 => [a, byte, 0, 0],
            2 => [a, b, byte, 0],
            _ => [a, b, c, byte],
        };
        let (character, _) = bytes.split_at(usize::from(self.cut_bytes) + 1);
        match str::from_utf8(character) {
            Ok(character) => {
                text.push_str(character);
                *self = Utf8::default();
            }
            Err(error) if error.error_len().is_none() => {
                let [a, b, c, _] = bytes;
                self.cut = [a, b, c];
                self.cut_bytes += 1;
            }
            Err(_) => return Err(InvalidUtf8),
        }
        Ok(())
    }
}

/// Checks a whole text.
///
/// # Errors
/// [`InvalidUtf8`] where it is not UTF-8, also where it ends inside a character.
#[inline]
pub fn validate(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
}

/// Checks a whole text that looks like ASCII, or not. It is checked either way: what it looks like only decides what is
/// faster.
///
/// # Errors
/// [`InvalidUtf8`], as [`validate`].
#[inline]
pub fn validate_as_it_looks(bytes: &[u8], is_ascii: bool) -> Result<&str, InvalidUtf8> {
    // Vector code takes blocks, and the rest of a short text costs it more than the whole costs word by word.
    if is_ascii && !bytes.len().is_multiple_of(BLOCK_BYTES) {
        str::from_utf8(bytes).map_err(|_| InvalidUtf8)
    } else {
        validate(bytes)
    }
}

/// How many bytes at the end look like the start of a longer character; whether they are one is not checked.
fn cut_bytes(bytes: &[u8]) -> usize {
    for (count, &byte) in (1..=3).zip(bytes.iter().rev()) {
        match byte {
            0x80..=0xbf => {}
            0x00..=0x7f | 0xc0..=0xff => return if width(byte) > count { count } else { 0 },
        }
    }
    0
}

/// Bytes of the character that starts with `lead`; 0 where none does.
fn width(lead: u8) -> usize {
    match lead {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        0x80..=0xc1 | 0xf5..=0xff => 0,
    }
}

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid UTF-8")
    }
}

impl std::error::Error for InvalidUtf8 {}

const _: () = assert!(size_of::<Utf8>() <= 4);

#[cfg(test)]
mod tests {
    use super::*;

    /// Edges of each row of the table in the Unicode standard (3.9, well-formed byte sequences), and neighbours.
    const HARD_CASES: &[&[u8]] = &[
        b"",
        b"plain",
        b"\x00\x7f",
        "κόσμε".as_bytes(),
        "\u{80}\u{7ff}\u{800}\u{fff}\u{1000}\u{cfff}\u{d000}\u{d7ff}".as_bytes(),
        "\u{e000}\u{ffff}\u{10000}\u{3ffff}\u{40000}\u{fffff}\u{100000}\u{10ffff}".as_bytes(),
        "a\u{301}👩‍👩‍👧 🇪🇺 and a long tail of ASCII, so that the vector code has a whole block to work on".as_bytes(),
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xc2",
        b"\xc2\x7f",
        b"\xc2\xc0",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xe0\xa0",
        b"\xe1\x80",
        b"\xe1\x80\x7f",
        b"\xed\x9f\xbf\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xef\xbf\xbe\xef\xbf\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf0\x90\x80",
        b"\xf1\x80\x80\xc0",
        b"\xf4\x8f\xbf\xbf\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xff\xfe",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\x80\x80\x80\x80",
        b"ok\xf0\x9f\x98",
    ];

    /// What std says: the text, or where the first byte stands that makes it invalid; a cut end is valid so far.
    fn reference(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
        match str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(error) if error.error_len().is_none() => {
                Ok(str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid up to here"))
            }
            Err(_) => Err(InvalidUtf8),
        }
    }

    fn push_all(parts: &[&[u8]]) -> Result<(String, Utf8), InvalidUtf8> {
        let (mut utf8, mut text) = (Utf8::default(), String::new());
        for part in parts {
            utf8.push(part, &mut text)?;
        }
        Ok((text, utf8))
    }

    fn check(bytes: &[u8], parts: &[&[u8]]) {
        let pushed = push_all(parts);
        match (reference(bytes), &pushed) {
            (Ok(text), Ok((pushed, utf8))) => {
                assert_eq!(text, pushed, "{parts:x?}");
                assert_eq!(
                    utf8.finish().is_ok(),
                    str::from_utf8(bytes).is_ok(),
                    "{parts:x?}"
                );
                assert_eq!(text.len() + utf8.cut_bytes(), bytes.len(), "{parts:x?}");
            }
            (expected, pushed) => assert_eq!(expected.is_ok(), pushed.is_ok(), "{parts:x?}"),
        }
    }

    #[test]
    fn each_prefix_of_each_hard_case_at_each_two_cuts_equals_std() {
        for case in HARD_CASES {
            for end in 0..=case.len() {
                let bytes = &case[..end];
                for second in 0..=end {
                    for first in 0..=second {
                        check(
                            bytes,
                            &[&bytes[..first], &bytes[first..second], &bytes[second..]],
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn looks_do_not_change_the_verdict() {
        for case in HARD_CASES {
            for padding in [0, 60, 100] {
                let bytes = [&vec![b'a'; padding], *case].concat();
                let expected = str::from_utf8(&bytes).map_err(|_| InvalidUtf8);
                for is_ascii in [false, true] {
                    assert_eq!(
                        validate_as_it_looks(&bytes, is_ascii),
                        expected,
                        "{bytes:x?}"
                    );
                }
            }
        }
    }

    #[test]
    fn byte_by_byte_the_first_bad_byte_fails() {
        for case in HARD_CASES {
            let (mut utf8, mut text) = (Utf8::default(), String::new());
            for (index, byte) in case.iter().enumerate() {
                let pushed = utf8.push(&[*byte], &mut text);
                assert_eq!(
                    pushed.is_ok(),
                    reference(&case[..=index]).is_ok(),
                    "{case:x?} at {index}"
                );
                if pushed.is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn all_sequences_of_two_bytes_and_all_leads_of_three_equal_std() {
        for word in 0..=u16::MAX {
            let [a, b] = word.to_be_bytes();
            check(&[a, b], &[&[a, b]]);
            check(&[a, b], &[&[a], &[b]]);
            for c in [0x7f, 0x80, 0xbf, 0xc2] {
                check(&[a, b, c], &[&[a, b, c]]);
                check(&[a, b, c], &[&[a], &[b, c]]);
            }
        }
    }
}
