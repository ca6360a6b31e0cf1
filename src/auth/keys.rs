//! Keys that tokens are checked with, out of files: a shared secret, a public key in PEM, or a JWK set (RFC 7517).
//!
//! A key goes with one algorithm, by what it is: a public key can never be taken for a shared secret, whatever a token
//! says. No error repeats what stands in a file.

use super::pem;
use crate::limits::{TOKEN_KEY_COUNT_MAX, TOKEN_RSA_BYTES_MIN, TOKEN_SECRET_BYTES_MIN};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;
use std::path::{Path, PathBuf};

/// One key.
pub struct Key {
    /// What it checks.
    pub algorithm: Algorithm,
    /// Its name, where it has one; then it checks only tokens that name it.
    name: Option<Box<str>>,
    /// The key itself.
    pub decoding: DecodingKey,
}

/// Why keys cannot be used.
#[derive(Debug)]
pub struct KeyError {
    path: PathBuf,
    reason: String,
}

/// What is wrong with one key.
type Fault = &'static str;

const NO_KEY: &str = "has no key for HS256, RS256, ES256 or EdDSA signatures";
const UNKNOWN: Fault = "is of a kind that is not known, or lacks a part";
const RSA_SHORT: Fault = "has an RSA key of less than 2048 bits, or one that cannot be read";

impl Key {
    /// Whether a token with this header may have been made with it.
    pub fn fits(&self, header: &Header) -> bool {
        let is_named = match (&self.name, &header.kid) {
            (Some(name), Some(kid)) => **name == **kid,
            (Some(_), None) => false,
            (None, _) => true,
        };
        is_named && self.algorithm == header.alg
    }

    /// The key in a file: text that starts as PEM does, or else the bytes of a secret.
    fn parse(bytes: &[u8]) -> Result<Key, Fault> {
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            let (algorithm, decoding) = pem::public_key(bytes)?;
            return Ok(Key {
                algorithm,
                name: None,
                decoding,
            });
        }
        if bytes.trim_ascii_start().starts_with(b"{") {
            return Err("is JSON: a JWK set is for --jwt-jwks");
        }
        // An editor's line end is no part of a secret.
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.len() < TOKEN_SECRET_BYTES_MIN {
            return Err("is no PEM, and too short for a secret: that has 32 bytes or more");
        }
        Ok(Key {
            algorithm: Algorithm::HS256,
            name: None,
            decoding: DecodingKey::from_secret(secret),
        })
    }

    /// A key of a set. `None`: it is for other purposes, as sets have such keys too.
    fn of_set(jwk: &Jwk) -> Result<Option<Key>, Fault> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
            AlgorithmParameters::Other(_) => return Err(UNKNOWN),
            // Other curves; and the list is open.
            _ => return Ok(None),
        };
        let is_for_signatures = !matches!(
            jwk.common.public_key_use,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))
        );
        let is_ours = jwk
            .common
            .key_algorithm
            .is_none_or(|named| Algorithm::try_from(named).ok() == Some(algorithm));
        if !is_for_signatures || !is_ours {
            return Ok(None);
        }
        let decoding = DecodingKey::from_jwk(jwk).map_err(|_| "has a key that is no base64url")?;
        check(algorithm, &decoding)?;
        Ok(Some(Key {
            algorithm,
            name: jwk.common.key_id.as_deref().map(Box::from),
            decoding,
        }))
    }
}

/// Checks the size of a key, which the algorithm gives.
fn check(algorithm: Algorithm, key: &DecodingKey) -> Result<(), Fault> {
    match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            let leading = n.iter().take_while(|byte| **byte == 0).count();
            (n.len() - leading >= TOKEN_RSA_BYTES_MIN)
                .then_some(())
                .ok_or(RSA_SHORT)
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => (point.len() == 65)
            .then_some(())
            .ok_or("has a P-256 key whose coordinates are not of 32 bytes"),
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => (point.len() == 32)
            .then_some(())
            .ok_or("has an Ed25519 key that is not of 32 bytes"),
        (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => (secret.len()
            >= TOKEN_SECRET_BYTES_MIN)
            .then_some(())
            .ok_or("has a secret of less than 32 bytes"),
        (_, _) => Err("has a key of a kind that is not taken"),
    }
}

/// Reads all keys.
///
/// # Errors
///
/// The first file that cannot be used, and why.
pub fn read(files: &[PathBuf], set: Option<&Path>) -> Result<Vec<Key>, KeyError> {
    let mut keys = Vec::new();
    for path in files {
        let key = Key::parse(&read_file(path)?).map_err(|fault| KeyError::new(path, fault))?;
        keys.push(key);
    }
    if let Some(path) = set {
        keys.extend(read_set(path)?);
    }
    match (
        keys.len() > TOKEN_KEY_COUNT_MAX,
        set.or(files.last().map(PathBuf::as_path)),
    ) {
        (true, Some(path)) => Err(KeyError::new(
            path,
            format!("makes more than {TOKEN_KEY_COUNT_MAX} keys with those in it"),
        )),
        (_, _) => Ok(keys),
    }
}

/// A JWK set, before its keys are looked at.
#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The keys of a set that can be used. One that cannot leaves the others good (RFC 7517, 5): the log says which.
fn read_set(path: &Path) -> Result<Vec<Key>, KeyError> {
    let bytes = read_file(path)?;
    let set: Set<'_> = serde_json::from_slice(&bytes).map_err(|error| {
        // The error's own text may quote the file.
        let (line, column) = (error.line(), error.column());
        KeyError::new(path, format!("is no JWK set: line {line}, column {column}"))
    })?;
    let (mut keys, mut faults) = (Vec::new(), Vec::new());
    for (number, text) in (1..).zip(&set.keys) {
        let jwk = serde_json::from_str(text.get()).map_err(|_| UNKNOWN);
        match jwk.and_then(|jwk: Jwk| Key::of_set(&jwk)) {
            Ok(key) => keys.extend(key),
            Err(fault) => faults.push(format!("key {number} of it {fault}")),
        }
    }
    if keys.is_empty() {
        let first = faults.first().map(|fault| format!("; {fault}"));
        return Err(KeyError::new(
            path,
            NO_KEY.to_owned() + &first.unwrap_or_default(),
        ));
    }
    for fault in faults {
        log::warn!("{}: {fault}, and is left out", path.display());
    }
    Ok(keys)
}

fn read_file(path: &Path) -> Result<Vec<u8>, KeyError> {
    std::fs::read(path).map_err(|error| KeyError::new(path, format!("cannot be read: {error}")))
}

impl KeyError {
    fn new(path: &Path, reason: impl Into<String>) -> KeyError {
        KeyError {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for KeyError {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
