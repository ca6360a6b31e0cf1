//! The tail of a room's log that memory keeps: segments of ready-to-send frames, and reading them from a position.
//!
//! A position is the count of bytes that the log had before; it only grows, so one number is a member's cursor, and
//! what a member has not had yet is what lies between its cursor and the head.

mod gather;
mod kept;

pub use self::gather::{Cut, Runs};

use self::kept::Kept;
use super::segment::{Encoding, Frame, Kind, Segment};
use super::{Batch, BatchFrame, Connection};
use crate::limits::{BURST_MS, BURST_TAIL_COUNT_MAX, SEGMENT_BYTES};
use crate::timers::{Tick, ticks};
use std::collections::VecDeque;

/// Where a log begins that has had no frame: old frames may be put before it later.
const ORIGIN: u64 = 1 << 48;

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

    /// Whether the oldest segment can go because it has messages up to `seq`, and none behind it; every awake reader is
    /// past it. What only passes may stand behind the last message, and stays.
    pub fn is_expired(&self, seq: u64, released: u64) -> bool {
        let Some(first) = self.segments.front() else {
            return false;
        };
        first.seq_before() < seq && first.seq() <= seq && first.end() <= released
    }

    /// Whether the oldest segment may be kept a moment longer for readers that are behind: it was sealed less than
    /// [`BURST_MS`] before `now`, or if it never was, `touched` last, and a burst has room.
    pub fn is_recent(&self, tail_bytes_max: usize, now: Tick, touched: Tick) -> bool {
        let burst_bytes_max = tail_bytes_max.saturating_mul(BURST_TAIL_COUNT_MAX);
        let since = match self.segments.len() {
            0 | 1 => touched,
            _ => self.segments.front().map_or(0, Segment::sealed),
        };
        self.numbered_bytes < burst_bytes_max && now < since.saturating_add(ticks(BURST_MS))
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

    /// Place of the first segment that ends behind `position`.
    fn first_segment(&self, position: u64) -> usize {
        self.segments
            .partition_point(|segment| segment.end() <= position)
    }
}

#[cfg(test)]
mod tests;
