//! What a message may cost on each part of its way: about a tenth more than what was counted.
//!
//! A change that needs more says here why it is worth it; one that needs much less takes the budget down with it.

use crate::plays::Play;

/// One line of the table.
#[derive(Debug)]
pub struct Budget {
    pub what: &'static str,
    pub play: Play,
    pub cost: Cost,
    /// The two counts of repeats whose difference is measured.
    pub repeats: (usize, usize),
    pub instructions_max: u32,
}

/// What is divided by what.
#[derive(Clone, Copy, Debug)]
pub enum Cost {
    /// A play of this size, in which a repeat is so many messages.
    PerMessage { size: usize, messages: usize },
    /// What each unit of size adds to a repeat.
    PerSize { small: usize, large: usize },
}

pub const BUDGETS: [Budget; 15] = [
    Budget {
        what: "decode a frame with text of 16 B, of 64 a read",
        play: Play::Decode,
        cost: Cost::PerMessage {
            size: 16,
            messages: 64,
        },
        repeats: (100, 300),
        instructions_max: 300,
    },
    Budget {
        what: "decode a frame with text of 125 B, of 64 a read",
        play: Play::Decode,
        cost: Cost::PerMessage {
            size: 125,
            messages: 64,
        },
        repeats: (100, 300),
        instructions_max: 580,
    },
    Budget {
        what: "parse a message command of 128 B",
        play: Play::Parse,
        cost: Cost::PerMessage {
            size: 128,
            messages: 1,
        },
        repeats: (1_000, 6_000),
        instructions_max: 3_900,
    },
    Budget {
        what: "number a message with an id, of 16 a turn",
        play: Play::Number,
        cost: Cost::PerMessage {
            size: 16,
            messages: 16,
        },
        repeats: (1_000, 2_000),
        instructions_max: 2_330,
    },
    Budget {
        what: "encode a message of 128 B as a frame",
        play: Play::Encode,
        cost: Cost::PerMessage {
            size: 128,
            messages: 1,
        },
        repeats: (1_000, 6_000),
        instructions_max: 1_460,
    },
    Budget {
        what: "append a frame of 250 B to a room's log",
        play: Play::Append,
        cost: Cost::PerMessage {
            size: 250,
            messages: 1,
        },
        repeats: (5_000, 25_000),
        instructions_max: 670,
    },
    Budget {
        what: "a message in a room of one, from socket to socket",
        play: Play::FanOut,
        cost: Cost::PerMessage {
            size: 1,
            messages: 1,
        },
        repeats: (500, 2_500),
        instructions_max: 18_200,
    },
    Budget {
        what: "a message, for each further member of the room",
        play: Play::FanOut,
        cost: Cost::PerSize {
            small: 100,
            large: 400,
        },
        repeats: (100, 600),
        instructions_max: 206,
    },
    // Most of it are the tables that the compressor clears for each message, of which Valgrind counts every byte.
    Budget {
        what: "a compressed message in a room of one, from socket to socket",
        play: Play::Deflate,
        cost: Cost::PerMessage {
            size: 1,
            messages: 1,
        },
        repeats: (500, 2_500),
        instructions_max: 358_000,
    },
    // The walk itself is that of plain messages; what the compiler makes of it here differs by twenty from one version to
    // the next.
    Budget {
        what: "a compressed message, for each further member of the room",
        play: Play::Deflate,
        cost: Cost::PerSize {
            small: 100,
            large: 400,
        },
        repeats: (100, 600),
        instructions_max: 180,
    },
    Budget {
        what: "a message in a relay of two, from socket to socket",
        play: Play::Relay,
        cost: Cost::PerMessage {
            size: 2,
            messages: 1,
        },
        repeats: (500, 2_500),
        instructions_max: 5_110,
    },
    Budget {
        what: "a message, for each further member of the relay",
        play: Play::Relay,
        cost: Cost::PerSize {
            small: 100,
            large: 400,
        },
        repeats: (100, 600),
        instructions_max: 204,
    },
    Budget {
        what: "an echo of 128 B, from socket to socket",
        play: Play::Echo,
        cost: Cost::PerMessage {
            size: 1,
            messages: 1,
        },
        repeats: (1_000, 6_000),
        instructions_max: 2_460,
    },
    Budget {
        what: "a ping and its pong",
        play: Play::Ping,
        cost: Cost::PerSize {
            small: 100,
            large: 400,
        },
        repeats: (20, 120),
        instructions_max: 2_060,
    },
    Budget {
        what: "a member that takes nothing for 16 messages, and then all of them",
        play: Play::Resume,
        cost: Cost::PerSize {
            small: 100,
            large: 400,
        },
        repeats: (20, 120),
        instructions_max: 2_280,
    },
];
