//! Numbering, deduplication and group commit over any table, and what follows when the table fails.

use super::dedupe::Dedupe;
use super::{
    Answers, Append, Copy, Entry, First, Head, Opened, Outcome, Request, Submission, Submitted,
    Table, TableError,
};
use crate::hashing::HashKey;
use crate::room::{Key, Space};
use crate::slots::Slot;
use hashbrown::HashMap;

/// A log as the service is asked for it: the shard, and what it calls the log.
type Place = (u16, Slot);

/// One log that a shard holds open.
#[derive(Debug)]
struct Log {
    key: Key,
    head: Head,
    last_ms: u64,
    /// Of a log that is not kept in the table: the ids that it remembers.
    ids: Option<Dedupe>,
}

/// Where a log stood before an append of this batch.
#[derive(Clone, Debug)]
struct Before {
    place: Place,
    key: Key,
    head: Head,
    last_ms: u64,
}

/// Whether the table can be trusted.
#[derive(Debug)]
enum Health {
    Well,
    /// Nothing is kept until it has recovered. The logs of failed batches may stand elsewhere than is known here.
    Failed {
        error: TableError,
        suspects: Vec<Place>,
        /// What the table says of these is not to be told: it may not be kept. In order.
        unknown: Vec<Key>,
    },
}

/// The log whose copies are kept when no shard is there yet.
const NOWHERE: Place = (u16::MAX, Slot::NONE);

/// One log service over one table, for the logs that its shards hold open.
#[derive(Debug)]
pub struct LogService<T> {
    table: T,
    /// Whether logs are kept in the table.
    is_durable: bool,
    logs: HashMap<Place, Log, HashKey>,
    hash_key: HashKey,
    health: Health,
    is_begun: bool,
    /// Appends of this batch to logs that are kept, to be taken back should it fail.
    undo: Vec<Before>,
}

impl<T: Table> LogService<T> {
    /// A service over a table. `id_key` is what [`LogPort::id_key`](super::LogPort::id_key) gives.
    pub fn new(table: T, id_key: HashKey) -> LogService<T> {
        LogService {
            table,
            is_durable: true,
            logs: HashMap::with_hasher(id_key),
            hash_key: id_key,
            health: Health::Well,
            is_begun: false,
            undo: Vec::new(),
        }
    }

    /// Keeps the copies that were owed when the process before ended. To be called before anything else.
    ///
    /// # Errors
    ///
    /// The table failed; nothing else may be done with the service.
    pub fn start(&mut self) -> Result<(), TableError> {
        self.keep_all_owed()
    }

    /// Does everything that a batch of submissions asks, in order and in one transaction. Where the table fails, all
    /// that needs it is refused, and the numbers are as they were.
    pub fn process(&mut self, batch: Vec<Submitted>) -> Vec<(u16, Answers)> {
        let answered: Vec<(u16, Answers)> = batch
            .into_iter()
            .map(|submitted| (submitted.shard, self.attempt(submitted)))
            .collect();
        if std::mem::take(&mut self.is_begun)
            && !self.is_failed()
            && let Err(error) = self.table.commit()
        {
            self.fail(error);
        }
        let undo = std::mem::take(&mut self.undo);
        if let Health::Failed {
            suspects, unknown, ..
        } = &mut self.health
        {
            for before in undo.iter().rev() {
                suspects.push(before.place);
                unknown.push(before.key.clone());
                if let Some(log) = self.logs.get_mut(&before.place) {
                    (log.head, log.last_ms) = (before.head, before.last_ms);
                }
            }
            unknown.sort_unstable();
            unknown.dedup();
            return answered
                .into_iter()
                .map(|(shard, answers)| (shard, self.refused(shard, answers)))
                .collect();
        }
        self.undo = undo;
        self.undo.clear();
        self.undo.shrink_to(4096);
        answered
    }

    /// Why nothing is kept at the moment, if so.
    pub fn failure(&self) -> Option<&TableError> {
        match &self.health {
            Health::Well => None,
            Health::Failed { error, .. } => Some(error),
        }
    }

    /// Something failed that is not a batch: the table is to recover before anything else is kept.
    pub fn fail(&mut self, error: TableError) {
        if let Health::Well = self.health {
            self.health = Health::Failed {
                error,
                suspects: Vec::new(),
                unknown: Vec::new(),
            };
        }
    }

    /// What had failed was not the table, which stands as it is known here: it goes on. Gives whether that is so.
    pub fn go_on(&mut self) -> bool {
        let is_whole = match &self.health {
            Health::Well => true,
            Health::Failed {
                suspects, unknown, ..
            } => suspects.is_empty() && unknown.is_empty(),
        };
        if is_whole {
            self.health = Health::Well;
        }
        is_whole
    }

    /// What a shard is told when a log was trimmed, if one holds it open.
    pub fn trimmed(&self, key: &Key, seq: u64) -> Option<(u16, Answers)> {
        let (place, _) = self.logs.iter().find(|(_, log)| log.key == *key)?;
        let mut submission = Submission::default();
        let log = place.1;
        submission.requests.push(Request::Trimmed { log, seq });
        Some((place.0, unasked(submission, vec![Outcome::Closed])))
    }

    /// The table, when the service is over.
    pub fn into_table(self) -> T {
        self.table
    }

    /// The table, for who knows what it is.
    pub fn table_mut(&mut self) -> &mut T {
        &mut self.table
    }

    /// Memory that remembered ids hold, in bytes.
    pub fn memory(&self) -> usize {
        let ids = self.logs.values().filter_map(|log| log.ids.as_ref());
        ids.map(Dedupe::memory).sum()
    }

    fn is_failed(&self) -> bool {
        matches!(self.health, Health::Failed { .. })
    }

    fn attempt(&mut self, submitted: Submitted) -> Answers {
        let Submitted {
            shard,
            unix_ms,
            submission,
        } = submitted;
        let mut outcomes = Vec::with_capacity(submission.requests.len());
        for request in &submission.requests {
            let outcome = match request {
                Request::Open {
                    log,
                    key,
                    hint,
                    is_kept,
                } => self.open((shard, *log), key, *hint, *is_kept),
                Request::Append(append) => self.append(shard, &submission, append, unix_ms),
                Request::Find { message, .. } => {
                    let sender = submission.draft(message).sender;
                    self.find((shard, message.log), message, sender)
                }
                Request::Note(note) => {
                    self.in_transaction(|service| service.table.note(note).map(|()| Outcome::Noted))
                }
                Request::Close { log } => {
                    self.logs.remove(&(shard, *log));
                    Outcome::Closed
                }
                Request::Trimmed { .. } => Outcome::Closed,
            };
            outcomes.push(outcome);
        }
        Answers {
            submission,
            outcomes,
            is_asked: true,
        }
    }

    /// Does something in the transaction of the batch, which it may begin. What is done after a failure is refused.
    fn in_transaction(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<Outcome, TableError>,
    ) -> Outcome {
        if self.is_failed() {
            return Outcome::Refused;
        }
        let begun = match std::mem::replace(&mut self.is_begun, true) {
            true => Ok(()),
            false => self.table.begin(),
        };
        begun.and_then(|()| step(self)).unwrap_or_else(|error| {
            self.fail(error);
            Outcome::Refused
        })
    }

    /// Reading needs no transaction, and goes on while nothing can be written.
    fn open(&mut self, place: Place, key: &Key, hint: Head, is_kept: bool) -> Outcome {
        let is_kept = is_kept && self.is_durable;
        if is_kept && self.is_unknown(key) {
            return Outcome::Refused;
        }
        let opened = self.look_into(place, key, hint, is_kept);
        opened.map_or(Outcome::Refused, Outcome::Opened)
    }

    /// Opens a log where the table says that it stands.
    fn look_into(
        &mut self,
        place: Place,
        key: &Key,
        hint: Head,
        is_kept: bool,
    ) -> Result<Opened, TableError> {
        let known = match is_kept {
            true => self.table.open(key)?,
            false => None,
        };
        let epoch = match key.space {
            Space::Chat if is_kept => self.table.epoch(),
            // The inbox of a name that was claimed anew is another one.
            Space::Chat | Space::Inbox | Space::Raw => hint.epoch,
        };
        let opened = known.unwrap_or(Opened::nothing(Head { epoch, ..hint }));
        let log = Log {
            key: key.clone(),
            head: opened.head,
            last_ms: opened.unix_ms,
            ids: (!is_kept).then(|| Dedupe::new(self.hash_key)),
        };
        self.logs.insert(place, log);
        Ok(opened)
    }

    /// Whether a message was kept before. It changes nothing, and so needs no transaction.
    fn find(&mut self, place: Place, message: &Append, sender: &str) -> Outcome {
        let (Some(log), Some(dedupe)) = (self.logs.get(&place), message.dedupe) else {
            return Outcome::Refused;
        };
        let met = match &log.ids {
            Some(ids) => Ok(ids.find(dedupe).map(met)),
            // What a transaction that has failed may have kept is not known.
            None if self.is_failed() => return Outcome::Refused,
            None => {
                let key = self.key_of(message, sender);
                key.and_then(|key| self.meet(place, (key, Some(dedupe)), sender))
            }
        };
        met.map_or(Outcome::Refused, |met| met.unwrap_or(Outcome::Missing))
    }

    /// Under which key the table meets a message again: whoever has taken a name may choose an `id` that the one before
    /// had chosen.
    fn key_of(&mut self, message: &Append, sender: &str) -> Result<Option<u128>, TableError> {
        let Some(dedupe) = message.dedupe.filter(|_| !message.is_copy) else {
            return Ok(message.dedupe);
        };
        Ok(Some(match self.table.owner(sender)? {
            Some(0) | None => dedupe,
            Some(owner) => self
                .hash_key
                .wide(&[&dedupe.to_le_bytes(), &owner.to_le_bytes()]),
        }))
    }

    /// The message of the table that has this key, or one from elsewhere that has the other.
    fn meet(
        &mut self,
        place: Place,
        (key, imported_key): (Option<u128>, Option<u128>),
        sender: &str,
    ) -> Result<Option<Outcome>, TableError> {
        let (Some(log), Some(key)) = (self.logs.get(&place), key) else {
            return Ok(None);
        };
        let mut first = self.table.find(&log.key, key)?;
        if let (None, Some(key), true) = (first, imported_key, self.table.has_imported()) {
            first = self.table.find(&log.key, key)?;
        }
        let Some((seq, unix_ms)) = first else {
            return Ok(None);
        };
        let is_owed = is_private(&log.key, sender)
            && self
                .table
                .is_owed(copy_key(self.hash_key, &log.key.name, log.head.epoch, seq))?;
        Ok(Some(Outcome::Met {
            seq,
            unix_ms,
            is_owed,
        }))
    }

    fn append(
        &mut self,
        shard: u16,
        submission: &Submission,
        append: &Append,
        unix_ms: u64,
    ) -> Outcome {
        let place = (shard, append.log);
        let draft = submission.draft(append);
        let Some(log) = self.logs.get_mut(&place) else {
            return Outcome::Refused;
        };
        let Some(ids) = &mut log.ids else {
            return self.in_transaction(|service| service.keep(place, append, draft, unix_ms));
        };
        if let Some(first) = append.dedupe.and_then(|dedupe| ids.find(dedupe)) {
            return met(first);
        }
        log.head.seq += 1;
        log.last_ms = unix_ms.max(log.last_ms);
        let (seq, unix_ms) = (log.head.seq, log.last_ms);
        if let Some(dedupe) = append.dedupe {
            ids.insert(dedupe, (seq, unix_ms));
            ids.expire(seq);
        }
        Outcome::Kept { seq, unix_ms }
    }

    /// Numbers a message and keeps it in the table.
    fn keep(
        &mut self,
        place: Place,
        append: &Append,
        draft: super::Draft<'_>,
        unix_ms: u64,
    ) -> Result<Outcome, TableError> {
        let dedupe = self.key_of(append, draft.sender)?;
        if let Some(met) = self.meet(place, (dedupe, append.dedupe), draft.sender)? {
            return Ok(met);
        }
        let Some(log) = self.logs.get_mut(&place) else {
            return Ok(Outcome::Refused);
        };
        // Time does not run backwards within a log, whatever the clock does.
        let unix_ms = unix_ms.max(log.last_ms);
        let seq = log.head.seq + 1;
        let copy = match append.dedupe {
            Some(dedupe) if append.is_copy => Copy::Settles(dedupe),
            Some(_) | None if is_private(&log.key, draft.sender) => {
                // Of guests nothing is kept.
                match self.table.owner(draft.sender)? {
                    Some(_) => {
                        Copy::Owed(copy_key(self.hash_key, &log.key.name, log.head.epoch, seq))
                    }
                    None => Copy::None,
                }
            }
            Some(_) | None => Copy::None,
        };
        let entry = Entry {
            seq,
            unix_ms,
            dedupe,
            client: append.client,
            copy,
            draft,
        };
        self.table.append(&log.key, log.head.epoch, &entry)?;
        self.undo.push(Before {
            place,
            key: log.key.clone(),
            head: log.head,
            last_ms: log.last_ms,
        });
        log.head.seq = seq;
        log.last_ms = unix_ms;
        Ok(Outcome::Kept { seq, unix_ms })
    }

    /// The same answers where everything is refused that would be in the failed transaction, or was read from it.
    fn refused(&self, shard: u16, mut answers: Answers) -> Answers {
        for (request, outcome) in answers
            .submission
            .requests
            .iter()
            .zip(&mut answers.outcomes)
        {
            let is_kept = match request {
                Request::Append(append)
                | Request::Find {
                    message: append, ..
                } => {
                    let log = self.logs.get(&(shard, append.log));
                    log.is_none_or(|log| log.ids.is_none())
                }
                Request::Note(_) => true,
                Request::Open { key, is_kept, .. } => *is_kept && self.is_unknown(key),
                Request::Close { .. } | Request::Trimmed { .. } => false,
            };
            if is_kept {
                *outcome = Outcome::Refused;
            }
        }
        answers
    }
}

impl LogService<super::MemoryTable> {
    /// A service that keeps nothing.
    pub fn in_memory(hash_key: HashKey) -> LogService<super::MemoryTable> {
        LogService {
            is_durable: false,
            ..LogService::new(super::MemoryTable, hash_key)
        }
    }
}

/// Under which key the sender's copy of a private message is met: it names the message.
pub fn copy_key(id_key: HashKey, recipient: &str, epoch: u64, seq: u64) -> u128 {
    id_key.wide(&[
        b"copy",
        recipient.as_bytes(),
        &epoch.to_le_bytes(),
        &seq.to_le_bytes(),
    ])
}

/// Whether the sender of a message to this log has a log of its own for it.
fn is_private(key: &Key, sender: &str) -> bool {
    key.space == Space::Inbox && *key.name != *sender
}

/// A message that is there already, of which nothing is owed.
fn met((seq, unix_ms): First) -> Outcome {
    Outcome::Met {
        seq,
        unix_ms,
        is_owed: false,
    }
}

fn unasked(submission: Submission, outcomes: Vec<Outcome>) -> Answers {
    Answers {
        submission,
        outcomes,
        is_asked: false,
    }
}

mod recovery;
#[cfg(test)]
mod tests;
