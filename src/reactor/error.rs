//! Why a server does not start, or ends early.

use super::privileges::UserError;
use super::tls::KeyError;
use crate::auth;
use crate::store::StoreError;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// Another program listens there: the flag that names it, and the address.
    AddressInUse(&'static str, SocketAddr),
    /// The address cannot be listened on.
    Bind(&'static str, SocketAddr, io::Error),
    /// The process could not become another user.
    User(UserError),
    /// The keys that tokens are checked with cannot be used.
    Keys(auth::KeyError),
    /// The data folder cannot be used.
    Store(StoreError),
    /// TLS was asked for with a certificate, a key or authorities that do not serve.
    Tls(KeyError),
    /// The system refused a thread, a descriptor or random numbers.
    System(io::Error),
}

/// A shard ended before it was asked to, on which the others were stopped.
#[derive(Debug)]
pub struct ShardFailed;

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::AddressInUse(flag, address) => {
                write!(
                    f,
                    "{address} is in use: stop the program that listens there, or choose another {flag}"
                )
            }
            StartError::Bind(flag, address, error) => {
                write!(f, "cannot listen on {address} ({flag}): {error}")?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        f.write_str(": start it as root (see --user), or take a port from 1024 on")
                    }
                    _ => Ok(()),
                }
            }
            StartError::User(error) => error.fmt(f),
            StartError::Keys(error) => write!(f, "tokens cannot be checked: {error}"),
            StartError::Store(error) => error.fmt(f),
            StartError::Tls(error) => write!(f, "no TLS: {error}"),
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl fmt::Display for ShardFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shard failed, and the others were stopped")
    }
}

impl std::error::Error for ShardFailed {}
