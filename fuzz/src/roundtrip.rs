//! What is encoded is decoded as the same: frames, close payloads, commands, and events as JSON.

use super::cuts::{Event, events};
use arbitrary::{Arbitrary, Unstructured};
use roomcast::limits::RETRY_AFTER_MS;
use roomcast::proto::event::{self, Recovery, SystemEvent};
use roomcast::proto::{Code, Command, Commands, Refusal, Target};
use roomcast::ws::close::{self, CloseCode};
use roomcast::ws::mask::unmask;
use roomcast::ws::{Header, Opcode, Rules, frame};
use serde_json::{Value, json};

/// One thing to encode.
#[derive(Debug, Arbitrary)]
enum Case<'a> {
    Mask {
        mask: [u8; 4],
        cut: u16,
        bytes: &'a [u8],
    },
    Frame {
        kind: u8,
        mask: [u8; 4],
        payload: &'a [u8],
    },
    Fragments {
        mask: [u8; 4],
        lengths: [u8; 4],
        text: &'a str,
    },
    Close {
        code: u16,
        reason: &'a str,
    },
    Command(Fields<'a>),
    Event {
        kind: u8,
        fields: Fields<'a>,
    },
}

/// Texts and numbers for any command and event.
#[derive(Debug, Arbitrary)]
struct Fields<'a> {
    number: u64,
    count: u32,
    flag: bool,
    name: &'a str,
    other: &'a str,
    id: Option<&'a str>,
    content: &'a str,
}

/// Input: a [`Case`].
pub fn run(data: &[u8]) {
    let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    match case {
        Case::Mask { bytes, mask, cut } => check_mask(bytes, mask, usize::from(cut)),
        Case::Frame {
            kind,
            payload,
            mask,
        } => check_frame(OPCODES[usize::from(kind) % OPCODES.len()], payload, mask),
        Case::Fragments {
            text,
            lengths,
            mask,
        } => check_fragments(text, lengths, mask),
        Case::Close { code, reason } => check_close(CloseCode(code), reason),
        Case::Command(fields) => check_command(&fields),
        Case::Event { kind, fields } => check_event(kind, &fields),
    }
}

const OPCODES: [Opcode; 4] = [Opcode::Binary, Opcode::Text, Opcode::Ping, Opcode::Pong];

fn check_mask(bytes: &[u8], mask: [u8; 4], cut: usize) {
    let mut masked = bytes.to_vec();
    let cut = cut.min(masked.len());
    let (front, back) = masked.split_at_mut(cut);
    unmask(front, mask, 0);
    unmask(back, mask, cut);
    let naive = bytes
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, key)| byte ^ key);
    assert!(masked.iter().copied().eq(naive));
    unmask(&mut masked, mask, 0);
    assert_eq!(masked, bytes);
}

fn check_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    let payload = if opcode.is_control() {
        &payload[..payload.len().min(125)]
    } else {
        payload
    };
    let mut ours = Vec::new();
    frame::encode(&mut ours, opcode, payload);
    let (header, header_bytes) = Header::parse(&ours).expect("valid").expect("complete");
    assert_eq!(
        (header.opcode, header.fin, header.mask),
        (opcode, true, None)
    );
    assert_eq!(&ours[header_bytes..], payload);
    assert_eq!(frame::payload_of(&ours), payload);

    let mut theirs = Vec::new();
    frame::encode_masked(&mut theirs, true, false, opcode, mask, payload);
    let expected = match (opcode, std::str::from_utf8(payload)) {
        (Opcode::Text, Ok(text)) => Some(Event::Text(text.to_owned())),
        (Opcode::Text, Err(_)) => None,
        (Opcode::Ping, _) => Some(Event::Ping(payload.to_vec())),
        (Opcode::Pong, _) => Some(Event::Pong(payload.to_vec())),
        (Opcode::Binary | Opcode::Continuation | Opcode::Close, _) => {
            Some(Event::Binary(payload.to_vec()))
        }
    };
    let decoded = events(std::iter::once(&theirs[..]), &Rules::new(1 << 20));
    match expected {
        Some(expected) => assert_eq!(decoded, [expected]),
        None => assert!(matches!(decoded[..], [Event::Broken(_)])),
    }
}

/// A text in fragments is the text, wherever it is cut.
fn check_fragments(text: &str, lengths: [u8; 4], mask: [u8; 4]) {
    let (mut stream, mut rest, mut opcode) = (Vec::new(), text.as_bytes(), Opcode::Text);
    for length in lengths {
        let (part, after) = rest.split_at(usize::from(length).min(rest.len()));
        frame::encode_masked(&mut stream, false, false, opcode, mask, part);
        (rest, opcode) = (after, Opcode::Continuation);
    }
    frame::encode_masked(&mut stream, true, false, opcode, mask, rest);
    let decoded = events(std::iter::once(&stream[..]), &Rules::new(1 << 20));
    assert_eq!(decoded, [Event::Text(text.to_owned())]);
}

fn check_close(code: CloseCode, reason: &str) {
    let mut out = Vec::new();
    close::encode(&mut out, Some(code), reason);
    assert!(out.len() <= 2 + 125);
    match close::parse(frame::payload_of(&out)) {
        Ok(Some((decoded, kept))) => {
            assert!(code.is_sendable() && decoded == code);
            assert!(reason.starts_with(kept));
            assert!(kept == reason || kept.len() > 123 - 4, "cut too short");
        }
        Ok(None) => panic!("a close without its code"),
        Err(_) => assert!(!code.is_sendable()),
    }
}

fn check_command(fields: &Fields<'_>) {
    let content = json!({ "text": fields.content, "n": fields.number }).to_string();
    let command = json!({
        "type": "message", "to": fields.name, "id": fields.id, "content": 0, "other": fields.other,
    });
    let text = command
        .to_string()
        .replace("\"content\":0", &format!("\"content\": {content} "));
    let is_name =
        (1..=128).contains(&fields.name.len()) && !fields.name.chars().any(char::is_control);
    let is_id = fields.id.is_none_or(|id| id.len() <= 64);
    // The texts of the fields could hold the very words that are replaced, but not their quotes.
    match Commands::new(&text).next() {
        Some(Ok(request)) => {
            assert!(is_name && is_id, "{text}");
            assert_eq!(request.id.as_deref(), fields.id);
            let expected = Command::Message {
                target: Target::user(fields.name),
                content: &content,
                metadata: None,
            };
            assert_eq!(request.command, expected);
        }
        Some(Err(refusal)) => {
            let code = if is_id { Code::BadName } else { Code::BadField };
            assert!(!is_name || !is_id, "{refusal:?}");
            assert!(refusal.code == code || !is_name, "{refusal:?}");
        }
        None => panic!("no command in {text}"),
    }
}

fn check_event(kind: u8, fields: &Fields<'_>) {
    let mut out = b"before".to_vec();
    let mut expected = expected_event(kind, fields, &mut out);
    let object = expected.as_object_mut().expect("an object");
    object.retain(|_, value| !value.is_null());
    let text = out.strip_prefix(b"before").expect("only appends");
    let decoded: Value = serde_json::from_slice(text).expect("an event is JSON");
    assert_eq!(decoded, expected);
}

/// Encodes an event, and says what it shall be in JSON; null where it has no such field.
fn expected_event(kind: u8, fields: &Fields<'_>, out: &mut Vec<u8>) -> Value {
    let Fields {
        name,
        other,
        id,
        content,
        number,
        count,
        flag,
    } = *fields;
    let target = if flag {
        Target::room(name)
    } else {
        Target::user(name)
    };
    let (room_id, to) = (flag.then_some(name), (!flag).then_some(name));
    let raw = json!([content, number]).to_string();
    match kind % 9 {
        0 => {
            let recovery = match count % 3 {
                0 => Recovery::NotAsked,
                1 => Recovery::Recovered,
                _ => Recovery::Lost(other),
            };
            let members = count.into();
            event::Joined {
                room_id: name,
                epoch: other,
                seq_id: number,
                members,
                recovery,
                id,
            }
            .encode(out);
            let recovered = [None, Some(true), Some(false)][count as usize % 3];
            let reason = (recovered == Some(false)).then_some(other);
            json!({ "type": "joined", "room_id": name, "epoch": other, "seq_id": number,
                "members": count, "recovered": recovered, "reason": reason, "id": id })
        }
        1 => {
            let metadata = (count % 2 == 0).then_some(&*raw);
            event::Message {
                target: &target,
                seq_id: number,
                timestamp: count.into(),
                sender: other,
                content: &raw,
                metadata,
                id,
            }
            .encode(out);
            let metadata = metadata.map(|_| json!([content, number]));
            json!({ "type": "message", "room_id": room_id, "to": to, "seq_id": number,
                "timestamp": count, "sender": other, "content": [content, number],
                "metadata": metadata, "id": id })
        }
        2 => {
            let dup = count % 2 == 0;
            event::Ack {
                id,
                target: &target,
                seq_id: number,
                timestamp: count.into(),
                durable: flag,
                dup,
            }
            .encode(out);
            json!({ "type": "ack", "id": id, "room_id": room_id, "to": to, "seq_id": number,
                "timestamp": count, "durable": flag, "dup": dup.then_some(true) })
        }
        3 => {
            let signal = event::Signal {
                target: &target,
                sender: other,
                content: &raw,
                timestamp: number,
            };
            signal.encode(out);
            json!({ "type": "signal", "room_id": room_id, "to": to, "sender": other,
                "content": [content, number], "timestamp": number })
        }
        4 => {
            let presence = event::Presence {
                room_id: name,
                count: number,
                id,
            };
            presence.encode_with([content, other], out);
            json!({ "type": "presence", "room_id": name, "count": number,
                "members": [content, other], "id": id })
        }
        5 => {
            let gap = event::Gap {
                target: &target,
                from_seq_id: number,
                to_seq_id: count.into(),
                reason: other,
            };
            gap.encode(out);
            json!({ "type": "gap", "room_id": room_id, "to": to, "from_seq_id": number,
                "to_seq_id": count, "reason": other })
        }
        6 => {
            let system = event::System {
                event: SystemEvent::Notice,
                room_id: name,
                sender: other,
                timestamp: number,
                measure: event::Measure::default(),
            };
            system.encode(out);
            json!({ "type": "system", "event": "notice", "room_id": name, "sender": other,
                "timestamp": number })
        }
        7 => {
            let code = Code::ALL[count as usize % Code::ALL.len()];
            let refusal = Refusal {
                code,
                message: content.to_owned().into(),
                request: other.into(),
                id: id.map(Into::into),
                target: Some(target),
            };
            event::Error::from(&refusal).encode(out);
            json!({ "type": "error", "code": code.as_str(), "message": content,
                "request": other, "id": id, "room_id": room_id, "to": to,
                "retryable": code.retryable(),
                "retry_after_ms": code.retryable().then_some(RETRY_AFTER_MS) })
        }
        _ => {
            let retry_after_ms = (count % 2 == 0).then_some(number);
            let bye = event::Bye {
                code: 4200,
                reason: content,
                reconnect: flag,
                retry_after_ms,
            };
            bye.encode(out);
            json!({ "type": "bye", "code": 4200, "reason": content, "reconnect": flag,
                "retry_after_ms": retry_after_ms })
        }
    }
}
