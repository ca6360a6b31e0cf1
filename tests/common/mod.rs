//! What the tests share: the real server on a free port, and small clients that speak to it byte by byte.
//!
//! A test never waits for a time to pass; it waits for something to happen, with [`PATIENCE`] as the deadline.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test file uses its own part of this module"
)]

mod client;
mod http;
pub mod mint;
mod relay;
mod server;
mod settings;
mod socket;
mod stream;
pub mod tls;

pub use client::{Client, seq, seqs};
pub use http::{Http, Response};
pub use relay::enter;
pub use server::{Server, program, run_to_end};
pub use settings::Settings;
pub use socket::{Frame, KEY, Socket, deflated, fragment, marked, masked, upgrade};
pub use stream::Stream;

pub use roomcast::ws::Opcode;
pub use serde_json::{Value, json};

use std::time::{Duration, Instant};

/// How long anything may take before a test fails. Much more than anything needs, so that a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs each of the named functions with one shard and with two.
macro_rules! sharded {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn one_shard() {
                    super::$name(1);
                }

                #[test]
                fn two_shards() {
                    super::$name(2);
                }
            }
        )+
    };
}
pub(crate) use sharded;

/// The same, and once more over TLS.
macro_rules! transported {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn one_shard() {
                    super::$name(1);
                }

                #[test]
                fn two_shards() {
                    super::$name(2);
                }

                #[test]
                fn tls() {
                    super::common::tls::over_tls(|| super::$name(2));
                }
            }
        )+
    };
}
pub(crate) use transported;

/// Asks until the answer is yes. `what` says what did not come true.
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The time that is left of a deadline; never zero, which would mean "for ever" to a socket.
pub fn left_of(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}
