//! JSON commands, one or several to a frame, against `serde_json`'s own reading of each object.

use roomcast::limits::{JSON_DEPTH_MAX, TYPE_BYTES_SHOWN_MAX};
use roomcast::proto::{Code, Command, Commands, Refusal, Request, event};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Input: the text of a frame.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut commands = Commands::new(&text);
    loop {
        let before = commands.rest();
        let next = commands.next();
        let rest = commands.rest();
        assert_eq!(Commands::new(before).next(), next, "taken up again");
        let Some(next) = next else {
            assert!(before.trim_ascii().is_empty() && rest.is_empty());
            return;
        };
        assert!(
            before.ends_with(rest) && rest.len() < before.len(),
            "no progress"
        );
        let object = &before[..before.len() - rest.len()];
        match next {
            Ok(request) => check_request(&request, object),
            Err(refusal) => check_refusal(&refusal, rest),
        }
    }
}

fn check_request(request: &Request<'_>, object: &str) {
    let fields: HashMap<String, &RawValue> =
        serde_json::from_str(object).expect("what was taken is an object");
    let raw = |key: &str| fields.get(key).map(|value| value.get());
    let text = |key: &str| raw(key).and_then(|raw| serde_json::from_str::<String>(raw).ok());
    let kind = text("type").expect("a type");
    assert!(kind.eq_ignore_ascii_case(request.command.kind().as_str()));
    assert_eq!(request.id.as_deref(), text("id").as_deref());
    match &request.command {
        Command::Message {
            content, metadata, ..
        } => {
            assert_eq!(Some(*content), raw("content"), "other bytes");
            assert_eq!(*metadata, raw("metadata"), "other bytes");
            check_json(content);
            metadata.iter().for_each(|metadata| check_json(metadata));
        }
        Command::Signal { content, .. } => {
            assert_eq!(Some(*content), raw("content"), "other bytes");
            check_json(content);
        }
        Command::Hello { .. }
        | Command::Join { .. }
        | Command::Leave { .. }
        | Command::History { .. }
        | Command::Who { .. }
        | Command::Moderate { .. }
        | Command::Delete { .. }
        | Command::Heartbeat { .. } => {}
    }
    if let Some(target) = request.command.target() {
        let named = text("room_id").or_else(|| text("to"));
        assert_eq!(Some(target.name()), named.as_deref());
        assert!((1..=128).contains(&target.name().len()));
        assert!(!target.name().chars().any(char::is_control));
    }
}

/// A value that goes on to others can be read by them.
fn check_json(value: &str) {
    assert!(depth(value) <= JSON_DEPTH_MAX, "too deep");
    if let Err(error) = serde_json::from_str::<Value>(value) {
        // Numbers of any size pass through us, and `serde_json` itself stops at the deepest level.
        let text = error.to_string();
        let is_known = ["number out of range", "recursion limit exceeded"];
        assert!(
            is_known.iter().any(|known| text.starts_with(known)),
            "{text}: {value:.200}"
        );
    }
}

fn depth(value: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in value.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn check_refusal(refusal: &Refusal<'_>, rest: &str) {
    assert!(!refusal.message.is_empty());
    assert!(refusal.request.len() <= TYPE_BYTES_SHOWN_MAX);
    assert!(rest.is_empty() || refusal.code != Code::Internal);
    let mut out = Vec::new();
    event::Error::from(refusal).encode(&mut out);
    let event: Value = serde_json::from_slice(&out).expect("an error event is JSON");
    assert_eq!(event["code"], refusal.code.as_str());
    assert_eq!(event["request"], *refusal.request);
    assert_eq!(event["id"].as_str(), refusal.id.as_deref());
}
