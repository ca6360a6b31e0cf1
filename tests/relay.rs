//! `/raw/{room}`: every message goes to all others in the room, as it is.

mod common;

use common::{
    Frame, Opcode, Response, Server, enter, fragment, program, transported, until, upgrade,
};

transported!(
    messages_go_to_all_others_as_they_are,
    everyone_sees_one_order,
    rooms_are_apart,
    late_comers_get_nothing_old,
    one_that_does_not_read_is_closed,
    it_is_there_only_when_wanted,
);

fn messages_go_to_all_others_as_they_are(shards: u16) {
    let server = Server::start(shards);
    let mut sockets = enter(&server, "/raw/r", 5);
    let before = server.metric("raw_frames_total");
    for (opcode, payload) in [
        (Opcode::Text, b"".to_vec()),
        (Opcode::Text, "not JSON {ä€😀".as_bytes().to_vec()),
        (Opcode::Binary, vec![]),
        (Opcode::Binary, (0..=255).collect()),
        (Opcode::Binary, vec![0xff; 65_536]),
        (Opcode::Text, vec![b'x'; 65_536]),
    ] {
        sockets[2].send(opcode, &payload);
        let expected = match opcode {
            Opcode::Text => Frame::Text(String::from_utf8(payload).expect("text")),
            _ => Frame::Binary(payload),
        };
        for (number, socket) in sockets.iter_mut().enumerate() {
            if number != 2 {
                assert!(socket.message() == expected, "{number}");
            }
        }
    }
    // Fragments arrive as the message that they make.
    sockets[0].send_bytes(&fragment(false, Opcode::Text, b"in "));
    sockets[0].send_bytes(&fragment(true, Opcode::Continuation, b"parts"));
    for socket in &mut sockets[1..] {
        assert_eq!(socket.message(), Frame::Text("in parts".to_owned()));
    }
    // Nothing comes back to who sent it: its pong is the next thing it hears.
    sockets[2].send(Opcode::Ping, b"");
    assert_eq!(sockets[2].message(), Frame::Pong(vec![]));
    server.await_metric("raw_frames_total", before + 7);
}

fn everyone_sees_one_order(shards: u16) {
    const SOCKETS: usize = 4;
    const FRAMES: u8 = 200;
    let server = Server::start(shards);
    let mut sockets = enter(&server, "/raw/order", SOCKETS);
    for number in 0..FRAMES {
        for (sender, socket) in sockets.iter_mut().enumerate() {
            socket.send(Opcode::Binary, &[sender as u8, number]);
        }
    }
    let count = (SOCKETS - 1) * usize::from(FRAMES);
    let seen: Vec<Vec<Frame>> = sockets
        .iter_mut()
        .map(|socket| (0..count).map(|_| socket.message()).collect())
        .collect();
    let of = |frame: &Frame, sender: usize| matches!(frame, Frame::Binary(bytes) if usize::from(bytes[0]) == sender);
    for one in 0..SOCKETS {
        assert!(
            !seen[one].iter().any(|frame| of(frame, one)),
            "not to oneself"
        );
        for other in 0..one {
            // What both have seen, both have seen in the same order.
            let common = |seen: &[Frame]| -> Vec<Frame> {
                let both = seen
                    .iter()
                    .filter(|frame| !of(frame, one) && !of(frame, other));
                both.cloned().collect()
            };
            assert!(
                common(&seen[one]) == common(&seen[other]),
                "{one} and {other}"
            );
        }
        for sender in (0..SOCKETS).filter(|sender| *sender != one) {
            let numbers = seen[one].iter().filter(|frame| of(frame, sender));
            let expected = (0..FRAMES).map(|number| Frame::Binary(vec![sender as u8, number]));
            assert!(numbers.cloned().eq(expected), "{sender} to {one}");
        }
    }
}

fn rooms_are_apart(shards: u16) {
    let server = Server::start(shards);
    let mut one = enter(&server, "/raw/one", 2);
    let mut two = enter(&server, "/raw/t%20w%20%C3%B6", 2);
    // A room of the chat with the same name is another one.
    let mut ann = server.client("ann");
    assert_eq!(ann.join("one")["members"], 1);
    ann.post("one", "chat");
    one[0].send(Opcode::Text, b"1");
    two[0].send(Opcode::Text, b"2");
    assert_eq!(one[1].message(), Frame::Text("1".to_owned()));
    assert_eq!(two[1].message(), Frame::Text("2".to_owned()));
    let messages = ann.rest_of("message");
    assert_eq!(messages.len(), 1);
    // Escapes are decoded: this is the same room.
    let mut three = server.socket("/raw/%6fne");
    until("they meet", || {
        one[0].send(Opcode::Text, b"x");
        three
            .frame_within(std::time::Duration::from_millis(50))
            .is_some()
    });
}

fn late_comers_get_nothing_old(shards: u16) {
    let server = Server::start(shards);
    let mut sockets = enter(&server, "/raw/r", 2);
    for _ in 0..100 {
        sockets[0].send(Opcode::Text, b"old");
    }
    for _ in 0..100 {
        assert_eq!(sockets[1].message(), Frame::Text("old".to_owned()));
    }
    let mut late = server.socket("/raw/r");
    until("it is in", || {
        sockets[0].send(Opcode::Text, b"new");
        let frame = late.frame_within(std::time::Duration::from_millis(50));
        assert!(
            frame.is_none() || frame == Some(Frame::Text("new".to_owned())),
            "{frame:?}"
        );
        frame.is_some()
    });
}

fn one_that_does_not_read_is_closed(shards: u16) {
    let server = Server::with(shards, &["--close-ms", "60000"]);
    let mut sockets = enter(&server, "/raw/r", 3);
    let mut deaf = sockets.pop().expect("there are three");
    let mut reader = sockets.pop().expect("there are two");
    let mut sender = sockets.pop().expect("there is one");
    let payload = vec![7; 60_000];
    // Whoever reads gets everything, however much the other one is behind.
    let mut count = 0;
    until("the deaf one is given up", || {
        for _ in 0..20 {
            sender.send(Opcode::Binary, &payload);
            assert!(reader.message() == Frame::Binary(payload.clone()));
        }
        count += 20;
        server.metric("raw_slow_closed_total") == 1
    });
    assert!(count > 4, "{count}");
    // It gets whole frames, and then the close that tells it to come back.
    let mut got = 0;
    let code = loop {
        match deaf.message() {
            Frame::Binary(bytes) => {
                assert!(bytes == payload);
                got += 1;
            }
            Frame::Close(code) => break code,
            frame => panic!("a frame or the close, not {frame:?}"),
        }
    };
    assert_eq!(code, Some(4200));
    assert!(got < count);
    deaf.send_close(4200);
    deaf.ended();
}

fn it_is_there_only_when_wanted(shards: u16) {
    for (flags, raw, echo) in [
        (&["--raw"][..], 101, 404),
        (&["--echo"], 404, 101),
        (&[], 404, 404),
    ] {
        let mut command = program();
        command
            .args(["--memory", "--listen", "127.0.0.1:0"])
            .args(["--shards", &shards.to_string()])
            .args(flags);
        let server = Server::run(command);
        for (path, status) in [("/raw/r", raw), ("/echo", echo), ("/ws", 101)] {
            let mut http = server.http();
            http.send(upgrade(&server.host(), path, ""));
            let answer: Response = http.response_to_head();
            assert_eq!(answer.status, status, "{path} with {flags:?}");
        }
    }
}
