//! Stretches of a log that memory does not have any more: asked for by a shard, looked up beside the committing.

use super::{Asked, Draft, Opened, Reader, Span, TableError, What};
use crate::proto::{Target, event};
use crate::room::{Batch, Connection, Key, Kind};
use crate::slots::Slot;
use crate::ws::{Opcode, frame};
use std::sync::Arc;

/// What a stretch is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// A page of `history`.
    Page {
        /// Who asks.
        from: Connection,
        /// The command's `id`.
        id: Option<Box<str>>,
        /// Messages of the log that were deleted before.
        deletion_count: u64,
    },
    /// The next frames of a member that fell off the tail.
    Chunk {
        /// Whose.
        to: Slot,
    },
    /// A message that is to be deleted.
    Deletion(Box<Deletion>),
}

/// A message that a user wants to be deleted.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// Its number.
    pub seq: u64,
    /// The user.
    pub by: Arc<str>,
    /// By what right.
    pub right: Deleter,
    /// Where the answer goes.
    pub asked: Asked,
}

/// Which messages a user may delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleter {
    /// Any: a moderator.
    Moderator,
    /// All under its name, which a token gives to nobody else.
    Subject,
    /// Those under its name since that is its own: others may have had it before.
    Owner,
}

/// A stretch of a log that is wanted.
#[derive(Clone, Debug)]
pub struct Read {
    /// The log.
    pub key: Key,
    /// Names its numbering: of another one nothing is found.
    pub epoch: u64,
    /// See [`Span`].
    pub span: Span,
    /// At most so many messages.
    pub count_max: usize,
    /// At most so many bytes of frames, but at least one message.
    pub bytes_max: usize,
    /// Messages of this connection are left out; 0 for none. See [`Append::client`](super::Append::client).
    pub without: u64,
    /// See [`Purpose`].
    pub purpose: Purpose,
}

/// What was found of it.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// What the table knows of the log; `None` where it does not know this numbering.
    pub log: Option<Opened>,
    /// The first number that was looked at. What is between it and the span's begin is not kept.
    pub first: u64,
    /// The last number that was looked at; less than `first` where nothing was found.
    pub last: u64,
    /// The frames, oldest first.
    pub batch: Batch,
}

/// The answer to a [`Read`].
#[derive(Clone, Debug)]
pub struct Found {
    /// What was asked.
    pub read: Read,
    /// What came of it.
    pub result: Result<Stretch, TableError>,
}

/// Looks a stretch up.
pub fn look_up(reader: &mut impl Reader, read: Read) -> Found {
    let result = stretch(reader, &read);
    Found { read, result }
}

fn stretch(reader: &mut impl Reader, read: &Read) -> Result<Stretch, TableError> {
    let mut frames: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut seqs, mut bytes, mut count, mut text) = (None, 0, 0, Vec::new());
    let log = reader.read(&read.key, read.span, &mut |entry| {
        text.clear();
        encode_message(&read.key, entry.seq, entry.unix_ms, &entry.draft, &mut text);
        if count > 0 && bytes + text.len() > read.bytes_max {
            return false;
        }
        count += 1;
        bytes += text.len();
        let (first, last) = seqs.unwrap_or((entry.seq, entry.seq));
        seqs = Some((first.min(entry.seq), last.max(entry.seq)));
        if read.without == 0 || entry.client != read.without {
            let mut bytes = Vec::with_capacity(text.len() + 10);
            frame::encode(&mut bytes, Opcode::Text, &text);
            frames.push((entry.seq, bytes));
        }
        count < read.count_max && bytes < read.bytes_max
    })?;
    let log = log.filter(|log| log.head.epoch == read.epoch);
    let (first, last) = seqs.filter(|_| log.is_some()).unwrap_or((1, 0));
    if log.is_none() {
        frames.clear();
    }
    frames.sort_unstable_by_key(|(seq, _)| *seq);
    let mut batch = Batch::new(first.saturating_sub(1));
    for (_, bytes) in &frames {
        batch.push(bytes, Kind::Numbered, Connection::NONE);
    }
    Ok(Stretch {
        log,
        first,
        last,
        batch,
    })
}

/// Encodes one entry of a log as the `message` or the `deleted` that goes on the wire.
pub fn encode_message(key: &Key, seq: u64, unix_ms: u64, draft: &Draft<'_>, out: &mut Vec<u8>) {
    // The sender's copy lies in the sender's inbox, but says to whom it went.
    let target = match draft.to {
        Some(to) => Target::user(to),
        None => key.target(),
    };
    match draft.what {
        What::Message => {}
        What::Deletion(deleted_seq_id) => {
            let deleted = event::Deleted {
                target: &target,
                seq_id: seq,
                deleted_seq_id,
                timestamp: unix_ms,
                sender: draft.sender,
                id: draft.id,
            };
            return deleted.encode(out);
        }
        What::Deleted => {
            let tombstone = event::Tombstone {
                target: &target,
                seq_id: seq,
                timestamp: Some(unix_ms),
                sender: draft.sender,
            };
            return tombstone.encode(out);
        }
    }
    let message = event::Message {
        target: &target,
        seq_id: seq,
        timestamp: unix_ms,
        sender: draft.sender,
        content: draft.content,
        metadata: draft.metadata,
        id: draft.id,
    };
    message.encode(out);
}
