//! The keys of tokens, as the shell knows them: out of files, and read again with the others.

use std::path::PathBuf;
use std::sync::Arc;

use super::reload::{Reload, Reloads};
use crate::auth::{KeyError, Tokens};
use crate::authority::Auth;
use crate::config;

/// How identity is settled. The keys that takes are read now, and whenever `reloads` says so.
///
/// # Errors
///
/// A file of keys cannot be used.
pub fn open(wanted: &config::Auth, reloads: &mut Reloads) -> Result<Auth, KeyError> {
    match wanted {
        config::Auth::Guest => Ok(Auth::Guest),
        config::Auth::Jwt(rules) => {
            let tokens = Arc::new(Tokens::open(rules.clone())?);
            reloads.add(Keys(Arc::clone(&tokens)));
            Ok(Auth::Token(tokens))
        }
    }
}

struct Keys(Arc<Tokens>);

impl Reload for Keys {
    fn name(&self) -> &'static str {
        "the key set of tokens"
    }

    fn files(&self) -> Vec<PathBuf> {
        self.0.files()
    }

    fn reload(&mut self) -> Result<(), String> {
        self.0.reload().map_err(|error| error.to_string())
    }
}
