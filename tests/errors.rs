//! Every refusal of the chat protocol: its code, what it repeats of the command, and that the connection lives on.

mod common;

use common::{Client, Frame, Opcode, Server, Value, json, transported};
use roomcast::proto::Code;

transported!(
    each_refusal_has_its_code,
    an_error_says_what_it_is_about,
    every_code_is_met_or_known_to_be_out_of_reach,
    objects_are_refused_one_by_one,
    text_that_is_not_json_ends_its_frame_only,
    binary_on_the_chat_is_closed,
    an_endless_stream_of_errors_is_taken,
);

/// Flags under which most bounds can be met.
const FLAGS: [&str; 6] = [
    "--rooms-per-connection-max",
    "3",
    "--inbox-bytes-max",
    "65536",
    "--max-message",
    "65536",
];

/// What is refused, sent by ann who is in `r`, and with which code.
fn table() -> Vec<(String, Code)> {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let long_name = "n".repeat(129);
    let long_id = "i".repeat(65);
    let message =
        |content: &str| format!(r#"{{"type":"message","room_id":"r","content":{content}}}"#);
    let rows: Vec<(String, Code)> = [
        ("hello", Code::BadJson),
        ("[]", Code::BadJson),
        ("\"text\"", Code::BadJson),
        ("1", Code::BadJson),
        ("null", Code::BadJson),
        ("{", Code::BadJson),
        ("}", Code::BadJson),
        (r#"{"type":"who""#, Code::BadJson),
        (r#"{'type':'who'}"#, Code::BadJson),
        (r#"{"type":"who",}"#, Code::BadJson),
        (r#"{"type":"heartbeat","x":01}"#, Code::BadJson),
        (r#"{"type":"heartbeat","x":NaN}"#, Code::BadJson),
        ("{\"type\":\"heartbeat\",\"x\":\"\t\"}", Code::BadJson),
        (r#"{"type":"heartbeat","type":"heartbeat"}"#, Code::BadJson),
        (r#"{"type":"join","room_id":"a","room_id":"b"}"#, Code::BadJson),
        (r#"{"type":"join","room_id":"\ud800"}"#, Code::BadJson),
        ("{}", Code::BadField),
        (r#"{"type":1}"#, Code::BadField),
        (r#"{"type":null}"#, Code::BadField),
        (r#"{"type":""}"#, Code::UnknownType),
        (r#"{"type":"nonsense"}"#, Code::UnknownType),
        (r#"{"type":"welcome"}"#, Code::UnknownType),
        (r#"{"type":"hello"}"#, Code::BadField),
        (r#"{"type":"join"}"#, Code::BadField),
        (r#"{"type":"join","room_id":1}"#, Code::BadField),
        (r#"{"type":"join","room_id":""}"#, Code::BadName),
        (r#"{"type":"join","room_id":"a\u0000b"}"#, Code::BadName),
        (r#"{"type":"join","room_id":"a\nb"}"#, Code::BadName),
        (r#"{"type":"join","room_id":"\u0085"}"#, Code::BadName),
        (r#"{"type":"join","room_id":"a","echo":1}"#, Code::BadField),
        (r#"{"type":"join","room_id":"a","since":5}"#, Code::BadField),
        (r#"{"type":"join","room_id":"a","since":{}}"#, Code::BadField),
        (r#"{"type":"join","room_id":"a","since":{"epoch":"e"}}"#, Code::BadField),
        (r#"{"type":"join","room_id":"a","since":{"epoch":1,"seq_id":1}}"#, Code::BadField),
        (r#"{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":-1}}"#, Code::BadField),
        (r#"{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":1.5}}"#, Code::BadField),
        (r#"{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":9007199254740992}}"#, Code::BadField),
        (r#"{"type":"join","room_id":"a","since":{"epoch":"123456789012345678901234567890123","seq_id":1}}"#, Code::BadField),
        (r#"{"type":"leave","room_id":"elsewhere"}"#, Code::NotJoined),
        (r#"{"type":"who","room_id":"elsewhere"}"#, Code::NotJoined),
        (r#"{"type":"message","room_id":"elsewhere","content":1}"#, Code::NotJoined),
        (r#"{"type":"signal","room_id":"elsewhere","content":1}"#, Code::NotJoined),
        (r#"{"type":"history","room_id":"elsewhere"}"#, Code::NotJoined),
        (r#"{"type":"message","content":1}"#, Code::BadField),
        (r#"{"type":"message","room_id":"r"}"#, Code::BadField),
        (r#"{"type":"message","room_id":"r","to":"bob","content":1}"#, Code::BadField),
        (r#"{"type":"message","to":"nobody","content":1}"#, Code::UnknownUser),
        (r#"{"type":"signal","to":"nobody","content":1}"#, Code::UnknownUser),
        (r#"{"type":"message","to":"","content":1}"#, Code::BadName),
        (r#"{"type":"history","to":"bob"}"#, Code::Forbidden),
        (r#"{"type":"history","to":"nobody"}"#, Code::Forbidden),
        (r#"{"type":"history","room_id":"r","limit":0}"#, Code::BadField),
        (r#"{"type":"history","room_id":"r","limit":-1}"#, Code::BadField),
        (r#"{"type":"history","room_id":"r","before":"1"}"#, Code::BadField),
        (r#"{"type":"history","room_id":"r","before":1,"after":1}"#, Code::BadField),
        (r#"{"type":"heartbeat","timestamp":"now"}"#, Code::BadField),
        (r#"{"type":"heartbeat","id":1}"#, Code::BadField),
        (r#"{"type":"join","room_id":"one room too many"}"#, Code::TooManyRooms),
    ]
    .into_iter()
    .map(|(text, code)| (text.to_owned(), code))
    .collect();
    let made = [
        (message(&deep(129)), Code::BadJson),
        (message(&deep(30_000)), Code::BadJson),
        (message(&"[".repeat(60_000)), Code::BadJson),
        (message(r#""\udead""#), Code::BadJson),
        (message(r#"{"\ud800x":1}"#), Code::BadJson),
        (
            format!(r#"{{"type":"join","room_id":"{long_name}"}}"#),
            Code::BadName,
        ),
        (
            format!(r#"{{"type":"heartbeat","id":"{long_id}"}}"#),
            Code::BadField,
        ),
        (
            format!(
                r#"{{"type":"message","to":"bob","content":"{}"}}"#,
                "x".repeat(60_000)
            ),
            Code::Overloaded,
        ),
    ];
    rows.into_iter().chain(made).collect()
}

/// Codes that nothing on the wire can bring about in this version, and why.
const OUT_OF_REACH: [(Code, &str); 6] = [
    (Code::TooLarge, "a message over the limit closes with 1009"),
    (Code::RateLimited, "there is no rate unless one is set"),
    (Code::RoomFull, "rooms have no bound unless a rule sets one"),
    (Code::Storage, "memory does not fail"),
    (Code::ShuttingDown, "connections are closed at once"),
    (Code::Internal, "a bug of ours"),
];

/// A server, ann in as many rooms as she may be, and bob whose inbox has little room left.
fn stage(shards: u16) -> (Server, Client, Client) {
    let server = Server::with(shards, &FLAGS);
    let mut ann = server.client("ann");
    let bob = server.client("bob");
    for room in ["r", "s", "t"] {
        ann.join(room);
    }
    ann.write_to("bob", "x".repeat(60_000));
    (server, ann, bob)
}

fn each_refusal_has_its_code(shards: u16) {
    let (server, mut ann, _bob) = stage(shards);
    let rows = table();
    for (text, code) in &rows {
        let short: String = text.chars().take(120).collect();
        ann.say_text(text);
        let error = ann.take("error");
        assert_eq!(error["code"], code.as_str(), "{short} gives {error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.len() > 10, "{short} is explained: {error}");
        assert_eq!(error["retryable"], code.retryable(), "{short}");
        assert_eq!(
            error.get("retry_after_ms").is_some(),
            code.retryable(),
            "{short}"
        );
        ann.barrier();
    }
    server.metric_is("errors_total", rows.len() as u64);
    assert_eq!(server.metric("violations_total"), 0);
    // After all of it she is who she was, where she was.
    assert_eq!(ann.post("r", "still here")["seq_id"], 1);
}

fn an_error_says_what_it_is_about(shards: u16) {
    let (_server, mut ann, _bob) = stage(shards);
    let kinds = ["join", "leave", "message", "signal", "history", "who"];
    for kind in kinds {
        let command = json!({"type": kind, "room_id": "over there", "content": 1, "id": "the id"});
        let error = ann.ask(command, "error");
        assert_eq!(
            (&error["request"], &error["id"], &error["room_id"]),
            (&json!(kind), &json!("the id"), &json!("over there")),
            "{error}"
        );
        assert_eq!(error.get("to"), None);
    }
    for kind in ["message", "signal", "history"] {
        let command = json!({"type": kind, "to": "some one", "content": 1, "id": ""});
        let error = ann.ask(command, "error");
        assert_eq!(
            (&error["request"], &error["id"], &error["to"]),
            (&json!(kind), &json!(""), &json!("some one")),
            "{error}"
        );
        assert_eq!(error.get("room_id"), None);
    }
    // What can be read is repeated although the rest is wrong.
    let error = ann.ask(
        json!({"type": "JOIN", "room_id": "r", "since": 7, "id": "x"}),
        "error",
    );
    assert_eq!(
        (&error["request"], &error["id"], &error["room_id"]),
        (&json!("join"), &json!("x"), &json!("r"))
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("`since`"))
    );
    // A type that nobody knows comes back cut.
    let error = ann.ask(json!({"type": "ä".repeat(1000)}), "error");
    assert_eq!(error["request"], "ä".repeat(16));
    let error = ann.ask(json!({"id": "no type"}), "error");
    assert_eq!(
        (&error["request"], &error["id"]),
        (&json!(""), &json!("no type"))
    );
}

fn every_code_is_met_or_known_to_be_out_of_reach(shards: u16) {
    let met: Vec<Code> = table().into_iter().map(|(_, code)| code).collect();
    // These two belong to the time before there is a welcome.
    let server = Server::start(shards);
    let ann = server.client("ann");
    let mut other = server.socket("/ws?user=ann");
    let error: Value = serde_json::from_str(&other.text()).expect("JSON");
    assert_eq!(error["code"], Code::NameTaken.as_str());
    let mut early = server.socket("/ws?hello");
    early.send_text(r#"{"type":"who","room_id":"r"}"#);
    let error: Value = serde_json::from_str(&early.text()).expect("JSON");
    assert_eq!(error["code"], Code::Unauthorized.as_str());
    drop(ann);
    let early = [Code::NameTaken, Code::Unauthorized];
    for code in Code::ALL {
        let is_met = met.contains(&code) || early.contains(&code);
        let is_out_of_reach = OUT_OF_REACH.iter().any(|(other, _)| *other == code);
        assert!(is_met != is_out_of_reach, "{code}");
    }
}

fn objects_are_refused_one_by_one(shards: u16) {
    let (_server, mut ann, _bob) = stage(shards);
    let objects = [
        r#"{"type":"message","room_id":"r","content":1,"id":"1"}"#,
        r#"{"type":"message","room_id":"elsewhere","content":2,"id":"2"}"#,
        r#"{"type":"nonsense","id":"3"}"#,
        r#"{"type":"message","room_id":"r","content":4,"id":"4"}"#,
    ];
    for between in ["", " ", "\n", "\r\n\t  "] {
        let before = between;
        ann.say_text(&format!("{before}{}{between}", objects.join(between)));
        let errors = ann.take_many("error", 2);
        assert_eq!(
            (&errors[0]["id"], &errors[0]["code"]),
            (&json!("2"), &json!("not_joined"))
        );
        assert_eq!(
            (&errors[1]["id"], &errors[1]["code"]),
            (&json!("3"), &json!("unknown_type"))
        );
        let acks = ann.take_many("ack", 2);
        assert_eq!((&acks[0]["id"], &acks[1]["id"]), (&json!("1"), &json!("4")));
    }
    // Frames without an object are no error.
    for text in ["", " ", "\n\n"] {
        ann.say_text(text);
    }
    assert_eq!(ann.rest_of("error"), Vec::<Value>::new());
}

fn text_that_is_not_json_ends_its_frame_only(shards: u16) {
    let (_server, mut ann, _bob) = stage(shards);
    let good = |id: &str| json!({"type": "message", "room_id": "r", "content": 1, "id": id});
    ann.say_text(&format!("{} nonsense {}", good("before"), good("lost")));
    ann.say(good("after"));
    assert_eq!(ann.take("error")["code"], "bad_json");
    assert_eq!(ann.take("ack")["id"], "before");
    assert_eq!(ann.take("ack")["id"], "after");
    assert_eq!(ann.take_seqs("r", 2), [1, 2]);
    assert_eq!(ann.rest(), Vec::<Value>::new());
}

fn binary_on_the_chat_is_closed(shards: u16) {
    let server = Server::start(shards);
    for payload in [&b""[..], b"{\"type\":\"heartbeat\"}", &[0xff; 1000]] {
        let mut ann = Client::open(&server, "");
        ann.socket.send(Opcode::Binary, payload);
        assert_eq!(ann.closed().0, Some(1003));
    }
    // Before there is a welcome as well.
    let mut early = server.socket("/ws?hello");
    early.send(Opcode::Binary, b"x");
    assert_eq!(early.closed(), Some(1003));
    server.metric_is("violations_total", 4);
}

fn an_endless_stream_of_errors_is_taken(shards: u16) {
    let (server, mut ann, _bob) = stage(shards);
    let frame = common::masked(Opcode::Text, b"nonsense");
    for _ in 0..10 {
        ann.socket.send_bytes(&frame.repeat(200));
        for _ in 0..200 {
            assert_eq!(ann.take("error")["code"], "bad_json");
        }
    }
    server.await_metric("errors_total", 2000);
    // One that never reads its errors is not read in turn, and bothers nobody.
    let mut deaf = server.socket("/ws");
    let _ = deaf
        .stream()
        .set_write_timeout(Some(std::time::Duration::from_millis(300)));
    let mut sent = 0;
    while sent < 64 << 20
        && std::io::Write::write_all(deaf.stream_mut(), &frame.repeat(1000)).is_ok()
    {
        sent += 1000 * frame.len();
    }
    assert!(sent < 64 << 20, "the server stopped reading");
    ann.barrier();
    assert!(matches!(deaf.frame(), Frame::Text(_)), "the welcome");
}
