//! What one source (command line, environment, file, defaults) says: each setting, or nothing.
//!
//! One struct is the command line, the environment and the file at once, so a setting has one name, one type and one
//! description. The doc comments of its fields are the text of `roomcast --help`.

#![allow(
    rustdoc::bare_urls,
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments are the text of --help"
)]

use super::rooms::RoomTable;
use clap::builder::BoolishValueParser;
use clap::{CommandFactory, Parser};
use serde::{Deserialize, Serialize};

const PLACE: &str = "Where and with what";
const TLS: &str = "TLS";
const ENDPOINTS: &str = "Endpoints";
const IDENTITY: &str = "Who may come in";
const HISTORY: &str = "History";
const BOUNDS: &str = "Bounds";
const MEMORY: &str = "Memory";
const TIMES: &str = "Times";

const ABOUT: &str = "A real-time chat server: rooms and private messages over WebSocket, and the page to use them.

Run it without any flag and open http://127.0.0.1:8080 in two browser windows.

Each setting below is also a variable (ROOMCAST_MAX_MESSAGE for --max-message; an empty one counts as not set) and a \
key of the TOML file that --config names (max_message; a flag that repeats is a list there). A flag beats the \
environment, which beats the file, which beats the default. Not settings are --config, which is a variable but no key, \
and --check-config and --new-epoch, which are flags alone.

The file alone has rules of rooms, a [[room]] table each; the first whose pattern fits a room's name counts:
  pattern       the rooms, as \"news\" or \"team-*\"
  join          who may be a member: \"all\", \"moderators\", \"none\", or a list of user names and the moderators
  read          who of them may see what was said before they came (as above)
  write         who of them may send (as above)
  moderate      a list of the users who may kick, mute and ban, and delete messages
  read_only     true: only moderators write
  private       true: only who is listed in join, moderates, or has a token that grants to join
  members_max   users that may be in the room; moderators come in beyond that
  slow_mode_ms  least time between two messages of a user, in milliseconds; not for moderators";

const EXAMPLES: &str = "Examples:
  roomcast
      chat on this machine
  roomcast --listen 0.0.0.0:8080
      chat on the local network
  roomcast --origin https://chat.example.org
      behind a proxy that serves the page from there
  roomcast --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem
      with TLS, as https://chat.example.org
  roomcast --config roomcast.toml --check-config
      check the settings, and see where each comes from

Tools, each with a --help of its own:
  roomcast export --room ROOM [--since SEQ]
      write the messages of a room as lines of JSON
  roomcast import [FILE]
      read them back
  roomcast backup FILE
      copy the database of a running server

Signals: the first SIGTERM or SIGINT stops accepting, tells every client to come back and exits with 0; the second \
exits at once. SIGHUP reads certificate and key again, and the keys of tokens; bad ones are refused, and the old stay. \
Without either it changes nothing.";

/// What one source says about each setting.
///
/// Flags that only the command line has (`--config`, `--check-config`) stand in [`Arguments`].
#[derive(Clone, Debug, Default, PartialEq, Parser, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Address and port to listen on, as 127.0.0.1:8080 or [::]:8080; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", help_heading = PLACE)]
    pub listen: Option<String>,
    /// Address and port for the operator: /metrics, /readyz, /rooms and /connections, and no longer the first two on
    /// the public port. 127.0.0.1:9090 where none is named; without the flag there is no such port. On a loopback address
    /// it answers to requests for an address or localhost alone, so that no web page reads along.
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:9090",
          help_heading = PLACE)]
    pub admin: Option<String>,
    /// Threads that serve connections, each with an event loop of its own (1 to 64). The default is as many as there are
    /// cores that the process may use.
    #[arg(long, value_name = "COUNT", help_heading = PLACE)]
    pub shards: Option<u16>,
    /// Keep each shard on a core of its own: the first on the first core that the process may use, and so on. For
    /// machines that do nothing else.
    #[arg(long, help_heading = PLACE, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          hide_possible_values = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub pin: Option<bool>,
    /// Address or network of proxies in front, as 127.0.0.1 or 10.0.0.0/8. Only of those X-Forwarded-For, X-Real-IP and
    /// X-Forwarded-Proto are believed, and the PROXY protocol (version 1 or 2) is taken. Repeatable.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', help_heading = PLACE)]
    pub trusted_proxy: Option<Vec<String>>,
    /// User to become once the ports are bound, for which it has to be started as root. With a group the process has
    /// that one alone, otherwise those of the user. A data folder that is missing is made for that user.
    #[arg(long, value_name = "NAME[:GROUP]", help_heading = PLACE)]
    pub user: Option<String>,
    /// What to log to standard error: off, error, warn, info, debug or trace. What moderators did is logged at each of
    /// them but off.
    #[arg(long, value_name = "LEVEL", help_heading = PLACE)]
    pub log: Option<String>,

    /// Speak TLS with this certificate: a file in PEM, with the certificates between it and its authority behind it.
    /// It is read again, with the key, on SIGHUP and when it has changed; nobody is disconnected.
    #[arg(long, value_name = "FILE", help_heading = TLS)]
    pub tls_cert: Option<String>,
    /// Private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", help_heading = TLS)]
    pub tls_key: Option<String>,
    /// Speak TLS with a certificate made for development: browsers warn of it. It is kept in the data folder.
    #[arg(long, help_heading = TLS, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          hide_possible_values = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub tls_self_signed: Option<bool>,
    /// Let only clients in that show a certificate of one of the authorities in this file, in PEM.
    #[arg(long, value_name = "FILE", help_heading = TLS)]
    pub tls_client_ca: Option<String>,

    /// Page that may connect besides the server's own, as https://chat.example.org, or * for any. Repeatable (or
    /// separated by commas). Clients that send no Origin are not browsers and always pass.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', help_heading = ENDPOINTS)]
    pub origin: Option<Vec<String>>,
    /// Serve /raw/{room}: each message goes to all others of the room, as it is.
    #[arg(long, help_heading = ENDPOINTS, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          hide_possible_values = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub raw: Option<bool>,
    /// Serve /echo: each message comes back as it is, for conformance suites and benchmarks.
    #[arg(long, help_heading = ENDPOINTS, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          hide_possible_values = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub echo: Option<bool>,
    /// Compress frames for clients that offer permessage-deflate. A room compresses each frame once for all its
    /// members of a shard, but what each sends has to be inflated. It costs 9 to 12 µs of processor time for a
    /// frame of 128 bytes and 14 to 23 µs for one of 1 KiB, and takes off a sixth of the first and three fifths of the
    /// second: it pays where messages are long, rooms large, or bandwidth is dear.
    #[arg(long, help_heading = ENDPOINTS, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          hide_possible_values = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub deflate: Option<bool>,

    /// How users say who they are: guest (a free name is taken by who asks first, and kept by a secret) or jwt (a JSON
    /// Web Token that names the user; see --jwt-key and --jwt-jwks).
    #[arg(long, value_name = "HOW", help_heading = IDENTITY)]
    pub auth: Option<String>,
    /// Key that tokens are checked with: a secret of 32 bytes or more (HS256; the end of its last line is not part of
    /// it), or a public key in PEM (RS256, ES256 or EdDSA, by what it is). Repeatable (or separated by commas). Read
    /// again on SIGHUP, and when it changes.
    #[arg(long, value_name = "FILE", value_delimiter = ',', help_heading = IDENTITY)]
    pub jwt_key: Option<Vec<String>>,
    /// JWK set with keys that tokens are checked with; a token names its key by `kid`. Read again on SIGHUP, and when it
    /// changes.
    #[arg(long, value_name = "FILE", help_heading = IDENTITY)]
    pub jwt_jwks: Option<String>,
    /// Whom tokens have to be meant for (`aud`). Repeatable: one of them is enough. If not set, tokens with an `aud` are
    /// refused.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = IDENTITY)]
    pub jwt_audience: Option<Vec<String>>,
    /// Who has to have made the tokens (`iss`). Repeatable: one of them is enough. If not set, whoever has the key.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = IDENTITY)]
    pub jwt_issuer: Option<Vec<String>>,
    /// How far the clocks of the server and of the maker of tokens may be apart, in seconds.
    #[arg(long, value_name = "S", help_heading = IDENTITY)]
    pub jwt_leeway_s: Option<u32>,

    /// Keep history, names and inboxes in memory only; they are lost at exit. Beats --data.
    #[arg(long, help_heading = HISTORY, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          hide_possible_values = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub memory: Option<bool>,
    /// Folder for history, names and inboxes; it is made if there is none. One server at a time uses it.
    #[arg(long, value_name = "DIR", help_heading = HISTORY)]
    pub data: Option<String>,
    /// How many messages of a room are kept on disk; all of them if not set. PATTERN=COUNT is for the rooms whose
    /// names fit (* stands for anything); the first that fits counts. Repeatable.
    #[arg(long, value_name = "[PATTERN=]COUNT", value_delimiter = ',', help_heading = HISTORY)]
    pub retain_messages: Option<Vec<String>>,
    /// For how many days messages of a room are kept on disk; for ever if not set. Patterns as in --retain-messages.
    #[arg(long, value_name = "[PATTERN=]DAYS", value_delimiter = ',', help_heading = HISTORY)]
    pub retain_days: Option<Vec<String>>,
    /// How long an empty room keeps its history in memory with --memory, in milliseconds.
    #[arg(long, value_name = "MS", help_heading = HISTORY)]
    pub room_hold_ms: Option<u32>,
    /// How long a claimed name and its inbox are held without a connection, in days.
    #[arg(long, value_name = "DAYS", help_heading = HISTORY)]
    pub name_hold_days: Option<u32>,

    /// Connections in all; one more gets 503. The default is what the descriptor limit (ulimit -Hn) allows.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub max_connections: Option<u32>,
    /// Connections of one client address (of IPv6, a /64); one more gets 429. 0 is no bound; the default is half of
    /// --max-connections.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub connections_per_address_max: Option<u32>,
    /// Connections that one client address opens in a second, in the long run; five seconds' worth may come at once.
    /// What is over gets 429. 0 is no bound.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub handshakes_per_address_per_s_max: Option<u32>,
    /// Let the bounds of connections and rooms per address, and the defaults of the rates below, hold for 127.0.0.0/8 and
    /// ::1 as well, where proxies and load generators are.
    #[arg(long, help_heading = BOUNDS, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          hide_possible_values = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub bounds_loopback: Option<bool>,
    /// Messages that one connection sends in a second, in the long run; five seconds' worth may come at once. One more
    /// gets `rate_limited` on /ws, and what follows is not read until its time. 0 is no bound. A value that is set holds
    /// for everybody, the default not for 127.0.0.0/8 and ::1.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub messages_per_connection_per_s_max: Option<u32>,
    /// The same for the bytes of messages; --max-message where that is more.
    #[arg(long, value_name = "BYTES", help_heading = BOUNDS)]
    pub bytes_per_connection_per_s_max: Option<u32>,
    /// The same for joins; each that is over gets `rate_limited`.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub joins_per_connection_per_s_max: Option<u32>,
    /// Payload of one message, in bytes; a longer one closes its connection with 1009.
    #[arg(long, value_name = "BYTES", help_heading = BOUNDS)]
    pub max_message: Option<usize>,
    /// Rooms in all.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub room_count_max: Option<u32>,
    /// Rooms in memory that clients of one address had made. 0 is no bound.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub rooms_per_address_max: Option<u32>,
    /// Rooms that one connection is in at the same time.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub rooms_per_connection_max: Option<u16>,
    /// Users of a room up to which each join and leave is told; larger rooms get counts.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub presence_events_max: Option<u32>,
    /// Claimed names in all.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub name_count_max: Option<u32>,
    /// Claimed names per client address.
    #[arg(long, value_name = "COUNT", help_heading = BOUNDS)]
    pub names_per_address_max: Option<u32>,

    /// Memory for all history together, in bytes; the oldest goes first.
    #[arg(long, value_name = "BYTES", help_heading = MEMORY)]
    pub log_bytes_max: Option<usize>,
    /// History of one room in memory, in bytes of encoded messages; at least --max-message.
    #[arg(long, value_name = "BYTES", help_heading = MEMORY)]
    pub tail_bytes_max: Option<usize>,
    /// Unconfirmed messages in one user's inbox, in bytes; at least --max-message.
    #[arg(long, value_name = "BYTES", help_heading = MEMORY)]
    pub inbox_bytes_max: Option<usize>,
    /// Memory of the whole process, in bytes, over which no further connection is taken (503). 0 is no bound. The other
    /// bounds hold memory down; this one is for machines that have less than they add up to.
    #[arg(long, value_name = "BYTES", help_heading = MEMORY)]
    pub memory_bytes_max: Option<u64>,
    /// Memory held only for readers that stopped in the middle of a message, in bytes per shard; beyond it those
    /// that stopped first are closed.
    #[arg(long, value_name = "BYTES", help_heading = MEMORY)]
    pub stalled_bytes_max: Option<usize>,

    /// Silence for two of these closes, in milliseconds; a ping asks before that, after 1.6 of them.
    #[arg(long, value_name = "MS", help_heading = TIMES)]
    pub heartbeat_ms: Option<u32>,
    /// Time for a request head, and again for a hello, in milliseconds.
    #[arg(long, value_name = "MS", help_heading = TIMES)]
    pub handshake_ms: Option<u32>,
    /// How long an HTTP connection may stay open without a request, in milliseconds.
    #[arg(long, value_name = "MS", help_heading = TIMES)]
    pub http_idle_ms: Option<u32>,
    /// Time for a client to answer a Close before its connection is cut, in milliseconds.
    #[arg(long, value_name = "MS", help_heading = TIMES)]
    pub close_ms: Option<u32>,
    /// Time to send what is left when stopping, in milliseconds.
    #[arg(long, value_name = "MS", help_heading = TIMES)]
    pub drain_ms: Option<u32>,
    /// How late a leave is told, in milliseconds, so that a reconnect is not news (at most 5000).
    #[arg(long, value_name = "MS", help_heading = TIMES)]
    pub presence_debounce_ms: Option<u32>,
    /// Least time between two member counts of a large room, in milliseconds.
    #[arg(long, value_name = "MS", help_heading = TIMES)]
    pub presence_count_ms: Option<u32>,

    /// Rules of rooms: only the file has them.
    #[arg(skip)]
    pub room: Option<Vec<RoomTable>>,
}

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "roomcast", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100, next_line_help = true)]
pub struct Arguments {
    /// TOML file with settings.
    #[arg(long, value_name = "FILE", help_heading = PLACE)]
    pub config: Option<String>,
    /// Print the settings that would run as TOML, with where each comes from, and exit. What they name is not looked for:
    /// files, folders, users, addresses.
    #[arg(long, help_heading = PLACE)]
    pub check_config: bool,
    /// Give the logs in the data folder a new epoch, so that no client takes its position in them for valid. A
    /// restored backup gets one by itself.
    #[arg(long, help_heading = HISTORY)]
    pub new_epoch: bool,
    /// The settings.
    #[command(flatten)]
    pub layer: Layer,
}

impl Arguments {
    /// The parser of the command line; its help shows the defaults of `defaults`.
    pub fn command(defaults: &toml::Table) -> clap::Command {
        <Arguments as CommandFactory>::command().mut_args(|argument| {
            let default = defaults.get(argument.get_id().as_str()).and_then(words);
            match (argument.get_help(), default) {
                (Some(help), Some(default)) => {
                    let help = format!("{help} [default: {default}]");
                    argument.help(help)
                }
                (Some(_), None) | (None, _) => argument,
            }
        })
    }
}

/// The keys of all settings, in the order of the help.
pub fn keys() -> Vec<String> {
    let command = <Layer as CommandFactory>::command();
    command
        .get_arguments()
        .map(|argument| argument.get_id().to_string())
        .collect()
}

/// Whether the default of a setting does not hold for this machine's own addresses, as a value does that is set.
pub fn is_for_others(key: &str) -> bool {
    [
        "messages_per_connection_per_s_max",
        "bytes_per_connection_per_s_max",
        "joins_per_connection_per_s_max",
    ]
    .contains(&key)
}

/// The flag of a key: `--max-message` for `max_message`.
pub fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// The variable of a key: `ROOMCAST_MAX_MESSAGE` for `max_message`.
pub fn variable(key: &str) -> String {
    format!("ROOMCAST_{}", key.to_ascii_uppercase())
}

/// A default in words; switches that are off and empty lists need none.
fn words(default: &toml::Value) -> Option<String> {
    match default {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Boolean(false) => None,
        toml::Value::Array(values) if values.is_empty() => None,
        other => Some(other.to_string()),
    }
}
