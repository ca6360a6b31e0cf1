//! Rules of rooms: who may join, read and write, how many there may be, and how fast they may write.

mod common;

use common::{Client, Server, Settings, Value, json, program, run_to_end, transported};
use std::process::Command;
use std::time::{Duration, Instant};

transported!(
    only_who_is_listed_comes_in,
    a_private_room_looks_like_none,
    only_who_may_write_writes,
    what_was_said_before_is_for_who_may_read,
    a_room_takes_so_many_users,
    slow_mode_lets_each_user_wait,
    the_first_pattern_that_fits_counts,
    a_room_in_the_url_has_rules_too,
);

fn server(shards: u16, rules: &str) -> (Server, Settings) {
    let file = Settings::new(rules);
    (Server::with(shards, &["--config", file.path()]), file)
}

/// Sees to it that a command is refused with this code, and gives the error.
fn refused(client: &mut Client, command: Value, code: &str) -> Value {
    let error = client.ask(command.clone(), "error");
    assert_eq!(
        (&error["code"], &error["request"], &error["room_id"]),
        (&json!(code), &command["type"], &command["room_id"]),
        "{error}"
    );
    error
}

fn join(room: &str) -> Value {
    json!({"type": "join", "room_id": room})
}

fn message(room: &str) -> Value {
    json!({"type": "message", "room_id": room, "content": 1})
}

fn only_who_is_listed_comes_in(shards: u16) {
    let rules = r#"
        [[room]]
        pattern = "team-*"
        join = ["ann", "bob"]
        moderate = ["mod"]
        [[room]]
        pattern = "staff"
        join = "moderators"
        moderate = ["mod"]
        [[room]]
        pattern = "closed"
        join = "none"
        moderate = ["mod"]
    "#;
    let (server, _file) = server(shards, rules);
    for (user, rooms) in [
        (
            "ann",
            &[
                ("team-1", true),
                ("team-2", true),
                ("staff", false),
                ("closed", false),
                ("else", true),
            ],
        ),
        (
            "cy",
            &[
                ("team-1", false),
                ("team-2", false),
                ("staff", false),
                ("closed", false),
                ("else", true),
            ],
        ),
        (
            "mod",
            &[
                ("team-1", true),
                ("team-2", true),
                ("staff", true),
                ("closed", false),
                ("else", true),
            ],
        ),
    ] {
        let mut client = server.client(user);
        for (room, is_let_in) in rooms {
            if *is_let_in {
                assert_eq!(client.join(room)["room_id"], *room);
                client.post(room, user);
            } else {
                let error = refused(&mut client, join(room), "forbidden");
                assert_eq!(error["retryable"], false);
                refused(&mut client, message(room), "not_joined");
            }
        }
    }
    server.metric_is("forbidden_total", 7);
}

fn a_private_room_looks_like_none(shards: u16) {
    let rules = r#"
        [[room]]
        pattern = "secret-*"
        private = true
        join = ["ann"]
    "#;
    let (server, _file) = server(shards, rules);
    let (mut ann, mut eve) = (server.client("ann"), server.client("eve"));
    ann.join("secret-1");
    ann.post("secret-1", "psst");
    // The room that exists and the one that does not are refused in the same words.
    let mut texts = ["secret-1", "secret-2"].map(|room| {
        let error = refused(&mut eve, join(room), "forbidden");
        error.to_string().replace(room, "")
    });
    texts.sort();
    assert_eq!(texts[0], texts[1]);
    for kind in ["who", "history", "leave"] {
        let command = json!({"type": kind, "room_id": "secret-1"});
        refused(&mut eve, command, "not_joined");
    }
    assert_eq!(
        ann.ask(json!({"type": "who", "room_id": "secret-1"}), "presence")["count"],
        1
    );
}

fn only_who_may_write_writes(shards: u16) {
    let rules = r#"
        [[room]]
        pattern = "news"
        read_only = true
        moderate = ["mod"]
        [[room]]
        pattern = "stage"
        write = ["ann"]
        [[room]]
        pattern = "archive"
        write = "none"
        moderate = ["mod"]
    "#;
    let (server, _file) = server(shards, rules);
    let mut clients = ["ann", "bob", "mod"].map(|user| server.client(user));
    for (room, may_write) in [
        ("news", [false, false, true]),
        ("stage", [true, false, false]),
        ("archive", [false, false, false]),
    ] {
        for client in &mut clients {
            client.join(room);
        }
        for (client, may_write) in clients.iter_mut().zip(may_write) {
            let signal = json!({"type": "signal", "room_id": room, "content": 1});
            if may_write {
                client.post(room, 1);
                client.say(signal);
                assert!(client.rest_of("error").is_empty());
            } else {
                refused(client, message(room), "forbidden");
                refused(client, signal, "forbidden");
            }
        }
    }
    let [_, bob, _] = &mut clients;
    assert_eq!(bob.take_of("message", "news")["sender"], "mod");
    assert_eq!(bob.take_of("message", "stage")["sender"], "ann");
    bob.write_to("mod", "private messages have no rules");
}

fn what_was_said_before_is_for_who_may_read(shards: u16) {
    let rules = r#"
        [[room]]
        pattern = "r"
        read = ["ann"]
    "#;
    let (server, _file) = server(shards, rules);
    let (mut ann, mut bob) = (server.client("ann"), server.client("bob"));
    let epoch = ann.join("r")["epoch"].clone();
    ann.post("r", "before");
    let since = json!({"type": "join", "room_id": "r", "since": {"epoch": epoch, "seq_id": 0}});
    let history = json!({"type": "history", "room_id": "r"});
    let joined = bob.ask(since.clone(), "joined");
    assert_eq!(
        (&joined["recovered"], &joined["reason"]),
        (&json!(false), &json!("forbidden"))
    );
    refused(&mut bob, history.clone(), "forbidden");
    ann.post("r", "now");
    assert_eq!(bob.take_seqs("r", 1), [2]);
    assert_eq!(
        ann.ask(history, "history")["messages"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    let mut again = server.again(&ann);
    assert_eq!(again.ask(since, "joined")["recovered"], true);
    assert_eq!(again.take_seqs("r", 2), [1, 2]);
}

fn a_room_takes_so_many_users(shards: u16) {
    let rules = r#"
        [[room]]
        pattern = "small-*"
        members_max = 2
        moderate = ["mod"]
    "#;
    let (server, _file) = server(shards, rules);
    let mut users = ["ann", "bob", "cy"].map(|user| server.client(user));
    for room in ["small-1", "small-2", "small-3"] {
        let [ann, bob, cy] = &mut users;
        ann.join(room);
        bob.join(room);
        let error = refused(cy, join(room), "room_full");
        assert_eq!(error["retryable"], true);
        assert_eq!(error["retry_after_ms"], 1000);
        // A further connection of a user is no further user, and neither is one that joins anew.
        let mut again = server.again(ann);
        assert_eq!(again.join(room)["members"], 2);
        assert_eq!(ann.join(room)["members"], 2);
        ann.ask(json!({"type": "leave", "room_id": room}), "left");
        refused(cy, join(room), "room_full");
        again.ask(json!({"type": "leave", "room_id": room}), "left");
        assert_eq!(cy.join(room)["members"], 2);
    }
    let mut moderator = server.client("mod");
    assert_eq!(moderator.join("small-1")["members"], 3);
    server.metric_is("room_full_total", 6);
}

fn slow_mode_lets_each_user_wait(shards: u16) {
    const PAUSE: Duration = Duration::from_millis(300);
    let rules = r#"
        [[room]]
        pattern = "slow"
        slow_mode_ms = 3600000
        moderate = ["mod"]
        [[room]]
        pattern = "brisk"
        slow_mode_ms = 300
    "#;
    let (server, _file) = server(shards, rules);
    let (mut ann, mut bob) = (server.client("ann"), server.client("bob"));
    let (mut other, mut moderator) = (server.again(&ann), server.client("mod"));
    for client in [&mut ann, &mut bob, &mut other, &mut moderator] {
        client.join("slow");
        client.join("fast");
    }
    ann.post("slow", 1);
    for client in [&mut ann, &mut other] {
        let error = refused(client, message("slow"), "rate_limited");
        let wait_ms = error["retry_after_ms"].as_u64().expect("how long");
        assert!((3_500_000..=3_600_000).contains(&wait_ms), "{wait_ms}");
        assert_eq!(error["retryable"], true);
        client.post("fast", 1);
    }
    bob.post("slow", 1);
    for _ in 0..3 {
        moderator.post("slow", 1);
    }
    server.metric_is("slow_mode_total", 2);
    // In the end she may write again, and not before her time.
    ann.join("brisk");
    let began = Instant::now();
    ann.post("brisk", 1);
    loop {
        ann.say(message("brisk"));
        if ann.next_of(&["ack", "error"])["type"] == "ack" {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // The clock of a turn may be a little behind.
    assert!(began.elapsed() >= PAUSE - Duration::from_millis(100));
}

fn the_first_pattern_that_fits_counts(shards: u16) {
    let rules = r#"
        [[room]]
        pattern = "x-open"
        [[room]]
        pattern = "x-*"
        join = "none"
    "#;
    let (server, _file) = server(shards, rules);
    let mut ann = server.client("ann");
    ann.join("x-open");
    refused(&mut ann, join("x-shut"), "forbidden");
    ann.join("y");
}

fn a_room_in_the_url_has_rules_too(shards: u16) {
    let (server, _file) = server(shards, "[[room]]\npattern = \"shut\"\njoin = \"none\"\n");
    let mut ann = Client::open(&server, "?user=ann&room=shut");
    let error = ann.take("error");
    assert_eq!(
        (&error["code"], &error["request"]),
        (&json!("forbidden"), &json!("join"))
    );
    ann.join("open");
}

/// What the program says of these settings: its exit code, and what it prints.
fn checked(text: &str) -> (Option<i32>, String, String) {
    let file = Settings::new(text);
    let mut command: Command = program();
    let (status, out, err) = run_to_end(command.arg("--config").arg(&file).arg("--check-config"));
    (status.code(), out, err)
}

#[test]
fn a_wrong_rule_is_named() {
    let rule = "[[room]]\npattern = \"r\"\n";
    for (text, words) in [
        ("[[room]]\njoin = \"all\"\n".to_owned(), &["pattern"][..]),
        (
            "[[room]]\npattern = \"\"\n".to_owned(),
            &["number 1", "pattern"],
        ),
        (format!("{rule}jion = \"all\"\n"), &["jion"]),
        (
            format!("{rule}private = true\njoin = \"all\"\n"),
            &["number 1", "\"r\"", "join", "private", "everybody"],
        ),
        (
            format!("{rule}join = \"ann\"\n"),
            &["number 1", "\"r\"", "join", "ann", "list"],
        ),
        (format!("{rule}join = 7\n"), &["join", "list of user names"]),
        (format!("{rule}write = [\"\"]\n"), &["write"]),
        (format!("{rule}moderate = \"all\"\n"), &["moderate"]),
        (
            format!("{rule}read_only = true\nwrite = \"all\"\n"),
            &["read_only", "write"],
        ),
        (
            format!("{rule}members_max = 0\n"),
            &["members_max", "out of range"],
        ),
        (
            format!("{rule}{rule}slow_mode_ms = 86400001\n"),
            &["number 2", "slow_mode_ms", "out of range"],
        ),
        (rule.repeat(1001), &["more than 1000"]),
    ] {
        let (code, _, err) = checked(&text);
        assert_eq!(code, Some(2), "{text}");
        for word in words {
            assert!(err.contains(word), "{word:?} is not in {err:?}");
        }
        assert!(err.contains(".toml"), "{err}");
    }
    assert_eq!(checked(&rule.repeat(1000)).0, Some(0));
}

#[test]
fn checked_rules_are_printed_as_they_are_read() {
    let rules = r#"
        max_message = 2000
        [[room]]
        pattern = "a*"
        join = ["ann"]
        private = true
        members_max = 7
        [[room]]
        pattern = "b"
        read_only = true
        moderate = ["mod"]
        slow_mode_ms = 250
    "#;
    let (code, out, err) = checked(rules);
    assert_eq!(code, Some(0), "{err}");
    let expected: toml::Table = rules.parse().expect("TOML");
    let printed: toml::Table = out.parse().expect("it prints TOML");
    assert_eq!(printed["room"], expected["room"], "{out}");
    // What is printed can be read again.
    let (code, again, err) = checked(&out);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(again.parse::<toml::Table>().expect("TOML"), printed);
}
