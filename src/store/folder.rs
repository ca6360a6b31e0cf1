//! The data folder: whose it is, and the high-water mark beside the database.
//!
//! The mark says how many commits the store has made. It is written behind each commit, before anyone hears of it, so
//! a database that is behind its mark is a restored backup: what it numbers next was numbered before, and clients know
//! that. Its logs get a new epoch. The mark is not synced: after a loss of power it may be behind, never ahead.

use super::StoreError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const MARK: &str = "high-water";
const DATABASE: &str = "roomcast.db";

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Locked while it is open.
    _lock: File,
}

/// What the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The store that it is of.
    pub store: u64,
    /// How many commits that has made.
    pub commits: u64,
    /// Whether the last stop was a clean one.
    pub is_clean: bool,
}

/// The mark's file.
#[derive(Debug)]
pub struct MarkFile {
    file: File,
}

/// Where the database of a data folder lies.
pub fn database(folder: &Path) -> PathBuf {
    folder.join(DATABASE)
}

impl Folder {
    /// Takes a data folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// It cannot be made or written to, or another server has it.
    pub fn take(path: &Path) -> Result<Folder, StoreError> {
        let failed = |error| StoreError::Folder(path.to_owned(), error);
        if !path.is_dir() {
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(failed)?;
        }
        let lock = open(&path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let database = database(path);
        if !database.exists() {
            // Made here, for nobody else to read; SQLite's other files get the mode of this one.
            open(&database).map_err(failed)?;
        }
        Ok(Folder {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// See [`database`].
    pub fn database(&self) -> PathBuf {
        database(&self.path)
    }

    /// The mark, and what it says; nothing if there is none or it cannot be read.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn mark(&self) -> Result<(MarkFile, Option<Mark>), StoreError> {
        let path = self.path.join(MARK);
        let failed = |error| StoreError::Folder(path.clone(), error);
        let mut file = open(&path).map_err(failed)?;
        let mut text = String::new();
        let is_text = file.read_to_string(&mut text).is_ok();
        let mark = parse(&text).filter(|_| is_text);
        Ok((MarkFile { file }, mark))
    }
}

impl MarkFile {
    /// Writes the mark. It reaches the disk in its own time.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn write(&self, mark: &Mark) -> io::Result<()> {
        self.file.write_all_at(&encode(mark), 0)
    }

    /// Sees to it that what was written is on the disk.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Creates what is missing, for nobody else to read.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

/// Always of the same length, so that one write replaces it.
fn encode(mark: &Mark) -> Vec<u8> {
    let state = if mark.is_clean { "clean" } else { "dirty" };
    let mut text = Vec::with_capacity(48);
    let _ = writeln!(text, "{:016x} {:020} {state}", mark.store, mark.commits);
    text
}

fn parse(text: &str) -> Option<Mark> {
    let mut words = text.split_ascii_whitespace();
    let mark = Mark {
        store: u64::from_str_radix(words.next()?, 16).ok()?,
        commits: words.next()?.parse().ok()?,
        is_clean: words.next()? == "clean",
    };
    words.next().is_none().then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_out_as_it_went_in() {
        for is_clean in [true, false] {
            for commits in [0, 1, u64::MAX] {
                let mark = Mark {
                    store: 0xfeed,
                    commits,
                    is_clean,
                };
                let text = String::from_utf8(encode(&mark)).unwrap();
                assert_eq!(text.len(), 44);
                assert_eq!(parse(&text), Some(mark));
            }
        }
        for text in ["", "1", "1 2", "x 2 clean", "1 2 clean more"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
