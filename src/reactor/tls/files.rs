//! Where certificate and key lie, and how they are read again while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::ProducesTickets;

use super::Current;
use super::pair::{KeyError, Pair, ticketer};
use crate::config;
use crate::reactor::reload::Reload;

/// Files of a pair for development, in the data folder.
const DEVELOPMENT_CERT: &str = "tls-self-signed-cert.pem";
/// See [`DEVELOPMENT_CERT`].
const DEVELOPMENT_KEY: &str = "tls-self-signed-key.pem";

/// Certificate, key, and whose certificates clients need, by their files.
#[derive(Debug)]
pub struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    tickets: Arc<dyn ProducesTickets>,
    current: Arc<Current>,
}

/// Reads what the settings name. The files are for [`Reload`]; a pair that is only in memory has none.
///
/// # Errors
///
/// See [`KeyError`].
pub fn open(
    tls: &config::Tls,
    folder: Option<&Path>,
) -> Result<(Arc<Current>, Option<Files>), KeyError> {
    let client_ca = tls.client_ca.clone();
    let (cert, key) = match (&tls.pair, folder) {
        (config::Pair::Files { cert, key }, _) => (cert.clone(), key.clone()),
        (config::Pair::Development, Some(folder)) => development(folder)?,
        (config::Pair::Development, None) => {
            let config = Pair::development()?.config(client_ca.as_deref(), ticketer()?)?;
            return Ok((Arc::new(Current::new(config)), None));
        }
    };
    let tickets = ticketer()?;
    let config = Pair::read(&cert, &key)?.config(client_ca.as_deref(), Arc::clone(&tickets))?;
    let current = Arc::new(Current::new(config));
    let files = Files {
        cert,
        key,
        client_ca,
        tickets,
        current: Arc::clone(&current),
    };
    Ok((current, Some(files)))
}

/// The pair for development in a data folder, made if it is not there.
fn development(folder: &Path) -> Result<(PathBuf, PathBuf), KeyError> {
    let (cert, key) = (folder.join(DEVELOPMENT_CERT), folder.join(DEVELOPMENT_KEY));
    if !(cert.is_file() && key.is_file()) {
        Pair::write_development(&cert, &key)?;
    }
    Ok((cert, key))
}

impl Reload for Files {
    fn name(&self) -> &'static str {
        "the certificate"
    }

    fn files(&self) -> Vec<PathBuf> {
        let both = [self.cert.clone(), self.key.clone()];
        both.into_iter().chain(self.client_ca.clone()).collect()
    }

    fn reload(&mut self) -> Result<(), String> {
        let told = |error: KeyError| error.to_string();
        if self.client_ca.is_some() {
            // A ticket stands for a certificate that was good once: whoever has one shows a certificate again.
            self.tickets = ticketer().map_err(told)?;
        }
        let pair = Pair::read(&self.cert, &self.key).map_err(told)?;
        let config = pair.config(self.client_ca.as_deref(), Arc::clone(&self.tickets));
        self.current.replace(config.map_err(told)?);
        Ok(())
    }
}
