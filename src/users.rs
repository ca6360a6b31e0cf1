//! The users that one shard knows: names, who holds them, and where their inboxes stand.
//!
//! A name belongs to a home shard, which decides whose it is. Other shards know a user while one of its connections
//! is theirs, or while it is in a room that is at home there.

use crate::hashing::{HashKey, NameIndex};
use crate::log::Head;
use crate::room::{Key, Space};
use sha2::{Digest, Sha256};
use slab::Slab;
use smol_str::SmolStr;
use subtle::ConstantTimeEq;

/// No user, and no connection.
pub const NOBODY: u32 = u32::MAX;

/// Half of a SHA-256: what is kept of a session secret.
pub type SecretHash = [u8; 16];

/// What stands for the hash where no session secret proves a name: it is a token's.
pub const NO_SECRET: SecretHash = [0; 16];

/// The hash of a session secret.
pub fn hash_secret(secret: &str) -> SecretHash {
    let digest = Sha256::digest(secret.as_bytes());
    let mut hash = [0; 16];
    hash.iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    hash
}

/// Whether two hashes are equal, in a time that does not tell how much of them is.
pub fn is_same_secret(a: &SecretHash, b: &SecretHash) -> bool {
    a.ct_eq(b).into()
}

/// By what right a user's entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is only mentioned here; its home, or nobody, knows whose it is.
    Mentioned,
    /// A made-up name: it lasts while a connection does.
    Guest {
        /// The hour of the process's life in which it was made up.
        since_hour: u16,
    },
    /// A name that was asked for, with connections.
    Held,
    /// The same without connections, since an hour of the process's life; released after a time.
    Left {
        /// The hour.
        since_hour: u16,
    },
}

/// One user, as a shard knows it. See [`Users`] for the index; both together stay within 88 bytes a user, with a name of up
/// to 23 bytes.
#[derive(Debug)]
pub struct User {
    /// Its name.
    pub name: SmolStr,
    /// Of a claim: the hash of the session secret.
    pub secret: SecretHash,
    /// Where its inbox stands; epoch 0 until it is first needed.
    pub inbox: Head,
    /// The first of its connections on this shard; each names the next.
    pub first_peer: u32,
    /// Connections on this shard, those whose claim is on its way included.
    pub connections: u32,
    /// Rooms at home here that it is in, and other places that hold its entry.
    pub mentions: u32,
    /// At its home: the other shards that have connections of it, a bit each.
    pub shards: u64,
    /// See [`Claim`].
    pub claim: Claim,
}

/// Bytes of one entry in the index: the place and a byte of control.
const INDEX_ENTRY_BYTES: usize = size_of::<u32>() + 1;
const _: () = assert!(size_of::<User>() + INDEX_ENTRY_BYTES <= 88);

/// The users of one shard, by place and by name.
#[derive(Debug, Default)]
pub struct Users {
    slots: Slab<User>,
    index: NameIndex,
}

impl Users {
    /// Place of the user with this name.
    pub fn find(&self, name: &str, hash_key: HashKey) -> Option<u32> {
        let is_it = |index: u32| self.at(index).is_some_and(|user| *user.name == *name);
        self.index.find(hash(name, hash_key), is_it)
    }

    /// Place of the user with this name, who is made an entry if there is none.
    pub fn mention(&mut self, name: &str, hash_key: HashKey) -> u32 {
        if let Some(index) = self.find(name, hash_key) {
            return index;
        }
        let user = User {
            name: name.into(),
            secret: SecretHash::default(),
            inbox: Head { epoch: 0, seq: 0 },
            first_peer: NOBODY,
            connections: 0,
            mentions: 0,
            shards: 0,
            claim: Claim::Mentioned,
        };
        let index = u32::try_from(self.slots.insert(user)).unwrap_or(NOBODY);
        let slots = &self.slots;
        self.index.insert(hash(name, hash_key), index, |index| {
            rehash(slots, index, hash_key)
        });
        index
    }

    /// Removes an entry that nothing holds any more.
    pub fn sweep(&mut self, index: u32, hash_key: HashKey) {
        let Some(user) = self.at(index) else { return };
        let is_held = match user.claim {
            Claim::Mentioned => user.connections > 0 || user.mentions > 0,
            Claim::Guest { .. } => user.connections > 0 || user.mentions > 0 || user.shards != 0,
            Claim::Held | Claim::Left { .. } => true,
        };
        if is_held {
            return;
        }
        let slots = &self.slots;
        let hash = rehash(slots, index, hash_key);
        self.index
            .remove(hash, index, |index| rehash(slots, index, hash_key));
        self.slots.try_remove(index as usize);
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to_fit();
        }
    }

    /// The user at a place.
    pub fn at(&self, index: u32) -> Option<&User> {
        self.slots.get(index as usize)
    }

    /// See [`Users::at`].
    pub fn at_mut(&mut self, index: u32) -> Option<&mut User> {
        self.slots.get_mut(index as usize)
    }

    /// Every user with its place.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &User)> {
        self.slots
            .iter()
            .map(|(index, user)| (u32::try_from(index).unwrap_or(NOBODY), user))
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

fn hash(name: &str, hash_key: HashKey) -> u64 {
    Key::hash(Space::Inbox, name, hash_key)
}

fn rehash(slots: &Slab<User>, index: u32, hash_key: HashKey) -> u64 {
    slots
        .get(index as usize)
        .map_or(0, |user| hash(&user.name, hash_key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lasts_while_something_holds_it() {
        let key = HashKey::new((1, 2));
        let mut users = Users::default();
        let ann = users.mention("ann", key);
        assert_eq!(users.mention("ann", key), ann);
        users.at_mut(ann).unwrap().mentions = 1;
        users.sweep(ann, key);
        assert_eq!(users.find("ann", key), Some(ann));
        users.at_mut(ann).unwrap().mentions = 0;
        users.sweep(ann, key);
        assert_eq!((users.find("ann", key), users.len()), (None, 0));
    }

    #[test]
    fn secrets_are_compared_whole() {
        let hash = hash_secret("a secret of sixteen");
        assert!(is_same_secret(&hash, &hash_secret("a secret of sixteen")));
        for place in 0..16 {
            let mut other = hash;
            other[place] ^= 1;
            assert!(!is_same_secret(&hash, &other));
        }
    }
}
