//! The admin port: what stands on it, what it shows, and that it is no way to harm the server.

mod common;

use common::{Client, Http, PATIENCE, Response, Server, Value, json, sharded, until};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

sharded!(
    metrics_and_probes_move_to_it,
    rooms_are_shown_with_who_is_there,
    connections_are_shown_with_whose_they_are,
    a_page_is_bounded,
    no_secret_is_shown,
    what_it_does_not_serve_is_refused,
    it_answers_to_this_machines_names_alone,
    too_many_connections_are_told,
    a_request_that_stops_half_way_is_closed_in_time,
    a_stopping_server_is_not_ready,
);

/// A server with an admin port, and where that is.
fn start(shards: u16, flags: &[&str]) -> (Server, SocketAddr) {
    let server = Server::with(shards, &[&["--admin", "127.0.0.1:0"], flags].concat());
    server.await_log("admin on http://");
    let log = server.log();
    let (_, address) = log.split_once("admin on http://").expect("it is there");
    let address = address.lines().next().expect("a line").parse();
    (server, address.expect("an address"))
}

fn connect(address: SocketAddr) -> Http {
    Http::new(TcpStream::connect_timeout(&address, PATIENCE).expect("the admin port is open"))
}

fn get(address: SocketAddr, path: &str) -> Response {
    let mut http = connect(address);
    http.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let response = http.response();
    assert_eq!(response.field("connection"), Some("close"), "{path}");
    assert!(http.is_ended());
    response
}

fn json_of(address: SocketAddr, path: &str) -> Value {
    let response = get(address, path);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    serde_json::from_slice(&response.body).expect("JSON")
}

fn metrics_and_probes_move_to_it(shards: u16) {
    let (server, admin) = start(shards, &[]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(admin, path).status, 200, "{path}");
    }
    let metrics = get(admin, "/metrics");
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(metrics.field("content-type"), Some(kind));
    assert!(metrics.text().contains("\nroomcast_connections "));
    for (path, status) in [
        ("/healthz", 200),
        ("/", 200),
        ("/readyz", 404),
        ("/metrics", 404),
    ] {
        assert_eq!(server.get(path).status, status, "{path} of the public port");
    }
    for path in ["/rooms", "/connections"] {
        assert_eq!(server.get(path).status, 404, "{path} of the public port");
    }
    // Without the flag everything stands on the one port, and the overviews nowhere.
    let server = Server::start(shards);
    for (path, status) in [("/readyz", 200), ("/metrics", 200), ("/rooms", 404)] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
}

fn rooms_are_shown_with_who_is_there(shards: u16) {
    let (server, admin) = start(shards, &[]);
    let nothing = json_of(admin, "/rooms");
    assert_eq!(nothing["rooms"], 0);
    assert_eq!(nothing["by_shard"], json!(vec![0; shards.into()]));
    assert_eq!(nothing["largest"], json!([]));
    let mut clients: Vec<Client> = (0..5).map(|_| Client::open(&server, "")).collect();
    for (count, room) in [(5, "large \"room\""), (2, "middle"), (1, "small")] {
        for client in clients.iter_mut().take(count) {
            client.join(room);
        }
    }
    let mut again = server.client("ann");
    again.join("middle");
    let mut twice = server.again(&again);
    twice.join("middle");
    for number in 0..7 {
        again.post("middle", number);
    }
    let relays = [server.socket("/raw/wire"), server.socket("/raw/wire")];
    let mut rooms = Value::Null;
    // A relay has no word for those who enter it.
    until("both are in the relay", || {
        rooms = json_of(admin, "/rooms");
        let mut largest = rooms["largest"].as_array().into_iter().flatten();
        largest.any(|row| row["room_id"] == "wire" && row["connections"] == 2)
    });
    assert_eq!(rooms["rooms"], 4, "inboxes are not shown: {rooms}");
    let largest = rooms["largest"].as_array().expect("a list");
    let rows: Vec<_> = largest
        .iter()
        .map(|row| {
            (
                &row["room_id"],
                &row["members"],
                &row["connections"],
                &row["seq_id"],
            )
        })
        .map(|(name, members, connections, seq)| json!([name, members, connections, seq]))
        .collect();
    assert_eq!(rows[0], json!(["large \"room\"", 5, 5, 0]));
    assert_eq!(rows[1], json!(["middle", 3, 4, 7]));
    assert_eq!(&rows[2][0], "wire");
    assert_eq!(rows[3], json!(["small", 1, 1, 0]));
    assert_eq!(largest[2]["relay"], true);
    assert!(largest[1]["bytes"].as_u64().expect("a number") > 7);
    assert!(largest[1]["shard"].as_u64().expect("a number") < u64::from(shards));
    drop(relays);
}

fn connections_are_shown_with_whose_they_are(shards: u16) {
    let (server, admin) = start(shards, &["--trusted-proxy", "127.0.0.1"]);
    let mut ann = server.client("ann");
    ann.join("a");
    ann.join("b");
    let mut stream = server.connect();
    let lines = "X-Forwarded-For: 192.0.2.7\r\n";
    let request = common::upgrade(&server.host(), "/ws?user=bob", lines);
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("the server reads");
    let mut bob = Client::on(common::Socket::upgraded(stream));
    bob.join("a");
    bob.post("a", "x".repeat(20_000));
    ann.take("message");
    let idle = server.connect();
    let mut rows = Vec::new();
    until("the idle one is there", || {
        let all = json_of(admin, "/connections");
        rows = all["busiest"].as_array().expect("a list").clone();
        assert_eq!(all["connections"], rows.len());
        rows.len() == 3
    });
    // The busiest comes first: both had the long message.
    let of = |user: Value| rows.iter().find(|row| row["user"] == user).expect("a row");
    let bob = of(json!("bob"));
    assert_eq!(bob["address"], "192.0.2.7");
    assert_eq!((&bob["rooms"], &bob["state"]), (&json!(1), &json!("chat")));
    assert!(bob["received_bytes"].as_u64().expect("a number") > 20_000);
    let ann = of(json!("ann"));
    assert_eq!(ann["address"], "127.0.0.1");
    assert_eq!(ann["rooms"], 2);
    assert!(ann["sent_bytes"].as_u64().expect("a number") > 20_000);
    assert!(ann["age_ms"].as_u64().expect("a number") < 60_000);
    let nobody = of(Value::Null);
    assert_eq!(nobody["state"], "http");
    assert_eq!(rows[2]["user"], Value::Null, "the idle one comes last");
    drop(idle);
}

fn a_page_is_bounded(shards: u16) {
    let (server, admin) = start(shards, &["--rooms-per-connection-max", "2000"]);
    let mut ann = server.client("ann");
    for number in 0..1100 {
        ann.say(json!({"type": "join", "room_id": format!("r{number}")}));
    }
    ann.take_many("joined", 1100);
    for (query, rows) in [
        ("", 100),
        ("?limit=0", 0),
        ("?limit=7", 7),
        ("?limit=1000", 1000),
        ("?limit=1001", 1000),
    ] {
        let page = json_of(admin, &format!("/rooms{query}"));
        assert_eq!(page["rooms"], 1100, "{query}");
        assert_eq!(
            page["largest"].as_array().expect("a list").len(),
            rows,
            "{query}"
        );
    }
    for query in ["?limit=", "?limit=x", "?limit=-1", "?limit=1&limit=2"] {
        assert_eq!(get(admin, &format!("/rooms{query}")).status, 400, "{query}");
        assert_eq!(
            get(admin, &format!("/connections{query}")).status,
            400,
            "{query}"
        );
    }
}

fn no_secret_is_shown(shards: u16) {
    let (server, admin) = start(shards, &[]);
    let ann = Client::open(&server, "?user=ann&session=correct-horse-battery");
    assert_eq!(ann.session, "correct-horse-battery");
    for path in ["/connections", "/rooms", "/metrics"] {
        let text = get(admin, path).text();
        assert!(!text.contains(&ann.session), "{path}: {text}");
    }
    assert!(!server.log().contains(&ann.session));
}

fn what_it_does_not_serve_is_refused(shards: u16) {
    let (_server, admin) = start(shards, &[]);
    for (line, status) in [
        ("GET /ws HTTP/1.1", 404),
        ("GET /roomcast.js HTTP/1.1", 404),
        ("GET /rooms/ HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("DELETE /rooms HTTP/1.1", 405),
        ("GET /metrics HTTP/2.0", 505),
        ("hello", 400),
    ] {
        let mut http = connect(admin);
        http.send(format!("{line}\r\nHost: {admin}\r\n\r\n"));
        assert_eq!(http.response().status, status, "{line}");
        assert!(http.is_ended());
    }
    let mut http = connect(admin);
    http.send(format!(
        "GET / HTTP/1.1\r\nHost: {admin}\r\nX: {}\r\n\r\n",
        "x".repeat(17_000)
    ));
    assert_eq!(http.response().status, 431);
    let mut http = connect(admin);
    http.send(format!("HEAD /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
    assert_eq!(http.response_to_head().status, 200);
    assert!(http.is_ended());
}

fn it_answers_to_this_machines_names_alone(shards: u16) {
    let ask = |admin: SocketAddr, head: String| {
        let mut http = connect(admin);
        http.send(head + "\r\n\r\n");
        http.response()
    };
    let (_server, admin) = start(shards, &[]);
    let port = admin.port();
    for host in [
        admin.to_string(),
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
    ] {
        let head = format!("GET /connections HTTP/1.1\r\nHost: {host}");
        assert_eq!(ask(admin, head).status, 200, "{host}");
    }
    assert_eq!(
        ask(admin, "GET /connections HTTP/1.0".to_owned()).status,
        200
    );
    // A page whose own name leads here asks by that name.
    for path in ["/connections", "/rooms", "/metrics", "/healthz", "/", "/x"] {
        for head in [
            format!("GET {path} HTTP/1.1\r\nHost: evil.example:{port}"),
            format!("GET {path} HTTP/1.0\r\nHost: evil.example"),
            format!("GET http://evil.example{path} HTTP/1.1\r\nHost: evil.example"),
        ] {
            let answer = ask(admin, head.clone());
            assert_eq!(answer.status, 421, "{head}");
            assert!(answer.text().contains("127.0.0.1"), "{answer:?}");
        }
    }
    // On a network of its own it may have any name.
    let server = Server::with(shards, &["--admin", "0.0.0.0:0"]);
    server.await_log("admin on http://");
    let log = server.log();
    let (_, rest) = log.split_once("admin on http://").expect("it is there");
    let address: SocketAddr = rest.lines().next().expect("a line").parse().expect("one");
    let admin = SocketAddr::from(([127, 0, 0, 1], address.port()));
    let head = "GET /rooms HTTP/1.1\r\nHost: admin.example.org".to_owned();
    assert_eq!(ask(admin, head).status, 200);
}

fn too_many_connections_are_told(shards: u16) {
    let (server, admin) = start(shards, &[]);
    let idle: Vec<Http> = (0..8).map(|_| connect(admin)).collect();
    let response = connect(admin).response();
    assert_eq!(response.status, 503);
    assert_eq!(response.field("retry-after"), Some("1"));
    // The public port does not notice.
    let mut ann = server.client("ann");
    ann.join("r");
    ann.post("r", "hello");
    drop(idle);
    until("there is room again", || {
        let mut http = connect(admin);
        http.send(format!("GET /healthz HTTP/1.1\r\nHost: {admin}\r\n\r\n"));
        !http.is_ended() && http.response().status == 200
    });
}

fn a_request_that_stops_half_way_is_closed_in_time(shards: u16) {
    let (_server, admin) = start(shards, &[]);
    let mut silent = connect(admin);
    let mut slow = connect(admin);
    let began = Instant::now();
    slow.send("GET / HTTP/1.1\r\nHost:");
    assert!(silent.is_ended() && slow.is_ended());
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(4) && took < Duration::from_secs(15),
        "{took:?}"
    );
    assert_eq!(get(admin, "/healthz").status, 200);
}

fn a_stopping_server_is_not_ready(shards: u16) {
    let (mut server, admin) = start(shards, &[]);
    // Someone who does not go, so that the stop takes its time.
    let _lasting = server.socket("/echo");
    server.signal("TERM");
    let mut status = 200;
    until("it is not ready", || {
        status = get(admin, "/readyz").status;
        status != 200
    });
    assert_eq!(status, 503);
    drop(_lasting);
    assert!(server.wait().success());
    assert!(TcpStream::connect(admin).is_err(), "the port is closed");
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = common::program();
    command
        .args(["--memory", "--listen", "127.0.0.1:0", "--admin", &address])
        .stdin(Stdio::null());
    let (status, out, err) = common::run_to_end(&mut command);
    assert_eq!(status.code(), Some(1));
    assert!(out.is_empty(), "{out}");
    assert!(err.contains(&address) && err.contains("--admin"), "{err}");
}
