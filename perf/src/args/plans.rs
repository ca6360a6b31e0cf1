//! What a command line means for a measurement.

use std::io;
use std::time::Duration;

use super::{Arrivals, Burst, Durable, Echo, Endpoint, Fanout, Idle, Span, Stalled};
use crate::load::{Pace, Shape};
use crate::room::Room;
use crate::server::Choice;
use crate::{churn, durable, echo, fanout, idle, stalled};

impl Fanout {
    /// What that means for a room.
    pub fn plan(&self, room: Room) -> fanout::Plan {
        let rate = Pace::Open {
            rate_per_s: self.rate,
        };
        let window = |in_flight_count| Pace::Closed { in_flight_count };
        fanout::Plan {
            shape: Shape {
                room,
                member_count: self.members,
                publisher_count: self.publishers.min(self.members),
                message_bytes: self.bytes as usize,
                pace: self.in_flight.map_or(rate, window),
            },
            deflate: self.deflate,
            span: self.span.plan(),
        }
    }
}

impl Stalled {
    /// What that means for a room.
    pub fn plan(&self, room: Room) -> stalled::Plan {
        let stalled_count = self.members * self.percent / 100;
        let reader_count = self.members - stalled_count;
        stalled::Plan {
            shape: one_publisher(room, reader_count, self.bytes, self.rate),
            stalled_count,
            span: self.span.plan(),
        }
    }
}

impl Burst {
    /// What that means for a room.
    pub fn plan(&self, room: Room) -> churn::Burst {
        churn::Burst {
            room,
            connection_count: self.connections,
            settle: Duration::from_secs(self.settle.into()),
        }
    }
}

impl Arrivals {
    /// What that means for a room.
    pub fn plan(&self, room: Room) -> churn::Arrivals {
        churn::Arrivals {
            shape: one_publisher(room, self.members, self.bytes, self.rate),
            arrival_count: self.arrivals,
            within: Duration::from_secs(self.within.into()),
            span: self.span.plan(),
        }
    }
}

impl Echo {
    /// What that means at a path.
    pub fn plan(&self, path: &str) -> echo::Plan {
        echo::Plan {
            path: path.into(),
            connection_count: self.connections,
            depth: self.depth,
            message_bytes: self.bytes as usize,
            span: self.span.plan(),
        }
    }
}

impl Durable {
    /// What that means for the first server that is named.
    ///
    /// # Errors
    ///
    /// There is none that can be started with a data folder.
    pub fn plan(&self) -> io::Result<durable::Plan> {
        let contestants = self.common.contestants(&[Endpoint::Ws]);
        let choice = contestants.into_iter().map(|one| one.choice).next();
        let Some(choice @ Choice::Roomcast(_)) = choice else {
            return Err(io::Error::other("only roomcast has a data folder"));
        };
        let program = std::env::current_exe()?;
        let beside = || program.with_file_name("roomcast-perf-durable");
        Ok(durable::Plan {
            choice,
            setting: self.common.setting(false),
            folder: self.folder.clone().unwrap_or_else(beside),
            in_flight_count: self.in_flight,
            has_ids: self.ids,
            message_bytes: self.bytes as usize,
            member_count: self.members,
            span: self.span.plan(),
        })
    }
}

impl Idle {
    /// What that means for a room.
    pub fn plan(&self, room: Room) -> idle::Plan {
        let mut steps = self.members.clone();
        steps.sort_unstable();
        idle::Plan {
            steps,
            room,
            settle: Duration::from_secs(self.settle.into()),
            measure: Duration::from_secs(self.seconds.into()),
            calls: self.calls,
        }
    }
}

impl Span {
    fn plan(&self) -> fanout::Span {
        fanout::Span {
            settle: Duration::from_secs(self.settle.into()),
            warm_up: Duration::from_secs(self.warm_up.into()),
            measure: Duration::from_secs(self.seconds.into()),
            calls: self.calls,
        }
    }
}

/// A room with one publisher that keeps to the clock.
fn one_publisher(room: Room, member_count: u32, bytes: u32, rate_per_s: u32) -> Shape {
    Shape {
        room,
        member_count,
        publisher_count: 1,
        message_bytes: bytes as usize,
        pace: Pace::Open { rate_per_s },
    }
}
