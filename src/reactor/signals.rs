//! SIGTERM and SIGINT: the first asks for a stop, the second does not ask. SIGHUP: files are read again.
//!
//! Signals come through the poll of the first shard, and not through a thread of their own: a process that has only one
//! thread shares its descriptors with no other, which makes each `send` and `recv` cheaper (by 2 and 10 %).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use signal_hook::low_level::signal_name;

use super::reload::Reloader;

/// Signals of the process, caught.
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    stop: Option<Box<dyn FnOnce(&'static str) + Send>>,
    reloader: Option<Reloader>,
}

impl Signals {
    /// Catches the signals from now on. `stop` is called at the first one that asks for it, with its name; the second
    /// ends the process at once with 128 and its number, as a shell counts processes that died of one, wherever a stop
    /// may be. (SIGPIPE is ignored by Rust programs; a closed peer is an error of its own write.)
    ///
    /// SIGHUP goes to `reloader`. Where there is none it is only logged: whoever sends it means no harm.
    ///
    /// # Errors
    ///
    /// The signals cannot be caught.
    pub fn catch(
        stop: impl FnOnce(&'static str) + Send + 'static,
        reloader: Option<Reloader>,
    ) -> io::Result<Signals> {
        let is_asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first one is not its own second.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_asked))?;
            flag::register(signal, Arc::clone(&is_asked))?;
        }
        let (read, write) = UnixStream::pair()?;
        let signals = [SIGTERM, SIGINT, SIGHUP];
        Ok(Signals {
            delivery: SignalDelivery::with_pipe(read, write, SignalOnly, signals)?,
            stop: Some(Box::new(stop)),
            reloader,
        })
    }

    /// Lets a poll tell when there is something to [take](Signals::take).
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.delivery.get_read_mut(), token, Interest::READABLE)
    }

    /// Does what the signals ask that came since the last time.
    pub(super) fn take(&mut self) {
        for signal in self.delivery.pending() {
            match (signal, &self.reloader) {
                (SIGHUP, Some(reloader)) => reloader.reload(),
                (SIGHUP, None) => log::info!("SIGHUP: there is nothing that is to be read again"),
                (_, _) => {
                    if let Some(stop) = self.stop.take() {
                        stop(signal_name(signal).unwrap_or("a signal"));
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}
