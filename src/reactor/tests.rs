use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::History;
use crate::limits::Limits;
use crate::proxy::Networks;
use crate::store::Retention;

const PATIENCE: Duration = Duration::from_secs(10);

fn config(shards: u16) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin: None,
        shards,
        user: None,
        pin: false,
        tls: None,
        history: History::Memory,
        retention: Retention::default(),
        is_new_epoch: false,
        raw: true,
        echo: true,
        deflate: false,
        auth: crate::config::Auth::Guest,
        origins: Vec::new(),
        trusted_proxies: Networks::default(),
        log: log::LevelFilter::Info,
        room_rules: Default::default(),
        limits: Limits {
            drain_ms: 60_000,
            ..Limits::default()
        },
    }
}

/// A server that runs in a thread of its own.
struct Running {
    address: SocketAddr,
    stopper: Stopper,
    end: mpsc::Receiver<Box<Result<Counters, ShardFailed>>>,
}

impl Running {
    fn start(config: &Config) -> Running {
        let server = Server::start(config).unwrap();
        let (address, stopper) = (server.address(), server.stopper());
        let (tell, end) = mpsc::channel();
        std::thread::spawn(move || tell.send(Box::new(server.run(None))));
        Running {
            address,
            stopper,
            end,
        }
    }

    /// Ends within a deadline that is shorter than what a stop is given at most: nothing here needs that time.
    fn stop(self) -> Counters {
        self.stopper.stop();
        let end = self.end.recv_timeout(PATIENCE);
        end.expect("it stops in time").expect("no shard failed")
    }
}

fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_serves_and_stops_with_one_shard_and_with_several() {
    for shards in [1, 2, 3] {
        let server = Running::start(&config(shards));
        for _ in 0..20 {
            let answer = ask(server.address, "/healthz");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        let counters = server.stop();
        assert_eq!(counters.accepted_total, 20, "{shards} shards");
        assert_eq!(counters.connections, 0, "{shards} shards");
    }
}

#[test]
fn nothing_is_accepted_once_it_has_stopped() {
    let server = Running::start(&config(2));
    let address = server.address;
    server.stop();
    TcpStream::connect(address).expect_err("nobody listens");
    let again = Running::start(&Config {
        listen: address,
        ..config(1)
    });
    again.stop();
}

#[test]
fn an_idle_server_sleeps() {
    let server = Running::start(&config(2));
    ask(server.address, "/healthz");
    let before = server.stopper.counters().turns_total;
    std::thread::sleep(Duration::from_millis(500));
    let turn_count = server.stopper.counters().turns_total - before;
    assert!(
        turn_count < 100,
        "{turn_count} turns in half a second of nothing"
    );
    server.stop();
}

#[test]
fn a_silent_connection_does_not_delay_the_stop_beyond_its_deadline() {
    let mut config = config(2);
    config.limits.drain_ms = 500;
    let server = Running::start(&config);
    let silent = TcpStream::connect(server.address).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while server.stopper.counters().accepted_total == 0 {
        assert!(Instant::now() < deadline, "it is accepted");
        std::thread::yield_now();
    }
    server.stop();
    drop(silent);
}

#[test]
fn an_address_in_use_is_an_error_that_says_so() {
    let server = Running::start(&config(2));
    let address = server.address;
    for shards in [1, 2] {
        let error = Server::start(&Config {
            listen: address,
            ..config(shards)
        })
        .err()
        .expect("it is in use");
        assert!(
            matches!(error, StartError::AddressInUse("--listen", _)),
            "{error}"
        );
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    server.stop();
}
