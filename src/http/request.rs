//! From the bytes of a request head to a checked, borrowed [`Request`].

use std::borrow::Cow;
use std::fmt;

use super::field::{EMPTY, Fields};
use super::forwarded::Forwarded;
use super::list::is_token;
use super::refusal::Refusal;
use super::scan::{Head, Scan};
use super::target::{Target, is_host};
use super::upgrade::Upgrade;
use crate::limits::BODY_BYTES_MAX;
use crate::secret::Secret;

/// What the bytes of a connection amount to so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// More bytes are needed.
    Partial,
    /// A request.
    Request {
        /// The request.
        request: Request<'a>,
        /// Its length in bytes without the body, which is the next `request.body_bytes`.
        head_bytes: usize,
    },
    /// Something that is to be answered with this and closed.
    Refused(Refusal),
}

/// One request, checked in all that this server relies on.
#[derive(Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The decoded path: UTF-8 without control characters that starts with `/`; or `*` for `OPTIONS *`. Dot segments
    /// and decoded slashes stay in it, so it may be compared but must not be resolved.
    pub path: Cow<'a, str>,
    /// What follows `?` in the target, as it came; empty without one.
    pub query: &'a str,
    /// The version.
    pub version: Version,
    /// Host and port as the client names them; empty only in HTTP/1.0.
    pub host: &'a str,
    /// The site of the page that makes the request (RFC 6454, 7).
    pub origin: Option<&'a str>,
    /// Whether the connection may serve another request after this one.
    pub keep_alive: bool,
    /// Bytes after the head that belong to this request, at most [`BODY_BYTES_MAX`].
    pub body_bytes: u64,
    /// Entity tags that the client holds (RFC 9110, 13.1.2).
    pub if_none_match: Option<&'a str>,
    /// Whether `Accept-Encoding` allows gzip.
    pub accepts_gzip: bool,
    /// What proxies in front say of the client. Only theirs is to be believed.
    pub forwarded: Forwarded<'a>,
    /// `Authorization`.
    pub authorization: Option<Secret<&'a str>>,
    /// The WebSocket handshake, if it is one.
    pub upgrade: Upgrade<'a>,
}

/// The methods that make a difference here. Methods are case-sensitive (RFC 9110, 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// `CONNECT`
    Connect,
    /// Any other token.
    Other,
}

/// The version of HTTP that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1, and higher minor versions (RFC 9110, 2.5).
    Http11,
}

/// Parses the request at the start of `bytes`. `scan` is where the last call on the same request stopped, and
/// `Scan::default()` for a new one; in between `bytes` only grows.
pub fn parse<'a>(bytes: &'a [u8], scan: &mut Scan) -> Parsed<'a> {
    match scan.find(bytes) {
        Ok(None) => Parsed::Partial,
        Ok(Some(head)) => match Request::parse(&head) {
            Ok(request) => Parsed::Request {
                request,
                head_bytes: head.bytes,
            },
            Err(refusal) => Parsed::Refused(refusal),
        },
        Err(refusal) => Parsed::Refused(refusal),
    }
}

impl<'a> Request<'a> {
    fn parse(head: &Head<'a>) -> Result<Request<'a>, Refusal> {
        let RequestLine {
            method,
            target,
            version,
        } = RequestLine::parse(head.request_line)?;
        let mut storage = EMPTY;
        let fields = Fields::parse(head.fields, &mut storage)?;
        let body_bytes = body_bytes(version, fields)?;
        let host = host(version, fields)?;
        let Target {
            authority,
            path,
            query,
        } = Target::parse(method, target)?;
        Ok(Request {
            method,
            path,
            query,
            version,
            host: agree(host, authority)?,
            origin: fields.single("origin", Refusal::ORIGIN)?,
            keep_alive: keep_alive(version, fields, body_bytes),
            body_bytes,
            // Whoever sends it twice is served as if it were not there.
            if_none_match: fields
                .single("if-none-match", Refusal::FIELD)
                .unwrap_or(None),
            accepts_gzip: accepts_gzip(fields),
            forwarded: fields.forwarded(),
            authorization: fields
                .single("authorization", Refusal::AUTHORIZATION)?
                .map(Secret::new),
            upgrade: Upgrade::parse(version, fields),
        })
    }
}

impl Request<'_> {
    /// The bearer token that it carries (RFC 6750, 2.1).
    pub fn bearer(&self) -> Option<Secret<&str>> {
        let (scheme, token) = self.authorization.as_ref()?.reveal().split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        is_bearer.then(|| Secret::new(token.trim_ascii()))
    }
}

/// The query is left out: it may have a session secret in it.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("upgrade", &self.upgrade)
            .finish_non_exhaustive()
    }
}

/// A request line (RFC 9112, 3): three words with one space between each.
pub(super) struct RequestLine<'a> {
    method: Method,
    target: &'a str,
    version: Version,
}

impl<'a> RequestLine<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Result<RequestLine<'a>, Refusal> {
        let mut words = line.split(|byte| *byte == b' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some(version), None) => Ok(RequestLine {
                version: Version::parse(version)?,
                method: Method::parse(method)?,
                target: visible(target)?,
            }),
            _ => Err(Refusal::REQUEST_LINE),
        }
    }
}

impl Version {
    fn parse(version: &[u8]) -> Result<Version, Refusal> {
        match version.strip_prefix(b"HTTP/") {
            Some(b"1.0") => Ok(Version::Http10),
            Some([b'1', b'.', b'0'..=b'9']) => Ok(Version::Http11),
            Some([b'0'..=b'9', b'.', b'0'..=b'9']) => Err(Refusal::VERSION),
            _ => Err(Refusal::REQUEST_LINE),
        }
    }
}

impl Method {
    fn parse(method: &[u8]) -> Result<Method, Refusal> {
        match method {
            b"GET" => Ok(Method::Get),
            b"HEAD" => Ok(Method::Head),
            b"OPTIONS" => Ok(Method::Options),
            b"CONNECT" => Ok(Method::Connect),
            _ if is_token(method) => Ok(Method::Other),
            _ => Err(Refusal::REQUEST_LINE),
        }
    }
}

fn visible(target: &[u8]) -> Result<&str, Refusal> {
    match str::from_utf8(target) {
        Ok(text) if !text.is_empty() && target.iter().all(u8::is_ascii_graphic) => Ok(text),
        _ => Err(Refusal::REQUEST_LINE),
    }
}

/// The length of the body (RFC 9112, 6.3). Whatever two parsers could read differently is refused.
fn body_bytes(version: Version, fields: Fields<'_, '_>) -> Result<u64, Refusal> {
    let length = fields.has("content-length");
    if fields.has("transfer-encoding") {
        return Err(match (length, fields.has("upgrade")) {
            (true, _) => Refusal::BOTH_LENGTHS,
            (false, true) => Refusal::UPGRADE_WITH_BODY,
            (false, false) => transfer_encoding(version, fields),
        });
    }
    let value = fields.single("content-length", Refusal::CONTENT_LENGTH)?;
    let body_bytes = value.map_or(Ok(0), content_length)?;
    if body_bytes > 0 && fields.has("upgrade") {
        return Err(Refusal::UPGRADE_WITH_BODY);
    }
    if body_bytes > BODY_BYTES_MAX {
        return Err(Refusal::BODY);
    }
    Ok(body_bytes)
}

fn content_length(value: &str) -> Result<u64, Refusal> {
    // `parse` alone would take a sign.
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::CONTENT_LENGTH);
    }
    value.parse().map_err(|_| Refusal::CONTENT_LENGTH)
}

/// Why a request with `Transfer-Encoding` is refused: none is served, some are malformed as well.
fn transfer_encoding(version: Version, fields: Fields<'_, '_>) -> Refusal {
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = || fields.elements("transfer-encoding");
    let well_formed = version == Version::Http11
        && codings().last().is_some_and(chunked)
        && codings().filter(|coding| chunked(coding)).count() == 1;
    match (well_formed, codings().count()) {
        (false, _) => Refusal::TRANSFER_ENCODING,
        (true, 1) => Refusal::CHUNKED,
        (true, _) => Refusal::CODING,
    }
}

/// `Host`, which HTTP/1.0 may leave out (RFC 9112, 3.2).
fn host<'a>(version: Version, fields: Fields<'_, 'a>) -> Result<Option<&'a str>, Refusal> {
    match (fields.single("host", Refusal::HOST)?, version) {
        (Some(host), _) if is_host(host) => Ok(Some(host)),
        (Some(_), _) | (None, Version::Http11) => Err(Refusal::HOST),
        (None, Version::Http10) => Ok(None),
    }
}

/// The one host that `Host` and an absolute target name.
fn agree<'a>(host: Option<&'a str>, authority: Option<&'a str>) -> Result<&'a str, Refusal> {
    match (host, authority) {
        (Some(host), None) => Ok(host),
        (None, None) => Ok(""),
        (None, Some(authority)) if is_host(authority) => Ok(authority),
        (Some(host), Some(authority)) if host.eq_ignore_ascii_case(authority) => Ok(host),
        (_, Some(_)) => Err(Refusal::AUTHORITY),
    }
}

/// HTTP/1.0 connections serve one request. So do those whose client may or may not send the body that it asks about
/// by `Expect` (RFC 9110, 10.1.1): the answer does not wait for it.
fn keep_alive(version: Version, fields: Fields<'_, '_>, body_bytes: u64) -> bool {
    let body_is_uncertain = body_bytes > 0 && fields.has("expect");
    version == Version::Http11 && !fields.lists("connection", "close") && !body_is_uncertain
}

/// Whether gzip has a quality above 0, by its name or else by `*` (RFC 9110, 12.5.3).
fn accepts_gzip(fields: Fields<'_, '_>) -> bool {
    let (mut gzip, mut any) = (None, None);
    for element in fields.elements("accept-encoding") {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let accepted = !parts.any(is_quality_zero);
        if name.eq_ignore_ascii_case(b"gzip") {
            gzip = Some(accepted);
        } else if name == b"*" {
            any = Some(accepted);
        }
    }
    gzip.or(any).unwrap_or(false)
}

fn is_quality_zero(parameter: &[u8]) -> bool {
    let value = parameter
        .strip_prefix(b"q=")
        .or_else(|| parameter.strip_prefix(b"Q="));
    value.is_some_and(|value| value.iter().all(|byte| b"0.".contains(byte)))
}
