//! Every bound of the program, with its unit in its name.
//!
//! A bound that an operator may want to move is a field of [`Limits`], whose default stands here as well; a bound that
//! only shapes the work (how much one turn does) is a constant. Reaching a bound is always counted
//! ([`Counters`](crate::counters::Counters)) and answered by a typed refusal, never by silence.

/// Longest name of a room or of a user, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest `id` of a command, in bytes of UTF-8.
pub const ID_BYTES_MAX: usize = 64;
/// How much of an unknown `type` its `error` repeats, in bytes.
pub const TYPE_BYTES_SHOWN_MAX: usize = 32;
/// Longest `epoch` that a client may send, in bytes.
pub const EPOCH_BYTES_MAX: usize = 32;
/// Shortest and longest `session` secret that a client may bring, in bytes.
pub const SESSION_BYTES_MIN: usize = 16;
/// See [`SESSION_BYTES_MIN`].
pub const SESSION_BYTES_MAX: usize = 128;
/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Shortest secret that tokens may be checked with, in bytes (RFC 7518, 3.2).
pub const TOKEN_SECRET_BYTES_MIN: usize = 32;
/// Most keys that tokens are checked with.
pub const TOKEN_KEY_COUNT_MAX: usize = 16;
/// Shortest RSA modulus that tokens may be checked with, in bytes: 2048 bits (RFC 7518, 3.3).
pub const TOKEN_RSA_BYTES_MIN: usize = 256;
/// Furthest that clocks may be apart where the times of tokens are checked, in seconds.
pub const TOKEN_LEEWAY_S_MAX: i64 = 3600;
/// Most entries of a token's `rooms`.
pub const TOKEN_ROOM_COUNT_MAX: usize = 64;
/// How long before its end a token's user is warned, in milliseconds, but no more than a quarter of what was left.
pub const TOKEN_WARNING_MS: u64 = 60_000;
/// First `seq_id` that no log can reach: JSON numbers are exact below it.
pub const SEQ_END: u64 = 1 << 53;
/// Deepest nesting of `content` and `metadata`.
pub const JSON_DEPTH_MAX: usize = 128;

/// Longest request line, in bytes; a longer one gets `414`.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
/// Longest request head, in bytes; a longer one gets `431`.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header fields of one request; more get `431`.
pub const HEADER_COUNT_MAX: usize = 100;
/// Longest request body that is read and thrown away, in bytes; a longer one gets `413`.
pub const BODY_BYTES_MAX: u64 = 64 * 1024;

/// Longest header of the PROXY protocol, in bytes; a longer one closes its connection. A proxy that passes on the name
/// and the certificate of a TLS client needs about half of it.
pub const PROXY_HEADER_BYTES_MAX: usize = 2 * 1024;

/// Longest payload of a control frame, in bytes (RFC 6455, 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Most frames of one fragmented message, empty ones included; more get close 1008. It grows with
/// `message_bytes_max`, see [`FRAGMENT_BYTES_MEAN_MIN`].
pub const FRAGMENT_COUNT_MAX: u32 = 1024;
/// Mean size of the fragments of a message of `message_bytes_max` bytes, in bytes, which is always taken, so that a
/// message may be as long as it is allowed to be.
pub const FRAGMENT_BYTES_MEAN_MIN: usize = 64;

/// Shortest payload that is worth compressing, in bytes.
pub const DEFLATE_BYTES_MIN: usize = 128;
/// Bytes that a shard compresses in one turn, after which messages go as they are: who sends what is hard to compress
/// does not hold up the others. So many take about 10 ms.
pub const DEFLATED_BYTES_PER_TURN: usize = 512 * 1024;
/// What each message counts there beside its own bytes: to begin with one takes 0.02 ms, however short it is.
pub const DEFLATED_BYTES_EXTRA: usize = 1024;
/// Room that the first inflated message starts with, in bytes; it doubles as needed.
pub const INFLATED_BYTES_START: usize = 4 * 1024;
/// Room for inflated messages that a shard keeps between them, in bytes.
pub const INFLATED_BYTES_KEPT: usize = 64 * 1024;

/// Bytes taken from one peer by one `recv`; also the size of a shard's read buffer.
pub const READ_BYTES: usize = 64 * 1024;
/// Objects (messages, commands, requests) that the ready peers of a shard share in one turn.
pub const OBJECT_COUNT_PER_TURN: u32 = 1024;
/// Objects taken from one peer in one turn, however many others are ready.
pub const OBJECT_COUNT_PER_PEER_MIN: u32 = 64;
/// Objects taken from one peer in one turn, even if nobody else is ready.
pub const OBJECT_COUNT_PER_PEER_MAX: u32 = 256;
/// Inflated bytes that count as one more object of a peer's share of a turn, see [`INFLATING_WEIGHT`].
pub const INFLATED_BYTES_PER_OBJECT: usize = 1024;
/// Bytes that a shard inflates in one turn, see [`INFLATING_WEIGHT`], after which peers that may compress are not read
/// until the next: whoever sends plain messages does not wait for what a few compressed bytes stand for.
pub const INFLATED_BYTES_PER_TURN: usize = 1024 * 1024;
/// What a compressed byte counts as beside those that it becomes, in inflated bytes. It may be all that there is: a block
/// costs its tables of codes even if nothing is in it, and 64 KiB of such blocks take up to 8 ms and become nothing. With
/// this weight two such messages are what one turn takes, and some hundred ordinary ones of 200 bytes.
pub const INFLATING_WEIGHT: usize = 12;
/// Peers that wait for room where they send to and are tried again in vain in one turn; the others come after them in the
/// next. An attempt reads and copies a text anew, which takes 0.05 ms where it is long.
pub const RETRY_COUNT_PER_TURN: u32 = 16;
/// Tokens that a shard checks in one turn, after which who brings one waits for the next: a signature takes up to 0.1 ms.
pub const TOKEN_COUNT_PER_TURN: u32 = 16;
/// What a token counts of its peer's share of a turn, in objects.
pub const TOKEN_OBJECT_COUNT: u32 = 32;
/// Answers to `/metrics` that a shard writes in one turn, after which who asks for it waits for the next: one takes up to
/// 0.2 ms.
pub const METRICS_COUNT_PER_TURN: u32 = 1;
/// Sends of room frames in one turn of a shard, after which reads are looked at again.
pub const SEND_COUNT_PER_TURN: u32 = 512;
/// Members that are looked at for each send that a turn may do: most of a pass may find them up to date.
pub const LOOK_COUNT_PER_SEND: u32 = 16;
/// About how much of a room is gathered at a time for all who stand at the same place, in bytes; members that lack more
/// get the rest by themselves.
pub const SHARED_BYTES_MAX: usize = 256 * 1024;
/// Room frames that one peer gets before others have their turn, in slices.
pub const SLICE_COUNT_PER_FLUSH: u32 = 8;
/// Connections accepted in one turn of a shard.
pub const ACCEPT_COUNT_PER_TURN: u32 = 64;
/// Rooms or connections that a shard looks at in one turn, for an overview that an operator asked for.
pub const LOOK_COUNT_PER_TURN: u32 = 4096;
/// Connections of the admin port that are served at the same time; more get `503`.
pub const ADMIN_CONNECTION_COUNT_MAX: usize = 8;
/// Time for one of them to ask and to take its answer, in milliseconds.
pub const ADMIN_REQUEST_MS: u64 = 5_000;
/// Time for the shards to tell what an overview asks for, in milliseconds.
pub const ADMIN_ANSWER_MS: u64 = 2_000;
/// Rows of an overview where no `limit` is named.
pub const ADMIN_ROW_COUNT_DEFAULT: usize = 100;
/// Most rows of an overview; a higher `limit` is clamped.
pub const ADMIN_ROW_COUNT_MAX: usize = 1_000;

/// Connections over a bound that are told so by a `503` or `429` at the same time, on each shard; more are closed at
/// once. Half of these places are for those that are too many of their address.
pub const TURNED_AWAY_COUNT_MAX: u32 = 64;
/// How many connections with TLS a shard tells in a second, in the long run, that all places are taken; more are closed
/// before their handshake, which is what costs.
pub const TOLD_OVER_TLS_COUNT_PER_S: u64 = 10;
/// How long a connection over `connection_count_max` may take to ask for something, in milliseconds: `/healthz`,
/// `/readyz` and `/metrics` are answered, and anything else, or nothing, gets `503`.
pub const TURNED_AWAY_MS: u32 = 500;
/// How old the known size of the process's memory may be, in milliseconds.
pub const MEMORY_AGE_MS: u64 = 100;
/// Largest rate, in messages, joins or handshakes a second.
pub const RATE_MAX: u32 = 1_000_000;
/// What a token bucket holds, as the time in which so much comes, in milliseconds.
pub const RATE_BUCKET_MS: u64 = 5_000;
/// Longest time until a connection that sent too fast is looked at again, in milliseconds: one that has gone meanwhile
/// is not kept in mind for longer.
pub const RATE_PAUSE_MS_MAX: u64 = 1_000;
/// Time between two looks for token buckets that are full again, in milliseconds.
pub const RATE_SWEEP_MS: u64 = 1_000;
/// Addresses without a connection that are remembered because they came too often of late.
pub const RESTING_ADDRESS_COUNT_MAX: usize = 32 * 1024;

/// Steps of TLS handshakes in one turn of a shard; the other connections with a handshake are not read until the next.
/// A whole handshake is two or three.
pub const TLS_HANDSHAKE_STEPS_PER_TURN: u32 = 8;
/// Time after which no further step is begun in a turn, in microseconds: a step with a P-256 certificate takes 0.1 ms, one
/// with an RSA key of 4096 bits 5 ms. One step is done in any case.
pub const TLS_HANDSHAKE_US_PER_TURN: u64 = 1_000;
/// What may have come of a TLS connection that is no whole record or handshake message yet, in bytes; more breaks it off.
pub const TLS_PARTIAL_BYTES_MAX: usize = 32 * 1024;
/// Records of a TLS session that may bring no data after its handshake, such as changes of keys, in a row; more break
/// it off. Each is a few microseconds of work for 27 bytes, and counts for no other bound.
pub const TLS_IDLE_RECORD_COUNT_MAX: u32 = 64;
/// Records with data, of whatever length, that make up for one of these: in the long run they are what a session costs.
pub const TLS_DATA_RECORDS_PER_IDLE_RECORD: u32 = 16;
/// Most plain bytes of one TLS record (RFC 8446, 5.1).
pub const TLS_RECORD_BYTES_MAX: usize = 16 * 1024;
/// The same after the socket was full: what is left of a record is kept with its connection.
pub const TLS_RECORD_BYTES_SLOW: usize = 4 * 1024;
/// Bytes that are to be sent before a TLS handshake is over, which are refusals alone.
pub const TLS_EARLY_BYTES_MAX: usize = 4 * 1024;
/// Time between two looks at the files of certificates and keys, in milliseconds. They are read when two looks have
/// found the same change.
pub const RELOAD_CHECK_MS: u64 = 2_000;

/// Connections that wait in a listener's queue until they are accepted.
pub const BACKLOG_COUNT: i32 = 4096;
/// Pause of a listener that could not accept for want of descriptors or memory, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Unsent bytes in a socket at which it counts as writable again; what is above stays with us, where it is shared.
pub const NOTSENT_LOWAT_BYTES: u32 = 16 * 1024;
/// Events taken from one poll.
pub const EVENT_COUNT_PER_POLL: usize = 1024;
/// Most shards of one process.
pub const SHARD_COUNT_MAX: u16 = 64;
/// Descriptors for everything but shards and connections.
pub const DESCRIPTORS_RESERVED: u64 = 64;
/// Descriptors of a shard: its poll, listener and waker, and the connections that it turns away.
pub const DESCRIPTORS_PER_SHARD: u64 = 8 + TURNED_AWAY_COUNT_MAX as u64;
/// Largest `connection_count_max`.
pub const CONNECTION_COUNT_MAX: u32 = 4_000_000;
/// Largest `message_bytes_max`.
pub const MESSAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// By how much more than an interval a peer may be silent before it is sent a ping, in hundredths of an interval: of two,
/// what is left is for the answer.
pub const PING_SILENCE_PERCENT: u32 = 60;

/// Size at which a segment of a room's log is sealed, in bytes of encoded frames.
pub const SEGMENT_BYTES: usize = 64 * 1024;
/// How long a room keeps more than its tail for readers that are behind, in milliseconds: a burst is no reason to lose
/// a reader that reads.
pub const BURST_MS: u32 = 1000;
/// How many tails a room keeps at most for such readers.
pub const BURST_TAIL_COUNT_MAX: usize = 32;
/// A deadline that is met so late, in milliseconds, was missed by the shard and not by the peer, which gets as long
/// again, or an interval of pings where that is shorter.
pub const STANDSTILL_MS: u32 = 1000;
/// Passing frames (signals, presence) that one room takes between two passes of its fan-out, in bytes.
pub const PASSING_BYTES_MAX: usize = 64 * 1024;
/// Frames of one room that wait for their fan-out, in bytes, over which peers that send to the room are not read.
pub const ROOM_BACKLOG_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a batch that an owner sends to a replica at a time, and that a replica may owe.
pub const CREDIT_BYTES: u64 = 1024 * 1024;
/// Mail on its way to one shard, in bytes, over which peers that feed it are not read.
pub const MAIL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A peer's own replies, in bytes, over which it is not read.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Own replies that are copied in front of a room's frames to save a write, in bytes; more of them are written by
/// themselves.
pub const GATHERED_REPLY_BYTES_MAX: usize = 16 * 1024;
/// When a command may be sent again that was refused for want of room, in milliseconds, where no better time is known.
pub const RETRY_AFTER_MS: u64 = 1_000;
/// The same for HTTP requests, in seconds.
pub const RETRY_AFTER_S: u32 = 5;
/// The same for requests on the admin port, in seconds.
pub const ADMIN_RETRY_AFTER_S: u32 = 1;
/// Shortest pause that a `bye` asks for before its client comes back, in milliseconds. It is chosen at random, so that
/// not all come back at once.
pub const RETURN_MS_MIN: u64 = 500;
/// All pauses that a `bye` asks for are shorter; see [`RETURN_MS_MIN`].
pub const RETURN_MS_END: u64 = 3_000;
/// Time between two looks for rooms that nobody is in, where one that is asked for is one too many, in milliseconds.
pub const ROOM_SWEEP_MS: u32 = 1_000;
/// How many of them are dropped then at most, as a part of all rooms of a shard, but at least [`ROOM_SWEEP_COUNT_MIN`].
pub const ROOM_SWEEP_PART: usize = 64;
/// See [`ROOM_SWEEP_PART`].
pub const ROOM_SWEEP_COUNT_MIN: usize = 16;
/// Rules of rooms that a configuration may have.
pub const ROOM_RULE_COUNT_MAX: usize = 1_000;
/// Longest pause of slow mode, in milliseconds: a day.
pub const SLOW_MODE_MS_MAX: u32 = 24 * 3_600_000;
/// Users of one room that its slow mode knows to have just written.
pub const SLOW_MODE_COUNT_MAX: usize = 10_000;
/// Mutes and bans in all, per server; each shard takes its part, but at least as many as a room may have.
pub const SANCTION_COUNT_MAX: usize = 50_000;
/// Mutes and bans of one room.
pub const SANCTIONS_PER_ROOM_MAX: usize = 10_000;
/// Mutes and bans of one moderator, of those that a shard may have: one of so many parts. For who moderates by
/// configuration only the other bounds hold.
pub const SANCTION_PARTS_PER_MODERATOR: usize = 10;
/// Attempts to moderate that were refused and are written down, on each shard in a second, in the long run: anybody can
/// make them. The others are counted.
pub const RECORDED_REFUSALS_PER_S_MAX: u64 = 10;
/// Longest mute or ban that ends by itself, in seconds: ten years.
pub const SANCTION_SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;
/// Longest reason that a moderator gives, in bytes.
pub const REASON_BYTES_MAX: usize = 256;
/// Messages on one `history` page where the client names no `limit`.
pub const HISTORY_COUNT_DEFAULT: usize = 50;
/// Most messages on one `history` page; a higher `limit` is clamped.
pub const HISTORY_COUNT_MAX: usize = 500;
/// Part of `inbox_bytes_max` after which who reads an inbox is asked to confirm it.
pub const INBOX_ASK_PARTS: usize = 4;
/// Longest `history` page, in bytes; it holds at least one message.
pub const HISTORY_BYTES_MAX: usize = 256 * 1024;
/// Most names in one `presence`.
pub const PRESENCE_MEMBER_COUNT_MAX: usize = 1000;
/// Ids remembered by a log, in messages; by one on disk those of [`DEDUPE_MS`] as well.
pub const DEDUPE_COUNT_MAX: usize = 10_000;
/// How long a log on disk remembers ids, in milliseconds.
pub const DEDUPE_MS: u64 = 24 * 3_600_000;

/// Messages on their way to the disk, in bytes over all shards, over which who sends more is not read.
pub const UNCOMMITTED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The same for the messages of one connection; while they wait it is not read. It holds at least one message.
pub const UNCOMMITTED_BYTES_PER_CONNECTION_MAX: usize = 1024 * 1024;
/// What a message counts in that at least, in bytes, so that the answers to many short ones are bounded too.
pub const UNCOMMITTED_BYTES_UNIT: usize = 4 * 1024;
/// Mail that waits on one shard until the logs that it is for are open, or the first claims of the users that it is about
/// are kept, in bytes, over which more is refused.
pub const PARKED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The same for one log, or one user.
pub const PARKED_BYTES_PER_LOG_MAX: usize = 4 * 1024 * 1024;
/// How long the disk may stand still before sends are refused, in milliseconds.
pub const STORE_STALL_MS: u32 = 5_000;
/// Pause before something is tried again that the disk refused, in milliseconds.
pub const STORE_RETRY_MS: u32 = 500;
/// What a member that fell off the tail of its room is sent at a time, in bytes; it holds at least one message.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// The same in messages.
pub const CHUNK_COUNT_MAX: usize = 1_000;
/// Questions that wait for the thread that reads from the disk, over all shards.
pub const READ_QUEUE_COUNT_MAX: usize = 16 * 1024;
/// Memory for pages of the database, in bytes for each of its two connections.
pub const STORE_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Logs whose places in the database are remembered, and names whose owners are.
pub const STORE_PLACE_COUNT_MAX: usize = 100_000;
/// New pages in the write-ahead log at which they are brought into the database.
pub const CHECKPOINT_PAGE_COUNT: u32 = 256;
/// Pages in the write-ahead log at which it is to begin anew.
pub const WAL_PAGE_COUNT: u32 = 8192;
/// Ids of messages that are remembered in memory before they are sorted into the database; twice as many while they are.
pub const NEW_ID_COUNT_MAX: usize = 128 * 1024;
/// Percent of its volume that the data folder leaves free, but not more than [`FREE_BYTES_MIN`].
pub const FREE_PERCENT_MIN: u32 = 10;
/// See [`FREE_PERCENT_MIN`].
pub const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// Rows that one step of the upkeep of the database looks at.
pub const UPKEEP_ROW_COUNT: u32 = 500;
/// Pause between two such steps, in milliseconds.
pub const UPKEEP_PAUSE_MS: u64 = 50;
/// How far ahead of the clock the time of an imported message may be, in milliseconds.
pub const IMPORT_AHEAD_MS: u64 = 24 * 3_600_000;
/// Pause between two rounds over the whole database, in milliseconds.
pub const UPKEEP_MS: u64 = 60_000;
/// How long a room that is kept on disk stays in memory when nobody is in it, in milliseconds.
pub const KEPT_HOLD_MS: u32 = 10_000;

/// The bounds that an operator can move, and the times. See the constants of this module for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all, over every shard.
    pub connection_count_max: u32,
    /// Connections of one address (an IPv4 address, or an IPv6 /64), over every shard; 0 for no bound.
    pub connections_per_address_max: u32,
    /// Connections that one address opens in a second, in the long run; 0 for no bound.
    pub handshakes_per_address_per_s_max: u32,
    /// Whether the bounds per address hold for this machine's own addresses as well.
    pub bounds_loopback: bool,
    /// Messages that one connection sends in a second, in the long run; 0 for no bound. Each command counts, each
    /// control frame, and each HTTP request up to an upgrade, with which counting begins anew.
    pub messages_per_connection_per_s_max: u32,
    /// Whether that holds for this machine's own addresses as well.
    pub messages_bound_loopback: bool,
    /// Their payload in bytes, as it came or after inflation, whichever is more; 0 for no bound.
    pub bytes_per_connection_per_s_max: u32,
    /// Whether that holds for this machine's own addresses as well.
    pub bytes_bound_loopback: bool,
    /// Joins of one connection in a second, in the long run; 0 for no bound.
    pub joins_per_connection_per_s_max: u32,
    /// Whether that holds for this machine's own addresses as well.
    pub joins_bound_loopback: bool,
    /// Payload bytes of one WebSocket message.
    pub message_bytes_max: usize,
    /// Rooms in all, per server; each shard takes its part.
    pub room_count_max: u32,
    /// Rooms in memory that connections of one address had made; 0 for no bound. Each shard takes its part.
    pub rooms_per_address_max: u32,
    /// Rooms that one connection is in.
    pub rooms_per_connection_max: u16,
    /// Distinct users of a room up to which joins and leaves are told one by one.
    pub presence_events_max: u32,
    /// Claimed names in all, per server; each shard takes its part.
    pub name_count_max: u32,
    /// Claimed names per client address (an IPv4 address, or an IPv6 /64); each shard takes its part.
    pub names_per_address_max: u32,
    /// Days for which a claimed name is held without a connection.
    pub name_hold_days: u32,
    /// Unconfirmed bytes that wait in one user's inbox.
    pub inbox_bytes_max: usize,
    /// Numbered bytes that a room keeps in memory while it has members.
    pub tail_bytes_max: usize,
    /// Memory for all logs together, in bytes; each shard takes its part.
    pub log_bytes_max: usize,
    /// Resident memory of the process, in bytes, over which no further connection is taken; 0 for no bound.
    pub memory_bytes_max: u64,
    /// Memory held only for the sake of peers that stopped reading in the middle of a frame, in bytes, per shard; and as
    /// much again for those that did so in the middle of a TLS record.
    pub stalled_bytes_max: usize,
    /// Silence for two of these closes; a ping comes before that, see [`PING_SILENCE_PERCENT`].
    pub heartbeat_ms: u32,
    /// From accept to the end of the request head, and from upgrade to a settled identity.
    pub handshake_ms: u32,
    /// An HTTP connection that asks nothing more is closed after this.
    pub http_idle_ms: u32,
    /// From our Close to the end of the connection, whatever the peer does.
    pub close_ms: u32,
    /// From the first signal to the exit.
    pub drain_ms: u32,
    /// How late a `leave` is told, so that a reconnect is not news.
    pub presence_debounce_ms: u32,
    /// Least time between two `presence` counts of a large room.
    pub presence_count_ms: u32,
    /// How long an empty memory room keeps its log, unless its place is needed.
    pub room_hold_ms: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connection_count_max: 10_000,
            connections_per_address_max: 5_000,
            handshakes_per_address_per_s_max: 1_000,
            bounds_loopback: false,
            messages_per_connection_per_s_max: 1_000,
            messages_bound_loopback: false,
            bytes_per_connection_per_s_max: 4 * 1024 * 1024,
            bytes_bound_loopback: false,
            joins_per_connection_per_s_max: 100,
            joins_bound_loopback: false,
            message_bytes_max: 64 * 1024,
            room_count_max: 100_000,
            rooms_per_address_max: 10_000,
            rooms_per_connection_max: 100,
            presence_events_max: 100,
            name_count_max: 1_000_000,
            names_per_address_max: 20_000,
            name_hold_days: 30,
            inbox_bytes_max: 1024 * 1024,
            tail_bytes_max: 256 * 1024,
            log_bytes_max: 256 * 1024 * 1024,
            memory_bytes_max: 0,
            stalled_bytes_max: 16 * 1024 * 1024,
            heartbeat_ms: 25_000,
            handshake_ms: 10_000,
            http_idle_ms: 30_000,
            close_ms: 5_000,
            drain_ms: 10_000,
            presence_debounce_ms: 3_000,
            presence_count_ms: 5_000,
            room_hold_ms: 3_600_000,
        }
    }
}

const _: () = {
    assert!(REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX);
    assert!(HEAD_BYTES_MAX <= READ_BYTES);
    // Beside the longest start of a record there is room to read on, and a whole record fits (RFC 5246, 6.2.3).
    assert!(TLS_PARTIAL_BYTES_MAX < READ_BYTES);
    assert!(TLS_PARTIAL_BYTES_MAX >= TLS_RECORD_BYTES_MAX + 2048 + 5);
    assert!(PARKED_BYTES_PER_LOG_MAX <= PARKED_BYTES_MAX);
    // Senders are held back first, and signals pass only while little waits.
    assert!(PASSING_BYTES_MAX < ROOM_BACKLOG_BYTES_MAX);
    assert!(ROOM_BACKLOG_BYTES_MAX < PARKED_BYTES_PER_LOG_MAX);
    assert!(CREDIT_BYTES <= MAIL_BYTES_MAX as u64);
    assert!(HISTORY_COUNT_DEFAULT <= HISTORY_COUNT_MAX);
    assert!(SESSION_BYTES_MIN < SESSION_BYTES_MAX);
    assert!(RETURN_MS_MIN < RETURN_MS_END);
    assert!(TOKEN_BYTES_MAX < HEAD_BYTES_MAX);
    assert!(TOKEN_OBJECT_COUNT < OBJECT_COUNT_PER_PEER_MIN);
    // The length of a segment and of a frame in it fits u32 offsets.
    assert!(SEGMENT_BYTES < u32::MAX as usize / 4);
};
