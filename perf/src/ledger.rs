//! Who has received what: nothing may be lost, repeated, changed, or in another order for one than for another.

use crate::stamp::Stamp;

/// See the [module](self).
pub struct Ledger {
    publisher_count: usize,
    /// The number that each member expects next of each publisher.
    next: Vec<u32>,
    /// What each member received, in its order, as a running hash.
    digests: Vec<u64>,
    arrived_total: u64,
    skipped_total: u64,
    repeated_total: u64,
    wrong_total: u64,
}

/// Who gets the messages of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every member; the publishers are the first of them.
    All,
    /// Every member but the publisher itself.
    Others,
}

impl Audience {
    /// How many get each message in a room of `member_count`.
    pub fn reader_count(self, member_count: u32) -> u32 {
        match self {
            Audience::All => member_count,
            Audience::Others => member_count.saturating_sub(1),
        }
    }
}

impl Ledger {
    /// Nobody has anything.
    pub fn new(member_count: usize, publisher_count: usize) -> Ledger {
        Ledger {
            publisher_count,
            next: vec![0; member_count * publisher_count],
            digests: vec![0; member_count],
            arrived_total: 0,
            skipped_total: 0,
            repeated_total: 0,
            wrong_total: 0,
        }
    }

    /// A member received a message. Returns whether that makes sense: it comes from one of the publishers.
    pub fn enter(&mut self, member: usize, stamp: Stamp) -> bool {
        let publisher = stamp.publisher as usize;
        let rows = self.next.chunks_exact_mut(self.publisher_count);
        let next = rows
            .into_iter()
            .nth(member)
            .and_then(|row| row.get_mut(publisher));
        let (Some(next), Some(digest)) = (next, self.digests.get_mut(member)) else {
            self.wrong_total += 1;
            return false;
        };
        if stamp.number < *next {
            self.repeated_total += 1;
        } else {
            self.skipped_total += u64::from(stamp.number - *next);
            *next = stamp.number + 1;
        }
        // Not zero for the first message, so that even that leaves its trace.
        let word = (u64::from(stamp.publisher) + 1) << 32 | u64::from(stamp.number);
        *digest = (digest.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.arrived_total += 1;
        true
    }

    /// A member received something that nobody sent: a changed message, an error, or a gap.
    pub fn wrong(&mut self) {
        self.wrong_total += 1;
    }

    /// Messages that arrived, at all members together.
    pub fn arrived_total(&self) -> u64 {
        self.arrived_total
    }

    /// What is wrong, where each publisher has sent so many.
    pub fn faults(&self, sent: &[u32], audience: Audience) -> Vec<String> {
        let counts = [
            (
                self.wrong_total,
                "messages were changed, refused, or left out by a gap",
            ),
            (self.skipped_total, "messages were skipped or came late"),
            (self.repeated_total, "messages were repeated or came late"),
            (self.missing_total(sent, audience), "messages never came"),
            (
                u64::from(self.is_disordered(audience)),
                "order differs between members",
            ),
        ];
        counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect()
    }

    /// Messages that some member has still to get.
    pub fn missing_total(&self, sent: &[u32], audience: Audience) -> u64 {
        let rows = self.next.chunks(self.publisher_count).enumerate();
        rows.flat_map(|(member, row)| {
            row.iter()
                .zip(sent)
                .enumerate()
                .map(move |(publisher, pair)| (member, publisher, pair))
        })
        .filter(|(member, publisher, _)| audience == Audience::All || member != publisher)
        .map(|(_, _, (next, sent))| u64::from(sent.saturating_sub(*next)))
        .sum()
    }

    /// Whether two members that get the same messages got them in another order.
    fn is_disordered(&self, audience: Audience) -> bool {
        let first = match audience {
            Audience::All => 0,
            Audience::Others => self.publisher_count,
        };
        let same = self.digests.get(first..).unwrap_or_default();
        same.windows(2).any(|pair| pair[0] != pair[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enters `(member, publisher, number)` for two publishers that have sent two messages each, to three members.
    fn faults(arrivals: &[(usize, u32, u32)]) -> Vec<String> {
        let mut ledger = Ledger::new(3, 2);
        for (member, publisher, number) in arrivals {
            ledger.enter(
                *member,
                Stamp {
                    publisher: *publisher,
                    number: *number,
                },
            );
        }
        ledger.faults(&[2, 2], Audience::All)
    }

    fn all() -> Vec<(usize, u32, u32)> {
        (0..3)
            .flat_map(|member| {
                [
                    (member, 0, 0),
                    (member, 1, 0),
                    (member, 1, 1),
                    (member, 0, 1),
                ]
            })
            .collect()
    }

    #[test]
    fn a_faultless_run_has_no_faults() {
        assert_eq!(faults(&all()), Vec::<String>::new());
        let ledger = Ledger::new(3, 2);
        assert_eq!(ledger.missing_total(&[2, 2], Audience::All), 12);
        assert_eq!(ledger.missing_total(&[2, 2], Audience::Others), 8);
    }

    #[test]
    fn every_kind_of_fault_shows() {
        let mut lost = all();
        lost.pop();
        assert_eq!(
            faults(&lost),
            ["1 messages never came", "1 order differs between members"]
        );
        let mut repeated = all();
        repeated.insert(1, repeated[0]);
        assert!(faults(&repeated).contains(&"1 messages were repeated or came late".into()));
        let mut skipped = all();
        skipped.remove(0);
        assert!(faults(&skipped).contains(&"1 messages were skipped or came late".into()));
        let mut reordered = all();
        reordered.swap(0, 1);
        assert_eq!(faults(&reordered), ["1 order differs between members"]);
        let mut strange = all();
        strange.push((0, 2, 0));
        strange.push((3, 0, 0));
        assert!(
            faults(&strange)
                .contains(&"2 messages were changed, refused, or left out by a gap".into())
        );
    }

    #[test]
    fn a_publisher_need_not_have_its_own() {
        let mut ledger = Ledger::new(3, 1);
        for member in 1..3 {
            ledger.enter(
                member,
                Stamp {
                    publisher: 0,
                    number: 0,
                },
            );
        }
        assert_eq!(ledger.faults(&[1], Audience::Others), Vec::<String>::new());
        assert_eq!(ledger.faults(&[1], Audience::All).len(), 2);
    }
}
