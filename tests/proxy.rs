//! Behind a proxy: whose word counts for where a client is, and what is made of it.
//!
//! What a client's address is shows in the bound of names per address: one that has used it up is refused, another is
//! not.

mod common;

use common::{Http, Server, Socket, Value, json, sharded, transported, until, upgrade};
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

transported!(
    forwarded_addresses_of_trusted_proxies_count,
    a_header_names_the_client,
    a_header_that_names_nobody_lets_nobody_name_themselves,
    a_client_counts_where_the_proxy_says,
    a_trusted_proxy_behind_another_has_no_bound,
);
sharded!(
    who_is_too_many_behind_a_proxy_has_no_place,
    forwarded_addresses_of_others_do_not,
    a_header_may_come_in_pieces,
    a_header_may_be_left_out,
    a_header_of_anyone_else_is_a_bad_request,
    a_malformed_header_closes_and_is_counted,
    a_header_that_stops_half_way_is_closed_in_time,
    a_page_without_tls_is_foreign_where_the_proxy_speaks_tls,
);

/// From where all clients of these tests connect.
const TRUSTED: &[&str] = &[
    "--names-per-address-max",
    "2",
    "--trusted-proxy",
    "127.0.0.1",
];

/// A name that nobody has.
fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("user{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Whether the client of a connection gets a name, with this before its first byte and these lines in its request.
fn is_named(server: &Server, before: &[u8], lines: &str) -> bool {
    let mut stream = server.connect();
    stream.set_nodelay(true).expect("a socket");
    stream.write_all(before).expect("the server reads");
    // Behind the header, as a client sends it that knows nothing of the proxy.
    let mut stream = server.secure(stream);
    let path = format!("/ws?user={}", new_name());
    let request = upgrade(&server.host(), &path, lines);
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    let mut socket = Socket::upgraded(stream);
    let event: Value = serde_json::from_str(&socket.text()).expect("JSON");
    match event["type"].as_str() {
        Some("welcome") => true,
        _ => {
            assert_eq!(event["code"], json!("overloaded"), "{event}");
            false
        }
    }
}

/// Takes names from an address until it may have no more, at whichever shard they belong to.
fn use_up(server: &Server, before: &[u8], lines: &str) {
    let named = (0..40).filter(|_| is_named(server, before, lines)).count();
    assert!((1..=2).contains(&named), "{named} names");
}

fn line(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let server = if client.contains(':') {
        "::1"
    } else {
        "127.0.0.1"
    };
    format!("PROXY {family} {client} {server} 54321 443\r\n").into_bytes()
}

fn binary(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    let start = [version_command, family];
    [b"\r\n\r\n\0\r\nQUIT\n", &start[..], &length, body].concat()
}

/// A header of version 2 for 192.0.2.`last`, with an extension.
fn binary_v4(last: u8) -> Vec<u8> {
    let addresses = [192, 0, 2, last, 127, 0, 0, 1, 0xd4, 0x31, 1, 0xbb];
    binary(0x21, 0x11, &[&addresses[..], &[4, 0, 1, 0]].concat())
}

fn forwarded_addresses_of_trusted_proxies_count(shards: u16) {
    let server = Server::with(
        shards,
        &[TRUSTED, &["--trusted-proxy", "10.0.0.0/8"]].concat(),
    );
    use_up(&server, b"", "X-Forwarded-For: 192.0.2.7\r\n");
    for same in [
        "X-Forwarded-For: 192.0.2.7\r\n",
        "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.7, 10.1.2.3\r\n",
        "X-Forwarded-For: ::ffff:192.0.2.7\r\n",
        "X-Real-IP: 192.0.2.7\r\n",
    ] {
        assert!(!is_named(&server, b"", same), "{same}");
    }
    for other in [
        "",
        "X-Forwarded-For: 192.0.2.8\r\n",
        "X-Forwarded-For: 192.0.2.7, 192.0.2.9\r\n",
        "X-Forwarded-For: 192.0.2.7, 2001:db8::7\r\n",
        "X-Real-IP: 192.0.2.10\r\n",
    ] {
        assert!(is_named(&server, b"", other), "{other}");
    }
}

fn forwarded_addresses_of_others_do_not(shards: u16) {
    for flags in [
        &TRUSTED[..2],
        &[
            "--names-per-address-max",
            "2",
            "--trusted-proxy",
            "10.0.0.0/8",
        ],
    ] {
        let server = Server::with(shards, flags);
        use_up(&server, b"", "");
        for spoofed in ["X-Forwarded-For: 192.0.2.7\r\n", "X-Real-IP: 192.0.2.7\r\n"] {
            assert!(!is_named(&server, b"", spoofed), "{spoofed}");
        }
    }
}

fn a_header_names_the_client(shards: u16) {
    let server = Server::with(shards, TRUSTED);
    use_up(&server, &line("192.0.2.7"), "");
    assert!(
        !is_named(&server, &binary_v4(7), ""),
        "the same in version 2"
    );
    assert!(is_named(&server, &binary_v4(8), ""));
    assert!(is_named(&server, &line("2001:db8::7"), ""));
    use_up(&server, &line("2001:db8:7::1"), "");
    let same = line("2001:db8:7::aaaa:bbbb:cccc:dddd");
    assert!(!is_named(&server, &same, ""), "one /64 is one address");
    assert!(is_named(&server, &line("2001:db8:7:1::1"), ""));
    // It is the client that is named, and nobody's word counts any further.
    let spoofed = "X-Forwarded-For: 192.0.2.99\r\n";
    assert!(!is_named(&server, &line("192.0.2.7"), spoofed));
    // A health check, and a way without addresses: the proxy's own address stays.
    use_up(&server, b"", "");
    let local = binary(0x20, 0, b"");
    for unnamed in [&b"PROXY UNKNOWN\r\n"[..], &local, &binary(0x21, 0, b"")] {
        assert!(!is_named(&server, unnamed, ""), "{unnamed:?}");
    }
    // One proxy before another: the first names the second, which names the client.
    let chained = "X-Forwarded-For: 192.0.2.30\r\n";
    assert!(is_named(&server, &line("127.0.0.1"), chained));
    assert!(server.metric("proxied_total") >= 40);
    assert_eq!(server.metric("proxy_malformed_total"), 0);
}

fn a_header_that_names_nobody_lets_nobody_name_themselves(shards: u16) {
    let server = Server::with(shards, TRUSTED);
    let local = binary(0x20, 0, b"");
    let unnamed = [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        &local,
        &binary(0x21, 0, b""),
    ];
    // Behind a proxy that passes bytes on, the fields are the client's own.
    use_up(&server, unnamed[0], "");
    for header in unnamed {
        for lines in [
            "X-Forwarded-For: 192.0.2.7\r\n",
            "X-Forwarded-For: 192.0.2.8, 127.0.0.1\r\n",
            "X-Real-IP: 192.0.2.9\r\n",
        ] {
            assert!(!is_named(&server, header, lines), "{header:?} {lines}");
        }
    }
    // One that reads requests sends no such header, and is believed.
    assert!(is_named(&server, b"", "X-Forwarded-For: 192.0.2.7\r\n"));
}

fn a_client_counts_where_the_proxy_says(shards: u16) {
    let flags = ["--connections-per-address-max=2", "--bounds-loopback"];
    let server = Server::with(shards, &[&flags[..], &TRUSTED[2..]].concat());
    // Of the proxy there may be any number.
    let idle: Vec<_> = (0..10).map(|_| server.http()).collect();
    let own: Vec<Socket> = (0..10).map(|_| server.socket("/echo")).collect();
    let ask = |before: &[u8], lines: &str| {
        let mut stream = server.connect();
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(before).expect("the server reads");
        let mut http = Http::new(server.secure(stream));
        http.send(upgrade(&server.host(), "/echo", lines));
        let status = (!http.is_ended()).then(|| http.response().status);
        (status, http)
    };
    let forwarded = "X-Forwarded-For: 192.0.2.7\r\n";
    let (first, second) = (ask(b"", forwarded), ask(&line("192.0.2.7"), ""));
    assert_eq!((first.0, second.0), (Some(101), Some(101)));
    // Both ways name the same client, who has as many as it may. Who is named before a handshake gets none.
    assert_eq!(ask(b"", forwarded).0, Some(429));
    let before_handshake = (!server.speaks_tls()).then_some(429);
    assert_eq!(ask(&line("192.0.2.7"), "").0, before_handshake);
    assert_eq!(ask(b"", "X-Forwarded-For: 192.0.2.8\r\n").0, Some(101));
    assert_eq!(ask(&line("192.0.2.9"), "").0, Some(101));
    assert!(server.metric("address_full_total") >= 2);
    drop(first);
    until("there is room again", || ask(b"", forwarded).0 == Some(101));
    drop((idle, own, second));
}

fn a_trusted_proxy_behind_another_has_no_bound(shards: u16) {
    let flags = ["--connections-per-address-max=2", "--bounds-loopback"];
    let trusted = ["--trusted-proxy", "127.0.0.1,10.0.0.5"];
    let server = Server::with(shards, &[flags, trusted].concat());
    // What the nearer proxy says of the connection, and the farther one, if it does, of the request.
    let ask = |through: &str, lines: &str| {
        let mut stream = server.connect();
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(&line(through)).expect("the server reads");
        let mut http = Http::new(server.secure(stream));
        http.send(upgrade(&server.host(), "/echo", lines));
        (http.response().status, http)
    };
    let open: Vec<_> = (0..10)
        .map(|number| {
            let lines = format!("X-Forwarded-For: 192.0.2.{}\r\n", number / 2);
            ask("10.0.0.5", &lines)
        })
        .chain((0..4).map(|_| ask("10.0.0.5", "")))
        .collect();
    assert!(open.iter().all(|(status, _)| *status == 101));
    // Its clients have their bounds.
    let (status, _) = ask("10.0.0.5", "X-Forwarded-For: 192.0.2.3\r\n");
    assert_eq!(status, 429);
    server.await_metric("address_full_total", 1);
}

fn who_is_too_many_behind_a_proxy_has_no_place(shards: u16) {
    let most = 8;
    let flags = [
        "--connections-per-address-max=1",
        "--close-ms=60000",
        "--handshake-ms=60000",
        &format!("--max-connections={most}"),
    ];
    let server = Server::with(shards, &[&flags[..], &TRUSTED[2..]].concat());
    let ask = |before: &[u8], lines: &str| {
        let mut stream = server.connect();
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(before).expect("the server reads");
        let mut http = Http::new(stream);
        http.send(upgrade(&server.host(), "/echo", lines));
        http
    };
    let mut member = ask(&line("192.0.2.7"), "");
    assert_eq!(member.response().status, 101);
    // They are told, and stay: on each shard as many as there are places for that, half of 64. Others just end.
    let (header, forwarded) = (line("192.0.2.7"), "X-Forwarded-For: 192.0.2.7\r\n");
    let (mut held, mut told) = (Vec::new(), 0);
    for number in 0..200 {
        let mut http = match number % 2 {
            0 => ask(&header, ""),
            _ => ask(b"", forwarded),
        };
        if !http.is_ended() {
            assert_eq!(http.response().status, 429);
            told += 1;
        }
        held.push(http);
    }
    assert!((1..=32 * usize::from(shards)).contains(&told), "{told}");
    // None of them has one of the places that there are for everybody.
    let others: Vec<Http> = (1..most)
        .map(|last| {
            let mut http = ask(&line(&format!("192.0.2.{}", 7 + last)), "");
            assert_eq!(http.response().status, 101, "{last}");
            http
        })
        .collect();
    assert_eq!(server.metric("address_full_total"), 200);
    drop((member, held, others));
}

fn a_header_may_come_in_pieces(shards: u16) {
    let server = Server::with(shards, TRUSTED);
    use_up(&server, &line("192.0.2.7"), "");
    let request = upgrade(&server.host(), &format!("/ws?user={}", new_name()), "");
    for header in [line("192.0.2.7"), binary_v4(7)] {
        for cut in 1..=header.len() {
            let mut stream = server.connect();
            stream.set_nodelay(true).expect("a socket");
            stream.write_all(&header[..cut]).expect("the server reads");
            // Whoever else is served in between has been served after the first piece came.
            assert_eq!(server.get("/healthz").status, 200);
            let rest = [&header[cut..], request.as_bytes()].concat();
            stream.write_all(&rest).expect("the server reads");
            let event: Value =
                serde_json::from_str(&Socket::upgraded(stream).text()).expect("JSON");
            assert_eq!(event["code"], json!("overloaded"), "cut at {cut}: {event}");
        }
    }
}

fn a_header_may_be_left_out(shards: u16) {
    let server = Server::with(shards, TRUSTED);
    assert_eq!(server.get("/").status, 200);
    let mut http = server.http();
    // The first bytes alone could begin a header.
    http.send("P");
    assert_eq!(server.get("/healthz").status, 200);
    http.send(format!("UT / HTTP/1.1\r\nHost: {}\r\n\r\n", server.host()));
    assert_eq!(http.response().status, 405);
    let mut ann = server.client("ann");
    ann.join("r");
    ann.post("r", "hello");
    assert_eq!(server.metric("proxied_total"), 0);
}

fn a_header_of_anyone_else_is_a_bad_request(shards: u16) {
    for flags in [&[][..], &["--trusted-proxy", "10.0.0.0/8"]] {
        let server = Server::with(shards, flags);
        for header in [line("192.0.2.7"), binary_v4(7)] {
            let mut http = server.http();
            let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
            http.send([&header[..], request.as_bytes()].concat());
            assert_eq!(http.response().status, 400);
            assert!(http.is_ended());
        }
        assert_eq!(server.metric("proxied_total"), 0);
    }
}

fn a_malformed_header_closes_and_is_counted(shards: u16) {
    let server = Server::with(shards, TRUSTED);
    let longest = binary(0x21, 0x11, &[1; 2048 - 16]);
    assert_eq!(longest.len(), 2048);
    assert!(is_named(&server, &longest, ""));
    let malformed = [
        b"PROXY TCP4 me you 1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\n".to_vec(),
        [&b"PROXY "[..], &[b'x'; 200]].concat(),
        binary(0x31, 0x11, &[0; 12]),
        binary(0x21, 0x11, &[0; 11]),
        binary(0x21, 0x11, &[1; 2048 - 16 + 1]),
    ];
    for (count, header) in (1..).zip(&malformed) {
        let mut http = server.http();
        http.send(header);
        assert!(http.is_ended(), "{header:?} gets no answer");
        server.metric_is("proxy_malformed_total", count);
    }
    assert_eq!(server.get("/healthz").status, 200);
}

fn a_header_that_stops_half_way_is_closed_in_time(shards: u16) {
    let server = Server::with(shards, &[TRUSTED, &["--handshake-ms", "300"]].concat());
    for part in [&b""[..], b"PROXY TCP4", &binary_v4(7)[..20]] {
        let began = Instant::now();
        let mut http = server.http();
        http.send(part);
        assert!(http.is_ended(), "without an answer");
        assert!(began.elapsed() >= Duration::from_millis(250), "not at once");
    }
    // One that ends there is not waited for.
    let mut http = server.http();
    http.send("PROXY TCP4");
    http.stream()
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    assert!(http.is_ended());
    until("nobody is left", || server.metric("connections") <= 1);
}

fn a_page_without_tls_is_foreign_where_the_proxy_speaks_tls(shards: u16) {
    const HOST: &str = "chat.example.org";
    let ask = |server: &Server, origin: &str, proto: &str| {
        let mut http = server.http();
        let lines = format!("Origin: {origin}\r\nX-Forwarded-Proto: {proto}\r\n");
        http.send(upgrade(HOST, "/echo", &lines));
        http.response().status
    };
    let server = Server::with(shards, TRUSTED);
    assert_eq!(ask(&server, "https://chat.example.org", "https"), 101);
    assert_eq!(ask(&server, "https://chat.example.org", "http"), 101);
    assert_eq!(ask(&server, "http://chat.example.org", "http"), 101);
    assert_eq!(ask(&server, "http://chat.example.org", "https"), 403);
    assert_eq!(ask(&server, "https://chat.example.org:8443", "https"), 403);
    assert_eq!(ask(&server, "https://evil.example", "https"), 403);
    server.metric_is("origin_refused_total", 3);
    let server = Server::start(shards);
    assert_eq!(
        ask(&server, "http://chat.example.org", "https"),
        101,
        "nobody is believed"
    );
}
