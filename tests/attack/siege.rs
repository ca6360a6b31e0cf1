//! One address attacks, and a thousand members of a room who come from others do not notice much.

use crate::common::{Server, tls};
use crate::hostile::{Attack, Crowd};
use crate::members::Members;
use crate::{GROWTH_BYTES_MAX, MACHINE, WAITED_PERCENT_MAX, mib, waited};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long each attack goes on.
const SIEGE_TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 1 } else { 8 });
/// Members of the room.
const MEMBER_COUNT: usize = 1000;
/// Connections that the address would like to have.
const HOSTILE_COUNT: usize = 200;
/// Where the attacks come from.
const HOSTILE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// What `deploy/roomcast.toml` sets, for addresses of this machine too.
const FLAGS: &[&str] = &[
    "--bounds-loopback",
    "--connections-per-address-max=50",
    "--handshakes-per-address-per-s-max=10",
    "--messages-per-connection-per-s-max=20",
    "--bytes-per-connection-per-s-max=131072",
    "--joins-per-connection-per-s-max=20",
    // No ping falls into the measurement.
    "--heartbeat-ms=600000",
];
/// How much longer than in calm a delivery may take at the 99th percentile, in a release build on a machine that had
/// the processor time; and what is no matter in any case.
const FACTOR_MAX: u32 = 4;
const DELAY_P99_FREE: Duration = Duration::from_millis(25);

#[test]
fn one_address_cannot_push_the_others_out() {
    let rows = Attack::SIEGE.iter().map(std::slice::from_ref);
    let rows: Vec<&[Attack]> = rows.chain([Attack::SIEGE]).collect();
    let server = lay_siege(&rows);
    for counter in ["address_full_total", "rate_paused_total"] {
        assert!(server.metric(counter) > 0, "{counter}");
    }
}

#[test]
fn one_address_cannot_push_the_others_out_of_tls() {
    tls::over_tls(|| {
        let rows = Attack::SIEGE_OF_TLS.iter().map(std::slice::from_ref);
        let rows: Vec<&[Attack]> = rows.chain([Attack::SIEGE_OF_TLS]).collect();
        lay_siege(&rows);
    });
}

/// Lets the address attack in each of these ways, one after the other.
fn lay_siege(rows: &[&[Attack]]) -> Server {
    let _machine = MACHINE.lock();
    let server = Server::with(1, FLAGS);
    keep_apart(&server);
    let mut members = Members::join(&server, MEMBER_COUNT);
    let before = server.resident_bytes();
    let calm = members.measure(SIEGE_TIME);
    println!(
        "{MEMBER_COUNT} members, {} at the start; nobody attacks: {}",
        mib(before),
        calm.show()
    );
    for attacks in rows {
        let (most, attacked, waited_percent) = besiege(&server, &mut members, attacks);
        let grown = most.saturating_sub(before);
        assert!(grown < GROWTH_BYTES_MAX, "{attacks:?}: {}", mib(grown));
        if !cfg!(debug_assertions) && waited_percent <= WAITED_PERCENT_MAX {
            let bound = DELAY_P99_FREE.max(calm.p(990) * FACTOR_MAX);
            assert!(attacked.p(990) <= bound, "{attacks:?}: {}", attacked.show());
        }
    }
    server.metric_is("bugs_total", 0);
    assert!(server.metric("address_hasty_total") > 0);
    server
}

/// The end of an attack, when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives the server a core, and this thread with all that it starts another, where the machine has two: the server is
/// not to share one with those who attack it, which it does with nobody in the world.
fn keep_apart(server: &Server) {
    let core = |number| {
        let mut cores = CpuSet::new();
        cores.set(number);
        cores
    };
    let threads = fs::read_dir(format!("/proc/{}/task", server.id())).expect("it runs");
    for thread in threads {
        let name = thread.expect("it runs").file_name();
        let id = name.to_str().and_then(|id| id.parse().ok());
        let _ = sched_setaffinity(id.and_then(Pid::from_raw), &core(0));
    }
    let _ = sched_setaffinity(None, &core(1));
}

/// Lets the address attack for a while. Gives the memory at most, the delays of the members, and for how much of the
/// time the server waited for a processor.
fn besiege(
    server: &Server,
    members: &mut Members,
    attacks: &[Attack],
) -> (u64, crate::members::Delays, u128) {
    let what = match attacks {
        [attack] => attack.to_string(),
        _ => "all of them".to_owned(),
    };
    let mut crowd = Crowd::of(server.address(), HOSTILE, HOSTILE_COUNT, attacks);
    let is_over = AtomicBool::new(false);
    let (start, waited_before, mut most) = (Instant::now(), waited(server), 0);
    let (delays, tally) = thread::scope(|scope| {
        let attacking = scope.spawn(|| {
            // On this machine they share a core with those whom they attack, which no attacker in the world does.
            let _ = rustix::process::nice(19);
            crowd.run(&is_over);
            crowd.tally()
        });
        let measuring = scope.spawn(|| {
            // However it ends.
            let _end = End(&is_over);
            members.measure(SIEGE_TIME)
        });
        while !measuring.is_finished() {
            most = most.max(server.resident_bytes());
            thread::sleep(Duration::from_millis(5));
        }
        let delays = measuring.join().expect("the members are served");
        (delays, attacking.join().expect("the attack goes on"))
    });
    let waited = waited(server) - waited_before;
    let waited_percent = waited.as_nanos() * 100 / start.elapsed().as_nanos();
    println!(
        "  {what}: at most {}; {}; it waited for a processor for {waited_percent} % of the time; {tally}",
        mib(most),
        delays.show()
    );
    (most, delays, waited_percent)
}
