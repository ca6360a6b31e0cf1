//! What a shard hands to the log service in one turn, and what comes back.

use super::{Head, Opened};
use crate::room::{Connection, Key};
use crate::sanctions::{Penalty, Sanction};
use crate::slots::Slot;
use crate::users::SecretHash;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// What an entry of a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// A message.
    #[default]
    Message,
    /// The deletion of the message of this number. It has no content.
    Deletion(u64),
    /// A message that was deleted: nothing is left of it but who sent it, and when.
    Deleted,
}

/// A message that has no number yet, or a deletion of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// See [`What`].
    pub what: What,
    /// The user who sent it.
    pub sender: &'a str,
    /// Of a private message: the user to whom.
    pub to: Option<&'a str>,
    /// The sender's `id`.
    pub id: Option<&'a str>,
    /// Raw JSON.
    pub content: &'a str,
    /// Raw JSON.
    pub metadata: Option<&'a str>,
}

/// One message to be appended. Its texts lie in the submission's arena.
#[derive(Clone, Debug)]
pub struct Append {
    /// The log, as the shard calls it: the slot of its room.
    pub log: Slot,
    /// The connection that sent it.
    pub from: Connection,
    /// A number for that connection, which no other has, of any shard and any run of the server.
    pub client: u64,
    /// Key under which a repetition is met.
    pub dedupe: Option<u128>,
    /// Whether this is the sender's own copy of a private message: nobody waits for its `ack`.
    pub is_copy: bool,
    what: What,
    texts: [Range<u32>; 5],
}

/// What the sender of a message may do in the room, as far as its own shard knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may not write: it is only told again what it was told before.
    Reader,
    /// It may write.
    Writer,
    /// It moderates the room.
    Moderator,
}

/// One request to the log service.
#[derive(Clone, Debug)]
pub enum Request {
    /// Says where the log `key` stands.
    Open {
        /// See [`Append::log`].
        log: Slot,
        /// Its name.
        key: Key,
        /// The epoch and head of a log that no table knows.
        hint: Head,
        /// Whether it is kept in the table, where there is one.
        is_kept: bool,
    },
    /// Numbers a message and keeps it.
    Append(Append),
    /// Says whether a message was kept before: it is not to be kept now.
    Find {
        /// The message.
        message: Append,
        /// See [`Standing`].
        standing: Standing,
    },
    /// Keeps something else.
    Note(Note),
    /// Not a request: the service says unasked that the log keeps only what is behind this number.
    Trimmed {
        /// See [`Append::log`].
        log: Slot,
        /// See above.
        seq: u64,
    },
    /// The shard holds the room no more.
    Close {
        /// See [`Append::log`].
        log: Slot,
    },
}

/// Who asked for something, and waits for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The connection.
    pub from: Connection,
    /// The command's `id`.
    pub id: Option<Box<str>>,
}

/// What is kept besides messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A name has an owner from now on, and a new inbox.
    Claim {
        /// The name.
        name: Arc<str>,
        /// Hash of the secret that proves it.
        secret: SecretHash,
        /// Names the numbering of its inbox.
        epoch: u64,
        /// Where its owner came from.
        address: Option<IpAddr>,
        /// Since when it is the owner's, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// A claimed name is a token's from now on: the secret that proved it does so no more.
    Seal {
        /// The name.
        name: Arc<str>,
    },
    /// Its owner is connected again.
    Returned {
        /// The name.
        name: Arc<str>,
    },
    /// The last connection of its owner has gone.
    Left {
        /// The name.
        name: Arc<str>,
        /// When, in milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// The name is nobody's again; its inbox goes with it.
    Release {
        /// The name.
        name: Arc<str>,
    },
    /// The user has surely had its inbox up to here.
    Confirm {
        /// The user.
        name: Arc<str>,
        /// See above.
        seq: u64,
    },
    /// A user is muted in a room, or banned from it.
    Sanction {
        /// See [`Sanction`].
        sanction: Arc<Sanction>,
        /// The moderator's connection.
        asked: Asked,
    },
    /// A mute or a ban ends, or has ended.
    Lift {
        /// The room.
        room: Arc<str>,
        /// The user.
        user: Arc<str>,
        /// See [`Penalty`].
        penalty: Penalty,
        /// See [`Lifted`].
        lifted: Lifted,
    },
}

/// Why a mute or a ban is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifted {
    /// A moderator ended it.
    Asked {
        /// The moderator's connection.
        asked: Asked,
        /// The moderator's name.
        by: Arc<str>,
    },
    /// Its time was over at this one, in milliseconds since the Unix epoch. One that has taken its place goes on.
    Ended {
        /// See above.
        unix_ms: u64,
    },
}

/// The answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Where the log stands.
    Opened(Opened),
    /// It was numbered and kept.
    Kept {
        /// Its number.
        seq: u64,
        /// When, in milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// It was kept before, under this number.
    Met {
        /// Its first number.
        seq: u64,
        /// Its first time.
        unix_ms: u64,
        /// Whether the sender's own copy of it, a private message, is still to be kept.
        is_owed: bool,
    },
    /// It was not kept before, as far as ids are remembered.
    Missing,
    /// The table refused; whether it was kept is unknown.
    Refused,
    /// The log was closed, or what was said needs no answer.
    Closed,
    /// The note is kept.
    Noted,
}

/// The requests of one turn, and the arena that holds their texts.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    /// In order.
    pub requests: Vec<Request>,
    arena: String,
}

/// A submission on its way to the service.
#[derive(Clone, Debug, Default)]
pub struct Submitted {
    /// The shard that submits it.
    pub shard: u16,
    /// The time of its turn, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// See [`Submission`].
    pub submission: Submission,
}

/// A submission that comes back with one outcome for each request.
#[derive(Debug)]
pub struct Answers {
    /// What was asked.
    pub submission: Submission,
    /// In the same order.
    pub outcomes: Vec<Outcome>,
    /// Whether the shard asked; if not, the service has found something that the shard did not know.
    pub is_asked: bool,
}

impl Submission {
    /// Adds a message.
    pub fn append(
        &mut self,
        log: Slot,
        from: (Connection, u64),
        dedupe: Option<u128>,
        is_copy: bool,
        draft: &Draft<'_>,
    ) {
        let append = self.message(log, from, dedupe, is_copy, draft);
        self.requests.push(Request::Append(append));
    }

    /// Asks for a message that may have been kept before.
    pub fn find(
        &mut self,
        log: Slot,
        from: (Connection, u64),
        dedupe: u128,
        standing: Standing,
        draft: &Draft<'_>,
    ) {
        let message = self.message(log, from, Some(dedupe), false, draft);
        self.requests.push(Request::Find { message, standing });
    }

    fn message(
        &mut self,
        log: Slot,
        (from, client): (Connection, u64),
        dedupe: Option<u128>,
        is_copy: bool,
        draft: &Draft<'_>,
    ) -> Append {
        let texts = [
            self.keep(Some(draft.sender)),
            self.keep(draft.to),
            self.keep(draft.id),
            self.keep(Some(draft.content)),
            self.keep(draft.metadata),
        ];
        Append {
            log,
            from,
            client,
            dedupe,
            is_copy,
            what: draft.what,
            texts,
        }
    }

    /// The texts of one of its messages.
    pub fn draft(&self, append: &Append) -> Draft<'_> {
        let [sender, to, id, content, metadata] = &append.texts;
        Draft {
            what: append.what,
            sender: self.text(sender).unwrap_or_default(),
            to: self.text(to),
            id: self.text(id),
            content: self.text(content).unwrap_or_default(),
            metadata: self.text(metadata),
        }
    }

    /// Memory that it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.requests.len() * size_of::<Request>() + self.arena.len()
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Forgets everything but keeps its memory for the next turn, within a bound.
    pub fn clear(&mut self) {
        self.requests.clear();
        self.arena.clear();
        self.requests.shrink_to(1024);
        self.arena.shrink_to(256 * 1024);
    }

    /// Copies a text into the arena. No text is an empty range at `u32::MAX`; an empty text is one elsewhere.
    fn keep(&mut self, text: Option<&str>) -> Range<u32> {
        let Some(text) = text else {
            return u32::MAX..u32::MAX;
        };
        let start = self.arena.len();
        self.arena.push_str(text);
        // The bounds on what one turn takes keep an arena far below 4 GiB.
        position(start)..position(self.arena.len())
    }

    fn text(&self, range: &Range<u32>) -> Option<&str> {
        self.arena.get(range.start as usize..range.end as usize)
    }
}

fn position(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_come_out_as_they_went_in() {
        let drafts = [
            Draft {
                what: What::Message,
                sender: "ann",
                to: None,
                id: None,
                content: "1",
                metadata: None,
            },
            Draft {
                what: What::Deletion(7),
                sender: "bob",
                to: Some("ann"),
                id: Some(""),
                content: "\"é\"",
                metadata: Some("{}"),
            },
        ];
        let mut submission = Submission::default();
        for draft in &drafts {
            submission.append(Slot::NONE, (Connection::NONE, 0), None, false, draft);
        }
        let back = submission.requests.iter().map(|request| match request {
            Request::Append(append) => submission.draft(append),
            other => unreachable!("{other:?}"),
        });
        assert!(back.eq(drafts));
    }
}
