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

/// Joins within a deadline that is shorter than what a stop is given at most: nothing here needs that time.
fn join(server: Server) -> Counters {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(Box::new(server.join())));
    told.recv_timeout(PATIENCE)
        .expect("it stops in time")
        .expect("no shard failed")
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
        let server = Server::start(&config(shards)).unwrap();
        for _ in 0..20 {
            let answer = ask(server.address(), "/healthz");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        server.stopper().stop();
        let counters = join(server);
        assert_eq!(counters.accepted_total, 20, "{shards} shards");
        assert_eq!(counters.connections, 0, "{shards} shards");
    }
}

#[test]
fn nothing_is_accepted_once_it_has_stopped() {
    let server = Server::start(&config(2)).unwrap();
    let address = server.address();
    server.stopper().stop();
    join(server);
    TcpStream::connect(address).expect_err("nobody listens");
    let again = Server::start(&Config {
        listen: address,
        ..config(1)
    })
    .expect("the address is free");
    again.stopper().stop();
    join(again);
}

#[test]
fn an_idle_server_sleeps() {
    let server = Server::start(&config(2)).unwrap();
    ask(server.address(), "/healthz");
    let before = server.stopper().counters().turns_total;
    std::thread::sleep(Duration::from_millis(500));
    let turn_count = server.stopper().counters().turns_total - before;
    assert!(
        turn_count < 100,
        "{turn_count} turns in half a second of nothing"
    );
    server.stopper().stop();
    join(server);
}

#[test]
fn a_silent_connection_does_not_delay_the_stop_beyond_its_deadline() {
    let mut config = config(2);
    config.limits.drain_ms = 500;
    let server = Server::start(&config).unwrap();
    let silent = TcpStream::connect(server.address()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while server.stopper().counters().accepted_total == 0 {
        assert!(Instant::now() < deadline, "it is accepted");
        std::thread::yield_now();
    }
    server.stopper().stop();
    join(server);
    drop(silent);
}

#[test]
fn an_address_in_use_is_an_error_that_says_so() {
    let server = Server::start(&config(2)).unwrap();
    let address = server.address();
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
    server.stopper().stop();
    join(server);
}
