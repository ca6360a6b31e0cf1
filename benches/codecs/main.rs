//! The codecs beside those of others, over the same bytes in memory.
//!
//! ```text
//! cargo bench --package roomcast-benches --bench codecs
//! ```
//!
//! prints what Criterion measures, and all of it as one table in Markdown at the end: medians of one run.
//! `README.md` says what each row does.

mod decode;
mod messages;
mod payloads;
mod table;

use std::fs;
use std::path::Path;
use std::time::Duration;

use criterion::Criterion;

use table::Table;

fn main() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    // Figures of earlier runs must not get into the table. There are none at first.
    let _ = fs::remove_dir_all(&folder);
    let mut criterion = Criterion::default()
        .output_directory(&folder)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(50)
        .nresamples(2_000)
        .without_plots()
        .configure_from_args();
    let mut table = Table::new(&folder);
    decode::measure(&mut criterion, &mut table);
    payloads::measure(&mut criterion, &mut table);
    messages::measure(&mut criterion, &mut table);
    println!("\n{table}");
}
