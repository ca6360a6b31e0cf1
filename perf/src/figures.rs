//! What a run measured, by name.

use hdrhistogram::Histogram;

use crate::limits::LATENCY_NS_MAX;
use crate::process::Usage;

/// Numbers with their unit in their name, in the order in which they are shown, and words about them.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The numbers.
    pub numbers: Vec<(String, f64)>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What went wrong. A run with faults measured nothing.
    pub faults: Vec<String>,
}

impl Figures {
    /// Adds a number.
    pub fn add(&mut self, name: impl Into<String>, value: f64) {
        self.numbers.push((name.into(), value));
    }

    /// Adds how latencies are distributed.
    pub fn add_latencies(&mut self, latencies: &Histogram<u64>) {
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)] {
            let value = latencies.value_at_quantile(quantile);
            self.add(format!("latency_{name}_ms"), value as f64 / 1e6);
        }
        self.add("latency_max_ms", latencies.max() as f64 / 1e6);
    }

    /// Adds what both sides used, and says which of them was the bottleneck.
    pub fn add_usage(&mut self, server: &Usage, client: &Usage) {
        self.add("server_cpu_percent", server.cpu_percent);
        self.add("server_system_percent", server.system_percent);
        self.add("server_waited_percent", server.waited_percent);
        self.add("client_cpu_percent", client.cpu_percent);
        self.add("client_waited_percent", client.waited_percent);
        self.notes.push(bottleneck(server, client).into());
        if server.waited_percent > 2.0 || client.waited_percent > 2.0 {
            self.notes
                .push("others used the same cores: latencies are too high".into());
        }
    }
}

/// A histogram for latencies in nanoseconds, to three digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, LATENCY_NS_MAX, 3).expect("the bounds are constants that fit")
}

/// Which side was at its limit. Time for which a side waited for its core counts as used: it would have used it.
fn bottleneck(server: &Usage, client: &Usage) -> &'static str {
    const FULL_PERCENT: f64 = 93.0;
    let is_full = |usage: &Usage| usage.cpu_percent + usage.waited_percent >= FULL_PERCENT;
    match (is_full(server), is_full(client)) {
        (true, false) => "bottleneck: the server",
        (false, true) => "bottleneck: the generator, so the server could do more",
        (true, true) => "bottleneck: both sides",
        (false, false) => "bottleneck: none, both sides waited for each other or for the time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn usage(cpu_percent: f64, waited_percent: f64) -> Usage {
        Usage {
            wall: Duration::from_secs(1),
            cpu_ns: 0,
            cpu_percent,
            system_percent: 0.0,
            waited_percent,
        }
    }

    #[test]
    fn the_side_without_a_pause_is_the_bottleneck() {
        for (server, client, word) in [
            (usage(99.0, 0.0), usage(50.0, 0.0), "the server"),
            (usage(60.0, 39.0), usage(50.0, 0.0), "the server"),
            (usage(50.0, 0.0), usage(97.0, 0.0), "the generator"),
            (usage(99.0, 0.0), usage(97.0, 0.0), "both"),
            (usage(9.0, 0.0), usage(7.0, 0.0), "none"),
        ] {
            assert!(
                bottleneck(&server, &client).contains(word),
                "{server:?} {client:?}"
            );
        }
    }
}
