//! A small world for one scene: what happens is written down, not drawn. It is audited after each turn like any other.

use crate::connection::{Connection, Pace, Seen, Stage as Life};
use crate::link::Quality;
use crate::network::{Faults, Network};
use crate::rng::Rng;
use crate::table::DiskFaults;
use crate::told::{self, Told};
use roomcast::authority::{Auth, Authority};
use roomcast::counters::Counters;
use roomcast::engine::Settings;
use roomcast::http::Endpoints;
use roomcast::limits::Limits;
use roomcast::rules::{RoomRule, RoomRules};
use roomcast::ws::Opcode;
use std::sync::Arc;

/// Turns after which a scene that has to come to rest is taken to be running in circles.
const TURNS_MAX: usize = 10_000;

/// What is due later than this does not keep a scene from being at rest, in milliseconds.
const SOON_MS: u64 = 60;

/// See the [module](self).
pub struct Stage {
    pub net: Network,
    rng: Rng,
    seats: Vec<Seat>,
}

/// A client of a scene, by its place.
pub type Place = usize;

struct Seat {
    connection: Connection,
    reads: bool,
    told: Vec<Told>,
    heard: Vec<Vec<u8>>,
    close: Option<u16>,
}

impl Stage {
    /// Shards without connections.
    pub fn new(shard_count: u16, limits: Limits) -> Stage {
        Stage::with_faults(shard_count, limits, Faults::default(), 1)
    }

    /// The same where something goes wrong, as the seed has it.
    pub fn with_faults(shard_count: u16, limits: Limits, faults: Faults, seed: u64) -> Stage {
        Stage::with_settings(shard_count, settings(limits), faults, seed)
    }

    /// The same where connections have to bring tokens.
    pub fn with_tokens(shard_count: u16, authority: impl Authority + 'static) -> Stage {
        let settings = Settings {
            auth: Auth::Token(Arc::new(authority)),
            ..settings(Limits::default())
        };
        Stage::with_settings(shard_count, settings, Faults::default(), 1)
    }

    /// The same where rooms have rules.
    pub fn with_rules(shard_count: u16, rule: RoomRule, faults: Faults, seed: u64) -> Stage {
        let settings = Settings {
            room_rules: Arc::new(RoomRules::new(vec![rule])),
            ..settings(Limits::default())
        };
        Stage::with_settings(shard_count, settings, faults, seed)
    }

    fn with_settings(shard_count: u16, settings: Settings, faults: Faults, seed: u64) -> Stage {
        let mut rng = Rng::new(seed);
        Stage {
            net: Network::new(shard_count, settings, faults, rng.fork()),
            rng,
            seats: Vec::new(),
        }
    }

    /// The same on a disk.
    pub fn on_disk(shard_count: u16, limits: Limits, disk: DiskFaults, seed: u64) -> Stage {
        let stage = Stage::with_faults(shard_count, limits, Faults::default(), seed);
        Stage {
            net: stage.net.on_disk(disk, None),
            ..stage
        }
    }

    /// A client that reads all it can.
    pub fn enter(&mut self, shard: usize, target: &str) -> Place {
        self.enter_through(shard, target, Quality::IDEAL)
    }

    /// A client on a connection of this quality.
    pub fn enter_through(&mut self, shard: usize, target: &str, quality: Quality) -> Place {
        let place = self.come(shard, target, quality);
        self.rest();
        place
    }

    /// A crowd of clients that read all they can, each to its shard and target.
    pub fn enter_all(&mut self, count: usize, to: impl Fn(usize) -> (usize, String)) -> Vec<Place> {
        let places = (0..count).map(|number| {
            let (shard, target) = to(number);
            self.come(shard, &target, Quality::IDEAL)
        });
        let places = places.collect();
        self.rest();
        places
    }

    fn come(&mut self, shard: usize, target: &str, quality: Quality) -> Place {
        let link = self.net.connect(shard, quality);
        let number = u32::try_from(self.seats.len()).unwrap();
        let mut connection = Connection::new(number, link, target, Pace::Eager, false);
        connection.is_excused = true;
        self.seats.push(Seat {
            connection,
            reads: true,
            told: Vec::new(),
            heard: Vec::new(),
            close: None,
        });
        self.seats.len() - 1
    }

    /// Sends one frame of text.
    pub fn say(&mut self, place: Place, text: &str) {
        self.put(place, Opcode::Text, text.as_bytes());
    }

    /// Sends one frame.
    pub fn put(&mut self, place: Place, opcode: Opcode, payload: &[u8]) {
        let Stage { seats, rng, .. } = self;
        seats[place].connection.send_control(opcode, payload, rng);
    }

    /// Stops reading, or goes on.
    pub fn reads(&mut self, place: Place, reads: bool) {
        self.seats[place].reads = reads;
    }

    /// Breaks a connection.
    pub fn reset(&mut self, place: Place) {
        self.seats[place].connection.reset();
    }

    /// Lets everything happen that can, at this time or within the next moments.
    pub fn rest(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut is_busy = false;
            for seat in &mut self.seats {
                is_busy |= seat.connection.unsent_bytes() > 0;
                seat.connection.flush(self.net.now_ms);
            }
            is_busy |= self.net.run().unwrap() > 0;
            for place in 0..self.seats.len() {
                is_busy |= self.seats[place].reads && self.listen(place);
            }
            let soon_ms = self.net.now_ms + SOON_MS;
            is_busy |= self.net.next_ms().is_some_and(|due_ms| due_ms <= soon_ms);
            if !is_busy {
                return;
            }
            self.net.now_ms += 1;
        }
        panic!("it never comes to rest");
    }

    /// Lets each shard that has a reason take so many turns, and everyone read what comes of it.
    pub fn turns(&mut self, count: usize) {
        for _ in 0..count {
            for seat in &mut self.seats {
                seat.connection.flush(self.net.now_ms);
            }
            self.net.run().unwrap();
            for place in 0..self.seats.len() {
                if self.seats[place].reads {
                    self.listen(place);
                }
            }
            self.net.now_ms += 1;
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, ms: u64) {
        let end_ms = self.net.now_ms + ms;
        self.rest();
        while let Some(due_ms) = self.net.next_ms().filter(|due_ms| *due_ms <= end_ms) {
            self.net.now_ms = self.net.now_ms.max(due_ms);
            self.rest();
        }
        self.net.now_ms = self.net.now_ms.max(end_ms);
    }

    /// Time passes in which no shard runs.
    pub fn pause(&mut self, ms: u64) {
        self.rest();
        self.net.now_ms += ms;
    }

    /// Lets everything happen, then takes what a client was told since it was last asked.
    pub fn told(&mut self, place: Place) -> Vec<Told> {
        self.rest();
        self.told_by_now(place)
    }

    /// Takes what a client was told since it was last asked.
    pub fn told_by_now(&mut self, place: Place) -> Vec<Told> {
        std::mem::take(&mut self.seats[place].told)
    }

    /// The same for what came out of a relay or an echo.
    pub fn heard(&mut self, place: Place) -> Vec<Vec<u8>> {
        self.rest();
        std::mem::take(&mut self.seats[place].heard)
    }

    /// The code with which the server closed.
    pub fn close_code(&mut self, place: Place) -> Option<u16> {
        self.rest();
        self.seats[place].close
    }

    /// What the shards counted together.
    pub fn count(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.net.counters().map(of).sum()
    }

    fn listen(&mut self, place: Place) -> bool {
        let (seat, rng) = (&mut self.seats[place], &mut self.rng);
        if seat.connection.stage == Life::Over {
            return false;
        }
        let is_busy = seat.connection.has_work();
        let seen = seat.connection.read(self.net.now_ms, rng).unwrap();
        for seen in seen {
            match seen {
                Seen::Upgraded | Seen::Refused(_) => {}
                Seen::Text(text) => match told::read(&text) {
                    Ok(told) => seat.told.push(told),
                    Err(_) => seat.heard.push(text.into_bytes()),
                },
                Seen::Binary(payload) => seat.heard.push(payload),
                Seen::Ping(payload) => seat.connection.send_control(Opcode::Pong, &payload, rng),
                Seen::Ended(code) => seat.close = code,
            }
        }
        is_busy
    }
}

fn settings(limits: Limits) -> Settings {
    Settings {
        limits,
        endpoints: Endpoints {
            raw: true,
            echo: true,
            has_admin: false,
        },
        deflate: true,
        ..Settings::default()
    }
}
