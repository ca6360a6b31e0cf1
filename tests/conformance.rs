//! The ground of the Autobahn|Testsuite in tables of our own, by its groups, on `/echo` with and without compression.
//!
//! | group | here |
//! |---|---|
//! | 1 framing, 2 pings and pongs, 5 fragmentation, 6 UTF-8, 9 limits, 10 cut frames | [`good`] |
//! | 3 reserved bits, 4 opcodes, 5 and 6 where they go wrong, 7 closing | [`violations`], [`closes`] |
//! | 12 sizes and 13 offers of compression | [`OFFERS`], with what of the other groups is good |
//!
//! Each case is sent at once, and again in pieces of any size down to a byte.

mod common;

use common::{Frame, Opcode, Server, Socket, deflated, fragment, marked, masked, sharded};

sharded!(
    what_is_good_comes_back,
    what_is_good_comes_back_compressed,
    each_violation_has_its_close_code,
    each_close_is_answered,
);

/// Offers of group 13, and the plain connection.
const OFFERS: [&str; 8] = [
    "",
    "permessage-deflate",
    "permessage-deflate; client_no_context_takeover; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
    "permessage-deflate; server_max_window_bits=8, permessage-deflate",
];

/// Lengths at which framing or compression changes: groups 1, 9 and 12.
const LENGTHS: [usize; 20] = [
    0, 1, 16, 64, 124, 125, 126, 127, 128, 129, 256, 1_000, 1_024, 4_096, 8_192, 16_384, 32_768,
    65_534, 65_535, 65_536,
];

/// Text of group 6 that is UTF-8: the edges of each length, non-characters, and what looks like a byte order mark.
const TEXTS: [&str; 14] = [
    "",
    "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!",
    "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
    "\0",
    "\u{7f}\u{80}\u{7ff}\u{800}",
    "\u{ffff}\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}\u{fffd}",
    "\u{fffe}",
    "\u{1fffe}\u{1ffff}",
    "\u{fdd0}\u{fdef}",
    "\u{feff}a byte order mark",
    "\u{202e}from the right",
    "e\u{301} and \u{1f469}\u{200d}\u{1f680}",
    "\u{0}\u{1b}[31m",
];

/// What is sent, and what is answered.
struct Case {
    what: String,
    sent: Vec<u8>,
    answers: Vec<Frame>,
}

fn case(what: impl Into<String>, sent: Vec<u8>, answers: Vec<Frame>) -> Case {
    Case {
        what: what.into(),
        sent,
        answers,
    }
}

/// A message of this length, which compresses a little.
fn payload(length: usize) -> Vec<u8> {
    let bytes = (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 28) as u8 + b'a');
    bytes.collect()
}

fn frame_of(opcode: Opcode, payload: &[u8]) -> Frame {
    match opcode {
        Opcode::Text => Frame::Text(String::from_utf8(payload.to_vec()).expect("text")),
        _ => Frame::Binary(payload.to_vec()),
    }
}

/// A message in fragments of these sizes, the last one with the rest.
fn fragments(opcode: Opcode, bytes: &[u8], size: usize, is_compressed: bool) -> Vec<u8> {
    let compressed = deflated(bytes);
    let bytes = if is_compressed { &compressed } else { bytes };
    let count = bytes.len().div_ceil(size).max(1);
    let mut out = Vec::new();
    for at in 0..count {
        let part = &bytes[at * size..bytes.len().min((at + 1) * size)];
        let fin = at + 1 == count;
        out.extend(match at {
            0 if is_compressed => marked(fin, opcode, part),
            0 => fragment(fin, opcode, part),
            _ => fragment(fin, Opcode::Continuation, part),
        });
    }
    out
}

/// Groups 1, 2, 5, 6, 9 and 10 where nothing is wrong; data is compressed as 12 and 13 do it, if at all.
fn good(is_compressed: bool) -> Vec<Case> {
    let pong = |payload: &[u8]| Frame::Pong(payload.to_vec());
    let mut cases = Vec::new();
    for opcode in [Opcode::Text, Opcode::Binary] {
        for length in LENGTHS {
            let payload = payload(length);
            let answer = vec![frame_of(opcode, &payload)];
            // 1.1.8, 1.2.8, 10.1.1 and 9.3: whole, and in fragments of some sizes.
            for size in [usize::MAX, length / 2 + 1, length / 1000 + 64] {
                let sent = fragments(opcode, &payload, size, is_compressed);
                let what = format!("{opcode:?} of {length} by {size}");
                cases.push(case(what, sent, answer.clone()));
            }
        }
    }
    for length in [0, 1, 125] {
        let payload = payload(length);
        let sent = masked(Opcode::Ping, &payload);
        cases.push(case(
            format!("2: a ping of {length}"),
            sent,
            vec![pong(&payload)],
        ));
    }
    let noise = [0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0];
    cases.push(case(
        "2.4: a binary ping",
        masked(Opcode::Ping, &noise),
        vec![pong(&noise)],
    ));
    let unasked = [masked(Opcode::Pong, b"unasked"), masked(Opcode::Ping, b"p")].concat();
    cases.push(case(
        "2.7 to 2.9: a pong unasked",
        unasked,
        vec![pong(b"p")],
    ));
    let (pings, pongs) = (0..10)
        .map(|at| (masked(Opcode::Ping, &[at]), pong(&[at])))
        .unzip::<_, _, Vec<_>, Vec<_>>();
    cases.push(case("2.10: ten pings", pings.concat(), pongs));
    // 5.6 to 5.8 and 5.19: pings between the fragments of a message.
    for text in TEXTS {
        for size in [1, 2, 1000] {
            let frames = fragments(Opcode::Text, text.as_bytes(), size, is_compressed);
            let answers = vec![Frame::Text(text.to_owned())];
            cases.push(case(format!("6: {text:?} by {size}"), frames, answers));
        }
    }
    let whole = fragments(Opcode::Text, b"in between", 4, is_compressed);
    let first = whole.len().min(6 + 4);
    let sent = [
        &whole[..first],
        &masked(Opcode::Ping, b"p"),
        &whole[first..],
    ]
    .concat();
    let answers = vec![pong(b"p"), Frame::Text("in between".to_owned())];
    cases.push(case("5.6: a ping between fragments", sent, answers));
    cases
}

/// Sends bytes in pieces of at most this size.
fn send_in_pieces(socket: &mut Socket, bytes: &[u8], size: usize) {
    for piece in bytes.chunks(size) {
        socket.send_bytes(piece);
    }
}

/// Runs the good cases of at most so many bytes on one connection, whole and cut.
fn check_good(server: &Server, offer: &str, is_compressed: bool, bytes_max: usize) {
    let (mut socket, agreed) = open(server, offer);
    assert_eq!(agreed, !offer.is_empty(), "{offer}");
    let cases = good(is_compressed);
    let cases = cases.iter().filter(|case| case.sent.len() <= bytes_max);
    for (number, case) in cases.enumerate() {
        let sizes = match case.sent.len() {
            // Each byte of short ones; a prime number of long ones.
            0..300 => [usize::MAX, 1],
            _ => [usize::MAX, 997 + number],
        };
        for size in sizes {
            send_in_pieces(&mut socket, &case.sent, size);
            for answer in &case.answers {
                assert!(
                    socket.message() == *answer,
                    "{} by {size}, {offer}",
                    case.what
                );
            }
        }
    }
    assert_eq!(socket.compressed_count() > 0, agreed, "{offer}");
}

/// A connection to `/echo`, and whether compression was agreed on.
fn open(server: &Server, offer: &str) -> (Socket, bool) {
    if offer.is_empty() {
        return (server.socket("/echo"), false);
    }
    let (socket, agreed) = Socket::offer(server.connect(), &server.host(), "/echo", offer);
    (socket, agreed.is_some())
}

fn what_is_good_comes_back(shards: u16) {
    for flags in [&[][..], &["--deflate"]] {
        check_good(&Server::with(shards, flags), "", false, usize::MAX);
    }
}

fn what_is_good_comes_back_compressed(shards: u16) {
    let server = Server::with(shards, &["--deflate"]);
    for is_compressed in [true, false] {
        check_good(&server, OFFERS[1], is_compressed, usize::MAX);
    }
    // What was offered makes no difference to the server but in its own window.
    for offer in &OFFERS[2..] {
        check_good(&server, offer, true, 2_000);
    }
}

/// What breaks a rule with or without an extension: the bytes, and the code of the close that answers them.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    let header = |first: u8, length: &[u8]| [&[first][..], length, &[0; 4]].concat();
    let mut rows = vec![
        ("unmasked text", vec![0x81, 0x01, b'a'], 1002),
        ("unmasked ping", vec![0x89, 0x00], 1002),
        ("unmasked close", vec![0x88, 0x02, 0x03, 0xe8], 1002),
        ("RSV2", header(0xa1, &[0x80]), 1002),
        ("RSV3", header(0x91, &[0x80]), 1002),
        ("RSV1 on a ping", header(0xc9, &[0x80]), 1002),
        ("a ping of 126", header(0x89, &[0xfe, 0, 126]), 1002),
        ("a close of 126", header(0x88, &[0xfe, 0, 126]), 1002),
        ("a pong of 126", header(0x8a, &[0xfe, 0, 126]), 1002),
        ("a pong in fragments", header(0x0a, &[0x80]), 1002),
        ("a ping in fragments", header(0x09, &[0x80]), 1002),
        ("a close in fragments", header(0x08, &[0x80]), 1002),
        (
            "nothing to continue",
            fragment(true, Opcode::Continuation, b"x"),
            1002,
        ),
        (
            "nothing to continue with more to come",
            fragment(false, Opcode::Continuation, b"x"),
            1002,
        ),
        (
            "text inside of text",
            [
                fragment(false, Opcode::Text, b"a"),
                masked(Opcode::Text, b"b"),
            ]
            .concat(),
            1002,
        ),
        (
            "a fragment of binary inside of text",
            [
                fragment(false, Opcode::Text, b"a"),
                fragment(false, Opcode::Binary, b"b"),
            ]
            .concat(),
            1002,
        ),
        (
            "RSV1 on a continuation",
            [fragment(false, Opcode::Text, b"a"), header(0xc0, &[0x80])].concat(),
            1002,
        ),
        ("125 in 16 bits", header(0x82, &[0xfe, 0, 125]), 1002),
        ("0 in 16 bits", header(0x82, &[0xfe, 0, 0]), 1002),
        (
            "65535 in 64 bits",
            header(0x82, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            1002,
        ),
        (
            "a length with the highest bit",
            header(0x82, &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            1002,
        ),
        ("all bits", vec![0xff; 14], 1002),
        ("HTTP instead", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1002),
        (
            "text that is not UTF-8",
            masked(Opcode::Text, b"\xc3\x28"),
            1007,
        ),
        (
            "text that ends inside a character",
            masked(Opcode::Text, b"\xe2\x82"),
            1007,
        ),
        ("a surrogate", masked(Opcode::Text, b"\xed\xa0\x80"), 1007),
        ("an overlong slash", masked(Opcode::Text, b"\xc0\xaf"), 1007),
        (
            "beyond Unicode",
            masked(Opcode::Text, b"\xf4\x90\x80\x80"),
            1007,
        ),
        (
            "a first fragment that is not UTF-8",
            fragment(false, Opcode::Text, b"ok\xff"),
            1007,
        ),
        (
            "too long by one",
            masked(Opcode::Binary, &[0; 65_537]),
            1009,
        ),
        (
            "too long in sum",
            [
                fragment(false, Opcode::Binary, &[0; 65_535]),
                masked(Opcode::Ping, b""),
                fragment(true, Opcode::Continuation, &[0; 2]),
            ]
            .concat(),
            1009,
        ),
        (
            "1025 fragments",
            [
                fragment(false, Opcode::Text, b""),
                fragment(false, Opcode::Continuation, b"").repeat(1024),
            ]
            .concat(),
            1008,
        ),
        ("a close of one byte", masked(Opcode::Close, &[3]), 1002),
        (
            "a close reason that is not UTF-8",
            masked(Opcode::Close, b"\x03\xe8\xff"),
            1007,
        ),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rows.push(("an unknown opcode", header(0x80 | opcode, &[0x80]), 1002));
    }
    rows
}

/// Closes of group 7 and how they are answered: by the same, or as a violation.
fn closes() -> Vec<(String, Vec<u8>, Option<u16>)> {
    let reason = |length: usize| [&b"\x03\xe8"[..], &vec![b'r'; length]].concat();
    let mut rows = vec![
        ("7.3.1: empty".to_owned(), vec![], None),
        ("7.3.2: a byte".to_owned(), vec![3], Some(1002)),
        ("7.3.3: no reason".to_owned(), reason(0), Some(1000)),
        ("7.3.4: a reason".to_owned(), reason(20), Some(1000)),
        (
            "7.3.5: the longest reason".to_owned(),
            reason(123),
            Some(1000),
        ),
        (
            "7.5.1: not UTF-8".to_owned(),
            b"\x03\xe8\xce\xba\xed\xa0\x80".to_vec(),
            Some(1007),
        ),
    ];
    // 7.7, 7.9 and 7.13: every code.
    for code in 0..=5100_u16 {
        let is_good = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let is_edge = code % 250 == 0 || code % 1000 > 994 || code % 1000 < 20;
        if is_edge {
            let answer = if is_good { code } else { 1002 };
            rows.push((
                format!("7.7 and 7.9: {code}"),
                code.to_be_bytes().to_vec(),
                Some(answer),
            ));
        }
    }
    rows.push(("7.13.2: 65535".to_owned(), vec![0xff; 2], Some(1002)));
    rows
}

fn each_violation_has_its_close_code(shards: u16) {
    for offer in &OFFERS[..2] {
        let server = Server::with(shards, &["--close-ms", "60000", "--deflate"]);
        let mut rows = violations();
        if offer.is_empty() {
            let rsv1 = marked(true, Opcode::Text, b"");
            rows.push(("3: RSV1 that nobody agreed on", rsv1, 1002));
        }
        for (what, bytes, code) in &rows {
            let (mut socket, _) = open(&server, offer);
            socket.send(Opcode::Text, b"before");
            socket.send_bytes(bytes);
            assert_eq!(socket.frame(), Frame::Text("before".to_owned()), "{what}");
            let mut frame = socket.frame();
            while frame == Frame::Pong(vec![]) {
                frame = socket.frame();
            }
            assert_eq!(frame, Frame::Close(Some(*code)), "{what}");
            // Our end comes at once, whether the other side answers or not.
            socket.ended();
        }
        server.metric_is("violations_total", rows.len() as u64);
    }
}

fn each_close_is_answered(shards: u16) {
    let server = Server::with(shards, &["--deflate"]);
    for offer in &OFFERS[..2] {
        for (what, payload, answer) in closes() {
            let (mut socket, _) = open(&server, offer);
            // 7.1: what stands behind a close is ignored.
            let behind = [masked(Opcode::Ping, b""), masked(Opcode::Text, b"late")].concat();
            socket.send_bytes(&[masked(Opcode::Close, &payload), behind].concat());
            assert_eq!(socket.frame(), Frame::Close(answer), "{what}");
            socket.ended();
        }
    }
}
