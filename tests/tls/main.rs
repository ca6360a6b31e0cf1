//! TLS: what is spoken over it, who gets in, and what becomes of those who do not keep to it.

#[path = "../common/mod.rs"]
mod common;

mod authority;
mod ends;
mod handshakes;
mod key_updates;
mod openssl;
mod pairs;

use authority::{Authority, Folder};
use common::{Client, Frame, Opcode, Server, Socket, Stream, enter, json, until};
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion, SupportedProtocolVersion};
use std::io::{Read, Write};

/// What the server speaks.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// A server with a certificate of an authority that its clients trust.
fn serve(authority: &Authority, folder: &Folder, shards: u16, flags: &[&str]) -> Server {
    let pair = folder.flags();
    let flags: Vec<&str> = pair
        .iter()
        .map(String::as_str)
        .chain(flags.iter().copied())
        .collect();
    let mut server = Server::with(shards, &flags);
    server.set_tls(authority.client(&VERSIONS));
    server
}

fn ready(shards: u16, flags: &[&str]) -> (Authority, Folder, Server) {
    let authority = Authority::new("authority");
    let folder = Folder::with(&authority.issue("localhost"));
    let server = serve(&authority, &folder, shards, flags);
    (authority, folder, server)
}

#[test]
fn rooms_relays_echoes_and_pages_are_served() {
    for version in VERSIONS {
        let (authority, _folder, mut server) = ready(2, &[]);
        server.set_tls(authority.client(&[version]));
        let page = server.get("/");
        assert_eq!(page.status, 200);
        assert_eq!(
            page.field("strict-transport-security"),
            Some("max-age=31536000")
        );

        let mut ann = server.client("ann");
        let mut bob = server.client("bob");
        ann.join("r");
        bob.join("r");
        for number in 0..100 {
            ann.post("r", number);
            assert_eq!(bob.take("message")["content"], number);
        }
        let mut relay = enter(&server, "/raw/r", 2);
        relay[0].send(Opcode::Binary, b"to the others");
        assert_eq!(relay[1].message(), Frame::Binary(b"to the others".to_vec()));
        let mut echo = server.socket("/echo");
        echo.send_text("and back");
        assert_eq!(echo.text(), "and back");

        let agreed = echo.tls().expect("it is TLS");
        let number = match version.version {
            ProtocolVersion::TLSv1_2 => ProtocolVersion::TLSv1_2,
            _ => ProtocolVersion::TLSv1_3,
        };
        assert_eq!(agreed.protocol_version(), Some(number));
        echo.send_close(1000);
        assert_eq!(echo.closed(), Some(1000));
        server.metric_is("bugs_total", 0);
        server.metric_is("tls_failed_total", 0);
    }
}

#[test]
fn big_messages_go_both_ways() {
    let (_authority, _folder, server) = ready(1, &["--max-message", "4194304"]);
    let mut echo = server.socket("/echo");
    for length in [1, 16_383, 16_384, 16_385, 65_536, 1_000_000, 4_194_304] {
        let payload: Vec<u8> = (0..length)
            .map(|at: u32| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
            .collect();
        echo.send(Opcode::Binary, &payload);
        assert!(echo.message() == Frame::Binary(payload), "{length} bytes");
    }
}

#[test]
fn the_end_of_a_connection_is_told() {
    let (_authority, _folder, server) = ready(1, &[]);
    let mut stream = server.stream();
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.host()
    );
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    let mut answer = String::new();
    // Fails where the end comes without notice.
    stream
        .read_to_string(&mut answer)
        .expect("an answer and its end");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn only_http_is_negotiated() {
    let (authority, _folder, mut server) = ready(1, &[]);
    for (offer, is_taken) in [
        (&["http/1.1"][..], true),
        (&["h2", "http/1.1"], true),
        (&["h2"], false),
    ] {
        let mut config = authority.client(&VERSIONS);
        config.alpn_protocols = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
        server.set_tls(config);
        let mut stream = server.stream();
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            server.host()
        );
        let mut answer = String::new();
        let result = stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read_to_string(&mut answer));
        assert_eq!(result.is_ok(), is_taken, "{offer:?}: {result:?}");
        let agreed = stream.tls().and_then(|tls| tls.alpn_protocol());
        assert_eq!(agreed, is_taken.then_some(&b"http/1.1"[..]), "{offer:?}");
    }
}

#[test]
fn sessions_are_resumed() {
    for version in VERSIONS {
        let (authority, folder, mut server) = ready(2, &[]);
        let mut config = authority.client(&[version]);
        config.resumption = Resumption::in_memory_sessions(8);
        server.set_tls(config);
        let kind = |server: &Server| {
            let socket = server.socket("/echo");
            socket.tls().and_then(|tls| tls.handshake_kind())
        };
        assert_eq!(kind(&server), Some(HandshakeKind::Full));
        assert_eq!(kind(&server), Some(HandshakeKind::Resumed));
        // Another certificate is no reason to begin anew.
        folder.put(&authority.issue("localhost"));
        server.signal("HUP");
        server.await_metric("reloads_total", 1);
        assert_eq!(kind(&server), Some(HandshakeKind::Resumed));
        assert!(server.metric("tls_resumed_total") >= 2);
        server.metric_is("tls_failed_total", 0);
    }
}

#[test]
fn too_many_are_told_so_over_tls() {
    let (_authority, _folder, server) = ready(1, &["--max-connections", "2"]);
    let mut members: Vec<Client> = (0..2).map(|_| Client::open(&server, "")).collect();
    assert_eq!(server.get("/healthz").status, 200);
    for _ in 0..10 {
        let answer = server.http().response();
        assert_eq!(answer.status, 503);
        assert!(answer.field("retry-after").is_some(), "{answer:?}");
    }
    // Of a crowd some are told, and the others closed before a handshake: that is what would cost.
    let before = server.metric("tls_handshakes_total");
    let mut told = 0;
    let mut crowd: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for stream in crowd.drain(..) {
        let mut http = common::Http::new(server.secure(stream));
        if !http.is_ended() {
            assert_eq!(http.response().status, 503);
            told += 1;
        }
    }
    assert!((1..200).contains(&told), "{told}");
    members.iter_mut().for_each(Client::barrier);
    drop(members);
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    until("there is room again", || {
        let mut http = server.http();
        http.send(&request);
        !http.is_ended() && http.response().status == 200
    });
    let handshakes = server.metric("tls_handshakes_total") - before;
    assert!(handshakes < told + 100, "{handshakes}");
}

#[test]
fn who_is_too_many_of_an_address_is_closed_before_a_handshake() {
    let flags = ["--connections-per-address-max=2", "--bounds-loopback"];
    let (_authority, _folder, server) = ready(1, &flags);
    let open = || server.secure(server.connect_from("127.0.0.2"));
    let mut members: Vec<Client> = (0..2)
        .map(|_| Client::on(Socket::open(open(), &server.host(), "/ws")))
        .collect();
    for _ in 0..50 {
        assert!(common::Http::new(open()).is_ended());
    }
    members.iter_mut().for_each(Client::barrier);
    server.metric_is("address_full_total", 50);
    let handshakes = server.metric("tls_handshakes_total");
    assert!(handshakes < 50, "{handshakes}");
    server.metric_is("tls_failed_total", 0);
}

#[test]
fn who_is_too_many_behind_a_proxy_is_closed_before_a_handshake() {
    let flags = [
        "--connections-per-address-max=2",
        "--trusted-proxy=127.0.0.1",
    ];
    let (_authority, _folder, server) = ready(1, &flags);
    let open = || {
        let mut stream = server.connect();
        let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 54321 443\r\n";
        stream.write_all(header).expect("the server reads");
        server.secure(stream)
    };
    let mut members: Vec<Client> = (0..2)
        .map(|_| Client::on(Socket::open(open(), &server.host(), "/ws")))
        .collect();
    for _ in 0..50 {
        assert!(common::Http::new(open()).is_ended());
    }
    members.iter_mut().for_each(Client::barrier);
    server.metric_is("address_full_total", 50);
    let handshakes = server.metric("tls_handshakes_total");
    assert!(handshakes < 50, "{handshakes}");
    server.metric_is("tls_failed_total", 0);
}

#[test]
fn http_in_the_clear_is_told_so() {
    let (_authority, _folder, server) = ready(1, &[]);
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "P"] {
        let mut http = common::Http::new(server.connect());
        http.send(request);
        let answer = http.response();
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("https://"), "{answer:?}");
        assert_eq!(answer.field("strict-transport-security"), None);
        assert!(http.is_ended());
    }
    server.metric_is("http_refused_total", 2);
}

#[test]
fn tls_where_there_is_none_is_told_so() {
    let authority = Authority::new("authority");
    let mut server = Server::start(1);
    assert_eq!(server.get("/").field("strict-transport-security"), None);
    server.set_tls(authority.client(&VERSIONS));
    let mut stream = server.stream();
    stream.write_all(b"x").expect_err("it is no TLS");
    let mut http = common::Http::new(server.connect());
    http.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    let answer = http.response();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("TLS"), "{answer:?}");
}

#[test]
fn readers_that_stop_are_closed_when_they_hold_too_much() {
    let flags = ["--stalled-bytes-max", "20000", "--max-message", "65536"];
    let (_authority, _folder, server) = ready(1, &flags);
    let deaf: Vec<Socket> = (0..8)
        .map(|_| Socket::open(server.connect_with_window(4096), &server.host(), "/raw/r"))
        .collect();
    let mut reader = server.socket("/raw/r");
    let mut writer = server.socket("/raw/r");
    until("readers that stopped are closed", || {
        writer.send(Opcode::Binary, &[7; 60_000]);
        assert!(matches!(reader.message(), Frame::Binary(_)));
        server.metric("stalled_closed_total") > 0
    });
    assert!(server.metric("tls_held_bytes") <= 20_000);
    drop(deaf);
}

/// The records of TLS in these bytes, whole ones alone: the type of each, and the length of what is in it.
fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(behind) = rest.get(length..) else {
            break;
        };
        records.push((*kind, length));
        bytes = behind;
    }
    records
}

#[test]
fn what_leaves_in_one_flush_is_one_record() {
    const COUNT: usize = 50;
    const APPLICATION_DATA: u8 = 23;
    for version in VERSIONS {
        let (authority, _folder, mut server) = ready(1, &[]);
        server.set_tls(authority.client(&[version]));
        let mut relay = enter(&server, "/raw/r", 2);
        let [writer, reader] = &mut *relay else {
            panic!("two");
        };
        // Tickets, and whatever else comes behind a handshake, came before this.
        writer.send_text("first");
        assert_eq!(reader.text(), "first");
        // All of them in one record, so that the server reads them in one turn.
        let message = common::masked(Opcode::Text, &[b'x'; 200]);
        let frame_bytes = 4 + 200;
        writer.send_bytes(&message.repeat(COUNT));
        let expected = COUNT * frame_bytes..COUNT * frame_bytes + 64;
        let mut bytes = vec![0; 64 * 1024];
        until("all have come", || {
            let count = reader.stream().peek(&mut bytes).expect("a socket");
            let records = records(&bytes[..count]);
            let sent: usize = records.iter().map(|(_, length)| length).sum();
            if sent < expected.start {
                return false;
            }
            let [(kind, length)] = records[..] else {
                panic!("{COUNT} messages in more than one record: {records:?}");
            };
            assert_eq!(kind, APPLICATION_DATA);
            assert!(expected.contains(&length), "{length}");
            true
        });
        for _ in 0..COUNT {
            assert_eq!(reader.text(), "x".repeat(200));
        }
        // What is longer than a record is cut into as many as it takes.
        let long = vec![b'y'; 40_000];
        writer.send(Opcode::Text, &long);
        let expected = 4 + long.len();
        until("it has come", || {
            let count = reader.stream().peek(&mut bytes).expect("a socket");
            let lengths: Vec<usize> = records(&bytes[..count]).iter().map(|it| it.1).collect();
            if lengths.iter().sum::<usize>() < expected {
                return false;
            }
            assert_eq!(lengths.len(), 3, "{lengths:?}");
            assert!(lengths.iter().all(|length| *length <= 16 * 1024 + 64));
            true
        });
        assert_eq!(reader.text().len(), long.len());
    }
}

#[test]
fn a_member_in_tls_and_one_that_came_back_have_the_same_history() {
    let (_authority, _folder, server) = ready(2, &[]);
    let mut ann = server.client("ann");
    let joined = ann.join("r");
    for number in 0..500 {
        ann.say(json!({"type": "message", "room_id": "r", "content": number}));
    }
    ann.take_many("ack", 500);
    let mut again = server.again(&ann);
    let since = json!({"epoch": joined["epoch"], "seq_id": 0});
    again.ask(
        json!({"type": "join", "room_id": "r", "since": since}),
        "joined",
    );
    assert_eq!(again.take_seqs("r", 500), ann.take_seqs("r", 500));
}

/// Reads what comes in the clear until the end.
fn rest(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream
        .set_read_timeout(Some(common::PATIENCE))
        .expect("a socket");
    let _ = stream.read_to_end(&mut bytes);
    bytes
}
