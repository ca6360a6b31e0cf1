//! What clients read and write: TCP as it is, or under TLS.

use super::tls;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// One connection's bytes.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Plain(stream)
    }
}

impl Stream {
    /// Speaks TLS over a connection. The handshake goes on with the first read or write.
    pub fn secure(stream: TcpStream, config: &Arc<ClientConfig>) -> Stream {
        let connection = ClientConnection::new(Arc::clone(config), tls::name());
        let connection = connection.expect("a configuration for TLS");
        Stream::Tls(Box::new(StreamOwned::new(connection, stream)))
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// What was agreed on, where it is TLS.
    pub fn tls(&self) -> Option<&ClientConnection> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(&stream.conn),
        }
    }

    pub fn set_nodelay(&self, is_on: bool) -> io::Result<()> {
        self.tcp().set_nodelay(is_on)
    }

    pub fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.tcp().set_read_timeout(time)
    }

    pub fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.tcp().set_write_timeout(time)
    }

    /// Says that nothing more is sent.
    pub fn end(&mut self) -> io::Result<()> {
        if let Stream::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        self.tcp().shutdown(Shutdown::Write)
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(into),
            Stream::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
