//! Masking of client frames (RFC 6455, 5.3).

/// Payloads from here on are worth the search for a block's boundary.
const LONG_BYTES_MIN: usize = 512;
/// A cache line: a vector access inside it costs half of one that straddles two.
const BLOCK_BYTES: usize = 64;
/// The bit of each byte that is not set in ASCII.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Masks or unmasks (it is the same) `payload`, whose first byte is the frame's byte number `phase`.
///
/// `phase` matters where a payload arrives in parts.
///
/// Returns whether the result is known to be ASCII: seen on the way in short payloads, not looked at in long ones.
#[inline]
pub fn unmask(payload: &mut [u8], mask: [u8; 4], phase: usize) -> bool {
    let key = rotate(u32::from_le_bytes(mask), phase);
    if payload.len() < LONG_BYTES_MIN {
        unmask_short(payload, key)
    } else {
        unmask_long(payload, key);
        false
    }
}

fn unmask_long(payload: &mut [u8], key: u32) {
    let start = payload
        .as_ptr()
        .align_offset(BLOCK_BYTES)
        .min(payload.len());
    let (head, body) = payload.split_at_mut(start);
    unmask_short(head, key);
    let key = rotate(key, start);
    let (blocks, tail) = body.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        unmask_short(block, key);
    }
    unmask_short(tail, key);
}

/// Plain steps that the compiler turns into vector instructions. Words and blocks hold whole keys, so each part starts
/// with the first byte of one. Returns whether the result is ASCII; where nobody asks, that is compiled away.
#[inline(always)]
fn unmask_short(payload: &mut [u8], key: u32) -> bool {
    let double = u64::from(key) << 32 | u64::from(key);
    let mut seen: u64 = 0;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        let word = u64::from_le_bytes(*bytes) ^ double;
        *bytes = word.to_le_bytes();
        seen |= word;
    }
    let (halves, tail) = rest.as_chunks_mut::<4>();
    for bytes in halves {
        let half = u32::from_le_bytes(*bytes) ^ key;
        *bytes = half.to_le_bytes();
        seen |= u64::from(half);
    }
    for (byte, key) in tail.iter_mut().zip(key.to_le_bytes()) {
        *byte ^= key;
        seen |= u64::from(*byte);
    }
    seen & HIGH_BITS == 0
}

/// The key for the byte that comes `phase` bytes later; the low byte goes first.
fn rotate(key: u32, phase: usize) -> u32 {
    key.rotate_right((phase % 4) as u32 * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn unmask_naively(payload: &mut [u8], mask: [u8; 4], phase: usize) {
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[(phase + index) % 4];
        }
    }

    #[test]
    fn the_rfc_example_is_unmasked() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, MASK, 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn fast_equals_naive_for_each_length_phase_and_alignment() {
        let bytes: Vec<u8> = (0..=255)
            .cycle()
            .take(300)
            .map(|i: u8| i.wrapping_mul(31))
            .collect();
        for length in 0..=200 {
            for phase in 0..9 {
                for start in 0..9 {
                    let mut fast = bytes.clone();
                    let mut naive = bytes.clone();
                    unmask(&mut fast[start..start + length], MASK, phase);
                    unmask_naively(&mut naive[start..start + length], MASK, phase);
                    assert_eq!(fast, naive, "length {length} phase {phase} start {start}");
                }
            }
        }
    }

    #[test]
    fn each_byte_that_is_not_ascii_is_seen() {
        for length in 0..LONG_BYTES_MIN {
            let mut payload = vec![b'a'; length];
            unmask(&mut payload, MASK, 0);
            assert!(unmask(&mut payload, MASK, 0), "{length} bytes of ASCII");
            for place in 0..length {
                let mut payload = vec![b'a'; length];
                payload[place] = 0x80;
                unmask(&mut payload, MASK, 0);
                assert!(!unmask(&mut payload, MASK, 0), "{place} of {length}");
            }
        }
        let mut long = vec![0; LONG_BYTES_MIN];
        assert!(!unmask(&mut long, [0; 4], 0), "nobody looked");
    }

    #[test]
    fn long_payloads_equal_naive_around_each_step() {
        let bytes: Vec<u8> = (0..=255)
            .cycle()
            .take(1_500)
            .map(|i: u8| i.wrapping_mul(31))
            .collect();
        for length in (LONG_BYTES_MIN - 2..LONG_BYTES_MIN + 140).chain([1_300]) {
            for start in 0..70 {
                let mut fast = bytes.clone();
                let mut naive = bytes.clone();
                unmask(&mut fast[start..start + length], MASK, start + length);
                unmask_naively(&mut naive[start..start + length], MASK, start + length);
                assert_eq!(fast, naive, "length {length} start {start}");
            }
        }
    }

    #[test]
    fn parts_equal_the_whole_at_each_cut() {
        let bytes: Vec<u8> = (0..=255).cycle().take(700).collect();
        let mut whole = bytes.clone();
        unmask(&mut whole, MASK, 0);
        for cut in 0..=bytes.len() {
            let mut parts = bytes.clone();
            let (front, back) = parts.split_at_mut(cut);
            unmask(front, MASK, 0);
            unmask(back, MASK, cut);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_phase_near_the_end_of_numbers_is_fine() {
        let mut payload = *b"abcdefgh";
        unmask(&mut payload, MASK, usize::MAX);
        unmask(&mut payload, MASK, 3);
        assert_eq!(&payload, b"abcdefgh");
    }
}
