//! What a token has to be: each rule with tokens that keep it and tokens that break it.

mod common;

use common::json;
use common::mint::{KeyFile, SECRET, Signer, base64url, key_file, sign, sign_parts};
use roomcast::auth::{Rules, Tokens};
use roomcast::authority::{Authority, Badge, Denial};
use roomcast::limits::{
    TOKEN_BYTES_MAX, TOKEN_KEY_COUNT_MAX, TOKEN_ROOM_COUNT_MAX, TOKEN_SECRET_BYTES_MIN,
};
use roomcast::rights::Right;
use serde_json::Value;
use std::path::{Path, PathBuf};

const NOW_S: u64 = 1_800_000_000;
const HMAC: Signer = Signer::Hs256(SECRET.as_bytes());

fn rules(keys: &[&Path]) -> Rules {
    Rules {
        keys: keys.iter().map(|path| path.to_path_buf()).collect(),
        key_set: None,
        audiences: Vec::new(),
        issuers: Vec::new(),
        leeway_s: 30,
    }
}

fn of_set(set: &Value) -> Result<Tokens, String> {
    let file = KeyFile::new(set.to_string());
    let rules = Rules {
        key_set: Some(file.path().to_owned()),
        ..rules(&[])
    };
    Tokens::open(rules).map_err(|error| error.to_string())
}

fn with_secret() -> Tokens {
    Tokens::open(rules(&[KeyFile::secret().path()])).expect("the key is good")
}

fn check(tokens: &Tokens, token: &str) -> Result<Badge, Denial> {
    tokens.check(token, NOW_S * 1000)
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW_S + 100})
}

/// What comes of these claims with [`claims`] beneath, well signed.
fn outcome(tokens: &Tokens, more: Value) -> Result<(), Denial> {
    let mut claims = claims();
    for (name, value) in more.as_object().expect("claims") {
        claims[name] = value.clone();
    }
    check(tokens, &sign(HMAC, claims)).map(|_| ())
}

#[test]
fn each_algorithm_goes_with_its_key() {
    let secret = KeyFile::secret();
    let files = [
        (HMAC, secret.path().to_owned()),
        (Signer::Rs256, key_file("rsa.pub.pem")),
        (Signer::Rs256, key_file("rsa.pkcs1.pem")),
        (Signer::Es256, key_file("p256.pub.pem")),
        (Signer::EdDsa, key_file("ed25519.pub.pem")),
    ];
    let signers = [
        HMAC,
        Signer::Rs256,
        Signer::Es256,
        Signer::EdDsa,
        Signer::None,
    ];
    for (taken, file) in &files {
        let tokens = Tokens::open(rules(&[file])).expect("the key is good");
        for signer in signers {
            let token = sign(signer, claims());
            let outcome = check(&tokens, &token);
            if signer == *taken {
                let badge = outcome.expect("it is good");
                assert_eq!(&*badge.user, "ann");
                assert_eq!(badge.until_unix_ms, (NOW_S + 130) * 1000);
                let (message, signature) = token.rsplit_once('.').expect("three parts");
                for forged in [
                    format!("{message}."),
                    format!("{message}.{}", &signature[..signature.len() - 4]),
                    format!("{message}.AAAA{}", &signature[4..]),
                    format!("{message}.{signature}AAAA"),
                    sign(signer, json!({"sub": "bob", "exp": NOW_S + 100}))
                        .rsplit_once('.')
                        .map(|(other, _)| format!("{other}.{signature}"))
                        .expect("three parts"),
                ] {
                    let denial = check(&tokens, &forged).expect_err(&forged);
                    // What is cut may be no base64 any more.
                    let is_told = matches!(denial, Denial::Signature | Denial::Malformed);
                    assert!(is_told, "{denial:?} {forged}");
                }
            } else if signer == Signer::None {
                assert_eq!(outcome, Err(Denial::Malformed), "{taken:?}");
            } else {
                assert_eq!(outcome, Err(Denial::Key), "{signer:?} for {taken:?}");
            }
        }
    }
    // All of them at once, as on the way from one algorithm to another.
    let paths: Vec<&Path> = files.iter().map(|(_, path)| path.as_path()).collect();
    let tokens = Tokens::open(rules(&paths)).expect("the keys are good");
    for (signer, _) in files {
        assert!(
            check(&tokens, &sign(signer, claims())).is_ok(),
            "{signer:?}"
        );
    }
}

#[test]
fn a_public_key_is_no_secret() {
    // Whoever has the public key, and that is anyone, signs with its text as if it were a secret.
    for name in [
        "rsa.pub.pem",
        "rsa.pkcs1.pem",
        "p256.pub.pem",
        "ed25519.pub.pem",
    ] {
        let text = std::fs::read(key_file(name)).expect("it is there");
        let tokens = Tokens::open(rules(&[&key_file(name)])).expect("the key is good");
        for secret in [&text[..], text.trim_ascii()] {
            let signer = Signer::Hs256(Box::leak(secret.into()));
            assert_eq!(
                check(&tokens, &sign(signer, claims())),
                Err(Denial::Key),
                "{name}"
            );
        }
    }
}

#[test]
fn no_header_opens_another_way() {
    let tokens = with_secret();
    let claims = claims().to_string();
    for (header, expected) in [
        (json!({"alg": "HS256"}), Ok(())),
        (json!({"alg": "HS256", "kid": "any"}), Ok(())),
        (json!({"alg": "HS256", "typ": "at+jwt", "x": [1]}), Ok(())),
        (json!({"alg": "none"}), Err(Denial::Malformed)),
        (json!({"alg": "None"}), Err(Denial::Malformed)),
        (json!({"alg": "hs256"}), Err(Denial::Malformed)),
        (json!({"alg": ""}), Err(Denial::Malformed)),
        (json!({}), Err(Denial::Malformed)),
        (json!({"alg": ["HS256"]}), Err(Denial::Malformed)),
        (json!({"alg": "HS384"}), Err(Denial::Key)),
        (json!({"alg": "HS512"}), Err(Denial::Key)),
        (json!({"alg": "RS256"}), Err(Denial::Key)),
        (json!({"alg": "PS256"}), Err(Denial::Key)),
        (
            json!({"alg": "HS256", "crit": ["exp"]}),
            Err(Denial::Critical),
        ),
        (
            json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
            Err(Denial::Critical),
        ),
        (json!({"alg": "HS256", "crit": []}), Err(Denial::Critical)),
        // A key that the token brings is not looked at.
        (
            json!({"alg": "RS256", "jwk": Signer::Rs256.jwk("k")}),
            Err(Denial::Key),
        ),
        (
            json!({"alg": "RS256", "jku": "http://127.0.0.1/"}),
            Err(Denial::Key),
        ),
    ] {
        let signer = match header["jwk"].is_null() {
            true => HMAC,
            false => Signer::Rs256,
        };
        let token = sign_parts(signer, &header.to_string(), &claims);
        assert_eq!(check(&tokens, &token).map(|_| ()), expected, "{header}");
    }
}

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
fn garbage_is_refused() {
    let tokens = with_secret();
    let good = sign(HMAC, claims());
    assert!(check(&tokens, &good).is_ok());
    let header = base64url(r#"{"alg":"HS256"}"#);
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "ann".to_owned(),
        "\u{0}\u{0}".to_owned(),
        "😀.😀.😀".to_owned(),
        format!("{good}.{good}"),
        format!(" {good}"),
        good.replace('.', ","),
        format!("{header}..").replace("..", "."),
        sign_parts(HMAC, "not json", "{}"),
        sign_parts(HMAC, r#"{"alg":"HS256"}"#, "not json"),
        sign_parts(HMAC, r#"{"alg":"HS256"}"#, "[]"),
        sign_parts(HMAC, r#"{"alg":"HS256"}"#, "null"),
        sign_parts(HMAC, r#"{"alg":"HS256"}"#, &"[".repeat(3000)),
    ] {
        assert_eq!(check(&tokens, &token), Err(Denial::Malformed), "{token:?}");
    }
    for length in 0..good.len() {
        assert!(check(&tokens, &good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_token_has_a_greatest_length() {
    let tokens = with_secret();
    // Base64 in base64: try lengths until one hits the bound exactly.
    let of_length = |wanted: usize| {
        (0..wanted).rev().find_map(|padding| {
            let claims = json!({"sub": "ann", "exp": NOW_S + 100, "x": "x".repeat(padding)});
            let token = sign(HMAC, claims);
            (token.len() == wanted).then_some(token)
        })
    };
    let longest = of_length(TOKEN_BYTES_MAX).or_else(|| of_length(TOKEN_BYTES_MAX - 1));
    assert!(check(&tokens, &longest.expect("such a token")).is_ok());
    let too_long = of_length(TOKEN_BYTES_MAX + 1).or_else(|| of_length(TOKEN_BYTES_MAX + 2));
    let too_long = too_long.expect("such a token");
    assert_eq!(check(&tokens, &too_long), Err(Denial::TooLong));
}

#[test]
fn a_set_has_keys_by_name() {
    const OTHER: Signer = Signer::Hs256(b"another secret, of another name, as long");
    let set = json!({"keys": [
        HMAC.jwk("first"),
        OTHER.jwk("second"),
        Signer::Rs256.jwk("rsa"),
        Signer::Es256.jwk("p256"),
        Signer::EdDsa.jwk("ed"),
        // Such keys stand in the sets of real issuers.
        {"kty": "RSA", "kid": "secrecy", "use": "enc", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "kid": "curve", "crv": "P-384", "x": "AAAA", "y": "AAAA"},
        {"kty": "RSA", "kid": "other", "alg": "PS256", "n": "AQAB", "e": "AQAB"},
        {"kty": "future", "kid": "unknown"},
    ]});
    let tokens = of_set(&set).expect("the keys are good");
    for (signer, kid, expected) in [
        (HMAC, Some("first"), Ok(())),
        (OTHER, Some("second"), Ok(())),
        (Signer::Rs256, Some("rsa"), Ok(())),
        (Signer::Es256, Some("p256"), Ok(())),
        (Signer::EdDsa, Some("ed"), Ok(())),
        (HMAC, Some("second"), Err(Denial::Signature)),
        (HMAC, Some("third"), Err(Denial::Key)),
        (HMAC, Some("rsa"), Err(Denial::Key)),
        (HMAC, Some("First"), Err(Denial::Key)),
        (HMAC, Some(""), Err(Denial::Key)),
        (HMAC, None, Err(Denial::Key)),
        (Signer::Rs256, Some("secrecy"), Err(Denial::Key)),
        (Signer::Rs256, Some("other"), Err(Denial::Key)),
    ] {
        let header = json!({"alg": signer.name(), "kid": kid});
        let token = sign_parts(signer, &header.to_string(), &claims().to_string());
        let outcome = check(&tokens, &token).map(|_| ());
        assert_eq!(outcome, expected, "{signer:?} {kid:?}");
    }
}

#[test]
fn a_bad_key_of_a_set_leaves_the_others_good() {
    let bad = [
        json!({"kty": "oct", "kid": "bad", "k": base64url("too short")}),
        json!({"kty": "oct", "kid": "bad", "k": "!".repeat(50)}),
        json!({"kty": "RSA", "kid": "bad", "n": base64url([1; 255]), "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "bad"}),
        json!({"kty": "EC", "kid": "bad", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "kid": "bad", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kty": "future", "kid": "bad"}),
        json!({"kid": "bad"}),
        json!("bad"),
        json!(null),
    ];
    let token = |kid: &str| {
        let header = json!({"alg": "HS256", "kid": kid});
        sign_parts(HMAC, &header.to_string(), &claims().to_string())
    };
    for bad in bad {
        let set = json!({"keys": [bad, HMAC.jwk("good"), bad]});
        let tokens = of_set(&set).unwrap_or_else(|error| panic!("{bad}: {error}"));
        assert!(check(&tokens, &token("good")).is_ok(), "{bad}");
        assert_eq!(check(&tokens, &token("bad")), Err(Denial::Key), "{bad}");
        assert!(of_set(&json!({"keys": [bad]})).is_err(), "{bad}");
    }
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

#[test]
fn bad_keys_are_refused_with_their_file_and_nothing_of_it() {
    let secret = "5ecret".repeat(6);
    let jwk = |key: Value| json!({"keys": [key]}).to_string();
    let short = "5".repeat(TOKEN_SECRET_BYTES_MIN - 1);
    for (content, is_set, part) in [
        (short.clone(), false, "32 bytes"),
        (format!("{short}\n"), false, "32 bytes"),
        (String::new(), false, "32 bytes"),
        (format!(r#"{{"keys":["{secret}"]}}"#), false, "--jwt-jwks"),
        (format!("-----BEGIN {secret}-----"), false, "PEM"),
        (secret.clone(), true, "line 1"),
        (format!(r#"{{"keys":"{secret}"}}"#), true, "line 1"),
        (
            format!(r#"{{"keys":[{{"kty":"oct","k":["{secret}"]}}]}}"#),
            true,
            "no key",
        ),
        (
            jwk(json!({"kty": "oct", "k": base64url(&short)})),
            true,
            "32 bytes",
        ),
        (
            jwk(json!({"kty": "oct", "k": "!".repeat(50)})),
            true,
            "base64url",
        ),
        (
            jwk(json!({"kty": "RSA", "n": base64url([1; 255]), "e": "AQAB"})),
            true,
            "2048",
        ),
        (
            jwk(json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"})),
            true,
            "P-256",
        ),
        (
            jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})),
            true,
            "Ed25519",
        ),
        (json!({"keys": []}).to_string(), true, "no key"),
    ] {
        let file = KeyFile::new(&content);
        let mut rules = rules(&[]);
        match is_set {
            true => rules.key_set = Some(file.path().to_owned()),
            false => rules.keys = vec![file.path().to_owned()],
        }
        let error = Tokens::open(rules).expect_err(&content);
        let text = format!("{error} {error:?}");
        assert!(text.contains(file.text()), "{text}");
        assert!(text.contains(part), "{part:?} is not in {text}");
        assert!(!text.contains(&secret) && !text.contains(&short), "{text}");
    }
    let error = Tokens::open(rules(&[Path::new("/nowhere/key")])).expect_err("there is none");
    assert!(
        error.to_string().starts_with("/nowhere/key cannot be read"),
        "{error}"
    );
}

#[test]
fn secrets_have_a_least_length_and_keys_a_greatest_number() {
    let secret = "s".repeat(TOKEN_SECRET_BYTES_MIN);
    for content in [
        secret.clone(),
        format!("{secret}\n"),
        format!("{secret}\r\n"),
    ] {
        let file = KeyFile::new(content);
        let tokens = Tokens::open(rules(&[file.path()])).expect("it is long enough");
        let signer = Signer::Hs256(Box::leak(secret.clone().into_bytes().into()));
        assert!(check(&tokens, &sign(signer, claims())).is_ok());
    }
    let file = KeyFile::secret();
    let many = |count: usize| Rules {
        keys: vec![PathBuf::from(file.path()); count],
        ..rules(&[])
    };
    assert!(Tokens::open(many(TOKEN_KEY_COUNT_MAX)).is_ok());
    let error = Tokens::open(many(TOKEN_KEY_COUNT_MAX + 1)).expect_err("one too many");
    assert!(error.to_string().contains("more than 16 keys"), "{error}");
}

#[test]
fn keys_are_read_again_and_bad_ones_change_nothing() {
    const NEXT: Signer = Signer::Hs256(b"the next secret that only the tests know");
    let file = KeyFile::secret();
    let tokens = Tokens::open(rules(&[file.path()])).expect("the key is good");
    let (old, new) = (sign(HMAC, claims()), sign(NEXT, claims()));
    file.write("too short");
    assert!(tokens.reload().is_err());
    assert!(check(&tokens, &old).is_ok() && check(&tokens, &new).is_err());
    file.write("the next secret that only the tests know");
    assert!(tokens.reload().is_ok());
    assert!(check(&tokens, &old).is_err() && check(&tokens, &new).is_ok());
}

#[test]
fn nothing_shows_a_key() {
    let tokens = with_secret();
    let shown = format!("{tokens:?} {tokens:#?}");
    assert!(!shown.contains(SECRET), "{shown}");
    let bytes = format!("{:?}", SECRET.as_bytes());
    assert!(!shown.contains(&bytes[1..20]), "{shown}");
}
