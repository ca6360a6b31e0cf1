//! What the store has counted, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Written by the threads of the store, read by who asks for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// Transactions that were tried.
    pub commits: AtomicU64,
    /// Requests of shards in them.
    pub requests: AtomicU64,
    /// Time that they took, in microseconds.
    pub commit_us: AtomicU64,
    /// The longest of them, in microseconds.
    pub commit_us_max: AtomicU64,
    /// Transactions that failed.
    pub failures: AtomicU64,
    /// Stretches of logs that were read.
    pub reads: AtomicU64,
}

impl Figures {
    /// A transaction with so many requests took so long.
    pub fn note_commit(&self, request_count: usize, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.requests
            .fetch_add(request_count as u64, Ordering::Relaxed);
        self.commit_us.fetch_add(us, Ordering::Relaxed);
        self.commit_us_max.fetch_max(us, Ordering::Relaxed);
    }
}
