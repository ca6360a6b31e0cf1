//! A room with members that do not read: what those who do notice of it.
//!
//! Only the readers are measured, and there are as many of them before the others come as after, so that both rooms
//! make the same work but for those who do not read.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::destination::Destination;
use crate::fanout::Span;
use crate::figures::Figures;
use crate::load::{Load, Shape};
use crate::server::Server;
use crate::snapshot::Snapshot;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who publishes what to whom, at fixed times. All members of it read.
    pub shape: Shape,
    /// Members that come later and never read.
    pub stalled_count: u32,
    /// How long, before and after.
    pub span: Span,
}

/// Runs a plan against a server: first there are only readers, then also members that do not read.
///
/// # Errors
///
/// The room could not be filled, or the server is gone.
pub fn run(plan: &Plan, server: &Server) -> io::Result<Figures> {
    let Plan { shape, span, .. } = plan;
    let mut figures = Figures::default();
    let destination = shape.room.at(server.address());
    let mut crowd = Crowd::new(Clock::start(), destination.clone())?;
    crowd.open(shape.member_count as usize)?;
    crowd.rest(span.settle)?;

    let mut load = Load::new(shape, crowd);
    load.go(span.warm_up)?;
    load.measure(span.measure)?;
    load.drain()?;
    let calm = load.latencies().clone();
    figures.add("rss_calm_kib", server.memory()?.rss_kib as f64);

    stall(&mut load, plan, destination)?;
    load.crowd().rest(span.settle)?;
    load.resume();
    let sent_total = load.sent_total();
    load.go(span.warm_up)?;
    let start = Snapshot::take(&load, server)?;
    load.measure(span.measure)?;
    let end = Snapshot::take(&load, server)?;
    load.drain()?;

    figures.add("calm_latency_p99_ms", p99_ms(&calm));
    figures.add_latencies(load.latencies());
    let ratio = p99_ms(load.latencies()) / p99_ms(&calm).max(1e-6);
    figures.add("stalled_to_calm_p99", ratio);
    figures.add("members", f64::from(shape.member_count));
    figures.add("stalled_members", f64::from(plan.stalled_count));
    let unread_bytes = (load.sent_total() - sent_total) * shape.message_bytes as u64;
    figures.add("unread_by_each_kib", unread_bytes as f64 / 1024.0);
    end.report(&start, &mut figures);
    figures.add("rss_peak_kib", server.peak_kib()? as f64);
    figures.faults = load.faults();
    Ok(figures)
}

/// Lets those come who never read.
fn stall(load: &mut Load, plan: &Plan, destination: Destination) -> io::Result<()> {
    let (first, count) = (plan.shape.member_count, plan.stalled_count);
    let crowd = load.crowd();
    crowd.head_for(Destination {
        is_narrow: true,
        ..destination
    })?;
    crowd.open((first + count) as usize)?;
    // What a server has to say to newcomers is still read.
    crowd.rest(Duration::from_millis(100))?;
    for member in first..first + count {
        crowd.stall(member as usize);
    }
    Ok(())
}

fn p99_ms(latencies: &Histogram<u64>) -> f64 {
    latencies.value_at_quantile(0.99) as f64 / 1e6
}
