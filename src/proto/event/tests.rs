use std::borrow::Cow;

use serde_json::Value;

use super::*;
use crate::proto::Code;

/// Texts that break an encoder which forgets to escape, or escapes too much.
const HOSTILE: [&str; 10] = [
    "",
    "\"",
    "\\",
    "\\\"}",
    "\",\"type\":\"bye",
    "\0\u{1}\u{8}\u{b}\u{1f}\t\r\n",
    "\u{7f}\u{85}\u{2028}\u{2029}\u{feff}",
    "😀 é 日本語 \u{10ffff}",
    "</script><!-- @ -->",
    "\\u0022\\ud800",
];

/// An event's text, and the same with `@` wherever it has the text of the test.
type Row = (String, &'static str);

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"before".to_vec();
    encode(&mut out);
    String::from_utf8(out)
        .unwrap()
        .strip_prefix("before")
        .expect("what was there stays")
        .to_string()
}

const BOUNDS: Bounds = Bounds {
    message_bytes_max: 65_536,
    rooms_per_connection_max: 100,
    dedupe_count: 10_000,
    dedupe_hours: 24,
    durable: true,
};

fn welcomes(text: &str) -> [Row; 2] {
    let full = Welcome {
        client_id: text,
        user: text,
        session: Some(text),
        inbox: Inbox {
            epoch: text,
            seq_id: 7,
            recovered: Some(false),
        },
        heartbeat_ms: 25_000,
        limits: BOUNDS,
        timestamp: 1_700_000_000_000,
        id: Some(text),
    };
    let bare = Welcome {
        session: None,
        inbox: Inbox {
            recovered: None,
            ..full.inbox.clone()
        },
        limits: Bounds {
            dedupe_hours: 0,
            durable: false,
            ..BOUNDS
        },
        id: None,
        ..full.clone()
    };
    [
        (
            encoded(|out| full.encode(out)),
            concat!(
                r#"{"type":"welcome","client_id":@,"user":@,"session":@,"#,
                r#""inbox":{"epoch":@,"seq_id":7,"recovered":false},"heartbeat_ms":25000,"#,
                r#""limits":{"message_bytes_max":65536,"name_bytes_max":128,"id_bytes_max":64,"#,
                r#""rooms_per_connection_max":100,"history_count_max":500,"json_depth_max":128,"#,
                r#""dedupe_count":10000,"dedupe_hours":24,"durable":true},"#,
                r#""timestamp":1700000000000,"id":@}"#
            ),
        ),
        (
            encoded(|out| bare.encode(out)),
            concat!(
                r#"{"type":"welcome","client_id":@,"user":@,"#,
                r#""inbox":{"epoch":@,"seq_id":7},"heartbeat_ms":25000,"#,
                r#""limits":{"message_bytes_max":65536,"name_bytes_max":128,"id_bytes_max":64,"#,
                r#""rooms_per_connection_max":100,"history_count_max":500,"json_depth_max":128,"#,
                r#""dedupe_count":10000,"dedupe_hours":0,"durable":false},"#,
                r#""timestamp":1700000000000}"#
            ),
        ),
    ]
}

fn memberships(text: &str) -> [Row; 5] {
    let joined = |recovery, id| {
        encoded(|out| {
            Joined {
                room_id: text,
                epoch: text,
                seq_id: 7,
                members: 2,
                recovery,
                id,
            }
            .encode(out)
        })
    };
    let left = |id| {
        encoded(|out| {
            Left {
                room_id: text,
                epoch: text,
                seq_id: 0,
                members: 0,
                event: None,
                measure: Measure::default(),
                id,
            }
            .encode(out)
        })
    };
    [
        (
            joined(Recovery::NotAsked, None),
            r#"{"type":"joined","room_id":@,"epoch":@,"seq_id":7,"members":2}"#,
        ),
        (
            joined(Recovery::Recovered, Some(text)),
            r#"{"type":"joined","room_id":@,"epoch":@,"seq_id":7,"members":2,"recovered":true,"id":@}"#,
        ),
        (
            joined(Recovery::Lost(text), None),
            r#"{"type":"joined","room_id":@,"epoch":@,"seq_id":7,"members":2,"recovered":false,"reason":@}"#,
        ),
        (
            left(None),
            r#"{"type":"left","room_id":@,"epoch":@,"seq_id":0,"members":0}"#,
        ),
        (
            left(Some(text)),
            r#"{"type":"left","room_id":@,"epoch":@,"seq_id":0,"members":0,"id":@}"#,
        ),
    ]
}

fn messages(text: &str) -> [Row; 6] {
    let (room, user) = (Target::room(text), Target::user(text));
    let bare = Message {
        target: &room,
        seq_id: 1,
        timestamp: 5,
        sender: text,
        content: r#"{ "a" : 1e400 }"#,
        metadata: None,
        id: None,
    };
    let full = Message {
        target: &user,
        seq_id: 9_007_199_254_740_991,
        content: r#""\u00e9""#,
        metadata: Some("null"),
        id: Some(text),
        ..bare.clone()
    };
    let kept = Ack {
        id: None,
        target: &room,
        seq_id: 1,
        timestamp: 5,
        durable: false,
        dup: false,
    };
    let kept_before = Ack {
        id: Some(text),
        target: &user,
        durable: true,
        dup: true,
        ..kept.clone()
    };
    let to_room = Signal {
        target: &room,
        sender: text,
        content: "[]",
        timestamp: 5,
    };
    let to_user = Signal {
        target: &user,
        ..to_room.clone()
    };
    [
        (
            encoded(|out| bare.encode(out)),
            r#"{"type":"message","room_id":@,"seq_id":1,"timestamp":5,"sender":@,"content":{ "a" : 1e400 }}"#,
        ),
        (
            encoded(|out| full.encode(out)),
            concat!(
                r#"{"type":"message","to":@,"seq_id":9007199254740991,"timestamp":5,"sender":@,"#,
                r#""content":"\u00e9","metadata":null,"id":@}"#
            ),
        ),
        (
            encoded(|out| kept.encode(out)),
            r#"{"type":"ack","room_id":@,"seq_id":1,"timestamp":5,"durable":false}"#,
        ),
        (
            encoded(|out| kept_before.encode(out)),
            r#"{"type":"ack","id":@,"to":@,"seq_id":1,"timestamp":5,"durable":true,"dup":true}"#,
        ),
        (
            encoded(|out| to_room.encode(out)),
            r#"{"type":"signal","room_id":@,"sender":@,"content":[],"timestamp":5}"#,
        ),
        (
            encoded(|out| to_user.encode(out)),
            r#"{"type":"signal","to":@,"sender":@,"content":[],"timestamp":5}"#,
        ),
    ]
}

fn pages(text: &str) -> [Row; 6] {
    let (room, user) = (Target::room(text), Target::user(text));
    let newest = History {
        target: &room,
        epoch: text,
        more: false,
        id: None,
    };
    let older = History {
        target: &user,
        more: true,
        id: Some(text),
        ..newest.clone()
    };
    let presence = Presence {
        room_id: text,
        count: 3,
        id: None,
    };
    let answer = Presence {
        id: Some(text),
        ..presence.clone()
    };
    let texts: [&[u8]; 2] = [
        br#"{"type":"message","seq_id":1}"#,
        br#"{"type":"message","seq_id":2}"#,
    ];
    [
        (
            encoded(|out| newest.encode([], out)),
            r#"{"type":"history","room_id":@,"epoch":@,"messages":[],"more":false}"#,
        ),
        (
            encoded(|out| newest.encode(texts.into_iter().take(1), out)),
            r#"{"type":"history","room_id":@,"epoch":@,"messages":[{"type":"message","seq_id":1}],"more":false}"#,
        ),
        (
            encoded(|out| older.encode(texts, out)),
            concat!(
                r#"{"type":"history","to":@,"epoch":@,"messages":["#,
                r#"{"type":"message","seq_id":1},{"type":"message","seq_id":2}],"more":true,"id":@}"#
            ),
        ),
        (
            encoded(|out| presence.encode(out)),
            r#"{"type":"presence","room_id":@,"count":3}"#,
        ),
        (
            encoded(|out| answer.encode_with([text, text], out)),
            r#"{"type":"presence","room_id":@,"count":3,"members":[@,@],"id":@}"#,
        ),
        (
            encoded(|out| presence.encode_with([], out)),
            r#"{"type":"presence","room_id":@,"count":3,"members":[]}"#,
        ),
    ]
}

fn notices(text: &str) -> [Row; 5] {
    let room = Target::room(text);
    let gap = Gap {
        target: &room,
        from_seq_id: 3,
        to_seq_id: 9,
        reason: text,
    };
    let system = |event| {
        encoded(|out| {
            System {
                event,
                room_id: text,
                sender: text,
                timestamp: 5,
                measure: Measure::default(),
            }
            .encode(out)
        })
    };
    let heartbeat = Heartbeat {
        timestamp: 1_700_000_000_000,
        id: Some(text),
    };
    [
        (
            encoded(|out| gap.encode(out)),
            r#"{"type":"gap","room_id":@,"from_seq_id":3,"to_seq_id":9,"reason":@}"#,
        ),
        (
            system(SystemEvent::Join),
            r#"{"type":"system","event":"join","room_id":@,"sender":@,"timestamp":5}"#,
        ),
        (
            system(SystemEvent::Leave),
            r#"{"type":"system","event":"leave","room_id":@,"sender":@,"timestamp":5}"#,
        ),
        (
            system(SystemEvent::Notice),
            r#"{"type":"system","event":"notice","room_id":@,"sender":@,"timestamp":5}"#,
        ),
        (
            encoded(|out| heartbeat.encode(out)),
            r#"{"type":"heartbeat","timestamp":1700000000000,"id":@}"#,
        ),
    ]
}

fn refusals(text: &str) -> [Row; 4] {
    let bare = Refusal {
        code: Code::BadField,
        message: Cow::Owned(text.to_string()),
        request: Cow::Borrowed(text),
        id: None,
        target: None,
    };
    let full = Refusal {
        code: Code::RateLimited,
        id: Some(text.into()),
        target: Some(Target::user(text)),
        ..bare.clone()
    };
    let bye = Bye {
        code: 4001,
        reason: text,
        reconnect: false,
        retry_after_ms: None,
    };
    let later = Bye {
        code: 1001,
        reconnect: true,
        retry_after_ms: Some(2000),
        ..bye.clone()
    };
    [
        (
            encoded(|out| Error::from(&bare).encode(out)),
            r#"{"type":"error","code":"bad_field","message":@,"request":@,"retryable":false}"#,
        ),
        (
            encoded(|out| {
                Error {
                    retry_after_ms: Some(0),
                    ..Error::from(&full)
                }
                .encode(out)
            }),
            concat!(
                r#"{"type":"error","code":"rate_limited","message":@,"request":@,"id":@,"to":@,"#,
                r#""retryable":true,"retry_after_ms":0}"#
            ),
        ),
        (
            encoded(|out| bye.encode(out)),
            r#"{"type":"bye","code":4001,"reason":@,"reconnect":false}"#,
        ),
        (
            encoded(|out| later.encode(out)),
            r#"{"type":"bye","code":1001,"reason":@,"reconnect":true,"retry_after_ms":2000}"#,
        ),
    ]
}

fn every_event(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(welcomes(text));
    rows.extend(memberships(text));
    rows.extend(messages(text));
    rows.extend(pages(text));
    rows.extend(notices(text));
    rows.extend(refusals(text));
    rows
}

#[test]
fn fields_stand_in_their_order() {
    for (event, expected) in every_event("lobby") {
        assert_eq!(event, expected.replace('@', "\"lobby\""));
    }
}

#[test]
fn hostile_texts_read_back() {
    for text in HOSTILE {
        let quoted = serde_json::to_string(text).unwrap();
        for (event, expected) in every_event(text) {
            // 1e400 is JSON, but no number that a `Value` could hold.
            let read =
                |json: &str| serde_json::from_str::<Value>(&json.replace("1e400", "4")).unwrap();
            assert_eq!(
                read(&event),
                read(&expected.replace('@', &quoted)),
                "{event}"
            );
        }
    }
}

/// A message that a client sends comes out with its content and metadata untouched.
#[test]
fn content_goes_through() {
    let content = "{ \"n\":1.0, \"n\":1e400,\t\"s\":\"\\u00e9\\/\" }";
    let input =
        format!(r#"{{"type":"message","room_id":"a","content":{content},"metadata":{content}}}"#);
    let request = crate::proto::Commands::new(&input).next().unwrap().unwrap();
    let crate::proto::Command::Message {
        target,
        content: kept,
        metadata,
    } = request.command
    else {
        panic!("{request:?}");
    };
    let message = Message {
        target: &target,
        seq_id: 1,
        timestamp: 2,
        sender: "ann",
        content: kept,
        metadata,
        id: None,
    };
    assert_eq!(
        encoded(|out| message.encode(out)),
        format!(
            r#"{{"type":"message","room_id":"a","seq_id":1,"timestamp":2,"sender":"ann","content":{content},"metadata":{content}}}"#
        )
    );
}

#[test]
fn one_reservation_holds_a_message() {
    let name = "n".repeat(crate::limits::NAME_BYTES_MAX);
    let target = Target::room(&name);
    let id = "i".repeat(crate::limits::ID_BYTES_MAX);
    let message = Message {
        target: &target,
        seq_id: crate::limits::SEQ_END - 1,
        timestamp: u64::MAX,
        sender: &name,
        content: "1",
        metadata: Some("2"),
        id: Some(&id),
    };
    let text = encoded(|out| message.encode(out));
    assert!(
        text.len() - 2 * name.len() - 2 <= MESSAGE_FRAME_BYTES,
        "{} bytes",
        text.len()
    );
}
