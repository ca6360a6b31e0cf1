//! JSON Web Tokens (RFC 7519): what stands behind the engine's [`Authority`].
//!
//! | file | what |
//! |---|---|
//! | `keys` | keys out of files |
//! | `pem` | public keys in PEM |
//! | `claims` | what a token says |
//! | `crypto` | ring, as `jsonwebtoken` wants it |

mod claims;
mod crypto;
mod keys;
mod pem;

pub use keys::KeyError;

use self::claims::Claims;
use self::keys::Key;
use crate::authority::{Authority, Badge, Denial};
use crate::limits::TOKEN_BYTES_MAX;
use crate::proto::name;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// What an operator decides about tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Files with a key each: a shared secret, or a public key in PEM.
    pub keys: Vec<PathBuf>,
    /// A file with a JWK set.
    pub key_set: Option<PathBuf>,
    /// Whom tokens are meant for: one of these. Where there is none, tokens must be meant for nobody in particular.
    pub audiences: Vec<String>,
    /// Who makes them: one of these, or anyone who has the key.
    pub issuers: Vec<String>,
    /// How far the clocks of both sides may be apart, in seconds.
    pub leeway_s: u32,
}

/// Checks tokens with keys out of files.
#[derive(Debug)]
pub struct Tokens {
    rules: Rules,
    keys: RwLock<Arc<[Key]>>,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// A file cannot be used.
    pub fn open(rules: Rules) -> Result<Tokens, KeyError> {
        crypto::install();
        let keys = RwLock::new(read_keys(&rules)?);
        Ok(Tokens { rules, keys })
    }

    /// The files of the keys.
    pub fn files(&self) -> Vec<PathBuf> {
        let Rules { keys, key_set, .. } = &self.rules;
        keys.iter().chain(key_set).cloned().collect()
    }

    /// Reads the keys again. Connections that are there stay.
    ///
    /// # Errors
    ///
    /// A file cannot be used; then the keys stay what they were.
    pub fn reload(&self) -> Result<(), KeyError> {
        let keys = read_keys(&self.rules)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// What `jsonwebtoken` has to see to with this key. The times are left to us, who know what time it is.
    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        validation.validate_exp = false;
        let mut required = vec!["exp", "sub"];
        if !self.rules.audiences.is_empty() {
            validation.set_audience(&self.rules.audiences);
            required.push("aud");
        }
        if !self.rules.issuers.is_empty() {
            validation.set_issuer(&self.rules.issuers);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn badge(&self, claims: Claims, unix_ms: u64) -> Result<Badge, Denial> {
        let leeway_ms = u64::from(self.rules.leeway_s) * 1000;
        let until_unix_ms = claims.exp.unix_ms().saturating_add(leeway_ms);
        if until_unix_ms <= unix_ms {
            return Err(Denial::Expired);
        }
        if let Some(nbf) = claims.nbf
            && nbf.unix_ms() > unix_ms.saturating_add(leeway_ms)
        {
            return Err(Denial::Early);
        }
        name::check(&claims.sub).map_err(|_| Denial::User)?;
        let rights = claims.rooms.map(claims::rights).transpose()?;
        Ok(Badge {
            user: claims.sub,
            until_unix_ms,
            rights,
        })
    }
}

impl Authority for Tokens {
    fn check(&self, token: &str, unix_ms: u64) -> Result<Badge, Denial> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Denial::TooLong);
        }
        let header = decode_header(token).map_err(|_| Denial::Malformed)?;
        if header.crit.is_some() {
            return Err(Denial::Critical);
        }
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let mut denial = Denial::Key;
        for key in keys.iter().filter(|key| key.fits(&header)) {
            match decode::<Claims>(token, &key.decoding, &self.validation(key)) {
                Ok(token) => return self.badge(token.claims, unix_ms),
                Err(error) => denial = denial_of(error.kind()),
            }
            if denial != Denial::Signature {
                break;
            }
        }
        Err(denial)
    }
}

fn read_keys(rules: &Rules) -> Result<Arc<[Key]>, KeyError> {
    keys::read(&rules.keys, rules.key_set.as_deref()).map(Arc::from)
}

fn denial_of(error: &ErrorKind) -> Denial {
    match error {
        ErrorKind::InvalidSignature => Denial::Signature,
        ErrorKind::InvalidAudience => Denial::Audience,
        ErrorKind::InvalidIssuer => Denial::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Denial::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => Denial::Issuer,
        // The list is open.
        _ => Denial::Malformed,
    }
}
