//! Rooms: one order for everyone, numbers without a hole, contents as they came in, joining and leaving.

mod common;

use common::{Client, Server, Value, json, seq, seqs, transported, until};
use std::thread;

transported!(
    everyone_sees_the_same_order,
    messages_are_numbered_and_acknowledged,
    content_comes_out_byte_for_byte,
    an_echo_can_be_declined,
    joining_again_starts_anew,
    who_has_left_hears_nothing_more,
    rooms_do_not_mix,
    members_are_users_not_connections,
    a_signal_goes_to_the_others_and_is_not_kept,
    commands_behind_a_join_need_not_wait_for_it,
    types_match_in_any_case,
    names_are_any_text,
);

fn everyone_sees_the_same_order(shards: u16) {
    const SENDERS: usize = 6;
    const MESSAGES: usize = 200;
    let server = Server::start(shards);
    let members: Vec<Client> = (0..SENDERS)
        .map(|number| {
            let mut client = server.client(&format!("user{number}"));
            client.join("hall");
            client
        })
        .collect();
    let threads: Vec<_> = members
        .into_iter()
        .map(|mut member| {
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    let content = format!("{} {number}", member.user);
                    member.say(json!({"type": "message", "room_id": "hall", "content": content}));
                }
                member.take_many("message", SENDERS * MESSAGES)
            })
        })
        .collect();
    let seen: Vec<Vec<Value>> = threads
        .into_iter()
        .map(|thread| thread.join().expect("a member is served"))
        .collect();
    let all: Vec<u64> = (1..=(SENDERS * MESSAGES) as u64).collect();
    assert_eq!(seqs(&seen[0]), all);
    for other in &seen[1..] {
        assert!(other == &seen[0], "the same messages in the same order");
    }
    // What one of them sent stands in the order in which it was sent.
    let of_one = seen[0]
        .iter()
        .filter(|message| message["sender"] == "user3");
    let contents: Vec<&str> = of_one
        .map(|message| message["content"].as_str().expect("a string"))
        .collect();
    let sent: Vec<String> = (0..MESSAGES)
        .map(|number| format!("user3 {number}"))
        .collect();
    assert_eq!(contents, sent);
}

fn messages_are_numbered_and_acknowledged(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let epoch = ann.join("tea")["epoch"].clone();
    assert_eq!(bob.join("tea")["epoch"], epoch);
    let text = epoch.as_str().expect("an epoch is a string");
    assert!((1..=32).contains(&text.len()), "{text:?}");
    let mut last = 0;
    for number in 1..=20 {
        let ack = ann.ask(
            json!({"type": "message", "room_id": "tea", "content": number, "id": format!("m{number}")}),
            "ack",
        );
        assert_eq!(ack["seq_id"], number);
        assert_eq!(ack["id"], format!("m{number}"));
        assert_eq!(ack["room_id"], "tea");
        assert_eq!(ack["durable"], false, "memory does not outlive a crash");
        assert_eq!(ack.get("dup"), None);
        for reader in [&mut ann, &mut bob] {
            let message = reader.take("message");
            for key in ["seq_id", "id", "room_id", "timestamp"] {
                assert_eq!(message[key], ack[key], "{key}");
            }
            assert_eq!(message["sender"], "ann");
            assert_eq!(message["content"], number);
        }
        let timestamp = ack["timestamp"].as_u64().expect("milliseconds");
        assert!(timestamp >= last, "time does not run backwards");
        assert!(timestamp > 1_600_000_000_000, "since the Unix epoch");
        last = timestamp;
    }
    // Without an id there is none in what comes of it.
    let ack = ann.post("tea", "no id");
    assert_eq!(ack.get("id"), None);
    assert_eq!(bob.take("message").get("id"), None);
    server.metric_is("messages_numbered_total", 21);
}

fn content_comes_out_byte_for_byte(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("r");
    bob.join("r");
    let deep = format!("{}0{}", "[".repeat(128), "]".repeat(128));
    let long = format!("\"{}\"", "ä".repeat(10_000));
    for (number, value) in [
        "null",
        "true",
        "0",
        "-0",
        "1.0",
        "1.50e+10",
        "1E400",
        "123456789012345678901234567890",
        "0.1000",
        r#""""#,
        r#""plain""#,
        r#""\u0041\u00e9\/\"\\\b\f\n\r\t""#,
        r#""\ud83d\ude00 😀 \u0000""#,
        "\"<img src=x onerror=alert(1)> & \u{2028}\u{7f}\"",
        "[ 1 ,\t2 ,\r\n 3 ]",
        r#"{"b":1,"a":2,"b":3,"":[]}"#,
        "{ \"k\" : { } }",
        r#"{"type":"error","seq_id":-1,"__proto__":null}"#,
        &deep,
        &long,
    ]
    .into_iter()
    .enumerate()
    {
        ann.say_text(&format!(
            "{{\"type\":\"message\",\"room_id\":\"r\",\"content\":{value},\"metadata\":{value}}}"
        ));
        let seq = seq(&ann.take("ack"));
        assert_eq!(seq, number as u64 + 1);
        let expected = format!("\"content\":{value},\"metadata\":{value}}}");
        for reader in [&mut ann, &mut bob] {
            let text = reader.take_text("message");
            assert!(text.ends_with(&expected), "{value} came as {text}");
        }
        // And again as a page.
        bob.say(json!({"type": "history", "room_id": "r", "after": seq - 1}));
        let page = bob.take_text("history");
        assert!(page.contains(&expected), "{value} was kept as {page}");
    }
}

fn an_echo_can_be_declined(shards: u16) {
    let server = Server::start(shards);
    let mut quiet = server.client("ann");
    let mut loud = server.again(&quiet);
    quiet.ask(
        json!({"type": "join", "room_id": "r", "echo": false}),
        "joined",
    );
    loud.ask(
        json!({"type": "join", "room_id": "r", "echo": true}),
        "joined",
    );
    let mut bob = server.client("bob");
    bob.join("r");
    for number in 1..=10 {
        assert_eq!(quiet.post("r", "of quiet")["seq_id"], 3 * number - 2);
        assert_eq!(loud.post("r", "of loud")["seq_id"], 3 * number - 1);
        assert_eq!(bob.post("r", "of bob")["seq_id"], 3 * number);
    }
    let all: Vec<u64> = (1..=30).collect();
    assert_eq!(loud.take_seqs("r", 30), all, "its own among them");
    assert_eq!(bob.take_seqs("r", 30), all);
    let others: Vec<u64> = all.into_iter().filter(|seq| seq % 3 != 1).collect();
    assert_eq!(
        quiet.take_seqs("r", 20),
        others,
        "of its own connection none"
    );
    assert_eq!(quiet.rest_of("message"), Vec::<Value>::new());
}

fn joining_again_starts_anew(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    ann.join("r");
    ann.post("r", 1);
    ann.take("message");
    let joined = ann.ask(
        json!({"type": "join", "room_id": "r", "echo": false, "id": "again"}),
        "joined",
    );
    assert_eq!(joined["id"], "again");
    assert_eq!(
        (&joined["seq_id"], &joined["members"]),
        (&json!(1), &json!(1))
    );
    ann.post("r", 2);
    assert_eq!(ann.rest_of("message"), Vec::<Value>::new());
    ann.join("r");
    ann.post("r", 3);
    assert_eq!(ann.take("message")["seq_id"], 3);
}

fn who_has_left_hears_nothing_more(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("r");
    bob.join("r");
    ann.post("r", "before");
    assert_eq!(bob.take("message")["content"], "before");
    let left = bob.ask(
        json!({"type": "leave", "room_id": "r", "id": "bye"}),
        "left",
    );
    assert_eq!(left["id"], "bye");
    assert_eq!(left["seq_id"], 1);
    assert_eq!(left["members"], 1);
    assert!(left["epoch"].is_string());
    ann.post("r", "after");
    // What the room had for bob would have come before he is in it again.
    let joined = bob.join("r");
    assert_eq!(joined["seq_id"], 2, "delivery starts behind the head");
    ann.post("r", "again");
    assert_eq!(bob.take("message")["content"], "again");
    for command in [
        json!({"type": "leave", "room_id": "elsewhere"}),
        json!({"type": "who", "room_id": "elsewhere"}),
        json!({"type": "message", "room_id": "elsewhere", "content": 1}),
    ] {
        assert_eq!(bob.ask(command, "error")["code"], "not_joined");
    }
}

fn rooms_do_not_mix(shards: u16) {
    let server = Server::start(shards);
    let rooms: Vec<String> = (0..16).map(|number| format!("room {number}")).collect();
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    for room in &rooms {
        ann.join(room);
    }
    for room in rooms.iter().step_by(2) {
        bob.join(room);
    }
    for round in 1..=5 {
        for room in &rooms {
            assert_eq!(ann.post(room, room.as_str())["seq_id"], round);
        }
    }
    for (number, room) in rooms.iter().enumerate() {
        assert_eq!(ann.take_seqs(room, 5), [1, 2, 3, 4, 5]);
        if number % 2 == 0 {
            assert_eq!(bob.take_seqs(room, 5), [1, 2, 3, 4, 5]);
        }
    }
    let page = ann.ask(json!({"type": "history", "room_id": "room 7"}), "history");
    let contents = page["messages"].as_array().expect("an array");
    assert!(
        contents
            .iter()
            .all(|message| message["content"] == "room 7")
    );
    assert_eq!(bob.rest_of("message"), Vec::<Value>::new());
}

fn members_are_users_not_connections(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut also_ann: Vec<Client> = (0..4).map(|_| server.again(&ann)).collect();
    assert_eq!(ann.join("r")["members"], 1);
    for other in &mut also_ann {
        assert_eq!(other.join("r")["members"], 1);
    }
    let mut bob = server.client("bob");
    assert_eq!(bob.join("r")["members"], 2);
    let presence = bob.ask(
        json!({"type": "who", "room_id": "r", "id": "w"}),
        "presence",
    );
    assert_eq!(presence["id"], "w");
    assert_eq!(presence["room_id"], "r");
    assert_eq!(presence["count"], 2);
    let mut members = presence["members"].as_array().expect("an array").clone();
    members.sort_by_key(|name| name.as_str().map(str::to_owned));
    assert_eq!(members, [json!("ann"), json!("bob")]);
    // Ann is there until her last connection has gone.
    drop(ann);
    also_ann.truncate(1);
    until("one of ann's connections is left", || {
        server.metric("connections") <= 3
    });
    let who = |bob: &mut Client| bob.ask(json!({"type": "who", "room_id": "r"}), "presence");
    assert_eq!(who(&mut bob)["count"], 2);
    drop(also_ann);
    until("ann has gone", || who(&mut bob)["count"] == 1);
    assert_eq!(who(&mut bob)["members"], json!(["bob"]));
}

fn a_signal_goes_to_the_others_and_is_not_kept(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut members: Vec<Client> = (0..4)
        .map(|number| server.client(&format!("user{number}")))
        .collect();
    ann.join("r");
    for member in &mut members {
        member.join("r");
    }
    ann.say_text(r#"{"type":"signal","room_id":"r","content":{ "typing" : true }}"#);
    ann.post("r", "then a message");
    for member in &mut members {
        let text = member.take_text("signal");
        assert!(text.contains(r#""content":{ "typing" : true }"#), "{text}");
        let signal: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(signal["sender"], "ann");
        assert_eq!(signal["room_id"], "r");
        assert!(signal["timestamp"].is_u64());
        assert_eq!(signal.get("seq_id"), None);
        assert_eq!(
            member.take("message")["seq_id"],
            1,
            "signals take no numbers"
        );
    }
    ann.take("message");
    assert_eq!(ann.rest_of("signal"), Vec::<Value>::new(), "not to oneself");
    let page = ann.ask(json!({"type": "history", "room_id": "r"}), "history");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
}

fn commands_behind_a_join_need_not_wait_for_it(shards: u16) {
    let server = Server::start(shards);
    for round in 0..10 {
        let mut ann = server.client(&format!("user{round}"));
        let room = format!("room {round}");
        let commands = [
            json!({"type": "join", "room_id": room}),
            json!({"type": "message", "room_id": room, "content": "first"}),
            json!({"type": "who", "room_id": room}),
            json!({"type": "history", "room_id": room}),
            json!({"type": "leave", "room_id": room}),
            json!({"type": "message", "room_id": room, "content": "too late", "id": "late"}),
        ];
        let text: Vec<String> = commands.iter().map(Value::to_string).collect();
        ann.say_text(&text.join("\n"));
        let error = ann.take("error");
        assert_eq!(
            (&error["code"], &error["id"]),
            (&json!("not_joined"), &json!("late"))
        );
        assert_eq!(ann.take("joined")["seq_id"], 0);
        assert_eq!(ann.take("ack")["seq_id"], 1);
        assert_eq!(ann.take("presence")["count"], 1);
        assert_eq!(ann.take("history")["room_id"], room.as_str());
        assert_eq!(ann.take("left")["members"], 0);
    }
}

fn types_match_in_any_case(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    for kind in ["HEARTBEAT", "heartbeat", "Heartbeat"] {
        let before = ann.welcome["timestamp"].as_u64();
        let heartbeat = ann.ask(
            json!({"type": kind, "timestamp": 1, "id": kind}),
            "heartbeat",
        );
        assert_eq!(heartbeat["id"], kind);
        assert!(heartbeat["timestamp"].as_u64() >= before, "the server's");
    }
    ann.ask(json!({"type": "JOIN", "room_id": "r"}), "joined");
    ann.ask(
        json!({"type": "Message", "room_id": "r", "content": 1}),
        "ack",
    );
}

fn names_are_any_text(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let longest = "n".repeat(128);
    for name in [
        "r",
        " ",
        "R",
        "tea room",
        "日本語",
        "e\u{301}",
        "\u{e9}",
        "../..",
        "a/b?c#d%20",
        "\"\\",
        "<b>",
        "__proto__",
        "😀",
        "\u{200b}",
        &longest,
    ] {
        let joined = ann.join(name);
        assert_eq!(joined["room_id"], name);
        assert_eq!(joined["seq_id"], 0, "{name:?} is a room of its own");
        assert_eq!(ann.post(name, "x")["room_id"], name);
        assert_eq!(ann.take("message")["room_id"], name);
    }
    // A name in escapes is the same name.
    ann.say_text(r#"{"type":"join","room_id":"\u0074ea\u0020room"}"#);
    let joined = ann.take("joined");
    assert_eq!((&joined["room_id"], seq(&joined)), (&json!("tea room"), 1));
}
