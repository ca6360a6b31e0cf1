//! What one sync of the disk takes, with nothing else to do.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::figures::Figures;

/// Syncs of each kind.
const SYNC_COUNT: usize = 1000;
/// What is written before each: a page of a database, and about what a commit under moderate load is.
const SIZES: [usize; 2] = [4096, 32 * 1024];

/// Adds how long syncs take in a folder, where a file grows and where one is written over, as a write-ahead log is that
/// has been used before. A file that grows also waits for the file system's journal.
///
/// # Errors
///
/// The folder can't be written to.
pub fn measure(folder: &Path, figures: &mut Figures) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join("sync");
    for size in SIZES {
        let mut file = File::create(&path)?;
        for name in ["grow", "sync"] {
            file.rewind()?;
            let times = sync(&mut file, &vec![1; size])?;
            for (quantile, at) in [("p50", SYNC_COUNT / 2), ("p99", SYNC_COUNT * 99 / 100)] {
                let kib = size / 1024;
                let name = format!("disk_{name}_{kib}_kib_{quantile}_ms");
                figures.add(name, times[at].as_secs_f64() * 1e3);
            }
        }
    }
    fs::remove_file(path)
}

/// How long syncs took behind one write each, the shortest first.
fn sync(file: &mut File, bytes: &[u8]) -> io::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(SYNC_COUNT);
    for _ in 0..SYNC_COUNT {
        file.write_all(bytes)?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}
