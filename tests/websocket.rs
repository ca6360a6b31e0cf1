//! RFC 6455 on the wire: framing, control frames, text, closing, and the upgrade.

mod common;

use common::{
    Client, Frame, Opcode, Server, Socket, fragment, json, masked, transported, until, upgrade,
};
use std::io::Write;

transported!(
    every_length_comes_back,
    fragments_make_one_message,
    control_frames_stand_between_fragments,
    every_split_of_a_stream_gives_the_same,
    one_byte_per_segment_is_enough,
    frames_behind_the_upgrade_are_taken,
    bad_text_fails_at_its_first_byte,
    good_text_may_be_cut_anywhere,
    a_length_over_the_limit_fails_at_its_header,
    close_codes_are_echoed_or_refused,
    nothing_is_done_after_a_close,
    pings_are_answered_pongs_are_not,
    a_close_that_nobody_answers_ends_in_time,
    the_end_of_a_client_is_noticed,
    subprotocol_and_extensions_are_negotiated,
);

fn every_length_comes_back(shards: u16) {
    let server = Server::with(shards, &["--max-message", "70000"]);
    let mut socket = server.socket("/echo");
    for length in [
        0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 70_000,
    ] {
        let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        socket.send(Opcode::Binary, &payload);
        assert!(socket.frame() == Frame::Binary(payload), "{length}");
        let text = "ä€😀x".repeat(length / 10);
        socket.send(Opcode::Text, text.as_bytes());
        assert!(socket.frame() == Frame::Text(text), "{length}");
    }
    // Every mask, the one that does nothing included.
    for mask in [[0; 4], [0xff; 4], [1, 2, 3, 4], [0x80, 0, 0, 0]] {
        let mut frame = Vec::new();
        roomcast::ws::frame::encode_masked(
            &mut frame,
            true,
            false,
            Opcode::Text,
            mask,
            "maske€d".as_bytes(),
        );
        socket.send_bytes(&frame);
        assert_eq!(socket.frame(), Frame::Text("maske€d".to_owned()));
    }
}

fn fragments_make_one_message(shards: u16) {
    let server = Server::start(shards);
    let mut socket = server.socket("/echo");
    for (opcode, parts) in [
        (Opcode::Text, vec!["one", "two"]),
        (Opcode::Text, vec!["", ""]),
        (Opcode::Text, vec!["", "a", "", "b", ""]),
        (Opcode::Binary, vec!["x"; 1024]),
        (Opcode::Text, vec!["a long fragment"; 100]),
    ] {
        let last = parts.len() - 1;
        for (at, part) in parts.iter().enumerate() {
            let opcode = if at == 0 {
                opcode
            } else {
                Opcode::Continuation
            };
            socket.send_bytes(&fragment(at == last, opcode, part.as_bytes()));
        }
        let whole = parts.concat();
        let expected = match opcode {
            Opcode::Text => Frame::Text(whole),
            _ => Frame::Binary(whole.into_bytes()),
        };
        assert_eq!(socket.frame(), expected);
    }
    // A command in fragments is a command.
    let mut ann = server.client("ann");
    let command = json!({"type": "join", "room_id": "ä room"}).to_string();
    for (at, byte) in command.bytes().enumerate() {
        let opcode = if at == 0 {
            Opcode::Text
        } else {
            Opcode::Continuation
        };
        ann.socket
            .send_bytes(&fragment(at + 1 == command.len(), opcode, &[byte]));
    }
    assert_eq!(ann.take("joined")["room_id"], "ä room");
}

fn control_frames_stand_between_fragments(shards: u16) {
    let server = Server::start(shards);
    let mut socket = server.socket("/echo");
    socket.send_bytes(&fragment(false, Opcode::Text, "h\u{e4}".as_bytes()));
    socket.send(Opcode::Ping, b"in between");
    assert_eq!(
        socket.frame(),
        Frame::Pong(b"in between".to_vec()),
        "before the message is complete"
    );
    socket.send_bytes(&fragment(false, Opcode::Continuation, "ll".as_bytes()));
    socket.send(Opcode::Pong, b"unasked");
    socket.send(Opcode::Ping, b"");
    assert_eq!(socket.frame(), Frame::Pong(vec![]));
    socket.send_bytes(&fragment(true, Opcode::Continuation, b"o"));
    assert_eq!(socket.frame(), Frame::Text("h\u{e4}llo".to_owned()));
    // A close ends it, and the half message with it.
    socket.send_bytes(&fragment(false, Opcode::Text, b"never"));
    socket.send_close(1000);
    assert_eq!(socket.frame(), Frame::Close(Some(1000)));
    socket.ended();
}

/// Several messages with everything that framing has: each frame, and what is answered once it is there.
fn stream() -> Vec<(Vec<u8>, Vec<Frame>)> {
    let text = |text: &str| Frame::Text(text.to_owned());
    let binary = [&[0, 1, 2][..], &[3; 126]].concat();
    vec![
        (masked(Opcode::Text, "ä€😀".as_bytes()), vec![text("ä€😀")]),
        (fragment(false, Opcode::Binary, &[0, 1, 2]), vec![]),
        (masked(Opcode::Ping, b"p"), vec![Frame::Pong(b"p".to_vec())]),
        (
            fragment(true, Opcode::Continuation, &[3; 126]),
            vec![Frame::Binary(binary)],
        ),
        (masked(Opcode::Text, b""), vec![text("")]),
        (
            fragment(false, Opcode::Text, "half of 😀".as_bytes()),
            vec![],
        ),
        (
            fragment(true, Opcode::Continuation, b"."),
            vec![text("half of 😀.")],
        ),
        (
            masked(Opcode::Close, &1000_u16.to_be_bytes()),
            vec![Frame::Close(Some(1000)), Frame::End],
        ),
    ]
}

fn bytes_of(stream: &[(Vec<u8>, Vec<Frame>)]) -> Vec<u8> {
    stream.iter().flat_map(|(bytes, _)| bytes.clone()).collect()
}

fn every_split_of_a_stream_gives_the_same(shards: u16) {
    let server = Server::start(shards);
    let stream = stream();
    let bytes = bytes_of(&stream);
    for at in 0..=bytes.len() {
        let mut socket = server.socket("/echo");
        let (first, second) = bytes.split_at(at);
        socket.send_bytes(first);
        let (mut end, mut is_second_sent) = (0, false);
        for (frame, answers) in &stream {
            end += frame.len();
            // What is complete in the first part is answered before there is a second.
            if end > at && !is_second_sent {
                socket.send_bytes(second);
                is_second_sent = true;
            }
            for answer in answers {
                assert_eq!(socket.frame(), *answer, "split at {at}");
            }
        }
    }
}

fn one_byte_per_segment_is_enough(shards: u16) {
    let server = Server::start(shards);
    let messages = stream();
    let mut stream = server.stream();
    stream.set_nodelay(true).expect("a socket");
    for byte in upgrade(&server.host(), "/echo", "").bytes() {
        stream.write_all(&[byte]).expect("the server reads");
    }
    let mut socket = Socket::upgraded(stream);
    for byte in bytes_of(&messages) {
        socket.send_bytes(&[byte]);
    }
    for frame in messages.iter().flat_map(|(_, answers)| answers) {
        assert_eq!(socket.frame(), *frame);
    }
}

fn frames_behind_the_upgrade_are_taken(shards: u16) {
    let server = Server::start(shards);
    let messages = stream();
    let mut request = upgrade(&server.host(), "/echo", "").into_bytes();
    request.extend(bytes_of(&messages));
    let mut stream = server.stream();
    stream.write_all(&request).expect("the server reads");
    let mut socket = Socket::upgraded(stream);
    for frame in messages.iter().flat_map(|(_, answers)| answers) {
        assert_eq!(socket.frame(), *frame);
    }
    // Behind another request of the same connection, too.
    let mut pipelined = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    pipelined.push_str(&upgrade(&server.host(), "/echo", ""));
    let mut bytes = pipelined.into_bytes();
    bytes.extend(masked(Opcode::Text, b"early"));
    let mut http = server.http();
    http.send(&bytes);
    assert_eq!(http.response().status, 200);
    assert_eq!(http.response_to_head().status, 101);
    assert_eq!(http.rest_until(7), *b"\x81\x05early");
}

fn bad_text_fails_at_its_first_byte(shards: u16) {
    let server = Server::start(shards);
    for (what, start) in [
        ("no character starts so", &b"abc\xff"[..]),
        ("a second byte that cannot be", b"abc\xe2\x28"),
        ("a surrogate by its second byte", b"\xed\xa0"),
        ("overlong by its second byte", b"\xe0\x80"),
        ("beyond Unicode by its second byte", b"\xf4\x90"),
    ] {
        // A thousand bytes are announced; those that come are wrong already.
        let mut frame = masked(Opcode::Text, &[start, &[b'x'; 996]].concat());
        frame.truncate(8 + start.len());
        let mut socket = server.socket("/echo");
        socket.send_bytes(&frame);
        assert_eq!(socket.frame(), Frame::Close(Some(1007)), "{what}");
        socket.ended();
    }
}

fn good_text_may_be_cut_anywhere(shards: u16) {
    let server = Server::start(shards);
    let text = "κόσμε \u{10ffff}\u{0} ä€😀 \u{fffd}";
    let mut socket = server.socket("/echo");
    for at in 0..=text.len() {
        let (first, second) = text.as_bytes().split_at(at);
        socket.send_bytes(&fragment(false, Opcode::Text, first));
        socket.send_bytes(&fragment(true, Opcode::Continuation, second));
        assert_eq!(socket.frame(), Frame::Text(text.to_owned()), "cut at {at}");
    }
}

fn a_length_over_the_limit_fails_at_its_header(shards: u16) {
    let server = Server::start(shards);
    let before = server.resident_bytes();
    for length in [65_537, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1] {
        for path in ["/echo", "/ws", "/raw/r"] {
            let mut socket = server.socket(path);
            let mut header = vec![0x81, 0xff];
            header.extend(u64::to_be_bytes(length));
            header.extend([0; 4]);
            socket.send_bytes(&header);
            assert_eq!(socket.closed(), Some(1009), "{length} on {path}");
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes for what was only announced");
}

fn close_codes_are_echoed_or_refused(shards: u16) {
    let server = Server::start(shards);
    let good = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    let bad = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ];
    for (path, first) in [("/echo", None), ("/ws", Some("welcome"))] {
        for (codes, is_good) in [(&good[..], true), (&bad[..], false)] {
            for &code in codes {
                let mut socket = server.socket(path);
                if first.is_some() {
                    socket.text();
                }
                let payload = [&u16::to_be_bytes(code)[..], "r\u{e4}ason".as_bytes()].concat();
                socket.send(Opcode::Close, &payload);
                let expected = if is_good { code } else { 1002 };
                assert_eq!(
                    socket.frame(),
                    Frame::Close(Some(expected)),
                    "{code} on {path}"
                );
                socket.ended();
            }
        }
        let mut socket = server.socket(path);
        if first.is_some() {
            socket.text();
        }
        socket.send(Opcode::Close, b"");
        assert_eq!(socket.frame(), Frame::Close(None), "without a code");
        socket.ended();
    }
}

fn nothing_is_done_after_a_close(shards: u16) {
    let server = Server::start(shards);
    let mut bob = server.client("bob");
    bob.join("r");
    let mut ann = server.client("ann");
    ann.join("r");
    let message = json!({"type": "message", "room_id": "r", "content": "too late"}).to_string();
    let bytes = [
        masked(Opcode::Close, &1000_u16.to_be_bytes()),
        masked(Opcode::Text, message.as_bytes()),
        masked(Opcode::Ping, b"too late"),
        vec![0xff; 100],
    ];
    ann.socket.send_bytes(&bytes.concat());
    assert_eq!(ann.closed().0, Some(1000));
    assert_eq!(bob.post("r", "the first")["seq_id"], 1);
    assert_eq!(server.metric("violations_total"), 0);
}

fn pings_are_answered_pongs_are_not(shards: u16) {
    let server = Server::start(shards);
    for path in ["/echo", "/ws", "/raw/r"] {
        let mut socket = server.socket(path);
        if path == "/ws" {
            socket.text();
        }
        for payload in [&b""[..], b"x", &[0xff; 125]] {
            socket.send(Opcode::Pong, payload);
            socket.send(Opcode::Ping, payload);
            assert_eq!(socket.frame(), Frame::Pong(payload.to_vec()), "{path}");
        }
        // Each of a short burst, in order.
        let burst: Vec<Vec<u8>> = (0..10)
            .map(|number| masked(Opcode::Ping, &[number]))
            .collect();
        socket.send_bytes(&burst.concat());
        for number in 0..10 {
            assert_eq!(socket.frame(), Frame::Pong(vec![number]), "{path}");
        }
    }
}

fn a_close_that_nobody_answers_ends_in_time(shards: u16) {
    let server = Server::with(shards, &["--close-ms", "100"]);
    let mut sockets: Vec<Socket> = (0..8).map(|_| server.socket("/ws?user=taken")).collect();
    // One of them gets the name, the others are closed.
    let mut closed = 0;
    for socket in &mut sockets {
        if socket.text().contains("name_taken") {
            assert_eq!(socket.frame(), Frame::Close(Some(4001)));
            closed += 1;
        }
    }
    assert_eq!(closed, 7);
    // They neither answer nor go; the server lets go of them all the same.
    until("only one and the question itself are left", || {
        server.metric("connections") <= 2
    });
    drop(sockets);
}

fn the_end_of_a_client_is_noticed(shards: u16) {
    let server = Server::start(shards);
    let mut clients: Vec<Client> = (0..10).map(|_| Client::open(&server, "")).collect();
    // Half of them by an orderly end, half of them by a reset.
    for (number, client) in clients.iter_mut().enumerate() {
        if number % 2 == 0 {
            client.socket.end();
        } else {
            let socket = socket2::SockRef::from(client.socket.stream());
            socket
                .set_linger(Some(std::time::Duration::ZERO))
                .expect("a socket");
        }
    }
    for client in clients.iter_mut().step_by(2) {
        client.socket.ended();
    }
    drop(clients);
    until("all have gone", || server.metric("connections") <= 1);
}

fn subprotocol_and_extensions_are_negotiated(shards: u16) {
    let server = Server::start(shards);
    for (lines, expected) in [
        ("", None),
        (
            "Sec-WebSocket-Protocol: roomcast.v1\r\n",
            Some("roomcast.v1"),
        ),
        (
            "Sec-WebSocket-Protocol: a, roomcast.v1 , b\r\n",
            Some("roomcast.v1"),
        ),
        (
            "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: roomcast.v1\r\n",
            Some("roomcast.v1"),
        ),
        ("Sec-WebSocket-Protocol: chat\r\n", None),
        ("Sec-WebSocket-Protocol: ROOMCAST.V1\r\n", None),
        (
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
            None,
        ),
        ("Sec-WebSocket-Extensions: x-unknown; a=\"bc\", y\r\n", None),
    ] {
        let mut http = server.http();
        http.send(upgrade(&server.host(), "/ws", lines));
        let response = http.response_to_head();
        assert_eq!(response.status, 101, "{lines}");
        assert_eq!(
            response.field("sec-websocket-protocol"),
            expected,
            "{lines}"
        );
        assert_eq!(response.field("sec-websocket-extensions"), None);
        assert_eq!(response.field("upgrade"), Some("websocket"));
        assert_eq!(response.field("connection"), Some("Upgrade"));
    }
}
