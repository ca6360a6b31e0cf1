//! The tables of the database, by version, and the way from one version to the next.
//!
//! The version stands in `PRAGMA user_version`. Each migration is one transaction. What is in the tables is meant to be
//! read by people too: `select * from history where room = 'lobby' order by seq_id desc limit 10`.
//!
//! | table | one row is |
//! |---|---|
//! | `meta` | something about the whole store: its `id`, the `epoch` of its logs, the key that hashes ids, the count of `commits`, the time in milliseconds from which the ids of a name's owners are told apart (`told_apart_ms`), whether messages were `imported` |
//! | `logs` | a room (`space` is `room`) or an inbox (`inbox`, by user): where it stands (`head`), what is not kept any more (`trimmed`), and up to where its user surely had it (`confirmed`). `dropped` ones are on their way out |
//! | `messages` | a message, in the order in which they came; or the deletion of one (`deletes` has its number), of which a tombstone is left (`deleted` is 1) |
//! | `ids` | the `id` of a message, as a keyed hash of its sender and the `id`, for as long as it is remembered |
//! | `new_ids` | the ids of one transaction that are not in `ids` yet, each as its log, key, number and time in 8, 16, 8 and 8 bytes, the highest first |
//! | `users` | a claimed name: half of the SHA-256 of its secret, when it was last seen, and since when it is its owner's |
//! | `copies` | a private message whose copy for the sender is still to be kept |
//! | `sanctions` | a user who is muted in a room or banned from it (`penalty`), until when, by whom and why |
//! | `history` (a view) | a message with the name of its log, its time in words, and its epoch as clients see it |
//!
//! Times are milliseconds since the Unix epoch. Numbers of 64 bits (epochs, connections) are signed here.

use super::StoreError;
use rusqlite::{Connection, Transaction};

/// The version of the tables that this program writes.
pub const VERSION: u32 = migration_count();

/// "rmct": which program a database belongs to.
const APPLICATION: i64 = 0x726d_6374;

/// What makes version `n + 1` from version `n`.
const MIGRATIONS: [&str; 6] = [FIRST, SANCTIONS, DELETIONS, BY_ARRIVAL, OWNERS, TOLD_APART];

const fn migration_count() -> u32 {
    // Few of them: it fits.
    MIGRATIONS.len() as u32
}

const FIRST: &str = "
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    space TEXT NOT NULL,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    head INTEGER NOT NULL,
    trimmed INTEGER NOT NULL DEFAULT 0,
    confirmed INTEGER NOT NULL DEFAULT 0,
    unix_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (space, name)
) STRICT;

CREATE TABLE messages (
    log_id INTEGER NOT NULL,
    seq_id INTEGER NOT NULL,
    unix_ms INTEGER NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT,
    id TEXT,
    client INTEGER NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (log_id, seq_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ids (
    log_id INTEGER NOT NULL,
    key BLOB NOT NULL,
    seq_id INTEGER NOT NULL,
    unix_ms INTEGER NOT NULL,
    PRIMARY KEY (log_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    secret BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    address TEXT,
    seen_unix_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE copies (
    key BLOB NOT NULL PRIMARY KEY,
    log_id INTEGER NOT NULL,
    seq_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE VIEW history AS
SELECT iif(space = 'room', name, NULL) AS room,
       iif(space = 'inbox', name, NULL) AS inbox,
       printf('%016x', epoch) AS epoch,
       seq_id,
       strftime('%Y-%m-%d %H:%M:%f', m.unix_ms / 1000.0, 'unixepoch') AS time,
       sender, recipient, m.id AS id, content, metadata
FROM messages AS m JOIN logs AS l ON l.id = m.log_id;
";

const SANCTIONS: &str = "
CREATE TABLE sanctions (
    room TEXT NOT NULL,
    user TEXT NOT NULL,
    penalty TEXT NOT NULL,
    until_unix_ms INTEGER,
    reason TEXT,
    moderator TEXT NOT NULL,
    since_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (room, user, penalty)
) STRICT, WITHOUT ROWID;
";

const DELETIONS: &str = "
ALTER TABLE messages ADD COLUMN deletes INTEGER;
ALTER TABLE messages ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;

DROP VIEW history;
CREATE VIEW history AS
SELECT iif(space = 'room', name, NULL) AS room,
       iif(space = 'inbox', name, NULL) AS inbox,
       printf('%016x', epoch) AS epoch,
       seq_id,
       strftime('%Y-%m-%d %H:%M:%f', m.unix_ms / 1000.0, 'unixepoch') AS time,
       sender, recipient, m.id AS id, content, metadata, deletes, deleted
FROM messages AS m JOIN logs AS l ON l.id = m.log_id;
";

/// Messages lie in the order in which they come, and ids are written together first and sorted later: a transaction
/// over many logs writes few pages. Those of before stay log by log, as they are read: nothing has to be sorted.
const BY_ARRIVAL: &str = "
DROP VIEW history;

ALTER TABLE messages RENAME TO messages_by_log;

CREATE TABLE messages (
    log_id INTEGER NOT NULL,
    seq_id INTEGER NOT NULL,
    unix_ms INTEGER NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT,
    id TEXT,
    client INTEGER NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT,
    deletes INTEGER,
    deleted INTEGER NOT NULL DEFAULT 0,
    UNIQUE (log_id, seq_id)
) STRICT;

INSERT INTO messages SELECT * FROM messages_by_log;

DROP TABLE messages_by_log;

CREATE TABLE new_ids (
    n INTEGER PRIMARY KEY,
    packed BLOB NOT NULL
) STRICT;

CREATE VIEW history AS
SELECT iif(space = 'room', name, NULL) AS room,
       iif(space = 'inbox', name, NULL) AS inbox,
       printf('%016x', epoch) AS epoch,
       seq_id,
       strftime('%Y-%m-%d %H:%M:%f', m.unix_ms / 1000.0, 'unixepoch') AS time,
       sender, recipient, m.id AS id, content, metadata, deletes, deleted
FROM messages AS m JOIN logs AS l ON l.id = m.log_id;
";

/// Since when the names that are there have been their owners' is not known: 0 means ever since.
const OWNERS: &str = "
ALTER TABLE users ADD COLUMN since_unix_ms INTEGER NOT NULL DEFAULT 0;
";

/// Of names that were claimed in an earlier version, ids are kept as if nobody had had the name before.
const TOLD_APART: &str = "
INSERT INTO meta (name, value) VALUES ('told_apart_ms', coalesce(
    (SELECT iif(value > 0, (unixepoch() + 1) * 1000, 0) FROM meta WHERE name = 'commits'), 0));
";

/// What a new store begins with.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    /// See [`meta`](self).
    pub id: u64,
    /// The epoch of its logs.
    pub epoch: u64,
    /// Hashes ids.
    pub id_key: (u64, u64),
}

/// Brings a database to this version; a new one begins with `seed`.
///
/// # Errors
///
/// The database belongs to a newer version or to another program, or the disk failed.
pub fn migrate(connection: &mut Connection, seed: &Seed) -> Result<(), StoreError> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION {
        return Err(StoreError::Foreign);
    }
    if version > VERSION {
        return Err(StoreError::Newer(version));
    }
    for (number, migration) in (1..).zip(MIGRATIONS).skip(version as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number)?;
        if number == 1 {
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            plant(&transaction, seed)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

fn plant(transaction: &Transaction<'_>, seed: &Seed) -> Result<(), StoreError> {
    let mut insert = transaction.prepare("INSERT INTO meta (name, value) VALUES (?1, ?2)")?;
    insert.execute(("id", seed.id.cast_signed()))?;
    insert.execute(("epoch", seed.epoch.cast_signed()))?;
    insert.execute(("id_key_0", seed.id_key.0.cast_signed()))?;
    insert.execute(("id_key_1", seed.id_key.1.cast_signed()))?;
    insert.execute(("commits", 0))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed {
        id: 1,
        epoch: 2,
        id_key: (3, 4),
    };

    #[test]
    fn a_new_database_gets_all_versions_and_keeps_its_seed() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &SEED).unwrap();
        let other = Seed { epoch: 9, ..SEED };
        migrate(&mut connection, &other).unwrap();
        let epoch: i64 = connection
            .query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(epoch, 2);
        assert!(connection.prepare("SELECT * FROM history").is_ok());
    }

    /// What each version could hold, and the one before could not.
    const ROWS: [&str; VERSION as usize] = [
        "INSERT INTO logs VALUES (1, 'room', 'a', 2, 2, 0, 0, 6), (2, 'inbox', 'bob', 7, 1, 0, 1, 5);
         INSERT INTO messages VALUES (1, 1, 4, 'ann', NULL, NULL, 0, '1', NULL),
                                     (1, 2, 6, 'ann', NULL, 'x', 0, '2', '{}'),
                                     (2, 1, 5, 'ann', 'bob', NULL, 0, '3', NULL);
         INSERT INTO ids VALUES (1, x'00000000000000000000000000000007', 2, 6);
         INSERT INTO users VALUES ('bob', x'01', 7, NULL, 0);
         INSERT INTO copies VALUES (zeroblob(16), 2, 1);",
        "INSERT INTO sanctions VALUES ('a', 'eve', 'mute', NULL, NULL, 'ann', 1);",
        "UPDATE logs SET head = 3 WHERE id = 1;
         UPDATE messages SET deleted = 1, content = 'null' WHERE log_id = 1 AND seq_id = 1;
         INSERT INTO messages VALUES (1, 3, 7, 'ann', NULL, NULL, 0, 'null', NULL, 1, 0);",
        "INSERT INTO new_ids VALUES (1, zeroblob(40));",
        "UPDATE users SET since_unix_ms = 3;",
        "UPDATE meta SET value = 0 WHERE name = 'commits';",
    ];

    /// A database as the version left it.
    fn of_version(version: usize) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        for (migration, rows) in MIGRATIONS.iter().zip(ROWS).take(version) {
            connection.execute_batch(migration).unwrap();
            connection.execute_batch(rows).unwrap();
        }
        connection
            .pragma_update(None, "user_version", version as u32)
            .unwrap();
        connection
            .pragma_update(None, "application_id", APPLICATION)
            .unwrap();
        let transaction = connection.transaction().unwrap();
        plant(&transaction, &SEED).unwrap();
        transaction.commit().unwrap();
        connection
    }

    fn text(connection: &Connection, sql: &str) -> String {
        let first = |row: &rusqlite::Row<'_>| row.get::<_, Option<String>>(0);
        let text = connection.query_row(sql, [], first).unwrap();
        text.unwrap_or_default()
    }

    #[test]
    fn a_database_of_any_version_becomes_one_of_this() {
        let this = of_version(VERSION as usize);
        let tables = "SELECT group_concat(sql, ';' ORDER BY name) FROM sqlite_schema";
        for version in 1..=VERSION as usize {
            let mut connection = of_version(version);
            migrate(&mut connection, &Seed { epoch: 9, ..SEED }).unwrap();
            assert_eq!(text(&connection, tables), text(&this, tables), "{version}");
            let number: u32 = connection
                .query_row("PRAGMA user_version", [], |row| row.get(0))
                .unwrap();
            assert_eq!(number, VERSION);
            assert_eq!(text(&connection, "PRAGMA integrity_check"), "ok");
            let history = "SELECT group_concat(coalesce(room, inbox) || seq_id || content, ' ' ORDER BY m.n)
                           FROM (SELECT *, row_number() OVER (ORDER BY room, inbox, seq_id) AS n FROM history) AS m";
            let expected = match version {
                1 | 2 => "bob13 a11 a22",
                _ => "bob13 a1null a22 a3null",
            };
            assert_eq!(text(&connection, history), expected, "{version}");
            let id = "SELECT hex(key) || seq_id FROM ids WHERE log_id = 1";
            assert_eq!(text(&connection, id), format!("{:032X}2", 7));
            for (table, since) in [
                ("users", 1),
                ("copies", 1),
                ("sanctions", 2),
                ("new_ids", 4),
            ] {
                let count = format!("SELECT printf('%d', count(*)) FROM {table}");
                let expected = usize::from(version >= since).to_string();
                assert_eq!(text(&connection, &count), expected, "{table} of {version}");
            }
            let since = "SELECT printf('%d', since_unix_ms) FROM users";
            assert_eq!(
                text(&connection, since),
                if version < 5 { "0" } else { "3" }
            );
            let epoch = "SELECT printf('%d', value) FROM meta WHERE name = 'epoch'";
            assert_eq!(text(&connection, epoch), "2", "it keeps its own");
            let apart = "SELECT printf('%d', value) FROM meta WHERE name = 'told_apart_ms'";
            assert_eq!(text(&connection, apart), "0", "nothing was committed");
        }
    }

    #[test]
    fn ids_of_before_are_known_to_who_had_their_names() {
        let mut connection = of_version(5);
        connection
            .execute_batch("UPDATE meta SET value = 1 WHERE name = 'commits'")
            .unwrap();
        migrate(&mut connection, &SEED).unwrap();
        let is_now = "SELECT printf('%d', value / 1000 - unixepoch() BETWEEN -60 AND 1)
                      FROM meta WHERE name = 'told_apart_ms'";
        assert_eq!(text(&connection, is_now), "1");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut connection = of_version(1);
        // Something is where it wants to put its own.
        connection
            .execute_batch("CREATE TABLE new_ids (x)")
            .unwrap();
        assert!(migrate(&mut connection, &SEED).is_err());
        let version: u32 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(version, 3, "those before it are whole");
        connection.execute_batch("DROP TABLE new_ids").unwrap();
        migrate(&mut connection, &SEED).unwrap();
        let count = "SELECT printf('%d', count(*)) FROM history";
        assert_eq!(text(&connection, count), "3");
    }

    #[test]
    fn what_is_newer_or_not_ours_is_refused() {
        let mut newer = Connection::open_in_memory().unwrap();
        migrate(&mut newer, &SEED).unwrap();
        newer
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        let result = migrate(&mut newer, &SEED);
        assert!(matches!(result, Err(StoreError::Newer(version)) if version == VERSION + 1));
        let mut foreign = Connection::open_in_memory().unwrap();
        foreign.execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(
            migrate(&mut foreign, &SEED),
            Err(StoreError::Foreign)
        ));
    }
}
