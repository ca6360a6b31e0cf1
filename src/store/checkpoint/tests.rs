//! A committer with its checkpoints beside it, over a real file.

use super::*;
use crate::store::reader::configure;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long something may take that happens soon.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a page in the log.
const PAGE_BYTES: u64 = 4096 + 24;

struct Scene {
    folder: PathBuf,
    connection: Connection,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let folder = std::env::temp_dir().join(format!("roomcast-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let connection = connect(&folder);
        connection
            .execute_batch("CREATE TABLE t (x BLOB)")
            .expect("a table");
        Scene { folder, connection }
    }

    /// Commits so many pages, as the table does.
    fn commit(&self, checkpoints: &mut Checkpoints, page_count: u32) -> Result<(), TableError> {
        if checkpoints.before()? {
            pass(&self.connection)?;
        }
        let bytes = vec![7_u8; page_count as usize * 4096];
        let sql = "INSERT INTO t VALUES (?1)";
        self.connection.prepare_cached(sql)?.execute([bytes])?;
        checkpoints.behind();
        Ok(())
    }

    fn bytes(&self, file: &str) -> u64 {
        fs::metadata(self.folder.join(file)).map_or(0, |file| file.len())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn connect(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("db")).expect("a database");
    configure(&connection).expect("it is configured");
    connection
}

#[test]
fn the_log_begins_anew_under_a_committer_that_goes_on() {
    let scene = Scene::new("checkpoints");
    let beside = connect(&scene.folder);
    let mut checkpoints = Checkpoints::start(&scene.connection, beside).expect("a thread");
    let (mut written, mut begun_anew_count) = (0, 0);
    let end = Instant::now() + PATIENCE;
    while begun_anew_count < 3 && Instant::now() < end {
        let before = checkpoints.page_count;
        scene.commit(&mut checkpoints, 64).expect("it is kept");
        written += 64;
        begun_anew_count += u32::from(checkpoints.page_count < before);
    }
    assert_eq!(begun_anew_count, 3, "of {written} pages");
    assert!(written > WAL_PAGE_COUNT);
    let longest = u64::from(2 * WAL_PAGE_COUNT) * PAGE_BYTES;
    assert!(scene.bytes("db-wal") < longest, "{}", scene.bytes("db-wal"));
}

#[test]
fn few_pages_stay_in_the_log() {
    let scene = Scene::new("few-pages");
    let beside = connect(&scene.folder);
    let mut checkpoints = Checkpoints::start(&scene.connection, beside).expect("a thread");
    for _ in 0..10 {
        scene.commit(&mut checkpoints, 1).expect("it is kept");
    }
    assert!(matches!(*checkpoints.shared.lock(), Pass::Rest));
    scene
        .commit(&mut checkpoints, CHECKPOINT_PAGE_COUNT)
        .expect("it is kept");
    let end = Instant::now() + PATIENCE;
    while !matches!(*checkpoints.shared.lock(), Pass::Done) {
        assert!(Instant::now() < end, "the thread makes a checkpoint");
        thread::yield_now();
    }
    let least = u64::from(CHECKPOINT_PAGE_COUNT) * 4096;
    assert!(scene.bytes("db") > least, "{}", scene.bytes("db"));
}

#[test]
fn a_checkpoint_that_fails_is_told_until_the_recovery() {
    let scene = Scene::new("failed-checkpoint");
    let beside = connect(&scene.folder);
    // SQLite refuses to make one within a transaction.
    beside
        .execute_batch("BEGIN IMMEDIATE; COMMIT; BEGIN; SELECT * FROM t")
        .expect("a transaction");
    let mut checkpoints = Checkpoints::start(&scene.connection, beside).expect("a thread");
    scene
        .commit(&mut checkpoints, CHECKPOINT_PAGE_COUNT)
        .expect("it is kept");
    let end = Instant::now() + PATIENCE;
    while checkpoints.before().is_ok() {
        assert!(Instant::now() < end, "it is told");
        thread::yield_now();
    }
    assert!(checkpoints.before().is_err());
    assert!(checkpoints.rest().is_err());
    assert_eq!(checkpoints.before(), Ok(false));
    scene.commit(&mut checkpoints, 1).expect("it is kept");
}
