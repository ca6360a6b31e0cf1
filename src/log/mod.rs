//! The log service: it numbers messages, meets repeated ones again, and keeps them in a table.
//!
//! Numbering, deduplication and keeping are one step, so that a batch that fails leaves no hole in the numbers and a
//! repeated `id` meets its first even in flight. The table behind the service is a trait; the memory service answers
//! within the turn, a disk's answers by mail. Either way a shard hands over a [`Submission`] and gets [`Answers`], and
//! nothing is delivered or acknowledged before its answer is there.
//!
//! | file | what |
//! |---|---|
//! | `submission` | what a shard asks in one turn, and the answers |
//! | `service` | numbering, dedupe, group commit, and what follows a failure, over any table |
//! | `table` | what a table is |
//! | `read` | stretches of a log that memory does not have any more |
//! | `dedupe` | the ids that a log without a table remembers |
//! | `memory` | the service of a shard without a disk |
//!
//! # Both sides of a private message
//!
//! The recipient's inbox and the sender's may be at home on two shards, and a log moves only as its home asks. So the
//! message is kept in one transaction, which notes that the sender's copy is owed ([`Copy::Owed`](enum@Copy)), and the
//! copy in a later one, which takes the note away ([`Copy::Settles`](enum@Copy)). Neither side is there alone for good:
//!
//! | between the two | what follows |
//! |---|---|
//! | the process ends | [`LogService::start`] keeps the copy before anybody is served |
//! | the disk refuses the second (it is full, it fails) | [`LogService::recover`] keeps the copy before anything else is kept, and tells the shards |
//! | the second fails, and is kept nevertheless | there is no note any more; the shard is told what it missed |
//! | the copy comes late, or again | its key names the message, so it meets the first |
//! | the message comes again | its copy is kept again only while the note is there |
//! | the sender is a guest, of whom nothing is kept | nothing is noted |
//! | the sender's name changes hands | the note goes with the inbox |
//!
//! Where the first is refused nothing is owed, and the sender is told that the outcome is unknown; where it is kept
//! nevertheless, so is its note, and the copy is kept when the message is sent again, or by the recovery. That leaves an
//! empty inbox which no shard has open as it is: its home would not ask for it. There the note waits for the next
//! repetition, or for the next start. The `ack` follows the first. The sender's other
//! connections see the copy one transaction later; who reads the database in between sees the note.

mod dedupe;
mod memory;
mod read;
mod service;
mod submission;
mod table;

pub use memory::{MemoryLog, MemoryTable};
pub use read::{Deleter, Deletion, Found, Purpose, Read, Stretch, encode_message, look_up};
pub use service::{LogService, copy_key};
pub use submission::{
    Answers, Append, Asked, Draft, Lifted, Note, Outcome, Request, Standing, Submission, Submitted,
    What,
};
pub use table::{Copy, Entry, First, Opened, Owed, Reader, Span, Table, TableError};

use crate::hashing::HashKey;

/// Where a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Names the numbering.
    pub epoch: u64,
    /// The last `seq_id` given; 0 if none was.
    pub seq: u64,
}

/// How a shard reaches the log service. The methods with a body are those of a service that keeps nothing beyond the
/// rooms' segments.
pub trait LogPort {
    /// Hands a batch over. `unix_ms` is the time of the turn.
    fn submit(&mut self, submission: Submission, unix_ms: u64);

    /// Takes answers: those to earlier batches in the order of submission, and between them what the service has to
    /// say unasked.
    fn take(&mut self) -> Option<Answers>;

    /// Memory that the service holds on this shard's behalf, in bytes.
    fn memory(&self) -> usize;

    /// Whether what it answered survives the process.
    fn is_durable(&self) -> bool;

    /// Asks for a stretch of a log. `Found` follows, in any order.
    ///
    /// # Errors
    ///
    /// Too much is asked already; the question comes back.
    fn read(&mut self, read: Read) -> Result<(), Read> {
        Err(read)
    }

    /// Takes what was found.
    fn found(&mut self) -> Option<Found> {
        None
    }

    /// Bytes that wait for the disk, of all shards.
    fn waiting_bytes(&self) -> usize {
        0
    }

    /// For how long nothing of what waits was kept, or more waited than shall, in milliseconds; `None` where nothing
    /// waits.
    fn standstill_ms(&self) -> Option<u64> {
        None
    }

    /// The key under which ids are hashed, where they are remembered for longer than the process lives.
    fn id_key(&self) -> Option<HashKey> {
        None
    }
}
