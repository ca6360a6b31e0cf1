//! Private messages: an inbox is a log, which every connection of its user reads and which waits while they are away.

mod common;

use common::{Client, Server, Value, json, seq, seqs, transported, until};

transported!(
    every_connection_of_the_recipient_gets_it,
    the_senders_other_connections_get_a_copy,
    one_to_oneself_is_one_entry,
    an_inbox_waits_while_its_user_is_away,
    an_inbox_that_is_read_takes_more_than_its_bound,
    what_a_pong_confirmed_is_not_pushed_again,
    an_inbox_goes_on_from_where_its_reader_says,
    a_position_that_does_not_fit_counts_as_not_given,
    nobody_holds_an_unknown_name,
    a_signal_reaches_who_is_there,
    names_of_rooms_and_users_are_apart,
    a_conversation_has_one_order_per_inbox,
    a_burst_keeps_its_order_in_both_inboxes,
);

fn every_connection_of_the_recipient_gets_it(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let bob = server.client("bob");
    let mut bobs: Vec<Client> = (0..6).map(|_| server.again(&bob)).collect();
    bobs.push(bob);
    for number in 1..=10 {
        ann.say_text(&format!(
            r#"{{"type":"message","to":"bob","content":{{ "n" :{number}.0 }},"metadata":[],"id":"m{number}"}}"#
        ));
        let ack = ann.take("ack");
        assert_eq!(
            (&ack["to"], &ack["seq_id"], &ack["id"]),
            (&json!("bob"), &json!(number), &json!(format!("m{number}")))
        );
        assert_eq!(ack.get("room_id"), None);
        for bob in &mut bobs {
            let text = bob.take_text("message");
            let expected = format!(r#""content":{{ "n" :{number}.0 }},"metadata":[]"#);
            assert!(text.contains(&expected), "{text}");
            let message: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(message["to"], "bob");
            assert_eq!(message["sender"], "ann");
            assert_eq!(message["seq_id"], ack["seq_id"]);
            assert_eq!(message["timestamp"], ack["timestamp"]);
            assert_eq!(message["id"], ack["id"]);
        }
    }
    for bob in &mut bobs {
        assert_eq!(bob.rest_of("message"), Vec::<Value>::new());
    }
}

fn the_senders_other_connections_get_a_copy(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut others: Vec<Client> = (0..5).map(|_| server.again(&ann)).collect();
    let mut bob = server.client("bob");
    for number in 1..=5 {
        let ack = ann.write_to("bob", number);
        assert_eq!(ack["seq_id"], number, "its place in bob's inbox");
        assert_eq!(bob.take("message")["content"], number);
        for other in &mut others {
            let copy = other.take("message");
            assert_eq!(
                (&copy["to"], &copy["sender"], &copy["content"]),
                (&json!("bob"), &json!("ann"), &json!(number))
            );
            assert_eq!(copy["seq_id"], number, "its place in ann's inbox");
        }
    }
    // The copies stand in her inbox, and the connection that sent them was spared them.
    let page = ann.ask(json!({"type": "history", "to": "ann"}), "history");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(5));
    assert_eq!(ann.rest_of("message"), Vec::<Value>::new());
    // A message sent twice is copied once.
    for _ in 0..2 {
        let command = json!({"type": "message", "to": "bob", "content": "once", "id": "same"});
        assert_eq!(ann.ask(command, "ack")["seq_id"], 6);
    }
    ann.write_to("bob", "after");
    for other in &mut others {
        assert_eq!(other.take("message")["content"], "once");
        assert_eq!(other.take("message")["content"], "after");
    }
}

fn one_to_oneself_is_one_entry(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut other = server.again(&ann);
    for number in 1..=5 {
        assert_eq!(ann.write_to("ann", number)["seq_id"], number);
        assert_eq!(other.take("message")["seq_id"], number);
    }
    let page = other.ask(json!({"type": "history", "to": "ann"}), "history");
    let contents: Vec<&Value> = page["messages"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|message| &message["content"])
        .collect();
    assert_eq!(contents, [1, 2, 3, 4, 5]);
    assert_eq!(ann.rest_of("message"), Vec::<Value>::new());
}

fn an_inbox_waits_while_its_user_is_away(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let bob = server.client("bob");
    let session = bob.session.clone();
    assert_eq!(bob.welcome["inbox"]["seq_id"], 0);
    let epoch = bob.welcome["inbox"]["epoch"].clone();
    drop(bob);
    until("bob has gone", || server.metric("connections") <= 2);
    for number in 1..=30 {
        assert_eq!(ann.write_to("bob", number)["seq_id"], number);
    }
    // It is pushed behind the welcome, again and again, as long as nothing confirms it.
    for _ in 0..4 {
        let mut bob = Client::open(&server, &format!("?user=bob&session={session}"));
        assert_eq!(bob.welcome["inbox"]["seq_id"], 30);
        assert_eq!(bob.welcome["inbox"]["epoch"], epoch);
        assert_eq!(bob.welcome["inbox"].get("recovered"), None);
        let contents: Vec<Value> = bob
            .take_many("message", 30)
            .iter()
            .map(|message| message["content"].clone())
            .collect();
        assert_eq!(contents, (1..=30).map(Value::from).collect::<Vec<_>>());
        assert_eq!(bob.rest_of("message"), Vec::<Value>::new());
    }
}

fn an_inbox_that_is_read_takes_more_than_its_bound(shards: u16) {
    let flags = ["--max-message=4096", "--inbox-bytes-max=16384"];
    let server = Server::with(shards, &flags);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let text = "x".repeat(1000);
    // Four times as much as may wait, long before the ping that comes in each interval.
    for number in 1..=64 {
        until("the message is taken", || {
            let message =
                json!({"type": "message", "to": "bob", "content": text, "id": format!("{number}")});
            ann.say(message);
            let answer = ann.next_of(&["ack", "error"]);
            let is_taken = answer["type"] == "ack";
            assert!(is_taken || answer["code"] == "overloaded", "{answer}");
            if !is_taken {
                // Who reads answers pings.
                bob.barrier();
            }
            is_taken
        });
        assert_eq!(seq(&bob.take("message")), number);
    }
}

fn what_a_pong_confirmed_is_not_pushed_again(shards: u16) {
    // Who is silent for two of these is closed, so a busy machine needs some room.
    let server = Server::with(shards, &["--heartbeat-ms", "1000"]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let session = bob.session.clone();
    for number in 1..=3 {
        ann.write_to("bob", number);
    }
    bob.take_many("message", 3);
    // The first or second ping was written behind the third message, and says so.
    let mut is_confirmed = false;
    while !is_confirmed {
        match bob.socket.frame() {
            common::Frame::Ping(payload) => {
                bob.socket.send(common::Opcode::Pong, &payload);
                is_confirmed = payload == b"3";
            }
            other => panic!("a ping was awaited: {other:?}"),
        }
    }
    let query = format!("?user=bob&session={session}");
    until("what was confirmed is not pushed", || {
        Client::open(&server, &query).rest_of("message").is_empty()
    });
    // Nobody has answered pings for ann in the meantime.
    server.client("cat").write_to("bob", 4);
    let mut again = Client::open(&server, &query);
    assert_eq!(again.take("message")["content"], 4);
}

fn an_inbox_goes_on_from_where_its_reader_says(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let bob = server.client("bob");
    let (session, epoch) = (bob.session.clone(), bob.welcome["inbox"]["epoch"].clone());
    for number in 1..=10 {
        ann.write_to("bob", number);
    }
    for since in [0, 4, 9, 10] {
        let expected: Vec<u64> = (since + 1..=10).collect();
        // By the URL, which has no room for an epoch.
        let query = format!("?user=bob&session={session}&inbox_since={since}");
        let mut by_url = Client::open(&server, &query);
        // By a hello.
        let mut socket = server.socket("/ws?hello");
        let hello = json!({
            "type": "hello", "user": "bob", "session": session,
            "inbox_since": {"epoch": epoch, "seq_id": since},
        });
        socket.send_text(&hello.to_string());
        for client in [&mut by_url, &mut Client::on(socket)] {
            assert_eq!(client.welcome["inbox"]["recovered"], true, "{since}");
            let messages = client.rest_of("message");
            let got: Vec<u64> = messages.iter().map(seq).collect();
            // A later position confirms what is before it, and never takes a message away.
            assert!(got.starts_with(&expected[..got.len()]), "{since}: {got:?}");
            let more = client.take_many("message", expected.len() - got.len());
            let all: Vec<u64> = got.into_iter().chain(more.iter().map(seq)).collect();
            assert_eq!(all, expected, "{since}");
        }
    }
    // The last position that was given counts as a confirmation.
    let mut bob = Client::open(&server, &format!("?user=bob&session={session}"));
    assert_eq!(bob.rest_of("message"), Vec::<Value>::new());
}

fn a_position_that_does_not_fit_counts_as_not_given(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let bob = server.client("bob");
    let epoch = bob.welcome["inbox"]["epoch"].clone();
    for number in 1..=3 {
        ann.write_to("bob", number);
    }
    for since in [
        json!({"epoch": epoch, "seq_id": 4}),
        json!({"epoch": "another", "seq_id": 1}),
        json!({"epoch": "", "seq_id": 3}),
    ] {
        let mut socket = server.socket("/ws?hello");
        let hello = json!({
            "type": "hello", "user": "bob", "session": bob.session, "inbox_since": since,
        });
        socket.send_text(&hello.to_string());
        let mut again = Client::on(socket);
        assert_eq!(again.welcome["inbox"]["recovered"], false, "{since}");
        assert_eq!(again.take_seqs("bob", 3), [1, 2, 3], "{since}");
    }
    let query = format!("?user=bob&session={}&inbox_since=99", bob.session);
    let mut again = Client::open(&server, &query);
    assert_eq!(again.welcome["inbox"]["recovered"], false);
    assert_eq!(again.take_seqs("bob", 3), [1, 2, 3]);
}

fn nobody_holds_an_unknown_name(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    for kind in ["message", "signal"] {
        let command = json!({"type": kind, "to": "nobody", "content": 1, "id": kind});
        let error = ann.ask(command, "error");
        assert_eq!(error["code"], "unknown_user");
        assert_eq!(
            (&error["to"], &error["id"]),
            (&json!("nobody"), &json!(kind))
        );
        assert_eq!(error["request"], kind);
    }
    // A guest's name is somebody's only while it is there.
    let mut guest = Client::open(&server, "");
    let name = guest.user.clone();
    ann.write_to(&name, "hello");
    assert_eq!(guest.take("message")["content"], "hello");
    drop(guest);
    until("the guest's name is nobody's", || {
        ann.say(json!({"type": "signal", "to": name, "content": 1}));
        ann.barrier_or_error()
            .is_some_and(|error| error["code"] == "unknown_user")
    });
}

fn a_signal_reaches_who_is_there(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let mut also_bob = server.again(&bob);
    for number in 0..3 {
        ann.say(json!({"type": "signal", "to": "bob", "content": {"typing": number}}));
        for bob in [&mut bob, &mut also_bob] {
            let signal = bob.take("signal");
            assert_eq!(signal["to"], "bob");
            assert_eq!(signal["sender"], "ann");
            assert_eq!(signal["content"], json!({"typing": number}));
        }
    }
    // Nothing of it is kept.
    let page = bob.ask(json!({"type": "history", "to": "bob"}), "history");
    assert_eq!(page["messages"], json!([]));
    assert_eq!(server.again(&bob).rest(), Vec::<Value>::new());
}

fn names_of_rooms_and_users_are_apart(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("bob");
    assert_eq!(ann.post("bob", "to the room")["room_id"], "bob");
    assert_eq!(ann.write_to("bob", "to the user")["to"], "bob");
    assert_eq!(bob.take("message")["content"], "to the user");
    assert_eq!(bob.rest_of("message"), Vec::<Value>::new());
    let both = json!({"type": "message", "to": "bob", "room_id": "bob", "content": 1});
    assert_eq!(ann.ask(both, "error")["code"], "bad_field");
}

fn a_conversation_has_one_order_per_inbox(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let mut watching: Vec<Client> = (0..3).map(|_| server.again(&bob)).collect();
    for number in 0..50 {
        ann.say(json!({"type": "message", "to": "bob", "content": number}));
        bob.say(json!({"type": "message", "to": "ann", "content": number}));
    }
    ann.take_many("ack", 50);
    bob.take_many("ack", 50);
    // Bob's inbox: fifty from ann, and copies of his own fifty.
    let seen: Vec<Vec<Value>> = watching
        .iter_mut()
        .map(|watching| watching.take_many("message", 100))
        .collect();
    assert_eq!(seqs(&seen[0]), (1..=100).collect::<Vec<u64>>());
    assert!(seen.iter().all(|other| other == &seen[0]));
    for sender in ["ann", "bob"] {
        let of_one = seen[0].iter().filter(|message| message["sender"] == sender);
        let contents: Vec<u64> = of_one
            .filter_map(|message| message["content"].as_u64())
            .collect();
        assert_eq!(contents, (0..50).collect::<Vec<u64>>());
    }
}

fn a_burst_keeps_its_order_in_both_inboxes(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut also_ann = server.again(&ann);
    let mut bob = server.client("bob");
    // All in one frame, so that they are taken in one turn, and neither inbox has been there before.
    let burst: String = (0..50)
        .map(|number| json!({"type": "message", "to": "bob", "content": number}).to_string())
        .collect();
    ann.say_text(&burst);
    for reader in [&mut bob, &mut also_ann] {
        for number in 0..50 {
            let message = reader.take("message");
            assert_eq!(
                (&message["content"], seq(&message)),
                (&json!(number), number + 1)
            );
        }
    }
    assert_eq!(
        seqs(&ann.take_many("ack", 50)),
        (1..=50).collect::<Vec<_>>()
    );
}
