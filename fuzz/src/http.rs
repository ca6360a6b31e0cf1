//! Requests of one connection that arrive in pieces: the same verdicts as in one piece, and nothing is lost between
//! two requests.

use super::cuts::pieces;
use roomcast::http::{
    Endpoints, Parsed, Refusal, Reply, Request, Scan, Version, WsQuery, parse, route,
};
use roomcast::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX};
use roomcast::ws::origin;

/// What came of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// A request, in words, with the bytes of its head and body.
    Request(String, usize, u64),
    /// The answer that ends the connection.
    Refused(Refusal),
}

/// Input: [pieces] of what a client sends.
pub fn run(data: &[u8]) {
    let whole: Vec<u8> = pieces(data).flatten().copied().collect();
    let expected = verdicts(std::iter::once(&whole[..]));
    assert_eq!(verdicts(pieces(data)), expected, "in pieces");
    assert_eq!(verdicts(whole.chunks(1)), expected, "byte by byte");
}

/// The verdicts on everything that a connection sends, up to the first refusal.
fn verdicts<'d>(pieces: impl Iterator<Item = &'d [u8]>) -> Vec<Verdict> {
    let (mut verdicts, mut bytes) = (Vec::new(), Vec::new());
    let (mut scan, mut skip_bytes) = (Scan::default(), 0);
    for piece in pieces {
        bytes.extend_from_slice(piece);
        loop {
            let skipped = bytes
                .len()
                .min(usize::try_from(skip_bytes).expect("within a bound"));
            bytes.drain(..skipped);
            skip_bytes -= skipped as u64;
            let head_bytes = match parse(&bytes, &mut scan) {
                Parsed::Partial => {
                    assert!(
                        bytes.len() <= HEAD_BYTES_MAX,
                        "a head that is too long is awaited"
                    );
                    break;
                }
                Parsed::Refused(refusal) => {
                    check_refusal(refusal);
                    verdicts.push(Verdict::Refused(refusal));
                    return verdicts;
                }
                Parsed::Request {
                    request,
                    head_bytes,
                } => {
                    check(&request, &bytes[..head_bytes]);
                    verdicts.push(Verdict::Request(
                        format!("{request:?}"),
                        head_bytes,
                        request.body_bytes,
                    ));
                    skip_bytes = request.body_bytes;
                    head_bytes
                }
            };
            bytes.drain(..head_bytes);
            scan = Scan::default();
        }
    }
    verdicts
}

/// What holds for any request that was taken.
fn check(request: &Request<'_>, head: &[u8]) {
    assert!(matches!(
        parse(&head[..head.len() - 1], &mut Scan::default()),
        Parsed::Partial
    ));
    assert!(request.body_bytes <= BODY_BYTES_MAX);
    assert!(request.path.starts_with('/') || request.path == "*");
    assert!(!request.path.chars().any(char::is_control));
    check_head(head, request.version);
    serve(request);
}

/// A taken head holds nothing that another parser might read in another way (RFC 9112, 11.2).
fn check_head(head: &[u8], version: Version) {
    let text = head.strip_prefix(b"\r\n").unwrap_or(head);
    let text: String = text
        .iter()
        .map(|byte| char::from(*byte).to_ascii_lowercase())
        .collect();
    assert_eq!(
        text.matches('\n').count(),
        text.matches("\r\n").count(),
        "a bare LF"
    );
    assert_eq!(
        text.matches('\r').count(),
        text.matches("\r\n").count(),
        "a bare CR"
    );
    assert!(!text.contains('\0'), "a NUL");
    let names = text
        .lines()
        .skip(1)
        .map(|line| line.split(':').next().unwrap_or(line));
    let count = |name: &str| names.clone().filter(|other| other.trim() == name).count();
    assert_eq!(
        count("transfer-encoding"),
        0,
        "a body whose length is not known"
    );
    assert!(count("content-length") <= 1, "two lengths");
    assert!(count("host") == 1 || (count("host") == 0 && version == Version::Http10));
    assert!(
        names.clone().all(|name| name.trim() == name),
        "white space beside a name"
    );
}

/// What the server does with a request next must not panic either, and its answers are HTTP.
fn serve(request: &Request<'_>) {
    for has_all in [false, true] {
        let endpoints = Endpoints {
            raw: has_all,
            echo: has_all,
            has_admin: !has_all,
        };
        if let Err(refusal) = route(request, endpoints) {
            check_refusal(refusal);
        }
    }
    origin::is_allowed(
        request.origin,
        request.host,
        request.body_bytes > 0,
        &["https://chat.example".to_owned()],
    );
    if let Err(error) = WsQuery::parse(request.query) {
        check_refusal(error.refusal());
    }
}

fn check_refusal(refusal: Refusal) {
    let mut answer = Vec::new();
    Reply::closing(1_700_000_000_000).refusal(&mut answer, refusal);
    let text = std::str::from_utf8(&answer).expect("the answer is ASCII");
    let (head, body) = text.split_once("\r\n\r\n").expect("the head ends");
    assert_eq!(body, refusal.text);
    assert!(head.starts_with("HTTP/1.1 ") && head.contains("\r\nConnection: close"));
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())));
}
