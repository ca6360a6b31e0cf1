//! A name that has changed hands: who has it now did not write what was sent under it before.

mod common;
#[path = "common/store.rs"]
mod store;

use common::mint::{KeyFile, token};
use common::{Client, Opcode, Server, Value, json, sharded, transported, until};
use std::time::{SystemTime, UNIX_EPOCH};
use store::{Folder, stop};

transported!(whoever_takes_a_guests_name_deletes_nothing_of_theirs);

// The disk knows nothing of how clients are connected.
sharded!(
    whoever_takes_a_name_after_its_time_deletes_nothing_of_before,
    an_owner_deletes_what_it_sent_before_a_restart,
    a_token_names_one_subject_for_ever,
    a_token_ends_the_session_that_had_its_name,
);

/// Rooms enough that some are at home on each shard.
const ROOMS: [&str; 4] = ["r1", "r2", "r3", "r4"];

fn delete(client: &mut Client, room: &str, seq_id: u64, kind: &str) -> Value {
    client.ask(
        json!({"type": "delete", "room_id": room, "seq_id": seq_id}),
        kind,
    )
}

/// Sees to it that the user deletes its own second message in each room, but not the first, which is another's.
fn is_not_the_author(client: &mut Client) {
    for room in ROOMS {
        client.join(room);
        client.post(room, "mine");
        let error = delete(client, room, 1, "error");
        assert_eq!(
            (&error["code"], &error["request"]),
            (&json!("forbidden"), &json!("delete")),
            "{error}"
        );
        delete(client, room, 2, "ack");
        let page = client.ask(json!({"type": "history", "room_id": room}), "history");
        assert_eq!(page["messages"][0]["content"], "theirs", "{page}");
        assert_eq!(page["messages"][1]["deleted"], true, "{page}");
    }
}

fn post_to_all(client: &mut Client) {
    for room in ROOMS {
        client.join(room);
        client.post(room, "theirs");
    }
    // What is sent in the millisecond in which the name changes hands might be either's.
    let then = now_ms();
    until("a millisecond has passed", || now_ms() > then);
}

fn now_ms() -> u128 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.expect("it is past 1970").as_millis()
}

fn whoever_takes_a_guests_name_deletes_nothing_of_theirs(shards: u16) {
    let server = Server::start(shards);
    let mut guest = Client::open(&server, "");
    post_to_all(&mut guest);
    // A guest deletes its own while it is there.
    guest.join("own");
    guest.post("own", 1);
    delete(&mut guest, "own", 1, "ack");
    let name = guest.user.clone();
    guest.socket.send(Opcode::Close, &[3, 232]);
    guest.closed();
    is_not_the_author(&mut server.client(&name));
}

fn whoever_takes_a_name_after_its_time_deletes_nothing_of_before(shards: u16) {
    let folder = Folder::new("owners");
    let server = folder.serve(shards);
    post_to_all(&mut server.client("ann"));
    stop(server);
    // As when its time without a connection is over.
    folder.query("DELETE FROM users WHERE name = 'ann'");
    let server = folder.serve(shards);
    is_not_the_author(&mut server.client("ann"));
    stop(server);
}

fn an_owner_deletes_what_it_sent_before_a_restart(shards: u16) {
    let folder = Folder::new("owners-restart");
    let server = folder.serve(shards);
    let mut ann = server.client("ann");
    post_to_all(&mut ann);
    let session = ann.session.clone();
    stop(server);
    let server = folder.serve(shards);
    let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
    for room in ROOMS {
        ann.join(room);
        delete(&mut ann, room, 1, "ack");
    }
    stop(server);
}

fn a_token_names_one_subject_for_ever(shards: u16) {
    let (folder, key) = (Folder::new("owners-tokens"), KeyFile::secret());
    let flags = ["--auth", "jwt", "--jwt-key", key.text()];
    let enter = |server: &Server| Client::on(server.socket_of("/ws", &token("ann", 1000)));
    let server = folder.serve_with(shards, &flags);
    post_to_all(&mut enter(&server));
    stop(server);
    folder.query("DELETE FROM users WHERE name = 'ann'");
    let server = folder.serve_with(shards, &flags);
    let mut ann = enter(&server);
    for room in ROOMS {
        ann.join(room);
        delete(&mut ann, room, 1, "ack");
    }
    stop(server);
}

fn a_token_ends_the_session_that_had_its_name(shards: u16) {
    let (folder, key) = (Folder::new("owners-sessions"), KeyFile::secret());
    let flags = ["--auth", "jwt", "--jwt-key", key.text()];
    let enter = |server: &Server, name| Client::on(server.socket_of("/ws", &token(name, 1000)));
    let names = ["ann", "bob", "cy", "dan"];
    let server = folder.serve(shards);
    let sessions = names.map(|name| server.client(name).session);
    stop(server);
    let server = folder.serve_with(shards, &flags);
    for name in names {
        assert_eq!(enter(&server, name).user, name);
    }
    // It is so from the welcome on, whatever becomes of the server.
    drop(server);
    let server = folder.serve_with(shards, &flags);
    let mut ann = enter(&server, "ann");
    // That she is back is written, before this message at the latest.
    ann.join("r");
    ann.post("r", 1);
    // Whoever comes again by token writes nothing more.
    let commits = || folder.query("SELECT value FROM meta WHERE name = 'commits'");
    let (before, first) = (commits(), enter(&server, "ann"));
    assert_eq!((commits(), first.user), (before, "ann".to_owned()));
    for name in names {
        ann.write_to(name, "a secret");
    }
    stop(server);
    let server = folder.serve(shards);
    for (name, session) in names.iter().zip(&sessions) {
        for query in [
            format!("?user={name}&session={session}"),
            format!("?user={name}"),
        ] {
            let mut socket = server.socket(&format!("/ws{query}"));
            let error: Value = serde_json::from_str(&socket.text()).expect("JSON");
            assert_eq!(error["code"], "name_taken", "{error}");
            assert_eq!(socket.closed(), Some(4001));
        }
    }
    stop(server);
}
