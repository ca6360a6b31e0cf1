//! What is done in a row of the comparison.

use std::io;
use std::time::Duration;

use crate::args::Contestant;
use crate::fanout::{self, Span};
use crate::figures::Figures;
use crate::load::{Pace, Shape};
use crate::room::{Dialect, Room};
use crate::server::Server;
use crate::{churn, echo, idle, stalled};

/// One measurement, in the sizes that everybody is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// See [`fanout`].
    Fanout {
        /// Connections in the room.
        members: u32,
        /// Connections that publish.
        publishers: u32,
        /// When.
        pace: Pace,
        /// How long messages are.
        length: Length,
        /// Whether members offer compression.
        deflate: bool,
    },
    /// The same in an open loop, with more than a write for each delivery allows: see [`overload`](super::overload).
    Overload {
        /// Connections in the room, of which one publishes.
        members: u32,
    },
    /// See [`stalled`].
    Stalled,
    /// See [`churn::arrivals`].
    Arrivals,
    /// See [`churn::burst`].
    Burst,
    /// See [`echo`].
    Echo {
        /// Messages under way on each connection.
        depth: u32,
    },
    /// See [`idle`].
    Idle(
        /// Connections at which memory is read, rising.
        &'static [u32],
    ),
}

/// How long messages are.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// What somebody says has the same length for all servers.
    Content,
    /// What arrives has the length that it has on `/ws`, where JSON stands around what somebody says.
    Wire,
}

impl Task {
    /// About how long it takes, where a measurement takes `measure_s`.
    pub fn seconds(self, measure_s: u32) -> u64 {
        let measure = u64::from(measure_s);
        match self {
            Task::Fanout {
                pace: Pace::Closed { .. },
                ..
            } => measure + 5,
            Task::Fanout { .. } => measure + 11,
            Task::Overload { .. } => measure + 20,
            Task::Stalled => 2 * measure.max(STALLED_S.into()) + 20,
            Task::Arrivals => measure + 16,
            Task::Burst => 8,
            Task::Echo { .. } => measure + 4,
            Task::Idle(steps) => 110 + COUNT_TOLD.as_secs() * steps.len() as u64,
        }
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// See the measurements.
    pub fn run(self, one: &Contestant, measure_s: u32, server: &Server) -> io::Result<Figures> {
        let room = one.room.clone();
        match self {
            Task::Fanout {
                members,
                publishers,
                pace,
                length,
                deflate,
            } => {
                let bytes = length.message_bytes(&room);
                let plan = fanout::Plan {
                    shape: shape(room, members, publishers, bytes, pace),
                    deflate,
                    span: span(pace, measure_s),
                };
                fanout::run(&plan, server)
            }
            Task::Overload { .. } => {
                let text = "how much is too much has still to be measured";
                Err(io::Error::other(text))
            }
            Task::Stalled => {
                let plan = stalled::Plan {
                    shape: shape(room, 900, 1, 1024, open(50)),
                    stalled_count: 100,
                    span: span(open(50), measure_s.max(STALLED_S)),
                };
                stalled::run(&plan, server)
            }
            Task::Arrivals => {
                let plan = churn::Arrivals {
                    shape: shape(room, 500, 1, CONTENT_BYTES, open(100)),
                    arrival_count: 15_000,
                    within: Duration::from_secs(2),
                    span: span(open(100), measure_s),
                };
                churn::arrivals(&plan, server)
            }
            Task::Burst => churn::burst(&burst(room), server),
            Task::Echo { depth } => echo::run(&echo(one, depth, measure_s), server),
            Task::Idle(steps) => idle::run(&idle(room, steps), server),
        }
    }
}

impl Length {
    fn message_bytes(self, room: &Room) -> usize {
        match (self, &room.dialect) {
            (Length::Content, _) | (Length::Wire, Dialect::Chat) => CONTENT_BYTES,
            (Length::Wire, Dialect::Bare | Dialect::Template { .. }) => WS_BYTES,
        }
    }
}

/// Length of what somebody says.
const CONTENT_BYTES: usize = 128;
/// Length of a message of `/ws` in which a guest says so much, with a number of five digits.
const WS_BYTES: usize = 245;

/// Seconds for which members do not read, at least: what they are sent then is more than the 54 kB that their sockets
/// take and the 256 KiB that roomcast keeps for those who are behind.
const STALLED_S: u32 = 15;

/// Time after which a server has told everybody how many there are. roomcast tells the count of a large room 5 s after
/// it did so last.
const COUNT_TOLD: Duration = Duration::from_secs(7);

/// In an open loop every fan-out that the server adds would show in the latencies.
fn span(pace: Pace, measure_s: u32) -> Span {
    Span {
        settle: match pace {
            Pace::Open { .. } => COUNT_TOLD,
            Pace::Closed { .. } => Duration::from_millis(500),
        },
        warm_up: Duration::from_secs(1),
        measure: Duration::from_secs(measure_s.into()),
        calls: true,
    }
}

fn open(rate_per_s: u32) -> Pace {
    Pace::Open { rate_per_s }
}

fn shape(room: Room, members: u32, publishers: u32, bytes: usize, pace: Pace) -> Shape {
    Shape {
        room,
        member_count: members,
        publisher_count: publishers.min(members),
        message_bytes: bytes,
        pace,
    }
}

fn burst(room: Room) -> churn::Burst {
    churn::Burst {
        room,
        connection_count: 10_000,
        settle: Duration::from_secs(2),
    }
}

fn echo(one: &Contestant, depth: u32, measure_s: u32) -> echo::Plan {
    let window = Pace::Closed {
        in_flight_count: depth,
    };
    echo::Plan {
        path: one.echo_path().into(),
        connection_count: 100,
        depth,
        message_bytes: CONTENT_BYTES,
        span: span(window, measure_s),
    }
}

/// Everybody is pinged once, by roomcast and by the bare loop.
fn idle(room: Room, steps: &[u32]) -> idle::Plan {
    idle::Plan {
        steps: steps.to_vec(),
        room,
        settle: COUNT_TOLD,
        measure: Duration::from_millis(idle::PING_MS.into()),
        calls: true,
    }
}
