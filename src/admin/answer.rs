//! What the admin port answers.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::Source;
use crate::engine::overview::{ConnectionView, Found, Survey};
use crate::http::{Method, Refusal, Reply, Request, response};
use crate::hub::RoomView;
use crate::limits::{ADMIN_RETRY_AFTER_S, ADMIN_ROW_COUNT_DEFAULT, ADMIN_ROW_COUNT_MAX};
use crate::peer::Phase;

/// `Content-Type` of the overviews.
const JSON: &str = "application/json";
/// What there is.
const INDEX: &str = "/healthz\n/readyz\n/metrics\n/rooms?limit=100\n/connections?limit=100\n";

/// Answers a request.
pub fn write(source: &dyn Source, request: &Request<'_>, reply: Reply, out: &mut Vec<u8>) {
    match body(source, request) {
        Ok((content_type, body)) => reply.text(out, content_type, body.as_bytes()),
        Err(refusal) => reply.refusal(out, refusal),
    }
}

/// Whether a host that a request names is an address, `localhost`, or none, as HTTP/1.0 allows. Any other name is one that
/// somebody else may have let lead here.
pub fn is_own_host(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map(|(address, _)| address);
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

/// A body and its `Content-Type`.
type Body = (&'static str, Cow<'static, str>);

fn body(source: &dyn Source, request: &Request<'_>) -> Result<Body, Refusal> {
    match request.method {
        Method::Get | Method::Head => {}
        Method::Options | Method::Connect | Method::Other => return Err(Refusal::METHOD),
    }
    match &*request.path {
        "/" => Ok((response::TEXT_PLAIN, INDEX.into())),
        "/healthz" => Ok((response::TEXT_PLAIN, "ok\n".into())),
        "/readyz" => match source.readiness() {
            Ok(()) => Ok((response::TEXT_PLAIN, "ready\n".into())),
            Err(why) => Err(Refusal::unavailable(why, ADMIN_RETRY_AFTER_S)),
        },
        "/metrics" => {
            let mut text = String::new();
            source.metrics(&mut text);
            Ok((response::TEXT_METRICS, text.into()))
        }
        "/rooms" => overview(source, &Survey::of_rooms(limit(request.query)?)),
        "/connections" => overview(source, &Survey::of_connections(limit(request.query)?)),
        _ => Err(Refusal::NOT_FOUND),
    }
}

/// How many rows are wanted.
fn limit(query: &str) -> Result<usize, Refusal> {
    let mut limits = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "limit");
    match (limits.next(), limits.next()) {
        (None, _) => Ok(ADMIN_ROW_COUNT_DEFAULT),
        (Some((_, text)), None) if text.bytes().all(|byte| byte.is_ascii_digit()) => text
            .parse::<usize>()
            .map(|limit| limit.min(ADMIN_ROW_COUNT_MAX))
            .map_err(|_| Refusal::QUERY_LIMIT),
        (Some(_), _) => Err(Refusal::QUERY_LIMIT),
    }
}

#[derive(Serialize)]
struct Rooms<'a> {
    /// Rooms and relays in all.
    rooms: u64,
    /// The same by shard.
    by_shard: Vec<u64>,
    /// Those with the most connections.
    largest: Vec<Room<'a>>,
}

#[derive(Serialize)]
struct Room<'a> {
    room_id: &'a str,
    relay: bool,
    shard: u16,
    members: u32,
    connections: u32,
    seq_id: u64,
    bytes: usize,
}

#[derive(Serialize)]
struct Connections<'a> {
    /// Connections in all.
    connections: u64,
    /// The same by shard.
    by_shard: Vec<u64>,
    /// Those over which the most bytes went.
    busiest: Vec<Connection<'a>>,
}

#[derive(Serialize)]
struct Connection<'a> {
    address: Option<IpAddr>,
    user: Option<&'a str>,
    state: &'static str,
    shard: u16,
    rooms: u16,
    age_ms: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

fn overview(source: &dyn Source, survey: &Survey) -> Result<Body, Refusal> {
    let no_answer = Refusal::unavailable("a shard does not answer", ADMIN_RETRY_AFTER_S);
    let parts = source.survey(survey).ok_or(no_answer)?;
    let by_shard: Vec<u64> = parts.iter().map(Found::offered).collect();
    let count = by_shard.iter().sum();
    let found = parts.into_iter().reduce(Found::merge).ok_or(no_answer)?;
    let now_ms = source.now_ms().0;
    let json = match found {
        Found::Rooms(rooms) => serde_json::to_string(&Rooms {
            rooms: count,
            by_shard,
            largest: rooms.into_sorted().iter().map(room).collect(),
        }),
        Found::Connections(found) => {
            let views = found.into_sorted();
            let rows = views.iter();
            serde_json::to_string(&Connections {
                connections: count,
                by_shard,
                busiest: rows.map(|view| connection(view, now_ms)).collect(),
            })
        }
    };
    // Text and numbers always have a JSON form.
    let mut json = json.map_err(|_| no_answer)?;
    json.push('\n');
    Ok((JSON, json.into()))
}

fn room(view: &RoomView) -> Room<'_> {
    Room {
        room_id: &view.name,
        relay: view.is_relay,
        shard: view.shard,
        members: view.users,
        connections: view.connections,
        seq_id: view.seq,
        bytes: view.bytes,
    }
}

fn connection(view: &ConnectionView, now_ms: u64) -> Connection<'_> {
    Connection {
        address: view.address,
        user: view.user.as_deref(),
        state: state(view.phase),
        shard: view.shard,
        rooms: view.room_count,
        age_ms: now_ms.saturating_sub(view.traffic.since_ms),
        received_bytes: view.traffic.received_bytes,
        sent_bytes: view.traffic.sent_bytes,
    }
}

fn state(phase: Phase) -> &'static str {
    match phase {
        Phase::Http => "http",
        Phase::Hello | Phase::Claiming => "hello",
        Phase::Chat => "chat",
        Phase::Relay => "relay",
        Phase::Echo => "echo",
        Phase::Closing | Phase::Ending | Phase::Lingering => "closing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_own_hosts() {
        for host in [
            "",
            "127.0.0.1",
            "127.0.0.1:9090",
            "192.0.2.7:",
            "localhost",
            "LocalHost:9090",
            "[::1]",
            "[::1]:9090",
            "[::ffff:127.0.0.1]:9090",
        ] {
            assert!(is_own_host(host), "{host:?}");
        }
        for host in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9090",
            "localhost.",
            "127.1",
            "0x7f000001",
            "2130706433",
            "[evil]",
            "[",
        ] {
            assert!(!is_own_host(host), "{host:?}");
        }
    }

    #[test]
    fn a_limit_is_clamped_and_must_be_a_number() {
        for (query, expected) in [
            ("", Ok(ADMIN_ROW_COUNT_DEFAULT)),
            ("x=1", Ok(ADMIN_ROW_COUNT_DEFAULT)),
            ("limit=0", Ok(0)),
            ("limit=7&x=9", Ok(7)),
            ("limit=1000", Ok(ADMIN_ROW_COUNT_MAX)),
            ("limit=1001", Ok(ADMIN_ROW_COUNT_MAX)),
            ("limit=", Err(Refusal::QUERY_LIMIT)),
            ("limit=-1", Err(Refusal::QUERY_LIMIT)),
            ("limit=%2b1", Err(Refusal::QUERY_LIMIT)),
            ("limit=99999999999999999999999", Err(Refusal::QUERY_LIMIT)),
            ("limit=1&limit=1", Err(Refusal::QUERY_LIMIT)),
        ] {
            assert_eq!(limit(query), expected, "{query:?}");
        }
    }
}
