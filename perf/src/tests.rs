//! Whole runs against the bare server, small and short: they show that the two understand each other, not how fast
//! they are.

mod proxy;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::Clock;
use crate::crowd::Crowd;
use crate::destination::Destination;
use crate::fanout::Span;
use crate::figures::Figures;
use crate::load::{Pace, Shape};
use crate::peers::bare::Bare;
use crate::room::Room;
use crate::server::{Choice, Running, Server, Setting};
use crate::{churn, echo, fanout, idle, stalled};
use proxy::Delays;

/// A bare server on a thread of this process, which serves until the tests are over.
fn server() -> Server {
    serve(Bare::listen().unwrap())
}

fn serve(bare: Bare) -> Server {
    let address = bare.address().unwrap();
    std::thread::spawn(|| bare.run());
    running(address)
}

/// The same behind a proxy.
fn server_behind(delays: Delays) -> Server {
    running(proxy::before(server().address().socket, delays))
}

/// A server whose messages arrive when the time that is measured is over, so that a run which reads its latencies then has
/// none.
fn late_server() -> Server {
    server_behind(Delays {
        deaf: Duration::ZERO,
        back: LATE,
    })
}

const LATE: Duration = Duration::from_millis(500);

fn running(address: SocketAddr) -> Server {
    let running = Running {
        name: "bare".into(),
        address,
        pid: std::process::id(),
        room: Room::raw(),
    };
    let setting = Setting {
        server_cores: Vec::new(),
        client_cores: Vec::new(),
        shard_count: 1,
        is_tls: false,
        arguments: Vec::new(),
        storage: crate::server::Storage::Memory,
        ping_ms: None,
    };
    Server::start(&Choice::Running(running), &setting).unwrap()
}

const SPAN: Span = Span {
    settle: Duration::ZERO,
    warm_up: Duration::from_millis(50),
    measure: Duration::from_millis(300),
    calls: false,
};

fn shape(publisher_count: u32, message_bytes: usize, pace: Pace) -> Shape {
    Shape {
        room: Room::raw(),
        member_count: 20,
        publisher_count,
        message_bytes,
        pace,
    }
}

fn number(figures: &Figures, name: &str) -> f64 {
    assert_eq!(figures.faults, Vec::<String>::new());
    let found = figures.number(name);
    found.unwrap_or_else(|| panic!("no {name} in {figures:?}"))
}

fn fan_out(publisher_count: u32, message_bytes: usize, pace: Pace) -> Figures {
    let plan = fanout::Plan {
        shape: shape(publisher_count, message_bytes, pace),
        deflate: false,
        span: SPAN,
    };
    fanout::run(&plan, &server()).unwrap()
}

#[test]
fn an_open_loop_sends_what_is_due_however_slow_the_machine() {
    let figures = fan_out(2, 128, Pace::Open { rate_per_s: 100 });
    // 0.35 s at this rate, to everybody but the author.
    assert!(
        number(&figures, "deliveries_total") >= 35.0 * 19.0,
        "{figures:?}"
    );
}

#[test]
fn a_closed_loop_loses_nothing_whatever_is_under_way() {
    for (publisher_count, in_flight_count, message_bytes) in [
        (1, 1, 16),
        (1, 16, 128),
        (20, 64, 128),
        (1, 1, 20_000),
        (5, 4, 20_000),
    ] {
        let figures = fan_out(
            publisher_count,
            message_bytes,
            Pace::Closed { in_flight_count },
        );
        // At least the first window arrives.
        let least = f64::from(publisher_count * in_flight_count * 19);
        assert!(number(&figures, "deliveries_total") >= least, "{figures:?}");
    }
}

#[test]
fn what_arrives_after_the_measurement_counts() {
    let late_ms = LATE.as_secs_f64() * 1e3;
    let shape = || shape(1, 128, Pace::Open { rate_per_s: 100 });
    let plan = fanout::Plan {
        shape: shape(),
        deflate: false,
        span: SPAN,
    };
    let figures = fanout::run(&plan, &late_server()).unwrap();
    assert!(number(&figures, "latency_p50_ms") >= late_ms, "{figures:?}");

    let plan = stalled::Plan {
        shape: shape(),
        stalled_count: 2,
        span: SPAN,
    };
    let figures = stalled::run(&plan, &late_server()).unwrap();
    assert!(
        number(&figures, "calm_latency_p99_ms") >= late_ms,
        "{figures:?}"
    );

    let plan = churn::Arrivals {
        shape: shape(),
        arrival_count: 10,
        within: LATE * 2,
        span: SPAN,
    };
    let figures = churn::arrivals(&plan, &late_server()).unwrap();
    assert!(
        number(&figures, "calm_latency_p99_ms") >= late_ms,
        "{figures:?}"
    );
}

#[test]
fn what_is_due_is_sent_even_after_the_measurement() {
    // Ten megabytes, of which the sockets on the way take a part only.
    let plan = fanout::Plan {
        shape: Shape {
            member_count: 3,
            ..shape(1, 32_768, Pace::Open { rate_per_s: 1000 })
        },
        deflate: false,
        span: SPAN,
    };
    let server = server_behind(Delays {
        deaf: LATE,
        back: Duration::ZERO,
    });
    let figures = fanout::run(&plan, &server).unwrap();
    assert!(
        number(&figures, "deliveries_total") >= 350.0 * 2.0,
        "{figures:?}"
    );
    assert!(number(&figures, "latency_p99_ms") >= 150.0, "{figures:?}");
}

#[test]
fn echoes_come_back() {
    for (depth, message_bytes) in [(1, 16), (64, 16), (64, 20_000)] {
        let plan = echo::Plan {
            path: "/echo".into(),
            connection_count: 10,
            depth,
            message_bytes,
            span: SPAN,
        };
        let figures = echo::run(&plan, &server()).unwrap();
        assert!(
            number(&figures, "echoes_total") >= f64::from(depth * 10),
            "{figures:?}"
        );
    }
}

#[test]
fn idle_connections_are_counted_in_steps() {
    let plan = idle::Plan {
        steps: vec![5, 300],
        room: Room::raw(),
        settle: Duration::from_millis(20),
        measure: Duration::from_millis(100),
        calls: false,
    };
    let figures = idle::run(&plan, &server()).unwrap();
    assert!(number(&figures, "rss_5_kib") > 0.0 && number(&figures, "rss_300_kib") > 0.0);
    assert_eq!(number(&figures, "pings_per_minute_per_connection"), 0.0);
}

#[test]
fn the_cost_of_a_ping_is_told_where_there_are_any() {
    let plan = idle::Plan {
        steps: vec![20],
        room: Room::raw(),
        settle: Duration::from_millis(20),
        measure: Duration::from_millis(1500),
        calls: false,
    };
    let mut bare = Bare::listen().unwrap();
    bare.ping_each(300);
    let figures = idle::run(&plan, &serve(bare)).unwrap();
    // Six at most, and fewer where the machine has other things to do.
    let pings_per_minute = number(&figures, "pings_per_minute_per_connection");
    assert!((40.0..=250.0).contains(&pings_per_minute), "{figures:?}");
    let cpu_us = number(&figures, "server_cpu_us_per_ping_and_pong");
    let per_s = number(&figures, "idle_server_cpu_us_per_s_per_connection");
    assert!((cpu_us * pings_per_minute / 60.0 - per_s).abs() < 0.01 * per_s);
}

#[test]
fn only_those_who_read_are_counted_before_and_after_others_come() {
    let plan = stalled::Plan {
        shape: shape(1, 128, Pace::Open { rate_per_s: 100 }),
        stalled_count: 20,
        span: SPAN,
    };
    let figures = stalled::run(&plan, &server()).unwrap();
    assert_eq!(
        ["members", "stalled_members"].map(|name| number(&figures, name)),
        [20.0, 20.0]
    );
    // 0.3 s at this rate, to the 19 others that read; the other 20 would be as many again.
    let deliveries_per_s = number(&figures, "deliveries_per_s");
    let expected = 90.0 * 19.0..130.0 * 19.0;
    assert!(expected.contains(&deliveries_per_s), "{figures:?}");
}

#[test]
fn a_server_soon_learns_that_somebody_does_not_read() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let destination = Destination {
        is_narrow: true,
        ..Destination::plain(listener.local_addr().unwrap(), "/")
    };
    let mut crowd = Crowd::new(Clock::start(), destination).unwrap();
    crowd.begin(1).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    let mut taken_bytes = 0;
    while let Ok(count) = server.write(&[0; 1024]) {
        taken_bytes += count;
        // As in a room, and not in one burst, which finds the buffer as small as it was in the beginning.
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(
        taken_bytes < 200_000,
        "{taken_bytes} bytes are on their way"
    );
}

#[test]
fn a_burst_comes_and_goes() {
    let plan = churn::Burst {
        room: Room::raw(),
        connection_count: 300,
        settle: Duration::from_millis(20),
    };
    let figures = churn::burst(&plan, &server()).unwrap();
    assert!(number(&figures, "handshakes_per_s") > 0.0);
}

#[test]
fn others_arrive_beside_a_room_at_work() {
    let plan = churn::Arrivals {
        shape: shape(1, 128, Pace::Open { rate_per_s: 100 }),
        arrival_count: 100,
        within: Duration::from_millis(200),
        span: SPAN,
    };
    let figures = churn::arrivals(&plan, &server()).unwrap();
    assert!(number(&figures, "arrivals_within_s") <= 0.4, "{figures:?}");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = running(address);
    let plan = idle::Plan {
        steps: vec![1],
        room: Room::raw(),
        settle: Duration::ZERO,
        measure: Duration::ZERO,
        calls: false,
    };
    assert!(idle::run(&plan, &server).is_err());
}
