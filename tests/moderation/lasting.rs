//! What is kept of mutes and bans: how many, and through restarts.

use super::common::mint::{KeyFile, now_s, with_claims};
use super::common::{Client, Server, json};
use super::store::{Folder, stop};
use super::{ROOMS, done, join, message, order, refused, says, server, settings, with};

#[test]
fn a_room_has_so_many_bans() {
    const MOST: usize = 10_000;
    let (server, _rules) = server(1);
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
    let (rules, key) = (settings(), KeyFile::secret());
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
    let (folder, rules) = (Folder::new("moderation"), settings());
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
            says(&error, "hush");
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
                says(&error, "spam");
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
