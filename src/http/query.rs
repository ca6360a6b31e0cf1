//! The parameters of `/ws`.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::refusal::Refusal;
use crate::limits::{NAME_BYTES_MAX, SEQ_END, SESSION_BYTES_MAX};

/// What a client says about itself in the URL instead of in a `hello`. Unknown parameters are ignored.
///
/// Lengths are checked here; what a name or a secret has to look like besides is for the caller to know.
#[derive(Clone, PartialEq, Eq)]
pub struct WsQuery<'a> {
    /// The user name asked for.
    pub user: Option<Cow<'a, str>>,
    /// The room to join at once.
    pub room: Option<Cow<'a, str>>,
    /// The secret that owns the name.
    pub session: Option<Cow<'a, str>>,
    /// The last `seq_id` that the client has of its inbox, below [`SEQ_END`].
    pub inbox_since: Option<u64>,
    /// Whether identity comes by a `hello` message.
    pub hello: bool,
}

/// Why the parameters cannot be used. The name of the one at fault is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// It is there twice.
    Repeated(&'static str),
    /// It is longer than its bound.
    TooLong(&'static str),
    /// It is not a decimal integer below [`SEQ_END`].
    NotASeqId(&'static str),
    /// Some escapes do not decode to UTF-8.
    NotUtf8,
}

impl<'a> WsQuery<'a> {
    /// Reads a raw query. Without any parameter every field is `None` or false.
    pub fn parse(query: &'a str) -> Result<WsQuery<'a>, QueryError> {
        // Separators are ASCII, so the parts are UTF-8 exactly when the whole is.
        percent_decode_str(query)
            .decode_utf8()
            .map_err(|_| QueryError::NotUtf8)?;
        let (mut user, mut room, mut session, mut inbox_since, mut hello) =
            (None, None, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "user" => set(&mut user, "user", bounded("user", value, NAME_BYTES_MAX)?)?,
                "room" => set(&mut room, "room", bounded("room", value, NAME_BYTES_MAX)?)?,
                "session" => {
                    set(
                        &mut session,
                        "session",
                        bounded("session", value, SESSION_BYTES_MAX)?,
                    )?;
                }
                "inbox_since" => set(&mut inbox_since, "inbox_since", seq_id(&value)?)?,
                "hello" => set(&mut hello, "hello", ())?,
                _ => {}
            }
        }
        Ok(WsQuery {
            user,
            room,
            session,
            inbox_since,
            hello: hello.is_some(),
        })
    }
}

impl QueryError {
    /// What the client is told: 400.
    pub fn refusal(self) -> Refusal {
        match self {
            QueryError::Repeated(_) => Refusal::QUERY_REPEATED,
            QueryError::TooLong(_) => Refusal::QUERY_TOO_LONG,
            QueryError::NotASeqId(_) => Refusal::QUERY_SEQ_ID,
            QueryError::NotUtf8 => Refusal::QUERY_UTF8,
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Repeated(name) => write!(f, "`{name}` is in the query twice"),
            QueryError::TooLong(name) => write!(f, "`{name}` is too long"),
            QueryError::NotASeqId(name) => write!(f, "`{name}` is not a sequence number"),
            QueryError::NotUtf8 => write!(f, "the query is not UTF-8"),
        }
    }
}

impl std::error::Error for QueryError {}

fn set<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), QueryError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(QueryError::Repeated(name)),
    }
}

fn bounded<'a>(
    name: &'static str,
    value: Cow<'a, str>,
    bytes_max: usize,
) -> Result<Cow<'a, str>, QueryError> {
    if value.len() > bytes_max {
        Err(QueryError::TooLong(name))
    } else {
        Ok(value)
    }
}

fn seq_id(value: &str) -> Result<u64, QueryError> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let seq_id = value
        .parse()
        .ok()
        .filter(|seq_id| is_plain && *seq_id < SEQ_END);
    seq_id.ok_or(QueryError::NotASeqId("inbox_since"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All fields in one line, or the error.
    fn read(query: &str) -> String {
        let text = |value: &Option<Cow<'_, str>>| format!("{:?}", value.as_deref());
        match WsQuery::parse(query) {
            Ok(WsQuery {
                user,
                room,
                session,
                inbox_since,
                hello,
            }) => format!(
                "{} {} {} {inbox_since:?} {hello}",
                text(&user),
                text(&room),
                text(&session)
            ),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn parameters_are_read_by_name() {
        for (query, expected) in [
            ("", "None None None None false"),
            ("a=b&&c", "None None None None false"),
            (
                "user=ann&room=tea&session=s3&inbox_since=7",
                r#"Some("ann") Some("tea") Some("s3") Some(7) false"#,
            ),
            (
                "user=%C3%A4+b%2Bc%26",
                r#"Some("ä b+c&") None None None false"#,
            ),
            ("user=&room", r#"Some("") Some("") None None false"#),
            ("user=50%", r#"Some("50%") None None None false"#),
            ("hello", "None None None None true"),
            ("hello=0", "None None None None true"),
            ("User=ann", "None None None None false"),
            ("inbox_since=0", "None None None Some(0) false"),
            (
                "inbox_since=9007199254740991",
                "None None None Some(9007199254740991) false",
            ),
            (
                "inbox_since=9007199254740992",
                r#"NotASeqId("inbox_since")"#,
            ),
            (
                "inbox_since=99999999999999999999",
                r#"NotASeqId("inbox_since")"#,
            ),
            ("inbox_since=", r#"NotASeqId("inbox_since")"#),
            ("inbox_since=%2B1", r#"NotASeqId("inbox_since")"#),
            ("inbox_since=-1", r#"NotASeqId("inbox_since")"#),
            ("inbox_since=1.0", r#"NotASeqId("inbox_since")"#),
            ("user=a&user=a", r#"Repeated("user")"#),
            ("hello&hello", r#"Repeated("hello")"#),
            ("user=%ff", "NotUtf8"),
            ("x=%c3&y=%a4", "NotUtf8"),
        ] {
            assert_eq!(read(query), expected, "{query}");
        }
    }

    #[test]
    fn lengths_are_bounded_after_decoding() {
        for (name, bytes_max) in [
            ("user", NAME_BYTES_MAX),
            ("room", NAME_BYTES_MAX),
            ("session", SESSION_BYTES_MAX),
        ] {
            let query = |count: usize| format!("{name}={}", "%61".repeat(count));
            assert!(WsQuery::parse(&query(bytes_max)).is_ok());
            assert!(WsQuery::parse(&query(bytes_max + 1)) == Err(QueryError::TooLong(name)));
        }
    }
}
