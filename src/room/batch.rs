//! Frames on their way from a room's home to its replicas.

use super::Connection;
use super::segment::Kind;

/// One frame of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFrame {
    /// Its length in bytes.
    pub len: u32,
    /// See [`Kind`].
    pub kind: Kind,
    /// See [`Connection`].
    pub author: Connection,
}

/// A stretch of a room's log, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The `seq_id` before the first frame.
    pub seq_before: u64,
    /// The frames as they go on the wire.
    pub bytes: Vec<u8>,
    /// Where each ends and what it is.
    pub frames: Vec<BatchFrame>,
}

impl Batch {
    /// An empty batch behind message `seq_before`.
    pub fn new(seq_before: u64) -> Batch {
        Batch {
            seq_before,
            bytes: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Adds one frame.
    pub fn push(&mut self, bytes: &[u8], kind: Kind, author: Connection) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(bytes);
        self.frames.push(BatchFrame { len, kind, author });
    }

    /// The frames up to and with message `seq`.
    pub fn until(&self, seq: u64) -> Batch {
        let mut batch = Batch::new(self.seq_before);
        let mut at = self.seq_before;
        for (bytes, frame) in self.iter() {
            at += u64::from(frame.kind == Kind::Numbered);
            if at > seq {
                break;
            }
            batch.push(bytes, frame.kind, frame.author);
        }
        batch
    }

    /// Each frame's bytes and what it is.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], BatchFrame)> {
        let mut rest = self.bytes.as_slice();
        self.frames.iter().map_while(move |frame| {
            let (bytes, after) = rest.split_at_checked(frame.len as usize)?;
            rest = after;
            Some((bytes, *frame))
        })
    }
}
