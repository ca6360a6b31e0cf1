//! Questions of an operator to all shards. Each looks on in its own turns; whoever asked waits, and nobody else.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::overview::{Found, Survey};
use crate::limits::ADMIN_ANSWER_MS;

/// Where questions wait for their shards.
pub struct Surveys {
    desks: Vec<Desk>,
    /// Held by whoever asks: one at a time.
    asking: Mutex<()>,
}

/// Where the question for one shard waits.
#[derive(Default)]
struct Desk {
    /// Kept beside the lock, so that every turn can look without taking it.
    is_asked: AtomicBool,
    question: Mutex<Option<Task>>,
}

/// A question that a shard works on.
pub struct Task {
    /// What it looks for, and what it has found.
    pub survey: Survey,
    shard: usize,
    answer: Sender<(usize, Found)>,
}

impl Task {
    /// Everything was looked at. Whoever asked may have gone.
    pub fn finish(self) {
        let _ = self.answer.send((self.shard, self.survey.found));
    }
}

impl Surveys {
    /// For so many shards.
    pub fn new(shard_count: u16) -> Surveys {
        Surveys {
            desks: (0..shard_count).map(|_| Desk::default()).collect(),
            asking: Mutex::default(),
        }
    }

    /// Asks every shard, which `ring` wakes, and waits for the answers. `None` where one is not there in time.
    pub fn ask(
        &self,
        survey: &Survey,
        ring: impl FnOnce() -> io::Result<()>,
    ) -> Option<Vec<Found>> {
        let deadline = Instant::now() + Duration::from_millis(ADMIN_ANSWER_MS);
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, answers) = mpsc::channel();
        for (shard, desk) in self.desks.iter().enumerate() {
            desk.put(Task {
                survey: survey.clone(),
                shard,
                answer: answer.clone(),
            });
        }
        drop(answer);
        ring().ok()?;
        let mut found: Vec<Option<Found>> = self.desks.iter().map(|_| None).collect();
        for _ in &self.desks {
            let left = deadline.saturating_duration_since(Instant::now());
            let (shard, part) = answers.recv_timeout(left).ok()?;
            *found.get_mut(shard)? = Some(part);
        }
        found.into_iter().collect()
    }

    /// The question that waits for a shard. Cheap when there is none.
    pub fn take(&self, shard: u16) -> Option<Task> {
        let desk = self.desks.get(usize::from(shard))?;
        if !desk.is_asked.load(Ordering::Acquire) {
            return None;
        }
        let mut question = desk.question.lock().unwrap_or_else(PoisonError::into_inner);
        desk.is_asked.store(false, Ordering::Release);
        question.take()
    }
}

impl Desk {
    /// Replaces what nobody waits for any more.
    fn put(&self, task: Task) {
        let mut question = self.question.lock().unwrap_or_else(PoisonError::into_inner);
        *question = Some(task);
        self.is_asked.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn every_shard_is_asked_and_its_answer_has_its_place() {
        let surveys = Surveys::new(3);
        assert!(surveys.take(0).is_none());
        let answer = |shard| loop {
            if let Some(task) = surveys.take(shard) {
                break task.finish();
            }
            thread::yield_now();
        };
        let found = thread::scope(|scope| {
            for shard in [2, 0, 1] {
                scope.spawn(move || answer(shard));
            }
            surveys.ask(&Survey::of_rooms(5), || Ok(()))
        });
        assert_eq!(found.expect("all answer").len(), 3);
        assert!(surveys.take(0).is_none());
    }

    #[test]
    fn a_shard_that_does_not_answer_is_not_waited_for_for_ever() {
        let surveys = Surveys::new(2);
        let began = Instant::now();
        assert!(surveys.ask(&Survey::of_rooms(5), || Ok(())).is_none());
        assert!(began.elapsed() >= Duration::from_millis(ADMIN_ANSWER_MS));
        // Its answer to that question goes nowhere.
        surveys.take(0).expect("it was asked").finish();
    }
}
