//! Claimed names, and what else is noted of users.

use super::reader::unsigned;
use super::sanctions;
use super::table::SqliteTable;
use crate::hub::Restored;
use crate::log::{Head, Note};
use crate::room::{Key, Space};
use crate::users::{NO_SECRET, SecretHash};
use std::sync::Arc;

impl SqliteTable {
    /// Every claimed name.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn names(&self, unix_ms: u64) -> rusqlite::Result<Vec<Restored>> {
        let mut names = self.connection.prepare(
            "SELECT u.name, u.secret, coalesce(l.epoch, u.epoch), coalesce(l.head, 0), u.address,
                    u.seen_unix_ms, u.since_unix_ms
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
                since_ms: unsigned(row, 6)?,
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
                since_ms,
            } => {
                self.drop_inbox(name)?;
                let sql = "INSERT OR REPLACE INTO users VALUES (?1, ?2, ?3, ?4, 0, ?5)";
                let address = address.map(|address| address.to_string());
                let mut insert = self.connection.prepare_cached(sql)?;
                let (epoch, since_ms) = (epoch.cast_signed(), since_ms.cast_signed());
                insert.execute((&**name, secret, epoch, address, since_ms))?;
            }
            Note::Seal { name } => {
                let sql = "UPDATE users SET secret = ?2 WHERE name = ?1";
                let mut update = connection.prepare_cached(sql)?;
                update.execute((&**name, NO_SECRET))?;
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

    /// The inbox of a name that changes hands. Its messages are removed in the background, and what is still owed to it
    /// is not for the next owner.
    fn drop_inbox(&mut self, name: &Arc<str>) -> rusqlite::Result<()> {
        self.forget_place(&Key {
            space: Space::Inbox,
            name: name.clone(),
        });
        let sql =
            "UPDATE logs SET space = 'dropped', name = id WHERE space = 'inbox' AND name = ?1";
        self.connection.prepare_cached(sql)?.execute([&**name])?;
        let sql = "DELETE FROM copies WHERE EXISTS (SELECT 1 FROM messages AS m
                   WHERE m.log_id = copies.log_id AND m.seq_id = copies.seq_id AND m.sender = ?1)";
        self.connection.prepare_cached(sql)?.execute([&**name])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::log::{Copy, Draft, Entry, Note, Table, What};
    use crate::room::{Key, Space};
    use crate::store::{Plan, Retention, open};

    #[test]
    fn what_is_owed_to_a_name_goes_with_it() {
        let folder = std::env::temp_dir().join(format!("roomcast-owed-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let plan = Plan {
            folder: folder.clone(),
            retention: Retention::default(),
            is_new_epoch: false,
            inbox_bytes_max: crate::limits::Limits::default().inbox_bytes_max,
            seed: [7; 32],
        };
        let mut opened = open(plan).expect("a store");
        let table = opened.table();
        let entry = |seq, sender| Entry {
            seq,
            unix_ms: 1,
            dedupe: None,
            client: 0,
            copy: Copy::Owed(u128::from(seq)),
            draft: Draft {
                what: What::Message,
                sender,
                to: Some("bob"),
                id: None,
                content: "1",
                metadata: None,
            },
        };
        let bobs = Key {
            space: Space::Inbox,
            name: "bob".into(),
        };
        table.begin().expect("a transaction");
        for (seq, sender) in [(1, "ann"), (2, "eve")] {
            table.append(&bobs, 1, &entry(seq, sender)).expect("kept");
        }
        table.commit().expect("kept");
        table.begin().expect("a transaction");
        let name = "ann".into();
        table.note(&Note::Release { name }).expect("kept");
        table.commit().expect("kept");
        let owed: Vec<u64> = table
            .owed()
            .expect("read")
            .iter()
            .map(|owed| owed.seq)
            .collect();
        assert_eq!(owed, [2]);
        opened.close().expect("in good order");
        let _ = std::fs::remove_dir_all(&folder);
    }
}
