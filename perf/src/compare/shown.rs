//! Which figures of a row stand in the table.

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

/// Of closed loops.
pub const CLOSED: &[Shown] = &[
    COST,
    CALLS,
    shown("deliveries_per_s", "deliveries, million/s", 1e-6),
];
/// Of closed loops in which the length of what arrives matters.
pub const LENGTHS: &[Shown] = &[
    COST,
    CALLS,
    shown("deliveries_per_s", "deliveries, million/s", 1e-6),
    shown("payload_bytes_per_delivery", "bytes per delivery", 1.0),
];
/// Of open loops.
pub const OPEN: &[Shown] = &[P50, P99, COST];
/// Of open loops that are more than a write for each delivery allows.
pub const OVERLOAD: &[Shown] = &[
    shown("deliveries_due_per_s", "deliveries due, million/s", 1e-6),
    P50,
    P99,
    COST,
];
/// See [`stalled`](crate::stalled).
pub const STALLED: &[Shown] = &[
    shown(
        "calm_latency_p99_ms",
        "p99 of 900 in a room of 900, ms",
        1.0,
    ),
    shown("latency_p99_ms", "p99 of the 900 beside the 100, ms", 1.0),
    shown("stalled_to_calm_p99", "the latter to the former", 1.0),
];
/// See [`churn::arrivals`](crate::churn::arrivals).
pub const ARRIVALS: &[Shown] = &[
    CALM,
    P99,
    shown("arrivals_within_s", "time until all were there, s", 1.0),
];
/// See [`churn::burst`](crate::churn::burst).
pub const BURST: &[Shown] = &[
    shown("server_cpu_us_per_handshake", "CPU per handshake, µs", 1.0),
    shown("handshakes_per_s", "handshakes, thousand/s", 1e-3),
    shown("server_cpu_us_per_close", "CPU per close, µs", 1.0),
];
/// See [`echo`](crate::echo).
pub const ECHO: &[Shown] = &[
    shown("server_cpu_us_per_echo", "CPU per echo, µs", 1.0),
    shown("server_system_calls_per_echo", "system calls per echo", 1.0),
    shown("echoes_per_s", "echoes, thousand/s", 1e-3),
];
/// See [`idle`](crate::idle).
pub const IDLE: &[Shown] = &[
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

/// The same with TLS.
pub const TLS_IDLE: &[Shown] = &[
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
