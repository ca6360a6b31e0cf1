//! Pages of history: both directions, their bounds, and who may read what.

mod common;

use common::{Client, Server, Value, json, seqs, transported};

transported!(
    the_newest_page_comes_first,
    pages_walk_back_to_the_start,
    pages_walk_forward_to_the_head,
    a_limit_is_clamped,
    a_page_ends_at_256_kib,
    a_page_holds_what_was_delivered,
    what_has_expired_is_not_on_a_page,
    ones_own_inbox_has_pages_too,
    only_members_read_a_room,
    pages_do_not_count_as_delivery,
);

fn page(client: &mut Client, command: Value) -> Value {
    let page = client.ask(command, "history");
    assert!(
        page["epoch"].is_string() && page["more"].is_boolean(),
        "{page}"
    );
    page
}

fn of(page: &Value) -> (Vec<u64>, bool) {
    let messages = page["messages"].as_array().expect("an array");
    (seqs(messages), page["more"] == true)
}

fn range(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

/// A room `r` with this many messages, and a member of it.
fn room_of(server: &Server, count: u64) -> Client {
    let mut ann = server.client("ann");
    ann.ask(
        json!({"type": "join", "room_id": "r", "echo": false}),
        "joined",
    );
    for number in 1..=count {
        ann.say(json!({"type": "message", "room_id": "r", "content": number}));
    }
    ann.take_many("ack", count as usize);
    ann
}

fn the_newest_page_comes_first(shards: u16) {
    let server = Server::start(shards);
    let mut ann = room_of(&server, 120);
    let newest = page(
        &mut ann,
        json!({"type": "history", "room_id": "r", "id": "h"}),
    );
    assert_eq!(of(&newest), (range(71, 120), true), "oldest first");
    assert_eq!(
        (&newest["id"], &newest["room_id"]),
        (&json!("h"), &json!("r"))
    );
    let empty = {
        ann.join("empty");
        page(&mut ann, json!({"type": "history", "room_id": "empty"}))
    };
    assert_eq!(of(&empty), (vec![], false));
}

fn pages_walk_back_to_the_start(shards: u16) {
    let server = Server::start(shards);
    let mut ann = room_of(&server, 107);
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let command = json!({"type": "history", "room_id": "r", "limit": 20, "before": before});
        let (seqs, more) = of(&page(&mut ann, command));
        assert_eq!(seqs.len(), if more { 20 } else { 7 });
        before = seqs.first().copied();
        seen.splice(0..0, seqs);
        if !more {
            break;
        }
    }
    assert_eq!(seen, range(1, 107));
    for (before, expected, more) in [
        (0, vec![], false),
        (1, vec![], false),
        (2, vec![1], false),
        (21, range(1, 20), false),
        (22, range(2, 21), true),
        (107, range(87, 106), true),
        (108, range(88, 107), true),
        (5000, range(88, 107), true),
    ] {
        let command = json!({"type": "history", "room_id": "r", "limit": 20, "before": before});
        assert_eq!(of(&page(&mut ann, command)), (expected, more), "{before}");
    }
}

fn pages_walk_forward_to_the_head(shards: u16) {
    let server = Server::start(shards);
    let mut ann = room_of(&server, 107);
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let command = json!({"type": "history", "room_id": "r", "limit": 20, "after": after});
        let (seqs, more) = of(&page(&mut ann, command));
        after = seqs.last().copied().expect("a page has a message");
        seen.extend(seqs);
        if !more {
            break;
        }
    }
    assert_eq!(seen, range(1, 107));
    for (after, expected, more) in [
        (0, range(1, 20), true),
        (86, range(87, 106), true),
        (87, range(88, 107), false),
        (106, vec![107], false),
        (107, vec![], false),
        ((1u64 << 53) - 1, vec![], false),
    ] {
        let command = json!({"type": "history", "room_id": "r", "limit": 20, "after": after});
        assert_eq!(of(&page(&mut ann, command)), (expected, more), "{after}");
    }
}

fn a_limit_is_clamped(shards: u16) {
    let server = Server::start(shards);
    let mut ann = room_of(&server, 520);
    for (limit, expected, more) in [
        (json!(1), range(520, 520), true),
        (json!(50), range(471, 520), true),
        (json!(500), range(21, 520), true),
        (json!(501), range(21, 520), true),
        (json!(1_000_000_000), range(21, 520), true),
        (json!(null), range(471, 520), true),
    ] {
        let command = json!({"type": "history", "room_id": "r", "limit": limit});
        assert_eq!(of(&page(&mut ann, command)), (expected, more), "{limit}");
    }
    ann.say_text(
        r#"{"type":"history","room_id":"r","limit":99999999999999999999999999,"before":11}"#,
    );
    assert_eq!(of(&ann.take("history")), (range(1, 10), false));
}

fn a_page_ends_at_256_kib(shards: u16) {
    const LIMIT: usize = 256 * 1024;
    let server = Server::with(shards, &["--tail-bytes-max", "4000000"]);
    let mut ann = room_of(&server, 0);
    let content = "x".repeat(40_000);
    for _ in 0..20 {
        ann.post("r", content.as_str());
    }
    for (bound, start) in [("before", 21), ("after", 0)] {
        ann.say(json!({"type": "history", "room_id": "r", bound: start, "limit": 500}));
        let text = ann.take_text("history");
        assert!(text.len() <= LIMIT + 1024, "{} bytes", text.len());
        let page: Value = serde_json::from_str(&text).expect("JSON");
        let expected = if start == 0 {
            range(1, 6)
        } else {
            range(15, 20)
        };
        assert_eq!(of(&page), (expected, true), "{bound}");
    }
    // One message is always there: nobody gets stuck.
    let (mut before, mut count) = (21, 0);
    loop {
        let command = json!({"type": "history", "room_id": "r", "before": before, "limit": 500});
        let (seqs, more) = of(&page(&mut ann, command));
        count += seqs.len();
        before = seqs[0];
        if !more {
            break;
        }
    }
    assert_eq!(count, 20);
}

fn a_page_holds_what_was_delivered(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    ann.join("r");
    for text in [
        r#"{"type":"message","room_id":"r","content": 1.0 ,"metadata":{"a" : 1},"id":"x"}"#,
        r#"{"type":"message","room_id":"r","content":"\u0041 😀"}"#,
    ] {
        ann.say_text(text);
    }
    let delivered = [ann.take_text("message"), ann.take_text("message")];
    ann.say(json!({"type": "history", "room_id": "r"}));
    let page = ann.take_text("history");
    assert!(
        page.contains(&format!("[{}]", delivered.join(","))),
        "byte for byte: {page}"
    );
}

fn what_has_expired_is_not_on_a_page(shards: u16) {
    let server = Server::with(
        shards,
        &["--max-message", "2048", "--tail-bytes-max", "2048"],
    );
    let mut ann = room_of(&server, 0);
    for _ in 0..200 {
        ann.post("r", "x".repeat(1500));
    }
    let command = json!({"type": "history", "room_id": "r", "limit": 500});
    let (kept, more) = of(&page(&mut ann, command));
    let oldest = kept[0];
    assert!(!more && oldest > 1, "{oldest}");
    assert_eq!(kept, range(oldest, 200));
    let command = json!({"type": "history", "room_id": "r", "after": 0, "limit": 1});
    assert_eq!(of(&page(&mut ann, command)), (vec![oldest], true));
    let command = json!({"type": "history", "room_id": "r", "before": oldest});
    assert_eq!(of(&page(&mut ann, command)), (vec![], false));
}

fn ones_own_inbox_has_pages_too(shards: u16) {
    let server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let own = json!({"type": "history", "to": "bob", "id": "h"});
    let empty = page(&mut bob, own.clone());
    assert_eq!(of(&empty), (vec![], false));
    assert_eq!(empty["epoch"], bob.welcome["inbox"]["epoch"]);
    for number in 1..=30 {
        ann.write_to("bob", number);
    }
    bob.take_many("message", 30);
    let page_of = |client: &mut Client, command| page(client, command);
    let newest = page_of(&mut bob, own);
    assert_eq!(of(&newest), (range(1, 30), false));
    assert_eq!(newest["to"], "bob");
    assert_eq!(newest.get("room_id"), None);
    assert_eq!(newest["epoch"], bob.welcome["inbox"]["epoch"]);
    let command = json!({"type": "history", "to": "bob", "before": 11, "limit": 4});
    assert_eq!(of(&page_of(&mut bob, command)), (range(7, 10), true));
    // The others' are nobody else's business, theirs who wrote to it included.
    for to in ["bob", "nobody"] {
        let error = ann.ask(json!({"type": "history", "to": to}), "error");
        assert_eq!(
            (&error["code"], &error["to"]),
            (&json!("forbidden"), &json!(to))
        );
    }
    // Her own has the copies, numbered as they came, which say where they went.
    let copies = page_of(
        &mut ann,
        json!({"type": "history", "to": "ann", "limit": 500}),
    );
    assert_eq!(of(&copies), (range(1, 30), false));
    assert!(
        copies["messages"]
            .as_array()
            .is_some_and(|messages| messages.iter().all(|message| message["to"] == "bob"))
    );
}

fn only_members_read_a_room(shards: u16) {
    let server = Server::start(shards);
    let mut ann = room_of(&server, 3);
    let mut bob = server.client("bob");
    let command = json!({"type": "history", "room_id": "r"});
    assert_eq!(bob.ask(command.clone(), "error")["code"], "not_joined");
    bob.join("r");
    assert_eq!(of(&page(&mut bob, command.clone())).0, [1, 2, 3]);
    bob.ask(json!({"type": "leave", "room_id": "r"}), "left");
    assert_eq!(bob.ask(command.clone(), "error")["code"], "not_joined");
    assert_eq!(of(&page(&mut ann, command)).0, [1, 2, 3]);
}

fn pages_do_not_count_as_delivery(shards: u16) {
    let server = Server::start(shards);
    let mut ann = room_of(&server, 0);
    let mut bob = server.client("bob");
    bob.join("r");
    for number in 1..=20 {
        ann.post("r", number);
        let command = json!({"type": "history", "room_id": "r", "limit": 1});
        assert_eq!(of(&page(&mut bob, command)).0, [number]);
    }
    assert_eq!(bob.take_seqs("r", 20), range(1, 20));
}
