//! The two threads of the store: one commits, one reads.

use super::desk::Desk;
use super::reader::SqliteReader;
use super::room_for_more;
use super::table::SqliteTable;
use super::upkeep::{Retention, Upkeep};
use crate::limits::STORE_RETRY_MS;
use crate::log::{LogService, Submitted, Table, TableError, look_up};
use crate::room::Key;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// How often the committer looks around when nobody wants anything.
const IDLE: Duration = Duration::from_secs(5);
/// How often it looks for room on the disk while it works, and writes the high-water mark through.
const LOOK: Duration = Duration::from_secs(1);
/// It looks for room earlier when so much was written, in bytes.
const LOOK_BYTES: usize = 256 * 1024;

/// A table as the committer has it.
pub trait Disk: Table {
    /// Sees to it that the high-water mark is on the disk.
    ///
    /// # Errors
    ///
    /// The disk failed.
    fn sync_mark(&self) -> io::Result<()>;

    /// Bytes of the database that hold nothing any more.
    fn reusable_bytes(&self) -> u64;

    /// Gives back to the volume what it does not need, as far as others let it.
    ///
    /// # Errors
    ///
    /// The disk failed.
    fn give_back(&mut self) -> Result<(), TableError>;

    /// Does a small step of what is done in the background. Gives the logs that were trimmed, and up to where.
    ///
    /// # Errors
    ///
    /// The disk failed.
    fn tidy(&mut self, upkeep: &mut Upkeep) -> Result<Vec<(Key, u64)>, TableError>;

    /// Stops in good order.
    ///
    /// # Errors
    ///
    /// The disk failed.
    fn close(self) -> Result<(), TableError>;
}

impl Disk for SqliteTable {
    fn sync_mark(&self) -> io::Result<()> {
        SqliteTable::sync_mark(self)
    }

    fn reusable_bytes(&self) -> u64 {
        // Where it cannot be said, nothing counts.
        SqliteTable::reusable_bytes(self).unwrap_or(0)
    }

    fn give_back(&mut self) -> Result<(), TableError> {
        SqliteTable::give_back(self)
    }

    fn tidy(&mut self, upkeep: &mut Upkeep) -> Result<Vec<(Key, u64)>, TableError> {
        SqliteTable::tidy(self, upkeep, unix_ms())
    }

    fn close(self) -> Result<(), TableError> {
        SqliteTable::close(self)
    }
}

/// The thread that commits: everything that was submitted during one transaction goes into the next.
pub struct Committer<D> {
    desk: Arc<Desk>,
    service: LogService<D>,
    upkeep: Upkeep,
    folder: PathBuf,
    /// Whether nothing but room is missing where nothing is kept: the table itself is as it should be.
    is_whole: bool,
    /// When the disk was last looked at, and what was written since then, in bytes.
    looked: Instant,
    written_bytes: usize,
    /// When it was last tried again, and what was said of that.
    retried: Instant,
    said: Option<TableError>,
}

impl<D: Disk> Committer<D> {
    /// A committer that has nothing to do yet.
    pub fn new(
        desk: Arc<Desk>,
        service: LogService<D>,
        retention: Retention,
        folder: PathBuf,
    ) -> Committer<D> {
        Committer {
            desk,
            service,
            upkeep: Upkeep::new(retention),
            folder,
            is_whole: false,
            looked: Instant::now(),
            written_bytes: 0,
            retried: Instant::now(),
            said: None,
        }
    }

    /// Commits until the desk is closed and everything is answered; then brings the store into good order.
    pub fn run(mut self) -> Result<(), TableError> {
        while let Some(batch) = self.desk.take_submitted(self.patience()) {
            if !batch.is_empty() {
                self.commit(batch);
            }
            self.look_around();
            self.retry();
            self.tidy();
        }
        self.service.into_table().close()
    }

    fn patience(&self) -> Duration {
        let pause = Duration::from_millis(u64::from(STORE_RETRY_MS));
        match self.service.failure() {
            Some(_) if self.is_whole => self.upkeep.patience().min(pause),
            Some(_) => pause,
            None => self.upkeep.patience().min(IDLE),
        }
    }

    fn commit(&mut self, batch: Vec<Submitted>) {
        let was_well = self.service.failure().is_none();
        let bytes = batch.iter().map(|one| one.submission.bytes()).sum();
        let request_count = batch.iter().map(|one| one.submission.requests.len()).sum();
        let began = Instant::now();
        let answers = self.service.process(batch);
        self.desk
            .figures
            .note_commit(request_count, began.elapsed());
        if was_well && let Some(error) = self.service.failure() {
            let error = error.clone();
            self.desk.figures.failures.fetch_add(1, Ordering::Relaxed);
            self.failed(error);
        }
        self.written_bytes += bytes;
        self.desk.committed(bytes);
        self.desk.answer(answers);
    }

    /// Nothing is written where too little room is left for anything else.
    fn look_around(&mut self) {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let _ = self.service.table_mut().sync_mark();
        } else if self.written_bytes < LOOK_BYTES {
            return;
        }
        self.written_bytes = 0;
        if self.service.failure().is_some() || self.room().is_ok() {
            return;
        }
        if let Err(error) = self.service.table_mut().give_back() {
            self.failed(error);
        } else if let Err(error) = self.room() {
            self.ran_full(error);
        }
    }

    fn room(&mut self) -> Result<(), TableError> {
        let reusable_bytes = self.service.table_mut().reusable_bytes();
        room_for_more(&self.folder, reusable_bytes)
    }

    /// The table has failed: it has to recover before anything else is done with it.
    fn failed(&mut self, error: TableError) {
        log::error!("nothing is kept until the disk recovers: {error}");
        self.desk.set_well(false);
        self.is_whole = false;
        self.retried = Instant::now();
        self.service.fail(error);
    }

    /// There is too little room. The table is as it should be, and what is trimmed makes room.
    fn ran_full(&mut self, error: TableError) {
        log::error!("nothing is kept until there is room: {error}");
        self.desk.set_well(false);
        self.is_whole = true;
        self.retried = Instant::now();
        self.upkeep.hurry();
        self.service.fail(error);
    }

    fn retry(&mut self) {
        let pause = Duration::from_millis(u64::from(STORE_RETRY_MS));
        if self.service.failure().is_none() || self.retried.elapsed() < pause {
            return;
        }
        self.retried = Instant::now();
        if !self.is_whole {
            match self.service.recover() {
                Ok(unknown) => self.desk.answer(unknown),
                Err(error) => return self.say(error),
            }
            if let Err(error) = self.room() {
                self.ran_full(error);
                return;
            }
        } else if !self.finds_room() {
            return;
        }
        self.said = None;
        log::warn!("the disk has recovered");
        self.desk.set_well(true);
    }

    /// Goes on if there is room again.
    fn finds_room(&mut self) -> bool {
        if self.room().is_err() {
            if let Err(error) = self.service.table_mut().give_back() {
                self.failed(error);
                return false;
            }
            if self.room().is_err() {
                return false;
            }
        }
        self.is_whole = self.service.go_on();
        self.is_whole
    }

    /// Says once why the disk does not recover.
    fn say(&mut self, error: TableError) {
        if self.said.as_ref() != Some(&error) {
            log::warn!("the disk has not recovered: {error}");
            self.said = Some(error);
        }
    }

    /// A small step of what is done in the background.
    fn tidy(&mut self) {
        if self.service.failure().is_some() && !self.is_whole {
            return;
        }
        match self.service.table_mut().tidy(&mut self.upkeep) {
            Ok(trimmed) => {
                let told = trimmed
                    .iter()
                    .filter_map(|(key, seq)| self.service.trimmed(key, *seq));
                self.desk.answer(told.collect());
            }
            Err(error) => self.failed(error),
        }
    }
}

/// The thread that reads, until the desk is closed.
pub fn read(desk: &Desk, mut reader: SqliteReader) {
    while let Some(batch) = desk.take_asked(IDLE) {
        for (shard, read) in batch {
            desk.figures.reads.fetch_add(1, Ordering::Relaxed);
            let found = look_up(&mut reader, read);
            if let Err(error) = &found.result {
                log::warn!("reading failed: {error}");
            }
            desk.hand_over(shard, found);
        }
    }
}

/// Now, in milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
