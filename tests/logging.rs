//! The log: one line for each event that an operator cares about, and nothing that a peer can write into it.

mod common;

use common::mint::{KeyFile, SECRET, Signer, base64url};
use common::{Client, Opcode, Server, json, masked, sharded};

sharded!(
    nothing_is_logged_for_each_message,
    peers_cannot_write_into_the_log,
    a_silent_log_is_silent,
);

/// Whether a line is one of ours: a time, a level, a module and a text without control characters.
fn is_well_formed(line: &str) -> bool {
    let Some((head, text)) = line
        .strip_prefix('[')
        .and_then(|line| line.split_once("] "))
    else {
        return false;
    };
    let words: Vec<&str> = head.split_whitespace().collect();
    let [time, level, module] = words[..] else {
        return false;
    };
    time.ends_with('Z')
        && ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level)
        && module.starts_with("roomcast")
        && !text.is_empty()
        && !text.contains(char::is_control)
}

fn nothing_is_logged_for_each_message(shards: u16) {
    let mut server = Server::with(shards, &["--log", "debug"]);
    let mut ann = server.client("ann");
    ann.join("r");
    let before = server.log().lines().count();
    for number in 0..500 {
        ann.post("r", number);
        ann.say(json!({"type": "signal", "room_id": "r", "content": 1}));
        ann.ask(json!({"type": "nonsense"}), "error");
    }
    ann.take_many("message", 500);
    for _ in 0..50 {
        Client::open(&server, "");
        assert_eq!(server.get("/nowhere").status, 404);
    }
    let after = server.log().lines().count();
    assert!(after <= before + 10, "{}", server.log());
    drop(ann);
    server.signal("TERM");
    server.wait();
    let log = server.log();
    assert!(log.lines().all(is_well_formed), "{log}");
    assert!(
        log.lines()
            .last()
            .is_some_and(|line| line.contains("stopped")),
        "{log}"
    );
}

fn peers_cannot_write_into_the_log(shards: u16) {
    const MARK: &str = "forged";
    let mut server = Server::with(shards, &["--log", "trace", "--handshake-ms", "200"]);
    let line = format!("{MARK}\r\n[2026-01-01T00:00:00Z ERROR roomcast] {MARK}\u{1b}[31m");
    let escaped: String = line.bytes().map(|byte| format!("%{byte:02x}")).collect();
    // In every place that takes text of a peer.
    for path in ["/ws?user=", "/ws?session=", "/ws?room=", "/raw/", "/"] {
        let mut http = server.http();
        http.send(common::upgrade(
            &server.host(),
            &format!("{path}{escaped}"),
            &format!(
                "Origin: http://{}\r\nUser-Agent: {MARK}\x1b\r\n",
                server.host()
            ),
        ));
        http.response_to_head();
    }
    let mut http = server.http();
    http.send(format!("{line}\r\n\r\n"));
    http.response();
    let mut ann = Client::open(&server, &format!("?user={MARK}%20%5B31m%0x"));
    ann.join(&format!("{MARK} room"));
    ann.post(&format!("{MARK} room"), line.as_str());
    for text in [
        line.clone(),
        json!({"type": line, "id": line, "room_id": line}).to_string(),
    ] {
        ann.say_text(&text);
        ann.take("error");
    }
    let mut closing = server.socket("/echo");
    let reason = [&1000_u16.to_be_bytes()[..], line.as_bytes()].concat();
    closing.send_bytes(&masked(Opcode::Close, &reason[..100.min(reason.len())]));
    closing.closed();
    drop((http, ann, closing));
    server.signal("TERM");
    server.wait();
    let log = server.log();
    let ours: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("roomcast"))
        .collect();
    assert!(ours.iter().all(|line| is_well_formed(line)), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\r'), "{log}");
    let forged = log.lines().filter(|line| line.starts_with("[2026-01-01"));
    assert_eq!(forged.count(), 0, "{log}");
}

#[test]
fn a_key_that_is_left_out_of_a_set_is_told_and_not_shown() {
    const SHORT: &str = "much too short";
    let good = Signer::Hs256(SECRET.as_bytes()).jwk("good");
    let bad = json!({"kty": "oct", "kid": "bad", "k": base64url(SHORT)});
    let set = KeyFile::new(json!({"keys": [bad, good, {"kty": "future"}]}).to_string());
    let server = Server::with(1, &["--auth", "jwt", "--jwt-jwks", set.text()]);
    server.await_log("key 1 of it has a secret of less than 32 bytes, and is left out");
    server
        .await_log("key 3 of it is of a kind that is not known, or lacks a part, and is left out");
    let log = server.log();
    assert_eq!(log.matches("is left out").count(), 2, "{log}");
    assert!(log.contains(set.text()), "{log}");
    for text in [SHORT, SECRET, &base64url(SHORT), &base64url(SECRET)] {
        assert!(!log.contains(text), "{log}");
    }
}

fn a_silent_log_is_silent(shards: u16) {
    let mut server = Server::with(shards, &["--log", "off"]);
    server.client("ann").join("r");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(server.log(), "");
}
