//! Deletions and what they leave, in SQL.

use crate::log::What;
use rusqlite::{Connection, Row};

/// What the columns `deletes` and `deleted` of an entry hold.
pub fn columns(what: What) -> (Option<i64>, bool) {
    match what {
        What::Message => (None, false),
        What::Deletion(seq) => (Some(seq.cast_signed()), false),
        What::Deleted => (None, true),
    }
}

/// What an entry is by its two columns, which stand at these places of a row.
///
/// # Errors
///
/// They hold something else.
pub fn what(row: &Row<'_>, (deletes, deleted): (usize, usize)) -> rusqlite::Result<What> {
    let deletes: Option<i64> = row.get(deletes)?;
    Ok(match (deletes, row.get(deleted)?) {
        (Some(seq), _) => What::Deletion(seq.cast_unsigned()),
        (None, true) => What::Deleted,
        (None, false) => What::Message,
    })
}

/// Leaves only a tombstone of a message, within the transaction. What it was is overwritten, not only let go of.
///
/// # Errors
///
/// The disk failed.
pub fn erase(connection: &Connection, log_id: i64, seq: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "secure_delete", true)?;
    let sql = "UPDATE messages SET content = 'null', metadata = NULL, id = NULL, deleted = 1
               WHERE log_id = ?1 AND seq_id = ?2 AND deletes IS NULL";
    let erased = connection.prepare_cached(sql)?.execute((log_id, seq));
    connection.pragma_update(None, "secure_delete", false)?;
    erased.map(|_| ())
}
