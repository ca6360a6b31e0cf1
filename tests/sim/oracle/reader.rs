//! One connection's place in one log.

use super::Conn;
use super::logs::{Gone, Logs};
use crate::told::Log;

/// See the [module](self).
#[derive(Debug)]
pub struct Reader {
    conn: Conn,
    log: Log,
    /// Which life of the log.
    pub epoch: String,
    /// The message that comes next; with `is_open`, or one before it.
    next: u64,
    is_open: bool,
    skips_own: bool,
    /// Something has come.
    has_begun: bool,
    /// Messages that were known to be deleted when it asked for them.
    pub gone: Gone,
}

impl Reader {
    /// Gets everything behind message `after`, but not its own if `skips_own`.
    pub fn after(conn: Conn, log: Log, epoch: &str, after: u64, skips_own: bool) -> Reader {
        Reader {
            conn,
            log,
            epoch: epoch.to_owned(),
            next: after + 1,
            is_open: false,
            skips_own,
            has_begun: false,
            gone: Gone::default(),
        }
    }

    /// The same, but the first one may be older.
    pub fn after_or_before(conn: Conn, log: Log, epoch: &str, after: u64) -> Reader {
        Reader {
            is_open: true,
            ..Reader::after(conn, log, epoch, after, true)
        }
    }

    /// Message `seq` came.
    pub fn took(&mut self, seq: u64, logs: &mut Logs) -> Result<(), String> {
        self.arrive_at(seq, logs)?;
        self.next = seq + 1;
        Ok(())
    }

    /// Messages from `first` to `last` will not come.
    ///
    /// A reader that has begun and reads all the time loses nothing.
    pub fn lost(
        &mut self,
        first: u64,
        last: u64,
        is_eager: bool,
        logs: &mut Logs,
    ) -> Result<(), String> {
        if last < first {
            return Err("a gap of nothing".to_owned());
        }
        let is_eager = is_eager && self.has_begun;
        self.arrive_at(first, logs)?;
        logs.lost(self.conn, (&self.log, &self.epoch), (first, last), is_eager);
        logs.reached(&self.log, &self.epoch, last);
        self.next = last + 1;
        Ok(())
    }

    /// Everything up to `seq` was written, the server says.
    pub fn had(&mut self, seq: u64, logs: &mut Logs) -> Result<(), String> {
        logs.reached(&self.log, &self.epoch, seq);
        if seq < self.next {
            return Ok(());
        }
        self.arrive_at(seq + 1, logs)
    }

    /// Nothing comes any more, so everything up to the head must have come.
    pub fn done(&self, logs: &mut Logs) -> Result<(), String> {
        let head = logs.head(&self.log, &self.epoch);
        if self.next > head {
            return Ok(());
        }
        if !self.skips_own {
            return Err(format!("{self:?} never came to {head}"));
        }
        logs.skipped(self.conn, &self.log, &self.epoch, self.next..head + 1);
        Ok(())
    }

    /// Goes on to message `seq`: what lies between has to be its own.
    fn arrive_at(&mut self, seq: u64, logs: &mut Logs) -> Result<(), String> {
        let is_open = std::mem::replace(&mut self.is_open, false);
        self.has_begun = true;
        if seq < self.next && !is_open {
            return Err(format!("{seq} after {} of {self:?}", self.next - 1));
        }
        if seq > self.next {
            if !self.skips_own {
                return Err(format!("{seq} where {} comes next, of {self:?}", self.next));
            }
            if seq - self.next > 100_000 {
                return Err(format!("{seq} is far off {self:?}"));
            }
            logs.skipped(self.conn, &self.log, &self.epoch, self.next..seq);
        }
        self.next = seq;
        Ok(())
    }
}
