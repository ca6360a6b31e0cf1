//! Names at their home: who may have one, and for how long.

use super::upkeep::FIRST_HOUR;
use super::{Hub, shared};
use crate::log::{Head, Note, Outcome, Request};
use crate::mail::{Granted, Mail, Proof};
use crate::proto::Code;
use crate::room::{Key, Space};
use crate::secret::Secret;
use crate::users::{Claim, NO_SECRET, SecretHash, hash_secret, is_same_secret};
use std::net::IpAddr;
use std::sync::Arc;

/// A name that was claimed before the process started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The name.
    pub name: Box<str>,
    /// Hash of the secret that proves it.
    pub secret: SecretHash,
    /// Where its inbox stands.
    pub inbox: Head,
    /// Where its owner came from.
    pub address: Option<IpAddr>,
    /// For how many hours nobody has been connected under it.
    pub left_hours: u64,
    /// Since when it is its owner's, in milliseconds since the Unix epoch; 0 where that is not known.
    pub since_ms: u64,
}

/// What a claim may have.
enum Grant {
    /// The name, by this proof.
    Given(u32, Proof),
    /// The same, once that is kept.
    Awaited(u32, Proof),
}

impl Hub {
    /// See [`Engine::restore`](crate::engine::Engine::restore).
    pub fn restore(&mut self, restored: &Restored) {
        if self.home_of(Space::Inbox, &restored.name) != self.place.shard {
            return;
        }
        let user = self.users.mention(&restored.name, self.hash_key);
        self.charge(user, restored.address, restored.since_ms);
        let left_hours = u16::try_from(restored.left_hours).unwrap_or(u16::MAX);
        if let Some(entry) = self.users.at_mut(user) {
            entry.secret = restored.secret;
            entry.inbox = restored.inbox;
            entry.claim = Claim::Left {
                since_hour: FIRST_HOUR.saturating_sub(left_hours),
            };
        }
    }

    /// At the name's home: decides a claim.
    pub(super) fn claim(&mut self, mut mail: Mail) {
        let Mail::Claim {
            ref name,
            from,
            ref mut proof,
            address,
            ..
        } = mail
        else {
            return;
        };
        let name = name.clone();
        if let Some(user) = self.claiming_user(&name) {
            self.park_claim(user, from.shard, mail);
            return;
        }
        let brought = std::mem::replace(proof, Proof::Nothing);
        match self.grant(&name, brought, address) {
            Ok(Grant::Given(user, granted)) => {
                *proof = granted;
                match self.opening_inbox(user) {
                    Some(index) => {
                        let rest = self.park_in(index, from.shard, mail);
                        debug_assert!(rest.is_none(), "the inbox is not open yet");
                    }
                    None => self.give(user, mail),
                }
            }
            Ok(Grant::Awaited(user, granted)) => {
                *proof = granted;
                self.await_claim(user, from.shard, mail);
            }
            Err(code) => self.refuse_claim(mail, code),
        }
    }

    /// The user of this name, if a claim of it is being kept: mail about it waits until that is done.
    fn claiming_user(&self, name: &str) -> Option<u32> {
        let user = self.users.find(name, self.hash_key)?;
        self.claiming.contains_key(&user).then_some(user)
    }

    /// Tells a connection that it has its name, and how it follows the inbox.
    fn give(&mut self, user: u32, mail: Mail) {
        let Mail::Claim {
            name,
            from,
            proof,
            since,
            have,
            id,
            ..
        } = mail
        else {
            return;
        };
        if let Some(entry) = self.users.at_mut(user)
            && from.shard != self.place.shard
        {
            entry.shards |= 1 << (from.shard & 63);
            self.subscribe_inbox(&name, from.shard);
        }
        let inbox = self.inbox_sync(user, from.shard, since, have);
        if let (Some(Ok(())), Some(since)) = (inbox.recovered, since) {
            let room = Key {
                space: Space::Inbox,
                name: name.clone(),
            };
            self.confirm_home(&room, since.seq);
        }
        let session = match proof {
            Proof::Session(session) => Some(session),
            Proof::Nothing | Proof::Token => None,
        };
        let outcome = Ok(Box::new(Granted { session, inbox }));
        let answer = Mail::Claimed {
            to: from.slot,
            name: name.clone(),
            outcome,
            id,
        };
        match self.rooms.find(Space::Inbox, &name, self.hash_key) {
            Some(index) => self.answer_in_order(index, from.shard, answer),
            None => self.post(from.shard, answer),
        }
    }

    pub(super) fn refuse_claim(&mut self, mail: Mail, code: Code) {
        let Mail::Claim { name, from, id, .. } = mail else {
            return;
        };
        let answer = Mail::Claimed {
            to: from.slot,
            name,
            outcome: Err(code),
            id,
        };
        self.post(from.shard, answer);
    }

    fn grant(&mut self, name: &str, proof: Proof, address: Option<IpAddr>) -> Result<Grant, Code> {
        let user = self.users.mention(name, self.hash_key);
        let claim = self
            .users
            .at(user)
            .map_or(Claim::Mentioned, |entry| entry.claim);
        match claim {
            Claim::Held | Claim::Left { .. } | Claim::Guest { .. } => {
                let secret = self
                    .users
                    .at(user)
                    .map(|entry| entry.secret)
                    .unwrap_or_default();
                if !is_proven(&proof, &secret) {
                    return Err(Code::NameTaken);
                }
                if let Claim::Left { .. } = claim {
                    self.welcome_back(user);
                }
                if proof == Proof::Token && secret != NO_SECRET {
                    return Ok(self.seal(user, proof));
                }
                Ok(Grant::Given(user, proof))
            }
            Claim::Mentioned => {
                let may = self.may_await_claim();
                if let Err(code) = may.and_then(|()| self.charge_name(user, &proof, address)) {
                    self.users.sweep(user, self.hash_key);
                    return Err(code);
                }
                let (proof, secret) = self.proof_of_new(proof);
                if let Some(entry) = self.users.at_mut(user) {
                    entry.claim = Claim::Held;
                    entry.secret = secret;
                }
                if !self.durable {
                    return Ok(Grant::Given(user, proof));
                }
                self.keep_claim(user, address);
                Ok(Grant::Awaited(user, proof))
            }
        }
    }

    /// The owner of a name is connected again. That is kept, so that the name is not taken for left should the process
    /// end without telling.
    fn welcome_back(&mut self, user: u32) {
        let Some(entry) = self.users.at_mut(user) else {
            return;
        };
        entry.claim = Claim::Held;
        if self.durable {
            let name = shared(&entry.name);
            let note = Note::Returned { name };
            self.submission.requests.push(Request::Note(note));
        }
    }

    /// A name that a session secret proved is a token's from now on. Should the server do without tokens one day, whoever
    /// still has the secret must not get what came for the token's user; so that is kept before the name is given.
    fn seal(&mut self, user: u32, proof: Proof) -> Grant {
        let Some(entry) = self.users.at_mut(user) else {
            return Grant::Given(user, proof);
        };
        if !self.durable {
            entry.secret = NO_SECRET;
            return Grant::Given(user, proof);
        }
        let name = shared(&entry.name);
        let note = Note::Seal { name };
        self.submission.requests.push(Request::Note(note));
        Grant::Awaited(user, proof)
    }

    /// How a new claim is proven from now on. What a token claims no secret proves: should the server do without tokens
    /// one day, the name is not for the first who asks.
    fn proof_of_new(&mut self, proof: Proof) -> (Proof, SecretHash) {
        match proof {
            Proof::Session(session) => {
                let hash = hash_secret(session.reveal());
                (Proof::Session(session), hash)
            }
            Proof::Nothing => {
                let session = self.random_hex(16);
                let hash = hash_secret(&session);
                (Proof::Session(Secret::new(session.into())), hash)
            }
            Proof::Token => (Proof::Token, NO_SECRET),
        }
    }

    /// Lets the log service keep a claim, with the epoch of the inbox that comes with it.
    fn keep_claim(&mut self, user: u32, address: Option<IpAddr>) {
        let epoch = self.fresh_epoch();
        let since_ms = self.now.unix_ms;
        let Some(entry) = self.users.at_mut(user) else {
            return;
        };
        entry.inbox = Head { epoch, seq: 0 };
        let note = Note::Claim {
            name: shared(&entry.name),
            secret: entry.secret,
            epoch,
            address,
            since_ms,
        };
        self.submission.requests.push(Request::Note(note));
    }

    /// The log service has answered a note.
    pub(super) fn noted(&mut self, note: &Note, outcome: Outcome) {
        if outcome == Outcome::Refused {
            self.counters.storage_errors_total += 1;
        }
        let (name, is_new) = match note {
            Note::Claim { name, .. } => (name, true),
            Note::Seal { name } => (name, false),
            // Where these are lost, names are held longer and messages pushed again.
            Note::Returned { .. }
            | Note::Left { .. }
            | Note::Release { .. }
            | Note::Confirm { .. } => return,
            Note::Sanction { sanction, asked } => {
                self.sanctioned(sanction, asked, outcome);
                return;
            }
            Note::Lift { .. } => {
                self.lifted(note, outcome);
                return;
            }
        };
        let Some(user) = self.users.find(name, self.hash_key) else {
            return;
        };
        let waiting = self.unpark_claims(user);
        if outcome != Outcome::Refused {
            if let (false, Some(entry)) = (is_new, self.users.at_mut(user)) {
                entry.secret = NO_SECRET;
            }
            waiting
                .into_iter()
                .for_each(|(from, mail)| self.deliver(from, mail));
            return;
        }
        if is_new {
            if let Some(inbox) = self.rooms.find(Space::Inbox, name, self.hash_key) {
                self.remove_room(inbox);
            }
            self.forget_name(user);
        }
        for (from, mail) in waiting {
            match mail {
                Mail::Claim { .. } => self.refuse_claim(mail, Code::Storage),
                mail => self.deliver(from, mail),
            }
        }
        if !is_new {
            self.check_left(user);
        }
    }

    /// At the user's home: a shard has no connection of it any more.
    pub(super) fn gone(&mut self, from: u16, name: &Arc<str>) {
        if let Some(user) = self.claiming_user(name) {
            let name = Arc::clone(name);
            self.park_claim(user, from, Mail::Gone { name });
            return;
        }
        let Some(user) = self.users.find(name, self.hash_key) else {
            return;
        };
        if let Some(entry) = self.users.at_mut(user) {
            entry.shards &= !(1 << (from & 63));
        }
        if let Some(index) = self.rooms.find(Space::Inbox, name, self.hash_key)
            && let Some(home) = self.rooms.at_mut(index).and_then(|room| room.home_mut())
        {
            home.subscribers
                .retain(|subscriber| subscriber.shard != from);
        }
        self.check_left(user);
    }

    /// At the user's home: starts the time for which a name is held without connections.
    pub(super) fn check_left(&mut self, user: u32) {
        let hour = self.hour;
        let Some(entry) = self.users.at_mut(user) else {
            return;
        };
        if entry.connections > 0 || entry.shards != 0 {
            return;
        }
        match entry.claim {
            Claim::Held => {
                entry.claim = Claim::Left { since_hour: hour };
                if self.durable {
                    let (name, unix_ms) = (shared(&entry.name), self.now.unix_ms);
                    let note = Note::Left { name, unix_ms };
                    self.submission.requests.push(Request::Note(note));
                }
            }
            Claim::Guest { .. } => {
                let name = entry.name.clone();
                entry.claim = Claim::Mentioned;
                if let Some(index) = self.rooms.find(Space::Inbox, &name, self.hash_key) {
                    self.remove_room(index);
                }
                self.users.sweep(user, self.hash_key);
            }
            Claim::Mentioned | Claim::Left { .. } => {}
        }
    }

    /// A held name is nobody's again.
    pub(super) fn release_name(&mut self, user: u32) {
        if self.durable
            && let Some(entry) = self.users.at(user)
        {
            let name = shared(&entry.name);
            let note = Note::Release { name };
            self.submission.requests.push(Request::Note(note));
        }
        self.forget_name(user);
    }

    fn forget_name(&mut self, user: u32) {
        self.uncharge(user);
        self.doubted.remove(&user);
        if let Some(entry) = self.users.at_mut(user) {
            entry.claim = Claim::Mentioned;
            entry.inbox = Head { epoch: 0, seq: 0 };
        }
        self.users.sweep(user, self.hash_key);
    }

    /// Whether a user with this name is known at its home.
    pub(super) fn is_held(&self, name: &str) -> bool {
        let user = self
            .users
            .find(name, self.hash_key)
            .and_then(|user| self.users.at(user));
        user.is_some_and(|user| user.claim != Claim::Mentioned)
    }
}

/// Whether a claim of a name that is held is the holder's.
fn is_proven(proof: &Proof, secret: &SecretHash) -> bool {
    match proof {
        Proof::Nothing => false,
        Proof::Session(session) => {
            is_same_secret(&hash_secret(session.reveal()), secret) && *secret != NO_SECRET
        }
        Proof::Token => true,
    }
}
