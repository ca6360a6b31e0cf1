//! Reading what the server itself has encoded: of a numbered event, what it is and whose.

use serde::Deserialize;
use std::borrow::Cow;

/// A numbered event of a log, as far as the server needs to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Seen<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    /// The user who sent it.
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
    /// When it was numbered.
    pub timestamp: Option<u64>,
    /// Whether only a tombstone is left of it.
    #[serde(default)]
    pub deleted: bool,
}

impl<'a> Seen<'a> {
    /// Reads the text of an event.
    pub fn read(text: &'a [u8]) -> Option<Seen<'a>> {
        serde_json::from_slice(text).ok()
    }

    /// Whether it is a message, with its content or without.
    pub fn is_message(&self) -> bool {
        self.kind == "message"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Target, event};

    #[test]
    fn what_was_encoded_is_known_again() {
        let target = Target::room("r");
        let (mut message, mut deleted) = (Vec::new(), Vec::new());
        event::Message {
            target: &target,
            seq_id: 7,
            timestamp: 5,
            sender: "ann \"a\"",
            content: r#"{"type":"x","deleted":true}"#,
            metadata: None,
            id: None,
        }
        .encode(&mut message);
        event::Deleted {
            target: &target,
            seq_id: 8,
            deleted_seq_id: 7,
            timestamp: 6,
            sender: "mod",
            id: None,
        }
        .encode(&mut deleted);
        let seen = Seen::read(&message).expect("an event");
        assert!(seen.is_message() && !seen.deleted && seen.sender == "ann \"a\"");
        assert!(!Seen::read(&deleted).expect("an event").is_message());
        let tombstone = event::Tombstone {
            target: &target,
            seq_id: 7,
            timestamp: Some(5),
            sender: "ann",
        };
        let most = {
            let mut out = Vec::new();
            tombstone.encode(&mut out);
            out.len()
        };
        // As short as any message can be, and as long as it was.
        for bytes in [most - 3, most - 1, most, most + 1, most + 1000] {
            let text = tombstone.encode_in(bytes);
            assert_eq!(text.len(), bytes);
            let seen = Seen::read(&text).expect("an event");
            assert!(seen.is_message() && seen.deleted && seen.sender == "ann");
            assert_eq!(seen.timestamp.is_some(), bytes >= most);
        }
    }
}
