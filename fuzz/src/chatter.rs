//! A client of one chat, relay or echo at a time: what it sends, and what it makes of what it is told.

use super::ledger::{Ledger, Log, Seen, token_of};
use super::pipe::SharedPipe;
use super::reader::{Reader, Said};
use roomcast::ws::{Opcode, frame};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};

/// What a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The chat, as one of the users with a name.
    Chat,
    /// The chat, in a room from the start.
    ChatIn(usize),
    /// A relay.
    Raw(usize),
    /// `/echo`.
    Echo,
}

impl Door {
    /// The door that a byte means.
    pub fn of(how: u8) -> Door {
        match how % 8 {
            0..=3 => Door::Chat,
            4 | 5 => Door::ChatIn(usize::from(how / 8) % ROOM_COUNT),
            6 => Door::Raw(usize::from(how / 8) % ROOM_COUNT),
            _ => Door::Echo,
        }
    }
}

const ROOM_COUNT: usize = 4;
const USERS: [&str; 5] = ["ann", "bob", "cy", "ann", "dora"];

/// Commands that are refused, each with the codes of which one comes.
const WRONG: [&str; 6] = [
    r#"{"type":"fly"}"#,
    r#"{"type":"join"}"#,
    r#"{"type":"join","room_id":""}"#,
    r#"{"type":"hello"}"#,
    r#"{"type":"history","to":"nobody"}"#,
    r#"{"type":"message","to":"nobody","content":1}"#,
];

/// What a client asked for with a room.
#[derive(Clone, Copy, Debug)]
struct Join {
    has_echo: bool,
    since: Option<u64>,
}

/// What a client knows of a room that it is in.
#[derive(Debug)]
struct View {
    epoch: String,
    last: u64,
    has_echo: bool,
}

/// See the [module](self).
pub struct Chatter {
    number: usize,
    pipe: Option<SharedPipe>,
    reader: Reader,
    door: Door,
    is_welcome: bool,
    is_closed: bool,
    is_stalled: bool,
    /// Joins that were not answered yet, by the room.
    joins: BTreeMap<String, VecDeque<Join>>,
    rooms: BTreeMap<String, View>,
    /// The last position in each room, on this connection or before.
    positions: BTreeMap<String, (String, u64)>,
    inbox_epoch: String,
    inbox_last: Option<u64>,
    private_count: u64,
    /// Numbers that were passed over: each has to be a message of its own.
    skipped: Vec<(Log, u64)>,
    skipped_in_inbox: u64,
    echoes: VecDeque<Vec<u8>>,
    relay: Option<usize>,
}

impl Chatter {
    /// A client that has not connected yet.
    pub fn new(number: usize) -> Chatter {
        Chatter {
            number,
            pipe: None,
            reader: Reader::default(),
            door: Door::Chat,
            is_welcome: false,
            is_closed: false,
            is_stalled: false,
            joins: BTreeMap::new(),
            rooms: BTreeMap::new(),
            positions: BTreeMap::new(),
            inbox_epoch: String::new(),
            inbox_last: None,
            private_count: 0,
            skipped: Vec::new(),
            skipped_in_inbox: 0,
            echoes: VecDeque::new(),
            relay: None,
        }
    }

    /// A new connection: through which door, and from 64 on with an offer of permessage-deflate.
    pub fn enter(&mut self, pipe: SharedPipe, how: u8) {
        let (door, window_bits) = (Door::of(how), if how & 32 == 0 { 15 } else { 9 });
        let offer = format!(
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={window_bits}\r\n"
        );
        let offer = if how & 64 == 0 { "" } else { &*offer };
        let (number, positions) = (self.number, std::mem::take(&mut self.positions));
        *self = Chatter {
            door,
            positions,
            ..Chatter::new(number)
        };
        let (user, secret) = (self.user(), "0123456789abcdef");
        let target = match door {
            Door::Chat => format!("/ws?user={user}&session={secret}-{user}"),
            Door::ChatIn(room) => {
                self.joins
                    .entry(room_name(room))
                    .or_default()
                    .push_back(Join {
                        has_echo: true,
                        since: None,
                    });
                format!(
                    "/ws?user={user}&session={secret}-{user}&room={}",
                    room_name(room)
                )
            }
            Door::Raw(room) => format!("/raw/{}", room_name(room)),
            Door::Echo => "/echo".to_owned(),
        };
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        pipe.borrow_mut().send(request.as_bytes());
        self.pipe = Some(pipe);
    }

    /// Forgets the connection. One that ended in order ended between two frames.
    pub fn forget(&mut self) {
        if let Some(pipe) = self.pipe.take()
            && pipe.borrow().is_over()
            && pipe.borrow().ended_in_order()
        {
            self.reader.end();
        }
    }

    /// Whether it reads whatever comes.
    pub fn is_eager(&self) -> bool {
        !self.is_stalled
    }

    /// Lets so many bytes wait. From then on it reads only when told to.
    pub fn open_window(&mut self, window_bytes: usize) {
        self.is_stalled = window_bytes != usize::MAX;
        if let Some(pipe) = &self.pipe {
            pipe.borrow_mut().open_window(window_bytes);
        }
    }

    /// Breaks the connection, or ends it.
    pub fn cut(&mut self, how: u8) {
        let Some(pipe) = &self.pipe else { return };
        if how.is_multiple_of(2) {
            pipe.borrow_mut().reset();
        } else {
            pipe.borrow_mut().end();
        }
    }

    /// Asks to be in a room.
    pub fn join(&mut self, how: u8) {
        let room = room_name(usize::from(how));
        let has_echo = how & 16 == 0;
        let mut text = format!("{{\"type\":\"join\",\"room_id\":\"{room}\",\"echo\":{has_echo}");
        let position = self.positions.get(&room).filter(|_| how & 32 == 0);
        let since = position.map(|(_, seq)| *seq);
        if let Some((epoch, seq)) = position {
            text += &format!(",\"since\":{{\"epoch\":\"{epoch}\",\"seq_id\":{seq}}}");
        }
        if self.say(&(text + "}")) {
            let join = Join { has_echo, since };
            self.joins.entry(room).or_default().push_back(join);
        }
    }

    /// Leaves a room.
    pub fn leave(&mut self, room: u8) {
        let room = room_name(usize::from(room));
        self.say(&format!("{{\"type\":\"leave\",\"room_id\":\"{room}\"}}"));
    }

    /// Sends to a room.
    pub fn message(&mut self, room: u8, pad_bytes: usize, ledger: &mut Ledger) {
        let room = room_name(usize::from(room));
        if self.may_speak() {
            let (token, content) = ledger.send(self.number, format!("#{room}"), pad_bytes);
            self.say(&message("room_id", &room, token, &content));
        }
    }

    /// Sends to a user.
    pub fn private(&mut self, user: u8, pad_bytes: usize, ledger: &mut Ledger) {
        let user = USERS[usize::from(user) % USERS.len()];
        if self.may_speak() {
            let (token, content) = ledger.send(self.number, format!("@{user}"), pad_bytes);
            self.private_count += 1;
            self.say(&message("to", user, token, &content));
        }
    }

    /// Sends something again as it was.
    pub fn resend(&mut self, which: u8, ledger: &mut Ledger) {
        let tokens: Vec<usize> = ledger.tokens_of(self.number).collect();
        let Some(&token) = tokens.get(usize::from(which) % tokens.len().max(1)) else {
            return;
        };
        let Some(sent) = ledger.sent(token) else {
            return;
        };
        let text = match sent.to.split_at(1) {
            ("#", room) => message("room_id", room, token, &sent.content),
            ("@", user) => {
                self.private_count += 1;
                message("to", user, token, &sent.content)
            }
            _ => return,
        };
        self.say(&text);
    }

    /// Signals to a room.
    pub fn signal(&mut self, room: u8, pad_bytes: usize) {
        let (room, content) = (room_name(usize::from(room)), "s".repeat(pad_bytes));
        let text = format!(
            "{{\"type\":\"signal\",\"room_id\":\"{room}\",\"content\":[{},\"{content}\"]}}",
            self.number
        );
        self.say(&text);
    }

    /// Pages a room or the inbox.
    pub fn history(&mut self, how: u8) {
        let of = match how % 5 {
            4 => format!("\"to\":\"{}\"", self.user()),
            room => format!("\"room_id\":\"{}\"", room_name(usize::from(room))),
        };
        let bound = match how / 5 % 3 {
            0 => String::new(),
            1 => format!(",\"before\":{}", how / 15 + 1),
            _ => format!(",\"after\":{},\"limit\":{}", how / 15, how % 7 + 1),
        };
        self.say(&format!("{{\"type\":\"history\",{of}{bound}}}"));
    }

    /// Asks who is in a room.
    pub fn who(&mut self, room: u8) {
        let room = room_name(usize::from(room));
        self.say(&format!(
            "{{\"type\":\"who\",\"room_id\":\"{room}\"}}{{\"type\":\"heartbeat\"}}"
        ));
    }

    /// Says something that is refused.
    pub fn wrong(&mut self, which: u8) {
        self.say(WRONG[usize::from(which) % WRONG.len()]);
    }

    /// Sends a message through a relay or an echo.
    pub fn bytes(&mut self, pad_bytes: usize, ledger: &mut Ledger) {
        if !self.may_send() {
            return;
        }
        let payload = match self.door {
            Door::Chat | Door::ChatIn(_) => return,
            Door::Echo => vec![b'e'; pad_bytes.min(20_000)],
            Door::Raw(room) => {
                let to = format!("%{}", room_name(room));
                let (_, content) = ledger.send(self.number, to, pad_bytes.min(19_000));
                content.into_bytes()
            }
        };
        if self.door == Door::Echo {
            self.echoes.push_back(payload.clone());
        }
        self.put(Opcode::Binary, &payload);
    }

    /// Reads, and checks what it reads.
    pub fn read(&mut self, bytes_max: usize, ledger: &mut Ledger) {
        let Some(pipe) = &self.pipe else { return };
        let bytes = pipe.borrow_mut().take(bytes_max);
        for said in self.reader.read(&bytes) {
            match said {
                Said::Answer(status) => assert!([101, 503].contains(&status), "status {status}"),
                Said::Text(text) => self.hear(&text, ledger),
                Said::Binary(bytes) => self.hear_bytes(bytes, ledger),
                Said::Ping(payload) => self.put(Opcode::Pong, &payload),
                Said::Pong(_) => panic!("a pong to no ping"),
                Said::Close(_) => self.is_closed = true,
            }
        }
    }

    /// Everything that it shall have is there, where nothing ended its connection.
    pub fn check_complete(&self, ledger: &Ledger) {
        let is_open = self
            .pipe
            .as_ref()
            .is_some_and(|pipe| pipe.borrow().is_open());
        if !is_open || self.is_closed || !self.reader.is_upgraded() {
            return;
        }
        assert!(self.echoes.is_empty(), "an echo is missing");
        for (room, view) in &self.rooms {
            let log = (format!("#{room}"), view.epoch.clone());
            let last = ledger.last_for(&log, self.number, view.has_echo);
            assert!(
                view.last >= last,
                "{} has {view:?} of {log:?} up to {last}",
                self.number
            );
        }
        for (log, seq) in &self.skipped {
            let owner = ledger.owner(log, *seq);
            assert_eq!(
                owner,
                Some(self.number),
                "{} lacks {seq} of {log:?}",
                self.number
            );
        }
        assert!(
            self.skipped_in_inbox <= self.private_count,
            "messages of the inbox are missing"
        );
    }

    fn user(&self) -> &'static str {
        USERS[self.number % USERS.len()]
    }

    fn may_speak(&self) -> bool {
        matches!(self.door, Door::Chat | Door::ChatIn(_)) && self.may_send()
    }

    fn may_send(&self) -> bool {
        let pipe = self.pipe.as_ref().map(|pipe| pipe.borrow());
        pipe.is_some_and(|pipe| pipe.is_open() && !pipe.is_full())
    }

    fn say(&mut self, text: &str) -> bool {
        let may_speak = self.may_speak();
        if may_speak {
            self.put(Opcode::Text, text.as_bytes());
        }
        may_speak
    }

    fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::encode_masked(&mut bytes, true, false, opcode, [1, 2, 3, 4], payload);
        if let Some(pipe) = &self.pipe {
            pipe.borrow_mut().send(&bytes);
        }
    }

    fn hear_bytes(&mut self, bytes: Vec<u8>, ledger: &mut Ledger) {
        match self.door {
            Door::Echo => assert_eq!(self.echoes.pop_front(), Some(bytes), "not the echo"),
            Door::Raw(room) => {
                let text = String::from_utf8(bytes).expect("what was sent");
                let token = token_of(&text).expect("what was sent");
                let sent = ledger.sent(token).expect("what was sent");
                let room = format!("%{}", room_name(room));
                assert!(sent.content == text && sent.to == room, "not what was sent");
                assert!(sent.client != self.number, "its own");
                ledger.relay(&room, &mut self.relay, token);
            }
            Door::Chat | Door::ChatIn(_) => panic!("bytes in the chat"),
        }
    }

    fn hear(&mut self, text: &str, ledger: &mut Ledger) {
        assert!(
            matches!(self.door, Door::Chat | Door::ChatIn(_)),
            "text outside of the chat"
        );
        let event: Value = serde_json::from_str(text).expect("an event is JSON");
        let word = |key: &str| event[key].as_str().unwrap_or_default();
        let kind = word("type");
        assert!(
            self.is_welcome || ["welcome", "error", "bye"].contains(&kind),
            "first: {kind}"
        );
        match kind {
            "welcome" => {
                assert!(
                    !std::mem::replace(&mut self.is_welcome, true),
                    "welcome twice"
                );
                self.inbox_epoch = event["inbox"]["epoch"]
                    .as_str()
                    .expect("an epoch")
                    .to_owned();
            }
            "joined" => self.joined(&event),
            "left" => {
                self.rooms.remove(word("room_id"));
            }
            "message" => {
                self.message_came(&event);
                self.see(&event, text, ledger);
            }
            "ack" => self.acked(&event, ledger),
            "gap" => self.gap(&event),
            "history" => self.page(&event, text, ledger),
            "signal" => {
                assert!(event["content"][0] != self.number, "its own signal");
            }
            "error" => self.refused(&event),
            "presence" | "system" | "heartbeat" | "bye" => {}
            kind => panic!("{kind} is no event"),
        }
    }

    fn joined(&mut self, event: &Value) {
        let room = event["room_id"].as_str().expect("a room").to_owned();
        let asked = self.joins.get_mut(&room).and_then(VecDeque::pop_front);
        // One that nobody asked for tells a new epoch of a room that the client is in.
        let was_in = self.rooms.get(&room).map(|view| Join {
            has_echo: view.has_echo,
            since: None,
        });
        let Join { has_echo, since } = asked
            .or(was_in)
            .expect("joined to a room that was not asked for");
        let epoch = event["epoch"].as_str().expect("an epoch").to_owned();
        let head = event["seq_id"].as_u64().expect("a number");
        let last = match (event["recovered"].as_bool(), since) {
            (Some(true), since) => since.expect("recovered without a position"),
            (Some(false) | None, _) => head,
        };
        self.positions.insert(room.clone(), (epoch.clone(), last));
        let view = View {
            epoch,
            last,
            has_echo,
        };
        self.rooms.insert(room, view);
    }

    fn refused(&mut self, event: &Value) {
        let code = event["code"].as_str().expect("a code");
        assert!(code != "internal", "{event}");
        if event["request"] == "join"
            && let Some(joins) = event["room_id"]
                .as_str()
                .and_then(|room| self.joins.get_mut(room))
        {
            joins.pop_front();
        }
    }

    fn message_came(&mut self, event: &Value) {
        let seq = event["seq_id"].as_u64().expect("a number");
        self.advance(event["room_id"].as_str(), seq, seq);
    }

    /// Goes on in a room or in the inbox, to `from` and up to `to`. What is passed over has to be messages of its own
    /// that it does not see.
    fn advance(&mut self, room: Option<&str>, from: u64, to: u64) {
        let Some(room) = room else {
            if let Some(last) = self.inbox_last {
                assert!(from > last, "{from} of the inbox after {last}");
                self.skipped_in_inbox += from - last - 1;
            }
            self.inbox_last = Some(to);
            return;
        };
        let view = self
            .rooms
            .get_mut(room)
            .expect("of a room that it is not in");
        let log = (format!("#{room}"), view.epoch.clone());
        assert!(from > view.last, "{from} of {log:?} after {}", view.last);
        for skipped in view.last + 1..from {
            assert!(
                !view.has_echo,
                "{} misses {skipped} of {log:?}",
                self.number
            );
            self.skipped.push((log.clone(), skipped));
        }
        view.last = to;
        self.positions
            .insert(room.to_owned(), (view.epoch.clone(), to));
    }

    fn see(&self, event: &Value, text: &str, ledger: &mut Ledger) {
        #[derive(serde::Deserialize)]
        struct Content<'a> {
            #[serde(borrow)]
            content: &'a RawValue,
        }
        let content: Content<'_> = serde_json::from_str(text).expect("a message has content");
        let log = match event["room_id"].as_str() {
            Some(room) => (format!("#{room}"), self.rooms[room].epoch.clone()),
            None => (format!("@{}", self.user()), self.inbox_epoch.clone()),
        };
        let seen = Seen {
            timestamp: event["timestamp"].as_u64().expect("a time"),
            sender: event["sender"].as_str().expect("a sender").to_owned(),
            content: content.content.get().to_owned(),
        };
        ledger.see(&log, event["seq_id"].as_u64().expect("a number"), seen);
    }

    fn acked(&mut self, event: &Value, ledger: &mut Ledger) {
        let id = event["id"].as_str().expect("an id");
        let token: usize = id[1..].parse().expect("a token");
        let sent = ledger.sent(token).expect("what was sent");
        let seq = event["seq_id"].as_u64().expect("a number");
        assert!(seq > 0 && sent.client == self.number, "the ack of another");
        if let Some(room) = event["room_id"].as_str() {
            assert_eq!(sent.to, format!("#{room}"));
            if let Some(view) = self.rooms.get(room) {
                ledger.ack(&(format!("#{room}"), view.epoch.clone()), seq, token);
            }
        } else {
            assert_eq!(
                sent.to,
                format!("@{}", event["to"].as_str().expect("a user"))
            );
        }
    }

    fn gap(&mut self, event: &Value) {
        let number = |key: &str| event[key].as_u64().expect("a number");
        let (from, to) = (number("from_seq_id"), number("to_seq_id"));
        assert!(from <= to, "a gap of nothing");
        self.advance(event["room_id"].as_str(), from, to);
    }

    fn page(&self, event: &Value, text: &str, ledger: &mut Ledger) {
        #[derive(serde::Deserialize)]
        struct Page<'a> {
            #[serde(borrow)]
            messages: Vec<&'a RawValue>,
        }
        let epoch = event["epoch"].as_str().expect("an epoch");
        let page: Page<'_> = serde_json::from_str(text).expect("a page has messages");
        let mut before = None;
        for message in page.messages {
            let message = message.get();
            let event: Value = serde_json::from_str(message).expect("a message");
            let seq = event["seq_id"].as_u64().expect("a number");
            assert!(
                before.is_none_or(|before| seq == before + 1),
                "{seq} after {before:?}"
            );
            before = Some(seq);
            if event["room_id"]
                .as_str()
                .is_some_and(|room| self.rooms.contains_key(room))
                && self.rooms[event["room_id"].as_str().unwrap_or_default()].epoch == epoch
            {
                self.see(&event, message, ledger);
            }
        }
    }
}

fn message(field: &str, to: &str, token: usize, content: &str) -> String {
    format!(
        "{{\"type\":\"message\",\"{field}\":\"{to}\",\"id\":\"m{token}\",\"content\": {content} }}"
    )
}

/// A room's name.
fn room_name(room: usize) -> String {
    format!("room{}", room % ROOM_COUNT)
}
