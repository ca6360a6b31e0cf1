//! How many messages a second the log keeps, alone: the log service over its table on disk, with its own threads and
//! without sockets. Each batch is submitted when the one before is answered, as a shard submits: some messages a turn.
//!
//! ```text
//! cargo bench --package roomcast-benches --bench log              # or taskset -c 0 before the program, for one core
//! ```

use roomcast::limits::Limits;
use roomcast::log::{Draft, Head, LogPort, Outcome, Request, Submission, What};
use roomcast::room::{Connection, Key, Space};
use roomcast::slots::Slot;
use roomcast::store::{self, Plan, Retention, StorePort};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Messages of one submission, as many as one turn takes.
const TURN_COUNT: usize = 100;
/// How long each row is measured.
const MEASURE: Duration = Duration::from_secs(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
const CONTENT: &str = "\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\"";

/// A shard's side of the log.
struct Shard {
    port: StorePort,
    bell: Receiver<()>,
    rooms: Vec<Slot>,
    number: u64,
}

fn main() {
    // Cargo passes flags that say nothing here; the folder is the first argument that is none.
    let given = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let folder = given
        .map_or(env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
        .join("log-bench");
    fs::create_dir_all(&folder).expect("the folder can be made");
    println!("a sync of 4 KiB takes {:.3} ms (median)", sync_ms(&folder));
    println!("| messages a transaction | rooms | ids | messages a second |");
    println!("|--:|--:|---|--:|");
    for batch_count in [100, 1_000, 10_000] {
        for (room_count, has_ids) in [(1, false), (100, false), (1, true), (100, true)] {
            let per_s = measure(&folder, batch_count, room_count, has_ids);
            let ids = if has_ids { "yes" } else { "no" };
            println!("| {batch_count} | {room_count} | {ids} | {per_s:.0} |");
        }
    }
    fs::remove_dir_all(&folder).expect("the folder is ours");
}

/// Messages a second, with a fresh store.
fn measure(folder: &Path, batch_count: usize, room_count: u32, has_ids: bool) -> f64 {
    let data = folder.join("data");
    // There is none but after a run that was ended.
    let _ = fs::remove_dir_all(&data);
    let plan = Plan {
        folder: data.clone(),
        retention: Retention::default(),
        is_new_epoch: false,
        inbox_bytes_max: Limits::default().inbox_bytes_max,
        seed: [7; 32],
    };
    let opened = store::open(plan).expect("a fresh store opens");
    let (sender, bell) = channel();
    let ring = Box::new(move |_| sender.send(()).unwrap_or_default());
    let store = opened.start(1, ring).expect("threads start");
    let mut shard = Shard {
        port: store.desk().port(0),
        bell,
        rooms: Vec::new(),
        number: 0,
    };
    shard.open(room_count);
    shard.keep(batch_count, has_ids);
    let (began, first) = (Instant::now(), shard.number);
    while began.elapsed() < MEASURE {
        shard.keep(batch_count, has_ids);
    }
    let per_s = (shard.number - first) as f64 / began.elapsed().as_secs_f64();
    store.stop();
    fs::remove_dir_all(&data).expect("the store is ours");
    per_s
}

impl Shard {
    fn open(&mut self, room_count: u32) {
        let mut submission = Submission::default();
        for number in 0..room_count {
            let log = Slot::from_u64(u64::from(number));
            let key = Key {
                space: Space::Chat,
                name: format!("room-{number}").into(),
            };
            let hint = Head { epoch: 0, seq: 0 };
            submission.requests.push(Request::Open {
                log,
                key,
                hint,
                is_kept: true,
            });
            self.rooms.push(log);
        }
        self.port.submit(submission, 1);
        self.wait(room_count as usize);
    }

    /// Submits messages, some each turn, and waits for all answers.
    fn keep(&mut self, count: usize, has_ids: bool) {
        let mut left = count;
        while left > 0 {
            let turn_count = left.min(TURN_COUNT);
            let submission = self.turn(turn_count, has_ids);
            self.port
                .submit(submission, 1_700_000_000_000 + self.number / 100);
            left -= turn_count;
        }
        self.wait(count);
    }

    fn turn(&mut self, count: usize, has_ids: bool) -> Submission {
        let mut submission = Submission::default();
        for _ in 0..count {
            self.number += 1;
            let room = self.rooms[self.number as usize % self.rooms.len()];
            let id = format!("message-{}", self.number);
            let draft = Draft {
                what: What::Message,
                sender: "publisher",
                to: None,
                id: has_ids.then_some(&id),
                content: CONTENT,
                metadata: None,
            };
            // As good as a hash: it is spread over all keys.
            let key =
                u128::from(self.number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            submission.append(
                room,
                (Connection::NONE, 1),
                has_ids.then_some(key),
                false,
                &draft,
            );
        }
        submission
    }

    fn wait(&mut self, mut count: usize) {
        while count > 0 {
            self.bell.recv_timeout(PATIENCE).expect("the store answers");
            while let Some(answers) = self.port.take() {
                let is_kept = |outcome: &Outcome| {
                    matches!(outcome, Outcome::Kept { .. } | Outcome::Opened(_))
                };
                assert!(answers.outcomes.iter().all(is_kept), "everything is kept");
                count -= answers.outcomes.len();
            }
        }
    }
}

/// What one sync takes on this disk: of 4 KiB each, appended to a file.
fn sync_ms(folder: &Path) -> f64 {
    let path = folder.join("sync");
    let mut file = File::create(&path).expect("the folder can be written to");
    let mut times: Vec<Duration> = (0..300)
        .map(|_| {
            file.write_all(&[1; 4096]).expect("the disk has room");
            let began = Instant::now();
            file.sync_data().expect("the disk syncs");
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    fs::remove_file(path).expect("the file is ours");
    times[times.len() / 2].as_secs_f64() * 1e3
}
