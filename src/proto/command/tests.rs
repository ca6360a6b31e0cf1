use super::*;
use crate::limits::{
    EPOCH_BYTES_MAX, ID_BYTES_MAX, JSON_DEPTH_MAX, NAME_BYTES_MAX, SESSION_BYTES_MAX,
    SESSION_BYTES_MIN,
};

const HEARTBEAT: &str = "Heartbeat { timestamp: None }";

/// An outcome as the tables write it: `#id Command`, or `code type #id target | message`.
fn shown(outcome: &Result<Request<'_>, Refusal<'_>>) -> String {
    match outcome {
        Ok(Request {
            id: Some(id),
            command,
        }) => format!("#{id} {command:?}"),
        Ok(Request { id: None, command }) => format!("{command:?}"),
        Err(Refusal {
            code,
            message,
            request,
            id,
            target,
        }) => {
            let id = id.as_ref().map(|id| format!(" #{id}")).unwrap_or_default();
            let target = target
                .as_ref()
                .map(|target| format!(" {target:?}"))
                .unwrap_or_default();
            format!("{code} {request}{id}{target} | {message}")
        }
    }
}

/// Whether an outcome is the expected one; of a message, the expected text needs to be a part.
fn fits(shown: &str, expected: &str) -> bool {
    match (shown.split_once(" | "), expected.split_once(" | ")) {
        (Some((refusal, message)), Some((expected, part))) => {
            refusal == expected && message.contains(part)
        }
        _ => shown == expected,
    }
}

#[track_caller]
fn check(input: &str, expected: &[&str]) {
    let outcomes: Vec<_> = Commands::new(input)
        .map(|outcome| shown(&outcome))
        .collect();
    let all_fit = outcomes
        .iter()
        .zip(expected)
        .all(|(shown, expected)| fits(shown, expected));
    assert!(
        outcomes.len() == expected.len() && all_fit,
        "{input:.300}\n   gives: {outcomes:.300?}\nexpected: {expected:?}"
    );
}

/// The rows of a table: an input, and what comes of it. Lines that start with `--` are remarks.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.map(|line| line.split_once("  =>  ").expect(line))
}

#[test]
fn objects() {
    for (input, expected) in rows(OBJECTS) {
        check(input, &[expected]);
        // What follows such an object is taken, since it has an end.
        check(
            &format!("{input}{{\"type\":\"heartbeat\"}}"),
            &[expected, HEARTBEAT],
        );
    }
}

const OBJECTS: &str = r##"
-- every command
{"type":"hello"}  =>  Hello { user: None, session: None, token: None, inbox_since: None }
{"type":"hello","user":"ann","session":"0123456789abcdef","token":"t","inbox_since":{"epoch":"e","seq_id":7}}  =>  Hello { user: Some("ann"), session: Some((secret)), token: Some((secret)), inbox_since: Some(Position { epoch: "e", seq_id: 7 }) }
{"type":"join","room_id":"a"}  =>  Join { room_id: "a", since: None, echo: true }
{"type":"join","room_id":"a","echo":false,"id":"1"}  =>  #1 Join { room_id: "a", since: None, echo: false }
{"type":"join","room_id":"a","since":{"seq_id":0,"epoch":"","more":1},"echo":true}  =>  Join { room_id: "a", since: Some(Position { epoch: "", seq_id: 0 }), echo: true }
{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":9007199254740991}}  =>  Join { room_id: "a", since: Some(Position { epoch: "e", seq_id: 9007199254740991 }), echo: true }
{"type":"leave","room_id":"a"}  =>  Leave { room_id: "a" }
{"type":"message","room_id":"a","content":"hi"}  =>  Message { target: Room("a"), content: "\"hi\"", metadata: None }
{"type":"message","to":"bob","content":{"a":[1]},"metadata":[2],"id":"x"}  =>  #x Message { target: User("bob"), content: "{\"a\":[1]}", metadata: Some("[2]") }
{"type":"signal","room_id":"a","content":true,"metadata":1}  =>  Signal { target: Room("a"), content: "true" }
{"type":"signal","to":"bob","content":"typing"}  =>  Signal { target: User("bob"), content: "\"typing\"" }
{"type":"history","room_id":"a"}  =>  History { target: Room("a"), before: None, after: None, limit: None }
{"type":"history","to":"me","before":5,"limit":20}  =>  History { target: User("me"), before: Some(5), after: None, limit: Some(20) }
{"type":"history","room_id":"a","after":0,"limit":501}  =>  History { target: Room("a"), before: None, after: Some(0), limit: Some(500) }
{"type":"history","room_id":"a","limit":99999999999999999999999999}  =>  History { target: Room("a"), before: None, after: None, limit: Some(500) }
{"type":"who","room_id":"a","id":""}  =>  # Who { room_id: "a" }
{"type":"heartbeat"}  =>  Heartbeat { timestamp: None }
{"type":"heartbeat","timestamp":1700000000000}  =>  Heartbeat { timestamp: Some(1700000000000) }
{"type":"heartbeat","timestamp":-1}  =>  Heartbeat { timestamp: Some(-1) }

-- types in any case, and names of fields with escapes
{"type":"HEARTBEAT"}  =>  Heartbeat { timestamp: None }
{"type":"HeartBeat"}  =>  Heartbeat { timestamp: None }
{"type":"\u0068eartbeat"}  =>  Heartbeat { timestamp: None }
{"\u0074ype":"heartbeat"}  =>  Heartbeat { timestamp: None }

-- fields that are unknown, or that this command does not have, whatever they hold
{"type":"heartbeat","x":1,"x":{"y":[1e999,"\ud800"]},"":null}  =>  Heartbeat { timestamp: None }
{"type":"heartbeat","Type":"join","ID":7}  =>  Heartbeat { timestamp: None }
{"type":"heartbeat","room_id":7,"to":[],"limit":"many","content":"\ud800"}  =>  Heartbeat { timestamp: None }
{"type":"who","room_id":"a","sender":"me","timestamp":"now","seq_id":-1}  =>  Who { room_id: "a" }

-- null where a field may be absent
{"type":"heartbeat","timestamp":null,"id":null}  =>  Heartbeat { timestamp: None }
{"type":"hello","user":null,"session":null,"token":null,"inbox_since":null}  =>  Hello { user: None, session: None, token: None, inbox_since: None }
{"type":"join","room_id":"a","since":null,"echo":null}  =>  Join { room_id: "a", since: None, echo: true }
{"type":"history","room_id":null,"to":"me","before":null,"after":3,"limit":null}  =>  History { target: User("me"), before: None, after: Some(3), limit: None }
{"type":"message","room_id":"a","to":null,"content":null,"metadata":null}  =>  Message { target: Room("a"), content: "null", metadata: Some("null") }

-- names and ids with escapes
{"type":"who","room_id":"\"\\\u00e9"}  =>  Who { room_id: "\"\\é" }
{"type":"who","room_id":"\ud83d\ude00 日本","id":"\u0041"}  =>  #A Who { room_id: "😀 日本" }

-- bad_field: what every command has
{}  =>  bad_field  | `type` is missing
{"id":"7"}  =>  bad_field  #7 | `type` is missing
{"type":null}  =>  bad_field  | `type` must be a string
{"type":7,"room_id":"a"}  =>  bad_field  Room("a") | `type` must be a string
{"type":["join"]}  =>  bad_field  | `type` must be a string
{"type":"who","room_id":"a","id":7}  =>  bad_field who Room("a") | `id` must be a string
{"type":"nope","id":{}}  =>  bad_field nope | `id` must be a string

-- bad_field: room_id, echo
{"type":"join"}  =>  bad_field join | `room_id` is missing
{"type":"join","room_id":null}  =>  bad_field join | `room_id` must be a string
{"type":"Join","room_id":7,"id":"1"}  =>  bad_field join #1 | `room_id` must be a string
{"type":"join","room_id":"a","echo":1}  =>  bad_field join Room("a") | `echo` must be true or false
{"type":"join","room_id":"a","echo":"true"}  =>  bad_field join Room("a") | `echo` must be true or false
{"type":"leave"}  =>  bad_field leave | `room_id` is missing
{"type":"leave","room_id":["a"]}  =>  bad_field leave | `room_id` must be a string
{"type":"who"}  =>  bad_field who | `room_id` is missing
{"type":"who","to":"bob"}  =>  bad_field who User("bob") | `room_id` is missing
{"type":"who","room_id":true}  =>  bad_field who | `room_id` must be a string

-- bad_field: since
{"type":"join","room_id":"a","since":7}  =>  bad_field join Room("a") | `since` must be an object of `epoch` and `seq_id`
{"type":"join","room_id":"a","since":"e"}  =>  bad_field join Room("a") | `since` must be an object
{"type":"join","room_id":"a","since":[]}  =>  bad_field join Room("a") | `since` must be an object
{"type":"join","room_id":"a","since":{}}  =>  bad_field join Room("a") | `since.epoch` is missing
{"type":"join","room_id":"a","since":{"epoch":"e"}}  =>  bad_field join Room("a") | `since.seq_id` is missing
{"type":"join","room_id":"a","since":{"epoch":7,"seq_id":7}}  =>  bad_field join Room("a") | `since.epoch` must be a string
{"type":"join","room_id":"a","since":{"epoch":null,"seq_id":7}}  =>  bad_field join Room("a") | `since.epoch` must be a string
{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":null}}  =>  bad_field join Room("a") | `since.seq_id` must be an integer
{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":"7"}}  =>  bad_field join Room("a") | `since.seq_id` must be an integer
{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":7.0}}  =>  bad_field join Room("a") | `since.seq_id` must be an integer
{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":9007199254740992}}  =>  bad_field join Room("a") | to 9007199254740991

-- bad_field: room_id or to, content
{"type":"message","content":1,"id":"m"}  =>  bad_field message #m | `room_id` and `to` are both missing
{"type":"message","room_id":null,"to":null,"content":1}  =>  bad_field message | both missing
{"type":"message","room_id":"a","to":"bob","content":1}  =>  bad_field message Room("a") | `room_id` and `to` are both there
{"type":"message","to":5,"content":1}  =>  bad_field message | `to` must be a string
{"type":"message","room_id":"a"}  =>  bad_field message Room("a") | `content` is missing
{"type":"message","to":"b","metadata":1}  =>  bad_field message User("b") | `content` is missing
{"type":"signal","content":1}  =>  bad_field signal | both missing
{"type":"signal","room_id":"a","to":"b","content":1}  =>  bad_field signal Room("a") | both there
{"type":"signal","room_id":{},"content":1}  =>  bad_field signal | `room_id` must be a string
{"type":"signal","room_id":"a"}  =>  bad_field signal Room("a") | `content` is missing
{"type":"history"}  =>  bad_field history | both missing
{"type":"history","room_id":"a","to":"b"}  =>  bad_field history Room("a") | both there

-- bad_field: before, after, limit
{"type":"history","to":"b","before":9,"after":1}  =>  bad_field history User("b") | `before` and `after` are both there
{"type":"history","room_id":"a","before":-1}  =>  bad_field history Room("a") | `before` must be an integer from 0
{"type":"history","room_id":"a","before":"5"}  =>  bad_field history Room("a") | `before` must be an integer from 0
{"type":"history","room_id":"a","after":5.0}  =>  bad_field history Room("a") | `after` must be an integer from 0
{"type":"history","room_id":"a","after":5e0}  =>  bad_field history Room("a") | `after` must be an integer from 0
{"type":"history","room_id":"a","after":-0}  =>  bad_field history Room("a") | `after` must be an integer from 0
{"type":"history","room_id":"a","after":9007199254740992}  =>  bad_field history Room("a") | to 9007199254740991
{"type":"history","room_id":"a","after":18446744073709551616}  =>  bad_field history Room("a") | `after` must be an integer from 0
{"type":"history","room_id":"a","limit":0}  =>  bad_field history Room("a") | `limit` must be an integer of 1
{"type":"history","room_id":"a","limit":-1}  =>  bad_field history Room("a") | `limit` must be an integer of 1
{"type":"history","room_id":"a","limit":1.5}  =>  bad_field history Room("a") | `limit` must be an integer of 1
{"type":"history","room_id":"a","limit":1e9}  =>  bad_field history Room("a") | `limit` must be an integer of 1
{"type":"history","room_id":"a","limit":"9"}  =>  bad_field history Room("a") | `limit` must be an integer of 1

-- bad_field: heartbeat and hello
{"type":"heartbeat","timestamp":"now"}  =>  bad_field heartbeat | `timestamp` must be an integer
{"type":"heartbeat","timestamp":1.5}  =>  bad_field heartbeat | `timestamp` must be an integer
{"type":"heartbeat","timestamp":9223372036854775808}  =>  bad_field heartbeat | `timestamp` must be an integer
{"type":"hello","user":7}  =>  bad_field hello | `user` must be a string
{"type":"hello","token":{}}  =>  bad_field hello | `token` must be a string
{"type":"hello","session":1}  =>  bad_field hello | `session` must be a string
{"type":"hello","session":"short"}  =>  bad_field hello | `session` must be a string of 16 to 128 bytes
{"type":"hello","inbox_since":7}  =>  bad_field hello | `inbox_since` must be an object
{"type":"hello","inbox_since":{"seq_id":7}}  =>  bad_field hello | `inbox_since.epoch` is missing
{"type":"hello","inbox_since":{"epoch":"e","seq_id":-7}}  =>  bad_field hello | `inbox_since.seq_id` must be an integer

-- bad_name
{"type":"join","room_id":""}  =>  bad_name join | `room_id` is empty
{"type":"join","room_id":"a\u0000"}  =>  bad_name join | `room_id` has a control character
{"type":"leave","room_id":"a\n"}  =>  bad_name leave | `room_id` has a control character
{"type":"who","room_id":"\u007f"}  =>  bad_name who | `room_id` has a control character
{"type":"who","room_id":"\u0085"}  =>  bad_name who | `room_id` has a control character
{"type":"message","to":"","content":1}  =>  bad_name message | `to` is empty
{"type":"signal","to":"\u009f","content":1}  =>  bad_name signal | `to` has a control character
{"type":"history","room_id":"\r"}  =>  bad_name history | `room_id` has a control character
{"type":"hello","user":"\t","id":"h"}  =>  bad_name hello #h | `user` has a control character

-- unknown_type
{"type":"nope"}  =>  unknown_type nope | unknown `type`; there are hello
{"type":""}  =>  unknown_type  | unknown `type`
{"type":" join","room_id":"a"}  =>  unknown_type  join Room("a") | unknown `type`
{"type":"welcome","id":"1","to":"b"}  =>  unknown_type welcome #1 User("b") | unknown `type`
{"type":"éééééééééééééééééééé"}  =>  unknown_type éééééééééééééééé | unknown `type`
{"type":"aéééééééééééééééééééé"}  =>  unknown_type aééééééééééééééé | unknown `type`

-- bad_json: a field twice
{"type":"who","type":"who"}  =>  bad_json who | `type` is there twice
{"type":"who","id":"1","id":"1"}  =>  bad_json who #1 | `id` is there twice
{"type":"who","\u0069d":"1","id":"1"}  =>  bad_json who #1 | `id` is there twice
{"type":"who","content":1,"content":1}  =>  bad_json who | `content` is there twice
{"type":"who","since":null,"since":null}  =>  bad_json who | `since` is there twice
{"type":"join","room_id":"a","since":{"epoch":"e","seq_id":1,"seq_id":1}}  =>  bad_json join Room("a") | `since.seq_id` is there twice

-- bad_json: half of a surrogate pair
{"type":"\ud800"}  =>  bad_json  | `type` has a lone surrogate
{"type":"who","id":"\ud800"}  =>  bad_json who | `id` has a lone surrogate
{"type":"who","room_id":"\ude00\ud83d"}  =>  bad_json who | `room_id` has a lone surrogate
{"type":"hello","user":"\udfffx"}  =>  bad_json hello | `user` has a lone surrogate
{"type":"hello","token":"\ud83d\u0041"}  =>  bad_json hello | `token` has a lone surrogate
{"type":"join","room_id":"a","since":{"epoch":"\udc00","seq_id":1}}  =>  bad_json join Room("a") | `since.epoch` has a lone surrogate
{"type":"join","room_id":"a","since":{"\ud800":1,"epoch":"e","seq_id":1}}  =>  bad_json join Room("a") | `since` has a lone surrogate
{"type":"message","room_id":"a","id":"7","content":"\ud800"}  =>  bad_json message #7 Room("a") | `content` has a lone surrogate escape in its string at byte 0
{"type":"message","room_id":"a","id":"7","content":["",{"\udc00":1}]}  =>  bad_json message #7 Room("a") | in its string at byte 5
{"type":"message","room_id":"a","content":1,"metadata":"\ud83d\u0041"}  =>  bad_json message Room("a") | `metadata` has a lone surrogate
{"type":"signal","room_id":"a","content":"\ud83d"}  =>  bad_json signal Room("a") | `content` has a lone surrogate
"##;

/// Nobody can tell where an object ends that is not JSON, so that nothing after it is taken.
#[test]
fn text_that_is_not_json() {
    let heartbeat = r#"{"type":"heartbeat"}"#;
    for (input, expected) in rows(NOT_JSON) {
        check(input, &[expected]);
        check(&format!("{heartbeat} {input}"), &[HEARTBEAT, expected]);
        if !expected.contains("EOF") {
            check(&format!("{input} {heartbeat}"), &[expected]);
        }
    }
    let more = [
        ("\u{feff}{}", "bad_json  | objects"),
        ("\u{a0}{}", "bad_json  | objects"),
        ("\u{c}{}", "bad_json  | objects"),
        (
            "{\"type\":\"who\",\n  x}",
            "bad_json who | key must be a string at line 2 column 3",
        ),
        (
            "{\"type\":\"who\",\"content\":\"\n\"}",
            "bad_json who | control character",
        ),
        (
            "{\"type\":\"who\",\"x\":\"\u{1}\"}",
            "bad_json who | control character",
        ),
    ];
    for (input, expected) in more {
        check(&format!("{input} {heartbeat}"), &[expected]);
    }
}

const NOT_JSON: &str = r##"
x  =>  bad_json  | a frame holds JSON objects
null  =>  bad_json  | objects
7  =>  bad_json  | objects
"type"  =>  bad_json  | objects
}  =>  bad_json  | objects
,{"type":"heartbeat"}  =>  bad_json  | objects
[{"type":"heartbeat"}]  =>  bad_json  | objects
{  =>  bad_json  | EOF while parsing an object at line 1 column 1
{"type"  =>  bad_json  | EOF
{"type":"who","id":"7","room_id":"a"  =>  bad_json who #7 Room("a") | EOF
{"type":"who","id":"7","room_id":"a",  =>  bad_json who #7 Room("a") | EOF
{"type":"who","id":"7","room_id":"a}  =>  bad_json who #7 | EOF while parsing a string
{"type":"who" "id":"7"}  =>  bad_json who | expected `,` or `}` at line 1 column 15
{'type':'who'}  =>  bad_json  | key must be a string
{"type":"who",}  =>  bad_json who | trailing comma
{"type":who}  =>  bad_json  | expected value
{"type":"who","before":01}  =>  bad_json who | invalid number
{"type":"who","before":+1}  =>  bad_json who | expected value
{"type":"who","before":1.}  =>  bad_json who | invalid number
{"type":"who","before":NaN}  =>  bad_json who | expected value
{"type":"who","content":[1,]}  =>  bad_json who | expected value at line 1 column 28
{"type":"who","content":[1}}  =>  bad_json who | expected `,` or `]`
{"type":"who","content":"\x"}  =>  bad_json who | invalid escape
{"type":"who","content":"\u12g4"}  =>  bad_json who | invalid escape
{"type":"who","\ud800":1}  =>  bad_json who | unexpected end of hex escape
{"type":"who" /* why */}  =>  bad_json who | expected `,` or `}`
"##;

#[test]
fn several_objects_in_a_frame() {
    let rows: &[(&str, &[&str])] = &[
        ("", &[]),
        (" \t\r\n", &[]),
        ("{\"type\" : \"heartbeat\"\t,\r\n \"x\":[ ]}", &[HEARTBEAT]),
        ("\n {\"type\":\"heartbeat\"}\n", &[HEARTBEAT]),
        (
            r#"{"type":"heartbeat"} {"type":"nope"}"#,
            &[HEARTBEAT, "unknown_type nope | hello"],
        ),
        (
            "{\"type\":\"heartbeat\"}\n\n{\"type\":\"heartbeat\"}\t",
            &[HEARTBEAT, HEARTBEAT],
        ),
        (
            r#"{"type":"heartbeat"}{"type":"heartbeat"}"#,
            &[HEARTBEAT, HEARTBEAT],
        ),
        (
            r#"{} {"type":"heartbeat"}"#,
            &["bad_field  | type", HEARTBEAT],
        ),
        (
            r#"{"type":"heartbeat"}, {}"#,
            &[HEARTBEAT, "bad_json  | objects"],
        ),
        (
            r#"{"type":"heartbeat"} x {}"#,
            &[HEARTBEAT, "bad_json  | objects"],
        ),
        (
            r#"{"type":"heartbeat"}} {}"#,
            &[HEARTBEAT, "bad_json  | objects"],
        ),
    ];
    for (input, expected) in rows {
        check(input, expected);
    }
}

/// Decoding may stop after any object and go on from the rest, with the same outcomes.
#[test]
fn the_rest_goes_on() {
    let input = r#" {"type":"who","room_id":"a"}{"type":7}  {"type":"leave","room_id":"b"} {"#;
    let at_once: Vec<_> = Commands::new(input)
        .map(|outcome| shown(&outcome))
        .collect();
    let mut rest = input.to_string();
    let mut in_steps = Vec::new();
    while !rest.is_empty() {
        let mut commands = Commands::new(&rest);
        in_steps.extend(commands.next().map(|outcome| shown(&outcome)));
        rest = commands.rest().to_string();
    }
    assert_eq!(at_once.len(), 4);
    assert_eq!(in_steps, at_once);
}

#[test]
fn content_is_kept_byte_for_byte() {
    let values = [
        "null",
        "true",
        "-0",
        "0.10",
        "1.0",
        "1e400",
        "-1E-400",
        "123456789012345678901234567890.123456789012345678901234567890",
        r#""""#,
        r#""\u00e9\/\ud83d\ude00\u0000 é😀""#,
        "[]",
        "{ }",
        "[ 1 ,\t2 ,\r\n 3 ]",
        r#"{"a":1,"a":2,"type":"x","type":"y"}"#,
        r#"{"b":{"z":0,"y":[{}, [ ]]} , "a":" \" "}"#,
        "\"\u{7f}\u{2028}\"",
    ];
    for value in values {
        let target = Target::room("a");
        let command = Command::Message {
            target,
            content: value,
            metadata: Some(value),
        };
        let input = format!(
            r#"{{"content": {value} ,"type":"message","room_id":"a","metadata":  {value}  }}"#
        );
        let mut commands = Commands::new(&input);
        assert_eq!(
            commands.next(),
            Some(Ok(Request { id: None, command })),
            "{input}"
        );
        assert_eq!(commands.next(), None);
    }
}

/// The strings of a command are slices of the input where they have no escapes.
#[test]
fn strings_are_borrowed() {
    let input = r#"{"type":"message","id":"7","to":"bob","content":"x"}"#;
    let Request { id, command } = Commands::new(input).next().unwrap().unwrap();
    assert!(matches!(id, Some(Cow::Borrowed("7"))));
    let Command::Message {
        target: Target::User(to),
        ..
    } = command
    else {
        panic!("{command:?}");
    };
    assert!(matches!(to, Cow::Borrowed("bob")));
}

/// Each string field takes as many bytes as its bound says, and not one more or less.
#[test]
fn lengths_of_strings() {
    let rows = [
        ("room_id", 1, NAME_BYTES_MAX, Code::BadName),
        ("user", 1, NAME_BYTES_MAX, Code::BadName),
        ("id", 0, ID_BYTES_MAX, Code::BadField),
        (
            "session",
            SESSION_BYTES_MIN,
            SESSION_BYTES_MAX,
            Code::BadField,
        ),
        ("epoch", 0, EPOCH_BYTES_MAX, Code::BadField),
    ];
    for (field, bytes_min, bytes_max, code) in rows {
        for bytes in [
            0,
            bytes_min.saturating_sub(1),
            bytes_min,
            bytes_max,
            bytes_max + 1,
        ] {
            // Escaped, so that the bound is seen to count what the text means.
            let value = "\\u0061".repeat(bytes);
            let input = match field {
                "room_id" => format!(r#"{{"type":"who","room_id":"{value}"}}"#),
                "epoch" => {
                    format!(r#"{{"type":"hello","inbox_since":{{"epoch":"{value}","seq_id":1}}}}"#)
                }
                _ => format!(r#"{{"type":"hello","{field}":"{value}"}}"#),
            };
            let refused = Commands::new(&input)
                .next()
                .unwrap()
                .err()
                .map(|refusal| refusal.code);
            let expected = if bytes < bytes_min || bytes > bytes_max {
                Some(code)
            } else {
                None
            };
            assert_eq!(refused, expected, "{field} of {bytes} bytes");
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for (depth, taken) in [(JSON_DEPTH_MAX, true), (JSON_DEPTH_MAX + 1, false)] {
        for fields in [
            format!(r#""content":{}"#, deep(depth)),
            format!(r#""content":1,"metadata":{}"#, deep(depth)),
        ] {
            let input = format!(r#"{{"type":"message","room_id":"a",{fields}}}"#);
            let outcome = Commands::new(&input).next().unwrap();
            let too_deep = "bad_json message Room(\"a\") | is nested deeper than 128";
            assert!(outcome.is_ok() == taken, "{depth}");
            assert!(taken || fits(&shown(&outcome), too_deep), "{outcome:?}");
        }
    }
}

/// Nesting costs no stack, wherever it stands, and time in proportion to its length: were it the
/// square, 1 MiB would take hours.
#[test]
fn bombs() {
    const BYTES: usize = 1024 * 1024;
    let started = std::time::Instant::now();
    let small_stack = std::thread::Builder::new().stack_size(64 * 1024);
    let defused = small_stack.spawn(|| {
        for field in ["content", "room_id", "since", "unknown", "type"] {
            for opening in ["[", "{\"a\":", "[{\"\":"] {
                let bomb = opening.repeat(BYTES / opening.len());
                check(&format!(r#"{{"{field}":{bomb}"#), &["bad_json  | EOF"]);
            }
            let closed = "[".repeat(BYTES / 2) + &"]".repeat(BYTES / 2);
            let input = format!(r#"{{"type":"heartbeat","{field}":{closed}}}"#);
            let outcome = Commands::new(&input).next().unwrap();
            assert_eq!(outcome.is_ok(), field != "type", "{field}");
            let input = format!(r#"{{"type":"message","to":"b","content":{closed}}}"#);
            check(
                &input,
                &["bad_json message User(\"b\") | nested deeper than 128"],
            );
        }
        let escapes = r"\ud83d\ude00".repeat(BYTES / 12);
        let input = format!(r#"{{"type":"signal","to":"b","content":"{escapes}"}}"#);
        assert!(Commands::new(&input).next().unwrap().is_ok());
        assert_eq!(Commands::new(&"{}".repeat(BYTES / 2)).count(), BYTES / 2);
        assert_eq!(Commands::new(&" ".repeat(BYTES)).count(), 0);
    });
    defused.unwrap().join().unwrap();
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

/// Whatever is cut off or changed, there is an outcome and no panic, and decoding ends.
#[test]
fn no_text_panics() {
    let input = concat!(
        r#"{"type":"message","id":"\u00e9","room_id":"é😀","content":{"a":["\ud83d\ude00",-1.5e3]}}"#,
        r#" {"type":"join","room_id":"a","since":{"epoch":"e","seq_id":7},"echo":false}"#,
        r#" {"type":"hello","user":"u","session":"0123456789abcdef","inbox_since":{"epoch":""}}"#,
        r#" {"type":"history","to":"a","before":5,"limit":10}"#,
    );
    for (at, character) in input.char_indices() {
        let (start, end) = input.split_at(at);
        for part in [start, end] {
            let bad_json = |outcome: &Result<_, Refusal<'_>>| {
                outcome
                    .as_ref()
                    .is_err_and(|refusal| refusal.code == Code::BadJson)
            };
            assert!(Commands::new(part).filter(bad_json).count() <= 1, "{part}");
        }
        let tail = end.get(character.len_utf8()..).unwrap();
        for other in [
            '"', '\\', '{', '}', '[', ']', ',', ':', '0', 'u', ' ', '\0', '\u{2028}',
        ] {
            assert!(Commands::new(&format!("{start}{other}{tail}")).count() <= 5);
        }
    }
}

#[test]
fn a_request_is_refused_by_its_type_id_and_target() {
    let rows = [
        (
            r#"{"type":"JOIN","room_id":"a","id":"7"}"#,
            "not_joined join #7 Room(\"a\") | why",
        ),
        (
            r#"{"type":"message","to":"b","content":1}"#,
            "not_joined message User(\"b\") | why",
        ),
        (r#"{"type":"heartbeat"}"#, "not_joined heartbeat | why"),
    ];
    for (input, expected) in rows {
        let request = Commands::new(input).next().unwrap().unwrap();
        assert_eq!(
            shown(&Err(request.refuse(Code::NotJoined, "why"))),
            expected
        );
    }
}

#[test]
fn types_are_told_apart() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        assert_eq!(Kind::parse(&kind.as_str().to_uppercase()), Some(kind));
        assert!(
            UNKNOWN_TYPE.contains(kind.as_str()),
            "{kind:?} is not in the hint"
        );
    }
}
