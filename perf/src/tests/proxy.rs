//! A server behind a proxy that is late.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How late a proxy is.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// Time for which nothing more is read from a client, once its request has passed.
    pub deaf: Duration,
    /// Time by which everything from the server is late.
    pub back: Duration,
}

/// A proxy before a server, which serves until the tests are over.
pub fn before(server: SocketAddr, delays: Delays) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || there(from, to, delays.deaf));
            let (sender, late) = mpsc::channel();
            thread::spawn(move || {
                chunks(server, |chunk| sender.send((Instant::now(), chunk)).is_ok())
            });
            thread::spawn(move || back(&late, client, delays.back));
        }
    });
    address
}

fn there(client: TcpStream, mut server: TcpStream, deaf: Duration) {
    let mut is_first = true;
    chunks(client, |chunk| {
        let is_sent = server.write_all(&chunk).is_ok();
        if std::mem::take(&mut is_first) {
            thread::sleep(deaf);
        }
        is_sent
    });
}

fn back(late: &mpsc::Receiver<(Instant, Vec<u8>)>, mut client: TcpStream, by: Duration) {
    for (at, chunk) in late {
        thread::sleep((at + by).saturating_duration_since(Instant::now()));
        if client.write_all(&chunk).is_err() {
            return;
        }
    }
}

/// Hands on what comes, until it ends or nobody takes it.
fn chunks(mut stream: TcpStream, mut take: impl FnMut(Vec<u8>) -> bool) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if !take(bytes[..count].to_vec()) {
            return;
        }
    }
}
