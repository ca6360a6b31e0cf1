//! Moderators at work: kicks, mutes and bans, at the connection's side and at the room's home.
//!
//! A mute or a ban is kept first and takes effect then, like a message; it holds for the name, whoever has it.

use super::clients::member;
use super::command::chat_room;
use super::members::Sent;
use super::record::Attempt;
use super::{Hub, epoch_text};
use crate::limits::UNCOMMITTED_BYTES_UNIT;
use crate::log::{Asked, Lifted, Note, Outcome, Request as LogRequest};
use crate::mail::{Denied, Mail, Order, Removal, Reserve};
use crate::proto::event::{self, Measure, SystemEvent};
use crate::proto::{Action, Code, Refusal, Request};
use crate::room::{Connection, Key, Room, Space};
use crate::rules::Access;
use crate::sanctions::{Full, Penalty, Sanction};
use crate::slots::Slot;
use crate::users::NOBODY;
use std::borrow::Cow;
use std::sync::Arc;

/// What a moderator's command counts as until it is answered.
const RESERVE: Reserve = Reserve::Message(UNCOMMITTED_BYTES_UNIT);

impl Hub {
    /// At the connection's side: a moderator says what shall be done to a user.
    pub(super) fn moderate(&mut self, peer: Slot, request: &Request<'_>, room: Key, order: Order) {
        let from = self.connection(peer);
        if self.joined_room(peer, room.space, &room.name).is_none() {
            self.record_refused_order(&room, (&order).into(), from, Code::NotJoined);
            self.refuse_not_joined(peer, request);
            return;
        }
        if !self.may(peer, Access::Moderate, &room) {
            self.record_refused_order(&room, (&order).into(), from, Code::Forbidden);
            self.refuse_forbidden(peer, Access::Moderate, request);
            return;
        }
        if order.action.is_against() && self.moderates_by_rule(&room, &order.user) {
            let text = "this user is a moderator by the configuration";
            self.counters.forbidden_total += 1;
            self.record_refused_order(&room, (&order).into(), from, Code::Forbidden);
            self.refuse_command(peer, &request.refuse(Code::Forbidden, text));
            return;
        }
        let id = request.id.as_deref().map(Box::from);
        self.clients.reserve(peer, RESERVE);
        let asked = Asked { from, id };
        let order = Box::new(order);
        self.post_home(&room.clone(), Mail::Moderate { room, asked, order });
    }

    /// At the home: does it.
    pub(super) fn moderate_home(&mut self, room: &Key, asked: &Asked, order: &Order) {
        let sent = Sent {
            from: asked.from,
            request: order.action.as_str(),
            id: asked.id.as_deref(),
            reserve: RESERVE,
        };
        if let Some(code) = self.refuse_outsider(room, &order.by, sent) {
            self.record_refused_order(room, order.into(), asked.from, code);
            return;
        }
        match order.action {
            Action::Kick => self.kick(room, asked, order),
            Action::Mute => self.sanction(room, asked, order, Penalty::Mute),
            Action::Ban => self.sanction(room, asked, order, Penalty::Ban),
            Action::Unmute => self.lift(room, asked, order, Penalty::Mute),
            Action::Unban => self.lift(room, asked, order, Penalty::Ban),
        }
    }

    fn kick(&mut self, room: &Key, asked: &Asked, order: &Order) {
        if !self.is_present(room, &order.user) {
            let text = "this user is not in the room";
            self.refuse_order(room, asked, order.into(), Code::UnknownUser, text);
            return;
        }
        let measure = Measure {
            by: Some(&order.by),
            reason: order.reason.as_deref(),
            until: None,
        };
        self.remove_user(room, &order.user, SystemEvent::Kick, measure);
        self.record_act(room, order.into(), measure, asked.from);
        self.answer_order(room, asked, order.action, &order.user, None);
    }

    fn sanction(&mut self, room: &Key, asked: &Asked, order: &Order, penalty: Penalty) {
        let since_ms = self.now.unix_ms;
        let sanction = Sanction {
            room: Arc::clone(&room.name),
            user: Arc::clone(&order.user),
            penalty,
            until_ms: order.seconds.map(|seconds| since_ms + seconds * 1000),
            reason: order.reason.clone(),
            by: Arc::clone(&order.by),
            since_ms,
        };
        // What a token lets somebody do must not use up what there is for all.
        let is_bound = !self.moderates_by_rule(room, &order.by);
        let mut reserved = self.sanctions.reserve(&sanction, is_bound);
        if reserved.is_err() {
            self.expire_sanctions();
            reserved = self.sanctions.reserve(&sanction, is_bound);
        }
        if let Err(full) = reserved {
            self.counters.sanctions_refused_total += 1;
            let text = match full {
                Full::Room => "too many users are muted or banned: lift some of that first",
                Full::Moderator => "you have muted or banned too many: lift some of that first",
            };
            self.refuse_order(room, asked, order.into(), Code::Overloaded, text);
            return;
        }
        let (sanction, asked) = (Arc::new(sanction), asked.clone());
        let note = Note::Sanction { sanction, asked };
        self.submission.requests.push(LogRequest::Note(note));
    }

    fn lift(&mut self, room: &Key, asked: &Asked, order: &Order, penalty: Penalty) {
        let now_ms = self.now.unix_ms;
        let found = self
            .sanctions
            .find(&room.name, &order.user, penalty, now_ms);
        if found.is_none() {
            let text = "this user is not muted or banned here";
            self.refuse_order(room, asked, order.into(), Code::UnknownUser, text);
            return;
        }
        let note = Note::Lift {
            room: Arc::clone(&room.name),
            user: Arc::clone(&order.user),
            penalty,
            lifted: Lifted::Asked {
                asked: asked.clone(),
                by: Arc::clone(&order.by),
            },
        };
        self.submission.requests.push(LogRequest::Note(note));
    }

    /// What has ended need not be kept any longer.
    fn expire_sanctions(&mut self) {
        let unix_ms = self.now.unix_ms;
        for sanction in self.sanctions.expire(unix_ms) {
            let note = Note::Lift {
                room: Arc::clone(&sanction.room),
                user: Arc::clone(&sanction.user),
                penalty: sanction.penalty,
                lifted: Lifted::Ended { unix_ms },
            };
            self.submission.requests.push(LogRequest::Note(note));
        }
    }

    /// At the home: a mute or a ban is kept, or could not be.
    pub(super) fn sanctioned(&mut self, sanction: &Arc<Sanction>, asked: &Asked, outcome: Outcome) {
        let room = chat_room(&sanction.room);
        let action = match sanction.penalty {
            Penalty::Mute => Action::Mute,
            Penalty::Ban => Action::Ban,
        };
        let attempt = Attempt {
            action,
            user: &sanction.user,
            by: &sanction.by,
        };
        self.sanctions.release();
        if outcome == Outcome::Refused {
            self.refuse_order(&room, asked, attempt, Code::Storage, NOT_KEPT);
            return;
        }
        self.sanctions.insert(Arc::clone(sanction));
        let measure = Measure {
            by: Some(&sanction.by),
            reason: sanction.reason.as_deref(),
            until: sanction.until_ms,
        };
        match sanction.penalty {
            Penalty::Mute => self.tell_measure(&room, SystemEvent::Mute, &sanction.user, measure),
            Penalty::Ban => self.remove_user(&room, &sanction.user, SystemEvent::Ban, measure),
        }
        self.record_act(&room, attempt, measure, asked.from);
        self.answer_order(&room, asked, action, &sanction.user, sanction.until_ms);
    }

    /// At the home: the end of a mute or a ban is kept, or could not be.
    pub(super) fn lifted(&mut self, note: &Note, outcome: Outcome) {
        let Note::Lift {
            room,
            user,
            penalty,
            lifted,
        } = note
        else {
            return;
        };
        let (asked, by) = match lifted {
            Lifted::Asked { asked, by } => (asked, by),
            // It is told to nobody.
            Lifted::Ended { .. } => return,
        };
        let room = chat_room(room);
        let action = match penalty {
            Penalty::Mute => Action::Unmute,
            Penalty::Ban => Action::Unban,
        };
        let attempt = Attempt { action, user, by };
        if outcome == Outcome::Refused {
            self.refuse_order(&room, asked, attempt, Code::Storage, NOT_KEPT);
            return;
        }
        self.sanctions.remove(&room.name, user, *penalty);
        let measure = Measure {
            by: Some(by),
            ..Measure::default()
        };
        if *penalty == Penalty::Mute {
            self.tell_measure(&room, SystemEvent::Unmute, user, measure);
        }
        self.record_act(&room, attempt, measure, asked.from);
        self.answer_order(&room, asked, action, user, None);
    }

    /// A mute or a ban that was kept before the process started, at its home.
    pub fn restore_sanction(&mut self, sanction: &Arc<Sanction>) {
        if self.home_of(Space::Chat, &sanction.room) == self.place.shard {
            self.sanctions.insert(Arc::clone(sanction));
        }
    }

    /// At the home: why a user may not be in a room.
    pub(super) fn banned(&self, room: &Key, user: &str) -> Option<Box<Denied>> {
        if self.sanctions.is_empty() || room.space != Space::Chat {
            return None;
        }
        let unix_ms = self.now.unix_ms;
        let ban = self
            .sanctions
            .find(&room.name, user, Penalty::Ban, unix_ms)?;
        Some(Box::new(Denied {
            code: Code::Forbidden,
            message: sentence("you are banned from this room", ban),
            is_for_now: false,
            retry_after_ms: ban.rest_ms(unix_ms),
        }))
    }

    /// At the home: why a user may not send to a room, and for how many milliseconds.
    pub(super) fn silenced(&self, room: &Key, user: &str) -> Option<Denied> {
        if self.sanctions.is_empty() || room.space != Space::Chat {
            return None;
        }
        let unix_ms = self.now.unix_ms;
        let find = |penalty| self.sanctions.find(&room.name, user, penalty, unix_ms);
        let sanction = find(Penalty::Ban).or_else(|| find(Penalty::Mute))?;
        let text = match sanction.penalty {
            Penalty::Mute => "you are muted in this room",
            Penalty::Ban => "you are banned from this room",
        };
        Some(Denied {
            code: Code::Forbidden,
            message: sentence(text, sanction),
            is_for_now: false,
            retry_after_ms: sanction.rest_ms(unix_ms),
        })
    }

    /// At the home: tells a room what was done to a user.
    fn tell_measure(&mut self, room: &Key, what: SystemEvent, user: &str, measure: Measure<'_>) {
        let Some(index) = self.find(room) else { return };
        let system = event::System {
            event: what,
            room_id: &room.name,
            sender: user,
            timestamp: self.now.unix_ms,
            measure,
        };
        self.append_event(index, Connection::NONE, |out| system.encode(out));
    }

    /// At the home: everyone in the room hears of it, and every shard with members lets the user go.
    fn remove_user(&mut self, room: &Key, user: &str, what: SystemEvent, measure: Measure<'_>) {
        self.tell_measure(room, what, user, measure);
        if !self.is_present(room, user) {
            return;
        }
        let Some(index) = self.find(room) else { return };
        let members = self.member_count(index).saturating_sub(1);
        let home = self.rooms.at(index).and_then(Room::home);
        let subscribers = home.into_iter().flat_map(|home| &home.subscribers);
        let mut shards: Vec<u16> = subscribers.map(|subscriber| subscriber.shard).collect();
        shards.push(self.place.shard);
        let removal = Arc::new(Removal {
            user: user.into(),
            what,
            by: measure.by.map(Box::from),
            reason: measure.reason.map(Box::from),
            until_ms: measure.until,
            members,
        });
        for shard in shards {
            let (room, removal) = (room.clone(), Arc::clone(&removal));
            // Behind the answers to the joins that the room knows: a join that is on its way comes after this.
            self.answer_in_order(index, shard, Mail::Remove { room, removal });
        }
    }

    /// On a shard with members: the user's connections are in the room no more. One whose join is on its way stays:
    /// the room answers that one anew.
    pub(super) fn remove_from(&mut self, room: &Key, removal: &Removal) {
        let user = self.users.find(&removal.user, self.hash_key);
        let first = user
            .and_then(|user| self.users.at(user))
            .map(|user| user.first_peer);
        let mut at = first.unwrap_or(NOBODY);
        while let Some(client) = self.clients.at(at) {
            let (peer, next) = (self.clients.slot_at(at), client.next_of_user);
            self.remove_member(peer, room, removal);
            at = next;
        }
    }

    /// One connection is in a room no more, and is told why.
    pub(super) fn remove_member(&mut self, peer: Slot, key: &Key, removal: &Removal) {
        let Some(link) = self.joined_room(peer, key.space, &key.name) else {
            return;
        };
        let is_joining = member(&self.rooms, link).is_none_or(|member| member.is_joining());
        let Some(room) = self.rooms.at(link.room).filter(|_| !is_joining) else {
            return;
        };
        let (epoch, seq_id) = (epoch_text(room.epoch), room.tail.seq());
        self.leave(peer, link, None, None);
        let left = event::Left {
            room_id: &key.name,
            epoch: &epoch,
            seq_id,
            members: removal.members.into(),
            event: Some(removal.what),
            measure: removal.measure(),
            id: None,
        };
        self.effects.reply(peer, |out| left.encode(out));
    }

    fn answer_order(
        &mut self,
        room: &Key,
        asked: &Asked,
        action: Action,
        user: &str,
        until: Option<u64>,
    ) {
        self.counters.moderations_total += 1;
        let done = event::Done {
            request: action.as_str(),
            room_id: &room.name,
            user,
            until,
            id: asked.id.as_deref(),
        };
        self.reply(self.find(room), asked.from, RESERVE, |out| done.encode(out));
    }

    pub(super) fn refuse_order(
        &mut self,
        room: &Key,
        asked: &Asked,
        attempt: Attempt<'_>,
        code: Code,
        text: &'static str,
    ) {
        self.record_refused_order(room, attempt, asked.from, code);
        let refusal = Refusal {
            code,
            message: text.into(),
            request: attempt.action.as_str().into(),
            id: asked.id.as_deref().map(Cow::Borrowed),
            target: Some(room.target()),
        };
        self.send_refusal(asked.from, room, &refusal, RESERVE);
    }
}

const NOT_KEPT: &str = "the server could not keep it: try again";

/// A sentence for the user, with the moderator's reason.
fn sentence(text: &str, sanction: &Sanction) -> Cow<'static, str> {
    match &sanction.reason {
        Some(reason) => format!("{text}: {reason}").into(),
        None => text.to_owned().into(),
    }
}
