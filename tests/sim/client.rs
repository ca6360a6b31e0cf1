//! A client of the chat protocol: it comes back when its connection is gone, goes on where it was, and repeats what
//! it has no `ack` for.

use crate::book::Book;
use crate::connection::{Connection, Pace, Seen, Stage};
use crate::network::Network;
use crate::oracle::{Asked, Event, Purpose, Since};
use crate::plan::{Action, Plan};
use crate::rng::Rng;
use crate::told::{self, Log, Position, Told};
use roomcast::ws::Opcode;
use std::collections::BTreeMap;

/// A message that was sent at least once.
#[derive(Clone, Debug)]
pub struct Kept {
    pub to: Log,
    pub id: String,
    pub content: String,
    pub metadata: Option<String>,
    pub is_acked: bool,
}

/// Who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// One of the personas.
    Named(usize),
    /// Somebody new each time.
    Guest,
}

/// See the [module](self).
pub struct Client {
    who: Who,
    pub rng: Rng,
    pub connection: Option<Connection>,
    back_at_ms: u64,
    /// Whose the connection is, once welcomed.
    pub user: Option<String>,
    /// Rooms of this connection that were joined and not left, as far as the client knows.
    pub rooms: BTreeMap<String, String>,
    /// Where it was in rooms, on this connection or before.
    pub positions: BTreeMap<String, Position>,
    pub inbox: Option<Position>,
    pub kept: Vec<Kept>,
    /// JSON objects that go out with the next frame.
    pub batch: Vec<String>,
    pub last_id: u64,
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(who: Who, rng: Rng) -> Client {
        Client {
            who,
            rng,
            connection: None,
            back_at_ms: 0,
            user: None,
            rooms: BTreeMap::new(),
            positions: BTreeMap::new(),
            inbox: None,
            kept: Vec::new(),
            batch: Vec::new(),
            last_id: 0,
        }
    }

    /// Does whatever comes to its mind.
    ///
    /// # Errors
    ///
    /// A promise was broken.
    pub fn step(&mut self, plan: &Plan, net: &mut Network, book: &mut Book) -> Result<(), String> {
        if self.connection.is_none() {
            if net.now_ms >= self.back_at_ms && self.rng.chance(plan.activity) {
                self.connect(plan, net, book)?;
            }
            return Ok(());
        }
        self.read(net.now_ms, book)?;
        if self.is_ready() && self.rng.chance(plan.activity) {
            for _ in 0..*self.rng.pick(&[1, 1, 1, 2, plan.burst_count]) {
                let action = Action::ALL[self.rng.weighted(&plan.weights)];
                self.act(action, plan, net.now_ms, book)?;
            }
        }
        self.send_batch();
        self.flush(net.now_ms);
        Ok(())
    }

    /// Connects, if its time has come or not.
    pub fn come_back(
        &mut self,
        plan: &Plan,
        net: &mut Network,
        book: &mut Book,
    ) -> Result<(), String> {
        self.connect(plan, net, book)
    }

    /// Whether it is the same user on each connection.
    pub fn is_named(&self) -> bool {
        self.who != Who::Guest
    }

    /// Whether it may send commands, and is not far behind with sending.
    pub fn is_ready(&self) -> bool {
        let connection = self.connection.as_ref();
        self.user.is_some()
            && connection.is_some_and(|connection| {
                connection.stage == Stage::Open && connection.unsent_bytes() < 4_000
            })
    }

    /// Reads, and reacts.
    ///
    /// # Errors
    ///
    /// A promise was broken.
    pub fn read(&mut self, now_ms: u64, book: &mut Book) -> Result<(), String> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let seen = connection.read(now_ms, &mut self.rng)?;
        for seen in seen {
            self.react(seen, now_ms, book)?;
        }
        if let Some(connection) = &self.connection
            && connection.stage == Stage::Over
        {
            // The client itself has cut it.
            self.gone(None, now_ms, book)?;
        }
        Ok(())
    }

    /// Puts what was said into frames: one object each, or all in one.
    pub fn send_batch(&mut self) {
        let Some(connection) = &mut self.connection else {
            self.batch.clear();
            return;
        };
        let batch = std::mem::take(&mut self.batch);
        if self.rng.chance(500) {
            let text = batch.join(*self.rng.pick(&["", " ", "\r\n"]));
            if !text.is_empty() && text.len() <= 16 * 1024 {
                connection.send(Opcode::Text, text.as_bytes(), &mut self.rng);
                return;
            }
        }
        for text in batch {
            connection.send(Opcode::Text, text.as_bytes(), &mut self.rng);
        }
    }

    /// Lets the kernel take what it can.
    pub fn flush(&mut self, now_ms: u64) {
        if let Some(connection) = &mut self.connection {
            connection.flush(now_ms);
        }
    }

    /// The connection is no more: the client forgets what was its alone.
    pub fn gone(&mut self, close: Option<u16>, now_ms: u64, book: &mut Book) -> Result<(), String> {
        let Some(connection) = self.connection.take() else {
            return Ok(());
        };
        let is_welcome = self.user.take().is_some();
        let is_late = book.has_jumps && !is_welcome && close.is_none();
        self.rooms.clear();
        self.batch.clear();
        self.back_at_ms = now_ms + self.rng.below(300) as u64;
        book.note(Event::Ended {
            conn: connection.number,
            close,
            is_strict: !connection.is_excused && !is_late,
        })
    }

    fn connect(&mut self, plan: &Plan, net: &mut Network, book: &mut Book) -> Result<(), String> {
        let persona = match self.who {
            Who::Named(place) => Some(book.personas[place].clone()),
            Who::Guest => None,
        };
        let inbox = self
            .inbox
            .clone()
            .filter(|_| persona.is_some() && self.rng.chance(500));
        let says_hello = self.rng.chance(300);
        let inbox_since = inbox.map(|position| Since {
            epoch: says_hello.then_some(position.epoch),
            seq: position.seq,
        });
        let target = if says_hello {
            "/ws?hello".to_owned()
        } else {
            target(
                persona.as_ref().map(|p| (&*p.name, p.secret.as_deref())),
                inbox_since.as_ref(),
            )
        };
        let is_eager = self.rng.chance(plan.eager_clients);
        let link = net.connect(
            self.rng.below(usize::from(plan.shard_count)),
            plan.quality(is_eager, &mut self.rng),
        );
        let pace = if is_eager {
            Pace::Eager
        } else {
            Pace::Slow {
                bytes_max: *self.rng.pick(&[10, 500, 50_000]),
            }
        };
        let number = book.next_conn();
        let purpose = Purpose::Chat {
            user: persona.as_ref().map(|persona| persona.name.clone()),
            inbox_since: inbox_since.clone(),
            is_eager,
        };
        book.note(Event::Opened {
            conn: number,
            purpose,
        })?;
        let offers_deflate = self.rng.chance(plan.deflating_clients);
        let connection = Connection::new(number, link, &target, pace, offers_deflate);
        self.connection = Some(connection);
        if says_hello {
            self.hello(
                persona.as_ref().map(|p| (&*p.name, p.secret.as_deref())),
                inbox_since,
                book,
            )?;
        }
        if self.is_named() && self.rng.chance(plan.impatient_clients) {
            self.speak_early(plan, book)?;
        }
        self.flush(net.now_ms);
        Ok(())
    }

    /// Says a lot before it is known who says it.
    fn speak_early(&mut self, plan: &Plan, book: &mut Book) -> Result<(), String> {
        for _ in 0..self.rng.between(1, 4) {
            let room = self.rng.pick(&book.rooms).clone();
            self.join_from(&room, None, true, book)?;
            self.say(Log::Room(room.clone()), plan.content_bytes_max, book)?;
            self.who_is_in(&room, book)?;
        }
        self.send_batch();
        Ok(())
    }

    fn hello(
        &mut self,
        user: Option<(&str, Option<&str>)>,
        inbox_since: Option<Since>,
        book: &mut Book,
    ) -> Result<(), String> {
        let id = self.next_id("hello");
        let mut text = format!("{{\"type\":\"hello\",\"id\":\"{id}\"");
        if let Some((name, secret)) = user {
            text += &format!(",\"user\":\"{name}\"");
            if let Some(secret) = secret {
                text += &format!(",\"session\":\"{secret}\"");
            }
        }
        if let Some(Since {
            epoch: Some(epoch),
            seq,
        }) = inbox_since
        {
            text += &format!(",\"inbox_since\":{{\"epoch\":\"{epoch}\",\"seq_id\":{seq}}}");
        }
        text.push('}');
        self.ask(Some(id), Asked::Hello, text, book)?;
        self.send_batch();
        Ok(())
    }

    fn react(&mut self, seen: Seen, now_ms: u64, book: &mut Book) -> Result<(), String> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let conn = connection.number;
        match seen {
            Seen::Upgraded => Ok(()),
            Seen::Refused(503) => Ok(()),
            Seen::Refused(408) if book.has_jumps => Ok(()),
            Seen::Refused(status) => Err(format!("c{conn} was refused with {status}")),
            Seen::Text(text) => {
                let told = told::read(&text).map_err(|fault| format!("c{conn}: {fault}"))?;
                self.learn(&told, book);
                book.note(Event::Told { conn, told })
            }
            Seen::Binary(_) => Err(format!("c{conn} got bytes in the chat")),
            Seen::Ping(payload) => {
                let text = std::str::from_utf8(&payload).ok();
                let mark = text.and_then(|text| text.parse().ok());
                connection.send_control(Opcode::Pong, &payload, &mut self.rng);
                book.note(Event::Pinged { conn, mark })?;
                match mark {
                    Some(mark) => book.note(Event::Ponged { conn, mark }),
                    None => Ok(()),
                }
            }
            Seen::Ended(code) => self.gone(code, now_ms, book),
        }
    }

    /// What a client remembers.
    fn learn(&mut self, told: &Told, book: &mut Book) {
        match told {
            Told::Welcome {
                user,
                session,
                inbox,
                ..
            } => {
                self.user = Some(user.clone());
                if !book.users.contains(user) {
                    book.users.push(user.clone());
                }
                if let (Who::Named(place), Some(session)) = (self.who, session) {
                    book.personas[place].secret = Some(session.clone());
                    let is_same = self
                        .inbox
                        .as_ref()
                        .is_some_and(|at| at.epoch == inbox.epoch);
                    if !is_same {
                        self.inbox = None;
                    }
                    let epoch = inbox.epoch.clone();
                    self.inbox.get_or_insert(Position { epoch, seq: 0 });
                }
            }
            Told::Joined { room, head, .. } => {
                self.rooms.insert(room.clone(), head.epoch.clone());
                let is_behind = matches!(
                    told,
                    Told::Joined {
                        recovered: Some(true),
                        ..
                    }
                );
                if !is_behind {
                    self.positions.insert(room.clone(), head.clone());
                }
            }
            Told::Message(message) => self.advance(&message.to, message.seq),
            Told::Gap { of, last, .. } => self.advance(of, *last),
            Told::Left { room, .. } => {
                self.rooms.remove(room);
            }
            Told::Error {
                request,
                about: Some(Log::Room(room)),
                ..
            } if request == "join" => {
                self.rooms.remove(room);
            }
            Told::Ack { id: Some(id), .. } => {
                let kept = self.kept.iter_mut().filter(|kept| kept.id == *id);
                kept.for_each(|kept| kept.is_acked = true);
            }
            Told::Ack { id: None, .. }
            | Told::Done { .. }
            | Told::Signal { .. }
            | Told::History { .. }
            | Told::Presence { .. }
            | Told::System { .. }
            | Told::Error { .. }
            | Told::Heartbeat
            | Told::Bye { .. } => {}
        }
    }

    fn advance(&mut self, log: &Log, seq: u64) {
        match log {
            Log::Room(room) => {
                if let (Some(position), Some(epoch)) =
                    (self.positions.get_mut(room), self.rooms.get(room))
                    && position.epoch == *epoch
                {
                    position.seq = seq;
                }
            }
            Log::Inbox(_) => {
                if let Some(inbox) = &mut self.inbox {
                    inbox.seq = seq;
                }
            }
        }
    }

    /// Says something, and tells the oracle.
    pub fn ask(
        &mut self,
        id: Option<String>,
        asked: Asked,
        text: String,
        book: &mut Book,
    ) -> Result<(), String> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let conn = connection.number;
        self.batch.push(text);
        book.note(Event::Asked { conn, id, asked })
    }

    /// An `id` that no other command of any client has.
    pub fn next_id(&mut self, what: &str) -> String {
        self.last_id += 1;
        let conn = self
            .connection
            .as_ref()
            .map_or(0, |connection| connection.number);
        format!("{what}-{conn}-{}", self.last_id)
    }
}

/// The target of an upgrade that says who comes.
fn target(user: Option<(&str, Option<&str>)>, inbox_since: Option<&Since>) -> String {
    let mut target = "/ws?v=1".to_owned();
    if let Some((name, secret)) = user {
        target += &format!("&user={name}");
        if let Some(secret) = secret {
            target += &format!("&session={secret}");
        }
    }
    if let Some(since) = inbox_since {
        target += &format!("&inbox_since={}", since.seq);
    }
    target
}
