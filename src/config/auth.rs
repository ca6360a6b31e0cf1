//! How users say who they are.

use std::path::PathBuf;

use super::error::Error;
use super::merge::Merged;
use crate::auth::Rules;
use crate::limits::TOKEN_LEEWAY_S_MAX;

/// How far clocks may be apart by default, in seconds.
pub const LEEWAY_S: u32 = 30;
/// Settings that mean nothing without tokens.
const OF_TOKENS: [&str; 5] = [
    "jwt_key",
    "jwt_jwks",
    "jwt_audience",
    "jwt_issuer",
    "jwt_leeway_s",
];

/// How users say who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// They take a name that is free.
    Guest,
    /// They bring a JSON Web Token.
    Jwt(Rules),
}

/// Checks these settings.
pub fn check(merged: &Merged) -> Result<Auth, Error> {
    match merged.text("auth") {
        Some("jwt") => rules(merged).map(Auth::Jwt),
        Some("guest") | None => match OF_TOKENS.iter().find(|key| is_set(merged, key)) {
            // Whoever sets one surely believes that tokens are wanted.
            Some(key) => Err(merged.wrong(key, "needs --auth jwt as well".to_owned())),
            None => Ok(Auth::Guest),
        },
        Some(other) => {
            let reason = format!("{other:?} is no way to say who one is; it is guest or jwt");
            Err(merged.wrong("auth", reason))
        }
    }
}

fn rules(merged: &Merged) -> Result<Rules, Error> {
    let texts = |key| merged.list(key).map(str::to_owned).collect();
    let rules = Rules {
        keys: merged.list("jwt_key").map(PathBuf::from).collect(),
        key_set: merged.text("jwt_jwks").map(PathBuf::from),
        audiences: texts("jwt_audience"),
        issuers: texts("jwt_issuer"),
        leeway_s: merged.number("jwt_leeway_s", 0..=TOKEN_LEEWAY_S_MAX)?,
    };
    if rules.keys.is_empty() && rules.key_set.is_none() {
        let reason = "jwt needs --jwt-key or --jwt-jwks as well".to_owned();
        return Err(merged.wrong("auth", reason));
    }
    Ok(rules)
}

/// Whether a setting says something else than its default.
fn is_set(merged: &Merged, key: &str) -> bool {
    match merged.values().get(key) {
        None => false,
        Some(toml::Value::Array(values)) => !values.is_empty(),
        Some(toml::Value::Integer(number)) => *number != i64::from(LEEWAY_S),
        Some(_) => true,
    }
}
