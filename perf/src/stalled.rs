//! A room in which some members stop reading: what the others notice of it.

use std::io;

use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::destination::Destination;
use crate::fanout::Span;
use crate::figures::Figures;
use crate::limits::STALLED_RECEIVE_BYTES;
use crate::load::{Load, Shape};
use crate::server::Server;
use crate::snapshot::Snapshot;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who publishes what to whom, at fixed times.
    pub shape: Shape,
    /// Members that stop, the last of the room.
    pub stalled_count: u32,
    /// How long, before and after.
    pub span: Span,
}

/// Runs a plan against a server: first everybody reads, then some do not.
///
/// # Errors
///
/// The room could not be filled, or the server is gone.
pub fn run(plan: &Plan, server: &Server) -> io::Result<Figures> {
    let Plan { shape, span, .. } = plan;
    let mut figures = Figures::default();
    let (mut load, first) = gather(plan, server)?;
    load.crowd().rest(span.settle)?;

    load.resume();
    load.go(span.warm_up)?;
    load.measure(span.measure)?;
    load.drain()?;
    let calm = load.latencies().clone();
    figures.add("rss_calm_kib", server.memory()?.rss_kib as f64);

    load.stall(first);
    load.resume();
    load.go(span.warm_up)?;
    let start = Snapshot::take(&load, server)?;
    load.measure(span.measure)?;
    let end = Snapshot::take(&load, server)?;
    load.drain()?;

    let p99_ms =
        |latencies: &hdrhistogram::Histogram<u64>| latencies.value_at_quantile(0.99) as f64 / 1e6;
    figures.add("calm_latency_p99_ms", p99_ms(&calm));
    figures.add_latencies(load.latencies());
    let ratio = p99_ms(load.latencies()) / p99_ms(&calm).max(1e-6);
    figures.add("stalled_to_calm_p99", ratio);
    figures.add("stalled_members", f64::from(plan.stalled_count));
    figures.add(
        "members",
        f64::from(shape.member_count - plan.stalled_count),
    );
    end.report(&start, &mut figures);
    let (server_used, client_used) = end.usage(&start);
    figures.add_usage(&server_used, &client_used);
    figures.add("rss_peak_kib", server.peak_kib()? as f64);
    figures.faults = load.faults();
    Ok(figures)
}

/// Fills the room. Those who will stall have little room for what they do not read.
fn gather(plan: &Plan, server: &Server) -> io::Result<(Load, u32)> {
    let shape = &plan.shape;
    let destination = shape.room.at(server.address());
    let first = shape.member_count - plan.stalled_count;
    let mut crowd = Crowd::new(Clock::start(), destination.clone())?;
    crowd.open(first as usize)?;
    crowd.head_for(Destination {
        receive_bytes: Some(STALLED_RECEIVE_BYTES),
        ..destination
    })?;
    crowd.open(shape.member_count as usize)?;
    Ok((Load::new(shape, crowd), first))
}
