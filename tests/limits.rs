//! Every bound at its edge: what is just allowed, what is just too much, what is said then, and that it is counted.

mod common;

use common::{
    Client, Frame, Opcode, Server, Socket, Value, fragment, json, masked, sharded, until,
};
use std::thread;
use std::time::Duration;

sharded!(
    a_message_may_fill_its_limit,
    fragments_grow_with_the_message,
    ids_have_64_bytes,
    connections_over_the_limit_are_told,
    rooms_of_a_connection_are_bounded,
    rooms_in_all_are_bounded,
    names_in_all_are_bounded,
    names_of_an_address_are_bounded,
    an_inbox_holds_what_it_may,
    a_tail_is_bounded_wherever_its_members_are,
    all_logs_together_are_bounded,
    signals_have_a_budget,
    stalled_readers_hold_what_they_may,
    answers_to_the_deaf_are_bounded,
);

fn a_message_may_fill_its_limit(shards: u16) {
    for limit in [1024, 65_536, 200_000] {
        let server = Server::with(shards, &["--max-message", &limit.to_string()]);
        let mut ann = server.client("ann");
        let mut bob = server.client("bob");
        ann.join("r");
        bob.join("r");
        let command = |length: usize| {
            let around = r#"{"type":"message","room_id":"r","content":""}"#.len();
            let content = "x".repeat(length - around);
            format!(r#"{{"type":"message","room_id":"r","content":"{content}"}}"#)
        };
        for length in [limit - 1, limit] {
            let text = command(length);
            assert_eq!(text.len(), length);
            ann.say_text(&text);
            ann.take("ack");
            let message = bob.take("message");
            let content = message["content"].as_str().expect("a string");
            assert!(text.contains(content));
        }
        ann.say_text(&command(limit + 1));
        assert_eq!(ann.closed().0, Some(1009), "{limit}");
        for path in ["/echo", "/raw/r"] {
            let mut socket = server.socket(path);
            socket.send(Opcode::Binary, &vec![1; limit]);
            socket.send(Opcode::Binary, &vec![1; limit + 1]);
            assert_eq!(socket.closed(), Some(1009), "{limit} on {path}");
        }
        server.metric_is("violations_total", 3);
    }
}

fn fragments_grow_with_the_message(shards: u16) {
    // At least 1024, and as many as it takes to fill the limit with 64 bytes each.
    for (limit, most) in [(1024, 1024), (65_536, 1024), (131_072, 2048)] {
        let server = Server::with(shards, &["--max-message", &limit.to_string()]);
        for (count, is_taken) in [(most, true), (most + 1, false)] {
            let mut socket = server.socket("/echo");
            socket.send_bytes(&fragment(false, Opcode::Binary, b""));
            let middle = fragment(false, Opcode::Continuation, b"");
            socket.send_bytes(&middle.repeat(count - 2));
            socket.send_bytes(&fragment(true, Opcode::Continuation, b"x"));
            if is_taken {
                assert_eq!(socket.message(), Frame::Binary(b"x".to_vec()), "{limit}");
            } else {
                assert_eq!(socket.closed(), Some(1008), "{limit}");
            }
        }
    }
}

fn ids_have_64_bytes(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    for id in [
        String::new(),
        "i".repeat(64),
        "ä".repeat(32),
        "😀".repeat(16),
    ] {
        let heartbeat = ann.ask(json!({"type": "heartbeat", "id": id}), "heartbeat");
        assert_eq!(heartbeat["id"], id);
    }
    for id in ["i".repeat(65), "ä".repeat(33)] {
        let error = ann.ask(json!({"type": "heartbeat", "id": id}), "error");
        assert_eq!(error["code"], "bad_field");
        assert_eq!(error.get("id"), None, "it cannot be repeated");
    }
}

fn connections_over_the_limit_are_told(shards: u16) {
    const MOST: usize = 5;
    let server = Server::with(shards, &["--max-connections", &MOST.to_string()]);
    let mut members: Vec<Client> = (0..MOST).map(|_| Client::open(&server, "")).collect();
    // They are told before they have said anything, each of them.
    for _ in 0..10 {
        let answer = server.http().response();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.field("connection"), Some("close"));
        let pause = answer.field("retry-after").expect("when to come back");
        assert!(
            (1..=60).contains(&pause.parse().expect("seconds")),
            "{pause}"
        );
    }
    // Of very many at the same time that do not go, some are told and the others closed; none is left hanging.
    let mut crowd: Vec<_> = (0..200).map(|_| server.http()).collect();
    for http in &mut crowd {
        assert!(http.is_ended() || http.response().status == 503);
    }
    // Who was there before is served as ever.
    for member in &mut members {
        member.barrier();
    }
    drop(crowd);
    members.truncate(2);
    let mut counted = 0;
    until("there is room again", || {
        let mut http = server.http();
        http.send(format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n",
            server.host()
        ));
        let answer = http.response();
        let text = answer.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("roomcast_turned_away_total "));
        counted = line.map_or(0, |count| count.parse().expect("a number"));
        answer.status == 200
    });
    assert!(counted >= 210, "{counted} were turned away");
}

fn rooms_of_a_connection_are_bounded(shards: u16) {
    let server = Server::with(shards, &["--rooms-per-connection-max", "3"]);
    let mut ann = server.client("ann");
    for room in ["a", "b", "c"] {
        ann.join(room);
    }
    let error = ann.ask(json!({"type": "join", "room_id": "d", "id": "j"}), "error");
    assert_eq!(
        (&error["code"], &error["room_id"], &error["id"]),
        (&json!("too_many_rooms"), &json!("d"), &json!("j"))
    );
    ann.join("b");
    ann.ask(json!({"type": "leave", "room_id": "a"}), "left");
    ann.join("d");
    let error = ann.ask(json!({"type": "join", "room_id": "a"}), "error");
    assert_eq!(error["code"], "too_many_rooms");
    // Each connection has its own count, and an inbox is not in it.
    let mut other = server.again(&ann);
    for room in ["a", "b", "c"] {
        other.join(room);
    }
    ann.write_to("ann", 1);
    other.take("message");
    server.metric_is("rooms_refused_total", 2);
}

fn rooms_in_all_are_bounded(shards: u16) {
    let server = Server::with(shards, &["--room-count-max", "8"]);
    let mut ann = server.client("ann");
    let mut joined = Vec::new();
    let refused = (0..40)
        .filter(|number| {
            let room = format!("room {number}");
            ann.say(json!({"type": "join", "room_id": room}));
            let error = ann.barrier_or_error();
            match error {
                Some(error) => {
                    assert_eq!(error["code"], "too_many_rooms", "{error}");
                    true
                }
                None => {
                    // Another shard answers in its own time.
                    let answer = ann.next_of(&["joined", "error"]);
                    let is_joined = answer["type"] == "joined";
                    if is_joined {
                        joined.push(room);
                    }
                    !is_joined
                }
            }
        })
        .count();
    assert!((1..=8).contains(&joined.len()), "{joined:?}");
    assert_eq!(joined.len() + refused, 40);
    server.await_metric("rooms_refused_total", refused as u64);
    assert!(server.metric("rooms") <= 8 * u64::from(shards));
    // What is there works, others may join it, and a room that is left makes place for another.
    for room in &joined {
        assert_eq!(ann.post(room, 1)["seq_id"], 1);
    }
    let mut relay = (0..20).map(|number| server.socket(&format!("/raw/{number}")));
    assert!(
        relay.any(|mut socket| matches!(
            socket.frame_within(Duration::from_millis(500)),
            Some(Frame::Close(Some(1013)))
        )),
        "a relay is a room as well"
    );
}

fn names_in_all_are_bounded(shards: u16) {
    names_are_bounded(shards, "--name-count-max");
}

fn names_of_an_address_are_bounded(shards: u16) {
    names_are_bounded(shards, "--names-per-address-max");
}

fn names_are_bounded(shards: u16, flag: &str) {
    let server = Server::with(shards, &[flag, "8"]);
    let mut clients = Vec::new();
    let mut refused = 0;
    for number in 0..40 {
        let mut socket = server.socket(&format!("/ws?user=user{number}"));
        let event: Value = serde_json::from_str(&socket.text()).expect("JSON");
        if event["type"] == "welcome" {
            let session = event["session"].as_str().expect("a secret").to_owned();
            clients.push((format!("user{number}"), session));
            continue;
        }
        refused += 1;
        assert_eq!(
            (&event["type"], &event["code"], &event["retryable"]),
            (&json!("error"), &json!("overloaded"), &json!(true))
        );
        let code = socket.closed().expect("a code");
        assert!((4100..4200).contains(&code), "after a pause: {code}");
    }
    assert!((1..=8).contains(&clients.len()), "{}", clients.len());
    server.metric_is("names_refused_total", refused);
    // Those who have a name keep it, and a guest needs none.
    for (user, session) in clients {
        Client::open(&server, &format!("?user={user}&session={session}"));
    }
    Client::open(&server, "");
}

fn an_inbox_holds_what_it_may(shards: u16) {
    let server = Server::with(shards, &["--inbox-bytes-max", "65536"]);
    let mut ann = server.client("ann");
    let bob = server.client("bob");
    let command = json!({"type": "message", "to": "bob", "content": "x".repeat(1000)});
    let mut kept = 0;
    let error = loop {
        ann.say(command.clone());
        let event = ann.next();
        match event["type"].as_str() {
            Some("ack") => kept += 1,
            Some("error") => break event,
            other => panic!("an answer, not {other:?}"),
        }
        assert!(kept < 100, "{kept} messages of 1000 bytes in 64 KiB");
    };
    assert!(kept > 40, "{kept}");
    assert_eq!(
        (&error["code"], &error["to"], &error["retryable"]),
        (&json!("overloaded"), &json!("bob"), &json!(true))
    );
    assert!(error["retry_after_ms"].is_u64());
    server.metric_is("inbox_full_total", 1);
    // Others' inboxes have room, and so has bob's once he has had what is in it.
    ann.write_to("ann", 1);
    let query = format!("?user=bob&session={}", bob.session);
    let mut again = Client::open(&server, &query);
    assert_eq!(
        again.take_seqs("bob", kept),
        (1..=kept as u64).collect::<Vec<_>>()
    );
    Client::open(&server, &format!("{query}&inbox_since={kept}"));
    assert_eq!(ann.ask(command, "ack")["seq_id"], kept + 1);
}

fn a_tail_is_bounded_wherever_its_members_are(shards: u16) {
    const ROOMS: u64 = 6;
    // Two segments of 64 KiB and a bit, at both ends of a replica.
    const TAIL_BYTES: u64 = 3 * 65_536;
    let server = Server::with(
        shards,
        &["--max-message", "4096", "--tail-bytes-max", "4096"],
    );
    let mut ann = server.client("ann");
    for room in 0..ROOMS {
        let room = format!("room {room}");
        ann.ask(
            json!({"type": "join", "room_id": room, "echo": false}),
            "joined",
        );
        let command = json!({"type": "message", "room_id": room, "content": "x".repeat(3000)});
        for _ in 0..10 {
            for _ in 0..20 {
                ann.say(command.clone());
            }
            ann.take_many("ack", 20);
        }
        let page = ann.ask(
            json!({"type": "history", "room_id": room, "limit": 1}),
            "history",
        );
        assert_eq!(page["messages"][0]["seq_id"], 200);
    }
    // The same for an inbox whose user has had everything.
    let bob = server.client("bob");
    for number in 1..=100 {
        ann.write_to("bob", "x".repeat(3000));
        if number % 10 == 0 {
            let query = format!("?user=bob&session={}&inbox_since={number}", bob.session);
            Client::open(&server, &query);
        }
    }
    let bound = (ROOMS + 2) * TAIL_BYTES * u64::from(shards);
    let bytes = server.metric("log_bytes");
    assert!(bytes <= bound, "{bytes} of {bound} bytes");
}

fn all_logs_together_are_bounded(shards: u16) {
    const MOST: u64 = 1 << 20;
    let server = Server::with(
        shards,
        &[
            "--tail-bytes-max",
            "131072",
            "--log-bytes-max",
            &MOST.to_string(),
        ],
    );
    let before = server.resident_bytes();
    let mut ann = server.client("ann");
    let command =
        |room: &str| json!({"type": "message", "room_id": room, "content": "x".repeat(20_000)});
    for room in 0..20 {
        let room = format!("room {room}");
        ann.ask(
            json!({"type": "join", "room_id": room, "echo": false}),
            "joined",
        );
        for _ in 0..10 {
            ann.ask(command(&room), "ack");
        }
    }
    // 20 rooms with 200 kB each went through.
    let bytes = server.metric("log_bytes");
    assert!(bytes <= MOST, "{bytes} bytes");
    server.await_metric("log_evictions_total", 1);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MOST, "{grown} bytes of memory");
    // The newest room has its newest messages.
    let page = ann.ask(json!({"type": "history", "room_id": "room 19"}), "history");
    let messages = page["messages"].as_array().expect("an array");
    assert_eq!(
        messages.last().map(|message| &message["seq_id"]),
        Some(&json!(10))
    );
}

fn signals_have_a_budget(shards: u16) {
    let server = Server::start(shards);
    let mut listener = server.client("listener");
    listener.join("r");
    let mut senders: Vec<Client> = (0..4)
        .map(|number| {
            let mut sender = server.client(&format!("sender{number}"));
            sender.ask(
                json!({"type": "join", "room_id": "r", "echo": false}),
                "joined",
            );
            sender
        })
        .collect();
    let signal = json!({"type": "signal", "room_id": "r", "content": "x".repeat(950)});
    let burst = masked(Opcode::Text, signal.to_string().repeat(64).as_bytes());
    let mut sent = 0;
    until("signals are dropped", || {
        for sender in &mut senders {
            sender.socket.send_bytes(&burst);
            sent += 64;
        }
        for sender in &mut senders {
            sender.barrier();
        }
        server.metric("passing_dropped_total") > 0
    });
    // Messages are not, whatever is dropped around them.
    for number in 1..=50 {
        for sender in &mut senders {
            sender.socket.send_bytes(&burst);
            sent += 64;
        }
        assert_eq!(senders[0].post("r", number)["seq_id"], number);
    }
    assert_eq!(listener.take_seqs("r", 50), (1..=50).collect::<Vec<u64>>());
    for sender in &mut senders {
        sender.barrier();
    }
    assert!(server.metric("signals_total") <= sent);
}

/// A member of a room that has a small window and reads nothing.
fn deaf(server: &Server, name: &str, room: &str) -> Client {
    let mut client = Client::on(Socket::open(
        server.connect_with_window(4096),
        &server.host(),
        &format!("/ws?user={name}"),
    ));
    client.join(room);
    client
}

fn stalled_readers_hold_what_they_may(shards: u16) {
    const ROOMS: usize = 8;
    const MOST: u64 = 100_000;
    let server = Server::with(
        shards,
        &[
            "--tail-bytes-max",
            "65536",
            "--stalled-bytes-max",
            &MOST.to_string(),
            "--log-bytes-max",
            "100000000",
        ],
    );
    let rooms: Vec<String> = (0..ROOMS).map(|number| format!("room{number}")).collect();
    let mut ann = server.client("ann");
    let deaf: Vec<Client> = rooms
        .iter()
        .map(|room| deaf(&server, &format!("in-{room}"), room))
        .collect();
    let content = "x".repeat(60_000);
    for room in &rooms {
        ann.ask(
            json!({"type": "join", "room_id": room, "echo": false}),
            "joined",
        );
    }
    // Each stops in the middle of a frame of 60 kB, and falls off the tail there: one such frame for all is allowed.
    until("some are closed for it", || {
        for room in &rooms {
            ann.post(room, content.as_str());
        }
        server.metric("stalled_closed_total") >= ROOMS as u64 - 2 * u64::from(shards)
    });
    drop(deaf);
}

fn answers_to_the_deaf_are_bounded(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let rooms = ["a", "b", "c", "d"];
    for room in rooms {
        ann.ask(
            json!({"type": "join", "room_id": room, "echo": false}),
            "joined",
        );
        for _ in 0..10 {
            ann.post(room, "x".repeat(25_000));
        }
    }
    // Each answer has a quarter of a megabyte, and a thousand are asked for at once.
    let before = server.resident_bytes();
    let mut deaf: Vec<Client> = (0..4)
        .map(|number| server.client(&format!("deaf{number}")))
        .collect();
    for client in &mut deaf {
        for room in rooms {
            client.join(room);
        }
        let asked: String = rooms
            .iter()
            .map(|room| json!({"type": "history", "room_id": room, "limit": 500}).to_string())
            .collect();
        let frame = masked(Opcode::Text, asked.repeat(250).as_bytes());
        client.socket.send_bytes(&frame);
    }
    let mut most = 0;
    for _ in 0..20 {
        most = most.max(server.resident_bytes().saturating_sub(before));
        ann.barrier();
        thread::sleep(Duration::from_millis(20));
    }
    assert!(most < 12 << 20, "{most} bytes for 4 connections");
    server.await_metric("replies_full_total", 1);
    // Once they read, every one is answered.
    for client in &mut deaf {
        for _ in 0..30 {
            let page = client.take("history");
            assert_eq!(page["messages"].as_array().map(Vec::len), Some(10));
        }
    }
}
