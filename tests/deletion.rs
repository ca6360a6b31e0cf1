//! Deleting messages: who may, who learns of it, and what is left.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{
    Client, Server, Settings, Value, json, program, run_to_end, seq, seqs, sharded, transported,
    until,
};
use std::fs;
use store::{Folder, stop};

transported!(
    everyone_there_learns_of_it,
    who_was_away_learns_of_it,
    authors_and_moderators_may,
    what_is_no_message_is_not_deleted,
    the_shortest_message_leaves_a_tombstone_too,
    compressed_frames_are_replaced_as_well,
);

// The disk knows nothing of how clients are connected, and there is much to write.
sharded!(messages_on_the_disk_are_deleted);

/// Rooms enough that some are at home on each shard.
const ROOMS: [&str; 4] = ["r1", "r2", "r3", "r4"];

fn delete(room: &str, seq_id: u64) -> Value {
    json!({"type": "delete", "room_id": room, "seq_id": seq_id, "id": format!("d{seq_id}")})
}

fn history(client: &mut Client, room: &str) -> Vec<Value> {
    let history = client.ask(json!({"type": "history", "room_id": room}), "history");
    history["messages"].as_array().expect("a list").clone()
}

fn join_since(client: &mut Client, room: &str, epoch: &Value, seq_id: u64) -> Value {
    let since = json!({"epoch": epoch, "seq_id": seq_id});
    client.ask(
        json!({"type": "join", "room_id": room, "since": since}),
        "joined",
    )
}

/// Sees to it that nothing but a tombstone is left of a message.
fn is_tombstone(event: &Value, seq_id: u64, sender: &str) {
    assert_eq!(
        (
            &event["type"],
            seq(event),
            &event["sender"],
            &event["deleted"]
        ),
        (&json!("message"), seq_id, &json!(sender), &json!(true)),
        "{event}"
    );
    for gone in ["content", "metadata", "id"] {
        assert_eq!(event.get(gone), None, "{event}");
    }
}

fn is_deletion(event: &Value, seq_id: u64, deleted: u64, sender: &str) {
    assert_eq!(
        (
            &event["type"],
            seq(event),
            &event["deleted_seq_id"],
            &event["sender"]
        ),
        (&json!("deleted"), seq_id, &json!(deleted), &json!(sender)),
        "{event}"
    );
    assert!(
        event["timestamp"]
            .as_u64()
            .is_some_and(|ms| ms > 1_600_000_000_000),
        "{event}"
    );
}

fn everyone_there_learns_of_it(shards: u16) {
    let server = Server::start(shards);
    let (mut ann, mut bob) = (server.client("ann"), server.client("bob"));
    for room in ROOMS {
        ann.join(room);
        bob.join(room);
        for content in ["first", "a secret", "last"] {
            let message = json!({"type": "message", "room_id": room, "content": content, "metadata": {"k": content}, "id": content});
            ann.ask(message, "ack");
        }
        let ack = ann.ask(delete(room, 2), "ack");
        assert_eq!(
            (seq(&ack), &ack["id"], &ack["room_id"]),
            (4, &json!("d2"), &json!(room)),
            "{ack}"
        );
        for client in [&mut ann, &mut bob] {
            let deleted = client.take_of("deleted", room);
            is_deletion(&deleted, 4, 2, "ann");
            assert_eq!(client.take_of("message", room)["content"], "first");
        }
        // The numbers go on behind it.
        assert_eq!(seq(&ann.post(room, "next")), 5);
        let page = history(&mut bob, room);
        assert_eq!(seqs(&page), [1, 2, 3, 4, 5]);
        is_tombstone(&page[1], 2, "ann");
        is_deletion(&page[3], 4, 2, "ann");
        assert_eq!(page[2]["metadata"]["k"], "last");
        // The `id` of what is gone is remembered still.
        let again =
            json!({"type": "message", "room_id": room, "content": "again", "id": "a secret"});
        let ack = ann.ask(again, "ack");
        assert_eq!((seq(&ack), &ack["dup"]), (2, &json!(true)));
    }
    server.metric_is("deletions_total", 4);
}

fn who_was_away_learns_of_it(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    for room in ROOMS {
        let epoch = ann.join(room)["epoch"].clone();
        for number in 1..=5 {
            ann.post(room, format!("number {number}"));
        }
        ann.ask(delete(room, 3), "ack");
        let mut had_it = Client::open(&server, "");
        assert_eq!(join_since(&mut had_it, room, &epoch, 5)["recovered"], true);
        is_deletion(&had_it.take_of("deleted", room), 6, 3, "ann");
        let mut had_not = Client::open(&server, "");
        join_since(&mut had_not, room, &epoch, 1);
        let messages = had_not.take_many("message", 4);
        assert_eq!(seqs(&messages), [2, 3, 4, 5]);
        is_tombstone(&messages[1], 3, "ann");
        is_deletion(&had_not.take_of("deleted", room), 6, 3, "ann");
        // Having it, one needs it no more.
        let mut had_all = Client::open(&server, "");
        join_since(&mut had_all, room, &epoch, 6);
        ann.post(room, "live");
        assert_eq!(seqs(&[had_all.take_of("message", room)]), [7]);
        assert!(had_all.rest_of("deleted").is_empty());
    }
}

fn authors_and_moderators_may(shards: u16) {
    let settings = Settings::new("[[room]]\npattern = \"*\"\nmoderate = [\"mod\"]\n");
    let server = Server::with(shards, &["--config", settings.path()]);
    let (mut ann, mut bob, mut moderator) = (
        server.client("ann"),
        server.client("bob"),
        server.client("mod"),
    );
    for room in ROOMS {
        for client in [&mut ann, &mut bob, &mut moderator] {
            client.join(room);
        }
        ann.post(room, 1);
        ann.post(room, 2);
        let error = bob.ask(delete(room, 1), "error");
        assert_eq!(
            (&error["code"], &error["request"], &error["id"]),
            (&json!("forbidden"), &json!("delete"), &json!("d1"))
        );
        moderator.ask(delete(room, 1), "ack");
        is_deletion(&bob.take_of("deleted", room), 3, 1, "mod");
        ann.ask(delete(room, 2), "ack");
    }
    until("each of them is logged, and each refusal", || {
        let log = server.log();
        let deletions = || log.lines().filter(|line| line.contains("event=delete"));
        let is_refused = |line: &&str| line.contains(" refused=forbidden ");
        let refused_count = deletions().filter(is_refused).count();
        refused_count == ROOMS.len() && deletions().count() == 3 * ROOMS.len()
    });
}

fn what_is_no_message_is_not_deleted(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let error = ann.ask(delete("r", 1), "error");
    assert_eq!(error["code"], "not_joined");
    ann.join("r");
    ann.post("r", 1);
    ann.ask(delete("r", 1), "ack");
    for seq_id in [0, 1, 2, 3, (1 << 53) - 1] {
        let error = ann.ask(delete("r", seq_id), "error");
        assert_eq!(error["code"], "bad_field", "{seq_id}");
    }
    for command in [
        json!({"type": "delete", "room_id": "r"}),
        json!({"type": "delete", "seq_id": 1}),
    ] {
        assert_eq!(ann.ask(command, "error")["code"], "bad_field");
    }
    assert_eq!(seqs(&history(&mut ann, "r")), [1, 2]);
}

fn the_shortest_message_leaves_a_tombstone_too(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let epoch = ann.join("r")["epoch"].clone();
    let contents = ["1", "{}", "\"\"", "12", "null", "1234", "\"abcdefgh\""];
    for content in contents {
        ann.say_text(&format!(
            r#"{{"type":"message","room_id":"r","content":{content}}}"#
        ));
        ann.take("ack");
    }
    for seq_id in 1..=contents.len() as u64 {
        ann.ask(delete("r", seq_id), "ack");
    }
    let mut bob = Client::open(&server, "");
    join_since(&mut bob, "r", &epoch, 0);
    for (seq_id, message) in (1..).zip(bob.take_many("message", contents.len())) {
        is_tombstone(&message, seq_id, "ann");
    }
    assert_eq!(
        bob.take_many("deleted", contents.len()).len(),
        contents.len()
    );
}

fn compressed_frames_are_replaced_as_well(shards: u16) {
    let server = Server::with(shards, &["--deflate"]);
    let mut ann = server.client("ann");
    let deflating = |name: &str| Client::on(server.deflating_socket(&format!("/ws?user={name}")));
    let mut bob = deflating("bob");
    for room in ROOMS {
        let epoch = ann.join(room)["epoch"].clone();
        bob.join(room);
        for number in 1..=5 {
            ann.post(room, format!("{number} {}", "compressible ".repeat(50)));
            bob.take_of("message", room);
        }
        ann.ask(delete(room, 3), "ack");
        is_deletion(&bob.take_of("deleted", room), 6, 3, "ann");
        join_since(&mut bob, room, &epoch, 0);
        let messages: Vec<Value> = (0..5).map(|_| bob.take_of("message", room)).collect();
        assert_eq!(seqs(&messages), [1, 2, 3, 4, 5]);
        is_tombstone(&messages[2], 3, "ann");
        assert!(
            messages[3]["content"]
                .as_str()
                .is_some_and(|text| text.starts_with("4 compressible"))
        );
        is_deletion(&bob.take_of("deleted", room), 6, 3, "ann");
    }
}

fn messages_on_the_disk_are_deleted(shards: u16) {
    const SECRET: &str = "the number of the safe is 4711";
    let folder = Folder::new("deletion");
    let flags = ["--max-message", "2048", "--tail-bytes-max", "2048"];
    let server = folder.serve_with(shards, &flags);
    let mut ann = server.client("ann");
    let session = ann.session.clone();
    let mut epochs = Vec::new();
    for room in ROOMS {
        epochs.push(ann.join(room)["epoch"].clone());
        ann.post(room, SECRET);
        ann.post(room, SECRET.repeat(40));
        // More than memory keeps of a room.
        let text = "x".repeat(1500);
        for number in 0..150 {
            let message = json!({"type": "message", "room_id": room, "content": [number, text]});
            ann.ask(message, "ack");
        }
        let error = Client::open(&server, &format!("?room={room}")).ask(delete(room, 1), "error");
        assert_eq!(error["code"], "forbidden");
        for (seq_id, number) in [(1, 153), (2, 154)] {
            assert_eq!(seq(&ann.ask(delete(room, seq_id), "ack")), number);
        }
        assert_eq!(ann.ask(delete(room, 1), "error")["code"], "bad_field");
        let page = json!({"type": "history", "room_id": room, "before": 4});
        let page = ann.ask(page, "history");
        let page = page["messages"].as_array().expect("a list");
        is_tombstone(&page[0], 1, "ann");
        is_tombstone(&page[1], 2, "ann");
        assert_eq!(page[2]["content"][0], 0);
    }
    stop(server);
    // Nothing of it is in the folder.
    for entry in fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("a file");
        let is_there = bytes
            .windows(SECRET.len())
            .any(|window| window == SECRET.as_bytes());
        assert!(!is_there, "{}", path.display());
    }
    let server = folder.serve_with(shards, &flags);
    let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
    for (room, epoch) in ROOMS.iter().zip(&epochs) {
        assert_eq!(join_since(&mut ann, room, epoch, 0)["recovered"], true);
        let messages: Vec<Value> = (0..152).map(|_| ann.take_of("message", room)).collect();
        assert!(seqs(&messages).into_iter().eq(1..=152));
        is_tombstone(&messages[0], 1, "ann");
        is_deletion(&ann.take_of("deleted", room), 153, 1, "ann");
        is_deletion(&ann.take_of("deleted", room), 154, 2, "ann");
        assert_eq!(seq(&ann.post(room, "next")), 155);
    }
    stop(server);
}

#[test]
fn deletions_are_exported_and_imported() {
    let (folder, other) = (
        Folder::new("deletion-export"),
        Folder::new("deletion-import"),
    );
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    ann.join("r");
    for content in ["one", "two", "three"] {
        ann.post("r", content);
    }
    ann.ask(delete("r", 2), "ack");
    stop(server);
    let run = |name: &str, folder: &Folder, rest: &[&str]| {
        let mut command = program();
        command
            .arg(name)
            .arg("--data")
            .arg(folder.path())
            .args(rest);
        let (status, out, err) = run_to_end(&mut command);
        assert!(status.success(), "{err}");
        out
    };
    let lines = run("export", &folder, &["--room", "r"]);
    let parsed: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(seqs(&parsed), [1, 2, 3, 4]);
    assert_eq!(
        (&parsed[1]["deleted"], parsed[1].get("content")),
        (&json!(true), None)
    );
    assert_eq!(
        (&parsed[3]["deletes"], parsed[3].get("content")),
        (&json!(2), None)
    );
    fs::create_dir_all(other.path()).expect("a folder");
    let file = other.path().join("lines");
    fs::write(&file, &lines).expect("a file");
    run("import", &other, &[file.to_str().expect("text")]);
    let server = other.serve(1);
    let mut bob = server.client("bob");
    bob.join("r");
    let page = history(&mut bob, "r");
    assert_eq!(seqs(&page), [1, 2, 3, 4]);
    is_tombstone(&page[1], 2, "ann");
    is_deletion(&page[3], 4, 2, "ann");
    stop(server);
}
