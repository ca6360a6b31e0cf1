//! A room under load: its members, what they were sent, and what they got.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::until;
use crate::crowd::{Arrival, Crowd};
use crate::deflate::Unpacker;
use crate::figures;
use crate::ledger::{Audience, Ledger};
use crate::limits::{BATCH_BYTES, DRAIN_MS};
use crate::pace::{Schedule, Windows};
use crate::room::Room;
use crate::stamp::{Mould, Reading, Stamp};

/// Who does what.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Where.
    pub room: Room,
    /// Connections in the room; the first of them publish.
    pub member_count: u32,
    /// Connections that publish.
    pub publisher_count: u32,
    /// Length of a message, or of its content.
    pub message_bytes: usize,
    /// When messages are sent.
    pub pace: Pace,
}

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many a second in all.
    Open {
        /// See above.
        rate_per_s: u32,
    },
    /// So many under way from each publisher.
    Closed {
        /// See above.
        in_flight_count: u32,
    },
}

/// When messages are due, or may be sent.
enum Timing {
    Open { schedule: Schedule },
    Closed { windows: Windows },
}

/// See the [module](self).
pub struct Load {
    crowd: Crowd,
    mould: Mould,
    unpacker: Unpacker,
    ledger: Ledger,
    audience: Audience,
    member_count: u32,
    timing: Timing,
    /// Messages that each publisher has sent.
    sent: Vec<u32>,
    batch: Vec<u8>,
    payload_bytes_total: u64,
    latencies: Histogram<u64>,
    /// Messages due in this time are measured.
    measured_ns: std::ops::Range<u64>,
    /// What was due up to then has to be sent, however late.
    due_until_ns: u64,
}

impl Load {
    /// Nothing was sent yet, to a crowd that is there.
    pub fn new(shape: &Shape, crowd: Crowd) -> Load {
        let mould = Mould::new(&shape.room.dialect, shape.message_bytes);
        let timing = match shape.pace {
            Pace::Open { rate_per_s } => Timing::Open {
                schedule: Schedule::new(crowd.clock().now_ns(), rate_per_s, shape.publisher_count),
            },
            Pace::Closed { in_flight_count } => Timing::Closed {
                windows: Windows::new(shape.publisher_count, in_flight_count),
            },
        };
        let counts = (shape.member_count as usize, shape.publisher_count as usize);
        Load {
            unpacker: Unpacker::new(counts.0, counts.1),
            ledger: Ledger::new(counts.0, counts.1),
            batch: Vec::with_capacity(BATCH_BYTES + mould.frame_bytes()),
            crowd,
            mould,
            audience: shape.room.audience,
            member_count: shape.member_count,
            timing,
            sent: vec![0; counts.1],
            payload_bytes_total: 0,
            latencies: figures::latencies(),
            measured_ns: 0..0,
            due_until_ns: 0,
        }
    }

    /// Publishes and reads for some time, and forgets all latencies but those of messages due in it.
    ///
    /// # Errors
    ///
    /// The poll failed.
    pub fn measure(&mut self, time: Duration) -> io::Result<()> {
        self.measure_with(time, |_, _| Ok(()))
    }

    /// The same, with something else to do before each turn: it gets the crowd, and the time since the start.
    ///
    /// # Errors
    ///
    /// The poll failed, or the other thing did.
    pub fn measure_with(
        &mut self,
        time: Duration,
        also: impl FnMut(&mut Crowd, Duration) -> io::Result<()>,
    ) -> io::Result<()> {
        let now_ns = self.crowd.clock().now_ns();
        self.latencies.reset();
        self.measured_ns = now_ns..now_ns + time.as_nanos() as u64;
        self.go_with(time, also)
    }

    /// Publishes and reads for some time.
    ///
    /// # Errors
    ///
    /// The poll failed.
    pub fn go(&mut self, time: Duration) -> io::Result<()> {
        self.go_with(time, |_, _| Ok(()))
    }

    fn go_with(
        &mut self,
        time: Duration,
        mut also: impl FnMut(&mut Crowd, Duration) -> io::Result<()>,
    ) -> io::Result<()> {
        let clock = self.crowd.clock();
        let start_ns = clock.now_ns();
        let end_ns = start_ns + time.as_nanos() as u64;
        self.due_until_ns = end_ns;
        if let Timing::Open { schedule } = &self.timing {
            self.crowd.watch(schedule.timer(start_ns)?)?;
        }
        loop {
            let now_ns = clock.now_ns();
            self.publish(now_ns.min(end_ns));
            if now_ns >= end_ns {
                return Ok(());
            }
            also(&mut self.crowd, Duration::from_nanos(now_ns - start_ns))?;
            self.turn(until(end_ns, now_ns))?;
        }
    }

    /// Goes on with what is due from now on: the time since the last message is left out.
    pub fn resume(&mut self) {
        let sent_total = self.sent_total();
        if let Timing::Open { schedule } = &mut self.timing {
            schedule.resume(self.crowd.clock().now_ns(), sent_total);
        }
    }

    /// Sends what was due while it [went](Load::go) and was not taken, and reads until everything has arrived. Only
    /// then are the [latencies](Load::latencies) whole: what is late is what comes last.
    ///
    /// # Errors
    ///
    /// The poll failed.
    pub fn drain(&mut self) -> io::Result<()> {
        let clock = self.crowd.clock();
        let end_ns = clock.now_ns() + DRAIN_MS * 1_000_000;
        loop {
            // In a closed loop nothing is due, and what could be sent would never end.
            if self.overdue_count() > 0 {
                self.publish(self.due_until_ns);
            }
            let missing = self.ledger.missing_total(&self.sent, self.audience);
            if missing + self.overdue_count() == 0 || clock.now_ns() >= end_ns {
                break;
            }
            self.turn(until(end_ns, clock.now_ns()))?;
        }
        // What comes although nobody waits for it is a fault.
        let end_ns = clock.now_ns() + 200_000_000;
        while clock.now_ns() < end_ns {
            self.turn(until(end_ns, clock.now_ns()))?;
        }
        Ok(())
    }

    /// The connections.
    pub fn crowd(&mut self) -> &mut Crowd {
        &mut self.crowd
    }

    /// Latencies of the last measurement, whole once it is [drained](Load::drain).
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }

    /// Messages sent.
    pub fn sent_total(&self) -> u64 {
        self.sent.iter().map(|sent| u64::from(*sent)).sum()
    }

    /// Messages that arrived, at all members together.
    pub fn arrived_total(&self) -> u64 {
        self.ledger.arrived_total()
    }

    /// Length of all that arrived, as it was sent: with what a server puts around it, and compressed where that was agreed.
    pub fn payload_bytes_total(&self) -> u64 {
        self.payload_bytes_total
    }

    /// Reads that brought something.
    pub fn reads_total(&self) -> u64 {
        self.crowd.reads_total()
    }

    /// Messages that had to be inflated to be read.
    pub fn inflated_total(&self) -> u64 {
        self.unpacker.inflated_total()
    }

    /// What went wrong.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.ledger.faults(&self.sent, self.audience);
        let overdue_count = self.overdue_count();
        if overdue_count > 0 {
            faults.push(format!(
                "{overdue_count} messages were due, and the server did not take them"
            ));
        }
        faults.extend(self.crowd.faults());
        faults
    }

    /// Messages that were due while it went, and could not be sent.
    fn overdue_count(&self) -> u64 {
        match &self.timing {
            Timing::Open { schedule } => schedule
                .due_count(self.due_until_ns)
                .saturating_sub(self.sent_total()),
            Timing::Closed { .. } => 0,
        }
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let Load {
            crowd,
            mould,
            unpacker,
            ledger,
            timing,
            sent,
            payload_bytes_total,
            latencies,
            measured_ns,
            member_count,
            ..
        } = self;
        crowd.turn(Some(timeout), |arrival| {
            let Arrival {
                connection,
                payload,
                ..
            } = arrival;
            if connection >= *member_count as usize {
                // It is in another room, or nobody looks at what it gets.
                return;
            }
            let reading = if arrival.is_deflated {
                unpacker.read(connection, payload, mould)
            } else {
                mould.read(payload)
            };
            let stamp = match reading {
                Reading::Message(stamp) => stamp,
                Reading::Other => return,
                Reading::Wrong => return ledger.wrong(),
            };
            if ledger.enter(connection, stamp) {
                *payload_bytes_total += payload.len() as u64;
                let due_ns = timing.arrived(stamp, sent);
                if measured_ns.contains(&due_ns) {
                    latencies.saturating_record(arrival.at_ns.saturating_sub(due_ns));
                }
            }
        })
    }

    /// Sends everything that is due.
    fn publish(&mut self, now_ns: u64) {
        for publisher in 0..self.sent.len() {
            while !self.crowd.is_blocked(publisher) && self.fill_batch(publisher, now_ns) {
                self.crowd.send(publisher, &self.batch);
            }
        }
    }

    /// Puts messages of one publisher that are due into the batch. Returns whether there are any.
    fn fill_batch(&mut self, publisher: usize, now_ns: u64) -> bool {
        let readers = self.audience.reader_count(self.member_count);
        self.batch.clear();
        while self.batch.len() < BATCH_BYTES {
            let stamp = Stamp {
                publisher: publisher as u32,
                number: self.sent[publisher],
            };
            if !self.timing.take(stamp, readers, now_ns) {
                break;
            }
            self.mould.cast(stamp, &mut self.batch);
            self.sent[publisher] += 1;
        }
        !self.batch.is_empty()
    }
}

impl Timing {
    /// Whether a message is to be sent now; if so it counts as sent.
    fn take(&mut self, stamp: Stamp, reader_count: u32, now_ns: u64) -> bool {
        match self {
            Timing::Open { schedule } => schedule.due_ns(stamp) <= now_ns,
            Timing::Closed { windows } => {
                let is_open = windows.is_open(stamp);
                if is_open {
                    windows.sent(stamp, reader_count, now_ns);
                }
                is_open
            }
        }
    }

    /// A message reached one more member. Returns when it was due.
    fn arrived(&mut self, stamp: Stamp, sent: &[u32]) -> u64 {
        match self {
            Timing::Open { schedule } => schedule.due_ns(stamp),
            Timing::Closed { windows } => {
                let sent_ns = windows.sent_ns(stamp);
                windows.arrived(stamp, sent[stamp.publisher as usize]);
                sent_ns
            }
        }
    }
}
