//! What the simulated disk keeps: logs with their entries, names, bans, and the changes that a transaction makes.

use roomcast::hub::Restored;
use roomcast::log::{Copy, Draft, Entry, First, Head, Lifted, Note, Opened, Owed, Span, What};
use roomcast::room::{Key, Space};
use roomcast::sanctions::Sanction;
use roomcast::users::{NO_SECRET, SecretHash};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What an entry takes besides its content, in bytes.
const ENTRY_BYTES: u64 = 128;

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

/// One change of a transaction.
#[derive(Clone, Debug)]
pub enum Change {
    Append(Key, u64, u64, Rc<Stored>, Copy),
    Note(Note),
    Settle(u128),
}

impl Image {
    /// Names that are claimed.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Number of private messages whose other side is still to be kept.
    pub fn owed_count(&self) -> usize {
        self.copies.len()
    }

    /// Every claimed name.
    pub fn names(&self, unix_ms: u64) -> Vec<Restored> {
        let restored = |(name, user): (&Arc<str>, &StoredUser)| {
            let log = self.logs.get(&inbox(name));
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
        self.users.iter().map(restored).collect()
    }

    /// Every ban.
    pub fn bans(&self) -> Vec<Arc<Sanction>> {
        self.bans.values().cloned().collect()
    }

    /// Private messages whose other side is still to be kept.
    pub fn owed(&self) -> Vec<Owed> {
        let copies = self.copies.iter();
        let owed = copies.map(|(dedupe, (key, seq))| Owed {
            dedupe: *dedupe,
            key: key.clone(),
            seq: *seq,
        });
        owed.collect()
    }

    /// Forgets what is owed, as no table may.
    pub fn forget_owed(&mut self) {
        self.copies.clear();
    }

    /// A process begins: who was connected when the one before ended has left now.
    pub fn leave_all(&mut self, unix_ms: u64) {
        let connected = self.users.values_mut().filter(|user| user.seen_ms == 0);
        connected.for_each(|user| user.seen_ms = unix_ms);
    }

    /// Whether a copy is owed.
    pub fn is_owed(&self, dedupe: u128) -> bool {
        self.copies.contains_key(&dedupe)
    }

    /// Whose a name is, by the time since when.
    pub fn owner(&self, name: &str) -> Option<u64> {
        Some(self.users.get(name)?.since_ms)
    }

    /// The message of a log that was the first with its `id`.
    pub fn find(&self, key: &Key, dedupe: u128) -> Option<First> {
        self.logs.get(key)?.ids.get(&dedupe).copied()
    }

    /// How a log stands, and an inbox of which nothing is kept yet.
    pub fn open(&self, key: &Key) -> Option<Opened> {
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

    /// Hands over the messages of a part of a log, until one is refused.
    pub fn read(
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

    /// Drops the messages of a log up to `end`.
    pub fn trim(&mut self, key: &Key, end: u64) {
        if let Some(log) = self.logs.get_mut(key) {
            log.trimmed = end;
            log.entries = log.entries.split_off(&(end + 1));
        }
    }

    /// Takes a change.
    pub fn apply(&mut self, change: Change) {
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
            Note::Returned { name } => {
                if let Some(user) = self.users.get_mut(&name) {
                    user.seen_ms = 0;
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
            Note::Lift {
                room, user, lifted, ..
            } => {
                let place = (room, user);
                let is_over = |ban: &Arc<Sanction>| match lifted {
                    Lifted::Asked { .. } => true,
                    Lifted::Ended { unix_ms } => !ban.is_running(unix_ms),
                };
                if self.bans.get(&place).is_some_and(is_over) {
                    self.bans.remove(&place);
                }
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
    /// A message on its way into the table.
    pub fn new(entry: &Entry<'_>) -> Stored {
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
