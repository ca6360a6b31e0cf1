//! What a store is opened with, and a folder to open one in.

use super::*;

/// A folder of its own, which goes with this value.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A path where nothing is yet.
    pub fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("roomcast-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Scratch(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A store in it.
    pub fn open(&self) -> Opened {
        let plan = Plan {
            folder: self.0.clone(),
            retention: Retention::default(),
            is_new_epoch: false,
            inbox_bytes_max: crate::limits::Limits::default().inbox_bytes_max,
            seed: [7; 32],
        };
        open(plan).expect("a store")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a setting of a connection is.
fn pragma(connection: &Connection, name: &str) -> String {
    let sql = format!("SELECT printf('%s', {name}) FROM pragma_{name}");
    let value = connection.query_row(&sql, [], |row| row.get(0));
    value.unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_connection_syncs_what_it_commits() {
    let scratch = Scratch::new("pragmas");
    let mut opened = scratch.open();
    let beside = connect(&database(scratch.path())).expect("a connection");
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
}
