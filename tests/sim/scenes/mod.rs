//! What the simulator has found, each as the shortest scene that shows it.

mod connections;
mod disk;
mod inboxes;
mod memory;
mod opening;
mod refused;
mod retention;
mod rooms;

use crate::link::Quality;
use crate::told::Told;

/// A connection whose client's kernel takes only so many bytes.
pub fn narrow(down_bytes_max: usize) -> Quality {
    Quality {
        down_bytes_max,
        ..Quality::IDEAL
    }
}

/// What was told, as words.
pub fn words(told: &[Told]) -> Vec<&'static str> {
    told.iter()
        .map(|told| match told {
            Told::Welcome { .. } => "welcome",
            Told::Joined { .. } => "joined",
            Told::Left { .. } => "left",
            Told::Done { .. } => "done",
            Told::Message(_) => "message",
            Told::Ack { .. } => "ack",
            Told::Signal { .. } => "signal",
            Told::History { .. } => "history",
            Told::Presence { .. } => "presence",
            Told::Gap { .. } => "gap",
            Told::System { .. } => "system",
            Told::Error { .. } => "error",
            Told::Heartbeat => "heartbeat",
            Told::Bye { .. } => "bye",
        })
        .collect()
}

/// The numbers of the messages among what was told.
pub fn numbers(told: &[Told]) -> Vec<u64> {
    let message = |told: &Told| match told {
        Told::Message(message) => Some(message.seq),
        _ => None,
    };
    told.iter().filter_map(message).collect()
}
