//! Who a connection is: asking for a name, guests, and the `welcome`.

use super::{Hub, Identity, epoch_text, shared};
use crate::authority::Denial;
use crate::limits::DEDUPE_COUNT_MAX;
use crate::mail::{Granted, Mail, Proof, Since};
use crate::proto::{Code, Refusal, event, name};
use crate::room::{Connection, Encoding, Space};
use crate::secret::Secret;
use crate::slots::Slot;
use crate::users::{Claim, NOBODY, hash_secret};
use crate::ws::CloseCode;
use std::borrow::Cow;
use std::net::IpAddr;

/// What a connection says of itself when it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hello<'a> {
    /// The name that it wants; without one it is made up.
    pub user: Option<&'a str>,
    /// The secret that holds the name.
    pub session: Option<Secret<&'a str>>,
    /// What it has seen of its inbox.
    pub since: Option<Since>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// The command's `id`.
    pub id: Option<&'a str>,
}

impl Hub {
    /// A connection was upgraded: from now on the hub knows it. `encoding` is what it is sent of rooms' frames.
    pub fn connect(&mut self, peer: Slot, encoding: Encoding) {
        self.clients.insert(peer, encoding);
    }

    /// Asks the home of a name for it. [`Effect::Settled`](crate::effects::Effect::Settled) follows, or a close.
    pub fn hello(&mut self, peer: Slot, hello: &Hello<'_>) {
        if let Err(fault) = hello.user.map_or(Ok(()), name::check) {
            self.refuse_identity(
                peer,
                Code::BadName,
                format!("`user` {fault}").into(),
                hello.id,
            );
            return;
        }
        if hello
            .session
            .is_some_and(|session| !name::is_session(session.reveal()))
        {
            let text =
                "`session` must have 16 to 128 bytes: use the one that `welcome` gave, or none";
            self.refuse_identity(peer, Code::BadField, text.into(), hello.id);
            return;
        }
        match hello.user {
            Some(name) => self.ask_for(peer, name, Proof::of_session(hello.session), hello),
            None => self.be_guest(peer, hello),
        }
        self.settle();
    }

    /// The same where tokens say who is who: the connection is the user that its permit names.
    pub fn hello_by_token(&mut self, peer: Slot, hello: &Hello<'_>) {
        let Some(user) = self.permits.user(peer).map(shared) else {
            self.deny(peer, Denial::Missing, hello.id);
            return;
        };
        if hello.user.is_some_and(|name| *name != *user) {
            self.deny(peer, Denial::OtherUser, hello.id);
            return;
        }
        self.ask_for(peer, &user, Proof::Token, hello);
        self.settle();
    }

    /// Refuses a connection that did not prove who it is.
    pub fn deny(&mut self, peer: Slot, denial: Denial, id: Option<&str>) {
        self.counters.unauthorized_total += 1;
        self.refuse_identity(peer, Code::Unauthorized, denial.as_str().into(), id);
    }

    fn ask_for(&mut self, peer: Slot, name: &str, proof: Proof, hello: &Hello<'_>) {
        let user = self.users.mention(name, self.hash_key);
        self.start_claim(peer, user);
        let replica = self.rooms.find(Space::Inbox, name, self.hash_key);
        let claim = Mail::Claim {
            name: shared(name),
            from: self.connection(peer),
            proof,
            address: hello.address,
            since: hello.since,
            have: replica
                .and_then(|index| self.rooms.at(index))
                .map(|room| room.tail.seq_before()),
            id: hello.id.map(Box::from),
        };
        self.post(self.home_of(Space::Inbox, name), claim);
    }

    fn be_guest(&mut self, peer: Slot, hello: &Hello<'_>) {
        let name = self.made_up_name();
        let session: Box<str> = hello.session.map_or_else(
            || self.random_hex(16).into(),
            |session| session.reveal().into(),
        );
        let user = self.users.mention(&name, self.hash_key);
        self.start_claim(peer, user);
        let since_hour = self.hour;
        if let Some(user) = self.users.at_mut(user) {
            user.claim = Claim::Guest { since_hour };
            user.secret = hash_secret(&session);
        }
        let inbox = self.inbox_sync(user, self.place.shard, None, None);
        let session = Some(Secret::new(session));
        self.settle_identity(peer, user, Granted { session, inbox }, hello.id);
    }

    /// A name whose home is this shard, so that nobody else need be asked.
    fn made_up_name(&mut self) -> String {
        loop {
            let name = format!("guest-{}", self.random_hex(5));
            let is_free = self.users.find(&name, self.hash_key).is_none();
            if is_free && self.home_of(Space::Inbox, &name) == self.place.shard {
                return name;
            }
        }
    }

    fn start_claim(&mut self, peer: Slot, user: u32) {
        if let (Some(client), Some(entry)) = (self.clients.get_mut(peer), self.users.at_mut(user)) {
            client.identity = Identity::Claiming(user);
            entry.connections += 1;
        }
    }

    /// At the connection's side: the home has decided.
    pub(super) fn claimed(
        &mut self,
        to: Slot,
        name: &str,
        outcome: Result<Box<Granted>, Code>,
        id: Option<&str>,
    ) {
        let Some(Identity::Claiming(user)) = self.clients.get(to).map(|client| client.identity)
        else {
            // It went while it waited, and has given the name back: where that is held here, it is held for nobody.
            if let Some(user) = self.users.find(name, self.hash_key) {
                self.check_left(user);
            }
            return;
        };
        match outcome {
            Ok(granted) => self.settle_identity(to, user, *granted, id),
            Err(code) => {
                let text = match code {
                    Code::Storage => "the server could not keep the claim: try again".to_owned(),
                    Code::NameTaken => format!(
                        "the name {name:?} belongs to another session: choose another name, or bring its `session`"
                    ),
                    _ => "too many names are claimed already: come back later, or without a name"
                        .to_owned(),
                };
                self.refuse_identity(to, code, text.into(), id);
            }
        }
    }

    fn settle_identity(&mut self, peer: Slot, user: u32, granted: Granted, id: Option<&str>) {
        let (Some(client), Some(entry)) = (self.clients.get_mut(peer), self.users.at_mut(user))
        else {
            return;
        };
        client.identity = Identity::Settled(user);
        client.next_of_user = std::mem::replace(&mut entry.first_peer, peer.index);
        let name = entry.name.clone();
        let inbox = granted.inbox;
        let client_id = self.client_id(self.connection(peer));
        let epoch = epoch_text(inbox.epoch);
        let welcome = event::Welcome {
            client_id: &client_id,
            user: &name,
            session: granted.session.as_ref().map(Secret::reveal),
            inbox: event::Inbox {
                epoch: &epoch,
                seq_id: inbox.head,
                recovered: inbox.recovered.map(|recovered| recovered.is_ok()),
            },
            heartbeat_ms: self.limits.heartbeat_ms,
            limits: event::Bounds {
                message_bytes_max: self.limits.message_bytes_max,
                rooms_per_connection_max: self.limits.rooms_per_connection_max,
                dedupe_count: DEDUPE_COUNT_MAX,
                dedupe_hours: if self.durable { 24 } else { 0 },
                durable: self.durable,
            },
            timestamp: self.now.unix_ms,
            id,
        };
        self.effects.reply(peer, |out| welcome.encode(out));
        self.effects.settled(peer);
        self.follow_inbox(peer, user, inbox);
    }

    /// Names a connection in logs: no one can tell another's from it.
    pub(super) fn client_id(&self, connection: Connection) -> String {
        format!("{:016x}", self.client_number(connection))
    }

    /// The same as a number; 0 for no connection.
    pub(super) fn client_number(&self, connection: Connection) -> u64 {
        if connection == Connection::NONE {
            return 0;
        }
        let (shard, slot) = (connection.shard.to_le_bytes(), connection.slot.to_u64());
        let parts: [&[u8]; 3] = [b"client", &shard, &slot.to_le_bytes()];
        self.hash_key.wide(&parts) as u64
    }

    fn refuse_identity(
        &mut self,
        peer: Slot,
        code: Code,
        message: Cow<'static, str>,
        id: Option<&str>,
    ) {
        self.drop_identity(peer);
        let id = id.map(Cow::Borrowed);
        let refusal = Refusal {
            code,
            message,
            request: "hello".into(),
            id,
            target: None,
        };
        self.counters.errors_total += 1;
        self.effects
            .reply(peer, |out| event::Error::from(&refusal).encode(out));
        let close = if code.retryable() {
            CloseCode::LATER
        } else {
            CloseCode::REFUSED
        };
        self.effects.close(peer, close, code.as_str());
    }

    /// The connection is nobody's any more. Its user's last one on this shard says so to the user's home.
    pub(super) fn drop_identity(&mut self, peer: Slot) {
        let Some(client) = self.clients.get_mut(peer) else {
            return;
        };
        let identity = std::mem::replace(&mut client.identity, Identity::Nobody);
        let next = std::mem::replace(&mut client.next_of_user, NOBODY);
        let user = match identity {
            Identity::Nobody => return,
            Identity::Claiming(user) => user,
            Identity::Settled(user) => {
                self.unlink_of_user(user, peer.index, next);
                user
            }
        };
        let Some(entry) = self.users.at_mut(user) else {
            return;
        };
        entry.connections -= 1;
        if entry.connections == 0 {
            let name = shared(&entry.name);
            self.leave_user(user, &name);
        }
        self.users.sweep(user, self.hash_key);
    }

    fn unlink_of_user(&mut self, user: u32, peer: u32, next: u32) {
        let Some(entry) = self.users.at_mut(user) else {
            return;
        };
        if entry.first_peer == peer {
            entry.first_peer = next;
            return;
        }
        let mut at = entry.first_peer;
        while let Some(client) = self.clients.at_mut(at) {
            if client.next_of_user == peer {
                client.next_of_user = next;
                return;
            }
            at = client.next_of_user;
        }
    }

    fn leave_user(&mut self, user: u32, name: &std::sync::Arc<str>) {
        let home = self.home_of(Space::Inbox, name);
        if home == self.place.shard {
            self.check_left(user);
            return;
        }
        if let Some(replica) = self.rooms.find(Space::Inbox, name, self.hash_key) {
            self.remove_room(replica);
        }
        self.post(home, Mail::Gone { name: name.clone() });
    }

    /// The name of a connection's user, or nothing in a relay.
    pub(super) fn user_name(&self, peer: Slot) -> Option<&str> {
        let user = self.clients.get(peer)?.user()?;
        Some(&self.users.at(user)?.name)
    }

    /// Whether a connection is of this shard and still there.
    pub(super) fn is_here(&self, connection: Connection) -> bool {
        connection.shard == self.place.shard && self.clients.get(connection.slot).is_some()
    }
}
