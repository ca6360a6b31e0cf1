//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::server::{Choice, Setting};
use crate::stamp::Dialect;
use crate::{echo, fanout, idle, limits};

const ABOUT: &str = "Measures roomcast and its peers over loopback.

One thread makes all connections and checks everything that it receives: nothing may be lost, repeated, changed or out \
of order. The server runs on one core and this program on another; both sides' CPU is taken from /proc, so it shows \
which of them was the bottleneck. Latencies count from the time at which a message was due, not from when it was sent.

--server may be given several times (a path of roomcast, or `bare`, the loop in this program that does only what it \
must): they take turns, and the table compares the first with each other one. Exits with 1 if anything was wrong with \
what came.";

/// See the top of the help.
#[derive(Debug, Parser)]
#[command(name = "roomcast-perf", version, about = ABOUT, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One room: some members publish, all listen.
    Fanout(Fanout),
    /// Connections that get back what they send.
    Echo(Echo),
    /// Members that say nothing: memory and idle CPU.
    Idle(Idle),
    /// Serve as the bare loop on a free port, which is printed.
    Bare,
}

/// What all measurements have in common.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Server to start: a path of roomcast, or `bare`. Repeatable. Default: the roomcast beside this program.
    #[arg(long, value_name = "PATH")]
    server: Vec<String>,
    /// Address of a server that runs already, as 127.0.0.1:8080. Loopback only.
    #[arg(long, value_name = "ADDR:PORT", requires = "pid", conflicts_with = "server", value_parser = parse_url)]
    url: Option<SocketAddr>,
    /// Its process.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Threads of roomcast.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    shards: u16,
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

/// See [`Command::Fanout`].
#[derive(Clone, Debug, Args)]
pub struct Fanout {
    /// Connections in the room.
    #[arg(long, value_name = "COUNT", default_value_t = 5000, value_parser = value_parser!(u32).range(limits::CONNECTION_COUNT))]
    members: u32,
    /// Members that publish.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(limits::PUBLISHER_COUNT))]
    publishers: u32,
    /// Messages a second in all, at fixed times.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 20, value_parser = value_parser!(u32).range(limits::RATE_PER_S))]
    rate: u32,
    /// Instead of a rate: so many messages under way from each publisher, each until everybody has it.
    #[arg(long, value_name = "COUNT", conflicts_with = "rate", value_parser = value_parser!(u32).range(limits::IN_FLIGHT_COUNT))]
    in_flight: Option<u32>,
    /// Length of a message on /raw, of its `content` on /ws.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = value_parser!(u32).range(limits::MESSAGE_BYTES))]
    bytes: u32,
    /// Endpoints of roomcast, each of which counts as a server of its own; `bare` has only raw.
    #[arg(
        long,
        value_name = "ENDPOINTS",
        value_delimiter = ',',
        default_value = "ws"
    )]
    pub endpoint: Vec<Endpoint>,
    #[command(flatten)]
    span: Span,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// See [`Command::Echo`].
#[derive(Clone, Debug, Args)]
pub struct Echo {
    /// Connections.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = value_parser!(u32).range(limits::CONNECTION_COUNT))]
    connections: u32,
    /// Messages under way on each connection.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(limits::IN_FLIGHT_COUNT))]
    depth: u32,
    /// Length of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = value_parser!(u32).range(limits::MESSAGE_BYTES))]
    bytes: u32,
    #[command(flatten)]
    span: Span,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// See [`Command::Idle`].
#[derive(Clone, Debug, Args)]
pub struct Idle {
    /// Connections at which memory is read; the slope is between the first and the last.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "1000,5000,18000", value_parser = value_parser!(u32).range(limits::CONNECTION_COUNT))]
    members: Vec<u32>,
    /// Seconds after each step before memory is read.
    #[arg(long, value_name = "SECONDS", default_value_t = 7, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    settle: u32,
    /// Seconds for which idle CPU is measured; twice the ping interval by default.
    #[arg(long, value_name = "SECONDS", default_value_t = 50, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    seconds: u32,
    /// Endpoints of roomcast, each of which counts as a server of its own; `bare` has only raw.
    #[arg(
        long,
        value_name = "ENDPOINTS",
        value_delimiter = ',',
        default_value = "ws"
    )]
    pub endpoint: Vec<Endpoint>,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// How long.
#[derive(Clone, Debug, Args)]
struct Span {
    /// Seconds that are measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    seconds: u32,
    /// Seconds between the last connection and the first message.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    settle: u32,
    /// Seconds under the same load before the measurement.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    warm_up: u32,
}

/// Where a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Endpoint {
    /// Chat, with JSON, numbers and acknowledgements.
    Ws,
    /// Plain relay.
    Raw,
}

/// A server, and what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contestant {
    /// The server.
    pub choice: Choice,
    /// How its rooms speak.
    pub dialect: Dialect,
}

impl Contestant {
    /// What it is called in a table.
    pub fn name(&self) -> String {
        let endpoint = match self.dialect {
            Dialect::Chat => "ws",
            Dialect::Bare => "raw",
        };
        format!("{} {endpoint}", self.choice.name())
    }
}

impl Common {
    /// The servers to compare, each with each of the endpoints that it has.
    pub fn contestants(&self, endpoints: &[Endpoint]) -> Vec<Contestant> {
        let mut contestants: Vec<Contestant> = Vec::new();
        for choice in self.choices() {
            for dialect in endpoints.iter().map(|endpoint| endpoint.of(&choice)) {
                let contestant = Contestant {
                    choice: choice.clone(),
                    dialect,
                };
                if !contestants.contains(&contestant) {
                    contestants.push(contestant);
                }
            }
        }
        contestants
    }

    fn choices(&self) -> Vec<Choice> {
        if let (Some(address), Some(pid)) = (self.url, self.pid) {
            return vec![Choice::Running { address, pid }];
        }
        if self.server.is_empty() {
            let beside = std::env::current_exe()
                .unwrap_or_default()
                .with_file_name("roomcast");
            return vec![Choice::Roomcast(beside)];
        }
        self.server.iter().map(|name| Choice::named(name)).collect()
    }

    /// How to start them.
    pub fn setting(&self) -> Setting {
        Setting {
            server_cores: self.server_cores.clone(),
            client_cores: self.client_cores.clone(),
            shard_count: self.shards,
            arguments: self.server_arg.clone(),
        }
    }
}

impl Fanout {
    /// What that means for a kind of room.
    pub fn plan(&self, dialect: Dialect) -> fanout::Plan {
        fanout::Plan {
            member_count: self.members,
            publisher_count: self.publishers.min(self.members),
            dialect,
            message_bytes: self.bytes as usize,
            pace: match self.in_flight {
                Some(in_flight_count) => fanout::Pace::Closed { in_flight_count },
                None => fanout::Pace::Open {
                    rate_per_s: self.rate,
                },
            },
            settle: self.span.settle(),
            warm_up: self.span.warm_up(),
            measure: self.span.measure(),
        }
    }
}

impl Echo {
    /// What that means.
    pub fn plan(&self) -> echo::Plan {
        echo::Plan {
            connection_count: self.connections,
            depth: self.depth,
            message_bytes: self.bytes as usize,
            settle: self.span.settle(),
            warm_up: self.span.warm_up(),
            measure: self.span.measure(),
        }
    }
}

impl Idle {
    /// What that means for a kind of room.
    pub fn plan(&self, dialect: Dialect) -> idle::Plan {
        let mut steps = self.members.clone();
        steps.sort_unstable();
        let path = match dialect {
            Dialect::Chat => "/ws?room=perf",
            Dialect::Bare => "/raw/perf",
        };
        idle::Plan {
            steps,
            path: path.into(),
            settle: Duration::from_secs(self.settle.into()),
            measure: Duration::from_secs(self.seconds.into()),
        }
    }
}

impl Span {
    fn settle(&self) -> Duration {
        Duration::from_secs(self.settle.into())
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up.into())
    }

    fn measure(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

impl Endpoint {
    fn of(self, choice: &Choice) -> Dialect {
        match self {
            Endpoint::Ws if choice.chats() => Dialect::Chat,
            Endpoint::Ws | Endpoint::Raw => Dialect::Bare,
        }
    }
}

/// Reads an address, with or without `http://` before it.
fn parse_url(text: &str) -> Result<SocketAddr, String> {
    let bare = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("ws://"))
        .unwrap_or(text);
    let address: SocketAddr = bare
        .trim_end_matches('/')
        .parse()
        .map_err(|_| "as 127.0.0.1:8080".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("only loopback is measured".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn every_server_has_its_endpoints() {
        let line = "p fanout --server a/roomcast --server bare --endpoint ws,raw";
        let Command::Fanout(fanout) = Arguments::parse_from(line.split(' ')).command else {
            panic!("it is a fan-out");
        };
        let contestants = fanout.common.contestants(&fanout.endpoint);
        let names: Vec<String> = contestants.iter().map(Contestant::name).collect();
        assert_eq!(names, ["roomcast ws", "roomcast raw", "bare raw"]);
    }

    #[test]
    fn only_loopback_and_bounded_runs_are_taken() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        for right in [
            "p fanout --in-flight 16",
            "p idle --members 1,2",
            "p echo --url http://127.0.0.1:1/ --pid 7",
        ] {
            assert!(parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "p echo --url 192.0.2.1:80 --pid 7",
            "p echo --url 127.0.0.1:80",
            "p fanout --members 0",
            "p fanout --members 9999999",
            "p fanout --seconds 3600",
            "p fanout --rate 5 --in-flight 1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
