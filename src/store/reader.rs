//! What every connection to the database does: its settings, and reading logs.

use super::deletions;
use crate::limits::{STORE_CACHE_BYTES, WAL_PAGE_COUNT};
use crate::log::{Copy, Draft, Entry, Head, Opened, Reader, Span, TableError};
use crate::room::{Key, Space};
use rusqlite::{Connection, OptionalExtension, Row};
use std::path::Path;
use std::time::Duration;

/// How long a lock of another program (somebody's `sqlite3`) is waited for.
pub const BUSY: Duration = Duration::from_secs(2);
/// A connection for reading alone.
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

/// A number that is stored as a signed one.
pub fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// What the database knows of a log, and its row.
///
/// # Errors
///
/// The disk failed.
pub fn opened(connection: &Connection, key: &Key) -> rusqlite::Result<Option<(i64, Opened)>> {
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

/// Reads a stretch of a log. See [`Reader::read`].
pub fn read(
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
