//! With `--auth jwt` a connection is the user that its token names, for as long as the token is good.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/store.rs"]
mod store;

mod lifetime;
mod rights;
mod secrets;

use common::mint::{KeyFile, SECRET, Signer, key_file, now_s, sign, token, with_claims};
use common::{Client, Opcode, Server, Socket, Value, json, masked, transported, upgrade};
use std::io::Write;

transported!(
    a_token_comes_by_field_by_message_or_as_a_subprotocol,
    each_algorithm_is_taken,
    without_a_token_nobody_gets_in,
    bad_tokens_are_told_apart_and_counted,
    the_name_is_the_tokens,
    a_hello_may_follow_the_token_of_an_upgrade,
    frames_wait_for_the_token,
    many_tokens_at_once_are_all_checked,
);

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
