//! Time in nanoseconds since the start of the run.

use std::time::{Duration, Instant};

/// The one clock of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    pub fn start() -> Clock {
        Clock {
            start: Instant::now(),
        }
    }

    /// Nanoseconds since the start.
    pub fn now_ns(self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// How long to wait so as not to be later than `due_ns`, in whole milliseconds, which is what the poll knows.
pub fn until(due_ns: u64, now_ns: u64) -> Duration {
    Duration::from_millis(due_ns.saturating_sub(now_ns) / 1_000_000)
}
