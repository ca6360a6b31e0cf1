//! Keys come from files and sets; bad ones are refused, and none is ever shown.

use super::common::json;
use super::common::mint::{KeyFile, SECRET, Signer, base64url, sign, sign_parts};
use super::{HMAC, check, claims, of_set, rules, with_secret};
use roomcast::auth::{Rules, Tokens};
use roomcast::authority::Denial;
use roomcast::limits::{TOKEN_KEY_COUNT_MAX, TOKEN_SECRET_BYTES_MIN};
use serde_json::Value;
use std::path::{Path, PathBuf};

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
