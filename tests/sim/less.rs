//! The same seed with less in it: fewer steps and clients, and kinds of faults left out. A run that fails is made as
//! small as it gets while it fails in the same way, so that whoever looks for the reason reads little.
//!
//! What is changed is written as `steps=40 hostiles=0`, and is read again from there.

use crate::plan::{Action, Plan};
use crate::planted::Planted;
use crate::runs::run;
use crate::world::World;
use roomcast::limits::{Limits, SEND_COUNT_PER_TURN};
use std::fmt;

/// Runs after which no smaller one is looked for.
const RUNS_MAX: usize = 500;

/// One number of a plan.
struct Knob {
    name: &'static str,
    /// With this the least happens.
    least: u64,
    /// What is between counts too.
    is_count: bool,
    value: fn(&Plan) -> u64,
    turn: fn(&mut Plan, u64),
}

macro_rules! knobs {
    ($($name:literal $least:expr, |$plan:ident| $place:expr;)*) => {
        [$(Knob {
            name: $name,
            least: $least as u64,
            is_count: false,
            value: |$plan| $place as u64,
            turn: |$plan, value| $place = value as _,
        },)*]
    };
}

macro_rules! disk_knobs {
    ($($name:literal $place:ident;)*) => {
        [$(Knob {
            name: $name,
            least: 0,
            is_count: false,
            value: |plan| plan.disk.map_or(0, |disk| disk.$place as u64),
            turn: |plan, value| plan.disk.iter_mut().for_each(|disk| disk.$place = value as _),
        },)*]
    };
}

const IS_STOPPED: Knob = Knob {
    name: "stopped",
    least: 0,
    is_count: false,
    value: |plan| u64::from(plan.is_stopped),
    turn: |plan, value| plan.is_stopped = value > 0,
};

const DISK: Knob = Knob {
    name: "disk",
    least: 0,
    is_count: false,
    value: |plan| u64::from(plan.disk.is_some()),
    turn: |plan, value| {
        if value == 0 {
            // A process that ends leaves nothing then.
            (plan.disk, plan.faults.crashes) = (None, 0);
        }
    },
};

const MEMBERS: Knob = Knob {
    name: "members",
    least: 0,
    is_count: false,
    value: |plan| plan.members_max.map_or(0, u64::from),
    turn: |plan, value| plan.members_max = u32::try_from(value).ok().filter(|value| *value > 0),
};

/// What can be turned: what leaves most out comes first.
fn knobs() -> Vec<Knob> {
    let usual = Limits::default();
    let mut all = vec![IS_STOPPED, DISK, MEMBERS];
    let counts = knobs! {
        "steps" 1, |plan| plan.step_count;
        "hostiles" 0, |plan| plan.hostile_count;
        "relays" 0, |plan| plan.relay_count;
        "echoes" 0, |plan| plan.echo_count;
        "guests" 0, |plan| plan.guest_count;
        "named" 1, |plan| plan.named_count;
        "devices" 1, |plan| plan.devices_per_user;
        "rooms" 1, |plan| plan.room_count;
        "shards" 1, |plan| plan.shard_count;
        "burst" 1, |plan| plan.burst_count;
        "content" 20, |plan| plan.content_bytes_max;
    };
    let is_count = true;
    all.extend(counts.map(|knob| Knob { is_count, ..knob }));
    all.extend(knobs! {
        "jumps" 0, |plan| plan.jumps;
        "crashes" 0, |plan| plan.faults.crashes;
        "wakes" 0, |plan| plan.faults.spurious_wakes;
        "events" 0, |plan| plan.faults.spurious_events;
        "late" 0, |plan| plan.faults.late_events;
        "slow" 0, |plan| plan.faults.slow_shards;
        "mail_ms" 0, |plan| plan.faults.mail_delay_ms_max;
        "delay_ms" 0, |plan| plan.delay_ms_max;
        "sends" SEND_COUNT_PER_TURN, |plan| plan.send_count;
        "cuts" 0, |plan| plan.cut_sends;
        "deflating" 0, |plan| plan.deflating_clients;
        "impatient" 0, |plan| plan.impatient_clients;
        "eager" 1000, |plan| plan.eager_clients;
        "buffer" 30_000, |plan| plan.buffer_bytes_max;
    });
    all.extend(disk_knobs! {
        "disk.commits" commits;
        "disk.writes" writes;
        "disk.recoveries" recoveries;
        "disk.reads" reads;
        "disk.trims" trims;
        "disk.commit_ms" commit_ms_max;
        "disk.read_ms" read_ms_max;
    });
    // In the order of `Action::ALL`.
    all.extend(knobs! {
        "do.join" 0, |plan| plan.weights[0];
        "do.leave" 0, |plan| plan.weights[1];
        "do.message" 0, |plan| plan.weights[2];
        "do.resend" 0, |plan| plan.weights[3];
        "do.private" 0, |plan| plan.weights[4];
        "do.signal" 0, |plan| plan.weights[5];
        "do.private_signal" 0, |plan| plan.weights[6];
        "do.history" 0, |plan| plan.weights[7];
        "do.who" 0, |plan| plan.weights[8];
        "do.heartbeat" 0, |plan| plan.weights[9];
        "do.ping" 0, |plan| plan.weights[10];
        "do.wrong" 0, |plan| plan.weights[11];
        "do.stall" 0, |plan| plan.weights[12];
        "do.disconnect" 1, |plan| plan.weights[13];
        "do.delete" 0, |plan| plan.weights[14];
        "do.kick" 0, |plan| plan.weights[15];
        "do.ban" 0, |plan| plan.weights[16];
        "do.unban" 0, |plan| plan.weights[17];
    });
    all.extend(knobs! {
        "limit.connections" usual.connection_count_max, |plan| plan.limits.connection_count_max;
        "limit.rooms" usual.room_count_max, |plan| plan.limits.room_count_max;
        "limit.joined" usual.rooms_per_connection_max, |plan| plan.limits.rooms_per_connection_max;
        "limit.presence" usual.presence_events_max, |plan| plan.limits.presence_events_max;
        "limit.names" usual.name_count_max, |plan| plan.limits.name_count_max;
        "limit.inbox" usual.inbox_bytes_max, |plan| plan.limits.inbox_bytes_max;
        "limit.tail" usual.tail_bytes_max, |plan| plan.limits.tail_bytes_max;
        "limit.log" usual.log_bytes_max, |plan| plan.limits.log_bytes_max;
        "limit.stalled" usual.stalled_bytes_max, |plan| plan.limits.stalled_bytes_max;
        "limit.heartbeat_ms" usual.heartbeat_ms, |plan| plan.limits.heartbeat_ms;
        "limit.debounce_ms" usual.presence_debounce_ms, |plan| plan.limits.presence_debounce_ms;
        "limit.count_ms" usual.presence_count_ms, |plan| plan.limits.presence_count_ms;
        "limit.hold_ms" usual.room_hold_ms, |plan| plan.limits.room_hold_ms;
    });
    all
}

/// What of a plan is changed, in the order in which it is: names of knobs and their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Less(Vec<(&'static str, u64)>);

impl Less {
    /// Reads what [`Less`] writes.
    ///
    /// # Errors
    ///
    /// Something in it is no knob, or no number.
    pub fn read(text: &str) -> Result<Less, String> {
        let read = |word: &str| {
            let (name, value) = word.split_once('=')?;
            let knob = knobs().into_iter().find(|knob| knob.name == name)?;
            Some((knob.name, value.parse().ok()?))
        };
        let read = |word| read(word).ok_or_else(|| format!("no such knob or number: {word:?}"));
        Ok(Less(
            text.split_whitespace()
                .map(read)
                .collect::<Result<_, _>>()?,
        ))
    }

    /// Changes a plan.
    pub fn turn(&self, plan: &mut Plan) {
        let knobs = knobs();
        for (name, value) in &self.0 {
            let knob = knobs.iter().find(|knob| knob.name == *name);
            knob.into_iter().for_each(|knob| (knob.turn)(plan, *value));
        }
    }

    fn with(&self, name: &'static str, value: u64) -> Less {
        let others = self.0.iter().filter(|(other, _)| *other != name);
        Less(others.copied().chain([(name, value)]).collect())
    }
}

impl fmt::Display for Less {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

/// Looks for the smallest run of a seed that fails in the same way.
struct Search {
    seed: u64,
    planted: Option<Planted>,
    /// How it fails.
    kind: String,
    /// The smallest so far, with how it fails.
    best: (Less, String),
    runs_left: usize,
}

/// What is left of a seed that fails with `fault`, and how that fails.
pub fn shrink(seed: u64, planted: Option<Planted>, fault: String) -> (Less, String) {
    let mut search = Search {
        seed,
        planted,
        kind: kind(&fault),
        best: (Less::default(), fault),
        runs_left: RUNS_MAX,
    };
    // What could not be left out at first may be when other things are.
    while search.pass() {}
    search.best
}

impl Search {
    /// Tries every knob once. Returns whether any could be turned.
    fn pass(&mut self) -> bool {
        let mut is_smaller = false;
        for knob in knobs() {
            is_smaller |= self.turn_down(&knob);
        }
        is_smaller && self.runs_left > 0
    }

    /// Turns a knob all the way, or, where it is a count, as far as it goes by halves.
    fn turn_down(&mut self, knob: &Knob) -> bool {
        let now = (knob.value)(&World::plan(self.seed, &self.best.0).0);
        if now == knob.least || self.fails_with(knob.name, knob.least) {
            return now != knob.least;
        }
        let (mut good, mut bad) = (knob.least, now);
        while knob.is_count && bad.saturating_sub(good) > 1 {
            let middle = good + (bad - good) / 2;
            match self.fails_with(knob.name, middle) {
                true => bad = middle,
                false => good = middle,
            }
        }
        bad != now
    }

    /// Runs the smallest so far with one knob turned, and keeps that if it fails in the same way.
    fn fails_with(&mut self, name: &'static str, value: u64) -> bool {
        if self.runs_left == 0 {
            return false;
        }
        self.runs_left -= 1;
        let less = self.best.0.with(name, value);
        match run(self.seed, &less, self.planted, false) {
            Err(fault) if kind(&fault) == self.kind => {
                self.best = (less, fault);
                true
            }
            Err(_) | Ok(_) => false,
        }
    }
}

/// The first words of a fault, without times, numbers and names.
fn kind(fault: &str) -> String {
    let is_word = |word: &&str| word.chars().all(char::is_alphabetic);
    let words: Vec<&str> = fault.split_whitespace().filter(is_word).take(5).collect();
    words.join(" ")
}

#[test]
fn every_action_can_be_left_out() {
    let is_action = |knob: &&Knob| knob.name.starts_with("do.");
    let count = knobs().iter().filter(is_action).count();
    assert_eq!(count, Action::ALL.len());
}

#[test]
fn what_is_left_of_a_seed_fails_as_the_seed_does() {
    let planted = Some(Planted::ResumesOneOff);
    let failure = |seed| Some((seed, run(seed, &Less::default(), planted, false).err()?));
    let (seed, fault) = (0..100).find_map(failure).expect("it is seen");
    let (less, smaller) = shrink(seed, planted, fault.clone());
    assert_eq!(kind(&smaller), kind(&fault));
    let (whole, _) = World::plan(seed, &Less::default());
    let (left, _) = World::plan(seed, &less);
    assert!(left.step_count < whole.step_count, "{less}");
    assert_eq!(left.hostile_count + left.echo_count, 0, "{less}");
    let again = Less::read(&less.to_string()).unwrap();
    assert_eq!(again, less);
    assert_eq!(run(seed, &again, planted, false).unwrap_err(), smaller);
    assert!(Less::read("steps=many").is_err() && Less::read("stairs=1").is_err());
}
