//! Requests from the wire to the answer.

mod content;
mod rows;

use super::*;
use crate::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADER_COUNT_MAX, REQUEST_LINE_BYTES_MAX};

const ENDPOINTS: Endpoints = Endpoints {
    raw: true,
    echo: true,
    has_admin: false,
};

/// What one request led to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The status and the body of a refusal; `101` and what was upgraded; `200` and what was
    /// served.
    answer: String,
    /// The answer's head; nothing for `partial`.
    head: String,
}

impl Outcome {
    fn has(&self, line: &str) -> bool {
        self.head.lines().any(|other| other == line)
    }
}

/// Answers the request at the start of `bytes` in the way the engine does, with what stands in for its services.
fn serve(parsed: &Parsed<'_>) -> Outcome {
    let mut out = Vec::new();
    let what = match parsed {
        Parsed::Partial => "partial".to_owned(),
        Parsed::Refused(refusal) => {
            Reply::closing(0).refusal(&mut out, *refusal);
            refusal.text.to_owned()
        }
        Parsed::Request { request, .. } => answer(request, &mut out),
    };
    let out = String::from_utf8_lossy(&out);
    let head = out.split("\r\n\r\n").next().unwrap_or_default();
    let status = head
        .get(9..12)
        .map_or(String::new(), |status| format!("{status} "));
    Outcome {
        answer: status + &what,
        head: head.to_owned(),
    }
}

fn answer(request: &Request<'_>, out: &mut Vec<u8>) -> String {
    let reply = Reply::to(request, 0);
    match route(request, ENDPOINTS) {
        Err(refusal) => {
            reply.refusal(out, refusal);
            refusal.text.to_owned()
        }
        Ok(Route::Asset(asset)) => {
            reply.asset(out, asset, request);
            asset.path.to_owned()
        }
        Ok(Route::Options) => {
            reply.no_content(out);
            "options".to_owned()
        }
        Ok(Route::Health) => text(reply, out, "health"),
        Ok(Route::Ready) => text(reply, out, "ready"),
        Ok(Route::Metrics) => text(reply, out, "metrics"),
        Ok(Route::Ws(offer)) => upgraded(out, "ws", offer),
        Ok(Route::Echo(offer)) => upgraded(out, "echo", offer),
        Ok(Route::Raw(room, offer)) => upgraded(out, &format!("raw {room}"), offer),
    }
}

fn text(reply: Reply, out: &mut Vec<u8>, what: &str) -> String {
    reply.text(out, response::TEXT_PLAIN, what.as_bytes());
    what.to_owned()
}

fn upgraded(out: &mut Vec<u8>, what: &str, offer: Offer<'_>) -> String {
    response::upgrade(out, &[b'x'; 28], offer.protocols.iter().next(), None);
    what.to_owned()
}

fn serve_at_once(bytes: &[u8]) -> Outcome {
    serve(&parse(bytes, &mut Scan::default()))
}

/// Every request of the table with its answer.
fn rows() -> impl Iterator<Item = (Vec<u8>, &'static str)> {
    let tables = [
        rows::SERVED,
        rows::UPGRADES,
        rows::LINES,
        rows::FIELDS,
        rows::BODIES,
    ];
    let text = tables.into_iter().flatten().flat_map(|row| {
        let requests = row.requests.iter();
        requests.map(|request| (row.shape.replacen('@', request, 1).into_bytes(), row.answer))
    });
    text.chain(
        rows::BYTES
            .iter()
            .map(|(bytes, answer)| (bytes.to_vec(), *answer)),
    )
}

#[test]
fn each_request_gets_its_answer() {
    for (bytes, expected) in rows() {
        let outcome = serve_at_once(&bytes);
        let request = String::from_utf8_lossy(&bytes);
        assert_eq!(outcome.answer, expected, "{request:?}");

        let status = &expected[..3];
        let is_refused = status >= "400";
        let closes = outcome.head.contains("\r\nConnection: close");
        assert!(!is_refused || closes, "{request:?}");
        let is_typed = outcome.has("Content-Type: text/plain; charset=utf-8");
        assert!(!is_refused || is_typed, "{request:?}");
        assert_eq!(
            outcome.has("Upgrade: websocket"),
            status == "426" || status == "101"
        );
        assert_eq!(outcome.has("Sec-WebSocket-Version: 13"), status == "426");
        assert_eq!(
            outcome.head.contains("\r\nAllow: "),
            status == "405" || status == "204"
        );
    }
}

#[test]
fn allow_names_what_the_path_allows() {
    for (line, allow) in [
        ("POST /", "Allow: GET, HEAD"),
        ("POST /healthz", "Allow: GET, HEAD"),
        ("CONNECT a:1", "Allow: GET, HEAD"),
        ("POST /ws", "Allow: GET"),
        ("HEAD /ws", "Allow: GET"),
        ("OPTIONS /raw/r", "Allow: GET"),
        ("PUT /echo", "Allow: GET"),
    ] {
        let outcome = serve_at_once(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(outcome.has(allow), "{line}: {outcome:?}");
    }
}

/// Parses `bytes` after looking at each of the shorter prefixes, and stops at the first that is enough.
fn parse_in_pieces<'a>(bytes: &'a [u8], cuts: impl Iterator<Item = usize>) -> Parsed<'a> {
    let mut scan = Scan::default();
    for cut in cuts {
        let parsed = parse(&bytes[..cut], &mut scan);
        if parsed != Parsed::Partial {
            return parsed;
        }
    }
    parse(bytes, &mut scan)
}

#[test]
fn cuts_change_nothing() {
    for (bytes, _) in rows() {
        let whole = parse(&bytes, &mut Scan::default());
        assert_ne!(whole, Parsed::Partial);
        for cut in 0..bytes.len() {
            let pieces = parse_in_pieces(&bytes, [cut].into_iter());
            assert_eq!(pieces, whole, "cut at {cut}");
        }
        assert_eq!(parse_in_pieces(&bytes, 0..bytes.len()), whole);
    }
}

#[test]
fn no_byte_anywhere_breaks_a_promise() {
    for (bytes, _) in rows() {
        for at in 0..bytes.len() {
            for byte in *b"\0\t\n\r ,:;%/=\"\xff" {
                let mut bytes = bytes.clone();
                bytes[at] = byte;
                check_promises(&bytes, at);
            }
        }
    }
}

fn check_promises(bytes: &[u8], cut: usize) {
    let whole = parse(bytes, &mut Scan::default());
    assert_eq!(parse_in_pieces(bytes, [cut].into_iter()), whole);
    if let Parsed::Request {
        request,
        head_bytes,
    } = &whole
    {
        assert!(bytes[..*head_bytes].ends_with(b"\r\n\r\n"));
        assert!(request.body_bytes <= BODY_BYTES_MAX);
        assert!(request.path.starts_with('/') || request.path == "*");
        assert!(!request.path.contains(char::is_control));
        assert!(!request.host.is_empty() || request.version == Version::Http10);
    }
    let outcome = serve(&whole);
    assert!(!outcome.head.contains('\0') && !outcome.head.contains("\n\n"));
}

#[test]
fn bounds_hold_at_their_edges() {
    let rest = " HTTP/1.1\r\nHost: a\r\n";
    let line = |bytes: usize| format!("GET /{}", "a".repeat(bytes - "GET / HTTP/1.1".len()));
    let fields = |count: usize| "A: b\r\n".repeat(count - 1);
    let padded = |bytes: usize| {
        let start = format!("{}{rest}X: ", line(99));
        let padding = "x".repeat(bytes - start.len() - "\r\n\r\n".len());
        start + &padding
    };
    let too_long = "414 the request line is too long";
    let too_many = "431 too many header fields";
    let too_large = "431 the request head is too large";
    for (request, expected) in [
        (
            line(REQUEST_LINE_BYTES_MAX) + rest + "\r\n",
            "404 no such path",
        ),
        (line(REQUEST_LINE_BYTES_MAX + 1) + rest + "\r\n", too_long),
        (
            "\r\n".to_owned() + &line(REQUEST_LINE_BYTES_MAX) + rest + "\r\n",
            "404 no such path",
        ),
        (
            "\r\n".to_owned() + &line(REQUEST_LINE_BYTES_MAX + 1) + rest + "\r\n",
            too_long,
        ),
        ("a".repeat(REQUEST_LINE_BYTES_MAX), "partial"),
        ("a".repeat(REQUEST_LINE_BYTES_MAX + 1), too_long),
        (
            line(99) + rest + &fields(HEADER_COUNT_MAX) + "\r\n",
            "404 no such path",
        ),
        (line(99) + rest + &fields(HEADER_COUNT_MAX), "partial"),
        (
            line(99) + rest + &fields(HEADER_COUNT_MAX + 1) + "\r\n",
            too_many,
        ),
        (line(99) + rest + &fields(HEADER_COUNT_MAX + 1), too_many),
        (padded(HEAD_BYTES_MAX) + "\r\n\r\n", "404 no such path"),
        (padded(HEAD_BYTES_MAX) + "\r\n\r", "partial"),
        (padded(HEAD_BYTES_MAX + 1) + "\r\n\r\n", too_large),
        (padded(HEAD_BYTES_MAX + 1) + "\r\n\r", "partial"),
        (padded(HEAD_BYTES_MAX) + "xxxx", "partial"),
        (padded(HEAD_BYTES_MAX) + "xxxxx", too_large),
    ] {
        assert_eq!(
            serve_at_once(request.as_bytes()).answer,
            expected,
            "{} bytes",
            request.len()
        );
        let pieces = parse_in_pieces(request.as_bytes(), 0..request.len());
        assert_eq!(
            serve(&pieces).answer,
            expected,
            "{} bytes in pieces",
            request.len()
        );
    }
}
