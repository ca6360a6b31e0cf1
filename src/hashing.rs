//! Keyed hashing of names that peers choose, so that no one can make them collide.
//!
//! One key serves all shards of a process: it decides which shard a name belongs to.

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher128};
use std::hash::{BuildHasher, Hasher};

/// The process's hash key.
#[derive(Clone, Copy, Debug)]
pub struct HashKey(u64, u64);

impl HashKey {
    /// A key from 128 random bits.
    pub const fn new(key: (u64, u64)) -> HashKey {
        HashKey(key.0, key.1)
    }

    /// The hash of a name within a namespace.
    pub fn hash(self, space: u8, name: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write_u8(space);
        hasher.write(name.as_bytes());
        hasher.finish()
    }

    /// The shard, of `count`, that a hash belongs to.
    pub fn shard(hash: u64, count: u16) -> u16 {
        // The high bits: the low ones choose the bucket within the shard.
        let shard = (u128::from(hash) * u128::from(count)) >> 64;
        u16::try_from(shard).unwrap_or(0)
    }

    /// 128 bits over several parts, wide enough that two different inputs are never met.
    pub fn wide(self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher128::new_with_keys(self.0, self.1);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }
}

impl BuildHasher for HashKey {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// An index from names to slab places, at five bytes a name: the names themselves stay in the slab.
#[derive(Debug, Default)]
pub struct NameIndex {
    table: HashTable<u32>,
}

impl NameIndex {
    /// The place whose name has `hash` and satisfies `is_it`.
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.table.find(hash, |index| is_it(*index)).copied()
    }

    /// Adds a place; `rehash` gives the hash of any place in the index.
    pub fn insert(&mut self, hash: u64, index: u32, rehash: impl Fn(u32) -> u64) {
        self.table
            .insert_unique(hash, index, |index| rehash(*index));
    }

    /// Forgets a place.
    pub fn remove(&mut self, hash: u64, index: u32, rehash: impl Fn(u32) -> u64) {
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == index) {
            entry.remove();
        }
        if self.table.capacity() > 64 && self.table.len() < self.table.capacity() / 8 {
            self.table
                .shrink_to(self.table.len() * 2, |index| rehash(*index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_gets_its_share() {
        let key = HashKey::new((1, 2));
        let mut counts = [0; 3];
        for number in 0..3000 {
            let hash = key.hash(0, &format!("room-{number}"));
            counts[usize::from(HashKey::shard(hash, 3))] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn wide_hashes_keep_parts_apart() {
        let key = HashKey::new((1, 2));
        assert_ne!(key.wide(&[b"ab", b"c"]), key.wide(&[b"a", b"bc"]));
        assert_eq!(key.wide(&[b"ab", b"c"]), key.wide(&[b"ab", b"c"]));
    }
}
