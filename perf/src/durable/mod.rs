//! What it costs to keep everything: the same load for a server that commits each message to a disk before anybody
//! hears of it, and for one that keeps it in memory.

mod disk;
mod publishers;
mod replay;

use std::io;
use std::path::{Path, PathBuf};

use crate::fanout;
use crate::figures::Figures;
use crate::load::{Pace, Shape};
use crate::room::Room;
use crate::server::{Choice, Server, Setting, Storage};

use publishers::{Publishers, Work};

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The roomcast.
    pub choice: Choice,
    /// Cores and arguments.
    pub setting: Setting,
    /// Where data folders are made, on the disk that is measured.
    pub folder: PathBuf,
    /// Messages under way, over all publishers.
    pub in_flight_count: u32,
    /// Whether messages have an `id`, which is remembered as long as they are.
    pub has_ids: bool,
    /// Length of a message's `content`.
    pub message_bytes: usize,
    /// Members of the room whose fan-out is measured.
    pub member_count: u32,
    /// How long each measurement takes.
    pub span: fanout::Span,
}

/// What a server without a disk is measured at: the rates that the one with a disk can take, with one room and with
/// 100, in messages a second.
pub type Rates = Vec<(u32, f64)>;

/// Publishers of the only room. With 100 rooms each has one.
const PUBLISHER_COUNT: u32 = 4;
/// Messages under way in the room whose fan-out is measured.
const FANOUT_IN_FLIGHT_COUNT: u32 = 16;
/// Messages of history that a client is sent.
const REPLAYED_COUNT: u32 = 10_000;

/// Runs a plan once: for a server that keeps everything on the disk, which adds its rates, or for one that does not.
///
/// # Errors
///
/// The server does not start, or is gone; the folder can't be written to.
pub fn run(plan: &Plan, is_durable: bool, rates: &mut Rates) -> io::Result<Figures> {
    let mut figures = Figures::default();
    if is_durable {
        disk::measure(&plan.folder, &mut figures)?;
    }
    let data = is_durable.then(|| plan.folder.join("data"));
    for room_count in [1, 100] {
        let server = start(plan, data.as_deref())?;
        let mut publishers = Publishers::new(&server, plan.work(room_count, is_durable))?;
        let per_s = saturate(plan, &server, room_count, &mut publishers, &mut figures)?;
        if is_durable {
            rates.push((room_count, per_s));
        }
        pace(plan, room_count, rates, &mut publishers, &mut figures)?;
        figures.faults.extend(publishers.faults());
        stop(server, data.as_deref())?;
    }
    let server = start(plan, data.as_deref())?;
    fan_out(plan, &server, &mut figures)?;
    stop(server, data.as_deref())?;

    let mut server = start(plan, data.as_deref())?;
    let mut publishers = Publishers::new(&server, plan.work(1, is_durable))?;
    publishers.publish(REPLAYED_COUNT)?;
    figures.faults.extend(publishers.faults());
    if let Some(data) = &data {
        // Nothing of it is in memory any more.
        server.stop()?;
        server = Server::start(&plan.choice, &plan.setting_with(Some(data)))?;
    }
    replay::run(&server, REPLAYED_COUNT, &mut figures)?;
    stop(server, data.as_deref())?;
    Ok(figures)
}

/// How many messages a second are acknowledged when as many are sent as go, and how soon.
fn saturate(
    plan: &Plan,
    server: &Server,
    room_count: u32,
    publishers: &mut Publishers,
    figures: &mut Figures,
) -> io::Result<f64> {
    publishers.go(plan.span.warm_up)?;
    let (before, acked_total) = (server.sample()?, publishers.acked_total());
    publishers.go(plan.span.measure)?;
    let used = server.sample()?.since(&before);
    let acked = (publishers.acked_total() - acked_total) as f64;
    let per_s = acked / used.wall.as_secs_f64();
    figures.add(format!("rooms_{room_count}_messages_per_s"), per_s);
    let cpu_us = used.cpu_ns as f64 / 1e3 / acked.max(1.0);
    figures.add(
        format!("rooms_{room_count}_server_cpu_us_per_message"),
        cpu_us,
    );
    publishers.drain()?;
    publishers.add_latencies(&format!("rooms_{room_count}_ack"), figures);
    Ok(per_s)
}

/// How soon messages are acknowledged at 10 and at 80 % of a rate.
fn pace(
    plan: &Plan,
    room_count: u32,
    rates: &Rates,
    publishers: &mut Publishers,
    figures: &mut Figures,
) -> io::Result<()> {
    let rate = rates.iter().rev().find(|(count, _)| *count == room_count);
    let per_s = rate.map_or(0.0, |(_, per_s)| *per_s);
    for percent in [10, 80] {
        publishers.pace((per_s * f64::from(percent) / 100.0) as u32);
        publishers.go(plan.span.measure)?;
        publishers.drain()?;
        publishers.add_latencies(
            &format!("rooms_{room_count}_at_{percent}_percent_ack"),
            figures,
        );
    }
    Ok(())
}

fn fan_out(plan: &Plan, server: &Server, figures: &mut Figures) -> io::Result<()> {
    let fanned = fanout::run(
        &fanout::Plan {
            shape: Shape {
                room: Room::chat(),
                member_count: plan.member_count,
                publisher_count: 1,
                message_bytes: plan.message_bytes,
                pace: Pace::Closed {
                    in_flight_count: FANOUT_IN_FLIGHT_COUNT,
                },
            },
            deflate: false,
            span: plan.span,
        },
        server,
    )?;
    for name in [
        "deliveries_per_s",
        "server_cpu_us_per_delivery",
        "latency_p50_ms",
        "latency_p99_ms",
    ] {
        if let Some(value) = fanned.number(name) {
            figures.add(format!("fanout_{name}"), value);
        }
    }
    figures.faults.extend(fanned.faults);
    Ok(())
}

/// A server with an empty data folder.
fn start(plan: &Plan, data: Option<&Path>) -> io::Result<Server> {
    if let Some(data) = data.filter(|data| data.exists()) {
        // What a run that was ended has left.
        std::fs::remove_dir_all(data)?;
    }
    Server::start(&plan.choice, &plan.setting_with(data))
}

fn stop(server: Server, data: Option<&Path>) -> io::Result<()> {
    server.stop()?;
    data.map_or(Ok(()), std::fs::remove_dir_all)
}

impl Plan {
    fn setting_with(&self, data: Option<&Path>) -> Setting {
        Setting {
            storage: data.map_or(Storage::Memory, |data| Storage::Data(data.into())),
            ..self.setting.clone()
        }
    }

    fn work(&self, room_count: u32, is_durable: bool) -> Work {
        let publisher_count = room_count.max(PUBLISHER_COUNT);
        Work {
            room_count,
            publisher_count,
            in_flight_count: (self.in_flight_count / publisher_count).max(1),
            has_ids: self.has_ids,
            message_bytes: self.message_bytes,
            is_durable,
        }
    }
}
