//! Signs of life: pings in intervals, silence that closes, and the time that a handshake may take.

mod common;

use common::{
    Client, Frame, Opcode, Server, Socket, Value, fragment, json, masked, transported, until,
};
use roomcast::limits::STANDSTILL_MS;
use std::io::Write;
use std::time::{Duration, Instant};

transported!(
    pings_come_in_intervals,
    who_speaks_is_not_asked,
    silence_for_two_intervals_closes,
    a_standstill_of_the_server_is_not_silence,
    any_traffic_is_a_sign_of_life,
    identity_must_be_settled_in_time,
    full_replies_and_a_dead_socket_close,
);

const INTERVAL: Duration = Duration::from_millis(200);
const FLAGS: [&str; 2] = ["--heartbeat-ms", "200"];

fn pings_come_in_intervals(shards: u16) {
    let server = Server::with(shards, &FLAGS);
    let mut sockets: Vec<Socket> = ["/ws", "/echo", "/raw/r"]
        .iter()
        .map(|path| server.socket(path))
        .collect();
    sockets[0].text();
    let start = Instant::now();
    for _ in 0..4 {
        for socket in &mut sockets {
            match socket.frame() {
                Frame::Ping(payload) => socket.send(Opcode::Pong, &payload),
                frame => panic!("a ping, not {frame:?}"),
            }
        }
    }
    // Timers have a tenth of a second; four pings take at least what three intervals take.
    let spent = start.elapsed();
    assert!(
        spent > 3 * INTERVAL - Duration::from_millis(100),
        "{spent:?}"
    );
    assert_eq!(server.metric("silent_closed_total"), 0);
}

fn who_speaks_is_not_asked(shards: u16) {
    const INTERVAL: Duration = Duration::from_millis(500);
    let server = Server::with(shards, &["--heartbeat-ms", "500"]);
    let mut client = Client::open(&server, "");
    let start = Instant::now();
    while start.elapsed() < 4 * INTERVAL {
        client.socket.send_text(r#"{"type":"heartbeat"}"#);
        match client.socket.frame() {
            Frame::Text(text) => assert!(text.contains(r#""type":"heartbeat""#), "{text}"),
            frame => panic!("not asked for anything: {frame:?}"),
        }
        std::thread::sleep(INTERVAL / 5);
    }
    let silent = Instant::now();
    match client.socket.frame() {
        Frame::Ping(_) => assert!(silent.elapsed() > INTERVAL),
        frame => panic!("a ping, not {frame:?}"),
    }
}

fn silence_for_two_intervals_closes(shards: u16) {
    let server = Server::with(shards, &FLAGS);
    let start = Instant::now();
    let mut client = Client::open(&server, "");
    let mut others: Vec<Socket> = ["/echo", "/raw/r"]
        .iter()
        .map(|path| server.socket(path))
        .collect();
    let mut pings = 0;
    let code = loop {
        match client.socket.frame() {
            Frame::Ping(_) => pings += 1,
            Frame::Close(code) => break code,
            Frame::Text(text) => {
                let bye: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(
                    (&bye["type"], &bye["reconnect"]),
                    (&json!("bye"), &json!(true))
                );
            }
            frame => panic!("{frame:?}"),
        }
    };
    let spent = start.elapsed();
    assert!(
        spent > 2 * INTERVAL - Duration::from_millis(100),
        "{spent:?}"
    );
    assert!(pings >= 1, "it was asked");
    let code = code.expect("there is a code");
    assert!((4100..4300).contains(&code), "come back: {code}");
    for socket in &mut others {
        while let Frame::Ping(_) = socket.frame() {}
    }
    server.await_metric("silent_closed_total", 3);
}

fn a_standstill_of_the_server_is_not_silence(shards: u16) {
    let server = Server::with(shards, &FLAGS);
    let mut sockets: Vec<Socket> = ["/ws", "/echo", "/raw/r"]
        .iter()
        .map(|path| server.socket(path))
        .collect();
    sockets[0].text();
    server.signal("STOP");
    std::thread::sleep(Duration::from_millis(u64::from(STANDSTILL_MS)) + 5 * INTERVAL);
    server.signal("CONT");
    // Everyone is asked before being judged, and the answers are heard.
    for _ in 0..3 {
        for socket in &mut sockets {
            match socket.frame() {
                Frame::Ping(payload) => socket.send(Opcode::Pong, &payload),
                frame => panic!("a ping, not {frame:?}"),
            }
        }
    }
    assert_eq!(server.metric("silent_closed_total"), 0);
}

/// The bytes that are sent the n-th time.
type Sign = fn(u32) -> Vec<u8>;

fn any_traffic_is_a_sign_of_life(shards: u16) {
    const INTERVAL: Duration = Duration::from_millis(500);
    let server = Server::with(shards, &["--heartbeat-ms", "500"]);
    let signs: [(&str, Sign); 7] = [
        ("/ws", |_| masked(Opcode::Text, br#"{"type":"HEARTBEAT"}"#)),
        ("/ws", |_| masked(Opcode::Text, b"nonsense")),
        ("/ws", |_| masked(Opcode::Ping, b"x")),
        ("/ws", |_| masked(Opcode::Pong, b"")),
        ("/echo", |_| masked(Opcode::Binary, b"x")),
        ("/raw/r", |_| masked(Opcode::Text, b"x")),
        ("/echo", |number| {
            let opcode = if number == 0 {
                Opcode::Text
            } else {
                Opcode::Continuation
            };
            fragment(false, opcode, b"never ends")
        }),
    ];
    let mut sockets: Vec<Socket> = signs.iter().map(|(path, _)| server.socket(path)).collect();
    let start = Instant::now();
    let mut number = 0;
    // Longer than it takes to be closed, and no pong on any ping.
    while start.elapsed() < 5 * INTERVAL {
        for ((_, sign), socket) in signs.iter().zip(&mut sockets) {
            socket.send_bytes(&sign(number));
        }
        number += 1;
        std::thread::sleep(INTERVAL / 4);
    }
    assert_eq!(server.metric("silent_closed_total"), 0);
    for socket in &mut sockets {
        socket.send(Opcode::Ping, b"last");
        while socket.frame() != Frame::Pong(b"last".to_vec()) {}
    }
}

fn identity_must_be_settled_in_time(shards: u16) {
    let server = Server::with(shards, &["--handshake-ms", "300"]);
    let start = Instant::now();
    let mut silent = server.socket("/ws?hello");
    let mut busy = server.socket("/ws?hello");
    // Being busy with something else is no excuse.
    until("the busy one is closed", || {
        busy.send_text("nonsense");
        server.metric("handshake_timeouts_total") == 2
    });
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(silent.closed(), Some(4100));
    assert_eq!(busy.closed(), Some(4100));
    // Who has said hello stays.
    let mut ann = server.client("ann");
    until("the time of a handshake is over", || {
        start.elapsed() > Duration::from_millis(900)
    });
    ann.barrier();
}

fn full_replies_and_a_dead_socket_close(shards: u16) {
    let server = Server::with(shards, &["--heartbeat-ms", "600", "--close-ms", "300"]);
    let mut deaf = server.client("deaf");
    deaf.join("r");
    let frame = masked(Opcode::Text, br#"{"type":"who","room_id":"r"}"#).repeat(500);
    let writer = deaf.socket.stream_mut();
    writer
        .set_write_timeout(Some(Duration::from_millis(20)))
        .expect("a socket");
    let mut at = 0;
    until("its replies are full", || {
        // What is not taken in time is sent again from there: between frames, and within one.
        at += writer.write(&frame[at..]).unwrap_or(0);
        at %= frame.len();
        server.metric("replies_full_total") >= 1
    });
    server.await_metric("silent_closed_total", 1);
    // It is let go although it takes not even the close.
    until("it has gone", || server.metric("connections") == 1);
}
