//! Where the shards and the threads of the store meet: what is submitted and asked, and trays with the answers.

use super::figures::Figures;
use crate::hashing::HashKey;
use crate::limits::{READ_QUEUE_COUNT_MAX, STORE_STALL_MS, UNCOMMITTED_BYTES_MAX};
use crate::log::{Answers, Found, LogPort, Read, Submission, Submitted};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wakes a shard.
pub type Ring = Box<dyn Fn(u16) + Send + Sync>;

/// Where the shards leave what is to be kept, and where they find the answers.
pub struct Desk {
    submitted: Queue<Submitted>,
    /// Bytes that were submitted and are not committed.
    waiting_bytes: AtomicUsize,
    began: Instant,
    /// When something was committed, or began to wait, in milliseconds since `began`.
    moved_ms: AtomicU64,
    /// When more waited than shall.
    filled_ms: AtomicU64,
    asked: Queue<(u16, Read)>,
    trays: Vec<Tray>,
    ring: Ring,
    id_key: HashKey,
    is_well: AtomicBool,
    /// What was counted.
    pub figures: Figures,
}

/// What waits for one of the threads.
struct Queue<T> {
    state: Mutex<Waiting<T>>,
    bell: Condvar,
}

struct Waiting<T> {
    list: Vec<T>,
    is_closed: bool,
}

/// What waits for a shard.
#[derive(Default)]
struct Tray {
    answers: Mutex<VecDeque<Answers>>,
    found: Mutex<VecDeque<Found>>,
}

/// A shard's seat at the desk.
pub struct StorePort {
    desk: Arc<Desk>,
    shard: u16,
}

impl Desk {
    /// A desk for so many shards, which `ring` wakes.
    pub fn new(shard_count: u16, id_key: HashKey, ring: Ring) -> Desk {
        Desk {
            submitted: Queue::new(),
            waiting_bytes: AtomicUsize::new(0),
            began: Instant::now(),
            moved_ms: AtomicU64::new(0),
            filled_ms: AtomicU64::new(0),
            asked: Queue::new(),
            trays: (0..shard_count).map(|_| Tray::default()).collect(),
            ring,
            id_key,
            is_well: AtomicBool::new(true),
            figures: Figures::default(),
        }
    }

    /// The seat of a shard.
    pub fn port(self: &Arc<Desk>, shard: u16) -> StorePort {
        StorePort {
            desk: Arc::clone(self),
            shard,
        }
    }

    /// All that is submitted, once there is something, or nothing after a while; `None` when that was all.
    pub fn take_submitted(&self, patience: Duration) -> Option<Vec<Submitted>> {
        self.submitted.take(patience)
    }

    /// All that is asked, once there is something; `None` when that was all.
    pub fn take_asked(&self, patience: Duration) -> Option<Vec<(u16, Read)>> {
        self.asked.take(patience)
    }

    /// So many bytes of what was submitted are committed, or refused.
    pub fn committed(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn wait(&self, bytes: usize) {
        // Between reading and adding, others can only move these times forwards.
        let waiting_bytes = self.waiting_bytes();
        if waiting_bytes == 0 {
            self.moved_ms.store(self.now_ms(), Ordering::Relaxed);
        }
        if waiting_bytes <= UNCOMMITTED_BYTES_MAX {
            self.filled_ms.store(self.now_ms(), Ordering::Relaxed);
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// See [`LogPort::standstill_ms`].
    pub fn standstill_ms(&self) -> Option<u64> {
        let since_ms = match self.waiting_bytes() {
            0 => return None,
            bytes if bytes <= UNCOMMITTED_BYTES_MAX => self.moved_ms.load(Ordering::Relaxed),
            _ => {
                let moved_ms = self.moved_ms.load(Ordering::Relaxed);
                moved_ms.min(self.filled_ms.load(Ordering::Relaxed))
            }
        };
        Some(self.now_ms().saturating_sub(since_ms))
    }

    /// Whether the disk has stood still for so long that sends are refused.
    pub fn is_stalled(&self) -> bool {
        let standstill_ms = self.standstill_ms();
        standstill_ms.is_some_and(|ms| ms >= u64::from(STORE_STALL_MS))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Answers for shards. Each is woken once.
    pub fn answer(&self, answers: Vec<(u16, Answers)>) {
        let mut woken = vec![false; self.trays.len()];
        for (shard, answers) in answers {
            if let Some(tray) = self.trays.get(usize::from(shard)) {
                lock(&tray.answers).push_back(answers);
                woken[usize::from(shard)] = true;
            }
        }
        for (shard, _) in (0..).zip(woken).filter(|(_, is_woken)| *is_woken) {
            (self.ring)(shard);
        }
    }

    /// What was found for a shard.
    pub fn hand_over(&self, shard: u16, found: Found) {
        if let Some(tray) = self.trays.get(usize::from(shard)) {
            lock(&tray.found).push_back(found);
            (self.ring)(shard);
        }
    }

    /// Nothing more will be submitted or asked.
    pub fn close(&self) {
        self.submitted.close();
        self.asked.close();
    }

    /// Notes whether the store can commit.
    pub fn set_well(&self, is_well: bool) {
        self.is_well.store(is_well, Ordering::Relaxed);
    }

    /// Whether it can.
    pub fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    /// Bytes that were submitted and are not committed.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }
}

impl LogPort for StorePort {
    fn submit(&mut self, submission: Submission, unix_ms: u64) {
        self.desk.wait(submission.bytes());
        let shard = self.shard;
        self.desk.submitted.put(Submitted {
            shard,
            unix_ms,
            submission,
        });
    }

    fn take(&mut self) -> Option<Answers> {
        lock(&self.tray().answers).pop_front()
    }

    fn memory(&self) -> usize {
        0
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn read(&mut self, read: Read) -> Result<(), Read> {
        let asked = (self.shard, read);
        let refused = self.desk.asked.put_within(asked, READ_QUEUE_COUNT_MAX);
        refused.map_err(|(_, read)| read)
    }

    fn found(&mut self) -> Option<Found> {
        lock(&self.tray().found).pop_front()
    }

    fn waiting_bytes(&self) -> usize {
        self.desk.waiting_bytes()
    }

    fn standstill_ms(&self) -> Option<u64> {
        self.desk.standstill_ms()
    }

    fn id_key(&self) -> Option<HashKey> {
        Some(self.desk.id_key)
    }
}

impl StorePort {
    fn tray(&self) -> &Tray {
        &self.desk.trays[usize::from(self.shard)]
    }
}

impl<T> Queue<T> {
    fn new() -> Queue<T> {
        Queue {
            state: Mutex::new(Waiting {
                list: Vec::new(),
                is_closed: false,
            }),
            bell: Condvar::new(),
        }
    }

    fn put(&self, one: T) {
        // A list never gets that long.
        let _ = self.put_within(one, usize::MAX);
    }

    fn put_within(&self, one: T, count_max: usize) -> Result<(), T> {
        let mut state = lock(&self.state);
        if state.list.len() >= count_max {
            return Err(one);
        }
        state.list.push(one);
        if state.list.len() == 1 {
            self.bell.notify_one();
        }
        Ok(())
    }

    fn take(&self, patience: Duration) -> Option<Vec<T>> {
        let state = lock(&self.state);
        let is_idle = |state: &mut Waiting<T>| state.list.is_empty() && !state.is_closed;
        let waited = self.bell.wait_timeout_while(state, patience, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.list.is_empty() && state.is_closed {
            true => None,
            false => Some(std::mem::take(&mut state.list)),
        }
    }

    fn close(&self) {
        lock(&self.state).is_closed = true;
        self.bell.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
