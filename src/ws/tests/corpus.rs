//! Streams that end well, and one for each way to break a rule. They fit the rules of these tests.

use crate::ws::{Opcode, Violation, frame};

pub(super) const MASK: [u8; 4] = [0x12, 0x00, 0xff, 0xa5];

pub(super) fn masked(fin: bool, opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode_masked(&mut out, fin, false, opcode, MASK, payload.as_ref());
    out
}

/// Streams that end well, each of several frames.
pub(super) fn streams() -> Vec<Vec<u8>> {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    vec![
        [
            masked(true, Text, "Grüße"),
            masked(true, Text, ""),
            masked(true, Binary, [0, 255, 128]),
            masked(true, Ping, ""),
            masked(true, Ping, "ping"),
            masked(true, Pong, "pong"),
            masked(true, Close, b"\x03\xe8bye"),
        ]
        .concat(),
        [
            // The cuts between fragments go through characters of 2, 3 and 4 bytes.
            masked(false, Text, b"a\xc3"),
            masked(true, Ping, "between"),
            masked(false, Continuation, b"\xa4\xe2\x82"),
            masked(false, Continuation, ""),
            masked(true, Pong, ""),
            masked(true, Continuation, b"\xac\xf0\x9f\x98\x80"),
            masked(false, Binary, ""),
            masked(true, Continuation, ""),
            masked(false, Text, b""),
            masked(true, Close, ""),
            masked(true, Text, "ignored"),
        ]
        .concat(),
        [
            masked(true, Binary, vec![7; 125]),
            masked(true, Text, "x".repeat(126)),
            masked(false, Binary, vec![9; 200]),
            masked(true, Ping, vec![1; 125]),
            masked(true, Continuation, vec![8; 100]),
            masked(true, Text, "ä".repeat(150)),
        ]
        .concat(),
    ]
}

/// A stream for each rule that ends by breaking it.
pub(super) fn broken_streams() -> Vec<(Vec<u8>, Violation)> {
    use Opcode::{Binary, Close, Continuation, Ping, Text};
    let rsv1 = |opcode| {
        let mut out = Vec::new();
        frame::encode_masked(&mut out, true, true, opcode, MASK, b"x");
        out
    };
    let after_first_fragment = |frame: Vec<u8>| [masked(false, Text, "first"), frame].concat();
    let header = |first: u8, length: &[u8]| [&[first], length, &MASK].concat();
    let mut cases = vec![
        (rsv1(Text), Violation::ReservedBit),
        (rsv1(Binary), Violation::ReservedBit),
        (rsv1(Ping), Violation::ReservedBit),
        (
            after_first_fragment(rsv1(Continuation)),
            Violation::ReservedBit,
        ),
        (header(0xa1, &[0x80]), Violation::ReservedBit),
        (header(0x91, &[0x80]), Violation::ReservedBit),
        (header(0x09, &[0x80]), Violation::ControlFragmented),
        (
            after_first_fragment(header(0x08, &[0x80])),
            Violation::ControlFragmented,
        ),
        (header(0x89, &[0xfe, 0, 126]), Violation::ControlTooLong),
        (header(0x88, &[0xff]), Violation::ControlTooLong),
        (header(0x82, &[0xfe, 0, 125]), Violation::LengthNotMinimal),
        (
            header(0x81, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            Violation::LengthNotMinimal,
        ),
        (
            header(0x82, &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 1]),
            Violation::LengthHighBit,
        ),
        (header(0x82, &[0xff; 9]), Violation::LengthHighBit),
        (b"\x81\x02hi".to_vec(), Violation::Unmasked),
        (b"\x89\x00".to_vec(), Violation::Unmasked),
        (
            masked(true, Continuation, "x"),
            Violation::ContinuationUnexpected,
        ),
        (
            masked(false, Continuation, "x"),
            Violation::ContinuationUnexpected,
        ),
        (
            after_first_fragment(masked(true, Text, "x")),
            Violation::ContinuationExpected,
        ),
        (
            after_first_fragment(masked(false, Binary, "x")),
            Violation::ContinuationExpected,
        ),
        (header(0x81, &[0xfe, 1, 45]), Violation::TooBig),
        (
            header(0x02, &[0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            Violation::TooBig,
        ),
        (
            header(0x82, &[0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
            Violation::TooBig,
        ),
        (
            after_first_fragment(header(0x80, &[0xfe, 1, 40])),
            Violation::TooBig,
        ),
        (
            after_first_fragment(header(
                0x80,
                &[0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            )),
            Violation::TooBig,
        ),
        (
            after_first_fragment(masked(false, Continuation, "").repeat(5)),
            Violation::TooManyFragments,
        ),
        (masked(true, Text, b"ok \xff"), Violation::TextNotUtf8),
        (masked(true, Text, b"cut \xe2\x82"), Violation::TextNotUtf8),
        (masked(false, Text, b"\xed\xa0\x80"), Violation::TextNotUtf8),
        (
            after_first_fragment(masked(true, Continuation, b"\xc3")),
            Violation::TextNotUtf8,
        ),
        (masked(true, Close, b"\x03"), Violation::CloseTooShort),
        (
            masked(true, Close, b"\x03\xed"),
            Violation::CloseCodeInvalid,
        ),
        (
            after_first_fragment(masked(true, Close, b"\x13\x88")),
            Violation::CloseCodeInvalid,
        ),
        (
            masked(true, Close, b"\x03\xe8\xff"),
            Violation::CloseReasonNotUtf8,
        ),
    ];
    cases.extend(
        [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
            .map(|opcode| (header(0x80 | opcode, &[0x80]), Violation::UnknownOpcode)),
    );
    cases
}
