//! The simulated disk with the log service before it: what the committing and the reading thread do, on the clock of
//! the simulation. The desk between them and the shards is the real one.

use crate::image::Image;
use crate::planted::Planted;
use crate::rng::Rng;
use crate::table::{DiskFaults, SimTable};
use roomcast::hashing::HashKey;
use roomcast::hub::Restored;
use roomcast::limits::STORE_RETRY_MS;
use roomcast::log::{
    Answers, Found, LogPort, LogService, MemoryLog, Read, Request, Submission, Submitted, look_up,
};
use roomcast::room::{Key, Space};
use roomcast::sanctions::Sanction;
use roomcast::store::{Desk, StorePort};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A commit under way: its answers wait for the disk.
struct Commit {
    until_ms: u64,
    bytes: usize,
    message_count: usize,
    answers: Vec<(u16, Answers)>,
}

/// What waits for the disk, as the shards see it.
#[derive(Default)]
pub struct Waiting {
    /// The clock, in milliseconds.
    now_ms: Cell<u64>,
    /// When something was kept, or began to wait.
    moved_ms: Cell<u64>,
    /// What was handed in since the desk was last looked at.
    news_count: Cell<usize>,
    message_count: Cell<usize>,
    bytes: Cell<usize>,
}

/// See the [module](self).
pub struct Disk {
    faults: DiskFaults,
    planted: Option<Planted>,
    rng: Rng,
    id_key: HashKey,
    service: LogService<SimTable>,
    desk: Arc<Desk>,
    /// Shards to wake, by bit.
    bells: Arc<AtomicU64>,
    waiting: Rc<Waiting>,
    is_still: bool,
    commit: Option<Commit>,
    /// Questions with the time at which they are looked up.
    reads: Vec<(u64, u16, Read)>,
    retry_at_ms: u64,
}

/// What shards know from the processes before.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub names: Vec<Restored>,
    pub bans: Vec<Arc<Sanction>>,
}

impl Disk {
    /// An empty disk, before so many shards.
    pub fn new(
        shard_count: u16,
        faults: DiskFaults,
        planted: Option<Planted>,
        mut rng: Rng,
    ) -> Disk {
        let id_key = HashKey::new((rng.bits(), rng.bits()));
        let table = SimTable::new(faults, planted, rng.fork());
        let bells = Arc::new(AtomicU64::new(0));
        Disk {
            faults,
            planted,
            rng,
            id_key,
            service: LogService::new(table, id_key),
            desk: desk(shard_count, id_key, &bells),
            bells,
            waiting: Rc::default(),
            is_still: false,
            commit: None,
            reads: Vec::new(),
            retry_at_ms: 0,
        }
    }

    /// The table.
    pub fn table(&mut self) -> &mut SimTable {
        self.service.table_mut()
    }

    /// A shard's way to it.
    pub fn port(&self, shard: u16) -> SimPort {
        SimPort::Disk {
            port: self.desk.port(shard),
            waiting: Rc::clone(&self.waiting),
        }
    }

    /// The process ends, and another one starts on what is left. Gives what its shards are to know.
    pub fn crash(&mut self, shard_count: u16, unix_ms: u64) -> Kept {
        self.commit = None;
        self.reads.clear();
        self.bells.store(0, Ordering::Relaxed);
        self.waiting = Rc::default();
        self.desk = desk(shard_count, self.id_key, &self.bells);
        self.restart();
        // Some crash again before they serve anybody.
        while self.rng.chance(200) {
            self.restart();
        }
        self.table().sync();
        Kept {
            names: self.table().names(unix_ms),
            bans: self.table().bans(),
        }
    }

    fn restart(&mut self) {
        let unused = SimTable::new(DiskFaults::default(), None, self.rng.clone());
        let service = std::mem::replace(&mut self.service, LogService::new(unused, self.id_key));
        let mut table = service.into_table();
        table.crash();
        table.set_faults(DiskFaults::default());
        self.service = LogService::new(table, self.id_key);
        self.service.start().expect("the disk is well at a start");
        let faults = self.faults;
        self.table().set_faults(faults);
    }

    /// From now on so much goes wrong.
    pub fn set_faults(&mut self, faults: DiskFaults) {
        self.faults = faults;
        self.table().set_faults(faults);
    }

    /// From now on nothing goes wrong any more, and nothing takes long.
    pub fn calm(&mut self, now_ms: u64) {
        self.set_faults(DiskFaults::default());
        self.retry_at_ms = now_ms;
        self.commit
            .iter_mut()
            .for_each(|commit| commit.until_ms = now_ms);
        self.reads
            .iter_mut()
            .for_each(|(due_ms, ..)| *due_ms = now_ms);
    }

    /// What the next process would find.
    pub fn left(&mut self) -> Image {
        let table = self.table().clone();
        let mut service = LogService::new(table, self.id_key);
        service.start().expect("the disk is well");
        let mut table = service.into_table();
        table.sync();
        table.durable().clone()
    }

    /// Does what is due. Returns whether anything was.
    pub fn run(&mut self, now_ms: u64) -> bool {
        self.waiting.now_ms.set(now_ms);
        if self.is_still {
            return false;
        }
        let mut is_busy = self.finish(now_ms);
        is_busy |= self.retry(now_ms);
        is_busy |= self.begin(now_ms);
        is_busy | self.look_up(now_ms)
    }

    /// Whether something waits for it.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let has_news = self.commit.is_none() && self.waiting.news_count.get() > 0;
        (has_news && !self.is_still) || self.next_ms().is_some_and(|due_ms| due_ms <= now_ms)
    }

    /// When something is done next.
    pub fn next_ms(&self) -> Option<u64> {
        if self.is_still {
            return None;
        }
        let commit = self.commit.as_ref().map(|commit| commit.until_ms);
        let reads = self.reads.iter().map(|(due_ms, ..)| *due_ms);
        let retry = self.service.failure().map(|_| self.retry_at_ms);
        reads.chain(commit).chain(retry).min()
    }

    /// Shards that are to wake, by bit.
    pub fn take_bells(&self) -> u64 {
        self.bells.swap(0, Ordering::Relaxed)
    }

    /// From now on nothing is kept.
    pub fn stand_still(&mut self) {
        self.is_still = true;
    }

    /// It keeps what waits, and goes on.
    pub fn go_on(&mut self) {
        self.is_still = false;
    }

    /// Messages that wait, and the bytes of everything that waits.
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.message_count.get(), self.waiting.bytes.get())
    }

    /// What waits to be told to shards, for those who want to falsify it.
    pub fn answers_mut(&mut self) -> impl Iterator<Item = &mut (u16, Answers)> {
        self.commit
            .iter_mut()
            .flat_map(|commit| &mut commit.answers)
    }

    /// Takes everything that was submitted into one transaction.
    fn begin(&mut self, now_ms: u64) -> bool {
        if self.commit.is_some() || self.waiting.news_count.take() == 0 {
            return false;
        }
        for (shard, read) in self.desk.take_asked(Duration::ZERO).unwrap_or_default() {
            let due_ms = now_ms + self.rng.below(self.faults.read_ms_max as usize + 1) as u64;
            self.reads.push((due_ms, shard, read));
        }
        let batch: Vec<Submitted> = self.desk.take_submitted(Duration::ZERO).unwrap_or_default();
        if batch.is_empty() {
            return true;
        }
        let bytes = batch.iter().map(|one| one.submission.bytes()).sum();
        let message_count = batch.iter().map(|one| message_count(&one.submission)).sum();
        let was_well = self.service.failure().is_none();
        let answers = self.service.process(batch);
        if was_well && self.service.failure().is_some() {
            self.retry_at_ms = now_ms + u64::from(STORE_RETRY_MS);
        }
        let delay_ms = self.rng.below(self.faults.commit_ms_max as usize + 1) as u64;
        let mut commit = Commit {
            until_ms: now_ms + delay_ms,
            bytes,
            message_count,
            answers,
        };
        if self.planted == Some(Planted::AnswersBeforeTheCommit) {
            self.desk.answer(std::mem::take(&mut commit.answers));
        }
        self.commit = Some(commit);
        true
    }

    /// The transaction is on the disk: now its answers may be told.
    fn finish(&mut self, now_ms: u64) -> bool {
        let Some(commit) = self.commit.take_if(|commit| commit.until_ms <= now_ms) else {
            return false;
        };
        self.table().sync();
        self.desk.committed(commit.bytes);
        self.waiting.kept(&commit);
        self.desk.answer(commit.answers);
        self.trim();
        true
    }

    /// What is done in the background between commits.
    fn trim(&mut self) {
        let (is_well, trims) = (self.service.failure().is_none(), self.faults.trims);
        if is_well
            && trims > 0
            && self.rng.chance(trims)
            && let Some((key, seq)) = self.table().trim()
        {
            self.desk
                .answer(self.service.trimmed(&key, seq).into_iter().collect());
        }
    }

    /// Drops the messages of a room up to `end`, as its retention may have it. Nothing is under way.
    pub fn trim_room(&mut self, room: &str, end: u64) {
        let (space, name) = (Space::Chat, room.into());
        let key = Key { space, name };
        self.table().trim_log(&key, end);
        self.desk
            .answer(self.service.trimmed(&key, end).into_iter().collect());
    }

    fn retry(&mut self, now_ms: u64) -> bool {
        let is_time = self.service.failure().is_some() && self.retry_at_ms <= now_ms;
        if !is_time || self.commit.is_some() {
            return false;
        }
        match self.service.recover() {
            Ok(unknown) => {
                // What the recovery itself has committed is on the disk before anybody hears of it.
                self.table().sync();
                self.desk.answer(unknown);
            }
            Err(_) => self.retry_at_ms = now_ms + u64::from(STORE_RETRY_MS),
        }
        true
    }

    fn look_up(&mut self, now_ms: u64) -> bool {
        let due: VecDeque<_> = self
            .reads
            .extract_if(.., |(due_ms, ..)| *due_ms <= now_ms)
            .collect();
        let is_busy = !due.is_empty();
        for (_, shard, read) in due {
            let found = look_up(&mut self.service.table_mut().reader(), read);
            self.desk.hand_over(shard, found);
        }
        is_busy
    }
}

impl Waiting {
    fn add(&self, submission: &Submission) {
        if self.bytes.get() == 0 {
            self.moved_ms.set(self.now_ms.get());
        }
        self.news_count.update(|count| count + 1);
        self.bytes.update(|bytes| bytes + submission.bytes());
        self.message_count
            .update(|count| count + message_count(submission));
    }

    fn kept(&self, commit: &Commit) {
        self.moved_ms.set(self.now_ms.get());
        self.bytes.update(|bytes| bytes - commit.bytes);
        self.message_count
            .update(|count| count - commit.message_count);
    }

    fn standstill_ms(&self) -> Option<u64> {
        (self.bytes.get() > 0).then(|| self.now_ms.get() - self.moved_ms.get())
    }
}

fn message_count(submission: &Submission) -> usize {
    let is_message = |request: &&Request| matches!(request, Request::Append(_));
    submission.requests.iter().filter(is_message).count()
}

fn desk(shard_count: u16, id_key: HashKey, bells: &Arc<AtomicU64>) -> Arc<Desk> {
    let bells = Arc::clone(bells);
    let ring = move |shard: u16| {
        bells.fetch_or(1 << shard, Ordering::Relaxed);
    };
    Arc::new(Desk::new(shard_count, id_key, Box::new(ring)))
}

/// How a shard of the simulation reaches its log service.
pub enum SimPort {
    Memory(MemoryLog),
    Disk {
        port: StorePort,
        waiting: Rc<Waiting>,
    },
}

impl LogPort for SimPort {
    fn submit(&mut self, submission: Submission, unix_ms: u64) {
        match self {
            SimPort::Memory(port) => port.submit(submission, unix_ms),
            SimPort::Disk { port, waiting } => {
                waiting.add(&submission);
                port.submit(submission, unix_ms);
            }
        }
    }

    fn take(&mut self) -> Option<Answers> {
        match self {
            SimPort::Memory(port) => port.take(),
            SimPort::Disk { port, .. } => port.take(),
        }
    }

    fn memory(&self) -> usize {
        match self {
            SimPort::Memory(port) => port.memory(),
            SimPort::Disk { port, .. } => port.memory(),
        }
    }

    fn is_durable(&self) -> bool {
        match self {
            SimPort::Memory(port) => port.is_durable(),
            SimPort::Disk { port, .. } => port.is_durable(),
        }
    }

    fn read(&mut self, read: Read) -> Result<(), Read> {
        match self {
            SimPort::Memory(port) => port.read(read),
            SimPort::Disk { port, waiting } => {
                waiting.news_count.update(|count| count + 1);
                port.read(read)
            }
        }
    }

    fn found(&mut self) -> Option<Found> {
        match self {
            SimPort::Memory(port) => port.found(),
            SimPort::Disk { port, .. } => port.found(),
        }
    }

    fn waiting_bytes(&self) -> usize {
        match self {
            SimPort::Memory(port) => port.waiting_bytes(),
            SimPort::Disk { port, .. } => port.waiting_bytes(),
        }
    }

    fn standstill_ms(&self) -> Option<u64> {
        match self {
            SimPort::Memory(port) => port.standstill_ms(),
            // By the clock of the simulation.
            SimPort::Disk { waiting, .. } => waiting.standstill_ms(),
        }
    }

    fn id_key(&self) -> Option<HashKey> {
        match self {
            SimPort::Memory(port) => port.id_key(),
            SimPort::Disk { port, .. } => port.id_key(),
        }
    }
}
