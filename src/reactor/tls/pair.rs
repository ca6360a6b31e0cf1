//! Certificate and key: read from files, checked against each other, or made for development.
//!
//! No error says anything of what stands in a key's file.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

/// The protocol that is spoken over TLS, by its name in ALPN (RFC 7301, 6).
const ALPN: &[u8] = b"http/1.1";
/// Whom a certificate for development is for.
const DEVELOPMENT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What is to be done about a file that may not be read.
const UNREADABLE: &str = ": let the user read it that the server runs as";

/// Why there is no TLS with these files.
#[derive(Debug)]
pub enum KeyError {
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// There is nothing of this kind in a file.
    Missing(PathBuf, &'static str),
    /// A file is no PEM, or what stands in it is not what it should be.
    Malformed(PathBuf, String),
    /// The key is not the certificate's.
    Mismatch(PathBuf, PathBuf),
    /// The pair for development cannot be made, or the system has no random numbers.
    Made(String),
}

/// A certificate with its chain, and its key.
#[derive(Debug)]
pub struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Pair {
    /// Reads both from files in PEM.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn read(cert: &Path, key: &Path) -> Result<Pair, KeyError> {
        let pair = Pair {
            chain: certificates(cert)?,
            key: PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
                pem::Error::NoItemsFound => KeyError::Missing(key.to_owned(), "private key"),
                error => malformed(key, &error),
            })?,
        };
        let provider = ring::default_provider();
        let (chain, secret) = (pair.chain.clone(), pair.key.clone_key());
        match CertifiedKey::from_der(chain, secret, &provider) {
            Ok(_) => Ok(pair),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(KeyError::Mismatch(cert.to_owned(), key.to_owned()))
            }
            Err(error @ rustls::Error::InvalidCertificate(_)) => {
                Err(KeyError::Malformed(cert.to_owned(), error.to_string()))
            }
            Err(_) => Err(KeyError::Malformed(
                key.to_owned(),
                "no private key that is understood: RSA, ECDSA with P-256 or P-384, or Ed25519"
                    .to_owned(),
            )),
        }
    }

    /// A pair for development: only this machine's names, and nobody vouches for it.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn development() -> Result<Pair, KeyError> {
        let (cert, key) = make()?;
        let chain = vec![cert.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der());
        let key = key.map_err(|error| KeyError::Made(error.to_owned()))?;
        Ok(Pair { chain, key })
    }

    /// Makes such a pair and writes it into two files.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn write_development(cert_path: &Path, key_path: &Path) -> Result<(), KeyError> {
        let (cert, key) = make()?;
        write(key_path, &key.serialize_pem())?;
        write(cert_path, &cert.pem())
    }

    /// What connections are made with: this pair, and for clients certificates of one of `client_ca`, if there is one.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn config(
        self,
        client_ca: Option<&Path>,
        ticketer: Arc<dyn ProducesTickets>,
    ) -> Result<Arc<ServerConfig>, KeyError> {
        let provider = Arc::new(ring::default_provider());
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| KeyError::Made(error.to_string()))?;
        let builder = match client_ca {
            Some(path) => versions.with_client_cert_verifier(verifier(path, provider)?),
            None => versions.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(self.chain, self.key)
            .map_err(|error| KeyError::Made(error.to_string()))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // What it takes to go on with a session is in the ticket that the client has, and not here.
        config.ticketer = ticketer;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// Keys for session tickets, which change every few hours.
///
/// # Errors
///
/// The system has no random numbers.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, KeyError> {
    ring::Ticketer::new().map_err(|error| KeyError::Made(error.to_string()))
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, KeyError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| KeyError::Malformed(path.to_owned(), error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| KeyError::Malformed(path.to_owned(), error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let text = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(path, &error))?;
    if chain.is_empty() {
        return Err(KeyError::Missing(path.to_owned(), "certificate"));
    }
    Ok(chain)
}

/// Errors of the reader of PEM may quote the file, so what they say is not repeated.
fn malformed(path: &Path, error: &pem::Error) -> KeyError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "an END line is missing",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "the Base64 is malformed",
        _ => "it is no PEM",
    };
    KeyError::Malformed(path.to_owned(), reason.to_owned())
}

fn make() -> Result<(rcgen::Certificate, KeyPair), KeyError> {
    let failed = |error: rcgen::Error| KeyError::Made(error.to_string());
    let mut params =
        CertificateParams::new(DEVELOPMENT_NAMES.map(str::to_owned)).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "roomcast, for development only");
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate, key))
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    fs::read(path).map_err(|error| KeyError::File(path.to_owned(), error))
}

/// Writes a new file that nobody else reads, in the place of an older one.
fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    let failed = |error| KeyError::File(path.to_owned(), error);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::File(path, error) => {
                write!(f, "{}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => f.write_str(UNREADABLE),
                    _ => Ok(()),
                }
            }
            KeyError::Missing(path, what) => {
                write!(f, "{}: there is no {what} in it, in PEM", path.display())
            }
            KeyError::Malformed(path, reason) => write!(f, "{}: {reason}", path.display()),
            KeyError::Mismatch(cert, key) => write!(
                f,
                "{} is not the key of the first certificate in {}",
                key.display(),
                cert.display()
            ),
            KeyError::Made(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for KeyError {}
