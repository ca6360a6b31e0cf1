//! What a connection's bytes go through: TCP as it is, or with TLS over it.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, LazyLock};

use mio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, Error,
    SignatureScheme,
};

/// See the [module](self).
pub enum Line {
    /// TCP as it is.
    Plain(TcpStream),
    /// TCP under TLS.
    Tls(Box<Secure>),
}

/// A TLS session over a stream that never blocks.
pub struct Secure {
    stream: TcpStream,
    session: ClientConnection,
}

impl Line {
    /// TLS over a stream.
    ///
    /// # Errors
    ///
    /// The machine has no random numbers.
    pub fn secure(stream: TcpStream) -> io::Result<Line> {
        static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(config);
        let config = CONFIG.as_ref().map_err(io::Error::other)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Line::Tls(Box::new(Secure { stream, session })))
    }

    /// The stream below.
    pub fn stream(&self) -> &TcpStream {
        match self {
            Line::Plain(stream) => stream,
            Line::Tls(secure) => &secure.stream,
        }
    }

    /// See [`Line::stream`].
    pub fn stream_mut(&mut self) -> &mut TcpStream {
        match self {
            Line::Plain(stream) => stream,
            Line::Tls(secure) => &mut secure.stream,
        }
    }

    /// Whether something was taken that the stream has yet to take.
    pub fn is_blocked(&self) -> bool {
        match self {
            Line::Plain(_) => false,
            Line::Tls(secure) => secure.session.wants_write(),
        }
    }
}

impl Read for Line {
    /// Less than there is room for means that there is no more now.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Plain(stream) => stream.read(into),
            Line::Tls(secure) => secure.read(into),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Line::Plain(stream) => stream.write(bytes),
            Line::Tls(secure) => {
                let count = secure.session.writer().write(bytes)?;
                secure.push()?;
                Ok(count)
            }
        }
    }

    /// Goes on with what was taken.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Line::Plain(_) => Ok(()),
            Line::Tls(secure) => secure.push(),
        }
    }
}

impl Secure {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < into.len() {
            match self.session.reader().read(&mut into[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => match self.pull() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) if error.kind() == ErrorKind::WouldBlock && count > 0 => break,
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Takes records from the stream. False at its end.
    fn pull(&mut self) -> io::Result<bool> {
        let count = self.session.read_tls(&mut self.stream)?;
        self.session
            .process_new_packets()
            .map_err(io::Error::other)?;
        self.push()?;
        Ok(count > 0)
    }

    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Every handshake is a whole one, in TLS 1.3, and asks for the cipher that browsers ask for.
fn config() -> Result<Arc<ClientConfig>, Error> {
    let mut provider = ring::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> =
        ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The server was started here: who it is need not be proved, and the generator has other things to do.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
