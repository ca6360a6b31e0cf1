//! HTTP/1.1 as far as this server needs it: bytes in, values out, answers into a buffer.
//!
//! | what | where | source |
//! |---|---|---|
//! | end of the head, its characters and bounds | [`Scan`] | RFC 9112, 2.2; RFC 6585, 5 |
//! | request line, fields, body length, target | [`parse`], [`Request`] | RFC 9112, 3, 5 and 6 |
//! | WebSocket upgrade | [`Upgrade`], [`Offer`] | RFC 6455, 4.2.1; RFC 9110, 7.8 |
//! | what proxies in front say of the client | [`Forwarded`] | no standard; as Nginx and HAProxy write it |
//! | parameters of `/ws` | [`WsQuery`] | URL standard, form encoding |
//! | paths | [`route`] | |
//! | answers | [`Reply`], [`response::upgrade`] | RFC 9110, 6.6.1, 8 and 15 |
//!
//! What cannot be served is a [`Refusal`], and whoever gets one also loses the connection: after a request that was
//! not understood nobody knows where the next one begins.
//!
//! Not here: reading bodies (the caller skips `body_bytes`), chunked coding (a request in it is refused), the accept
//! key ([`crate::ws::handshake`]), the choice of a subprotocol, deadlines, sockets, the clock.

pub mod assets;
mod date;
mod field;
mod forwarded;
mod list;
mod query;
mod refusal;
mod request;
pub mod response;
mod route;
mod scan;
mod target;
mod upgrade;

#[cfg(test)]
mod tests;

pub use assets::Asset;
pub use forwarded::{Client, Forwarded};
pub use list::{Extension, Extensions, Parameter, Protocols};
pub use query::{QueryError, WsQuery};
pub use refusal::{Extra, Refusal};
pub use request::{Method, Parsed, Request, Version, parse};
pub use response::{Reply, Status};
pub use route::{Endpoints, Route, route};
pub use scan::Scan;
pub use upgrade::{Offer, Upgrade};
