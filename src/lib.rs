//! roomcast is a real-time chat server in one binary. **A room is a log, and a member is a cursor into it**:
//! live delivery, catching up after a reconnect, a reader too slow to keep up, paging back through history and a room
//! spread over several threads are all the same thing, reading a log from a position.
//!
//! # Three rings
//!
//! Imports point inwards only; `tests/layering.rs` reads them to keep it so.
//!
//! | ring | modules | what it may know |
//! |---|---|---|
//! | 0 codecs | [`ws`], [`http`], [`proto`], [`proxy`] | bytes in, values out: no socket, clock or random number, no allocation per frame |
//! | 1 engine | [`room`], [`users`], [`authority`], [`hub`], [`peer`], [`engine`], [`mod@log`], and their small parts [`rights`], [`rules`], [`sanctions`], [`mail`], [`effects`], [`slots`], [`timers`], [`hashing`], [`callers`], [`rates`] | state machines: time and randomness are arguments, sockets and tables are traits |
//! | 2 shell | [`reactor`], [`admin`], [`store`], [`auth`], [`config`], [`metrics`], [`tools`], `main` | mio, rustls, SQLite, threads, files, signals |
//!
//! [`limits`] holds every bound, [`counters`] every counter, and [`secret`] hides what must not be shown, for all rings.
//! Rings 0 and 1 run unchanged under the simulator (`tests/sim`) and the fuzzers: partial writes, budgets and fan-out
//! included.
//!
//! # The turn
//!
//! A shard is one thread with one [`Engine`](engine::Engine). It does nothing in direct reaction to an event; all it
//! does is this, again and again:
//!
//! | phase | where |
//! |---|---|
//! | 1 poll, then read the clock once | `reactor::shard` |
//! | 2 events set readiness bits | [`Engine::ready`](engine::Engine::ready) |
//! | 3 take the mail of other shards | [`Engine::turn`](engine::Engine::turn), from here to 9 |
//! | 4 read ready peers: one `recv` each, and a share of [`OBJECT_COUNT_PER_TURN`](limits::OBJECT_COUNT_PER_TURN) objects | `engine::read`, `engine::chat`, `engine::web` |
//! | 5 hand the turn's messages to the log service as one batch | [`Hub::commit`](hub::Hub::commit) |
//! | 6 append what it numbered to the rooms' segments | `hub::append` |
//! | 7 fan out dirty rooms: one write per membership, in slices of [`SEND_COUNT_PER_TURN`](limits::SEND_COUNT_PER_TURN) | `engine::fan_out` |
//! | 8 flush peers that have replies of their own or can take bytes again | `engine::flush` |
//! | 9 timers, then free the doomed; the shell accepts last | `engine::timer`, `reactor::listener` |
//!
//! Busy means batching: what came during one pass leaves in the next, with one system call per member. So the slowest
//! delivery takes about two passes, whatever the load.
//!
//! # A message's way
//!
//! 1. [`ws::Protocol`] unmasks it in place in the shard's read buffer and lends it out; [`proto::Commands`] reads the
//!    JSON without copying it.
//! 2. [`Hub::command`](hub::Hub::command) checks it where the connection is, and sends it to the home of its room:
//!    the shard that the keyed hash of the name says. That may be this shard; the path is the same.
//! 3. At the home it joins the turn's [`Submission`](log::Submission). The [`LogService`](log::LogService) meets
//!    repeated `id`s, gives numbers, and keeps: one step, so that a failed batch leaves no hole.
//! 4. It is encoded once, as the frame that goes on the wire, into the last [segment](room::Tail) of the room. The
//!    sender's `ack` goes to its own replies.
//! 5. Each member's backlog is the slice of the segment between its cursor and the head. Other shards with members are
//!    members too: they are sent a shared batch each turn, and repeat it from their own replica.
//!
//! # What memory holds
//!
//! A connection at rest has no buffer: a [`Peer`](peer::Peer) and a [`Client`](hub::Client) of 96 bytes together, a
//! [`Membership`](room::Membership) of 32 for each room, and a [`User`](users::User) within 80, all asserted at
//! compile time. What a slow reader has not read lies in the room's log, once for everyone. Only where a reader stalls
//! in the middle of a frame, and the log moves on, is that frame kept for it: once for all who stand in it, within
//! [`stalled_bytes_max`](limits::Limits::stalled_bytes_max). What a token allows stands beside, only for who has one.
//!
//! # Choices worth knowing
//!
//! * **A cursor is one number**, the count of bytes that the log had before it, and not a segment and a frame: a partial
//!   write moves it like any other, and the frame index is only searched when a reader is blocked or something must be
//!   left out. Where passing frames are taken out of a sealed segment, positions stay and the index translates.
//! * **The second encoding has the positions of the first.** A deflated frame is shorter than the plain one, so each of its
//!   bytes has a position within the plain frame's: with `--deflate`, cursors, tails and gaps stay as they are, and only
//!   the bytes are looked up by [`Encoding`](room::Encoding). A frame is compressed once for all members of a shard.
//! * **Passing frames do not push messages out of memory**: a sealed segment that is mostly signals is compacted.
//! * **A ping carries the place in the inbox** up to which everything was written before it. The pong brings it back,
//!   so confirming an inbox needs no memory per connection.
//! * **The memory table keeps nothing**: without a disk the segments are the history, and a second copy would only halve
//!   how far back they reach. History is lost at exit.
//! * **Commit, then deliver and acknowledge.** On disk ([`store`]), answers of the log service come by mail: everything
//!   that arrived during one transaction goes into the next. A shard never waits; who has too
//!   much unanswered is held back, and after five seconds in which nothing was kept refused.
//! * **A member far behind reads from the disk**, a chunk at a time, which waits with its own replies but does not count
//!   as one. It goes back to memory where the tail begins.
//! * **Both sides of a private message** are kept in two transactions, of which the first notes that the second is owed:
//!   the sender's inbox may live on another shard, and what is owed is kept at the next start before anything is served,
//!   or, where a disk failed in between, as soon as it has recovered ([`mod@log`] has every case).
//! * **The data folder leaves 10 % of its volume free, but at most 1 GiB**: a tenth of a large disk is no small thing.
//! * **A tombstone fills the place of its message.** It is padded to the message's length, so that a deletion moves no
//!   position; who stands inside the frame is sent the rest of it with its own replies. It reaches the other shards in the
//!   FIFO of their frames.
//! * **Nobody waits for a join**: commands may follow it at once, and a connection is linked to the room meanwhile. So
//!   each of them is looked at again at the room's home, which knows who was let in.
//! * **A name's home knows since when it is its owner's**, and is asked before an author deletes: whoever takes a name
//!   that is free again is not the author of what was sent under it.
//! * **Mutes and bans live outside of rooms**, in a table of each shard for the rooms at home there: they outlast the
//!   room in memory, and nothing has to be read before someone joins.
//! * **A peer that is nearly alone brings more to a turn** than the 64 objects of a busy one, at most 256: a burst of one
//!   publisher then leaves in one fan-out, where four would cost four times the system calls.
//! * **A proxy's header is read where the kernel keeps it**, and taken away whole: what reads the connection next, TLS or
//!   not, begins at its own first byte. What a proxy says is kept aside, so that a connection without one pays nothing.
//! * **The admin port has threads of its own**, which ask the shards: each looks at a stretch of its rooms or connections
//!   in a turn. No member waits for an operator, and no flood of members keeps an operator out.
//! * **A token is checked in the turn that reads it**, a few in each ([`auth`]): a signature takes up to 0.1 ms, so who
//!   brings one too many waits for the next turn, and members do not. Its cryptography is ring's, as that of TLS: of
//!   `jsonwebtoken`'s own backends one has a known timing leak in RSA, and the other would be a second library beside it.
//! * **Timers are lazy**: an activity writes one number, and a timer that fires too early is armed again.
//! * **An inbox without messages is two numbers in its user**; with its first message it becomes a log that every
//!   connection of the user reads.
//!
//! # Failures have four shapes
//!
//! The peer is wrong: a typed error, or a close code ([`ws::Violation`], [`proto::Code`], [`http::Refusal`]). The peer
//! is gone: an outcome ([`peer::Received`], [`peer::Sent`]), and no noise. We are overloaded: a verdict and a counter.
//! It is our bug: a `debug_assert`, a counter, and the process lives.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod admin;
pub mod auth;
pub mod authority;
pub mod callers;
pub mod config;
#[doc = include_str!("../docs/cost.md")]
pub mod cost {}
pub mod counters;
pub mod effects;
pub mod engine;
pub mod hashing;
pub mod http;
pub mod hub;
pub mod limits;
pub mod log;
pub mod mail;
pub mod metrics;
pub mod peer;
pub mod proto;
pub mod proxy;
pub mod rates;
pub mod reactor;
pub mod rights;
pub mod room;
pub mod rules;
pub mod sanctions;
pub mod secret;
pub mod slots;
pub mod store;
#[doc = include_str!("../docs/threats.md")]
pub mod threats {}
pub mod timers;
pub mod tools;
pub mod users;
pub mod ws;
