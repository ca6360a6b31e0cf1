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
    /// Every claimed name, at a start: who was connected when the process before ended has left now.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn names(&self, unix_ms: u64) -> rusqlite::Result<Vec<Restored>> {
        let sql = "UPDATE users SET seen_unix_ms = ?1 WHERE seen_unix_ms = 0";
        self.connection.execute(sql, [unix_ms.cast_signed()])?;
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
            Note::Returned { name } => {
                let sql = "UPDATE users SET seen_unix_ms = 0 WHERE name = ?1";
                connection.prepare_cached(sql)?.execute([&**name])?;
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
                lifted,
            } => sanctions::forget(connection, (room, user, *penalty), lifted)?,
        }
        Ok(())
    }

    /// The inbox of a name that changes hands. Its messages are removed in the background, and what is still owed to it
    /// is not for the next owner.
    fn drop_inbox(&mut self, name: &Arc<str>) -> rusqlite::Result<()> {
        // What this transaction has added to it goes with it.
        self.write_heads()?;
        self.forget_owner(&Key {
            space: Space::Inbox,
            name: name.clone(),
        });
        let sql = "DELETE FROM copies WHERE log_id = (SELECT id FROM logs WHERE space = 'inbox' AND name = ?1)";
        self.connection.prepare_cached(sql)?.execute([&**name])?;
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
    use super::*;
    use crate::log::{Copy, Draft, Entry, Table, What};
    use crate::store::tests::Scratch;

    /// A message to bob, of which the copy is owed.
    fn entry(seq: u64, sender: &str) -> Entry<'_> {
        Entry {
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
        }
    }

    fn bobs() -> Key {
        Key {
            space: Space::Inbox,
            name: "bob".into(),
        }
    }

    fn keep(table: &mut SqliteTable, notes: &[Note]) {
        table.begin().expect("a transaction");
        for note in notes {
            table.note(note).expect("kept");
        }
        table.commit().expect("kept");
    }

    #[test]
    fn who_was_connected_when_a_process_ended_has_left_at_the_start_of_the_next() {
        let scratch = Scratch::new("seen");
        let mut store = scratch.open();
        let claim = |name: &str| Note::Claim {
            name: name.into(),
            secret: NO_SECRET,
            epoch: 1,
            address: None,
            since_ms: 1,
        };
        let left = |name: &str, unix_ms| Note::Left {
            name: name.into(),
            unix_ms,
        };
        let name = "back".into();
        let notes = [
            claim("there"),
            claim("gone"),
            left("gone", 1),
            claim("back"),
            left("back", 1),
            Note::Returned { name },
        ];
        keep(store.table(), &notes);
        let now_ms = 30 * 24 * 3_600_000;
        let names = store.table().names(now_ms).expect("read");
        let mut hours: Vec<(&str, u64)> = names
            .iter()
            .map(|restored| (&*restored.name, restored.left_hours))
            .collect();
        hours.sort_unstable();
        let expected = [("back", 0), ("gone", 30 * 24 - 1), ("there", 0)];
        assert_eq!(hours, expected);
        // Whoever does not come back is forgotten in the end.
        let later = store.table().names(2 * now_ms).expect("read");
        let is_there = |restored: &&Restored| &*restored.name == "there";
        let there = later.iter().find(is_there).expect("it is held");
        assert_eq!(there.left_hours, 30 * 24);
        store.close().expect("in good order");
    }

    #[test]
    fn an_inbox_goes_with_what_the_same_transaction_added_to_it() {
        let scratch = Scratch::new("moved");
        let mut store = scratch.open();
        let table = store.table();
        let number = |table: &SqliteTable, sql: &str| {
            let number = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            table.connection.query_row(sql, [], number).expect("read")
        };
        table.begin().expect("a transaction");
        table.append(&bobs(), 1, &entry(1, "ann")).expect("kept");
        let name = "bob".into();
        table.note(&Note::Release { name }).expect("kept");
        table.commit().expect("kept");
        let copies = number(table, "SELECT count(*) FROM copies");
        assert_eq!(copies, 0, "there is nothing that could be copied");
        // Upkeep removes messages up to the head.
        let head = number(table, "SELECT head FROM logs WHERE space = 'dropped'");
        assert_eq!(head, 1);
        store.close().expect("in good order");
    }

    #[test]
    fn what_is_owed_to_a_name_goes_with_it() {
        let scratch = Scratch::new("owed");
        let mut store = scratch.open();
        let table = store.table();
        let bobs = bobs();
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
        store.close().expect("in good order");
    }
}
