//! permessage-deflate (RFC 7692) on the wire: what is agreed on, who gets what, and what it may cost.

mod common;

use common::{
    Client, Frame, Opcode, Server, Socket, deflated, fragment, json, marked, masked, transported,
};

transported!(
    it_is_there_only_when_wanted,
    offers_have_their_answers,
    messages_come_back_through_echo,
    short_messages_stay_plain,
    a_room_is_compressed_once,
    a_relay_serves_both_kinds,
    what_was_missed_comes_compressed,
    small_windows_are_kept,
    each_violation_has_its_close_code,
    bombs_cost_no_memory,
    beyond_its_share_of_a_turn_frames_go_plain,
    rest_costs_nothing,
);

const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn start(shards: u16) -> Server {
    Server::with(shards, &["--deflate"])
}

fn offer(server: &Server, path: &str, offer: &str) -> (Socket, Option<String>) {
    Socket::offer(server.stream(), &server.host(), path, offer)
}

/// Text that compression makes shorter, but not absurdly so.
fn prose(bytes: usize) -> String {
    let words = (0..).flat_map(|number: u32| {
        let word = ["room", "cast", "says", "hello", "again"][number as usize % 5];
        format!("{word} {} ", number.wrapping_mul(2_654_435_761) >> 20).into_bytes()
    });
    String::from_utf8(words.take(bytes).collect()).expect("ASCII")
}

fn it_is_there_only_when_wanted(shards: u16) {
    let server = Server::start(shards);
    for path in ["/echo", "/ws", "/raw/r"] {
        let (mut socket, agreed) = offer(&server, path, "permessage-deflate");
        assert_eq!(agreed, None, "{path}");
        if path == "/ws" {
            socket.text();
        }
        socket.send_bytes(&marked(true, Opcode::Text, &deflated(b"x")));
        assert_eq!(socket.frame(), Frame::Close(Some(1002)), "{path}");
    }
}

fn offers_have_their_answers(shards: u16) {
    let server = start(shards);
    let windows: Vec<(String, Option<String>)> = (8..=15)
        .map(|bits| {
            let window = format!("; server_max_window_bits={bits}");
            let offer = format!("permessage-deflate{window}; client_max_window_bits");
            (offer, Some(format!("{ANSWER}{window}")))
        })
        .collect();
    let good = [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate;server_no_context_takeover;client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate",
        // Of several, the first that is legal.
        "permessage-deflate; server_max_window_bits=7, permessage-deflate; unknown, permessage-deflate",
    ];
    let bad = [
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=\"7\"",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-bzip2",
        "constructor",
    ];
    let good = good.map(|offer| (offer.to_owned(), Some(ANSWER.to_owned())));
    let bad = bad.map(|offer| (offer.to_owned(), None));
    for (line, expected) in good.into_iter().chain(bad).chain(windows) {
        let (mut socket, agreed) = offer(&server, "/echo", &line);
        assert_eq!(agreed, expected, "{line}");
        // It works as agreed.
        // Short enough for the smallest window.
        let text = prose(200);
        socket.send_text(&text);
        assert_eq!(socket.frame(), Frame::Text(text.clone()), "{line}");
        assert_eq!(
            socket.compressed_count() > 0,
            expected.is_some(),
            "{line}: what was agreed on is done"
        );
        socket.send_bytes(&marked(true, Opcode::Text, &deflated(text.as_bytes())));
        let answer = match expected {
            Some(_) => Frame::Text(text),
            None => Frame::Close(Some(1002)),
        };
        assert_eq!(socket.frame(), answer, "{line}");
    }
}

fn messages_come_back_through_echo(shards: u16) {
    let server = start(shards);
    let mut socket = server.deflating_socket("/echo");
    for bytes in [0, 1, 125, 126, 127, 128, 1000, 65_535, 65_536] {
        let text = prose(bytes);
        let payload = deflated(text.as_bytes());
        socket.send_bytes(&marked(true, Opcode::Text, &payload));
        assert!(socket.frame() == Frame::Text(text.clone()), "{bytes}");
        socket.send_bytes(&marked(true, Opcode::Binary, &payload));
        assert!(socket.frame() == Frame::Binary(text.clone().into_bytes()));
        // In fragments, with a ping between; only the first has RSV1.
        let (first, second) = payload.split_at(payload.len() / 2);
        socket.send_bytes(&marked(false, Opcode::Text, first));
        socket.send(Opcode::Ping, b"between");
        socket.send_bytes(&fragment(false, Opcode::Continuation, b""));
        socket.send_bytes(&fragment(true, Opcode::Continuation, second));
        assert_eq!(socket.frame(), Frame::Pong(b"between".to_vec()));
        assert!(socket.frame() == Frame::Text(text.clone()), "{bytes}");
        // A plain one among them.
        socket.send_text(&text);
        assert!(socket.frame() == Frame::Text(text), "{bytes}");
    }
    // What RFC 7692 has for examples (7.2.3): a stored block, a last block, two blocks, the empty message.
    for (payload, text) in [
        (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], "Hello"),
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"),
        (
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            "Hello",
        ),
        (b"\x00", ""),
    ] {
        socket.send_bytes(&marked(true, Opcode::Text, payload));
        assert_eq!(socket.frame(), Frame::Text(text.to_owned()));
    }
}

fn short_messages_stay_plain(shards: u16) {
    let server = start(shards);
    let mut socket = server.deflating_socket("/echo");
    for (bytes, is_compressed) in [(0, false), (127, false), (128, true), (1000, true)] {
        let before = socket.compressed_count();
        socket.send_text(&"x".repeat(bytes));
        assert_eq!(socket.frame(), Frame::Text("x".repeat(bytes)));
        let count = socket.compressed_count() - before;
        assert_eq!(count, usize::from(is_compressed), "{bytes} bytes");
    }
    server.metric_is("compressions_total", 2);
    // What would not become shorter is not compressed either.
    let noise: Vec<u8> = (0..1000_u32)
        .map(|at| (at.wrapping_mul(at).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let noise = deflated(&deflated(&noise));
    let before = socket.compressed_count();
    socket.send(Opcode::Binary, &noise);
    assert_eq!(socket.frame(), Frame::Binary(noise));
    assert_eq!(socket.compressed_count(), before);
}

fn a_room_is_compressed_once(shards: u16) {
    const EACH: usize = 8;
    const MESSAGES: usize = 10;
    let server = start(shards);
    let mut ann = server.client("ann");
    let enter = |socket: Socket| {
        let mut client = Client::on(socket);
        client.join("r");
        client
    };
    let mut plain: Vec<Client> = (0..EACH).map(|_| enter(server.socket("/ws"))).collect();
    let mut deflating: Vec<Client> = (0..EACH)
        .map(|_| enter(server.deflating_socket("/ws")))
        .collect();
    ann.ask(
        json!({"type": "join", "room_id": "r", "echo": false}),
        "joined",
    );
    // Who comes and goes is told before the messages.
    for client in plain.iter_mut().chain(&mut deflating) {
        client.barrier();
    }
    let counted = server.metric("compressions_total");
    let before: Vec<usize> = deflating
        .iter()
        .map(|client| client.socket.compressed_count())
        .collect();
    for number in 0..MESSAGES {
        ann.post("r", prose(500 + number));
    }
    let expected: Vec<String> = plain[0]
        .take_many("message", MESSAGES)
        .iter()
        .map(|message| message.to_string())
        .collect();
    for client in plain[1..].iter_mut().chain(&mut deflating) {
        let messages = client.take_many("message", MESSAGES);
        let messages: Vec<String> = messages.iter().map(|it| it.to_string()).collect();
        assert_eq!(messages, expected, "the same for everyone");
    }
    for (client, before) in deflating.iter().zip(before) {
        let count = client.socket.compressed_count() - before;
        assert!(count >= MESSAGES, "{count} messages came compressed");
    }
    for client in &plain {
        assert_eq!(client.socket.compressed_count(), 0);
    }
    // Once for all members of a shard. Presence may be long enough to be compressed as well.
    let count = server.metric("compressions_total") - counted;
    let most = MESSAGES as u64 * u64::from(shards) + 4;
    assert!(count >= MESSAGES as u64 && count <= most, "{count}");
}

fn a_relay_serves_both_kinds(shards: u16) {
    let server = start(shards);
    let mut sender = server.deflating_socket("/raw/r");
    let mut others = [server.socket("/raw/r"), server.deflating_socket("/raw/r")];
    let text = prose(2000);
    // Repeated until both are surely in it.
    for other in &mut others {
        loop {
            sender.send_bytes(&marked(true, Opcode::Text, &deflated(text.as_bytes())));
            let frame = other.frame_within(std::time::Duration::from_millis(100));
            if let Some(frame) = frame {
                assert_eq!(frame, Frame::Text(text.clone()));
                break;
            }
        }
    }
    assert_eq!(others[0].compressed_count(), 0);
    assert!(others[1].compressed_count() > 0);
}

fn what_was_missed_comes_compressed(shards: u16) {
    let server = start(shards);
    let mut early = Client::on(server.deflating_socket("/ws"));
    let joined = early.join("r");
    for number in 0..5 {
        early.post("r", prose(1000 + number));
    }
    let mut late = Client::on(server.deflating_socket("/ws"));
    let since = json!({"epoch": joined["epoch"], "seq_id": joined["seq_id"]});
    let before = late.socket.compressed_count();
    late.ask(
        json!({"type": "join", "room_id": "r", "since": since}),
        "joined",
    );
    for number in 0..5 {
        let message = late.take_of("message", "r");
        assert_eq!(message["content"], prose(1000 + number));
    }
    if shards == 1 {
        assert!(late.socket.compressed_count() >= before + 5);
    }
    // A page of history is JSON like any other.
    let page = late.ask(json!({"type": "history", "room_id": "r"}), "history");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(5));
}

fn small_windows_are_kept(shards: u16) {
    let server = start(shards);
    // Distances beyond the window would be of use here.
    let text = prose(600).repeat(20);
    for bits in 8..=15 {
        let line = format!("permessage-deflate; server_max_window_bits={bits}");
        let (mut socket, _) = offer(&server, "/echo", &line);
        socket.send_text(&text);
        assert!(socket.frame() == Frame::Text(text.clone()), "{bits}");
        let mut ann = Client::on(offer(&server, "/ws", &line).0);
        ann.join("r");
        ann.post("r", text.as_str());
        assert_eq!(ann.take("message")["content"], text, "{bits}");
    }
}

/// Bytes behind an upgrade that agreed on compression, and the code of the close that they are answered with.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    let text = deflated(prose(1000).as_bytes());
    let half = &text[..text.len() / 2];
    let second = fragment(true, Opcode::Continuation, &text[half.len()..]);
    let begun = |next: &[u8]| [&marked(false, Opcode::Text, half), next].concat();
    let not_text = deflated(&[b"fine so far".as_slice(), b"\xff"].concat());
    let marked_second = marked(true, Opcode::Continuation, &text[half.len()..]);
    let mut rsv2 = marked(true, Opcode::Text, &text);
    rsv2[0] |= 0x20;
    let mut rsv3 = masked(Opcode::Text, &text);
    rsv3[0] |= 0x10;
    vec![
        ("a ping with RSV1", marked(true, Opcode::Ping, b""), 1002),
        ("a pong with RSV1", marked(true, Opcode::Pong, b""), 1002),
        (
            "a close with RSV1",
            marked(true, Opcode::Close, b"\x03\xe8"),
            1002,
        ),
        ("RSV1 on a continuation", begun(&marked_second), 1002),
        ("RSV1 on a lone continuation", marked_second.clone(), 1002),
        (
            "RSV1 between fragments",
            begun(&marked(true, Opcode::Ping, b"")),
            1002,
        ),
        (
            "another message inside",
            begun(&marked(true, Opcode::Text, &text)),
            1002,
        ),
        ("RSV2", rsv2, 1002),
        ("RSV3", rsv3, 1002),
        (
            "an unknown kind of block",
            marked(true, Opcode::Text, b"\x07"),
            1007,
        ),
        (
            "a distance too far",
            marked(true, Opcode::Text, b"\x02\x07\x00"),
            1007,
        ),
        ("cut inside a block", marked(true, Opcode::Text, half), 1007),
        (
            "nothing at all",
            marked(true, Opcode::Text, &[0xff; 64]),
            1007,
        ),
        ("not UTF-8", marked(true, Opcode::Text, &not_text), 1007),
        (
            "too long by one",
            marked(true, Opcode::Binary, &deflated(&[0; 65_537])),
            1009,
        ),
        (
            "too long in fragments",
            {
                let bomb = deflated(&vec![0; 1 << 20]);
                let (first, rest) = bomb.split_at(bomb.len() / 2);
                [
                    marked(false, Opcode::Binary, first),
                    fragment(true, Opcode::Continuation, rest),
                ]
                .concat()
            },
            1009,
        ),
        (
            "too long before it is inflated",
            marked(true, Opcode::Binary, &[0; 65_537]),
            1009,
        ),
        (
            "1025 fragments",
            [
                marked(false, Opcode::Text, b""),
                fragment(false, Opcode::Continuation, b"").repeat(1024),
                second,
            ]
            .concat(),
            1008,
        ),
    ]
}

fn each_violation_has_its_close_code(shards: u16) {
    let server = start(shards);
    let rows = violations();
    for (what, bytes, code) in &rows {
        for path in ["/echo", "/ws", "/raw/r"] {
            let mut socket = server.deflating_socket(path);
            if path == "/ws" {
                socket.text();
            }
            socket.send_bytes(bytes);
            loop {
                match socket.frame() {
                    Frame::Close(met) => break assert_eq!(met, Some(*code), "{what} on {path}"),
                    Frame::Text(bye) if path == "/ws" => assert!(bye.contains("bye"), "{bye}"),
                    frame => panic!("{what} on {path}: {frame:?}"),
                }
            }
            socket.ended();
        }
    }
    server.metric_is("violations_total", 3 * rows.len() as u64);
}

fn bombs_cost_no_memory(shards: u16) {
    let server = start(shards);
    let bomb = marked(true, Opcode::Text, &deflated(&vec![b'x'; 16 << 20]));
    // The largest message that is allowed, so that what everyone may cost is there already.
    for path in ["/echo", "/ws"] {
        let mut socket = server.deflating_socket(path);
        socket.send_bytes(&marked(true, Opcode::Text, &deflated(&[b' '; 65_536])));
    }
    let before = server.resident_bytes();
    for path in ["/echo", "/ws", "/raw/r"] {
        for _ in 0..20 {
            let mut socket = server.deflating_socket(path);
            socket.send_bytes(&bomb);
            assert_eq!(socket.closed(), Some(1009), "{path}");
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes");
}

fn beyond_its_share_of_a_turn_frames_go_plain(shards: u16) {
    // Twice the share, in as many bytes each as one reading takes.
    const SENDERS: usize = 24;
    let text = |number: usize| format!("{number} {}", prose(40_000));
    let server = start(shards);
    let mut bob = Client::on(server.deflating_socket("/ws"));
    bob.join("r");
    let mut senders: Vec<Client> = (0..SENDERS)
        .map(|_| Client::on(server.socket("/ws")))
        .collect();
    for sender in &mut senders {
        sender.ask(
            json!({"type": "join", "room_id": "r", "echo": false}),
            "joined",
        );
    }
    bob.barrier();
    let before = bob.socket.compressed_count();
    // What all have sent while it stands is there in one turn.
    server.signal("STOP");
    for (number, sender) in senders.iter_mut().enumerate() {
        sender.say(json!({"type": "message", "room_id": "r", "content": text(number)}));
    }
    server.signal("CONT");
    let messages = bob.take_many("message", SENDERS);
    let mut contents: Vec<_> = messages.iter().map(|it| it["content"].as_str()).collect();
    let mut expected: Vec<_> = (0..SENDERS).map(text).collect();
    contents.sort_unstable();
    expected.sort_unstable();
    assert!(contents.iter().map(|it| it.expect("a text")).eq(&expected));
    let count = bob.socket.compressed_count() - before;
    if shards == 1 {
        assert!((1..SENDERS).contains(&count), "{count} came compressed");
        assert!(server.metric("compressions_left_out_total") > 0);
    }

    // Short ones count for what each of them costs, however short it is.
    for (each, bytes) in [(1, 40_000), (60, 200)] {
        let text = |number: usize| format!("{number} {}", prose(bytes));
        let mut echoes: Vec<Socket> = (0..SENDERS)
            .map(|_| server.deflating_socket("/echo"))
            .collect();
        server.signal("STOP");
        for (number, echo) in echoes.iter_mut().enumerate() {
            (0..each).for_each(|_| echo.send_text(&text(number)));
        }
        server.signal("CONT");
        for (number, echo) in echoes.iter_mut().enumerate() {
            (0..each).for_each(|_| assert!(echo.frame() == Frame::Text(text(number)), "{number}"));
        }
        let count: usize = echoes.iter().map(Socket::compressed_count).sum();
        if shards == 1 {
            assert!((1..SENDERS * each).contains(&count), "{count} of {each}");
        }
    }
    // The next turn has a share of its own.
    bob.say(json!({"type": "message", "room_id": "r", "content": text(0)}));
    let before = bob.socket.compressed_count();
    bob.take("message");
    assert_eq!(bob.socket.compressed_count(), before + 1);
}

fn rest_costs_nothing(shards: u16) {
    const COUNT: usize = 400;
    let server = start(shards);
    // The first ones of both kinds make what all share: code, compressors, tables.
    let open = |is_deflating: bool, count: usize| -> Vec<Socket> {
        let sockets = (0..count).map(|_| match is_deflating {
            true => server.deflating_socket("/echo"),
            false => server.socket("/echo"),
        });
        let mut sockets: Vec<Socket> = sockets.collect();
        for socket in &mut sockets {
            let text = prose(2000);
            match is_deflating {
                true => socket.send_bytes(&marked(true, Opcode::Text, &deflated(text.as_bytes()))),
                false => socket.send_text(&text),
            }
            assert!(socket.frame() == Frame::Text(text));
        }
        sockets
    };
    let _warm = (open(false, COUNT), open(true, COUNT));
    let resident = || server.resident_bytes() as i64;
    let start = resident();
    let plain = open(false, COUNT);
    let middle = resident();
    let deflating = open(true, COUNT);
    let end = resident();
    let (plain_cost, deflating_cost) = (middle - start, end - middle);
    println!(
        "bytes of memory for a connection at rest: {} plain, {} deflating",
        plain_cost / COUNT as i64,
        deflating_cost / COUNT as i64
    );
    // A window alone would be 32 KiB for each.
    let more = (deflating_cost - plain_cost) / COUNT as i64;
    assert!(more < 1024, "{more} bytes more for each connection");
    drop((plain, deflating));
}
