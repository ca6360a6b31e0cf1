//! What waits at a room's home until the log service has said where the log stands.

use crate::mail::Mail;

/// Mail for the room, with the shards that it came from.
#[derive(Debug, Default)]
pub struct Parked {
    mail: Vec<(u16, Mail)>,
    bytes: usize,
    /// See [`RefusedJoins`].
    pub refused_joins: RefusedJoins,
}

impl Parked {
    /// Adds a piece of mail behind the others.
    pub fn push(&mut self, from: u16, mail: Mail) {
        self.bytes += mail.bytes();
        self.mail.push((from, mail));
    }

    /// About how much memory it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Each piece with the shard that it came from, in the order in which they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(u16, Mail)> {
        self.mail.iter()
    }

    /// The same for who takes them.
    pub fn into_mail(self) -> Vec<(u16, Mail)> {
        self.mail
    }
}

/// Joins that were refused because too much waited: of each shard the first number and the last. The first refusal is
/// that of all that follow until the log is open, so all between the two were. A leave behind one of them may be on its
/// way, and is of nobody who was ever let in.
#[derive(Debug, Default)]
pub struct RefusedJoins(Vec<(u16, u64, u64)>);

impl RefusedJoins {
    /// The join of this number of a shard, which are counted upwards, is refused.
    pub fn note(&mut self, shard: u16, number: u64) {
        match self.0.iter_mut().find(|(other, ..)| *other == shard) {
            Some((_, _, last)) => *last = number,
            None => self.0.push((shard, number, number)),
        }
    }

    /// Whether it was.
    pub fn has(&self, shard: u16, number: u64) -> bool {
        let mut refused = self.0.iter();
        refused.any(|(other, first, last)| *other == shard && (*first..=*last).contains(&number))
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_joins_are_those_of_their_shard_from_the_first_to_the_last() {
        let mut refused = RefusedJoins::default();
        assert!(refused.is_empty() && !refused.has(0, 0));
        refused.note(1, 5);
        refused.note(1, 9);
        refused.note(2, 7);
        let numbers = |shard| -> Vec<u64> {
            let numbers = 0..12;
            numbers.filter(|n| refused.has(shard, *n)).collect()
        };
        assert!(numbers(0).is_empty());
        assert_eq!(numbers(1), [5, 6, 7, 8, 9]);
        assert_eq!(numbers(2), [7]);
    }
}
