//! The log service: it numbers messages, meets repeated ones again, and keeps them in a table.
//!
//! Numbering, deduplication and keeping are one step, so that a batch that fails leaves no hole in the numbers and a
//! repeated `id` meets its first even in flight. The table behind the service is a trait; the memory table answers
//! within the turn, a disk's answers by mail. Either way a shard hands over a [`Submission`] and gets [`Answers`].

mod dedupe;
mod memory;
mod service;
mod submission;

pub use memory::{MemoryLog, MemoryTable};
pub use service::LogService;
pub use submission::{Answers, Append, Draft, Outcome, Request, Submission};

use crate::room::Key;

/// Where a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Names the numbering.
    pub epoch: u64,
    /// The last `seq_id` given; 0 if none was.
    pub seq: u64,
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
    /// What was sent.
    pub draft: Draft<'a>,
}

/// Why a table could not do what was asked. The service answers `storage` to every request of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableError;

/// Where entries are kept. Every call is within `begin` and `commit`, apart from `open` and `find`.
pub trait Table {
    /// Where the log stands, if the table knows it.
    fn open(&mut self, key: &Key) -> Result<Option<Head>, TableError>;

    /// The number and time under which a repetition was first kept, for ids that the service has forgotten.
    fn find(&mut self, key: &Key, dedupe: u128) -> Result<Option<(u64, u64)>, TableError>;

    /// Starts a transaction.
    fn begin(&mut self) -> Result<(), TableError>;

    /// Adds an entry to the transaction.
    fn append(&mut self, key: &Key, epoch: u64, entry: &Entry<'_>) -> Result<(), TableError>;

    /// Makes the transaction durable, as far as the table promises that. After an error nothing of it is kept.
    fn commit(&mut self) -> Result<(), TableError>;

    /// Calls `each` with the entries behind `after`, oldest first, until it returns false.
    fn read(
        &mut self,
        key: &Key,
        after: u64,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<(), TableError>;
}

/// How a shard reaches the log service.
pub trait LogPort {
    /// Hands a batch over. `unix_ms` is the time of the turn.
    fn submit(&mut self, submission: Submission, unix_ms: u64);

    /// Takes the answers to an earlier batch, in the order of submission.
    fn take(&mut self) -> Option<Answers>;

    /// Memory that the service holds on this shard's behalf, in bytes.
    fn memory(&self) -> usize;

    /// Whether what it answered survives the process.
    fn is_durable(&self) -> bool;
}
