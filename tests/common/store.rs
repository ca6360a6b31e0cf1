//! A server with a data folder, which ends with this value.

#![allow(dead_code, reason = "each test file uses its own part of this module")]

use super::common::{Server, program, tls};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

/// A data folder of its own.
pub struct Folder(PathBuf);

impl Folder {
    /// A path where nothing is yet.
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roomcast-{name}-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database in it.
    pub fn database(&self) -> PathBuf {
        self.0.join("roomcast.db")
    }

    /// A server on it.
    pub fn serve(&self, shards: u16) -> Server {
        self.serve_with(shards, &[])
    }

    /// A server on it with these flags as well.
    pub fn serve_with(&self, shards: u16, flags: &[&str]) -> Server {
        Server::run(self.command(shards, flags))
    }

    /// The command of such a server. Nobody reads when it is stopped, so that no close is answered: it waits for that
    /// only a moment.
    pub fn command(&self, shards: u16, flags: &[&str]) -> Command {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--shards", &shards.to_string()]);
        command.arg("--data").arg(self.path()).args(flags);
        command.args(["--close-ms", "200"]);
        tls::ask(&mut command);
        command
    }

    /// What a statement gives, a column a line, a row after the other.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let connection = rusqlite::Connection::open(self.database()).expect("a database");
        let mut statement = connection.prepare(sql).expect("it is SQL");
        let count = statement.column_count();
        let mut rows = statement.query([]).expect("it runs");
        let mut values = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..count {
                let value: rusqlite::types::Value = row.get(column).expect("a column");
                values.push(match value {
                    rusqlite::types::Value::Null => "null".to_owned(),
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Real(number) => number.to_string(),
                    rusqlite::types::Value::Text(text) => text,
                    rusqlite::types::Value::Blob(bytes) => format!("{bytes:x?}"),
                });
            }
        }
        values
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Stops a server in good order.
pub fn stop(mut server: Server) {
    server.signal("TERM");
    assert!(server.wait().success(), "it stops in good order");
}
