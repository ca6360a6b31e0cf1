//! A stretch of a room's log: encoded frames one behind the other, and an index of them.

use super::Connection;
use crate::timers::Tick;

/// Whether a frame is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message: has the next `seq_id`, is kept, and is never skipped without a `gap`.
    Numbered,
    /// A signal or a piece of presence: seen by who is there, stepped over by who catches up.
    Passing,
}

/// One frame of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Start of the frame in the room's log, from the start of the segment, in bytes.
    at: u32,
    /// Start of the frame in the segment's bytes. Differs from `at` once passing frames were taken out.
    offset: u32,
    /// Numbered frames of the segment up to and with this one.
    step: u32,
    kind: Kind,
    author: Connection,
}

/// The two ways in which a log's frames are encoded. Positions are those of the plain one in both: a deflated frame is
/// shorter, so each of its bytes has a position within the plain frame's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Compressed, where that was worth it (RFC 7692, without context takeover).
    Deflated,
}

/// The second encoding of some frames.
#[derive(Debug, Default)]
struct Deflated {
    bytes: Vec<u8>,
    /// For each deflated frame, its place in the segment's index and where its bytes end.
    ends: Vec<(u32, u32)>,
}

impl Deflated {
    fn push(&mut self, place: usize, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push((offset(place), offset(self.bytes.len())));
    }

    /// The deflated bytes of the frame at a place, if it was deflated.
    fn frame(&self, place: usize) -> Option<&[u8]> {
        let at = self
            .ends
            .binary_search_by_key(&offset(place), |(place, _)| *place)
            .ok()?;
        let (_, end) = self.ends.get(at)?;
        let start = at
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .map_or(0, |(_, end)| *end);
        self.bytes.get(start as usize..*end as usize)
    }

    /// Takes the deflated bytes of the frame at a place out, if it was deflated.
    fn remove(&mut self, place: usize) {
        let place = offset(place);
        let Ok(at) = self.ends.binary_search_by_key(&place, |(place, _)| *place) else {
            return;
        };
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = before.map_or(0, |(_, end)| *end);
        let (_, end) = self.ends.remove(at);
        self.bytes.drain(start as usize..end as usize);
        for (_, later) in self.ends.iter_mut().skip(at) {
            *later -= end - start;
        }
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<(u32, u32)>()
    }
}

/// One frame as a reader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Position of its first byte.
    pub start: u64,
    /// Its `seq_id`; for a passing frame that of the last numbered one before it.
    pub seq: u64,
    /// See [`Kind`].
    pub kind: Kind,
    /// The connection that it came from.
    pub author: Connection,
    /// The whole frame as it goes on the wire.
    pub bytes: &'a [u8],
    /// The same compressed, where it was.
    pub deflated: Option<&'a [u8]>,
}

impl<'a> Frame<'a> {
    /// The frame for a reader of an encoding.
    pub fn encoded(&self, encoding: Encoding) -> &'a [u8] {
        match encoding {
            Encoding::Plain => self.bytes,
            Encoding::Deflated => self.deflated.unwrap_or(self.bytes),
        }
    }
}

/// Encoded frames and their index.
#[derive(Debug)]
pub struct Segment {
    start: u64,
    end: u64,
    bytes: Vec<u8>,
    index: Vec<Entry>,
    seq_before: u64,
    seq: u64,
    numbered_bytes: usize,
    /// When it was sealed.
    sealed: Tick,
    deflated: Option<Box<Deflated>>,
}

impl Segment {
    /// An empty segment behind position `start` and message `seq_before`.
    pub fn new(start: u64, seq_before: u64) -> Segment {
        Segment {
            start,
            end: start,
            bytes: Vec::new(),
            index: Vec::new(),
            seq_before,
            seq: seq_before,
            numbered_bytes: 0,
            sealed: 0,
            deflated: None,
        }
    }

    /// Adds one whole frame, and its shorter second encoding where there is one. The segment must not have been
    /// [compacted](Segment::compact).
    pub fn append(
        &mut self,
        frame: &[u8],
        deflated: Option<&[u8]>,
        kind: Kind,
        author: Connection,
    ) {
        debug_assert!(self.is_dense());
        if kind == Kind::Numbered {
            self.seq += 1;
            self.numbered_bytes += frame.len();
        }
        if let Some(deflated) = deflated {
            debug_assert!(deflated.len() < frame.len());
            self.deflated
                .get_or_insert_default()
                .push(self.index.len(), deflated);
        }
        self.index.push(Entry {
            at: offset(self.bytes.len()),
            offset: offset(self.bytes.len()),
            step: u32::try_from(self.seq - self.seq_before).unwrap_or(u32::MAX),
            kind,
            author,
        });
        self.bytes.extend_from_slice(frame);
        self.end = self.start + self.bytes.len() as u64;
    }

    /// Position of the first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Position behind the last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The `seq_id` before the first frame.
    pub fn seq_before(&self) -> u64 {
        self.seq_before
    }

    /// The `seq_id` of the last numbered frame up to the end.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Bytes of encoded frames.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no frame is in it.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of numbered frames.
    pub fn numbered_bytes(&self) -> usize {
        self.numbered_bytes
    }

    /// Memory that the segment holds.
    pub fn memory(&self) -> usize {
        let deflated = self
            .deflated
            .as_ref()
            .map_or(0, |deflated| deflated.memory());
        self.bytes.capacity() + self.index.capacity() * size_of::<Entry>() + deflated
    }

    /// Whether positions and bytes still run in step, so that a backlog is one slice.
    pub fn is_dense(&self) -> bool {
        self.end - self.start == self.bytes.len() as u64
    }

    /// Everything between two positions of a dense segment.
    pub fn slice(&self, from: u64, end: u64) -> &[u8] {
        let range = (from - self.start) as usize..(end.min(self.end) - self.start) as usize;
        self.bytes.get(range).unwrap_or_default()
    }

    /// The frames whose last byte lies behind `from`, oldest first.
    pub fn frames_from(&self, from: u64) -> impl Iterator<Item = Frame<'_>> {
        let first = self
            .index
            .partition_point(|entry| self.start + u64::from(entry.at) <= from);
        // The one before may reach beyond `from`.
        let first = match first.checked_sub(1).and_then(|before| self.frame(before)) {
            Some(frame) if frame.start + frame.bytes.len() as u64 > from => first - 1,
            Some(_) | None => first,
        };
        (first..self.index.len()).filter_map(|place| self.frame(place))
    }

    /// The numbered frame `seq`, if it is here.
    pub fn place_of(&self, seq: u64) -> Option<usize> {
        let step = u32::try_from(seq.checked_sub(self.seq_before)?).ok()?;
        let place = self.index.partition_point(|entry| entry.step < step);
        self.index
            .get(place)
            // Before the first numbered frame there may be passing ones of step 0.
            .filter(|entry| entry.step == step && entry.kind == Kind::Numbered)
            .map(|_| place)
    }

    /// The frame at a place of the index.
    pub fn frame(&self, place: usize) -> Option<Frame<'_>> {
        let entry = self.index.get(place)?;
        let end = self
            .index
            .get(place + 1)
            .map_or(self.bytes.len(), |next| next.offset as usize);
        Some(Frame {
            start: self.start + u64::from(entry.at),
            seq: self.seq_before + u64::from(entry.step),
            kind: entry.kind,
            author: entry.author,
            bytes: self.bytes.get(entry.offset as usize..end)?,
            deflated: self
                .deflated
                .as_ref()
                .and_then(|deflated| deflated.frame(place)),
        })
    }

    /// Puts another frame of the same length in the place of one. Its second encoding goes.
    pub fn replace(&mut self, place: usize, frame: &[u8]) {
        let Some(entry) = self.index.get(place) else {
            return;
        };
        let start = entry.offset as usize;
        let Some(bytes) = self.bytes.get_mut(start..start + frame.len()) else {
            return;
        };
        bytes.copy_from_slice(frame);
        if let Some(deflated) = &mut self.deflated {
            deflated.remove(place);
        }
    }

    /// Whether passing frames make up most of it.
    pub fn is_mostly_passing(&self) -> bool {
        self.numbered_bytes < self.bytes.len() / 2
    }

    /// Takes the passing frames out. No reader may stand inside a frame of the segment.
    pub fn compact(&mut self) {
        let mut kept = Segment::new(self.start, self.seq_before);
        for place in 0..self.index.len() {
            let (Some(frame), Some(entry)) = (self.frame(place), self.index.get(place)) else {
                continue;
            };
            if frame.kind == Kind::Numbered {
                kept.index.push(Entry {
                    offset: offset(kept.bytes.len()),
                    ..*entry
                });
                kept.bytes.extend_from_slice(frame.bytes);
                if let Some(deflated) = frame.deflated {
                    kept.deflated
                        .get_or_insert_default()
                        .push(kept.index.len() - 1, deflated);
                }
            }
        }
        self.bytes = kept.bytes;
        self.index = kept.index;
        self.deflated = kept.deflated;
    }

    /// When it was sealed; 0 while it is not.
    pub fn sealed(&self) -> Tick {
        self.sealed
    }

    /// It was sealed at `now`.
    pub fn stamp(&mut self, now: Tick) {
        self.sealed = now;
    }

    /// Takes the positions up to `end`, of which no frame is left. The segment must be sealed.
    pub fn reach(&mut self, end: u64) {
        self.end = end;
    }

    /// Gives back what the growth of the buffers left over.
    pub fn seal(&mut self) {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 4 {
            self.bytes.shrink_to_fit();
        }
        self.index.shrink_to_fit();
    }
}

/// A segment is sealed at a size far below 2^32.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Segment {
        let mut segment = Segment::new(100, 7);
        segment.append(b"eight", Some(b"8"), Kind::Numbered, Connection::NONE);
        segment.append(b"psst", None, Kind::Passing, Connection::NONE);
        segment.append(b"nine", Some(b"9"), Kind::Numbered, Connection::NONE);
        segment
    }

    fn texts(segment: &Segment, from: u64) -> Vec<(u64, u64, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        segment
            .frames_from(from)
            .map(|f| (f.start, f.seq, text(f.bytes)))
            .collect()
    }

    #[test]
    fn frames_are_found_from_any_position() {
        let segment = segment();
        let all = [(100, 8, "eight"), (105, 8, "psst"), (109, 9, "nine")];
        for (from, skipped) in [
            (0, 0),
            (100, 0),
            (104, 0),
            (105, 1),
            (108, 1),
            (109, 2),
            (112, 2),
            (113, 3),
        ] {
            assert_eq!(texts(&segment, from), all[skipped..], "from {from}");
        }
    }

    #[test]
    fn compaction_keeps_positions_and_numbers() {
        let mut segment = segment();
        assert_eq!(
            (
                segment.place_of(8),
                segment.place_of(9),
                segment.place_of(10)
            ),
            (Some(0), Some(2), None)
        );
        segment.compact();
        assert_eq!(texts(&segment, 0), [(100, 8, "eight"), (109, 9, "nine")]);
        assert_eq!(texts(&segment, 105), [(109, 9, "nine")]);
        assert_eq!((segment.place_of(7), segment.place_of(9)), (None, Some(1)));
        assert!(!segment.is_dense() && segment.end() == 113);
    }

    #[test]
    fn the_second_encoding_is_found_by_place() {
        let mut segment = segment();
        let deflated = |segment: &Segment| -> Vec<String> {
            let frames = segment.frames_from(0);
            let text =
                |frame: Frame<'_>| String::from_utf8(frame.encoded(Encoding::Deflated).into());
            frames.map(|frame| text(frame).unwrap()).collect()
        };
        assert_eq!(deflated(&segment), ["8", "psst", "9"]);
        segment.compact();
        assert_eq!(deflated(&segment), ["8", "9"]);
    }

    #[test]
    fn a_passing_frame_is_not_the_message_before_it() {
        let mut segment = Segment::new(100, 7);
        segment.append(b"psst", None, Kind::Passing, Connection::NONE);
        assert_eq!((segment.place_of(7), segment.place_of(8)), (None, None));
        segment.append(b"eight", None, Kind::Numbered, Connection::NONE);
        segment.append(b"psst", None, Kind::Passing, Connection::NONE);
        assert_eq!((segment.place_of(7), segment.place_of(8)), (None, Some(1)));
    }

    #[test]
    fn a_frame_is_replaced_in_both_encodings() {
        let mut segment = segment();
        segment.append(b"eleven", Some(b"11"), Kind::Numbered, Connection::NONE);
        let memory = segment.memory();
        segment.replace(0, b"EIGHT");
        let encoded = |segment: &Segment, encoding| -> Vec<String> {
            let text = |frame: Frame<'_>| String::from_utf8(frame.encoded(encoding).into());
            segment
                .frames_from(0)
                .map(|frame| text(frame).unwrap())
                .collect()
        };
        assert_eq!(
            encoded(&segment, Encoding::Plain),
            ["EIGHT", "psst", "nine", "eleven"]
        );
        assert_eq!(
            encoded(&segment, Encoding::Deflated),
            ["EIGHT", "psst", "9", "11"]
        );
        segment.replace(3, b"ELEVEN");
        assert_eq!(
            encoded(&segment, Encoding::Deflated),
            ["EIGHT", "psst", "9", "ELEVEN"]
        );
        assert!(segment.is_dense() && segment.memory() == memory);
        assert_eq!(texts(&segment, 113), [(113, 10, "ELEVEN")]);
    }

    #[test]
    fn an_index_entry_is_small() {
        assert!(size_of::<Entry>() <= 28);
    }
}
