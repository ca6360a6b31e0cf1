//! Every reason for which a request is not served, each with its status and a text for whoever debugs a client.

use super::response::Status;

/// Why a request is not served. Its answer closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status of the answer.
    pub status: Status,
    /// One short sentence, the body of the answer. Never holds anything that the peer sent.
    pub text: &'static str,
    /// A field that the status calls for.
    pub extra: Extra,
}

/// A field that goes with some statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// None.
    None,
    /// `Allow` with these methods (RFC 9110, 15.5.6).
    Allow(&'static str),
    /// `Upgrade: websocket` and `Sec-WebSocket-Version: 13` (RFC 9110, 15.5.22; RFC 6455, 4.4).
    Upgrade,
    /// `Retry-After` in seconds (RFC 9110, 10.2.3).
    RetryAfter(u32),
}

impl Refusal {
    /// A line ends in LF alone (RFC 9112, 2.2).
    pub const BARE_LF: Refusal = bad("a line ends in LF without CR");
    /// CR that is not followed by LF (RFC 9112, 2.2).
    pub const BARE_CR: Refusal = bad("a CR without LF");
    /// NUL or another control character in a field (RFC 9110, 5.5).
    pub const CONTROL: Refusal = bad("a control character in the head");
    /// The first line is not a request line (RFC 9112, 3).
    pub const REQUEST_LINE: Refusal = bad("not an HTTP request line");
    /// A request in the clear where TLS is spoken.
    pub const WITHOUT_TLS: Refusal = bad("this port speaks TLS: ask for https://");
    /// A TLS ClientHello where TLS is not spoken (RFC 8446, 5.1).
    pub const TLS: Refusal = bad("this port does not speak TLS: ask for http://");
    /// Bad field name, no colon, white space before the colon, folded line (RFC 9112, 5).
    pub const FIELD: Refusal = bad("a malformed header field");
    /// No `Host`, two of them, or one that is not a host (RFC 9112, 3.2).
    pub const HOST: Refusal = bad("not exactly one valid Host");
    /// The target has none of the forms that its method allows (RFC 9112, 3.2).
    pub const TARGET: Refusal = bad("a malformed request target");
    /// The target's authority is not what `Host` says (RFC 9112, 3.2.2).
    pub const AUTHORITY: Refusal = bad("target and Host disagree");
    /// A bad percent escape, or one that makes a control character or invalid UTF-8 (RFC 3986, 2.1).
    pub const ESCAPE: Refusal = bad("a bad percent escape in the path");
    /// `Content-Length` is repeated or not a number (RFC 9112, 6.3).
    pub const CONTENT_LENGTH: Refusal = bad("an invalid Content-Length");
    /// Two ways to tell the body's length (RFC 9112, 6.1).
    pub const BOTH_LENGTHS: Refusal = bad("both Content-Length and Transfer-Encoding");
    /// `Transfer-Encoding` does not end in one `chunked`, or came in HTTP/1.0 (RFC 9112, 6.1 and 6.3).
    pub const TRANSFER_ENCODING: Refusal = bad("an invalid Transfer-Encoding");
    /// An upgrade with a body, over which a proxy in front and this server could disagree.
    pub const UPGRADE_WITH_BODY: Refusal = bad("an upgrade cannot have a body");
    /// Not exactly one key of 16 bytes in base64 (RFC 6455, 4.2.1 and 11.3.1).
    pub const KEY: Refusal = bad("not exactly one valid Sec-WebSocket-Key");
    /// Two `Sec-WebSocket-Version` (RFC 6455, 11.3.5).
    pub const VERSION_TWICE: Refusal = bad("more than one Sec-WebSocket-Version");
    /// `Sec-WebSocket-Protocol` is no list of tokens (RFC 6455, 11.3.4).
    pub const PROTOCOLS: Refusal = bad("a malformed Sec-WebSocket-Protocol");
    /// `Sec-WebSocket-Extensions` against its grammar (RFC 6455, 9.1).
    pub const EXTENSIONS: Refusal = bad("a malformed Sec-WebSocket-Extensions");
    /// Two `Origin`, or one that is not text (RFC 6454, 7.3).
    pub const ORIGIN: Refusal = bad("not at most one valid Origin");
    /// Two `Authorization`, or one that is not text (RFC 9110, 11.6.2).
    pub const AUTHORIZATION: Refusal = bad("not at most one valid Authorization");
    /// A parameter of `/ws` is there twice.
    pub const QUERY_REPEATED: Refusal = bad("a query parameter is there twice");
    /// A parameter of `/ws` is too long.
    pub const QUERY_TOO_LONG: Refusal = bad("`user`, `room` or `session` is too long");
    /// `inbox_since` cannot be read.
    pub const QUERY_SEQ_ID: Refusal = bad("`inbox_since` is not a sequence number");
    /// The query cannot be decoded.
    pub const QUERY_UTF8: Refusal = bad("the query is not UTF-8");
    /// `limit` of an overview cannot be read.
    pub const QUERY_LIMIT: Refusal = bad("`limit` is not one number");
    /// The upgrade comes from a page of another site.
    pub const FOREIGN_ORIGIN: Refusal = new(Status::Forbidden, "this Origin is not allowed");
    /// A name of somebody else's, where only this machine is served (RFC 9110, 15.5.20).
    pub const FOREIGN_HOST: Refusal = new(
        Status::Misdirected,
        "this port answers to its address or localhost alone: ask for http://127.0.0.1 with its port",
    );
    /// No such path.
    pub const NOT_FOUND: Refusal = new(Status::NotFound, "no such path");
    /// Neither `GET` nor `HEAD`.
    pub const METHOD: Refusal = method("GET, HEAD");
    /// Not `GET`, where only an upgrade is served (RFC 6455, 4.1).
    pub const METHOD_OF_UPGRADE: Refusal = method("GET");
    /// The head took too long.
    pub const TIMEOUT: Refusal = new(Status::RequestTimeout, "the request took too long");
    /// A body in chunks, whose length cannot be told beforehand (RFC 9112, 6.3).
    pub const CHUNKED: Refusal = new(Status::LengthRequired, "a body needs a Content-Length");
    /// A body over [`BODY_BYTES_MAX`](crate::limits::BODY_BYTES_MAX).
    pub const BODY: Refusal = new(Status::ContentTooLarge, "the body is too large");
    /// A request line over [`REQUEST_LINE_BYTES_MAX`](crate::limits::REQUEST_LINE_BYTES_MAX).
    pub const LINE: Refusal = new(Status::UriTooLong, "the request line is too long");
    /// No upgrade to WebSocket on a path that serves nothing else.
    pub const UPGRADE: Refusal = upgrade("this path speaks WebSocket");
    /// A version of WebSocket other than 13 (RFC 6455, 4.4).
    pub const WEBSOCKET_VERSION: Refusal = upgrade("only WebSocket version 13 is spoken");
    /// A head over [`HEAD_BYTES_MAX`](crate::limits::HEAD_BYTES_MAX).
    pub const HEAD: Refusal = new(Status::FieldsTooLarge, "the request head is too large");
    /// More fields than [`HEADER_COUNT_MAX`](crate::limits::HEADER_COUNT_MAX).
    pub const FIELD_COUNT: Refusal = new(Status::FieldsTooLarge, "too many header fields");
    /// A transfer coding other than `chunked` (RFC 9112, 6.1).
    pub const CODING: Refusal = new(Status::NotImplemented, "an unknown transfer coding");
    /// A major version of HTTP other than 1 (RFC 9110, 15.6.6).
    pub const VERSION: Refusal = new(Status::VersionNotSupported, "only HTTP/1.1 is spoken");

    /// Its address has too much; `retry_after_s` says when to ask again (RFC 6585, 4).
    pub const fn too_many(text: &'static str, retry_after_s: u32) -> Refusal {
        let extra = Extra::RetryAfter(retry_after_s);
        Refusal {
            status: Status::TooManyRequests,
            text,
            extra,
        }
    }

    /// There is no room for this connection now, or no readiness; `retry_after_s` says when to ask again.
    pub const fn unavailable(text: &'static str, retry_after_s: u32) -> Refusal {
        let extra = Extra::RetryAfter(retry_after_s);
        Refusal {
            status: Status::ServiceUnavailable,
            text,
            extra,
        }
    }
}

const fn new(status: Status, text: &'static str) -> Refusal {
    Refusal {
        status,
        text,
        extra: Extra::None,
    }
}

const fn bad(text: &'static str) -> Refusal {
    new(Status::BadRequest, text)
}

const fn method(allow: &'static str) -> Refusal {
    let text = "this method is not allowed here";
    Refusal {
        status: Status::MethodNotAllowed,
        text,
        extra: Extra::Allow(allow),
    }
}

const fn upgrade(text: &'static str) -> Refusal {
    Refusal {
        status: Status::UpgradeRequired,
        text,
        extra: Extra::Upgrade,
    }
}
