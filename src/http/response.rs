//! Answers, appended to a buffer.

use std::io::Write as _;

use super::assets::{Asset, Representation};
use super::date;
use super::refusal::{Extra, Refusal};
use super::request::{Method, Request};

/// `Content-Type` of plain text.
pub const TEXT_PLAIN: &str = "text/plain; charset=utf-8";
/// `Content-Type` of the metrics (Prometheus text format 0.0.4).
pub const TEXT_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The statuses that this server answers with (RFC 9110, 15; RFC 6585, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 204
    NoContent,
    /// 304
    NotModified,
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 411
    LengthRequired,
    /// 413
    ContentTooLarge,
    /// 414
    UriTooLong,
    /// 421
    Misdirected,
    /// 426
    UpgradeRequired,
    /// 429
    TooManyRequests,
    /// 431
    FieldsTooLarge,
    /// 501
    NotImplemented,
    /// 503
    ServiceUnavailable,
    /// 505
    VersionNotSupported,
}

impl Status {
    /// The code and the reason phrase.
    pub const fn text(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::NoContent => "204 No Content",
            Status::NotModified => "304 Not Modified",
            Status::BadRequest => "400 Bad Request",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::LengthRequired => "411 Length Required",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UriTooLong => "414 URI Too Long",
            Status::Misdirected => "421 Misdirected Request",
            Status::UpgradeRequired => "426 Upgrade Required",
            Status::TooManyRequests => "429 Too Many Requests",
            Status::FieldsTooLarge => "431 Request Header Fields Too Large",
            Status::NotImplemented => "501 Not Implemented",
            Status::ServiceUnavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// What an answer has to know besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The time of the answer, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Whether the connection goes on after it. Refusals close whatever this says.
    pub keep_alive: bool,
    /// Whether the body is sent: not to `HEAD`.
    pub with_body: bool,
    /// Whether browsers are told to come with TLS alone (RFC 6797). Never where the answer itself goes without.
    pub is_strict: bool,
}

impl Reply {
    /// The reply to a request.
    pub fn to(request: &Request<'_>, unix_ms: u64) -> Reply {
        let with_body = request.method != Method::Head;
        Reply {
            unix_ms,
            keep_alive: request.keep_alive,
            with_body,
            is_strict: false,
        }
    }

    /// The reply where no request could be read.
    pub fn closing(unix_ms: u64) -> Reply {
        Reply {
            unix_ms,
            keep_alive: false,
            with_body: true,
            is_strict: false,
        }
    }

    /// Answers 200 with a text made now, which caches must not keep.
    pub fn text(self, out: &mut Vec<u8>, content_type: &str, body: &[u8]) {
        self.start(out, Status::Ok);
        field(out, "Cache-Control", "no-store");
        self.end(out, content_type, body);
    }

    /// Answers with a status other than 200, and closes.
    pub fn refusal(self, out: &mut Vec<u8>, refusal: Refusal) {
        let reply = Reply {
            keep_alive: false,
            ..self
        };
        if refusal.extra == Extra::Upgrade {
            // `Upgrade` has to be named in `Connection` as well (RFC 9110, 7.8).
            reply.start_with(out, refusal.status, Some("close, Upgrade"));
        } else {
            reply.start(out, refusal.status);
        }
        extra(out, refusal.extra);
        reply.end(out, TEXT_PLAIN, refusal.text.as_bytes());
    }

    /// Answers 204, to `OPTIONS *`.
    pub fn no_content(self, out: &mut Vec<u8>) {
        self.start(out, Status::NoContent);
        extra(out, Extra::Allow("GET, HEAD, OPTIONS"));
        out.extend_from_slice(b"\r\n");
    }

    /// Answers with a file of the page, or with 304 where the client has it.
    pub fn asset(self, out: &mut Vec<u8>, asset: &Asset, request: &Request<'_>) {
        let Representation {
            body,
            etag,
            is_gzip,
        } = asset.representation(request.accepts_gzip);
        let is_held = request
            .if_none_match
            .is_some_and(|held| matches(held, etag));
        self.start(
            out,
            if is_held {
                Status::NotModified
            } else {
                Status::Ok
            },
        );
        field(out, "ETag", etag);
        field(out, "Cache-Control", "no-cache");
        field(out, "Vary", "Accept-Encoding");
        if is_held {
            return out.extend_from_slice(b"\r\n");
        }
        field(out, "Content-Security-Policy", CONTENT_SECURITY_POLICY);
        field(out, "Referrer-Policy", "no-referrer");
        if is_gzip {
            field(out, "Content-Encoding", "gzip");
        }
        self.end(out, asset.content_type, body);
    }

    fn start(self, out: &mut Vec<u8>, status: Status) {
        self.start_with(out, status, (!self.keep_alive).then_some("close"));
    }

    /// The status line and the fields of every answer.
    fn start_with(self, out: &mut Vec<u8>, status: Status, connection: Option<&str>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.text().as_bytes());
        out.extend_from_slice(b"\r\nServer: roomcast\r\nDate: ");
        date::write(out, self.unix_ms);
        out.extend_from_slice(b"\r\n");
        if let Some(connection) = connection {
            field(out, "Connection", connection);
        }
        if self.is_strict {
            field(out, "Strict-Transport-Security", STRICT_TRANSPORT_SECURITY);
        }
    }

    /// The fields of the body, the end of the head, and the body.
    fn end(self, out: &mut Vec<u8>, content_type: &str, body: &[u8]) {
        field(out, "X-Content-Type-Options", "nosniff");
        field(out, "Content-Type", content_type);
        number(out, "Content-Length", body.len());
        out.extend_from_slice(b"\r\n");
        if self.with_body {
            out.extend_from_slice(body);
        }
    }
}

/// Answers 101 (RFC 6455, 4.2.2), after which frames follow. `accept` is made from the key; `subprotocol` is one that
/// the client offered; `extensions` are those that both sides use, with their parameters.
pub fn upgrade(
    out: &mut Vec<u8>,
    accept: &[u8; 28],
    subprotocol: Option<&str>,
    extensions: Option<&str>,
) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(subprotocol) = subprotocol {
        field(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(extensions) = extensions {
        field(out, "Sec-WebSocket-Extensions", extensions);
    }
    out.extend_from_slice(b"\r\n");
}

/// For a year, and for this name alone: what else runs under names below it is not ours to say.
const STRICT_TRANSPORT_SECURITY: &str = "max-age=31536000";
/// The page loads its own files only and talks to its own server only (`'self'` covers `ws:` and `wss:` of the same
/// host and port); nobody may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

fn extra(out: &mut Vec<u8>, extra: Extra) {
    match extra {
        Extra::None => {}
        Extra::Allow(methods) => field(out, "Allow", methods),
        Extra::Upgrade => {
            field(out, "Upgrade", "websocket");
            field(out, "Sec-WebSocket-Version", "13");
        }
        Extra::RetryAfter(seconds) => number(out, "Retry-After", seconds),
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: impl std::fmt::Display) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{name}: {value}\r\n");
}

/// Whether an `If-None-Match` names this tag, by weak comparison (RFC 9110, 8.8.3.2 and 13.1.2).
///
/// Our tags have no comma, so a piece of somebody else's tag never equals one.
fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|held| held == "*" || held.strip_prefix("W/").unwrap_or(held) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATED: &str = "Server: roomcast\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        // What stands in the buffer already stays there.
        let mut out = b"before".to_vec();
        write(&mut out);
        String::from_utf8(out)
            .unwrap()
            .strip_prefix("before")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn answers_are_written_whole() {
        let open = Reply {
            unix_ms: 0,
            keep_alive: true,
            with_body: true,
            is_strict: false,
        };
        let head = Reply {
            with_body: false,
            ..open
        };
        let plain =
            "X-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\n";
        for (answer, expected) in [
            (
                written(|out| open.text(out, TEXT_PLAIN, b"ok\n")),
                format!(
                    "200 OK\r\n{DATED}Cache-Control: no-store\r\n{plain}Content-Length: 3\r\n\r\nok\n"
                ),
            ),
            (
                written(|out| head.text(out, TEXT_PLAIN, b"ok\n")),
                format!(
                    "200 OK\r\n{DATED}Cache-Control: no-store\r\n{plain}Content-Length: 3\r\n\r\n"
                ),
            ),
            (
                written(|out| open.refusal(out, Refusal::NOT_FOUND)),
                format!(
                    "404 Not Found\r\n{DATED}Connection: close\r\n{plain}\
                     Content-Length: 12\r\n\r\nno such path"
                ),
            ),
            (
                written(|out| head.refusal(out, Refusal::METHOD)),
                format!(
                    "405 Method Not Allowed\r\n{DATED}Connection: close\r\nAllow: GET, HEAD\r\n\
                     {plain}Content-Length: 31\r\n\r\n"
                ),
            ),
            (
                written(|out| Reply::closing(0).refusal(out, Refusal::unavailable("full", 7))),
                format!(
                    "503 Service Unavailable\r\n{DATED}Connection: close\r\nRetry-After: 7\r\n\
                     {plain}Content-Length: 4\r\n\r\nfull"
                ),
            ),
            (
                written(|out| open.refusal(out, Refusal::WEBSOCKET_VERSION)),
                format!(
                    "426 Upgrade Required\r\n{DATED}Connection: close, Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     {plain}Content-Length: 35\r\n\r\nonly WebSocket version 13 is spoken"
                ),
            ),
            (
                written(|out| open.no_content(out)),
                format!("204 No Content\r\n{DATED}Allow: GET, HEAD, OPTIONS\r\n\r\n"),
            ),
        ] {
            assert_eq!(answer, format!("HTTP/1.1 {expected}"));
        }
    }

    #[test]
    fn an_upgrade_names_only_what_was_chosen() {
        let upgraded = |subprotocol, extensions| {
            let accept = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
            written(|out| upgrade(out, accept, subprotocol, extensions))
        };
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let subprotocol = "Sec-WebSocket-Protocol: roomcast.v1\r\n";
        let extensions = "Sec-WebSocket-Extensions: a; b=1\r\n";
        for (answer, added) in [
            (upgraded(None, None), String::new()),
            (upgraded(Some("roomcast.v1"), None), subprotocol.to_owned()),
            (upgraded(None, Some("a; b=1")), extensions.to_owned()),
            (
                upgraded(Some("roomcast.v1"), Some("a; b=1")),
                subprotocol.to_owned() + extensions,
            ),
        ] {
            assert_eq!(answer, format!("{head}{added}\r\n"));
        }
    }

    #[test]
    fn held_tags_match_weakly() {
        for (held, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", W/\"c\" ,\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("\"a", false),
            ("w/\"a\"", false),
            ("", false),
        ] {
            assert_eq!(matches(held, "\"a\""), expected, "{held}");
        }
    }
}
