//! Mutes and bans in SQL.

use crate::log::Lifted;
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

/// Forgets one, within the transaction: that of a user in a room.
///
/// # Errors
///
/// The disk failed.
pub fn forget(
    connection: &Connection,
    (room, user, penalty): (&str, &str, Penalty),
    lifted: &Lifted,
) -> rusqlite::Result<()> {
    let ended_ms = match lifted {
        Lifted::Asked { .. } => None,
        Lifted::Ended { unix_ms } => Some(unix_ms.cast_signed()),
    };
    let sql = "DELETE FROM sanctions WHERE room = ?1 AND user = ?2 AND penalty = ?3
               AND (?4 IS NULL OR until_unix_ms <= ?4)";
    let mut delete = connection.prepare_cached(sql)?;
    let row = (room, user, penalty.as_str(), ended_ms);
    delete.execute(row).map(|_| ())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Asked, Note, Table};
    use crate::room::Connection;
    use crate::store::tests::Scratch;

    #[test]
    fn what_has_taken_the_place_of_an_ended_one_goes_on() {
        let scratch = Scratch::new("lifted");
        let mut opened = scratch.open();
        let table = opened.table();
        let asked = Asked {
            from: Connection::NONE,
            id: None,
        };
        let mute = |user: &str, until_ms| Note::Sanction {
            sanction: Arc::new(Sanction {
                room: "r".into(),
                user: user.into(),
                penalty: Penalty::Mute,
                until_ms,
                reason: None,
                by: "mod".into(),
                since_ms: 1,
            }),
            asked: asked.clone(),
        };
        let lift = |user: &str, lifted| Note::Lift {
            room: "r".into(),
            user: user.into(),
            penalty: Penalty::Mute,
            lifted,
        };
        let ended = Lifted::Ended { unix_ms: 100 };
        let by_moderator = Lifted::Asked {
            asked: asked.clone(),
            by: "mod".into(),
        };
        table.begin().expect("a transaction");
        for (user, until_ms, lifted) in [
            ("over", Some(100), &ended),
            ("again", Some(101), &ended),
            ("for good", None, &ended),
            ("lifted", Some(101), &by_moderator),
        ] {
            table.note(&mute(user, until_ms)).expect("kept");
            table.note(&lift(user, lifted.clone())).expect("kept");
        }
        table.commit().expect("kept");
        let left = load(&table.connection, 0).expect("read");
        let mut users: Vec<&str> = left.iter().map(|sanction| &*sanction.user).collect();
        users.sort_unstable();
        assert_eq!(users, ["again", "for good"]);
        opened.close().expect("in good order");
    }
}
