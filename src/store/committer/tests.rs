//! The committer over a disk that stands still or fails when it is told to, with the desk before it.

use super::*;
use crate::hashing::HashKey;
use crate::limits::UNCOMMITTED_BYTES_MAX;
use crate::log::{
    Answers, Draft, Entry, First, Head, LogPort, Note, Opened, Outcome, Owed, Reader, Request,
    Span, Submission, What,
};
use crate::room::{Connection, Space};
use crate::slots::Slot;
use crate::store::{Plan, StorePort, open};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// How long something may take that happens at once.
const PATIENCE: Duration = Duration::from_secs(20);

const LOG: Slot = Slot {
    index: 0,
    generation: 0,
};

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Good,
    /// It fails, and nothing is kept.
    Lost,
    /// It fails, and is kept nevertheless.
    Kept,
}

/// A real table whose commits wait to be told what becomes of them, and whose recovery fails as long as it is told to.
struct Faulty {
    table: SqliteTable,
    /// Told of each commit that began.
    begun: Sender<()>,
    fates: Receiver<Fate>,
    is_broken: Arc<AtomicBool>,
}

impl Reader for Faulty {
    fn read(
        &mut self,
        key: &Key,
        span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        self.table.read(key, span, each)
    }
}

impl Table for Faulty {
    fn open(&mut self, key: &Key) -> Result<Option<Opened>, TableError> {
        self.table.open(key)
    }

    fn epoch(&self) -> u64 {
        self.table.epoch()
    }

    fn find(&mut self, key: &Key, dedupe: u128) -> Result<Option<First>, TableError> {
        self.table.find(key, dedupe)
    }

    fn begin(&mut self) -> Result<(), TableError> {
        self.table.begin()
    }

    fn append(&mut self, key: &Key, epoch: u64, entry: &Entry<'_>) -> Result<(), TableError> {
        self.table.append(key, epoch, entry)
    }

    fn note(&mut self, note: &Note) -> Result<(), TableError> {
        self.table.note(note)
    }

    fn settle(&mut self, dedupe: u128) -> Result<(), TableError> {
        self.table.settle(dedupe)
    }

    fn commit(&mut self) -> Result<(), TableError> {
        let _ = self.begun.send(());
        match self.fates.recv().unwrap_or(Fate::Good) {
            Fate::Good => self.table.commit(),
            Fate::Lost => Err(failure()),
            Fate::Kept => self.table.commit().and(Err(failure())),
        }
    }

    fn recover(&mut self) -> Result<(), TableError> {
        match self.is_broken.load(Ordering::Relaxed) {
            true => Err(failure()),
            false => self.table.recover(),
        }
    }

    fn owed(&mut self) -> Result<Vec<Owed>, TableError> {
        self.table.owed()
    }

    fn is_owed(&mut self, dedupe: u128) -> Result<bool, TableError> {
        self.table.is_owed(dedupe)
    }

    fn owner(&mut self, name: &str) -> Result<Option<u64>, TableError> {
        self.table.owner(name)
    }
}

impl Disk for Faulty {
    fn sync_mark(&self) -> io::Result<()> {
        self.table.sync_mark()
    }

    fn reusable_bytes(&self) -> u64 {
        Disk::reusable_bytes(&self.table)
    }

    fn give_back(&mut self) -> Result<(), TableError> {
        self.table.give_back()
    }

    fn tidy(&mut self, upkeep: &mut Upkeep) -> Result<Vec<(Key, u64)>, TableError> {
        Disk::tidy(&mut self.table, upkeep)
    }

    fn close(self) -> Result<(), TableError> {
        self.table.close()
    }
}

fn failure() -> TableError {
    TableError("disk I/O error".into())
}

/// A committer on a folder of its own, and one shard.
struct Scene {
    desk: Arc<Desk>,
    port: StorePort,
    rings: Receiver<u16>,
    begun: Receiver<()>,
    fates: Sender<Fate>,
    is_broken: Arc<AtomicBool>,
    committer: JoinHandle<Result<(), TableError>>,
    folder: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let folder = std::env::temp_dir().join(format!("roomcast-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let plan = Plan {
            folder: folder.clone(),
            retention: Retention::default(),
            is_new_epoch: false,
            inbox_bytes_max: crate::limits::Limits::default().inbox_bytes_max,
            seed: [7; 32],
        };
        let opened = open(plan).expect("a store");
        let (begin, begun) = channel();
        let (fates, fate) = channel();
        let is_broken = Arc::new(AtomicBool::new(false));
        let table = Faulty {
            table: opened.service.into_table(),
            begun: begin,
            fates: fate,
            is_broken: Arc::clone(&is_broken),
        };
        let (ring, rings) = channel();
        let ring = move |shard| {
            // Nobody listens any more when the scene ends.
            let _ = ring.send(shard);
        };
        let id_key = HashKey::new((1, 2));
        let desk = Arc::new(Desk::new(1, id_key, Box::new(ring)));
        let service = LogService::new(table, id_key);
        let committer = Committer::new(
            Arc::clone(&desk),
            service,
            Retention::default(),
            folder.clone(),
        );
        let mut scene = Scene {
            port: desk.port(0),
            desk,
            rings,
            begun,
            fates,
            is_broken,
            committer: thread::spawn(|| committer.run()),
            folder,
        };
        let mut submission = Submission::default();
        submission.requests.push(Request::Open {
            log: LOG,
            key: Key {
                space: Space::Chat,
                name: "room".into(),
            },
            hint: Head { epoch: 0, seq: 0 },
            is_kept: true,
        });
        scene.port.submit(submission, 1);
        assert!(matches!(scene.answers().outcomes[..], [Outcome::Opened(_)]));
        scene
    }

    fn send(&mut self, id: u128, content: &str) {
        let draft = Draft {
            what: What::Message,
            sender: "ann",
            to: None,
            id: None,
            content,
            metadata: None,
        };
        let mut submission = Submission::default();
        submission.append(LOG, (Connection::NONE, 0), Some(id), false, &draft);
        self.port.submit(submission, 1);
    }

    /// The next answers, once the shard was rung for them.
    fn answers(&mut self) -> Answers {
        loop {
            if let Some(answers) = self.port.take() {
                return answers;
            }
            self.rings.recv_timeout(PATIENCE).expect("a ring");
        }
    }

    fn outcome(&mut self) -> Outcome {
        self.answers().outcomes[0]
    }

    fn await_commit(&self) {
        self.begun.recv_timeout(PATIENCE).expect("a commit");
    }

    /// From now on every commit is a good one. Ends once everything is answered, in good order.
    fn stop(self) {
        drop(self.fates);
        self.desk.close();
        let ended = self.committer.join().expect("no panic");
        assert_eq!(ended, Ok(()));
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn kept(outcome: Outcome) -> Option<u64> {
    match outcome {
        Outcome::Kept { seq, .. } => Some(seq),
        Outcome::Opened(_)
        | Outcome::Met { .. }
        | Outcome::Missing
        | Outcome::Refused
        | Outcome::Closed
        | Outcome::Noted => None,
    }
}

#[test]
fn what_waits_for_a_disk_that_stands_still_is_measured_and_kept_in_the_end() {
    let mut scene = Scene::new("still");
    assert_eq!(scene.port.standstill_ms(), None);
    scene.send(1, "1");
    scene.await_commit();
    let content = "x".repeat(1024 * 1024);
    let mut count = 1;
    while scene.port.waiting_bytes() <= UNCOMMITTED_BYTES_MAX {
        count += 1;
        scene.send(count, &content);
    }
    assert_eq!(
        count,
        1 + 32,
        "the bound is met by the message that goes over it"
    );
    // Nothing is answered before it is kept, and the time counts from the first.
    let deadline = Instant::now() + PATIENCE;
    while scene.port.standstill_ms() < Some(50) {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    assert!(scene.port.take().is_none());
    scene.fates.send(Fate::Good).expect("a committer");
    assert_eq!(kept(scene.outcome()), Some(1));
    // All the others are one transaction.
    scene.await_commit();
    scene.fates.send(Fate::Good).expect("a committer");
    for seq in 2..=count {
        assert_eq!(kept(scene.outcome()).map(u128::from), Some(seq));
    }
    assert_eq!(scene.port.waiting_bytes(), 0);
    assert_eq!(scene.port.standstill_ms(), None);
    assert!(scene.desk.is_well());
    scene.stop();
}

#[test]
fn a_failed_commit_is_refused_until_the_disk_recovers_whether_it_was_kept_or_lost() {
    for fate in [Fate::Lost, Fate::Kept] {
        let mut scene = Scene::new("failed");
        scene.send(1, "1");
        scene.fates.send(Fate::Good).expect("a committer");
        assert_eq!(kept(scene.outcome()), Some(1));
        scene.is_broken.store(true, Ordering::Relaxed);
        scene.send(2, "2");
        scene.fates.send(fate).expect("a committer");
        assert_eq!(scene.outcome(), Outcome::Refused);
        assert!(!scene.desk.is_well());
        // As long as it does not recover nothing is tried.
        scene.send(3, "3");
        assert_eq!(scene.outcome(), Outcome::Refused);
        scene.is_broken.store(false, Ordering::Relaxed);
        drop(std::mem::replace(&mut scene.fates, channel().0));
        let deadline = Instant::now() + PATIENCE;
        while !scene.desk.is_well() {
            assert!(Instant::now() < deadline, "it recovers");
            thread::yield_now();
        }
        scene.send(2, "2");
        let again = match fate {
            Fate::Kept => {
                let unasked = scene.answers();
                assert!(!unasked.is_asked, "what is unknown is told first");
                assert_eq!(kept(unasked.outcomes[0]), Some(2));
                matches!(scene.outcome(), Outcome::Met { seq: 2, .. })
            }
            Fate::Lost | Fate::Good => kept(scene.outcome()) == Some(2),
        };
        assert!(again, "{fate:?}: it is there once");
        scene.send(3, "3");
        assert_eq!(kept(scene.outcome()), Some(3));
        scene.stop();
    }
}
