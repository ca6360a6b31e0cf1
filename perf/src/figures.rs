//! What a run measured, by name.

use hdrhistogram::Histogram;

use crate::limits::LATENCY_NS_MAX;
use crate::process::Usage;

/// Numbers with their unit in their name, in the order in which they are shown, and words about them.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The numbers.
    pub numbers: Vec<(String, f64)>,
    /// How latencies are distributed: shares, and the milliseconds within which they arrived.
    pub distribution: Vec<(f64, f64)>,
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
        let within_ms = |share| latencies.value_at_quantile(share) as f64 / 1e6;
        self.distribution = SHARES.map(|share| (share, within_ms(share))).into();
    }

    /// A number by its name.
    pub fn number(&self, name: &str) -> Option<f64> {
        let found = self.numbers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| *value)
    }

    /// Which side was at its limit, where that was measured.
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        let busy = |cpu: &str, waited: &str| Some(self.number(cpu)? + self.number(waited)?);
        Some(Bottleneck::of(
            busy("server_cpu_percent", "server_waited_percent")?,
            busy("client_cpu_percent", "client_waited_percent")?,
        ))
    }

    /// The larger share of the time in which either side wanted a core that others had, in per cent.
    pub fn waited_percent(&self) -> f64 {
        let waited = self
            .numbers
            .iter()
            .filter(|(name, _)| name.ends_with("_waited_percent"));
        waited.map(|(_, percent)| *percent).fold(0.0, f64::max)
    }

    /// Adds what both sides used.
    pub fn add_usage(&mut self, server: &Usage, client: &Usage) {
        self.add("server_cpu_percent", server.cpu_percent);
        self.add("server_system_percent", server.system_percent);
        self.add("server_waited_percent", server.waited_percent);
        self.add("client_cpu_percent", client.cpu_percent);
        self.add("client_waited_percent", client.waited_percent);
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

/// Which side was at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottleneck {
    /// The server, as it should be.
    Server,
    /// This program.
    Generator,
    /// One as well as the other.
    Both,
    /// Neither.
    None,
}

impl Bottleneck {
    /// From the share of a core that each side used, in per cent. Time for which a side waited for its core counts as
    /// used: it would have used it.
    pub fn of(server_percent: f64, generator_percent: f64) -> Bottleneck {
        const FULL_PERCENT: f64 = 93.0;
        match (
            server_percent >= FULL_PERCENT,
            generator_percent >= FULL_PERCENT,
        ) {
            (true, false) => Bottleneck::Server,
            (false, true) => Bottleneck::Generator,
            (true, true) => Bottleneck::Both,
            (false, false) => Bottleneck::None,
        }
    }

    /// The same for a reader.
    pub fn words(self) -> &'static str {
        match self {
            Bottleneck::Server => "bottleneck: the server",
            Bottleneck::Generator => "bottleneck: the generator, so the server could do more",
            Bottleneck::Both => "bottleneck: both sides",
            Bottleneck::None => {
                "bottleneck: none, both sides waited for each other or for the time"
            }
        }
    }
}

/// Shares of messages for which latencies are drawn.
const SHARES: [f64; 16] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_without_a_pause_is_the_bottleneck() {
        for (server_percent, generator_percent, expected) in [
            (99.0, 50.0, Bottleneck::Server),
            (50.0, 97.0, Bottleneck::Generator),
            (99.0, 97.0, Bottleneck::Both),
            (9.0, 7.0, Bottleneck::None),
        ] {
            assert_eq!(Bottleneck::of(server_percent, generator_percent), expected);
        }
    }
}
