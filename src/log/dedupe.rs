//! The ids that a log remembers, newest for longest.

use super::First;
use crate::hashing::HashKey;
use crate::limits::DEDUPE_COUNT_MAX;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// See the [module](self).
#[derive(Debug)]
pub struct Dedupe {
    firsts: HashMap<u128, First, HashKey>,
    order: VecDeque<u128>,
}

impl Dedupe {
    /// Remembers nothing yet.
    pub fn new(hash_key: HashKey) -> Dedupe {
        Dedupe {
            firsts: HashMap::with_hasher(hash_key),
            order: VecDeque::new(),
        }
    }

    /// The first message with this key, if it is remembered.
    pub fn find(&self, key: u128) -> Option<First> {
        self.firsts.get(&key).copied()
    }

    /// Remembers a key that is not remembered yet.
    pub fn insert(&mut self, key: u128, first: First) {
        self.firsts.insert(key, first);
        self.order.push_back(key);
    }

    /// Forgets messages before the last [`DEDUPE_COUNT_MAX`] of a log whose head is `seq`.
    pub fn expire(&mut self, seq: u64) {
        let oldest = seq.saturating_sub(DEDUPE_COUNT_MAX as u64);
        while let Some(key) = self.order.front() {
            match self.firsts.get(key) {
                Some((seq, _)) if *seq > oldest => break,
                Some(_) | None => {
                    self.firsts.remove(key);
                    self.order.pop_front();
                }
            }
        }
    }

    /// Memory held, in bytes.
    pub fn memory(&self) -> usize {
        let entry = size_of::<(u128, First)>() + 1;
        self.firsts.capacity() * entry + self.order.capacity() * size_of::<u128>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_thousand_messages_are_remembered() {
        let mut dedupe = Dedupe::new(HashKey::new((1, 2)));
        for seq in 1..=DEDUPE_COUNT_MAX as u64 + 1 {
            dedupe.insert(u128::from(seq), (seq, 0));
            dedupe.expire(seq);
        }
        assert_eq!(dedupe.find(1), None);
        assert_eq!(dedupe.find(2), Some((2, 0)));
        assert_eq!(dedupe.order.len(), DEDUPE_COUNT_MAX);
    }
}
