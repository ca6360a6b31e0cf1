//! The table of the simulated disk: what is durable, and a transaction that a crash keeps or loses whole.
//!
//! A commit that is on its way to the disk is `unsynced`: the log service goes on as if it were durable, and its answers
//! wait until it is. A commit that fails was kept or lost, which nobody knows until the recovery.

use crate::image::{Change, Image, Stored};
use crate::planted::Planted;
use crate::rng::Rng;
use roomcast::hub::Restored;
use roomcast::log::{Entry, First, Note, Opened, Owed, Reader, Span, Table, TableError};
use roomcast::room::{Key, Space};
use roomcast::sanctions::Sanction;
use std::rc::Rc;
use std::sync::Arc;

/// How often a disk fails, in cases of 1000, and what that is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFaults {
    /// Longest time of a commit, in milliseconds.
    pub commit_ms_max: u64,
    /// Longest time of a reading, in milliseconds.
    pub read_ms_max: u64,
    /// Commits that fail.
    pub commits: u32,
    /// Entries and notes that do not get into the transaction.
    pub writes: u32,
    /// Attempts to recover that fail.
    pub recoveries: u32,
    /// Readings that fail.
    pub reads: u32,
    /// Commits after which some of the oldest messages of a room go, as its retention has it.
    pub trims: u32,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct SimTable {
    epoch: u64,
    faults: DiskFaults,
    planted: Option<Planted>,
    rng: Rng,
    /// What survives.
    durable: Image,
    /// The same with the transaction.
    live: Image,
    transaction: Vec<Change>,
    /// Committed, but not on the disk yet.
    unsynced: Vec<Change>,
    /// The process before has ended here.
    pub crash_count: u32,
    pub failure_count: u32,
}

impl SimTable {
    /// An empty table.
    pub fn new(faults: DiskFaults, planted: Option<Planted>, mut rng: Rng) -> SimTable {
        SimTable {
            epoch: rng.bits() | 1,
            faults,
            planted,
            rng,
            durable: Image::default(),
            live: Image::default(),
            transaction: Vec::new(),
            unsynced: Vec::new(),
            crash_count: 0,
            failure_count: 0,
        }
    }

    /// What is durable.
    pub fn durable(&self) -> &Image {
        &self.durable
    }

    /// From now on so much goes wrong.
    pub fn set_faults(&mut self, faults: DiskFaults) {
        self.faults = faults;
    }

    /// What was committed is on the disk.
    pub fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            self.durable.apply(change);
        }
    }

    /// Drops some of the oldest messages of some room, in a transaction of its own while there is no other. Gives the
    /// room, and up to where.
    pub fn trim(&mut self) -> Option<(Key, u64)> {
        let rooms = self.durable.logs.iter();
        let rooms: Vec<&Key> = rooms
            .filter(|(key, log)| key.space == Space::Chat && !log.entries.is_empty())
            .map(|(key, _)| key)
            .collect();
        let key = (*self.rng.pick_some(&rooms)?).clone();
        let log = self.durable.logs.get(&key)?;
        let count = 1 + self.rng.below(log.entries.len());
        let end = log.trimmed + count as u64;
        self.trim_log(&key, end);
        Some((key, end))
    }

    /// Drops the messages of a log up to `end`.
    pub fn trim_log(&mut self, key: &Key, end: u64) {
        self.durable.trim(key, end);
        self.live.trim(key, end);
    }

    /// The process ends at this point.
    pub fn crash(&mut self) {
        if self.rng.chance(500) {
            self.sync();
        }
        self.roll_back();
        self.crash_count += 1;
    }

    /// Every claimed name, at a start.
    pub fn names(&mut self, unix_ms: u64) -> Vec<Restored> {
        self.durable.leave_all(unix_ms);
        self.live.leave_all(unix_ms);
        self.durable.names(unix_ms)
    }

    /// Every ban.
    pub fn bans(&self) -> Vec<Arc<Sanction>> {
        self.durable.bans()
    }

    /// The connection that reads beside the committing.
    pub fn reader(&mut self) -> SimReader<'_> {
        let is_dirty = self.planted == Some(Planted::ReadsPastTheHead);
        SimReader {
            image: if is_dirty { &self.live } else { &self.durable },
            is_failing: self.rng.chance(self.faults.reads),
            is_past_the_span: is_dirty,
        }
    }

    fn roll_back(&mut self) {
        self.transaction.clear();
        self.unsynced.clear();
        self.live = self.durable.clone();
    }

    fn change(&mut self, change: Change) -> Result<(), TableError> {
        if self.rng.chance(self.faults.writes) {
            return Err(self.failure("a write"));
        }
        self.live.apply(change.clone());
        self.transaction.push(change);
        Ok(())
    }

    fn failure(&mut self, what: &str) -> TableError {
        self.failure_count += 1;
        TableError(format!("{what} fails in this simulation"))
    }

    fn is_planted(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }
}

impl Reader for SimTable {
    fn read(
        &mut self,
        key: &Key,
        span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        Ok(self.live.read(key, span, each))
    }
}

impl Table for SimTable {
    fn open(&mut self, key: &Key) -> Result<Option<Opened>, TableError> {
        let mut opened = self.live.open(key);
        if let Some(Opened { head, .. }) = &mut opened {
            let is_restarted = self.crash_count > 0 && head.seq > 0;
            if self.is_planted(Planted::ReusesNumbers) && is_restarted {
                head.seq -= 1;
            }
            if self.is_planted(Planted::LeavesAHole) && self.failure_count > 0 {
                head.seq += 1;
            }
        }
        Ok(opened)
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn find(&mut self, key: &Key, dedupe: u128) -> Result<Option<First>, TableError> {
        if self.is_planted(Planted::ForgetsIds) && self.crash_count > 0 {
            return Ok(None);
        }
        Ok(self.live.find(key, dedupe))
    }

    fn begin(&mut self) -> Result<(), TableError> {
        assert!(self.transaction.is_empty(), "a transaction within another");
        Ok(())
    }

    fn append(&mut self, key: &Key, epoch: u64, entry: &Entry<'_>) -> Result<(), TableError> {
        let stored = Rc::new(Stored::new(entry));
        self.change(Change::Append(
            key.clone(),
            epoch,
            entry.seq,
            stored,
            entry.copy,
        ))
    }

    fn note(&mut self, note: &Note) -> Result<(), TableError> {
        self.change(Change::Note(note.clone()))
    }

    fn settle(&mut self, dedupe: u128) -> Result<(), TableError> {
        self.change(Change::Settle(dedupe))
    }

    fn commit(&mut self) -> Result<(), TableError> {
        let transaction = std::mem::take(&mut self.transaction);
        if !self.rng.chance(self.faults.commits) {
            self.unsynced.extend(transaction);
            return Ok(());
        }
        if self.rng.chance(500) {
            self.unsynced.extend(transaction);
            self.sync();
        }
        Err(self.failure("a commit"))
    }

    fn recover(&mut self) -> Result<(), TableError> {
        if self.rng.chance(self.faults.recoveries) {
            return Err(self.failure("a recovery"));
        }
        self.roll_back();
        Ok(())
    }

    fn owed(&mut self) -> Result<Vec<Owed>, TableError> {
        if self.is_planted(Planted::OwesNothing) {
            self.durable.forget_owed();
        }
        Ok(self.durable.owed())
    }

    fn is_owed(&mut self, dedupe: u128) -> Result<bool, TableError> {
        Ok(self.live.is_owed(dedupe))
    }

    fn owner(&mut self, name: &str) -> Result<Option<u64>, TableError> {
        Ok(self.live.owner(name))
    }
}

/// See [`SimTable::reader`].
pub struct SimReader<'a> {
    image: &'a Image,
    is_failing: bool,
    is_past_the_span: bool,
}

impl Reader for SimReader<'_> {
    fn read(
        &mut self,
        key: &Key,
        mut span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        if self.is_failing {
            return Err(TableError("a reading fails in this simulation".into()));
        }
        if self.is_past_the_span {
            span.until = u64::MAX;
        }
        Ok(self.image.read(key, span, each))
    }
}
