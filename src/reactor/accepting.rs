//! When to accept: while somebody waits, within a budget, and not spinning when the process has no descriptor left.

use std::io;

use rustix::io::Errno;

use crate::limits::{ACCEPT_COUNT_PER_TURN, ACCEPT_PAUSE_MS};

/// News of a listener that an operator wants to hear.
#[derive(Debug)]
pub enum News {
    /// It stopped accepting; it tries again every [`ACCEPT_PAUSE_MS`].
    Paused(io::Error),
    /// It accepts again.
    Resumed,
}

/// What a listener does next, apart from its socket.
#[derive(Debug, Default)]
pub struct Accepting {
    phase: Phase,
    /// From the first failure until nobody waits any more: an operator hears of both ends, not of each retry.
    is_short: bool,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nobody waits, until an event says otherwise.
    #[default]
    Idle,
    /// Somebody may wait.
    Ready,
    /// Short of descriptors or memory. No event will tell the end of that, so a deadline does.
    Paused { until_ms: u64 },
}

/// What a failed accept means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Nobody waits.
    Drained,
    /// This connection was lost before it was accepted; the next one may be well.
    Lost,
    /// The process or the machine is short of descriptors or memory, or the socket is broken.
    Short,
}

impl Accepting {
    /// Remembers an event.
    pub fn ready(&mut self) {
        match self.phase {
            Phase::Idle => self.phase = Phase::Ready,
            Phase::Ready | Phase::Paused { .. } => {}
        }
    }

    /// How long to wait before the next [`Accepting::accept`]; `None` is until an event.
    pub fn timeout_ms(&self, mono_ms: u64) -> Option<u64> {
        match self.phase {
            Phase::Idle => None,
            Phase::Ready => Some(0),
            Phase::Paused { until_ms } => Some(until_ms.saturating_sub(mono_ms)),
        }
    }

    /// Takes what waits, within a budget, if it is time to.
    ///
    /// A failure of `take` counts as one of `next`: it means that the process is short of something.
    pub fn accept<T>(
        &mut self,
        mono_ms: u64,
        mut next: impl FnMut() -> io::Result<T>,
        mut take: impl FnMut(T) -> io::Result<()>,
    ) -> Option<News> {
        if self.timeout_ms(mono_ms) != Some(0) {
            return None;
        }
        self.phase = Phase::Ready;
        for _ in 0..ACCEPT_COUNT_PER_TURN {
            let failure = match next() {
                Ok(connection) => take(connection).err().map(|error| (Failure::Short, error)),
                Err(error) => Some((classify(&error), error)),
            };
            match failure {
                None | Some((Failure::Lost, _)) => {}
                Some((Failure::Drained, _)) => return self.drained(),
                Some((Failure::Short, error)) => return self.short(mono_ms, error),
            }
        }
        None
    }

    fn drained(&mut self) -> Option<News> {
        self.phase = Phase::Idle;
        std::mem::take(&mut self.is_short).then_some(News::Resumed)
    }

    fn short(&mut self, mono_ms: u64, error: io::Error) -> Option<News> {
        self.phase = Phase::Paused {
            until_ms: mono_ms + ACCEPT_PAUSE_MS,
        };
        let was_short = std::mem::replace(&mut self.is_short, true);
        (!was_short).then_some(News::Paused(error))
    }
}

/// accept(2) of Linux also reports errors that are already pending on the new connection; those concern it alone.
fn classify(error: &io::Error) -> Failure {
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => Failure::Drained,
        Some(
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH,
        ) => Failure::Lost,
        // MFILE, NFILE, NOBUFS, NOMEM; and whatever is not known to pass by itself must not make a shard spin.
        Some(_) | None => Failure::Short,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn errors_of_accept_are_told_apart() {
        for (errno, failure) in [
            (Errno::AGAIN, Failure::Drained),
            (Errno::INTR, Failure::Lost),
            (Errno::CONNABORTED, Failure::Lost),
            (Errno::PERM, Failure::Lost),
            (Errno::HOSTUNREACH, Failure::Lost),
            (Errno::MFILE, Failure::Short),
            (Errno::NFILE, Failure::Short),
            (Errno::NOBUFS, Failure::Short),
            (Errno::NOMEM, Failure::Short),
            (Errno::BADF, Failure::Short),
        ] {
            assert_eq!(classify(&errno.into()), failure, "{errno:?}");
        }
    }

    /// Runs one turn against a queue of outcomes: what was taken, and the news.
    fn turn(
        accepting: &mut Accepting,
        mono_ms: u64,
        queue: &mut VecDeque<Result<u32, Errno>>,
    ) -> (usize, Option<News>) {
        let mut taken = 0;
        let next = || {
            queue
                .pop_front()
                .unwrap_or(Err(Errno::AGAIN))
                .map_err(io::Error::from)
        };
        let news = accepting.accept(mono_ms, next, |_| {
            taken += 1;
            Ok(())
        });
        (taken, news)
    }

    #[test]
    fn lost_connections_do_not_stop_the_others() {
        let mut accepting = Accepting::default();
        let mut queue = VecDeque::from([
            Ok(1),
            Err(Errno::CONNABORTED),
            Ok(2),
            Err(Errno::INTR),
            Ok(3),
        ]);
        assert!(
            matches!(turn(&mut accepting, 0, &mut queue), (0, None)),
            "there was no event yet"
        );
        accepting.ready();
        assert_eq!(accepting.timeout_ms(0), Some(0));
        assert!(matches!(turn(&mut accepting, 0, &mut queue), (3, None)));
        assert_eq!(accepting.timeout_ms(0), None);
    }

    #[test]
    fn a_budget_leaves_the_rest_for_the_next_turn() {
        let mut accepting = Accepting::default();
        accepting.ready();
        let budget = ACCEPT_COUNT_PER_TURN as usize;
        let mut queue: VecDeque<_> = (0..ACCEPT_COUNT_PER_TURN + 1).map(Ok).collect();
        assert_eq!(turn(&mut accepting, 0, &mut queue).0, budget);
        assert_eq!(accepting.timeout_ms(0), Some(0), "without another event");
        assert_eq!(turn(&mut accepting, 0, &mut queue).0, 1);
        assert_eq!(accepting.timeout_ms(0), None);
    }

    #[test]
    fn a_pause_is_told_once_and_ends_by_itself() {
        let mut accepting = Accepting::default();
        accepting.ready();
        let mut queue = VecDeque::from([Ok(1), Err(Errno::MFILE)]);
        assert!(matches!(
            turn(&mut accepting, 1000, &mut queue),
            (1, Some(News::Paused(_)))
        ));
        assert_eq!(accepting.timeout_ms(1000), Some(ACCEPT_PAUSE_MS));

        accepting.ready();
        queue.extend([Ok(2), Err(Errno::MFILE)]);
        let early = 1000 + ACCEPT_PAUSE_MS - 1;
        assert!(
            matches!(turn(&mut accepting, early, &mut queue), (0, None)),
            "an event does not end a pause"
        );

        let retry = 1000 + ACCEPT_PAUSE_MS;
        assert!(
            matches!(turn(&mut accepting, retry, &mut queue), (1, None)),
            "the second failure is no news"
        );
        assert_eq!(accepting.timeout_ms(retry), Some(ACCEPT_PAUSE_MS));

        queue.push_back(Ok(3));
        let end = retry + ACCEPT_PAUSE_MS;
        assert!(matches!(
            turn(&mut accepting, end, &mut queue),
            (1, Some(News::Resumed))
        ));
        assert_eq!(accepting.timeout_ms(end), None);
    }

    #[test]
    fn a_connection_that_cannot_be_taken_pauses_too() {
        let mut accepting = Accepting::default();
        accepting.ready();
        let news = accepting.accept(0, || Ok(()), |()| Err(Errno::NOSPC.into()));
        assert!(matches!(news, Some(News::Paused(_))));
    }
}
