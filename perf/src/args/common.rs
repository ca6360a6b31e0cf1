//! What all measurements have in common: the servers, and where they run.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, value_parser};

use super::Endpoint;
use crate::ledger::Audience;
use crate::limits;
use crate::room::{Dialect, Room};
use crate::server::{Choice, Running, Setting, Storage};

/// What all measurements have in common.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Server to start: see above. Repeatable. Default: the roomcast beside this program. `compare` takes all peers of this
    /// machine as well, unless any server but a program is named.
    #[arg(long, value_name = "PATH")]
    server: Vec<String>,
    /// Room of one more server, which runs already, as ws://127.0.0.1:9001/chat. Loopback only.
    #[arg(long, value_name = "URL", requires = "pid", value_parser = parse_url)]
    url: Option<Url>,
    /// Its process.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// What a member of it sends, with {} where the text goes. Without this it relays text as it is.
    #[arg(long, value_name = "TEMPLATE", requires = "url", value_parser = Dialect::template)]
    publish: Option<Dialect>,
    /// A member of it gets its own messages too.
    #[arg(long, requires = "url")]
    hears_itself: bool,
    /// What to call it.
    #[arg(long, value_name = "NAME", requires = "url")]
    name: Option<String>,
    /// Threads of roomcast.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    shards: u16,
    /// Let each roomcast take part once more, with TLS.
    #[arg(long)]
    tls: bool,
    /// One more argument for roomcast. Repeatable.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    server_arg: Vec<String>,
    /// Cores of the server.
    #[arg(long, value_name = "CORES", value_delimiter = ',', default_value = "0")]
    server_cores: Vec<usize>,
    /// Cores of this program.
    #[arg(long, value_name = "CORES", value_delimiter = ',', default_value = "1")]
    client_cores: Vec<usize>,
    /// Times that everything is repeated, each with a fresh server; the table shows medians.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(limits::ROUND_COUNT))]
    pub rounds: u32,
    /// File for the figures, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A server, and the room that is measured there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contestant {
    /// The server.
    pub choice: Choice,
    /// The room.
    pub room: Room,
    /// Whether TLS is spoken with it.
    pub is_tls: bool,
}

impl Contestant {
    /// What it is called in a table.
    pub fn name(&self) -> String {
        let name = self.plain_name();
        if self.is_tls {
            format!("{name} tls")
        } else {
            name
        }
    }

    fn plain_name(&self) -> String {
        match (self.choice.chats(), &self.room.dialect) {
            (_, Dialect::Chat) => format!("{} ws", self.choice.name()),
            (true, Dialect::Bare | Dialect::Template { .. }) => {
                format!("{} raw", self.choice.name())
            }
            (false, _) => self.choice.name(),
        }
    }

    /// Where it echoes.
    pub fn echo_path(&self) -> &str {
        match &self.choice {
            Choice::Running(running) => &running.room.path,
            Choice::Roomcast(_) | Choice::Peer(_) | Choice::Program(_) => "/echo",
        }
    }
}

/// Where a server listens, and the path of its room.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    address: SocketAddr,
    path: String,
}

impl Common {
    /// The servers to compare, each with each of the endpoints that it has.
    pub fn contestants(&self, endpoints: &[Endpoint]) -> Vec<Contestant> {
        let mut choices = self.named();
        if choices.is_empty() && self.url.is_none() {
            choices.push(roomcast_beside());
        }
        self.contestants_among(choices, endpoints)
    }

    /// The same of these servers, and of the one that runs already.
    pub fn contestants_among(
        &self,
        choices: Vec<Choice>,
        endpoints: &[Endpoint],
    ) -> Vec<Contestant> {
        let mut contestants: Vec<Contestant> = Vec::new();
        let running = self.running().map(Choice::Running);
        for choice in choices.into_iter().chain(running) {
            for endpoint in endpoints {
                for is_tls in [false, true] {
                    let contestant = Contestant {
                        room: choice.room(*endpoint),
                        choice: choice.clone(),
                        is_tls,
                    };
                    let takes_part = !is_tls || self.tls && choice.speaks_tls();
                    if takes_part && !contestants.contains(&contestant) {
                        contestants.push(contestant);
                    }
                }
            }
        }
        contestants
    }

    /// The servers that were named.
    pub fn named(&self) -> Vec<Choice> {
        self.server.iter().map(|name| Choice::named(name)).collect()
    }

    /// The server that runs already.
    fn running(&self) -> Option<Running> {
        let (url, pid) = (self.url.as_ref()?, self.pid?);
        let room = Room {
            dialect: self.publish.clone().unwrap_or(Dialect::Bare),
            audience: if self.hears_itself {
                Audience::All
            } else {
                Audience::Others
            },
            ..Room::relay(&url.path)
        };
        Some(Running {
            name: self.name.clone().unwrap_or(url.address.to_string()),
            address: url.address,
            pid,
            room,
        })
    }

    /// How to start them, with TLS or without.
    pub fn setting(&self, is_tls: bool) -> Setting {
        Setting {
            is_tls,
            server_cores: self.server_cores.clone(),
            client_cores: self.client_cores.clone(),
            shard_count: self.shards,
            arguments: self.server_arg.clone(),
            storage: Storage::Memory,
            ping_ms: None,
        }
    }
}

/// The roomcast beside this program.
pub fn roomcast_beside() -> Choice {
    let program = std::env::current_exe().unwrap_or_default();
    Choice::Roomcast(program.with_file_name("roomcast"))
}

/// Reads where a server is, with or without `ws://` before it and a path behind it.
fn parse_url(text: &str) -> Result<Url, String> {
    let bare = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("ws://"))
        .unwrap_or(text);
    let (address, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
    let address: SocketAddr = address
        .parse()
        .map_err(|_| "as ws://127.0.0.1:9001/chat".to_owned())?;
    if !address.ip().is_loopback() {
        return Err("only loopback is measured".into());
    }
    let path = if path.is_empty() { "/" } else { path }.into();
    Ok(Url { address, path })
}
