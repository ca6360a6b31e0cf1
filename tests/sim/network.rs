//! Some shards, the mail between them, and the connections to them, on a clock that jumps.
//!
//! A shard takes a turn only when a reactor would wake it: for an edge of a socket, a new connection, mail, or the
//! time that the engine asked for. A wake-up that the engine forgot to ask for is therefore missed here too.

use crate::disk::{Disk, Kept, SimPort};
use crate::image::Image;
use crate::link::{Link, Quality, SharedLink, SimSocket};
use crate::planted::{self, Planted};
use crate::rng::Rng;
use crate::table::DiskFaults;
use roomcast::callers::{Caller, Seat, TurnedAway};
use roomcast::counters::Counters;
use roomcast::engine::{Engine, Now, Place, Settings, Site, Walk};
use roomcast::hashing::HashKey;
use roomcast::limits::MAIL_BYTES_MAX;
use roomcast::log::MemoryLog;
use roomcast::mail::Mail;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// 2023-11-14, so that times have their usual length.
const UNIX_MS: u64 = 1_700_000_000_000;

/// How often what goes wrong between shards and their kernel, in cases of 1000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A shard wakes without a reason.
    pub spurious_wakes: u32,
    /// A socket that did not change is reported.
    pub spurious_events: u32,
    /// An event is told one poll later.
    pub late_events: u32,
    /// A shard that should run does not get to.
    pub slow_shards: u32,
    /// Longest time that mail takes, in milliseconds.
    pub mail_delay_ms_max: u64,
    /// The process ends after a turn, and another one starts on the same disk.
    pub crashes: u32,
}

/// The process around the shards.
#[derive(Debug)]
pub struct Process {
    connection_count: AtomicU32,
    connection_count_max: u32,
}

impl Process {
    /// Connections that are admitted now.
    pub fn connection_count(&self) -> u32 {
        self.connection_count.load(Ordering::Relaxed)
    }
}

impl Process {
    fn new(settings: &Settings) -> Process {
        Process {
            connection_count: AtomicU32::new(0),
            connection_count_max: settings.limits.connection_count_max,
        }
    }
}

impl Site for Process {
    fn admit(&self, _: Option<IpAddr>, _: u64) -> Result<Seat, TurnedAway> {
        if self.connection_count() < self.connection_count_max {
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
        out.push_str("# no metrics\n");
    }

    fn readiness(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

struct Shard {
    engine: Engine<SimSocket, SimPort>,
    links: Vec<SharedLink>,
    to_accept: VecDeque<SharedLink>,
    wake_at_ms: Option<u64>,
    bell: bool,
}

#[derive(Default)]
struct Lane {
    batches: VecDeque<(u64, Vec<Mail>, usize)>,
}

/// See the [module](self).
pub struct Network {
    /// Milliseconds since the start.
    pub now_ms: u64,
    pub crash_count: u32,
    faults: Faults,
    planted: Option<Planted>,
    walk: Walk,
    rng: Rng,
    settings: Arc<Settings>,
    process: Arc<Process>,
    shards: Vec<Shard>,
    /// By sender, then by receiver.
    lanes: Vec<Vec<Lane>>,
    disk: Option<Disk>,
    /// How far the clock of the day is off, in milliseconds; a restart may set it back.
    unix_ms: u64,
    /// What the processes before have counted.
    counted_before: Counters,
}

impl Network {
    /// Shards without connections.
    pub fn new(shard_count: u16, settings: Settings, faults: Faults, rng: Rng) -> Network {
        let process = Arc::new(Process::new(&settings));
        let mut network = Network {
            now_ms: 0,
            crash_count: 0,
            faults,
            planted: None,
            walk: Walk::default(),
            rng,
            settings: Arc::new(settings),
            process,
            shards: Vec::new(),
            lanes: Vec::new(),
            disk: None,
            unix_ms: UNIX_MS,
            counted_before: Counters::default(),
        };
        network.start(shard_count, &Kept::default());
        network
    }

    /// Shards on a disk, with a bug if one is planted.
    pub fn on_disk(mut self, faults: DiskFaults, planted: Option<Planted>) -> Network {
        let shard_count = self.shard_count();
        self.planted = planted;
        self.walk.is_forward = planted == Some(Planted::WalksForward);
        self.disk = Some(Disk::new(shard_count, faults, planted, self.rng.fork()));
        self.start(shard_count, &Kept::default());
        self
    }

    /// From now on shards send so many room frames in a turn.
    pub fn take_slices(&mut self, send_count: u32) {
        self.walk.send_count = send_count;
        for shard in &mut self.shards {
            shard.engine.set_walk(self.walk);
        }
    }

    /// Makes shards that know of nothing but what was kept.
    fn start(&mut self, shard_count: u16, kept: &Kept) {
        let hash_key = HashKey::new((self.rng.bits(), self.rng.bits()));
        self.process = Arc::new(Process::new(&self.settings));
        self.shards = (0..shard_count)
            .map(|shard| self.make_shard(shard, shard_count, hash_key, kept))
            .collect();
        self.lanes = (0..shard_count)
            .map(|_| (0..shard_count).map(|_| Lane::default()).collect())
            .collect();
    }

    fn make_shard(&mut self, shard: u16, count: u16, hash_key: HashKey, kept: &Kept) -> Shard {
        let mut seed = [0; 32];
        seed.iter_mut()
            .for_each(|byte| *byte = self.rng.bits().to_le_bytes()[0]);
        let log = match &self.disk {
            Some(disk) => disk.port(shard),
            None => SimPort::Memory(MemoryLog::new(hash_key)),
        };
        let (settings, site) = (Arc::clone(&self.settings), Arc::clone(&self.process));
        let mut engine = Engine::new(Place { shard, count }, settings, site, log, hash_key, seed);
        kept.names.iter().for_each(|name| engine.restore(name));
        kept.bans
            .iter()
            .for_each(|ban| engine.restore_sanction(ban));
        engine.set_walk(self.walk);
        Shard {
            engine,
            links: Vec::new(),
            to_accept: VecDeque::new(),
            wake_at_ms: None,
            bell: false,
        }
    }

    /// The process ends at once: memory, mail and sockets are gone. Another one starts on what the disk has.
    pub fn crash(&mut self) {
        self.crash_count += 1;
        for shard in &self.shards {
            let links = shard.links.iter().chain(&shard.to_accept);
            links.for_each(|link| link.borrow_mut().crash());
            self.counted_before.add(shard.engine.counters());
        }
        let before = &mut self.counted_before;
        (before.rooms, before.users, before.log_bytes) = (0, 0, 0);
        let still_ms = *self.rng.pick(&[0, 0, 100, 7_000]);
        self.unix_ms = self.unix_ms + still_ms - 3_500;
        let (shard_count, unix_ms) = (self.shard_count(), self.now().unix_ms);
        let kept = match &mut self.disk {
            Some(disk) => disk.crash(shard_count, unix_ms),
            None => Kept::default(),
        };
        self.start(shard_count, &kept);
    }

    fn shard_count(&self) -> u16 {
        u16::try_from(self.shards.len()).unwrap()
    }

    /// The disk under the shards, where there is one.
    pub fn disk(&mut self) -> &mut Disk {
        self.disk.as_mut().expect("a scene that put them on one")
    }

    /// What the next process would find on the disk, if there is one.
    pub fn left_on_disk(&mut self) -> Option<Image> {
        self.disk.as_mut().map(Disk::left)
    }

    /// A client connects; `shard` accepts it when it gets to it.
    pub fn connect(&mut self, shard: usize, quality: Quality) -> SharedLink {
        let link = Link::new(quality, self.rng.fork());
        self.shards[shard].to_accept.push_back(Rc::clone(&link));
        link
    }

    /// Gives every shard that has a reason its turn. Returns how many took one.
    ///
    /// # Errors
    ///
    /// An invariant of a shard does not hold after its turn.
    pub fn run(&mut self) -> Result<usize, String> {
        let mut turn_count = usize::from(self.run_disk());
        for shard in self.rng.order(self.shards.len()) {
            if self.rng.chance(self.faults.crashes) {
                self.crash();
                return Ok(1);
            }
            self.arrive(shard);
            let is_spurious = self.rng.chance(self.faults.spurious_wakes);
            if is_spurious || (self.is_due(shard) && !self.rng.chance(self.faults.slow_shards)) {
                self.turn(shard);
                self.audit(shard)?;
                turn_count += 1;
            }
        }
        Ok(turn_count)
    }

    /// Lets the disk do what is due, and wakes the shards that it has news for.
    fn run_disk(&mut self) -> bool {
        let Some(disk) = &mut self.disk else {
            return false;
        };
        let is_busy = disk.run(self.now_ms);
        if self.planted == Some(Planted::MistakesASlot) {
            let shards = self.shards.iter().map(|shard| shard.links.as_slice());
            planted::mistake_slots(disk.answers_mut(), &shards.collect::<Vec<_>>());
        }
        let bells = disk.take_bells();
        for (number, shard) in self.shards.iter_mut().enumerate() {
            shard.bell |= bells & 1 << number != 0;
        }
        is_busy
    }

    /// Whether a shard has a reason to take a turn that it did not take, or the disk something to do.
    pub fn is_late(&self) -> bool {
        let is_disk_due = self
            .disk
            .as_ref()
            .is_some_and(|disk| disk.is_due(self.now_ms));
        is_disk_due || (0..self.shards.len()).any(|shard| self.is_due(shard))
    }

    /// When something happens by itself next.
    pub fn next_ms(&self) -> Option<u64> {
        let wakes = self.shards.iter().filter_map(|shard| shard.wake_at_ms);
        let links = self.shards.iter().flat_map(|shard| &shard.links);
        let arrivals = links.filter_map(|link| link.borrow().next_arrival());
        let lanes = self.lanes.iter().flatten();
        let mail = lanes.filter_map(|lane| lane.batches.front().map(|(arrival, _, _)| *arrival));
        let disk = self.disk.as_ref().and_then(Disk::next_ms);
        wakes.chain(arrivals).chain(mail).chain(disk).min()
    }

    /// From now on nothing goes wrong any more.
    pub fn calm(&mut self) {
        self.faults = Faults::default();
        if let Some(disk) = &mut self.disk {
            disk.calm(self.now_ms);
        }
        for shard in &self.shards {
            let links = shard.links.iter().chain(&shard.to_accept);
            links.for_each(|link| link.borrow_mut().calm());
        }
    }

    /// Tells every shard to stop.
    pub fn stop(&mut self) {
        let now = self.now();
        for shard in &mut self.shards {
            shard.engine.drain(now);
            shard.bell = true;
        }
    }

    /// Whether every shard has nothing left to tell anybody.
    pub fn has_stopped(&self) -> bool {
        self.shards.iter().all(|shard| shard.engine.drained())
    }

    /// The process around the shards.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What each shard counted, and those of processes before.
    pub fn counters(&self) -> impl Iterator<Item = &Counters> {
        let before = std::iter::once(&self.counted_before);
        before.chain(self.shards.iter().map(|shard| shard.engine.counters()))
    }

    /// Connections of each shard.
    pub fn peer_counts(&self) -> impl Iterator<Item = usize> {
        self.shards.iter().map(|shard| shard.engine.peer_count())
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            unix_ms: self.unix_ms + self.now_ms,
        }
    }

    fn arrive(&mut self, shard: usize) {
        for link in &self.shards[shard].links {
            let mut link = link.borrow_mut();
            link.arrive(self.now_ms);
            if self.rng.chance(300) {
                link.relax();
            }
        }
    }

    fn is_due(&self, shard: usize) -> bool {
        let Shard {
            links,
            to_accept,
            wake_at_ms,
            bell,
            ..
        } = &self.shards[shard];
        let has_mail = self.lanes.iter().any(|lanes| {
            let first = lanes[shard].batches.front();
            first.is_some_and(|(arrival, _, _)| *arrival <= self.now_ms)
        });
        *bell
            || has_mail
            || !to_accept.is_empty()
            || wake_at_ms.is_some_and(|wake| wake <= self.now_ms)
            || links.iter().any(|link| link.borrow().has_edge())
    }

    /// The same phases as the reactor's turn, in the same order.
    fn turn(&mut self, shard: usize) {
        self.shards[shard].bell = false;
        self.note_events(shard);
        self.take_mail(shard);
        let now = self.now();
        self.shards[shard].engine.turn(now);
        self.send_mail(shard);
        self.accept(shard);
        let Shard {
            engine,
            links,
            wake_at_ms,
            ..
        } = &mut self.shards[shard];
        let link_count = links.len();
        links.retain(|link| !link.borrow().is_over());
        if self.planted == Some(Planted::LosesAWakeUp) && links.len() < link_count {
            planted::lose_a_wake_up(links);
        }
        *wake_at_ms = engine
            .timeout_ms(now)
            .map(|timeout_ms| now.mono_ms + timeout_ms);
    }

    fn note_events(&mut self, shard: usize) {
        let Shard { engine, links, .. } = &mut self.shards[shard];
        for place in self.rng.order(links.len()) {
            let mut link = links[place].borrow_mut();
            let event = if self.rng.chance(self.faults.late_events) {
                None
            } else if self.rng.chance(self.faults.spurious_events) {
                link.poll_spuriously()
            } else {
                link.poll()
            };
            if let Some((slot, readiness)) = event {
                engine.ready(
                    slot,
                    readiness.readable,
                    readiness.writable,
                    readiness.hung_up,
                );
            }
        }
    }

    fn take_mail(&mut self, shard: usize) {
        let to = u16::try_from(shard).unwrap();
        for from in (0..to).chain(to + 1..u16::try_from(self.shards.len()).unwrap()) {
            let lane = &mut self.lanes[usize::from(from)][shard];
            let (mut mail, mut bytes) = (Vec::new(), 0);
            while let Some((arrival, _, _)) = lane.batches.front()
                && *arrival <= self.now_ms
            {
                let (_, batch, batch_bytes) = lane.batches.pop_front().unwrap();
                mail.extend(batch);
                bytes += batch_bytes;
            }
            if !mail.is_empty() {
                self.shards[shard].engine.mail(from, mail);
            }
            if bytes > MAIL_BYTES_MAX {
                self.shards[usize::from(from)].bell = true;
            }
            let lane = &self.lanes[shard][usize::from(from)];
            let waiting = lane.batches.iter().map(|(_, _, bytes)| *bytes).sum();
            self.shards[shard].engine.backlog(from, waiting);
        }
    }

    fn send_mail(&mut self, shard: usize) {
        for to in (0..self.shards.len()).filter(|to| *to != shard) {
            let mut mail = self.shards[shard]
                .engine
                .outgoing(u16::try_from(to).unwrap());
            if self.planted == Some(Planted::ResumesOneOff) {
                mail.iter_mut().for_each(planted::resume_one_off);
            }
            if mail.is_empty() {
                continue;
            }
            let bytes = mail.iter().map(Mail::bytes).sum();
            let delay = self.rng.below(self.faults.mail_delay_ms_max as usize + 1) as u64;
            let lane = &mut self.lanes[shard][to];
            let last = lane.batches.back().map_or(0, |(arrival, _, _)| *arrival);
            let arrival = last.max(self.now_ms + delay);
            lane.batches.push_back((arrival, mail, bytes));
        }
    }

    fn accept(&mut self, shard: usize) {
        let (number, now) = (u16::try_from(shard).unwrap(), self.now());
        let Shard {
            engine,
            links,
            to_accept,
            ..
        } = &mut self.shards[shard];
        while let Some(link) = to_accept.pop_front() {
            let socket = SimSocket(Rc::clone(&link));
            engine.accept(now, Caller::UNKNOWN, |slot, ()| {
                link.borrow_mut().register(number, slot);
                Some(socket)
            });
            links.push(link);
        }
    }

    /// What is left once all connections have ended.
    pub fn audit_end(&self) -> Result<(), String> {
        let mut shards = self.shards.iter().enumerate();
        shards.try_for_each(|(number, shard)| {
            let end = shard.engine.audit_end();
            end.map_err(|fault| format!("shard {number}: {fault}"))
        })
    }

    fn audit(&self, shard: usize) -> Result<(), String> {
        let engine = &self.shards[shard].engine;
        if engine.counters().bugs_total > 0 {
            return Err(format!("shard {shard} met a bug of its own"));
        }
        engine
            .audit()
            .map_err(|fault| format!("shard {shard}: {fault}"))
    }
}
