//! Writing JSON objects.

use super::Target;

/// Writes one JSON object to the end of a buffer, field by field.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Object<'o> {
    /// Opens an event of this type.
    #[inline]
    pub(super) fn event(kind: &str, out: &'o mut Vec<u8>) -> Object<'o> {
        out.push(b'{');
        let mut object = Object { out };
        object.text("type", kind);
        object
    }

    /// A string, escaped as needed.
    #[inline]
    pub(super) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        write_string(value, self.out);
        self
    }

    /// A string, left out when there is none.
    #[inline]
    pub(super) fn text_if(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// `room_id` or `to`.
    #[inline]
    pub(super) fn target(&mut self, target: &Target<'_>) -> &mut Self {
        self.text(target.key(), target.name())
    }

    /// [`Object::target`], left out when there is none.
    pub(super) fn target_if(&mut self, target: Option<&Target<'_>>) -> &mut Self {
        match target {
            Some(target) => self.target(target),
            None => self,
        }
    }

    /// An integer.
    #[inline]
    pub(super) fn number(&mut self, key: &str, value: u64) -> &mut Self {
        self.key(key);
        write_number(value, self.out);
        self
    }

    /// An integer, left out when there is none.
    pub(super) fn number_if(&mut self, key: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(key, value),
            None => self,
        }
    }

    /// A number of things or bytes.
    pub(super) fn count(&mut self, key: &str, value: usize) -> &mut Self {
        self.number(key, value as u64)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// `true` or `false`, left out when there is none.
    pub(super) fn flag_if(&mut self, key: &str, value: Option<bool>) -> &mut Self {
        match value {
            Some(value) => self.flag(key, value),
            None => self,
        }
    }

    /// A value that is JSON text already.
    #[inline]
    pub(super) fn raw(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        self.out.extend_from_slice(value.as_bytes());
        self
    }

    /// [`Object::raw`], left out when there is none.
    #[inline]
    pub(super) fn raw_if(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.raw(key, value),
            None => self,
        }
    }

    /// An object, whose fields `fill` writes.
    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        self.key(key);
        self.out.push(b'{');
        fill(self);
        self.out.push(b'}');
        self
    }

    /// An array, each of whose items `write` appends.
    pub(super) fn array<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(T, &mut Vec<u8>),
    ) -> &mut Self {
        self.key(key);
        self.out.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            write(item, self.out);
        }
        self.out.push(b']');
        self
    }

    /// Closes the object.
    #[inline]
    pub(super) fn close(&mut self) {
        self.out.push(b'}');
    }

    /// A field's name. No value ends in an opening brace, so one at the end means that the object has no field yet.
    #[inline]
    fn key(&mut self, key: &str) {
        let before: &[u8] = if self.out.ends_with(b"{") {
            b"\""
        } else {
            b",\""
        };
        self.out.extend_from_slice(before);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// Writes a JSON string with its quotes.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
        let (plain, found) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match found.split_first() {
            Some((&byte, after)) => {
                write_escape(byte, out);
                after
            }
            None => found,
        };
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Whether a byte cannot stand in a JSON string as it is (RFC 8259, 7).
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
        }
    }
}

/// Writes an integer in decimal.
fn write_number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_read_back() {
        let every: String = ('\0'..='\u{2fff}').chain("😀\u{10ffff}".chars()).collect();
        for text in [
            "",
            "plain",
            "\"",
            "\\",
            "\u{1f}\u{7f}\u{2028}\u{2029}",
            "</script>",
            &every,
        ] {
            let mut out = Vec::new();
            write_string(text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn numbers_read_back() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        for number in powers
            .flat_map(|power| [power - 1, power, power + 1])
            .chain([u64::MAX])
        {
            let mut out = Vec::new();
            write_number(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
