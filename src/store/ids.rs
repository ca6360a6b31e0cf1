//! Ids of messages, from the moment they are kept until they are forgotten.
//!
//! The table `ids` is in the order of hashes, so the ids of one transaction are spread over all its pages: writing them
//! there at once is a page to write for almost each message. So a transaction writes its ids together as one row of
//! `new_ids`, and they are remembered here. When there are [`NEW_ID_COUNT_MAX`] of them, later transactions move them to
//! `ids` in its order, some in each, so that a page is written once for all that go there.
//!
//! What is here is in `new_ids` as well; a start and a recovery read it from there.

use crate::limits::NEW_ID_COUNT_MAX;
use crate::log::First;
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeMap;

/// Ids moved for each new one: those to be moved are gone before there are as many again.
const MOVE_COUNT: usize = 2;
/// Rows of `new_ids` that one transaction removes when their ids are all in the table.
const REMOVE_COUNT: i64 = 16;
/// Bytes of one id in `new_ids`.
const PACKED_BYTES: usize = 40;

/// The row of a log, and the key of an id in it.
type Name = (i64, u128);

/// Ids in the order of the table.
type Sorted = BTreeMap<Name, First>;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Ids {
    /// Those that are not to be moved yet.
    new: Sorted,
    /// Those of this transaction, as `new_ids` has them.
    packed: Vec<u8>,
    /// The last row of `new_ids`.
    last_row: i64,
    moving: Moving,
}

/// What becomes of older ids.
#[derive(Debug, Default)]
enum Moving {
    /// All of them are in the table.
    #[default]
    Rest,
    /// These are still to be put there. The row is the last of `new_ids` that has some of them.
    Ids(Sorted, i64),
    /// All up to this row of `new_ids` are there.
    Rows(i64),
}

impl Ids {
    /// The ids of a database.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn load(connection: &Connection) -> rusqlite::Result<Ids> {
        let mut ids = Ids::default();
        let mut rows = connection.prepare("SELECT n, packed FROM new_ids ORDER BY n")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            ids.last_row = row.get(0)?;
            let (packed, _) = row.get_ref(1)?.as_blob()?.as_chunks();
            ids.new.extend(packed.iter().map(unpack));
        }
        Ok(ids)
    }

    /// Where an id of a log was first met.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn find(
        &self,
        connection: &Connection,
        log_id: i64,
        key: u128,
    ) -> rusqlite::Result<Option<First>> {
        let name = (log_id, key);
        let remembered = self.new.get(&name).or_else(|| self.moving.find(&name));
        if remembered.is_some() {
            return Ok(remembered.copied());
        }
        let sql = "SELECT seq_id, unix_ms FROM ids WHERE log_id = ?1 AND key = ?2";
        let mut find = connection.prepare_cached(sql)?;
        let first = find.query_row((log_id, key.to_be_bytes()), |row| {
            let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok((number(0)?, number(1)?))
        });
        first.optional()
    }

    /// Remembers an id, in the transaction.
    pub fn insert(&mut self, log_id: i64, key: u128, first: First) {
        self.new.insert((log_id, key), first);
        pack((log_id, key), first, &mut self.packed);
    }

    /// How many are remembered here.
    #[cfg(test)]
    fn count(&self) -> usize {
        let moving = match &self.moving {
            Moving::Ids(ids, _) => ids.len(),
            Moving::Rest | Moving::Rows(_) => 0,
        };
        self.new.len() + moving
    }

    /// Writes what the transaction has brought, and goes on with what is to be moved.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.packed.is_empty() {
            return Ok(());
        }
        let new_count = self.packed.len() / PACKED_BYTES;
        self.last_row += 1;
        let mut insert = connection.prepare_cached("INSERT INTO new_ids VALUES (?1, ?2)")?;
        insert.execute((self.last_row, &self.packed))?;
        self.packed.clear();
        self.go_on(connection, MOVE_COUNT * new_count)
    }

    fn go_on(&mut self, connection: &Connection, count: usize) -> rusqlite::Result<()> {
        match &mut self.moving {
            Moving::Rest if self.new.len() < NEW_ID_COUNT_MAX => {}
            Moving::Rest => {
                self.moving = Moving::Ids(std::mem::take(&mut self.new), self.last_row);
            }
            Moving::Ids(ids, row) => {
                put(connection, ids, count)?;
                if ids.is_empty() {
                    self.moving = Moving::Rows(*row);
                }
            }
            Moving::Rows(row) => {
                if !remove(connection, *row)? {
                    self.moving = Moving::Rest;
                }
            }
        }
        Ok(())
    }
}

impl Moving {
    fn find(&self, name: &Name) -> Option<&First> {
        match self {
            Moving::Ids(ids, _) => ids.get(name),
            Moving::Rest | Moving::Rows(_) => None,
        }
    }
}

/// Puts the first of these ids into the table. Some may be there: a crash came before they were gone from elsewhere.
fn put(connection: &Connection, ids: &mut Sorted, count: usize) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO ids VALUES (?1, ?2, ?3, ?4)";
    let mut insert = connection.prepare_cached(sql)?;
    for _ in 0..count {
        let Some(((log_id, key), (seq, unix_ms))) = ids.pop_first() else {
            break;
        };
        let (seq, unix_ms) = (seq.cast_signed(), unix_ms.cast_signed());
        insert.execute((log_id, key.to_be_bytes(), seq, unix_ms))?;
    }
    Ok(())
}

/// Removes some of the first rows of `new_ids` up to `row`. Gives whether there may be more.
fn remove(connection: &Connection, row: i64) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM new_ids WHERE n <= ?1
               AND n < (SELECT n FROM new_ids ORDER BY n LIMIT 1) + ?2";
    let removed = connection
        .prepare_cached(sql)?
        .execute((row, REMOVE_COUNT))?;
    Ok(removed > 0)
}

fn pack((log_id, key): Name, (seq, unix_ms): First, packed: &mut Vec<u8>) {
    packed.extend_from_slice(&log_id.to_be_bytes());
    packed.extend_from_slice(&key.to_be_bytes());
    packed.extend_from_slice(&seq.to_be_bytes());
    packed.extend_from_slice(&unix_ms.to_be_bytes());
}

fn unpack(packed: &[u8; PACKED_BYTES]) -> (Name, First) {
    let number = |at: usize| {
        let bytes = packed[at..].first_chunk().copied();
        u64::from_be_bytes(bytes.unwrap_or_default())
    };
    let key = u128::from(number(8)) << 64 | u128::from(number(16));
    ((number(0).cast_signed(), key), (number(24), number(32)))
}

#[cfg(test)]
mod tests;
