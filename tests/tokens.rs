//! With `--auth jwt` a connection is the user that its token names, for as long as the token is good.

mod common;
#[path = "common/store.rs"]
mod store;

use common::mint::{KeyFile, SECRET, Signer, key_file, now_s, sign, token, with_claims};
use common::{
    Client, Frame, Opcode, Server, Socket, Value, json, masked, sharded, transported, until,
    upgrade,
};
use std::io::Write;
use store::Folder;

transported!(
    a_token_comes_by_field_by_message_or_as_a_subprotocol,
    each_algorithm_is_taken,
    without_a_token_nobody_gets_in,
    bad_tokens_are_told_apart_and_counted,
    the_name_is_the_tokens,
    a_hello_may_follow_the_token_of_an_upgrade,
    frames_wait_for_the_token,
    a_refresh_that_fails_changes_nothing,
    an_expiry_warns_and_closes,
    relays_and_echoes_want_tokens,
    a_token_opens_its_rooms_and_no_others,
    a_right_that_ends_leaves_the_acks_of_what_was_kept,
    keys_change_under_connections,
    many_tokens_at_once_are_all_checked,
    secrets_are_shown_nowhere,
);

// Its time is the token's, however clients are connected.
sharded!(a_token_is_refreshed);

/// A server that wants tokens made with [`SECRET`], with these flags as well.
fn with_tokens(shards: u16, flags: &[&str]) -> (Server, KeyFile) {
    let file = KeyFile::secret();
    let mut all = vec![
        "--auth",
        "jwt",
        "--jwt-key",
        file.text(),
        "--jwt-leeway-s",
        "0",
    ];
    all.extend_from_slice(flags);
    (Server::with(shards, &all), file)
}

fn event(socket: &mut Socket) -> Value {
    serde_json::from_str(&socket.text()).expect("JSON")
}

fn hello(server: &Server, hello: Value) -> Socket {
    let mut socket = server.socket("/ws?hello");
    socket.send_text(&hello.to_string());
    socket
}

/// Connects with this token in a `hello`.
fn enter(server: &Server, token: &str) -> Client {
    Client::on(hello(server, json!({"type": "hello", "token": token})))
}

/// Sees to it that a connection is refused for good, and gives the words.
fn refused(mut socket: Socket) -> String {
    let error = event(&mut socket);
    assert_eq!(
        (
            &error["type"],
            &error["code"],
            &error["request"],
            &error["retryable"]
        ),
        (
            &json!("error"),
            &json!("unauthorized"),
            &json!("hello"),
            &json!(false)
        ),
        "{error}"
    );
    assert_eq!(socket.closed(), Some(4001), "{error}");
    error["message"].as_str().expect("words").to_owned()
}

fn a_token_comes_by_field_by_message_or_as_a_subprotocol(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let token = token("ann", 1000);
    let by_field = server.socket_of("/ws", &token);
    let (by_other_case, _) = Socket::open_with(
        server.stream(),
        &server.host(),
        "/ws",
        &format!("authorization: bEARER   {token}\r\n"),
    );
    let by_message = hello(&server, json!({"type": "hello", "token": token, "id": "h"}));
    // Without `?hello` as well: there is nothing else to wait for.
    let mut by_late_message = server.socket("/ws");
    by_late_message.send_text(&json!({"type": "hello", "token": token}).to_string());
    for lines in [
        format!("Sec-WebSocket-Protocol: roomcast.v1, roomcast.token.{token}\r\n"),
        format!("Sec-WebSocket-Protocol: roomcast.token.{token},roomcast.v1\r\n"),
    ] {
        let (socket, head) = Socket::open_with(server.stream(), &server.host(), "/ws", &lines);
        assert!(
            head.contains("Sec-WebSocket-Protocol: roomcast.v1\r\n"),
            "{head}"
        );
        assert!(!head.contains("token"), "it is not echoed: {head}");
        assert_eq!(Client::on(socket).user, "ann");
    }
    for socket in [by_field, by_other_case, by_message, by_late_message] {
        let client = Client::on(socket);
        assert_eq!(client.user, "ann");
        assert_eq!(client.welcome.get("session"), None, "no secret is needed");
    }
}

fn each_algorithm_is_taken(shards: u16) {
    let file = KeyFile::secret();
    let keys: Vec<String> = ["rsa.pub.pem", "p256.pub.pem", "ed25519.pub.pem"]
        .map(|name| key_file(name).to_str().expect("text").to_owned())
        .to_vec();
    let mut flags = vec!["--auth", "jwt", "--jwt-key", file.text()];
    for key in &keys {
        flags.extend(["--jwt-key", key]);
    }
    let server = Server::with(shards, &flags);
    let hmac = Signer::Hs256(SECRET.as_bytes());
    for signer in [hmac, Signer::Rs256, Signer::Es256, Signer::EdDsa] {
        let token = sign(signer, json!({"sub": signer.name(), "exp": now_s() + 100}));
        assert_eq!(enter(&server, &token).user, signer.name());
        assert_eq!(
            Client::on(server.socket_of("/ws", &token)).user,
            signer.name()
        );
    }
    let unsigned = sign(Signer::None, json!({"sub": "ann", "exp": now_s() + 100}));
    refused(server.socket_of("/ws", &unsigned));
    let confused = std::fs::read(&keys[0]).expect("a key");
    let confused = Signer::Hs256(Box::leak(confused.into()));
    let confused = sign(confused, json!({"sub": "ann", "exp": now_s() + 100}));
    refused(server.socket_of("/ws", &confused));
    server.metric_is("tokens_checked_total", 10);
}

fn without_a_token_nobody_gets_in(shards: u16) {
    let (server, _file) = with_tokens(shards, &["--handshake-ms", "300"]);
    // A name and a secret are no way in any more.
    let words = refused(hello(
        &server,
        json!({"type": "hello", "user": "ann", "session": "0123456789abcdef"}),
    ));
    assert!(words.contains("token"), "{words}");
    // Whoever says nothing is let go, and may come back with a token.
    for path in [
        "/ws",
        "/ws?user=ann",
        "/ws?user=ann&session=0123456789abcdef",
    ] {
        let mut socket = server.socket(path);
        socket.send_text(r#"{"type":"join","room_id":"r"}"#);
        assert_eq!(event(&mut socket)["code"], "unauthorized");
        assert_eq!(socket.closed(), Some(4100), "{path}");
    }
    // Other ways to say who one is are none here; a token in the URL is not looked for.
    let (mut socket, _) = Socket::open_with(
        server.stream(),
        &server.host(),
        &format!("/ws?token={}", token("ann", 100)),
        "Authorization: Basic YW5uOnNlY3JldA==\r\n",
    );
    assert_eq!(socket.closed(), Some(4100));
    assert_eq!(server.metric("unauthorized_total"), 1);
    assert_eq!(server.metric("tokens_checked_total"), 0);
    // What needs no identity is there as ever.
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/").status, 200);
}

fn bad_tokens_are_told_apart_and_counted(shards: u16) {
    let (server, _file) = with_tokens(shards, &["--jwt-audience", "chat", "--jwt-issuer", "club"]);
    let base = json!({"sub": "ann", "exp": now_s() + 100, "aud": "chat", "iss": "club"});
    let with = |more: Value| {
        let mut claims = base.clone();
        for (name, value) in more.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        with_claims(claims)
    };
    assert_eq!(enter(&server, &with(json!({}))).user, "ann");
    let forged = sign(Signer::Hs256(&[7; 32]), base.clone());
    let rows = [
        (with(json!({"exp": now_s() - 10})), "expired"),
        (with(json!({"nbf": now_s() + 100})), "not valid yet"),
        (with(json!({"aud": "others"})), "`aud`"),
        (with(json!({"iss": "others"})), "`iss`"),
        (with(json!({"sub": ""})), "`sub`"),
        (with(json!({"sub": "a\u{7}"})), "`sub`"),
        (with(json!({"exp": null})), "`exp`"),
        (with(json!({"pad": "x".repeat(8 * 1024)})), "too long"),
        (sign(Signer::Rs256, base.clone()), "no key"),
        (forged, "signature"),
        ("garbage".to_owned(), "malformed"),
    ];
    for (token, part) in &rows {
        for socket in [
            hello(&server, json!({"type": "hello", "token": token})),
            server.socket_of("/ws", token),
        ] {
            let words = refused(socket);
            assert!(words.contains(part), "{part:?} is not in {words:?}");
        }
    }
    server.metric_is("unauthorized_total", 2 * rows.len() as u64);
    let socket = hello(&server, json!({"type": "hello", "token": ""}));
    assert!(refused(socket).contains("malformed"));
    // A token as long as a message can be.
    let socket = hello(
        &server,
        json!({"type": "hello", "token": "x".repeat(60_000)}),
    );
    assert!(refused(socket).contains("too long"));
    // What is no text leaves time for a better one, as ever.
    let mut socket = hello(&server, json!({"type": "hello", "token": 5}));
    assert_eq!(event(&mut socket)["code"], "bad_field");
    socket.send_text(&json!({"type": "hello", "token": with(json!({}))}).to_string());
    assert_eq!(Client::on(socket).user, "ann");
    // Two fields could be read differently by a proxy in front.
    let mut http = server.http();
    let two = "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n";
    http.send(upgrade(&server.host(), "/ws", two));
    assert_eq!(http.response().status, 400);
}

fn the_name_is_the_tokens(shards: u16) {
    let (server, _file) = with_tokens(shards, &["--names-per-address-max", "4"]);
    let ann = token("ann", 100);
    for path in ["/ws?user=bob", "/ws?user=Ann"] {
        assert!(refused(server.socket_of(path, &ann)).contains("another user"));
    }
    let other = json!({"type": "hello", "user": "bob", "token": ann});
    assert!(refused(hello(&server, other)).contains("another user"));
    let same = json!({"type": "hello", "user": "ann", "session": "0123456789abcdef", "token": ann});
    assert_eq!(Client::on(hello(&server, same)).user, "ann");
    // As many names as there are users, wherever they come from; each its own, however often it comes.
    let mut clients = Vec::new();
    for number in 0..20 {
        let user = format!("user {number}");
        for _ in 0..2 {
            let mut client = enter(&server, &token(&user, 100));
            assert_eq!(client.user, user);
            client.join("r");
            clients.push(client);
        }
    }
    let presence = clients[0].ask(json!({"type": "who", "room_id": "r"}), "presence");
    assert_eq!(presence["count"], 20);
    // Private messages go to all connections of the user.
    clients[0].write_to("user 7", "psst");
    for place in [14, 15] {
        assert_eq!(clients[place].take("message")["content"], "psst");
    }
}

fn a_hello_may_follow_the_token_of_an_upgrade(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let mut ann = enter(&server, &token("ann", 100));
    let inbox = ann.welcome["inbox"]["epoch"].clone();
    ann.write_to("ann", 1);
    ann.write_to("ann", 2);
    // Something in front adds the field, and the page knows nothing of it.
    let mut socket = server.socket_of("/ws?hello&room=r", &token("ann", 100));
    let since = json!({"epoch": inbox, "seq_id": 1});
    socket.send_text(&json!({"type": "hello", "inbox_since": since}).to_string());
    let mut again = Client::on(socket);
    assert_eq!(again.user, "ann");
    assert_eq!(again.take("joined")["room_id"], "r");
    assert_eq!(again.take("message")["content"], 2);
    // A token in the message beats it.
    let mut socket = server.socket_of("/ws?hello", &token("ann", 100));
    socket.send_text(&json!({"type": "hello", "token": token("bob", 100)}).to_string());
    assert_eq!(Client::on(socket).user, "bob");
    // A bad one is refused at once.
    refused(server.socket_of("/ws?hello", "bad"));
}

fn frames_wait_for_the_token(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    for round in 0..8 {
        let user = format!("user{round}");
        let token = token(&user, 100);
        let join = json!({"type": "join", "room_id": "r"});
        let message = json!({"type": "message", "room_id": "r", "content": user});
        let mut by_field = upgrade(
            &server.host(),
            "/ws",
            &format!("Authorization: Bearer {token}\r\n"),
        )
        .into_bytes();
        by_field.extend(masked(Opcode::Text, format!("{join}{message}").as_bytes()));
        let mut by_message = upgrade(&server.host(), "/ws?hello", "").into_bytes();
        let hello = json!({"type": "hello", "token": token});
        let text = format!("{hello}{join}{message}");
        by_message.extend(masked(Opcode::Text, text.as_bytes()));
        for bytes in [by_field, by_message] {
            let mut stream = server.stream();
            stream.write_all(&bytes).expect("the server reads");
            let mut client = Client::on(Socket::upgraded(stream));
            assert_eq!(client.user, user);
            assert_eq!(client.next()["type"], "joined");
            client.take("ack");
        }
    }
    // Nothing is done of what follows a bad one.
    let text = r#"{"type":"hello","token":"bad"}{"type":"join","room_id":"r"}"#;
    let mut socket = server.socket("/ws?hello");
    socket.send_text(text);
    refused(socket);
    assert_eq!(server.metric("unauthorized_total"), 1);
}

fn a_token_is_refreshed(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let mut ann = enter(&server, &token("ann", 3));
    ann.join("r");
    for round in 0..4 {
        let warning = ann.take("token_expires");
        assert_eq!(warning.get("id"), None, "nobody asked: {warning}");
        let expires_at = warning["expires_at"].as_u64().expect("a time");
        let timestamp = warning["timestamp"].as_u64().expect("a time");
        assert!(timestamp < expires_at, "it comes before: {warning}");
        let until = now_s() + 3;
        let claims = json!({"sub": "ann", "exp": until});
        let hello = json!({"type": "hello", "token": with_claims(claims), "id": round.to_string()});
        let answer = ann.ask(hello, "token_expires");
        assert_eq!(answer["id"], round.to_string());
        assert_eq!(answer["expires_at"], until * 1000);
        ann.post("r", round);
    }
    // Nothing was lost by it, and it is still the same connection.
    assert_eq!(ann.rest_of("message").len(), 4);
    assert_eq!(server.metric("upgrades_total"), 1);
    // A token that lasts needs no more warnings.
    ann.ask(
        json!({"type": "hello", "token": token("ann", 100_000)}),
        "token_expires",
    );
    assert!(ann.rest_of("token_expires").is_empty());
}

fn a_refresh_that_fails_changes_nothing(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let mut ann = enter(&server, &token("ann", 100));
    ann.join("r");
    for (hello, code) in [
        (
            json!({"type": "hello", "token": token("bob", 100), "id": "x"}),
            "unauthorized",
        ),
        (
            json!({"type": "hello", "token": "bad", "id": "x"}),
            "unauthorized",
        ),
        (json!({"type": "hello", "id": "x"}), "bad_field"),
        (
            json!({"type": "hello", "user": "ann", "id": "x"}),
            "bad_field",
        ),
    ] {
        let error = ann.ask(hello, "error");
        assert_eq!(
            (&error["code"], &error["id"]),
            (&json!(code), &json!("x")),
            "{error}"
        );
    }
    ann.post("r", "still here");
    // Any number of them is checked within the shares of turns.
    let bad = json!({"type": "hello", "token": "bad"}).to_string();
    for _ in 0..3 {
        ann.say_text(&bad.repeat(100));
    }
    for _ in 0..300 {
        assert_eq!(ann.next_of(&["error"])["code"], "unauthorized");
    }
    server.metric_is("unauthorized_total", 302);
}

fn an_expiry_warns_and_closes(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let mut ann = enter(&server, &token("ann", 2));
    let mut bob = enter(&server, &token("bob", 100));
    ann.join("r");
    bob.join("r");
    ann.take("token_expires");
    let (code, bye) = ann.closed();
    assert_eq!(code, Some(4002));
    let bye = bye.expect("a bye comes before");
    assert_eq!(
        (&bye["code"], &bye["reconnect"]),
        (&json!(4002), &json!(false))
    );
    assert!(
        bye["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("token"))
    );
    server.metric_is("tokens_expired_total", 1);
    bob.post("r", "still here");
    // The name waits for its user.
    assert_eq!(enter(&server, &token("ann", 100)).user, "ann");
}

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

fn keys_change_under_connections(shards: u16) {
    let (server, file) = with_tokens(shards, &[]);
    const NEXT: Signer = Signer::Hs256(b"the next secret that only the tests know");
    let claims = || json!({"sub": "ann", "exp": now_s() + 100});
    let (old, new) = (with_claims(claims()), sign(NEXT, claims()));
    let mut ann = enter(&server, &old);
    ann.join("r");
    refused(hello(&server, json!({"type": "hello", "token": new})));
    // A file that is no key changes nothing but the log.
    file.write("short");
    server.signal("HUP");
    server.await_log("is refused, the old one stays");
    assert!(server.log().contains(file.text()), "{}", server.log());
    assert_eq!(enter(&server, &old).user, "ann");
    file.write("the next secret that only the tests know");
    server.signal("HUP");
    server.await_log("the key set of tokens was read again; new");
    assert_eq!(enter(&server, &new).user, "ann");
    refused(hello(&server, json!({"type": "hello", "token": old})));
    ann.post("r", "who is here stays");
}

fn many_tokens_at_once_are_all_checked(shards: u16) {
    const COUNT: usize = 300;
    let (server, _file) = with_tokens(shards, &[]);
    let mut ann = enter(&server, &token("ann", 100));
    ann.join("r");
    let mut sockets: Vec<Socket> = (0..COUNT).map(|_| server.socket("/ws?hello")).collect();
    let texts: Vec<String> = (0..COUNT)
        .map(|number| {
            let token = token(&format!("user {number}"), 100);
            json!({"type": "hello", "token": token}).to_string()
        })
        .collect();
    for (socket, text) in sockets.iter_mut().zip(&texts) {
        socket.send_text(text);
    }
    ann.post("r", "meanwhile");
    for (number, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(event(socket)["user"], format!("user {number}"));
    }
    server.metric_is("tokens_checked_total", COUNT as u64 + 1);
    // The same by requests, of which many wait for their turn.
    let mut streams: Vec<_> = (0..COUNT).map(|_| server.stream()).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        let line = format!(
            "Authorization: Bearer {}\r\n",
            token(&format!("user {number}"), 100)
        );
        let request = upgrade(&server.host(), "/ws", &line);
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
    }
    for (number, stream) in streams.into_iter().enumerate() {
        assert_eq!(
            Client::on(Socket::upgraded(stream)).user,
            format!("user {number}")
        );
    }
}

fn secrets_are_shown_nowhere(shards: u16) {
    let folder = Folder::new("secrets");
    let file = KeyFile::secret();
    let good = token("ann", 100);
    let bad = sign(
        Signer::Hs256(&[7; 32]),
        json!({"sub": "ann", "exp": now_s() + 100}),
    );
    let mut secrets = vec![SECRET.to_owned(), good.clone(), bad.clone()];
    let mut outputs = Vec::new();
    {
        // Guests, with the secrets that prove them.
        let server = folder.serve_with(shards, &["--log", "trace", "--raw"]);
        let ann = server.client("guest-ann");
        assert_eq!(ann.session.len(), 32, "128 bits");
        let other = server.client("guest-bob");
        assert_ne!(ann.session, other.session);
        let own = "a secret that a client made up";
        let hello_own = json!({"type": "hello", "user": "own", "session": own});
        drop(Client::on(hello(&server, hello_own)));
        let wrong = "a secret of somebody else";
        let mut socket = hello(
            &server,
            json!({"type": "hello", "user": "own", "session": wrong}),
        );
        outputs.push(event(&mut socket).to_string());
        let mut socket = server.socket("/ws?user=own&session=short+secret");
        outputs.push(event(&mut socket).to_string());
        let mut client = Client::open(&server, "?room=r");
        client.say_text(
            r#"{"type":"hello","session":"misplaced secret 0123","token":"misplaced token"}"#,
        );
        outputs.push(client.take("error").to_string());
        secrets.extend([own, wrong, "short secret", "misplaced"].map(str::to_owned));
        secrets.extend([
            ann.session.clone(),
            other.session.clone(),
            client.session.clone(),
        ]);
        outputs.push(server.get("/metrics").text());
        outputs.push(server.log());
    }
    {
        let flags = [
            "--log",
            "trace",
            "--raw",
            "--auth",
            "jwt",
            "--jwt-key",
            file.text(),
        ];
        let server = folder.serve_with(shards, &flags);
        drop(enter(&server, &good));
        for mut socket in [
            hello(&server, json!({"type": "hello", "token": bad})),
            server.socket_of("/ws", &bad),
            server.socket_of("/ws?user=bob", &good),
        ] {
            outputs.push(event(&mut socket).to_string());
        }
        server.socket_of("/raw/r", &bad).closed();
        server.signal("HUP");
        server.await_log("the key set of tokens was read again; new");
        file.write(&SECRET[..20]);
        server.signal("HUP");
        server.await_log("is refused, the old one stays");
        secrets.push(SECRET[..20].to_owned());
        outputs.push(server.get("/metrics").text());
        outputs.push(server.log());
    }
    for entry in std::fs::read_dir(folder.path()).expect("the data folder") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("a file");
        outputs.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    let parts = secrets.iter().flat_map(|secret| {
        // Parts of a token tell as much as the whole.
        let signature = secret.rsplit_once('.').map(|(_, signature)| signature);
        [Some(secret.as_str()), signature].into_iter().flatten()
    });
    for part in parts {
        for output in &outputs {
            assert!(!output.contains(part), "{part} is in {output}");
        }
    }
}
