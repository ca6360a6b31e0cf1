//! The request target and the host that it belongs to (RFC 9112, 3.2; RFC 3986).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;

use super::refusal::Refusal;
use super::request::Method;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The authority of an absolute target; the others leave it to `Host`.
    pub(super) authority: Option<&'a str>,
    /// Decoded. It starts with `/`, except `*` for `OPTIONS *`.
    pub(super) path: Cow<'a, str>,
    /// What follows the first `?`, as it came.
    pub(super) query: &'a str,
}

impl<'a> Target<'a> {
    /// Reads the form that the method allows. `CONNECT` has a form of its own, for which there is no service.
    pub(super) fn parse(method: Method, target: &'a str) -> Result<Target<'a>, Refusal> {
        if method == Method::Connect {
            return Err(Refusal::METHOD);
        }
        if method == Method::Options && target == "*" {
            return Ok(Target {
                authority: None,
                path: Cow::Borrowed("*"),
                query: "",
            });
        }
        if target.contains('#') {
            return Err(Refusal::TARGET);
        }
        let (authority, rest) = split_authority(target)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Ok(Target {
            authority,
            path: decode(path)?,
            query,
        })
    }
}

/// Origin form has no authority; absolute form is `http://authority/path`, where the path may be missing.
fn split_authority(target: &str) -> Result<(Option<&str>, &str), Refusal> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::TARGET)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Refusal::TARGET);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(Refusal::TARGET)?;
    Ok((Some(authority), rest))
}

/// Decodes a path once. Dot segments and slashes are left as they are: paths are compared, never resolved.
fn decode(path: &str) -> Result<Cow<'_, str>, Refusal> {
    if path.is_empty() {
        return Ok(Cow::Borrowed("/"));
    }
    if path
        .split('%')
        .skip(1)
        .any(|after| !starts_with_hex_pair(after))
    {
        return Err(Refusal::ESCAPE);
    }
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| Refusal::ESCAPE)?;
    if path.contains(char::is_control) {
        return Err(Refusal::ESCAPE);
    }
    Ok(path)
}

fn starts_with_hex_pair(text: &str) -> bool {
    text.as_bytes()
        .first_chunk::<2>()
        .is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
}

/// Whether this is a host with an optional port: a name, an IPv4 address or a bracketed IPv6 address.
///
/// Of the characters that RFC 3986 allows in a registered name, those that no DNS name has are refused: a comma means
/// two hosts merged by a proxy more often than it means a name.
pub(super) fn is_host(host: &str) -> bool {
    let (name_is_valid, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let (name, port) = host
                .split_at_checked(host.find(':').unwrap_or(host.len()))
                .unwrap_or_default();
            (is_name(name), port)
        }
    };
    name_is_valid && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_allowed)
}

/// Digits up to 65535, or nothing (RFC 3986, 3.2.3).
fn is_port(port: &str) -> bool {
    port.is_empty() || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_by_their_form() {
        let ok = |authority, path: &'static str, query| {
            Ok(Target {
                authority,
                path: Cow::Borrowed(path),
                query,
            })
        };
        for (method, target, expected) in [
            (Method::Get, "/", ok(None, "/", "")),
            (Method::Get, "/a/b?c=%20&d?e", ok(None, "/a/b", "c=%20&d?e")),
            (Method::Get, "/%C3%A4%2f%5C%25", ok(None, "/\u{e4}/\\%", "")),
            (Method::Get, "/a/../b/./c", ok(None, "/a/../b/./c", "")),
            (Method::Get, "/%252e", ok(None, "/%2e", "")),
            (Method::Get, "//h/p", ok(None, "//h/p", "")),
            (Method::Get, "http://h:1/p?q", ok(Some("h:1"), "/p", "q")),
            (Method::Get, "HTTPS://h", ok(Some("h"), "/", "")),
            (Method::Get, "http://h?q/r", ok(Some("h"), "/", "q/r")),
            (Method::Options, "*", ok(None, "*", "")),
            (Method::Options, "/", ok(None, "/", "")),
            (Method::Get, "*", Err(Refusal::TARGET)),
            (Method::Get, "a", Err(Refusal::TARGET)),
            (Method::Get, "?a", Err(Refusal::TARGET)),
            (Method::Get, "h:80", Err(Refusal::TARGET)),
            (Method::Get, "ftp://h/", Err(Refusal::TARGET)),
            (Method::Get, "://h/", Err(Refusal::TARGET)),
            (Method::Get, "/a#b", Err(Refusal::TARGET)),
            (Method::Get, "/%", Err(Refusal::ESCAPE)),
            (Method::Get, "/%4", Err(Refusal::ESCAPE)),
            (Method::Get, "/%4g", Err(Refusal::ESCAPE)),
            (Method::Get, "/%%41", Err(Refusal::ESCAPE)),
            (Method::Get, "/%00", Err(Refusal::ESCAPE)),
            (Method::Get, "/%0d%0a", Err(Refusal::ESCAPE)),
            (Method::Get, "/%7f", Err(Refusal::ESCAPE)),
            (Method::Get, "/%c2%80", Err(Refusal::ESCAPE)),
            (Method::Get, "/%ff", Err(Refusal::ESCAPE)),
            (Method::Get, "/%c0%ae", Err(Refusal::ESCAPE)),
            (Method::Connect, "h:443", Err(Refusal::METHOD)),
        ] {
            assert_eq!(
                Target::parse(method, target),
                expected,
                "{method:?} {target}"
            );
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        let valid = "a a.b A-1_~ 127.0.0.1 127.0.0.1:8080 a: a:0 a:65535 [::1] [::1]:80 [1:2::3]:";
        for host in valid.split(' ') {
            assert!(is_host(host), "{host}");
        }
        let invalid = "|:80|a:b|a:65536|a:-1|a:+1|a:1:2|a b|a,b|a/b|a@b|a?b|a#b|a\\b|[::1|::1|[]|[a]|[::1]x\
                       |[::1%lo]|[::1]]|a%41|\u{e4}|<a>|\"a\"|a:080808";
        for host in invalid.split('|') {
            assert!(!is_host(host), "{host}");
        }
    }
}
