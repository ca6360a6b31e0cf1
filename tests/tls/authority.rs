//! Certificates for the tests, and clients that know whom to trust.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, SupportedProtocolVersion};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Someone who vouches for others.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Pair {
    pub cert: String,
    pub key: String,
    pub der: CertificateDer<'static>,
    secret: Vec<u8>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Authority { issuer }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for this name.
    pub fn issue(&self, name: &str) -> Pair {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().clone(),
            secret: key.serialize_der(),
        }
    }

    /// A client that trusts it, speaks these versions, and begins each session anew.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut config = self.builder(versions).with_no_client_auth();
        config.resumption = Resumption::disabled();
        config
    }

    /// The same with a certificate of its own.
    pub fn client_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        pair: &Pair,
    ) -> ClientConfig {
        let key = PrivateKeyDer::try_from(pair.secret.clone()).expect("a key");
        let builder = self.builder(versions);
        let config = builder.with_client_auth_cert(vec![pair.der.clone()], key);
        config.expect("they belong together")
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions that there are")
            .with_root_certificates(roots)
    }
}

/// A folder with a certificate and a key in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("roomcast-tls-{}-{number}", process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// The same with this pair in it.
    pub fn with(pair: &Pair) -> Folder {
        let folder = Folder::new();
        folder.put(pair);
        folder
    }

    /// Replaces the pair, a file after the other, as programs that renew certificates do.
    pub fn put(&self, pair: &Pair) {
        self.write("cert.pem", &pair.cert);
        self.write("key.pem", &pair.key);
    }

    /// Replaces one file by a new one.
    pub fn write(&self, name: &str, text: &str) -> String {
        let (path, new) = (self.0.join(name), self.0.join("new"));
        fs::write(&new, text).expect("a file");
        fs::rename(&new, &path).expect("a file");
        path.to_str().expect("a path that is text").to_owned()
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The flags that name the pair.
    pub fn flags(&self) -> [String; 4] {
        let path = |name: &str| self.0.join(name).to_str().expect("text").to_owned();
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        ["--tls-cert".to_owned(), cert, "--tls-key".to_owned(), key]
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
