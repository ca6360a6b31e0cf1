//! What the benchmarks share: payloads, the frames that clients send them in, a stream to read those from, and a shard
//! in memory.

pub mod feed;
pub mod frames;
pub mod shard;
