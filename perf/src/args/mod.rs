//! The command line.

mod common;
mod plans;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::peers::Peer;
use crate::{idle, limits};

pub use common::{Common, Contestant, roomcast_beside};

const ABOUT: &str = "Measures roomcast and its peers over loopback.

One thread makes all connections and checks everything that it receives: nothing may be lost, repeated, changed or out \
of order. The server runs on one core and this program on another; both sides' CPU is taken from /proc, so it shows \
which of them was the bottleneck. Latencies count from the time at which a message was due, not from when it was sent.

--server may be given several times: a path of roomcast; a peer in this program (`bare`, the loop that does only what \
it must, `tokio-tungstenite`, `fastwebsockets`, or `node-ws` where Node and ws are there); or `program:PATH`, a server \
that says where it listens like roomcast does and has /raw/ROOM and /echo. --url adds one that runs already. They take \
turns, and the table compares the first with each other one. Exits with 1 if anything was wrong with what came.";

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
    /// Everything below with all servers in turn: one table, figures as JSON, and charts.
    Compare(Compare),
    /// The charts of comparisons that were made before.
    Draw(Draw),
    /// One room: some members publish, all listen.
    Fanout(Fanout),
    /// One room, first of those who read, then also of some who never do.
    Stalled(Stalled),
    /// Connections that get back what they send.
    Echo(Echo),
    /// Members that say nothing: memory and idle CPU.
    Idle(Idle),
    /// Connections that all come at once, and leave.
    Burst(Burst),
    /// A room at work while many others arrive at another one.
    Arrivals(Arrivals),
    /// roomcast with a data folder and with --memory: acknowledgements, fan-out and history.
    Durable(Durable),
    /// Serve as one of the peers on a free port, which is printed.
    Serve {
        /// Which.
        peer: Peer,
        /// Interval of the bare loop's pings, in milliseconds; without this it has none.
        #[arg(long, value_name = "MS", value_parser = value_parser!(u32).range(limits::PING_MS))]
        ping_ms: Option<u32>,
    },
}

/// See [`Command::Compare`].
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// Measurements to do, as `echo-16`, or all that begin as `echo` and a dash. All by default.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Folder for the table, the figures and the charts.
    #[arg(long, value_name = "FOLDER", default_value = "target/perf")]
    pub out: PathBuf,
    /// Seconds of each measurement.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    pub seconds: u32,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// See [`Command::Draw`].
#[derive(Clone, Debug, Args)]
pub struct Draw {
    /// What `compare` wrote, `report.json`. Where several have a row, the last one counts.
    #[arg(required = true, value_name = "FILE")]
    pub reports: Vec<PathBuf>,
    /// Folder for the charts.
    #[arg(long, value_name = "FOLDER", default_value = "target/perf")]
    pub out: PathBuf,
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
    /// Let members offer compression.
    #[arg(long)]
    deflate: bool,
    #[command(flatten)]
    pub endpoints: Endpoints,
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
    /// Seconds for which idle CPU is measured; the time in which roomcast pings everybody by default.
    #[arg(long, value_name = "SECONDS", default_value_t = idle::PING_MS / 1000, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    seconds: u32,
    /// Count system calls as well, in as much time more. Takes `perf`.
    #[arg(long)]
    calls: bool,
    /// Interval of the bare loop's pings, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = idle::PING_MS, value_parser = value_parser!(u32).range(limits::PING_MS))]
    pub ping_ms: u32,
    #[command(flatten)]
    pub endpoints: Endpoints,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// See [`Command::Stalled`].
#[derive(Clone, Debug, Args)]
pub struct Stalled {
    /// Connections in the room, in the end.
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = value_parser!(u32).range(limits::CONNECTION_COUNT))]
    members: u32,
    /// Share of them that comes last and never reads.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = value_parser!(u32).range(limits::STALLED_PERCENT))]
    percent: u32,
    /// Messages a second in all, at fixed times.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 50, value_parser = value_parser!(u32).range(limits::RATE_PER_S))]
    rate: u32,
    /// Length of a message on /raw, of its `content` on /ws.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = value_parser!(u32).range(limits::MESSAGE_BYTES))]
    bytes: u32,
    #[command(flatten)]
    pub endpoints: Endpoints,
    #[command(flatten)]
    span: Span,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// See [`Command::Burst`].
#[derive(Clone, Debug, Args)]
pub struct Burst {
    /// Connections.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = value_parser!(u32).range(limits::CONNECTION_COUNT))]
    connections: u32,
    /// Seconds between coming and going.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    settle: u32,
    #[command(flatten)]
    pub endpoints: Endpoints,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// See [`Command::Arrivals`].
#[derive(Clone, Debug, Args)]
pub struct Arrivals {
    /// Connections in the room at work.
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = value_parser!(u32).range(limits::CONNECTION_COUNT))]
    members: u32,
    /// Connections that arrive elsewhere.
    #[arg(long, value_name = "COUNT", default_value_t = 15_000, value_parser = value_parser!(u32).range(limits::CONNECTION_COUNT))]
    arrivals: u32,
    /// Seconds within which they do.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = value_parser!(u32).range(limits::MEASURE_S))]
    within: u32,
    /// Messages a second in the room, at fixed times.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100, value_parser = value_parser!(u32).range(limits::RATE_PER_S))]
    rate: u32,
    /// Length of a message on /raw, of its `content` on /ws.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = value_parser!(u32).range(limits::MESSAGE_BYTES))]
    bytes: u32,
    #[command(flatten)]
    pub endpoints: Endpoints,
    #[command(flatten)]
    span: Span,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// See [`Command::Durable`].
#[derive(Clone, Debug, Args)]
pub struct Durable {
    /// Where data folders are made, on the disk that is measured. Default: beside this program.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Messages under way, over all publishers: four in one room, then one in each of 100.
    #[arg(long, value_name = "COUNT", default_value_t = 1600, value_parser = value_parser!(u32).range(limits::IN_FLIGHT_COUNT))]
    in_flight: u32,
    /// Give every message an `id`, which the server remembers.
    #[arg(long)]
    ids: bool,
    /// Length of a message's `content`.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = value_parser!(u32).range(limits::MESSAGE_BYTES))]
    bytes: u32,
    /// Connections in the room whose fan-out is measured.
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = value_parser!(u32).range(limits::CONNECTION_COUNT))]
    members: u32,
    #[command(flatten)]
    span: Span,
    /// See [`Common`].
    #[command(flatten)]
    pub common: Common,
}

/// Which rooms.
#[derive(Clone, Debug, Args)]
pub struct Endpoints {
    /// Endpoints of roomcast, each of which counts as a server of its own; peers have only raw.
    #[arg(
        long,
        value_name = "ENDPOINTS",
        value_delimiter = ',',
        default_value = "ws"
    )]
    pub endpoint: Vec<Endpoint>,
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
    /// Count system calls as well, in two more seconds under the same load. Takes `perf`.
    #[arg(long)]
    calls: bool,
}

/// Where a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Endpoint {
    /// Chat, with JSON, numbers and acknowledgements.
    Ws,
    /// Plain relay.
    Raw,
}
