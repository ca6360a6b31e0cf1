//! Connections that come and go at every stage of their life leave nothing behind, and touch nobody else.

mod common;

use common::{Client, Opcode, Server, Socket, fragment, json, masked, sharded, until, upgrade};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

sharded!(
    nothing_is_left_of_connections_that_went,
    a_crowd_at_once_is_served,
);

/// How a connection ends.
#[derive(Clone, Copy)]
enum End {
    /// With a FIN, behind everything that was sent.
    Orderly,
    /// With a RST, which also throws away what was not read.
    Reset,
}

/// What a connection does before its end.
type Stage = fn(&Server) -> TcpStream;

const STAGES: [Stage; 11] = [
    |server| server.connect(),
    |server| with(server, b"GET / HT"),
    |server| with(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    |server| with(server, b"nonsense\r\n\r\n"),
    |server| with(server, upgrade(&server.host(), "/ws", "").as_bytes()),
    |server| of(server.socket("/ws?hello")),
    |server| {
        let mut client = Client::open(server, "");
        client.join("busy");
        client.join("its own room");
        client.say(json!({"type": "message", "room_id": "its own room", "content": 1}));
        of(client.socket)
    },
    |server| {
        let mut client = Client::open(server, "");
        client.say(json!({"type": "join", "room_id": "on its way"}));
        client.say(json!({"type": "history", "room_id": "on its way"}));
        of(client.socket)
    },
    |server| {
        let mut socket = server.socket("/echo");
        socket.send_bytes(&fragment(false, Opcode::Text, &[b'x'; 50_000]));
        socket.send_bytes(&masked(Opcode::Binary, &[0; 1000])[..500]);
        of(socket)
    },
    |server| {
        let mut socket = server.socket("/raw/r");
        socket.send_bytes(&masked(Opcode::Text, b"to all").repeat(100));
        of(socket)
    },
    |server| {
        let mut socket = server.socket("/ws");
        socket.send_close(1000);
        of(socket)
    },
];

fn with(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(bytes).expect("the server reads");
    stream
}

fn of(socket: Socket) -> TcpStream {
    socket.stream().try_clone().expect("a descriptor")
}

fn end(stream: TcpStream, end: End) {
    match end {
        End::Orderly => drop(stream),
        End::Reset => {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        }
    }
}

fn descriptor_count(server: &Server) -> usize {
    let folder = fs::read_dir(format!("/proc/{}/fd", server.id()));
    folder.expect("it runs").count()
}

fn nothing_is_left_of_connections_that_went(shards: u16) {
    let server = Server::with(
        shards,
        &["--room-hold-ms", "0", "--presence-debounce-ms", "0"],
    );
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("busy");
    bob.join("busy");
    let mut number = 0;
    let mut talk = || {
        number += 1;
        assert_eq!(ann.post("busy", number)["seq_id"], number);
        assert_eq!(bob.take("message")["content"], number);
        ann.take("message");
    };
    talk();
    let rooms = server.metric("rooms");
    let users = server.metric("users");
    until("the questions have gone", || {
        server.metric("connections") <= 3
    });
    let descriptors = descriptor_count(&server);
    for _ in 0..12 {
        for how in [End::Orderly, End::Reset] {
            let streams: Vec<TcpStream> = STAGES.iter().map(|stage| stage(&server)).collect();
            streams.into_iter().for_each(|stream| end(stream, how));
            talk();
        }
    }
    until("everyone else has gone", || {
        server.metric("connections") <= 3
    });
    until("their rooms have gone", || server.metric("rooms") <= rooms);
    until("their names have gone", || server.metric("users") <= users);
    until("their descriptors have gone", || {
        descriptor_count(&server) <= descriptors + 1
    });
    assert_eq!(server.metric("bugs_total"), 0);
    talk();
}

fn a_crowd_at_once_is_served(shards: u16) {
    const CROWD: usize = 400;
    let server = Server::start(shards);
    let streams: Vec<TcpStream> = (0..CROWD)
        .map(|_| with(&server, upgrade(&server.host(), "/ws", "").as_bytes()))
        .collect();
    let mut clients: Vec<Client> = streams
        .into_iter()
        .map(|stream| Client::on(Socket::upgraded(stream)))
        .collect();
    for client in &mut clients {
        client.say(json!({"type": "join", "room_id": "r"}));
    }
    for client in &mut clients {
        client.take("joined");
    }
    clients[0].post("r", "to all of you");
    for client in &mut clients {
        assert_eq!(client.take("message")["content"], "to all of you");
    }
}
