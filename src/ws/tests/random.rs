//! Streams made of a seed.

use crate::ws::{Opcode, Rules, frame};

/// Xorshift: the same streams on each run.
pub(in crate::ws) struct Random(pub(in crate::ws) u64);

impl Random {
    pub(in crate::ws) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("below end")
    }

    pub(in crate::ws) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(in crate::ws) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    /// A few frames in an order that is mostly allowed, many with a fault. Half of the messages are marked as
    /// compressed where they may be.
    pub(super) fn stream(&mut self, rules: &Rules) -> Vec<u8> {
        use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
        let mut stream = Vec::new();
        let mut begun = false;
        for _ in 0..1 + self.below(12) {
            let opcodes: &[Opcode] = if begun {
                &[Continuation, Continuation, Ping]
            } else {
                &[Text, Text, Binary, Pong]
            };
            let opcode = if self.below(40) == 0 {
                Close
            } else {
                self.pick(opcodes)
            };
            let fin = opcode.is_control() || self.below(2) == 0;
            let begins = !begun && !opcode.is_control();
            let rsv1_odds = if rules.deflate && begins { 2 } else { 200 };
            begun = if opcode.is_control() { begun } else { !fin };
            let payload = self.payload(opcode);
            let mask = [self.below(256), self.below(256), 0, 7].map(|byte| byte as u8);
            frame::encode_masked(
                &mut stream,
                fin,
                self.below(rsv1_odds) == 0,
                opcode,
                mask,
                &payload,
            );
        }
        if self.below(3) == 0 {
            let at = self.below(stream.len());
            stream[at] ^= 1 << self.below(8);
        }
        stream.truncate(stream.len() - self.pick(&[0, 0, 1, 2, 5]).min(stream.len()));
        stream
    }

    fn payload(&mut self, opcode: Opcode) -> Vec<u8> {
        match opcode {
            Opcode::Close => self
                .pick(&[&b""[..], b"\x03\xe8", b"\x0b\xb8why", b"\x03\xec", b"\x0f"])
                .to_vec(),
            Opcode::Continuation | Opcode::Text | Opcode::Binary | Opcode::Ping | Opcode::Pong => {
                let mut payload = "aß€😀 plain text ".repeat(self.below(6)).into_bytes();
                // Often inside a character.
                payload.truncate(self.pick(&[usize::MAX, 125, 90, 7, 5, 2, 0]));
                payload
            }
        }
    }
}
