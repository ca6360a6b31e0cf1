//! Connections that publish and wait for acknowledgements.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::{Clock, until};
use crate::crowd::Crowd;
use crate::figures::{self, Figures};
use crate::limits::{BATCH_BYTES, DRAIN_MS};
use crate::pace::Schedule;
use crate::room::Room;
use crate::server::Server;
use crate::stamp::Stamp;
use crate::wire;

/// Who publishes what.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Rooms, among which publishers are dealt out.
    pub room_count: u32,
    /// Connections.
    pub publisher_count: u32,
    /// Messages of each that may wait for their acknowledgement.
    pub in_flight_count: u32,
    /// Whether messages have an `id`.
    pub has_ids: bool,
    /// Length of the `content`.
    pub message_bytes: usize,
    /// What acknowledgements are to say.
    pub is_durable: bool,
}

/// See the [module](self).
pub struct Publishers {
    crowd: Crowd,
    work: Work,
    content: String,
    lanes: Vec<Lane>,
    /// When messages are due; none where they go as fast as they are acknowledged.
    schedule: Option<Schedule>,
    /// Messages that may still be published.
    left: u64,
    latencies: Histogram<u64>,
    /// Messages due in this time are measured.
    measured_ns: Range<u64>,
    wrong_total: u64,
    payload: Vec<u8>,
    batch: Vec<u8>,
}

/// One connection.
#[derive(Debug, Default)]
struct Lane {
    sent_count: u32,
    acked_count: u32,
    /// Messages that were sent before the pace was last changed.
    paced_from: u32,
    /// When those under way were due.
    due_ns: VecDeque<u64>,
}

/// Ticks a second at which an open loop looks what is due, at most.
const TICKS_PER_S: u32 = 20_000;

impl Publishers {
    /// Publishers that have joined their rooms.
    ///
    /// # Errors
    ///
    /// They could not join.
    pub fn new(server: &Server, work: Work) -> io::Result<Publishers> {
        let room = |number: u32| Room {
            path: format!("/ws?room={}", room_name(number)),
            ..Room::chat()
        };
        let mut crowd = Crowd::new(Clock::start(), room(0).at(server.address()))?;
        for number in 0..work.publisher_count {
            crowd.head_for(room(number % work.room_count).at(server.address()))?;
            crowd.open(number as usize + 1)?;
        }
        Ok(Publishers {
            crowd,
            content: "x".repeat(work.message_bytes),
            lanes: (0..work.publisher_count).map(|_| Lane::default()).collect(),
            work,
            schedule: None,
            left: u64::MAX,
            latencies: figures::latencies(),
            measured_ns: 0..0,
            wrong_total: 0,
            payload: Vec::new(),
            batch: Vec::with_capacity(2 * BATCH_BYTES),
        })
    }

    /// From now on so many messages a second are due, whatever becomes of them.
    pub fn pace(&mut self, rate_per_s: u32) {
        for lane in &mut self.lanes {
            lane.paced_from = lane.sent_count;
        }
        let now_ns = self.crowd.clock().now_ns();
        self.schedule = Some(Schedule::new(now_ns, rate_per_s, self.work.publisher_count));
    }

    /// Publishes for some time, and forgets all latencies but those of messages due in it.
    ///
    /// # Errors
    ///
    /// The poll failed.
    pub fn go(&mut self, time: Duration) -> io::Result<()> {
        let clock = self.crowd.clock();
        let start_ns = clock.now_ns();
        let end_ns = start_ns + time.as_nanos() as u64;
        self.latencies.reset();
        self.measured_ns = start_ns..end_ns;
        if self.schedule.is_some() {
            let ticks = Schedule::new(start_ns, TICKS_PER_S, 1);
            self.crowd.watch(ticks.timer(start_ns)?)?;
        }
        loop {
            let now_ns = clock.now_ns();
            self.fill(now_ns.min(end_ns));
            if now_ns >= end_ns {
                return Ok(());
            }
            self.turn(until(end_ns, now_ns))?;
        }
    }

    /// Publishes so many messages and waits until they are acknowledged.
    ///
    /// # Errors
    ///
    /// The poll failed.
    pub fn publish(&mut self, count: u32) -> io::Result<()> {
        self.left = u64::from(count);
        let clock = self.crowd.clock();
        let end_ns = clock.now_ns() + DRAIN_MS * 1_000_000;
        while (self.left > 0 || self.missing_total() > 0) && clock.now_ns() < end_ns {
            self.fill(clock.now_ns());
            self.turn(until(end_ns, clock.now_ns()))?;
        }
        Ok(())
    }

    /// Sends what was due and was not taken, and waits for what is still to be acknowledged. Only then are the latencies
    /// whole.
    ///
    /// # Errors
    ///
    /// The poll failed.
    pub fn drain(&mut self) -> io::Result<()> {
        let clock = self.crowd.clock();
        let end_ns = clock.now_ns() + DRAIN_MS * 1_000_000;
        while self.missing_total() + self.overdue_count() > 0 && clock.now_ns() < end_ns {
            if self.overdue_count() > 0 {
                self.fill(self.measured_ns.end);
            }
            self.turn(until(end_ns, clock.now_ns()))?;
        }
        Ok(())
    }

    /// Messages that were acknowledged.
    pub fn acked_total(&self) -> u64 {
        let acked = self.lanes.iter().map(|lane| u64::from(lane.acked_count));
        acked.sum()
    }

    /// Adds how long acknowledgements took in the last measurement.
    pub fn add_latencies(&self, prefix: &str, figures: &mut Figures) {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let ns = self.latencies.value_at_quantile(quantile);
            figures.add(format!("{prefix}_{name}_ms"), ns as f64 / 1e6);
        }
    }

    /// What went wrong.
    pub fn faults(&self) -> Vec<String> {
        let counts = [
            (
                self.wrong_total,
                "answers were errors, or not to what was sent",
            ),
            (self.missing_total(), "messages were never acknowledged"),
            (self.overdue_count(), "messages were due and never sent"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        counts
            .map(|(count, what)| format!("{count} {what}"))
            .chain(self.crowd.faults())
            .collect()
    }

    fn missing_total(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.due_ns.len() as u64).sum()
    }

    /// Messages of an open loop that were due and could not be sent.
    fn overdue_count(&self) -> u64 {
        let Some(schedule) = &self.schedule else {
            return 0;
        };
        let paced = |lane: &Lane| u64::from(lane.sent_count - lane.paced_from);
        let paced_total = self.lanes.iter().map(paced).sum();
        schedule
            .due_count(self.measured_ns.end)
            .saturating_sub(paced_total)
    }

    fn fill(&mut self, now_ns: u64) {
        for lane in 0..self.lanes.len() {
            while !self.crowd.is_blocked(lane) && self.fill_batch(lane, now_ns) {
                self.crowd.send(lane, &self.batch);
            }
        }
    }

    /// Puts messages of one publisher that are due into the batch. Returns whether there are any.
    fn fill_batch(&mut self, lane: usize, now_ns: u64) -> bool {
        self.batch.clear();
        while self.left > 0 && self.batch.len() < BATCH_BYTES {
            let next = self.next_due_ns(lane, now_ns);
            let Some(due_ns) = next.filter(|due_ns| *due_ns <= now_ns) else {
                break;
            };
            self.lanes[lane].due_ns.push_back(due_ns);
            self.write(lane);
            self.lanes[lane].sent_count += 1;
            self.left -= 1;
        }
        !self.batch.is_empty()
    }

    /// When the next message of a publisher is due. In a closed loop that is now, unless too many are under way.
    fn next_due_ns(&self, lane: usize, now_ns: u64) -> Option<u64> {
        let Lane {
            sent_count,
            paced_from,
            due_ns,
            ..
        } = &self.lanes[lane];
        let Some(schedule) = &self.schedule else {
            return (due_ns.len() < self.work.in_flight_count as usize).then_some(now_ns);
        };
        Some(schedule.due_ns(Stamp {
            publisher: lane as u32,
            number: sent_count - paced_from,
        }))
    }

    fn write(&mut self, lane: usize) {
        let room = room_name(lane as u32 % self.work.room_count);
        self.payload.clear();
        // Writing to memory does not fail.
        let _ = write!(self.payload, r#"{{"type":"message","room_id":"{room}""#);
        if self.work.has_ids {
            let number = self.lanes[lane].sent_count;
            let _ = write!(self.payload, r#","id":"p{lane:04x}n{number:08x}""#);
        }
        let _ = write!(self.payload, r#","content":"{}"}}"#, self.content);
        wire::encode_masked(wire::TEXT, &self.payload, &mut self.batch);
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let Publishers {
            crowd,
            work,
            lanes,
            latencies,
            measured_ns,
            wrong_total,
            ..
        } = self;
        crowd.turn(Some(timeout), |arrival| {
            let lane = &mut lanes[arrival.connection];
            match answer(arrival.payload, work.is_durable) {
                Answer::Acked => match lane.due_ns.pop_front() {
                    Some(due_ns) => {
                        lane.acked_count += 1;
                        if measured_ns.contains(&due_ns) {
                            latencies.saturating_record(arrival.at_ns.saturating_sub(due_ns));
                        }
                    }
                    None => *wrong_total += 1,
                },
                Answer::Wrong => *wrong_total += 1,
                Answer::Other => {}
            }
        })
    }
}

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The oldest message under way is kept.
    Acked,
    /// An error, or something that it should not say.
    Wrong,
    /// Messages of others, and who came.
    Other,
}

fn answer(payload: &[u8], is_durable: bool) -> Answer {
    let promise: &[u8] = match is_durable {
        true => b"\"durable\":true",
        false => b"\"durable\":false",
    };
    let is_promised = || {
        memchr::memmem::find(payload, promise).is_some()
            && memchr::memmem::find(payload, b"\"dup\"").is_none()
    };
    if payload.starts_with(b"{\"type\":\"ack\"") {
        match is_promised() {
            true => Answer::Acked,
            false => Answer::Wrong,
        }
    } else if payload.starts_with(b"{\"type\":\"error\"") {
        Answer::Wrong
    } else if payload.starts_with(b"{\"type\":\"gap\"") && is_durable {
        // What is on the disk can be read however late; memory has a bound, and a slow generator may fall behind it.
        Answer::Wrong
    } else {
        Answer::Other
    }
}

/// How a room is called.
pub fn room_name(number: u32) -> String {
    format!("perf-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_promise_counts() {
        let kept = br#"{"type":"ack","room_id":"perf-0","seq_id":1,"timestamp":2,"durable":true}"#;
        let forgotten = br#"{"type":"ack","seq_id":1,"timestamp":2,"durable":false}"#;
        let met = br#"{"type":"ack","seq_id":1,"timestamp":2,"durable":true,"dup":true}"#;
        for (payload, is_durable, expected) in [
            (kept.as_slice(), true, Answer::Acked),
            (kept, false, Answer::Wrong),
            (forgotten, false, Answer::Acked),
            (forgotten, true, Answer::Wrong),
            (met, true, Answer::Wrong),
            (br#"{"type":"error","code":"storage"}"#, true, Answer::Wrong),
            (br#"{"type":"gap","from_seq_id":1}"#, true, Answer::Wrong),
            (br#"{"type":"gap","from_seq_id":1}"#, false, Answer::Other),
            (br#"{"type":"message","seq_id":1}"#, true, Answer::Other),
        ] {
            assert_eq!(answer(payload, is_durable), expected);
        }
    }
}
