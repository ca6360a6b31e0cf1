//! TLS from the client's side.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::cell::Cell;
use std::process::Command;
use std::sync::{Arc, LazyLock};

thread_local! {
    static IS_WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test whose servers speak TLS, unless it says otherwise.
pub fn over_tls(test: impl FnOnce()) {
    IS_WANTED.set(true);
    test();
    IS_WANTED.set(false);
}

/// Lets the server of this command speak TLS, where this test's servers do.
pub fn ask(command: &mut Command) {
    if IS_WANTED.get() {
        command.arg("--tls-self-signed");
    }
}

/// The name under which clients ask for the server.
pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

/// A client that takes any certificate, as one does that was told to.
pub fn trusting() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the versions that there are")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trust(provider)))
            .with_no_client_auth();
        Arc::new(config)
    });
    Arc::clone(&CONFIG)
}

#[derive(Debug)]
struct Trust(Arc<CryptoProvider>);

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
