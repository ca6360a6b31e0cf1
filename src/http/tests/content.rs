//! What a request asks for besides its path, and what its answer says about it.

use super::*;
use crate::limits::NAME_BYTES_MAX;

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// The request of a well-formed head.
fn request(bytes: &[u8]) -> (Request<'_>, usize) {
    match parse(bytes, &mut Scan::default()) {
        Parsed::Request {
            request,
            head_bytes,
        } => (request, head_bytes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pipelined_requests_are_found_one_after_the_other() {
    let bytes =
        b"GET /a?b HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\nGETHEAD /c HTTP/1.1\r\n\
                  Host: i\r\n\r\nGE";
    let (first, head_bytes) = request(bytes);
    assert_eq!(
        (&*first.path, first.query, first.host, first.body_bytes),
        ("/a", "b", "h:1", 3)
    );
    let rest = &bytes[head_bytes + 3..];
    let (second, head_bytes) = request(rest);
    assert_eq!(
        (second.method, &*second.path, second.host),
        (Method::Head, "/c", "i")
    );
    assert_eq!(
        parse(&rest[head_bytes..], &mut Scan::default()),
        Parsed::Partial
    );
}

#[test]
fn connections_are_kept_or_closed_as_asked() {
    for (version, fields, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: a, CLOSE\r\n", false),
        ("1.1", "Connection: a\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.1", "Expect: 100-continue\r\n", true),
        (
            "1.1",
            "Expect: 100-continue\r\nContent-Length: 1\r\n",
            false,
        ),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(request(bytes.as_bytes()).0.keep_alive, expected, "{bytes}");
        let closes = serve_at_once(bytes.as_bytes()).has("Connection: close");
        assert_eq!(closes, !expected, "{bytes}");
    }
}

#[test]
fn gzip_is_sent_to_those_who_take_it() {
    for (fields, expected) in [
        ("", false),
        ("Accept-Encoding: gzip\r\n", true),
        ("Accept-Encoding: br, GZIP;q=0.5\r\n", true),
        ("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n", true),
        ("Accept-Encoding: *\r\n", true),
        ("Accept-Encoding: gzip;q=0\r\n", false),
        ("Accept-Encoding: gzip; Q=0.000\r\n", false),
        ("Accept-Encoding: gzip;q=0.001\r\n", true),
        ("Accept-Encoding: gzip;q=0, *\r\n", false),
        ("Accept-Encoding: *;q=0, gzip\r\n", true),
        ("Accept-Encoding: *;q=0\r\n", false),
        ("Accept-Encoding: xgzip, br\r\n", false),
        ("Accept-Encoding:\r\n", false),
    ] {
        let bytes = format!("GET /app.js HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(
            request(bytes.as_bytes()).0.accepts_gzip,
            expected,
            "{fields}"
        );
        let outcome = serve_at_once(bytes.as_bytes());
        assert_eq!(outcome.has("Content-Encoding: gzip"), expected, "{fields}");
        assert!(outcome.has("Vary: Accept-Encoding") && outcome.has("Cache-Control: no-cache"));
    }
}

#[test]
fn what_a_client_holds_is_not_sent_again() {
    let get = |fields: &str| {
        let bytes = format!("GET /app.js HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        serve_at_once(bytes.as_bytes())
    };
    for encoding in ["", "Accept-Encoding: gzip\r\n"] {
        let fresh = get(encoding);
        assert_eq!(fresh.answer, "200 /app.js");
        let etag = fresh
            .head
            .lines()
            .find_map(|line| line.strip_prefix("ETag: "))
            .unwrap();
        let held = get(&format!("{encoding}If-None-Match: {etag}\r\n"));
        assert_eq!(held.answer, "304 /app.js");
        assert!(held.has(&format!("ETag: {etag}")) && !held.head.contains("Content-Length"));

        // The other form's tag is not this one's, and two lines of tags count for nothing.
        let other = if encoding.is_empty() {
            "Accept-Encoding: gzip\r\n"
        } else {
            ""
        };
        assert_eq!(
            get(&format!("{other}If-None-Match: {etag}\r\n")).answer,
            "200 /app.js"
        );
        let twice = format!("{encoding}If-None-Match: {etag}\r\nIf-None-Match: {etag}\r\n");
        assert_eq!(get(&twice).answer, "200 /app.js");
    }
}

#[test]
fn head_gets_the_head_that_get_gets() {
    for path in ["/", "/app.js", "/metrics", "/none"] {
        let answered = |method: &str| {
            let bytes = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let (request, _) = request(bytes.as_bytes());
            let mut out = Vec::new();
            answer(&request, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        let (head, whole) = (answered("HEAD"), answered("GET"));
        assert!(
            head.ends_with("\r\n\r\n") && whole.starts_with(&head),
            "{path}"
        );
        let length = format!("\r\nContent-Length: {}\r\n", whole.len() - head.len());
        assert!(head.contains(&length) && whole.len() > head.len(), "{path}");
    }
}

#[test]
fn services_that_are_off_do_not_exist() {
    let off = Endpoints::default();
    for path in ["/raw/r", "/echo"] {
        for (method, fields) in [("GET", UPGRADE), ("POST", "")] {
            let bytes = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let (request, _) = request(bytes.as_bytes());
            assert_eq!(
                route(&request, off).err(),
                Some(Refusal::NOT_FOUND),
                "{bytes}"
            );
        }
    }
}

#[test]
fn what_stands_on_the_admin_port_does_not_stand_here() {
    let apart = Endpoints {
        has_admin: true,
        ..ENDPOINTS
    };
    for (path, is_here) in [("/healthz", true), ("/readyz", false), ("/metrics", false)] {
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (request, _) = request(bytes.as_bytes());
        assert!(route(&request, ENDPOINTS).is_ok());
        assert_eq!(route(&request, apart).is_ok(), is_here, "{path}");
    }
}

#[test]
fn names_of_raw_rooms_are_bounded() {
    for (bytes, status) in [(NAME_BYTES_MAX, "101"), (NAME_BYTES_MAX + 1, "404")] {
        let path = format!("/raw/{}", "%61".repeat(bytes));
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n");
        assert_eq!(&serve_at_once(bytes.as_bytes()).answer[..3], status);
    }
}

#[test]
fn offers_are_borrowed_from_the_head() {
    let bytes = format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\n{UPGRADE}\
         Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=\"10\", x\r\n\r\n"
    );
    let (request, _) = request(bytes.as_bytes());
    let Upgrade::WebSocket(offer) = request.upgrade else {
        panic!("{:?}", request.upgrade)
    };
    assert_eq!(offer.key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(offer.protocols.iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(offer.protocols.contains("c") && !offer.protocols.contains("C"));
    let extensions: Vec<_> = offer.extensions.iter().collect();
    assert_eq!(
        extensions.iter().map(|x| x.name).collect::<Vec<_>>(),
        ["permessage-deflate", "x"]
    );
    let parameters: Vec<_> = extensions[0].parameters().collect();
    assert_eq!(parameters, [("client_max_window_bits", Some("10".into()))]);
}
