//! What tokens allow their connections, and until when.
//!
//! Connections of guests have no entry here.

use super::Hub;
use crate::authority::Badge;
use crate::hashing::HashKey;
use crate::limits::TOKEN_WARNING_MS;
use crate::proto::event;
use crate::slots::Slot;
use crate::timers::{TICK_MS, Tick};
use hashbrown::HashMap;

/// How a connection stands with its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It needs none.
    Unlimited,
    /// Nothing happens before this tick.
    Until(Tick),
    /// It has expired.
    Expired,
}

/// What one token allows.
#[derive(Debug)]
struct Permit {
    user: Box<str>,
    until_unix_ms: u64,
    until: Tick,
    /// When the user is warned; once that is done, the end itself.
    next: Tick,
}

/// The permits of a shard, by the place of their connection.
#[derive(Debug)]
pub(super) struct Permits {
    by_peer: HashMap<u32, Permit, HashKey>,
}

impl Permits {
    pub(super) fn new(hash_key: HashKey) -> Permits {
        Permits {
            by_peer: HashMap::with_hasher(hash_key),
        }
    }

    /// The user that the token of a connection names.
    pub(super) fn user(&self, peer: Slot) -> Option<&str> {
        Some(&self.by_peer.get(&peer.index)?.user)
    }

    pub(super) fn remove(&mut self, peer: Slot) {
        self.by_peer.remove(&peer.index);
        if self.by_peer.capacity() > 64 && self.by_peer.len() < self.by_peer.capacity() / 4 {
            self.by_peer.shrink_to_fit();
        }
    }
}

impl Hub {
    /// A connection has brought a valid token: from now on it may do what that says, until it expires.
    pub fn permit(&mut self, peer: Slot, badge: Badge) {
        let left_ms = badge.until_unix_ms.saturating_sub(self.now.unix_ms);
        let warning_ms = TOKEN_WARNING_MS.min(left_ms / 4);
        let until = self.tick_in(left_ms);
        let permit = Permit {
            user: badge.user,
            until_unix_ms: badge.until_unix_ms,
            until,
            next: self.tick_in(left_ms - warning_ms).min(until),
        };
        self.permits.by_peer.insert(peer.index, permit);
        self.restrict(peer, badge.rights);
    }

    /// Whether a token is of the user that a connection is.
    pub fn is_same_user(&self, peer: Slot, badge: &Badge) -> bool {
        self.permits.user(peer) == Some(&*badge.user)
    }

    /// Tells a connection until when its token is good.
    pub fn tell_expiry(&mut self, peer: Slot, id: Option<&str>) {
        let Some(permit) = self.permits.by_peer.get(&peer.index) else {
            return;
        };
        let event = event::TokenExpires {
            expires_at: permit.until_unix_ms,
            timestamp: self.now.unix_ms,
        };
        self.effects.reply(peer, |out| event.encode(id, out));
    }

    /// How a connection stands with its token now.
    pub fn validity(&self, peer: Slot) -> Validity {
        match self.permits.by_peer.get(&peer.index) {
            None => Validity::Unlimited,
            Some(permit) if permit.until <= self.now.tick() => Validity::Expired,
            Some(permit) => Validity::Until(permit.next),
        }
    }

    /// Whether the time has come to warn a connection, which is told once.
    pub fn is_warning_due(&mut self, peer: Slot) -> bool {
        let now = self.now.tick();
        match self.permits.by_peer.get_mut(&peer.index) {
            Some(permit) if permit.next <= now && permit.next < permit.until => {
                permit.next = permit.until;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The tick in which so many milliseconds will have passed.
    fn tick_in(&self, ms: u64) -> Tick {
        let ticks = Tick::try_from(ms.div_ceil(TICK_MS)).unwrap_or(Tick::MAX);
        self.now.tick().saturating_add(ticks)
    }
}
