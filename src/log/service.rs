//! Numbering, deduplication and group commit over any table.

use super::dedupe::Dedupe;
use super::{Answers, Append, Entry, Head, Outcome, Request, Submission, Table, TableError};
use crate::hashing::HashKey;
use crate::room::Key;
use crate::slots::Slot;
use hashbrown::HashMap;

/// One log that a shard holds open.
#[derive(Debug)]
struct Log {
    key: Key,
    head: Head,
    last_ms: u64,
    ids: Dedupe,
}

/// What must be taken back when a batch fails.
#[derive(Clone, Copy, Debug)]
struct Undo {
    log: Slot,
    had_id: bool,
}

/// One log service over one table, for the logs that its shards hold open.
#[derive(Debug)]
pub struct LogService<T> {
    table: T,
    logs: HashMap<Slot, Log, HashKey>,
    hash_key: HashKey,
}

impl<T: Table> LogService<T> {
    /// A service over a table.
    pub fn new(table: T, hash_key: HashKey) -> LogService<T> {
        LogService {
            table,
            logs: HashMap::with_hasher(hash_key),
            hash_key,
        }
    }

    /// Does everything that a submission asks, in order and in one transaction. Where the table fails, every append
    /// of the batch is refused and the numbers are as they were.
    pub fn process(&mut self, submission: Submission, unix_ms: u64) -> Answers {
        let mut undo = Vec::new();
        let mut outcomes = Vec::with_capacity(submission.requests.len());
        let result = self.attempt(&submission, unix_ms, &mut outcomes, &mut undo);
        if result.is_err() {
            self.take_back(&undo);
            outcomes.resize(submission.requests.len(), Outcome::Refused);
            for (request, outcome) in submission.requests.iter().zip(&mut outcomes) {
                if matches!(request, Request::Append(_)) {
                    *outcome = Outcome::Refused;
                }
            }
        }
        for step in undo {
            if let Some(log) = self.logs.get_mut(&step.log) {
                log.ids.expire(log.head.seq);
            }
        }
        Answers {
            submission,
            outcomes,
        }
    }

    /// The table, for a test or a reader.
    pub fn table_mut(&mut self) -> &mut T {
        &mut self.table
    }

    /// Memory that remembered ids hold, in bytes.
    pub fn memory(&self) -> usize {
        self.logs.values().map(|log| log.ids.memory()).sum()
    }

    fn attempt(
        &mut self,
        submission: &Submission,
        unix_ms: u64,
        outcomes: &mut Vec<Outcome>,
        undo: &mut Vec<Undo>,
    ) -> Result<(), TableError> {
        self.table.begin()?;
        for request in &submission.requests {
            outcomes.push(match request {
                Request::Open { log, key, hint } => self.open(*log, key, *hint)?,
                Request::Append(append) => self.append(submission, append, unix_ms, undo)?,
                Request::Close { log } => {
                    self.logs.remove(log);
                    Outcome::Closed
                }
            });
        }
        self.table.commit()
    }

    fn open(&mut self, log: Slot, key: &Key, hint: Head) -> Result<Outcome, TableError> {
        let head = self.table.open(key)?.unwrap_or(hint);
        let ids = Dedupe::new(self.hash_key);
        self.logs.insert(
            log,
            Log {
                key: key.clone(),
                head,
                last_ms: 0,
                ids,
            },
        );
        Ok(Outcome::Opened(head))
    }

    fn append(
        &mut self,
        submission: &Submission,
        append: &Append,
        unix_ms: u64,
        undo: &mut Vec<Undo>,
    ) -> Result<Outcome, TableError> {
        let Some(log) = self.logs.get_mut(&append.log) else {
            return Ok(Outcome::Refused);
        };
        if let Some(dedupe) = append.dedupe {
            let first = match log.ids.find(dedupe) {
                Some(first) => Some(first),
                None => self.table.find(&log.key, dedupe)?,
            };
            if let Some((seq, unix_ms)) = first {
                return Ok(Outcome::Met { seq, unix_ms });
            }
        }
        // Time does not run backwards within a log, whatever the clock does.
        let unix_ms = unix_ms.max(log.last_ms);
        let seq = log.head.seq + 1;
        let entry = Entry {
            seq,
            unix_ms,
            dedupe: append.dedupe,
            draft: submission.draft(append),
        };
        self.table.append(&log.key, log.head.epoch, &entry)?;
        log.head.seq = seq;
        log.last_ms = unix_ms;
        if let Some(dedupe) = append.dedupe {
            log.ids.insert(dedupe, (seq, unix_ms));
        }
        undo.push(Undo {
            log: append.log,
            had_id: append.dedupe.is_some(),
        });
        Ok(Outcome::Kept { seq, unix_ms })
    }

    fn take_back(&mut self, undo: &[Undo]) {
        for step in undo.iter().rev() {
            if let Some(log) = self.logs.get_mut(&step.log) {
                log.head.seq -= 1;
                if step.had_id {
                    log.ids.undo();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Draft, MemoryTable};
    use super::*;
    use crate::room::{Connection, Space};

    const LOG: Slot = Slot {
        index: 1,
        generation: 1,
    };

    /// A table that fails on command.
    #[derive(Default)]
    struct Fragile {
        inner: MemoryTable,
        fails: bool,
    }

    impl Table for Fragile {
        fn open(&mut self, key: &Key) -> Result<Option<Head>, TableError> {
            self.inner.open(key)
        }
        fn find(&mut self, key: &Key, dedupe: u128) -> Result<Option<(u64, u64)>, TableError> {
            self.inner.find(key, dedupe)
        }
        fn begin(&mut self) -> Result<(), TableError> {
            self.inner.begin()
        }
        fn append(&mut self, key: &Key, epoch: u64, entry: &Entry<'_>) -> Result<(), TableError> {
            self.inner.append(key, epoch, entry)
        }
        fn commit(&mut self) -> Result<(), TableError> {
            if self.fails {
                Err(TableError)
            } else {
                self.inner.commit()
            }
        }
        fn read(
            &mut self,
            key: &Key,
            after: u64,
            each: &mut dyn FnMut(&Entry<'_>) -> bool,
        ) -> Result<(), TableError> {
            self.inner.read(key, after, each)
        }
    }

    fn service() -> LogService<Fragile> {
        let mut service = LogService::new(Fragile::default(), HashKey::new((1, 2)));
        let key = Key {
            space: Space::Chat,
            name: "room".into(),
        };
        let mut open = Submission::default();
        open.requests.push(Request::Open {
            log: LOG,
            key,
            hint: Head { epoch: 9, seq: 0 },
        });
        let answers = service.process(open, 0);
        assert_eq!(
            answers.outcomes,
            [Outcome::Opened(Head { epoch: 9, seq: 0 })]
        );
        service
    }

    fn batch(ids: &[Option<u128>]) -> Submission {
        let mut submission = Submission::default();
        let draft = Draft {
            sender: "ann",
            to: None,
            id: None,
            content: "1",
            metadata: None,
        };
        for id in ids {
            submission.append(LOG, Connection::NONE, *id, false, &draft);
        }
        submission
    }

    fn kept(seq: u64, unix_ms: u64) -> Outcome {
        Outcome::Kept { seq, unix_ms }
    }

    #[test]
    fn numbers_are_given_in_order_and_a_repeated_id_meets_its_first() {
        let mut service = service();
        let answers = service.process(batch(&[None, Some(7), Some(7), None]), 100);
        let met = Outcome::Met {
            seq: 2,
            unix_ms: 100,
        };
        assert_eq!(
            answers.outcomes,
            [kept(1, 100), kept(2, 100), met, kept(3, 100)]
        );
        assert_eq!(service.process(batch(&[Some(7)]), 200).outcomes, [met]);
    }

    #[test]
    fn a_failed_batch_leaves_no_hole_and_no_id() {
        let mut service = service();
        service.process(batch(&[None]), 100);
        service.table_mut().fails = true;
        let answers = service.process(batch(&[Some(7), None, Some(7)]), 200);
        assert_eq!(answers.outcomes, [Outcome::Refused; 3]);
        service.table_mut().fails = false;
        assert_eq!(
            service.process(batch(&[Some(7)]), 300).outcomes,
            [kept(2, 300)]
        );
    }

    #[test]
    fn time_does_not_run_backwards_within_a_log() {
        let mut service = service();
        service.process(batch(&[None]), 500);
        assert_eq!(
            service.process(batch(&[None]), 400).outcomes,
            [kept(2, 500)]
        );
    }

    #[test]
    fn a_log_that_is_not_open_refuses() {
        let mut service = service();
        let mut close = Submission::default();
        close.requests.push(Request::Close { log: LOG });
        service.process(close, 0);
        assert_eq!(
            service.process(batch(&[None]), 0).outcomes,
            [Outcome::Refused]
        );
    }
}
