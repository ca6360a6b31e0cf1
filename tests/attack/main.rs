//! A hundred hostile connections at once: the server's memory stays within its bounds, and everyone else is served.
//!
//! The figures for a release build:
//! `cargo test --release --test attack -- --nocapture`

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod members;
mod siege;

use common::{Client, Frame, Server, Socket, json};
use hostile::{Attack, Crowd};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Hostile connections at any time.
const HOSTILE_COUNT: usize = 100;
/// How far the memory may grow.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// How long a round trip may take at the 99th percentile while the attacks go on. It is judged in release builds, where
/// a turn takes what it takes in earnest, and only while the machine had the processor time for the server that it
/// asked for: what other programs take is no fault of ours.
const ROUND_TRIP_P99_MAX: Duration = Duration::from_millis(50);
/// Processor time of the server for one of its turns, in the mean, whatever the machine has to do: two of them are a
/// round trip. Without optimisation, inflating costs twenty times as much.
const TURN_MS_MAX: u64 = if cfg!(debug_assertions) { 400 } else { 20 };
/// Share of the time for which the server may have waited for a processor where round trips are judged, in percent.
const WAITED_PERCENT_MAX: u128 = 10;
/// How long each attack goes on.
const ATTACK_TIME: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 1500 } else { 3000 });
/// Time between two round trips of a well-behaved connection.
const PACE: Duration = Duration::from_millis(5);

/// One server at a time has the machine, so that round trips tell about it and not about its neighbours.
static MACHINE: Mutex<()> = Mutex::new(());

#[test]
fn attacks_cost_no_memory_and_starve_nobody_on_one_shard() {
    attacks_cost_no_memory_and_starve_nobody(1);
}

#[test]
fn attacks_cost_no_memory_and_starve_nobody_on_two_shards() {
    attacks_cost_no_memory_and_starve_nobody(2);
}

fn attacks_cost_no_memory_and_starve_nobody(shards: u16) {
    let _machine = MACHINE.lock();
    let server = Server::with(shards, &["--deflate"]);
    let mut calm = Calm::new(&server);
    let before = server.resident_bytes();
    let trips = calm.measure(ATTACK_TIME);
    println!(
        "{shards} shard(s): {} at the start; nobody attacks: {}",
        mib(before),
        trips.show()
    );
    for attack in Attack::ALL {
        attacked(&server, &mut calm, before, &attack.to_string(), &[*attack]);
    }
    attacked(&server, &mut calm, before, "all of them", Attack::ALL);
    server.await_metric("inflating_postponed_total", 1);
    server.metric_is("bugs_total", 0);
}

/// Lets a crowd attack for a while, and checks what that does.
fn attacked(server: &Server, calm: &mut Calm, before: u64, what: &str, attacks: &[Attack]) {
    let mut crowd = Crowd::new(server.address(), HOSTILE_COUNT, attacks);
    let is_over = AtomicBool::new(false);
    let (mut most, start) = (0, Instant::now());
    let (turns, cpu_ms, waited) = (
        server.metric("turns_total"),
        server.cpu_ms(),
        waited(server),
    );
    let (trips, tally) = thread::scope(|scope| {
        let attacking = scope.spawn(|| {
            crowd.run(&is_over);
            crowd.tally()
        });
        let measuring = scope.spawn(|| {
            let trips = calm.measure(ATTACK_TIME);
            is_over.store(true, Ordering::Relaxed);
            trips
        });
        while !measuring.is_finished() {
            most = most.max(server.resident_bytes());
            thread::sleep(Duration::from_millis(2));
        }
        let trips = measuring.join().expect("the others are served");
        (trips, attacking.join().expect("the attack goes on"))
    });
    let waited_percent =
        (crate::waited(server) - waited).as_nanos() * 100 / start.elapsed().as_nanos();
    let turns = server.metric("turns_total") - turns;
    let turn_ms = (server.cpu_ms() - cpu_ms) / turns.max(1);
    println!(
        "  {what}: at most {}; {}; {turn_ms} ms of {turns} turns each; it waited for a processor for \
         {waited_percent} % of the time; {tally}",
        mib(most),
        trips.show()
    );
    for attack in attacks {
        tally.check(*attack);
    }
    let grown = most.saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{what}: {}", mib(grown));
    assert!(turn_ms <= TURN_MS_MAX, "{what}: {turn_ms} ms a turn");
    if !cfg!(debug_assertions) && waited_percent <= WAITED_PERCENT_MAX {
        assert!(trips.p(99) < ROUND_TRIP_P99_MAX, "{what}: {}", trips.show());
    }
}

/// How long the server's threads were ready to run and did not get a processor.
fn waited(server: &Server) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", server.id())).expect("it runs");
    let waited = threads.map(|thread| {
        let path = thread.expect("it runs").path().join("schedstat");
        // Time on a processor, time of waiting for one, and how often.
        let text = fs::read_to_string(path).expect("it runs");
        let waited = text.split(' ').nth(1).and_then(|field| field.parse().ok());
        Duration::from_nanos(waited.expect("a number"))
    });
    waited.sum()
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Connections that do nothing wrong: one to `/echo`, and two in a room.
struct Calm {
    echo: Socket,
    ann: Client,
    bob: Client,
}

/// How long round trips took, in order of length.
struct Trips(Vec<Duration>);

impl Calm {
    fn new(server: &Server) -> Calm {
        let (mut ann, mut bob) = (server.client("ann"), server.client("bob"));
        ann.ask(
            json!({"type": "join", "room_id": "calm", "echo": false}),
            "joined",
        );
        bob.join("calm");
        Calm {
            echo: server.socket("/echo"),
            ann,
            bob,
        }
    }

    /// Makes round trips, one after the other at a fixed pace. Their time counts from when they were due, so that a
    /// server that stands still for long makes many of them late.
    fn measure(&mut self, time: Duration) -> Trips {
        let start = Instant::now();
        let mut trips = Vec::new();
        while start.elapsed() < time {
            let due = start + PACE * u32::try_from(trips.len()).expect("few");
            thread::sleep(due.saturating_duration_since(Instant::now()));
            match trips.len() % 2 {
                0 => self.echo_once(),
                _ => self.say_once(),
            }
            trips.push(due.elapsed());
        }
        trips.sort();
        Trips(trips)
    }

    fn echo_once(&mut self) {
        let text = "x".repeat(128);
        self.echo.send_text(&text);
        assert_eq!(self.echo.message(), Frame::Text(text));
    }

    fn say_once(&mut self) {
        let number = self.ann.post("calm", "x".repeat(128))["seq_id"].clone();
        assert_eq!(self.bob.take_of("message", "calm")["seq_id"], number);
    }
}

impl Trips {
    fn p(&self, percent: usize) -> Duration {
        self.0[self.0.len() * percent / 100]
    }

    fn show(&self) -> String {
        format!(
            "round trips p50 {:.1?}, p99 {:.1?}, max {:.1?} of {}",
            self.p(50),
            self.p(99),
            self.0.last().expect("there are some"),
            self.0.len()
        )
    }
}
