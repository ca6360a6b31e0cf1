//! RFC 1951 read bit by bit; it shares nothing with the code under test.

use std::collections::HashMap;

use crate::ws::Violation;

/// What a payload inflates to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inflated {
    pub(super) bytes: Vec<u8>,
    /// The longest distance of a match; 0 where there is none.
    pub(super) distance_max: usize,
}

/// Inflates a payload with the tail that was not sent, and with a last block that tells whether it was whole.
pub(super) fn inflate(payload: &[u8], bytes_max: usize) -> Result<Inflated, Violation> {
    let followed = [payload, &[0, 0, 255, 255, 1, 0, 0, 255, 255]].concat();
    let mut naive = Naive {
        bytes: &followed,
        position: 0,
        stream_start: 0,
        bytes_max,
        inflated: Inflated {
            bytes: Vec::new(),
            distance_max: 0,
        },
    };
    loop {
        while !naive.block()? {}
        naive.align();
        let end = naive.position / 8;
        if end == payload.len() || end == followed.len() {
            return Ok(naive.inflated);
        }
        naive.stream_start = naive.inflated.bytes.len();
    }
}

struct Naive<'s> {
    bytes: &'s [u8],
    /// In bits.
    position: usize,
    /// Length of what the streams before this one inflated to.
    stream_start: usize,
    bytes_max: usize,
    inflated: Inflated,
}

/// Symbols by the length and the bits of their codes.
type Code = HashMap<(u32, u32), usize>;

impl Naive<'_> {
    /// Reads a block; whether it was the last one.
    fn block(&mut self) -> Result<bool, Violation> {
        let last = self.number(1)? == 1;
        match self.number(2)? {
            0 => self.stored()?,
            1 => {
                let length = |symbol| match symbol {
                    0..144 | 280.. => 8,
                    144..256 => 9,
                    256..280 => 7,
                };
                let literals: Vec<u32> = (0..288_usize).map(length).collect();
                self.coded(&code(&literals, true)?, &code(&[5; 32], true)?)?;
            }
            2 => {
                let (literals, distances) = self.codes()?;
                self.coded(&literals, &distances)?;
            }
            _ => return Err(Violation::DeflateCorrupt),
        }
        Ok(last)
    }

    fn stored(&mut self) -> Result<(), Violation> {
        self.align();
        let (length, inverse) = (self.number(16)?, self.number(16)?);
        if length + inverse != 0xffff {
            return Err(Violation::DeflateCorrupt);
        }
        for _ in 0..length {
            let byte = self.number(8)?;
            self.put(byte)?;
        }
        Ok(())
    }

    fn coded(&mut self, literals: &Code, distances: &Code) -> Result<(), Violation> {
        loop {
            let symbol = self.symbol(literals)?;
            let length = match symbol {
                0..256 => {
                    self.put(symbol)?;
                    continue;
                }
                256 => return Ok(()),
                257..285 => self.extended(symbol - 257, 4, 3)?,
                285 => 258,
                _ => return Err(Violation::DeflateCorrupt),
            };
            let distance = match self.symbol(distances)? {
                symbol @ 0..30 => self.extended(symbol, 2, 1)?,
                _ => return Err(Violation::DeflateCorrupt),
            };
            let start = self.inflated.bytes.len().checked_sub(distance);
            let start = start.filter(|start| *start >= self.stream_start);
            let start = start.ok_or(Violation::DeflateCorrupt)?;
            self.inflated.distance_max = self.inflated.distance_max.max(distance);
            for index in start..start + length {
                self.put(self.inflated.bytes[index].into())?;
            }
        }
    }

    /// A length or a distance: `group` symbols for each count of extra bits, twice as many for none.
    fn extended(&mut self, symbol: usize, group: usize, least: usize) -> Result<usize, Violation> {
        let extra = |symbol: usize| (symbol / group).saturating_sub(1);
        let base: usize = (0..symbol).map(|symbol| 1 << extra(symbol)).sum();
        Ok(least + base + self.number(extra(symbol))?)
    }

    /// The codes for literals with lengths, and for distances, that a block brings.
    fn codes(&mut self) -> Result<(Code, Code), Violation> {
        let literal_count = 257 + self.number(5)?;
        let distance_count = 1 + self.number(5)?;
        let length_count = 4 + self.number(4)?;
        if literal_count > 286 || distance_count > 30 {
            return Err(Violation::DeflateCorrupt);
        }
        let order = [
            16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
        ];
        let mut lengths = [0; 19];
        for index in &order[..length_count] {
            lengths[*index] = self.number(3)? as u32;
        }
        let length_code = code(&lengths, false)?;
        let mut lengths: Vec<u32> = Vec::new();
        while lengths.len() < literal_count + distance_count {
            let (length, count) = match self.symbol(&length_code)? {
                16 => {
                    let last = lengths.last().ok_or(Violation::DeflateCorrupt)?;
                    (*last, 3 + self.number(2)?)
                }
                17 => (0, 3 + self.number(3)?),
                18 => (0, 11 + self.number(7)?),
                length => (length as u32, 1),
            };
            lengths.extend(vec![length; count]);
        }
        if lengths.len() > literal_count + distance_count || lengths[256] == 0 {
            return Err(Violation::DeflateCorrupt);
        }
        let (literals, distances) = lengths.split_at(literal_count);
        Ok((code(literals, true)?, code(distances, true)?))
    }

    fn symbol(&mut self, code: &Code) -> Result<usize, Violation> {
        let mut bits = 0;
        for length in 1..16 {
            bits = bits * 2 + self.number(1)? as u32;
            if let Some(symbol) = code.get(&(length, bits)) {
                return Ok(*symbol);
            }
        }
        Err(Violation::DeflateCorrupt)
    }

    fn number(&mut self, bits: usize) -> Result<usize, Violation> {
        let mut number = 0;
        for index in 0..bits {
            let byte = self.bytes.get(self.position / 8);
            let byte = usize::from(*byte.ok_or(Violation::DeflateCorrupt)?);
            number |= (byte >> (self.position % 8) & 1) << index;
            self.position += 1;
        }
        Ok(number)
    }

    fn align(&mut self) {
        self.position = self.position.next_multiple_of(8);
    }

    fn put(&mut self, byte: usize) -> Result<(), Violation> {
        self.inflated.bytes.push(byte as u8);
        if self.inflated.bytes.len() > self.bytes_max {
            return Err(Violation::TooBig);
        }
        Ok(())
    }
}

/// The canonical code for these lengths (RFC 1951, 3.2.2). It uses all bits, or it has a single symbol of one bit, or
/// none; those two only where `may_be_sparse`.
fn code(lengths: &[u32], may_be_sparse: bool) -> Result<Code, Violation> {
    let (mut code, mut next) = (Code::new(), 0);
    for length in 1..16 {
        next *= 2;
        for (symbol, _) in lengths.iter().enumerate().filter(|(_, of)| **of == length) {
            code.insert((length, next), symbol);
            next += 1;
        }
        if next > 1 << length {
            return Err(Violation::DeflateCorrupt);
        }
    }
    let is_sparse = code.is_empty() || (code.len() == 1 && code.contains_key(&(1, 0)));
    if next == 1 << 15 || (may_be_sparse && is_sparse) {
        Ok(code)
    } else {
        Err(Violation::DeflateCorrupt)
    }
}
