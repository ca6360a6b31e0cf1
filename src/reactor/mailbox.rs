//! Mail between shards: one FIFO per ordered pair, taken whole, with coalesced wake-ups.
//!
//! A sender locks a lane once per turn and a receiver once per batch, so a lock is held for a move of a few words and
//! never waited for. A bell that already rings is not rung again: under load a shard that is awake anyway costs its
//! senders one atomic exchange.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use mio::Waker;

use crate::limits::MAIL_BYTES_MAX;

/// The lanes between all shards of a process, and a bell for each shard.
pub struct Exchange<M> {
    bells: Vec<Bell>,
    /// By sender, then by receiver.
    lanes: Vec<Vec<Lane<M>>>,
}

/// Mail on its way from one shard to another, in order.
struct Lane<M> {
    waiting: Mutex<Vec<M>>,
    /// Kept beside the lock, so that a sender can look without taking it.
    waiting_bytes: AtomicUsize,
}

/// Wakes a shard, once until it answers.
struct Bell {
    rings: AtomicBool,
    waker: Waker,
}

impl<M> Exchange<M> {
    /// An exchange of as many shards as there are wakers.
    pub fn new(wakers: Vec<Waker>) -> Exchange<M> {
        let count = wakers.len();
        let row = || (0..count).map(|_| Lane::default()).collect();
        Exchange {
            lanes: (0..count).map(|_| row()).collect(),
            bells: wakers
                .into_iter()
                .map(|waker| Bell {
                    rings: AtomicBool::new(false),
                    waker,
                })
                .collect(),
        }
    }

    /// Posts mail from one shard to another; `bytes` is its size.
    ///
    /// # Errors
    ///
    /// The receiver could not be woken. The mail waits for it nevertheless.
    pub fn post(&self, from: u16, to: u16, mail: Vec<M>, bytes: usize) -> io::Result<()> {
        if mail.is_empty() {
            return Ok(());
        }
        self.lane(from, to).put(mail, bytes);
        self.ring(to)
    }

    /// Bytes that wait for `to` in the lane from `from`.
    pub fn waiting_bytes(&self, from: u16, to: u16) -> usize {
        self.lane(from, to).waiting_bytes.load(Ordering::Relaxed)
    }

    /// Hands everything that waits for `to` to `each`, with its sender. Cheap when the bell does not ring.
    ///
    /// # Errors
    ///
    /// A sender that was over its bound could not be woken.
    pub fn take(&self, to: u16, mut each: impl FnMut(u16, Vec<M>)) -> io::Result<()> {
        if !self.answer(to) {
            return Ok(());
        }
        for from in self.others(to) {
            let (mail, bytes) = self.lane(from, to).take();
            if !mail.is_empty() {
                each(from, mail);
            }
            // A sender that reads nobody because of this lane has to hear that there is room.
            if bytes > MAIL_BYTES_MAX {
                self.ring(from)?;
            }
        }
        Ok(())
    }

    /// Wakes `shard`, unless it was woken already and has not looked since.
    ///
    /// # Errors
    ///
    /// It could not be woken.
    pub fn ring(&self, shard: u16) -> io::Result<()> {
        let bell = &self.bells[usize::from(shard)];
        if bell.rings.swap(true, Ordering::AcqRel) {
            Ok(())
        } else {
            bell.waker.wake()
        }
    }

    /// Wakes every shard.
    ///
    /// # Errors
    ///
    /// One could not be woken; the others were tried.
    pub fn ring_all(&self) -> io::Result<()> {
        (0..self.shard_count())
            .map(|shard| self.ring(shard))
            .fold(Ok(()), io::Result::and)
    }

    /// Stops the bell of `shard`; `false` if it did not ring. Before the lanes are looked at, so that mail which comes
    /// meanwhile rings again.
    fn answer(&self, shard: u16) -> bool {
        self.bells[usize::from(shard)]
            .rings
            .swap(false, Ordering::AcqRel)
    }

    fn lane(&self, from: u16, to: u16) -> &Lane<M> {
        &self.lanes[usize::from(from)][usize::from(to)]
    }

    /// Every shard but `shard`.
    pub fn others(&self, shard: u16) -> impl Iterator<Item = u16> + use<M> {
        (0..self.shard_count()).filter(move |other| *other != shard)
    }

    /// How many shards it joins.
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.bells.len()).expect("shards are numbered with 16 bits")
    }
}

impl<M> Lane<M> {
    fn put(&self, mut mail: Vec<M>, bytes: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            *waiting = mail;
        } else {
            waiting.append(&mut mail);
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self) -> (Vec<M>, usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        (
            mem::take(&mut *waiting),
            self.waiting_bytes.swap(0, Ordering::Relaxed),
        )
    }
}

impl<M> Default for Lane<M> {
    fn default() -> Lane<M> {
        Lane {
            waiting: Mutex::default(),
            waiting_bytes: AtomicUsize::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;
    use crate::reactor::token::Subject;

    struct Shards {
        polls: Vec<Poll>,
        exchange: Arc<Exchange<u32>>,
    }

    fn shards(count: usize) -> Shards {
        let polls: Vec<Poll> = (0..count).map(|_| Poll::new().unwrap()).collect();
        let wakers = polls
            .iter()
            .map(|poll| Waker::new(poll.registry(), Subject::Waker.token()).unwrap());
        let exchange = Arc::new(Exchange::new(wakers.collect()));
        Shards { polls, exchange }
    }

    /// Whether the shard is awake, or wakes within `timeout`.
    fn wakes(poll: &mut Poll, timeout: Duration) -> bool {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(timeout)).unwrap();
        !events.is_empty()
    }

    fn taken(exchange: &Exchange<u32>, to: u16) -> Vec<(u16, Vec<u32>)> {
        let mut batches = Vec::new();
        exchange
            .take(to, |from, mail| batches.push((from, mail)))
            .unwrap();
        batches
    }

    #[test]
    fn mail_arrives_whole_and_in_order() {
        let Shards { exchange, .. } = shards(3);
        exchange.post(0, 2, vec![1, 2], 20).unwrap();
        exchange.post(1, 2, vec![7], 10).unwrap();
        exchange.post(0, 2, vec![3], 10).unwrap();
        assert_eq!(exchange.waiting_bytes(0, 2), 30);
        assert_eq!(exchange.waiting_bytes(2, 0), 0);
        assert_eq!(taken(&exchange, 2), [(0, vec![1, 2, 3]), (1, vec![7])]);
        assert_eq!(exchange.waiting_bytes(0, 2), 0);
        assert_eq!(taken(&exchange, 2), []);
        assert_eq!(taken(&exchange, 1), []);
    }

    #[test]
    fn a_shard_is_woken_once_until_it_looks() {
        let Shards {
            mut polls,
            exchange,
        } = shards(2);
        let at_once = Duration::ZERO;
        assert!(!wakes(&mut polls[1], at_once), "nothing was posted");
        exchange.post(0, 1, Vec::new(), 0).unwrap();
        assert!(!wakes(&mut polls[1], at_once), "no mail needs no waking");
        exchange.post(0, 1, vec![1], 1).unwrap();
        assert!(wakes(&mut polls[1], at_once));
        exchange.post(0, 1, vec![2], 1).unwrap();
        assert!(
            !wakes(&mut polls[1], at_once),
            "it was woken and has not looked yet"
        );
        assert_eq!(taken(&exchange, 1), [(0, vec![1, 2])]);
        exchange.post(0, 1, vec![3], 1).unwrap();
        assert!(wakes(&mut polls[1], at_once), "it has looked since");
    }

    #[test]
    fn a_sender_over_its_bound_is_woken_when_the_lane_is_empty_again() {
        let Shards {
            mut polls,
            exchange,
        } = shards(2);
        for (bytes, woken) in [(MAIL_BYTES_MAX, false), (MAIL_BYTES_MAX + 1, true)] {
            exchange.post(0, 1, vec![1], bytes).unwrap();
            taken(&exchange, 1);
            assert_eq!(wakes(&mut polls[0], Duration::ZERO), woken, "{bytes} bytes");
        }
    }

    #[test]
    fn no_mail_is_left_behind_asleep() {
        const LAST: u32 = 20_000;
        let Shards {
            mut polls,
            exchange,
        } = shards(2);
        let sender = Arc::clone(&exchange);
        let sender = thread::spawn(move || {
            (1..=LAST).for_each(|mail| sender.post(0, 1, vec![mail], 1).unwrap())
        });
        let mut next = 1;
        while next <= LAST {
            assert!(
                wakes(&mut polls[1], Duration::from_secs(10)),
                "{next} never came"
            );
            for mail in taken(&exchange, 1).into_iter().flat_map(|(_, mail)| mail) {
                assert_eq!(mail, next);
                next += 1;
            }
        }
        sender.join().unwrap();
    }
}
