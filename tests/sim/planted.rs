//! Bugs on purpose: each is one that a server could have, planted where the simulation meets it, so that the server
//! stays as it is. A simulator that does not see them sees nothing.

use crate::less::Less;
use crate::link::SharedLink;
use crate::runs::run;
use roomcast::log::{Answers, Request};
use roomcast::mail::{Mail, Since};

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Messages are acknowledged and delivered while the commit is on its way.
    AnswersBeforeTheCommit,
    /// After a crash the last number of a log is given again.
    ReusesNumbers,
    /// A batch that failed leaves a hole in the numbers.
    LeavesAHole,
    /// Who resumes in a room is sent one message less.
    ResumesOneOff,
    /// The ids of messages are forgotten in a crash.
    ForgetsIds,
    /// An answer goes to whoever has the slot now.
    MistakesASlot,
    /// When connections go, one of those that wait for room is forgotten.
    LosesAWakeUp,
    /// Whoever a removal moves during a pass is skipped by it.
    WalksForward,
    /// Reading the store gives what was not told yet.
    ReadsPastTheHead,
    /// After a crash nobody remembers that the other side of a private message is to be kept.
    OwesNothing,
}

/// Who resumes is said to have had one message more.
pub fn resume_one_off(mail: &mut Mail) {
    if let Mail::Join {
        since: Some(Since { seq, .. }),
        ..
    } = mail
    {
        *seq += 1;
    }
}

/// Takes the generation off the slots to which answers go.
pub fn mistake_slots<'a>(
    answers: impl Iterator<Item = &'a mut (u16, Answers)>,
    links: &[&[SharedLink]],
) {
    for (_, answers) in answers {
        for request in &mut answers.submission.requests {
            if let Request::Append(append) = request
                && let Some(links) = links.get(usize::from(append.from.shard))
                && let Some(slot) = links
                    .iter()
                    .filter_map(|link| link.borrow().slot())
                    .find(|slot| slot.index == append.from.slot.index)
            {
                append.from.slot = slot;
            }
        }
    }
}

/// Forgets one connection that waits for room.
pub fn lose_a_wake_up(links: &[SharedLink]) {
    links.iter().any(|link| link.borrow_mut().lose_room());
}

/// Within how many seeds each has to be seen; without them all of these are good.
const SEED_COUNT: u64 = 200;

/// The bug is seen by what is there to see it, which says one of these; that something else breaks, or that an engine
/// panics, is luck.
fn catch(planted: Planted, words: &[&str]) {
    let mut others = Vec::new();
    for seed in 0..SEED_COUNT {
        match run(seed, &Less::default(), Some(planted), false) {
            Err(fault) if words.iter().any(|words| fault.contains(words)) => {
                return println!("{planted:?}: seed {seed} {fault}");
            }
            Err(fault) => others.push(format!("\nseed {seed} {fault}")),
            Ok(_) => {}
        }
    }
    panic!(
        "{planted:?} was not seen in {SEED_COUNT} seeds, but: {}",
        others.concat()
    );
}

#[test]
fn the_simulator_catches_an_answer_before_the_commit() {
    let words = ["it ends at", "was acknowledged as", "said Given"];
    catch(Planted::AnswersBeforeTheCommit, &words);
}

#[test]
fn the_simulator_catches_a_number_that_is_given_again_after_a_crash() {
    catch(Planted::ReusesNumbers, &[": number "]);
}

#[test]
fn the_simulator_catches_a_hole_after_a_failed_batch() {
    let words = [" comes next, of Reader", " and has [", "not the page"];
    catch(Planted::LeavesAHole, &words);
}

#[test]
fn the_simulator_catches_a_resume_that_is_one_off() {
    catch(Planted::ResumesOneOff, &[" comes next, of Reader"]);
}

#[test]
fn the_simulator_catches_ids_that_are_forgotten_in_a_crash() {
    let words = ["the message was numbered", " had number "];
    catch(Planted::ForgetsIds, &words);
}

#[test]
fn the_simulator_catches_an_answer_to_a_reused_slot() {
    let words = ["nothing was asked: Ack", "before the welcome: Ack"];
    catch(Planted::MistakesASlot, &words);
}

#[test]
fn the_simulator_catches_a_wake_up_that_is_lost_when_others_go() {
    let words = ["was never answered", "never heard", "missed something"];
    catch(Planted::LosesAWakeUp, &words);
}

// The bug is there only with them.
#[cfg(debug_assertions)]
#[test]
fn the_simulator_catches_a_pass_that_skips_who_was_moved() {
    catch(Planted::WalksForward, &["has skipped peer"]);
}

#[test]
fn the_simulator_catches_a_read_past_the_released_head() {
    catch(Planted::ReadsPastTheHead, &[" of Reader"]);
}

#[test]
fn the_simulator_catches_a_private_message_with_one_side() {
    catch(Planted::OwesNothing, &[" alone"]);
}
