//! Which web pages may connect (RFC 6455, 10.2; RFC 6454).
//!
//! A browser lets any page open a WebSocket to any server and sends its cookies along, so it is the server that has to
//! tell its own pages from others. What is not a browser sends no `Origin`, or whatever it likes: this protects users
//! of browsers, not the server.

use std::num::NonZeroU16;

/// An allow-list entry that lets every page in.
pub const ANY: &str = "*";

/// Scheme, host and port of a page. Two are equal where a browser would say so: without regard to case, and with
/// default ports filled in.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    /// `None` where the scheme has no default.
    port: Option<NonZeroU16>,
}

/// Whether a request with this `Origin` and `Host` is let in: it has no origin, or its own, or an allowed one.
///
/// `is_secure` says whether the request is known to have come by TLS. `allowed` holds origins in their written form, or
/// [`ANY`]. The opaque origin `null` is let in by [`ANY`] alone,
/// because every sandboxed frame of every site has it.
pub fn is_allowed<S: AsRef<str>>(
    origin: Option<&str>,
    host: &str,
    is_secure: bool,
    allowed: &[S],
) -> bool {
    let Some(origin) = origin else { return true };
    if allowed.iter().any(|entry| entry.as_ref() == ANY) {
        return true;
    }
    let Some(parsed) = Origin::parse(origin) else {
        return false;
    };
    same_origin(origin, host, is_secure)
        || allowed
            .iter()
            .any(|entry| Origin::parse(entry.as_ref()) == Some(parsed))
}

/// Whether the page came from the host and port that the request names.
///
/// A `Host` without a port has the default one of the page's scheme: behind a proxy that ends TLS, the request alone
/// doesn't tell which scheme the browser used. Where it is known to be TLS, a page that came without it is another
/// one, which whoever sits between could have written. The opposite is not concluded: of several proxies, an inner one
/// may not know that an outer one ended TLS.
pub fn same_origin(origin: &str, host: &str, is_secure: bool) -> bool {
    let Some(origin) = Origin::parse(origin) else {
        return false;
    };
    let Some((host, port)) = parse_authority(host) else {
        return false;
    };
    let is_own_scheme = if is_secure {
        origin.scheme.eq_ignore_ascii_case("https")
    } else {
        is_web(origin.scheme)
    };
    is_own_scheme
        && origin.host.eq_ignore_ascii_case(host)
        && origin.port == port.or(default_port(origin.scheme))
}

impl<'a> Origin<'a> {
    /// Reads `scheme://host` or `scheme://host:port`; `None` for all else, such as a path, a list, or `null`.
    pub fn parse(text: &'a str) -> Option<Origin<'a>> {
        let (scheme, authority) = text.split_once("://")?;
        if !is_scheme(scheme) {
            return None;
        }
        let (host, port) = parse_authority(authority)?;
        Some(Origin {
            scheme,
            host,
            port: port.or(default_port(scheme)),
        })
    }
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }
}

impl Eq for Origin<'_> {}

/// Splits `host` or `host:port`. An IPv6 host keeps its brackets.
fn parse_authority(text: &str) -> Option<(&str, Option<NonZeroU16>)> {
    // The last colon starts a port, unless it belongs to an IPv6 address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
        Some(_) | None => (text, None),
    };
    is_host(host).then_some((host, port))
}

fn parse_port(text: &str) -> Option<NonZeroU16> {
    let digits = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(None) => false,
        Some(Some(address)) => {
            address.contains(':')
                && address
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.')
        }
        None => {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn is_web(scheme: &str) -> bool {
    default_port(scheme).is_some()
}

fn default_port(scheme: &str) -> Option<NonZeroU16> {
    if scheme.eq_ignore_ascii_case("http") {
        NonZeroU16::new(80)
    } else if scheme.eq_ignore_ascii_case("https") {
        NonZeroU16::new(443)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_origin_table() {
        let cases = [
            // origin, host, same
            ("http://example.com", "example.com", true),
            ("https://example.com", "example.com", true),
            ("http://example.com", "example.com:80", true),
            ("http://example.com:80", "example.com", true),
            ("https://example.com", "example.com:443", true),
            ("https://example.com:443", "example.com", true),
            ("http://example.com:8080", "example.com:8080", true),
            ("HTTP://EXAMPLE.com", "Example.COM", true),
            ("http://localhost:8080", "localhost:8080", true),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://[::1]", "[::1]", true),
            ("http://[::1]", "[::1]:80", true),
            ("http://[FE80::A]", "[fe80::a]", true),
            ("http://[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.1]:1", true),
            ("http://a_b-c.example", "a_b-c.example", true),
            // other ports
            ("http://example.com", "example.com:8080", false),
            ("http://example.com:8080", "example.com", false),
            ("http://example.com:443", "example.com", false),
            ("https://example.com", "example.com:80", false),
            ("http://example.com", "example.com:443", false),
            ("http://127.0.0.1:8080", "localhost:8080", false),
            ("http://[::1]:8080", "[::1]:8081", false),
            ("http://[::1]", "[::2]", false),
            // suffixes, prefixes and disguises
            ("http://example.com.evil.example", "example.com", false),
            ("http://evilexample.com", "example.com", false),
            ("http://evil.example.com", "example.com", false),
            ("http://example.co", "example.com", false),
            ("http://example.com.", "example.com", false),
            ("http://example.com@evil.example", "example.com", false),
            ("http://evil.example/example.com", "example.com", false),
            ("http://evil.example#example.com", "example.com", false),
            ("http://evil.example?example.com", "example.com", false),
            ("http://evil.example\\example.com", "example.com", false),
            ("http://example.com/", "example.com", false),
            (
                "http://example.com http://evil.example",
                "example.com",
                false,
            ),
            (
                "http://example.com, http://evil.example",
                "example.com",
                false,
            ),
            // not a page of a web server
            ("null", "null", false),
            ("null", "example.com", false),
            ("file://", "example.com", false),
            ("ftp://example.com", "example.com", false),
            ("chrome-extension://example.com", "example.com", false),
            // garbage on either side
            ("", "", false),
            ("", "example.com", false),
            ("example.com", "example.com", false),
            ("://example.com", "example.com", false),
            ("http:example.com", "example.com", false),
            ("http:///example.com", "example.com", false),
            ("http://", "", false),
            ("http://:80", ":80", false),
            ("http://example.com:", "example.com:", false),
            ("http://example.com:+80", "example.com", false),
            ("http://example.com:0", "example.com:0", false),
            ("http://example.com:65536", "example.com:65536", false),
            ("http://example.com:000080", "example.com", false),
            ("http://example.com:8o", "example.com", false),
            ("http://[::1", "[::1", false),
            ("http://::1", "::1", false),
            ("http://[::1]x", "[::1]x", false),
            ("http://[]", "[]", false),
            ("http://[example.com]", "[example.com]", false),
            ("http://a:80:80", "a:80:80", false),
            ("http://exam ple.com", "exam ple.com", false),
            ("http://exämple.com", "exämple.com", false),
            ("1http://example.com", "example.com", false),
            ("http://example.com", "example.com/", false),
            ("http://example.com", "user@example.com", false),
            ("http://example.com", "", false),
        ];
        for (origin, host, expected) in cases {
            let is_same = same_origin(origin, host, false);
            assert_eq!(is_same, expected, "{origin} at {host}");
            let none: [&str; 0] = [];
            assert_eq!(
                is_allowed(Some(origin), host, false, &none),
                expected,
                "{origin} at {host}"
            );
            let is_https = origin.to_ascii_lowercase().starts_with("https:");
            assert_eq!(
                same_origin(origin, host, true),
                expected && is_https,
                "{origin} at {host} by TLS"
            );
        }
    }

    #[test]
    fn only_the_written_form_of_an_origin_is_read() {
        let good = [
            "http://a",
            "https://a.b:1",
            "tauri://localhost",
            "moz-extension://0a-1b",
            "x+y.z://[::1]:65535",
        ];
        let bad = [
            "",
            "*",
            "null",
            "a",
            "a:1",
            "://a",
            "1http://a",
            "+a://a",
            "ht tp://a",
            "http//a",
            "http:a",
            "x://",
            "x://a/",
        ];
        for text in good {
            assert!(Origin::parse(text).is_some(), "{text}");
        }
        for text in bad {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn allow_list_table() {
        let allowed = [
            "https://app.example",
            "http://dev.example:3000",
            "tauri://localhost",
            "null",
            "https://*.wild.example",
        ];
        let cases = [
            (Some("https://app.example"), true),
            (Some("https://app.example:443"), true),
            (Some("HTTPS://App.Example"), true),
            (Some("http://dev.example:3000"), true),
            (Some("tauri://localhost"), true),
            (Some("https://chat.example"), true),
            (None, true),
            (Some("http://app.example"), false),
            (Some("http://app.example:443"), false),
            (Some("https://app.example:444"), false),
            (Some("http://dev.example"), false),
            (Some("https://app.example.evil.example"), false),
            (Some("https://sub.app.example"), false),
            (Some("https://a.wild.example"), false),
            (Some("https://*.wild.example"), false),
            (Some("tauri://localhost:443"), false),
            (Some("null"), false),
            (Some("*"), false),
            (Some(""), false),
        ];
        for (origin, expected) in cases {
            assert_eq!(
                is_allowed(origin, "chat.example", false, &allowed),
                expected,
                "{origin:?}"
            );
        }
    }

    #[test]
    fn the_star_lets_all_in() {
        for origin in [
            Some("https://evil.example"),
            Some("null"),
            Some("garbage"),
            Some(""),
            None,
        ] {
            assert!(
                is_allowed(origin, "chat.example", true, &["https://app.example", ANY]),
                "{origin:?}"
            );
        }
    }
}
