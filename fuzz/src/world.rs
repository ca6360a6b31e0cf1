//! One shard or several on a clock that jumps, with the mail between them. A shard takes a turn only when a reactor
//! would wake it, so a wake-up that the engine forgot to ask for is missed here too.

use super::pipe::{End, Pipe, SharedPipe};
use roomcast::callers::{Caller, Seat, TurnedAway};
use roomcast::engine::{Engine, Now, Place, Settings, Site};
use roomcast::hashing::HashKey;
use roomcast::http::Endpoints;
use roomcast::limits::Limits;
use roomcast::log::MemoryLog;
use roomcast::mail::Mail;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const UNIX_MS: u64 = 1_700_000_000_000;

/// Turns after which shards that were given nothing new have to be at rest.
const TURN_COUNT_MAX: usize = 5_000;

/// Wake-ups that are followed one by one on the way to a later time.
const WAKE_COUNT_MAX: usize = 100;

struct Process {
    connection_count: AtomicU32,
}

/// Most connections at a time; one more is turned away.
pub const CONNECTION_COUNT_MAX: u32 = 6;

impl Site for Process {
    fn admit(&self, _: Option<IpAddr>, _: u64) -> Result<Seat, TurnedAway> {
        if self.connection_count.load(Ordering::Relaxed) < CONNECTION_COUNT_MAX {
            self.connection_count.fetch_add(1, Ordering::Relaxed);
            Ok(Seat::UNCOUNTED)
        } else {
            Err(TurnedAway::Full)
        }
    }

    fn reseat(&self, seat: Seat, _: IpAddr, _: u64) -> Result<Seat, TurnedAway> {
        Ok(seat)
    }

    fn release(&self, _: Seat, _: u64) {
        let before = self.connection_count.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "more connections were released than admitted");
    }

    fn metrics(&self, out: &mut String) {
        out.push_str("# none\n");
    }

    fn readiness(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

struct Shard {
    engine: Engine<End, MemoryLog>,
    pipes: Vec<SharedPipe>,
    to_accept: VecDeque<SharedPipe>,
    wake_at_ms: Option<u64>,
}

/// See the [module](self).
pub struct World {
    now_ms: u64,
    process: Arc<Process>,
    shards: Vec<Shard>,
    /// Mail on its way: from, to, what.
    mail: VecDeque<(usize, usize, Vec<Mail>)>,
}

/// Bounds so small that a short input meets them.
fn settings() -> Settings {
    Settings {
        limits: Limits {
            message_bytes_max: 20_000,
            room_count_max: 12,
            rooms_per_connection_max: 3,
            presence_events_max: 3,
            name_count_max: 16,
            names_per_address_max: 8,
            inbox_bytes_max: 30_000,
            tail_bytes_max: 70_000,
            log_bytes_max: 400_000,
            stalled_bytes_max: 30_000,
            ..Limits::default()
        },
        endpoints: Endpoints {
            raw: true,
            echo: true,
            has_admin: false,
        },
        deflate: true,
        ..Settings::default()
    }
}

impl World {
    /// Shards without connections.
    pub fn new(shard_count: u16) -> World {
        let process = Arc::new(Process {
            connection_count: AtomicU32::new(0),
        });
        let settings = Arc::new(settings());
        let shards = (0..shard_count).map(|shard| {
            let place = Place {
                shard,
                count: shard_count,
            };
            let (hash_key, site) = (HashKey::new((1, 2)), Arc::clone(&process) as Arc<dyn Site>);
            let seed = [shard.to_le_bytes()[0]; 32];
            let (settings, log) = (Arc::clone(&settings), MemoryLog::new(hash_key));
            Shard {
                engine: Engine::new(place, settings, site, log, hash_key, seed),
                pipes: Vec::new(),
                to_accept: VecDeque::new(),
                wake_at_ms: None,
            }
        });
        World {
            now_ms: 0,
            shards: shards.collect(),
            process,
            mail: VecDeque::new(),
        }
    }

    /// A client connects.
    pub fn connect(&mut self, shard: usize) -> SharedPipe {
        let pipe = Pipe::shared();
        let shard_count = self.shards.len();
        self.shards[shard % shard_count]
            .to_accept
            .push_back(Rc::clone(&pipe));
        pipe
    }

    /// Gives turns until nobody has a reason for one.
    pub fn settle(&mut self) {
        for _ in 0..TURN_COUNT_MAX {
            let Some(shard) = (0..self.shards.len()).find(|shard| self.is_due(*shard)) else {
                return;
            };
            self.turn(shard);
        }
        panic!("the shards do not come to rest");
    }

    /// Lets time go by, with the wake-ups on the way.
    pub fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        for _ in 0..WAKE_COUNT_MAX {
            let wakes = self.shards.iter().filter_map(|shard| shard.wake_at_ms);
            let Some(wake_ms) = wakes.min().filter(|wake_ms| *wake_ms <= end_ms) else {
                break;
            };
            self.now_ms = self.now_ms.max(wake_ms);
            self.settle();
        }
        self.jump(end_ms - self.now_ms);
    }

    /// Lets time go by without a turn: a process that did not get to run.
    pub fn jump(&mut self, ms: u64) {
        self.now_ms += ms;
        self.settle();
    }

    /// The server stops. Whatever clients do, every connection is over in the end.
    pub fn stop(&mut self) {
        let now = self.now();
        for shard in &mut self.shards {
            shard.engine.drain(now);
            shard.wake_at_ms = Some(now.mono_ms);
        }
        self.settle();
        // The closing handshake, the way to the end, and the wait for the other side's.
        for _ in 0..4 {
            self.pass(u64::from(Limits::default().close_ms) + 200);
        }
        for shard in &self.shards {
            assert!(shard.engine.drained(), "a connection outlives the stop");
        }
        assert_eq!(self.process.connection_count.load(Ordering::Relaxed), 0);
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            unix_ms: UNIX_MS + self.now_ms,
        }
    }

    fn is_due(&self, shard: usize) -> bool {
        let Shard {
            pipes,
            to_accept,
            wake_at_ms,
            ..
        } = &self.shards[shard];
        !to_accept.is_empty()
            || wake_at_ms.is_some_and(|wake_ms| wake_ms <= self.now_ms)
            || self.mail.iter().any(|(_, to, _)| *to == shard)
            || pipes.iter().any(|pipe| pipe.borrow().has_edge())
    }

    /// What the reactor does in a turn, in its order.
    fn turn(&mut self, index: usize) {
        let now = self.now();
        let shard = &mut self.shards[index];
        for pipe in &shard.pipes {
            if let Some((slot, readable, writable, hung_up)) = pipe.borrow_mut().poll() {
                shard.engine.ready(slot, readable, writable, hung_up);
            }
        }
        let number = |shard| u16::try_from(shard).expect("few shards");
        let mail = std::mem::take(&mut self.mail);
        let (mine, others): (VecDeque<_>, _) =
            mail.into_iter().partition(|(_, to, _)| *to == index);
        self.mail = others;
        mine.into_iter()
            .for_each(|(from, _, mail)| shard.engine.mail(number(from), mail));
        shard.engine.turn(now);
        for to in (0..self.shards.len()).filter(|to| *to != index) {
            let mail = self.shards[index].engine.outgoing(number(to));
            if !mail.is_empty() {
                self.mail.push_back((index, to, mail));
            }
        }
        self.shards[index].accept(now);
        self.shards[index].check();
    }
}

impl Shard {
    fn accept(&mut self, now: Now) {
        for pipe in self.to_accept.drain(..) {
            let end = End(Rc::clone(&pipe));
            self.engine.accept(now, Caller::UNKNOWN, |slot, ()| {
                pipe.borrow_mut().register(slot);
                Some(end)
            });
            self.pipes.push(pipe);
        }
        self.pipes.retain(|pipe| !pipe.borrow().is_dropped());
        let timeout_ms = self.engine.timeout_ms(now);
        self.wake_at_ms = timeout_ms.map(|timeout_ms| now.mono_ms + timeout_ms);
    }

    fn check(&self) {
        assert_eq!(
            self.engine.counters().bugs_total,
            0,
            "a bug was met and survived"
        );
        if let Err(fault) = self.engine.audit() {
            panic!("{fault}");
        }
    }
}
