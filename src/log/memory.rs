//! The log service without a disk: it answers within the turn, and history is what the rooms' segments keep.

use super::{
    Answers, Copy, Entry, First, LogPort, LogService, Note, Opened, Owed, Reader, Span, Submission,
    Submitted, Table, TableError,
};
use crate::hashing::HashKey;
use crate::room::Key;
use std::collections::VecDeque;

/// A table that keeps nothing. The room's segments are the memory of a memory-only room; a second copy here would only
/// halve how far back they reach.
#[derive(Debug, Default)]
pub struct MemoryTable;

impl Reader for MemoryTable {
    fn read(
        &mut self,
        _key: &Key,
        _span: Span,
        _each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        Ok(None)
    }
}

impl Table for MemoryTable {
    fn open(&mut self, _key: &Key) -> Result<Option<Opened>, TableError> {
        Ok(None)
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn find(&mut self, _key: &Key, _dedupe: u128) -> Result<Option<First>, TableError> {
        Ok(None)
    }

    fn begin(&mut self) -> Result<(), TableError> {
        Ok(())
    }

    fn append(&mut self, _key: &Key, _epoch: u64, entry: &Entry<'_>) -> Result<(), TableError> {
        debug_assert_eq!(entry.copy, Copy::None);
        Ok(())
    }

    fn note(&mut self, _note: &Note) -> Result<(), TableError> {
        Ok(())
    }

    fn settle(&mut self, _dedupe: u128) -> Result<(), TableError> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), TableError> {
        Ok(())
    }

    fn recover(&mut self) -> Result<(), TableError> {
        Ok(())
    }

    fn owed(&mut self) -> Result<Vec<Owed>, TableError> {
        Ok(Vec::new())
    }

    fn is_owed(&mut self, _dedupe: u128) -> Result<bool, TableError> {
        Ok(false)
    }

    fn owner(&mut self, _name: &str) -> Result<Option<u64>, TableError> {
        Ok(None)
    }
}

/// A log service in the shard itself.
#[derive(Debug)]
pub struct MemoryLog {
    service: LogService<MemoryTable>,
    answers: VecDeque<Answers>,
}

impl MemoryLog {
    /// A service that knows no log yet.
    pub fn new(hash_key: HashKey) -> MemoryLog {
        MemoryLog {
            service: LogService::in_memory(hash_key),
            answers: VecDeque::new(),
        }
    }
}

impl LogPort for MemoryLog {
    fn submit(&mut self, submission: Submission, unix_ms: u64) {
        let submitted = Submitted {
            shard: 0,
            unix_ms,
            submission,
        };
        let answers = self.service.process(vec![submitted]);
        self.answers
            .extend(answers.into_iter().map(|(_, answers)| answers));
    }

    fn take(&mut self) -> Option<Answers> {
        self.answers.pop_front()
    }

    fn memory(&self) -> usize {
        self.service.memory()
    }

    fn is_durable(&self) -> bool {
        false
    }
}
