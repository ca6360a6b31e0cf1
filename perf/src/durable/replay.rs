//! How long it takes to send a client the history that it has missed.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::publishers::room_name;
use crate::clock::{Clock, until};
use crate::crowd::Crowd;
use crate::destination::Destination;
use crate::figures::Figures;
use crate::limits::DRAIN_MS;
use crate::server::Server;
use crate::wire;

/// Lets a client join behind message 0 of a room with `count` messages, and waits for the last of them.
///
/// # Errors
///
/// The room is not there, or the poll failed.
pub fn run(server: &Server, count: u32, figures: &mut Figures) -> io::Result<()> {
    let room = room_name(0);
    let clock = Clock::start();
    let mut crowd = Crowd::new(clock, Destination::plain(server.address(), "/ws"))?;
    crowd.open(1)?;
    say(
        &mut crowd,
        &format!(r#"{{"type":"join","room_id":"{room}"}}"#),
    );
    let joined = hear(&mut crowd, "joined")?;
    let epoch = &joined["epoch"];
    say(
        &mut crowd,
        &format!(r#"{{"type":"leave","room_id":"{room}"}}"#),
    );
    hear(&mut crowd, "left")?;

    let began_ns = clock.now_ns();
    say(
        &mut crowd,
        &format!(r#"{{"type":"join","room_id":"{room}","since":{{"epoch":{epoch},"seq_id":0}}}}"#),
    );
    let (mut next, mut wrong_count, mut last_ns) = (1, 0, began_ns);
    let end_ns = began_ns + DRAIN_MS * 1_000_000;
    while next <= count && clock.now_ns() < end_ns {
        crowd.turn(Some(until(end_ns, clock.now_ns())), |arrival| {
            if arrival.payload.starts_with(b"{\"type\":\"message\"") {
                let expected = format!("\"seq_id\":{next},");
                let found = memchr::memmem::find(arrival.payload, expected.as_bytes());
                wrong_count += u32::from(found.is_none());
                next += 1;
                last_ns = arrival.at_ns;
            }
        })?;
    }
    if next <= count || wrong_count > 0 {
        let text = format!(
            "of {count} messages {} came again, {wrong_count} of them out of order",
            next - 1
        );
        figures.notes.push(text);
    } else {
        figures.add("replay_ms", (last_ns - began_ns) as f64 / 1e6);
    }
    Ok(())
}

fn say(crowd: &mut Crowd, command: &str) {
    let mut frame = Vec::new();
    wire::encode_masked(wire::TEXT, command.as_bytes(), &mut frame);
    crowd.send(0, &frame);
}

/// Waits for an event of this type.
fn hear(crowd: &mut Crowd, kind: &str) -> io::Result<Value> {
    let clock = crowd.clock();
    let end_ns = clock.now_ns() + DRAIN_MS * 1_000_000;
    let mut heard = None;
    while heard.is_none() && clock.now_ns() < end_ns {
        crowd.turn(Some(Duration::from_millis(100)), |arrival| {
            let event: Value = serde_json::from_slice(arrival.payload).unwrap_or_default();
            if event["type"] == kind {
                heard = Some(event);
            }
        })?;
    }
    heard.ok_or_else(|| io::Error::other(format!("the server never said {kind:?}")))
}
