//! Token buckets: how much of something may happen at once, and in the long run.
//!
//! A bucket is one number, the time at which it will be full again (the "virtual scheduling" form of the leaky bucket,
//! ITU-T I.371, Annex A). It needs no timer, and one that is full is as good as none.

use crate::limits::RATE_BUCKET_MS;
use std::num::NonZeroU64;

/// How fast a bucket fills, in tokens per second. It holds what comes in [`RATE_BUCKET_MS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(NonZeroU64);

/// What is left of the tokens of one rate. A new one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it is full again, in nanoseconds since the start of the process.
    full_ns: u64,
}

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u64 = 1_000_000_000;

impl Rate {
    /// A rate; `None` for 0, which stands for no bound.
    pub fn per_s(tokens: u64) -> Option<Rate> {
        NonZeroU64::new(tokens).map(Rate)
    }

    /// The time in which so many tokens come.
    fn ns(self, tokens: u64) -> u64 {
        tokens.saturating_mul(NS_PER_S) / self.0
    }
}

impl Bucket {
    /// Takes one token.
    ///
    /// # Errors
    ///
    /// There is none; in so many milliseconds there will be.
    pub fn take(&mut self, rate: Rate, mono_ms: u64) -> Result<(), u64> {
        match self.wait_ms(rate, mono_ms) {
            0 => {
                self.spend(rate, 1, mono_ms);
                Ok(())
            }
            wait_ms => Err(wait_ms),
        }
    }

    /// Takes tokens, even more than there are: what is owed has to come before there is one again.
    pub fn spend(&mut self, rate: Rate, tokens: u64, mono_ms: u64) {
        let now = mono_ms.saturating_mul(NS_PER_MS);
        self.full_ns = self.full_ns.max(now).saturating_add(rate.ns(tokens));
    }

    /// How long it takes until there is a token, in milliseconds; 0 where there is one.
    pub fn wait_ms(self, rate: Rate, mono_ms: u64) -> u64 {
        let now = mono_ms.saturating_mul(NS_PER_MS);
        let missing = self.full_ns.saturating_sub(now).saturating_add(rate.ns(1));
        missing
            .saturating_sub(RATE_BUCKET_MS * NS_PER_MS)
            .div_ceil(NS_PER_MS)
    }

    /// Whether nothing is missing from it.
    pub fn is_full(self, mono_ms: u64) -> bool {
        self.full_ns <= mono_ms.saturating_mul(NS_PER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_s: u64) -> Rate {
        Rate::per_s(per_s).unwrap()
    }

    #[test]
    fn a_bucket_holds_what_comes_in_its_time_and_not_one_more() {
        for per_s in [1, 2, 3, 7, 100, 1000, 1_000_000] {
            let (rate, mut bucket) = (rate(per_s), Bucket::default());
            let held = per_s * RATE_BUCKET_MS / 1000;
            for _ in 0..held {
                assert_eq!(bucket.take(rate, 42), Ok(()), "{per_s}");
            }
            let wait_ms = bucket.take(rate, 42).expect_err("it is empty");
            assert_eq!(wait_ms, 1000_u64.div_ceil(per_s), "{per_s}");
            assert!(bucket.take(rate, 42 + wait_ms - 1).is_err(), "{per_s}");
            assert_eq!(bucket.take(rate, 42 + wait_ms), Ok(()), "{per_s}");
        }
    }

    #[test]
    fn in_the_long_run_the_rate_holds() {
        let (rate, mut bucket) = (rate(50), Bucket::default());
        let taken = (0..=100_000).filter(|ms| bucket.take(rate, *ms).is_ok());
        assert_eq!(taken.count() as u64, 50 * (100 + RATE_BUCKET_MS / 1000));
    }

    #[test]
    fn what_is_owed_comes_first() {
        let (rate, mut bucket) = (rate(1000), Bucket::default());
        bucket.spend(rate, 1000 * RATE_BUCKET_MS / 1000 + 500, 0);
        assert_eq!(bucket.wait_ms(rate, 0), 501);
        assert_eq!(bucket.wait_ms(rate, 501), 0);
        assert!(!bucket.is_full(RATE_BUCKET_MS + 499));
        assert!(bucket.is_full(RATE_BUCKET_MS + 500));
    }

    #[test]
    fn no_number_is_too_large() {
        let mut bucket = Bucket::default();
        bucket.spend(rate(1), u64::MAX, u64::MAX);
        assert!(bucket.wait_ms(rate(1), 0) > 0);
        assert_eq!(Rate::per_s(0), None);
    }
}
