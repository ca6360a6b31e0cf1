//! What both sides have used, and what the kernel did for them on threads of its own.

use std::fs;
use std::io;
use std::sync::LazyLock;

use crate::figures::Figures;
use crate::process::{Sample, Usage};
use crate::server::Server;

/// The counters of both sides at one moment.
pub struct Sides {
    server: Sample,
    client: Sample,
    /// Of the threads in [`SOFTIRQ_THREADS`].
    softirqs: Vec<Sample>,
}

/// The kernel's thread for each core that goes on with packets where there are too many for an interrupt: its number, and
/// what it is called.
static SOFTIRQ_THREADS: LazyLock<Vec<(u32, String)>> = LazyLock::new(softirq_threads);

/// Share of a core that such a thread may take, in per cent, before a reader is told.
const SOFTIRQ_PERCENT_MAX: f64 = 1.0;

impl Sides {
    /// Reads all counters.
    ///
    /// # Errors
    ///
    /// The server is gone.
    pub fn take(server: &Server) -> io::Result<Sides> {
        let threads = SOFTIRQ_THREADS.iter();
        Ok(Sides {
            server: server.sample()?,
            client: Sample::take(std::process::id())?,
            softirqs: threads
                .map(|(pid, _)| Sample::take(*pid))
                .collect::<io::Result<_>>()?,
        })
    }

    /// What the server used since an earlier moment.
    pub fn server_since(&self, earlier: &Sides) -> Usage {
        self.server.since(&earlier.server)
    }

    /// Adds what was used since an earlier moment.
    pub fn report(&self, earlier: &Sides, figures: &mut Figures) {
        figures.add_usage(
            &self.server_since(earlier),
            &self.client.since(&earlier.client),
        );
        let samples = self.softirqs.iter().zip(&earlier.softirqs);
        let percents = samples.map(|(now, before)| now.since(before).cpu_percent);
        let names = SOFTIRQ_THREADS.iter().map(|(_, name)| name.as_str());
        let shares: Vec<(&str, f64)> = names.zip(percents).collect();
        note_softirqs(&shares, figures);
    }
}

/// Adds the largest share, and words about those that are too large.
fn note_softirqs(shares: &[(&str, f64)], figures: &mut Figures) {
    let largest = shares
        .iter()
        .map(|(_, percent)| *percent)
        .max_by(f64::total_cmp);
    if let Some(percent) = largest {
        figures.add("softirq_thread_cpu_percent", percent);
    }
    for (name, percent) in shares {
        if *percent > SOFTIRQ_PERCENT_MAX {
            figures.notes.push(format!(
                "{name} had a core for {percent:.1} % of the time, which is in nobody's figures"
            ));
        }
    }
}

/// None where `/proc` shows none, as in some containers.
fn softirq_threads() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let thread = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let name = name.trim_end();
        name.starts_with("ksoftirqd/").then(|| (pid, name.into()))
    };
    entries.filter_map(thread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_the_kernel_that_nobody_is_charged_with_is_told() {
        let mut figures = Figures::default();
        note_softirqs(&[("ksoftirqd/0", 0.4), ("ksoftirqd/1", 7.25)], &mut figures);
        assert_eq!(
            figures.notes,
            ["ksoftirqd/1 had a core for 7.2 % of the time, which is in nobody's figures"]
        );
        assert_eq!(
            figures.numbers,
            [("softirq_thread_cpu_percent".to_owned(), 7.25)]
        );
    }

    #[test]
    fn every_such_thread_can_be_sampled() {
        for (pid, name) in softirq_threads() {
            assert!(name.starts_with("ksoftirqd/"), "{name}");
            Sample::take(pid).unwrap();
        }
    }
}
