//! The table of the log service on disk: SQLite, on a thread that commits and a thread that reads.
//!
//! One file of the data folder is the database (`schema` has its tables), one says who has the folder, one is the
//! high-water mark (`folder`). Numbering, deduplication, batching and recovery are the log service's; what is here
//! moves its calls to SQLite and its answers back.
//!
//! A start brings the whole write-ahead log into the database and empties it, so that nothing is built on pages whose sync
//! failed before. Where another program reads the database that can't be, and a commit syncs the log instead.
//!
//! | file | what |
//! |---|---|
//! | `schema` | the tables, by version |
//! | `folder` | the data folder, its lock and its high-water mark |
//! | `table` | [`Table`](crate::log::Table) in SQL |
//! | `ids` | of that, the ids of messages |
//! | `names` | of that, the users |
//! | `reader` | [`Reader`](crate::log::Reader) in SQL, and the settings of a connection |
//! | `readers` | who else reads the database, in words |
//! | `deletions` | deletions and what they leave, in SQL |
//! | `sanctions` | mutes and bans in SQL |
//! | `checkpoint` | the thread that brings what was committed into the database |
//! | `desk` | where shards and threads meet |
//! | `committer` | the threads |
//! | `upkeep` | what is trimmed in the background |
//! | `figures` | what is counted |

mod checkpoint;
mod committer;
mod deletions;
mod desk;
mod figures;
mod folder;
mod ids;
mod names;
mod reader;
mod readers;
mod sanctions;
mod schema;
mod table;
mod upkeep;

pub use committer::unix_ms;
pub use desk::{Desk, Ring, StorePort};
pub use figures::Figures;
pub use folder::database;
pub use reader::SqliteReader;
pub use schema::VERSION;
pub use table::SqliteTable;
pub use upkeep::{Retention, Rule};

use self::committer::Committer;
use self::folder::{Folder, Mark};
use self::reader::{configure, meta};
use self::schema::Seed;
use crate::hashing::HashKey;
use crate::hub::Restored;
use crate::limits::{FREE_BYTES_MIN, FREE_PERCENT_MIN, WAL_PAGE_COUNT};
use crate::log::{LogService, TableError};
use crate::sanctions::Sanction;
use rusqlite::{Connection, ErrorCode};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// About as long as the write-ahead log gets, in bytes.
const LOG_BYTES: u128 = 2 * WAL_PAGE_COUNT as u128 * 4096;

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The data folder.
    pub folder: PathBuf,
    /// What is trimmed.
    pub retention: Retention,
    /// Whether the logs get a new epoch, whatever the high-water mark says.
    pub is_new_epoch: bool,
    /// See [`Limits::inbox_bytes_max`](crate::limits::Limits::inbox_bytes_max): no more of an inbox is counted.
    pub inbox_bytes_max: usize,
    /// Random bytes, for a new store or a new epoch.
    pub seed: [u8; 32],
}

/// A store in good order that serves nobody yet.
pub struct Opened {
    folder: Folder,
    plan: Plan,
    service: LogService<SqliteTable>,
    reader: SqliteReader,
    id_key: HashKey,
    /// Every claimed name.
    pub names: Vec<Restored>,
    /// Every mute and ban.
    pub sanctions: Vec<Arc<Sanction>>,
}

/// A store that serves.
pub struct Store {
    desk: Arc<Desk>,
    committer: JoinHandle<Result<(), TableError>>,
    reader: JoinHandle<()>,
    /// Ours until everything has ended.
    _folder: Folder,
}

/// Why a store cannot be opened.
#[derive(Debug)]
pub enum StoreError {
    /// Another server has the folder.
    InUse(PathBuf),
    /// The folder cannot be used.
    Folder(PathBuf, io::Error),
    /// The database was made by a newer version, with these tables.
    Newer(u32),
    /// The database is not one of roomcast.
    Foreign,
    /// The database is damaged: what SQLite says of it.
    Damaged(String),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// The table failed.
    Table(TableError),
}

/// Opens a store: takes the folder, brings the tables to this version, checks the database if the last stop was not a
/// clean one, and gives a restored backup a new epoch.
///
/// # Errors
///
/// See [`StoreError`].
pub fn open(plan: Plan) -> Result<Opened, StoreError> {
    let folder = Folder::take(&plan.folder)?;
    let mut connection = Connection::open(folder.database())?;
    configure(&connection)?;
    schema::migrate(&mut connection, &seed(&plan.seed))?;
    let (mark_file, marked) = folder.mark()?;
    if marked.is_none_or(|mark| !mark.is_clean) {
        check(&connection)?;
    }
    let mark = Mark {
        store: meta(&connection, "id")?.cast_unsigned(),
        commits: meta(&connection, "commits")?.cast_unsigned(),
        is_clean: false,
    };
    let is_ahead =
        marked.is_some_and(|marked| marked.store == mark.store && marked.commits <= mark.commits);
    // A store that has never committed has told nobody anything.
    let is_restored = !is_ahead && mark.commits > 0;
    if is_restored {
        log::warn!("the database is a restored backup: its logs get a new epoch");
    }
    if is_restored || plan.is_new_epoch {
        renew_epoch(&mut connection, seed(&plan.seed).epoch)?;
    }
    mark_file
        .write(&mark)
        .and_then(|()| mark_file.sync())
        .map_err(|error| StoreError::Folder(plan.folder.clone(), error))?;
    let id_key = HashKey::new((
        meta(&connection, "id_key_0")?.cast_unsigned(),
        meta(&connection, "id_key_1")?.cast_unsigned(),
    ));
    let inbox_bytes_max = u64::try_from(plan.inbox_bytes_max).unwrap_or(u64::MAX);
    let mut table = SqliteTable::new(connection, mark, mark_file, id_key, inbox_bytes_max)?;
    // What the process before wrote last is on the disk before anything is said of it.
    table.settle_log().map_err(StoreError::Table)?;
    let mut service = LogService::new(table, id_key);
    service.start().map_err(StoreError::Table)?;
    Ok(Opened {
        names: service.table_mut().names(unix_ms())?,
        sanctions: sanctions::load(&service.table_mut().connection, unix_ms())?,
        reader: SqliteReader::open(&folder.database())?,
        service,
        folder,
        plan,
        id_key,
    })
}

impl Opened {
    /// Starts the threads. `ring` wakes a shard.
    ///
    /// # Errors
    ///
    /// The system refused a thread.
    pub fn start(mut self, shard_count: u16, ring: Ring) -> io::Result<Store> {
        let other = connect(&self.folder.database()).map_err(io::Error::other)?;
        self.service.table_mut().checkpoint_beside(other)?;
        let desk = Arc::new(Desk::new(shard_count, self.id_key, ring));
        let Plan {
            retention, folder, ..
        } = self.plan;
        let committer = Committer::new(Arc::clone(&desk), self.service, retention, folder);
        let committer = thread::Builder::new()
            .name("committer".into())
            .spawn(move || committer.run())?;
        let (reader, at) = (self.reader, Arc::clone(&desk));
        let reader = thread::Builder::new()
            .name("reader".into())
            .spawn(move || committer::read(&at, reader))?;
        Ok(Store {
            desk,
            committer,
            reader,
            _folder: self.folder,
        })
    }
}

impl Opened {
    /// The key that hashes ids.
    pub fn id_key(&self) -> HashKey {
        self.id_key
    }

    /// The table, for who does without the service.
    pub fn table(&mut self) -> &mut SqliteTable {
        self.service.table_mut()
    }

    /// Stops without having served.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn close(self) -> Result<(), StoreError> {
        drop(self.reader);
        let table = self.service.into_table();
        table.close().map_err(StoreError::Table)
    }
}

/// Makes a consistent copy of a database that may be in use, into a file that is empty or does not exist.
///
/// It is one transaction: a copy page by page would begin anew with each commit of the server, and never end under one
/// that goes on. Meanwhile the write-ahead log cannot begin anew, and grows by what is committed.
///
/// # Errors
///
/// The disk failed.
pub fn copy_to(database: &Path, file: &Path) -> Result<(), StoreError> {
    let connection = Connection::open(database)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute("VACUUM INTO ?1", [file.to_string_lossy()])?;
    Ok(())
}

impl Store {
    /// Where the shards meet it.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Answers what is still to be answered, and stops.
    pub fn stop(self) {
        self.desk.close();
        let _ = self.reader.join();
        match self.committer.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::error!("the store did not stop in good order: {error}"),
            Err(_) => log::error!("the committer ended by a panic"),
        }
    }
}

/// Whether there is room for more than what is left for others: on the volume of a folder, or in the database itself,
/// of which `reusable_bytes` hold nothing. What is written there goes through the write-ahead log, which is on the
/// volume.
fn room_for_more(folder: &Path, reusable_bytes: u64) -> Result<(), TableError> {
    // Where it cannot be said, the disk will say it itself.
    let Ok(volume) = rustix::fs::statvfs(folder) else {
        return Ok(());
    };
    let unit = u128::from(volume.f_frsize);
    let (free, all) = (
        unit * u128::from(volume.f_bavail),
        unit * u128::from(volume.f_blocks),
    );
    let least = (all * u128::from(FREE_PERCENT_MIN) / 100).min(u128::from(FREE_BYTES_MIN));
    let log_bytes = (least / 2).min(LOG_BYTES);
    match free >= log_bytes && free + u128::from(reusable_bytes) >= least {
        true => Ok(()),
        false => Err(TableError(format!(
            "{free} bytes are free on the volume of {}, of which {least} are left for others, and {reusable_bytes} in \
             the database",
            folder.display()
        ))),
    }
}

/// Another connection to a database that is open.
fn connect(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(database)?;
    configure(&connection)?;
    Ok(connection)
}

fn seed(random: &[u8; 32]) -> Seed {
    let [a, b, c, d] = std::array::from_fn(|place| {
        let bytes = random[place * 8..].first_chunk().copied();
        u64::from_le_bytes(bytes.unwrap_or_default())
    });
    Seed {
        id: a,
        epoch: b | 1,
        id_key: (c, d),
    }
}

/// Lets SQLite look at every page.
fn check(connection: &Connection) -> Result<(), StoreError> {
    let sql = "PRAGMA integrity_check(1)";
    let verdict: String = connection.query_row(sql, [], |row| row.get(0))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Damaged(verdict)),
    }
}

/// What clients know of the logs' numbers is not true any more.
fn renew_epoch(connection: &mut Connection, epoch: u64) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let epoch = epoch.cast_signed();
    transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'epoch'", [epoch])?;
    transaction.execute("UPDATE logs SET epoch = ?1", [epoch])?;
    transaction.execute("UPDATE users SET epoch = ?1", [epoch])?;
    transaction.commit()?;
    Ok(())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite(error)
    }
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> StoreError {
        StoreError::Table(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::InUse(path) => write!(
                f,
                "another server uses the data folder {}: stop it, or choose another --data",
                path.display()
            ),
            StoreError::Folder(path, error) => {
                write!(f, "cannot use {} (--data): {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => f.write_str(
                        ": it has to be the own folder of the user that the server runs as",
                    ),
                    _ => Ok(()),
                }
            }
            StoreError::Newer(version) => write!(
                f,
                "the data folder belongs to a newer version of roomcast (its tables have version {version}, \
                 this program knows {VERSION}): run that version, or choose another --data"
            ),
            StoreError::Foreign => {
                f.write_str("the database in the data folder is not one of roomcast")
            }
            StoreError::Damaged(verdict) => write!(
                f,
                "the database is damaged ({verdict}): restore a backup, or see what `sqlite3 roomcast.db .recover` saves"
            ),
            StoreError::Sqlite(error) => {
                write!(f, "the database (roomcast.db in --data): {error}")?;
                match error.sqlite_error_code() {
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                        f.write_str(": put a backup in its place")
                    }
                    Some(
                        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly,
                    ) => f.write_str(": it has to belong to the user that the server runs as"),
                    Some(_) | None => Ok(()),
                }
            }
            StoreError::Table(error) => write!(f, "the database: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests;
