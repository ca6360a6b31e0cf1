//! Connections that get back what they send, with a number of messages under way on each.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::calls;
use crate::clock::{Clock, until};
use crate::crowd::Crowd;
use crate::destination::Destination;
use crate::fanout::Span;
use crate::figures::{self, Figures};
use crate::limits::{BATCH_BYTES, DRAIN_MS};
use crate::room::Dialect;
use crate::server::Server;
use crate::sides::Sides;
use crate::stamp::{Mould, Reading, Stamp};

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Path of the upgrade.
    pub path: String,
    /// Connections.
    pub connection_count: u32,
    /// Messages under way on each.
    pub depth: u32,
    /// Length of a message.
    pub message_bytes: usize,
    /// How long.
    pub span: Span,
}

/// Runs a plan against a server.
///
/// # Errors
///
/// The connections could not be opened, or the server is gone.
pub fn run(plan: &Plan, server: &Server) -> io::Result<Figures> {
    let destination = Destination::plain(server.address(), &plan.path);
    let mut crowd = Crowd::new(Clock::start(), destination)?;
    crowd.open(plan.connection_count as usize)?;
    crowd.rest(plan.span.settle)?;

    let mut load = Load::new(plan, crowd);
    load.go(plan.span.warm_up)?;
    load.latencies.reset();
    let start = Sides::take(server)?;
    let (echoes_start, reads_start) = (load.echoes_total, load.crowd.reads_total());
    load.go(plan.span.measure)?;
    let end = Sides::take(server)?;
    let server_used = end.server_since(&start);
    let echoes = (load.echoes_total - echoes_start) as f64;
    let reads = (load.crowd.reads_total() - reads_start) as f64;
    load.drain()?;

    let mut figures = Figures::default();
    figures.add("echoes_total", load.echoes_total as f64);
    figures.add("echoes_per_s", echoes / server_used.wall.as_secs_f64());
    figures.add("echoes_per_read", echoes / reads.max(1.0));
    figures.add(
        "server_cpu_us_per_echo",
        server_used.cpu_ns as f64 / 1e3 / echoes.max(1.0),
    );
    figures.add_latencies(&load.latencies);
    end.report(&start, &mut figures);
    if plan.span.calls {
        calls::count("server_system_calls_per_echo", server, &mut figures, || {
            let echoes_total = load.echoes_total;
            load.go(calls::TIME)?;
            Ok(load.echoes_total - echoes_total)
        })?;
        load.drain()?;
    }
    figures.faults = load.faults();
    Ok(figures)
}

/// One connection's messages.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    sent_count: u32,
    received_count: u32,
}

struct Load {
    crowd: Crowd,
    mould: Mould,
    depth: u32,
    lanes: Vec<Lane>,
    /// Lanes on which something came back since they were last filled.
    hungry: Vec<usize>,
    /// When each message under way was sent: `depth` for each lane.
    sent_ns: Vec<u64>,
    batch: Vec<u8>,
    echoes_total: u64,
    wrong_total: u64,
    latencies: Histogram<u64>,
}

impl Load {
    fn new(plan: &Plan, crowd: Crowd) -> Load {
        let mould = Mould::new(&Dialect::Bare, plan.message_bytes);
        let count = plan.connection_count as usize;
        Load {
            crowd,
            depth: plan.depth,
            lanes: vec![Lane::default(); count],
            hungry: (0..count).collect(),
            sent_ns: vec![0; count * plan.depth as usize],
            batch: Vec::with_capacity(
                (BATCH_BYTES + mould.frame_bytes()).min(mould.frame_bytes() * plan.depth as usize),
            ),
            mould,
            echoes_total: 0,
            wrong_total: 0,
            latencies: figures::latencies(),
        }
    }

    /// Keeps every lane full for some time.
    fn go(&mut self, time: Duration) -> io::Result<()> {
        let clock = self.crowd.clock();
        let end_ns = clock.now_ns() + time.as_nanos() as u64;
        loop {
            let now_ns = clock.now_ns();
            if now_ns >= end_ns {
                return Ok(());
            }
            self.fill(now_ns);
            self.turn(until(end_ns, now_ns))?;
        }
    }

    /// Waits for the messages under way.
    fn drain(&mut self) -> io::Result<()> {
        let clock = self.crowd.clock();
        let end_ns = clock.now_ns() + DRAIN_MS * 1_000_000;
        while self.missing_count() > 0 && clock.now_ns() < end_ns {
            self.turn(until(end_ns, clock.now_ns()))?;
        }
        Ok(())
    }

    fn missing_count(&self) -> u64 {
        self.lanes
            .iter()
            .map(|lane| u64::from(lane.sent_count - lane.received_count))
            .sum()
    }

    fn fill(&mut self, now_ns: u64) {
        let mut hungry = std::mem::take(&mut self.hungry);
        hungry.retain(|lane| {
            while !self.crowd.is_blocked(*lane) && self.fill_batch(*lane, now_ns) {
                self.crowd.send(*lane, &self.batch);
            }
            // One that is blocked is still not full.
            self.is_hungry(*lane)
        });
        self.hungry = hungry;
    }

    fn is_hungry(&self, lane: usize) -> bool {
        let Lane {
            sent_count,
            received_count,
        } = self.lanes[lane];
        sent_count - received_count < self.depth
    }

    fn fill_batch(&mut self, lane: usize, now_ns: u64) -> bool {
        self.batch.clear();
        while self.is_hungry(lane) && self.batch.len() < BATCH_BYTES {
            let number = self.lanes[lane].sent_count;
            // The number of a lane has no bound, the stamp's publisher has.
            let publisher = lane as u32 & 0xffff;
            self.mould
                .cast(Stamp { publisher, number }, &mut self.batch);
            self.sent_ns[lane * self.depth as usize + (number % self.depth) as usize] = now_ns;
            self.lanes[lane].sent_count += 1;
        }
        !self.batch.is_empty()
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let Load {
            crowd,
            mould,
            depth,
            lanes,
            hungry,
            sent_ns,
            echoes_total,
            wrong_total,
            latencies,
            ..
        } = self;
        crowd.turn(Some(timeout), |arrival| {
            let index = arrival.connection;
            let lane = &mut lanes[index];
            let next = Stamp {
                publisher: index as u32 & 0xffff,
                number: lane.received_count,
            };
            if lane.received_count >= lane.sent_count
                || mould.read(arrival.payload) != Reading::Message(next)
            {
                *wrong_total += 1;
                return;
            }
            if lane.sent_count - lane.received_count == *depth {
                hungry.push(index);
            }
            let sent_ns = sent_ns[index * *depth as usize + (next.number % *depth) as usize];
            latencies.saturating_record(arrival.at_ns.saturating_sub(sent_ns));
            lane.received_count += 1;
            *echoes_total += 1;
        })
    }

    fn faults(&self) -> Vec<String> {
        let counts = [
            (
                self.wrong_total,
                "echoes were changed, repeated or out of order",
            ),
            (self.missing_count(), "echoes never came"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        counts
            .map(|(count, what)| format!("{count} {what}"))
            .chain(self.crowd.faults())
            .collect()
    }
}
