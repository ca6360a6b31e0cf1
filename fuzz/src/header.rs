//! The header of a frame, at each length of its prefix, against a reading that shares nothing with it.

use roomcast::ws::frame::{self, HEADER_BYTES_MAX};
use roomcast::ws::{Header, Opcode, Violation};

/// Input: the bytes of a frame.
pub fn run(data: &[u8]) {
    let whole = Header::parse(data);
    assert_eq!(whole.map(|header| header.map(naive_form)), naive(data));
    let mut before = Ok(None);
    for end in 0..=data.len().min(HEADER_BYTES_MAX + 1) {
        let parsed = Header::parse(&data[..end]);
        // Once something is known, more bytes do not change it.
        assert!(
            before == Ok(None) || parsed == before,
            "{data:02x?} at {end}"
        );
        before = parsed;
    }
    if let Ok(Some((header, header_bytes))) = whole {
        check_encoding(header, &data[..header_bytes]);
    }
}

/// What is written for the same header are the same bytes.
fn check_encoding(header: Header, bytes: &[u8]) {
    let Ok(length @ 0..=70_000) = usize::try_from(header.length) else {
        return;
    };
    let mut out = Vec::new();
    match header.mask {
        Some(mask) => {
            let payload = vec![0; length];
            frame::encode_masked(
                &mut out,
                header.fin,
                header.rsv1,
                header.opcode,
                mask,
                &payload,
            );
            assert_eq!(&out[..bytes.len()], bytes);
        }
        None if header.fin => {
            frame::encode_header(&mut out, header.opcode, header.rsv1, length);
            assert_eq!(out, bytes);
        }
        None => {}
    }
}

/// FIN, RSV1, opcode, mask, payload bytes, header bytes.
type Naive = (bool, bool, u8, Option<[u8; 4]>, u64, usize);

fn naive_form((header, header_bytes): (Header, usize)) -> Naive {
    let opcode = match header.opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    (
        header.fin,
        header.rsv1,
        opcode,
        header.mask,
        header.length,
        header_bytes,
    )
}

/// RFC 6455, 5.2, read bit by bit.
fn naive(data: &[u8]) -> Result<Option<Naive>, Violation> {
    let bit = |byte: usize, bit: usize| data[byte] >> (7 - bit) & 1 == 1;
    if data.len() < 2 {
        return Ok(None);
    }
    let (fin, rsv1, rsv2, rsv3, masked) = (bit(0, 0), bit(0, 1), bit(0, 2), bit(0, 3), bit(1, 0));
    let (opcode, short) = (data[0] % 16, data[1] % 128);
    if [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].contains(&opcode) {
        return Err(Violation::UnknownOpcode);
    }
    if rsv2 || rsv3 || (rsv1 && opcode != 1 && opcode != 2) {
        return Err(Violation::ReservedBit);
    }
    if opcode >= 8 && !fin {
        return Err(Violation::ControlFragmented);
    }
    if opcode >= 8 && short >= 126 {
        return Err(Violation::ControlTooLong);
    }
    let long = [0, 2, 8][usize::from(short >= 126) + usize::from(short == 127)];
    if data.len() < 2 + long {
        return Ok(None);
    }
    let digits = data[2..2 + long].iter();
    let number = digits.fold(0, |number, digit| number << 8 | u64::from(*digit));
    let length = if long == 0 { u64::from(short) } else { number };
    if (long == 2 && length < 126) || (long == 8 && length < 65_536) {
        return Err(Violation::LengthNotMinimal);
    }
    if length.leading_zeros() == 0 {
        return Err(Violation::LengthHighBit);
    }
    let header_bytes = 2 + long + if masked { 4 } else { 0 };
    if data.len() < header_bytes {
        return Ok(None);
    }
    let mask = masked.then(|| [4, 3, 2, 1].map(|back| data[header_bytes - back]));
    Ok(Some((fin, rsv1, opcode, mask, length, header_bytes)))
}
