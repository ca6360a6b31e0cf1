//! Why a message is not to be kept although there is a log for it: the rights and measures of its room, slow mode, and
//! inboxes that are full.

use super::Hub;
use super::access::forbidden;
use super::publish::{draft_bytes, refusal};
use crate::log::{Draft, Standing};
use crate::mail::{Denied, Reserve};
use crate::proto::{Code, Refusal};
use crate::room::{Connection, Key, SlowMode, Space};
use crate::rules::Access;

/// Why a message is not to be kept.
pub(super) enum Objection {
    /// Its sender may not write in the room.
    Unwanted,
    /// Its sender is muted or banned.
    Silenced(Denied),
    /// The inbox that it is for is full.
    Full,
    /// Its sender has to wait for so many milliseconds.
    Slow(u64),
}

impl Hub {
    /// Why a message is not to be kept, if so. If not, its sender has written as far as slow mode is concerned.
    pub(super) fn objection(
        &mut self,
        (index, key): (u32, &Key),
        standing: Standing,
        draft: &Draft<'_>,
    ) -> Option<Objection> {
        if standing == Standing::Reader {
            return Some(Objection::Unwanted);
        }
        if let Some(denied) = self.silenced(key, draft.sender) {
            return Some(Objection::Silenced(denied));
        }
        if key.space == Space::Inbox && self.is_inbox_full(key, draft) {
            return Some(Objection::Full);
        }
        if standing == Standing::Moderator {
            return None;
        }
        self.slow_down(index, draft.sender)
            .err()
            .map(Objection::Slow)
    }

    /// Tells the sender of a message why it is not kept.
    pub(super) fn object(
        &mut self,
        from: Connection,
        key: &Key,
        draft: &Draft<'_>,
        objection: Objection,
    ) {
        let reserve = Reserve::Message(draft_bytes(draft));
        match objection {
            Objection::Unwanted => {
                let denied = *Denied::new(Code::Forbidden, forbidden(Access::Write));
                self.refuse_silenced(from, key, draft, denied, ("message", reserve));
            }
            Objection::Silenced(denied) => {
                self.refuse_silenced(from, key, draft, denied, ("message", reserve));
            }
            Objection::Full => {
                self.counters.inbox_full_total += 1;
                let text = "the inbox is full: send again when its user has read it";
                self.refuse(from, key, draft, Code::Overloaded, text);
            }
            Objection::Slow(wait_ms) => self.refuse_slow(from, key, draft, wait_ms),
        }
    }

    /// Lets a user of a room with slow mode write, or says for how many milliseconds it has to wait.
    fn slow_down(&mut self, index: u32, user: &str) -> Result<(), u64> {
        let (now_ms, hash_key) = (self.now.mono_ms, self.hash_key);
        let Some(room) = self.rooms.at_mut(index) else {
            return Ok(());
        };
        let rule = room.rule.and_then(|place| self.room_rules.at(place));
        let pause_ms = rule.and_then(|rule| rule.slow_mode_ms);
        match room.home_mut().zip(pause_ms) {
            Some((home, pause_ms)) => home
                .slow
                .get_or_insert_with(|| Box::new(SlowMode::new(hash_key)))
                .admit(user, now_ms, pause_ms),
            None => Ok(()),
        }
    }

    fn is_inbox_full(&self, key: &Key, draft: &Draft<'_>) -> bool {
        let Some(room) = self.find(key).and_then(|index| self.rooms.at(index)) else {
            return false;
        };
        let Some(home) = room.home() else {
            return false;
        };
        let from = room
            .tail
            .position_after(home.confirmed.max(room.tail.seq_before()));
        let waiting = from.map_or(0, |from| (room.tail.head() - from) as usize);
        waiting + home.stored_bytes() + home.submitted_bytes + draft_bytes(draft)
            > self.limits.inbox_bytes_max
    }

    /// Refuses what a user who is muted or banned sends.
    pub(super) fn refuse_silenced(
        &mut self,
        from: Connection,
        key: &Key,
        draft: &Draft<'_>,
        denied: Denied,
        (request, reserve): (&'static str, Reserve),
    ) {
        self.counters.forbidden_total += 1;
        let refusal = Refusal {
            message: denied.message,
            ..refusal(key, draft, denied.code, "", request)
        };
        self.send_refusal_until(from, key, &refusal, denied.retry_after_ms, reserve);
    }

    fn refuse_slow(&mut self, from: Connection, key: &Key, draft: &Draft<'_>, wait_ms: u64) {
        self.counters.slow_mode_total += 1;
        let text = "this room is in slow mode: wait before you write again";
        let refusal = refusal(key, draft, Code::RateLimited, text, "message");
        let reserve = Reserve::Message(draft_bytes(draft));
        self.send_refusal_until(from, key, &refusal, Some(wait_ms), reserve);
    }
}
