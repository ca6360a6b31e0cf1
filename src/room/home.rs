//! What only a room's home shard knows: who is there, on every shard, and which shards follow.

use super::{Parked, SlowMode};
use crate::hashing::HashKey;
use crate::limits::CREDIT_BYTES;
use crate::log::{Head, Opened};
use crate::mail::Mail;
use crate::timers::Tick;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Whether the log service has said where the log stands.
#[derive(Debug)]
pub enum Opening {
    /// It was asked; mail for the room waits.
    Asked(Parked),
    /// It has answered.
    Open,
}

/// Another shard with members: a cursor like a member's, with credit.
#[derive(Debug)]
pub struct Subscriber {
    /// The shard.
    pub shard: u16,
    /// The `seq_id` behind which its replica began.
    pub seq_begin: u64,
    /// The position up to which frames were sent to it.
    pub cursor: u64,
    /// Bytes sent that it has not yet taken.
    pub owed_bytes: u64,
    /// Its members, the joining ones included.
    pub member_count: u32,
    /// Answers that must not overtake the frames before their position.
    pub answers: VecDeque<(u64, Mail)>,
}

/// What a subscriber is sent next.
#[derive(Debug)]
pub enum Step {
    /// An answer: the frames before it were sent.
    Answer(Mail),
    /// Frames between two positions.
    Frames {
        /// Its cursor.
        from: u64,
        /// The head, or the place of the next answer.
        end: u64,
    },
}

impl Subscriber {
    /// An answer whose time has come, or else frames up to the next one, while credit lasts. A replica that is not in
    /// step yet takes no frames before its answer, so no answer may come later than it was made.
    pub fn step(&mut self, head: u64) -> Option<Step> {
        let end = match self.answers.front() {
            Some((position, _)) if *position <= self.cursor => {
                return self
                    .answers
                    .pop_front()
                    .map(|(_, answer)| Step::Answer(answer));
            }
            Some((position, _)) => *position,
            None => head,
        };
        let from = self.cursor;
        (from < end && self.owed_bytes < CREDIT_BYTES).then_some(Step::Frames { from, end })
    }
}

/// A change of presence that is told late, so that a reconnect is not news.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// When it is told.
    pub tick: Tick,
    /// Place of the user.
    pub user: u32,
}

/// What the home of a room knows besides its frames and its own members.
#[derive(Debug)]
pub struct Home {
    /// See [`Opening`].
    pub opening: Opening,
    /// Connections in the room by user.
    pub presence: HashMap<u32, u32, HashKey>,
    /// Users that have gone, but whose `leave` was not told yet; oldest first.
    pub leaving: VecDeque<Pending>,
    /// See [`Subscriber`].
    pub subscribers: Vec<Subscriber>,
    /// When the count of a large room may be told again.
    pub count_tick: Tick,
    /// Whether the count of a large room changed since it was told.
    pub count_changed: bool,
    /// Whether it is on the list of homes whose replicas may be behind.
    pub is_unsent: bool,
    /// Of an inbox: the last `seq_id` that its user has surely had.
    pub confirmed: u64,
    /// Whether the log service keeps the log, so that it outlives this room.
    pub is_kept: bool,
    /// How the log stood when it was opened.
    pub opened: Opened,
    /// Of a log that is kept: the last `seq_id` that is not kept any more.
    pub trimmed: u64,
    /// When the log service, which could not say where the log stands, is to be asked again.
    pub ask_again: Option<Tick>,
    /// Messages handed to the log service and not answered yet, in bytes.
    pub submitted_bytes: usize,
    /// How many messages were deleted since the room is in memory.
    pub deletion_count: u64,
    /// Of a room with slow mode: who has to wait.
    pub slow: Option<Box<SlowMode>>,
}

impl Home {
    /// The home of a room without members.
    pub fn new(opening: Opening, is_kept: bool, hash_key: HashKey) -> Home {
        Home {
            opening,
            presence: HashMap::with_hasher(hash_key),
            leaving: VecDeque::new(),
            subscribers: Vec::new(),
            count_tick: 0,
            count_changed: false,
            is_unsent: false,
            confirmed: 0,
            is_kept,
            opened: Opened::nothing(Head { epoch: 0, seq: 0 }),
            trimmed: 0,
            ask_again: None,
            submitted_bytes: 0,
            deletion_count: 0,
            slow: None,
        }
    }

    /// The subscriber of a shard.
    pub fn subscriber(&mut self, shard: u16) -> Option<&mut Subscriber> {
        self.subscribers
            .iter_mut()
            .find(|subscriber| subscriber.shard == shard)
    }

    /// The subscriber of a shard. One that is new has what is behind message `seq_begin`, and follows from the position
    /// `head` on.
    pub fn subscribe(&mut self, shard: u16, seq_begin: u64, head: u64) -> &mut Subscriber {
        let place = self
            .subscribers
            .iter()
            .position(|subscriber| subscriber.shard == shard);
        let place = place.unwrap_or_else(|| {
            self.subscribers.push(Subscriber {
                shard,
                seq_begin,
                cursor: head,
                owed_bytes: 0,
                member_count: 0,
                answers: VecDeque::new(),
            });
            self.subscribers.len() - 1
        });
        &mut self.subscribers[place]
    }

    /// The `seq_id` behind which a shard's replica has begun when an answer gets there, at most, if it said that it has
    /// what is behind `have`, and the log's is `head`. It may have said so of frames that are not in step any more.
    pub fn begun_behind(&self, shard: u16, have: Option<u64>, head: u64) -> u64 {
        let mut subscribers = self.subscribers.iter();
        let subscriber = subscribers.find(|subscriber| subscriber.shard == shard);
        match (subscriber, have) {
            (Some(subscriber), Some(have)) => have.max(subscriber.seq_begin).min(head),
            (None, _) | (_, None) => head,
        }
    }

    /// Frames before `end` are about to go: a subscriber that has not had them goes on behind them.
    pub fn lose(&mut self, end: u64) {
        for subscriber in &mut self.subscribers {
            subscriber.cursor = subscriber.cursor.max(end);
        }
    }

    /// Whether everything behind message `seq` is kept by the log service.
    pub fn has_stored(&self, seq: u64) -> bool {
        self.is_kept && seq >= self.trimmed
    }

    /// Of an inbox: about how many bytes of what was there when it was opened wait unconfirmed.
    pub fn stored_bytes(&self) -> usize {
        let Opened {
            head,
            confirmed,
            waiting_bytes,
            ..
        } = self.opened;
        let all = u128::from(head.seq.saturating_sub(confirmed));
        let left = u128::from(head.seq.saturating_sub(self.confirmed.max(confirmed)));
        let bytes = (u128::from(waiting_bytes) * left).checked_div(all);
        usize::try_from(bytes.unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// Mail that waits until the log is open, in bytes.
    pub fn parked_bytes(&self) -> usize {
        match &self.opening {
            Opening::Asked(parked) => parked.bytes(),
            Opening::Open => 0,
        }
    }

    /// Whether nobody is here and nothing is awaited.
    pub fn is_deserted(&self) -> bool {
        self.presence.is_empty()
            && self.subscribers.is_empty()
            && self.leaving.is_empty()
            && self.submitted_bytes == 0
            && matches!(self.opening, Opening::Open)
    }
}
