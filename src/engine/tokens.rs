//! Tokens: what they are checked for, how many in one turn, and when connections end with them.

use super::read::Stop;
use super::{Engine, Socket};
use crate::authority::{Auth, Badge, Denial};
use crate::http::{Request, Upgrade};
use crate::hub::{Hello, Validity};
use crate::limits::{TOKEN_COUNT_PER_TURN, TOKEN_OBJECT_COUNT};
use crate::log::LogPort;
use crate::peer::{Marks, Phase};
use crate::proto::{self, Code};
use crate::secret::Secret;
use crate::slots::Slot;
use crate::timers::Tick;
use crate::ws::CloseCode;

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Whether identity is settled by tokens.
    pub(super) fn wants_tokens(&self) -> bool {
        matches!(self.settings.auth, Auth::Token(_))
    }

    /// Whether a token may be checked in this turn. Otherwise the peer is not looked at before the next one.
    pub(super) fn may_check(&mut self, slot: Slot) -> Result<(), Stop> {
        if self.token_count < TOKEN_COUNT_PER_TURN {
            return Ok(());
        }
        self.hub.counters.tokens_postponed_total += 1;
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.marks.set(Marks::TOKEN);
        }
        Err(Stop::Budget)
    }

    /// Checks a token. The caller has asked whether it [may](Engine::may_check).
    fn check(&mut self, token: Secret<&str>) -> Result<Badge, Denial> {
        let Auth::Token(authority) = &self.settings.auth else {
            return Err(Denial::Missing);
        };
        self.token_count += 1;
        self.hub.counters.tokens_checked_total += 1;
        authority.check(token.reveal(), self.now.unix_ms)
    }

    /// Whether the token of an upgrade has to wait for the next turn.
    pub(super) fn must_postpone(&mut self, slot: Slot, request: &Request<'_>) -> Option<Stop> {
        if !self.wants_tokens() {
            return None;
        }
        token_of(request)?;
        self.may_check(slot).err()
    }

    /// Checks the token that an upgrade brought, if it brought one.
    pub(super) fn take_token(&mut self, slot: Slot, request: &Request<'_>) -> Result<(), Denial> {
        let token = token_of(request).ok_or(Denial::Missing)?;
        let badge = self.check(token)?;
        self.hub.permit(slot, badge);
        Ok(())
    }

    /// The first `hello` of a connection that waited for one. What it says goes beyond what the upgrade said.
    pub(super) fn hello_by_token(
        &mut self,
        slot: Slot,
        token: Option<Secret<&str>>,
        hello: &Hello<'_>,
        budget: &mut u32,
    ) {
        if let Some(token) = token {
            *budget = budget.saturating_sub(TOKEN_OBJECT_COUNT);
            match self.check(token) {
                Ok(badge) => self.hub.permit(slot, badge),
                Err(denial) => return self.hub.deny(slot, denial, hello.id),
            }
        }
        self.hub.hello_by_token(slot, hello);
    }

    /// A further `hello`, with a new token for the same user. Where it is refused, the old one stays good for its time.
    pub(super) fn refresh(
        &mut self,
        slot: Slot,
        request: &proto::Request<'_>,
        token: Secret<&str>,
        budget: &mut u32,
    ) {
        *budget = budget.saturating_sub(TOKEN_OBJECT_COUNT);
        let outcome = self.check(token).and_then(|badge| {
            let is_same = self.hub.is_same_user(slot, &badge);
            is_same.then_some(badge).ok_or(Denial::OtherUser)
        });
        match outcome {
            Ok(badge) => {
                self.hub.permit(slot, badge);
                self.hub.tell_expiry(slot, request.id.as_deref());
                let deadline = self.peers.get(slot).map_or(Tick::MAX, |peer| peer.deadline);
                self.arm_open(slot, deadline);
            }
            Err(denial) => {
                self.hub.counters.unauthorized_total += 1;
                let refusal = request.refuse(Code::Unauthorized, denial.as_str());
                self.hub.refuse_command(slot, &refusal);
            }
        }
    }

    /// Arms the timer of an open connection, which may have to be looked at earlier for the sake of its token.
    pub(super) fn arm_open(&mut self, slot: Slot, deadline: Tick) {
        let deadline = match self.hub.validity(slot) {
            Validity::Unlimited => deadline,
            Validity::Until(tick) => deadline.min(tick),
            Validity::Expired => self.now.tick(),
        };
        self.arm(slot.index, deadline);
    }

    /// Warns a connection whose token expires soon, and closes one whose token has expired. Whether it was closed.
    pub(super) fn check_token(&mut self, slot: Slot) -> bool {
        if self.hub.validity(slot) == Validity::Expired {
            self.hub.counters.tokens_expired_total += 1;
            let reason = "the token has expired: come back with a new one";
            self.dismiss_with(slot, CloseCode::EXPIRED, reason);
            return true;
        }
        let is_chat = self
            .peers
            .get(slot)
            .is_some_and(|peer| peer.phase == Phase::Chat);
        // Only there a new one can be brought.
        if self.hub.is_warning_due(slot) && is_chat {
            self.hub.tell_expiry(slot, None);
        }
        false
    }
}

/// The token of an upgrade: the field that programs set, or else the one that pages can set.
fn token_of<'a>(request: &'a Request<'_>) -> Option<Secret<&'a str>> {
    let Upgrade::WebSocket(offer) = &request.upgrade else {
        return None;
    };
    request.bearer().or_else(|| offer.token())
}
