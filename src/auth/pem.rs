//! Public keys in PEM (RFC 7468): RSA, P-256 and Ed25519.
//!
//! Each of them has one encoding in DER but for its numbers, so that comparing bytes is all the parsing there is; what
//! is left inside is read by ring.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};

/// What precedes the point of a P-256 key (RFC 5480, 2).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// What precedes the 32 bytes of an Ed25519 key (RFC 8410, 4).
const ED25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// The algorithm of an RSA key (RFC 3279, 2.3.1), between the lengths around it.
const RSA: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// Bytes of the DER of an RSA key of 2048 bits without its algorithm, at least (RFC 8017, A.1.1).
const RSA_DER_BYTES_MIN: usize = 266;

/// The key, and the algorithm that goes with it. The error reads on from the name of the file.
pub fn public_key(text: &[u8]) -> Result<(Algorithm, DecodingKey), &'static str> {
    let (label, der) = decode(text)?;
    match label {
        "PUBLIC KEY" => of_info(&der),
        "RSA PUBLIC KEY" => rsa(&der),
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => {
            Err("is a private key, which only the maker of tokens may have: give the public one")
        }
        "CERTIFICATE" => Err("is a certificate: give its public key (openssl x509 -pubkey -noout)"),
        _ => Err("has a PEM block that is no PUBLIC KEY"),
    }
}

/// A key with its algorithm (RFC 5280, 4.1.2.7).
fn of_info(der: &[u8]) -> Result<(Algorithm, DecodingKey), &'static str> {
    if let Some(point) = der.strip_prefix(&P256).filter(|point| point.len() == 65) {
        return Ok((Algorithm::ES256, DecodingKey::from_ec_der(point)));
    }
    if let Some(point) = der.strip_prefix(&ED25519).filter(|point| point.len() == 32) {
        return Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(point)));
    }
    let inside = sequence(der).and_then(|inside| inside.strip_prefix(&RSA));
    match inside.and_then(bits) {
        Some(key) => rsa(key),
        None => {
            Err("has a public key that is neither RSA of 2048 bits or more, nor P-256, nor Ed25519")
        }
    }
}

fn rsa(der: &[u8]) -> Result<(Algorithm, DecodingKey), &'static str> {
    if sequence(der).is_none() || der.len() < RSA_DER_BYTES_MIN {
        return Err("has an RSA key of less than 2048 bits, or one that cannot be read");
    }
    Ok((Algorithm::RS256, DecodingKey::from_rsa_der(der)))
}

/// What a sequence holds that is all there is and has 256 bytes or more.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    long(der, 0x30)
}

/// The same of a string of whole bytes.
fn bits(der: &[u8]) -> Option<&[u8]> {
    long(der, 0x03)?.strip_prefix(&[0])
}

/// The content of a value whose length takes two bytes (ITU-T X.690, 8.1.3.5).
fn long(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (head, content) = der.split_first_chunk::<4>()?;
    let [first, form, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (first == tag && form == 0x82 && length == content.len()).then_some(content)
}

/// The label and the bytes of the only block.
fn decode(text: &[u8]) -> Result<(&str, Vec<u8>), &'static str> {
    let broken = "has a PEM block that is broken";
    let text = str::from_utf8(text).map_err(|_| broken)?.trim_ascii();
    let (label, rest) = text
        .strip_prefix("-----BEGIN ")
        .and_then(|text| text.split_once("-----"))
        .ok_or(broken)?;
    let body = rest
        .strip_suffix("-----")
        .and_then(|rest| rest.strip_suffix(label))
        .and_then(|rest| rest.strip_suffix("-----END "))
        .ok_or("has not one PEM block, whole and alone")?;
    let base64: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).map_err(|_| broken)?;
    Ok((label, der))
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! key {
        ($name:literal) => {
            include_str!(concat!("../../tests/tokens/keys/", $name))
        };
    }

    /// The algorithm and the bytes of a key, or why there is none.
    fn read(text: &str) -> Result<(Algorithm, Vec<u8>), &'static str> {
        let (algorithm, key) = public_key(text.as_bytes())?;
        Ok((algorithm, key.try_get_as_bytes().expect("bytes").to_vec()))
    }

    #[test]
    fn a_key_goes_with_one_algorithm() {
        let (algorithm, rsa) = read(key!("rsa.pub.pem")).unwrap();
        assert_eq!((algorithm, rsa.len()), (Algorithm::RS256, 270));
        assert_eq!(read(key!("rsa.pkcs1.pem")), Ok((algorithm, rsa)));
        let (algorithm, point) = read(key!("p256.pub.pem")).unwrap();
        assert_eq!(
            (algorithm, point.len(), point[0]),
            (Algorithm::ES256, 65, 4)
        );
        let (algorithm, point) = read(key!("ed25519.pub.pem")).unwrap();
        assert_eq!((algorithm, point.len()), (Algorithm::EdDSA, 32));
    }

    #[test]
    fn white_space_around_and_inside_is_no_matter() {
        for name in [key!("rsa.pub.pem"), key!("ed25519.pub.pem")] {
            let loose = format!("\n  {}\r\n\n", name.replace('\n', "\r\n"));
            assert_eq!(read(&loose), read(name));
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_a_reason() {
        let ed25519 = key!("ed25519.pub.pem");
        for (text, part) in [
            (key!("rsa.pem").to_owned(), "private"),
            (key!("p256.pem").to_owned(), "private"),
            (key!("ed25519.pem").to_owned(), "private"),
            (key!("short.pub.pem").to_owned(), "2048"),
            (key!("p384.pub.pem").to_owned(), "neither"),
            (ed25519.replace("PUBLIC KEY", "CERTIFICATE"), "certificate"),
            (ed25519.replace("PUBLIC KEY", "PARTY"), "PUBLIC KEY"),
            (ed25519.replace("MCow", "MC!w"), "broken"),
            (ed25519.replace("MCow", "MCo"), "broken"),
            (ed25519.replace("-----END", "----END"), "whole"),
            (format!("{ed25519}{ed25519}"), "broken"),
            (format!("{ed25519}more"), "whole"),
            ("-----BEGIN".to_owned(), "broken"),
        ] {
            let reason = read(&text).expect_err(&text);
            assert!(reason.contains(part), "{reason}: {text}");
        }
    }

    #[test]
    fn no_byte_of_an_rsa_key_may_be_missing() {
        let (_, der) = decode(key!("rsa.pub.pem").as_bytes()).unwrap();
        assert!(of_info(&der).is_ok());
        for length in 0..der.len() {
            assert!(of_info(&der[..length]).is_err(), "{length} bytes");
        }
        let longer = [&der[..], b"x"].concat();
        assert!(of_info(&longer).is_err());
    }
}
