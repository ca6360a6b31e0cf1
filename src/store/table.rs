//! The table of the log service in SQLite. A thin adapter: it decides nothing.

use super::checkpoint::{self, Checkpoints};
use super::deletions;
use super::folder::{Mark, MarkFile};
use super::ids::Ids;
use super::reader::{BUSY, find, meta, read, space, unsigned, waiting_bytes};
use super::readers;
use super::upkeep::Upkeep;
use crate::hashing::HashKey;
use crate::limits::STORE_PLACE_COUNT_MAX;
use crate::log::{
    Copy, Draft, Entry, First, Head, Note, Opened, Owed, Reader, Span, Table, TableError, What,
};
use crate::room::{Key, Space};
use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension, params};
use std::io;
use std::time::Duration;

/// Where a log lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: i64,
    /// Number and time of its last entry, where this transaction has moved it.
    moved: Option<(u64, u64)>,
}

/// What became of the write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emptied {
    /// All of it is in the database, and it is empty.
    Whole,
    /// Somebody else reads the database, and some of it has to stay for that.
    Busy,
}

/// The committer's connection.
#[derive(Debug)]
pub struct SqliteTable {
    pub(super) connection: Connection,
    epoch: u64,
    /// Bytes over which an inbox is full.
    inbox_bytes_max: u64,
    places: HashMap<Key, Place, HashKey>,
    /// See [`Table::owner`].
    owners: HashMap<Box<str>, Option<u64>, HashKey>,
    /// See [`Table::has_imported`].
    has_imported: bool,
    /// Names that were claimed later than this have owners of their own, in milliseconds since the Unix epoch.
    told_apart_ms: u64,
    /// Logs that this transaction has moved.
    moved: Vec<Key>,
    ids: Ids,
    /// Where they are made beside this connection.
    checkpoints: Option<Checkpoints>,
    mark: Mark,
    mark_file: MarkFile,
}

impl SqliteTable {
    /// The table of a database that is migrated and configured.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn new(
        connection: Connection,
        mark: Mark,
        mark_file: MarkFile,
        id_key: HashKey,
        inbox_bytes_max: u64,
    ) -> rusqlite::Result<SqliteTable> {
        let epoch: i64 = meta(&connection, "epoch")?;
        let told_apart_ms: i64 = meta(&connection, "told_apart_ms")?;
        let has_imported = meta(&connection, "imported").optional()?;
        Ok(SqliteTable {
            ids: Ids::load(&connection)?,
            checkpoints: None,
            connection,
            epoch: epoch.cast_unsigned(),
            inbox_bytes_max,
            places: HashMap::with_hasher(id_key),
            owners: HashMap::with_hasher(id_key),
            has_imported: has_imported.is_some(),
            told_apart_ms: told_apart_ms.cast_unsigned(),
            moved: Vec::new(),
            mark,
            mark_file,
        })
    }

    /// Says, in the transaction, that a log begins behind message `seq`.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn begin_at(&mut self, key: &Key, seq: u64) -> rusqlite::Result<()> {
        let sql = "UPDATE logs SET trimmed = ?3 WHERE space = ?1 AND name = ?2";
        let mut update = self.connection.prepare_cached(sql)?;
        let row = (space(key.space), &*key.name, seq.cast_signed());
        update.execute(row).map(|_| ())
    }

    /// Says, in the transaction, that logs came from elsewhere.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn note_import(&mut self) -> rusqlite::Result<()> {
        self.has_imported = true;
        let sql = "INSERT OR IGNORE INTO meta (name, value) VALUES ('imported', 1)";
        self.connection.execute(sql, []).map(|_| ())
    }

    /// From now on checkpoints are made on a thread, over another connection to the same database.
    ///
    /// # Errors
    ///
    /// The system refused a thread.
    pub fn checkpoint_beside(&mut self, other: Connection) -> io::Result<()> {
        self.checkpoints = Some(Checkpoints::start(&self.connection, other)?);
        Ok(())
    }

    /// Does a small step of the upkeep. Gives the logs that were trimmed, and up to where.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn tidy(
        &mut self,
        upkeep: &mut Upkeep,
        unix_ms: u64,
    ) -> Result<Vec<(Key, u64)>, TableError> {
        self.before()?;
        let trimmed = upkeep.step(&mut self.connection, unix_ms)?;
        self.behind();
        Ok(trimmed)
    }

    /// What is to be done before a transaction.
    fn before(&mut self) -> Result<(), TableError> {
        if let Some(checkpoints) = &mut self.checkpoints
            && checkpoints.before()?
        {
            checkpoint::pass(&self.connection)?;
        }
        Ok(())
    }

    /// What is to be done behind one.
    fn behind(&mut self) {
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.behind();
        }
    }

    /// Forgets where the inbox of a name lies, and whose the name is.
    pub(super) fn forget_owner(&mut self, inbox: &Key) {
        self.places.remove(inbox);
        self.owners.remove(&*inbox.name);
    }

    /// Brings the write-ahead log into the database and empties it, as far as others let it.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn checkpoint(&mut self) -> Result<Emptied, TableError> {
        if let Some(checkpoints) = &mut self.checkpoints {
            // What has failed there is done again here.
            let _ = checkpoints.rest();
        }
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(match busy {
            0 => Emptied::Whole,
            _ => Emptied::Busy,
        })
    }

    /// Sees to it that all that was written before is on the disk: at once, or where somebody else reads the database,
    /// by a commit, which syncs what is before it in the write-ahead log.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn settle_log(&mut self) -> Result<(), TableError> {
        if self.checkpoint()? == Emptied::Busy {
            log::warn!(
                "{} reads the database: its write-ahead log stays as it is",
                self.others()
            );
            self.begin()?;
            self.commit()?;
        }
        Ok(())
    }

    /// Gives what the write-ahead log takes back to the volume, if nobody reads the database at this moment.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn give_back(&mut self) -> Result<(), TableError> {
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.rest()?;
        }
        self.connection.busy_timeout(Duration::ZERO)?;
        let emptied = self.checkpoint();
        self.connection.busy_timeout(BUSY)?;
        emptied.map(|_| ())
    }

    /// Who else has the database open.
    fn others(&self) -> String {
        readers::others(self.connection.path().unwrap_or_default())
    }

    /// Bytes of the database that hold nothing any more, so that what is written next takes none from the volume.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn reusable_bytes(&self) -> rusqlite::Result<u64> {
        let number = |name| {
            let number = |row: &rusqlite::Row<'_>| unsigned(row, 0);
            self.connection.pragma_query_value(None, name, number)
        };
        Ok(number("freelist_count")? * number("page_size")?)
    }

    /// Sees to it that the high-water mark is on the disk.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn sync_mark(&self) -> io::Result<()> {
        self.mark_file.sync()
    }

    /// Notes that the store stops in good order.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn close(mut self) -> Result<(), TableError> {
        if self.checkpoint()? == Emptied::Busy {
            log::warn!(
                "{} reads the database: what was kept stays in its write-ahead log until the next start",
                self.others()
            );
        }
        // Its connection is not to be the last that is closed.
        self.checkpoints = None;
        self.connection
            .close()
            .map_err(|(_, error)| TableError::from(error))?;
        self.mark.is_clean = true;
        let synced = self.mark_file.write(&self.mark);
        synced
            .and_then(|()| self.mark_file.sync())
            .map_err(|error| TableError(error.to_string()))
    }

    fn place(&mut self, key: &Key) -> rusqlite::Result<Option<Place>> {
        if let Some(place) = self.places.get(key) {
            return Ok(Some(*place));
        }
        let sql = "SELECT id FROM logs WHERE space = ?1 AND name = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let id = find
            .query_row((space(key.space), &*key.name), |row| row.get(0))
            .optional()?;
        let place = id.map(|id| Place { id, moved: None });
        if let Some(place) = place {
            if self.places.len() >= STORE_PLACE_COUNT_MAX && self.moved.is_empty() {
                self.places.clear();
            }
            self.places.insert(key.clone(), place);
        }
        Ok(place)
    }

    fn make_log(&mut self, key: &Key, epoch: u64) -> rusqlite::Result<Place> {
        if let Some(place) = self.place(key)? {
            return Ok(place);
        }
        let sql = "INSERT INTO logs (space, name, epoch, head) VALUES (?1, ?2, ?3, 0)";
        let mut insert = self.connection.prepare_cached(sql)?;
        let id = insert.insert((space(key.space), &*key.name, epoch.cast_signed()))?;
        let place = Place { id, moved: None };
        self.places.insert(key.clone(), place);
        Ok(place)
    }

    fn insert(&mut self, key: &Key, epoch: u64, entry: &Entry<'_>) -> rusqlite::Result<()> {
        let Place { id, moved } = self.make_log(key, epoch)?;
        let Draft {
            sender,
            to,
            id: message_id,
            content,
            metadata,
            what,
        } = entry.draft;
        let (seq, unix_ms) = (entry.seq.cast_signed(), entry.unix_ms.cast_signed());
        let sql = "INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let client = entry.client.cast_signed();
        let (deletes, is_deleted) = deletions::columns(what);
        let content = if what == What::Message {
            content
        } else {
            "null"
        };
        self.connection.prepare_cached(sql)?.execute(params![
            id, seq, unix_ms, sender, to, message_id, client, content, metadata, deletes,
            is_deleted
        ])?;
        if let Some(deletes) = deletes {
            deletions::erase(&self.connection, id, deletes)?;
        }
        if let Some(dedupe) = entry.dedupe {
            self.ids.insert(id, dedupe, (entry.seq, entry.unix_ms));
        }
        match entry.copy {
            Copy::None => {}
            Copy::Owed(dedupe) => {
                let sql = "INSERT OR REPLACE INTO copies VALUES (?1, ?2, ?3)";
                let mut insert = self.connection.prepare_cached(sql)?;
                insert.execute((dedupe.to_be_bytes(), id, seq))?;
            }
            Copy::Settles(dedupe) => self.forget_copy(dedupe)?,
        }
        if moved.is_none() {
            self.moved.push(key.clone());
        }
        if let Some(place) = self.places.get_mut(key) {
            place.moved = Some((entry.seq, entry.unix_ms));
        }
        Ok(())
    }

    fn forget_copy(&mut self, dedupe: u128) -> rusqlite::Result<()> {
        let sql = "DELETE FROM copies WHERE key = ?1";
        let mut delete = self.connection.prepare_cached(sql)?;
        delete.execute([dedupe.to_be_bytes()]).map(|_| ())
    }

    /// Writes where the logs of the transaction stand now.
    pub(super) fn write_heads(&mut self) -> rusqlite::Result<()> {
        let sql = "UPDATE logs SET head = ?2, unix_ms = ?3 WHERE id = ?1";
        let mut update = self.connection.prepare_cached(sql)?;
        for key in self.moved.drain(..) {
            if let Some(place) = self.places.get_mut(&key)
                && let Some((seq, unix_ms)) = place.moved.take()
            {
                update.execute((place.id, seq.cast_signed(), unix_ms.cast_signed()))?;
            }
        }
        Ok(())
    }

    /// Writes, in the transaction, what is remembered of its messages, so that a long one needs no more memory than a
    /// short one.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn write_down(&mut self) -> rusqlite::Result<()> {
        self.write_heads()?;
        self.ids.write(&self.connection)
    }

    fn finish(&mut self) -> rusqlite::Result<()> {
        self.write_down()?;
        let sql = "UPDATE meta SET value = value + 1 WHERE name = 'commits'";
        self.connection.prepare_cached(sql)?.execute([])?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.mark.commits += 1;
        Ok(())
    }
}

impl Reader for SqliteTable {
    fn read(
        &mut self,
        key: &Key,
        span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        Ok(read(&self.connection, key, span, each)?)
    }
}

impl Table for SqliteTable {
    fn open(&mut self, key: &Key) -> Result<Option<Opened>, TableError> {
        let moved = self.places.get(key).and_then(|place| place.moved);
        let found = find(&self.connection, key)?;
        if let Some((id, mut opened)) = found {
            if let Some((seq, unix_ms)) = moved {
                (opened.head.seq, opened.unix_ms) = (seq, unix_ms);
            }
            if key.space == Space::Inbox && opened.confirmed < opened.head.seq {
                let (confirmed, bytes_max) = (opened.confirmed, self.inbox_bytes_max);
                opened.waiting_bytes = waiting_bytes(&self.connection, id, confirmed, bytes_max)?;
            }
            return Ok(Some(opened));
        }
        if key.space != Space::Inbox {
            return Ok(None);
        }
        let sql = "SELECT epoch FROM users WHERE name = ?1";
        let mut find = self.connection.prepare_cached(sql)?;
        let epoch = find.query_row([&*key.name], |row| unsigned(row, 0));
        let head = epoch.optional()?.map(|epoch| Head { epoch, seq: 0 });
        Ok(head.map(Opened::nothing))
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn find(&mut self, key: &Key, dedupe: u128) -> Result<Option<First>, TableError> {
        let Some(place) = self.place(key)? else {
            return Ok(None);
        };
        Ok(self.ids.find(&self.connection, place.id, dedupe)?)
    }

    fn begin(&mut self) -> Result<(), TableError> {
        self.before()?;
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        Ok(())
    }

    fn append(&mut self, key: &Key, epoch: u64, entry: &Entry<'_>) -> Result<(), TableError> {
        Ok(self.insert(key, epoch, entry)?)
    }

    fn note(&mut self, note: &Note) -> Result<(), TableError> {
        Ok(self.keep_note(note)?)
    }

    fn settle(&mut self, dedupe: u128) -> Result<(), TableError> {
        Ok(self.forget_copy(dedupe)?)
    }

    fn commit(&mut self) -> Result<(), TableError> {
        self.finish()?;
        self.behind();
        // Behind the commit, before anyone hears of it.
        self.mark_file
            .write(&self.mark)
            .map_err(|error| TableError(format!("the high-water mark: {error}")))
    }

    fn recover(&mut self) -> Result<(), TableError> {
        self.places.clear();
        self.owners.clear();
        self.moved.clear();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        if self.checkpoint()? == Emptied::Busy {
            let others = self.others();
            return Err(TableError(format!(
                "{others} reads the database for too long"
            )));
        }
        self.ids = Ids::load(&self.connection)?;
        let commits: i64 = meta(&self.connection, "commits")?;
        self.mark.commits = commits.cast_unsigned();
        // That reading works says nothing of writing.
        self.begin()?;
        self.commit()
    }

    fn owed(&mut self) -> Result<Vec<Owed>, TableError> {
        let sql = "SELECT c.key, l.space, l.name, c.seq_id FROM copies AS c
                   LEFT JOIN logs AS l ON l.id = c.log_id";
        let mut owed = self.connection.prepare(sql)?;
        let owed = owed.query_map([], |row| {
            // The message of one without a log is gone: nothing is found, and it is settled.
            let name: Option<String> = row.get(2)?;
            Ok(Owed {
                dedupe: u128::from_be_bytes(row.get(0)?),
                key: Key {
                    space: Space::Inbox,
                    name: name.unwrap_or_default().into(),
                },
                seq: unsigned(row, 3)?,
            })
        })?;
        Ok(owed.collect::<rusqlite::Result<_>>()?)
    }

    fn is_owed(&mut self, dedupe: u128) -> Result<bool, TableError> {
        let sql = "SELECT 1 FROM copies WHERE key = ?1";
        let mut find = self.connection.prepare_cached(sql)?;
        Ok(find.exists([dedupe.to_be_bytes()])?)
    }

    fn has_imported(&self) -> bool {
        self.has_imported
    }

    fn owner(&mut self, name: &str) -> Result<Option<u64>, TableError> {
        if let Some(owner) = self.owners.get(name) {
            return Ok(*owner);
        }
        let sql = "SELECT since_unix_ms FROM users WHERE name = ?1";
        let mut find = self.connection.prepare_cached(sql)?;
        let since_ms = find.query_row([name], |row| unsigned(row, 0)).optional()?;
        // Ids were kept for whoever had the name, before it was told since when that is.
        let owner = since_ms.map(|since_ms| {
            if since_ms > self.told_apart_ms {
                since_ms
            } else {
                0
            }
        });
        if self.owners.len() >= STORE_PLACE_COUNT_MAX {
            self.owners.clear();
        }
        self.owners.insert(name.into(), owner);
        Ok(owner)
    }
}

impl From<rusqlite::Error> for TableError {
    fn from(error: rusqlite::Error) -> TableError {
        TableError(error.to_string())
    }
}
