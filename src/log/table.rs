//! What a table is: where the service keeps entries, and what else survives the process.

use super::{Draft, Head, Note};
use crate::room::Key;
use std::fmt;

/// Where a message was first kept: `seq_id` and time.
pub type First = (u64, u64);

/// What a table knows of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where it stands.
    pub head: Head,
    /// The last `seq_id` that is not kept any more; entries behind it are.
    pub trimmed: u64,
    /// Of an inbox: the last `seq_id` that its user has surely had.
    pub confirmed: u64,
    /// About how many bytes lie behind `confirmed`; where an inbox is full with that, no more are counted. Only an opening
    /// counts them.
    pub waiting_bytes: u64,
    /// When the last entry was numbered, in milliseconds since the Unix epoch; 0 if none was.
    pub unix_ms: u64,
}

impl Opened {
    /// A log of which nothing is kept.
    pub fn nothing(head: Head) -> Opened {
        Opened {
            head,
            trimmed: head.seq,
            confirmed: head.seq,
            waiting_bytes: 0,
            unix_ms: 0,
        }
    }
}

/// What an entry means for the sender's own copy of a private message. A copy is owed in the transaction that keeps
/// the message, and settled in the one that keeps the copy: neither side is ever there alone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// Nothing.
    None,
    /// A copy under this key is still to be kept.
    Owed(u128),
    /// This is the copy.
    Settles(u128),
}

/// One entry as a table keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number in the log.
    pub seq: u64,
    /// When it was numbered, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Key under which a repetition is met, if the sender gave an `id`.
    pub dedupe: Option<u128>,
    /// The connection that sent it, as [`Append::client`](super::Append::client).
    pub client: u64,
    /// See [`Copy`](enum@Copy).
    pub copy: Copy,
    /// What was sent.
    pub draft: Draft<'a>,
}

/// A copy that is still to be kept, with the message that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// See [`Copy::Owed`].
    pub dedupe: u128,
    /// The log of the message.
    pub key: Key,
    /// Its number there.
    pub seq: u64,
}

/// Why a table could not do what was asked, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError(pub String);

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TableError {}

/// A stretch of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Only entries behind this.
    pub after: u64,
    /// Only entries up to this.
    pub until: u64,
    /// Whether the newest come first.
    pub newest_first: bool,
}

/// Something that entries can be read from.
pub trait Reader {
    /// Calls `each` with the entries of a log, in the order of the span, until it returns false. Gives what is known
    /// of the log at the moment of the reading; `None` where the log is not known.
    ///
    /// # Errors
    ///
    /// The disk failed.
    fn read(
        &mut self,
        key: &Key,
        span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError>;
}

/// Where entries are kept. Everything from `append` to `settle` is part of a transaction; what was read before its
/// `commit` includes it.
///
/// # Errors
///
/// After any error the service calls nothing but `recover` until that succeeds, apart from reading.
pub trait Table: Reader {
    /// Where the log stands, if the table knows it.
    fn open(&mut self, key: &Key) -> Result<Option<Opened>, TableError>;

    /// The epoch of logs that are new to the table.
    fn epoch(&self) -> u64;

    /// The number and time under which a repetition was first kept. Ids are remembered for at least
    /// [`DEDUPE_MS`](crate::limits::DEDUPE_MS) and [`DEDUPE_COUNT_MAX`](crate::limits::DEDUPE_COUNT_MAX) messages.
    fn find(&mut self, key: &Key, dedupe: u128) -> Result<Option<First>, TableError>;

    /// Starts a transaction.
    fn begin(&mut self) -> Result<(), TableError>;

    /// Adds an entry to the transaction.
    fn append(&mut self, key: &Key, epoch: u64, entry: &Entry<'_>) -> Result<(), TableError>;

    /// Adds something else to the transaction.
    fn note(&mut self, note: &Note) -> Result<(), TableError>;

    /// Forgets a copy that is owed, as part of the transaction.
    fn settle(&mut self, dedupe: u128) -> Result<(), TableError>;

    /// Makes the transaction durable. After an error it is unknown whether it is kept, until `recover`.
    fn commit(&mut self) -> Result<(), TableError>;

    /// Makes sure, after an error, that what is read from now on is what is durable. Nothing is acknowledged before
    /// that succeeded.
    fn recover(&mut self) -> Result<(), TableError>;

    /// Copies that are owed, of which a process that begins is to keep all.
    fn owed(&mut self) -> Result<Vec<Owed>, TableError>;

    /// Whether a copy is owed.
    fn is_owed(&mut self, dedupe: u128) -> Result<bool, TableError>;

    /// Whose a claimed name is: a number that tells its owner from those who had it before. 0 where it is not known of
    /// anybody before.
    fn owner(&mut self, name: &str) -> Result<Option<u64>, TableError>;

    /// Whether logs came from elsewhere, with ids that are known to whoever has their senders' names here.
    fn has_imported(&self) -> bool {
        false
    }
}
