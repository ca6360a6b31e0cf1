//! With a data folder: what was acknowledged or seen is there after a restart, and after `kill -9`.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Client, Server, Value, json, run_to_end, seq, seqs, sharded};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use store::{Folder, stop};

sharded!(
    messages_survive,
    ids_survive,
    names_and_sessions_survive,
    inboxes_survive_until_they_are_confirmed,
    a_reader_far_behind_gets_everything_in_order,
    history_pages_through_the_store,
    history_says_what_is_before_memory,
    a_restored_backup_has_a_new_epoch,
    a_guest_who_goes_at_once_is_owed_nothing,
    a_repetition_after_a_new_epoch_makes_no_second_copy,
    retention_trims_and_says_so,
    what_is_older_than_its_days_is_trimmed,
);

/// Ends a server by `kill -9`, or in good order.
fn end(server: Server, is_killed: bool) {
    match is_killed {
        true => drop(server),
        false => stop(server),
    }
}

fn since(joined: &Value, seq_id: u64) -> Value {
    json!({"epoch": joined["epoch"], "seq_id": seq_id})
}

fn rejoin(client: &mut Client, room: &str, position: Value) -> Value {
    let join = json!({"type": "join", "room_id": room, "since": position});
    client.ask(join, "joined")
}

fn messages_survive(shards: u16) {
    for is_killed in [true, false] {
        let folder = Folder::new("messages");
        let server = folder.serve(shards);
        let mut ann = server.client("ann");
        assert_eq!(ann.welcome["limits"]["durable"], true);
        let before = ann.join("r");
        for number in 1..=5 {
            let ack = ann.post("r", number);
            assert_eq!((seq(&ack), &ack["durable"]), (number, &json!(true)));
        }
        end(server, is_killed);
        let server = folder.serve(shards);
        let mut bob = server.client("bob");
        let joined = rejoin(&mut bob, "r", since(&before, 2));
        assert_eq!(joined["recovered"], true, "{joined}");
        assert_eq!((seq(&joined), &joined["epoch"]), (5, &before["epoch"]));
        assert_eq!(bob.take_seqs("r", 3), [3, 4, 5]);
        assert_eq!(seq(&bob.post("r", 6)), 6);
        assert_eq!(bob.take_seqs("r", 1), [6]);
        let history = bob.ask(json!({"type": "history", "room_id": "r"}), "history");
        let messages = history["messages"].as_array().expect("messages");
        assert_eq!(seqs(messages), [1, 2, 3, 4, 5, 6]);
        assert_eq!(messages[0]["content"], 1);
        assert_eq!(messages[0]["sender"], "ann");
        let ahead = rejoin(&mut bob, "r", since(&before, 7));
        assert_eq!(
            (&ahead["recovered"], &ahead["reason"]),
            (&json!(false), &json!("ahead"))
        );
    }
}

fn ids_survive(shards: u16) {
    for is_killed in [true, false] {
        let folder = Folder::new("ids");
        let send = json!({"type": "message", "room_id": "r", "content": 1, "id": "x"});
        let server = folder.serve(shards);
        let mut ann = server.client("ann");
        ann.join("r");
        let first = ann.ask(send.clone(), "ack");
        let session = ann.session.clone();
        end(server, is_killed);
        let server = folder.serve(shards);
        let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
        ann.join("r");
        let second = ann.ask(send, "ack");
        assert_eq!(second["dup"], true, "{second}");
        assert_eq!(seq(&second), seq(&first));
        assert_eq!(second["timestamp"], first["timestamp"]);
        assert_eq!(folder.query("SELECT count(*) FROM messages"), ["1"]);
    }
}

fn names_and_sessions_survive(shards: u16) {
    for is_killed in [true, false] {
        let folder = Folder::new("names");
        let server = folder.serve(shards);
        let ann = server.client("ann");
        let guest = Client::open(&server, "");
        let (session, guest_name) = (ann.session.clone(), guest.user.clone());
        drop((ann, guest));
        end(server, is_killed);
        let secret = folder.query("SELECT secret FROM users").concat();
        assert!(!secret.contains(&session), "only a hash is kept");
        let server = folder.serve(shards);
        let mut other = server.socket("/ws?user=ann");
        assert!(other.text().contains("name_taken"));
        let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
        assert_eq!(ann.user, "ann");
        ann.say(json!({"type": "message", "to": guest_name, "content": 1}));
        let error = ann.next_of(&["error", "ack"]);
        assert_eq!(error["code"], "unknown_user", "of guests nothing is kept");
    }
}

fn inboxes_survive_until_they_are_confirmed(shards: u16) {
    for is_killed in [true, false] {
        let folder = Folder::new("inboxes");
        let server = folder.serve(shards);
        let ann = server.client("ann");
        let epoch = ann.welcome["inbox"]["epoch"].clone();
        let session = ann.session.clone();
        drop(ann);
        let mut bob = server.client("bob");
        for number in 1..=3 {
            assert_eq!(seq(&bob.write_to("ann", number)), number);
        }
        // The sender's own copies come when both sides are kept.
        let mut second = server.again(&bob);
        second.take_seqs("ann", 3);
        let bobs = bob.session.clone();
        end(server, is_killed);
        let server = folder.serve(shards);
        let query = format!("?user=ann&session={session}");
        let mut ann = Client::open(&server, &query);
        assert_eq!(ann.welcome["inbox"]["epoch"], epoch);
        assert_eq!(seq(&ann.welcome["inbox"]), 3);
        assert_eq!(ann.take_seqs("ann", 3), [1, 2, 3]);
        drop(ann);
        let mut ann = Client::open(&server, &format!("{query}&inbox_since=2"));
        assert_eq!(ann.take_seqs("ann", 1), [3]);
        assert_eq!(ann.rest_of("message").len(), 0);
        drop(ann);
        end(server, is_killed);
        let server = folder.serve(shards);
        let mut ann = Client::open(&server, &query);
        // That of before was a confirmation, which may be lost by a crash, but not by a stop.
        if !is_killed {
            assert_eq!(ann.take_seqs("ann", 1), [3]);
            assert_eq!(ann.rest_of("message").len(), 0);
        }
        let mut bob = Client::open(&server, &format!("?user=bob&session={bobs}"));
        let copies = json!({"type": "history", "to": "bob"});
        let copies = bob.ask(copies, "history");
        assert_eq!(
            copies["messages"].as_array().map(Vec::len),
            Some(3),
            "{copies}"
        );
        assert_eq!(folder.query("SELECT count(*) FROM copies"), ["0"]);
    }
}

fn a_reader_far_behind_gets_everything_in_order(shards: u16) {
    const COUNT: u64 = 2_000;
    let folder = Folder::new("behind");
    let server = folder.serve_with(shards, &["--tail-bytes-max", "65536"]);
    let mut ann = server.client("ann");
    let before = ann.join("r");
    let session = ann.session.clone();
    let text = "x".repeat(200);
    for number in 0..COUNT {
        ann.say(json!({"type": "message", "room_id": "r", "content": format!("{number} {text}")}));
        if number % 100 == 99 {
            ann.take_many("ack", 100);
            ann.take_many("message", 100);
        }
    }
    for own in [false, true] {
        // A connection of the same user, one of another.
        let mut reader = match own {
            true => Client::open(&server, &format!("?user=ann&session={session}")),
            false => server.client("bob"),
        };
        let join =
            json!({"type": "join", "room_id": "r", "since": since(&before, 0), "echo": !own});
        let joined = reader.ask(join, "joined");
        assert_eq!(joined["recovered"], true, "{joined}");
        ann.post("r", "live");
        let count = usize::try_from(seq(&joined)).expect("few") + 1;
        let seqs = reader.take_seqs("r", count);
        assert!(
            seqs.iter().copied().eq(1..=count as u64),
            "no gap, no duplicate"
        );
        assert_eq!(reader.rest_of("gap").len(), 0);
    }
    assert!(server.metric("chunks_total") >= 2);
}

fn history_pages_through_the_store(shards: u16) {
    let folder = Folder::new("history");
    let server = folder.serve_with(shards, &["--tail-bytes-max", "65536"]);
    let mut ann = server.client("ann");
    ann.join("r");
    let text = "x".repeat(2000);
    for _ in 0..300 {
        ann.post("r", text.as_str());
    }
    let mut page = |bounds: &str| {
        let text = format!(r#"{{"type":"history","room_id":"r"{bounds}}}"#);
        ann.say_text(&text);
        let page = ann.take("history");
        let messages = page["messages"].as_array().expect("messages");
        (seqs(messages), page["more"].as_bool().expect("a bool"))
    };
    let run = |from: u64, to: u64| (from..=to).collect::<Vec<_>>();
    assert_eq!(page(r#","limit":3"#), (run(298, 300), true));
    assert_eq!(page(r#","limit":3,"before":4"#), (run(1, 3), false));
    assert_eq!(page(r#","limit":3,"before":5"#), (run(2, 4), true));
    assert_eq!(page(r#","limit":3,"after":0"#), (run(1, 3), true));
    assert_eq!(page(r#","limit":3,"after":297"#), (run(298, 300), false));
    assert_eq!(page(r#","before":1"#), (vec![], false));
    let (seqs, more) = page(r#","limit":500"#);
    assert!(more && seqs.last() == Some(&300), "it ends at 256 KiB");
    assert!((100..140).contains(&seqs.len()), "{}", seqs.len());
}

fn history_says_what_is_before_memory(shards: u16) {
    let folder = Folder::new("boundary");
    let server = folder.serve(shards);
    let mut ann = server.client("ann");
    ann.join("r");
    for number in 0..10 {
        ann.post("r", number);
    }
    stop(server);
    // Memory begins behind what was there before.
    let server = folder.serve(shards);
    let mut bob = server.client("bob");
    bob.join("r");
    bob.post("r", "new");
    let mut page = |bounds: &str| {
        let text = format!(r#"{{"type":"history","room_id":"r"{bounds}}}"#);
        bob.say_text(&text);
        let page = bob.take("history");
        let messages = page["messages"].as_array().expect("messages");
        (seqs(messages), page["more"].as_bool().expect("a bool"))
    };
    assert_eq!(page(r#","limit":1"#), (vec![11], true));
    assert_eq!(page(r#","limit":1,"before":12"#), (vec![11], true));
    assert_eq!(page(r#","limit":1,"before":11"#), (vec![10], true));
    assert_eq!(page(r#","limit":1,"after":10"#), (vec![11], false));
    assert_eq!(page(r#","limit":1,"after":9"#), (vec![10], true));
    assert_eq!(
        page(r#","limit":11"#),
        ((1..=11).collect::<Vec<_>>(), false)
    );
}

fn a_guest_who_goes_at_once_is_owed_nothing(shards: u16) {
    let folder = Folder::new("guests");
    let server = folder.serve(shards);
    let mut bob = server.client("bob");
    for number in 1..=20 {
        let mut guest = Client::open(&server, "");
        guest.say(json!({"type": "message", "to": "bob", "content": number}));
        drop(guest);
        assert_eq!(seq(&bob.take("message")), number);
    }
    stop(server);
    assert_eq!(folder.query("SELECT count(*) FROM copies"), ["0"]);
}

fn a_repetition_after_a_new_epoch_makes_no_second_copy(shards: u16) {
    let folder = Folder::new("no-second-copy");
    let mut server = folder.serve(shards);
    drop(server.client("bob"));
    let ann = server.client("ann");
    let entry = format!("?user=ann&session={}", ann.session);
    drop(ann);
    let message = json!({"type": "message", "to": "bob", "content": 1, "id": "1"});
    for flags in [&[][..], &[], &["--new-epoch"]] {
        let mut ann = Client::open(&server, &entry);
        let ack = ann.ask(message.clone(), "ack");
        assert_eq!(seq(&ack), 1);
        let page = ann.ask(json!({"type": "history", "to": "ann"}), "history");
        let copies = page["messages"].as_array().expect("a list").len();
        assert!(copies <= 1, "{page}");
        stop(server);
        server = folder.serve_with(shards, flags);
    }
    let mut ann = Client::open(&server, &entry);
    assert_eq!(ann.ask(message, "ack")["dup"], true);
    stop(server);
    let copies = "SELECT count(*) FROM history WHERE content = '1'";
    assert_eq!(folder.query(copies), ["2"], "of both sides one");
}

fn a_restored_backup_has_a_new_epoch(shards: u16) {
    let folder = Folder::new("restored");
    let server = folder.serve(shards);
    let mut ann = server.client("ann");
    let before = ann.join("r");
    ann.post("r", 1);
    stop(server);
    let backup = folder.path().join("backup");
    fs::copy(folder.database(), &backup).expect("a copy");
    let server = folder.serve(shards);
    let mut bob = server.client("bob");
    assert_eq!(rejoin(&mut bob, "r", since(&before, 1))["recovered"], true);
    bob.post("r", 2);
    stop(server);
    fs::rename(&backup, folder.database()).expect("a backup");
    let server = folder.serve(shards);
    let mut cat = server.client("cat");
    let joined = rejoin(&mut cat, "r", since(&before, 1));
    assert_eq!(joined["recovered"], false, "{joined}");
    assert_eq!(joined["reason"], "epoch");
    assert_eq!(seq(&cat.post("r", 3)), 2);
    stop(server);
    let server = folder.serve_with(shards, &["--new-epoch"]);
    let mut dan = server.client("dan");
    let joined = rejoin(&mut dan, "r", since(&joined, 2));
    assert_eq!(joined["reason"], "epoch", "{joined}");
}

fn retention_trims_and_says_so(shards: u16) {
    let folder = Folder::new("retention");
    let flags = ["--retain-messages", "log-*=10", "--tail-bytes-max", "65536"];
    let server = folder.serve_with(shards, &flags);
    let mut ann = server.client("ann");
    let joined = ann.join("log-1");
    ann.join("lobby");
    for number in 0..30 {
        ann.post("log-1", number);
        ann.post("lobby", number);
    }
    let session = ann.session.clone();
    stop(server);
    let server = folder.serve_with(shards, &flags);
    let count = || folder.query("SELECT count(*) FROM history WHERE room = 'log-1'")[0] == "10";
    common::until("old messages are trimmed", count);
    assert_eq!(
        folder.query("SELECT count(*) FROM history WHERE room = 'lobby'"),
        ["30"]
    );
    let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
    let late = rejoin(&mut ann, "log-1", since(&joined, 19));
    assert_eq!(
        (&late["recovered"], &late["reason"]),
        (&json!(false), &json!("expired"))
    );
    let fine = rejoin(&mut ann, "log-1", since(&joined, 20));
    assert_eq!(fine["recovered"], true);
    assert_eq!(ann.take_seqs("log-1", 10), (21..=30).collect::<Vec<_>>());
    let page = ann.ask(json!({"type": "history", "room_id": "log-1"}), "history");
    assert_eq!(page["more"], false);
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(10));
}

fn what_is_older_than_its_days_is_trimmed(shards: u16) {
    let folder = Folder::new("days");
    let flags = ["--retain-days", "log-*=7"];
    let server = folder.serve_with(shards, &flags);
    let mut ann = server.client("ann");
    let joined = ann.join("log-1");
    ann.join("lobby");
    for number in 0..10 {
        ann.post("log-1", number);
        ann.post("lobby", number);
    }
    let session = ann.session.clone();
    stop(server);
    // A minute more than seven days ago, and a quarter of an hour less.
    for (bounds, minutes) in [
        ("<= 4", 7 * 24 * 60 + 1),
        ("BETWEEN 5 AND 6", 7 * 24 * 60 - 15),
    ] {
        folder.query(&format!(
            "UPDATE messages SET unix_ms = unix_ms - {} WHERE seq_id {bounds}",
            minutes * 60_000
        ));
    }
    let server = folder.serve_with(shards, &flags);
    let count = |room: &str| {
        folder.query(&format!(
            "SELECT count(*) FROM history WHERE room = '{room}'"
        ))
    };
    common::until("old messages are trimmed", || count("log-1") == ["6"]);
    assert_eq!(count("lobby"), ["10"], "for other rooms nothing was said");
    let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
    let late = rejoin(&mut ann, "log-1", since(&joined, 3));
    assert_eq!(
        (&late["recovered"], &late["reason"]),
        (&json!(false), &json!("expired"))
    );
    let fine = rejoin(&mut ann, "log-1", since(&joined, 4));
    assert_eq!(fine["recovered"], true);
    assert_eq!(ann.take_seqs("log-1", 6), (5..=10).collect::<Vec<_>>());
    assert_eq!(seq(&ann.post("log-1", "goes on")), 11);
    assert_eq!(count("log-1"), ["7"], "what is younger stays");
}

#[test]
fn who_reads_the_database_keeps_no_server_from_starting_and_stopping() {
    let folder = Folder::new("read");
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    ann.join("r");
    ann.post("r", 1);
    let session = ann.session.clone();
    end(server, true);
    // Of what the process before wrote last something is in the write-ahead log, and somebody reads it.
    let reader = rusqlite::Connection::open(folder.database()).expect("a database");
    let read = "BEGIN; SELECT count(*) FROM messages;";
    reader.execute_batch(read).expect("it reads");
    let mut server = folder.serve(1);
    let is_named = format!("(process {}) reads the database", std::process::id());
    server.await_log(&is_named);
    let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
    ann.join("r");
    ann.post("r", 2);
    drop(ann);
    server.signal("TERM");
    assert!(server.wait().success());
    let log = server.log();
    assert_eq!(log.matches(&is_named).count(), 2, "{log}");
    assert!(!log.contains("not stop in good order"), "{log}");
    drop(reader);
    // All of it is there, and nothing has to be checked.
    let mark = fs::read_to_string(folder.path().join("high-water")).expect("a mark");
    assert!(mark.contains("clean"), "{mark}");
    let server = folder.serve(1);
    let mut bob = server.client("bob");
    assert_eq!(seq(&bob.join("r")), 2);
    drop(bob);
    stop(server);
}

#[test]
fn a_folder_in_use_or_of_a_newer_version_is_refused() {
    let folder = Folder::new("refused");
    let server = folder.serve(1);
    let (status, _, err) = run_to_end(&mut folder.command(1, &[]));
    assert!(!status.success());
    assert!(err.contains("another server uses the data folder"), "{err}");
    stop(server);
    folder.query("PRAGMA user_version = 1000000");
    let (status, _, err) = run_to_end(&mut folder.command(1, &[]));
    assert!(!status.success());
    assert!(err.contains("newer version"), "{err}");
}

#[test]
fn a_damaged_database_is_refused_after_a_crash() {
    let folder = Folder::new("damaged");
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    ann.join("r");
    let text = "x".repeat(3000);
    for _ in 0..50 {
        ann.post("r", text.as_str());
    }
    stop(server);
    let mut bytes = fs::read(folder.database()).expect("a database");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xff);
    fs::write(folder.database(), bytes).expect("a database");
    fs::remove_file(folder.path().join("high-water")).expect("a mark");
    let (status, _, err) = run_to_end(&mut folder.command(1, &[]));
    assert!(!status.success());
    assert!(err.contains("damaged"), "{err}");
}

#[test]
fn joining_writes_nothing() {
    let folder = Folder::new("joining");
    let server = folder.serve(1);
    let mut guest = Client::open(&server, "?room=r");
    let before = guest.take("joined");
    drop(guest);
    assert_eq!(folder.query("SELECT count(*) FROM logs"), ["0"]);
    stop(server);
    // An empty room has its epoch from the store: what comes later comes after this position.
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    ann.join("r");
    ann.post("r", 1);
    let mut bob = server.client("bob");
    let joined = rejoin(&mut bob, "r", since(&before, 0));
    assert_eq!(joined["recovered"], true, "{joined}");
    assert_eq!(bob.take_seqs("r", 1), [1]);
}

#[test]
fn nobody_else_reads_what_it_keeps() {
    let folder = Folder::new("private");
    // Made by somebody else, for everybody to look into.
    fs::create_dir_all(folder.path()).expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    ann.join("r");
    ann.post("r", 1);
    let files = fs::read_dir(folder.path()).expect("a folder");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let mode = fs::metadata(&file).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o077, 0, "{}", file.display());
    }
}
