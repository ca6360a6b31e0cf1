//! Which cores a side runs on, and how many descriptors it may have.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps this thread, and every process that it starts from now on, to some cores. Does nothing where none is named.
///
/// # Errors
///
/// The machine has none of them.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    pin_thread(None, cores)
}

/// Keeps all threads of a process to some cores. Does nothing where none is named.
///
/// # Errors
///
/// The machine has none of them, or the process is not ours.
pub fn pin_process(pid: u32, cores: &[usize]) -> io::Result<()> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = task?.file_name().to_string_lossy().parse().ok();
        pin_thread(thread.and_then(Pid::from_raw), cores)?;
    }
    Ok(())
}

fn pin_thread(thread: Option<Pid>, cores: &[usize]) -> io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for core in cores.iter().filter(|core| **core < CpuSet::MAX_CPU) {
        set.set(*core);
    }
    sched_setaffinity(thread, &set)
        .map_err(|error| io::Error::other(format!("cannot run on cores {cores:?}: {error}")))
}

/// Raises the limit of open descriptors as far as it goes. Returns it.
///
/// # Errors
///
/// The kernel refuses.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
