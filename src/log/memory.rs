//! The log service without a disk: it answers within the turn, and history is what the rooms' segments keep.

use super::{Answers, Entry, Head, LogPort, LogService, Submission, Table, TableError};
use crate::hashing::HashKey;
use crate::room::Key;
use std::collections::VecDeque;

/// A table that keeps nothing of its own. The room's segments are the memory of a memory-only room; a second copy
/// here would only halve how far back they reach.
#[derive(Debug, Default)]
pub struct MemoryTable;

impl Table for MemoryTable {
    fn open(&mut self, _key: &Key) -> Result<Option<Head>, TableError> {
        Ok(None)
    }

    fn find(&mut self, _key: &Key, _dedupe: u128) -> Result<Option<(u64, u64)>, TableError> {
        Ok(None)
    }

    fn begin(&mut self) -> Result<(), TableError> {
        Ok(())
    }

    fn append(&mut self, _key: &Key, _epoch: u64, _entry: &Entry<'_>) -> Result<(), TableError> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), TableError> {
        Ok(())
    }

    fn read(
        &mut self,
        _key: &Key,
        _after: u64,
        _each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<(), TableError> {
        Ok(())
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
            service: LogService::new(MemoryTable, hash_key),
            answers: VecDeque::new(),
        }
    }
}

impl LogPort for MemoryLog {
    fn submit(&mut self, submission: Submission, unix_ms: u64) {
        let answers = self.service.process(submission, unix_ms);
        self.answers.push_back(answers);
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
