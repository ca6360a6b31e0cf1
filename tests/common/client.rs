//! A client of `roomcast.v1`.

use super::{Frame, Opcode, Server, Socket, Value, json};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};

/// A chat connection whose identity is settled. Pings are answered as frames are read.
///
/// Events of different kinds may overtake each other, since replies go before what rooms have; so one asks for the
/// next of a kind, and the others wait.
pub struct Client {
    pub socket: Socket,
    pub user: String,
    /// Empty where the server wants tokens.
    pub session: String,
    pub welcome: Value,
    waiting: VecDeque<Event>,
    barriers: u32,
}

struct Event {
    text: String,
    value: Value,
}

impl Client {
    /// Connects with this query, which does not say `hello`.
    pub fn open(server: &Server, query: &str) -> Client {
        Client::on(server.socket(&format!("/ws{query}")))
    }

    /// The client of a connection that has not read its `welcome`.
    pub fn on(mut socket: Socket) -> Client {
        let welcome: Value = serde_json::from_str(&socket.text()).expect("JSON");
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        let text = |key: &str| welcome[key].as_str().expect("a string").to_owned();
        Client {
            user: text("user"),
            session: welcome["session"].as_str().unwrap_or_default().to_owned(),
            welcome,
            socket,
            waiting: VecDeque::new(),
            barriers: 0,
        }
    }

    /// Sends one command.
    pub fn say(&mut self, command: Value) {
        self.socket.send_text(&command.to_string());
    }

    /// Sends a text as it stands.
    pub fn say_text(&mut self, text: &str) {
        self.socket.send_text(text);
    }

    /// Joins a room and gives the `joined`.
    pub fn join(&mut self, room: &str) -> Value {
        self.ask(json!({"type": "join", "room_id": room}), "joined")
    }

    /// Sends a message to a room and gives the `ack`.
    pub fn post(&mut self, room: &str, content: impl Into<Value>) -> Value {
        let content = content.into();
        self.ask(
            json!({"type": "message", "room_id": room, "content": content}),
            "ack",
        )
    }

    /// Sends a private message and gives the `ack`.
    pub fn write_to(&mut self, user: &str, content: impl Into<Value>) -> Value {
        let content = content.into();
        self.ask(
            json!({"type": "message", "to": user, "content": content}),
            "ack",
        )
    }

    /// Sends a command and gives the next event of this type.
    pub fn ask(&mut self, command: Value, kind: &str) -> Value {
        self.say(command);
        self.take(kind)
    }

    /// The next event of this type. An `error` that nobody asked for fails at once.
    pub fn take(&mut self, kind: &str) -> Value {
        self.take_event(|event| event["type"] == kind, kind).value
    }

    /// The text of the next event of this type.
    pub fn take_text(&mut self, kind: &str) -> String {
        self.take_event(|event| event["type"] == kind, kind).text
    }

    /// The next event of this type about this room or user.
    pub fn take_of(&mut self, kind: &str, name: &str) -> Value {
        let is_wanted = |event: &Value| {
            event["type"] == kind && (event["room_id"] == name || event["to"] == name)
        };
        self.take_event(is_wanted, kind).value
    }

    /// The next `count` events of this type.
    pub fn take_many(&mut self, kind: &str, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.take(kind)).collect()
    }

    /// The numbers of the next `count` messages of a room.
    pub fn take_seqs(&mut self, room: &str, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| seq(&self.take_of("message", room)))
            .collect()
    }

    /// Everything that waits here, after all that this connection's shard had for it.
    pub fn rest(&mut self) -> Vec<Value> {
        self.barrier();
        self.waiting.drain(..).map(|event| event.value).collect()
    }

    /// What of this type waits here, after all that this connection's shard had for it.
    pub fn rest_of(&mut self, kind: &str) -> Vec<Value> {
        let rest = self.rest();
        rest.into_iter()
            .filter(|event| event["type"] == kind)
            .collect()
    }

    /// Waits until the server has taken everything that was sent before.
    pub fn barrier(&mut self) {
        self.barriers += 1;
        let id = format!("barrier {}", self.barriers);
        self.say(json!({"type": "heartbeat", "id": id}));
        self.take_event(|event| event["id"] == id, "heartbeat");
    }

    /// The next event of one of these types.
    pub fn next_of(&mut self, kinds: &[&str]) -> Value {
        let is_wanted = |event: &Value| kinds.iter().any(|kind| event["type"] == *kind);
        self.take_event(is_wanted, "one of several").value
    }

    /// Like [`Client::barrier`], and gives the first error that came before.
    pub fn barrier_or_error(&mut self) -> Option<Value> {
        self.barriers += 1;
        let id = format!("barrier {}", self.barriers);
        self.say(json!({"type": "heartbeat", "id": id}));
        let mut error = None;
        loop {
            let event = self.receive();
            if event.value["id"] == id {
                return error;
            } else if event.value["type"] == "error" {
                error.get_or_insert(event.value);
            } else {
                self.waiting.push_back(event);
            }
        }
    }

    /// The next event as it comes on the wire, whatever it is.
    pub fn next(&mut self) -> Value {
        match self.waiting.pop_front() {
            Some(event) => event.value,
            None => self.receive().value,
        }
    }

    /// Reads up to the close frame and gives its code and the `bye` before it, if there was one.
    pub fn closed(&mut self) -> (Option<u16>, Option<Value>) {
        let mut bye = None;
        loop {
            match self.socket.message() {
                Frame::Close(code) => {
                    self.socket
                        .send(Opcode::Close, &code.unwrap_or(1000).to_be_bytes());
                    self.socket.ended();
                    return (code, bye);
                }
                Frame::Text(text) => {
                    assert!(bye.is_none(), "nothing follows a bye: {text}");
                    let event: Value = serde_json::from_str(&text).expect("JSON");
                    check_advice(&event);
                    bye = Some(event).filter(|event| event["type"] == "bye");
                }
                frame => panic!("text or a close frame, not {frame:?}"),
            }
        }
    }

    fn take_event(&mut self, is_wanted: impl Fn(&Value) -> bool, what: &str) -> Event {
        if let Some(place) = self
            .waiting
            .iter()
            .position(|event| is_wanted(&event.value))
        {
            return self.waiting.remove(place).expect("it was found there");
        }
        loop {
            let event = self.receive();
            if is_wanted(&event.value) {
                return event;
            }
            assert_ne!(
                event.value["type"], "error",
                "{} waits for {what}, not {}",
                self.user, event.text
            );
            self.waiting.push_back(event);
        }
    }

    fn receive(&mut self) -> Event {
        let text = self.socket.text();
        let value = value_of(&text);
        check_advice(&value);
        Event { text, value }
    }
}

/// Whoever may come again is told when.
fn check_advice(event: &Value) {
    let is_again = match event["type"].as_str() {
        Some("error") => event["retryable"] == true,
        Some("bye") => matches!(
            event["code"].as_u64(),
            Some(1001 | 1011 | 1013 | 4100..4200)
        ),
        Some(_) | None => false,
    };
    assert!(
        !is_again || event["retry_after_ms"].is_u64(),
        "no word of when in {event}"
    );
}

/// The event of a text. A field that is JSON, but beyond what a `Value` can hold (a number out of range, nesting that
/// is too deep), is `null` in it.
fn value_of(text: &str) -> Value {
    let fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
    fields
        .into_iter()
        .map(|(name, raw)| (name, value(&raw)))
        .collect()
}

/// The `seq_id` of an event.
pub fn seq(event: &Value) -> u64 {
    event["seq_id"]
        .as_u64()
        .unwrap_or_else(|| panic!("no seq_id in {event}"))
}

/// The `seq_id` of each event.
pub fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(seq).collect()
}
