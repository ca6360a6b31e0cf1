//! The settings: flags, environment and a TOML file become one checked [`Config`].
//!
//! `layer` names each setting once. `merge` lays one source over the other and remembers which of them won, so that an
//! error can say where the offending value stands. `check` holds every number to its range and every relation between
//! two settings, and has the defaults that follow from others (or from the machine). `rooms` reads the rules of rooms,
//! which only the file can say. `notes` tells what may surprise.
//!
//! This module reads the file that `--config` names and nothing else: arguments, environment and what the machine
//! offers are given by the caller.

mod auth;
mod check;
mod error;
mod layer;
mod merge;
mod notes;
mod rooms;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::FromArgMatches;

pub use self::auth::Auth;
pub use self::error::Error;
use self::layer::{Arguments, Layer};
use self::merge::{Merged, Source};
use crate::limits::Limits;
use crate::proxy::Networks;
use crate::rules::RoomRules;
use crate::store::Retention;

/// The settings of a server, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to listen for the operator, if anywhere.
    pub admin: Option<SocketAddr>,
    /// Threads that serve connections, 1 to [`SHARD_COUNT_MAX`](crate::limits::SHARD_COUNT_MAX).
    pub shards: u16,
    /// Who to be once the ports are bound.
    pub user: Option<Account>,
    /// Whether each shard stays on a core of its own.
    pub pin: bool,
    /// With what TLS is spoken, if it is.
    pub tls: Option<Tls>,
    /// Where history, names and inboxes are kept.
    pub history: History,
    /// What of it is trimmed.
    pub retention: Retention,
    /// Whether the logs of the data folder get a new epoch.
    pub is_new_epoch: bool,
    /// Whether `/raw/{room}` is served.
    pub raw: bool,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Whether permessage-deflate is negotiated with who offers it.
    pub deflate: bool,
    /// How users say who they are.
    pub auth: Auth,
    /// Origins that may connect besides the server's own; `*` is any.
    pub origins: Vec<String>,
    /// Whose word counts for where a connection comes from.
    pub trusted_proxies: Networks,
    /// The least important level that is logged.
    pub log: log::LevelFilter,
    /// Who may do what in which rooms.
    pub room_rules: RoomRules,
    /// The bounds and the times.
    pub limits: Limits,
}

/// Where history, names and inboxes are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// In memory, until the exit.
    Memory,
    /// In this folder.
    Folder(PathBuf),
}

/// With what TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate and its key.
    pub pair: Pair,
    /// The authorities of clients' certificates, where clients need one: a file in PEM.
    pub client_ca: Option<PathBuf>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pair {
    /// From files in PEM.
    Files {
        /// The certificate, with those between it and its authority behind it.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// Made by the server for development, and kept in the data folder if there is one.
    Development,
}

impl History {
    /// The data folder, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            History::Memory => None,
            History::Folder(folder) => Some(folder),
        }
    }
}

/// A user of the system, and perhaps a group: names or numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: String,
    /// The only group; those of the user where none is named.
    pub group: Option<String>,
}

/// What the machine offers; some defaults follow from it.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Processor cores.
    pub core_count: usize,
    /// Descriptors that the process may have open.
    pub descriptor_count_max: u64,
    /// Whether the process runs as root.
    pub is_root: bool,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The checked settings.
    pub config: Config,
    /// The same as TOML, with a comment on each value that is not a default, and those defaults as comments that hold for
    /// more when they are set. As a file it gives the same settings.
    pub toml: String,
    /// Whether only the check was asked for (`--check-config`).
    pub check_only: bool,
    /// What an operator should know about these settings, one sentence each.
    pub notes: Vec<String>,
}

/// Reads the settings from the command line (program name first), the environment and the file that they name.
///
/// # Errors
///
/// What is wrong, and where it stands. `--help` and `--version` come as an [`Error`] as well.
pub fn load(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    machine: Machine,
) -> Result<Setup, Error> {
    load_with(arguments, environment, machine, |path| {
        std::fs::read_to_string(path)
    })
}

fn load_with(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    machine: Machine,
    read: impl Fn(&Path) -> io::Result<String>,
) -> Result<Setup, Error> {
    let arguments = parse_arguments(arguments, machine)?;
    let environment = merge::Environment::from(environment);
    let mut merged = Merged::default();
    if let Some(path) = arguments.config.or(environment.config()?) {
        let path = PathBuf::from(path);
        merged.lay(parse_file(&path, &read)?, &Source::File(path))?;
    }
    merged.lay(environment.layer()?, &Source::Environment)?;
    merged.lay(arguments.layer, &Source::Flag)?;
    merged.fill(check::defaults(machine, &merged))?;
    let mut config = check::check(&merged)?;
    config.is_new_epoch = arguments.new_epoch;
    Ok(Setup {
        notes: notes::notes(&config, machine, &environment.unknown()),
        config,
        toml: merged.to_toml(),
        check_only: arguments.check_config,
    })
}

fn parse_arguments(
    arguments: impl IntoIterator<Item = OsString>,
    machine: Machine,
) -> Result<Arguments, Error> {
    let mut defaults = Merged::default();
    defaults.fill(check::defaults(machine, &defaults))?;
    let matches = Arguments::command(defaults.values()).try_get_matches_from(arguments)?;
    Ok(Arguments::from_arg_matches(&matches)?)
}

fn parse_file(path: &Path, read: impl Fn(&Path) -> io::Result<String>) -> Result<Layer, Error> {
    let wrong = |reason: String| Error::File {
        path: path.to_owned(),
        reason,
    };
    let text = read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests;
