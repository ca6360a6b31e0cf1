//! Records that bring little, or nothing: changes of keys, and single bytes.

use super::common::{Opcode, Server, Socket, Stream, masked};
use super::{Authority, Folder, VERSIONS, ready};
use rustls::version::TLS13;
use std::io::Write;

/// As many changes of keys as rustls takes in a row.
const ROW_COUNT: usize = 32;

/// A server whose clients speak TLS 1.3, as earlier versions have no changes of keys.
fn server() -> (Authority, Folder, Server) {
    let (authority, folder, mut server) = ready(1, &[]);
    server.set_tls(authority.client(&[&TLS13]));
    (authority, folder, server)
}

/// Changes the keys so many times.
fn update(socket: &mut Socket, count: usize) -> std::io::Result<()> {
    let Stream::Tls(stream) = socket.stream_mut() else {
        panic!("it is TLS");
    };
    for _ in 0..count {
        stream
            .conn
            .refresh_traffic_keys()
            .expect("TLS 1.3, behind its handshake");
    }
    stream.flush()
}

fn echo(socket: &mut Socket, text: &str) {
    socket.send_text(text);
    assert_eq!(socket.text(), text);
}

/// Sends this in records of one byte each.
fn send_by_byte(socket: &mut Socket, bytes: &[u8]) {
    for byte in bytes {
        socket.send_bytes(&[*byte]);
    }
}

#[test]
fn a_flood_of_key_updates_is_cut_off() {
    const COUNT: usize = 64;
    let (_authority, _folder, server) = server();
    let mut member = server.socket("/echo");
    let mut flood: Vec<Socket> = (0..COUNT).map(|_| server.socket("/echo")).collect();
    let message = masked(Opcode::Text, &[b' '; 60_000]);
    for socket in &mut flood {
        socket.send_bytes(&message[..8]);
        // A byte lets rustls count anew.
        for byte in &message[8..28] {
            let sent = update(socket, 30).and_then(|()| socket.try_send(&[*byte]));
            if sent.is_err() {
                break;
            }
        }
        echo(&mut member, "still here?");
    }
    server.metric_is("tls_failed_total", COUNT as u64);
    for mut socket in flood {
        socket.ended();
    }

    // Two rows are let pass, and not one more.
    for _ in 0..2 {
        update(&mut member, ROW_COUNT).expect("the server reads");
        echo(&mut member, "still here?");
    }
    update(&mut member, 1).expect("the server reads");
    member.ended();
    server.metric_is("tls_failed_total", COUNT as u64 + 1);
    server.metric_is("bugs_total", 0);
}

#[test]
fn key_updates_among_data_are_served() {
    let (_authority, _folder, server) = server();
    let mut socket = server.socket("/echo");
    for number in 1000..1200 {
        let text = format!("number{number}");
        let message = masked(Opcode::Text, text.as_bytes());
        assert_eq!(message.len(), 16, "so many records make up for a change");
        send_by_byte(&mut socket, &message);
        update(&mut socket, 1).expect("the server reads");
        assert_eq!(socket.text(), text);
    }
    server.metric_is("tls_failed_total", 0);
}

#[test]
fn records_of_one_byte_are_served() {
    for version in VERSIONS {
        let (authority, _folder, mut server) = ready(1, &[]);
        server.set_tls(authority.client(&[version]));
        let mut socket = server.socket("/echo");
        let text = "x".repeat(5000);
        send_by_byte(&mut socket, &masked(Opcode::Text, text.as_bytes()));
        assert_eq!(socket.text(), text);
        server.metric_is("tls_failed_total", 0);
    }
}
