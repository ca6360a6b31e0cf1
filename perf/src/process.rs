//! What a process uses: CPU, memory and the time for which it had to wait for a core, from `/proc`.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// The counters of one process at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    at: Instant,
    /// Time on a core, user and system, in nanoseconds.
    cpu_ns: u64,
    /// Time ready to run but without a core, in nanoseconds.
    waited_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
}

/// What a process used between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// How long that was.
    pub wall: Duration,
    /// Time on a core, user and system, in nanoseconds.
    pub cpu_ns: u64,
    /// Share of one core that it had, in per cent.
    pub cpu_percent: f64,
    /// Share of its CPU time that was in the kernel, in per cent.
    pub system_percent: f64,
    /// Share of the time in which it wanted a core that others had, in per cent.
    pub waited_percent: f64,
}

/// What a process holds in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident in all, in KiB.
    pub rss_kib: u64,
    /// Of that not backed by a file: heap and stacks, in KiB.
    pub anonymous_kib: u64,
}

impl Sample {
    /// Reads the counters of a process, over all of its threads.
    ///
    /// # Errors
    ///
    /// There is no such process.
    pub fn take(pid: u32) -> io::Result<Sample> {
        let (user_ticks, system_ticks) = ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)?;
        let mut sample = Sample {
            at: Instant::now(),
            cpu_ns: 0,
            waited_ns: 0,
            user_ticks,
            system_ticks,
        };
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that ended in between is not counted.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let mut numbers = text.split_whitespace().map(str::parse::<u64>);
            let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
            sample.cpu_ns += next();
            sample.waited_ns += next();
        }
        Ok(sample)
    }

    /// What was used since an earlier sample.
    pub fn since(&self, earlier: &Sample) -> Usage {
        let wall = self.at.duration_since(earlier.at);
        let cpu_ns = self.cpu_ns.saturating_sub(earlier.cpu_ns);
        let waited_ns = self.waited_ns.saturating_sub(earlier.waited_ns);
        let user = self.user_ticks.saturating_sub(earlier.user_ticks);
        let system = self.system_ticks.saturating_sub(earlier.system_ticks);
        let wall_ns = wall.as_nanos() as f64;
        Usage {
            wall,
            cpu_ns,
            cpu_percent: percent(cpu_ns as f64, wall_ns),
            system_percent: percent(system as f64, (user + system) as f64),
            waited_percent: percent(waited_ns as f64, wall_ns),
        }
    }
}

/// Reads what a process holds in memory now. Exact, unlike the numbers in its `status`.
///
/// # Errors
///
/// There is no such process, or it is not ours.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Memory {
        rss_kib: kib(&text, "Rss:")?,
        anonymous_kib: kib(&text, "Anonymous:")?,
    })
}

/// The most that a process ever had in memory, in KiB.
///
/// # Errors
///
/// There is no such process.
pub fn peak_kib(pid: u32) -> io::Result<u64> {
    kib(
        &fs::read_to_string(format!("/proc/{pid}/status"))?,
        "VmHWM:",
    )
}

/// The number on the line that begins with a name.
fn kib(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc says nothing of {name}")))
}

/// User and system time from a line of `/proc/PID/stat`: fields 14 and 15. The second field, a name in brackets, may
/// hold anything.
fn ticks(stat: &str) -> io::Result<(u64, u64)> {
    let (_, rest) = stat
        .rsplit_once(')')
        .ok_or_else(|| io::Error::other("/proc/PID/stat has no name"))?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let mut next = || fields.next().and_then(Result::ok).unwrap_or(0);
    Ok((next(), next()))
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        100.0 * part / whole
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 95 0 0 0 12 34 0 0 20 0 1 0 100";
        assert_eq!(ticks(stat).unwrap(), (12, 34));
        assert!(ticks("nothing").is_err());
    }

    #[test]
    fn memory_is_read_by_name() {
        let text = "0-f ---p 0 00:00 0 [rollup]\nRss:    1756 kB\nAnonymous:  116 kB\n";
        assert_eq!(
            (kib(text, "Rss:").unwrap(), kib(text, "Anonymous:").unwrap()),
            (1756, 116)
        );
        assert!(kib(text, "Swap:").is_err());
    }

    #[test]
    fn work_shows_in_the_samples() {
        let pid = std::process::id();
        let before = Sample::take(pid).unwrap();
        while Instant::now().duration_since(before.at) < Duration::from_millis(20) {}
        let usage = Sample::take(pid).unwrap().since(&before);
        assert!(usage.cpu_ns > 0, "{usage:?}");
        assert!(memory(pid).unwrap().rss_kib > 0 && peak_kib(pid).unwrap() > 0);
    }
}
