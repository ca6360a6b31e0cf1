//! `/echo`: every message comes back as it is, and nobody's unread echo costs memory.

mod common;

use common::{Frame, Opcode, Server, Socket, masked, sharded};
use std::io::Write;
use std::thread;
use std::time::Duration;

sharded!(
    messages_come_back_in_order,
    many_connections_do_not_mix,
    unread_echo_holds_its_sender_back,
);

fn messages_come_back_in_order(shards: u16) {
    let server = Server::start(shards);
    let mut socket = server.socket("/echo");
    let messages: Vec<(Opcode, Vec<u8>)> = (0..2000_u32)
        .map(|number| {
            let text = format!("{number} ").repeat(number as usize % 40);
            let opcode = if number % 2 == 0 {
                Opcode::Text
            } else {
                Opcode::Binary
            };
            (opcode, text.into_bytes())
        })
        .collect();
    let bytes: Vec<u8> = messages
        .iter()
        .flat_map(|(opcode, payload)| masked(*opcode, payload))
        .collect();
    let mut writer = socket.stream().try_clone().expect("a socket");
    let sending = thread::spawn(move || writer.write_all(&bytes).expect("the server reads"));
    for (opcode, payload) in messages {
        let expected = match opcode {
            Opcode::Text => Frame::Text(String::from_utf8(payload).expect("text")),
            _ => Frame::Binary(payload),
        };
        assert_eq!(socket.message(), expected);
    }
    sending.join().expect("everything was sent");
}

fn many_connections_do_not_mix(shards: u16) {
    let server = Server::start(shards);
    let mut sockets: Vec<Socket> = (0..50).map(|_| server.socket("/echo")).collect();
    for round in 0..20 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send_text(&format!("{number} in {round}"));
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(socket.text(), format!("{number} in {round}"));
        }
    }
}

fn unread_echo_holds_its_sender_back(shards: u16) {
    let server = Server::start(shards);
    let before = server.resident_bytes();
    let mut socket = server.socket("/echo");
    let frame = masked(Opcode::Binary, &[9; 60_000]);
    let mut writer = socket.stream().try_clone().expect("a socket");
    writer
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a socket");
    // Until the server takes no more, and the systems in between neither.
    let (mut sent, mut left) = (0_usize, &frame[..]);
    while let Ok(count) = writer.write(left) {
        sent += count;
        assert!(sent < 256 << 20, "the server takes without end");
        left = match &left[count..] {
            [] => &frame,
            rest => rest,
        };
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 4 << 20,
        "{grown} bytes for {sent} that were not read"
    );
    // Others are served meanwhile.
    let mut other = server.socket("/echo");
    other.send_text("still here");
    assert_eq!(other.text(), "still here");
    // And once it reads, all of it comes.
    let left = left.to_vec();
    let rest = thread::spawn(move || {
        writer.set_write_timeout(None).expect("a socket");
        writer.write_all(&left).expect("the server reads again");
    });
    for _ in 0..sent.div_ceil(frame.len()) {
        assert!(socket.message() == Frame::Binary(vec![9; 60_000]));
    }
    rest.join().expect("the rest was sent");
}
