//! What follows when the table has failed, and what a process before has left.

use super::{Health, LogService, NOWHERE, Place, unasked};
use crate::log::{Answers, Head, Outcome, Owed, Request, Span, Submission, Table, TableError};
use crate::room::{Connection, Key, Space};
use std::sync::Arc;

impl<T: Table> LogService<T> {
    /// Brings a table that has failed back: copies that are still owed are kept, heads are read again, and what turns
    /// out to be kept after all is told to the shards before anything else.
    ///
    /// # Errors
    ///
    /// It fails still.
    pub fn recover(&mut self) -> Result<Vec<(u16, Answers)>, TableError> {
        if !self.is_failed() {
            return Ok(Vec::new());
        }
        self.table.recover()?;
        self.keep_all_owed()?;
        let mut unknown = Vec::new();
        for place in self.suspects() {
            if let Some(answers) = self.catch_up(place)? {
                unknown.push((place.0, answers));
            }
        }
        self.health = Health::Well;
        Ok(unknown)
    }

    /// Whether a failed transaction has moved a log: where it stands is not known before the recovery.
    pub(super) fn is_unknown(&self, key: &Key) -> bool {
        match &self.health {
            Health::Well => false,
            Health::Failed { unknown, .. } => unknown.binary_search(key).is_ok(),
        }
    }

    /// The logs that may stand elsewhere than is known here, each once.
    fn suspects(&self) -> Vec<Place> {
        let mut suspects = match &self.health {
            Health::Well => Vec::new(),
            Health::Failed { suspects, .. } => suspects.clone(),
        };
        suspects.sort_unstable_by_key(|(shard, slot)| (*shard, slot.to_u64()));
        suspects.dedup();
        suspects
    }

    /// Whether a log may move without its shard: one that holds it open is told, and one that knows it to have messages
    /// asks where it stands. Only an empty inbox that nobody has open would not be asked for.
    fn may_move(&mut self, key: &Key) -> Result<bool, TableError> {
        let is_start = !self.is_failed();
        if is_start || self.logs.values().any(|log| log.key == *key) {
            return Ok(true);
        }
        let opened = self.table.open(key)?;
        Ok(opened.is_some_and(|opened| opened.head.seq > 0))
    }

    /// A log is about to move without its shard: it is to be told after the recovery, and until then nobody is told
    /// where the log stands.
    fn suspect(&mut self, key: &Key) {
        if let Health::Failed {
            suspects, unknown, ..
        } = &mut self.health
        {
            let open = self.logs.iter().filter(|(_, log)| log.key == *key);
            suspects.extend(open.map(|(place, _)| *place));
            unknown.push(key.clone());
            unknown.sort_unstable();
            unknown.dedup();
        }
    }

    /// What the table keeps of a log beyond what its shard was told: a commit that failed may have been kept.
    fn catch_up(&mut self, place: Place) -> Result<Option<Answers>, TableError> {
        let Some(log) = self.logs.get_mut(&place) else {
            return Ok(None);
        };
        let Some(opened) = self.table.open(&log.key)? else {
            return Ok(None);
        };
        if opened.head.epoch == log.head.epoch && opened.head.seq < log.head.seq {
            return Err(TableError(format!(
                "{:?} ends at {} where {} was acknowledged",
                log.key, opened.head.seq, log.head.seq
            )));
        }
        let span = Span {
            after: log.head.seq,
            until: opened.head.seq,
            newest_first: false,
        };
        let (mut submission, mut outcomes) = (Submission::default(), Vec::new());
        self.table.read(&log.key, span, &mut |entry| {
            let from = (Connection::NONE, entry.client);
            submission.append(place.1, from, entry.dedupe, true, &entry.draft);
            outcomes.push(Outcome::Kept {
                seq: entry.seq,
                unix_ms: entry.unix_ms,
            });
            true
        })?;
        (log.head, log.last_ms) = (opened.head, opened.unix_ms.max(log.last_ms));
        let is_known = outcomes.is_empty();
        Ok((!is_known).then(|| unasked(submission, outcomes)))
    }

    /// Keeps the copies of private messages that are owed, in one transaction.
    pub(super) fn keep_all_owed(&mut self) -> Result<(), TableError> {
        let owed = self.table.owed()?;
        if owed.is_empty() {
            return Ok(());
        }
        self.table.begin()?;
        let kept = owed.iter().try_for_each(|owed| self.keep_owed(owed));
        self.logs.remove(&NOWHERE);
        self.undo.clear();
        kept?;
        self.table.commit()
    }

    /// Keeps one of them, within the transaction.
    fn keep_owed(&mut self, owed: &Owed) -> Result<(), TableError> {
        let span = Span {
            after: owed.seq - 1,
            until: owed.seq,
            newest_first: false,
        };
        let mut message = None;
        let mut submission = Submission::default();
        self.table.read(&owed.key, span, &mut |entry| {
            let from = (Connection::NONE, entry.client);
            submission.append(NOWHERE.1, from, Some(owed.dedupe), true, &entry.draft);
            message = Some((Arc::<str>::from(entry.draft.sender), entry.unix_ms));
            false
        })?;
        let Some((sender, unix_ms)) = message else {
            return self.table.settle(owed.dedupe);
        };
        if self.table.owner(&sender)?.is_none() {
            return self.table.settle(owed.dedupe);
        }
        let (space, hint) = (Space::Inbox, Head { epoch: 0, seq: 0 });
        let key = Key {
            space,
            name: sender,
        };
        if !self.may_move(&key)? {
            return Ok(());
        }
        self.suspect(&key);
        self.look_into(NOWHERE, &key, hint, true)?;
        if let Some(Request::Append(append)) = submission.requests.first() {
            self.keep(NOWHERE, append, submission.draft(append), unix_ms)?;
        }
        Ok(())
    }
}
