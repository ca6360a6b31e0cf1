//! What a token opens: rooms, relays and echoes.

use super::common::mint::{now_s, token, with_claims};
use super::common::{Frame, Opcode, Socket, Value, json, transported, until};
use super::{common, enter, event, with_tokens};

transported!(
    relays_and_echoes_want_tokens,
    a_right_that_ends_leaves_the_acks_of_what_was_kept,
    a_token_opens_its_rooms_and_no_others,
);

fn relays_and_echoes_want_tokens(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    for path in ["/raw/r", "/echo"] {
        let mut socket = server.socket(path);
        assert_eq!(socket.closed(), Some(4001), "{path}");
        assert_eq!(server.socket_of(path, "bad").closed(), Some(4001), "{path}");
    }
    server.metric_is("unauthorized_total", 4);
    let mut echo = server.socket_of("/echo", &token("ann", 100));
    echo.send(Opcode::Binary, b"x");
    assert_eq!(echo.message(), Frame::Binary(b"x".to_vec()));
    let mut ann = server.socket_of("/raw/r", &token("ann", 100));
    let line = format!(
        "Sec-WebSocket-Protocol: roomcast.token.{}\r\n",
        token("bob", 2)
    );
    let (mut bob, head) = Socket::open_with(server.stream(), &server.host(), "/raw/r", &line);
    assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
    until("both are in", || {
        ann.send_text("hello");
        bob.frame_within(std::time::Duration::from_millis(20))
            .is_some()
    });
    // There is no way to refresh there: the connection ends with the token.
    assert_eq!(bob.closed(), Some(4002));
    echo.send(Opcode::Binary, b"y");
    assert_eq!(echo.message(), Frame::Binary(b"y".to_vec()));
}

fn a_right_that_ends_leaves_the_acks_of_what_was_kept(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let with_rooms =
        |rooms: Value| with_claims(json!({"sub": "ann", "exp": now_s() + 100, "rooms": rooms}));
    let mut ann = enter(&server, &with_rooms(json!(["*"])));
    let message =
        |room: &str, id: &str| json!({"type": "message", "room_id": room, "content": 1, "id": id});
    // Rooms enough that some are at home on each shard.
    let rooms = ["a", "b", "c", "d"];
    for room in rooms {
        ann.join(room);
        ann.ask(message(room, "one"), "ack");
    }
    let reader = with_rooms(json!([{"pattern": "*", "allow": ["join"]}]));
    ann.ask(json!({"type": "hello", "token": reader}), "token_expires");
    for room in rooms {
        let again = ann.ask(message(room, "one"), "ack");
        assert_eq!((&again["dup"], &again["seq_id"]), (&json!(true), &json!(1)));
        let error = ann.ask(message(room, "two"), "error");
        assert_eq!(error["code"], "forbidden");
        let without_id = json!({"type": "message", "room_id": room, "content": 1});
        assert_eq!(ann.ask(without_id, "error")["code"], "forbidden");
    }
    server.metric_is("forbidden_total", 8);
}

fn a_token_opens_its_rooms_and_no_others(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let with_rooms = |user: &str, rooms: Value| {
        with_claims(json!({"sub": user, "exp": now_s() + 100, "rooms": rooms}))
    };
    let rooms = json!(["team-*", {"pattern": "news", "allow": ["join"]}]);
    let ann = with_rooms("ann", rooms);
    let mut client = enter(&server, &ann);
    client.join("team-a");
    client.post("team-a", 1);
    client.join("news");
    for command in [
        json!({"type": "message", "room_id": "news", "content": 1}),
        json!({"type": "signal", "room_id": "news", "content": 1}),
        json!({"type": "join", "room_id": "lobby"}),
        json!({"type": "join", "room_id": "team"}),
    ] {
        let error = client.ask(command.clone(), "error");
        assert_eq!(error["code"], "forbidden", "{command}");
    }
    // The same by the URL, and in relays, where there is no other answer than the end.
    let mut socket = server.socket_of("/ws?room=lobby", &ann);
    assert_eq!(event(&mut socket)["type"], "welcome");
    assert_eq!(event(&mut socket)["code"], "forbidden");
    for (room, is_open) in [("team-a", true), ("news", false), ("lobby", false)] {
        let mut socket = server.socket_of(&format!("/raw/{room}"), &ann);
        match is_open {
            true => socket.send_close(1000),
            false => assert_eq!(socket.closed(), Some(4001), "{room}"),
        }
    }
    // A new token brings new rights.
    let hello = |token: &str| json!({"type": "hello", "token": token});
    // It leaves the rooms that they do not open any more.
    client.say(hello(&with_rooms("ann", json!(["lobby"]))));
    for _ in 0..2 {
        assert_eq!(client.take("error")["code"], "forbidden");
    }
    for room in ["team-a", "news"] {
        client.take_of("left", room);
    }
    client.take("token_expires");
    client.join("lobby");
    let error = client.ask(json!({"type": "join", "room_id": "team-b"}), "error");
    assert_eq!(error["code"], "forbidden");
    // One that says nothing of rooms opens all of them.
    client.ask(hello(&token("ann", 100)), "token_expires");
    client.join("anywhere");
    client.post("anywhere", 1);
}
