//! Members of one room that say nothing: what they cost in memory, and in CPU where the server pings them.

use std::io;
use std::time::Duration;

use crate::calls;
use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::figures::Figures;
use crate::room::Room;
use crate::server::Server;
use crate::sides::Sides;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Numbers of connections at which memory is read, rising.
    pub steps: Vec<u32>,
    /// Where they are.
    pub room: Room,
    /// Time after each step before memory is read.
    pub settle: Duration,
    /// Time for which the CPU of the last step is measured.
    pub measure: Duration,
    /// Whether system calls are counted afterwards, in as much time.
    pub calls: bool,
}

/// How often roomcast pings those who say nothing, in milliseconds: after so long a silence.
pub const PING_MS: u32 = 40_000;

/// What the count of system calls is called.
const CALLS: &str = "server_system_calls_per_ping_and_pong";

/// Runs a plan against a server.
///
/// # Errors
///
/// The connections could not be opened, or the server is gone.
pub fn run(plan: &Plan, server: &Server) -> io::Result<Figures> {
    let mut crowd = Crowd::new(Clock::start(), plan.room.at(server.address()))?;
    let mut figures = Figures::default();
    figures.add("rss_0_kib", server.memory()?.rss_kib as f64);

    let mut resident = Vec::new();
    for count in &plan.steps {
        resident.push((
            *count,
            step(&mut crowd, *count, plan, server, &mut figures)?,
        ));
    }
    if let (Some((few, less)), Some((many, more))) = (resident.first(), resident.last())
        && many > few
    {
        let slope = (more - less) * 1024.0 / f64::from(many - few);
        figures.add("rss_slope_bytes_per_connection", slope);
    }
    measure(&mut crowd, plan, server, &mut figures)?;
    crowd.leave();
    std::thread::sleep(plan.settle);
    figures.add("rss_after_all_left_kib", server.memory()?.rss_kib as f64);
    Ok(figures)
}

/// Opens connections until there are `count`. Returns the server's resident memory then, in KiB.
fn step(
    crowd: &mut Crowd,
    count: u32,
    plan: &Plan,
    server: &Server,
    figures: &mut Figures,
) -> io::Result<f64> {
    let (before, opened) = (server.sample()?, crowd.open_count());
    let begun_ns = crowd.clock().now_ns();
    crowd.open(count as usize)?;
    let seconds = (crowd.clock().now_ns() - begun_ns) as f64 / 1e9;
    let cpu_ns = server.sample()?.since(&before).cpu_ns as f64;
    let new = (count as usize - opened).max(1) as f64;
    crowd.rest(plan.settle)?;
    let memory = server.memory()?;
    figures.add(format!("rss_{count}_kib"), memory.rss_kib as f64);
    figures.add(
        format!("anonymous_{count}_kib"),
        memory.anonymous_kib as f64,
    );
    figures.add(
        format!("opening_{count}_server_cpu_us_each"),
        cpu_ns / 1e3 / new,
    );
    figures.add(format!("opening_{count}_per_s"), new / seconds);
    Ok(memory.rss_kib as f64)
}

/// Adds what the connections cost while nothing happens but keep-alive.
fn measure(
    crowd: &mut Crowd,
    plan: &Plan,
    server: &Server,
    figures: &mut Figures,
) -> io::Result<()> {
    let count = crowd.open_count().max(1) as f64;
    let (start, pings_total) = (Sides::take(server)?, crowd.pings_total());
    crowd.rest(plan.measure)?;
    let (end, pings_total) = (Sides::take(server)?, crowd.pings_total() - pings_total);
    let used = end.server_since(&start);
    let (cpu_us, seconds) = (used.cpu_ns as f64 / 1e3, used.wall.as_secs_f64());
    figures.add(
        "idle_server_cpu_us_per_s_per_connection",
        cpu_us / seconds / count,
    );
    // The pings are counted, as not every server says how often it has them.
    let pings = pings_total as f64;
    figures.add(
        "pings_per_minute_per_connection",
        pings * 60.0 / seconds / count,
    );
    if pings_total > 0 {
        figures.add("server_cpu_us_per_ping_and_pong", cpu_us / pings);
    }
    end.report(&start, figures);
    if plan.calls {
        calls::count(CALLS, server, figures, || {
            let pings_total = crowd.pings_total();
            crowd.rest(plan.measure)?;
            Ok(crowd.pings_total() - pings_total)
        })?;
    }
    figures.faults.extend(crowd.faults());
    Ok(())
}
