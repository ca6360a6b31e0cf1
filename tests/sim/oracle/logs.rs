//! Everything that was ever sent, and what each number of each log was seen to mean.

use super::{Conn, Excuses};
use crate::told::{Log, Message, Position, deletion};
use std::collections::{BTreeMap, BTreeSet};

/// A burst of that many tails is kept for a moment; where a tail is as long as this, no burst here outruns a reader.
const EAGER_TAIL_BYTES_MIN: usize = 100_000;

/// One content that was sent, once or more often, always as the same.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub user: String,
    pub to: Log,
    id: Option<String>,
    metadata: Option<String>,
    is_signal: bool,
    /// Of a deletion: which message.
    pub deletes: Option<u64>,
    conns: BTreeSet<Conn>,
}

/// What an `ack` said of a number.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub user: String,
    pub id: String,
    pub timestamp: u64,
    was_first: bool,
}

/// One life of a log.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub facts: BTreeMap<u64, Message>,
    pub given: BTreeMap<u64, Given>,
    by_content: BTreeMap<String, u64>,
    by_id: BTreeMap<(String, String), u64>,
    /// Messages of which the deletion was seen.
    deleted: BTreeSet<u64>,
    pub head: u64,
}

/// Messages that were seen to be deleted, by epoch and number.
#[derive(Clone, Debug, Default)]
pub struct Gone(BTreeSet<(String, u64)>);

impl Gone {
    /// Sees to it that nothing of them comes back.
    pub fn check(&self, epoch: &str, message: &Message) -> Result<(), String> {
        let is_gone = || self.0.contains(&(epoch.to_owned(), message.seq));
        match !message.is_deleted && is_gone() {
            true => Err(format!("{message:?} was deleted, and came back")),
            false => Ok(()),
        }
    }
}

/// What is known of a user.
#[derive(Debug, Default)]
struct User {
    epochs: BTreeSet<String>,
    /// No message of the inbox behind this one can have been confirmed.
    confirmed_max: u64,
}

/// A message that one connection was not sent although it reads the log: it has to be its own.
#[derive(Debug)]
struct Skipped {
    conn: Conn,
    log: Log,
    epoch: String,
    seq: u64,
}

/// Messages that were told to be gone.
#[derive(Debug)]
pub(super) struct Loss {
    conn: Conn,
    pub log: Log,
    epoch: String,
    first: u64,
    pub last: u64,
    /// Its client read all the time.
    is_eager: bool,
}

/// A newest page that ends before what was seen already: the rest has to be gone.
#[derive(Debug)]
pub(super) struct ShortPage {
    pub log: Log,
    /// What was seen before it was asked for.
    pub head: u64,
    pub fault: String,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Logs {
    pub(super) sendings: BTreeMap<String, Sending>,
    attempts: BTreeMap<(String, Log, String), u32>,
    /// By user and `id`.
    contents: BTreeMap<(String, String), String>,
    pub(super) lives: BTreeMap<(Log, String), Life>,
    users: BTreeMap<String, User>,
    skipped: Vec<Skipped>,
    pub(super) losses: Vec<Loss>,
    pub(super) short_pages: Vec<ShortPage>,
}

impl Logs {
    /// A user sends something.
    pub fn sent(
        &mut self,
        conn: Conn,
        user: &str,
        (to, content): (&Log, &str),
        metadata: Option<&str>,
        id: Option<&str>,
        is_signal: bool,
    ) {
        let sending = self.sendings.entry(content.to_owned());
        let sending = sending.or_insert_with(|| Sending {
            user: user.to_owned(),
            to: to.clone(),
            id: id.map(str::to_owned),
            metadata: metadata.map(str::to_owned),
            is_signal,
            deletes: None,
            conns: BTreeSet::new(),
        });
        sending.conns.insert(conn);
        if let Some(id) = id.filter(|_| !is_signal) {
            let key = (user.to_owned(), to.clone(), id.to_owned());
            *self.attempts.entry(key).or_insert(0) += 1;
            let key = (user.to_owned(), id.to_owned());
            self.contents.insert(key, content.to_owned());
        }
    }

    /// A user wants a message to be deleted.
    pub fn deletes(&mut self, conn: Conn, user: &str, to: &Log, seq: u64, id: Option<&str>) {
        let content = deletion(seq, id);
        self.sent(conn, user, (to, &content), None, id, false);
        if let Some(sending) = self.sendings.get_mut(&content) {
            sending.deletes = Some(seq);
        }
    }

    /// A message was seen in a log.
    pub fn seen(&mut self, log: &Log, epoch: &str, message: &Message) -> Result<(), String> {
        if message.is_deleted {
            return self.seen_deleted(log, epoch, message);
        }
        let deleted = self.check_sending(message)?;
        let life = self
            .lives
            .entry((log.clone(), epoch.to_owned()))
            .or_default();
        life.head = life.head.max(message.seq);
        life.deleted.extend(deleted);
        if let Some(fact) = life.facts.get(&message.seq) {
            if fact != message {
                return Err(format!("number {} was {fact:?} before", message.seq));
            }
            return Ok(());
        }
        life.check_time(message)?;
        let other = life
            .by_content
            .insert(message.content.clone(), message.seq)
            .filter(|seq| *seq != message.seq);
        if let Some(other) = other {
            return Err(format!("the message was numbered {other} before"));
        }
        if let Some(id) = &message.id {
            life.meet(&message.sender, id, message.seq)?;
        }
        if let Some(given) = life.given.get(&message.seq)
            && (Some(&given.id) != message.id.as_ref()
                || given.user != message.sender
                || given.timestamp != message.timestamp)
        {
            return Err(format!("its ack said {given:?}"));
        }
        life.facts.insert(message.seq, message.clone());
        Ok(())
    }

    /// A tombstone was seen in a log.
    fn seen_deleted(&mut self, log: &Log, epoch: &str, message: &Message) -> Result<(), String> {
        let is_it = |sending: &Sending| sending.to == *log && sending.deletes == Some(message.seq);
        if !self.sendings.values().any(is_it) {
            return Err("nobody wanted it to be deleted".to_owned());
        }
        let life = self.lives.entry((log.clone(), epoch.to_owned()));
        let life = life.or_default();
        life.head = life.head.max(message.seq);
        let Some(fact) = life.facts.get(&message.seq) else {
            return Ok(());
        };
        let is_time = message.timestamp == 0 || message.timestamp == fact.timestamp;
        match fact.sender == message.sender && is_time {
            true => Ok(()),
            false => Err(format!("it was {fact:?}")),
        }
    }

    /// Messages of a log of which someone has seen the deletion.
    pub fn gone(&self, log: &Log) -> Gone {
        let lives = self.lives.iter().filter(|((other, _), _)| other == log);
        let gone = lives.flat_map(|((_, epoch), life)| {
            let seqs = life.deleted.iter();
            seqs.map(|seq| (epoch.clone(), *seq))
        });
        Gone(gone.collect())
    }

    /// Gives the number of the message that it deletes, if it does.
    fn check_sending(&self, message: &Message) -> Result<Option<u64>, String> {
        let Some(sending) = self.sendings.get(&message.content) else {
            return Err("nobody sent this content".to_owned());
        };
        let is_it = !sending.is_signal
            && sending.user == message.sender
            && sending.to == message.to
            && sending.id == message.id
            && sending.metadata == message.metadata;
        if is_it {
            Ok(sending.deletes)
        } else {
            Err(format!("it was sent as {sending:?}"))
        }
    }

    /// A signal was seen by `conn`.
    pub fn signal(&self, conn: Conn, to: &Log, sender: &str, content: &str) -> Result<(), String> {
        let Some(sending) = self.sendings.get(content) else {
            return Err("nobody sent this content".to_owned());
        };
        if !sending.is_signal || sending.user != sender || sending.to != *to {
            return Err(format!("it was sent as {sending:?}"));
        }
        if sending.conns.contains(&conn) {
            return Err("a signal came back to its sender".to_owned());
        }
        Ok(())
    }

    /// A user was told that its message has a number.
    pub fn acked(
        &mut self,
        (log, epoch): (&Log, Option<&str>),
        (user, id): (&str, &str),
        seq: u64,
        timestamp: u64,
        dup: bool,
    ) -> Result<(), String> {
        let key = (user.to_owned(), log.clone(), id.to_owned());
        if dup && self.attempts.get(&key).is_none_or(|count| *count < 2) {
            return Err("a repetition of what was sent once".to_owned());
        }
        let Some(epoch) = epoch.or_else(|| self.only_epoch(log)) else {
            return Ok(());
        };
        let epoch = epoch.to_owned();
        let life = self.lives.entry((log.clone(), epoch)).or_default();
        life.head = life.head.max(seq);
        life.meet(user, id, seq)?;
        if let Some(message) = life.facts.get(&seq)
            && (message.sender != user
                || message.id.as_deref() != Some(id)
                || message.timestamp != timestamp)
        {
            return Err(format!("number {seq} is {message:?}"));
        }
        let given = life.given.entry(seq).or_insert_with(|| Given {
            user: user.to_owned(),
            id: id.to_owned(),
            timestamp,
            was_first: false,
        });
        if given.timestamp != timestamp || (given.was_first && !dup) {
            return Err(format!("the ack before said {given:?}"));
        }
        given.was_first |= !dup;
        Ok(())
    }

    /// The inbox of a user was told to stand at `head`.
    pub fn inbox(&mut self, user: &str, epoch: &str, head: u64) {
        let entry = self.users.entry(user.to_owned()).or_default();
        entry.epochs.insert(epoch.to_owned());
        self.reached(&Log::Inbox(user.to_owned()), epoch, head);
    }

    /// Whether the user was ever welcomed.
    pub fn is_known(&self, user: &str) -> bool {
        self.users
            .get(user)
            .is_some_and(|user| !user.epochs.is_empty())
    }

    /// A log was told to stand at `head`.
    pub fn reached(&mut self, log: &Log, epoch: &str, head: u64) {
        let life = self
            .lives
            .entry((log.clone(), epoch.to_owned()))
            .or_default();
        life.head = life.head.max(head);
    }

    /// A user may have confirmed its inbox up to message `seq`.
    pub fn confirmed(&mut self, user: &str, seq: u64) {
        let log = Log::Inbox(user.to_owned());
        let lives = self.lives.iter().filter(|((other, _), _)| *other == log);
        let head = lives.map(|(_, life)| life.head).max().unwrap_or(0);
        // Nobody confirms what is not there.
        if seq <= head {
            let user = self.users.entry(user.to_owned()).or_default();
            user.confirmed_max = user.confirmed_max.max(seq);
        }
    }

    /// The last message of a user's inbox that may have been confirmed.
    pub fn confirmed_max(&self, user: &str) -> u64 {
        self.users.get(user).map_or(0, |user| user.confirmed_max)
    }

    /// The last number that anyone has seen.
    pub fn head(&self, log: &Log, epoch: &str) -> u64 {
        let life = self.lives.get(&(log.clone(), epoch.to_owned()));
        life.map_or(0, |life| life.head)
    }

    /// A connection was not sent these messages of a log that it reads.
    pub fn skipped(&mut self, conn: Conn, log: &Log, epoch: &str, seqs: std::ops::Range<u64>) {
        self.skipped.extend(seqs.map(|seq| Skipped {
            conn,
            log: log.clone(),
            epoch: epoch.to_owned(),
            seq,
        }));
    }

    /// A connection was told that messages from `first` to `last` are gone.
    pub fn lost(
        &mut self,
        conn: Conn,
        (log, epoch): (&Log, &str),
        (first, last): (u64, u64),
        is_eager: bool,
    ) {
        self.losses.push(Loss {
            conn,
            log: log.clone(),
            epoch: epoch.to_owned(),
            first,
            last,
            is_eager,
        });
    }

    /// The newest page of a log, which stood there or further, ends with message `last`.
    pub fn paged(&mut self, conn: Conn, log: &Log, stood: Position, last: u64) {
        let head = stood.seq;
        if last < head {
            self.short_pages.push(ShortPage {
                log: log.clone(),
                head,
                fault: format!(
                    "c{conn} had a page of {log:?} that ends at {last}, but {head} was there"
                ),
            });
        }
    }

    /// What could only be judged once everything was seen.
    pub fn done(&self, excuses: &Excuses, was_evicted: bool) -> Result<(), String> {
        self.skipped
            .iter()
            .try_for_each(|skip| self.check_skip(skip))?;
        if excuses.is_durable {
            self.check_durable()?;
        }
        if was_evicted {
            return Ok(());
        }
        // What of a log on disk is lost is judged by the disk. The less there is behind a loss, the worse; so the last
        // of each life stands for all.
        let mut last = BTreeMap::new();
        let is_kept = |log: &Log| excuses.is_durable && log.is_durable();
        let mut pages = self.short_pages.iter();
        if let Some(page) = pages.find(|page| !is_kept(&page.log)) {
            return Err(page.fault.clone());
        }
        for loss in self.losses.iter().filter(|loss| !is_kept(&loss.log)) {
            let key = (&loss.log, &loss.epoch, loss.is_eager);
            let worst = last.entry(key).or_insert(loss);
            if worst.first < loss.first {
                *worst = loss;
            }
        }
        last.values()
            .try_for_each(|loss| self.check_loss(loss, excuses))
    }

    /// The numbering of what is on a disk stays.
    fn check_durable(&self) -> Result<(), String> {
        let epochs = self.lives.keys().zip(self.lives.keys().skip(1));
        for ((log, epoch), (next_log, next_epoch)) in epochs {
            if log == next_log && log.is_durable() {
                return Err(format!("{log:?} has epochs {epoch} and {next_epoch}"));
            }
        }
        Ok(())
    }

    fn check_skip(&self, skip: &Skipped) -> Result<(), String> {
        let life = self.lives.get(&(skip.log.clone(), skip.epoch.clone()));
        let Some(life) = life else { return Ok(()) };
        let Some(content) = self.content_of(life, skip.seq) else {
            return Ok(());
        };
        let conns = self.sendings.get(content).map(|sending| &sending.conns);
        if conns.is_some_and(|conns| conns.contains(&skip.conn)) {
            Ok(())
        } else {
            Err(format!("{skip:?} is another's, from {conns:?}"))
        }
    }

    /// What a number means, as far as anyone knows.
    fn content_of<'a>(&'a self, life: &'a Life, seq: u64) -> Option<&'a str> {
        match (life.facts.get(&seq), life.given.get(&seq)) {
            (Some(fact), _) => Some(&fact.content),
            (None, Some(given)) => {
                let key = (given.user.clone(), given.id.clone());
                self.contents.get(&key).map(String::as_str)
            }
            (None, None) => None,
        }
    }

    /// Messages go only when there is more than a log has to keep.
    fn check_loss(&self, loss: &Loss, excuses: &Excuses) -> Result<(), String> {
        let keeps = match loss.log {
            Log::Room(_) => excuses.tail_bytes_max,
            Log::Inbox(_) => excuses.tail_bytes_max.max(excuses.inbox_bytes_max),
        };
        let Some(life) = self.lives.get(&(loss.log.clone(), loss.epoch.clone())) else {
            return Ok(());
        };
        if loss.is_eager && keeps >= EAGER_TAIL_BYTES_MIN {
            return Err(format!("c{} read all the time, but {loss:?}", loss.conn));
        }
        let mut bytes = 0;
        for seq in loss.first..=life.head {
            let Some(sending) = self
                .content_of(life, seq)
                .and_then(|content| self.sendings.get_key_value(content))
            else {
                // Nobody knows all of them.
                return Ok(());
            };
            bytes += frame_bytes(seq, sending);
            if bytes >= keeps {
                return Ok(());
            }
        }
        Err(format!(
            "c{} was told that {:?} lost {} and more, but behind it are only {bytes} bytes",
            loss.conn, loss.log, loss.first
        ))
    }

    fn only_epoch(&self, log: &Log) -> Option<&str> {
        let Log::Inbox(user) = log else { return None };
        let epochs = &self.users.get(user)?.epochs;
        epochs
            .first()
            .filter(|_| epochs.len() == 1)
            .map(String::as_str)
    }
}

/// How long a message is as a frame.
fn frame_bytes(seq: u64, (content, sending): (&String, &Sending)) -> usize {
    let target = match &sending.to {
        Log::Room(room) => ("room_id", room),
        Log::Inbox(user) => ("to", user),
    };
    let text = |(name, value): (&str, &String)| r#","":"""#.len() + name.len() + value.len();
    let raw = |(name, value): (&str, &String)| r#","":"#.len() + name.len() + value.len();
    // A timestamp has 13 digits.
    let payload = r#"{"type":"message","seq_id":,"timestamp":1234567890123}"#.len()
        + seq.to_string().len()
        + text(target)
        + text(("sender", &sending.user))
        + match sending.deletes {
            Some(seq) => raw(("deleted_seq_id", &seq.to_string())),
            None => raw(("content", content)),
        }
        + sending
            .metadata
            .iter()
            .map(|metadata| raw(("metadata", metadata)))
            .sum::<usize>()
        + sending.id.iter().map(|id| text(("id", id))).sum::<usize>();
    let header = if payload < 126 { 2 } else { 4 };
    header + payload
}

impl Life {
    /// An `id` means one number.
    fn meet(&mut self, user: &str, id: &str, seq: u64) -> Result<(), String> {
        let key = (user.to_owned(), id.to_owned());
        match self.by_id.insert(key, seq) {
            Some(before) if before != seq => {
                Err(format!("{id:?} of {user:?} had number {before} before"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Time does not run backwards within a log.
    fn check_time(&self, message: &Message) -> Result<(), String> {
        let before = self.facts.range(..message.seq).next_back();
        let after = self.facts.range(message.seq..).next();
        let is_late = before.is_some_and(|(_, fact)| fact.timestamp > message.timestamp);
        let is_early = after.is_some_and(|(_, fact)| fact.timestamp < message.timestamp);
        if is_late || is_early {
            return Err("time runs backwards".to_owned());
        }
        Ok(())
    }
}

#[test]
fn a_message_is_as_long_as_its_frame() {
    let (content, id) = ("[1]".to_owned(), "m1".to_owned());
    let mut sending = Sending {
        user: "ann".to_owned(),
        to: Log::Room("a".to_owned()),
        id: None,
        metadata: None,
        is_signal: false,
        deletes: None,
        conns: BTreeSet::new(),
    };
    let text = r#"{"type":"message","room_id":"a","seq_id":7,"timestamp":1700000000000,"sender":"ann","content":[1]}"#;
    assert_eq!(frame_bytes(7, (&content, &sending)), 2 + text.len());
    sending.to = Log::Inbox("bob".to_owned());
    (sending.id, sending.metadata) = (Some(id), Some("{}".to_owned()));
    let text = r#"{"type":"message","to":"bob","seq_id":77,"timestamp":1700000000000,"sender":"ann","content":[1],"metadata":{},"id":"m1"}"#;
    assert!(text.len() < 126);
    assert_eq!(frame_bytes(77, (&content, &sending)), 2 + text.len());
}
