//! When messages are due.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::stamp::Stamp;

/// An open loop: messages are due at fixed times, whatever became of those before. What is sent late counts as late,
/// so a server that stalls cannot make its own stall go unmeasured.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start_ns: u64,
    interval_ns: u64,
    publisher_count: u32,
}

impl Schedule {
    /// So many messages a second from `start_ns` on, from each publisher in turn.
    pub fn new(start_ns: u64, rate_per_s: u32, publisher_count: u32) -> Schedule {
        Schedule {
            start_ns,
            interval_ns: 1_000_000_000 / u64::from(rate_per_s.max(1)),
            publisher_count,
        }
    }

    /// When a message is due.
    pub fn due_ns(&self, stamp: Stamp) -> u64 {
        let place =
            u64::from(stamp.number) * u64::from(self.publisher_count) + u64::from(stamp.publisher);
        self.start_ns + place * self.interval_ns
    }

    /// How many messages are due by then, from all publishers.
    pub fn due_count(&self, now_ns: u64) -> u64 {
        match now_ns.checked_sub(self.start_ns) {
            Some(elapsed_ns) => elapsed_ns / self.interval_ns + 1,
            None => 0,
        }
    }

    /// Goes on after a pause: the next message, of which there were `sent_total` before, is due an interval from now.
    pub fn resume(&mut self, now_ns: u64, sent_total: u64) {
        self.start_ns = (now_ns + self.interval_ns).saturating_sub(sent_total * self.interval_ns);
    }

    /// A timer that fires at the time of every message from now on.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn timer(&self, now_ns: u64) -> io::Result<OwnedFd> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let first_ns = self.interval_ns - now_ns.saturating_sub(self.start_ns) % self.interval_ns;
        let spec = Itimerspec {
            it_interval: timespec(self.interval_ns)?,
            it_value: timespec(first_ns)?,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(timer)
    }
}

fn timespec(ns: u64) -> io::Result<Timespec> {
    Timespec::try_from(Duration::from_nanos(ns)).map_err(io::Error::other)
}

/// A closed loop: each publisher has so many messages under way, and sends the next one when the oldest has reached
/// everybody.
#[derive(Debug)]
pub struct Windows {
    in_flight_count: u32,
    slots: usize,
    /// For each publisher, who many still wait for each message under way.
    waiting: Vec<u32>,
    sent_ns: Vec<u64>,
    oldest: Vec<u32>,
}

impl Windows {
    /// Nothing is under way.
    pub fn new(publisher_count: u32, in_flight_count: u32) -> Windows {
        let slots = in_flight_count.next_power_of_two() as usize;
        let count = slots * publisher_count as usize;
        Windows {
            in_flight_count,
            slots,
            waiting: vec![0; count],
            sent_ns: vec![0; count],
            oldest: vec![0; publisher_count as usize],
        }
    }

    /// Whether a publisher may send its message `stamp.number` now.
    pub fn is_open(&self, stamp: Stamp) -> bool {
        let oldest = self.oldest.get(stamp.publisher as usize);
        oldest.is_some_and(|oldest| stamp.number - oldest < self.in_flight_count)
    }

    /// A message was sent to so many.
    pub fn sent(&mut self, stamp: Stamp, reader_count: u32, now_ns: u64) {
        let slot = self.slot(stamp);
        self.waiting[slot] = reader_count;
        self.sent_ns[slot] = now_ns;
    }

    /// When a message under way was sent.
    pub fn sent_ns(&self, stamp: Stamp) -> u64 {
        self.sent_ns[self.slot(stamp)]
    }

    /// A message reached one more.
    pub fn arrived(&mut self, stamp: Stamp, sent_count: u32) {
        let slot = self.slot(stamp);
        self.waiting[slot] = self.waiting[slot].saturating_sub(1);
        if self.waiting[slot] > 0 {
            return;
        }
        let publisher = stamp.publisher as usize;
        let first = publisher * self.slots;
        let oldest = &mut self.oldest[publisher];
        while *oldest < sent_count && self.waiting[first + *oldest as usize % self.slots] == 0 {
            *oldest += 1;
        }
    }

    fn slot(&self, stamp: Stamp) -> usize {
        stamp.publisher as usize * self.slots + stamp.number as usize % self.slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_times_from_publishers_in_turn() {
        let schedule = Schedule::new(1000, 1_000_000, 2);
        let due = |publisher, number| schedule.due_ns(Stamp { publisher, number });
        assert_eq!(
            [due(0, 0), due(1, 0), due(0, 1), due(1, 1)],
            [1000, 2000, 3000, 4000]
        );
        let counts = [999, 1000, 3999, 4000].map(|now_ns| schedule.due_count(now_ns));
        assert_eq!(counts, [0, 1, 3, 4]);
    }

    #[test]
    fn a_pause_makes_nothing_late() {
        let mut schedule = Schedule::new(1000, 1_000_000, 2);
        schedule.resume(9000, 3);
        let due = |publisher, number| schedule.due_ns(Stamp { publisher, number });
        assert_eq!([due(1, 1), due(0, 2)], [10_000, 11_000]);
        assert_eq!(schedule.due_count(9999), 3);
    }

    #[test]
    fn a_window_moves_when_the_oldest_message_has_reached_everybody() {
        let mut windows = Windows::new(2, 3);
        let stamp = |number| Stamp {
            publisher: 1,
            number,
        };
        for number in 0..3 {
            assert!(windows.is_open(stamp(number)));
            windows.sent(stamp(number), 2, u64::from(number));
        }
        assert!(!windows.is_open(stamp(3)));
        for number in [1, 1, 2, 0] {
            windows.arrived(stamp(number), 3);
            assert!(!windows.is_open(stamp(3)), "after {number}");
        }
        windows.arrived(stamp(0), 3);
        assert!(
            windows.is_open(stamp(3)) && windows.is_open(stamp(4)) && !windows.is_open(stamp(5))
        );
        assert!(windows.is_open(Stamp {
            publisher: 0,
            number: 0
        }));
        assert_eq!(windows.sent_ns(stamp(2)), 2);
    }
}
