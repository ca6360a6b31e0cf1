//! Comma-separated lists, and the two of them that an upgrade carries: subprotocols and extensions.
//!
//! Both are checked once, when the request is parsed, and read from the head again when they are needed. Reading
//! allocates nothing.

use std::borrow::Cow;

use super::field::Lines;

/// Splits one line's value into its elements. Empty ones are skipped (RFC 9110, 5.6.1.2).
pub(super) fn elements(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether these bytes are a token (RFC 9110, 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

fn token(bytes: &[u8]) -> Option<&str> {
    is_token(bytes)
        .then(|| str::from_utf8(bytes).ok())
        .flatten()
}

/// The subprotocols that a client offers, in its order of preference (RFC 6455, 11.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols<'a>(Lines<'a>);

impl<'a> Protocols<'a> {
    /// `None` where an element is not a token or lines have no element.
    pub(super) fn parse(lines: Lines<'a>) -> Option<Protocols<'a>> {
        let well_formed = |value| elements(value).count() > 0 && elements(value).all(is_token);
        lines.values().all(well_formed).then_some(Protocols(lines))
    }

    /// Whether this one, which is compared with regard to case, is among them.
    pub fn contains(&self, protocol: &str) -> bool {
        self.iter().any(|offered| offered == protocol)
    }

    /// Their names.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.values().flat_map(elements).filter_map(token)
    }
}

/// The extensions that a client offers, in its order of preference (RFC 6455, 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a>(Lines<'a>);

impl<'a> Extensions<'a> {
    /// `None` where the grammar is broken.
    pub(super) fn parse(lines: Lines<'a>) -> Option<Extensions<'a>> {
        let well_formed = |value| {
            elements(value).count() > 0
                && elements(value).all(|element| Extension::parse(element).is_some())
        };
        lines.values().all(well_formed).then_some(Extensions(lines))
    }

    /// The offers. The same name may come several times with different parameters.
    pub fn iter(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        self.0
            .values()
            .flat_map(elements)
            .filter_map(Extension::parse)
    }
}

/// One offer of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name, as written.
    pub name: &'a str,
    parameters: Option<&'a [u8]>,
}

/// One parameter of an extension: its name and, if there is `=`, its value without quotes.
pub type Parameter<'a> = (&'a str, Option<Cow<'a, str>>);

impl<'a> Extension<'a> {
    fn parse(element: &'a [u8]) -> Option<Extension<'a>> {
        let (name, parameters) = split_once(element, b';');
        let extension = Extension {
            name: token(name)?,
            parameters,
        };
        extension
            .parsed()
            .all(|parameter| parameter.is_some())
            .then_some(extension)
    }

    /// Its parameters, in order, repeated ones included.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'a>> + use<'a> {
        self.parsed().flatten()
    }

    /// Each parameter; `None` for one against the grammar.
    fn parsed(&self) -> impl Iterator<Item = Option<Parameter<'a>>> + use<'a> {
        let pieces = self
            .parameters
            .map(|bytes| bytes.split(|byte| *byte == b';'));
        pieces.into_iter().flatten().map(parameter)
    }
}

fn parameter(piece: &[u8]) -> Option<Parameter<'_>> {
    match split_once(piece, b'=') {
        (name, None) => Some((token(name)?, None)),
        (name, Some(value)) => Some((token(name)?, Some(unquote(value.trim_ascii())?))),
    }
}

/// A token, or a quoted string whose content is one.
///
/// Lists are split before quotes are looked at: what stands in the quotes is a token, which has neither `,` nor `;`.
fn unquote(value: &[u8]) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix(b"\"") else {
        return token(value).map(Cow::Borrowed);
    };
    let content = quoted.strip_suffix(b"\"")?;
    if !content.contains(&b'\\') {
        return token(content).map(Cow::Borrowed);
    }
    unescape(content).map(Cow::Owned)
}

/// Takes the backslashes of quoted pairs away (RFC 9110, 5.6.4).
fn unescape(content: &[u8]) -> Option<String> {
    let mut plain = Vec::with_capacity(content.len());
    let mut bytes = content.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next()? } else { byte });
    }
    token(&plain).map(str::to_owned)
}

/// The trimmed part before the first separator, and all that follows it.
fn split_once(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |byte| *byte == separator);
    (parts.next().unwrap_or_default().trim_ascii(), parts.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::field::{EMPTY, Fields};

    fn with_section<T>(section: &str, look: impl FnOnce(Lines<'_>) -> T) -> T {
        let mut storage = EMPTY;
        let section = format!("{section}\r\n\r\n");
        look(
            Fields::parse(section.as_bytes(), &mut storage)
                .unwrap()
                .lines("x"),
        )
    }

    fn protocols(section: &str) -> Option<Vec<String>> {
        with_section(section, |lines| {
            Protocols::parse(lines).map(|protocols| protocols.iter().map(str::to_owned).collect())
        })
    }

    /// Extensions in one canonical line.
    fn extensions(section: &str) -> Option<String> {
        let show = |(name, value): Parameter<'_>| match value {
            None => format!(";{name}"),
            Some(value) => format!(";{name}={value}"),
        };
        let show = |extension: Extension<'_>| {
            extension.name.to_owned() + &extension.parameters().map(show).collect::<String>()
        };
        with_section(section, |lines| {
            Extensions::parse(lines).map(|all| all.iter().map(show).collect::<Vec<_>>().join(","))
        })
    }

    #[test]
    fn subprotocols_are_tokens() {
        for (section, expected) in [
            ("Y: z", Some(&[][..])),
            ("X: a", Some(&["a"])),
            ("X: a, b,,c\r\nY: n\r\nx:d", Some(&["a", "b", "c", "d"])),
            ("X:", None),
            ("X: ,", None),
            ("X: a b", None),
            ("X: a, b/2", None),
            ("X: a\r\nX: \"b\"", None),
            ("X: \u{e4}", None),
        ] {
            let expected =
                expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(protocols(section), expected, "{section:?}");
        }
    }

    #[test]
    fn extensions_follow_their_grammar() {
        for (section, expected) in [
            ("Y: z", Some("")),
            ("X: permessage-deflate", Some("permessage-deflate")),
            ("X: a; b; c=10 , d;e=\"f\"", Some("a;b;c=10,d;e=f")),
            ("X: a\r\nX: a;b=1,a", Some("a,a;b=1,a")),
            ("X: a;b=\"1\\2\"", Some("a;b=12")),
            ("X: a;b=1;b=2", Some("a;b=1;b=2")),
            ("X: a ;\tb = 1", Some("a;b=1")),
            ("X: a,,b,", Some("a,b")),
            ("X:", None),
            ("X: ,", None),
            ("X: ;", None),
            ("X: ;a", None),
            ("X: a;", None),
            ("X: a;;b", None),
            ("X: a b", None),
            ("X: a;b=", None),
            ("X: a;=1", None),
            ("X: a;b=1 2", None),
            ("X: a;b=1=2", None),
            ("X: a;b=\"", None),
            ("X: a;b=\"\"", None),
            ("X: a;b=\"1", None),
            ("X: a;b=1\"", None),
            ("X: a;b=\"1,2\"", None),
            ("X: a;b=\"1\\\"", None),
            ("X: a;b=\"1\\;\"", None),
            ("X: a=1", None),
            ("X: \u{e4}", None),
            ("X: a\r\nX: b;", None),
        ] {
            assert_eq!(extensions(section).as_deref(), expected, "{section:?}");
        }
    }
}
