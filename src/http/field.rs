//! Looking up fields of a request by name. Names are compared without regard to case (RFC 9110, 5.1).

use std::fmt;

use httparse::Header;

use super::forwarded::Forwarded;
use super::list;
use super::refusal::Refusal;
use crate::limits::HEADER_COUNT_MAX;

/// Room for the fields of one request.
pub(super) type Storage<'a> = [Header<'a>; HEADER_COUNT_MAX];

/// A [`Storage`] without fields.
pub(super) const EMPTY: Storage<'static> = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];

/// The checked fields of one request.
#[derive(Clone, Copy)]
pub(super) struct Fields<'s, 'a> {
    headers: &'s [Header<'a>],
    /// The bytes that `headers` came from.
    section: &'a [u8],
}

impl<'s, 'a> Fields<'s, 'a> {
    /// Parses a field section that ends in its empty line.
    pub(super) fn parse(section: &'a [u8], storage: &'s mut Storage<'a>) -> Result<Self, Refusal> {
        match httparse::parse_headers(section, storage) {
            Ok(httparse::Status::Complete((_, headers))) => Ok(Fields { headers, section }),
            Ok(httparse::Status::Partial) => Err(Refusal::FIELD),
            Err(httparse::Error::TooManyHeaders) => Err(Refusal::FIELD_COUNT),
            Err(_) => Err(Refusal::FIELD),
        }
    }

    /// The values of all lines of this name, in order.
    pub(super) fn values(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'s, 'a> {
        let named = self
            .headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value)
    }

    /// Whether there is a line of this name.
    pub(super) fn has(self, name: &'static str) -> bool {
        self.values(name).next().is_some()
    }

    /// The value of a field that may come once, as text; otherwise `refusal`.
    pub(super) fn single(
        self,
        name: &'static str,
        refusal: Refusal,
    ) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => str::from_utf8(value).map(Some).map_err(|_| refusal),
            (Some(_), Some(_)) => Err(refusal),
        }
    }

    /// The elements of a comma-separated list over all lines of this name.
    pub(super) fn elements(
        self,
        name: &'static str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'s, 'a> {
        self.values(name).flat_map(list::elements)
    }

    /// Whether a list has this element, without regard to case.
    pub(super) fn lists(self, name: &'static str, element: &str) -> bool {
        self.elements(name)
            .any(|other| other.eq_ignore_ascii_case(element.as_bytes()))
    }

    /// What proxies in front wrote, to be read after the request was parsed.
    pub(super) fn forwarded(self) -> Forwarded<'a> {
        Forwarded::new(self.section)
    }

    /// All lines of this name, to be read after the request was parsed.
    pub(super) fn lines(self, name: &'static str) -> Lines<'a> {
        Lines::new(self.section, name)
    }
}

/// The lines of one name in a checked field section. Borrows nothing but the head and holds no list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines<'a> {
    section: &'a [u8],
    name: &'static str,
}

impl<'a> Lines<'a> {
    /// The lines of this name in a section that [`Fields::parse`] took.
    pub(super) fn new(section: &'a [u8], name: &'static str) -> Lines<'a> {
        Lines { section, name }
    }

    /// The values, in order.
    pub(super) fn values(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
        let lines = self.section.split(|byte| *byte == b'\n');
        lines.filter_map(move |line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = value.strip_prefix(b":")?;
            name.eq_ignore_ascii_case(self.name.as_bytes())
                .then(|| value.trim_ascii())
        })
    }
}

/// The head is left out: it may have a token in it.
impl fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lines").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &[u8] = b"A: 1\r\nB:\r\na:\t2 , 3,,\t\r\nC: \xff\r\n\r\n";

    #[test]
    fn fields_are_found_by_name() {
        let mut storage = EMPTY;
        let fields = Fields::parse(SECTION, &mut storage).unwrap();
        assert_eq!(
            fields.values("a").collect::<Vec<_>>(),
            [&b"1"[..], b"2 , 3,,"]
        );
        assert_eq!(fields.elements("A").collect::<Vec<_>>(), [b"1", b"2", b"3"]);
        assert!(fields.lists("a", "3") && !fields.lists("a", "") && !fields.lists("x", "3"));
        assert_eq!(fields.single("b", Refusal::FIELD), Ok(Some("")));
        assert_eq!(fields.single("x", Refusal::FIELD), Ok(None));
        assert_eq!(fields.single("a", Refusal::HOST), Err(Refusal::HOST));
        assert_eq!(fields.single("c", Refusal::HOST), Err(Refusal::HOST));
    }

    #[test]
    fn lines_see_what_fields_see() {
        let mut storage = EMPTY;
        let fields = Fields::parse(SECTION, &mut storage).unwrap();
        for name in ["a", "b", "c", "x"] {
            let seen: Vec<_> = fields.values(name).collect();
            assert_eq!(fields.lines(name).values().collect::<Vec<_>>(), seen);
        }
    }
}
