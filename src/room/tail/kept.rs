//! What readers who stopped in the middle of a frame need of it when its segment goes.

use super::super::segment::Encoding;
use super::Tail;
use std::ops::Range;

/// The frame in which a stalled reader stands, kept beyond its segment, once for all who stand in it.
#[derive(Debug)]
pub(super) struct Kept {
    start: u64,
    encoding: Encoding,
    bytes: Box<[u8]>,
    readers: u32,
}

impl Kept {
    fn holds(&self, position: u64, encoding: Encoding) -> bool {
        let end = self.start + self.bytes.len() as u64;
        self.encoding == encoding && position > self.start && position < end
    }
}

impl Tail {
    /// Keeps the frame in which `position` lies beyond its segment, for one more reader.
    pub fn keep(&mut self, position: u64, encoding: Encoding) {
        if let Some(kept) = self
            .kept
            .iter_mut()
            .find(|kept| kept.holds(position, encoding))
        {
            kept.readers += 1;
            return;
        }
        let Some(segment) = self.segments.get(self.first_segment(position)) else {
            return;
        };
        let Some(frame) = segment.frames_from(position).next() else {
            return;
        };
        if frame.start < position {
            self.kept.push(Kept {
                start: frame.start,
                encoding,
                bytes: frame.encoded(encoding).into(),
                readers: 1,
            });
        }
    }

    /// One reader has left the kept frame in which `position` lies.
    pub fn unkeep(&mut self, position: u64, encoding: Encoding) {
        if let Some(place) = self
            .kept
            .iter()
            .position(|kept| kept.holds(position, encoding))
        {
            self.kept[place].readers -= 1;
            if self.kept[place].readers == 0 {
                self.kept.remove(place);
            }
        }
    }

    /// Bytes of frames that are kept for stalled readers only.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|kept| kept.bytes.len()).sum()
    }

    /// Where the frames lie that are kept for stalled readers only, the longest kept first.
    pub fn kept_frames(&self) -> impl Iterator<Item = Range<u64>> {
        self.kept
            .iter()
            .map(|kept| kept.start..kept.start + kept.bytes.len() as u64)
    }

    /// Readers for whom frames are kept.
    pub fn kept_readers(&self) -> usize {
        self.kept.iter().map(|kept| kept.readers as usize).sum()
    }

    pub(super) fn kept_rest(&self, position: u64, encoding: Encoding) -> Option<&[u8]> {
        let kept = self
            .kept
            .iter()
            .find(|kept| kept.holds(position, encoding))?;
        kept.bytes.get((position - kept.start) as usize..)
    }
}
