//! What is done in the background, in small steps between commits: old messages are trimmed, dropped inboxes removed,
//! and ids forgotten whose time is over.

use crate::limits::{DEDUPE_COUNT_MAX, DEDUPE_MS, UPKEEP_MS, UPKEEP_PAUSE_MS, UPKEEP_ROW_COUNT};
use crate::log::TableError;
use crate::rights::Pattern;
use crate::room::{Key, Space};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::time::{Duration, Instant};

/// How long messages of rooms are kept: the first rule that fits a room's name is its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// How many messages.
    pub messages: Vec<Rule>,
    /// For how many days.
    pub days: Vec<Rule>,
}

/// A bound for the rooms whose names fit a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rooms.
    pub pattern: Pattern,
    /// The bound.
    pub most: u64,
}

/// What a step works at.
#[derive(Clone, Debug)]
enum Work {
    /// Nothing until then.
    Rest(Instant),
    /// The logs behind this row.
    Logs(i64),
    /// The ids behind this log and key.
    Ids(i64, Vec<u8>),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Upkeep {
    retention: Retention,
    work: Work,
    paused: Instant,
}

/// A log as upkeep sees it.
struct Log {
    id: i64,
    space: String,
    name: String,
    head: i64,
    trimmed: i64,
}

impl Retention {
    fn bound(rules: &[Rule], name: &str) -> Option<u64> {
        let rule = rules.iter().find(|rule| rule.pattern.fits(name));
        rule.map(|rule| rule.most)
    }
}

impl Upkeep {
    /// Upkeep that begins at once.
    pub fn new(retention: Retention) -> Upkeep {
        Upkeep {
            retention,
            work: Work::Logs(0),
            paused: Instant::now(),
        }
    }

    /// Begins a round now, if none is under way.
    pub fn hurry(&mut self) {
        if let Work::Rest(_) = self.work {
            self.work = Work::Logs(0);
        }
    }

    /// How long it has nothing to do.
    pub fn patience(&self) -> Duration {
        match &self.work {
            Work::Rest(until) => until.saturating_duration_since(Instant::now()),
            Work::Logs(_) | Work::Ids(..) => Duration::from_millis(UPKEEP_PAUSE_MS),
        }
    }

    /// Does one small step, if it is time. Gives the logs that were trimmed, and up to where.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn step(
        &mut self,
        connection: &mut Connection,
        unix_ms: u64,
    ) -> Result<Vec<(Key, u64)>, TableError> {
        if self.paused.elapsed() < Duration::from_millis(UPKEEP_PAUSE_MS) {
            return Ok(Vec::new());
        }
        self.paused = Instant::now();
        match self.work.clone() {
            Work::Rest(until) if until > self.paused => Ok(Vec::new()),
            Work::Rest(_) => {
                self.work = Work::Logs(0);
                Ok(Vec::new())
            }
            Work::Logs(after) => Ok(self.trim_logs(connection, after, unix_ms)?),
            Work::Ids(log_id, key) => {
                self.work = forget_ids(connection, log_id, &key, unix_ms)?;
                Ok(Vec::new())
            }
        }
    }

    /// Looks at logs until one was worked at.
    fn trim_logs(
        &mut self,
        connection: &mut Connection,
        mut after: i64,
        unix_ms: u64,
    ) -> rusqlite::Result<Vec<(Key, u64)>> {
        for _ in 0..UPKEEP_ROW_COUNT {
            let Some(log) = next_log(connection, after)? else {
                self.work = Work::Ids(0, Vec::new());
                return Ok(Vec::new());
            };
            let end = self.end_of(connection, &log, unix_ms)?;
            let step_end = end.min(log.trimmed + i64::from(UPKEEP_ROW_COUNT));
            if end <= log.trimmed && log.space != "dropped" {
                after = log.id;
                continue;
            }
            trim(connection, &log, step_end)?;
            // The same log again, until nothing of it is left to do.
            self.work = Work::Logs(log.id - 1);
            let space = match log.space.as_str() {
                "room" => Space::Chat,
                "inbox" => Space::Inbox,
                _ => return Ok(Vec::new()),
            };
            let name = log.name.into();
            return Ok(vec![(Key { space, name }, step_end.cast_unsigned())]);
        }
        self.work = Work::Logs(after);
        Ok(Vec::new())
    }

    /// Up to where messages of a log are not to be kept.
    fn end_of(&self, connection: &Connection, log: &Log, unix_ms: u64) -> rusqlite::Result<i64> {
        if log.space == "dropped" {
            return Ok(log.head);
        }
        if log.space != "room" {
            return Ok(0);
        }
        let mut end = 0;
        if let Some(most) = Retention::bound(&self.retention.messages, &log.name) {
            end = log
                .head
                .saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
        }
        if let Some(days) = Retention::bound(&self.retention.days, &log.name) {
            let before_ms = unix_ms.saturating_sub(days.saturating_mul(86_400_000));
            end = end.max(older(connection, log, before_ms.cast_signed())?);
        }
        Ok(end.min(log.head))
    }
}

fn next_log(connection: &Connection, after: i64) -> rusqlite::Result<Option<Log>> {
    let sql = "SELECT id, space, name, head, trimmed FROM logs WHERE id > ?1 ORDER BY id LIMIT 1";
    let mut next = connection.prepare_cached(sql)?;
    let log = next.query_row([after], |row| {
        Ok(Log {
            id: row.get(0)?,
            space: row.get(1)?,
            name: row.get(2)?,
            head: row.get(3)?,
            trimmed: row.get(4)?,
        })
    });
    log.optional()
}

/// The last of a log's oldest messages that is from before a time, as far as one step looks.
fn older(connection: &Connection, log: &Log, before_ms: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(max(seq_id), 0) FROM
               (SELECT seq_id, unix_ms FROM messages WHERE log_id = ?1 AND seq_id > ?2 ORDER BY seq_id LIMIT ?3)
               WHERE unix_ms < ?4";
    let mut find = connection.prepare_cached(sql)?;
    find.query_row((log.id, log.trimmed, UPKEEP_ROW_COUNT, before_ms), |row| {
        row.get(0)
    })
}

fn trim(connection: &mut Connection, log: &Log, end: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let sql = "DELETE FROM messages WHERE log_id = ?1 AND seq_id <= ?2";
    transaction.prepare_cached(sql)?.execute((log.id, end))?;
    if log.space == "dropped" && end >= log.head {
        let sql = "DELETE FROM logs WHERE id = ?1";
        transaction.prepare_cached(sql)?.execute([log.id])?;
    } else {
        let sql = "UPDATE logs SET trimmed = ?2 WHERE id = ?1";
        transaction.prepare_cached(sql)?.execute((log.id, end))?;
    }
    transaction.commit()
}

/// Looks at the next ids and forgets those whose time is over. Gives what to do next.
fn forget_ids(
    connection: &mut Connection,
    log_id: i64,
    key: &[u8],
    unix_ms: u64,
) -> rusqlite::Result<Work> {
    let transaction = connection.transaction()?;
    let (over, last) = ids_over(&transaction, log_id, key, unix_ms)?;
    for (log_id, key) in &over {
        let sql = "DELETE FROM ids WHERE log_id = ?1 AND key = ?2";
        transaction.prepare_cached(sql)?.execute((log_id, key))?;
    }
    transaction.commit()?;
    Ok(match last {
        Some((log_id, key)) => Work::Ids(log_id, key),
        None => Work::Rest(Instant::now() + Duration::from_millis(UPKEEP_MS)),
    })
}

/// An id: its log and key.
type Id = (i64, Vec<u8>);

/// Those of the next ids whose time is over, and the last that was looked at.
fn ids_over(
    transaction: &Transaction<'_>,
    log_id: i64,
    key: &[u8],
    unix_ms: u64,
) -> rusqlite::Result<(Vec<Id>, Option<Id>)> {
    let sql = "SELECT i.log_id, i.key, l.id IS NULL OR (i.unix_ms < ?3 AND i.seq_id <= l.head - ?4)
               FROM ids AS i LEFT JOIN logs AS l ON l.id = i.log_id
               WHERE (i.log_id, i.key) > (?1, ?2) ORDER BY i.log_id, i.key LIMIT ?5";
    let before_ms = unix_ms.saturating_sub(DEDUPE_MS).cast_signed();
    let count_max = i64::try_from(DEDUPE_COUNT_MAX).unwrap_or(i64::MAX);
    let mut next = transaction.prepare_cached(sql)?;
    let mut rows = next.query((log_id, key, before_ms, count_max, UPKEEP_ROW_COUNT))?;
    let (mut over, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let id: Id = (row.get(0)?, row.get(1)?);
        if row.get(2)? {
            over.push(id.clone());
        }
        last = Some(id);
    }
    Ok((over, last))
}

#[cfg(test)]
mod tests;
