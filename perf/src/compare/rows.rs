//! What is measured, and which figures of it are shown.

use super::task::Task;
use crate::args::Contestant;
use crate::idle;
use crate::load::Pace;
use crate::room::Dialect;
use crate::server::{Choice, Setting};

/// One measurement.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// What happens in it.
    pub title: String,
    /// What is done.
    pub task: Task,
    /// Figures that the table shows.
    pub shown: &'static [Shown],
    /// Threads of roomcast, where it is not what was asked for.
    shard_count: Option<u16>,
    /// Whether TLS is spoken, which only roomcast does.
    is_tls: bool,
}

/// A figure in the table.
#[derive(Debug)]
pub struct Shown {
    /// Its name.
    pub figure: &'static str,
    /// What stands in the table.
    pub title: &'static str,
    /// What it is multiplied with.
    pub scale: f64,
}

/// Members of the rooms whose cost is drawn against their number.
pub const MEMBER_COUNTS: [u32; 5] = [10, 100, 500, 1000, 5000];
/// Messages under way in the rooms whose cost is drawn against them.
pub const IN_FLIGHT_COUNTS: [u32; 5] = [1, 4, 16, 64, 256];
/// Connections at which memory is drawn.
pub const IDLE_COUNTS: [u32; 5] = [500, 1000, 5000, 10_000, 18_000];
/// The same with TLS: the generator has a session for each as well.
const TLS_IDLE_COUNTS: [u32; 3] = [2000, 5000, 10_000];

const fn shown(figure: &'static str, title: &'static str, scale: f64) -> Shown {
    Shown {
        figure,
        title,
        scale,
    }
}

const COST: Shown = shown("server_cpu_us_per_delivery", "CPU per delivery, µs", 1.0);
const CALLS: Shown = shown(
    "server_system_calls_per_delivery",
    "system calls per delivery",
    1.0,
);
const PING: Shown = shown(
    "server_cpu_us_per_ping_and_pong",
    "CPU per ping and pong, µs",
    1.0,
);
const P50: Shown = shown("latency_p50_ms", "p50, ms", 1.0);
const P99: Shown = shown("latency_p99_ms", "p99, ms", 1.0);
const CALM: Shown = shown("calm_latency_p99_ms", "p99 before, ms", 1.0);
const MIB: f64 = 1.0 / 1024.0;

const CLOSED: &[Shown] = &[
    COST,
    CALLS,
    shown("deliveries_per_s", "deliveries, million/s", 1e-6),
];
const OPEN: &[Shown] = &[P50, P99, COST];
const STALLED: &[Shown] = &[
    shown(
        "calm_latency_p99_ms",
        "p99 of 900 in a room of 900, ms",
        1.0,
    ),
    shown("latency_p99_ms", "p99 of the 900 beside the 100, ms", 1.0),
    shown("stalled_to_calm_p99", "the latter to the former", 1.0),
];
const ARRIVALS: &[Shown] = &[
    CALM,
    P99,
    shown("arrivals_within_s", "time until all were there, s", 1.0),
];
const BURST: &[Shown] = &[
    shown("server_cpu_us_per_handshake", "CPU per handshake, µs", 1.0),
    shown("handshakes_per_s", "handshakes, thousand/s", 1e-3),
    shown("server_cpu_us_per_close", "CPU per close, µs", 1.0),
];
const ECHO: &[Shown] = &[
    shown("server_cpu_us_per_echo", "CPU per echo, µs", 1.0),
    shown("server_system_calls_per_echo", "system calls per echo", 1.0),
    shown("echoes_per_s", "echoes, thousand/s", 1e-3),
];
const IDLE: &[Shown] = &[
    shown("rss_1000_kib", "memory with 1,000, MiB", MIB),
    shown("rss_5000_kib", "memory with 5,000, MiB", MIB),
    shown("rss_18000_kib", "memory with 18,000, MiB", MIB),
    shown(
        "rss_slope_bytes_per_connection",
        "each more connection, bytes",
        1.0,
    ),
    shown("rss_after_all_left_kib", "memory after all left, MiB", MIB),
    shown(
        "idle_server_cpu_us_per_s_per_connection",
        "CPU per second and connection, µs",
        1.0,
    ),
    shown(
        "pings_per_minute_per_connection",
        "pings per minute and connection",
        1.0,
    ),
    PING,
    shown(
        "server_system_calls_per_ping_and_pong",
        "system calls per ping and pong",
        1.0,
    ),
];

const TLS_IDLE: &[Shown] = &[
    shown("rss_10000_kib", "memory with 10,000, MiB", MIB),
    shown(
        "rss_slope_bytes_per_connection",
        "each more connection, bytes",
        1.0,
    ),
    shown("rss_after_all_left_kib", "memory after all left, MiB", MIB),
    shown(
        "opening_10000_server_cpu_us_each",
        "CPU per handshake, µs",
        1.0,
    ),
    PING,
];

/// All of them.
pub fn all() -> Vec<Row> {
    let window = |in_flight_count| Pace::Closed { in_flight_count };
    let mut rows = Vec::new();
    for members in MEMBER_COUNTS {
        let title = format!("{members} members, 1 message in flight");
        rows.push(room(
            format!("members-{members}"),
            title,
            members,
            1,
            window(1),
        ));
    }
    // The first of them is the room of 500 above.
    for in_flight in &IN_FLIGHT_COUNTS[1..] {
        let title = format!("500 members, {in_flight} messages in flight");
        rows.push(room(
            format!("in-flight-{in_flight}"),
            title,
            500,
            1,
            window(*in_flight),
        ));
    }
    let title = "500 members, 64 of them with 64 messages in flight each";
    rows.push(room("busy".into(), title.into(), 500, 64, window(64)));
    for in_flight in [1, 16] {
        rows.push(Row {
            name: format!("deflate-{in_flight}"),
            title: format!("500 members with permessage-deflate, {in_flight} in flight"),
            task: Task::Fanout {
                members: 500,
                publishers: 1,
                pace: window(in_flight),
                deflate: true,
            },
            shown: CLOSED,
            shard_count: None,
            is_tls: false,
        });
    }
    for shard_count in [None, Some(2)] {
        let suffix = if shard_count.is_some() {
            "-2-shards"
        } else {
            ""
        };
        let threads = if shard_count.is_some() {
            ", 2 threads"
        } else {
            ""
        };
        rows.push(Row {
            name: format!("latency{suffix}"),
            title: format!("5,000 members, 20 messages a second{threads}"),
            task: Task::Fanout {
                members: 5000,
                publishers: 1,
                pace: Pace::Open { rate_per_s: 20 },
                deflate: false,
            },
            shown: OPEN,
            shard_count,
            is_tls: false,
        });
    }
    let others: [(&str, &str, Task, &'static [Shown]); 6] = [
        (
            "stalled",
            "900 members, whom 100 join who never read",
            Task::Stalled,
            STALLED,
        ),
        (
            "arrivals",
            "500 members, while 15,000 others join another room in 2 s",
            Task::Arrivals,
            ARRIVALS,
        ),
        ("burst", "10,000 connections at once", Task::Burst, BURST),
        (
            "echo-1",
            "echo, 100 connections, 1 in flight",
            Task::Echo { depth: 1 },
            ECHO,
        ),
        (
            "echo-16",
            "echo, 100 connections, 16 in flight",
            Task::Echo { depth: 16 },
            ECHO,
        ),
        ("idle", "idle members", Task::Idle(&IDLE_COUNTS), IDLE),
    ];
    rows.extend(others.map(|(name, title, task, shown)| Row {
        name: name.into(),
        title: title.into(),
        task,
        shown,
        shard_count: None,
        is_tls: false,
    }));
    rows.extend(with_tls());
    rows
}

/// The rows that tell what TLS costs, beside those of the same name without it.
fn with_tls() -> impl Iterator<Item = Row> {
    let in_flight = |count| Task::Fanout {
        members: 500,
        publishers: 1,
        pace: Pace::Closed {
            in_flight_count: count,
        },
        deflate: false,
    };
    let rows: [(&str, &str, Task, &'static [Shown]); 6] = [
        (
            "tls-members-500",
            "TLS: 500 members, 1 message in flight",
            in_flight(1),
            CLOSED,
        ),
        (
            "tls-in-flight-16",
            "TLS: 500 members, 16 messages in flight",
            in_flight(16),
            CLOSED,
        ),
        (
            "tls-echo-1",
            "TLS: echo, 100 connections, 1 in flight",
            Task::Echo { depth: 1 },
            ECHO,
        ),
        (
            "tls-echo-16",
            "TLS: echo, 100 connections, 16 in flight",
            Task::Echo { depth: 16 },
            ECHO,
        ),
        (
            "tls-burst",
            "TLS: 10,000 connections at once",
            Task::Burst,
            BURST,
        ),
        (
            "tls-idle",
            "TLS: idle members",
            Task::Idle(&TLS_IDLE_COUNTS),
            TLS_IDLE,
        ),
    ];
    rows.into_iter().map(|(name, title, task, shown)| Row {
        name: name.into(),
        title: title.into(),
        task,
        shown,
        shard_count: None,
        is_tls: true,
    })
}

fn room(name: String, title: String, members: u32, publishers: u32, pace: Pace) -> Row {
    Row {
        name,
        title,
        task: Task::Fanout {
            members,
            publishers,
            pace,
            deflate: false,
        },
        shown: CLOSED,
        shard_count: None,
        is_tls: false,
    }
}

impl Row {
    /// Whether one of these names means it: its own, or what stands before a dash in it. No name means all.
    pub fn is_named(&self, names: &[String]) -> bool {
        let is_mine = |name: &String| {
            let rest = self.name.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        names.is_empty() || names.iter().any(is_mine)
    }

    /// Whether it is measured in a round: memory differs so little that once is enough.
    pub fn is_due(&self, round: u32) -> bool {
        round == 1 || !matches!(self.task, Task::Idle(_))
    }

    /// Whether a server takes part.
    pub fn takes(&self, contestant: &Contestant) -> bool {
        let is_roomcast = matches!(contestant.choice, Choice::Roomcast(_));
        let is_chat = contestant.room.dialect == Dialect::Chat;
        if self.is_tls && !is_roomcast {
            return false;
        }
        match self.task {
            Task::Echo { .. } => !is_chat,
            Task::Fanout { deflate: true, .. } => is_roomcast,
            Task::Fanout { .. } => self.shard_count.is_none() || is_roomcast,
            Task::Stalled | Task::Arrivals | Task::Burst | Task::Idle(_) => true,
        }
    }

    /// How a server is started for it: two threads have all cores.
    pub fn setting(&self, mut setting: Setting) -> Setting {
        if let Some(shard_count) = self.shard_count {
            setting.shard_count = shard_count;
            let clients = setting.client_cores.clone();
            setting.server_cores.extend(clients);
        }
        setting.is_tls |= self.is_tls;
        match self.task {
            Task::Fanout { deflate: true, .. } => setting.arguments.push("--deflate".into()),
            Task::Idle(_) => setting.ping_ms = Some(idle::PING_MS),
            Task::Fanout { .. }
            | Task::Stalled
            | Task::Arrivals
            | Task::Burst
            | Task::Echo { .. } => {}
        }
        setting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<String> = all().into_iter().map(|row| row.name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn rows_are_chosen_by_the_beginning_of_their_names() {
        let chosen = |name: &str| {
            let names = [name.to_owned()];
            all().iter().filter(|row| row.is_named(&names)).count()
        };
        assert_eq!(chosen("members"), MEMBER_COUNTS.len());
        assert_eq!(chosen("members-100"), 1);
        assert_eq!(chosen("latency"), 2);
        assert_eq!(chosen("nothing"), 0);
    }
}
