//! What the process asks of the system at its start.

use std::io;
use std::thread;

use rand::TryRng;
use rand::rngs::SysRng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Machine;

/// Raises the soft limit of descriptors to the hard one, and says what this machine offers.
pub fn survey() -> Machine {
    Machine {
        core_count: thread::available_parallelism().map_or(1, usize::from),
        descriptor_count_max: raise_descriptor_limit(),
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
