//! What waits at its home for the log service: until that has said where a log stands, or has kept a user's first claim.

use crate::mail::Mail;

/// Mail for a room or about a user, with the shards that it came from.
#[derive(Debug, Default)]
pub struct Parked {
    mail: Vec<(u16, Mail)>,
    bytes: usize,
}

impl Parked {
    /// Adds a piece of mail behind the others.
    pub fn push(&mut self, from: u16, mail: Mail) {
        self.bytes += mail.bytes();
        self.mail.push((from, mail));
    }

    /// About how much memory it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Each piece with the shard that it came from, in the order in which they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(u16, Mail)> {
        self.mail.iter()
    }

    /// The same for who takes them.
    pub fn into_mail(self) -> Vec<(u16, Mail)> {
        self.mail
    }
}
