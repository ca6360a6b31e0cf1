//! Nothing that anyone sends, or refuses to read, makes the server's memory grow past its bounds.

mod common;

use common::{Client, Frame, Opcode, Server, Socket, json, masked, sharded, until};
use std::thread;
use std::time::Duration;

sharded!(
    an_inbox_holds_what_it_may,
    a_tail_is_bounded_wherever_its_members_are,
    all_logs_together_are_bounded,
    signals_have_a_budget,
    stalled_readers_hold_what_they_may,
    answers_to_the_deaf_are_bounded,
    a_flood_is_held_back,
);

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
    // Two segments of 64 KiB and a bit, at both ends of a replica.
    const TAIL_BYTES: u64 = 160 * 1024;
    let server = Server::with(
        shards,
        &[
            "--max-message",
            "4096",
            "--tail-bytes-max",
            "4096",
            "--inbox-bytes-max",
            "65536",
        ],
    );
    let mut ann = server.client("ann");
    let bob = server.client("bob");
    let content = "x".repeat(3000);
    // Most probably some of them are at home on the shard of ann's connection, and some are not.
    for room in 0..6 {
        let before = server.metric("log_bytes");
        let room = format!("room {room}");
        ann.ask(
            json!({"type": "join", "room_id": room, "echo": false}),
            "joined",
        );
        let command = json!({"type": "message", "room_id": room, "content": content});
        for _ in 0..10 {
            for _ in 0..20 {
                ann.say(command.clone());
            }
            ann.take_many("ack", 20);
        }
        // 600 kB went through.
        until("a room keeps little", || {
            server.metric("log_bytes") <= before + TAIL_BYTES * u64::from(shards)
        });
    }
    // The same for the inboxes of one who has had everything, and of one who wrote it.
    let before = server.metric("log_bytes");
    for number in 1..=200 {
        ann.write_to("bob", content.as_str());
        if number % 10 == 0 {
            let query = format!("?user=bob&session={}&inbox_since={number}", bob.session);
            Client::open(&server, &query);
        }
    }
    until("an inbox keeps little", || {
        server.metric("log_bytes") <= before + 2 * (TAIL_BYTES + 65_536) * u64::from(shards)
    });
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
    // What is oldest went first, wherever its room is.
    let page = ann.ask(json!({"type": "history", "room_id": "room 0"}), "history");
    let left = page["messages"].as_array().expect("an array").len();
    assert!(left < messages.len(), "{left} of the oldest room");
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
    for number in 1..=15 {
        for sender in &mut senders {
            sender.socket.send_bytes(&burst);
            sent += 64;
        }
        assert_eq!(senders[0].post("r", number)["seq_id"], number);
    }
    assert_eq!(listener.take_seqs("r", 15), (1..=15).collect::<Vec<u64>>());
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
    const DEAF: usize = 6;
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let rooms: Vec<String> = (0..DEAF).map(|number| format!("room {number}")).collect();
    for room in &rooms {
        ann.ask(
            json!({"type": "join", "room_id": room, "echo": false}),
            "joined",
        );
        for _ in 0..10 {
            ann.post(room, "x".repeat(25_000));
        }
    }
    // Each answer has a quarter of a megabyte, and hundreds are asked for at once; most probably some of the rooms
    // are at home on another shard.
    let before = server.resident_bytes();
    let mut deaf: Vec<Client> = rooms
        .iter()
        .map(|room| {
            let mut client = Client::open(&server, "");
            client.join(room);
            let asked = json!({"type": "history", "room_id": room, "limit": 500}).to_string();
            client.say_text(&asked.repeat(300));
            client
        })
        .collect();
    let mut most = 0;
    let mut look = || most = most.max(server.resident_bytes().saturating_sub(before));
    until("everyone is held back", || {
        look();
        server.metric("replies_full_total") >= DEAF as u64
    });
    for _ in 0..20 {
        look();
        ann.barrier();
        thread::sleep(Duration::from_millis(20));
    }
    assert!(most < 16 << 20, "{most} bytes for {DEAF} connections");
    // Once they read, every one is answered.
    for client in &mut deaf {
        for _ in 0..10 {
            let page = client.take("history");
            assert_eq!(page["messages"].as_array().map(Vec::len), Some(10));
        }
    }
}

fn a_flood_is_held_back(shards: u16) {
    const FLOOD: usize = 16 << 20;
    let server = Server::start(shards);
    // Members that read nothing: what is sent to them has nowhere to go.
    let mut deaf = Vec::new();
    for number in 0..4 {
        let mut client = Client::open(&server, "");
        client.join(&format!("room {number}"));
        deaf.push(client.socket);
        deaf.push(server.socket(&format!("/raw/{number}")));
    }
    let before = server.resident_bytes();
    // Signals and frames of a relay have no answer whose room could hold their sender back.
    let mut floods = Vec::new();
    for number in 0..4 {
        let room = format!("room {number}");
        let mut client = Client::open(&server, "");
        client.join(&room);
        let signal = json!({"type": "signal", "room_id": room, "content": "x".repeat(4000)});
        floods.push((
            client.socket,
            masked(Opcode::Text, signal.to_string().as_bytes()),
        ));
        let relay = server.socket(&format!("/raw/{number}"));
        floods.push((relay, masked(Opcode::Binary, &[1; 60_000])));
    }
    let mut most = 0;
    thread::scope(|scope| {
        let senders: Vec<_> = floods
            .iter_mut()
            .map(|(socket, frame)| {
                scope.spawn(move || {
                    for _ in 0..FLOOD / 8 / frame.len() {
                        socket
                            .try_send(frame)
                            .expect("the server reads on, at its own pace");
                    }
                })
            })
            .collect();
        until("everything was sent", || {
            most = most.max(server.resident_bytes().saturating_sub(before));
            senders.iter().all(|sender| sender.is_finished())
        });
    });
    assert!(most < 24 << 20, "{most} bytes");
    for (socket, _) in &mut floods {
        socket.send(Opcode::Ping, b"last");
        while socket.message() != Frame::Pong(b"last".to_vec()) {}
    }
    drop(deaf);
}
