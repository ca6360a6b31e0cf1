//! What one sync of the disk takes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Syncs whose median is taken.
const SYNC_COUNT: usize = 500;

/// The median of syncs of 4 KiB each, appended to a file in a folder, in milliseconds.
///
/// # Errors
///
/// The folder can't be written to.
pub fn sync_ms(folder: &Path) -> io::Result<f64> {
    fs::create_dir_all(folder)?;
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let mut times: Vec<Duration> = Vec::with_capacity(SYNC_COUNT);
    for _ in 0..SYNC_COUNT {
        file.write_all(&[1; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[SYNC_COUNT / 2].as_secs_f64() * 1e3)
}
