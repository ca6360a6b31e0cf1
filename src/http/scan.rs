//! Finds the end of a request head that comes in pieces, and refuses early what can be refused early.
//!
//! Each byte is looked at once, however the head is cut. Everything refused here depends on the bytes up to the
//! refused one alone, so the answer does not depend on the cuts either.

use super::refusal::Refusal;
use super::request::RequestLine;
use crate::limits::{HEAD_BYTES_MAX, HEADER_COUNT_MAX, REQUEST_LINE_BYTES_MAX};

/// How far the head of one request was looked at. A new request starts with `Scan::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The byte to look at next.
    at: u16,
    /// Where the line of that byte starts.
    line_start: u16,
    /// Where the field section starts; 0 while the request line is incomplete.
    fields_start: u16,
    /// Field lines that are complete.
    field_count: u8,
    /// Whether the byte before `at` is CR.
    after_cr: bool,
}

/// A complete head, by its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// The request line without its CRLF.
    pub(super) request_line: &'a [u8],
    /// The field lines with their CRLFs and the empty line.
    pub(super) fields: &'a [u8],
    /// Bytes from the start of the input to the end of the head.
    pub(super) bytes: usize,
}

/// The first byte of a TLS connection (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What one byte led to.
enum Step<'a> {
    More,
    End(Head<'a>),
}

impl Scan {
    /// Looks on from where the last call stopped. `bytes` starts at the request and only ever grows between calls;
    /// `None` means that its head is not complete.
    pub(super) fn find<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Head<'a>>, Refusal> {
        while let Some(&byte) = bytes.get(usize::from(self.at)) {
            // The scan moves only past bytes that neither end nor refuse the head: asked again, it says the same.
            match self.step(byte, bytes)? {
                Step::More => self.at += 1,
                Step::End(head) => return Ok(Some(head)),
            }
        }
        Ok(None)
    }

    fn step<'a>(&mut self, byte: u8, bytes: &'a [u8]) -> Result<Step<'a>, Refusal> {
        if usize::from(self.at) >= HEAD_BYTES_MAX {
            return Err(Refusal::HEAD);
        }
        match byte {
            b'\n' if self.after_cr => return self.end_line(bytes),
            b'\n' => return Err(Refusal::BARE_LF),
            _ if self.after_cr => return Err(Refusal::BARE_CR),
            b'\r' => self.after_cr = true,
            _ => self.check(byte)?,
        }
        Ok(Step::More)
    }

    /// A byte inside of a line: VCHAR and SP in the request line, HTAB and obs-text as well in fields.
    fn check(&self, byte: u8) -> Result<(), Refusal> {
        let in_request_line = self.fields_start == 0;
        if in_request_line && usize::from(self.at - self.line_start) >= REQUEST_LINE_BYTES_MAX {
            return Err(Refusal::LINE);
        }
        match byte {
            b' '..=b'~' => Ok(()),
            TLS_HANDSHAKE if self.at == 0 => Err(Refusal::TLS),
            _ if in_request_line => Err(Refusal::REQUEST_LINE),
            b'\t' | 0x80..=0xff => Ok(()),
            _ => Err(Refusal::CONTROL),
        }
    }

    /// The LF at `at` ends a line.
    fn end_line<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, Refusal> {
        let line = slice(bytes, self.line_start, self.at - 1);
        let next = self.at + 1;
        match (self.fields_start, line.is_empty()) {
            // One empty line before a request is forgiven (RFC 9112, 2.2).
            (0, true) if self.line_start == 0 => {}
            (0, _) => {
                RequestLine::parse(line)?;
                self.fields_start = next;
            }
            (_, true) => return Ok(Step::End(self.head(bytes))),
            (_, false) => self.count_field()?,
        }
        self.line_start = next;
        self.after_cr = false;
        Ok(Step::More)
    }

    fn count_field(&mut self) -> Result<(), Refusal> {
        if usize::from(self.field_count) >= HEADER_COUNT_MAX {
            return Err(Refusal::FIELD_COUNT);
        }
        self.field_count += 1;
        Ok(())
    }

    fn head<'a>(&self, bytes: &'a [u8]) -> Head<'a> {
        let before_fields = slice(bytes, 0, self.fields_start - 2);
        Head {
            request_line: before_fields.strip_prefix(b"\r\n").unwrap_or(before_fields),
            fields: slice(bytes, self.fields_start, self.at + 1),
            bytes: usize::from(self.at) + 1,
        }
    }
}

fn slice(bytes: &[u8], from: u16, to: u16) -> &[u8] {
    bytes
        .get(usize::from(from)..usize::from(to))
        .unwrap_or_default()
}

const _: () = {
    assert!(HEAD_BYTES_MAX < u16::MAX as usize);
    assert!(HEADER_COUNT_MAX <= u8::MAX as usize);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanned_bytes_are_not_looked_at_again() {
        let mut scan = Scan::default();
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: y".to_vec();
        assert_eq!(scan.find(&bytes), Ok(None));
        assert_eq!(usize::from(scan.at), bytes.len());

        // NUL in the part that was seen goes unnoticed, NUL behind it does not.
        bytes.fill(0);
        assert_eq!(scan.find(&bytes), Ok(None));
        bytes.push(0);
        assert_eq!(scan.find(&bytes), Err(Refusal::CONTROL));
    }

    #[test]
    fn an_answer_is_given_again() {
        for (bytes, found) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"[..], true),
            (b"GET / HTTP/1.1\r\nHost: a\n", false),
            (b"GET /\r\n", false),
        ] {
            let mut scan = Scan::default();
            let first = scan.find(bytes);
            assert_eq!(matches!(first, Ok(Some(_))), found);
            assert_eq!(scan.find(bytes), first);
        }
    }

    #[test]
    fn a_head_is_cut_into_its_parts() {
        for prefix in ["", "\r\n"] {
            let bytes = format!("{prefix}GET / HTTP/1.1\r\nA: b\r\nC:\r\n\r\nrest");
            let head = Scan::default().find(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!(head.request_line, b"GET / HTTP/1.1");
            assert_eq!(head.fields, b"A: b\r\nC:\r\n\r\n");
            assert_eq!(head.bytes, bytes.len() - "rest".len());
        }
    }

    #[test]
    fn it_is_as_small_as_a_word() {
        assert!(size_of::<Scan>() <= 8);
    }
}
