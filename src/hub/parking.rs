//! Mail for a log of which the log service has yet to say where it stands, or about a user whose first claim it is still
//! keeping: it waits, within bounds.
//!
//! A disk that stands still keeps a log closed for as long as it does, and what comes from another shard has left its
//! FIFO by then. So what finds too much waiting is refused, where it may be sent again, or dropped, where it passes or
//! is kept elsewhere.

use super::Hub;
use crate::limits::{PARKED_BYTES_MAX, PARKED_BYTES_PER_LOG_MAX, PASSING_BYTES_MAX};
use crate::mail::{Denied, Mail, Reserve};
use crate::proto::{Code, Refusal};
use crate::room::{Connection, Key, Opening, Parked, Room, Space};
use std::borrow::Cow;

const FULL: &str = "too much waits for the disk already: try again later";

impl Hub {
    /// Sets mail aside for a room whose log is not open yet. Gives back what need not wait.
    pub(super) fn park(&mut self, from: u16, mail: Mail) -> Option<Mail> {
        let room = match &mail {
            // It is of nobody who waits to be let in.
            Mail::Leave {
                join: Some(number), ..
            } if self.refused_joins.contains(&(from, *number)) => None,
            // It must not overtake a claim that waits there.
            Mail::Gone { name } => self.rooms.find(Space::Inbox, name, self.hash_key),
            mail => mail.home_room().and_then(|key| self.find(key)),
        };
        match room {
            Some(index) => self.park_in(index, from, mail),
            None => Some(mail),
        }
    }

    pub(super) fn park_in(&mut self, index: u32, from: u16, mail: Mail) -> Option<Mail> {
        // Where nothing is kept, logs are open before the turn is over.
        let is_over = self.durable && self.parked_bytes >= PARKED_BYTES_MAX;
        let bytes_max = if self.durable {
            PARKED_BYTES_PER_LOG_MAX
        } else {
            usize::MAX
        };
        let Some(parked) = self.parked_mut(index) else {
            return Some(mail);
        };
        let is_full = is_over || parked.bytes() >= bytes_max;
        if !may_wait(parked, from, &mail, is_full) {
            self.turn_away(from, mail);
            return None;
        }
        let bytes = mail.bytes();
        parked.push(from, mail);
        self.parked_bytes += bytes;
        None
    }

    /// Sets mail aside for a room that it has made just now. It keeps its place before the mail behind it.
    pub(super) fn set_aside(&mut self, mail: Mail) {
        let rest = self.park(self.place.shard, mail);
        debug_assert!(rest.is_none(), "the room is not open yet");
    }

    /// Takes what waits for a room, if its log is not open.
    pub(super) fn unpark(&mut self, index: u32) -> Option<Parked> {
        let home = self.rooms.at_mut(index).and_then(Room::home_mut)?;
        match std::mem::replace(&mut home.opening, Opening::Open) {
            Opening::Asked(parked) => {
                self.parked_bytes -= parked.bytes();
                Some(parked)
            }
            Opening::Open => None,
        }
    }

    /// The first claim of a user, which the log service is keeping.
    pub(super) fn await_claim(&mut self, user: u32, from: u16, mail: Mail) {
        self.parked_bytes += mail.bytes();
        self.claiming.entry(user).or_default().push(from, mail);
    }

    /// Whether one more user may have a claim kept.
    pub(super) fn may_await_claim(&mut self) -> Result<(), Code> {
        if self.durable && self.parked_bytes >= PARKED_BYTES_MAX {
            self.counters.parked_full_total += 1;
            return Err(Code::Overloaded);
        }
        Ok(())
    }

    /// Sets mail about a user aside whose first claim is being kept.
    pub(super) fn park_claim(&mut self, user: u32, from: u16, mail: Mail) {
        let parked = self.claiming.entry(user).or_default();
        let is_full =
            self.parked_bytes >= PARKED_BYTES_MAX || parked.bytes() >= PARKED_BYTES_PER_LOG_MAX;
        if may_wait(parked, from, &mail, is_full) {
            self.parked_bytes += mail.bytes();
            parked.push(from, mail);
        } else {
            self.turn_away(from, mail);
        }
    }

    /// Takes the mail about a user that waits for the first claim.
    pub(super) fn unpark_claims(&mut self, user: u32) -> Vec<(u16, Mail)> {
        let parked = self.claiming.remove(&user).unwrap_or_default();
        self.parked_bytes -= parked.bytes();
        parked.into_mail()
    }

    fn parked_mut(&mut self, index: u32) -> Option<&mut Parked> {
        let home = self.rooms.at_mut(index).and_then(Room::home_mut)?;
        match &mut home.opening {
            Opening::Asked(parked) => Some(parked),
            Opening::Open => None,
        }
    }

    /// What must not wait is answered, or dropped.
    fn turn_away(&mut self, from: u16, mail: Mail) {
        match mail {
            Mail::Leave { room, to, id, .. } => {
                if let Some(slot) = to {
                    self.refuse_leave(Connection { shard: from, slot }, &room, id.as_deref());
                }
            }
            Mail::Signal { .. } | Mail::Relay { .. } => self.counters.passing_dropped_total += 1,
            // What was not confirmed is pushed again, nobody has taken anything yet, and that a shard's last connection
            // has gone is known.
            Mail::Confirm { .. } | Mail::Took { .. } | Mail::Gone { .. } => {}
            mail => {
                self.counters.parked_full_total += 1;
                self.refuse_parked(mail);
            }
        }
    }

    fn refuse_parked(&mut self, mail: Mail) {
        match mail {
            Mail::Join {
                room,
                from,
                number,
                id,
                ..
            } => {
                let denied = Denied::new(Code::Overloaded, FULL);
                self.refuse_join_home(room, from, denied, number, id);
            }
            Mail::Publish {
                room, from, letter, ..
            } => self.refuse(from, &room, &letter.draft(), Code::Overloaded, FULL),
            Mail::History { room, from, id, .. } => {
                self.refuse_page_request(from, &room, "history", id.as_deref());
            }
            Mail::Who { room, from, id, .. } => {
                self.refuse_page_request(from, &room, "who", id.as_deref());
            }
            Mail::Moderate { room, asked, order } => {
                self.refuse_order(&room, &asked, (&*order).into(), Code::Overloaded, FULL);
            }
            Mail::Delete { room, deletion } | Mail::Owner { room, deletion, .. } => {
                self.refuse_deletion(&room, &deletion, (Code::Overloaded, FULL));
            }
            Mail::Claim { .. } => self.refuse_claim(mail, Code::Overloaded),
            // The log service still owes it.
            Mail::Copy { .. } => {}
            Mail::Leave { .. }
            | Mail::Signal { .. }
            | Mail::Relay { .. }
            | Mail::Confirm { .. }
            | Mail::Took { .. }
            | Mail::Gone { .. }
            | Mail::Claimed { .. }
            | Mail::Joined { .. }
            | Mail::AskOwner { .. }
            | Mail::Erase { .. }
            | Mail::Trimmed { .. }
            | Mail::Remove { .. }
            | Mail::Frames { .. }
            | Mail::Reply { .. } => {
                debug_assert!(false, "nobody waits for an answer to that");
                self.counters.bugs_total += 1;
            }
        }
    }

    fn refuse_page_request(
        &mut self,
        from: Connection,
        key: &Key,
        request: &'static str,
        id: Option<&str>,
    ) {
        let refusal = Refusal {
            code: Code::Overloaded,
            message: FULL.into(),
            request: request.into(),
            id: id.map(Cow::Borrowed),
            target: Some(key.target()),
        };
        self.send_refusal(from, key, &refusal, Reserve::Page);
    }
}

/// Whether mail may wait behind what is parked, which is full or not.
fn may_wait(parked: &Parked, from: u16, mail: &Mail, is_full: bool) -> bool {
    match mail {
        // There is one for each join that waits, at most.
        Mail::Leave { join, .. } => join.is_some(),
        Mail::Signal { .. } => !is_full && parked.bytes() + mail.bytes() <= PASSING_BYTES_MAX,
        Mail::Gone { .. } => !has_gone(parked, from),
        Mail::Join { .. }
        | Mail::Publish { .. }
        | Mail::Copy { .. }
        | Mail::Relay { .. }
        | Mail::History { .. }
        | Mail::Who { .. }
        | Mail::Moderate { .. }
        | Mail::Delete { .. }
        | Mail::Owner { .. }
        | Mail::Confirm { .. }
        | Mail::Took { .. }
        | Mail::Claim { .. } => !is_full,
        Mail::Claimed { .. }
        | Mail::Joined { .. }
        | Mail::AskOwner { .. }
        | Mail::Erase { .. }
        | Mail::Trimmed { .. }
        | Mail::Remove { .. }
        | Mail::Frames { .. }
        | Mail::Reply { .. } => false,
    }
}

/// Whether the last that waits of a shard's claims is that it has no connection of the user any more.
fn has_gone(parked: &Parked, shard: u16) -> bool {
    let of_shard = parked.iter().rev().filter(|(from, _)| *from == shard);
    let last = of_shard
        .map(|(_, mail)| mail)
        .find(|mail| matches!(mail, Mail::Gone { .. }) || matches!(mail, Mail::Claim { .. }));
    last.is_some_and(|mail| matches!(mail, Mail::Gone { .. }))
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;
    use crate::hashing::HashKey;
    use crate::limits::Limits;
    use crate::log::{Answers, LogPort, Submission};
    use crate::mail::Proof;
    use crate::rules::RoomRules;
    use crate::slots::Slot;
    use std::sync::Arc;

    /// A disk that stands still.
    struct StandingStill;

    impl LogPort for StandingStill {
        fn submit(&mut self, _: Submission, _: u64) {}

        fn take(&mut self) -> Option<Answers> {
            None
        }

        fn memory(&self) -> usize {
            0
        }

        fn is_durable(&self) -> bool {
            true
        }
    }

    /// The first of two shards, and names that are at home there.
    fn hub() -> (Hub, impl Iterator<Item = Arc<str>>) {
        let place = Place { shard: 0, count: 2 };
        let limits = Limits {
            names_per_address_max: u32::MAX,
            ..Limits::default()
        };
        let (rules, key) = (Arc::new(RoomRules::default()), HashKey::new((1, 2)));
        let names = (0..).map(|number| Arc::from(format!("user-{number}").as_str()));
        let is_here =
            move |name: &Arc<str>| HashKey::shard(Key::hash(Space::Inbox, name, key), 2) == 0;
        let hub = Hub::new(place, limits, rules, &StandingStill, key, [0; 32]);
        (hub, names.filter(is_here))
    }

    /// What the other shard is answered to a claim.
    fn claim(hub: &mut Hub, name: &Arc<str>) -> Option<Code> {
        let slot = Slot {
            index: 0,
            generation: 0,
        };
        let claim = Mail::Claim {
            name: Arc::clone(name),
            from: Connection { shard: 1, slot },
            proof: Proof::Nothing,
            address: None,
            since: None,
            have: None,
            id: None,
        };
        hub.take(1, claim);
        hub.outgoing(1).into_iter().find_map(|mail| match mail {
            Mail::Claimed { outcome, .. } => outcome.err(),
            _ => None,
        })
    }

    #[test]
    fn what_waits_for_the_claim_of_a_name_is_bounded() {
        let (mut hub, mut names) = hub();
        let (ann, bob) = (names.next().unwrap(), names.next().unwrap());
        let count = PARKED_BYTES_PER_LOG_MAX.div_ceil(size_of::<Mail>());
        for _ in 0..count {
            assert_eq!(claim(&mut hub, &ann), None);
        }
        assert_eq!(claim(&mut hub, &ann), Some(Code::Overloaded));
        assert_eq!(hub.counters.parked_full_total, 1);
        assert_eq!(claim(&mut hub, &bob), None, "each name has a bound");
        // That nobody is left waits as well, but once.
        let bytes = hub.parked_bytes;
        for _ in 0..3 {
            let name = Arc::clone(&ann);
            hub.take(1, Mail::Gone { name });
            assert_eq!(hub.parked_bytes, bytes + size_of::<Mail>());
        }
        hub.audit().unwrap();
        assert_eq!(hub.unpark_claims(0).len(), count + 1);
        assert_eq!(hub.parked_bytes, size_of::<Mail>());
    }

    #[test]
    fn claims_are_refused_while_too_much_waits_in_all() {
        let (mut hub, mut names) = hub();
        hub.parked_bytes = PARKED_BYTES_MAX - 1;
        assert_eq!(claim(&mut hub, &names.next().unwrap()), None);
        hub.parked_bytes = PARKED_BYTES_MAX;
        for name in names.take(3) {
            assert_eq!(claim(&mut hub, &name), Some(Code::Overloaded));
        }
        assert_eq!(hub.counters.parked_full_total, 3);
        assert_eq!(hub.claims.len(), 1, "who was refused has no name");
    }
}
