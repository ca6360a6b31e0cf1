//! What one shard has counted, as plain numbers: the shard is one thread, so nothing here is atomic.
//!
//! One table names each counter once, with its help text; [`crate::metrics`] renders it.

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $kind:ident $name:ident;)*) => {
        /// The counters and gauges of one shard.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[doc = $help])+ pub $name: u64,)* }

        /// How a row of the table is exposed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            /// Only grows.
            Counter,
            /// Goes up and down.
            Gauge,
        }

        impl Counters {
            /// Each row: name, kind, help text, value.
            pub fn rows(&self) -> Vec<(&'static str, Kind, &'static str, u64)> {
                vec![$((stringify!($name), Kind::$kind, concat!($($help),+), self.$name),)*]
            }

            /// Adds another shard's numbers to these.
            pub fn add(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Connections that are open now.
    Gauge connections;
    /// Rooms (with inboxes and relays) that this shard holds now.
    Gauge rooms;
    /// Users that this shard knows now.
    Gauge users;
    /// Bytes of encoded frames kept in memory for all rooms.
    Gauge log_bytes;
    /// Connections accepted.
    Counter accepted_total;
    /// Connections refused with 503 because the limit was reached.
    Counter turned_away_total;
    /// Connections whose client was named by the PROXY protocol.
    Counter proxied_total;
    /// Connections of trusted proxies closed because their PROXY header was malformed.
    Counter proxy_malformed_total;
    /// Connections refused with 503 because the process had too much memory in use.
    Counter memory_full_total;
    /// Connections refused with 429 because their address has too many.
    Counter address_full_total;
    /// Connections refused with 429 because their address comes too often.
    Counter address_hasty_total;
    /// HTTP requests answered, upgrades not included.
    Counter http_requests_total;
    /// HTTP requests refused with a 4xx or 5xx.
    Counter http_refused_total;
    /// WebSocket upgrades.
    Counter upgrades_total;
    /// Upgrades refused because of their Origin.
    Counter origin_refused_total;
    /// Tokens checked.
    Counter tokens_checked_total;
    /// Connections and refreshes refused for want of a valid token.
    Counter unauthorized_total;
    /// Connections closed because their token expired.
    Counter tokens_expired_total;
    /// Times a token had to wait because enough were checked in that turn.
    Counter tokens_postponed_total;
    /// Times that a request for metrics had to wait because enough were answered in that turn.
    Counter metrics_postponed_total;
    /// Bytes received.
    Counter received_bytes_total;
    /// Bytes sent.
    Counter sent_bytes_total;
    /// Calls of send.
    Counter sends_total;
    /// Sends that took less than they were given, or nothing.
    Counter sends_blocked_total;
    /// WebSocket messages received.
    Counter messages_received_total;
    /// Messages numbered and kept.
    Counter messages_numbered_total;
    /// Messages met again by their id.
    Counter duplicates_total;
    /// Messages compressed, each once for all of a shard that take it so.
    Counter compressions_total;
    /// Messages sent as they are because enough was compressed in that turn.
    Counter compressions_left_out_total;
    /// Frames relayed by raw rooms.
    Counter raw_frames_total;
    /// Signals relayed.
    Counter signals_total;
    /// Passing frames dropped over a room's budget, or because too much waited until it was open.
    Counter passing_dropped_total;
    /// Commands refused because the user may not give them.
    Counter forbidden_total;
    /// Joins refused because the room takes no more members.
    Counter room_full_total;
    /// Messages refused because of a room's slow mode.
    Counter slow_mode_total;
    /// Messages deleted.
    Counter deletions_total;
    /// Kicks, mutes and bans, and ends of them, that moderators asked for.
    Counter moderations_total;
    /// Mutes and bans refused because there are too many.
    Counter sanctions_refused_total;
    /// Refused attempts to moderate that were not written down because there were too many.
    Counter refusals_unwritten_total;
    /// Errors sent to clients.
    Counter errors_total;
    /// Commands refused because their connection sends too fast.
    Counter rate_limited_total;
    /// Times a peer was not read because it sent too fast.
    Counter rate_paused_total;
    /// Connections closed because they broke the protocol.
    Counter violations_total;
    /// Connections closed because they were silent.
    Counter silent_closed_total;
    /// HTTP connections closed because they asked for nothing, or nothing more, in time.
    Counter idle_closed_total;
    /// Connections closed because a handshake took too long.
    Counter handshake_timeouts_total;
    /// Connections closed because stalled readers held too much memory.
    Counter stalled_closed_total;
    /// Raw readers closed because they fell off the tail.
    Counter raw_slow_closed_total;
    /// Gaps told to members that fell off the tail.
    Counter gaps_total;
    /// Times a peer was not read because its own replies were full.
    Counter replies_full_total;
    /// Times a peer was not read because too much of what it sent was not kept yet.
    Counter uncommitted_full_total;
    /// Times a peer was tried again that waits for room where it sends to.
    Counter retries_total;
    /// Turns in which some of those peers were not tried because enough were in vain.
    Counter retries_postponed_total;
    /// Times a peer was not read because enough was inflated in that turn.
    Counter inflating_postponed_total;
    /// Times a peer was not read because mail to another shard was full.
    Counter mail_full_total;
    /// Times a peer was not read because too much of its room waited for the fan-out.
    Counter room_backlog_full_total;
    /// Commands refused, and copies of private messages put off, because too much waited until their log was open.
    Counter parked_full_total;
    /// Times a peer was not read because too much of all connections was not kept yet.
    Counter log_full_total;
    /// Segments dropped because all logs together were over their bound.
    Counter log_evictions_total;
    /// Rooms refused because there are too many.
    Counter rooms_refused_total;
    /// Empty rooms dropped before their time to make place for others.
    Counter rooms_dropped_total;
    /// Claims of names refused because there are too many.
    Counter names_refused_total;
    /// Private messages refused because the inbox is full.
    Counter inbox_full_total;
    /// Sends refused by the log's table.
    Counter storage_errors_total;
    /// Sends refused because the disk stood still for too long.
    Counter storage_stalled_total;
    /// Chunks of logs that were read for members that fell off the tail.
    Counter chunks_total;
    /// TLS handshakes that ended well.
    Counter tls_handshakes_total;
    /// TLS handshakes that went on from an earlier session.
    Counter tls_resumed_total;
    /// TLS handshakes that were broken or left, and sessions that were broken.
    Counter tls_failed_total;
    /// TLS handshakes that took too long.
    Counter tls_handshake_timeouts_total;
    /// Times that a TLS handshake had to wait because enough was done for them in that turn.
    Counter tls_postponed_total;
    /// Bytes encrypted for sockets that are full.
    Gauge tls_held_bytes;
    /// Times that accepting paused for want of descriptors.
    Counter accept_paused_total;
    /// Turns of the event loop.
    Counter turns_total;
    /// Mail taken from other shards.
    Counter mail_total;
    /// Bugs of ours that were met and survived.
    Counter bugs_total;
}
