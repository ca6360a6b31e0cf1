//! What is written down about moderation: who did what to whom, and who tried to.

use super::Hub;
use crate::limits::RECORDED_REFUSALS_PER_S_MAX;
use crate::mail::Order;
use crate::proto::event::Measure;
use crate::proto::{Action, Code};
use crate::rates::{Bucket, Rate};
use crate::room::{Connection, Key};

/// What somebody wants done to a user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    /// What.
    pub action: Action,
    /// To whom.
    pub user: &'a str,
    /// The moderator, or whoever would like to be one.
    pub by: &'a str,
}

impl<'a> From<&'a Order> for Attempt<'a> {
    fn from(order: &'a Order) -> Attempt<'a> {
        Attempt {
            action: order.action,
            user: &order.user,
            by: &order.by,
        }
    }
}

/// What is written down, and how many attempts were not of late.
#[derive(Debug, Default)]
pub struct Record {
    /// The lines since the engine last looked: see [`Site::audit`](crate::engine::Site::audit).
    pub lines: Vec<String>,
    /// Attempts that may be written down: anybody can make them, and a log has an end.
    refusals: Bucket,
    unwritten: u64,
}

impl Hub {
    /// A moderator did something to a user.
    pub(super) fn record_act(
        &mut self,
        room: &Key,
        Attempt { action, user, by }: Attempt<'_>,
        measure: Measure<'_>,
        from: Connection,
    ) {
        let (room, client_id) = (&room.name, self.client_id(from));
        let (until, reason) = (
            measure.until.unwrap_or(0),
            measure.reason.unwrap_or_default(),
        );
        let line = format!(
            "event={} room={room:?} user={user:?} by={by:?} client_id={client_id} until_ms={until} reason={reason:?}",
            action.as_str()
        );
        self.record.lines.push(line);
    }

    /// A message was deleted by the client of this number.
    pub(super) fn record_deletion(&mut self, room: &Key, seq: u64, by: &str, client: u64) {
        let room = &room.name;
        let line =
            format!("event=delete room={room:?} seq_id={seq} by={by:?} client_id={client:016x}");
        self.record.lines.push(line);
    }

    /// Somebody wanted something to be done to a user, which was refused.
    pub(super) fn record_refused_order(
        &mut self,
        room: &Key,
        Attempt { action, user, by }: Attempt<'_>,
        from: Connection,
        code: Code,
    ) {
        let (room, client_id) = (&room.name, self.client_id(from));
        self.record_refusal(|| {
            format!(
                "event={} refused={code} room={room:?} user={user:?} by={by:?} client_id={client_id}",
                action.as_str()
            )
        });
    }

    /// Somebody wanted a message to be deleted, which was refused.
    pub(super) fn record_refused_deletion(
        &mut self,
        room: &Key,
        seq: u64,
        by: &str,
        from: Connection,
        code: Code,
    ) {
        let (room, client_id) = (&room.name, self.client_id(from));
        self.record_refusal(|| {
            format!(
                "event=delete refused={code} room={room:?} seq_id={seq} by={by:?} client_id={client_id}"
            )
        });
    }

    fn record_refusal(&mut self, line: impl FnOnce() -> String) {
        let record = &mut self.record;
        let rate = Rate::per_s(RECORDED_REFUSALS_PER_S_MAX);
        if rate.is_some_and(|rate| record.refusals.take(rate, self.now.mono_ms).is_err()) {
            record.unwritten += 1;
            self.counters.refusals_unwritten_total += 1;
            return;
        }
        let unwritten = std::mem::take(&mut record.unwritten);
        if unwritten > 0 {
            let line = format!("event=unwritten refusals={unwritten}");
            record.lines.push(line);
        }
        record.lines.push(line());
    }
}
