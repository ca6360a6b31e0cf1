//! Mutes and bans in SQL.

use crate::sanctions::{Penalty, Sanction};
use rusqlite::{Connection, Row};
use std::sync::Arc;

/// Keeps one, in the place of the one before, within the transaction.
///
/// # Errors
///
/// The disk failed.
pub fn keep(connection: &Connection, sanction: &Sanction) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO sanctions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(sql)?.execute((
        &*sanction.room,
        &*sanction.user,
        sanction.penalty.as_str(),
        sanction.until_ms.map(u64::cast_signed),
        sanction.reason.as_deref(),
        &*sanction.by,
        sanction.since_ms.cast_signed(),
    ))?;
    Ok(())
}

/// Forgets one, within the transaction.
///
/// # Errors
///
/// The disk failed.
pub fn forget(
    connection: &Connection,
    room: &str,
    user: &str,
    penalty: Penalty,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM sanctions WHERE room = ?1 AND user = ?2 AND penalty = ?3";
    let mut delete = connection.prepare_cached(sql)?;
    delete.execute((room, user, penalty.as_str())).map(|_| ())
}

/// Every one that has not ended; the others are forgotten.
///
/// # Errors
///
/// The disk failed.
pub fn load(connection: &Connection, unix_ms: u64) -> rusqlite::Result<Vec<Arc<Sanction>>> {
    let sql = "DELETE FROM sanctions WHERE until_unix_ms <= ?1";
    connection.execute(sql, [unix_ms.cast_signed()])?;
    let sql = "SELECT room, user, penalty, until_unix_ms, reason, moderator, since_unix_ms FROM sanctions";
    let mut all = connection.prepare(sql)?;
    let all = all.query_map([], |row| sanction(row).map(Arc::new))?;
    all.collect()
}

fn sanction(row: &Row<'_>) -> rusqlite::Result<Sanction> {
    let text = |column| row.get::<_, Box<str>>(column);
    let penalty = text(2)?;
    let is_it = |known: &Penalty| known.as_str() == &*penalty;
    Ok(Sanction {
        room: text(0)?.into(),
        user: text(1)?.into(),
        // What is not known to this version keeps most out.
        penalty: Penalty::ALL.into_iter().find(is_it).unwrap_or(Penalty::Ban),
        until_ms: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        reason: row.get(4)?,
        by: text(5)?.into(),
        since_ms: row.get::<_, i64>(6)?.cast_unsigned(),
    })
}
