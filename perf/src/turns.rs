//! Whose turn it is: in each round another server is the first, so that none of them always follows the same one, or
//! always finds the machine as it is in the beginning.

/// The places of so many servers, in the order in which they are measured in a round. Where there are fewer rounds than
/// servers, those that are first are as far apart as can be.
pub fn order(count: usize, round: u32, rounds: u32) -> impl Iterator<Item = usize> {
    let (done, rounds) = (round.saturating_sub(1) as usize, rounds.max(1) as usize);
    let first = if rounds < count {
        done * count / rounds
    } else {
        done
    };
    (0..count).map(move |place| (first + place) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_begins_with_another_server() {
        let orders = |count, rounds| -> Vec<Vec<usize>> {
            let rounds = (1..=rounds).map(|round| order(count, round, rounds).collect());
            rounds.collect()
        };
        assert_eq!(orders(3, 1), [[0, 1, 2]]);
        assert_eq!(orders(4, 2), [[0, 1, 2, 3], [2, 3, 0, 1]]);
        assert_eq!(orders(3, 3), [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        // With more rounds than servers everybody is the first more than once.
        let firsts: Vec<usize> = orders(2, 4).iter().map(|order| order[0]).collect();
        assert_eq!(firsts, [0, 1, 0, 1]);
        assert!(orders(0, 2).iter().all(Vec::is_empty));
    }
}
