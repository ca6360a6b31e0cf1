//! Makes tokens, good ones and bad ones, with keys that were made for these tests and open nothing.

#![allow(dead_code, reason = "each test file uses its own part of this module")]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The secret of most tests.
pub const SECRET: &str = "a secret that only the tests know";

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    Hs256(&'static [u8]),
    Rs256,
    Es256,
    EdDsa,
    /// Not at all: the third part is empty.
    None,
}

/// One of the keys that stand in the repository.
pub fn key_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tokens/keys")
        .join(name)
}

/// Seconds since the Unix epoch.
pub fn now_s() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.expect("it is past 1970").as_secs()
}

/// A good token of this user, for so many seconds.
pub fn token(user: &str, seconds: u64) -> String {
    with_claims(json!({"sub": user, "exp": now_s() + seconds}))
}

/// A token with these claims, well signed.
pub fn with_claims(claims: Value) -> String {
    sign(Signer::Hs256(SECRET.as_bytes()), claims)
}

/// A token with these claims, signed so.
pub fn sign(signer: Signer, claims: Value) -> String {
    let header = json!({"typ": "JWT", "alg": signer.name()});
    sign_parts(signer, &header.to_string(), &claims.to_string())
}

/// A token of these two texts, whatever they say, signed so.
pub fn sign_parts(signer: Signer, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let signature = base64url(signer.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// Its name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Signer::Hs256(_) => "HS256",
            Signer::Rs256 => "RS256",
            Signer::Es256 => "ES256",
            Signer::EdDsa => "EdDSA",
            Signer::None => "none",
        }
    }

    fn sign(self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Hs256(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Signer::Rs256 => {
                let pair = rsa();
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("the key is good");
                signature
            }
            Signer::Es256 => {
                let signature = p256().sign(&random, message).expect("the key is good");
                signature.as_ref().to_vec()
            }
            Signer::EdDsa => ed25519().sign(message).as_ref().to_vec(),
            Signer::None => Vec::new(),
        }
    }

    /// Its public key, or its secret, as one of a JWK set.
    pub fn jwk(self, name: &str) -> Value {
        match self {
            Signer::Hs256(secret) => json!({"kty": "oct", "kid": name, "k": base64url(secret)}),
            Signer::Rs256 => {
                let RsaPublicKeyComponents { n, e } =
                    RsaPublicKeyComponents::<Vec<u8>>::from(rsa().public());
                json!({"kty": "RSA", "kid": name, "n": base64url(n), "e": base64url(e)})
            }
            Signer::Es256 => {
                let pair = p256();
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": name, "x": base64url(x), "y": base64url(y)})
            }
            Signer::EdDsa => {
                let x = base64url(ed25519().public_key());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": x})
            }
            Signer::None => panic!("there is no such key"),
        }
    }
}

fn rsa() -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(&der("rsa.pem")).expect("a key")
}

fn p256() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der("p256.pem"), &random)
        .expect("a key")
}

fn ed25519() -> Ed25519KeyPair {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der("ed25519.pem")).expect("a key")
}

fn der(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(key_file(name)).expect("it is there");
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).expect("base64")
}

/// A file of its own, which ends with this value.
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    pub fn new(content: impl AsRef<[u8]>) -> KeyFile {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roomcast-key-{}-{number}", std::process::id());
        let file = KeyFile {
            path: std::env::temp_dir().join(name),
        };
        file.write(content);
        file
    }

    /// The file of [`SECRET`].
    pub fn secret() -> KeyFile {
        KeyFile::new(SECRET)
    }

    pub fn write(&self, content: impl AsRef<[u8]>) {
        std::fs::write(&self.path, content).expect("the disk takes it");
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn text(&self) -> &str {
        self.path.to_str().expect("it is text")
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
