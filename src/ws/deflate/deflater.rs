//! Outgoing messages.

use flate2::{Compress, Compression, FlushCompress};

use super::{TAIL, WINDOW_BITS_MAX};

/// The smallest window that the compressor has.
const WINDOW_BITS_MIN: u8 = 9;
const WINDOW_COUNT: usize = (WINDOW_BITS_MAX - WINDOW_BITS_MIN) as usize + 1;

/// The cheapest level that fits its codes to the message. The fixed codes of level 1 take less than half the time, but
/// leave JSON a sixth to a third longer; levels above take up to four times as long to save the last tenth of a long
/// message, and nothing of a short one.
const LEVEL: u32 = 2;

/// Compresses messages for any number of connections.
///
/// A window that is used takes about 300 KiB, so keep one of these per thread.
#[derive(Debug, Default)]
pub struct Deflater {
    /// One for each window, from the smallest.
    compressors: [Option<Box<Compress>>; WINDOW_COUNT],
}

impl Deflater {
    /// Appends the compressed `payload` of a message to `out`; `false`, and nothing is appended, where that would not
    /// be shorter.
    ///
    /// `window_bits` is the smallest that an [`Agreed`](super::Agreed) of the receivers has: the result suits larger
    /// windows as well. With 8 bits, only payloads below 256 bytes are compressed.
    pub fn compress(&mut self, payload: &[u8], window_bits: u8, out: &mut Vec<u8>) -> bool {
        let Some(compressor) = self.compressor(payload.len(), window_bits) else {
            return false;
        };
        let start = out.len();
        // What would be of use fits with a byte to spare, by which the compressor has told all it has.
        out.reserve(payload.len() + TAIL.len());
        compressor.reset();
        let compressed = compressor.compress_vec(payload, out, FlushCompress::Sync);
        let written = out.get(start..).unwrap_or_default();
        let useful_bytes = match (compressed, written.strip_suffix(&TAIL)) {
            (Ok(_), Some(useful)) if useful.len() < payload.len() => useful.len(),
            (Ok(_), _) | (Err(_), _) => 0,
        };
        out.truncate(start + useful_bytes);
        useful_bytes > 0
    }

    /// A compressor whose distances stay within the window.
    fn compressor(&mut self, payload_bytes: usize, window_bits: u8) -> Option<&mut Compress> {
        // No distance is longer than the payload: short ones suit any window, also one that the compressor lacks.
        let is_within = payload_bytes >> window_bits.min(WINDOW_BITS_MAX) == 0;
        let window_bits = if is_within {
            WINDOW_BITS_MAX
        } else {
            window_bits
        };
        let index = usize::from(window_bits.checked_sub(WINDOW_BITS_MIN)?);
        let compressor = self.compressors.get_mut(index)?;
        Some(compressor.get_or_insert_with(|| {
            let level = Compression::new(LEVEL);
            Box::new(Compress::new_with_window_bits(level, false, window_bits))
        }))
    }
}
