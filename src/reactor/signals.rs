//! SIGTERM and SIGINT: the first asks for a stop, the second does not ask. SIGHUP: files are read again.

use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use super::reload::Reloader;

/// Calls `stop` at the first signal, with its name, and exits with 128 and its number at the second, as a shell counts
/// processes that died of one. (SIGPIPE is ignored by Rust programs; a closed peer is an error of its own write.)
///
/// SIGHUP goes to `reloader`. Where there is none it is only logged: whoever sends it means no harm.
///
/// # Errors
///
/// The signals cannot be caught, or there is no thread left to wait for them.
pub fn watch(
    stop: impl FnOnce(&'static str) + Send + 'static,
    reloader: Option<Reloader>,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let wait = move || {
        let mut stop = Some(stop);
        for signal in signals.forever() {
            if signal == SIGHUP {
                match &reloader {
                    Some(reloader) => reloader.reload(),
                    None => log::info!("SIGHUP: there is nothing that is to be read again"),
                }
                continue;
            }
            let name = signal_name(signal).unwrap_or("a signal");
            match stop.take() {
                Some(stop) => stop(name),
                None => {
                    log::warn!("stopped at once by {name}, the second signal");
                    process::exit(128 + signal);
                }
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(())
}
