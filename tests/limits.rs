//! Every bound at its edge: what is just allowed, what is just too much, what is said then, and that it is counted.

mod common;

use common::{
    Client, Frame, Http, Opcode, Response, Server, Socket, Value, fragment, json, sharded,
    transported, until, upgrade,
};
use roomcast::limits::ROOM_SWEEP_COUNT_MIN;
use std::io::Write;
use std::time::{Duration, Instant};

transported!(
    a_message_may_fill_its_limit,
    fragments_grow_with_the_message,
    ids_have_64_bytes,
    rooms_of_a_connection_are_bounded,
    rooms_in_all_are_bounded,
    inboxes_are_no_rooms,
    names_in_all_are_bounded,
    names_of_an_address_are_bounded,
    a_full_server_still_says_how_it_is,
    without_memory_nobody_is_taken,
);

sharded!(metrics_are_written_one_at_a_time);

// With TLS who is too many is mostly closed before the handshake, and told nothing: `tls/main.rs` has tests for that.
sharded!(
    connections_over_the_limit_are_told,
    connections_of_an_address_are_bounded,
    who_is_turned_away_and_sends_on_is_cut_off,
    handshakes_of_an_address_are_bounded,
    this_machine_is_not_bound_unless_asked,
    rooms_of_an_address_are_bounded,
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
    // They are told when they ask, or soon if they ask for nothing.
    for number in 0..10 {
        let mut http = server.http();
        if number > 1 {
            http.send(upgrade(&server.host(), "/ws", ""));
        }
        is_told(&http.response(), 503);
        assert!(http.is_ended());
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
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    until("there is room again", || {
        let mut http = server.http();
        http.send(&request);
        // While the places of those who are told are taken, there is no answer.
        !http.is_ended() && http.response().status == 200
    });
    server.await_metric("turned_away_total", 210);
}

/// A counter, asked for on a connection that is there already.
fn scrape(server: &Server, http: &mut Http, name: &str) -> u64 {
    let host = server.host();
    http.send(format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let text = http.response().text();
    let prefix = format!("roomcast_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
    value.expect("a counter").parse().expect("a number")
}

/// A refusal that ends the connection and says when to come back.
fn is_told(answer: &Response, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.field("connection"), Some("close"));
    let pause = answer.field("retry-after").expect("when to come back");
    assert!(
        (1..=60).contains(&pause.parse().expect("seconds")),
        "{pause}"
    );
}

fn a_full_server_still_says_how_it_is(shards: u16) {
    let server = Server::with(shards, &["--max-connections", "1"]);
    let _member = server.client("ann");
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.field("connection"), Some("close"), "{path}");
    }
    for path in ["/", "/roomcast.js"] {
        is_told(&server.get(path), 503);
    }
    // One that asks again and again takes its place each time.
    let mut http = server.http();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    http.send(request.repeat(2));
    assert_eq!(http.response().status, 200);
    assert!(http.is_ended());
}

fn without_memory_nobody_is_taken(shards: u16) {
    let server = Server::with(shards, &["--memory-bytes-max", "1000000"]);
    is_told(&server.get("/"), 503);
    let mut http = server.http();
    http.send(upgrade(&server.host(), "/ws", ""));
    is_told(&http.response(), 503);
    assert_eq!(server.get("/healthz").status, 200);
    server.await_metric("memory_full_total", 3);
    let server = Server::with(shards, &["--memory-bytes-max", "1000000000"]);
    server.client("ann").barrier();
    server.metric_is("memory_full_total", 0);
}

fn connections_of_an_address_are_bounded(shards: u16) {
    let server = Server::with(
        shards,
        &["--connections-per-address-max", "3", "--bounds-loopback"],
    );
    let open = || Socket::open(server.connect_from("127.0.0.2"), &server.host(), "/ws");
    let mut members: Vec<Client> = (0..3).map(|_| Client::on(open())).collect();
    // They are told before they have said anything.
    for _ in 0..10 {
        let mut http = Http::new(server.connect_from("127.0.0.2"));
        is_told(&http.response(), 429);
    }
    let mut crowd: Vec<_> = (0..100)
        .map(|_| Http::new(server.connect_from("127.0.0.2")))
        .collect();
    for http in &mut crowd {
        assert!(http.is_ended() || http.response().status == 429);
    }
    // Others do not notice, and who was there before is served as ever.
    let mut other = server.client("other");
    other.barrier();
    members.iter_mut().for_each(Client::barrier);
    drop(crowd);
    let mut scraper = server.http();
    until("they are counted", || {
        scrape(&server, &mut scraper, "address_full_total") == 110
    });
    members.pop();
    until("there is room again", || {
        let mut http = Http::new(server.connect_from("127.0.0.2"));
        http.send(upgrade(&server.host(), "/ws", ""));
        // While the places of those who are told are taken, there is no answer.
        !http.is_ended() && http.response().status == 101
    });
}

fn who_is_turned_away_and_sends_on_is_cut_off(shards: u16) {
    let flags = ["--connections-per-address-max=1", "--close-ms=60000"];
    let server = Server::with(shards, &[&flags[..], &["--bounds-loopback"]].concat());
    // Once it is answered it has its place, whichever shard takes the other.
    let mut first = Http::new(server.connect_from("127.0.0.2"));
    first.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(first.response().status, 200);
    let mut http = Http::new(server.connect_from("127.0.0.2"));
    is_told(&http.response(), 429);
    let (mut stream, chunk) = (http.stream(), vec![b'x'; 1 << 20]);
    let mut sent = 0;
    while stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
        assert!(sent < 256 << 20, "the server takes without end");
    }
}

fn handshakes_of_an_address_are_bounded(shards: u16) {
    let flags = [
        "--handshakes-per-address-per-s-max",
        "1",
        "--bounds-loopback",
    ];
    let server = Server::with(shards, &flags);
    let start = Instant::now();
    let (mut taken, mut refused) = (0, 0);
    // Five seconds' worth at once, and then one a second.
    while refused < 5 {
        let mut http = Http::new(server.connect_from("127.0.0.2"));
        http.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.host()));
        let answer = http.response();
        if answer.status == 200 {
            taken += 1;
        } else {
            is_told(&answer, 429);
            refused += 1;
        }
    }
    let most = 5 + start.elapsed().as_secs() + 1;
    assert!((5..=most).contains(&taken), "{taken} of {most}");
    assert_eq!(server.get("/").status, 200, "others do not notice");
    let mut scraper = server.http();
    until("they are counted", || {
        scrape(&server, &mut scraper, "address_hasty_total") == refused
    });
    until("it may come again", || {
        let mut http = Http::new(server.connect_from("127.0.0.2"));
        http.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.host()));
        http.response().status == 200
    });
}

fn this_machine_is_not_bound_unless_asked(shards: u16) {
    let flags = ["--connections-per-address-max", "1"];
    let rate = ["--handshakes-per-address-per-s-max", "1"];
    let server = Server::with(shards, &[flags, rate].concat());
    let members: Vec<Client> = (0..20).map(|_| Client::open(&server, "")).collect();
    assert_eq!(members.len(), 20);
    server.metric_is("addresses", 0);
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

/// Sees to it that a room is refused because of the others, who may leave theirs.
fn is_for_now(error: &Value) {
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("too_many_rooms"), &json!(true)),
        "{error}"
    );
    assert!(error["retry_after_ms"].is_u64(), "{error}");
}

#[test]
fn a_full_server_gives_up_rooms_that_nobody_is_in() {
    const MOST: usize = 20;
    let flags = ["--room-count-max=20", "--presence-debounce-ms=100"];
    let server = Server::with(1, &flags);
    let mut ann = server.client("ann");
    let mut join = |room: &str| {
        ann.say(json!({"type": "join", "room_id": room}));
        let answer = ann.next_of(&["joined", "error"]);
        if answer["type"] == "joined" {
            ann.post(room, 1);
            ann.ask(json!({"type": "leave", "room_id": room}), "left");
        }
        answer
    };
    let rooms: Vec<String> = (0..MOST).map(|number| format!("room {number}")).collect();
    let epochs: Vec<Value> = rooms
        .iter()
        .map(|room| join(room)["epoch"].clone())
        .collect();
    until("there is place for one more", || {
        join("one more")["type"] == "joined"
    });
    let dropped = server.metric("rooms_dropped_total") as usize;
    assert!((1..=ROOM_SWEEP_COUNT_MIN).contains(&dropped), "{dropped}");
    // Who came last has its room still, and the first have another.
    assert_eq!(join(&rooms[MOST - 1])["epoch"], epochs[MOST - 1]);
    assert_ne!(join(&rooms[0])["epoch"], epochs[0]);
    // Where nobody leaves there is no place to be made.
    let mut bob = server.client("bob");
    for number in 0.. {
        bob.say(json!({"type": "join", "room_id": format!("kept {number}")}));
        if bob.next_of(&["joined", "error"])["type"] == "error" {
            assert!(number <= MOST, "{number}");
            break;
        }
    }
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
                    is_for_now(&error);
                    true
                }
                None => {
                    // Another shard answers in its own time.
                    let answer = ann.next_of(&["joined", "error"]);
                    let is_joined = answer["type"] == "joined";
                    match is_joined {
                        true => joined.push(room),
                        false => is_for_now(&answer),
                    }
                    !is_joined
                }
            }
        })
        .count();
    // So many names use up the part of each shard, wherever the members are.
    assert_eq!(joined.len(), 8, "{joined:?}");
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

fn inboxes_are_no_rooms(shards: u16) {
    let server = Server::with(shards, &["--room-count-max", "2"]);
    let mut ann = server.client("ann");
    for number in 0..10 {
        let name = format!("user{number}");
        drop(server.client(&name));
        ann.ask(json!({"type": "message", "to": name, "content": 1}), "ack");
    }
    assert!(server.metric("rooms") >= 10, "their inboxes are in memory");
    ann.join("r");
    assert_eq!(server.metric("rooms_refused_total"), 0);
}

fn rooms_of_an_address_are_bounded(shards: u16) {
    const MOST: usize = 8;
    let flags = ["--rooms-per-address-max=8", "--bounds-loopback"];
    let soon = "--presence-debounce-ms=100";
    let server = Server::with(shards, &[&flags[..], &[soon]].concat());
    let open = |source| {
        let socket = Socket::open(server.connect_from(source), &server.host(), "/ws");
        Client::on(socket)
    };
    let try_join = |client: &mut Client, room: &str| {
        client.say(json!({"type": "join", "room_id": room}));
        let event = client.next_of(&["joined", "error"]);
        let is_joined = event["type"] == "joined";
        assert!(is_joined || event["code"] == "too_many_rooms", "{event}");
        assert!(is_joined || event["retryable"] == false, "{event}");
        is_joined
    };
    let (mut ann, mut bob) = (open("127.0.0.2"), open("127.0.0.3"));
    let rooms: Vec<String> = (0..40).map(|number| format!("room {number}")).collect();
    let joined: Vec<&String> = rooms
        .iter()
        .filter(|room| try_join(&mut ann, room))
        .collect();
    // So many names use up the part of each shard.
    assert_eq!(joined.len(), MOST, "{joined:?}");
    server.metric_is("rooms_refused_total", (40 - MOST) as u64);
    // A relay is a room as well, and a further connection makes no difference.
    let relay = server.connect_from("127.0.0.2");
    let mut relay = Socket::open(relay, &server.host(), "/raw/relay");
    assert_eq!(relay.closed(), Some(1013));
    assert!(!try_join(&mut open("127.0.0.2"), "one more"));
    // Rooms of others may be joined, others may make theirs, and what is left is paid for no more.
    let other = rooms.iter().find(|room| !joined.contains(room));
    let other = other.expect("one was refused");
    assert!(try_join(&mut bob, other));
    assert!(try_join(&mut ann, other));
    for room in &joined {
        assert!(try_join(&mut bob, room), "it is there already");
        ann.ask(json!({"type": "leave", "room_id": room}), "left");
        bob.ask(json!({"type": "leave", "room_id": room}), "left");
    }
    until("there is room again", || try_join(&mut ann, "one more"));
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
        assert_eq!(event["retry_after_ms"], 1000);
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

fn metrics_are_written_one_at_a_time(shards: u16) {
    const EACH: usize = 20;
    let server = Server::with(shards, &["--max-connections", "40"]);
    let host = server.host();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let health = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut crowd: Vec<Http> = (0..30).map(|_| server.http()).collect();
    for http in &mut crowd {
        http.send([request.repeat(EACH), health.clone()].concat());
    }
    // All of them are answered in the end, in their order, and each with what has happened until then.
    let mut turns = Vec::new();
    for http in &mut crowd {
        let mut last = 0;
        for _ in 0..EACH {
            let text = http.response().text();
            let value = |name: &str| -> u64 {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.expect("it is there").trim().parse().expect("a number")
            };
            let answered = value("roomcast_http_requests_total ");
            assert!(answered > last || last == 0, "{answered} after {last}");
            last = answered;
            turns.push(value("roomcast_turns_total "));
        }
        assert_eq!(http.response().text(), "ok\n");
    }
    if shards == 1 {
        // A turn is counted when it ends, so that two answers of one turn would say the same.
        turns.sort_unstable();
        assert!(turns.windows(2).all(|two| two[0] < two[1]), "{turns:?}");
    }
    assert!(server.metric("metrics_postponed_total") > 0);
    // Who is turned away waits for the same.
    let full: Vec<Http> = (0..10).map(|_| server.http()).collect();
    let asked = || {
        let mut http = server.http();
        http.send(&request);
        http
    };
    let mut over: Vec<Http> = (0..20).map(|_| asked()).collect();
    for http in &mut over {
        assert_eq!(http.response().status, 200);
    }
    drop((crowd, full));
}
