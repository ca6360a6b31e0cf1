//! Commands behind a join that is refused: the connection does not wait for the answer, and what only members may do is
//! refused all the same, wherever the room is at home and whether it is in memory or not.

mod common;
#[path = "common/store.rs"]
mod store;

use common::mint::{KeyFile, now_s, with_claims};
use common::{Client, Server, Settings, Value, json, seq, sharded, transported};
use store::{Folder, stop};

transported!(
    who_is_banned_gets_nothing_of_the_room,
    who_is_too_many_gets_nothing_of_the_room,
    a_banned_moderator_does_not_moderate,
    a_leave_behind_a_refused_join_costs_nobody_the_room,
);

// The disk knows nothing of how clients are connected.
sharded!(who_is_banned_gets_nothing_of_a_room_on_the_disk);

/// Rooms enough that some are at home on each shard.
const ROOMS: [&str; 8] = ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8"];

/// Settings with the rule of all rooms.
fn settings(rule: &str) -> Settings {
    Settings::new(&format!(
        "[[room]]\npattern = \"*\"\nmoderate = [\"mod\"]\n{rule}\n"
    ))
}

/// A command about a room.
fn command(kind: &str, room: &str, fields: Value) -> Value {
    let mut command = json!({"type": kind, "room_id": room, "id": format!("{kind} {room}")});
    let fields = fields.as_object().expect("an object").clone();
    command.as_object_mut().expect("an object").extend(fields);
    command
}

/// All that only members may do.
fn of_members(room: &str) -> Vec<Value> {
    vec![
        command("history", room, json!({})),
        command("who", room, json!({})),
        command("message", room, json!({"content": "let me in"})),
        command("signal", room, json!({"content": "let me in"})),
        command("delete", room, json!({"seq_id": 1})),
        command("leave", room, json!({})),
    ]
}

/// Sends a join and these commands in one frame. All of them must be refused: the join with this code, the others with
/// that or for want of membership.
fn refused(client: &mut Client, room: &str, code: &str, commands: &[Value]) {
    let join = command("join", room, json!({}));
    let all = [&[join][..], commands].concat();
    let texts: Vec<String> = all.iter().map(Value::to_string).collect();
    client.say_text(&texts.concat());
    let mut answers: Vec<Value> = all.iter().map(|_| client.take("error")).collect();
    for command in &all {
        let its = answers
            .iter()
            .position(|answer| answer["id"] == command["id"]);
        let answer = answers.remove(its.expect("each is answered once"));
        let is_join = command["type"] == "join";
        let is_right = answer["code"] == code || !is_join && answer["code"] == "not_joined";
        assert!(is_right, "{answer}");
        assert_eq!(answer["request"], command["type"], "{answer}");
    }
}

fn who_is_banned_gets_nothing_of_the_room(shards: u16) {
    let rules = settings("");
    let server = Server::with(shards, &["--config", rules.path()]);
    let (mut moderator, mut eve) = (server.client("mod"), server.client("eve"));
    for room in ROOMS {
        moderator.join(room);
        moderator.post(room, "not for eve");
        moderator.ask(command("ban", room, json!({"user": "eve"})), "done");
        moderator.rest();
        refused(&mut eve, room, "forbidden", &of_members(room));
        let heard = moderator.rest();
        assert!(heard.is_empty(), "{heard:?}");
    }
}

fn who_is_banned_gets_nothing_of_a_room_on_the_disk(shards: u16) {
    let (folder, rules) = (Folder::new("outsiders"), settings(""));
    let flags = ["--config", rules.path()];
    let server = folder.serve_with(shards, &flags);
    let mut moderator = server.client("mod");
    for room in ROOMS {
        moderator.join(room);
        moderator.post(room, "not for eve");
        moderator.ask(command("ban", room, json!({"user": "eve"})), "done");
    }
    stop(server);
    // Now each room is opened by the join that is refused.
    let server = folder.serve_with(shards, &flags);
    let mut eve = server.client("eve");
    for room in ROOMS {
        refused(&mut eve, room, "forbidden", &of_members(room));
    }
    // Where somebody else opens it, it is open to them.
    let mut ann = server.client("ann");
    for room in ROOMS {
        assert_eq!(seq(&ann.join(room)), 1);
    }
    stop(server);
}

fn who_is_too_many_gets_nothing_of_the_room(shards: u16) {
    let rules = settings("members_max = 1");
    let server = Server::with(shards, &["--config", rules.path()]);
    let (mut ann, mut eve) = (server.client("ann"), server.client("eve"));
    for room in ROOMS {
        ann.join(room);
        ann.post(room, "not for eve");
        ann.rest();
        refused(&mut eve, room, "room_full", &of_members(room));
        let heard = ann.rest();
        assert!(heard.is_empty(), "{heard:?}");
        // The place is free when ann has left.
        ann.ask(command("leave", room, json!({})), "left");
        eve.join(room);
    }
}

fn a_banned_moderator_does_not_moderate(shards: u16) {
    let (rules, key) = (settings(""), KeyFile::secret());
    let flags = ["--config", rules.path(), "--auth", "jwt"];
    let server = Server::with(shards, &[&flags[..], &["--jwt-key", key.text()]].concat());
    let enter = |user: &str| {
        let rooms = json!([{"pattern": "*", "allow": ["join", "send", "moderate"]}]);
        let claims = json!({"sub": user, "exp": now_s() + 1000, "rooms": rooms});
        Client::on(server.socket_of("/ws", &with_claims(claims)))
    };
    let (mut moderator, mut eve) = (enter("mod"), enter("eve"));
    for room in ROOMS {
        moderator.join(room);
        moderator.ask(command("ban", room, json!({"user": "eve"})), "done");
        let orders = [
            command("unban", room, json!({"user": "eve"})),
            command("ban", room, json!({"user": "ann"})),
            command("kick", room, json!({"user": "mod"})),
        ];
        refused(&mut eve, room, "forbidden", &orders[..2]);
        refused(&mut eve, room, "forbidden", &orders[..1]);
        let error = moderator.ask(command("unban", room, json!({"user": "ann"})), "error");
        assert_eq!(error["code"], "unknown_user", "ann was never banned");
    }
}

fn a_leave_behind_a_refused_join_costs_nobody_the_room(shards: u16) {
    let rules = settings("");
    let server = Server::with(shards, &["--config", rules.path()]);
    let mut moderator = server.client("mod");
    // The kernel chooses their shards: some are on the one that eve is on.
    let mut members: Vec<Client> = (0..6)
        .map(|number| server.client(&format!("member-{number}")))
        .collect();
    let mut eve = server.client("eve");
    for room in ROOMS {
        moderator.join(room);
        for member in &mut members {
            member.join(room);
        }
        moderator.ask(command("ban", room, json!({"user": "eve"})), "done");
        for _ in 0..members.len() {
            refused(
                &mut eve,
                room,
                "forbidden",
                &[command("leave", room, json!({}))],
            );
        }
        moderator.post(room, "to all");
        for member in &mut members {
            assert_eq!(member.take_of("message", room)["content"], "to all");
        }
    }
}
