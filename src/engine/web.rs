//! HTTP requests: the page, the probes, and the upgrade that turns a connection into a WebSocket.

use super::arrive::FULL;
use super::read::Stop;
use super::{Engine, Socket};
use crate::authority::{Auth, Denial};
use crate::http::{self, Offer, Parsed, Refusal, Reply, Request, Route, Scan, WsQuery, response};
use crate::hub::{Hello, WINDOW_BITS};
use crate::limits::{METRICS_COUNT_PER_TURN, REPLY_BYTES_MAX, RETRY_AFTER_S};
use crate::log::LogPort;
use crate::mail::Since;
use crate::peer::{Marks, Phase};
use crate::room::Encoding;
use crate::secret::Secret;
use crate::slots::Slot;
use crate::timers::ticks;
use crate::ws::CloseCode;
use crate::ws::deflate::{self, Agreed};
use crate::ws::{handshake, origin};

/// The subprotocol of `/ws`.
const SUBPROTOCOL: &str = "roomcast.v1";

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Takes at most one request. No stop means that the rest can be gone on with.
    pub(super) fn take_request(
        &mut self,
        slot: Slot,
        bytes: &[u8],
        budget: &mut u32,
    ) -> (usize, Option<Stop>) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return (0, Some(Stop::Empty));
        };
        if let Some(spill) = &mut peer.spill
            && spill.skip_bytes > 0
        {
            let skipped = bytes
                .len()
                .min(usize::try_from(spill.skip_bytes).unwrap_or(usize::MAX));
            spill.skip_bytes -= skipped as u64;
            let stop = (skipped == bytes.len()).then_some(Stop::Empty);
            return (skipped, stop);
        }
        if bytes.is_empty() {
            return (0, Some(Stop::Empty));
        }
        if peer.reply_bytes() >= REPLY_BYTES_MAX {
            return (0, Some(Stop::Replies));
        }
        if *budget == 0 {
            return (0, Some(Stop::Budget));
        }
        if self.must_slow(slot, Phase::Http) {
            return (0, Some(Stop::Rate));
        }
        *budget -= 1;
        let Some(peer) = self.peers.get_mut(slot) else {
            return (0, Some(Stop::Empty));
        };
        let mut scan = peer
            .spill
            .as_mut()
            .map_or_else(Scan::default, |spill| spill.scan_from_start());
        match http::parse(bytes, &mut scan) {
            Parsed::Partial => {
                peer.spill_mut().scan = scan;
                (0, Some(Stop::Empty))
            }
            Parsed::Request {
                request,
                head_bytes,
            } => {
                let route = http::route(&request, self.settings.endpoints);
                let stop = self
                    .must_postpone(slot, &request)
                    .or_else(|| self.must_postpone_metrics(slot, &route));
                if stop.is_some() {
                    return (0, stop);
                }
                self.spend(slot, head_bytes);
                self.serve(slot, &request, route);
                (head_bytes, None)
            }
            Parsed::Refused(refusal) => {
                self.refuse_request(slot, self.closing(), refusal);
                (bytes.len(), Some(Stop::Empty))
            }
        }
    }

    /// Whether a request asks for the metrics after enough of them were written in this turn. They are written when they
    /// are asked for and never kept: whoever asks after something has happened finds it in them.
    fn must_postpone_metrics(
        &mut self,
        slot: Slot,
        route: &Result<Route<'_>, Refusal>,
    ) -> Option<Stop> {
        if !matches!(route, Ok(Route::Metrics)) || self.metrics_count < METRICS_COUNT_PER_TURN {
            return None;
        }
        self.hub.counters.metrics_postponed_total += 1;
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.marks.set(Marks::METRICS);
        }
        Some(Stop::Budget)
    }

    fn serve(&mut self, slot: Slot, request: &Request<'_>, route: Result<Route<'_>, Refusal>) {
        let mut reply = Reply::to(request, self.now.unix_ms);
        reply.keep_alive &= !self.is_draining && !self.is_turned_away(slot);
        reply.is_strict = self.settings.is_strict;
        let route = match route {
            Ok(route) => route,
            Err(refusal) => return self.refuse_request(slot, reply, refusal),
        };
        if !self.may_ask_for(slot, &route) {
            return self.refuse_request(slot, reply, FULL);
        }
        match route {
            Route::Asset(asset) => self.answer(slot, reply, |out| reply.asset(out, asset, request)),
            Route::Health => self.answer(slot, reply, |out| {
                reply.text(out, response::TEXT_PLAIN, b"ok\n")
            }),
            Route::Ready => self.serve_readiness(slot, reply),
            Route::Metrics => {
                self.metrics_count += 1;
                let mut text = String::new();
                self.site.metrics(&mut text);
                self.answer(slot, reply, |out| {
                    reply.text(out, response::TEXT_METRICS, text.as_bytes())
                });
            }
            Route::Options => self.answer(slot, reply, |out| reply.no_content(out)),
            Route::Ws(offer) => match WsQuery::parse(request.query) {
                Ok(query) => self.upgrade(slot, request, reply, &offer, |engine| {
                    engine.enter_chat(slot, request, &query)
                }),
                Err(error) => self.refuse_request(slot, reply, error.refusal()),
            },
            Route::Raw(room, offer) => {
                self.upgrade(slot, request, reply, &offer, |engine| {
                    engine.enter_relay(slot, request, room)
                });
            }
            Route::Echo(offer) => {
                self.upgrade(slot, request, reply, &offer, |engine| {
                    engine.enter_echo(slot, request)
                });
            }
        }
        if request.body_bytes > 0
            && let Some(peer) = self.peers.get_mut(slot)
        {
            peer.spill_mut().skip_bytes = request.body_bytes;
        }
    }

    fn serve_readiness(&mut self, slot: Slot, reply: Reply) {
        let readiness = if self.is_draining {
            Err("the server is stopping")
        } else {
            self.site.readiness()
        };
        match readiness {
            Ok(()) => self.answer(slot, reply, |out| {
                reply.text(out, response::TEXT_PLAIN, b"ready\n")
            }),
            Err(why) => self.refuse_request(slot, reply, Refusal::unavailable(why, RETRY_AFTER_S)),
        }
    }

    /// Writes an answer, after which the connection goes on or ends.
    fn answer(&mut self, slot: Slot, reply: Reply, write: impl FnOnce(&mut Vec<u8>)) {
        self.hub.counters.http_requests_total += 1;
        if let Some(replies) = self.replies(slot.index) {
            write(replies.buffer());
        }
        self.mark_flush(slot.index);
        if reply.keep_alive {
            self.arm(
                slot.index,
                self.now.tick() + ticks(self.settings.limits.http_idle_ms),
            );
        } else {
            self.end(slot);
        }
    }

    pub(super) fn refuse_request(&mut self, slot: Slot, reply: Reply, refusal: Refusal) {
        self.hub.counters.http_refused_total += 1;
        if let Some(replies) = self.replies(slot.index) {
            reply.refusal(replies.buffer(), refusal);
        }
        self.mark_flush(slot.index);
        self.end(slot);
    }

    /// A reply to no request that could be read.
    pub(super) fn closing(&self) -> Reply {
        Reply {
            is_strict: self.settings.is_strict,
            ..Reply::closing(self.now.unix_ms)
        }
    }

    fn upgrade(
        &mut self,
        slot: Slot,
        request: &Request<'_>,
        reply: Reply,
        offer: &Offer<'_>,
        enter: impl FnOnce(&mut Self),
    ) {
        if self.is_draining {
            let refusal = Refusal::unavailable("the server is stopping", RETRY_AFTER_S);
            return self.refuse_request(slot, reply, refusal);
        }
        let is_secure = self.named_by_request(slot, request) | self.settings.is_tls;
        let origins = &self.settings.origins;
        if !origin::is_allowed(request.origin, request.host, is_secure, origins) {
            self.hub.counters.origin_refused_total += 1;
            return self.refuse_request(slot, reply, Refusal::FOREIGN_ORIGIN);
        }
        if !self.seat_client(slot) {
            return;
        }
        // The requests before may have been those of others, where a proxy keeps its connections.
        self.throttle.forget(slot.index);
        self.hub.counters.upgrades_total += 1;
        let subprotocol = offer.protocols.contains(SUBPROTOCOL).then_some(SUBPROTOCOL);
        let offers = offer
            .extensions
            .iter()
            .map(|offer| (offer.name, offer.parameters()));
        let agreed = if self.settings.deflate {
            deflate::negotiate(offers)
        } else {
            None
        };
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.window_bits = agreed.map_or(0, |agreed| agreed.server_window_bits);
        }
        if let Some(replies) = self.replies(slot.index) {
            let accept = handshake::accept_key(offer.key);
            let extensions = agreed.map(Agreed::header_value);
            response::upgrade(replies.buffer(), &accept, subprotocol, extensions);
        }
        self.mark_flush(slot.index);
        enter(self);
    }

    fn enter_chat(&mut self, slot: Slot, request: &Request<'_>, query: &WsQuery<'_>) {
        self.hub.connect(slot, self.encoding(slot));
        let address = self.address(slot);
        let token = match self.settings.auth {
            Auth::Guest => Ok(()),
            Auth::Token(_) => self.take_token(slot, request),
        };
        let is_to_say_hello = query.hello && token.is_ok() || token == Err(Denial::Missing);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.phase = if is_to_say_hello {
            Phase::Hello
        } else {
            Phase::Claiming
        };
        if let Some(room) = &query.room {
            peer.spill_mut().first_room = Some(room.as_ref().into());
        }
        self.arm(
            slot.index,
            self.now.tick() + ticks(self.settings.limits.handshake_ms),
        );
        if is_to_say_hello {
            return;
        }
        let hello = Hello {
            user: query.user.as_deref(),
            session: query.session.as_deref().map(Secret::new),
            since: query.inbox_since.map(|seq| Since { epoch: None, seq }),
            address,
            id: None,
        };
        match (token, &self.settings.auth) {
            (Err(denial), _) => self.hub.deny(slot, denial, None),
            (Ok(()), Auth::Guest) => self.hub.hello(slot, &hello),
            (Ok(()), Auth::Token(_)) => self.hub.hello_by_token(slot, &hello),
        }
    }

    fn enter_relay(&mut self, slot: Slot, request: &Request<'_>, room: &str) {
        self.hub.connect(slot, self.encoding(slot));
        if !self.enter_bare(slot, request, Phase::Relay) {
            return;
        }
        if self.hub.may_relay(slot, room) {
            self.pay_rooms(slot);
            self.hub.enter_relay(slot, room);
        } else {
            self.hub.counters.forbidden_total += 1;
            self.close(slot, CloseCode::REFUSED, Denial::Room.as_str());
        }
    }

    fn enter_echo(&mut self, slot: Slot, request: &Request<'_>) {
        self.enter_bare(slot, request, Phase::Echo);
    }

    /// Enters where no `hello` is said: the upgrade has to bring the token, where one is wanted. Whether it is in.
    fn enter_bare(&mut self, slot: Slot, request: &Request<'_>, phase: Phase) -> bool {
        let token = match self.settings.auth {
            Auth::Guest => Ok(()),
            Auth::Token(_) => self.take_token(slot, request),
        };
        self.enter(slot, phase);
        if let Err(denial) = token {
            self.hub.counters.unauthorized_total += 1;
            self.close(slot, CloseCode::REFUSED, denial.as_str());
        }
        token.is_ok()
    }

    /// What a connection is sent of its rooms' frames: they are compressed with one window for all.
    fn encoding(&self, slot: Slot) -> Encoding {
        match self.peers.get(slot) {
            Some(peer) if peer.window_bits == WINDOW_BITS => Encoding::Deflated,
            Some(_) | None => Encoding::Plain,
        }
    }

    /// From here on the connection lives as long as it gives signs of life.
    pub(super) fn enter(&mut self, slot: Slot, phase: Phase) {
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.phase = phase;
            peer.heard = self.now.tick();
        }
        let interval = ticks(self.settings.limits.heartbeat_ms);
        self.arm_open(slot, self.now.tick() + interval);
    }
}
