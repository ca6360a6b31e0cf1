//! How fast a connection may send: who is over the bound is told where the protocol has words for it, and then waits;
//! nothing is lost, and nobody is closed for it.

mod common;

use common::{
    Client, Frame, Opcode, Server, Socket, deflated, enter, json, marked, masked, transported,
    until,
};
use std::io::Write;
use std::time::{Duration, Instant};

transported!(
    messages_over_the_rate_are_refused_and_then_wait,
    bytes_over_the_rate_wait,
    compressed_bytes_over_the_rate_wait,
    whatever_is_sent_counts,
    a_long_pause_is_not_silence,
    joins_over_the_rate_are_refused,
    http_requests_count,
    an_upgrade_owes_nothing_for_the_requests_before,
    what_nobody_has_set_is_for_others_than_this_machine,
);

/// Seconds whose tokens a bucket holds (`RATE_BUCKET_MS`).
const BUCKET_S: u64 = 5;

/// Sees to it that so many tokens took the time that they should, at a rate per second.
fn took_its_time(start: Instant, tokens: u64, per_s: u64) {
    // The clock of the server counts whole milliseconds.
    let least = tokens.saturating_sub(per_s * BUCKET_S) * 1000 / per_s;
    let least = Duration::from_millis(least.saturating_sub(2));
    let took = start.elapsed();
    assert!(took >= least, "{tokens} at {per_s} a second in {took:?}");
    let most = least + Duration::from_secs(15);
    assert!(took <= most, "{tokens} at {per_s} a second in {took:?}");
}

fn messages_over_the_rate_are_refused_and_then_wait(shards: u16) {
    const PER_S: u64 = 20;
    const COUNT: u64 = 150;
    let rate = PER_S.to_string();
    let server = Server::with(shards, &["--messages-per-connection-per-s-max", &rate]);
    let mut bob = server.client("bob");
    bob.join("r");
    let start = Instant::now();
    let mut ann = server.client("ann");
    ann.join("r");
    for number in 0..COUNT {
        ann.say(
            json!({"type": "message", "room_id": "r", "content": number, "id": number.to_string()}),
        );
    }
    let (mut acks, mut errors) = (Vec::new(), Vec::new());
    while acks.len() + errors.len() < COUNT as usize {
        let event = ann.next_of(&["ack", "error"]);
        if event["type"] == "ack" {
            acks.push(event);
            continue;
        }
        assert_eq!(
            (&event["code"], &event["request"], &event["retryable"]),
            (&json!("rate_limited"), &json!("message"), &json!(true))
        );
        assert_eq!(event["room_id"], "r");
        let wait_ms = event["retry_after_ms"]
            .as_u64()
            .expect("when to come again");
        assert!((1..=1000 / PER_S).contains(&wait_ms), "{wait_ms}");
        errors.push(event);
    }
    // The join counts too.
    let taken = acks.len() as u64 + 1;
    assert!(taken >= PER_S * BUCKET_S, "{taken}");
    took_its_time(start, taken, PER_S);
    // What was refused was not taken, and nothing else is missing.
    let heard = bob.take_many("message", acks.len());
    for (message, ack) in heard.iter().zip(&acks) {
        assert_eq!(message["id"], ack["id"]);
    }
    let refused = errors.len() as u64;
    assert!(
        (1..=acks.len() as u64).contains(&refused),
        "{refused}: who is told is not read for a while"
    );
    bob.barrier();
    assert!(bob.rest_of("message").is_empty());
    server.metric_is("rate_limited_total", refused);
    assert!(server.metric("rate_paused_total") > 0);
}

fn bytes_over_the_rate_wait(shards: u16) {
    const PER_S: u64 = 20_000;
    const BYTES: usize = 5_000;
    const COUNT: u64 = 26;
    let rate = PER_S.to_string();
    let server = Server::with(shards, &["--bytes-per-connection-per-s-max", &rate]);
    let start = Instant::now();
    let mut echo = server.socket("/echo");
    let mut relay = enter(&server, "/raw/r", 2);
    let [writer, reader] = &mut *relay else {
        panic!("two");
    };
    let payload = vec![7; BYTES];
    for _ in 0..COUNT {
        echo.send(Opcode::Binary, &payload);
        writer.send(Opcode::Binary, &payload);
    }
    for _ in 0..COUNT {
        assert_eq!(reader.message(), Frame::Binary(payload.clone()));
    }
    // The last one may be owed.
    took_its_time(start, (COUNT - 1) * BYTES as u64, PER_S);
    for _ in 0..COUNT {
        assert_eq!(echo.message(), Frame::Binary(payload.clone()));
    }
    assert!(server.metric("rate_paused_total") >= 2);
    server.metric_is("rate_limited_total", 0);
}

/// What inflates to nothing counts as what came, and what inflates to much as that.
fn compressed_bytes_over_the_rate_wait(shards: u16) {
    const PER_S: u64 = 20_000;
    const BYTES: usize = 5_000;
    const COUNT: u64 = 26;
    let rate = PER_S.to_string();
    let flags = ["--deflate", "--bytes-per-connection-per-s-max", &rate];
    let server = Server::with(shards, &flags);
    // Last blocks, each of which ends a stream with nothing in it.
    let hollow = b"\x03\x00".repeat(BYTES / 2);
    let full = vec![7; BYTES];
    for (payload, message) in [(hollow, vec![]), (deflated(&full), full)] {
        let start = Instant::now();
        let mut echo = server.deflating_socket("/echo");
        for _ in 0..COUNT {
            echo.send_bytes(&marked(true, Opcode::Binary, &payload));
        }
        for _ in 0..COUNT {
            assert_eq!(echo.message(), Frame::Binary(message.clone()));
        }
        took_its_time(start, (COUNT - 1) * BYTES as u64, PER_S);
    }
    server.metric_is("rate_limited_total", 0);
}

fn whatever_is_sent_counts(shards: u16) {
    const PER_S: u64 = 20;
    const COUNT: u64 = 130;
    let rate = PER_S.to_string();
    let server = Server::with(shards, &["--messages-per-connection-per-s-max", &rate]);
    for path in ["/ws?hello", "/echo"] {
        let start = Instant::now();
        let mut socket = server.socket(path);
        for number in 0..COUNT {
            socket.send(Opcode::Ping, &[number as u8]);
        }
        for number in 0..COUNT {
            assert_eq!(socket.frame(), Frame::Pong(vec![number as u8]), "{path}");
        }
        took_its_time(start, COUNT, PER_S);
    }
    // Many commands in one message are many.
    let start = Instant::now();
    let mut ann = server.client("ann");
    ann.say_text(&r#"{"type":"nonsense"} "#.repeat(COUNT as usize));
    for _ in 0..COUNT {
        assert_eq!(ann.next_of(&["error"])["code"], "unknown_type");
    }
    took_its_time(start, COUNT, PER_S);
}

fn a_long_pause_is_not_silence(shards: u16) {
    let flags = ["--bytes-per-connection-per-s-max", "1000"];
    let server = Server::with(shards, &[&flags[..], &["--heartbeat-ms", "200"]].concat());
    let start = Instant::now();
    let mut socket = server.socket("/echo");
    // It owes for about two seconds, ten intervals.
    socket.send(Opcode::Binary, &[1; 7000]);
    socket.send(Opcode::Binary, &[2]);
    assert_eq!(socket.message(), Frame::Binary(vec![1; 7000]));
    assert_eq!(socket.message(), Frame::Binary(vec![2]));
    took_its_time(start, 7000, 1000);
    server.metric_is("silent_closed_total", 0);
}

fn joins_over_the_rate_are_refused(shards: u16) {
    let server = Server::with(shards, &["--joins-per-connection-per-s-max", "1"]);
    let mut ann = server.client("ann");
    let start = Instant::now();
    let (mut joined, mut refused) = (0, 0);
    while refused < 3 {
        ann.say(json!({"type": "join", "room_id": "r", "id": "j"}));
        let event = ann.next_of(&["joined", "error"]);
        assert_eq!(event["id"], "j");
        if event["type"] == "joined" {
            joined += 1;
            continue;
        }
        refused += 1;
        assert_eq!(
            (&event["code"], &event["room_id"], &event["retryable"]),
            (&json!("rate_limited"), &json!("r"), &json!(true))
        );
        let wait_ms = event["retry_after_ms"]
            .as_u64()
            .expect("when to come again");
        assert!((1..=1000).contains(&wait_ms), "{wait_ms}");
    }
    let most = BUCKET_S + start.elapsed().as_secs() + 1;
    assert!((BUCKET_S..=most).contains(&joined), "{joined} of {most}");
    // Nothing else has to wait, and nobody else.
    ann.post("r", 1);
    let mut bob = server.client("bob");
    bob.join("r");
    server.metric_is("rate_limited_total", refused);
    until("it may join again", || {
        ann.say(json!({"type": "join", "room_id": "s"}));
        ann.next_of(&["joined", "error"])["type"] == "joined"
    });
}

fn http_requests_count(shards: u16) {
    const PER_S: u64 = 20;
    const COUNT: u64 = 110;
    let rate = PER_S.to_string();
    let server = Server::with(shards, &["--messages-per-connection-per-s-max", &rate]);
    let start = Instant::now();
    let mut http = server.http();
    let host = server.host();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    http.send(request.repeat(COUNT as usize));
    for _ in 0..COUNT {
        assert_eq!(http.response().status, 200);
    }
    took_its_time(start, COUNT, PER_S);
}

fn an_upgrade_owes_nothing_for_the_requests_before(shards: u16) {
    const PER_S: u64 = 10;
    let rate = PER_S.to_string();
    let server = Server::with(shards, &["--messages-per-connection-per-s-max", &rate]);
    let host = server.host();
    let mut http = server.http();
    // All but the one that the upgrade needs, as of the users of a proxy that keeps its connections.
    let count = PER_S * BUCKET_S - 1;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    http.send(request.repeat(count as usize));
    for _ in 0..count {
        assert_eq!(http.response().status, 200);
    }
    let mut ann = Client::on(Socket::open(http.into_stream(), &host, "/ws"));
    for _ in 0..count {
        ann.say(json!({"type": "heartbeat"}));
    }
    ann.take_many("heartbeat", count as usize);
    server.metric_is("rate_limited_total", 0);
}

fn what_nobody_has_set_is_for_others_than_this_machine(shards: u16) {
    const COUNT: usize = 9000;
    let proxy = "--trusted-proxy=127.0.0.1";
    let open = |server: &Server, before: &str, path: &str| {
        let mut stream = server.connect();
        stream
            .write_all(before.as_bytes())
            .expect("the server reads");
        Socket::open(server.secure(stream), &server.host(), path)
    };
    let flood = |server: &Server, before: &str| {
        let mut echo = open(server, before, "/echo");
        echo.send_bytes(&masked(Opcode::Text, b"").repeat(COUNT));
        echo
    };
    let is_free = |server: &Server, before: &str| {
        let mut echo = flood(server, before);
        for _ in 0..COUNT {
            assert_eq!(echo.text(), "");
        }
        server.metric("rate_paused_total") == 0
    };
    let is_held_back = |server: &Server, before: &str| {
        let echo = flood(server, before);
        until("it waits", || server.metric("rate_paused_total") > 0);
        drop(echo);
    };
    let join = |server: &Server, before: &str| {
        let mut ann = Client::on(open(server, before, "/ws"));
        for _ in 0..COUNT / 9 {
            ann.say(json!({"type": "join", "room_id": "r"}));
        }
        for _ in 0..COUNT / 9 {
            ann.next_of(&["joined", "error"]);
        }
        server.metric("rate_limited_total")
    };
    let (direct, named) = ("", "PROXY TCP4 192.0.2.7 127.0.0.1 5 6\r\n");
    let loopback = "PROXY TCP4 127.0.0.9 127.0.0.1 5 6\r\n";
    let server = Server::with(shards, &[proxy]);
    assert_eq!(join(&server, direct), 0);
    assert!(is_free(&server, direct) && is_free(&server, loopback));
    // 5000 messages, and 500 joins, come at once.
    assert!(join(&server, named) > 0);
    is_held_back(&server, named);
    // 0 is no bound for anybody, and other values hold for everybody.
    let flags = [
        proxy,
        "--messages-per-connection-per-s-max=0",
        "--bytes-per-connection-per-s-max=0",
    ];
    assert!(is_free(&Server::with(shards, &flags), named));
    for flag in [
        "--messages-per-connection-per-s-max=1000",
        "--bounds-loopback",
    ] {
        is_held_back(&Server::with(shards, &[flag]), direct);
    }
}
