//! One who reads slowly, or not at all, costs the others nothing, and later learns exactly what it missed.

mod common;

use common::{Client, Frame, Opcode, Server, Socket, Value, json, masked, seq, transported, until};
use std::time::{Duration, Instant};

transported!(
    the_others_do_not_notice_it,
    it_is_told_what_it_missed,
    what_is_kept_is_caught_up_on,
    all_of_its_rooms_get_their_turn,
    it_is_not_closed_while_it_gives_signs_of_life,
    its_place_after_a_gap_is_good_to_resume_from,
);

/// Tails of which a room keeps half a megabyte for those who are behind.
const SMALL: [&str; 4] = ["--max-message", "16384", "--tail-bytes-max", "16384"];

/// A chat connection with a small window.
fn slow(server: &Server, user: &str) -> Client {
    Client::on(Socket::open(
        server.connect_with_window(8 * 1024),
        &server.host(),
        &format!("/ws?user={user}"),
    ))
}

/// A writer of a room that does not hear itself.
fn writer(server: &Server, rooms: &[&str]) -> Client {
    let mut writer = server.client("writer");
    for room in rooms {
        writer.ask(
            json!({"type": "join", "room_id": room, "echo": false}),
            "joined",
        );
    }
    writer
}

/// Writes to a room until its slow reader must have fallen off the tail, and gives the last number.
fn write_past(server: &Server, writer: &mut Client, room: &str, content: &str) -> u64 {
    let mut head = 0;
    until("the slow reader is blocked", || {
        for _ in 0..20 {
            head = seq(&writer.post(room, content));
        }
        server.metric("sends_blocked_total") > 0
    });
    // More than a room keeps for a burst.
    for _ in 0..(1024 * 1024 / content.len()) {
        head = seq(&writer.post(room, content));
    }
    head
}

/// Reads a room up to message `head`: the messages, and the gaps between them, in the order in which they come.
fn read_up_to(client: &mut Client, room: &str, head: u64) -> (u64, Vec<(u64, u64)>) {
    let (mut had, mut messages, mut gaps) = (0, 0, Vec::new());
    while had < head {
        let event = client.next_of(&["message", "gap"]);
        assert_eq!(event["room_id"], room);
        if event["type"] == "message" {
            assert_eq!(seq(&event), had + 1, "nothing is missing or repeated");
            had += 1;
            messages += 1;
        } else {
            let place = |key: &str| event[key].as_u64().expect("a number");
            let (from, to) = (place("from_seq_id"), place("to_seq_id"));
            assert_eq!(from, had + 1, "a gap starts where the messages end");
            assert!(to >= from, "{event}");
            assert!(
                event["reason"]
                    .as_str()
                    .is_some_and(|reason| !reason.is_empty())
            );
            gaps.push((from, to));
            had = to;
        }
    }
    (messages, gaps)
}

fn the_others_do_not_notice_it(shards: u16) {
    let server = Server::start(shards);
    let mut writer = writer(&server, &["r"]);
    let mut readers: Vec<Client> = (0..4).map(|_| Client::open(&server, "")).collect();
    for reader in &mut readers {
        reader.join("r");
    }
    let content = "x".repeat(8000);
    let mut write_and_read = |writer: &mut Client, count: usize| -> Vec<Duration> {
        let mut latencies: Vec<Duration> = (0..count)
            .map(|_| {
                let start = Instant::now();
                writer.post("r", content.as_str());
                for reader in &mut readers {
                    reader.take("message");
                }
                start.elapsed()
            })
            .collect();
        latencies.sort_unstable();
        latencies
    };
    let before = write_and_read(&mut writer, 100);
    let mut slow: Vec<Client> = (0..6)
        .map(|number| slow(&server, &format!("slow{number}")))
        .collect();
    for client in &mut slow {
        client.join("r");
    }
    let memory = server.resident_bytes();
    let after = write_and_read(&mut writer, 400);
    // They are 3 MB behind by now, which a room keeps for a moment, and for all of them together.
    assert!(server.metric("sends_blocked_total") > 0);
    let grown = server.resident_bytes().saturating_sub(memory);
    assert!(grown < (4 + 4 * u64::from(shards)) << 20, "{grown} bytes");
    until("the moment is over", || {
        server.metric("log_bytes") < u64::from(shards) << 20
    });
    let (usual, now) = (before[before.len() / 2], after[after.len() / 2]);
    assert!(
        now < 5 * usual + Duration::from_millis(20),
        "{usual:?} became {now:?}"
    );
    let worst = after[after.len() * 99 / 100];
    assert!(worst < Duration::from_millis(500), "{worst:?}");
}

fn it_is_told_what_it_missed(shards: u16) {
    let server = Server::with(shards, &SMALL);
    let mut writer = writer(&server, &["r"]);
    let mut slow = slow(&server, "slow");
    slow.join("r");
    let head = write_past(&server, &mut writer, "r", &"x".repeat(8000));
    let (messages, gaps) = read_up_to(&mut slow, "r", head);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let missed: u64 = gaps.iter().map(|(from, to)| to - from + 1).sum();
    assert_eq!(messages + missed, head);
    server.await_metric("gaps_total", 1);
    // From there on it gets what is live.
    writer.post("r", "live");
    assert_eq!(slow.take("message")["seq_id"], head + 1);
}

fn what_is_kept_is_caught_up_on(shards: u16) {
    let server = Server::with(shards, &["--tail-bytes-max", "20000000"]);
    let mut writer = writer(&server, &["r"]);
    let mut slow = slow(&server, "slow");
    slow.join("r");
    let head = write_past(&server, &mut writer, "r", &"x".repeat(8000));
    let (messages, gaps) = read_up_to(&mut slow, "r", head);
    assert_eq!((messages, gaps), (head, vec![]));
    assert_eq!(server.metric("gaps_total"), 0);
}

fn all_of_its_rooms_get_their_turn(shards: u16) {
    const ROOMS: [&str; 4] = ["a", "b", "c", "d"];
    let server = Server::with(shards, &["--tail-bytes-max", "20000000"]);
    let mut writer = writer(&server, &ROOMS);
    let mut slow = slow(&server, "slow");
    for room in ROOMS {
        slow.join(room);
    }
    let content = "x".repeat(8000);
    let head = write_past(&server, &mut writer, "a", &content);
    for room in &ROOMS[1..] {
        for _ in 0..40 {
            writer.post(room, content.as_str());
        }
    }
    // A reply of its own comes although everything waits.
    slow.say(json!({"type": "heartbeat", "id": "own"}));
    let (mut seen, mut last) = ([0_u64; 4], Vec::new());
    while seen != [head, 40, 40, 40] {
        let event = slow.next_of(&["message"]);
        let room = ROOMS.iter().position(|room| event["room_id"] == *room);
        let room = room.expect("one of its rooms");
        seen[room] += 1;
        assert_eq!(seq(&event), seen[room], "in order within the room");
        last.push(room);
    }
    // The others did not wait until the first room was through.
    let first_of_others = last.iter().position(|room| *room != 0).expect("they came");
    let last_of_first = last.iter().rposition(|room| *room == 0).expect("it came");
    assert!(first_of_others < last_of_first);
    assert_eq!(slow.take("heartbeat")["id"], "own");
}

fn it_is_not_closed_while_it_gives_signs_of_life(shards: u16) {
    const INTERVAL: Duration = Duration::from_millis(500);
    let flags = [&SMALL[..], &["--heartbeat-ms", "500"]].concat();
    let server = Server::with(shards, &flags);
    let mut writer = writer(&server, &["r"]);
    let mut slow = slow(&server, "slow");
    slow.join("r");
    let content = "x".repeat(8000);
    let heartbeat = masked(Opcode::Text, br#"{"type":"heartbeat"}"#);
    let (start, mut head) = (Instant::now(), 0);
    // Longer than silence may last, and beyond everything that is kept for it. The writer answers pings as it reads
    // its acks.
    while start.elapsed() < 4 * INTERVAL || head < 600 {
        slow.socket.send_bytes(&heartbeat);
        for _ in 0..10 {
            head = seq(&writer.post("r", content.as_str()));
        }
    }
    assert_eq!(server.metric("silent_closed_total"), 0);
    let (_, gaps) = read_up_to(&mut slow, "r", head);
    assert!(!gaps.is_empty(), "it was behind all that time");
}

fn its_place_after_a_gap_is_good_to_resume_from(shards: u16) {
    let server = Server::with(shards, &SMALL);
    let mut writer = writer(&server, &["r"]);
    let mut slow = slow(&server, "slow");
    let epoch = slow.join("r")["epoch"].clone();
    write_past(&server, &mut writer, "r", &"x".repeat(8000));
    let gap = slow.take("gap");
    let end = gap["to_seq_id"].as_u64().expect("a number");
    let mut again = server.again(&slow);
    let joined = again.ask(
        json!({"type": "join", "room_id": "r", "since": {"epoch": epoch, "seq_id": end}}),
        "joined",
    );
    assert_eq!(joined["recovered"], true, "{joined}");
    assert_eq!(again.take("message")["seq_id"], end + 1);
    // And the slow one goes on with the same message.
    let first: Vec<Value> = slow
        .rest_of("message")
        .into_iter()
        .filter(|message| seq(message) > end)
        .collect();
    assert_eq!(first.first().map(seq), Some(end + 1));
    // One that never reads again is no obstacle to others of its user, nor to its own end.
    slow.socket.send(Opcode::Close, &1000_u16.to_be_bytes());
    while slow.socket.frame() != Frame::Close(Some(1000)) {}
}
