//! What is read from files again while the server runs: on SIGHUP, and when the files have changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::process::Process;
use crate::limits::RELOAD_CHECK_MS;

/// Something that comes from files.
pub trait Reload: Send {
    /// What it is called in the log, as `the certificate`.
    fn name(&self) -> &'static str;

    /// The files that it comes from.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads the files, and takes the new in place of the old.
    ///
    /// # Errors
    ///
    /// What is wrong with the new, in words for the log: nothing secret. The old stays.
    fn reload(&mut self) -> Result<(), String>;
}

/// All that can be read again.
#[derive(Default)]
pub struct Reloads(Vec<Box<dyn Reload>>);

/// Asks for everything to be read again. May be kept by anyone, for any time.
#[derive(Clone, Debug)]
pub struct Reloader {
    asked: Sender<()>,
}

/// What a file was when it was last looked at; nothing if it could not be. A file that was replaced differs in it.
type Stamp = Vec<Option<[i64; 5]>>;

struct Watched {
    item: Box<dyn Reload>,
    /// The files that were read last.
    read: Stamp,
    /// The files when they were last looked at.
    seen: Stamp,
}

impl Reloads {
    /// One more.
    pub fn add(&mut self, item: impl Reload + 'static) {
        self.0.push(Box::new(item));
    }

    /// Starts the thread that reads; none where there is nothing to read. It ends with the last [`Reloader`].
    ///
    /// # Errors
    ///
    /// There is no thread left.
    pub(super) fn start(self, process: Arc<Process>) -> io::Result<Option<Reloader>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (asked, asks) = mpsc::channel();
        let items: Vec<_> = self.0.into_iter().map(Watched::new).collect();
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || watch(items, &asks, &process))?;
        Ok(Some(Reloader { asked }))
    }
}

impl Reloader {
    /// Reads everything again, soon.
    pub fn reload(&self) {
        // Where nobody listens, the server has stopped.
        let _ = self.asked.send(());
    }
}

fn watch(mut items: Vec<Watched>, asks: &Receiver<()>, process: &Process) {
    loop {
        match asks.recv_timeout(Duration::from_millis(RELOAD_CHECK_MS)) {
            Ok(()) => {
                // Several at once are one.
                while asks.try_recv().is_ok() {}
                items.iter_mut().for_each(|item| item.reload(process));
            }
            Err(RecvTimeoutError::Timeout) => {
                items.iter_mut().for_each(|item| item.check(process));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Watched {
    fn new(item: Box<dyn Reload>) -> Watched {
        let stamp = stamp(&item.files());
        Watched {
            item,
            read: stamp.clone(),
            seen: stamp,
        }
    }

    /// Reads files that have changed, once they have stopped to: of two that belong together, one is written first.
    fn check(&mut self, process: &Process) {
        let stamp = stamp(&self.item.files());
        let is_settled = stamp == self.seen;
        self.seen.clone_from(&stamp);
        if is_settled && stamp != self.read {
            self.reload(process);
        }
    }

    fn reload(&mut self, process: &Process) {
        self.read = stamp(&self.item.files());
        let name = self.item.name();
        let result = self.item.reload();
        process.reloaded(result.is_ok());
        match result {
            Ok(()) => log::info!("{name} was read again; new connections get the new one"),
            Err(reason) => {
                log::error!("{name} was read again and is refused, the old one stays: {reason}")
            }
        }
    }
}

/// Links are followed: what they lead to may be replaced as well.
fn stamp(files: &[PathBuf]) -> Stamp {
    let of_file = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Some([
            number(data.dev()),
            number(data.ino()),
            number(data.size()),
            data.mtime(),
            data.mtime_nsec(),
        ])
    };
    files.iter().map(of_file).collect()
}

#[cfg(test)]
mod tests {
    use crate::limits::Limits;
    use crate::reactor::admission::Admission;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::metrics::About;

    struct Counted(PathBuf, Arc<AtomicU32>);

    impl Reload for Counted {
        fn name(&self) -> &'static str {
            "a number"
        }

        fn files(&self) -> Vec<PathBuf> {
            vec![self.0.clone()]
        }

        fn reload(&mut self) -> Result<(), String> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let text = fs::read_to_string(&self.0).map_err(|error| error.to_string())?;
            text.parse::<u32>()
                .map(drop)
                .map_err(|error| error.to_string())
        }
    }

    #[test]
    fn a_changed_file_is_read_once_it_has_settled() {
        let about = About {
            shard_count: 1,
            connection_count_max: 1,
            started_unix_ms: 0,
        };
        let process = Process::new(about, Admission::new(&Limits::default()));
        let path = std::env::temp_dir().join(format!("roomcast-reload-{}", std::process::id()));
        fs::write(&path, "1").unwrap();
        let count = Arc::new(AtomicU32::new(0));
        let mut watched = Watched::new(Box::new(Counted(path.clone(), Arc::clone(&count))));
        let mut check = |times: u32| {
            watched.check(&process);
            assert_eq!(count.load(Ordering::Relaxed), times);
        };
        check(0);
        fs::write(&path, "22").unwrap();
        check(0);
        fs::write(&path, "333").unwrap();
        check(0);
        check(1);
        check(1);
        fs::remove_file(&path).unwrap();
        check(1);
        check(2);
        check(2);
        fs::write(&path, "4444").unwrap();
        check(2);
        check(3);
        fs::remove_file(&path).unwrap();
        assert_eq!(process.reload_counts(), (2, 1));
    }
}
