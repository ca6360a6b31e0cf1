//! Names at their home: who may have one, for how long, and where its inbox stands.

use super::Hub;
use crate::log::Head;
use crate::mail::{Granted, Mail, Since, Sync};
use crate::proto::Code;
use crate::room::{Key, Space};
use crate::users::{Claim, hash_secret, is_same_secret};
use std::net::IpAddr;

impl Hub {
    /// At the name's home: decides a claim.
    pub(super) fn claim(&mut self, mail: Mail) {
        let Mail::Claim {
            name,
            from,
            session,
            address,
            since,
            have,
            id,
        } = mail
        else {
            return;
        };
        let outcome = self.grant(&name, session, address).map(|(user, session)| {
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
            Box::new(Granted { session, inbox })
        });
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

    fn grant(
        &mut self,
        name: &str,
        session: Option<Box<str>>,
        address: Option<IpAddr>,
    ) -> Result<(u32, Box<str>), Code> {
        let user = self.users.mention(name, self.hash_key);
        let claim = self
            .users
            .at(user)
            .map_or(Claim::Mentioned, |entry| entry.claim);
        match claim {
            Claim::Held | Claim::Left { .. } | Claim::Guest => {
                let secret = self
                    .users
                    .at(user)
                    .map(|entry| entry.secret)
                    .unwrap_or_default();
                let session = session.filter(|text| is_same_secret(&hash_secret(text), &secret));
                let session = session.ok_or(Code::NameTaken)?;
                if let (Claim::Left { .. }, Some(entry)) = (claim, self.users.at_mut(user)) {
                    entry.claim = Claim::Held;
                }
                Ok((user, session))
            }
            Claim::Mentioned => {
                if let Err(code) = self.charge_name(user, address) {
                    self.users.sweep(user, self.hash_key);
                    return Err(code);
                }
                let session = session.unwrap_or_else(|| self.random_hex(16).into());
                if let Some(entry) = self.users.at_mut(user) {
                    entry.claim = Claim::Held;
                    entry.secret = hash_secret(&session);
                }
                Ok((user, session))
            }
        }
    }

    /// Counts a claim against its address and the whole.
    fn charge_name(&mut self, user: u32, address: Option<IpAddr>) -> Result<(), Code> {
        let share = |all: u32| all.div_ceil(u32::from(self.place.count)) as usize;
        let address = address.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let of_address = self.claims_by_address.get(&address).copied().unwrap_or(0) as usize;
        if self.claims.len() >= share(self.limits.name_count_max)
            || of_address >= share(self.limits.names_per_address_max)
        {
            self.counters.names_refused_total += 1;
            return Err(Code::Overloaded);
        }
        self.claims.insert(user, address);
        *self.claims_by_address.entry(address).or_insert(0) += 1;
        Ok(())
    }

    /// At the user's home: a shard has no connection of it any more.
    pub(super) fn gone(&mut self, from: u16, name: &str) {
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
            Claim::Held => entry.claim = Claim::Left { since_hour: hour },
            Claim::Guest => {
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
        if let Some(address) = self.claims.remove(&user)
            && let Some(count) = self.claims_by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.claims_by_address.remove(&address);
            }
        }
        if let Some(entry) = self.users.at_mut(user) {
            entry.claim = Claim::Mentioned;
            entry.inbox = Head { epoch: 0, seq: 0 };
        }
        self.users.sweep(user, self.hash_key);
    }

    /// At the user's home: how a connection on a shard follows the inbox.
    pub(super) fn inbox_sync(
        &mut self,
        user: u32,
        shard: u16,
        since: Option<Since>,
        have: Option<u64>,
    ) -> Sync {
        let Some(entry) = self.users.at(user) else {
            return Sync::NOTHING;
        };
        if let Some(index) = self.rooms.find(Space::Inbox, &entry.name, self.hash_key) {
            return self.sync(index, shard, since, have);
        }
        if entry.inbox.epoch == 0 {
            let epoch = self.fresh_epoch();
            if let Some(entry) = self.users.at_mut(user) {
                entry.inbox = Head { epoch, seq: 0 };
            }
        }
        let head = self
            .users
            .at(user)
            .map_or(Head { epoch: 0, seq: 0 }, |entry| entry.inbox);
        let recovered = since.map(|since| since.check(head));
        Sync {
            epoch: head.epoch,
            head: head.seq,
            from: head.seq,
            recovered,
            ..Sync::NOTHING
        }
    }

    /// Where the log of a room that is made now stands.
    pub(super) fn first_head(&mut self, key: &Key) -> (u64, u64) {
        let inbox = match key.space {
            Space::Inbox => self
                .users
                .find(&key.name, self.hash_key)
                .and_then(|user| self.users.at(user)),
            Space::Chat | Space::Raw => None,
        };
        match inbox.map(|user| user.inbox) {
            Some(head) if head.epoch != 0 => (head.epoch, head.seq),
            Some(_) | None => (self.fresh_epoch(), 0),
        }
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
