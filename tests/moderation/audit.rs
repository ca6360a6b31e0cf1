//! The audit: lines in the log of what moderators did, and of what was tried without the right.

use super::common::{Client, Server, json, transported, until};
use super::{common, done, order, refused, server, settings, with};
use roomcast::limits::{RATE_BUCKET_MS, RECORDED_REFUSALS_PER_S_MAX};
use std::time::Instant;

transported!(
    what_moderators_do_is_logged,
    who_tries_to_moderate_is_logged,
    attempts_to_moderate_do_not_fill_the_log,
    what_moderators_do_is_logged_at_every_level,
);

fn client_id(client: &Client) -> &str {
    client.welcome["client_id"].as_str().expect("a string")
}

/// The lines of the audit that tell of something refused.
fn attempts(server: &Server) -> Vec<String> {
    let log = server.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("audit]") && line.contains(" refused="));
    lines.map(str::to_owned).collect()
}

fn what_moderators_do_is_logged(shards: u16) {
    let (server, _rules) = server(shards);
    let mut moderator = server.client("mod");
    moderator.join("r");
    done(
        &mut moderator,
        with(
            order("ban", "r", "eve"),
            json!({"reason": "a\nline [forged]"}),
        ),
    );
    done(&mut moderator, order("unban", "r", "eve"));
    until("both are logged", || server.log().contains("event=unban"));
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("audit]")).collect();
    let [ban, unban] = lines[..] else {
        panic!("two lines of an audit, not {log}");
    };
    for part in [
        "event=ban",
        "room=\"r\"",
        "user=\"eve\"",
        "by=\"mod\"",
        "reason=\"a\\nline [forged]\"",
    ] {
        assert!(ban.contains(part), "{part} is not in {ban}");
    }
    assert!(unban.contains("event=unban"), "{unban}");
    let client_id = format!("client_id={}", client_id(&moderator));
    for line in [ban, unban] {
        assert!(line.contains(&client_id), "{client_id} is not in {line}");
    }
}

fn who_tries_to_moderate_is_logged(shards: u16) {
    let (server, _rules) = server(shards);
    let (mut moderator, mut ann) = (server.client("mod"), server.client("ann"));
    refused(&mut ann, order("ban", "r", "mod"), "not_joined");
    moderator.join("r");
    ann.join("r");
    moderator.post("r", 1);
    refused(&mut ann, order("kick", "r", "bob\" by=\"mod"), "forbidden");
    let delete = json!({"type": "delete", "room_id": "r", "seq_id": 1, "id": "d"});
    refused(&mut ann, delete, "forbidden");
    refused(&mut moderator, order("mute", "r", "second"), "forbidden");
    refused(&mut moderator, order("unban", "r", "ann"), "unknown_user");
    until("all are logged", || attempts(&server).len() == 5);
    let (ann_id, moderator_id) = (client_id(&ann), client_id(&moderator));
    for parts in [
        format!(r#"event=ban refused=not_joined room="r" user="mod" by="ann" client_id={ann_id}"#),
        format!(
            r#"event=kick refused=forbidden room="r" user="bob\" by=\"mod" by="ann" client_id={ann_id}"#
        ),
        format!(r#"event=delete refused=forbidden room="r" seq_id=1 by="ann" client_id={ann_id}"#),
        format!(
            r#"event=mute refused=forbidden room="r" user="second" by="mod" client_id={moderator_id}"#
        ),
        format!(
            r#"event=unban refused=unknown_user room="r" user="ann" by="mod" client_id={moderator_id}"#
        ),
    ] {
        let lines = attempts(&server);
        let count = lines.iter().filter(|line| line.ends_with(&parts)).count();
        assert_eq!(count, 1, "{parts} is not in {lines:#?}");
    }
}

fn attempts_to_moderate_do_not_fill_the_log(shards: u16) {
    const COUNT: usize = 300;
    let (server, _rules) = server(shards);
    let mut ann = server.client("ann");
    ann.join("r");
    let began = Instant::now();
    for _ in 0..COUNT {
        ann.say(order("ban", "r", "bob"));
    }
    ann.take_many("error", COUNT);
    let most = RECORDED_REFUSALS_PER_S_MAX * (began.elapsed().as_secs() + 1)
        + RECORDED_REFUSALS_PER_S_MAX * RATE_BUCKET_MS / 1000;
    let least = (COUNT as u64).saturating_sub(most);
    server.await_metric("refusals_unwritten_total", least.max(1));
    until("the others are logged", || {
        let unwritten = server.metric("refusals_unwritten_total") as usize;
        attempts(&server).len() + unwritten == COUNT
    });
    // The next one tells how many there were.
    until("one is logged again", || {
        refused(&mut ann, order("ban", "r", "bob"), "forbidden");
        server.log().contains("event=unwritten refusals=")
    });
}

fn what_moderators_do_is_logged_at_every_level(shards: u16) {
    for (level, is_logged) in [
        ("warn", true),
        ("error", true),
        ("debug", true),
        ("off", false),
    ] {
        let rules = settings();
        let flags = ["--config", rules.path(), "--log", level];
        let mut server = Server::with(shards, &flags);
        let mut moderator = server.client("mod");
        moderator.join("r");
        done(&mut moderator, order("ban", "r", "eve"));
        let joined = moderator.post("r", "to be deleted");
        moderator.ask(
            json!({"type": "delete", "room_id": "r", "seq_id": joined["seq_id"]}),
            "ack",
        );
        drop(moderator);
        server.signal("TERM");
        server.wait();
        let log = server.log();
        for event in ["event=ban", "event=delete"] {
            let is_there = log
                .lines()
                .any(|line| line.contains("audit]") && line.contains(event));
            assert_eq!(is_there, is_logged, "{level}, {event}: {log}");
        }
    }
}
