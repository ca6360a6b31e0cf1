//! Handshakes that come in pieces, stop half-way, or are none.

use super::authority::Authority;
use super::common::{Server, Stream, until};
use super::{VERSIONS, ready, rest};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection whose bytes go out in segments of these lengths; the last one holds for the rest.
struct Cut {
    stream: TcpStream,
    lengths: Vec<usize>,
}

impl Read for Cut {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}

impl Write for Cut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = match self.lengths.len() {
            1 => self.lengths[0],
            _ => self.lengths.remove(0),
        };
        self.stream.write(&bytes[..length.min(bytes.len())])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Asks over a connection that is cut like this.
fn ask(server: &Server, config: &Arc<ClientConfig>, lengths: Vec<usize>) -> String {
    let stream = server.connect();
    stream.set_nodelay(true).expect("a socket");
    let name = super::common::tls::name();
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a configuration");
    let mut stream = StreamOwned::new(connection, Cut { stream, lengths });
    let host = server.host();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("an answer and its end");
    answer
}

/// The first flight of a client.
fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = super::common::tls::name();
    let mut connection = ClientConnection::new(Arc::clone(config), name).expect("a configuration");
    let mut bytes = Vec::new();
    connection
        .write_tls(&mut bytes)
        .expect("a vector takes all");
    bytes
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    let (authority, _folder, server) = ready(1, &[]);
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(authority.client(&[version]));
        let length = hello(&config).len();
        for at in (1..20).chain((20..length + 400).step_by(11)) {
            let answer = ask(&server, &config, vec![at, usize::MAX]);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{at}: {answer}");
        }
        let answer = ask(&server, &config, vec![1]);
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "a byte at a time: {answer}"
        );
    }
    server.metric_is("tls_failed_total", 0);
}

#[test]
fn a_hello_in_many_records_is_put_together() {
    let (authority, _folder, server) = ready(1, &[]);
    let hello = hello(&Arc::new(authority.client(&[&TLS13])));
    let (header, message) = hello.split_at(5);
    for size in [1, 3, 100] {
        let mut stream = server.connect();
        for part in message.chunks(size) {
            let length = u16::try_from(part.len())
                .expect("it is short")
                .to_be_bytes();
            stream
                .write_all(&[&header[..3], &length, part].concat())
                .expect("the server reads");
        }
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).expect("an answer");
        // A handshake record with a ServerHello in it.
        assert_eq!((answer[0], answer[5]), (22, 2), "records of {size} bytes");
    }
}

#[test]
fn handshakes_that_stop_are_given_up_and_delay_nobody() {
    const COUNT: usize = 100;
    let (authority, _folder, server) = ready(1, &["--handshake-ms", "1500"]);
    let hello = hello(&Arc::new(authority.client(&[&TLS13])));
    let mut member = server.socket("/echo");
    let stopped: Vec<TcpStream> = (0..COUNT)
        .map(|number| {
            let mut stream = server.connect();
            // At every place: in the header of the record, in the hello, and behind it.
            let end = 1 + number * (hello.len() - 1) / (COUNT - 1);
            stream.write_all(&hello[..end]).expect("the server reads");
            stream
        })
        .collect();
    let begun = Instant::now();
    let mut trips = Vec::new();
    while begun.elapsed() < Duration::from_secs(1) {
        let asked = Instant::now();
        member.send_text("still here?");
        assert_eq!(member.text(), "still here?");
        trips.push(asked.elapsed());
    }
    trips.sort_unstable();
    // Not the longest: other programs run on the machine as well.
    let median = trips[trips.len() / 2];
    assert!(median < Duration::from_millis(100), "{median:?}");
    for stream in stopped {
        rest(&mut Stream::from(stream));
    }
    server.metric_is("tls_handshake_timeouts_total", COUNT as u64);
    until("nobody is left", || server.metric("connections") <= 2);
}

#[test]
fn what_is_no_tls_ends_with_an_alert() {
    let (_authority, _folder, server) = ready(2, &[]);
    let too_long = [&b"\x16\x03\x01\xff\xff"[..], &[0; 2000]].concat();
    // Records of one byte each, of a hello that never ends.
    let endless = [
        &[22, 3, 1, 0, 1, 1][..],
        &[22, 3, 1, 0, 1, 0xff].repeat(40_000),
    ]
    .concat();
    for bytes in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"\x00\x01\x02\x03\x04\x05\x06",
        b"\x17\x03\x03\x00\x01x",
        b"\xff\xff\xff\xff\xff\xff\xff",
        &too_long,
        &endless,
    ] {
        let mut stream = server.connect();
        let _ = stream.write_all(bytes);
        let answer = rest(&mut Stream::from(stream));
        let is_alert = answer.is_empty() || answer.first() == Some(&21);
        assert!(
            is_alert,
            "{answer:x?} to {:x?}",
            &bytes[..bytes.len().min(20)]
        );
    }
    server.await_metric("tls_failed_total", 6);
    server.metric_is("bugs_total", 0);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_hello_with_any_byte_changed_harms_nobody() {
    let (authority, _folder, server) = ready(2, &[]);
    for version in [&TLS13, &TLS12] {
        let hello = hello(&Arc::new(authority.client(&[version])));
        let mut streams = Vec::new();
        for at in 0..hello.len() {
            let mut changed = hello.clone();
            changed[at] ^= 1 << (at % 8);
            let mut stream = server.connect();
            let (first, second) = changed.split_at(at);
            // In two pieces, and with records behind it that nobody asked for.
            let _ = stream
                .write_all(first)
                .and_then(|()| stream.write_all(second));
            let _ =
                stream.write_all(b"\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x04\x14\x00\x00\x0c");
            streams.push(stream);
        }
        drop(streams);
    }
    until("all have gone", || server.metric("connections") <= 1);
    server.metric_is("bugs_total", 0);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_broken_record_ends_the_chat() {
    let (authority, _folder, mut server) = ready(2, &[]);
    for version in VERSIONS {
        server.set_tls(authority.client(&[version]));
        let user = format!("ann{:?}", version.version);
        let mut ann = server.client(&user);
        ann.join("r");
        // It cannot be decrypted.
        let mut below = ann.socket.stream();
        let record = [&b"\x17\x03\x03\x00\x20"[..], &[0; 32]].concat();
        below.write_all(&record).expect("the server reads");
        let mut left = Vec::new();
        below.read_to_end(&mut left).expect("the end");
        until("ann has gone", || server.metric("connections") <= 1);
        let session = ann.session.clone();
        drop(ann);
        let again = super::Client::open(&server, &format!("?user={user}&session={session}"));
        drop(again);
    }
    server.metric_is("bugs_total", 0);
    server.metric_is("tls_failed_total", 2);
}

#[test]
fn a_storm_of_handshakes_does_not_delay_a_member() {
    const COUNT: usize = 400;
    let authority = Authority::new("authority");
    let folder = super::Folder::with(&authority.issue("localhost"));
    let server = super::serve(&authority, &folder, 1, &[]);
    let mut member = server.socket("/echo");
    let hello = hello(&Arc::new(authority.client(&[&TLS13])));
    let mut crowd: Vec<TcpStream> = (0..COUNT).map(|_| server.connect()).collect();
    until("all are accepted", || {
        server.metric("connections") > COUNT as u64
    });
    let begun = Instant::now();
    for stream in &mut crowd {
        stream.write_all(&hello).expect("the server reads");
        stream.set_nonblocking(true).expect("a socket");
    }
    let (mut trips, mut unanswered) = (Vec::new(), crowd.iter().peekable());
    while unanswered.peek().is_some() {
        let asked = Instant::now();
        member.send_text("still here?");
        assert_eq!(member.text(), "still here?");
        trips.push(asked.elapsed());
        while unanswered
            .next_if(|stream| stream.peek(&mut [0; 1]).is_ok())
            .is_some()
        {}
    }
    // However fast the machine is: a trip takes two turns at most, and a turn a few of all these steps.
    let storm = begun.elapsed();
    trips.sort_unstable();
    let median = trips[trips.len() / 2];
    assert!(median < storm / 10, "{median:?} of {storm:?}, {trips:?}");
    assert!(server.metric("tls_postponed_total") > 0);
    assert_eq!(server.metric("tls_failed_total"), 0);
}
