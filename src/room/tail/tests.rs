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

/// Three segments of two frames each, the last not full.
fn long_tail() -> Tail {
    let mut tail = Tail::new(0);
    for number in 0..5_u8 {
        let frame = vec![number; SEGMENT_BYTES / 2];
        tail.append(&frame, None, Kind::Numbered, Connection::NONE);
    }
    tail
}

#[test]
fn a_stretch_is_what_is_gathered_up_to_the_end_of_its_segment() {
    let tail = long_tail();
    let (start, end) = (tail.start(), tail.head());
    for from in [0, 1, 70, 65_535, 65_536, 100_000, 131_072, 163_839].map(|at| start + at) {
        let stretch = tail.stretch(from, end).expect("a segment is there");
        let (mut out, mut runs) = (Vec::new(), Runs::default());
        tail.gather(from, end, ALL, usize::MAX / 2, &mut out, &mut runs);
        let until = from + stretch.len() as u64;
        assert_eq!(stretch, &out[..stretch.len()], "from {from}");
        let is_segment_end = tail.seq_at(until).is_multiple_of(2);
        assert!(until == end || is_segment_end, "from {from}");
    }
    assert_eq!(tail.stretch(end, end), None);
    assert_eq!(tail.stretch(start, start + 7), Some(&[0; 7][..]));
}

#[test]
fn a_slice_is_all_that_lies_between_within_one_segment() {
    let tail = long_tail();
    let (start, segment) = (tail.start(), SEGMENT_BYTES as u64);
    for (from, end, is_one) in [
        (0, segment, true),
        (1, segment - 1, true),
        (segment, 2 * segment, true),
        (1, segment + 1, false),
        (2 * segment, 5 * segment / 2, true),
        (segment, 5 * segment / 2, false),
    ] {
        let slice = tail.slice(start + from, start + end);
        let expected = is_one.then_some((end - from) as usize);
        assert_eq!(slice.map(<[u8]>::len), expected, "{from} to {end}");
    }
}

#[test]
fn a_pass_ends_where_one_gathering_does() {
    let tail = long_tail();
    let (start, segment) = (tail.start(), SEGMENT_BYTES);
    for (from, bytes_max, end) in [
        (0, 3 * segment, 5 * segment / 2),
        (0, 5 * segment / 2, 5 * segment / 2),
        (0, 5 * segment / 2 - 1, 2 * segment),
        (0, segment, segment),
        (100, segment - 100, segment),
        (100, segment, segment),
        // No segment ends so soon: everything, as ever.
        (0, segment - 1, 5 * segment / 2),
        (5 * segment / 2, segment, 5 * segment / 2),
    ] {
        let pass_end = tail.pass_end(start + from as u64, bytes_max);
        assert_eq!(pass_end - start, end as u64, "from {from}, {bytes_max}");
    }
}
