//! The tail of a room's log that memory keeps: segments of ready-to-send frames, and reading them from a position.
//!
//! A position is the count of bytes that the log had before; it only grows, so one number is a member's cursor, and
//! what a member has not had yet is what lies between its cursor and the head.

use super::segment::{Encoding, Frame, Kind, Segment};
use super::{Batch, BatchFrame, Connection};
use crate::limits::{BURST_MS, BURST_TAIL_COUNT_MAX, SEGMENT_BYTES};
use crate::timers::{Tick, ticks};
use std::collections::VecDeque;
use std::ops::Range;

/// Where a log begins that has had no frame: old frames may be put before it later.
const ORIGIN: u64 = 1 << 48;

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

/// The frame in which a stalled reader stands, kept beyond its segment, once for all who stand in it.
#[derive(Debug)]
struct Kept {
    start: u64,
    encoding: Encoding,
    bytes: Box<[u8]>,
    readers: u32,
}

/// The frames of a room that memory keeps, and those before them that a stalled reader has not finished.
#[derive(Debug)]
pub struct Tail {
    segments: VecDeque<Segment>,
    head: u64,
    seq: u64,
    numbered_bytes: usize,
    memory: usize,
    kept: Vec<Kept>,
}

impl Tail {
    /// An empty tail behind message `seq`.
    pub fn new(seq: u64) -> Tail {
        Tail {
            segments: VecDeque::new(),
            head: ORIGIN,
            seq,
            numbered_bytes: 0,
            memory: 0,
            kept: Vec::new(),
        }
    }

    /// Position behind the last frame.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// `seq_id` of the last numbered frame.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Position of the first frame that is kept; the head if none is.
    pub fn start(&self) -> u64 {
        self.segments.front().map_or(self.head, Segment::start)
    }

    /// The `seq_id` before the first frame that is kept.
    pub fn seq_before(&self) -> u64 {
        self.segments.front().map_or(self.seq, Segment::seq_before)
    }

    /// Memory that segments hold; frames that are kept beyond them are counted by [`Tail::kept_bytes`].
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Whether no frame is kept.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Adds one whole frame at the head, and its shorter second encoding where there is one. Returns whether a segment
    /// was sealed by it.
    pub fn append(
        &mut self,
        frame: &[u8],
        deflated: Option<&[u8]>,
        kind: Kind,
        author: Connection,
    ) -> bool {
        let full = match self.segments.back() {
            Some(last) => !last.is_dense() || last.len() + frame.len() > SEGMENT_BYTES,
            None => true,
        };
        let mut sealed = false;
        if full {
            if let Some(last) = self.segments.back_mut() {
                self.memory -= last.memory();
                last.seal();
                self.memory += last.memory();
                sealed = true;
            }
            self.segments.push_back(Segment::new(self.head, self.seq));
        }
        if let Some(last) = self.segments.back_mut() {
            self.memory -= last.memory();
            last.append(frame, deflated, kind, author);
            self.memory += last.memory();
            self.head = last.end();
            self.seq = last.seq();
        }
        if kind == Kind::Numbered {
            self.numbered_bytes += frame.len();
        }
        sealed
    }

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

    /// Whether `position`, of a reader of an encoding, lies between two frames.
    pub fn is_boundary(&self, position: u64, encoding: Encoding) -> bool {
        if self.kept_rest(position, encoding).is_some() {
            return false;
        }
        let Some(segment) = self.segments.get(self.first_segment(position)) else {
            return true;
        };
        segment
            .frames_from(position)
            .next()
            .is_none_or(|frame| frame.start >= position)
    }

    /// The `seq_id` of the last numbered frame that begins before `position`: what a reader there has, once the frame
    /// in which it stands is finished.
    pub fn seq_at(&self, position: u64) -> u64 {
        if position >= self.head {
            return self.seq;
        }
        let Some(segment) = self.segments.get(self.first_segment(position)) else {
            return self.seq;
        };
        match segment.frames_from(position).next() {
            Some(frame) if frame.start < position || frame.kind == Kind::Passing => frame.seq,
            Some(frame) => frame.seq - 1,
            None => segment.seq(),
        }
    }

    /// The position behind message `seq`, if everything after it is kept.
    pub fn position_after(&self, seq: u64) -> Option<u64> {
        if seq == self.seq {
            return Some(self.head);
        }
        if seq > self.seq || seq < self.seq_before() {
            return None;
        }
        let next = self.numbered_frame(seq + 1)?;
        Some(next.start)
    }

    /// The numbered frame `seq`, if it is kept.
    pub fn numbered_frame(&self, seq: u64) -> Option<Frame<'_>> {
        let segment = self.segments.partition_point(|segment| segment.seq() < seq);
        let segment = self.segments.get(segment)?;
        segment.frame(segment.place_of(seq)?)
    }

    /// Puts another frame of the same length in the place of the numbered frame `seq`. Nobody may stand inside that.
    pub fn replace(&mut self, seq: u64, frame: &[u8]) {
        let segment = self.segments.partition_point(|segment| segment.seq() < seq);
        let Some(segment) = self.segments.get_mut(segment) else {
            return;
        };
        let place = segment.place_of(seq);
        let is_same = |place: &usize| {
            let old = segment.frame(*place);
            old.is_some_and(|old| old.bytes.len() == frame.len())
        };
        if let Some(place) = place.filter(is_same) {
            segment.replace(place, frame);
        }
    }

    /// Frames between two positions for another shard. With `passing` false only the numbered ones.
    pub fn export(&self, from: u64, end: u64, passing: bool, bytes_max: usize) -> (Batch, u64) {
        let mut batch = Batch::new(self.seq_at(from));
        for segment in self.segments.iter().skip(self.first_segment(from)) {
            for frame in segment
                .frames_from(from)
                .filter(|frame| frame.start >= from)
            {
                if frame.start >= end
                    || (batch.bytes.len() >= bytes_max && !batch.frames.is_empty())
                {
                    return (batch, frame.start.min(end));
                }
                if passing || frame.kind == Kind::Numbered {
                    batch.push(frame.bytes, frame.kind, frame.author);
                }
            }
        }
        (batch, end.min(self.head).max(from))
    }

    /// Puts older frames before the first one. Does nothing and returns false where they do not fit without a hole.
    pub fn prepend(&mut self, batch: &Batch) -> bool {
        let numbered = batch
            .frames
            .iter()
            .filter(|frame| frame.kind == Kind::Numbered)
            .count() as u64;
        let fits = batch.seq_before + numbered == self.seq_before();
        // Positions below the start come to mean other frames, so nobody may stand in one that was kept.
        if !fits || batch.bytes.is_empty() || !self.kept.is_empty() {
            return false;
        }
        let mut segment = Segment::new(self.start() - batch.bytes.len() as u64, batch.seq_before);
        for (bytes, BatchFrame { kind, author, .. }) in batch.iter() {
            segment.append(bytes, None, kind, author);
        }
        segment.seal();
        self.memory += segment.memory();
        self.numbered_bytes += segment.numbered_bytes();
        self.segments.push_front(segment);
        true
    }

    /// Whether the oldest segment can go: enough is kept without it, and every awake reader is past it.
    pub fn is_over(&self, tail_bytes_max: usize, released: u64) -> bool {
        let Some(first) = self.segments.front() else {
            return false;
        };
        self.segments.len() > 1
            && first.end() <= released
            && self.numbered_bytes - first.numbered_bytes() >= tail_bytes_max
    }

    /// Whether the oldest segment may be kept a moment longer for readers that are behind: it was sealed less than
    /// [`BURST_MS`] before `now`, and a burst has room.
    pub fn is_recent(&self, tail_bytes_max: usize, now: Tick) -> bool {
        let burst_bytes_max = tail_bytes_max.saturating_mul(BURST_TAIL_COUNT_MAX);
        let sealed = self.segments.front().map_or(0, Segment::sealed);
        self.numbered_bytes < burst_bytes_max && now < sealed.saturating_add(ticks(BURST_MS))
    }

    /// The newest sealed segment was sealed at `now`.
    pub fn stamp(&mut self, now: Tick) {
        let newest = self.segments.len().checked_sub(2);
        if let Some(segment) = newest.and_then(|place| self.segments.get_mut(place)) {
            segment.stamp(now);
        }
    }

    /// End of the oldest segment, which [`Tail::drop_first`] would drop.
    pub fn first_end(&self) -> u64 {
        self.segments.front().map_or(self.head, Segment::end)
    }

    /// Drops the oldest segment.
    pub fn drop_first(&mut self) {
        if let Some(first) = self.segments.pop_front() {
            self.memory -= first.memory();
            self.numbered_bytes -= first.numbered_bytes();
        }
    }

    /// Drops everything and goes on behind message `seq`.
    pub fn reset(&mut self, seq: u64) {
        self.segments.clear();
        self.memory = 0;
        self.numbered_bytes = 0;
        self.seq = seq;
    }

    /// Takes the passing frames out of sealed segments that they are most of, where everyone awake is past them: up to
    /// `released`. `is_read` says whether a reader stands inside a frame between two positions.
    pub fn compact(&mut self, released: u64, is_read: impl Fn(u64, u64) -> bool) {
        let sealed_count = self.segments.len().saturating_sub(1);
        for place in (0..sealed_count).rev() {
            let is_due = |segment: &Segment| {
                segment.is_mostly_passing()
                    && segment.end() <= released
                    && !is_read(segment.start(), segment.end())
            };
            if self.segments.get(place).is_some_and(is_due) {
                self.compact_segment(place);
            }
        }
    }

    fn compact_segment(&mut self, place: usize) {
        let Some(segment) = self.segments.get_mut(place) else {
            return;
        };
        self.memory -= segment.memory();
        segment.compact();
        self.memory += segment.memory();
        let (is_empty, end) = (segment.is_empty(), segment.end());
        // Its positions go to the segment before, so that none of them ever comes to mean another frame.
        if is_empty && let Some(before) = place.checked_sub(1) {
            self.segments.remove(place);
            if let Some(before) = self.segments.get_mut(before) {
                before.reach(end);
            }
        }
    }

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

    fn kept_rest(&self, position: u64, encoding: Encoding) -> Option<&[u8]> {
        let kept = self
            .kept
            .iter()
            .find(|kept| kept.holds(position, encoding))?;
        kept.bytes.get((position - kept.start) as usize..)
    }

    /// Place of the first segment that ends behind `position`.
    fn first_segment(&self, position: u64) -> usize {
        self.segments
            .partition_point(|segment| segment.end() <= position)
    }
}

impl Kept {
    fn holds(&self, position: u64, encoding: Encoding) -> bool {
        let end = self.start + self.bytes.len() as u64;
        self.encoding == encoding && position > self.start && position < end
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slot;

    const ME: Connection = Connection {
        shard: 0,
        slot: Slot {
            index: 1,
            generation: 1,
        },
    };
    const ALL: Cut = Cut {
        own: ME,
        own_messages: false,
        live_from: 0,
        encoding: Encoding::Plain,
    };

    fn tail() -> Tail {
        let mut tail = Tail::new(4);
        tail.append(b"five.", None, Kind::Numbered, Connection::NONE);
        tail.append(b"typing", None, Kind::Passing, Connection::NONE);
        tail.append(b"six", None, Kind::Numbered, ME);
        tail.append(b"mine", None, Kind::Passing, ME);
        tail.append(b"seven", None, Kind::Numbered, Connection::NONE);
        tail
    }

    fn read(tail: &Tail, from: u64, cut: Cut) -> (String, Runs) {
        let (mut out, mut runs) = (Vec::new(), Runs::default());
        tail.gather(from, tail.head(), cut, usize::MAX / 2, &mut out, &mut runs);
        (String::from_utf8(out).unwrap(), runs)
    }

    #[test]
    fn a_reader_sees_what_its_cut_leaves() {
        let tail = tail();
        let start = tail.start();
        assert_eq!(read(&tail, start, ALL).0, "five.typingsixseven");
        let echoless = Cut {
            own_messages: true,
            ..ALL
        };
        assert_eq!(read(&tail, start, echoless).0, "five.typingseven");
        let late = Cut {
            live_from: tail.head(),
            ..ALL
        };
        assert_eq!(read(&tail, start, late).0, "five.sixseven");
        assert_eq!(read(&tail, tail.head(), ALL).0, "");
    }

    #[test]
    fn a_begun_frame_is_finished_whatever_is_cut() {
        let tail = tail();
        let late = Cut {
            own_messages: true,
            live_from: tail.head(),
            ..ALL
        };
        assert_eq!(read(&tail, tail.start() + 6, late).0, "ypingseven");
        assert_eq!(read(&tail, tail.start() + 12, late).0, "ixseven");
    }

    #[test]
    fn a_short_write_ends_at_the_position_of_its_last_byte() {
        let tail = tail();
        let late = Cut {
            live_from: tail.head(),
            ..ALL
        };
        let (text, runs) = read(&tail, tail.start(), late);
        assert_eq!(text, "five.sixseven");
        // Writing `n` bytes and then the rest from the new position is the same as writing all at once.
        for n in 0..=text.len() {
            let (rest, _) = read(&tail, runs.position_after(n), late);
            assert_eq!(format!("{}{rest}", &text[..n]), text, "after {n}");
        }
        assert_eq!(runs.position_after(text.len()), tail.head());
    }

    #[test]
    fn a_reader_of_the_second_encoding_stands_at_the_same_positions() {
        let mut tail = Tail::new(0);
        tail.append(
            b"one, at length",
            Some(b"one"),
            Kind::Numbered,
            Connection::NONE,
        );
        tail.append(b"2", None, Kind::Numbered, Connection::NONE);
        tail.append(
            b"three, at length",
            Some(b"three"),
            Kind::Numbered,
            Connection::NONE,
        );
        let deflated = Cut {
            encoding: Encoding::Deflated,
            ..ALL
        };
        let (text, runs) = read(&tail, tail.start(), deflated);
        assert_eq!(text, "one2three");
        for n in 0..=text.len() {
            let position = runs.position_after(n);
            let (rest, _) = read(&tail, position, deflated);
            assert_eq!(format!("{}{rest}", &text[..n]), text, "after {n}");
            let whole = [0, 3, 4, 9].contains(&n);
            assert_eq!(
                tail.is_boundary(position, Encoding::Deflated),
                whole,
                "after {n}"
            );
        }
        assert_eq!(runs.position_after(4), tail.position_after(2).unwrap());
        // Kept for a stalled reader, each encoding is a frame of its own.
        let inside = runs.position_after(2);
        tail.keep(inside, Encoding::Deflated);
        tail.reset(3);
        assert_eq!(read(&tail, inside, deflated).0, "e");
        assert!(tail.is_boundary(inside + 1, Encoding::Deflated));
        assert!(tail.is_boundary(inside, Encoding::Plain));
    }

    #[test]
    fn positions_and_numbers_go_together() {
        let tail = tail();
        for (seq, text) in [
            (4, "five.typingsixseven"),
            (5, "sixseven"),
            (6, "seven"),
            (7, ""),
        ] {
            let from = tail.position_after(seq).unwrap();
            assert_eq!(tail.seq_at(from), seq);
            assert_eq!(read(&tail, from, ALL).0, text);
        }
        assert_eq!(
            (tail.position_after(3), tail.position_after(8)),
            (None, None)
        );
        assert_eq!(tail.numbered_frame(6).unwrap().bytes, b"six");
        assert!(tail.numbered_frame(4).is_none() && tail.numbered_frame(8).is_none());
    }

    #[test]
    fn export_and_prepend_rebuild_the_same_log() {
        let tail = tail();
        let middle = tail.position_after(5).unwrap();
        let mut other = Tail::new(5);
        let (late, reach) = tail.export(middle, tail.head(), true, usize::MAX);
        assert_eq!(reach, tail.head());
        for (bytes, frame) in late.iter() {
            other.append(bytes, None, frame.kind, frame.author);
        }
        let (early, _) = tail.export(tail.start(), middle, false, usize::MAX);
        assert!(other.prepend(&early));
        assert!(!other.prepend(&early), "the same frames do not fit twice");
        assert_eq!(read(&other, other.start(), ALL).0, "five.sixseven");
        assert_eq!((other.seq_before(), other.seq()), (4, 7));
    }

    #[test]
    fn a_stalled_reader_keeps_its_frame_when_the_segment_goes() {
        let mut tail = Tail::new(0);
        let frame = vec![b'x'; SEGMENT_BYTES / 2 + 1];
        for _ in 0..4 {
            tail.append(&frame, None, Kind::Numbered, Connection::NONE);
        }
        let inside = tail.start() + 10;
        assert!(tail.is_over(frame.len(), tail.head()) && !tail.is_over(frame.len(), inside));
        tail.keep(inside, Encoding::Plain);
        tail.drop_first();
        assert!(!tail.is_boundary(inside, Encoding::Plain));
        assert_eq!(read(&tail, inside, ALL).0.len(), frame.len() - 10);
        assert_eq!(tail.kept_bytes(), frame.len());
        tail.unkeep(inside, Encoding::Plain);
        assert_eq!(tail.kept_bytes(), 0);
        assert_eq!(tail.seq_before(), 1);
    }

    #[test]
    fn memory_is_what_the_segments_hold() {
        let mut tail = Tail::new(0);
        for number in 0..2000 {
            let kind = if number % 10 == 0 {
                Kind::Numbered
            } else {
                Kind::Passing
            };
            if tail.append(&[0; 100], None, kind, Connection::NONE) {
                tail.compact(u64::MAX, |_, _| false);
            }
        }
        assert_eq!(
            tail.memory(),
            tail.segments.iter().map(Segment::memory).sum::<usize>()
        );
        assert!(tail.memory() < 2000 * 100, "passing frames do not pile up");
        while !tail.is_empty() {
            tail.drop_first();
        }
        assert_eq!((tail.memory(), tail.numbered_bytes), (0, 0));
    }
}
