//! What is repeated while instructions are counted.

use std::hint::black_box;

use roomcast::hashing::HashKey;
use roomcast::limits::{DEDUPE_COUNT_MAX, Limits, READ_BYTES};
use roomcast::log::{Draft, Head, LogPort, MemoryLog, Request, Submission, What};
use roomcast::proto::{Commands, Target, event};
use roomcast::room::{Connection, Key, Kind, Space, Tail};
use roomcast::slots::Slot;
use roomcast::ws::{Input, Opcode, Protocol, Rules, frame};
use roomcast_benches::feed::Feed;
use roomcast_benches::frames::{ascii, masked, message_command};
use roomcast_benches::shard::{Shard, Way};

/// A part of a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// Reads and decodes 64 frames with text of so many bytes.
    Decode,
    /// Parses a command of so many bytes.
    Parse,
    /// Lets the log service number so many messages of 64 bytes, each with an `id`, in one batch.
    Number,
    /// Encodes a numbered message of so many bytes of content.
    Encode,
    /// Appends a frame of so many bytes to a room's log, which is trimmed as it grows.
    Append,
    /// Takes a message through a shard to a room of so many members, who all take it at once.
    FanOut,
    /// The same, compressed for each of them.
    Deflate,
    /// The same in a relay.
    Relay,
    /// Takes a message through a shard and back, on one of so many connections.
    Echo,
    /// Pings so many members, who answer.
    Ping,
    /// Lets so many members, less one, take nothing while 16 messages come, and then all of them.
    Resume,
}

const PLAYS: [(Play, &str); 11] = [
    (Play::Decode, "decode"),
    (Play::Parse, "parse"),
    (Play::Number, "number"),
    (Play::Encode, "encode"),
    (Play::Append, "append"),
    (Play::FanOut, "fan-out"),
    (Play::Deflate, "deflate"),
    (Play::Relay, "relay"),
    (Play::Echo, "echo"),
    (Play::Ping, "ping"),
    (Play::Resume, "resume"),
];

/// Length of what is sent through a shard.
const MESSAGE_BYTES: usize = 128;
/// Messages that members miss while they take nothing.
const MISSED_COUNT: usize = 16;

impl Play {
    pub fn parse(name: &str) -> Option<Play> {
        let named = PLAYS.iter().find(|(_, other)| *other == name);
        named.map(|(play, _)| *play)
    }

    pub fn name(self) -> &'static str {
        let named = PLAYS.iter().find(|(other, _)| *other == self);
        named.map_or("", |(_, name)| name)
    }

    pub fn run(self, size: usize, repeats: usize) {
        match self {
            Play::Decode => decode(size, repeats),
            Play::Parse => parse(size, repeats),
            Play::Number => number(size, repeats),
            Play::Encode => encode(size, repeats),
            Play::Append => append(size, repeats),
            Play::FanOut => shard(Way::Chat, size).messages(repeats),
            Play::Deflate => shard(Way::Deflate, size).messages(repeats),
            Play::Relay => shard(Way::Raw, size).messages(repeats),
            Play::Echo => shard(Way::Echo, size).messages(repeats),
            Play::Ping => shard(Way::Chat, size).pings(repeats),
            Play::Resume => shard(Way::Chat, size).stalls(repeats, MISSED_COUNT),
        }
    }
}

fn shard(way: Way, member_count: usize) -> Shard {
    Shard::new(way, member_count, MESSAGE_BYTES)
}

fn decode(text_bytes: usize, repeats: usize) {
    let mut feed = Feed::new(&masked(&ascii(text_bytes)), 64);
    let mut buffer = vec![0; feed.round_bytes().max(READ_BYTES)];
    let (mut protocol, rules) = (Protocol::new(), Rules::new(64 * 1024));
    for _ in 0..repeats {
        let bytes = feed.recv(&mut buffer);
        let mut input = Input::new(&mut buffer[..bytes]);
        while let Some(message) = protocol.next(&mut input, &rules).expect("it is valid") {
            black_box(message);
        }
    }
}

fn parse(bytes: usize, repeats: usize) {
    let text = message_command(bytes);
    for _ in 0..repeats {
        for request in Commands::new(black_box(&text)) {
            black_box(&request).as_ref().expect("it is valid");
        }
    }
}

/// The log remembers as many ids as it ever does before anything is counted.
fn number(count: usize, repeats: usize) {
    let hash_key = HashKey::new((1, 2));
    let mut service = MemoryLog::new(hash_key);
    let log = Slot {
        index: 0,
        generation: 0,
    };
    let mut submission = Submission::default();
    submission.requests.push(Request::Open {
        log,
        key: Key {
            space: Space::Chat,
            name: "lobby".into(),
        },
        hint: Head { epoch: 1, seq: 0 },
        is_kept: true,
    });
    let content = format!("\"{}\"", ascii(62));
    let mut id: u128 = 0;
    for _ in 0..repeats + DEDUPE_COUNT_MAX / count {
        for _ in 0..count {
            // Ids come as hashes: no two alike, and in no order.
            id = id.wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            submission.append(
                log,
                (Connection::NONE, 0),
                Some(id),
                false,
                &draft(&content),
            );
        }
        service.submit(submission, 1_700_000_000_000);
        let answers = service.take().expect("a memory log answers at once");
        submission = answers.submission;
        submission.clear();
        black_box(answers.outcomes);
    }
}

fn draft(content: &str) -> Draft<'_> {
    Draft {
        what: What::Message,
        sender: "ann",
        to: None,
        id: Some("m-000001"),
        content,
        metadata: None,
    }
}

fn encode(content_bytes: usize, repeats: usize) {
    let content = format!("\"{}\"", ascii(content_bytes - 2));
    let target = Target::room("lobby");
    let message = event::Message {
        target: &target,
        seq_id: 123_456,
        timestamp: 1_700_000_000_000,
        sender: "ann",
        content: &content,
        metadata: None,
        id: Some("m-000001"),
    };
    let (mut text, mut out) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        text.clear();
        out.clear();
        black_box(&message).encode(&mut text);
        frame::encode(&mut out, Opcode::Text, &text);
        black_box(&out);
    }
}

fn append(frame_bytes: usize, repeats: usize) {
    let mut frame = Vec::new();
    frame::encode(&mut frame, Opcode::Text, ascii(frame_bytes - 4).as_bytes());
    let tail_bytes_max = Limits::default().tail_bytes_max;
    let mut tail = Tail::new(0);
    for _ in 0..repeats {
        tail.append(black_box(&frame), None, Kind::Numbered, Connection::NONE);
        while tail.is_over(tail_bytes_max, tail.head()) {
            tail.drop_first();
        }
    }
    black_box(&tail);
}
