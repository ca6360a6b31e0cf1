//! Rooms that are sent more than a write for each delivery allows: how much that is here, and what is said of a server
//! that does not keep up.

use std::io;

use super::task::{Length, Task};
use crate::args::{Contestant, Endpoint};
use crate::figures::Figures;
use crate::ledger::Audience;
use crate::limits::RATE_PER_S;
use crate::load::Pace;
use crate::peers::Peer;
use crate::server::{Choice, Server, Setting};

/// How many times as many deliveries there are as the bare loop could make with a write for each.
const FACTOR: f64 = 5.0;

/// What a delivery costs the bare loop with one message in flight, for each number of members: measured once, so that all
/// servers are sent the same in all rounds.
#[derive(Debug, Default)]
pub struct Floor {
    costs_us: Vec<(u32, f64)>,
}

impl Floor {
    /// What is done in a row, once its rate is known.
    ///
    /// # Errors
    ///
    /// The bare loop could not be measured.
    pub fn settle(&mut self, task: Task, measure_s: u32, setting: &Setting) -> io::Result<Task> {
        match task {
            Task::Overload { members } => {
                let cost_us = self.cost_us(members, measure_s, setting)?;
                let pace = Pace::Open {
                    rate_per_s: rate_per_s(cost_us, members),
                };
                Ok(room(members, pace))
            }
            Task::Fanout { .. }
            | Task::Stalled
            | Task::Arrivals
            | Task::Burst
            | Task::Echo { .. }
            | Task::Idle(_) => Ok(task),
        }
    }

    fn cost_us(&mut self, members: u32, measure_s: u32, setting: &Setting) -> io::Result<f64> {
        let known = self.costs_us.iter().find(|(count, _)| *count == members);
        if let Some((_, cost_us)) = known {
            return Ok(*cost_us);
        }
        let choice = Choice::Peer(Peer::Bare);
        let bare = Contestant {
            room: choice.room(Endpoint::Raw),
            choice,
            is_tls: false,
        };
        let server = Server::start(&bare.choice, setting)?;
        let window = Pace::Closed { in_flight_count: 1 };
        let figures = room(members, window).run(&bare, measure_s, &server)?;
        server.stop()?;
        let cost_us = figures.number("server_cpu_us_per_delivery");
        let cost_us = cost_us.filter(|cost_us| *cost_us > 0.0);
        let cost_us = cost_us.ok_or_else(|| io::Error::other("the bare loop delivered nothing"))?;
        self.costs_us.push((members, cost_us));
        Ok(cost_us)
    }
}

fn room(members: u32, pace: Pace) -> Task {
    Task::Fanout {
        members,
        publishers: 1,
        pace,
        length: Length::Content,
        deflate: false,
    }
}

/// Messages a second that make so many deliveries.
fn rate_per_s(cost_us: f64, members: u32) -> u32 {
    let readers = Audience::Others.reader_count(members).max(1);
    let rate_per_s = FACTOR * 1e6 / cost_us / f64::from(readers);
    rate_per_s.clamp(1.0, *RATE_PER_S.end() as f64) as u32
}

/// That a peer loses what comes faster than it goes is no fault of this program or of roomcast. Its latencies are left
/// out: they would be those of what it did not lose.
pub fn forgive(figures: &mut Figures, choice: &Choice) {
    if figures.faults.is_empty() || choice.chats() || *choice == Choice::Peer(Peer::Bare) {
        return;
    }
    let faults = std::mem::take(&mut figures.faults);
    let note = format!("does not keep up: {}", faults.join("; "));
    figures.notes.push(note);
    figures
        .numbers
        .retain(|(name, _)| !name.starts_with("latency_"));
    figures.distribution.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_sent_five_times_what_writes_allow() {
        // 4 µs for each delivery are 250,000 a second.
        assert_eq!(rate_per_s(4.0, 501), 2500);
        assert_eq!(rate_per_s(4.0, 5001), 250);
        assert_eq!(rate_per_s(1e9, 5), 1);
    }

    #[test]
    fn only_peers_are_forgiven() {
        let figures = || {
            let mut figures = Figures::default();
            figures.add("latency_p50_ms", 1.0);
            figures.add("server_cpu_us_per_delivery", 2.0);
            figures.faults.push("3 messages never came".into());
            figures
        };
        let mut of_peer = figures();
        forgive(&mut of_peer, &Choice::named("program:/opt/relay"));
        assert_eq!(of_peer.notes, ["does not keep up: 3 messages never came"]);
        assert_eq!(of_peer.number("latency_p50_ms"), None);
        assert_eq!(of_peer.number("server_cpu_us_per_delivery"), Some(2.0));
        assert!(of_peer.faults.is_empty());
        for name in ["bare", "target/release/roomcast"] {
            let mut own = figures();
            forgive(&mut own, &Choice::named(name));
            assert_eq!(own.faults.len(), 1, "{name}");
        }
    }
}
