//! Defaults that follow from the machine or from other settings, ranges, and relations between settings.

use std::net::SocketAddr;

use super::auth;
use super::error::Error;
use super::layer::Layer;
use super::merge::Merged;
use super::{Account, Config, History, Machine, Pair, Tls, rooms};
use crate::limits::{
    CONNECTION_COUNT_MAX, DESCRIPTORS_PER_SHARD, DESCRIPTORS_RESERVED, Limits, MESSAGE_BYTES_MAX,
    RATE_MAX, SHARD_COUNT_MAX,
};
use crate::proxy::{Network, Networks};
use crate::rights::Pattern;
use crate::store::{Retention, Rule};

/// Shortest interval or time-out that makes sense. It also catches seconds given for milliseconds.
const MS_MIN: i64 = 100;
const HOUR_MS: i64 = 3_600_000;
const KIB: i64 = 1024;
const TIB: i64 = 1 << 40;

/// The defaults, given the settings that were made.
pub fn defaults(machine: Machine, given: &Merged) -> Layer {
    let limits = Limits::default();
    let core_count = u16::try_from(machine.core_count).unwrap_or(u16::MAX);
    let shards = core_count.clamp(1, SHARD_COUNT_MAX);
    let shards_given = number_given(given, "shards").unwrap_or(usize::from(shards));
    let connections = number_given(given, "max_connections").map_or_else(
        || connection_count(machine.descriptor_count_max, shards_given),
        |count| u32::try_from(count).unwrap_or(u32::MAX),
    );
    let message_bytes_max = number_given(given, "max_message").unwrap_or(limits.message_bytes_max);
    let tail_bytes_max = limits.tail_bytes_max.max(message_bytes_max);
    let tail_bytes_given = number_given(given, "tail_bytes_max").unwrap_or(tail_bytes_max);
    Layer {
        listen: Some("127.0.0.1:8080".to_owned()),
        admin: None,
        shards: Some(shards),
        pin: Some(false),
        trusted_proxy: Some(Vec::new()),
        tls_cert: None,
        tls_key: None,
        tls_self_signed: Some(false),
        tls_client_ca: None,
        user: None,
        log: Some("info".to_owned()),
        origin: Some(Vec::new()),
        raw: Some(false),
        echo: Some(false),
        deflate: Some(false),
        auth: Some("guest".to_owned()),
        jwt_key: Some(Vec::new()),
        jwt_jwks: None,
        jwt_audience: Some(Vec::new()),
        jwt_issuer: Some(Vec::new()),
        jwt_leeway_s: Some(auth::LEEWAY_S),
        memory: Some(false),
        data: Some("roomcast-data".to_owned()),
        retain_messages: Some(Vec::new()),
        retain_days: Some(Vec::new()),
        room_hold_ms: Some(limits.room_hold_ms),
        name_hold_days: Some(limits.name_hold_days),
        max_connections: Some(connection_count(machine.descriptor_count_max, shards_given)),
        connections_per_address_max: Some((connections / 2).max(1)),
        handshakes_per_address_per_s_max: Some(limits.handshakes_per_address_per_s_max),
        bounds_loopback: Some(limits.bounds_loopback),
        messages_per_connection_per_s_max: Some(limits.messages_per_connection_per_s_max),
        bytes_per_connection_per_s_max: Some(
            u32::try_from(message_bytes_max)
                .unwrap_or(u32::MAX)
                .max(limits.bytes_per_connection_per_s_max),
        ),
        joins_per_connection_per_s_max: Some(limits.joins_per_connection_per_s_max),
        max_message: Some(limits.message_bytes_max),
        room_count_max: Some(limits.room_count_max),
        rooms_per_address_max: Some(limits.rooms_per_address_max),
        rooms_per_connection_max: Some(limits.rooms_per_connection_max),
        presence_events_max: Some(limits.presence_events_max),
        name_count_max: Some(limits.name_count_max),
        names_per_address_max: Some(limits.names_per_address_max),
        log_bytes_max: Some(
            limits
                .log_bytes_max
                .max(tail_bytes_given.saturating_mul(shards_given)),
        ),
        tail_bytes_max: Some(tail_bytes_max),
        inbox_bytes_max: Some(limits.inbox_bytes_max.max(message_bytes_max)),
        memory_bytes_max: Some(limits.memory_bytes_max),
        stalled_bytes_max: Some(limits.stalled_bytes_max),
        heartbeat_ms: Some(limits.heartbeat_ms),
        handshake_ms: Some(limits.handshake_ms),
        http_idle_ms: Some(limits.http_idle_ms),
        close_ms: Some(limits.close_ms),
        drain_ms: Some(limits.drain_ms),
        presence_debounce_ms: Some(limits.presence_debounce_ms),
        presence_count_ms: Some(limits.presence_count_ms),
        room: None,
    }
}

/// A number that was given, before its check: wrong ones must not overflow here.
fn number_given(given: &Merged, key: &str) -> Option<usize> {
    usize::try_from(given.integer(key)?.min(TIB)).ok()
}

/// Connections that the descriptors allow, after what else needs some. At least half of them, if they are few.
pub fn connection_count(descriptor_count_max: u64, shards: usize) -> u32 {
    let shards = u64::try_from(shards).unwrap_or(u64::MAX);
    let reserved = DESCRIPTORS_PER_SHARD
        .saturating_mul(shards)
        .saturating_add(DESCRIPTORS_RESERVED);
    let count = descriptor_count_max
        .saturating_sub(reserved)
        .max(descriptor_count_max / 2)
        .max(1);
    u32::try_from(count)
        .unwrap_or(u32::MAX)
        .min(CONNECTION_COUNT_MAX)
}

/// Checks every setting.
pub fn check(merged: &Merged) -> Result<Config, Error> {
    let shards = merged.number("shards", 1..=i64::from(SHARD_COUNT_MAX))?;
    let limits = limits(merged)?;
    check_relations(merged, shards, &limits)?;
    Ok(Config {
        listen: address(merged, "listen", merged.text("listen").unwrap_or_default())?,
        admin: merged
            .text("admin")
            .map(|text| address(merged, "admin", text))
            .transpose()?,
        shards,
        pin: merged.switch("pin"),
        tls: tls(merged)?,
        history: history(merged),
        retention: Retention {
            messages: rules(merged, "retain_messages")?,
            days: rules(merged, "retain_days")?,
        },
        is_new_epoch: false,
        raw: merged.switch("raw"),
        echo: merged.switch("echo"),
        deflate: merged.switch("deflate"),
        auth: auth::check(merged)?,
        origins: merged
            .list("origin")
            .map(|text| origin(merged, text))
            .collect::<Result<_, _>>()?,
        trusted_proxies: trusted_proxies(merged)?,
        user: merged
            .text("user")
            .map(|text| account(merged, text))
            .transpose()?,
        log: log(merged)?,
        room_rules: rooms::check(merged)?,
        limits,
    })
}

fn limits(merged: &Merged) -> Result<Limits, Error> {
    let count = |most: u32| 1..=i64::from(most);
    let up_to = |most: u32| 0..=i64::from(most);
    let bounds_loopback = |key| merged.switch("bounds_loopback") || merged.is_set(key);
    Ok(Limits {
        connection_count_max: merged.number("max_connections", count(CONNECTION_COUNT_MAX))?,
        connections_per_address_max: merged
            .number("connections_per_address_max", up_to(CONNECTION_COUNT_MAX))?,
        handshakes_per_address_per_s_max: merged
            .number("handshakes_per_address_per_s_max", up_to(RATE_MAX))?,
        bounds_loopback: merged.switch("bounds_loopback"),
        messages_per_connection_per_s_max: merged
            .number("messages_per_connection_per_s_max", up_to(RATE_MAX))?,
        messages_bound_loopback: bounds_loopback("messages_per_connection_per_s_max"),
        bytes_per_connection_per_s_max: merged
            .number("bytes_per_connection_per_s_max", up_to(u32::MAX))?,
        bytes_bound_loopback: bounds_loopback("bytes_per_connection_per_s_max"),
        joins_per_connection_per_s_max: merged
            .number("joins_per_connection_per_s_max", up_to(RATE_MAX))?,
        joins_bound_loopback: bounds_loopback("joins_per_connection_per_s_max"),
        message_bytes_max: merged.number("max_message", count(MESSAGE_BYTES_MAX))?,
        room_count_max: merged.number("room_count_max", count(100_000_000))?,
        rooms_per_address_max: merged.number("rooms_per_address_max", up_to(100_000_000))?,
        rooms_per_connection_max: merged.number("rooms_per_connection_max", count(10_000))?,
        presence_events_max: merged.number("presence_events_max", 0..=100_000)?,
        name_count_max: merged.number("name_count_max", count(100_000_000))?,
        names_per_address_max: merged.number("names_per_address_max", count(100_000_000))?,
        name_hold_days: merged.number("name_hold_days", 0..=36_500)?,
        inbox_bytes_max: merged.number("inbox_bytes_max", KIB..=TIB)?,
        tail_bytes_max: merged.number("tail_bytes_max", KIB..=TIB)?,
        log_bytes_max: merged.number("log_bytes_max", KIB..=TIB)?,
        memory_bytes_max: merged.number("memory_bytes_max", 0..=TIB)?,
        stalled_bytes_max: merged.number("stalled_bytes_max", KIB..=TIB)?,
        heartbeat_ms: merged.number("heartbeat_ms", MS_MIN..=HOUR_MS)?,
        handshake_ms: merged.number("handshake_ms", MS_MIN..=HOUR_MS)?,
        http_idle_ms: merged.number("http_idle_ms", MS_MIN..=HOUR_MS)?,
        close_ms: merged.number("close_ms", MS_MIN..=HOUR_MS)?,
        drain_ms: merged.number("drain_ms", 0..=HOUR_MS)?,
        presence_debounce_ms: merged.number("presence_debounce_ms", 0..=5_000)?,
        presence_count_ms: merged.number("presence_count_ms", MS_MIN..=HOUR_MS)?,
        room_hold_ms: merged.number("room_hold_ms", 0..=7 * 24 * HOUR_MS)?,
    })
}

/// A bound that is shared by all shards, or that one message must fit into, has a least value.
fn check_relations(merged: &Merged, shards: u16, limits: &Limits) -> Result<(), Error> {
    let shards = usize::from(shards);
    let message = (limits.message_bytes_max, "one message of max_message");
    let tails = (
        limits.tail_bytes_max.saturating_mul(shards),
        "tail_bytes_max in each shard",
    );
    let one_each = (shards, "one in each of the shards");
    for (key, (least, need)) in [
        ("tail_bytes_max", message),
        ("inbox_bytes_max", message),
        ("log_bytes_max", tails),
        ("room_count_max", one_each),
        ("name_count_max", one_each),
    ] {
        let value = number_given(merged, key).unwrap_or_default();
        if value < least {
            let reason = format!("{value} is too small: it must hold {need}, which is {least}");
            return Err(merged.wrong(key, reason));
        }
    }
    Ok(())
}

/// The files are read when the server starts, not here.
fn tls(merged: &Merged) -> Result<Option<Tls>, Error> {
    let wrong = |key, reason: &str| Err(merged.wrong(key, reason.to_owned()));
    let pair = match (
        merged.text("tls_cert"),
        merged.text("tls_key"),
        merged.switch("tls_self_signed"),
    ) {
        (None, None, false) => None,
        (None, None, true) => Some(Pair::Development),
        (Some(cert), Some(key), false) => Some(Pair::Files {
            cert: cert.into(),
            key: key.into(),
        }),
        (Some(_), None, _) => return wrong("tls_cert", "needs --tls-key as well"),
        (None, Some(_), _) => return wrong("tls_key", "needs --tls-cert as well"),
        (Some(_), Some(_), true) => {
            return wrong(
                "tls_self_signed",
                "cannot go with --tls-cert: there is one certificate",
            );
        }
    };
    let client_ca = merged.text("tls_client_ca");
    match (pair, client_ca) {
        (None, Some(_)) => wrong(
            "tls_client_ca",
            "needs TLS: --tls-cert and --tls-key, or --tls-self-signed",
        ),
        (pair, client_ca) => Ok(pair.map(|pair| Tls {
            pair,
            client_ca: client_ca.map(Into::into),
        })),
    }
}

fn address(merged: &Merged, key: &str, text: &str) -> Result<SocketAddr, Error> {
    text.parse().map_err(|_| {
        let reason = format!(
            "{text:?} is no address and port; write it as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080"
        );
        merged.wrong(key, reason)
    })
}

fn log(merged: &Merged) -> Result<log::LevelFilter, Error> {
    let text = merged.text("log").unwrap_or_default();
    let reason =
        || format!("{text:?} is no level; it is one of off, error, warn, info, debug and trace");
    text.parse().map_err(|_| merged.wrong("log", reason()))
}

fn history(merged: &Merged) -> History {
    match (merged.switch("memory"), merged.text("data")) {
        (false, Some(folder)) => History::Folder(folder.into()),
        (true, _) | (false, None) => History::Memory,
    }
}

/// Bounds of retention, as `1000` for every room or `log-*=1000` for those that fit.
fn rules(merged: &Merged, key: &str) -> Result<Vec<Rule>, Error> {
    let rule = |text: &str| {
        let (pattern, most) = text.rsplit_once('=').unwrap_or(("*", text));
        let most = most.parse().map_err(|_| {
            let reason = format!(
                "{text:?} is no bound; write it as 1000, or log-*=1000 for the rooms that fit"
            );
            merged.wrong(key, reason)
        })?;
        let pattern = Pattern::new(pattern);
        Ok(Rule { pattern, most })
    };
    merged.list(key).map(rule).collect()
}

fn account(merged: &Merged, text: &str) -> Result<Account, Error> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if user.is_empty() || group.is_some_and(str::is_empty) {
        let reason = format!("{text:?} is no user; write it as roomcast, or roomcast:ssl-cert");
        return Err(merged.wrong("user", reason));
    }
    Ok(Account {
        user: user.to_owned(),
        group: group.map(str::to_owned),
    })
}

fn trusted_proxies(merged: &Merged) -> Result<Networks, Error> {
    let network = |text: &str| {
        text.parse::<Network>()
            .map_err(|error| merged.wrong("trusted_proxy", format!("{text:?} {error}")))
    };
    merged.list("trusted_proxy").map(network).collect()
}

/// An origin is a scheme, a host and perhaps a port (RFC 6454, 6.2): what a browser sends in `Origin`.
fn origin(merged: &Merged, text: &str) -> Result<String, Error> {
    let (scheme, host) = text.split_once("://").unwrap_or_default();
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_host = |c: char| c.is_ascii_graphic() && !"/?#@*".contains(c);
    let is_whole = !scheme.is_empty() && !host.is_empty();
    if text == "*" || (is_whole && scheme.chars().all(is_scheme) && host.chars().all(is_host)) {
        return Ok(text.to_owned());
    }
    let reason =
        format!("{text:?} is no origin; write it as https://chat.example.org, or * for any");
    Err(merged.wrong("origin", reason))
}
