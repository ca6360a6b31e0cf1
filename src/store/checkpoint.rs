//! Brings what was committed from the write-ahead log into the database, on a thread of its own.
//!
//! That copies pages and syncs the database, and everything submitted meanwhile would wait for it: on the committing
//! thread, a log of 16 MiB is tens of milliseconds, again and again. So a connection beside it does it in passes, each as
//! soon as [`CHECKPOINT_PAGE_COUNT`] pages are new.
//!
//! The log begins anew, in the same file, when a transaction finds all of it in the database. No pass gets that far
//! under a committer that goes on. So behind a pass over a long log the committer does the rest itself: no more
//! than what came during that pass.

use crate::limits::{CHECKPOINT_PAGE_COUNT, WAL_PAGE_COUNT};
use crate::log::TableError;
use rusqlite::Connection;
use std::cell::Cell;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

thread_local! {
    /// Pages in the log behind the last commit of this thread.
    static PAGE_COUNT: Cell<u32> = const { Cell::new(0) };
}

/// What the other thread is at.
#[derive(Debug)]
enum Pass {
    /// Nothing.
    Rest,
    /// It is to begin one.
    Wanted,
    /// One is under way.
    Running,
    /// One has ended. What it has left is the committer's, if the log is long.
    Done,
    /// It failed, and so may every sync since: SQLite has to recover.
    Failed(TableError),
    /// There will be none any more.
    Over,
}

/// What both threads see.
#[derive(Debug)]
struct Shared {
    pass: Mutex<Pass>,
    bell: Condvar,
}

/// The committer's side.
#[derive(Debug)]
pub struct Checkpoints {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Pages in the log when the last pass was asked for.
    asked_at: u32,
    /// Pages in the log now.
    page_count: u32,
}

impl Checkpoints {
    /// Starts the thread, which has `beside` for itself. From now on nothing else makes checkpoints as `committer`
    /// commits.
    ///
    /// # Errors
    ///
    /// The system refused a thread.
    pub fn start(committer: &Connection, beside: Connection) -> io::Result<Checkpoints> {
        let shared = Arc::new(Shared {
            pass: Mutex::new(Pass::Rest),
            bell: Condvar::new(),
        });
        let at = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || {
                at.run(&beside);
            })?;
        // It takes the place of SQLite's own.
        committer.wal_hook(Some(|_, pages| {
            PAGE_COUNT.set(u32::try_from(pages).unwrap_or(0));
            Ok(())
        }));
        Ok(Checkpoints {
            shared,
            thread: Some(thread),
            asked_at: 0,
            page_count: 0,
        })
    }

    /// The committer is about to begin a transaction. Gives whether it has to do the rest of a pass before that.
    ///
    /// # Errors
    ///
    /// The last pass failed.
    pub fn before(&mut self) -> Result<bool, TableError> {
        let mut pass = self.shared.lock();
        match &*pass {
            Pass::Failed(error) => Err(error.clone()),
            Pass::Done => {
                *pass = Pass::Rest;
                Ok(self.page_count >= WAL_PAGE_COUNT)
            }
            Pass::Rest | Pass::Wanted | Pass::Running | Pass::Over => Ok(false),
        }
    }

    /// The committer has committed.
    pub fn behind(&mut self) {
        let page_count = PAGE_COUNT.get();
        if page_count < self.page_count {
            // The log has begun anew.
            self.asked_at = 0;
        }
        self.page_count = page_count;
        if page_count < self.asked_at + CHECKPOINT_PAGE_COUNT {
            return;
        }
        let mut pass = self.shared.lock();
        match &*pass {
            Pass::Rest | Pass::Done => {
                *pass = Pass::Wanted;
                self.asked_at = page_count;
                self.shared.bell.notify_all();
            }
            Pass::Wanted | Pass::Running | Pass::Failed(_) | Pass::Over => {}
        }
    }

    /// Waits until no pass is under way. None begins, and none has failed, until something is committed again.
    ///
    /// # Errors
    ///
    /// The last pass failed. It is said once.
    pub fn rest(&mut self) -> Result<(), TableError> {
        let mut pass = self.shared.lock();
        while let Pass::Running = &*pass {
            pass = self.shared.wait(pass);
        }
        self.asked_at = 0;
        match std::mem::replace(&mut *pass, Pass::Rest) {
            Pass::Failed(error) => Err(error),
            Pass::Rest | Pass::Wanted | Pass::Running | Pass::Done | Pass::Over => Ok(()),
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        let _ = self.rest();
        *self.shared.lock() = Pass::Over;
        self.shared.bell.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, connection: &Connection) {
        while self.begin() {
            let end = match pass(connection) {
                Ok(()) => Pass::Done,
                Err(error) => Pass::Failed(TableError(format!("a checkpoint: {error}"))),
            };
            *self.lock() = end;
            self.bell.notify_all();
        }
    }

    /// Waits until a pass is wanted; false if none will be any more.
    fn begin(&self) -> bool {
        let mut pass = self.lock();
        loop {
            match &*pass {
                Pass::Wanted => {
                    *pass = Pass::Running;
                    return true;
                }
                Pass::Over => return false,
                Pass::Rest | Pass::Running | Pass::Done | Pass::Failed(_) => {
                    pass = self.wait(pass);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, pass: MutexGuard<'a, Pass>) -> MutexGuard<'a, Pass> {
        self.bell.wait(pass).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings into the database what no reader needs in the log.
///
/// # Errors
///
/// The disk failed.
pub fn pass(connection: &Connection) -> rusqlite::Result<()> {
    // What it says of other programs that are in its way is no failure: the next pass gets further.
    let mut pragma = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
    pragma.query_row([], |_| Ok(()))
}

#[cfg(test)]
mod tests;
