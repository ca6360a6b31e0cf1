//! Stopping: everyone is told, with advice to come back, and nothing is left behind.

mod common;

use common::{Client, Frame, Server, Socket, json, transported, until};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

transported!(
    everyone_is_told_to_come_back,
    an_interrupt_stops_as_well,
    nobody_new_is_let_in,
    the_second_signal_exits_at_once,
    a_hangup_stops_nobody,
    the_deadline_cuts_who_does_not_go,
    what_was_acknowledged_comes_before_the_bye,
);

fn everyone_is_told_to_come_back(shards: u16) {
    let mut server = Server::start(shards);
    let mut clients: Vec<Client> = (0..30).map(|_| Client::open(&server, "")).collect();
    for client in &mut clients {
        client.join("r");
    }
    let mut early = server.socket("/ws?hello");
    let mut others: Vec<Socket> = ["/echo", "/raw/r"]
        .iter()
        .map(|path| server.socket(path))
        .collect();
    let mut idle = server.http();
    idle.send(format!(
        "GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.host()
    ));
    assert_eq!(idle.response().status, 200);
    server.signal("TERM");
    let mut pauses = Vec::new();
    for client in &mut clients {
        let (code, bye) = client.closed();
        assert_eq!(code, Some(1001));
        let bye = bye.expect("a bye before the close");
        assert_eq!(
            (&bye["code"], &bye["reconnect"]),
            (&json!(1001), &json!(true))
        );
        assert!(
            bye["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty())
        );
        pauses.push(bye["retry_after_ms"].as_u64().expect("a pause"));
    }
    assert!(
        pauses.iter().all(|pause| (500..3_000).contains(pause)),
        "{pauses:?}"
    );
    pauses.sort_unstable();
    pauses.dedup();
    assert!(pauses.len() > 10, "not all at once: {pauses:?}");
    assert!(matches!(early.message(), Frame::Text(text) if text.contains("bye")));
    assert_eq!(early.closed(), Some(1001));
    for socket in &mut others {
        assert_eq!(socket.closed(), Some(1001));
    }
    assert!(idle.is_ended());
    drop((clients, early, others, idle));
    let status = server.wait();
    assert_eq!(status.code(), Some(0));
    assert!(
        server.log().contains("stopping on SIGTERM"),
        "{}",
        server.log()
    );
}

fn an_interrupt_stops_as_well(shards: u16) {
    let mut server = Server::start(shards);
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().contains("stopping on SIGINT"));
}

fn nobody_new_is_let_in(shards: u16) {
    let mut server = Server::with(shards, &["--close-ms", "60000", "--drain-ms", "60000"]);
    // This one holds the stop up, since it neither answers the close nor goes.
    let mut holdout = server.socket("/ws");
    server.signal("TERM");
    while !matches!(holdout.frame(), Frame::Close(Some(1001))) {}
    let address = server.address();
    until("connections are refused", || {
        match TcpStream::connect(address) {
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
            Ok(_) => false,
        }
    });
    holdout.send_close(1001);
    holdout.ended();
    drop(holdout);
    assert_eq!(server.wait().code(), Some(0));
}

fn the_second_signal_exits_at_once(shards: u16) {
    let mut server = Server::with(shards, &["--close-ms", "60000", "--drain-ms", "60000"]);
    let mut holdout = server.socket("/ws");
    server.signal("TERM");
    while !matches!(holdout.frame(), Frame::Close(Some(1001))) {}
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(128 + 15));
}

fn the_deadline_cuts_who_does_not_go(shards: u16) {
    let mut server = Server::with(shards, &["--close-ms", "60000", "--drain-ms", "400"]);
    let mut holdouts: Vec<Socket> = (0..5).map(|_| server.socket("/ws")).collect();
    let start = Instant::now();
    server.signal("TERM");
    for holdout in &mut holdouts {
        while !matches!(holdout.frame(), Frame::Close(Some(1001))) {}
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "they had their time"
    );
    let log = server.log();
    let last = log.lines().last().expect("a last word");
    assert!(last.contains("stopped") && last.contains('5'), "{last}");
}

fn what_was_acknowledged_comes_before_the_bye(shards: u16) {
    let mut server = Server::start(shards);
    let mut ann = server.client("ann");
    let mut members: Vec<Client> = (0..10).map(|_| Client::open(&server, "")).collect();
    for member in &mut members {
        member.join("r");
    }
    ann.join("r");
    for number in 1..=100 {
        ann.say(json!({"type": "message", "room_id": "r", "content": number}));
    }
    ann.take_many("ack", 100);
    // Everyone reads; nobody is behind by more than what is on its way.
    let head = ann.take_seqs("r", 100);
    server.signal("TERM");
    for member in &mut members {
        assert_eq!(member.take_seqs("r", 100), head);
        assert_eq!(member.take("bye")["code"], 1001);
    }
    assert_eq!(ann.take("bye")["code"], 1001);
    drop((ann, members));
    assert_eq!(server.wait().code(), Some(0));
}

fn a_hangup_stops_nobody(shards: u16) {
    let mut server = Server::start(shards);
    let mut ann = server.client("ann");
    for count in 1..=3 {
        server.signal("HUP");
        until("it is logged", || {
            server.log().matches("nothing that is to be read").count() == count
        });
        ann.barrier();
    }
    drop(ann);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}
