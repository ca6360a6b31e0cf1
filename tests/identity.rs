//! A name belongs to the session that took it first.

mod common;

use common::{
    Client, Opcode, Server, Socket, Value, json, masked, seq, transported, until, upgrade,
};
use std::io::Write;
use std::thread;

transported!(
    the_welcome_says_everything,
    a_taken_name_is_refused_and_closed,
    a_session_takes_its_name_back,
    a_secret_may_be_brought,
    a_hello_settles_identity_later,
    frames_behind_a_hello_wait_for_it,
    guests_get_names_of_their_own,
    of_many_claims_one_wins,
    bad_names_and_secrets_are_refused,
    a_url_may_name_a_room,
    names_are_compared_byte_for_byte,
);

/// The next text as JSON.
fn event(socket: &mut Socket) -> Value {
    serde_json::from_str(&socket.text()).expect("JSON")
}

/// Sees to it that a connection is refused with this code, and told not to come back.
fn refused(mut socket: Socket, code: &str) -> Value {
    let error = event(&mut socket);
    assert_eq!(
        (&error["type"], &error["code"], &error["request"]),
        (&json!("error"), &json!(code), &json!("hello")),
        "{error}"
    );
    assert_eq!(socket.closed(), Some(4001), "{error}");
    error
}

fn say_hello(server: &Server, hello: Value) -> Socket {
    let mut socket = server.socket("/ws?hello");
    socket.send_text(&hello.to_string());
    socket
}

fn the_welcome_says_everything(shards: u16) {
    let server = Server::with(
        shards,
        &[
            "--heartbeat-ms",
            "12345",
            "--max-message",
            "4096",
            "--rooms-per-connection-max",
            "7",
        ],
    );
    let ann = server.client("ann");
    let welcome = &ann.welcome;
    assert_eq!(welcome["user"], "ann");
    assert!(
        welcome["client_id"]
            .as_str()
            .is_some_and(|id| !id.is_empty())
    );
    assert!(
        welcome["session"]
            .as_str()
            .is_some_and(|secret| secret.len() >= 16)
    );
    assert!(
        welcome["inbox"]["epoch"]
            .as_str()
            .is_some_and(|epoch| epoch.len() <= 32)
    );
    assert_eq!(welcome["inbox"]["seq_id"], 0);
    assert_eq!(welcome["inbox"].get("recovered"), None);
    assert_eq!(welcome["heartbeat_ms"], 12345);
    assert!(
        welcome["timestamp"]
            .as_u64()
            .is_some_and(|ms| ms > 1_600_000_000_000)
    );
    assert_eq!(
        welcome["limits"],
        json!({
            "message_bytes_max": 4096,
            "name_bytes_max": 128,
            "id_bytes_max": 64,
            "rooms_per_connection_max": 7,
            "history_count_max": 500,
            "json_depth_max": 128,
            "dedupe_count": 10_000,
            "dedupe_hours": 0,
            "durable": false,
        })
    );
    // Each connection has an id of its own; the session and the inbox are the user's.
    let again = server.again(&ann);
    assert_ne!(again.welcome["client_id"], welcome["client_id"]);
    assert_eq!(again.welcome["session"], welcome["session"]);
    assert_eq!(again.welcome["inbox"], welcome["inbox"]);
}

fn a_taken_name_is_refused_and_closed(shards: u16) {
    let server = Server::start(shards);
    let ann = server.client("ann");
    refused(server.socket("/ws?user=ann"), "name_taken");
    refused(
        server.socket("/ws?user=ann&session=0123456789abcdef0123"),
        "name_taken",
    );
    let error = refused(
        say_hello(&server, json!({"type": "hello", "user": "ann", "id": "h"})),
        "name_taken",
    );
    assert_eq!(
        (&error["id"], &error["retryable"]),
        (&json!("h"), &json!(false))
    );
    // It stays hers while she is away.
    drop(ann);
    until("she has gone", || server.metric("connections") <= 1);
    refused(server.socket("/ws?user=ann"), "name_taken");
}

fn a_session_takes_its_name_back(shards: u16) {
    let server = Server::start(shards);
    let ann = server.client("ann");
    let (session, inbox) = (ann.session.clone(), ann.welcome["inbox"].clone());
    drop(ann);
    for _ in 0..6 {
        let by_url = Client::open(&server, &format!("?user=ann&session={session}"));
        let hello = json!({"type": "hello", "user": "ann", "session": session, "id": "h"});
        let by_hello = Client::on(say_hello(&server, hello));
        assert_eq!(by_hello.welcome["id"], "h");
        for client in [by_url, by_hello] {
            assert_eq!(client.user, "ann");
            assert_eq!(client.session, session);
            assert_eq!(client.welcome["inbox"], inbox, "the inbox is the same");
        }
    }
}

fn a_secret_may_be_brought(shards: u16) {
    let server = Server::start(shards);
    for (user, secret) in [
        ("short", "0123456789abcdef".to_owned()),
        ("long", "s".repeat(128)),
        ("odd", "ä \\\"\u{7f}+%&=🔑".repeat(2)),
    ] {
        let hello = json!({"type": "hello", "user": user, "session": secret});
        // The answer to the first was lost, for all that the client knows.
        for _ in 0..3 {
            let client = Client::on(say_hello(&server, hello.clone()));
            assert_eq!((client.user.as_str(), &client.session), (user, &secret));
        }
        refused(
            say_hello(&server, json!({"type": "hello", "user": user})),
            "name_taken",
        );
    }
    let client = Client::open(&server, "?user=url&session=0123456789abcdef");
    assert_eq!(client.session, "0123456789abcdef");
}

fn a_hello_settles_identity_later(shards: u16) {
    let server = Server::start(shards);
    let mut socket = server.socket("/ws?hello&user=ignored");
    // Nobody yet: it is told so, and may go on.
    socket.send_text(r#"{"type":"join","room_id":"r","id":"early"}"#);
    let error = event(&mut socket);
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("unauthorized"), &json!("early"))
    );
    socket.send_text("nonsense");
    assert_eq!(event(&mut socket)["code"], "bad_json");
    socket.send_text(r#"{"type":"hello","user":1}"#);
    assert_eq!(event(&mut socket)["code"], "bad_field");
    socket.send_text(r#"{"type":"HELLO","user":"ann","token":"for others"}"#);
    let mut ann = Client::on(socket);
    assert_eq!(ann.user, "ann");
    ann.join("r");
    let again = ann.ask(json!({"type": "hello", "user": "bob"}), "error");
    assert_eq!(again["code"], "bad_field", "only once");
}

fn frames_behind_a_hello_wait_for_it(shards: u16) {
    let server = Server::start(shards);
    for round in 0..8 {
        let user = format!("user{round}");
        let hello = json!({"type": "hello", "user": user});
        let join = json!({"type": "join", "room_id": "r"});
        let message = json!({"type": "message", "room_id": "r", "content": user});
        // The upgrade and all of it in one segment; a hello and a join share a frame.
        let mut bytes = upgrade(&server.host(), "/ws?hello", "").into_bytes();
        bytes.extend(masked(Opcode::Text, format!("{hello}{join}").as_bytes()));
        bytes.extend(masked(Opcode::Text, message.to_string().as_bytes()));
        let mut stream = server.stream();
        stream.write_all(&bytes).expect("the server reads");
        let mut client = Client::on(Socket::upgraded(stream));
        assert_eq!(client.user, user);
        assert_eq!(client.next()["type"], "joined");
        let seq = seq(&client.take("ack"));
        assert_eq!(client.take("message")["seq_id"], seq);
    }
    // A name that is taken: nothing of what follows is done.
    let mut socket = server.socket("/ws?hello");
    let text = r#"{"type":"hello","user":"user3"}{"type":"join","room_id":"r"}"#;
    socket.send_text(text);
    refused(socket, "name_taken");
}

fn guests_get_names_of_their_own(shards: u16) {
    let server = Server::start(shards);
    let mut guests: Vec<Client> = (0..20).map(|_| Client::open(&server, "")).collect();
    guests.push(Client::on(say_hello(&server, json!({"type": "hello"}))));
    guests.push(Client::on(say_hello(
        &server,
        json!({"type": "hello", "user": null, "session": null}),
    )));
    let mut names: Vec<String> = guests.iter().map(|guest| guest.user.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), guests.len(), "each is another");
    assert!(names.iter().all(|name| (1..=128).contains(&name.len())));
    // While a guest is there, the name is its own, on further connections too.
    let mut guest = guests.remove(0);
    let mut also = server.again(&guest);
    assert_eq!(also.user, guest.user);
    refused(
        server.socket(&format!("/ws?user={}", guest.user)),
        "name_taken",
    );
    guests[0].join("r");
    guest.join("r");
    assert_eq!(also.join("r")["members"], 2);
    // When it has gone, nothing of it is left.
    let name = guest.user.clone();
    drop((guest, also));
    until("the name is free", || {
        let mut socket = server.socket(&format!("/ws?user={name}"));
        event(&mut socket)["type"] == "welcome"
    });
}

fn of_many_claims_one_wins(shards: u16) {
    const CLAIMS: usize = 16;
    let server = Server::start(shards);
    for round in 0..5 {
        let path = format!("/ws?user=name{round}");
        let mut sockets: Vec<Socket> = thread::scope(|scope| {
            let claims: Vec<_> = (0..CLAIMS)
                .map(|_| scope.spawn(|| server.socket(&path)))
                .collect();
            claims
                .into_iter()
                .map(|claim| claim.join().expect("it is upgraded"))
                .collect()
        });
        let kinds: Vec<Value> = sockets
            .iter_mut()
            .map(|socket| event(socket)["type"].clone())
            .collect();
        let winners = kinds.iter().filter(|kind| **kind == "welcome").count();
        let losers = kinds.iter().filter(|kind| **kind == "error").count();
        assert_eq!((winners, losers), (1, CLAIMS - 1), "{kinds:?}");
    }
    // With the same secret all of them are the same user.
    let path = "/ws?user=shared&session=0123456789abcdef";
    let clients: Vec<Client> = thread::scope(|scope| {
        let claims: Vec<_> = (0..CLAIMS)
            .map(|_| scope.spawn(|| Client::on(server.socket(path))))
            .collect();
        claims
            .into_iter()
            .map(|claim| claim.join().expect("it is welcome"))
            .collect()
    });
    assert!(clients.iter().all(|client| client.user == "shared"));
}

fn bad_names_and_secrets_are_refused(shards: u16) {
    let server = Server::start(shards);
    for path in [
        "/ws?user=",
        "/ws?user=a%00b",
        "/ws?user=a%0ab",
        "/ws?user=%c2%85",
        "/ws?user=%1b%5b31m",
    ] {
        refused(server.socket(path), "bad_name");
    }
    refused(server.socket("/ws?user=ann&session=short"), "bad_field");
    refused(server.socket("/ws?session=short"), "bad_field");
    // What is wrong with the shape of a hello leaves time for a better one.
    let mut socket = server.socket("/ws?hello");
    for (hello, code) in [
        (json!({"type": "hello", "user": ""}), "bad_name"),
        (
            json!({"type": "hello", "user": "n".repeat(129)}),
            "bad_name",
        ),
        (json!({"type": "hello", "user": "a\u{7}"}), "bad_name"),
        (
            json!({"type": "hello", "session": "s".repeat(15)}),
            "bad_field",
        ),
        (
            json!({"type": "hello", "session": "s".repeat(129)}),
            "bad_field",
        ),
        (json!({"type": "hello", "inbox_since": 5}), "bad_field"),
    ] {
        socket.send_text(&hello.to_string());
        assert_eq!(event(&mut socket)["code"], code, "{hello}");
    }
    socket.send_text(&json!({"type": "hello", "user": "n".repeat(128)}).to_string());
    assert_eq!(Client::on(socket).user, "n".repeat(128));
    // Nobody has a name by now who was refused.
    assert_eq!(server.client("ann").user, "ann");
}

fn a_url_may_name_a_room(shards: u16) {
    let server = Server::start(shards);
    let mut ann = Client::open(&server, "?user=ann&room=tea%20room");
    let joined = ann.next();
    assert_eq!(
        (&joined["type"], &joined["room_id"]),
        (&json!("joined"), &json!("tea room"))
    );
    assert_eq!(ann.post("tea room", 1)["seq_id"], 1);
    // With a hello it is joined once that is settled.
    let mut socket = server.socket("/ws?hello&room=tea+room");
    socket.send_text(r#"{"type":"hello","user":"bob"}"#);
    let mut bob = Client::on(socket);
    assert_eq!(bob.next()["members"], 2);
    // A bad name of a room costs the room alone.
    for room in ["", "%00", "a%0a"] {
        let mut client = Client::open(&server, &format!("?room={room}"));
        let error = client.take("error");
        assert_eq!(
            (&error["code"], &error["request"]),
            (&json!("bad_name"), &json!("join"))
        );
        client.join("r");
    }
}

fn names_are_compared_byte_for_byte(shards: u16) {
    let server = Server::start(shards);
    let names = [
        "ann",
        "Ann",
        "ann%20",
        "%C3%A9",
        "e%CC%81",
        "__proto__",
        "%F0%9F%98%80",
    ];
    let clients: Vec<Client> = names.iter().map(|name| server.client(name)).collect();
    assert_eq!(clients[2].user, "ann ");
    assert_eq!(clients[3].user, "\u{e9}");
    assert_eq!(clients[6].user, "😀");
}
