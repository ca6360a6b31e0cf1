//! Claimed names, and what else is noted of users.

use super::reader::unsigned;
use super::sanctions;
use super::table::SqliteTable;
use crate::hub::Restored;
use crate::log::{Head, Note};
use crate::room::{Key, Space};
use crate::users::SecretHash;
use std::sync::Arc;

impl SqliteTable {
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

    /// Adds a note to the transaction.
    pub(super) fn keep_note(&mut self, note: &Note) -> rusqlite::Result<()> {
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
    fn drop_inbox(&mut self, name: &Arc<str>) -> rusqlite::Result<()> {
        self.forget_place(&Key {
            space: Space::Inbox,
            name: name.clone(),
        });
        let sql =
            "UPDATE logs SET space = 'dropped', name = id WHERE space = 'inbox' AND name = ?1";
        self.connection.prepare_cached(sql)?.execute([&**name])?;
        Ok(())
    }
}
