//! What a proxy in front says of a connection, and which addresses are proxies of ours.
//!
//! | what | where | source |
//! |---|---|---|
//! | the addresses that are believed | [`Networks`] | RFC 4632, 3.1; RFC 4291, 2.3 |
//! | the header before a connection's own bytes, versions 1 and 2 | [`header`] | HAProxy's proxy-protocol.txt, 2 |
//!
//! What proxies write into requests is read by [`Forwarded`](crate::http::Forwarded). Whoever believes either of anyone
//! lets every client choose its own address; so nobody is believed by default.

pub mod header;
mod network;

pub use network::{Network, NetworkError, Networks};
