//! Who joins a room that is kept on a disk and then stops reading costs the server next to nothing, however much is
//! written meanwhile, and later reads every message of it.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Client, Server, Socket, json, seq, sharded, until};
use roomcast::limits::STORE_CACHE_BYTES;
use store::{Folder, stop};

sharded!(who_stalls_takes_no_memory_and_misses_nothing);

const CONTENT_BYTES: usize = 16_000;
/// About 50 MB.
const MESSAGE_COUNT: u64 = 3_200;
/// What the writer has on its way.
const WINDOW: u64 = 32;
const STALLED_COUNT: u64 = 12;
/// What one of them may take: a chunk of what it did not read, and what a connection takes.
const STALLED_BYTES_MAX: u64 = 300 * 1024;
/// What a shard keeps of the room, and what an allocator may keep of what others gave back.
const ROOM_BYTES_MAX: u64 = 4 << 20;

/// A member with a small window.
fn stalled(server: &Server, number: u64) -> Client {
    let mut client = Client::on(Socket::open(
        server.connect_with_window(8 * 1024),
        &server.host(),
        &format!("/ws?user=stalled{number}"),
    ));
    assert_eq!(client.join("r")["recovered"], json!(null));
    client
}

/// Writes so many messages, and gives the last number.
fn write(writer: &mut Client, count: u64) -> u64 {
    let content = "x".repeat(CONTENT_BYTES);
    let message = json!({"type": "message", "room_id": "r", "content": content}).to_string();
    let mut head = 0;
    for number in 0..count + WINDOW {
        if number < count {
            writer.say_text(&message);
        }
        if number >= WINDOW {
            head = seq(&writer.take("ack"));
        }
    }
    head
}

/// The number of a message, without a look at the rest of it.
fn seq_of(text: &str) -> Option<u64> {
    let rest = text.strip_prefix(r#"{"type":"message","room_id":"r","seq_id":"#)?;
    rest.split(',').next()?.parse().ok()
}

/// Reads what a member was sent, up to message `last`: all of it from `first` on, and nothing twice.
fn read(client: &mut Client, first: u64, last: u64) {
    let mut next = first;
    while next <= last {
        let text = client.socket.text();
        match seq_of(&text) {
            Some(seq) => {
                assert_eq!(seq, next, "of {first}..={last}");
                next += 1;
            }
            None => assert!(!text.contains(r#""type":"gap""#), "{text}"),
        }
    }
}

fn who_stalls_takes_no_memory_and_misses_nothing(shards: u16) {
    let folder = Folder::new("stalled");
    // They answer no pings.
    let mut command = folder.command(shards, &["--heartbeat-ms", "600000"]);
    // What is given back goes to the system at once: what glibc keeps of a burst, for each thread, may be more than all
    // that is bounded here, and no reader takes it.
    command.env("MALLOC_ARENA_MAX", "1");
    command.env("MALLOC_MMAP_THRESHOLD_", "16384");
    command.env("MALLOC_TRIM_THRESHOLD_", "65536");
    let server = Server::run(command);
    let mut writer = server.client("writer");
    writer.ask(
        json!({"type": "join", "room_id": "r", "echo": false}),
        "joined",
    );
    // What the database keeps of itself in memory is there before anything is measured.
    let first = write(&mut writer, MESSAGE_COUNT / 2) + 1;
    let before = server.resident_bytes();
    let mut members: Vec<Client> = (0..STALLED_COUNT)
        .map(|number| stalled(&server, number))
        .collect();
    let last = write(&mut writer, MESSAGE_COUNT);
    assert_eq!(last + 1 - first, MESSAGE_COUNT);
    assert!(server.metric("sends_blocked_total") >= STALLED_COUNT);
    until("the room keeps no more for a burst", || {
        server.metric("log_bytes") < u64::from(shards) << 20
    });
    let grown = server.resident_bytes().saturating_sub(before);
    let most = STALLED_COUNT * STALLED_BYTES_MAX + u64::from(shards) * ROOM_BYTES_MAX;
    assert!(grown < most, "{grown} bytes, of which {most} are all right");
    for client in &mut members[..2] {
        read(client, first, last);
    }
    assert!(server.metric("chunks_total") > 0);
    assert_eq!(server.metric("gaps_total"), 0);
    let after = server.resident_bytes().saturating_sub(before);
    // The database's own memory for pages has grown with what was read.
    let most = most + STORE_CACHE_BYTES as u64;
    assert!(after < most, "{after} bytes, of which {most} are all right");
    // The others are there still, and could read as well.
    assert_eq!(
        members[2].socket.text().len(),
        members[3].socket.text().len()
    );
    assert_eq!(server.metric("stalled_closed_total"), 0);
    drop(members);
    stop(server);
}
