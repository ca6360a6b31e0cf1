//! One page of a log: which messages are on it, what it says by being short, and whether there are more.

use super::Conn;
use super::logs::Logs;
use crate::told::{Log, Message, Position};

/// What was asked for, and what came.
#[derive(Debug)]
pub struct Page<'a> {
    pub conn: Conn,
    pub log: &'a Log,
    pub epoch: &'a str,
    pub before: Option<u64>,
    pub after: Option<u64>,
    pub limit: Option<usize>,
    /// Where the log was seen to stand before.
    pub stood: Option<Position>,
    pub messages: &'a [Message],
    pub more: bool,
}

impl Page<'_> {
    /// Takes the page.
    ///
    /// # Errors
    ///
    /// It is not the one that was asked for, or cannot be true.
    pub fn judge(&self, logs: &mut Logs) -> Result<(), String> {
        let seqs = || self.messages.iter().map(|message| message.seq);
        let is_page = seqs().zip(seqs().skip(1)).all(|(a, b)| a + 1 == b)
            && seqs().all(|seq| self.before.is_none_or(|before| seq < before))
            && seqs().all(|seq| self.after.is_none_or(|after| seq > after))
            && self.messages.len() <= self.limit.unwrap_or(50);
        if !is_page {
            return Err(format!(
                "not the page before {:?} and after {:?}",
                self.before, self.after
            ));
        }
        match (seqs().next(), seqs().next_back()) {
            (None, _) | (_, None) if self.more => Err("more behind nothing".to_owned()),
            (None, _) | (_, None) => {
                self.empty(logs);
                Ok(())
            }
            (Some(first), Some(last)) => match self.after {
                Some(after) => self.forwards(after, (first, last), logs),
                None => self.backwards((first, last), logs),
            },
        }
    }

    /// The last message that could be on the page and was there, as far as anyone knows.
    fn end(&self) -> u64 {
        let stood = self.stood.as_ref();
        let head = stood
            .filter(|stood| stood.epoch == self.epoch)
            .map_or(0, |stood| stood.seq);
        head.min(self.before.map_or(u64::MAX, |before| before - 1))
    }

    fn empty(&self, logs: &mut Logs) {
        let end = self.end();
        match (self.before, self.after) {
            (None, None) => self.short(0, logs),
            (_, after) if end > after.unwrap_or(0) => self.lost(end, logs),
            (_, _) => {}
        }
    }

    fn forwards(
        &self,
        after: u64,
        (first, last): (u64, u64),
        logs: &mut Logs,
    ) -> Result<(), String> {
        if first > after + 1 {
            self.lost(first - 1, logs);
        }
        let is_last = self.before.is_some_and(|before| last + 1 >= before);
        match self.more {
            true if is_last => Err("more where nothing can be".to_owned()),
            false if last < self.end() => Err(format!("no more, but {} was there", self.end())),
            true | false => Ok(()),
        }
    }

    fn backwards(&self, (first, last): (u64, u64), logs: &mut Logs) -> Result<(), String> {
        match self.before {
            None => self.short(last, logs),
            Some(_) if last < self.end() => {
                return Err(format!("it ends before {}, which was there", self.end()));
            }
            Some(_) => {}
        }
        match (self.more, first) {
            (true, 1) => Err("more before the first message".to_owned()),
            (true, _) | (false, 1) => Ok(()),
            (false, _) => {
                self.lost(first - 1, logs);
                Ok(())
            }
        }
    }

    /// The newest page ends with message `last`.
    fn short(&self, last: u64, logs: &mut Logs) {
        if let Some(stood) = self.stood.clone().filter(|stood| stood.epoch == self.epoch) {
            logs.paged(self.conn, self.log, stood, last);
        }
    }

    /// It says that message `seq` is gone.
    fn lost(&self, seq: u64, logs: &mut Logs) {
        logs.lost(self.conn, (self.log, self.epoch), (seq, seq), false);
    }
}
