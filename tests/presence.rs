//! Who is there: each coming and going in small rooms, a count now and then in large ones.

mod common;

use common::{Client, Server, Value, json, transported};
use std::time::{Duration, Instant};

transported!(
    comings_and_goings_are_told,
    leaves_are_told_in_time_wherever_the_room_is,
    a_reconnect_is_not_news,
    further_connections_are_not_news,
    large_rooms_get_counts,
    a_count_comes_at_most_every_so_often,
    who_is_bounded,
);

fn system(client: &mut Client) -> (String, String) {
    let event = client.take("system");
    assert_eq!(event["room_id"], "r", "{event}");
    assert!(event["timestamp"].is_u64(), "{event}");
    let text = |key: &str| event[key].as_str().expect("a string").to_owned();
    (text("event"), text("sender"))
}

fn said(event: &str, sender: &str) -> (String, String) {
    (event.to_owned(), sender.to_owned())
}

fn comings_and_goings_are_told(shards: u16) {
    let server = Server::with(shards, &["--presence-debounce-ms", "100"]);
    let mut there: Vec<Client> = (0..6)
        .map(|number| server.client(&format!("there{number}")))
        .collect();
    for at in 0..there.len() {
        there[at].join("r");
        let name = format!("there{at}");
        for other in &mut there[..at] {
            assert_eq!(system(other), said("join", &name));
        }
    }
    // By a leave and by the end of the connection.
    let mut bob = server.client("bob");
    for is_orderly in [true, false] {
        bob.join("r");
        for other in &mut there {
            assert_eq!(system(other), said("join", "bob"));
        }
        if is_orderly {
            bob.ask(json!({"type": "leave", "room_id": "r"}), "left");
        } else {
            bob.socket.end();
        }
        for other in &mut there {
            assert_eq!(system(other), said("leave", "bob"));
        }
    }
    // Nobody is told of oneself, and nothing of it is numbered or kept.
    assert_eq!(there[0].post("r", 1)["seq_id"], 1);
    for other in &mut there {
        other.take("message");
        assert_eq!(other.rest(), Vec::<Value>::new());
    }
    let page = there[0].ask(json!({"type": "history", "room_id": "r"}), "history");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
}

fn leaves_are_told_in_time_wherever_the_room_is(shards: u16) {
    let server = Server::with(shards, &["--presence-debounce-ms", "100"]);
    let (mut ann, mut bob) = (server.client("ann"), server.client("bob"));
    let rooms: Vec<String> = (0..8).map(|number| format!("room {number}")).collect();
    for room in &rooms {
        ann.join(room);
        bob.join(room);
    }
    let start = Instant::now();
    drop(bob);
    // Most probably some of the rooms are at home on a shard that nobody in them is connected to. Nothing happens
    // there any more, and still it is told.
    for room in &rooms {
        while ann.take_of("system", room)["event"] != "leave" {}
    }
    let spent = start.elapsed();
    assert!(spent < Duration::from_secs(5), "{spent:?}");
}

fn a_reconnect_is_not_news(shards: u16) {
    let server = Server::with(shards, &["--presence-debounce-ms", "5000"]);
    let mut ann = server.client("ann");
    ann.join("r");
    let mut bob = server.client("bob");
    bob.join("r");
    assert_eq!(system(&mut ann), said("join", "bob"));
    let query = format!("?user=bob&session={}", bob.session);
    for _ in 0..5 {
        drop(bob);
        bob = Client::open(&server, &query);
        bob.join("r");
        bob.ask(json!({"type": "leave", "room_id": "r"}), "left");
        bob.join("r");
    }
    // A message of his comes behind whatever there is to say about him.
    bob.post("r", "I was here all the time");
    ann.take("message");
    assert_eq!(ann.rest(), Vec::<Value>::new());
}

fn further_connections_are_not_news(shards: u16) {
    let server = Server::with(shards, &["--presence-debounce-ms", "0"]);
    let mut ann = server.client("ann");
    ann.join("r");
    let mut bob = server.client("bob");
    bob.join("r");
    assert_eq!(system(&mut ann), said("join", "bob"));
    for _ in 0..4 {
        let mut also = server.again(&bob);
        also.join("r");
        also.ask(json!({"type": "leave", "room_id": "r"}), "left");
        also.join("r");
    }
    // Joining the room twice over the same connection is not either.
    bob.join("r");
    let mut carl = server.client("carl");
    carl.join("r");
    assert_eq!(system(&mut ann), said("join", "carl"));
    bob.ask(json!({"type": "leave", "room_id": "r"}), "left");
    assert_eq!(system(&mut ann), said("leave", "bob"));
}

fn large_rooms_get_counts(shards: u16) {
    let server = Server::with(
        shards,
        &["--presence-events-max", "3", "--presence-count-ms", "100"],
    );
    let mut members: Vec<Client> = (0..3)
        .map(|number| server.client(&format!("user{number}")))
        .collect();
    for member in &mut members {
        member.join("r");
    }
    assert_eq!(system(&mut members[0]), said("join", "user1"));
    assert_eq!(system(&mut members[0]), said("join", "user2"));
    assert_eq!(system(&mut members[1]), said("join", "user2"));
    for number in 3..10 {
        let mut member = server.client(&format!("user{number}"));
        member.join("r");
        members.push(member);
    }
    for member in &mut members {
        let mut count = Value::Null;
        while count != 10 {
            let presence = member.take("presence");
            assert_eq!(presence["room_id"], "r");
            assert_eq!(presence.get("members"), None, "the count alone");
            count = presence["count"].clone();
        }
        assert_eq!(member.rest_of("system"), Vec::<Value>::new());
    }
    // Who asks gets the names as well.
    let presence = members[0].ask(json!({"type": "who", "room_id": "r"}), "presence");
    assert_eq!(presence["count"], 10);
    assert_eq!(presence["members"].as_array().map(Vec::len), Some(10));
}

fn a_count_comes_at_most_every_so_often(shards: u16) {
    let server = Server::with(
        shards,
        &[
            "--presence-events-max",
            "0",
            "--presence-count-ms",
            "600000",
        ],
    );
    let mut ann = server.client("ann");
    ann.join("r");
    let mut count = 0;
    // The first change is told soon; then nothing for ten minutes.
    while count == 0 {
        let mut bob = Client::open(&server, "");
        bob.join("r");
        count += ann.rest_of("presence").len();
    }
    for _ in 0..30 {
        let mut bob = Client::open(&server, "");
        bob.join("r");
        ann.post("r", "behind it");
        ann.take("message");
    }
    assert_eq!(ann.rest_of("presence").len() + count, 1);
    assert_eq!(ann.rest_of("system"), Vec::<Value>::new());
}

fn who_is_bounded(shards: u16) {
    const USERS: usize = 1010;
    let server = Server::with(
        shards,
        &[
            "--presence-events-max",
            "0",
            "--presence-count-ms",
            "600000",
        ],
    );
    let mut members: Vec<Client> = (0..USERS).map(|_| Client::open(&server, "")).collect();
    let join = json!({"type": "join", "room_id": "r"});
    for member in &mut members {
        member.say(join.clone());
    }
    for member in &mut members {
        member.take("joined");
    }
    let first = &mut members[0];
    first.say(json!({"type": "who", "room_id": "r", "id": "who"}));
    let mut presence = first.take("presence");
    while presence["id"] != "who" {
        presence = first.take("presence");
    }
    assert_eq!(presence["count"], USERS);
    let names = presence["members"].as_array().expect("an array");
    assert_eq!(names.len(), 1000, "up to a bound");
    let mut names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 1000, "each once");
}
