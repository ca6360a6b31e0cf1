//! Moderators: kicks, mutes and bans, who may do that to whom, and what of it survives.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/store.rs"]
mod store;

mod audit;
mod lasting;

use common::{Client, Server, Settings, Value, json, transported, until};

transported!(
    a_kicked_user_is_out_and_may_come_back,
    a_banned_user_stays_out_until_it_ends,
    a_muted_user_is_silent_until_it_ends,
    nobody_else_moderates,
    moderators_by_configuration_are_safe,
    what_is_wrong_is_named,
    every_connection_of_a_user_is_taken_out,
);

/// Settings with two moderators for every room.
fn settings() -> Settings {
    Settings::new("[[room]]\npattern = \"*\"\nmoderate = [\"mod\", \"second\"]\n")
}

fn server(shards: u16) -> (Server, Settings) {
    let settings = settings();
    (
        Server::with(shards, &["--config", settings.path()]),
        settings,
    )
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

/// Sees to it that the words of an error say this.
fn says(error: &Value, part: &str) {
    let message = error["message"].as_str();
    assert!(message.is_some_and(|text| text.contains(part)), "{error}");
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
    let (server, _rules) = server(shards);
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
    let (server, _rules) = server(shards);
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
        says(&error, "spam");
        // She is not told of the room, and the other rooms are open to her.
        moderator.post(room, 1);
        assert_eq!(ann.rest_of("message"), [] as [Value; 0]);
        ann.join("elsewhere");
        done(&mut moderator, order("unban", room, "ann"));
        refused(&mut moderator, order("unban", room, "ann"), "unknown_user");
        ann.join(room);
        // One who is not here can be banned too, for good or for a moment.
        ann.rest();
        done(&mut moderator, order("ban", room, "bob"));
        let system = ann.take_of("system", room);
        assert_eq!(
            (&system["event"], &system["sender"], &system["by"]),
            (&json!("ban"), &json!("bob"), &json!("mod"))
        );
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
    let (server, _rules) = server(shards);
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
    let (server, _rules) = server(shards);
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
    let (server, _rules) = server(shards);
    let (mut moderator, mut second) = (server.client("mod"), server.client("second"));
    moderator.join("r");
    second.join("r");
    for kind in ["kick", "mute", "ban"] {
        refused(&mut moderator, order(kind, "r", "second"), "forbidden");
    }
    second.post("r", 1);
}

fn what_is_wrong_is_named(shards: u16) {
    let (server, _rules) = server(shards);
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
        says(&error, word);
    }
    let most = json!({"seconds": TEN_YEARS, "reason": "x".repeat(256)});
    done(&mut moderator, with(order("ban", "r", "ann"), most));
}

fn every_connection_of_a_user_is_taken_out(shards: u16) {
    let (server, _rules) = server(shards);
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
