//! Connections that come and go: bursts of handshakes, and a crowd that arrives beside a room at work.

use std::io;
use std::time::Duration;

use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::fanout::Span;
use crate::figures::Figures;
use crate::load::{Load, Shape};
use crate::room::Room;
use crate::server::Server;
use crate::sides::Sides;
use crate::snapshot::Snapshot;

/// Connections that all come at once, and leave.
#[derive(Clone, Debug)]
pub struct Burst {
    /// Where they go.
    pub room: Room,
    /// How many.
    pub connection_count: u32,
    /// Time between coming and going.
    pub settle: Duration,
}

/// Connections that come while a room is at work.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// The room.
    pub shape: Shape,
    /// How many come. They go to another room of the same server.
    pub arrival_count: u32,
    /// Time in which they come, evenly.
    pub within: Duration,
    /// How long, before they come.
    pub span: Span,
}

/// Opens all connections as fast as it goes, and closes them.
///
/// # Errors
///
/// They could not be opened, or the server is gone.
pub fn burst(plan: &Burst, server: &Server) -> io::Result<Figures> {
    let mut figures = Figures::default();
    let count = f64::from(plan.connection_count);
    let mut crowd = Crowd::new(Clock::start(), plan.room.at(server.address()))?;
    figures.add("rss_before_kib", server.memory()?.rss_kib as f64);

    let start = Sides::take(server)?;
    crowd.open(plan.connection_count as usize)?;
    let end = Sides::take(server)?;
    let used = end.server_since(&start);
    figures.add("handshakes_per_s", count / used.wall.as_secs_f64());
    figures.add(
        "server_cpu_us_per_handshake",
        used.cpu_ns as f64 / 1e3 / count,
    );
    end.report(&start, &mut figures);
    figures.faults = crowd.faults();
    crowd.rest(plan.settle)?;
    figures.add("rss_open_kib", server.memory()?.rss_kib as f64);

    let start = server.sample()?;
    crowd.leave();
    std::thread::sleep(plan.settle);
    let used = server.sample()?.since(&start);
    figures.add("server_cpu_us_per_close", used.cpu_ns as f64 / 1e3 / count);
    figures.add("rss_after_all_left_kib", server.memory()?.rss_kib as f64);
    Ok(figures)
}

/// Measures a room while nobody comes, and while many do.
///
/// # Errors
///
/// They could not be opened, or the server is gone.
pub fn arrivals(plan: &Arrivals, server: &Server) -> io::Result<Figures> {
    let Arrivals { shape, span, .. } = plan;
    let mut figures = Figures::default();
    let destination = shape.room.at(server.address());
    let mut crowd = Crowd::new(Clock::start(), destination)?;
    crowd.open(shape.member_count as usize)?;
    crowd.rest(span.settle)?;

    let mut load = Load::new(shape, crowd);
    load.go(span.warm_up)?;
    load.measure(span.measure)?;
    load.drain()?;
    let calm_p99 = load.latencies().value_at_quantile(0.99) as f64 / 1e6;

    load.crowd()
        .head_for(shape.room.another().at(server.address()))?;
    load.resume();
    load.go(span.warm_up)?;
    let start = Snapshot::take(&load, server)?;
    let joined_s = arrive(plan, &mut load)?;
    let end = Snapshot::take(&load, server)?;
    load.drain()?;

    figures.add("calm_latency_p99_ms", calm_p99);
    figures.add_latencies(load.latencies());
    figures.add("arrivals", f64::from(plan.arrival_count));
    match joined_s {
        Some(seconds) => figures.add("arrivals_within_s", seconds),
        None => figures.faults.push("not everybody arrived in time".into()),
    }
    end.report(&start, &mut figures);
    figures.faults.extend(load.faults());
    Ok(figures)
}

/// Measures while connections come, and until all of them are there. Returns how long that took, if they made it in
/// twice the time.
fn arrive(plan: &Arrivals, load: &mut Load) -> io::Result<Option<f64>> {
    let already = plan.shape.member_count as usize;
    let mut joined_s = None;
    load.measure_with(plan.within * 2, |crowd, elapsed| {
        let share = (elapsed.as_secs_f64() / plan.within.as_secs_f64()).min(1.0);
        let due = (f64::from(plan.arrival_count) * share).ceil() as usize;
        let all = already + plan.arrival_count as usize;
        if joined_s.is_none() && crowd.open_count() >= all {
            joined_s = Some(elapsed.as_secs_f64());
        }
        crowd.begin(already + due)
    })?;
    Ok(joined_s)
}
