//! System calls of a process, counted by the kernel through `perf stat`.

use std::fmt::Display;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::figures::Figures;
use crate::server::Server;

/// How long they are counted, under load.
pub const TIME: Duration = Duration::from_secs(1);
/// Time for `perf` to begin. This program rests meanwhile, as `perf` may have no other core.
const BEGINNING: Duration = Duration::from_millis(400);

/// A count that is under way.
struct Counting {
    child: Child,
}

/// Counts the server's system calls while something goes on, which says how much that was, and adds how many they are for
/// each of it. Counting makes each of them dearer, so nothing else is measured meanwhile. Where they can't be counted a
/// note says so.
///
/// # Errors
///
/// What goes on failed.
pub fn count(
    name: &str,
    server: &Server,
    figures: &mut Figures,
    work: impl FnOnce() -> io::Result<u64>,
) -> io::Result<()> {
    let counting = match begin(server.pid()) {
        Ok(counting) => counting,
        Err(error) => {
            figures.notes.push(error.to_string());
            return Ok(());
        }
    };
    let amount = work()?;
    match counting.end() {
        Ok(count) if amount > 0 => figures.add(name, count / amount as f64),
        Ok(_) => {}
        Err(error) => figures.notes.push(error.to_string()),
    }
    Ok(())
}

/// Begins to count. Fails where there is no `perf`.
fn begin(pid: u32) -> io::Result<Counting> {
    let child = Command::new("perf")
        .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"])
        .arg(pid.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.map_err(|error| not_counted(&error))?;
    std::thread::sleep(BEGINNING);
    Ok(Counting { child })
}

impl Counting {
    /// Ends the count, and returns it. Fails where the kernel does not count them for us.
    fn end(self) -> io::Result<f64> {
        // One that has failed already tells why below.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let output = self.child.wait_with_output()?;
        counted(&String::from_utf8_lossy(&output.stderr))
    }
}

/// The number at the beginning of the line of our event.
fn counted(text: &str) -> io::Result<f64> {
    let line = text
        .lines()
        .find(|line| line.contains("raw_syscalls:sys_enter"));
    let number = line.and_then(|line| line.split(',').next()?.parse().ok());
    number.ok_or_else(|| not_counted(&text.lines().next().unwrap_or_default()))
}

fn not_counted(why: &dyn Display) -> io::Error {
    io::Error::other(format!(
        "system calls were not counted: `perf stat` does not do it here ({why})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_or_an_error() {
        let text = "# started\n12345,,raw_syscalls:sys_enter,1001,100.00,,\n";
        assert_eq!(counted(text).unwrap(), 12345.0);
        for wrong in ["", "<not supported>,,raw_syscalls:sys_enter,0,100.00,,"] {
            assert!(counted(wrong).is_err(), "{wrong}");
        }
    }
}
