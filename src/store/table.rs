//! The table of the log service in SQLite. A thin adapter: it decides nothing.

use super::folder::{Mark, MarkFile};
use super::{deletions, sanctions};
use crate::hashing::HashKey;
use crate::hub::Restored;
use crate::limits::{STORE_CACHE_BYTES, WAL_PAGE_COUNT};
use crate::log::{
    Copy, Draft, Entry, First, Head, Note, Opened, Owed, Reader, Span, Table, TableError, What,
};
use crate::room::{Key, Space};
use crate::users::SecretHash;
use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::path::Path;
use std::time::Duration;

/// How long a lock of another program (somebody's `sqlite3`) is waited for.
const BUSY: Duration = Duration::from_secs(2);
/// Logs whose places are remembered.
const PLACE_COUNT_MAX: usize = 100_000;

/// Where a log lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: i64,
    /// Number and time of its last entry, where this transaction has moved it.
    moved: Option<(u64, u64)>,
}

/// The committer's connection.
#[derive(Debug)]
pub struct SqliteTable {
    connection: Connection,
    epoch: u64,
    places: HashMap<Key, Place, HashKey>,
    /// Logs that this transaction has moved.
    moved: Vec<Key>,
    mark: Mark,
    mark_file: MarkFile,
}

/// Another connection, for reading alone.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
}

/// Settings of a connection.
///
/// # Errors
///
/// The disk failed.
pub fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGE_COUNT)?;
    connection.pragma_update(
        None,
        "journal_size_limit",
        2 * i64::from(WAL_PAGE_COUNT) * 4096,
    )?;
    connection.pragma_update(None, "temp_store", "memory")?;
    let kib = i64::try_from(STORE_CACHE_BYTES / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kib)
}

impl SqliteReader {
    /// A connection to the same database.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn open(path: &Path) -> rusqlite::Result<SqliteReader> {
        let connection = Connection::open(path)?;
        configure(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(SqliteReader { connection })
    }
}

impl SqliteReader {
    /// The epoch of a log; 0 for one that is not there.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn epoch_of(&self, key: &Key) -> rusqlite::Result<u64> {
        let opened = opened(&self.connection, key)?;
        Ok(opened.map_or(0, |(_, opened)| opened.head.epoch))
    }
}

impl Reader for SqliteReader {
    fn read(
        &mut self,
        key: &Key,
        span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        // One transaction, so that what is said of the log is true of the entries.
        let transaction = self.connection.transaction()?;
        Ok(read(&transaction, key, span, each)?)
    }
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
    ) -> rusqlite::Result<SqliteTable> {
        let epoch: i64 = meta(&connection, "epoch")?;
        Ok(SqliteTable {
            connection,
            epoch: epoch.cast_unsigned(),
            places: HashMap::with_hasher(id_key),
            moved: Vec::new(),
            mark,
            mark_file,
        })
    }

    /// Every claimed name.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn names(&self, unix_ms: u64) -> rusqlite::Result<Vec<Restored>> {
        let mut names = self.connection.prepare(
            "SELECT u.name, u.secret, coalesce(l.epoch, u.epoch), coalesce(l.head, 0), u.address, u.seen_unix_ms
             FROM users AS u LEFT JOIN logs AS l ON l.space = 'inbox' AND l.name = u.name",
        )?;
        let names = names.query_map([], |row| {
            let address: Option<String> = row.get(4)?;
            let seen_ms = row.get::<_, i64>(5)?.cast_unsigned();
            Ok(Restored {
                name: row.get::<_, String>(0)?.into(),
                secret: row.get::<_, SecretHash>(1)?,
                inbox: Head {
                    epoch: unsigned(row, 2)?,
                    seq: unsigned(row, 3)?,
                },
                address: address.and_then(|text| text.parse().ok()),
                left_hours: unix_ms.saturating_sub(seen_ms) / 3_600_000,
            })
        })?;
        names.collect()
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

    /// The connection, for what is no business of the log service.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Brings the write-ahead log into the database and empties it.
    ///
    /// # Errors
    ///
    /// The disk failed, or someone reads for long.
    pub fn checkpoint(&self) -> Result<(), TableError> {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        match busy {
            0 => Ok(()),
            _ => Err(TableError("another program keeps the database busy".into())),
        }
    }

    /// Sees to it that the high-water mark is on the disk.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn sync_mark(&self) -> std::io::Result<()> {
        self.mark_file.sync()
    }

    /// Notes that the store stops in good order.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn close(mut self) -> Result<(), TableError> {
        self.checkpoint()?;
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
            if self.places.len() >= PLACE_COUNT_MAX && self.moved.is_empty() {
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
            let sql = "INSERT OR REPLACE INTO ids VALUES (?1, ?2, ?3, ?4)";
            let mut insert = self.connection.prepare_cached(sql)?;
            insert.execute((id, dedupe.to_be_bytes(), seq, unix_ms))?;
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
    fn write_heads(&mut self) -> rusqlite::Result<()> {
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

    fn finish(&mut self) -> rusqlite::Result<()> {
        self.write_heads()?;
        let sql = "UPDATE meta SET value = value + 1 WHERE name = 'commits'";
        self.connection.prepare_cached(sql)?.execute([])?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.mark.commits += 1;
        Ok(())
    }

    fn keep_note(&mut self, note: &Note) -> rusqlite::Result<()> {
        let connection = &self.connection;
        match note {
            Note::Claim {
                name,
                secret,
                epoch,
                address,
            } => {
                self.drop_inbox(name)?;
                let sql = "INSERT OR REPLACE INTO users VALUES (?1, ?2, ?3, ?4, 0)";
                let address = address.map(|address| address.to_string());
                let mut insert = self.connection.prepare_cached(sql)?;
                insert.execute((&**name, secret, epoch.cast_signed(), address))?;
            }
            Note::Left { name, unix_ms } => {
                let sql = "UPDATE users SET seen_unix_ms = ?2 WHERE name = ?1";
                let mut update = connection.prepare_cached(sql)?;
                update.execute((&**name, unix_ms.cast_signed()))?;
            }
            Note::Release { name } => {
                self.drop_inbox(name)?;
                let sql = "DELETE FROM users WHERE name = ?1";
                self.connection.prepare_cached(sql)?.execute([&**name])?;
            }
            Note::Confirm { name, seq } => {
                let sql = "UPDATE logs SET confirmed = max(confirmed, ?2) WHERE space = 'inbox' AND name = ?1";
                let mut update = connection.prepare_cached(sql)?;
                update.execute((&**name, seq.cast_signed()))?;
            }
            Note::Sanction { sanction, .. } => sanctions::keep(connection, sanction)?,
            Note::Lift {
                room,
                user,
                penalty,
                ..
            } => sanctions::forget(connection, room, user, *penalty)?,
        }
        Ok(())
    }

    /// The inbox of a name that changes hands. Its messages are removed in the background.
    fn drop_inbox(&mut self, name: &std::sync::Arc<str>) -> rusqlite::Result<()> {
        self.places.remove(&Key {
            space: Space::Inbox,
            name: name.clone(),
        });
        let sql =
            "UPDATE logs SET space = 'dropped', name = id WHERE space = 'inbox' AND name = ?1";
        self.connection.prepare_cached(sql)?.execute([&**name])?;
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
        let opened = opened(&self.connection, key)?.map(|(_, mut opened)| {
            if let Some((seq, unix_ms)) = moved {
                (opened.head.seq, opened.unix_ms) = (seq, unix_ms);
            }
            opened
        });
        if opened.is_some() || key.space != Space::Inbox {
            return Ok(opened);
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
        let sql = "SELECT seq_id, unix_ms FROM ids WHERE log_id = ?1 AND key = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let first = find.query_row((place.id, dedupe.to_be_bytes()), |row| {
            Ok((unsigned(row, 0)?, unsigned(row, 1)?))
        });
        Ok(first.optional()?)
    }

    fn begin(&mut self) -> Result<(), TableError> {
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
        // Behind the commit, before anyone hears of it.
        self.mark_file
            .write(&self.mark)
            .map_err(|error| TableError(format!("the high-water mark: {error}")))
    }

    fn recover(&mut self) -> Result<(), TableError> {
        self.places.clear();
        self.moved.clear();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.checkpoint()?;
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

    fn is_claimed(&mut self, name: &str) -> Result<bool, TableError> {
        let sql = "SELECT 1 FROM users WHERE name = ?1";
        Ok(self.connection.prepare_cached(sql)?.exists([name])?)
    }
}

/// A number of the whole store.
///
/// # Errors
///
/// The disk failed.
pub fn meta(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    connection.query_row(sql, [name], |row| row.get(0))
}

/// How a namespace is called in the database.
pub fn space(space: Space) -> &'static str {
    match space {
        Space::Chat => "room",
        Space::Inbox => "inbox",
        Space::Raw => "relay",
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// What the database knows of a log, and its row.
fn opened(connection: &Connection, key: &Key) -> rusqlite::Result<Option<(i64, Opened)>> {
    let sql = "SELECT id, epoch, head, trimmed, confirmed, unix_ms FROM logs WHERE space = ?1 AND name = ?2";
    let mut find = connection.prepare_cached(sql)?;
    let found = find.query_row((space(key.space), &*key.name), |row| {
        let opened = Opened {
            head: Head {
                epoch: unsigned(row, 1)?,
                seq: unsigned(row, 2)?,
            },
            trimmed: unsigned(row, 3)?,
            confirmed: unsigned(row, 4)?,
            unix_ms: unsigned(row, 5)?,
            waiting_bytes: 0,
        };
        Ok((row.get(0)?, opened))
    });
    let Some((id, mut opened)) = found.optional()? else {
        return Ok(None);
    };
    if key.space == Space::Inbox && opened.confirmed < opened.head.seq {
        let sql = "SELECT coalesce(sum(octet_length(content) + coalesce(octet_length(metadata), 0) + 128), 0)
                   FROM messages WHERE log_id = ?1 AND seq_id > ?2";
        let mut sum = connection.prepare_cached(sql)?;
        let confirmed = opened.confirmed.cast_signed();
        opened.waiting_bytes = sum.query_row((id, confirmed), |row| unsigned(row, 0))?;
    }
    Ok(Some((id, opened)))
}

fn read(
    connection: &Connection,
    key: &Key,
    span: Span,
    each: &mut dyn FnMut(&Entry<'_>) -> bool,
) -> rusqlite::Result<Option<Opened>> {
    let Some((id, opened)) = opened(connection, key)? else {
        return Ok(None);
    };
    let mut entries = connection.prepare_cached(match span.newest_first {
        false => {
            "SELECT seq_id, unix_ms, sender, recipient, id, client, content, metadata, deletes, deleted FROM messages
             WHERE log_id = ?1 AND seq_id > ?2 AND seq_id <= ?3 ORDER BY seq_id"
        }
        true => {
            "SELECT seq_id, unix_ms, sender, recipient, id, client, content, metadata, deletes, deleted FROM messages
             WHERE log_id = ?1 AND seq_id > ?2 AND seq_id <= ?3 ORDER BY seq_id DESC"
        }
    })?;
    let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let mut rows = entries.query((id, bound(span.after), bound(span.until)))?;
    while let Some(row) = rows.next()? {
        let text = |column| -> rusqlite::Result<Option<&str>> {
            Ok(row.get_ref(column)?.as_str_or_null()?)
        };
        let entry = Entry {
            seq: unsigned(row, 0)?,
            unix_ms: unsigned(row, 1)?,
            dedupe: None,
            client: unsigned(row, 5)?,
            copy: Copy::None,
            draft: Draft {
                what: deletions::what(row, (8, 9))?,
                sender: text(2)?.unwrap_or_default(),
                to: text(3)?,
                id: text(4)?,
                content: text(6)?.unwrap_or_default(),
                metadata: text(7)?,
            },
        };
        if !each(&entry) {
            break;
        }
    }
    Ok(Some(opened))
}

impl From<rusqlite::Error> for TableError {
    fn from(error: rusqlite::Error) -> TableError {
        TableError(error.to_string())
    }
}
