//! Text that proves something, and that nobody may read by accident.

use std::borrow::{Borrow, Cow};
use std::fmt;

/// A session secret or a token. `Debug` hides it, so that no log line and no error text can show it.
///
/// Comparing two takes a time that tells how alike they are: whoever decides by one compares
/// [hashes](crate::users::is_same_secret) instead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a text.
    pub fn new(text: T) -> Secret<T> {
        Secret(text)
    }
}

impl<T: Borrow<str>> Secret<T> {
    /// The text.
    pub fn reveal(&self) -> &str {
        self.0.borrow()
    }

    /// The same secret, borrowed.
    pub fn by_ref(&self) -> Secret<&str> {
        Secret(self.0.borrow())
    }
}

impl<'a> From<Cow<'a, str>> for Secret<Cow<'a, str>> {
    fn from(text: Cow<'a, str>) -> Self {
        Secret(text)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret.reveal(), "hunter2");
        let shown = format!("{secret:?} {:#?} {:?}", Some(secret), secret.by_ref());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
