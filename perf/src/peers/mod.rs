//! Servers to compare with. All of them relay `/raw/ROOM` to everybody else there, send `/echo` back, run on one
//! thread, serve only loopback, and say where they listen. Each does what its library offers for that: none is made
//! slower than it is, and none does the chat's work.

pub mod bare;
#[cfg(feature = "peers")]
mod fast;
mod node;
#[cfg(feature = "peers")]
mod relay;
#[cfg(feature = "peers")]
mod tungstenite;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::Command;

use clap::ValueEnum;

use crate::cores;

/// A server to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// A poll, one write for each member, and nothing else.
    Bare,
    /// tokio-tungstenite on one thread of tokio.
    #[cfg(feature = "peers")]
    TokioTungstenite,
    /// fastwebsockets on one thread of tokio.
    #[cfg(feature = "peers")]
    Fastwebsockets,
    /// `ws` on Node, both from the machine.
    NodeWs,
}

impl Peer {
    /// The peer of this name.
    pub fn named(name: &str) -> Option<Peer> {
        let peers = Peer::value_variants().iter().copied();
        peers.into_iter().find(|peer| peer.name() == name)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Bare => "bare",
            #[cfg(feature = "peers")]
            Peer::TokioTungstenite => "tokio-tungstenite",
            #[cfg(feature = "peers")]
            Peer::Fastwebsockets => "fastwebsockets",
            Peer::NodeWs => "node-ws",
        }
    }

    /// Whether this machine has what it needs.
    pub fn is_there(self) -> bool {
        self != Peer::NodeWs || node::is_there()
    }

    /// How to start it. `ping_ms` is how often the bare loop pings, if it does; the others have their own ways.
    ///
    /// # Errors
    ///
    /// This program cannot be found again.
    pub fn command(self, ping_ms: Option<u32>) -> io::Result<Command> {
        if self == Peer::NodeWs {
            return Ok(node::command());
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", self.name()]);
        if let Some(ping_ms) = ping_ms.filter(|_| self == Peer::Bare) {
            command.args(["--ping-ms", &ping_ms.to_string()]);
        }
        Ok(command)
    }

    /// Serves for ever. See [`Peer::command`].
    ///
    /// # Errors
    ///
    /// It cannot listen, or its poll failed.
    pub fn serve(self, ping_ms: Option<u32>) -> io::Result<()> {
        cores::raise_descriptor_limit()?;
        match self {
            Peer::Bare => {
                let mut bare = bare::Bare::listen()?;
                if let Some(ping_ms) = ping_ms {
                    bare.ping_each(ping_ms);
                }
                announce(bare.address()?)?;
                bare.run()
            }
            #[cfg(feature = "peers")]
            Peer::TokioTungstenite => relay::run(tungstenite::serve),
            #[cfg(feature = "peers")]
            Peer::Fastwebsockets => relay::run(fast::serve),
            Peer::NodeWs => {
                let status = node::command().status()?;
                Err(io::Error::other(format!("node ended with {status}")))
            }
        }
    }
}

/// Says where a server listens, as roomcast does.
fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{address}")?;
    out.flush()
}

/// A socket that listens on a free port of 127.0.0.1.
fn listener() -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_found_by_its_name() {
        for peer in Peer::value_variants() {
            assert_eq!(Peer::named(peer.name()), Some(*peer));
            let value = peer.to_possible_value().unwrap();
            assert_eq!(value.get_name(), peer.name());
        }
        assert_eq!(Peer::named("target/release/roomcast"), None);
    }
}
