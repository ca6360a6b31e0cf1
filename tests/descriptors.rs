//! Running out of descriptors: those who are there are served, nothing spins, and accepting goes on by itself.

mod common;

use common::{Client, Http, Server, json, program, sharded, until, upgrade};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

sharded!(
    connections_outlive_the_lack_of_descriptors,
    the_default_limit_leaves_descriptors_free,
);

const DESCRIPTORS: usize = 64;

/// A server that may have few descriptors.
fn limited(shards: u16, flags: &[&str]) -> Server {
    let program = program();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\""),
        ])
        .arg(program.get_program())
        .args(["--memory", "--listen", "127.0.0.1:0"])
        .args(["--shards", &shards.to_string()])
        .args(flags);
    Server::run(command)
}

/// Asks over a connection that is there already.
fn metric(http: &mut Http, server: &Server, name: &str) -> u64 {
    http.send(format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.host()
    ));
    let text = http.response().text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("roomcast_{name} ")));
    value.expect("a counter").parse().expect("a number")
}

fn connections_outlive_the_lack_of_descriptors(shards: u16) {
    let server = limited(shards, &["--max-connections", "1000"]);
    let mut members: Vec<Client> = (0..4).map(|_| Client::open(&server, "")).collect();
    for member in &mut members {
        member.join("r");
    }
    let mut http = server.http();
    metric(&mut http, &server, "connections");
    // More than there can be; the system takes them, and they wait there.
    let crowd: Vec<TcpStream> = (0..3 * DESCRIPTORS).map(|_| server.connect()).collect();
    until("accepting pauses on every shard", || {
        metric(&mut http, &server, "accept_paused_total") >= u64::from(shards)
    });
    let (start, cpu) = (Instant::now(), server.cpu_ms());
    let mut number = 0;
    while start.elapsed() < Duration::from_millis(600) {
        number += 1;
        members[0].say(json!({"type": "message", "room_id": "r", "content": number}));
        for member in &mut members {
            assert_eq!(member.take("message")["content"], number, "they are served");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let spent = server.cpu_ms() - cpu;
    assert!(spent < 200, "{spent} ms of processor time in 600");
    // Once there are descriptors again, whoever waited is served.
    drop(crowd);
    assert_eq!(server.get("/healthz").status, 200);
    let mut new = Client::open(&server, "");
    new.join("r");
    until("it says that it is over", || {
        server.log().matches("accepts again").count() >= 1
    });
    let log = server.log();
    let told = log.matches("cannot accept").count();
    assert!(
        (1..=2 * usize::from(shards)).contains(&told),
        "told once, not each time: {log}"
    );
}

fn the_default_limit_leaves_descriptors_free(shards: u16) {
    let server = limited(shards, &[]);
    let mut held = Vec::new();
    // As many as are let in.
    loop {
        let mut http = server.http();
        http.send(upgrade(&server.host(), "/ws", ""));
        let status = http.response_to_head().status;
        if status == 503 {
            break;
        }
        assert_eq!(status, 101);
        held.push(http);
        assert!(held.len() < DESCRIPTORS, "there cannot be more");
    }
    assert!(held.len() >= DESCRIPTORS / 4, "{}", held.len());
    // They were refused for being too many, not for want of descriptors.
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}
