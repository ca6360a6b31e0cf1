//! Who else reads the database, in words for the log.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most processes that are named.
const NAMED_COUNT_MAX: usize = 3;

/// The processes that hold locks on a database beside this one: SQLite's readers have theirs on the file `-shm`. It
/// must not be opened for that, since closing it would take away this process's own locks.
pub fn others(database: &str) -> String {
    let file = fs::metadata(Path::new(&format!("{database}-shm")));
    let locks = fs::read_to_string("/proc/locks");
    let mut ids = match (file, locks) {
        (Ok(file), Ok(locks)) => holders(&locks, file.dev(), file.ino()),
        (Err(_), _) | (_, Err(_)) => Vec::new(),
    };
    ids.retain(|id| *id != std::process::id());
    let name = |id: &u32| {
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        format!("{} (process {id})", name.trim())
    };
    let names: Vec<String> = ids.iter().take(NAMED_COUNT_MAX).map(name).collect();
    match names.is_empty() {
        true => "another program".to_owned(),
        false => names.join(", "),
    }
}

/// The processes that hold locks on a file, as `/proc/locks` has them: a line such as
/// `1: POSIX  ADVISORY  READ 1234 08:01:5678 123 123`.
fn holders(locks: &str, device: u64, inode: u64) -> Vec<u32> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    let holder = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(4);
        let id = words.next()?.parse().ok()?;
        (words.next()? == file && id > 0).then_some(id)
    };
    let mut ids: Vec<u32> = locks.lines().filter_map(holder).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_those_of_the_file_each_once() {
        let locks = "1: POSIX  ADVISORY  READ 1234 08:01:5678 123 123\n\
                     2: POSIX  ADVISORY  READ 1234 08:01:5678 124 124\n\
                     3: POSIX  ADVISORY  WRITE 99 08:01:5678 120 120\n\
                     4: POSIX  ADVISORY  READ 1235 08:02:5678 123 123\n\
                     5: FLOCK  ADVISORY  WRITE 1236 08:01:56789 0 EOF\n\
                     6: OFDLCK ADVISORY  READ -1 08:01:5678 123 123\n\
                     7: POSIX  ADVISORY  READ 0 08:01:5678 123 123\n\
                     odd\n";
        let device = rustix::fs::makedev(8, 1);
        assert_eq!(holders(locks, device, 5678), [99, 1234]);
        assert!(holders(locks, device, 1).is_empty());
    }
}
