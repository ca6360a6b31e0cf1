//! One seed from beginning to end: a time in which everything goes wrong, a calm in which everything has to come
//! right, and an end after which nothing may be left.

use crate::book::{Book, Persona};
use crate::client::{Client, Who};
use crate::connection::{Connection, Pace};
use crate::hostile::Hostile;
use crate::less::Less;
use crate::link::Quality;
use crate::network::Network;
use crate::oracle::{Event, Oracle};
use crate::plan::Plan;
use crate::planted::Planted;
use crate::relays::Relay;
use crate::rng::Rng;
use crate::runs::Tally;
use crate::told::Log;
use roomcast::counters::Counters;
use roomcast::limits::{KEPT_HOLD_MS, STORE_RETRY_MS};
use std::collections::BTreeSet;

/// Steps after which a world that has to come to rest is taken to be running in circles.
const REST_STEPS_MAX: usize = 30_000;
/// What is due later than this does not keep a world from being at rest, in milliseconds. A disk that refused a read is
/// asked again before that.
const REST_MS: u64 = STORE_RETRY_MS as u64 + 100;
/// A world in which for so long only pings were heard is at rest, in milliseconds.
const QUIET_MS: u64 = 3_000;
/// Added to a seed it decides who is kept out of rooms.
const GUARDED: u64 = 7 << 32;
const DAY_MS: u64 = 24 * 3_600_000;

/// See the [module](self).
pub struct World {
    plan: Plan,
    rng: Rng,
    net: Network,
    book: Book,
    clients: Vec<Client>,
    relays: Vec<Relay>,
    hostiles: Vec<Hostile>,
}

impl World {
    /// The world of a seed less something, with a bug if one is planted. With `is_told` everything that happens is
    /// printed.
    pub fn new(seed: u64, less: &Less, planted: Option<Planted>, is_told: bool) -> World {
        let (plan, rng) = World::plan(seed, less);
        World::of_plan(plan, planted, rng, is_told)
    }

    /// The plan of a seed less something, and the chance that decides the rest.
    pub fn plan(seed: u64, less: &Less) -> (Plan, Rng) {
        let mut rng = Rng::new(seed);
        let mut plan = Plan::new(&mut rng);
        plan.guard(&mut Rng::new(seed ^ GUARDED));
        if seed.is_multiple_of(4) {
            // Drawn apart, so that seeds that failed before there were small slices are still the same.
            plan = plan.in_small_slices(&mut Rng::new(!seed));
        }
        less.turn(&mut plan);
        (plan, rng)
    }

    /// The world of a plan.
    pub fn of_plan(plan: Plan, planted: Option<Planted>, mut rng: Rng, is_told: bool) -> World {
        let mut net = Network::new(plan.shard_count, plan.settings(), plan.faults, rng.fork());
        net.take_slices(plan.send_count);
        if let Some(disk) = plan.disk {
            net = net.on_disk(disk, planted);
        }
        let personas = (0..plan.named_count).map(|number| Persona {
            name: format!("user-{number}"),
            secret: rng.chance(850).then(|| format!("secret-of-user-{number}")),
        });
        let personas: Vec<Persona> = personas.collect();
        let rooms = (0..plan.room_count)
            .map(|number| format!("room-{number}"))
            .collect();
        let named = (0..plan.named_count * plan.devices_per_user)
            .map(|number| Who::Named(number % plan.named_count));
        let guests = (0..plan.guest_count).map(|_| Who::Guest);
        let clients = named
            .chain(guests)
            .map(|who| Client::new(who, rng.fork()))
            .collect();
        let hostiles = (0..plan.hostile_count)
            .map(|_| Hostile::new(rng.fork()))
            .collect();
        let mut relays = Vec::new();
        if plan.relay_count > 0 {
            relays.push(Relay::new("relay", true, rng.fork()));
            relays.extend((0..plan.relay_count).map(|_| Relay::new("relay", false, rng.fork())));
        }
        relays.extend((0..plan.echo_count).map(|_| Relay::echo(rng.fork())));
        let mut book = Book::new(
            Oracle::new(plan.excuses()),
            personas,
            rooms,
            plan.content_bytes,
            is_told,
        );
        book.has_jumps = plan.jumps > 0;
        book.tell(|| format!("{plan:#?}"));
        World {
            plan,
            rng,
            net,
            book,
            clients,
            relays,
            hostiles,
        }
    }

    /// Keeps every event, for [`World::trace`].
    pub fn keep_trace(&mut self) {
        self.book.trace = Some(Vec::new());
    }

    /// Every event so far, if they are kept.
    pub fn trace(&self) -> &[Event] {
        self.book.trace.as_deref().unwrap_or_default()
    }

    /// Lives through it.
    ///
    /// # Errors
    ///
    /// A promise was broken, with the time at which it was.
    pub fn run(&mut self) -> Result<Tally, String> {
        let result = self.live();
        let lived_ms = self.net.now_ms;
        let result = result.and_then(|()| self.check_nothing_is_left());
        result.map_err(|fault| format!("at {} ms: {fault}", self.net.now_ms))?;
        let mut counters = Counters::default();
        self.net.counters().for_each(|one| counters.add(one));
        Ok(Tally {
            counters,
            seed_count: 1,
            event_count: self.book.event_count,
            crash_count: self.net.crash_count.into(),
            lived_ms,
        })
    }

    fn live(&mut self) -> Result<(), String> {
        // Recorders have to be there before anybody speaks.
        for relay in self.relays.iter_mut().filter(|relay| relay.is_recorder()) {
            relay.step(&self.plan, &mut self.net, &mut self.book)?;
        }
        self.rest()?;
        for _ in 0..self.plan.step_count {
            self.step()?;
        }
        self.calm()?;
        self.rest()?;
        self.book.note(Event::Calm)?;
        self.probe()?;
        self.rest()?;
        self.ask_around()?;
        self.rest()?;
        let evictions = self
            .net
            .counters()
            .map(|counters| counters.log_evictions_total);
        self.book.oracle.was_evicted = evictions.sum::<u64>() > 0;
        self.book.note(Event::Done)?;
        if let Some(image) = self.net.left_on_disk() {
            self.book.oracle.check_kept(&image)?;
        }
        match self.plan.is_stopped {
            true => self.stop(),
            false => self.part(),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.net.now_ms += self.rng.below(self.plan.step_ms_max + 1) as u64;
        if self.rng.chance(self.plan.jumps) {
            let still_ms_max = *self.rng.pick(&[900, 900, 90_000]);
            self.net.now_ms += self.rng.below(still_ms_max) as u64;
        }
        self.book.tell(|| format!("{} ms", self.net.now_ms));
        let (plan, net, book) = (&self.plan, &mut self.net, &mut self.book);
        for place in self.rng.order(self.clients.len()) {
            self.clients[place].step(plan, net, book)?;
        }
        for place in self.rng.order(self.relays.len()) {
            self.relays[place].step(plan, net, book)?;
        }
        for hostile in &mut self.hostiles {
            hostile.step(plan, net, book)?;
        }
        let crash_count = self.net.crash_count;
        self.net.run()?;
        if self.net.crash_count > crash_count {
            self.book.tell(|| "crash".to_owned());
        }
        Ok(())
    }

    /// From here on the network is good, everyone reads, and nobody means harm.
    fn calm(&mut self) -> Result<(), String> {
        self.plan.cut_sends = 0;
        self.plan.delay_ms_max = 0;
        self.plan.eager_clients = 1000;
        self.plan.activity = 1000;
        self.net.calm();
        for hostile in &mut self.hostiles {
            if let Some(connection) = &mut hostile.connection {
                connection.reset();
            }
        }
        self.hostiles.clear();
        for client in &mut self.clients {
            if client.connection.is_none() {
                client.come_back(&self.plan, &mut self.net, &mut self.book)?;
            }
        }
        self.connections()
            .for_each(|connection| connection.pace = Pace::Eager);
        self.book.tell(|| "calm".to_owned());
        Ok(())
    }

    fn connections(&mut self) -> impl Iterator<Item = &mut Connection> {
        let clients = self.clients.iter_mut().map(|client| &mut client.connection);
        let relays = self.relays.iter_mut().map(|relay| &mut relay.connection);
        clients.chain(relays).flatten()
    }

    /// Lets time pass until nothing happens any more but pings, and what is due much later.
    fn rest(&mut self) -> Result<(), String> {
        let mut last = (self.book.event_count, self.net.now_ms);
        for _ in 0..REST_STEPS_MAX {
            self.book.tell(|| format!("{} ms", self.net.now_ms));
            let mut is_busy = self.net.run()? > 0;
            is_busy |= self.listen()? || self.net.is_late();
            if self.book.event_count > last.0 {
                last = (self.book.event_count, self.net.now_ms);
            }
            let now_ms = self.net.now_ms;
            self.net.now_ms = match self.net.next_ms() {
                _ if now_ms > last.1 + QUIET_MS => return Ok(()),
                _ if is_busy => now_ms + 1,
                Some(due_ms) if due_ms <= now_ms + REST_MS => due_ms.max(now_ms + 1),
                Some(_) | None => return Ok(()),
            };
        }
        Err("it never comes to rest".to_owned())
    }

    /// Lets every client read and send what it had to say. Returns whether there was anything.
    fn listen(&mut self) -> Result<bool, String> {
        let now_ms = self.net.now_ms;
        let mut is_busy = false;
        for client in &mut self.clients {
            is_busy |= client.connection.as_ref().is_some_and(Connection::has_work);
            client.read(now_ms, &mut self.book)?;
            client.send_batch();
            client.flush(now_ms);
        }
        for relay in &mut self.relays {
            is_busy |= relay.connection.as_ref().is_some_and(Connection::has_work);
            relay.read(now_ms, &mut self.book)?;
            if let Some(connection) = &mut relay.connection {
                connection.flush(now_ms);
            }
        }
        Ok(is_busy)
    }

    /// One more message for every room and every inbox, and a signal: everyone has to get to them.
    fn probe(&mut self) -> Result<(), String> {
        let book = &mut self.book;
        let mut rooms = BTreeSet::new();
        let users: Vec<String> = self
            .clients
            .iter()
            .filter_map(|client| client.user.clone())
            .collect();
        for (place, client) in self
            .clients
            .iter_mut()
            .enumerate()
            .filter(|(_, client)| client.is_ready())
        {
            let joined: Vec<String> = client.rooms.keys().cloned().collect();
            for room in joined {
                if rooms.insert(room.clone()) {
                    client.say(Log::Room(room.clone()), 50, book)?;
                }
                client.signal(Log::Room(room), 50, book)?;
            }
            if let Some(user) = users.get((place + 1) % users.len().max(1)) {
                client.signal(Log::Inbox(user.clone()), 50, book)?;
                client.say(Log::Inbox(user.clone()), 50, book)?;
            }
        }
        Ok(())
    }

    /// Asks for all that can be asked for: every log and every membership.
    fn ask_around(&mut self) -> Result<(), String> {
        for client in self.clients.iter_mut().filter(|client| client.is_ready()) {
            let joined: Vec<String> = client.rooms.keys().cloned().collect();
            for room in joined {
                client.who_is_in(&room, &mut self.book)?;
                client.page(Log::Room(room), None, None, Some(500), &mut self.book)?;
            }
            if let Some(user) = client.user.clone() {
                client.page(Log::Inbox(user), None, None, Some(500), &mut self.book)?;
            }
        }
        Ok(())
    }

    /// Everyone goes, one way or another.
    fn part(&mut self) -> Result<(), String> {
        let now_ms = self.net.now_ms;
        let mut rng = self.rng.fork();
        for connection in self.connections() {
            match rng.below(3) {
                0 => connection.reset(),
                1 => connection.cut(now_ms, &mut rng),
                _ => connection.close(&mut rng),
            }
        }
        self.rest()?;
        self.linger()
    }

    /// Lets everything end that ends by itself.
    fn linger(&mut self) -> Result<(), String> {
        let limits = self.plan.limits.clone();
        let end_ms = self.net.now_ms
            + u64::from(limits.close_ms)
            + u64::from(limits.room_hold_ms + limits.presence_debounce_ms)
            + u64::from(KEPT_HOLD_MS)
            + 10_000;
        while let Some(due_ms) = self.net.next_ms().filter(|due_ms| *due_ms <= end_ms) {
            self.net.now_ms = due_ms.max(self.net.now_ms + 1);
            self.listen()?;
            self.net.run()?;
        }
        self.net.now_ms = end_ms;
        Ok(())
    }

    /// The server stops, and everyone is told so.
    fn stop(&mut self) -> Result<(), String> {
        self.book.note(Event::Stopping)?;
        self.net.stop();
        self.rest()?;
        if !self.net.has_stopped() {
            return Err("the server does not stop".to_owned());
        }
        self.linger()
    }

    fn check_nothing_is_left(&mut self) -> Result<(), String> {
        let peers: usize = self.net.peer_counts().sum();
        let admitted = self.net.process().connection_count();
        if peers > 0 || admitted > 0 {
            return Err(format!(
                "{peers} peers are left, {admitted} of them admitted"
            ));
        }
        self.net.audit_end()?;
        let sum = |net: &Network| {
            let counters = net.counters();
            counters.fold((0, 0, 0), |(rooms, users, bytes), counters| {
                (
                    rooms + counters.rooms,
                    users + counters.users,
                    bytes + counters.log_bytes,
                )
            })
        };
        let (rooms, users, _) = sum(&self.net);
        let named = self.book.personas.len() as u64;
        if rooms > named || users > named {
            return Err(format!(
                "{rooms} rooms and {users} users are left of {named} names"
            ));
        }
        // After the time for which names are held even those are forgotten, once anything wakes the shards.
        self.net.now_ms += 3 * DAY_MS;
        for shard in 0..usize::from(self.plan.shard_count) {
            // A server that was stopped takes nobody, but it wakes.
            self.net.connect(shard, Quality::IDEAL).borrow_mut().reset();
        }
        self.rest()?;
        let left = self.net.left_on_disk();
        // A claim that was refused may have been kept: its name is held until the next start, and then as any other.
        let left = left.filter(|_| !self.plan.excuses().failing_disk);
        let user_count = left.map_or(0, |image| image.user_count());
        match sum(&self.net) {
            (0, 0, 0) if user_count == 0 => Ok(()),
            (0, 0, 0) => Err(format!("{user_count} names are left on the disk")),
            left => Err(format!("rooms, users and bytes are left: {left:?}")),
        }
    }
}
