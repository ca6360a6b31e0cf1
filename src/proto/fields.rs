//! One JSON object to its fields, and a field to a value.
//!
//! The fields are first cut out as they stand, whatever their type, so that a wrong one can always be named; a value
//! is made of a field only when a command asks for it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{self, Fault};
use super::{Code, Position, name};
use crate::limits::{
    EPOCH_BYTES_MAX, HISTORY_COUNT_MAX, ID_BYTES_MAX, JSON_DEPTH_MAX, REASON_BYTES_MAX,
    SANCTION_SECONDS_MAX, SEQ_END, SESSION_BYTES_MAX, SESSION_BYTES_MIN,
};

macro_rules! keys {
    ($($key:ident $name:literal)+) => {
        /// A field that some command has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Key { $($key,)+ }

        impl Key {
            const COUNT: usize = [$($name),+].len();

            fn parse(name: &str) -> Option<Key> {
                match name {
                    $($name => Some(Key::$key),)+
                    _ => None,
                }
            }

            /// The field's name on the wire.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Key::$key => $name,)+ }
            }
        }
    };
}

keys! {
    Type "type"
    Id "id"
    RoomId "room_id"
    To "to"
    Content "content"
    Metadata "metadata"
    Since "since"
    Echo "echo"
    Before "before"
    After "after"
    Limit "limit"
    Timestamp "timestamp"
    User "user"
    Session "session"
    Token "token"
    InboxSince "inbox_since"
    Epoch "epoch"
    SeqId "seq_id"
    Seconds "seconds"
    Reason "reason"
}

/// Why an object was refused, without what the object was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: Code,
    /// What was wrong, where, and what to do, for a human.
    pub(super) message: Cow<'static, str>,
}

impl Problem {
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            code,
            message: message.into(),
        }
    }

    fn about(path: Path, code: Code, what: impl fmt::Display) -> Problem {
        Problem::new(code, format!("`{path}` {what}"))
    }

    fn syntax(error: &serde_json::Error) -> Problem {
        let message = format!(
            "not valid JSON: {error}, counted from the start of the object; \
             the rest of the frame was dropped, so correct it and send it again"
        );
        Problem::new(Code::BadJson, message)
    }
}

/// Where a field stands: on its own, or in the object that is the value of another.
#[derive(Clone, Copy)]
struct Path {
    parent: Option<Key>,
    key: Key,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{}.", parent.as_str())?;
        }
        f.write_str(self.key.as_str())
    }
}

/// The known fields of one object, as they stand in the text.
#[derive(Default)]
pub(super) struct Fields<'a> {
    /// The field whose value the object is.
    parent: Option<Key>,
    values: [Option<&'a str>; Key::COUNT],
    /// A field that stood twice.
    twice: Option<Key>,
}

impl<'a> Fields<'a> {
    /// Cuts the object at the start of `text` into its fields, and tells how many bytes it has. Of an object that is
    /// not JSON there are the fields up to that place.
    pub(super) fn parse(text: &'a str) -> (Fields<'a>, Result<usize, Problem>) {
        let mut fields = Fields::default();
        if !text.starts_with('{') {
            let message =
                "a frame holds JSON objects, each in braces; the rest of the frame was dropped";
            return (fields, Err(Problem::new(Code::BadJson, message)));
        }
        let bytes = fields.fill(text).map_err(|error| Problem::syntax(&error));
        (fields, bytes)
    }

    /// Refuses an object in which a field stood twice.
    pub(super) fn distinct(&self) -> Result<(), Problem> {
        match self.twice {
            Some(key) => Err(self.problem(key, Code::BadJson, "is there twice; send it once")),
            None => Ok(()),
        }
    }

    /// A field as it stands, if it is there. `null` is a value here.
    pub(super) fn given<T>(&self, key: Key, read: Read<'a, T>) -> Result<Option<T>, Problem> {
        self.field(key).map(|field| read(&field)).transpose()
    }

    /// A field that must be there.
    pub(super) fn required<T>(&self, key: Key, read: Read<'a, T>) -> Result<T, Problem> {
        match self.field(key) {
            Some(field) => read(&field),
            None => Err(self.problem(key, Code::BadField, "is missing")),
        }
    }

    /// A field that may be absent or `null`.
    pub(super) fn optional<T>(&self, key: Key, read: Read<'a, T>) -> Result<Option<T>, Problem> {
        self.field(key)
            .filter(|field| field.raw != "null")
            .map(|field| read(&field))
            .transpose()
    }

    /// Takes the object at the start of `text` in, and tells how many bytes it has.
    fn fill(&mut self, text: &'a str) -> Result<usize, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_map(&mut *self)?;
        // A stream of values is the one thing that tells how far a deserializer has come.
        Ok(json.into_iter::<IgnoredAny>().byte_offset())
    }

    fn field(&self, key: Key) -> Option<Field<'a>> {
        let raw = self.values[key as usize]?;
        Some(Field {
            path: self.path(key),
            raw,
        })
    }

    fn path(&self, key: Key) -> Path {
        Path {
            parent: self.parent,
            key,
        }
    }

    fn problem(&self, key: Key, code: Code, what: &str) -> Problem {
        Problem::about(self.path(key), code, what)
    }

    fn put(&mut self, key: Key, raw: &'a str) {
        if self.values[key as usize].replace(raw).is_some() {
            self.twice.get_or_insert(key);
        }
    }
}

impl<'de> Visitor<'de> for &mut Fields<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Known(key)) = map.next_key()? {
            match key {
                Some(key) => self.put(key, map.next_value::<&RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A field's name: one of ours, or any other.
struct Known(Option<Key>);

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Known, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Known;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Known, E> {
                Ok(Known(Key::parse(name)))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// Makes a value of a field.
pub(super) type Read<'a, T> = fn(&Field<'a>) -> Result<T, Problem>;

/// One field, grammatical JSON without white space around it.
pub(super) struct Field<'a> {
    path: Path,
    raw: &'a str,
}

impl<'a> Field<'a> {
    /// A string.
    pub(super) fn text(&self) -> Result<Cow<'a, str>, Problem> {
        let inside = self
            .raw
            .strip_prefix('"')
            .and_then(|raw| raw.strip_suffix('"'));
        match inside {
            Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
            Some(_) => self.unescape().map(Cow::Owned),
            None => Err(self.must("be a string")),
        }
    }

    /// A name of a room or of a user.
    pub(super) fn name(&self) -> Result<Cow<'a, str>, Problem> {
        let name = self.text()?;
        match name::check(&name) {
            Ok(()) => Ok(name),
            Err(fault) => Err(self.problem(Code::BadName, fault)),
        }
    }

    /// The `id` of a command.
    pub(super) fn id(&self) -> Result<Cow<'a, str>, Problem> {
        self.text_of(0, ID_BYTES_MAX)
    }

    /// The life of a log.
    fn epoch(&self) -> Result<Cow<'a, str>, Problem> {
        self.text_of(0, EPOCH_BYTES_MAX)
    }

    /// A session secret.
    pub(super) fn session(&self) -> Result<Cow<'a, str>, Problem> {
        self.text_of(SESSION_BYTES_MIN, SESSION_BYTES_MAX)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool, Problem> {
        self.raw.parse().map_err(|_| self.must("be true or false"))
    }

    /// The number of a message.
    pub(super) fn seq_id(&self) -> Result<u64, Problem> {
        match self.raw.parse() {
            Ok(seq_id) if seq_id < SEQ_END => Ok(seq_id),
            Ok(_) | Err(_) => {
                Err(self.must(format_args!("be an integer from 0 to {}", SEQ_END - 1)))
            }
        }
    }

    /// How long a mute or a ban lasts.
    pub(super) fn seconds(&self) -> Result<u64, Problem> {
        match self.raw.parse() {
            Ok(seconds) if (1..=SANCTION_SECONDS_MAX).contains(&seconds) => Ok(seconds),
            Ok(_) | Err(_) => Err(self.must(format_args!(
                "be an integer from 1 to {SANCTION_SECONDS_MAX}"
            ))),
        }
    }

    /// Why a moderator does something.
    pub(super) fn reason(&self) -> Result<Cow<'a, str>, Problem> {
        self.text_of(0, REASON_BYTES_MAX)
    }

    /// A time, in milliseconds since the Unix epoch.
    pub(super) fn timestamp(&self) -> Result<i64, Problem> {
        self.raw
            .parse()
            .map_err(|_| self.must("be an integer, in milliseconds since the Unix epoch"))
    }

    /// A count of messages, 1 or more; too high a one is [`HISTORY_COUNT_MAX`], however many digits it has.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let integer = self.raw.bytes().all(|byte| byte.is_ascii_digit());
        match self.raw.parse() {
            Ok(count) if count > 0 => Ok(HISTORY_COUNT_MAX.min(count)),
            Err(_) if integer => Ok(HISTORY_COUNT_MAX),
            Ok(_) | Err(_) => Err(self.must("be an integer of 1 or more")),
        }
    }

    /// A place in a log.
    pub(super) fn position(&self) -> Result<Position<'a>, Problem> {
        if !self.raw.starts_with('{') {
            return Err(self.must("be an object of `epoch` and `seq_id`"));
        }
        let mut fields = Fields {
            parent: Some(self.path.key),
            ..Fields::default()
        };
        fields.fill(self.raw).map_err(|_| self.lone_surrogate())?;
        fields.distinct()?;
        Ok(Position {
            epoch: fields.required(Key::Epoch, Field::epoch)?,
            seq_id: fields.required(Key::SeqId, Field::seq_id)?,
        })
    }

    /// Any JSON, as it came in.
    pub(super) fn json(&self) -> Result<&'a str, Problem> {
        json::check(self.raw)
            .map(|()| self.raw)
            .map_err(|fault| match fault {
                Fault::TooDeep => {
                    let what =
                        format_args!("is nested deeper than {JSON_DEPTH_MAX}; send it flatter");
                    self.problem(Code::BadJson, what)
                }
                Fault::LoneSurrogate(at) => {
                    let what = format_args!(
                        "has a lone surrogate escape in its string at byte {at}; send text"
                    );
                    self.problem(Code::BadJson, what)
                }
            })
    }

    fn text_of(&self, bytes_min: usize, bytes_max: usize) -> Result<Cow<'a, str>, Problem> {
        let text = self.text()?;
        if (bytes_min..=bytes_max).contains(&text.len()) {
            Ok(text)
        } else {
            Err(self.must(format_args!(
                "be a string of {bytes_min} to {bytes_max} bytes"
            )))
        }
    }

    /// The text of a string with escapes.
    fn unescape(&self) -> Result<String, Problem> {
        serde_json::from_str(self.raw).map_err(|_| self.lone_surrogate())
    }

    /// All that can be wrong with a string that keeps to the grammar.
    fn lone_surrogate(&self) -> Problem {
        self.problem(Code::BadJson, "has a lone surrogate escape; send text")
    }

    fn must(&self, what: impl fmt::Display) -> Problem {
        self.problem(Code::BadField, format_args!("must {what}"))
    }

    fn problem(&self, code: Code, what: impl fmt::Display) -> Problem {
        Problem::about(self.path, code, what)
    }
}
