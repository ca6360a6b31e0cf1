//! Moderators: kicks, mutes and bans, who may do that to whom, and what of it survives.

mod common;
#[path = "common/store.rs"]
mod store;

use common::mint::{KeyFile, now_s, with_claims};
use common::{Client, Server, Value, json, transported, until};
use roomcast::limits::{RATE_BUCKET_MS, RECORDED_REFUSALS_PER_S_MAX};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;
use store::{Folder, stop};

transported!(
    a_kicked_user_is_out_and_may_come_back,
    a_banned_user_stays_out_until_it_ends,
    a_muted_user_is_silent_until_it_ends,
    nobody_else_moderates,
    moderators_by_configuration_are_safe,
    what_is_wrong_is_named,
    every_connection_of_a_user_is_taken_out,
    what_moderators_do_is_logged,
    what_moderators_do_is_logged_at_every_level,
    who_tries_to_moderate_is_logged,
    attempts_to_moderate_do_not_fill_the_log,
);

/// A file with a moderator for every room, which goes with this value.
struct Rules(PathBuf);

impl Rules {
    fn new(name: &str) -> Rules {
        let thread = std::thread::current().id();
        let name = format!("{}-moderation-{name}-{thread:?}.toml", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let rule = "[[room]]\npattern = \"*\"\nmoderate = [\"mod\", \"second\"]\n";
        fs::write(&path, rule).expect("the folder is writable");
        Rules(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of text")
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn server(shards: u16, name: &str) -> (Server, Rules) {
    let rules = Rules::new(&format!("{name}-{shards}"));
    (Server::with(shards, &["--config", rules.path()]), rules)
}

/// Rooms enough that some are at home on each shard.
const ROOMS: [&str; 4] = ["r1", "r2", "r3", "r4"];

/// A command about a user.
fn order(kind: &str, room: &str, user: &str) -> Value {
    json!({"type": kind, "room_id": room, "user": user, "id": kind})
}

/// The same with these fields as well.
fn with(mut command: Value, fields: Value) -> Value {
    let fields = fields.as_object().expect("an object").clone();
    command.as_object_mut().expect("an object").extend(fields);
    command
}

/// Gives a command, which must be done.
fn done(client: &mut Client, command: Value) -> Value {
    let done = client.ask(command.clone(), "done");
    for (answered, asked) in [
        ("request", "type"),
        ("room_id", "room_id"),
        ("user", "user"),
        ("id", "id"),
    ] {
        assert_eq!(done[answered], command[asked], "{done}");
    }
    done
}

/// Gives a command, which must be refused.
fn refused(client: &mut Client, command: Value, code: &str) -> Value {
    let error = client.ask(command.clone(), "error");
    assert_eq!(
        (&error["code"], &error["request"], &error["id"]),
        (&json!(code), &command["type"], &command["id"]),
        "{error}"
    );
    error
}

fn join(room: &str) -> Value {
    json!({"type": "join", "room_id": room, "id": "j"})
}

fn message(room: &str) -> Value {
    json!({"type": "message", "room_id": room, "content": 1, "id": "m"})
}

/// The next `system` of a room with this event.
fn system(client: &mut Client, event: &str) -> Value {
    loop {
        let system = client.take("system");
        if system["event"] == event {
            return system;
        }
    }
}

fn a_kicked_user_is_out_and_may_come_back(shards: u16) {
    let (server, _rules) = server(shards, "kick");
    let (mut moderator, mut ann, mut bob) = (
        server.client("mod"),
        server.client("ann"),
        server.client("bob"),
    );
    for room in ROOMS {
        for client in [&mut moderator, &mut ann, &mut bob] {
            client.join(room);
        }
        let command = with(order("kick", room, "ann"), json!({"reason": "too loud"}));
        done(&mut moderator, command);
        let left = ann.take_of("left", room);
        assert_eq!(
            (
                &left["event"],
                &left["by"],
                &left["reason"],
                &left["members"],
                left.get("id")
            ),
            (
                &json!("kick"),
                &json!("mod"),
                &json!("too loud"),
                &json!(2),
                None
            ),
            "{left}"
        );
        let kick = system(&mut bob, "kick");
        assert_eq!(
            (
                &kick["sender"],
                &kick["by"],
                &kick["reason"],
                &kick["room_id"]
            ),
            (
                &json!("ann"),
                &json!("mod"),
                &json!("too loud"),
                &json!(room)
            )
        );
        refused(&mut ann, message(room), "not_joined");
        bob.post(room, "without her");
        assert!(
            !ann.rest_of("message")
                .iter()
                .any(|message| message["content"] == "without her")
        );
        assert_eq!(
            bob.ask(json!({"type": "who", "room_id": room}), "presence")["count"],
            2
        );
        assert_eq!(ann.join(room)["members"], 3);
        ann.post(room, "back");
        refused(
            &mut moderator,
            order("kick", room, "nobody"),
            "unknown_user",
        );
    }
}

fn a_banned_user_stays_out_until_it_ends(shards: u16) {
    let (server, _rules) = server(shards, "ban");
    let (mut moderator, mut ann) = (server.client("mod"), server.client("ann"));
    for room in ROOMS {
        moderator.join(room);
        ann.join(room);
        let command = with(
            order("ban", room, "ann"),
            json!({"reason": "spam", "seconds": 3600}),
        );
        let until = done(&mut moderator, command)["until"]
            .as_u64()
            .expect("when it ends");
        let left = ann.take_of("left", room);
        assert_eq!(
            (&left["event"], &left["until"], &left["reason"]),
            (&json!("ban"), &json!(until), &json!("spam"))
        );
        let error = refused(&mut ann, join(room), "forbidden");
        let wait_ms = error["retry_after_ms"].as_u64().expect("how long");
        assert!((3_500_000..=3_600_000).contains(&wait_ms), "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains("spam")),
            "{error}"
        );
        // She is not told of the room, and the other rooms are open to her.
        moderator.post(room, 1);
        assert_eq!(ann.rest_of("message"), [] as [Value; 0]);
        ann.join("elsewhere");
        done(&mut moderator, order("unban", room, "ann"));
        refused(&mut moderator, order("unban", room, "ann"), "unknown_user");
        ann.join(room);
        // One who is not here can be banned too, for good or for a moment.
        done(&mut moderator, order("ban", room, "bob"));
        done(
            &mut moderator,
            with(order("ban", room, "cy"), json!({"seconds": 1})),
        );
    }
    let (mut bob, mut cy) = (server.client("bob"), server.client("cy"));
    for room in ROOMS {
        assert_eq!(
            refused(&mut bob, join(room), "forbidden").get("retry_after_ms"),
            None
        );
        until("the ban ends", || {
            cy.say(join(room));
            cy.next_of(&["joined", "error"])["type"] == "joined"
        });
    }
}

fn a_muted_user_is_silent_until_it_ends(shards: u16) {
    let (server, _rules) = server(shards, "mute");
    let (mut moderator, mut ann) = (server.client("mod"), server.client("ann"));
    for room in ROOMS {
        moderator.join(room);
        ann.join(room);
        done(
            &mut moderator,
            with(
                order("mute", room, "ann"),
                json!({"reason": "hush", "seconds": 600}),
            ),
        );
        let mute = system(&mut ann, "mute");
        assert_eq!(
            (&mute["sender"], &mute["reason"]),
            (&json!("ann"), &json!("hush"))
        );
        let error = refused(&mut ann, message(room), "forbidden");
        assert!(
            error["retry_after_ms"]
                .as_u64()
                .is_some_and(|ms| ms > 500_000),
            "{error}"
        );
        let signal = json!({"type": "signal", "room_id": room, "content": 1, "id": "s"});
        refused(&mut ann, signal, "forbidden");
        // She still hears the others, and has a voice elsewhere.
        moderator.post(room, 1);
        assert_eq!(ann.take_of("message", room)["content"], 1);
        ann.write_to("mod", 1);
        // A mute takes the place of the one before.
        done(
            &mut moderator,
            with(order("mute", room, "ann"), json!({"seconds": 1})),
        );
        until("the mute ends", || {
            ann.say(message(room));
            ann.next_of(&["ack", "error"])["type"] == "ack"
        });
        done(&mut moderator, order("mute", room, "ann"));
        // What was kept is said again, and nothing else.
        assert_eq!(ann.ask(message(room), "ack")["dup"], true);
        let another = with(message(room), json!({"id": "another"}));
        assert_eq!(
            refused(&mut ann, another, "forbidden").get("retry_after_ms"),
            None
        );
        done(&mut moderator, order("unmute", room, "ann"));
        system(&mut ann, "unmute");
        ann.post(room, 2);
    }
    server.metric_is("moderations_total", 16);
}

fn nobody_else_moderates(shards: u16) {
    let (server, _rules) = server(shards, "others");
    let (mut moderator, mut ann, mut bob) = (
        server.client("mod"),
        server.client("ann"),
        server.client("bob"),
    );
    for kind in ["kick", "mute", "unmute", "ban", "unban"] {
        refused(&mut moderator, order(kind, "r", "bob"), "not_joined");
    }
    for client in [&mut moderator, &mut ann, &mut bob] {
        client.join("r");
    }
    for kind in ["kick", "mute", "unmute", "ban", "unban"] {
        refused(&mut ann, order(kind, "r", "bob"), "forbidden");
    }
    bob.post("r", "still here");
    // Without rules there is no moderator.
    let plain = Server::start(shards);
    let (mut moderator, mut ann) = (plain.client("mod"), plain.client("ann"));
    moderator.join("r");
    ann.join("r");
    refused(&mut moderator, order("kick", "r", "ann"), "forbidden");
}

fn moderators_by_configuration_are_safe(shards: u16) {
    let (server, _rules) = server(shards, "safe");
    let (mut moderator, mut second) = (server.client("mod"), server.client("second"));
    moderator.join("r");
    second.join("r");
    for kind in ["kick", "mute", "ban"] {
        refused(&mut moderator, order(kind, "r", "second"), "forbidden");
    }
    second.post("r", 1);
}

fn what_is_wrong_is_named(shards: u16) {
    let (server, _rules) = server(shards, "wrong");
    let mut moderator = server.client("mod");
    moderator.join("r");
    const TEN_YEARS: u64 = 315_360_000;
    for (command, code, word) in [
        (json!({"type": "kick", "room_id": "r"}), "bad_field", "user"),
        (
            json!({"type": "ban", "user": "ann"}),
            "bad_field",
            "room_id",
        ),
        (order("mute", "r", ""), "bad_name", "user"),
        (
            with(order("ban", "r", "ann"), json!({"seconds": 0})),
            "bad_field",
            "seconds",
        ),
        (
            with(order("ban", "r", "ann"), json!({"seconds": TEN_YEARS + 1})),
            "bad_field",
            "seconds",
        ),
        (
            with(order("ban", "r", "ann"), json!({"seconds": "1"})),
            "bad_field",
            "seconds",
        ),
        (
            with(order("ban", "r", "ann"), json!({"reason": "x".repeat(257)})),
            "bad_field",
            "reason",
        ),
    ] {
        let error = refused(&mut moderator, command, code);
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains(word)),
            "{error}"
        );
    }
    let most = json!({"seconds": TEN_YEARS, "reason": "x".repeat(256)});
    done(&mut moderator, with(order("ban", "r", "ann"), most));
}

fn every_connection_of_a_user_is_taken_out(shards: u16) {
    let (server, _rules) = server(shards, "all");
    let mut moderator = server.client("mod");
    let ann = server.client("ann");
    let mut others: Vec<Client> = (0..7).map(|_| server.again(&ann)).collect();
    others.push(ann);
    for room in ROOMS {
        moderator.join(room);
        for client in &mut others {
            client.join(room);
        }
        done(&mut moderator, order("ban", room, "ann"));
        for client in &mut others {
            assert_eq!(client.take_of("left", room)["event"], "ban");
            refused(client, message(room), "not_joined");
            refused(client, join(room), "forbidden");
        }
        assert_eq!(
            moderator.ask(json!({"type": "who", "room_id": room}), "presence")["count"],
            1
        );
    }
}

fn what_moderators_do_is_logged(shards: u16) {
    let (server, _rules) = server(shards, "log");
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

fn who_tries_to_moderate_is_logged(shards: u16) {
    let (server, _rules) = server(shards, "attempts");
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
    let (server, _rules) = server(shards, "flood");
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
        let rules = Rules::new(&format!("level-{level}-{shards}"));
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

#[test]
fn a_room_has_so_many_bans() {
    const MOST: usize = 10_000;
    let (server, _rules) = server(1, "many");
    let mut moderator = server.client("mod");
    moderator.join("r");
    moderator.join("s");
    for start in (0..MOST).step_by(100) {
        for number in start..start + 100 {
            moderator.say(order("ban", "r", &format!("u{number}")));
        }
        moderator.take_many("done", 100);
    }
    let error = refused(&mut moderator, order("ban", "r", "one more"), "overloaded");
    assert_eq!(error["retryable"], true);
    // One who is banned can be banned for longer, and other rooms have bans of their own.
    done(&mut moderator, order("ban", "r", "u0"));
    done(&mut moderator, order("ban", "s", "one more"));
    done(&mut moderator, order("unban", "r", "u1"));
    done(&mut moderator, order("ban", "r", "one more"));
    server.metric_is("sanctions_refused_total", 1);
}

#[test]
fn a_moderator_by_token_has_so_many_bans() {
    // A tenth of the 10,000 of each of so many threads.
    const MOST: usize = 1_000;
    let (rules, key) = (Rules::new("tokens"), KeyFile::secret());
    let flags = ["--config", rules.path(), "--auth", "jwt"];
    let server = Server::with(5, &[&flags[..], &["--jwt-key", key.text()]].concat());
    let enter = |user: &str| {
        let rooms = json!([{"pattern": "*", "allow": ["join", "send", "moderate"]}]);
        let claims = json!({"sub": user, "exp": now_s() + 1000, "rooms": rooms});
        Client::on(server.socket_of("/ws", &with_claims(claims)))
    };
    let mut eve = enter("eve");
    eve.join("r");
    for start in (0..MOST).step_by(100) {
        for number in start..start + 100 {
            eve.say(order("ban", "r", &format!("u{number}")));
        }
        eve.take_many("done", 100);
    }
    let error = refused(&mut eve, order("ban", "r", "one more"), "overloaded");
    assert_eq!(error["retryable"], true);
    // Others have their own, and the operator's moderators are not bound.
    for user in ["ann", "mod"] {
        let mut client = enter(user);
        client.join("r");
        done(&mut client, order("ban", "r", &format!("of {user}")));
    }
    done(&mut eve, order("unban", "r", "u1"));
    done(&mut eve, order("ban", "r", "one more"));
    server.metric_is("sanctions_refused_total", 1);
}

#[test]
fn mutes_and_bans_survive_a_restart_and_a_crash() {
    let (folder, rules) = (Folder::new("moderation"), Rules::new("durable"));
    let flags = ["--config", rules.path()];
    let server = folder.serve_with(2, &flags);
    let (mut moderator, mut ann) = (server.client("mod"), server.client("ann"));
    let (session, ann_session) = (moderator.session.clone(), ann.session.clone());
    for room in ROOMS {
        moderator.join(room);
        ann.join(room);
        done(
            &mut moderator,
            with(
                order("ban", room, "eve"),
                json!({"reason": "spam", "seconds": 3600}),
            ),
        );
        done(
            &mut moderator,
            with(order("mute", room, "ann"), json!({"reason": "hush"})),
        );
        done(&mut moderator, order("ban", room, "cy"));
        done(&mut moderator, order("unban", room, "cy"));
        done(
            &mut moderator,
            with(order("ban", room, "dan"), json!({"seconds": 1})),
        );
    }
    let mut server = server;
    server.signal("KILL");
    server.wait();
    drop(server);
    for shards in [3, 1] {
        let server = folder.serve_with(shards, &flags);
        let mut ann = Client::open(&server, &format!("?user=ann&session={ann_session}"));
        for room in ROOMS {
            ann.join(room);
            let error = refused(&mut ann, message(room), "forbidden");
            assert!(
                error["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("hush")),
                "{error}"
            );
        }
        let mut moderator = Client::open(&server, &format!("?user=mod&session={session}"));
        for room in ROOMS {
            moderator.join(room);
            moderator.post(room, 1);
        }
        if shards == 3 {
            let mut eve = server.client("eve");
            for room in ROOMS {
                let error = refused(&mut eve, join(room), "forbidden");
                assert!(error["retry_after_ms"].is_u64(), "{error}");
                assert!(
                    error["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("spam")),
                    "{error}"
                );
            }
            let mut cy = server.client("cy");
            ROOMS
                .iter()
                .for_each(|room| assert_eq!(cy.join(room)["room_id"], *room));
        } else {
            done(&mut moderator, order("unmute", "r1", "ann"));
            ann.post("r1", 1);
        }
        stop(server);
    }
    let rows =
        folder.query("SELECT DISTINCT user, penalty, moderator FROM sanctions ORDER BY user");
    assert_eq!(rows[..3], ["ann", "mute", "mod"].map(str::to_owned));
}
