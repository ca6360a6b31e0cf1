//! Bounds of a run: nothing here can be made to run for ever or to take the machine.

use std::ops::RangeInclusive;

/// Connections of one run.
pub const CONNECTION_COUNT: RangeInclusive<i64> = 1..=200_000;
/// Connections that publish.
pub const PUBLISHER_COUNT: RangeInclusive<i64> = 1..=1024;
/// Messages that are under way from one publisher.
pub const IN_FLIGHT_COUNT: RangeInclusive<i64> = 1..=4096;
/// Messages a second.
pub const RATE_PER_S: RangeInclusive<i64> = 1..=100_000;
/// Length of a message, in bytes. It holds at least the stamp.
pub const MESSAGE_BYTES: RangeInclusive<i64> = 16..=32_768;
/// Length of a measurement, in seconds.
pub const MEASURE_S: RangeInclusive<i64> = 1..=600;
/// Interval of pings, in milliseconds.
pub const PING_MS: RangeInclusive<i64> = 100..=3_600_000;
/// Share of members that stop reading, in per cent.
pub const STALLED_PERCENT: RangeInclusive<i64> = 1..=90;
/// Times that everything is repeated.
pub const ROUND_COUNT: RangeInclusive<i64> = 1..=99;

/// Share of the time for which either side may wait for a core that others have, in per cent. Beyond it a comparison
/// measures again.
pub const WAITED_PERCENT_MAX: f64 = 10.0;
/// Times that a comparison tries.
pub const TRY_COUNT_MAX: u32 = 3;

/// Connections whose handshake is under way at the same time.
pub const OPENING_COUNT_MAX: usize = 256;
/// Connections from one source address; beyond it the next one of the network is used. The kernel gives a connection one of
/// 14,000 odd ports; once they are taken it looks at all of them before it takes an even one, a millisecond each time.
pub const CONNECTIONS_PER_ADDRESS: usize = 12_000;
/// Time for all connections to open: this and a millisecond for each of them.
pub const OPENING_MS: u64 = 30_000;
/// Time for the last messages to arrive after the last one was sent, in milliseconds.
pub const DRAIN_MS: u64 = 10_000;
/// Time for a server to stop, in milliseconds, after which it is killed.
pub const STOP_MS: u64 = 15_000;
/// Size of the buffer into which all connections are read. The longest frame fits several times.
pub const SCRATCH_BYTES: usize = 256 * 1024;
/// Bytes that are handed to a publisher's socket at a time.
pub const BATCH_BYTES: usize = 64 * 1024;
/// Longest frame that is accepted, in bytes of payload.
pub const FRAME_BYTES_MAX: u64 = 128 * 1024;
/// Longest latency that is told apart from longer ones, in nanoseconds.
pub const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Messages of a room whose compressed bytes are remembered, to compare those of the next member with.
pub const SEEN_COUNT: usize = 16 * 1024;
/// Receive buffer of a member that never reads, in bytes, so that it is full soon.
pub const STALLED_RECEIVE_BYTES: usize = 4096;
/// Longest segment that is sent to a member that never reads, in bytes, as on an Ethernet. The kernel lets the sender's
/// buffer grow by it: with those of 64 KiB that loopback has, 2.8 MB wait there before a server learns that nobody reads,
/// with these 54 kB.
pub const STALLED_SEGMENT_BYTES: u32 = 1460;
