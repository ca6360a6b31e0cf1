//! `kill -9` at random moments, with publishers and subscribers, again and again on the same data folder: what was
//! acknowledged or seen is in the log exactly once under its number, the numbers have no gap, and all saw the same. A
//! private message is in both inboxes or in none.
//!
//! `ROOMCAST_CRASH_ROUNDS` says how often; a few rounds without it.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Server, Socket, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use store::{Folder, stop};

const ROUND_COUNT: u64 = 5;
const ROOMS: [&str; 3] = ["a", "b", "c"];
const PUBLISHER_COUNT: u64 = 4;
/// Private messages of one user in one round: what the inboxes hold that nobody confirms meanwhile.
const PRIVATE_COUNT_MAX: u64 = 1000;

/// What clients know: of each room, what number stands for what. A number that stands for two things is the failure
/// that this test is for.
#[derive(Default)]
struct Known {
    contents: BTreeMap<(String, u64), String>,
    acknowledged: BTreeMap<String, (String, u64)>,
}

impl Known {
    fn see(&mut self, room: &str, seq: u64, content: &str) {
        let known = self
            .contents
            .entry((room.to_owned(), seq))
            .or_insert_with(|| content.to_owned());
        assert_eq!(known, content, "number {seq} of {room}");
    }

    fn acknowledge(&mut self, room: &str, seq: u64, content: &str) {
        self.see(room, seq, content);
        let place = (room.to_owned(), seq);
        let known = self
            .acknowledged
            .entry(content.to_owned())
            .or_insert_with(|| place.clone());
        assert_eq!(*known, place, "{content} has two numbers");
    }
}

/// A connection that may end anywhere, in the middle of a frame too.
struct Wire {
    socket: Socket,
    received: Vec<u8>,
}

impl Wire {
    /// A connection of this user, whose name may have more of the query behind it. Its `welcome` is read.
    fn open(server: &Server, user: &str) -> Wire {
        let name = user.split('&').next().unwrap_or_default();
        let mut socket = server.socket(&format!("/ws?user={user}&session=the-secret-of-{name}"));
        let welcome = socket.text();
        assert!(welcome.contains("welcome"), "{welcome}");
        Wire {
            socket,
            received: Vec::new(),
        }
    }

    fn say(&mut self, command: &Value) {
        let frame = common::masked(common::Opcode::Text, command.to_string().as_bytes());
        let _ = self.socket.try_send(&frame);
    }

    /// The next event, or nothing when the server is gone.
    fn event(&mut self) -> Option<Value> {
        loop {
            if let Some((payload, length)) = payload(&self.received) {
                let event = serde_json::from_slice(payload);
                self.received.drain(..length);
                match event {
                    Ok(event) => return Some(event),
                    // A ping, which has a number or nothing in it.
                    Err(_) => continue,
                }
            }
            let mut buffer = [0; 64 * 1024];
            match self.socket.stream().read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// The payload of the frame at the start, and its whole length.
fn payload(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, header) = match *bytes.get(1)? {
        126 => (
            usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            4,
        ),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(header..header + length)?;
    Some((payload, header + length))
}

/// Sends until the server is gone. What has no answer is sent again in the next round, under its `id`.
fn publish(
    wire: &mut Wire,
    known: &Mutex<Known>,
    unanswered: &mut Vec<(String, String)>,
    round: u64,
    own: u64,
) {
    for room in ROOMS {
        wire.say(&json!({"type": "join", "room_id": room, "echo": false}));
    }
    let mut number = 0;
    for (room, content) in unanswered.clone() {
        send(wire, &room, &content);
    }
    loop {
        while unanswered.len() < 40 {
            let room = ROOMS[(number % 3) as usize].to_owned();
            let content = format!("{own}-{round}-{number}");
            number += 1;
            send(wire, &room, &content);
            unanswered.push((room, content));
        }
        let Some(event) = wire.event() else { return };
        if event["type"] == "ack" {
            let (room, id) = (text(&event["room_id"]), text(&event["id"]));
            let seq = event["seq_id"].as_u64().expect("a number");
            known.lock().expect("no panic").acknowledge(&room, seq, &id);
            unanswered.retain(|(_, content)| *content != id);
        }
    }
}

fn send(wire: &mut Wire, room: &str, content: &str) {
    wire.say(&json!({"type": "message", "room_id": room, "content": content, "id": content}));
}

/// Reads from where the last round ended until the server is gone; numbers have no gap.
fn subscribe(
    wire: &mut Wire,
    known: &Mutex<Known>,
    positions: &mut BTreeMap<String, (String, u64)>,
) {
    for room in ROOMS {
        let mut join = json!({"type": "join", "room_id": room});
        if let Some((epoch, seq)) = positions.get(room) {
            join["since"] = json!({"epoch": epoch, "seq_id": seq});
        }
        wire.say(&join);
    }
    while let Some(event) = wire.event() {
        let room = text(&event["room_id"]);
        let seq = event["seq_id"].as_u64().unwrap_or_default();
        match event["type"].as_str() {
            Some("joined") => {
                assert_ne!(event["recovered"], false, "{event}");
                let epoch = text(&event["epoch"]);
                positions.entry(room).or_insert((epoch, seq));
            }
            Some("message") => {
                let position = positions.get_mut(&room).expect("joined comes first");
                assert_eq!(seq, position.1 + 1, "the next of {room}");
                position.1 = seq;
                known
                    .lock()
                    .expect("no panic")
                    .see(&room, seq, &text(&event["content"]));
            }
            Some("gap" | "error") => panic!("{event}"),
            _ => {}
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn nothing_is_lost_by_kill_9() {
    let rounds = rounds();
    let folder = Folder::new("crash");
    let known = Mutex::new(Known::default());
    let mut unanswered: Vec<Vec<(String, String)>> = vec![Vec::new(); PUBLISHER_COUNT as usize];
    let mut positions: Vec<BTreeMap<String, (String, u64)>> = vec![BTreeMap::new(); 2];
    let mut acknowledged = 0;
    for round in 0..rounds {
        let server = folder.serve(if round % 2 == 0 { 2 } else { 1 });
        thread::scope(|scope| {
            let (server, known) = (&server, &known);
            for (positions, own) in positions.iter_mut().zip(0..) {
                let mut wire = Wire::open(server, &format!("reader-{own}"));
                scope.spawn(move || subscribe(&mut wire, known, positions));
            }
            for (unanswered, own) in unanswered.iter_mut().zip(0..) {
                let mut wire = Wire::open(server, &format!("writer-{own}"));
                scope.spawn(move || publish(&mut wire, known, unanswered, round, own));
            }
            let count = || known.lock().expect("no panic").acknowledged.len();
            let before = count();
            common::until("messages are acknowledged", || count() > before + 20);
            // A moment that nobody chose, but the same for the same round.
            thread::sleep(Duration::from_millis(round * 7919 % 150));
            server.signal("KILL");
        });
        drop(server);
        acknowledged = known.lock().expect("no panic").acknowledged.len();
    }
    assert!(acknowledged as u64 > 20 * rounds);
    stop(folder.serve(1));
    check(&folder, &known.lock().expect("no panic"));
}

/// Sends private messages to all others until the server is gone, and takes the own inbox, of which `seen` is the last.
fn write(
    wire: &mut Wire,
    acknowledged: &Mutex<BTreeSet<String>>,
    unanswered: &mut Vec<(String, String)>,
    seen: &mut u64,
    (round, own): (u64, u64),
) {
    for (name, content) in unanswered.clone() {
        send_to(wire, &name, &content);
    }
    let mut number = 0;
    loop {
        while unanswered.len() < 40 && number < PRIVATE_COUNT_MAX {
            let to = (own + 1 + number % (PUBLISHER_COUNT - 1)) % PUBLISHER_COUNT;
            let (name, content) = (writer(to), format!("{own}-{round}-{number}"));
            number += 1;
            send_to(wire, &name, &content);
            unanswered.push((name, content));
        }
        let Some(event) = wire.event() else { return };
        match event["type"].as_str() {
            Some("ack") => {
                let id = text(&event["id"]);
                unanswered.retain(|(_, content)| *content != id);
                acknowledged.lock().expect("no panic").insert(id);
            }
            Some("message") => *seen = event["seq_id"].as_u64().expect("a number"),
            Some("gap" | "error") => panic!("{event}"),
            _ => {}
        }
    }
}

fn send_to(wire: &mut Wire, name: &str, content: &str) {
    wire.say(&json!({"type": "message", "to": name, "content": content, "id": content}));
}

fn writer(own: u64) -> String {
    format!("writer-{own}")
}

#[test]
fn a_private_message_has_both_sides_after_kill_9() {
    let folder = Folder::new("crash-private");
    let acknowledged = Mutex::new(BTreeSet::new());
    let mut unanswered: Vec<Vec<(String, String)>> = vec![Vec::new(); PUBLISHER_COUNT as usize];
    let mut seen = [0; PUBLISHER_COUNT as usize];
    for round in 0..rounds() {
        let server = folder.serve(if round % 2 == 0 { 3 } else { 1 });
        thread::scope(|scope| {
            let (server, acknowledged) = (&server, &acknowledged);
            // All names are held before anyone is written to.
            let wires: Vec<Wire> = (0..PUBLISHER_COUNT)
                .map(|own| {
                    let since = seen[own as usize];
                    Wire::open(server, &format!("{}&inbox_since={since}", writer(own)))
                })
                .collect();
            for (own, (mut wire, (unanswered, seen))) in
                (0..).zip(wires.into_iter().zip(unanswered.iter_mut().zip(&mut seen)))
            {
                scope.spawn(move || {
                    write(&mut wire, acknowledged, unanswered, seen, (round, own));
                });
            }
            let count = || acknowledged.lock().expect("no panic").len();
            let before = count();
            common::until("messages are acknowledged", || count() > before + 20);
            thread::sleep(Duration::from_millis(round * 7919 % 50));
            server.signal("KILL");
        });
    }
    stop(folder.serve(1));
    check_inboxes(&folder, &acknowledged.lock().expect("no panic"));
}

/// Everything that was acknowledged is in both inboxes, and everything else in both or in none.
fn check_inboxes(folder: &Folder, acknowledged: &BTreeSet<String>) {
    let sql =
        "SELECT content, sum(inbox = recipient), sum(inbox = sender) FROM history GROUP BY content";
    let rows = folder.query(sql);
    let mut kept = BTreeSet::new();
    for row in rows.chunks(3) {
        let [content, theirs, own] = row else {
            unreachable!()
        };
        assert_eq!((theirs.as_str(), own.as_str()), ("1", "1"), "{content}");
        kept.insert(content.trim_matches('"').to_owned());
    }
    let lost: Vec<&String> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let sql = "SELECT inbox FROM history GROUP BY inbox HAVING count(*) <> max(seq_id)";
    assert_eq!(
        folder.query(sql),
        Vec::<String>::new(),
        "inboxes with a gap"
    );
}

fn rounds() -> u64 {
    let rounds = std::env::var("ROOMCAST_CRASH_ROUNDS");
    rounds.map_or(ROUND_COUNT, |text| text.parse().expect("a number"))
}

/// Everything that anyone knows is in the log, and the log has no gap and nothing twice.
fn check(folder: &Folder, known: &Known) {
    let rows = folder.query("SELECT room, seq_id, content FROM history ORDER BY room, seq_id");
    let mut log = BTreeMap::new();
    let mut places = BTreeMap::new();
    for row in rows.chunks(3) {
        let [room, seq, content] = row else {
            unreachable!()
        };
        let content = content.trim_matches('"').to_owned();
        let place = (room.clone(), seq.parse::<u64>().expect("a number"));
        assert_eq!(
            places.insert(content.clone(), place.clone()),
            None,
            "{content} is there twice"
        );
        log.insert(place, content);
    }
    for room in ROOMS {
        let seqs = log
            .keys()
            .filter(|(name, _)| name == room)
            .map(|(_, seq)| *seq);
        let seqs: Vec<u64> = seqs.collect();
        assert!(
            seqs.iter().copied().eq(1..=seqs.len() as u64),
            "{room} has a gap"
        );
    }
    for (place, content) in &known.contents {
        assert_eq!(log.get(place), Some(content), "{place:?} was seen");
    }
    assert_eq!(folder.query("PRAGMA integrity_check"), ["ok"]);
}
