//! Reading a tail: what lies between a cursor and the head, without what its reader is not to see.

use super::super::Connection;
use super::super::segment::{Encoding, Frame, Kind};
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
    reach: u64,
}

impl Runs {
    /// The position of a reader that took `written` of the gathered bytes.
    pub fn position_after(&self, mut written: usize) -> u64 {
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
        self.reach = from;
    }

    fn push(&mut self, start: u64, len: usize) {
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
        (from >= last.start() && last.is_dense()).then(|| last.slice(from, end))
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
