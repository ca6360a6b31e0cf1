//! The commands of the protocol, at the connection's side.

use super::{Client, Hub, parse_epoch, shared};
use crate::limits::{
    HISTORY_COUNT_DEFAULT, HISTORY_COUNT_MAX, UNCOMMITTED_BYTES_PER_CONNECTION_MAX,
};
use crate::log::{Draft, Standing, What};
use crate::mail::{Mail, Order, Page, Reserve, Since};
use crate::proto::{Code, Command, Position, Refusal, Request, Target, event};
use crate::room::{Key, Space};
use crate::rules::Access;
use crate::slots::Slot;

impl Hub {
    /// Applies one command of a connection whose identity is settled.
    pub fn command(&mut self, peer: Slot, request: &Request<'_>) {
        let id = request.id.as_deref();
        match &request.command {
            Command::Hello { .. } => {
                self.refuse_command(
                    peer,
                    &request.refuse(Code::BadField, "hello comes first, and only once"),
                );
            }
            Command::Join {
                room_id,
                since,
                echo,
            } => {
                let since = since.as_ref().map(since_of);
                self.join_command(peer, request, room_id, since, *echo);
            }
            Command::Leave { room_id } => match self.joined_room(peer, Space::Chat, room_id) {
                Some(link) => self.leave(peer, link, Some(peer), id),
                None => self.refuse_not_joined(peer, request),
            },
            Command::Message {
                target,
                content,
                metadata,
            } => {
                self.message(peer, request, target, content, *metadata);
            }
            Command::Signal { target, content } => {
                self.message_signal(peer, request, target, content)
            }
            Command::History {
                target,
                before,
                after,
                limit,
            } => {
                let count = limit
                    .unwrap_or(HISTORY_COUNT_DEFAULT)
                    .min(HISTORY_COUNT_MAX);
                let page = Page {
                    before: *before,
                    after: *after,
                    count,
                };
                self.history(peer, request, target, page);
            }
            Command::Who { room_id } => self.who(peer, request, room_id),
            Command::Moderate {
                action,
                room_id,
                user,
                seconds,
                reason,
            } => {
                let order = Order {
                    action: *action,
                    user: shared(user),
                    by: shared(self.user_name(peer).unwrap_or_default()),
                    seconds: *seconds,
                    reason: reason.as_deref().map(Box::from),
                };
                self.moderate(peer, request, chat_room(room_id), order);
            }
            Command::Delete { room_id, seq_id } => self.delete(peer, request, room_id, *seq_id),
            // The engine answers it: of several only the last counts.
            Command::Heartbeat { .. } => {}
        }
        self.settle();
    }

    /// Joins a room that the URL of the upgrade names.
    pub fn join_first(&mut self, peer: Slot, room: &str) {
        let command = Command::Join {
            room_id: room.into(),
            since: None,
            echo: true,
        };
        self.command(peer, &Request { id: None, command });
    }

    /// Tells a connection that something that it sent was refused.
    pub fn refuse_command(&mut self, peer: Slot, refusal: &Refusal<'_>) {
        self.counters.errors_total += 1;
        self.effects
            .reply(peer, |out| event::Error::from(refusal).encode(out));
    }

    /// The same, where the command may succeed after a while.
    pub fn refuse_for(&mut self, peer: Slot, refusal: &Refusal<'_>, retry_after_ms: u64) {
        self.counters.errors_total += 1;
        let error = event::Error::until(refusal, Some(retry_after_ms));
        self.effects.reply(peer, |out| error.encode(out));
    }

    /// Whether a command has to wait because its way is full, which is counted.
    pub fn must_wait(&mut self, command: &Command<'_>) -> bool {
        let (space, name) = match command {
            Command::Message { target, .. } | Command::Signal { target, .. } => match target {
                Target::Room(name) => (Space::Chat, name),
                Target::User(name) => (Space::Inbox, name),
            },
            Command::Join { room_id, .. }
            | Command::Leave { room_id }
            | Command::Who { room_id }
            | Command::Moderate { room_id, .. }
            | Command::Delete { room_id, .. } => (Space::Chat, room_id),
            Command::Hello { .. } | Command::History { .. } | Command::Heartbeat { .. } => {
                return false;
            }
        };
        if let Command::Message { .. } = command {
            if self.is_stalled() {
                // What a disk that stands still would take is refused, not waited for.
                return false;
            }
            if self.is_log_full() {
                self.counters.log_full_total += 1;
                return true;
            }
        }
        self.is_pushed_back(space, name)
    }

    /// Bytes for which room must be kept in a connection's replies: answers that are on their way.
    pub fn awaited_bytes(&self, peer: Slot) -> usize {
        self.clients.get(peer).map_or(0, Client::awaited_bytes)
    }

    /// Whether so much of what a connection sent is not kept yet that it is not read. What a disk that stands still
    /// would take is refused instead.
    pub fn is_held_back(&self, peer: Slot) -> bool {
        let uncommitted_bytes = self.clients.get(peer).map_or(0, Client::uncommitted_bytes);
        uncommitted_bytes >= UNCOMMITTED_BYTES_PER_CONNECTION_MAX && !self.is_stalled()
    }

    fn join_command(
        &mut self,
        peer: Slot,
        request: &Request<'_>,
        room: &str,
        since: Option<Since>,
        echo: bool,
    ) {
        let count = self.clients.get(peer).map_or(0, |client| client.room_count);
        let is_new = self.joined_room(peer, Space::Chat, room).is_none();
        if is_new && count >= self.limits.rooms_per_connection_max {
            self.counters.rooms_refused_total += 1;
            let text = "this connection is in as many rooms as it may be: leave one first";
            self.refuse_command(peer, &request.refuse(Code::TooManyRooms, text));
            return;
        }
        let room = chat_room(room);
        if !self.may(peer, Access::Join, &room) {
            self.refuse_forbidden(peer, Access::Join, request);
            return;
        }
        self.join(peer, room, since, echo, request.id.as_deref());
    }

    fn message(
        &mut self,
        peer: Slot,
        request: &Request<'_>,
        target: &Target<'_>,
        content: &str,
        metadata: Option<&str>,
    ) {
        let Some(key) = self.target_key(peer, target) else {
            self.refuse_not_joined(peer, request);
            return;
        };
        let may_write = self.may(peer, Access::Write, &key);
        if !may_write && request.id.is_none() {
            self.refuse_forbidden(peer, Access::Write, request);
            return;
        }
        let is_slow = self
            .rule_of(&key)
            .is_some_and(|rule| rule.slow_mode_ms.is_some());
        let standing = match may_write {
            false => Standing::Reader,
            true if is_slow && self.is_moderator(peer, &key) => Standing::Moderator,
            true => Standing::Writer,
        };
        let sender = self.take_name(peer);
        let to = match target {
            Target::User(name) => Some(name.as_ref()),
            Target::Room(_) => None,
        };
        let draft = Draft {
            what: What::Message,
            sender: &sender,
            to,
            id: request.id.as_deref(),
            content,
            metadata,
        };
        self.publish(&key, self.connection(peer), standing, &draft);
        self.name = sender;
    }

    fn message_signal(
        &mut self,
        peer: Slot,
        request: &Request<'_>,
        target: &Target<'_>,
        content: &str,
    ) {
        let Some(key) = self.target_key(peer, target) else {
            self.refuse_not_joined(peer, request);
            return;
        };
        if !self.may(peer, Access::Write, &key) {
            self.refuse_forbidden(peer, Access::Write, request);
            return;
        }
        let sender = self.take_name(peer);
        let draft = Draft {
            what: What::Message,
            sender: &sender,
            to: None,
            id: request.id.as_deref(),
            content,
            metadata: None,
        };
        self.signal(&key, self.connection(peer), &draft);
        self.name = sender;
    }

    fn history(&mut self, peer: Slot, request: &Request<'_>, target: &Target<'_>, page: Page) {
        let room = match target {
            Target::User(name) if self.user_name(peer) != Some(name.as_ref()) => {
                let text = "only one's own inbox can be read: put your own name into `to`";
                self.refuse_command(peer, &request.refuse(Code::Forbidden, text));
                return;
            }
            Target::User(name) => Some(Key {
                space: Space::Inbox,
                name: shared(name),
            }),
            Target::Room(_) => self.target_key(peer, target),
        };
        let Some(room) = room else {
            self.refuse_not_joined(peer, request);
            return;
        };
        if !self.may(peer, Access::Read, &room) {
            self.refuse_forbidden(peer, Access::Read, request);
            return;
        }
        let (from, id) = (self.connection(peer), request.id.as_deref().map(Box::from));
        let user = shared(self.user_name(peer).unwrap_or_default());
        self.clients.reserve(peer, Reserve::Page);
        self.post_home(
            &room.clone(),
            Mail::History {
                room,
                from,
                user,
                page,
                id,
            },
        );
    }

    fn who(&mut self, peer: Slot, request: &Request<'_>, room: &str) {
        if self.joined_room(peer, Space::Chat, room).is_none() {
            self.refuse_not_joined(peer, request);
            return;
        }
        let room = chat_room(room);
        if !self.may(peer, Access::Join, &room) {
            self.refuse_forbidden(peer, Access::Join, request);
            return;
        }
        let (from, id) = (self.connection(peer), request.id.as_deref().map(Box::from));
        let user = shared(self.user_name(peer).unwrap_or_default());
        self.clients.reserve(peer, Reserve::Page);
        self.post_home(
            &room.clone(),
            Mail::Who {
                room,
                from,
                user,
                id,
            },
        );
    }

    /// The log that a target means; `None` for a room that the connection is not in.
    fn target_key(&self, peer: Slot, target: &Target<'_>) -> Option<Key> {
        match target {
            Target::Room(name) => {
                let link = self.joined_room(peer, Space::Chat, name)?;
                Some(self.rooms.at(link.room)?.key.clone())
            }
            Target::User(name) => Some(Key {
                space: Space::Inbox,
                name: shared(name),
            }),
        }
    }

    /// The name of a connection's user, in the hub's own buffer, which the caller gives back.
    fn take_name(&mut self, peer: Slot) -> String {
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        name.push_str(self.user_name(peer).unwrap_or_default());
        name
    }

    pub(super) fn refuse_not_joined(&mut self, peer: Slot, request: &Request<'_>) {
        self.refuse_command(
            peer,
            &request.refuse(Code::NotJoined, "join the room first"),
        );
    }
}

pub(super) fn chat_room(name: &str) -> Key {
    Key {
        space: Space::Chat,
        name: shared(name),
    }
}

/// A client's position as the hub knows it.
pub fn since_of(position: &Position<'_>) -> Since {
    Since {
        epoch: Some(parse_epoch(&position.epoch)),
        seq: position.seq_id,
    }
}
