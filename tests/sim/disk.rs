//! A disk under the log services of all shards, which can be made to stand still. What it keeps is kept in memory.

use roomcast::hashing::HashKey;
use roomcast::log::{Answers, LogPort, MemoryLog, Request, Submission};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What all shards share of it.
#[derive(Debug, Default)]
pub struct Disk {
    is_durable: bool,
    is_still: Cell<bool>,
    /// The clock, in milliseconds.
    pub now_ms: Cell<u64>,
    /// When something was kept, or began to wait.
    moved_ms: Cell<u64>,
    /// Messages that wait.
    waiting_count: Cell<usize>,
    /// The same in bytes.
    waiting_bytes: Cell<usize>,
}

/// The log service of one shard.
pub struct DiskLog {
    disk: Rc<Disk>,
    log: MemoryLog,
    waiting: VecDeque<(Submission, u64)>,
}

impl Disk {
    /// A disk that moves, or none.
    pub fn new(is_durable: bool) -> Disk {
        Disk {
            is_durable,
            ..Disk::default()
        }
    }

    /// From now on nothing is kept.
    pub fn stand_still(&self) {
        self.is_still.set(true);
    }

    /// Everything that waits is kept when its shard looks.
    pub fn go_on(&self) {
        self.is_still.set(false);
    }

    /// Messages that wait, and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting_count.get(), self.waiting_bytes.get())
    }

    fn wait(&self, submission: &Submission) {
        if self.waiting_bytes.get() == 0 {
            self.moved_ms.set(self.now_ms.get());
        }
        let count = self.waiting_count.get() + append_count(submission);
        self.waiting_count.set(count);
        self.waiting_bytes
            .set(self.waiting_bytes.get() + submission.bytes());
    }

    fn keep(&self, submission: &Submission) {
        self.moved_ms.set(self.now_ms.get());
        let count = self.waiting_count.get() - append_count(submission);
        self.waiting_count.set(count);
        self.waiting_bytes
            .set(self.waiting_bytes.get() - submission.bytes());
    }
}

fn append_count(submission: &Submission) -> usize {
    let is_append = |request: &&Request| matches!(request, Request::Append(_));
    submission.requests.iter().filter(is_append).count()
}

impl DiskLog {
    /// A service over a disk.
    pub fn new(disk: &Rc<Disk>, hash_key: HashKey) -> DiskLog {
        DiskLog {
            disk: Rc::clone(disk),
            log: MemoryLog::new(hash_key),
            waiting: VecDeque::new(),
        }
    }
}

impl LogPort for DiskLog {
    fn submit(&mut self, submission: Submission, unix_ms: u64) {
        if self.disk.is_still.get() || !self.waiting.is_empty() {
            self.disk.wait(&submission);
            self.waiting.push_back((submission, unix_ms));
        } else {
            self.log.submit(submission, unix_ms);
        }
    }

    fn take(&mut self) -> Option<Answers> {
        while !self.disk.is_still.get()
            && let Some((submission, unix_ms)) = self.waiting.pop_front()
        {
            self.disk.keep(&submission);
            self.log.submit(submission, unix_ms);
        }
        self.log.take()
    }

    fn memory(&self) -> usize {
        self.log.memory()
    }

    fn is_durable(&self) -> bool {
        self.disk.is_durable
    }

    fn standstill_ms(&self) -> Option<u64> {
        let (_, waiting_bytes) = self.disk.waiting();
        (waiting_bytes > 0).then(|| self.disk.now_ms.get() - self.disk.moved_ms.get())
    }
}
