//! What a token says: until when it is good, for whom it is, who its user is, and which rooms are open.

use super::common::json;
use super::common::mint::{KeyFile, sign, sign_parts};
use super::{HMAC, NOW_S, check, claims, outcome, rules, with_secret};
use roomcast::auth::{Rules, Tokens};
use roomcast::authority::Denial;
use roomcast::limits::TOKEN_ROOM_COUNT_MAX;
use roomcast::rights::Right;
use serde_json::Value;

#[test]
fn times_are_checked_with_their_leeway() {
    let tokens = with_secret();
    for (more, expected) in [
        (json!({"exp": NOW_S - 29}), Ok(())),
        (json!({"exp": NOW_S - 30}), Err(Denial::Expired)),
        (json!({"exp": NOW_S - 31}), Err(Denial::Expired)),
        (json!({"exp": 0}), Err(Denial::Expired)),
        (json!({"exp": u64::MAX}), Ok(())),
        (json!({"exp": 1.8e9 + 0.5}), Ok(())),
        (json!({"exp": 1e300}), Err(Denial::Malformed)),
        (json!({"exp": -1}), Err(Denial::Malformed)),
        (json!({"exp": "1900000000"}), Err(Denial::Malformed)),
        (json!({"exp": null}), Err(Denial::Malformed)),
        (json!({"exp": true}), Err(Denial::Malformed)),
        (json!({"nbf": NOW_S - 100}), Ok(())),
        (json!({"nbf": NOW_S + 30}), Ok(())),
        (json!({"nbf": NOW_S + 31}), Err(Denial::Early)),
        (json!({"nbf": 1e18}), Err(Denial::Early)),
        (json!({"nbf": null}), Ok(())),
        (json!({"nbf": "soon"}), Err(Denial::Malformed)),
        (json!({"iat": NOW_S + 1000}), Ok(())),
    ] {
        assert_eq!(outcome(&tokens, more.clone()), expected, "{more}");
    }
    let token = sign(HMAC, json!({"sub": "ann"}));
    assert_eq!(check(&tokens, &token), Err(Denial::Malformed), "no exp");
    let file = KeyFile::secret();
    let strict = Tokens::open(Rules {
        leeway_s: 0,
        ..rules(&[file.path()])
    });
    let strict = strict.expect("the key is good");
    for (more, expected) in [
        (json!({"exp": NOW_S + 1}), Ok(())),
        (json!({"exp": NOW_S}), Err(Denial::Expired)),
        (json!({"nbf": NOW_S}), Ok(())),
        (json!({"nbf": NOW_S + 1}), Err(Denial::Early)),
    ] {
        assert_eq!(outcome(&strict, more.clone()), expected, "{more}");
    }
}

#[test]
fn audience_and_issuer_are_checked_where_they_are_set() {
    let file = KeyFile::secret();
    let open = |audiences: &[&str], issuers: &[&str]| {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let rules = Rules {
            audiences: own(audiences),
            issuers: own(issuers),
            ..rules(&[file.path()])
        };
        Tokens::open(rules).expect("the key is good")
    };
    let (any, strict) = (
        open(&[], &[]),
        open(&["chat", "club"], &["https://a", "https://b"]),
    );
    for (more, of_any, of_strict) in [
        (json!({}), Ok(()), Err(Denial::Audience)),
        (
            json!({"aud": "chat"}),
            Err(Denial::Audience),
            Err(Denial::Issuer),
        ),
        (json!({"iss": "https://a"}), Ok(()), Err(Denial::Audience)),
        (
            json!({"aud": "chat", "iss": "https://a"}),
            Err(Denial::Audience),
            Ok(()),
        ),
        (
            json!({"aud": ["x", "club"], "iss": "https://b"}),
            Err(Denial::Audience),
            Ok(()),
        ),
        (
            json!({"aud": "Chat", "iss": "https://a"}),
            Err(Denial::Audience),
            Err(Denial::Audience),
        ),
        (
            json!({"aud": [], "iss": "https://a"}),
            Err(Denial::Audience),
            Err(Denial::Audience),
        ),
        (
            json!({"aud": 5, "iss": "https://a"}),
            Ok(()),
            Err(Denial::Audience),
        ),
        (
            json!({"aud": "chat", "iss": "https://a/"}),
            Err(Denial::Audience),
            Err(Denial::Issuer),
        ),
        (
            json!({"aud": "chat", "iss": 1}),
            Err(Denial::Audience),
            Err(Denial::Issuer),
        ),
    ] {
        assert_eq!(outcome(&any, more.clone()), of_any, "{more}");
        let told = outcome(&strict, more.clone());
        // Where both are missing, either may be named.
        let is_either = more == json!({}) && told == Err(Denial::Issuer);
        assert!(told == of_strict || is_either, "{more}: {told:?}");
    }
}

#[test]
fn the_subject_is_a_user_name() {
    let tokens = with_secret();
    for (sub, expected) in [
        (json!("a"), Ok(())),
        (json!("n".repeat(128)), Ok(())),
        (json!("日本語 \"😀\""), Ok(())),
        (json!("n".repeat(129)), Err(Denial::User)),
        (json!(""), Err(Denial::User)),
        (json!("a\nb"), Err(Denial::User)),
        (json!("a\u{0}"), Err(Denial::User)),
        (json!(7), Err(Denial::Malformed)),
        (json!(null), Err(Denial::Malformed)),
        (json!(["ann"]), Err(Denial::Malformed)),
    ] {
        assert_eq!(outcome(&tokens, json!({"sub": sub})), expected, "{sub}");
    }
    let token = sign(HMAC, json!({"exp": NOW_S + 100}));
    assert_eq!(check(&tokens, &token), Err(Denial::Malformed));
    let twice = format!(r#"{{"sub":"ann","sub":"bob","exp":{}}}"#, NOW_S + 100);
    let token = sign_parts(HMAC, r#"{"alg":"HS256"}"#, &twice);
    assert_eq!(check(&tokens, &token), Err(Denial::Malformed));
}

#[test]
fn rooms_are_granted_by_pattern() {
    let tokens = with_secret();
    let rights = |rooms: Value| {
        let claims = json!({"sub": "ann", "exp": NOW_S + 100, "rooms": rooms});
        check(&tokens, &sign(HMAC, claims)).map(|badge| badge.rights)
    };
    let without = check(&tokens, &sign(HMAC, claims()));
    assert_eq!(without.map(|badge| badge.rights), Ok(None));
    for (rooms, room, expected) in [
        (json!([]), "a", [false; 3]),
        (json!(["a"]), "a", [true, true, false]),
        (json!(["a"]), "ab", [false; 3]),
        (json!(["x", "a*"]), "ab", [true, true, false]),
        (
            json!([{"pattern": "a", "allow": ["join"]}]),
            "a",
            [true, false, false],
        ),
        (
            json!([{"pattern": "a*", "allow": ["send", "join"], "note": 1}]),
            "ab",
            [true, true, false],
        ),
        (
            json!(["*", {"pattern": "a", "allow": ["moderate"]}]),
            "a",
            [true; 3],
        ),
        (json!([{"pattern": "a", "allow": []}]), "a", [false; 3]),
    ] {
        let granted = rights(rooms.clone()).expect("it is good").expect("rights");
        let all = [Right::Join, Right::Send, Right::Moderate];
        assert_eq!(
            all.map(|right| granted.allows(right, room)),
            expected,
            "{rooms}"
        );
    }
    let many = |count: usize| json!(vec!["a"; count]);
    assert!(rights(many(TOKEN_ROOM_COUNT_MAX)).is_ok());
    for rooms in [
        many(TOKEN_ROOM_COUNT_MAX + 1),
        json!(null),
        json!("a"),
        json!({"a": ["join"]}),
        json!([1]),
        json!([{"pattern": "a"}]),
        json!([{"allow": ["join"]}]),
        json!([{"pattern": "a", "allow": "join"}]),
        json!([{"pattern": "a", "allow": ["JOIN"]}]),
        json!([{"pattern": "a", "allow": ["join", "fly"]}]),
    ] {
        assert_eq!(rights(rooms.clone()), Err(Denial::Rooms), "{rooms}");
    }
}
