//! A message repeated with its `id` is kept once, and answered as the first time.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Client, Server, Value, json, seq, transported, until};
use std::fs;
use std::path::PathBuf;
use store::{Folder, stop};

transported!(
    a_repetition_gets_the_first_ack,
    on_another_connection_too,
    in_flight_too,
    an_id_belongs_to_one_user_and_one_log,
    private_messages_too,
    the_last_ten_thousand_are_remembered,
    who_may_not_write_any_more_gets_the_first_ack,
    the_message_that_filled_an_inbox_gets_its_first_ack,
);

fn send(client: &mut Client, room: &str, id: &str, content: impl Into<Value>) -> Value {
    let content = content.into();
    client.ask(
        json!({"type": "message", "room_id": room, "content": content, "id": id}),
        "ack",
    )
}

/// An `ack` without what tells a repetition from the first.
fn without_dup(ack: &Value) -> Value {
    let mut ack = ack.clone();
    ack.as_object_mut().expect("an object").remove("dup");
    ack
}

fn a_repetition_gets_the_first_ack(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("r");
    bob.join("r");
    let first = send(&mut ann, "r", "one", "as it was");
    assert_eq!(first.get("dup"), None);
    send(&mut ann, "r", "two", "in between");
    for _ in 0..3 {
        // What it holds now does not matter: it is the same message.
        let again = send(&mut ann, "r", "one", "another content");
        assert_eq!(again["dup"], true);
        assert_eq!(without_dup(&again), first, "number and time of the first");
    }
    assert_eq!(send(&mut ann, "r", "three", "last")["seq_id"], 3);
    for reader in [&mut ann, &mut bob] {
        let messages = reader.take_many("message", 3);
        let contents: Vec<&Value> = messages.iter().map(|message| &message["content"]).collect();
        assert_eq!(contents, ["as it was", "in between", "last"]);
        assert_eq!(reader.rest_of("message"), Vec::<Value>::new());
    }
    server.metric_is("duplicates_total", 3);
}

fn on_another_connection_too(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    ann.join("r");
    let first = send(&mut ann, "r", "one", 1);
    let query = format!("?user=ann&session={}", ann.session);
    // The others at the same time, and then one after she was away.
    for _ in 0..4 {
        let mut other = Client::open(&server, &query);
        other.join("r");
        let again = send(&mut other, "r", "one", 1);
        assert_eq!(again["dup"], true);
        assert_eq!(without_dup(&again), first);
    }
    let mut keeper = server.client("keeper");
    keeper.join("r");
    drop(ann);
    until("ann has gone", || {
        keeper.ask(json!({"type": "who", "room_id": "r"}), "presence")["count"] == 1
    });
    let mut ann = Client::open(&server, &query);
    ann.join("r");
    assert_eq!(send(&mut ann, "r", "one", 1)["dup"], true);
    assert_eq!(send(&mut ann, "r", "new", 1)["seq_id"], 2);
}

fn in_flight_too(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    for room in ["a", "b", "c", "d"] {
        ann.join(room);
        let command = json!({"type": "message", "room_id": room, "content": 1, "id": "same"});
        // Twice in one frame, and twice more in one segment.
        let twice = format!("{command}{command}");
        let frames = [
            common::masked(common::Opcode::Text, twice.as_bytes()),
            common::masked(common::Opcode::Text, twice.as_bytes()),
        ];
        ann.socket.send_bytes(&frames.concat());
        let acks = ann.take_many("ack", 4);
        assert_eq!(acks[0].get("dup"), None);
        for again in &acks[1..] {
            assert_eq!(again["dup"], true);
            assert_eq!(without_dup(again), acks[0]);
        }
        assert_eq!(ann.take_seqs(room, 1), [1]);
    }
    assert_eq!(ann.rest_of("message"), Vec::<Value>::new());
}

fn an_id_belongs_to_one_user_and_one_log(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    for client in [&mut ann, &mut bob] {
        client.join("r");
        client.join("s");
    }
    assert_eq!(send(&mut ann, "r", "x", 1).get("dup"), None);
    assert_eq!(send(&mut ann, "s", "x", 1).get("dup"), None);
    assert_eq!(send(&mut bob, "r", "x", 1).get("dup"), None);
    // Names and ids are told apart where one ends and the other begins.
    let mut an = server.client("an");
    an.join("r");
    assert_eq!(send(&mut an, "r", "nx", 1).get("dup"), None);
    assert_eq!(send(&mut an, "r", "", 1).get("dup"), None, "empty is an id");
    assert_eq!(send(&mut an, "r", "", 1)["dup"], true);
    let seqs = ann.take_seqs("r", 4);
    assert_eq!(seqs, [1, 2, 3, 4]);
}

fn private_messages_too(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut also_ann = server.again(&ann);
    let mut bob = server.client("bob");
    let command = json!({"type": "message", "to": "bob", "content": 1, "id": "x"});
    let first = ann.ask(command.clone(), "ack");
    for client in [&mut ann, &mut also_ann] {
        let again = client.ask(command.clone(), "ack");
        assert_eq!(again["dup"], true);
        assert_eq!(without_dup(&again), first);
    }
    assert_eq!(ann.write_to("bob", 2)["seq_id"], 2);
    assert_eq!(bob.take_seqs("bob", 2), [1, 2]);
    // The copies in her own inbox, one for each message.
    assert_eq!(also_ann.take_many("message", 2)[1]["content"], 2);
    let page = ann.ask(json!({"type": "history", "to": "ann"}), "history");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
}

fn the_last_ten_thousand_are_remembered(shards: u16) {
    const REMEMBERED: u64 = 10_000;
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    assert_eq!(ann.welcome["limits"]["dedupe_count"], REMEMBERED);
    ann.ask(
        json!({"type": "join", "room_id": "r", "echo": false}),
        "joined",
    );
    let first = send(&mut ann, "r", "first", 0);
    let command = json!({"type": "message", "room_id": "r", "content": 0}).to_string();
    for _ in 0..99 {
        ann.say_text(&command.repeat(101));
        ann.take_many("ack", 101);
    }
    let again = send(&mut ann, "r", "first", 0);
    assert_eq!(without_dup(&again), first, "remembered as the 10,000th");
    assert_eq!(seq(&send(&mut ann, "r", "new", 0)), REMEMBERED + 1);
    // It may be forgotten now; then it is a new message.
    let later = send(&mut ann, "r", "first", 0);
    assert!(later["dup"] == true || seq(&later) == REMEMBERED + 2);
}

/// A file with settings, which goes with this value.
struct Settings(PathBuf);

impl Settings {
    fn new(text: &str) -> Settings {
        let thread = std::thread::current().id();
        let name = format!("{}-dedupe-{thread:?}.toml", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).expect("the folder is writable");
        Settings(path)
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Does something with a server that keeps everything in memory, and with one that has a data folder.
fn with_both(shards: u16, settings: &str, test: impl Fn(&Server)) {
    let settings = Settings::new(settings);
    let flags = ["--config", settings.0.to_str().expect("a path of text")];
    test(&Server::with(shards, &flags));
    let folder = Folder::new("dedupe");
    let server = folder.serve_with(shards, &flags);
    test(&server);
    stop(server);
}

fn who_may_not_write_any_more_gets_the_first_ack(shards: u16) {
    let settings = r#"
        [[room]]
        pattern = "slow"
        slow_mode_ms = 3600000
        [[room]]
        pattern = "*"
        moderate = ["mod"]
    "#;
    with_both(shards, settings, |server| {
        let (mut ann, mut moderator) = (server.client("ann"), server.client("mod"));
        let message = |room: &str, id: &str| json!({"type": "message", "room_id": room, "content": 1, "id": id});
        for (room, code) in [("slow", "rate_limited"), ("r", "forbidden")] {
            ann.join(room);
            moderator.join(room);
            let first = send(&mut ann, room, "one", 1);
            if room == "r" {
                let mute = json!({"type": "mute", "room_id": room, "user": "ann"});
                moderator.ask(mute, "done");
            }
            for _ in 0..2 {
                let again = send(&mut ann, room, "one", 1);
                assert_eq!(again["dup"], true, "{again}");
                assert_eq!(without_dup(&again), first);
            }
            let error = ann.ask(message(room, "two"), "error");
            assert_eq!(
                (&error["code"], &error["id"]),
                (&json!(code), &json!("two"))
            );
            let without_id = json!({"type": "message", "room_id": room, "content": 1});
            assert_eq!(ann.ask(without_id, "error")["code"], code);
            assert_eq!(moderator.take_seqs(room, 1), [1]);
        }
        assert!(moderator.rest_of("message").is_empty());
        server.metric_is("slow_mode_total", 2);
        server.metric_is("forbidden_total", 2);
        let unmute = json!({"type": "unmute", "room_id": "r", "user": "ann"});
        moderator.ask(unmute, "done");
        assert_eq!(seq(&send(&mut ann, "r", "two", 1)), 2, "it was not kept");
    });
}

fn the_message_that_filled_an_inbox_gets_its_first_ack(shards: u16) {
    with_both(shards, "inbox_bytes_max = 65536", |server| {
        let mut ann = server.client("ann");
        drop(server.client("bob"));
        let content = "x".repeat(10_000);
        let message = |id: u64| json!({"type": "message", "to": "bob", "content": content, "id": id.to_string()});
        let mut last = Value::Null;
        let refused = (1..).find(|id| {
            ann.say(message(*id));
            let answer = ann.next_of(&["ack", "error"]);
            let is_refused = answer["type"] == "error";
            if !is_refused {
                last = answer;
            }
            is_refused
        });
        let refused = refused.expect("it is full");
        assert_eq!(refused, 7);
        let again = ann.ask(message(refused - 1), "ack");
        assert_eq!(again["dup"], true, "{again}");
        assert_eq!(without_dup(&again), last);
        let error = ann.ask(message(refused), "error");
        assert_eq!(error["code"], "overloaded", "it was not kept");
        server.metric_is("inbox_full_total", 2);
    });
}
