//! What a token has to be: each rule with tokens that keep it and tokens that break it.

#[path = "../common/mod.rs"]
mod common;

mod claims;
mod keys;
mod signatures;

use common::json;
use common::mint::{KeyFile, SECRET, Signer, sign};
use roomcast::auth::{Rules, Tokens};
use roomcast::authority::{Authority, Badge, Denial};
use serde_json::Value;
use std::path::Path;

const NOW_S: u64 = 1_800_000_000;
const HMAC: Signer = Signer::Hs256(SECRET.as_bytes());

fn rules(keys: &[&Path]) -> Rules {
    Rules {
        keys: keys.iter().map(|path| path.to_path_buf()).collect(),
        key_set: None,
        audiences: Vec::new(),
        issuers: Vec::new(),
        leeway_s: 30,
    }
}

fn of_set(set: &Value) -> Result<Tokens, String> {
    let file = KeyFile::new(set.to_string());
    let rules = Rules {
        key_set: Some(file.path().to_owned()),
        ..rules(&[])
    };
    Tokens::open(rules).map_err(|error| error.to_string())
}

fn with_secret() -> Tokens {
    Tokens::open(rules(&[KeyFile::secret().path()])).expect("the key is good")
}

fn check(tokens: &Tokens, token: &str) -> Result<Badge, Denial> {
    tokens.check(token, NOW_S * 1000)
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW_S + 100})
}

/// What comes of these claims with [`claims`] beneath, well signed.
fn outcome(tokens: &Tokens, more: Value) -> Result<(), Denial> {
    let mut claims = claims();
    for (name, value) in more.as_object().expect("claims") {
        claims[name] = value.clone();
    }
    check(tokens, &sign(HMAC, claims)).map(|_| ())
}
