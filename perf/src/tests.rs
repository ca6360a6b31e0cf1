//! Whole runs against the bare server, small and short: they show that the two understand each other, not how fast
//! they are.

use std::time::Duration;

use crate::bare::Bare;
use crate::fanout::Pace;
use crate::figures::Figures;
use crate::server::{Choice, Server, Setting};
use crate::stamp::Dialect;
use crate::{echo, fanout, idle};

/// A bare server on a thread of this process, which serves until the tests are over.
fn server() -> Server {
    let bare = Bare::listen().unwrap();
    let address = bare.address().unwrap();
    std::thread::spawn(|| bare.run());
    let setting = Setting {
        server_cores: Vec::new(),
        client_cores: Vec::new(),
        shard_count: 1,
        arguments: Vec::new(),
    };
    let pid = std::process::id();
    Server::start(&Choice::Running { address, pid }, &setting).unwrap()
}

fn number(figures: &Figures, name: &str) -> f64 {
    assert_eq!(figures.faults, Vec::<String>::new());
    let found = figures.numbers.iter().find(|(other, _)| other == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {figures:?}"))
        .1
}

fn fan_out(publisher_count: u32, message_bytes: usize, pace: Pace) -> Figures {
    let plan = fanout::Plan {
        member_count: 20,
        publisher_count,
        dialect: Dialect::Bare,
        message_bytes,
        pace,
        settle: Duration::ZERO,
        warm_up: Duration::from_millis(50),
        measure: Duration::from_millis(300),
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
fn echoes_come_back() {
    for (depth, message_bytes) in [(1, 16), (64, 16), (64, 20_000)] {
        let plan = echo::Plan {
            connection_count: 10,
            depth,
            message_bytes,
            settle: Duration::ZERO,
            warm_up: Duration::from_millis(50),
            measure: Duration::from_millis(200),
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
        path: "/raw/perf".into(),
        settle: Duration::from_millis(20),
        measure: Duration::from_millis(100),
    };
    let figures = idle::run(&plan, &server()).unwrap();
    assert!(number(&figures, "rss_5_kib") > 0.0 && number(&figures, "rss_300_kib") > 0.0);
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let choice = Choice::Running {
        address,
        pid: std::process::id(),
    };
    let setting = Setting {
        server_cores: Vec::new(),
        client_cores: Vec::new(),
        shard_count: 1,
        arguments: Vec::new(),
    };
    let server = Server::start(&choice, &setting).unwrap();
    let plan = idle::Plan {
        steps: vec![1],
        path: "/raw/perf".into(),
        settle: Duration::ZERO,
        measure: Duration::ZERO,
    };
    assert!(idle::run(&plan, &server).is_err());
}
