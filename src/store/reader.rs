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
    pub(super) connection: Connection,
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
        let opened = find(&self.connection, key)?;
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

/// What the database knows of a log but for the bytes that wait there, and its row.
///
/// # Errors
///
/// The disk failed.
pub fn find(connection: &Connection, key: &Key) -> rusqlite::Result<Option<(i64, Opened)>> {
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
    found.optional()
}

/// About how many bytes wait in a log behind message `confirmed`. Where they are more than `bytes_max`, some of them are
/// not looked at.
///
/// # Errors
///
/// The disk failed.
pub fn waiting_bytes(
    connection: &Connection,
    log_id: i64,
    confirmed: u64,
    bytes_max: u64,
) -> rusqlite::Result<u64> {
    let sql = "SELECT octet_length(content) + coalesce(octet_length(metadata), 0) + 128
               FROM messages WHERE log_id = ?1 AND seq_id > ?2 ORDER BY seq_id";
    let mut lengths = connection.prepare_cached(sql)?;
    let mut rows = lengths.query((log_id, confirmed.cast_signed()))?;
    let mut bytes = 0;
    while bytes <= bytes_max
        && let Some(row) = rows.next()?
    {
        bytes += unsigned(row, 0)?;
    }
    Ok(bytes)
}

/// Reads a stretch of a log. See [`Reader::read`].
pub fn read(
    connection: &Connection,
    key: &Key,
    span: Span,
    each: &mut dyn FnMut(&Entry<'_>) -> bool,
) -> rusqlite::Result<Option<Opened>> {
    let Some((id, opened)) = find(connection, key)? else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Note, Table, What};
    use crate::store::{Plan, Retention, open};

    #[test]
    fn what_waits_in_an_inbox_is_counted_at_its_opening_alone_and_only_until_it_is_full() {
        const COUNT: u64 = 1_000;
        const INBOX_BYTES_MAX: usize = 10_000;
        let folder = std::env::temp_dir().join(format!("roomcast-waits-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let plan = Plan {
            folder: folder.clone(),
            retention: Retention::default(),
            is_new_epoch: false,
            inbox_bytes_max: INBOX_BYTES_MAX,
            seed: [7; 32],
        };
        let mut opened = open(plan).expect("a store");
        let mut reader = SqliteReader::open(&folder.join("roomcast.db")).expect("a reader");
        let table = opened.table();
        let (space, name) = (Space::Inbox, "bob".into());
        let key = Key { space, name };
        table.begin().expect("a transaction");
        for seq in 1..=COUNT {
            let entry = Entry {
                seq,
                unix_ms: 1,
                dedupe: None,
                client: 0,
                copy: Copy::None,
                draft: Draft {
                    what: What::Message,
                    sender: "bob",
                    to: Some("ann"),
                    id: None,
                    content: "12",
                    metadata: Some("{}"),
                },
            };
            table.append(&key, 1, &entry).expect("kept");
        }
        table.commit().expect("kept");
        let span = Span {
            after: 0,
            until: 1,
            newest_first: false,
        };
        let read = reader.read(&key, span, &mut |_| false).expect("read");
        assert_eq!(read.expect("a log").waiting_bytes, 0, "it is only read");
        let mut waiting = |confirmed| {
            table.begin().expect("a transaction");
            let (name, seq) = (key.name.clone(), confirmed);
            table.note(&Note::Confirm { name, seq }).expect("kept");
            table.commit().expect("kept");
            let opened = table.open(&key).expect("read").expect("a log");
            opened.waiting_bytes
        };
        let message_bytes = 128 + 4;
        let enough = (INBOX_BYTES_MAX as u64 / message_bytes + 1) * message_bytes;
        assert_eq!(waiting(0), enough, "the rest is not looked at");
        assert_eq!(waiting(COUNT - 10), 10 * message_bytes);
        assert_eq!(waiting(COUNT), 0);
        drop(reader);
        opened.close().expect("in good order");
        let _ = std::fs::remove_dir_all(&folder);
    }
}
