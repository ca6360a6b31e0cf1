//! HTTP/1.1 on the wire: what is served, over connections that live and end as they should.

mod common;

use common::{Response, Server, transported, until, upgrade};
use std::io::Read;

transported!(
    the_page_is_served_with_its_protection,
    files_are_compressed_and_cached,
    probes_and_metrics_answer,
    a_head_has_no_body,
    connections_are_kept_alive,
    pipelined_requests_are_answered_in_order,
    a_body_that_nobody_wants_is_skipped,
    an_upgrade_may_be_cut_anywhere,
    a_slow_request_has_an_absolute_deadline,
    an_idle_connection_is_closed,
);

/// A request of these lines, with `Host`.
fn request(server: &Server, line: &str, fields: &str) -> String {
    format!("{line}\r\nHost: {}\r\n{fields}\r\n", server.host())
}

/// Sends bytes on a connection of their own and gives the answer.
fn ask(server: &Server, bytes: impl AsRef<[u8]>) -> Response {
    let mut http = server.http();
    http.send(bytes);
    http.response()
}

fn the_page_is_served_with_its_protection(shards: u16) {
    let server = Server::start(shards);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<!doctype html>") || page.text().contains("<!DOCTYPE html>"));
    let policy = page.field("content-security-policy").expect("a policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for path in ["/", "/roomcast.js", "/style.css", "/app.js"] {
        let file = server.get(path);
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(file.field("referrer-policy"), Some("no-referrer"));
        assert!(file.field("date").is_some() && file.field("etag").is_some());
    }
    assert_eq!(
        server.get("/roomcast.js").field("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(
        server.get("/?room=tea").status,
        200,
        "a query is nobody's business"
    );
}

fn files_are_compressed_and_cached(shards: u16) {
    let server = Server::start(shards);
    let get = |fields: &str| {
        ask(
            &server,
            request(&server, "GET /roomcast.js HTTP/1.1", fields),
        )
    };
    let plain = get("");
    assert_eq!(plain.field("content-encoding"), None);
    assert_eq!(plain.field("vary"), Some("Accept-Encoding"));
    for accept in ["gzip", "br, GZIP;q=0.5", "*", "deflate, gzip"] {
        let packed = get(&format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(packed.field("content-encoding"), Some("gzip"), "{accept}");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed.body.as_slice())
            .read_to_end(&mut unpacked)
            .expect("it is gzip");
        assert!(unpacked == plain.body && packed.body.len() < plain.body.len());
        assert_ne!(packed.field("etag"), plain.field("etag"));
    }
    for accept in ["br", "gzip;q=0", "identity", "gzip;q=0, *"] {
        let fields = format!("Accept-Encoding: {accept}\r\n");
        assert_eq!(get(&fields).field("content-encoding"), None, "{accept}");
    }
    let tag = plain.field("etag").expect("a tag");
    for (held, status) in [
        (tag.to_owned(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"x\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
        (tag.trim_matches('"').to_owned(), 200),
    ] {
        let answer = get(&format!("If-None-Match: {held}\r\n"));
        assert_eq!(answer.status, status, "{held}");
        assert_eq!(answer.field("etag"), Some(tag));
    }
}

fn probes_and_metrics_answer(shards: u16) {
    let server = Server::start(shards);
    for path in ["/healthz", "/readyz"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
    let metrics = server.get("/metrics");
    assert_eq!(
        metrics.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = metrics.text();
    for line in text.lines() {
        let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
        let is_sample = line
            .rsplit_once(' ')
            .is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(is_comment || is_sample, "{line}");
    }
    server.metric_is("shards", u64::from(shards));
    // What is asked for is counted.
    let before = server.metric("http_requests_total");
    server.get("/healthz");
    server.await_metric("http_requests_total", before + 2);
    let before = server.metric("http_refused_total");
    assert_eq!(server.get("/nowhere").status, 404);
    server.await_metric("http_refused_total", before + 1);
}

fn a_head_has_no_body(shards: u16) {
    let server = Server::start(shards);
    let mut http = server.http();
    for path in ["/", "/roomcast.js", "/healthz", "/readyz"] {
        let full = server.get(path);
        http.send(request(&server, &format!("HEAD {path} HTTP/1.1"), ""));
        let head = http.response_to_head();
        assert_eq!(head.status, 200);
        for name in ["content-length", "content-type", "etag"] {
            assert_eq!(head.field(name), full.field(name), "{name} of {path}");
        }
    }
    http.send(request(&server, "HEAD /nowhere HTTP/1.1", ""));
    assert_eq!(http.response_to_head().status, 404);
    assert!(http.is_ended());
}

fn connections_are_kept_alive(shards: u16) {
    let server = Server::start(shards);
    let mut http = server.http();
    for _ in 0..50 {
        http.send(request(&server, "GET /healthz HTTP/1.1", ""));
        let answer = http.response();
        assert_eq!((answer.status, answer.field("connection")), (200, None));
    }
    http.send(request(
        &server,
        "GET /healthz HTTP/1.1",
        "Connection: keep-alive, Close\r\n",
    ));
    assert_eq!(http.response().field("connection"), Some("close"));
    assert!(http.is_ended());
    // HTTP/1.0 is served once, with or without Host.
    for fields in ["", "Host: x\r\n", "Connection: keep-alive\r\n"] {
        let mut http = server.http();
        http.send(format!("GET /healthz HTTP/1.0\r\n{fields}\r\n"));
        assert_eq!(http.response().status, 200);
        assert!(http.is_ended());
    }
    // A minor version that nobody knows is served as 1.1.
    assert_eq!(
        ask(&server, request(&server, "GET / HTTP/1.9", "")).status,
        200
    );
}

fn pipelined_requests_are_answered_in_order(shards: u16) {
    let server = Server::start(shards);
    let paths = ["/healthz", "/", "/readyz", "/roomcast.js", "/style.css"];
    let alone: Vec<Response> = paths.iter().map(|path| server.get(path)).collect();
    let mut http = server.http();
    let mut requests = String::new();
    for round in 0..40 {
        for path in paths {
            requests.push_str(&request(&server, &format!("GET {path} HTTP/1.1"), ""));
        }
        if round % 10 == 0 {
            requests.push_str("\r\n");
        }
    }
    http.send(&requests);
    for _ in 0..40 {
        for expected in &alone {
            let answer = http.response();
            assert_eq!(answer.status, 200);
            assert!(answer.body == expected.body, "in the order of the requests");
        }
    }
    // Behind one that is refused nothing is answered.
    let mut http = server.http();
    http.send(
        [
            request(&server, "GET /healthz HTTP/1.1", ""),
            request(&server, "GET /nowhere HTTP/1.1", ""),
            request(&server, "GET /healthz HTTP/1.1", ""),
        ]
        .concat(),
    );
    assert_eq!(http.response().status, 200);
    assert_eq!(http.response().status, 404);
    assert!(http.is_ended());
}

fn a_body_that_nobody_wants_is_skipped(shards: u16) {
    let server = Server::start(shards);
    let mut http = server.http();
    for length in [0, 1, 100, 65_536] {
        // The body looks like a request, and is none.
        let mut body = request(&server, "GET /nowhere HTTP/1.1", "").repeat(1000);
        body.truncate(length);
        body.push_str(&"x".repeat(length - body.len()));
        let fields = format!("Content-Length: {length}\r\n");
        http.send(request(&server, "GET /healthz HTTP/1.1", &fields) + &body);
        http.send(request(&server, "GET /readyz HTTP/1.1", ""));
        assert_eq!(http.response().text(), "ok\n", "{length}");
        assert_eq!(http.response().text(), "ready\n", "{length}");
    }
    let fields = "Content-Length: 65537\r\n";
    assert_eq!(
        ask(&server, request(&server, "GET /healthz HTTP/1.1", fields)).status,
        413
    );
    // Whether a client that asks first sends the body is not known: the connection ends.
    http.send(request(
        &server,
        "GET /healthz HTTP/1.1",
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
    ));
    assert_eq!(http.response().field("connection"), Some("close"));
}

fn an_upgrade_may_be_cut_anywhere(shards: u16) {
    let server = Server::start(shards);
    let request = upgrade(
        &server.host(),
        "/echo",
        "Sec-WebSocket-Protocol: roomcast.v1\r\n",
    );
    for at in 1..request.len() {
        let (first, second) = request.split_at(at);
        let mut http = server.http();
        http.send(first);
        http.send(second);
        let answer = http.response_to_head();
        assert_eq!(answer.status, 101, "cut at {at}");
        assert_eq!(answer.field("sec-websocket-protocol"), Some("roomcast.v1"));
    }
    let plain = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    let mut http = server.http();
    for byte in plain.bytes().chain(plain.bytes()) {
        http.send([byte]);
    }
    assert_eq!(http.response().status, 200);
    assert_eq!(http.response().status, 200);
}

fn a_slow_request_has_an_absolute_deadline(shards: u16) {
    let server = Server::with(shards, &["--handshake-ms", "300"]);
    // Nothing at all: there is nothing to answer.
    let mut silent = server.http();
    // Half a request.
    let mut half = server.http();
    half.send("GET / HTTP/1.1\r\nHost: x\r\nX-");
    // A byte now and then, which never comes to an end.
    let mut drip = server.http();
    drip.send("GET / HTTP/1.1\r\nX: ");
    until("the drip is cut off", || {
        drip.send("x");
        server.metric("handshake_timeouts_total") >= 2
    });
    assert_eq!(drip.response().status, 408);
    assert_eq!(half.response().status, 408);
    assert!(half.is_ended() && silent.is_ended());
    assert_eq!(server.metric("idle_closed_total"), 1);
    // Whoever is quick has no such deadline.
    assert_eq!(server.get("/healthz").status, 200);
}

fn an_idle_connection_is_closed(shards: u16) {
    let server = Server::with(shards, &["--http-idle-ms", "200"]);
    let mut http = server.http();
    http.send(request(&server, "GET /healthz HTTP/1.1", ""));
    assert_eq!(http.response().status, 200);
    assert!(http.is_ended(), "without another word");
    assert_eq!(server.metric("handshake_timeouts_total"), 0);
    assert_eq!(server.metric("idle_closed_total"), 1);
}
