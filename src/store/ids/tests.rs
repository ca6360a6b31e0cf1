//! Ids through everything that becomes of them.

use super::*;
use crate::store::schema::{Seed, migrate};

/// Ids of one transaction.
const BATCH_COUNT: u64 = 1024;

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().expect("memory");
    let seed = Seed {
        id: 1,
        epoch: 2,
        id_key: (3, 4),
    };
    migrate(&mut connection, &seed).expect("a new database");
    connection
}

/// As good as a hash: it is spread over all keys.
fn key(number: u64) -> u128 {
    u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

/// The log of an id.
fn log_id(number: u64) -> i64 {
    (number % 3 + 1).cast_signed()
}

fn keep(ids: &mut Ids, connection: &Connection, numbers: std::ops::Range<u64>) {
    connection.execute_batch("BEGIN").expect("a transaction");
    for number in numbers {
        ids.insert(log_id(number), key(number), (number, number + 7));
    }
    ids.write(connection).expect("it is written");
    connection.execute_batch("COMMIT").expect("it is kept");
}

fn all_are_found(ids: &Ids, connection: &Connection, mut numbers: impl Iterator<Item = u64>) {
    assert!(numbers.all(|number| {
        let found = ids.find(connection, log_id(number), key(number));
        found.expect("it is read") == Some((number, number + 7))
    }));
}

fn count(connection: &Connection, table: &str) -> usize {
    let sql = format!("SELECT count(*) FROM {table}");
    let count: i64 = connection
        .query_row(&sql, [], |row| row.get(0))
        .expect("a count");
    usize::try_from(count).expect("not negative")
}

#[test]
fn ids_are_found_wherever_they_are() {
    let connection = database();
    let mut ids = Ids::default();
    let mut end = 0;
    let mut memory_max = 0;
    while end < 3 * NEW_ID_COUNT_MAX as u64 {
        keep(&mut ids, &connection, end..end + BATCH_COUNT);
        end += BATCH_COUNT;
        memory_max = memory_max.max(ids.count());
        all_are_found(&ids, &connection, (0..end).step_by(49_999));
        // Another log, and a key that was never kept.
        assert_eq!(ids.find(&connection, 9, key(0)).expect("it is read"), None);
        assert_eq!(
            ids.find(&connection, 1, key(end)).expect("it is read"),
            None
        );
    }
    assert!(memory_max >= NEW_ID_COUNT_MAX, "{memory_max}");
    assert!(memory_max < 2 * NEW_ID_COUNT_MAX, "{memory_max}");
    assert!(count(&connection, "ids") >= NEW_ID_COUNT_MAX);
    let row_count = count(&connection, "new_ids");
    assert!(
        row_count < 2 * NEW_ID_COUNT_MAX / BATCH_COUNT as usize,
        "{row_count}"
    );
}

#[test]
fn a_start_finds_all_ids_wherever_it_comes() {
    let connection = database();
    let mut ids = Ids::default();
    let batch_count = 2 * NEW_ID_COUNT_MAX as u64 / BATCH_COUNT + 20;
    for batch in 0..batch_count {
        let start = batch * BATCH_COUNT;
        keep(&mut ids, &connection, start..start + BATCH_COUNT);
        if batch % 64 == 63 || batch == batch_count - 1 {
            let ids = Ids::load(&connection).expect("it is read");
            all_are_found(&ids, &connection, (0..start + BATCH_COUNT).step_by(9973));
        }
        if batch % 100 == 99 {
            ids = Ids::load(&connection).expect("it is read");
        }
    }
}

#[test]
fn what_was_rolled_back_is_not_found() {
    let connection = database();
    let mut ids = Ids::default();
    keep(&mut ids, &connection, 0..3);
    connection.execute_batch("BEGIN").expect("a transaction");
    ids.insert(log_id(3), key(3), (3, 10));
    all_are_found(&ids, &connection, 0..4);
    ids.write(&connection).expect("it is written");
    connection.execute_batch("ROLLBACK").expect("it is over");
    let mut ids = Ids::load(&connection).expect("it is read");
    all_are_found(&ids, &connection, 0..3);
    let found = ids
        .find(&connection, log_id(3), key(3))
        .expect("it is read");
    assert_eq!(found, None);
    keep(&mut ids, &connection, 3..5);
    all_are_found(&ids, &connection, 0..5);
}

#[test]
fn a_backup_has_the_ids_wherever_they_are() {
    let folder = std::env::temp_dir().join(format!("roomcast-ids-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("db");
    let mut connection = Connection::open(&file).expect("a file");
    let seed = Seed {
        id: 1,
        epoch: 2,
        id_key: (3, 4),
    };
    migrate(&mut connection, &seed).expect("a new database");
    connection
        .pragma_update(None, "synchronous", "off")
        .expect("a setting");
    let mut ids = Ids::default();
    // Some are in the table, some are on their way, and some are new.
    let end = NEW_ID_COUNT_MAX as u64 + 20 * BATCH_COUNT;
    for start in (0..end).step_by(usize::try_from(BATCH_COUNT).expect("a few")) {
        keep(&mut ids, &connection, start..start + BATCH_COUNT);
    }
    assert!(matches!(ids.moving, Moving::Ids(..)));
    let copy = folder.join("copy");
    crate::store::copy_to(&file, &copy).expect("a backup");
    let copy = Connection::open(copy).expect("the backup");
    let ids = Ids::load(&copy).expect("it is read");
    all_are_found(&ids, &copy, (0..end).step_by(4999));
    let _ = std::fs::remove_dir_all(&folder);
}
