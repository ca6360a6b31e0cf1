//! One room, some publishers, and everybody else listening.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::{Clock, until};
use crate::connection::Welcome;
use crate::crowd::{Crowd, Destination};
use crate::figures::{self, Figures};
use crate::ledger::{Audience, Ledger};
use crate::limits::{BATCH_BYTES, DRAIN_MS};
use crate::pace::{Schedule, Windows};
use crate::process::Sample;
use crate::server::Server;
use crate::stamp::{Dialect, Mould, Reading, Stamp};

const ROOM: &str = "perf";

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Connections in the room; the first of them publish.
    pub member_count: u32,
    /// Connections that publish.
    pub publisher_count: u32,
    /// How messages look.
    pub dialect: Dialect,
    /// Length of a message, or of its content.
    pub message_bytes: usize,
    /// When messages are sent.
    pub pace: Pace,
    /// Time for the server to come to rest, once everybody is there.
    pub settle: Duration,
    /// Time before the measurement, under the same load.
    pub warm_up: Duration,
    /// Time that is measured.
    pub measure: Duration,
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

/// Runs a plan against a server.
///
/// # Errors
///
/// The room could not be filled, or the server is gone.
pub fn run(plan: &Plan, server: &Server) -> io::Result<Figures> {
    let mut figures = Figures::default();
    let clock = Clock::start();
    let mut crowd = Crowd::new(clock, destination(plan, server))?;
    let before = server.sample()?;
    let begun_ns = clock.now_ns();
    crowd.open(plan.member_count as usize)?;
    figures.add("opening_s", (clock.now_ns() - begun_ns) as f64 / 1e9);
    let opening = server.sample()?.since(&before);
    figures.add(
        "opening_server_cpu_us_each",
        opening.cpu_ns as f64 / 1e3 / f64::from(plan.member_count),
    );
    crowd.rest(plan.settle)?;
    figures.add("rss_before_kib", server.memory()?.rss_kib as f64);

    let mut load = Load::new(plan, crowd)?;
    load.go(plan.warm_up)?;
    let start = Snapshot::take(&load, server)?;
    load.measure(plan.measure)?;
    let end = Snapshot::take(&load, server)?;
    load.drain()?;

    figures.add("deliveries_total", load.ledger.arrived_total() as f64);
    end.report(&start, &mut figures);
    figures.add_latencies(&load.latencies);
    figures.add_usage(
        &end.server.since(&start.server),
        &end.client.since(&start.client),
    );
    figures.add("rss_after_kib", server.memory()?.rss_kib as f64);
    figures.add("rss_peak_kib", server.peak_kib()? as f64);
    figures.faults = load.ledger.faults(&load.sent, load.audience);
    figures.faults.extend(load.crowd.faults());
    Ok(figures)
}

fn destination(plan: &Plan, server: &Server) -> Destination {
    let (path, welcome) = match plan.dialect {
        Dialect::Bare => (format!("/raw/{ROOM}"), Welcome::Upgrade),
        Dialect::Chat => (format!("/ws?room={ROOM}"), Welcome::Joined),
    };
    Destination {
        address: server.address(),
        path,
        welcome,
    }
}

/// When messages are due, or may be sent.
enum Timing {
    Open { schedule: Schedule },
    Closed { windows: Windows },
}

/// A room under load.
struct Load {
    crowd: Crowd,
    mould: Mould,
    ledger: Ledger,
    audience: Audience,
    member_count: u32,
    timing: Timing,
    /// Messages that each publisher has sent.
    sent: Vec<u32>,
    batch: Vec<u8>,
    latencies: Histogram<u64>,
    /// Messages due in this time are measured.
    measured_ns: std::ops::Range<u64>,
}

impl Load {
    fn new(plan: &Plan, crowd: Crowd) -> io::Result<Load> {
        let mould = Mould::new(plan.dialect, ROOM, plan.message_bytes);
        let audience = match plan.dialect {
            Dialect::Bare => Audience::Others,
            Dialect::Chat => Audience::All,
        };
        let timing = match plan.pace {
            Pace::Open { rate_per_s } => Timing::Open {
                schedule: Schedule::new(crowd.clock().now_ns(), rate_per_s, plan.publisher_count),
            },
            Pace::Closed { in_flight_count } => Timing::Closed {
                windows: Windows::new(plan.publisher_count, in_flight_count),
            },
        };
        Ok(Load {
            ledger: Ledger::new(plan.member_count as usize, plan.publisher_count as usize),
            batch: Vec::with_capacity(BATCH_BYTES + mould.frame_bytes()),
            crowd,
            mould,
            audience,
            member_count: plan.member_count,
            timing,
            sent: vec![0; plan.publisher_count as usize],
            latencies: figures::latencies(),
            measured_ns: 0..0,
        })
    }

    /// Publishes and reads for some time, of which the latencies count.
    fn measure(&mut self, time: Duration) -> io::Result<()> {
        let now_ns = self.crowd.clock().now_ns();
        self.measured_ns = now_ns..now_ns + time.as_nanos() as u64;
        self.go(time)
    }

    /// Publishes and reads for some time.
    fn go(&mut self, time: Duration) -> io::Result<()> {
        let clock = self.crowd.clock();
        let end_ns = clock.now_ns() + time.as_nanos() as u64;
        if let Timing::Open { schedule } = &self.timing {
            self.crowd.watch(schedule.timer(clock.now_ns())?)?;
        }
        loop {
            let now_ns = clock.now_ns();
            // What was due is sent, however late it has become.
            self.publish(now_ns.min(end_ns));
            if now_ns >= end_ns {
                return Ok(());
            }
            self.turn(until(end_ns, now_ns))?;
        }
    }

    /// Reads until everything has arrived.
    fn drain(&mut self) -> io::Result<()> {
        let clock = self.crowd.clock();
        let end_ns = clock.now_ns() + DRAIN_MS * 1_000_000;
        let expected = self.ledger.expected_total(&self.sent, self.audience);
        while self.ledger.arrived_total() < expected && clock.now_ns() < end_ns {
            self.turn(until(end_ns, clock.now_ns()))?;
        }
        // What comes although nobody waits for it is a fault.
        let end_ns = clock.now_ns() + 200_000_000;
        while clock.now_ns() < end_ns {
            self.turn(until(end_ns, clock.now_ns()))?;
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let Load {
            crowd,
            mould,
            ledger,
            timing,
            sent,
            latencies,
            measured_ns,
            ..
        } = self;
        crowd.turn(Some(timeout), |arrival| {
            let stamp = match mould.read(arrival.payload) {
                Reading::Message(stamp) => stamp,
                Reading::Other => return,
                Reading::Wrong => return ledger.wrong(),
            };
            if ledger.enter(arrival.connection, stamp) {
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

/// All counters at one moment.
struct Snapshot {
    server: Sample,
    client: Sample,
    sent_total: u64,
    arrived_total: u64,
    reads_total: u64,
}

impl Snapshot {
    fn take(load: &Load, server: &Server) -> io::Result<Snapshot> {
        Ok(Snapshot {
            server: server.sample()?,
            client: Sample::take(std::process::id())?,
            sent_total: load.sent.iter().map(|sent| u64::from(*sent)).sum(),
            arrived_total: load.ledger.arrived_total(),
            reads_total: load.crowd.reads_total(),
        })
    }

    fn report(&self, start: &Snapshot, figures: &mut Figures) {
        let server = self.server.since(&start.server);
        let seconds = server.wall.as_secs_f64();
        let arrived = (self.arrived_total - start.arrived_total) as f64;
        let reads = (self.reads_total - start.reads_total) as f64;
        figures.add(
            "messages_per_s",
            (self.sent_total - start.sent_total) as f64 / seconds,
        );
        figures.add("deliveries_per_s", arrived / seconds);
        figures.add("deliveries_per_read", arrived / reads.max(1.0));
        figures.add(
            "server_cpu_us_per_delivery",
            server.cpu_ns as f64 / 1e3 / arrived.max(1.0),
        );
    }
}
