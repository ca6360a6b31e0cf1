//! A token that is refreshed, that ends, and whose key is changed.

use super::common::mint::{Signer, now_s, sign, token, with_claims};
use super::common::{json, sharded, transported};
use super::{common, enter, hello, refused, with_tokens};

transported!(
    a_refresh_that_fails_changes_nothing,
    an_expiry_warns_and_closes,
    keys_change_under_connections,
);

// Its time is the token's, however clients are connected.
sharded!(a_token_is_refreshed);

fn a_token_is_refreshed(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let mut ann = enter(&server, &token("ann", 3));
    ann.join("r");
    for round in 0..4 {
        let warning = ann.take("token_expires");
        assert_eq!(warning.get("id"), None, "nobody asked: {warning}");
        let expires_at = warning["expires_at"].as_u64().expect("a time");
        let timestamp = warning["timestamp"].as_u64().expect("a time");
        assert!(timestamp < expires_at, "it comes before: {warning}");
        let until = now_s() + 3;
        let claims = json!({"sub": "ann", "exp": until});
        let hello = json!({"type": "hello", "token": with_claims(claims), "id": round.to_string()});
        let answer = ann.ask(hello, "token_expires");
        assert_eq!(answer["id"], round.to_string());
        assert_eq!(answer["expires_at"], until * 1000);
        ann.post("r", round);
    }
    // Nothing was lost by it, and it is still the same connection.
    assert_eq!(ann.rest_of("message").len(), 4);
    assert_eq!(server.metric("upgrades_total"), 1);
    // A token that lasts needs no more warnings.
    ann.ask(
        json!({"type": "hello", "token": token("ann", 100_000)}),
        "token_expires",
    );
    assert!(ann.rest_of("token_expires").is_empty());
}

fn a_refresh_that_fails_changes_nothing(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let mut ann = enter(&server, &token("ann", 100));
    ann.join("r");
    for (hello, code) in [
        (
            json!({"type": "hello", "token": token("bob", 100), "id": "x"}),
            "unauthorized",
        ),
        (
            json!({"type": "hello", "token": "bad", "id": "x"}),
            "unauthorized",
        ),
        (json!({"type": "hello", "id": "x"}), "bad_field"),
        (
            json!({"type": "hello", "user": "ann", "id": "x"}),
            "bad_field",
        ),
    ] {
        let error = ann.ask(hello, "error");
        assert_eq!(
            (&error["code"], &error["id"]),
            (&json!(code), &json!("x")),
            "{error}"
        );
    }
    ann.post("r", "still here");
    // Any number of them is checked within the shares of turns.
    let bad = json!({"type": "hello", "token": "bad"}).to_string();
    for _ in 0..3 {
        ann.say_text(&bad.repeat(100));
    }
    for _ in 0..300 {
        assert_eq!(ann.next_of(&["error"])["code"], "unauthorized");
    }
    server.metric_is("unauthorized_total", 302);
}

fn an_expiry_warns_and_closes(shards: u16) {
    let (server, _file) = with_tokens(shards, &[]);
    let mut ann = enter(&server, &token("ann", 2));
    let mut bob = enter(&server, &token("bob", 100));
    ann.join("r");
    bob.join("r");
    ann.take("token_expires");
    let (code, bye) = ann.closed();
    assert_eq!(code, Some(4002));
    let bye = bye.expect("a bye comes before");
    assert_eq!(
        (&bye["code"], &bye["reconnect"]),
        (&json!(4002), &json!(false))
    );
    assert!(
        bye["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("token"))
    );
    server.metric_is("tokens_expired_total", 1);
    bob.post("r", "still here");
    // The name waits for its user.
    assert_eq!(enter(&server, &token("ann", 100)).user, "ann");
}

fn keys_change_under_connections(shards: u16) {
    let (server, file) = with_tokens(shards, &[]);
    const NEXT: Signer = Signer::Hs256(b"the next secret that only the tests know");
    let claims = || json!({"sub": "ann", "exp": now_s() + 100});
    let (old, new) = (with_claims(claims()), sign(NEXT, claims()));
    let mut ann = enter(&server, &old);
    ann.join("r");
    refused(hello(&server, json!({"type": "hello", "token": new})));
    // A file that is no key changes nothing but the log.
    file.write("short");
    server.signal("HUP");
    server.await_log("is refused, the old one stays");
    assert!(server.log().contains(file.text()), "{}", server.log());
    assert_eq!(enter(&server, &old).user, "ann");
    file.write("the next secret that only the tests know");
    server.signal("HUP");
    server.await_log("the key set of tokens was read again; new");
    assert_eq!(enter(&server, &new).user, "ann");
    refused(hello(&server, json!({"type": "hello", "token": old})));
    ann.post("r", "who is here stays");
}
