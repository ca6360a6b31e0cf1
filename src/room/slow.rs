//! Slow mode: who has just written in a room, and has to wait.

use crate::hashing::HashKey;
use crate::limits::SLOW_MODE_COUNT_MAX;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// The users of one room that have to wait, at most [`SLOW_MODE_COUNT_MAX`]: beyond that the one whose wait ends first
/// need not.
#[derive(Debug)]
pub struct SlowMode {
    /// When each may write again, in milliseconds.
    until_ms: HashMap<Arc<str>, u64, HashKey>,
    /// The same users, in the order in which they may.
    order: VecDeque<Arc<str>>,
}

impl SlowMode {
    /// Nobody has to wait.
    pub fn new(hash_key: HashKey) -> SlowMode {
        SlowMode {
            until_ms: HashMap::with_hasher(hash_key),
            order: VecDeque::new(),
        }
    }

    /// A user writes, and then has to wait for `pause_ms`.
    ///
    /// # Errors
    ///
    /// It has to wait still, for so many milliseconds.
    pub fn admit(&mut self, user: &str, now_ms: u64, pause_ms: u32) -> Result<(), u64> {
        self.expire(now_ms);
        if let Some(until_ms) = self.until_ms.get(user) {
            return Err(until_ms - now_ms);
        }
        if self.order.len() >= SLOW_MODE_COUNT_MAX {
            self.forget_first();
        }
        let user: Arc<str> = user.into();
        self.order.push_back(Arc::clone(&user));
        self.until_ms.insert(user, now_ms + u64::from(pause_ms));
        Ok(())
    }

    /// How many users have to wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nobody has to wait.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some(first) = self.order.front()
            && self
                .until_ms
                .get(first)
                .is_none_or(|until_ms| *until_ms <= now_ms)
        {
            self.forget_first();
        }
        if self.order.is_empty() {
            self.until_ms.shrink_to(0);
            self.order.shrink_to(0);
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.order.pop_front() {
            self.until_ms.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow_mode() -> SlowMode {
        SlowMode::new(HashKey::new((1, 2)))
    }

    #[test]
    fn each_user_waits_alone() {
        let mut slow = slow_mode();
        assert_eq!(slow.admit("ann", 100, 50), Ok(()));
        assert_eq!(slow.admit("ann", 120, 50), Err(30));
        assert_eq!(slow.admit("bob", 120, 50), Ok(()));
        assert_eq!(slow.admit("ann", 149, 50), Err(1));
        assert_eq!(slow.admit("ann", 150, 50), Ok(()));
        assert_eq!(slow.len(), 2);
        assert_eq!(slow.admit("bob", 1000, 50), Ok(()));
        assert_eq!(slow.len(), 1);
    }

    #[test]
    fn so_many_wait_at_most() {
        let mut slow = slow_mode();
        for number in 0..=SLOW_MODE_COUNT_MAX {
            assert_eq!(slow.admit(&number.to_string(), 0, 50), Ok(()));
        }
        assert_eq!(slow.len(), SLOW_MODE_COUNT_MAX);
        assert_eq!(slow.admit("1", 1, 50), Err(49));
        // The first was let off.
        assert_eq!(slow.admit("0", 1, 50), Ok(()));
    }
}
