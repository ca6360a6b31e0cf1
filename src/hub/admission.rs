//! Joining at the room's home: who is let in, and how a shard comes to follow the room.

use super::Hub;
use crate::log::Head;
use crate::mail::{Denied, Mail, Pass, Since, Sync};
use crate::proto::Code;
use crate::room::{Connection, Key, Space};
use std::net::IpAddr;
use std::sync::Arc;

impl Hub {
    /// At the home: admits a connection of any shard.
    pub(super) fn join_home(&mut self, mail: Mail) {
        let Mail::Join {
            ref room,
            from,
            ref user,
            pass,
            since,
            have,
            number,
            payer,
            ref id,
        } = mail
        else {
            return;
        };
        if let Err(denied) = self.admit(room, user, pass, payer) {
            let (room, id) = (room.clone(), id.clone());
            self.refuse_join_home(room, from, denied, number, id);
            return;
        }
        let index = self.find_or_make_for(room, payer);
        if self.is_opening(index) {
            // A room that was made just now has to hear from the log service first.
            self.set_aside(mail);
            return;
        }
        self.touch(index);
        let mut sync = self.sync(index, from.shard, since.filter(|_| pass.may_read), have);
        if from.shard != self.place.shard {
            self.follow_from(index, from.shard, &mut sync);
        }
        if since.is_some() && !pass.may_read {
            sync.recovered = Some(Err("forbidden"));
        }
        if room.space == Space::Chat {
            self.enter(index, user, from);
        }
        let members = self.member_count(index);
        let outcome = Ok((Box::new(sync), members));
        let answer = Mail::Joined {
            room: room.clone(),
            to: from.slot,
            outcome,
            number,
            id: id.clone(),
        };
        self.answer_in_order(index, from.shard, answer);
    }

    /// At the home: does not let a connection in. Its leave is on its way or will come.
    pub(super) fn refuse_join_home(
        &mut self,
        room: Key,
        from: Connection,
        denied: Box<Denied>,
        number: u64,
        id: Option<Box<str>>,
    ) {
        self.refused_joins.insert((from.shard, number));
        let refused = Mail::Joined {
            room,
            to: from.slot,
            outcome: Err(denied),
            number,
            id,
        };
        self.post(from.shard, refused);
    }

    /// At the home: whether one more connection of a user is let in.
    pub(super) fn admit(
        &mut self,
        key: &Key,
        user: &str,
        pass: Pass,
        payer: Option<IpAddr>,
    ) -> Result<(), Box<Denied>> {
        if let Some(denied) = self.banned(key, user) {
            self.counters.forbidden_total += 1;
            return Err(denied);
        }
        self.make_place(key);
        if let Some(bound) = self.one_too_many(key, payer) {
            self.counters.rooms_refused_total += 1;
            return Err(bound.denied());
        }
        if !pass.is_moderator && self.is_crowded(key, user) {
            self.counters.room_full_total += 1;
            let text = "the room takes no more members: come back later";
            return Err(Denied::new(Code::RoomFull, text));
        }
        Ok(())
    }

    /// Whether a room has all the users that it takes, and this one is not among them.
    fn is_crowded(&self, key: &Key, user: &str) -> bool {
        let members_max = self.rule_of(key).and_then(|rule| rule.members_max);
        let home = self
            .find(key)
            .and_then(|index| self.rooms.at(index)?.home());
        let Some((home, members_max)) = home.zip(members_max) else {
            return false;
        };
        let user = self.users.find(user, self.hash_key);
        let is_there = user.is_some_and(|user| home.presence.contains_key(&user));
        !is_there && home.presence.len() >= members_max as usize
    }

    /// At the home: one more connection of another shard is in the room, which follows it from now on if it did not.
    fn follow_from(&mut self, index: u32, shard: u16, sync: &mut Sync) {
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        let head = room.tail.head();
        let seq_begin = sync.backfill.as_ref().map(|batch| batch.seq_before);
        if let Some(home) = room.home_mut() {
            sync.is_new = home.subscriber(shard).is_none();
            let subscriber = home.subscribe(shard, seq_begin.unwrap_or(sync.head), head);
            subscriber.member_count += 1;
        }
    }

    /// At the home: how a connection on a shard follows a log.
    pub(super) fn sync(
        &mut self,
        index: u32,
        shard: u16,
        since: Option<Since>,
        have: Option<u64>,
    ) -> Sync {
        let Some(room) = self.rooms.at(index) else {
            return Sync::NOTHING;
        };
        let tail = &room.tail;
        let head = tail.seq();
        let confirmed = room.home().map_or(0, |home| home.confirmed);
        let recovered = since.map(|since| {
            since.check(Head {
                epoch: room.epoch,
                seq: head,
            })?;
            match room.key.space {
                Space::Chat | Space::Raw => {
                    let is_there = match room.home() {
                        // Memory may have more, but that is not to be told any more.
                        Some(home) if home.is_kept => home.has_stored(since.seq),
                        Some(_) | None => tail.position_after(since.seq).is_some(),
                    };
                    is_there.then_some(()).ok_or("expired")
                }
                // An inbox is pushed from where it can be; what is gone is told by a `gap`.
                Space::Inbox => Ok(()),
            }
        });
        let from = match (recovered, since, room.key.space) {
            (Some(Ok(())), Some(since), _) => since.seq,
            (_, _, Space::Inbox) => confirmed,
            (_, _, Space::Chat | Space::Raw) => head,
        };
        let until = room
            .home()
            .map_or(head, |home| home.begun_behind(shard, have, head));
        let start = tail.position_after(from.max(tail.seq_before()));
        let backfill = match (start, tail.position_after(until)) {
            (Some(start), Some(end)) if shard != self.place.shard && start < end => {
                Some(Arc::new(tail.export(start, end, false, usize::MAX).0))
            }
            (Some(_), Some(_)) | (None, _) | (_, None) => None,
        };
        Sync {
            epoch: room.epoch,
            head,
            from,
            is_new: false,
            recovered,
            backfill,
            confirmed,
        }
    }
}
