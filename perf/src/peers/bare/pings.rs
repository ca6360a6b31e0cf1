//! When the bare server pings, where it does: each connection once in an interval, in ticks as coarse as roomcast's, so
//! that as many pings go out in one turn.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const TICK_MS: u64 = 100;

/// A ping without a payload.
pub const PING: [u8; 2] = [0x89, 0];

/// See the [module](self).
pub struct Pings {
    start: Instant,
    interval_ticks: u32,
    /// Ticks in which members are due, rising, as all have the same interval.
    due: VecDeque<Due>,
}

/// A member's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub tick: u32,
    /// Whose.
    pub index: u32,
}

impl Pings {
    /// Nobody is due.
    pub fn new(interval_ms: u32) -> Pings {
        Pings {
            start: Instant::now(),
            interval_ticks: interval_ms.div_ceil(TICK_MS as u32).max(1),
            due: VecDeque::new(),
        }
    }

    /// A member is due an interval from now. Returns in which tick.
    pub fn arm(&mut self, index: u32) -> u32 {
        let tick = self.tick() + self.interval_ticks;
        self.due.push_back(Due { tick, index });
        tick
    }

    /// The next member that is due, if there is one.
    pub fn next(&mut self) -> Option<Due> {
        let tick = self.tick();
        self.due.pop_front_if(|due| due.tick <= tick)
    }

    /// How long nobody is due.
    pub fn pause(&self) -> Option<Duration> {
        let first = self.due.front()?;
        let until = Duration::from_millis(u64::from(first.tick) * TICK_MS);
        Some(until.saturating_sub(self.start.elapsed()))
    }

    fn tick(&self) -> u32 {
        let ticks = self.start.elapsed().as_millis() / u128::from(TICK_MS);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}
