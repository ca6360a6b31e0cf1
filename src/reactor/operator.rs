//! What the admin port shows of the shards.

use std::sync::Arc;

use super::mailbox::Exchange;
use super::process::Process;
use super::shard::Clock;
use super::survey::Surveys;
use crate::admin::Source;
use crate::engine::Site;
use crate::engine::overview::{Found, Survey};
use crate::mail::Mail;

/// The process as an operator sees it.
pub struct Operator {
    /// What is counted.
    pub process: Arc<Process>,
    /// Wakes the shards.
    pub exchange: Arc<Exchange<Mail>>,
    /// Where questions wait for them.
    pub surveys: Arc<Surveys>,
    /// The clock of the process.
    pub clock: Clock,
}

impl Source for Operator {
    fn metrics(&self, out: &mut String) {
        self.process.metrics(out);
    }

    fn readiness(&self) -> Result<(), &'static str> {
        self.process.readiness()
    }

    fn survey(&self, survey: &Survey) -> Option<Vec<Found>> {
        self.surveys.ask(survey, || self.exchange.ring_all())
    }

    fn now_ms(&self) -> (u64, u64) {
        let now = self.clock.now();
        (now.mono_ms, now.unix_ms)
    }
}
