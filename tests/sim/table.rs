//! The table of the simulated disk: what is durable, and a transaction that a crash keeps or loses whole.
//!
//! A commit that is on its way to the disk is `unsynced`: the log service goes on as if it were durable, and its answers
//! wait until it is. A commit that fails was kept or lost, which nobody knows until the recovery.

use crate::planted::Planted;
use crate::rng::Rng;
use roomcast::hub::Restored;
use roomcast::log::{
    Copy, Draft, Entry, First, Head, Note, Opened, Owed, Reader, Span, Table, TableError, What,
};
use roomcast::room::{Key, Space};
use roomcast::sanctions::Sanction;
use roomcast::users::{NO_SECRET, SecretHash};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What an entry takes besides its content, in bytes.
const ENTRY_BYTES: u64 = 128;

/// How often a disk fails, in cases of 1000, and what that is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFaults {
    /// Longest time of a commit, in milliseconds.
    pub commit_ms_max: u64,
    /// Longest time of a reading, in milliseconds.
    pub read_ms_max: u64,
    /// Commits that fail.
    pub commits: u32,
    /// Entries and notes that do not get into the transaction.
    pub writes: u32,
    /// Attempts to recover that fail.
    pub recoveries: u32,
    /// Readings that fail.
    pub reads: u32,
    /// Commits after which some of the oldest messages of a room go, as its retention has it.
    pub trims: u32,
}

/// A message as it is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    pub what: What,
    pub unix_ms: u64,
    pub client: u64,
    pub dedupe: Option<u128>,
    pub sender: String,
    pub to: Option<String>,
    pub id: Option<String>,
    pub content: String,
    pub metadata: Option<String>,
}

/// A log as it is kept.
#[derive(Clone, Debug)]
pub struct StoredLog {
    pub epoch: u64,
    pub head: u64,
    /// The last number that is not kept any more.
    pub trimmed: u64,
    confirmed: u64,
    unix_ms: u64,
    pub entries: BTreeMap<u64, Rc<Stored>>,
    ids: BTreeMap<u128, First>,
}

#[derive(Clone, Debug)]
struct StoredUser {
    secret: SecretHash,
    epoch: u64,
    address: Option<IpAddr>,
    seen_ms: u64,
    since_ms: u64,
}

/// Everything that is kept.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub logs: BTreeMap<Key, StoredLog>,
    users: BTreeMap<Arc<str>, StoredUser>,
    copies: BTreeMap<u128, (Key, u64)>,
    /// By room and user; nobody is muted in the simulation.
    bans: BTreeMap<(Arc<str>, Arc<str>), Arc<Sanction>>,
}

#[derive(Clone, Debug)]
enum Change {
    Append(Key, u64, u64, Rc<Stored>, Copy),
    Note(Note),
    Settle(u128),
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct SimTable {
    epoch: u64,
    faults: DiskFaults,
    planted: Option<Planted>,
    rng: Rng,
    /// What survives.
    durable: Image,
    /// The same with the transaction.
    live: Image,
    transaction: Vec<Change>,
    /// Committed, but not on the disk yet.
    unsynced: Vec<Change>,
    /// The process before has ended here.
    pub crash_count: u32,
    pub failure_count: u32,
}

impl SimTable {
    /// An empty table.
    pub fn new(faults: DiskFaults, planted: Option<Planted>, mut rng: Rng) -> SimTable {
        SimTable {
            epoch: rng.bits() | 1,
            faults,
            planted,
            rng,
            durable: Image::default(),
            live: Image::default(),
            transaction: Vec::new(),
            unsynced: Vec::new(),
            crash_count: 0,
            failure_count: 0,
        }
    }

    /// What is durable.
    pub fn durable(&self) -> &Image {
        &self.durable
    }

    /// From now on so much goes wrong.
    pub fn set_faults(&mut self, faults: DiskFaults) {
        self.faults = faults;
    }

    /// What was committed is on the disk.
    pub fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            self.durable.apply(change);
        }
    }

    /// Drops some of the oldest messages of some room, in a transaction of its own while there is no other. Gives the
    /// room, and up to where.
    pub fn trim(&mut self) -> Option<(Key, u64)> {
        let rooms = self.durable.logs.iter();
        let rooms: Vec<&Key> = rooms
            .filter(|(key, log)| key.space == Space::Chat && !log.entries.is_empty())
            .map(|(key, _)| key)
            .collect();
        let key = (*self.rng.pick_some(&rooms)?).clone();
        let log = self.durable.logs.get(&key)?;
        let count = 1 + self.rng.below(log.entries.len());
        let end = log.trimmed + count as u64;
        self.trim_log(&key, end);
        Some((key, end))
    }

    /// Drops the messages of a log up to `end`.
    pub fn trim_log(&mut self, key: &Key, end: u64) {
        self.durable.trim(key, end);
        self.live.trim(key, end);
    }

    /// The process ends at this point.
    pub fn crash(&mut self) {
        if self.rng.chance(500) {
            self.sync();
        }
        self.roll_back();
        self.crash_count += 1;
    }

    /// Every claimed name.
    pub fn names(&self, unix_ms: u64) -> Vec<Restored> {
        let restored = |(name, user): (&Arc<str>, &StoredUser)| {
            let log = self.durable.logs.get(&inbox(name));
            Restored {
                name: Box::from(&**name),
                secret: user.secret,
                inbox: log.map_or(
                    Head {
                        epoch: user.epoch,
                        seq: 0,
                    },
                    StoredLog::head,
                ),
                address: user.address,
                left_hours: unix_ms.saturating_sub(user.seen_ms) / 3_600_000,
                since_ms: user.since_ms,
            }
        };
        self.durable.users.iter().map(restored).collect()
    }

    /// Every ban.
    pub fn bans(&self) -> Vec<Arc<Sanction>> {
        self.durable.bans.values().cloned().collect()
    }

    /// The connection that reads beside the committing.
    pub fn reader(&mut self) -> SimReader<'_> {
        let is_dirty = self.planted == Some(Planted::ReadsPastTheHead);
        SimReader {
            image: if is_dirty { &self.live } else { &self.durable },
            is_failing: self.rng.chance(self.faults.reads),
            is_past_the_span: is_dirty,
        }
    }

    fn roll_back(&mut self) {
        self.transaction.clear();
        self.unsynced.clear();
        self.live = self.durable.clone();
    }

    fn change(&mut self, change: Change) -> Result<(), TableError> {
        if self.rng.chance(self.faults.writes) {
            return Err(self.failure("a write"));
        }
        self.live.apply(change.clone());
        self.transaction.push(change);
        Ok(())
    }

    fn failure(&mut self, what: &str) -> TableError {
        self.failure_count += 1;
        TableError(format!("{what} fails in this simulation"))
    }

    fn is_planted(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }
}

impl Reader for SimTable {
    fn read(
        &mut self,
        key: &Key,
        span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        Ok(self.live.read(key, span, each))
    }
}

impl Table for SimTable {
    fn open(&mut self, key: &Key) -> Result<Option<Opened>, TableError> {
        let mut opened = self.live.open(key);
        if let Some(Opened { head, .. }) = &mut opened {
            let is_restarted = self.crash_count > 0 && head.seq > 0;
            if self.is_planted(Planted::ReusesNumbers) && is_restarted {
                head.seq -= 1;
            }
            if self.is_planted(Planted::LeavesAHole) && self.failure_count > 0 {
                head.seq += 1;
            }
        }
        Ok(opened)
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn find(&mut self, key: &Key, dedupe: u128) -> Result<Option<First>, TableError> {
        if self.is_planted(Planted::ForgetsIds) && self.crash_count > 0 {
            return Ok(None);
        }
        let log = self.live.logs.get(key);
        Ok(log.and_then(|log| log.ids.get(&dedupe).copied()))
    }

    fn begin(&mut self) -> Result<(), TableError> {
        assert!(self.transaction.is_empty(), "a transaction within another");
        Ok(())
    }

    fn append(&mut self, key: &Key, epoch: u64, entry: &Entry<'_>) -> Result<(), TableError> {
        let stored = Rc::new(Stored::new(entry));
        self.change(Change::Append(
            key.clone(),
            epoch,
            entry.seq,
            stored,
            entry.copy,
        ))
    }

    fn note(&mut self, note: &Note) -> Result<(), TableError> {
        self.change(Change::Note(note.clone()))
    }

    fn settle(&mut self, dedupe: u128) -> Result<(), TableError> {
        self.change(Change::Settle(dedupe))
    }

    fn commit(&mut self) -> Result<(), TableError> {
        let transaction = std::mem::take(&mut self.transaction);
        if !self.rng.chance(self.faults.commits) {
            self.unsynced.extend(transaction);
            return Ok(());
        }
        if self.rng.chance(500) {
            self.unsynced.extend(transaction);
            self.sync();
        }
        Err(self.failure("a commit"))
    }

    fn recover(&mut self) -> Result<(), TableError> {
        if self.rng.chance(self.faults.recoveries) {
            return Err(self.failure("a recovery"));
        }
        self.roll_back();
        Ok(())
    }

    fn owed(&mut self) -> Result<Vec<Owed>, TableError> {
        if self.is_planted(Planted::OwesNothing) {
            self.durable.copies.clear();
        }
        let copies = self.durable.copies.iter();
        let owed = copies.map(|(dedupe, (key, seq))| Owed {
            dedupe: *dedupe,
            key: key.clone(),
            seq: *seq,
        });
        Ok(owed.collect())
    }

    fn is_claimed(&mut self, name: &str) -> Result<bool, TableError> {
        Ok(self.live.users.contains_key(name))
    }
}

/// See [`SimTable::reader`].
pub struct SimReader<'a> {
    image: &'a Image,
    is_failing: bool,
    is_past_the_span: bool,
}

impl Reader for SimReader<'_> {
    fn read(
        &mut self,
        key: &Key,
        mut span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        if self.is_failing {
            return Err(TableError("a reading fails in this simulation".into()));
        }
        if self.is_past_the_span {
            span.until = u64::MAX;
        }
        Ok(self.image.read(key, span, each))
    }
}

impl Image {
    /// Names that are claimed.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Private messages whose other side is still to be kept.
    pub fn owed_count(&self) -> usize {
        self.copies.len()
    }

    fn open(&self, key: &Key) -> Option<Opened> {
        if let Some(log) = self.logs.get(key) {
            return Some(log.opened());
        }
        let user = self
            .users
            .get(&key.name)
            .filter(|_| key.space == Space::Inbox);
        user.map(|user| {
            Opened::nothing(Head {
                epoch: user.epoch,
                seq: 0,
            })
        })
    }

    fn read(
        &self,
        key: &Key,
        span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Option<Opened> {
        let log = self.logs.get(key)?;
        if span.after < span.until {
            let entries = log.entries.range(span.after + 1..=span.until);
            let mut each = |(seq, stored): (&u64, &Rc<Stored>)| each(&stored.entry(*seq));
            match span.newest_first {
                true => entries.rev().all(&mut each),
                false => entries.into_iter().all(&mut each),
            };
        }
        Some(log.opened())
    }

    fn trim(&mut self, key: &Key, end: u64) {
        if let Some(log) = self.logs.get_mut(key) {
            log.trimmed = end;
            log.entries = log.entries.split_off(&(end + 1));
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Append(key, epoch, seq, stored, copy) => {
                match copy {
                    Copy::None => {}
                    Copy::Owed(dedupe) => {
                        self.copies.insert(dedupe, (key.clone(), seq));
                    }
                    Copy::Settles(dedupe) => {
                        self.copies.remove(&dedupe);
                    }
                }
                let log = self
                    .logs
                    .entry(key)
                    .or_insert_with(|| StoredLog::new(epoch));
                log.append(seq, stored);
            }
            Change::Note(note) => self.note(note),
            Change::Settle(dedupe) => {
                self.copies.remove(&dedupe);
            }
        }
    }

    /// The inbox of a name that changes hands, and what is owed to it.
    fn drop_inbox(&mut self, name: &Arc<str>) {
        self.logs.remove(&inbox(name));
        let logs = &self.logs;
        self.copies.retain(|_, (key, seq)| {
            let message = logs.get(key).and_then(|log| log.entries.get(seq));
            message.is_none_or(|stored| *stored.sender != **name)
        });
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Claim {
                name,
                secret,
                epoch,
                address,
                since_ms,
            } => {
                self.drop_inbox(&name);
                let user = StoredUser {
                    secret,
                    epoch,
                    address,
                    seen_ms: 0,
                    since_ms,
                };
                self.users.insert(name, user);
            }
            Note::Seal { name } => {
                if let Some(user) = self.users.get_mut(&name) {
                    user.secret = NO_SECRET;
                }
            }
            Note::Left { name, unix_ms } => {
                if let Some(user) = self.users.get_mut(&name) {
                    user.seen_ms = unix_ms;
                }
            }
            Note::Release { name } => {
                self.drop_inbox(&name);
                self.users.remove(&name);
            }
            Note::Confirm { name, seq } => {
                if let Some(log) = self.logs.get_mut(&inbox(&name)) {
                    log.confirmed = log.confirmed.max(seq);
                }
            }
            Note::Sanction { sanction, .. } => {
                let place = (Arc::clone(&sanction.room), Arc::clone(&sanction.user));
                self.bans.insert(place, sanction);
            }
            Note::Lift { room, user, .. } => {
                self.bans.remove(&(room, user));
            }
        }
    }
}

impl StoredLog {
    fn new(epoch: u64) -> StoredLog {
        StoredLog {
            epoch,
            head: 0,
            trimmed: 0,
            confirmed: 0,
            unix_ms: 0,
            entries: BTreeMap::new(),
            ids: BTreeMap::new(),
        }
    }

    fn head(&self) -> Head {
        Head {
            epoch: self.epoch,
            seq: self.head,
        }
    }

    fn opened(&self) -> Opened {
        let waiting = self.entries.range(self.confirmed + 1..);
        Opened {
            head: self.head(),
            trimmed: self.trimmed,
            confirmed: self.confirmed,
            waiting_bytes: waiting
                .map(|(_, stored)| stored.content.len() as u64 + ENTRY_BYTES)
                .sum(),
            unix_ms: self.unix_ms,
        }
    }

    fn append(&mut self, seq: u64, stored: Rc<Stored>) {
        self.head = seq;
        self.unix_ms = stored.unix_ms;
        if let Some(dedupe) = stored.dedupe {
            self.ids.insert(dedupe, (seq, stored.unix_ms));
        }
        if let What::Deletion(deleted) = stored.what
            && let Some(entry) = self.entries.get_mut(&deleted)
        {
            *entry = Rc::new(entry.tombstone());
        }
        self.entries.insert(seq, stored);
    }
}

impl Stored {
    fn new(entry: &Entry<'_>) -> Stored {
        let Draft {
            sender,
            to,
            id,
            content,
            metadata,
            what,
        } = entry.draft;
        Stored {
            unix_ms: entry.unix_ms,
            client: entry.client,
            dedupe: entry.dedupe,
            sender: sender.to_owned(),
            to: to.map(str::to_owned),
            id: id.map(str::to_owned),
            content: content.to_owned(),
            metadata: metadata.map(str::to_owned),
            what,
        }
    }

    /// What is left when it is deleted.
    fn tombstone(&self) -> Stored {
        Stored {
            what: What::Deleted,
            id: None,
            content: "null".to_owned(),
            metadata: None,
            ..self.clone()
        }
    }

    fn entry(&self, seq: u64) -> Entry<'_> {
        Entry {
            seq,
            unix_ms: self.unix_ms,
            dedupe: None,
            client: self.client,
            copy: Copy::None,
            draft: Draft {
                what: self.what,
                sender: &self.sender,
                to: self.to.as_deref(),
                id: self.id.as_deref(),
                content: &self.content,
                metadata: self.metadata.as_deref(),
            },
        }
    }
}

/// The key of a user's inbox.
pub fn inbox(name: &Arc<str>) -> Key {
    Key {
        space: Space::Inbox,
        name: Arc::clone(name),
    }
}
