//! HTTP/1.1 on the wire: what is refused and how, so that no proxy in front can be made to disagree with us.

mod common;

use common::{KEY, Opcode, Response, Server, masked, transported, upgrade};

transported!(
    each_bad_request_has_its_status,
    each_bad_upgrade_has_its_status,
    smuggled_requests_are_never_answered,
    nothing_of_the_request_comes_back,
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
        ("GET / HTTP/1.10\r\n@\r\n", 400),
        ("GET / HTTP/+1.1\r\n@\r\n", 400),
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
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
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
        ("GET / HTTP/1.1\r\n@Content-Length:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n@Transfer-Encoding:\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\n@Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
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
