//! What an event is about, packed into the number that the kernel carries for us.

use mio::Token;

use crate::slots::Slot;

const _: () = assert!(
    usize::BITS == u64::BITS,
    "a token carries an index and a generation of 32 bits each"
);

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The listening socket.
    Listener,
    /// Another thread woke this shard.
    Waker,
    /// A signal came to the process.
    Signals,
    /// A connection.
    Peer(Slot),
}

/// No connection ever has this index; the generation says which of the others is meant.
const RESERVED_INDEX: u32 = u32::MAX;
const LISTENER: Slot = Slot {
    index: RESERVED_INDEX,
    generation: 0,
};
const WAKER: Slot = Slot {
    index: RESERVED_INDEX,
    generation: 1,
};
const SIGNALS: Slot = Slot {
    index: RESERVED_INDEX,
    generation: 2,
};

impl Subject {
    /// The token to register under.
    pub fn token(self) -> Token {
        let slot = match self {
            Subject::Listener => LISTENER,
            Subject::Waker => WAKER,
            Subject::Signals => SIGNALS,
            Subject::Peer(slot) => slot,
        };
        Token(usize::try_from(slot.to_u64()).expect("usize has 64 bits"))
    }

    /// What an event with `token` is about.
    pub fn of(token: Token) -> Subject {
        match Slot::from_u64(token.0 as u64) {
            LISTENER => Subject::Listener,
            WAKER => Subject::Waker,
            SIGNALS => Subject::Signals,
            slot => Subject::Peer(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_goes_through_a_token_and_back() {
        let edges = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX];
        let slots = edges
            .iter()
            .flat_map(|&index| edges.map(|generation| Slot { index, generation }));
        let peers = slots
            .filter(|slot| slot.index != RESERVED_INDEX)
            .map(Subject::Peer);
        let subjects: Vec<Subject> = peers.chain([Subject::Listener, Subject::Waker]).collect();
        for subject in &subjects {
            assert_eq!(Subject::of(subject.token()), *subject);
        }
        let mut tokens: Vec<usize> = subjects.iter().map(|subject| subject.token().0).collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(
            tokens.len(),
            subjects.len(),
            "no two subjects share a token"
        );
    }
}
