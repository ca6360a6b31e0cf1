//! HTTP/1.1 on the wire: what is served, what is refused and how, and that nobody can be made to disagree with us.

mod common;

use common::{Http, KEY, Opcode, Response, Server, masked, sharded, until, upgrade};
use std::io::Read;

sharded!(
    the_page_is_served_with_its_protection,
    files_are_compressed_and_cached,
    probes_and_metrics_answer,
    a_head_has_no_body,
    connections_are_kept_alive,
    pipelined_requests_are_answered_in_order,
    a_body_that_nobody_wants_is_skipped,
    each_bad_request_has_its_status,
    each_bad_upgrade_has_its_status,
    smuggled_requests_are_never_answered,
    nothing_of_the_request_comes_back,
    an_upgrade_may_be_cut_anywhere,
    a_slow_request_has_an_absolute_deadline,
    an_idle_connection_is_closed,
    origins_are_checked,
    origins_can_be_allowed,
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

/// Sees to it that a request is refused as every refusal is.
fn refused(server: &Server, bytes: impl AsRef<[u8]>, status: u16) -> Response {
    let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
    let shown: String = shown.chars().take(200).collect();
    let mut http = server.http();
    http.send(bytes);
    let response = http.response();
    assert_eq!(response.status, status, "{shown:?} gives {response:?}");
    let connection = response.field("connection").unwrap_or_default();
    assert!(
        connection.starts_with("close"),
        "{shown:?} gives {response:?}"
    );
    assert_eq!(
        response.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!((1..100).contains(&response.body.len()), "{response:?}");
    assert!(http.is_ended(), "{shown:?} is answered once");
    response
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
    refused(
        &server,
        request(&server, "GET /healthz HTTP/1.1", fields),
        413,
    );
    // Whether a client that asks first sends the body is not known: the connection ends.
    http.send(request(
        &server,
        "GET /healthz HTTP/1.1",
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
    ));
    assert_eq!(http.response().field("connection"), Some("close"));
}

/// Requests without what every row has, and the status that they are refused with. `@` stands for the `Host` field.
fn bad_requests() -> Vec<(String, u16)> {
    let rows = [
        // The request line.
        ("GET / HTTP/2.0\r\n@\r\n", 505),
        ("GET / HTTP/9.9\r\n@\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET / HTTP/1\r\n@\r\n", 400),
        ("GET / http/1.1\r\n@\r\n", 400),
        ("GET /\r\n@\r\n", 400),
        ("GET  / HTTP/1.1\r\n@\r\n", 400),
        ("GET / HTTP/1.1 \r\n@\r\n", 400),
        (" GET / HTTP/1.1\r\n@\r\n", 400),
        ("GET\t/\tHTTP/1.1\r\n@\r\n", 400),
        ("G(T / HTTP/1.1\r\n@\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("\r\n\r\nGET / HTTP/1.1\r\n@\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03", 400),
        ("\0", 400),
        // The target.
        ("GET nowhere HTTP/1.1\r\n@\r\n", 400),
        ("GET * HTTP/1.1\r\n@\r\n", 400),
        ("GET /#x HTTP/1.1\r\n@\r\n", 400),
        ("GET ftp://x/ HTTP/1.1\r\n@\r\n", 400),
        ("GET http://elsewhere/ HTTP/1.1\r\n@\r\n", 400),
        ("GET /%00 HTTP/1.1\r\n@\r\n", 400),
        ("GET /%0a HTTP/1.1\r\n@\r\n", 400),
        ("GET /%ff HTTP/1.1\r\n@\r\n", 400),
        ("GET /% HTTP/1.1\r\n@\r\n", 400),
        ("GET /%4 HTTP/1.1\r\n@\r\n", 400),
        ("GET /%zz HTTP/1.1\r\n@\r\n", 400),
        ("GET /\u{e4} HTTP/1.1\r\n@\r\n", 400),
        ("GET /nowhere HTTP/1.1\r\n@\r\n", 404),
        ("GET /../etc/passwd HTTP/1.1\r\n@\r\n", 404),
        ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n@\r\n", 404),
        ("GET /..%2f..%2fetc%2fpasswd HTTP/1.1\r\n@\r\n", 404),
        ("GET /..%5c..%5cetc HTTP/1.1\r\n@\r\n", 404),
        ("GET /%252e%252e/x HTTP/1.1\r\n@\r\n", 404),
        ("GET /app.js/ HTTP/1.1\r\n@\r\n", 404),
        ("GET //app.js HTTP/1.1\r\n@\r\n", 404),
        ("GET /./app.js HTTP/1.1\r\n@\r\n", 404),
        ("GET /Cargo.toml HTTP/1.1\r\n@\r\n", 404),
        // The method.
        ("POST / HTTP/1.1\r\n@\r\n", 405),
        ("POST /nowhere HTTP/1.1\r\n@\r\n", 404),
        ("DELETE /healthz HTTP/1.1\r\n@\r\n", 405),
        ("get / HTTP/1.1\r\n@\r\n", 405),
        ("TRACE / HTTP/1.1\r\n@\r\n", 405),
        ("CONNECT example.org:443 HTTP/1.1\r\n@\r\n", 405),
        ("OPTIONS / HTTP/1.1\r\n@\r\n", 405),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@@\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
        // Lines and fields.
        ("GET / HTTP/1.1\n@\r\n", 400),
        ("GET / HTTP/1.1\r\n@X: y\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@\n", 400),
        ("GET / HTTP/1.1\r\n@X: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@X: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@X: a\x1bb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@X: a\x7fb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@X : y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@X\t: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@X(: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@no colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@X: a\r\n b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@X: a\r\n\tb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n X: a\r\n@\r\n", 400),
        ("GET / HTTP/1.1\r\n@Origin: a\r\nOrigin: a\r\n\r\n", 400),
        // The length of the body.
        ("GET / HTTP/1.1\r\n@Content-Length: -1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@Content-Length: +1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@Content-Length: 1, 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@Content-Length: 0x1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@Content-Length: 1 1\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\n@Content-Length: 99999999999999999999\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\n@Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\n@Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\n@Content-Length: 65537\r\n\r\n", 413),
        (
            "POST / HTTP/1.1\r\n@Content-Length: 9999999999\r\n\r\n",
            413,
        ),
        (
            "GET / HTTP/1.1\r\n@Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            411,
        ),
        (
            "POST / HTTP/1.1\r\n@Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
            411,
        ),
        (
            "GET / HTTP/1.1\r\n@Transfer-Encoding: gzip, chunked\r\n\r\n",
            501,
        ),
        (
            "GET / HTTP/1.1\r\n@Transfer-Encoding: identity\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\n@Transfer-Encoding: chunked, gzip\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\n@Transfer-Encoding: chunked, chunked\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\n@Transfer-Encoding: \x0bchunked\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\n@Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.0\r\n@Transfer-Encoding: chunked\r\n\r\n", 400),
    ];
    let longs = [
        (
            format!("GET /{} HTTP/1.1\r\n@\r\n", "x".repeat(8 * 1024)),
            414,
        ),
        ("x".repeat(8 * 1024 + 1), 414),
        (
            format!("GET / HTTP/1.1\r\n@X: {}\r\n\r\n", "x".repeat(16 * 1024)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\n@{}\r\n", "X: y\r\n".repeat(100)),
            431,
        ),
    ];
    let rows = rows.map(|(text, status)| (text.to_owned(), status));
    rows.into_iter().chain(longs).collect()
}

fn each_bad_request_has_its_status(shards: u16) {
    let server = Server::start(shards);
    let host = format!("Host: {}\r\n", server.host());
    let rows = bad_requests();
    for (text, status) in &rows {
        let response = refused(&server, text.replace('@', &host), *status);
        let allow = response.field("allow");
        assert_eq!(allow.is_some(), *status == 405, "{text}");
    }
    server.metric_is("http_refused_total", rows.len() as u64);
    // The edges that are still good.
    let fields = "X: y\r\n".repeat(99);
    for good in [
        request(&server, "GET /healthz HTTP/1.1", &fields),
        request(
            &server,
            "GET /healthz HTTP/1.1",
            "X:\r\nY: \t \r\nZ:a\tb \u{e4}\r\n",
        ),
        request(&server, "\r\nGET /healthz HTTP/1.1", ""),
        request(
            &server,
            &format!("GET http://{}/healthz HTTP/1.1", server.host()),
            "",
        ),
        request(&server, "GET /health%7A HTTP/1.1", ""),
        request(&server, "GET /healthz? HTTP/1.1", "Content-Length: 0\r\n"),
    ] {
        assert_eq!(ask(&server, &good).status, 200, "{good}");
    }
    let options = ask(&server, request(&server, "OPTIONS * HTTP/1.1", ""));
    assert_eq!(options.status, 204);
    assert!(options.field("allow").is_some());
}

fn each_bad_upgrade_has_its_status(shards: u16) {
    let server = Server::start(shards);
    let head = format!("GET /ws HTTP/1.1\r\nHost: {}\r\n", server.host());
    let (up, connection) = ("Upgrade: websocket\r\n", "Connection: Upgrade\r\n");
    let version = "Sec-WebSocket-Version: 13\r\n";
    let key = &format!("Sec-WebSocket-Key: {KEY}\r\n");
    let with = |parts: &[&str]| format!("{head}{}\r\n", parts.concat());
    for (request, status) in [
        (with(&[]), 426),
        (with(&[connection, version, key]), 426),
        (with(&[up, version, key]), 426),
        (with(&["Upgrade: h2c\r\n", connection, version, key]), 426),
        (
            with(&["Upgrade: websocket2\r\n", connection, version, key]),
            426,
        ),
        (with(&[up, "Connection: keep-alive\r\n", version, key]), 426),
        (with(&[up, connection, key]), 426),
        (
            with(&[up, connection, key, "Sec-WebSocket-Version: 8\r\n"]),
            426,
        ),
        (
            with(&[up, connection, key, "Sec-WebSocket-Version: 13, 8\r\n"]),
            426,
        ),
        (
            with(&[up, connection, key, "Sec-WebSocket-Version: 013\r\n"]),
            426,
        ),
        (with(&[up, connection, key, version, version]), 400),
        (with(&[up, connection, version]), 400),
        (with(&[up, connection, version, key, key]), 400),
        (
            with(&[up, connection, version, "Sec-WebSocket-Key:\r\n"]),
            400,
        ),
        (
            with(&[up, connection, version, "Sec-WebSocket-Key: c2hvcnQ=\r\n"]),
            400,
        ),
        (
            with(&[
                up,
                connection,
                version,
                "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n",
            ]),
            400,
        ),
        (
            with(&[
                up,
                connection,
                version,
                key,
                "Sec-WebSocket-Protocol: a b\r\n",
            ]),
            400,
        ),
        (
            with(&[
                up,
                connection,
                version,
                key,
                "Sec-WebSocket-Extensions: a=\r\n",
            ]),
            400,
        ),
        (
            with(&[
                up,
                connection,
                version,
                key,
                "Sec-WebSocket-Extensions: ;\r\n",
            ]),
            400,
        ),
        (
            with(&[up, connection, version, key, "Content-Length: 1\r\n"]) + "x",
            400,
        ),
        (
            with(&[
                up,
                connection,
                version,
                key,
                "Transfer-Encoding: chunked\r\n",
            ]) + "0\r\n\r\n",
            400,
        ),
        (
            with(&[up, connection, version, key]).replace("GET ", "POST "),
            405,
        ),
        (
            with(&[up, connection, version, key]).replace("GET ", "HEADS "),
            405,
        ),
        (
            with(&[up, connection, version, key]).replace("HTTP/1.1", "HTTP/1.0"),
            426,
        ),
        (
            with(&[up, connection, version, key]).replace("/ws", "/wss"),
            404,
        ),
        (
            with(&[up, connection, version, key]).replace("/ws", "/raw/"),
            404,
        ),
        (
            with(&[up, connection, version, key]).replace("/ws", "/raw/a/b"),
            404,
        ),
        (
            with(&[up, connection, version, key]).replace("/ws", "/raw/.."),
            404,
        ),
        (
            with(&[up, connection, version, key]).replace("/ws", "/raw/a%2fb"),
            404,
        ),
        (
            with(&[up, connection, version, key]).replace("/ws", "/ws?user=%ff"),
            400,
        ),
        (
            with(&[up, connection, version, key]).replace("/ws", "/ws?user=a&user=a"),
            400,
        ),
        (
            with(&[up, connection, version, key]).replace("/ws", "/ws?inbox_since=x"),
            400,
        ),
    ] {
        let response = refused(&server, &request, status);
        if status == 426 {
            assert_eq!(response.field("upgrade"), Some("websocket"), "{request}");
            assert_eq!(response.field("sec-websocket-version"), Some("13"));
            assert_eq!(response.field("connection"), Some("close, Upgrade"));
        }
        if status == 405 {
            assert_eq!(response.field("allow"), Some("GET"));
        }
    }
    assert_eq!(server.metric("upgrades_total"), 0);
    // What is good in every form.
    for request in [
        with(&[up, connection, version, key]),
        with(&[
            "uPGRADE:WebSocket\r\n",
            "CONNECTION:keep-alive,  upgrade\r\n",
            version,
            key,
        ]),
        with(&["Upgrade: h2c, websocket\r\n", connection, version, key]),
        with(&[up, "Connection: x\r\nConnection: upgrade\r\n", version, key]),
        with(&[up, connection, version, key, "Content-Length: 0\r\n"]),
    ] {
        let mut http = server.http();
        http.send(&request);
        assert_eq!(http.response_to_head().status, 101, "{request}");
    }
    // Elsewhere an offer to upgrade is ignored.
    let request = with(&[up, connection, version, key]).replace("/ws", "/healthz");
    assert_eq!(ask(&server, request).status, 200);
}

fn smuggled_requests_are_never_answered(shards: u16) {
    let server = Server::start(shards);
    let inner = request(&server, "GET /healthz HTTP/1.1", "");
    let length = inner.len();
    for fields in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}, 0\r\n"),
        "Transfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding:\x0bchunked\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "X: a\r\n Transfer-Encoding: chunked\r\n".to_owned(),
        format!("X: a\nContent-Length: {length}\r\n"),
        format!("X: a\rContent-Length: {length}\r\n"),
    ] {
        for method in ["GET", "POST"] {
            let outer = request(&server, &format!("{method} /readyz HTTP/1.1"), &fields);
            let mut http = server.http();
            http.send(outer + &inner);
            let answer = http.response();
            assert!(answer.status >= 400, "{fields:?} gives {answer:?}");
            assert!(http.is_ended(), "{fields:?}");
        }
    }
    // What follows an upgrade that is refused is not a request, and no frame either.
    let refused_upgrade = upgrade(&server.host(), "/ws", "Content-Length: 5\r\n");
    let mut http = server.http();
    http.send(refused_upgrade + &inner);
    assert_eq!(http.response().status, 400);
    assert!(http.is_ended());
    let mut bytes = upgrade(&server.host(), "/nowhere", "").into_bytes();
    bytes.extend(masked(Opcode::Text, b"{}"));
    let mut http = server.http();
    http.send(bytes);
    assert_eq!(http.response().status, 404);
    assert!(http.is_ended());
}

fn nothing_of_the_request_comes_back(shards: u16) {
    let server = Server::start(shards);
    let marker = "<script>marker</script>";
    for request in [
        request(&server, "GET /marker%3Cscript%3E HTTP/1.1", ""),
        request(&server, "GET / HTTP/1.1", &format!("X {marker}: y\r\n")),
        format!("marker{marker}\r\n\r\n"),
        request(&server, &format!("GET /ws?user={marker} HTTP/1.1"), ""),
    ] {
        let answer = ask(&server, request);
        assert!(answer.status >= 400);
        assert!(!answer.text().contains("marker"), "{answer:?}");
        assert!(
            answer
                .fields
                .iter()
                .all(|(_, value)| !value.contains("marker"))
        );
    }
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
}

/// Upgrades with this origin and host, on every path that takes one.
fn status_of(server: &Server, origin: &str, host: &str) -> u16 {
    let statuses: Vec<u16> = ["/ws", "/echo", "/raw/r"]
        .iter()
        .map(|path| {
            let mut http: Http = server.http();
            http.send(upgrade(host, path, &format!("Origin: {origin}\r\n")));
            let answer = http.response_to_head();
            if answer.status == 403 {
                assert_eq!(answer.field("connection"), Some("close"));
            }
            answer.status
        })
        .collect();
    assert!(statuses.iter().all(|status| *status == statuses[0]));
    statuses[0]
}

fn origins_are_checked(shards: u16) {
    let server = Server::start(shards);
    let own = server.host();
    for (origin, host, status) in [
        (format!("http://{own}"), own.as_str(), 101),
        (format!("https://{own}"), &own, 101),
        ("http://chat.example".to_owned(), "chat.example", 101),
        ("https://chat.example".to_owned(), "chat.example", 101),
        ("https://CHAT.example".to_owned(), "chat.example:443", 101),
        ("http://chat.example:80".to_owned(), "chat.example", 101),
        ("http://[::1]:8080".to_owned(), "[::1]:8080", 101),
        ("http://localhost:1".to_owned(), &own, 403),
        ("http://127.0.0.1".to_owned(), &own, 403),
        ("http://chat.example".to_owned(), "chat.example:8080", 403),
        ("http://evil.example".to_owned(), "chat.example", 403),
        (
            "http://chat.example.evil.example".to_owned(),
            "chat.example",
            403,
        ),
        ("http://evilchat.example".to_owned(), "chat.example", 403),
        ("http://chat.example/".to_owned(), "chat.example", 403),
        (
            "http://chat.example@evil.example".to_owned(),
            "chat.example",
            403,
        ),
        (
            "http://a http://chat.example".to_owned(),
            "chat.example",
            403,
        ),
        ("chat.example".to_owned(), "chat.example", 403),
        ("null".to_owned(), "chat.example", 403),
        (String::new(), "chat.example", 403),
        ("file://".to_owned(), "chat.example", 403),
    ] {
        assert_eq!(
            status_of(&server, &origin, host),
            status,
            "{origin} on {host}"
        );
    }
    server.metric_is("origin_refused_total", 3 * 13);
    // The page may be read from anywhere; only upgrades are checked.
    let fields = "Origin: http://evil.example\r\n";
    assert_eq!(
        ask(&server, request(&server, "GET / HTTP/1.1", fields)).status,
        200
    );
}

fn origins_can_be_allowed(shards: u16) {
    let server = Server::with(
        shards,
        &[
            "--origin",
            "https://chat.example",
            "--origin",
            "http://localhost:3000",
        ],
    );
    for (origin, status) in [
        ("https://chat.example", 101),
        ("https://chat.example:443", 101),
        ("HTTPS://Chat.Example", 101),
        ("http://localhost:3000", 101),
        ("http://chat.example", 403),
        ("https://chat.example:8443", 403),
        ("https://www.chat.example", 403),
        ("http://localhost:3001", 403),
        ("null", 403),
    ] {
        assert_eq!(
            status_of(&server, origin, &server.host()),
            status,
            "{origin}"
        );
    }
    // The own origin is allowed besides.
    let own = format!("http://{}", server.host());
    assert_eq!(status_of(&server, &own, &server.host()), 101);
    let open = Server::with(shards, &["--origin", "*"]);
    for origin in ["http://evil.example", "null", "file://"] {
        assert_eq!(status_of(&open, origin, "chat.example"), 101, "{origin}");
    }
}
