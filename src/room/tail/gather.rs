//! Reading a tail: what lies between a cursor and the head, without what its reader is not to see.

use super::super::Connection;
use super::super::segment::{Encoding, Frame, Kind, Segment};
use super::Tail;

/// What one reader does not get to see.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The reader's own connection: its signals, and with `own_messages` its messages, are left out.
    pub own: Connection,
    /// See `own`.
    pub own_messages: bool,
    /// Passing frames before this position are left out.
    pub live_from: u64,
    /// Which encoding the reader is sent.
    pub encoding: Encoding,
}

/// A stretch of positions that was copied as it is.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u64,
    len: usize,
}

/// What [`Tail::gather`] copied, so that a short write finds its position.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Vec<Run>,
    /// Bytes of all runs.
    len: usize,
    reach: u64,
}

impl Runs {
    /// The position of a reader that took `written` of the gathered bytes.
    pub fn position_after(&self, mut written: usize) -> u64 {
        if written >= self.len {
            return self.reach;
        }
        for run in &self.runs {
            if written < run.len {
                return run.start + written as u64;
            }
            written -= run.len;
        }
        self.reach
    }

    fn clear(&mut self, from: u64) {
        self.runs.clear();
        self.len = 0;
        self.reach = from;
    }

    fn push(&mut self, start: u64, len: usize) {
        self.len += len;
        match self.runs.last_mut() {
            Some(last) if last.start + last.len as u64 == start => last.len += len,
            Some(_) | None => self.runs.push(Run { start, len }),
        }
    }
}

impl Tail {
    /// The whole backlog between two positions as one slice, where that is possible: the usual case.
    pub fn slice(&self, from: u64, end: u64) -> Option<&[u8]> {
        let last = self.segments.back()?;
        if from >= last.start() {
            return last.is_dense().then(|| last.slice(from, end));
        }
        let stretch = self.stretch(from, end)?;
        (stretch.len() as u64 == end - from).then_some(stretch)
    }

    /// What lies behind `from`, up to `end`, in one segment: for a reader of plain frames of which nothing is left out.
    /// `from` may lie inside a frame, but not inside one that is kept aside.
    pub fn stretch(&self, from: u64, end: u64) -> Option<&[u8]> {
        let segment = self.segments.get(self.first_segment(from))?;
        (from >= segment.start() && segment.is_dense()).then(|| segment.slice(from, end))
    }

    /// Where a pass that begins at `from` ends: at the head, unless less than that is all that can be
    /// [gathered](Tail::gather) at once in `bytes_max`. Then it is the end of a segment.
    pub fn pass_end(&self, from: u64, bytes_max: usize) -> u64 {
        let most = from.saturating_add(bytes_max as u64);
        if self.head <= most {
            return self.head;
        }
        let ends = self.segments.iter().map(Segment::end);
        let behind = ends.filter(|end| *end > from);
        behind
            .take_while(|end| *end <= most)
            .last()
            .unwrap_or(self.head)
    }

    /// Copies what a reader at `from` may see up to `end` behind `out`, at most about `bytes_max`. A frame in which
    /// the reader stands is finished whatever `cut` says.
    pub fn gather(
        &self,
        from: u64,
        end: u64,
        cut: Cut,
        bytes_max: usize,
        out: &mut Vec<u8>,
        runs: &mut Runs,
    ) {
        runs.clear(from);
        let enough = out.len() + bytes_max;
        if let Some(rest) = self.kept_rest(from, cut.encoding) {
            out.extend_from_slice(rest);
            runs.push(from, rest.len());
            runs.reach = from + rest.len() as u64;
            return;
        }
        for segment in self.segments.iter().skip(self.first_segment(from)) {
            for frame in segment.frames_from(from) {
                if frame.start >= end {
                    runs.reach = runs.reach.max(end);
                    return;
                }
                if out.len() >= enough {
                    return;
                }
                runs.reach = take(&frame, from, cut, out, runs);
            }
            runs.reach = runs.reach.max(segment.end().min(end));
        }
    }
}

/// Copies one frame, or its rest, or nothing. Returns the position behind it.
fn take(frame: &Frame<'_>, from: u64, cut: Cut, out: &mut Vec<u8>, runs: &mut Runs) -> u64 {
    let is_begun = frame.start < from;
    if is_begun || is_seen(frame, cut) {
        let skip = from.saturating_sub(frame.start);
        let rest = frame
            .encoded(cut.encoding)
            .get(skip as usize..)
            .unwrap_or_default();
        out.extend_from_slice(rest);
        runs.push(frame.start + skip, rest.len());
    }
    frame.start + frame.bytes.len() as u64
}

fn is_seen(frame: &Frame<'_>, cut: Cut) -> bool {
    let own = frame.author == cut.own && frame.author != Connection::NONE;
    match frame.kind {
        Kind::Numbered => !(own && cut.own_messages),
        Kind::Passing => !own && frame.start >= cut.live_from,
    }
}
