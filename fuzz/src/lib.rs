//! What the fuzz targets do with their input. A target is a function over bytes that panics where a promise is broken,
//! so that the same code runs under libFuzzer (`fuzz_targets/`) and, over the committed inputs, in `cargo test`
//! (`tests/corpus.rs` of the server).

pub mod chatter;
pub mod command;
pub mod connection;
pub mod cuts;
pub mod deflate;
pub mod differential;
pub mod frames;
pub mod header;
pub mod http;
pub mod ledger;
pub mod pipe;
pub mod proxy;
pub mod reader;
pub mod roundtrip;
pub mod shard;
pub mod world;

/// A target: its name, which is also that of its folders, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 10] = [
    ("command", command::run),
    ("connection", connection::run),
    ("deflate", deflate::run),
    ("differential", differential::run),
    ("frames", frames::run),
    ("header", header::run),
    ("http", http::run),
    ("proxy", proxy::run),
    ("roundtrip", roundtrip::run),
    ("shard", shard::run),
];
