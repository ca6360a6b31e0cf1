//! What was counted, as Prometheus text (exposition format 0.0.4).

use std::fmt::Write;
use std::fs;

use crate::counters::{Counters, Kind};
use crate::store::Desk;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// What does not change while the process runs.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Threads that serve connections.
    pub shard_count: u16,
    /// Connections that are admitted at the same time.
    pub connection_count_max: u32,
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
}

/// Appends every counter, and what is known about the process.
pub fn render(out: &mut String, total: &Counters, about: &About) {
    for (name, kind, help, value) in total.rows() {
        metric(
            out,
            &format!("roomcast_{name}"),
            "",
            kind,
            help.trim(),
            value,
        );
    }
    let gauge =
        |out: &mut String, name, help, value| metric(out, name, "", Kind::Gauge, help, value);
    gauge(
        out,
        "roomcast_shards",
        "Threads that serve connections.",
        u64::from(about.shard_count),
    );
    let connection_count_max = u64::from(about.connection_count_max);
    gauge(
        out,
        "roomcast_connections_max",
        "Connections that are admitted at the same time.",
        connection_count_max,
    );
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    metric(
        out,
        "roomcast_build_info",
        version,
        Kind::Gauge,
        "Always 1; the label says which build runs.",
        1,
    );
    let start = Seconds(about.started_unix_ms);
    metric(
        out,
        "process_start_time_seconds",
        "",
        Kind::Gauge,
        "When the process started (Unix time).",
        start,
    );
    if let Some(bytes) = resident_bytes() {
        gauge(
            out,
            "process_resident_memory_bytes",
            "Memory that the process has in use.",
            bytes,
        );
    }
}

/// Appends how often something was read again and taken, and how often it was refused.
pub fn render_reloads(out: &mut String, (taken, refused): (u64, u64)) {
    let rows = [
        (
            "roomcast_reloads_total",
            "Times that a certificate or keys were read again and taken.",
            taken,
        ),
        (
            "roomcast_reload_failures_total",
            "Times that a certificate or keys were read again and refused.",
            refused,
        ),
    ];
    for (name, help, count) in rows {
        metric(out, name, "", Kind::Counter, help, count);
    }
}

/// Appends what is known of the addresses that clients come from.
pub fn render_addresses(out: &mut String, address_count: usize, forgotten: u64) {
    let name = "roomcast_addresses";
    let help = "Addresses whose connections are counted now.";
    metric(out, name, "", Kind::Gauge, help, address_count);
    let name = "roomcast_addresses_forgotten_total";
    let help = "Addresses forgotten before they might have come again, for want of room.";
    metric(out, name, "", Kind::Counter, help, forgotten);
}

/// Appends what the store has counted.
pub fn render_store(out: &mut String, desk: &Desk) {
    let figures = &desk.figures;
    let counters = [
        (
            "commits_total",
            "Transactions that were tried.",
            &figures.commits,
        ),
        (
            "requests_total",
            "Messages and other requests in them.",
            &figures.requests,
        ),
        (
            "failures_total",
            "Transactions that failed.",
            &figures.failures,
        ),
        (
            "reads_total",
            "Stretches of logs that were read.",
            &figures.reads,
        ),
    ];
    for (name, help, value) in counters {
        let name = format!("roomcast_store_{name}");
        metric(out, &name, "", Kind::Counter, help, value.load(Relaxed));
    }
    let seconds = |us: &AtomicU64| Micros(us.load(Relaxed));
    let name = "roomcast_store_commit_seconds_total";
    let help = "Time that the transactions took.";
    metric(
        out,
        name,
        "",
        Kind::Counter,
        help,
        seconds(&figures.commit_us),
    );
    let name = "roomcast_store_commit_seconds_max";
    let help = "The longest of the transactions.";
    metric(
        out,
        name,
        "",
        Kind::Gauge,
        help,
        seconds(&figures.commit_us_max),
    );
    let name = "roomcast_store_waiting_bytes";
    let help = "Bytes that wait to be committed.";
    metric(out, name, "", Kind::Gauge, help, desk.waiting_bytes());
    let name = "roomcast_store_well";
    let help = "Whether the store can commit.";
    metric(out, name, "", Kind::Gauge, help, u8::from(desk.is_well()));
}

/// Microseconds, shown as seconds.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// One metric: its help, its type and its value.
fn metric(
    out: &mut String,
    name: &str,
    labels: &str,
    kind: Kind,
    help: &str,
    value: impl std::fmt::Display,
) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    writeln!(
        out,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}"
    )
    .expect("writing to a String does not fail");
}

/// Milliseconds, shown as seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Resident memory of this process, where the system tells it as Linux does.
pub fn resident_bytes() -> Option<u64> {
    resident_bytes_in(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_bytes_in(status: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(total: &Counters) -> String {
        let mut out = String::new();
        render(
            &mut out,
            total,
            &About {
                shard_count: 3,
                connection_count_max: 500,
                started_unix_ms: 1_700_000_000_042,
            },
        );
        out
    }

    #[test]
    fn every_row_of_the_table_is_there() {
        let total = Counters {
            connections: 7,
            sends_total: u64::MAX,
            ..Counters::default()
        };
        let text = rendered(&total);
        for (name, kind, help, value) in total.rows() {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let expected = format!(
                "# HELP roomcast_{name} {}\n# TYPE roomcast_{name} {kind}\nroomcast_{name} {value}\n",
                help.trim()
            );
            assert!(text.contains(&expected), "{expected} is not in {text}");
        }
    }

    #[test]
    fn the_process_is_described() {
        let text = rendered(&Counters::default());
        let build = format!(
            "roomcast_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        let lines = [
            "roomcast_shards 3",
            "roomcast_connections_max 500",
            "process_start_time_seconds 1700000000.042",
        ];
        for line in lines.into_iter().chain([build.as_str()]) {
            assert!(
                text.lines().any(|other| other == line),
                "{line} is not in {text}"
            );
        }
    }

    /// The grammar of the format, as far as we use it: comments in pairs, then a sample of the same name.
    #[test]
    fn the_text_is_well_formed() {
        let text = rendered(&Counters::default());
        assert!(text.ends_with('\n'));
        let lines: Vec<&str> = text.lines().collect();
        let mut names = Vec::new();
        for group in lines.chunks(3) {
            let [help, kind, sample] = group else {
                panic!("{group:?} is no metric")
            };
            let (name, value) = sample.split_once([' ', '{']).unwrap();
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{name}"
            );
            assert!(
                value.rsplit(' ').next().unwrap().parse::<f64>().is_ok(),
                "{sample}"
            );
            assert!(
                help.starts_with(&format!("# HELP {name} ")) && !help.contains('\\'),
                "{help}"
            );
            let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert_eq!(
                kind == "counter",
                name.ends_with("_total"),
                "{name} is a {kind}"
            );
            names.push(name);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "each name stands once");
    }

    #[test]
    fn resident_memory_is_read_from_the_status() {
        for (status, bytes) in [
            (
                "Name:\troomcast\nVmRSS:\t    5120 kB\nThreads:\t3\n",
                Some(5_242_880),
            ),
            ("Name:\troomcast\n", None),
            ("VmRSS:\tmuch\n", None),
            ("VmRSS:\t99999999999999999999 kB\n", None),
        ] {
            assert_eq!(resident_bytes_in(status), bytes, "{status:?}");
        }
        if cfg!(target_os = "linux") {
            assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        }
    }
}
