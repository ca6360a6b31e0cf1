//! A token is signed, by the algorithm of its key, and by nothing that its own header says.

use super::common::json;
use super::common::mint::{KeyFile, Signer, base64url, key_file, sign, sign_parts};
use super::{HMAC, NOW_S, check, claims, rules, with_secret};
use roomcast::auth::Tokens;
use roomcast::authority::Denial;
use roomcast::limits::TOKEN_BYTES_MAX;
use std::path::Path;

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
