//! Which ids are forgotten, and when.

use super::*;
use crate::store::ids::Ids;
use crate::store::schema::{Seed, migrate};
use std::collections::BTreeSet;
use std::thread;

/// How long a round may take, with its pauses.
const PATIENCE: Duration = Duration::from_secs(20);
/// Now, in milliseconds since the Unix epoch.
const NOW_MS: u64 = 1_800_000_000_000;
/// The last time whose ids have been remembered long enough, and the first whose have not.
const OVER_MS: u64 = NOW_MS - DEDUPE_MS - 1;
const RECENT_MS: u64 = NOW_MS - DEDUPE_MS;
/// The last message of a log, the last that is not among those that count, and the first that is.
const HEAD: u64 = 3 * DEDUPE_COUNT_MAX as u64;
const BEYOND: u64 = HEAD - DEDUPE_COUNT_MAX as u64;
const WITHIN: u64 = BEYOND + 1;

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

/// A log with [`HEAD`] messages, of which none is in the table.
fn add_log(connection: &Connection, id: i64, space: &str) {
    let sql = "INSERT INTO logs (id, space, name, epoch, head) VALUES (?1, ?2, ?3, 2, ?4)";
    let row = (id, space, format!("log {id}"), HEAD.cast_signed());
    connection.execute(sql, row).expect("a log");
}

/// An id in the table, as it is after it was moved there.
fn add_id(connection: &Connection, log_id: i64, key: u128, (seq, unix_ms): (u64, u64)) {
    let sql = "INSERT INTO ids VALUES (?1, ?2, ?3, ?4)";
    let (seq, unix_ms) = (seq.cast_signed(), unix_ms.cast_signed());
    let row = (log_id, key.to_be_bytes(), seq, unix_ms);
    connection.execute(sql, row).expect("an id");
}

/// Logs and keys of the ids that are in the table.
fn ids(connection: &Connection) -> BTreeSet<(i64, u128)> {
    let mut rows = connection
        .prepare("SELECT log_id, key FROM ids")
        .expect("it is SQL");
    let rows = rows.query_map([], |row| {
        Ok((row.get(0)?, u128::from_be_bytes(row.get(1)?)))
    });
    let rows = rows.expect("it runs");
    rows.map(|row| row.expect("an id")).collect()
}

/// Takes all steps of one round. Gives how many looked at ids.
fn round(connection: &mut Connection) -> usize {
    let mut upkeep = Upkeep::new(Retention::default());
    let mut step_count = 0;
    let end = Instant::now() + PATIENCE;
    while !matches!(upkeep.work, Work::Rest(_)) {
        assert!(Instant::now() < end, "the round ends");
        let (is_at_ids, paused) = (matches!(upkeep.work, Work::Ids(..)), upkeep.paused);
        upkeep.step(connection, NOW_MS).expect("it is written");
        step_count += usize::from(is_at_ids && upkeep.paused != paused);
        thread::yield_now();
    }
    step_count
}

#[test]
fn an_id_is_forgotten_when_a_day_and_ten_thousand_messages_are_over() {
    let mut connection = database();
    add_log(&connection, 1, "room");
    add_log(&connection, 2, "inbox");
    for log_id in [1, 2] {
        add_id(&connection, log_id, 1, (BEYOND, OVER_MS));
        add_id(&connection, log_id, 2, (BEYOND, RECENT_MS));
        add_id(&connection, log_id, 3, (WITHIN, OVER_MS));
        add_id(&connection, log_id, 4, (WITHIN, RECENT_MS));
        add_id(&connection, log_id, 5, (1, 0));
    }
    round(&mut connection);
    let left = BTreeSet::from([(1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (2, 4)]);
    assert_eq!(ids(&connection), left);
}

#[test]
fn every_id_is_looked_at_in_steps() {
    let mut connection = database();
    let count = 3 * u128::from(UPKEEP_ROW_COUNT) / 2;
    for log_id in [1, 2] {
        add_log(&connection, log_id, "room");
        for key in 0..count {
            let unix_ms = if key % 3 == 0 { RECENT_MS } else { OVER_MS };
            add_id(&connection, log_id, key, (BEYOND, unix_ms));
        }
    }
    let step_count = round(&mut connection);
    assert!(step_count > 3, "{step_count}");
    let left = ids(&connection);
    assert!(left.iter().all(|(_, key)| key % 3 == 0), "{left:?}");
    assert_eq!(left.len() as u128, 2 * count.div_ceil(3));
}

#[test]
fn the_ids_of_a_dropped_log_go_with_it() {
    let mut connection = database();
    add_log(&connection, 1, "room");
    add_log(&connection, 2, "dropped");
    let few = "UPDATE logs SET head = 1 WHERE id = 2";
    connection.execute(few, []).expect("a shorter log");
    for log_id in [1, 2, 3] {
        add_id(&connection, log_id, 1, (1, NOW_MS));
    }
    round(&mut connection);
    assert_eq!(ids(&connection), BTreeSet::from([(1, 1)]));
    let logs: String = connection
        .query_row("SELECT group_concat(id) FROM logs", [], |row| row.get(0))
        .expect("logs");
    assert_eq!(logs, "1");
}

#[test]
fn ids_that_are_not_in_the_table_yet_are_remembered() {
    let mut connection = database();
    add_log(&connection, 1, "room");
    let mut new = Ids::default();
    new.insert(1, 1, (BEYOND, OVER_MS));
    new.insert(1, 2, (HEAD, NOW_MS));
    // One is in both places, as after a crash while it was moved.
    add_id(&connection, 1, 1, (BEYOND, OVER_MS));
    new.write(&connection).expect("it is written");
    round(&mut connection);
    assert_eq!(ids(&connection), BTreeSet::new());
    for ids in [new, Ids::load(&connection).expect("it is read")] {
        for (key, first) in [(1, (BEYOND, OVER_MS)), (2, (HEAD, NOW_MS))] {
            let found = ids.find(&connection, 1, key).expect("it is read");
            assert_eq!(found, Some(first), "{key}");
        }
    }
}
