//! What `jsonwebtoken` needs of cryptography, given to it by ring: the four algorithms that are taken, and no others.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// It signs nothing, and makes no JWK out of keys.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Lets `jsonwebtoken` use ring in this process.
pub fn install() {
    // An error says that it does so already.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    let public = |scheme: &'static dyn VerificationAlgorithm| {
        let bytes = key.try_get_as_bytes()?.to_vec();
        Ok::<_, jsonwebtoken::errors::Error>(Check::Public(UnparsedPublicKey::new(scheme, bytes)))
    };
    let check = match (algorithm, key.kind()) {
        (Algorithm::HS256, _) => {
            Check::Hmac(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?))
        }
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let (n, e) = (n.clone(), e.clone());
            Check::Rsa(RsaPublicKeyComponents { n, e })
        }
        (Algorithm::RS256, _) => public(&RSA_PKCS1_2048_8192_SHA256)?,
        (Algorithm::ES256, _) => public(&ECDSA_P256_SHA256_FIXED)?,
        (Algorithm::EdDSA, _) => public(&ED25519)?,
        (_, _) => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    let algorithm = *algorithm;
    Ok(Box::new(Verifier { algorithm, check }))
}

struct Verifier {
    algorithm: Algorithm,
    check: Check,
}

enum Check {
    Hmac(hmac::Key),
    Public(UnparsedPublicKey<Vec<u8>>),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

impl signature::Verifier<Vec<u8>> for Verifier {
    /// All three take a time that does not depend on where a wrong signature differs.
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), signature::Error> {
        let result = match &self.check {
            Check::Hmac(key) => hmac::verify(key, message, signature),
            Check::Public(key) => key.verify(message, signature),
            Check::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
        };
        result.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
