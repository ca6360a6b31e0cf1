//! One room, some publishers, and everybody else listening.

use std::io;
use std::time::Duration;

use crate::calls;
use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::destination::Destination;
use crate::figures::Figures;
use crate::load::{Load, Pace, Shape};
use crate::server::Server;
use crate::snapshot::Snapshot;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who publishes what to whom.
    pub shape: Shape,
    /// Whether members offer compression.
    pub deflate: bool,
    /// How long.
    pub span: Span,
}

/// How long a measurement takes, and what comes before it.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Time for the server to come to rest, once everybody is there.
    pub settle: Duration,
    /// Time before the measurement, under the same load.
    pub warm_up: Duration,
    /// Time that is measured.
    pub measure: Duration,
    /// Whether system calls are counted afterwards, under the same load.
    pub calls: bool,
}

/// What the count of system calls is called.
const CALLS: &str = "server_system_calls_per_delivery";

/// Runs a plan against a server.
///
/// # Errors
///
/// The room could not be filled, or the server is gone.
pub fn run(plan: &Plan, server: &Server) -> io::Result<Figures> {
    let Plan { shape, span, .. } = plan;
    let mut figures = Figures::default();
    let destination = Destination {
        deflate: plan.deflate,
        ..shape.room.at(server.address())
    };
    let mut crowd = Crowd::new(Clock::start(), destination)?;
    fill(&mut crowd, shape.member_count, server, &mut figures)?;
    crowd.rest(span.settle)?;
    figures.add("rss_before_kib", server.memory()?.rss_kib as f64);

    let mut load = Load::new(shape, crowd);
    load.go(span.warm_up)?;
    let start = Snapshot::take(&load, server)?;
    load.measure(span.measure)?;
    let end = Snapshot::take(&load, server)?;
    load.drain()?;
    figures.add_latencies(load.latencies());
    if span.calls {
        calls::count(CALLS, server, &mut figures, || {
            load.resume();
            let arrived_total = load.arrived_total();
            load.go(calls::TIME)?;
            Ok(load.arrived_total() - arrived_total)
        })?;
        load.drain()?;
    }

    figures.add("deliveries_total", load.arrived_total() as f64);
    if let Pace::Open { rate_per_s } = shape.pace {
        let readers = shape.room.audience.reader_count(shape.member_count);
        let due_per_s = f64::from(rate_per_s) * f64::from(readers);
        figures.add("deliveries_due_per_s", due_per_s);
    }
    if plan.deflate {
        figures.add("inflated_total", load.inflated_total() as f64);
    }
    end.report(&start, &mut figures);
    figures.add("rss_after_kib", server.memory()?.rss_kib as f64);
    figures.add("rss_peak_kib", server.peak_kib()? as f64);
    figures.faults = load.faults();
    Ok(figures)
}

/// Opens connections until there are `count`.
///
/// # Errors
///
/// They could not be opened.
pub fn fill(
    crowd: &mut Crowd,
    count: u32,
    server: &Server,
    figures: &mut Figures,
) -> io::Result<()> {
    let clock = crowd.clock();
    let (before, begun_ns) = (server.sample()?, clock.now_ns());
    crowd.open(count as usize)?;
    figures.add("opening_s", (clock.now_ns() - begun_ns) as f64 / 1e9);
    let cpu_ns = server.sample()?.since(&before).cpu_ns as f64;
    figures.add(
        "opening_server_cpu_us_each",
        cpu_ns / 1e3 / f64::from(count),
    );
    Ok(())
}
