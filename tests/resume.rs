//! Coming back: everything after `since`, then live, without a gap and without a duplicate; or the truth about why not.

mod common;

use common::{Client, Server, Value, json, seq, seqs, transported, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

transported!(
    everything_after_since_comes_before_what_is_live,
    reconnects_lose_and_repeat_nothing,
    a_position_that_does_not_fit_is_told_with_its_reason,
    a_room_made_anew_has_another_epoch,
    since_may_be_given_while_in_the_room,
    signals_are_not_caught_up_on,
);

/// Keeps about two segments of a room's log.
const SMALL_TAIL: [&str; 4] = ["--max-message", "2048", "--tail-bytes-max", "2048"];

fn join_since(client: &mut Client, room: &str, epoch: &Value, seq_id: u64) -> Value {
    client.ask(
        json!({"type": "join", "room_id": room, "since": {"epoch": epoch, "seq_id": seq_id}}),
        "joined",
    )
}

fn everything_after_since_comes_before_what_is_live(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let epoch = ann.join("r")["epoch"].clone();
    for number in 1..=40 {
        ann.post("r", number);
    }
    for since in [0, 1, 17, 39, 40] {
        let mut bob = Client::open(&server, "");
        let joined = join_since(&mut bob, "r", &epoch, since);
        assert_eq!(joined["recovered"], true);
        assert_eq!(joined.get("reason"), None);
        assert_eq!(joined["epoch"], epoch);
        let head = seq(&joined);
        ann.post("r", "live");
        let expected: Vec<u64> = (since + 1..=head + 1).collect();
        let messages = bob.take_many("message", expected.len());
        assert_eq!(seqs(&messages), expected);
        assert!(
            messages
                .iter()
                .take(39 - since.min(39) as usize)
                .all(
                    |message| message["content"] == message["seq_id"] && message["sender"] == "ann"
                )
        );
    }
    // Without a position, only what comes behind the head.
    let mut bob = Client::open(&server, "");
    let joined = bob.join("r");
    assert_eq!(joined.get("recovered"), None);
    ann.post("r", "live");
    assert_eq!(bob.take("message")["seq_id"], seq(&joined) + 1);
}

fn reconnects_lose_and_repeat_nothing(shards: u16) {
    const MESSAGES: u64 = 1500;
    const READERS: usize = 4;
    let server = Arc::new(Server::start(shards));
    let mut writer = server.client("writer");
    let epoch = writer.ask(
        json!({"type": "join", "room_id": "r", "echo": false}),
        "joined",
    )["epoch"]
        .clone();
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (server, epoch) = (Arc::clone(&server), epoch.clone());
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || read_with_reconnects(&server, &epoch, reader, MESSAGES, &is_over))
        })
        .collect();
    for number in 1..=MESSAGES {
        writer.say(json!({"type": "message", "room_id": "r", "content": number}));
        if number % 50 == 0 {
            writer.take_many("ack", 50);
        }
    }
    let connects: Vec<u32> = readers
        .into_iter()
        .map(|reader| reader.join().expect("nothing was lost or repeated"))
        .collect();
    assert!(connects.iter().all(|count| *count > 5), "{connects:?}");
}

/// Reads all messages over as many connections as it takes, each cut at some place of its own. Returns how many.
fn read_with_reconnects(
    server: &Server,
    epoch: &Value,
    reader: usize,
    end: u64,
    is_over: &AtomicBool,
) -> u32 {
    let (mut had, mut connects) = (0, 0);
    while had < end {
        assert!(!is_over.load(Ordering::Relaxed), "another reader failed");
        let mut client = Client::open(server, "");
        connects += 1;
        let joined = join_since(&mut client, "r", epoch, had);
        assert_eq!(joined["recovered"], true, "behind {had}: {joined}");
        let cut = had + 37 + 13 * reader as u64 + u64::from(connects % 7) * 11;
        while had < end.min(cut) {
            let message = client.take("message");
            assert_eq!(seq(&message), had + 1, "reader {reader}");
            assert_eq!(message["content"], had + 1);
            had += 1;
        }
    }
    connects
}

fn a_position_that_does_not_fit_is_told_with_its_reason(shards: u16) {
    let server = Server::with(shards, &SMALL_TAIL);
    let mut ann = server.client("ann");
    let epoch = ann.ask(
        json!({"type": "join", "room_id": "r", "echo": false}),
        "joined",
    )["epoch"]
        .clone();
    for _ in 0..200 {
        ann.post("r", "x".repeat(1500));
    }
    let oldest = {
        let page = ann.ask(
            json!({"type": "history", "room_id": "r", "after": 0, "limit": 1}),
            "history",
        );
        seq(&page["messages"][0])
    };
    assert!((2..200).contains(&oldest), "the oldest are gone: {oldest}");
    for (epoch, since, reason) in [
        (&epoch, 201, "ahead"),
        (&epoch, (1 << 53) - 1, "ahead"),
        (&json!("another"), 100, "epoch"),
        (&json!(""), 0, "epoch"),
        (&epoch, oldest - 2, "expired"),
        (&epoch, 0, "expired"),
    ] {
        let mut bob = Client::open(&server, "");
        let joined = join_since(&mut bob, "r", epoch, since);
        assert_eq!(
            (&joined["recovered"], &joined["reason"]),
            (&json!(false), &json!(reason)),
            "{since}"
        );
        // Delivery starts behind the head that it names.
        let next = seq(&ann.post("r", "next"));
        assert_eq!(next, seq(&joined) + 1);
        assert_eq!(bob.take("message")["seq_id"], next, "{reason}");
    }
    let mut bob = Client::open(&server, "");
    let joined = join_since(&mut bob, "r", &epoch, oldest - 1);
    assert_eq!(joined["recovered"], true, "everything after it is there");
    assert_eq!(bob.take("message")["seq_id"], oldest);
}

fn a_room_made_anew_has_another_epoch(shards: u16) {
    let server = Server::with(shards, &["--room-hold-ms", "0"]);
    let mut ann = server.client("ann");
    let first = ann.join("r");
    ann.post("r", "gone with its room");
    ann.take("message");
    ann.ask(json!({"type": "leave", "room_id": "r"}), "left");
    until("the empty room is dropped", || server.metric("rooms") == 0);
    let joined = join_since(&mut ann, "r", &first["epoch"], 1);
    assert_ne!(joined["epoch"], first["epoch"]);
    assert_eq!(
        (&joined["seq_id"], &joined["recovered"], &joined["reason"]),
        (&json!(0), &json!(false), &json!("epoch"))
    );
    assert_eq!(ann.post("r", "first again")["seq_id"], 1);
}

fn since_may_be_given_while_in_the_room(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let epoch = ann.join("r")["epoch"].clone();
    for number in 1..=5 {
        ann.post("r", number);
    }
    assert_eq!(ann.take_seqs("r", 5), [1, 2, 3, 4, 5]);
    let joined = join_since(&mut ann, "r", &epoch, 3);
    assert_eq!((&joined["recovered"], seq(&joined)), (&json!(true), 5));
    assert_eq!(ann.take_seqs("r", 2), [4, 5]);
    ann.post("r", 6);
    assert_eq!(ann.take_seqs("r", 1), [6]);
    assert_eq!(ann.rest_of("message"), Vec::<Value>::new());
}

fn signals_are_not_caught_up_on(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let epoch = ann.join("r")["epoch"].clone();
    for number in 1..=10 {
        ann.say(json!({"type": "signal", "room_id": "r", "content": number}));
        ann.post("r", number);
    }
    let mut bob = Client::open(&server, "");
    join_since(&mut bob, "r", &epoch, 4);
    assert_eq!(bob.take_seqs("r", 6), [5, 6, 7, 8, 9, 10]);
    ann.say(json!({"type": "signal", "room_id": "r", "content": "live"}));
    assert_eq!(bob.take("signal")["content"], "live");
}
