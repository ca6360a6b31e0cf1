//! What the process asks of the system at its start.

use std::io;
use std::thread;

use rand::TryRng;
use rand::rngs::SysRng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::privileges;
use crate::config::Machine;

/// Raises the soft limit of descriptors to the hard one, and says what this machine offers.
pub fn survey() -> Machine {
    Machine {
        core_count: thread::available_parallelism().map_or(1, usize::from),
        descriptor_count_max: raise_descriptor_limit(),
        is_root: privileges::is_root(),
    }
}

/// Descriptors that may be open afterwards. A limit that cannot be raised stays as it is: it only bounds us.
fn raise_descriptor_limit() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Keeps this thread on one core: the one at this place among those that the process may use, which `taskset` or a
/// container may have made fewer than there are. Where the system refuses, the thread runs anywhere.
pub fn pin(place: u16) {
    if let Err(error) = try_pin(place) {
        log::warn!("shard {place} is not kept on a core (--pin): {error}");
    }
}

fn try_pin(place: u16) -> rustix::io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let count = usize::try_from(allowed.count()).unwrap_or(0).max(1);
    let mut own = CpuSet::new();
    cores
        .skip(usize::from(place) % count)
        .take(1)
        .for_each(|core| own.set(core));
    sched_setaffinity(None, &own)
}

/// Bytes from the generator of the system.
///
/// # Errors
///
/// The system has none.
pub fn random<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let machine = survey();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(
            machine.descriptor_count_max,
            limit.current.unwrap_or(u64::MAX)
        );
        assert!(machine.core_count >= 1);
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
    }
}
