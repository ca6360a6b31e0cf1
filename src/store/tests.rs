//! What a store is opened with.

use super::*;

/// What a setting of a connection is.
fn pragma(connection: &Connection, name: &str) -> String {
    let sql = format!("SELECT printf('%s', {name}) FROM pragma_{name}");
    let value = connection.query_row(&sql, [], |row| row.get(0));
    value.unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_connection_syncs_what_it_commits() {
    let folder = std::env::temp_dir().join(format!("roomcast-pragmas-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let mut opened = open(Plan {
        folder: folder.clone(),
        retention: Retention::default(),
        is_new_epoch: false,
        inbox_bytes_max: 1,
        seed: [7; 32],
    })
    .expect("a store");
    let beside = connect(&database(&folder)).expect("a connection");
    for (name, connection) in [
        ("committer", &opened.service.table_mut().connection),
        ("reader", &opened.reader.connection),
        ("checkpoints", &beside),
    ] {
        assert_eq!(pragma(connection, "synchronous"), "2", "{name}: full");
        assert_eq!(pragma(connection, "journal_mode"), "wal", "{name}");
    }
    assert_eq!(pragma(&opened.reader.connection, "query_only"), "1");
    drop(beside);
    opened.close().expect("it stops in good order");
    let _ = std::fs::remove_dir_all(&folder);
}
