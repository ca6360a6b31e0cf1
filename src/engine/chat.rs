//! WebSocket messages, by what the connection is at.

use super::read::Stop;
use super::{Engine, Socket};
use crate::authority::Auth;
use crate::hub::{Hello, since_of};
use crate::limits::{INFLATED_BYTES_PER_OBJECT, INFLATING_WEIGHT};
use crate::log::LogPort;
use crate::peer::Phase;
use crate::proto::{Code, Command, Commands, Refusal, Request, event};
use crate::secret::Secret;
use crate::slots::Slot;
use crate::ws::frame::{self, Opcode};
use crate::ws::{CloseCode, Message};

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Takes one message. Some stop where the next one has to wait.
    pub(super) fn take_message(
        &mut self,
        slot: Slot,
        message: Message<'_>,
        budget: &mut u32,
    ) -> Option<Stop> {
        let phase = self.peers.get(slot)?.phase;
        match (message, phase) {
            (Message::Close(close), _) => {
                self.peer_closed(slot, close.map(|(code, _)| code));
                return None;
            }
            (_, Phase::Closing) => return None,
            (Message::Ping(payload), _) => {
                self.spend_anyway(slot, payload.len());
                if let Some(replies) = self.replies(slot.index) {
                    replies.pong(payload);
                }
                self.mark_flush(slot.index);
            }
            (Message::Pong(payload), _) => {
                self.spend_anyway(slot, payload.len());
                self.confirm(slot, payload);
            }
            (Message::Compressed(opcode, payload), _) => {
                return self.take_compressed(slot, opcode, payload, budget);
            }
            (Message::Text(text), Phase::Hello | Phase::Chat) => {
                return self.take_text(slot, text, budget);
            }
            (Message::Binary(_), Phase::Hello | Phase::Chat) => {
                self.violated(
                    slot,
                    CloseCode::UNSUPPORTED,
                    "the chat protocol speaks text",
                );
            }
            (Message::Text(text), Phase::Relay) => self.relay(slot, Opcode::Text, text.as_bytes()),
            (Message::Binary(bytes), Phase::Relay) => self.relay(slot, Opcode::Binary, bytes),
            (Message::Text(text), Phase::Echo) => self.echo(slot, Opcode::Text, text.as_bytes()),
            (Message::Binary(bytes), Phase::Echo) => self.echo(slot, Opcode::Binary, bytes),
            (
                Message::Text(_) | Message::Binary(_),
                Phase::Http | Phase::Claiming | Phase::Ending | Phase::Lingering,
            ) => {
                debug_assert!(false, "no message is taken in this phase");
                self.hub.counters.bugs_total += 1;
            }
        }
        *budget = budget.saturating_sub(1);
        None
    }

    /// Inflates a message within the bound on messages, and takes it as if it had come so.
    fn take_compressed(
        &mut self,
        slot: Slot,
        opcode: Opcode,
        payload: &[u8],
        budget: &mut u32,
    ) -> Option<Stop> {
        let mut inflater = std::mem::take(&mut self.inflater);
        let bytes_max = self.rules.message_bytes_max;
        // Where hardly anything comes of it, reading it was the work.
        let read_bytes = payload.len() * INFLATING_WEIGHT;
        self.inflated_bytes += read_bytes;
        let stop = match inflater.message(opcode, payload, bytes_max) {
            Ok(message) => {
                let inflated_bytes = message.payload_bytes();
                self.inflated_bytes += inflated_bytes;
                let stop = self.take_message(slot, message, budget);
                // The rate counts what came where that is more than it became.
                self.spend_bytes(slot, payload.len().saturating_sub(inflated_bytes));
                // What came as a few bytes takes its share of the turn by what it became.
                let share = (read_bytes + inflated_bytes) / INFLATED_BYTES_PER_OBJECT;
                *budget = budget.saturating_sub(u32::try_from(share).unwrap_or(u32::MAX));
                stop
            }
            Err(violation) => {
                // How far it came is not known; that far at most.
                self.inflated_bytes += bytes_max;
                self.violated(slot, violation.close_code(), violation.as_str());
                None
            }
        };
        inflater.trim();
        self.inflater = inflater;
        stop
    }

    /// Goes on with a text message of which only the first objects were taken. Some stop where that has to wait.
    pub(super) fn take_text_rest(&mut self, slot: Slot, budget: &mut u32) -> Option<Stop> {
        let spill = self.peers.get_mut(slot)?.spill.as_mut()?;
        if spill.text.is_empty() {
            return None;
        }
        let text = std::mem::take(&mut spill.text);
        self.take_text(slot, &text, budget)
    }

    fn take_text(&mut self, slot: Slot, text: &str, budget: &mut u32) -> Option<Stop> {
        let mut commands = Commands::new(text);
        loop {
            let before = commands.rest();
            let is_open = self.peers.get(slot)?.phase.is_open();
            if !is_open || before.trim_ascii_start().is_empty() {
                // A message that says nothing was work as well.
                if before.len() == text.len() {
                    *budget = budget.saturating_sub(1);
                    self.spend_anyway(slot, text.len());
                }
                return None;
            }
            let stop = self.must_stop(slot, *budget);
            let stop = stop.or_else(|| {
                let command = commands.next()?;
                let bytes = before.len() - commands.rest().len();
                self.take_object(slot, command, bytes, budget)
            });
            *budget = budget.saturating_sub(1);
            if let Some(stop) = stop {
                self.peers.get_mut(slot)?.spill_mut().text = before.to_owned();
                return Some(stop);
            }
        }
    }

    /// Takes one object of so many bytes; some stop where it has to come again later.
    fn take_object(
        &mut self,
        slot: Slot,
        command: Result<Request<'_>, Refusal<'_>>,
        bytes: usize,
        budget: &mut u32,
    ) -> Option<Stop> {
        match command {
            Ok(request) if self.refuse_hasty(slot, &request) => None,
            Ok(request) => {
                let stop = self.take_command(slot, &request, budget);
                if stop.is_none() {
                    self.spend(slot, bytes);
                }
                stop
            }
            Err(refusal) => {
                self.spend_anyway(slot, bytes);
                self.hub.refuse_command(slot, &refusal);
                None
            }
        }
    }

    /// Applies one command; some stop where it has to come again later.
    fn take_command(
        &mut self,
        slot: Slot,
        request: &Request<'_>,
        budget: &mut u32,
    ) -> Option<Stop> {
        let token = match &request.command {
            Command::Hello { token, .. } if self.wants_tokens() => {
                token.as_ref().map(Secret::by_ref)
            }
            _ => None,
        };
        if token.is_some()
            && let Err(stop) = self.may_check(slot)
        {
            return Some(stop);
        }
        if self.peers.get(slot)?.phase == Phase::Hello {
            self.take_hello(slot, request, token, budget);
        } else if let Some(token) = token {
            self.refresh(slot, request, token, budget);
        } else if let Command::Heartbeat { .. } = request.command {
            self.heartbeat(slot, request.id.as_deref());
        } else if self.hub.must_wait(&request.command) {
            return Some(Stop::Room);
        } else if let Command::Join { .. } = request.command
            && self.refuse_hasty_join(slot, request)
        {
            // It was told when to come again.
        } else {
            if let Command::Join { .. } = request.command {
                self.pay_rooms(slot);
            }
            self.hub.command(slot, request);
        }
        None
    }

    fn take_hello(
        &mut self,
        slot: Slot,
        request: &Request<'_>,
        token: Option<Secret<&str>>,
        budget: &mut u32,
    ) {
        let Command::Hello {
            user,
            session,
            token: _,
            inbox_since,
        } = &request.command
        else {
            let refusal = request.refuse(
                Code::Unauthorized,
                "say `hello` first, with the token where the server wants one",
            );
            self.hub.refuse_command(slot, &refusal);
            return;
        };
        let address = self.address(slot);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.phase = Phase::Claiming;
        let hello = Hello {
            user: user.as_deref(),
            session: session.as_ref().map(Secret::by_ref),
            since: inbox_since.as_ref().map(since_of),
            address,
            id: request.id.as_deref(),
        };
        match self.settings.auth {
            Auth::Guest => self.hub.hello(slot, &hello),
            Auth::Token(_) => self.hello_by_token(slot, token, &hello, budget),
        }
    }

    fn heartbeat(&mut self, slot: Slot, id: Option<&str>) {
        let mut text = Vec::new();
        event::Heartbeat {
            timestamp: self.now.unix_ms,
            id,
        }
        .encode(&mut text);
        let mut frame = Vec::with_capacity(text.len() + 4);
        frame::encode(&mut frame, Opcode::Text, &text);
        if let Some(replies) = self.replies(slot.index) {
            replies.heartbeat(&frame);
        }
        self.mark_flush(slot.index);
    }

    fn relay(&mut self, slot: Slot, opcode: Opcode, payload: &[u8]) {
        self.spend(slot, payload.len());
        self.hub.relay(slot, opcode, payload);
    }

    fn echo(&mut self, slot: Slot, opcode: Opcode, payload: &[u8]) {
        self.spend(slot, payload.len());
        let window_bits = self.peers.get(slot).map_or(0, |peer| peer.window_bits);
        let mut deflater = std::mem::take(&mut self.hub.deflater);
        if let Some(replies) = self.replies(slot.index) {
            let buffer = replies.buffer();
            if deflater.encode(opcode, payload, window_bits, buffer) {
                self.hub.counters.compressions_total += 1;
            }
        }
        self.hub.deflater = deflater;
        self.mark_flush(slot.index);
    }

    /// Our pings carry the place in the inbox up to which everything was written before them.
    fn confirm(&mut self, slot: Slot, payload: &[u8]) {
        let seq = std::str::from_utf8(payload)
            .ok()
            .and_then(|text| text.parse().ok());
        if let Some(seq) = seq {
            self.hub.confirm(slot, seq);
        }
    }
}
