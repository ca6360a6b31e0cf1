//! Which web pages may connect: those of this server, and those that the operator names.

mod common;

use common::{Server, sharded, upgrade};

sharded!(origins_are_checked, origins_can_be_allowed);

/// Upgrades with this origin and host, on every path that takes one.
fn status_of(server: &Server, origin: &str, host: &str) -> u16 {
    let statuses: Vec<u16> = ["/ws", "/echo", "/raw/r"]
        .iter()
        .map(|path| {
            let mut http = server.http();
            http.send(upgrade(host, path, &format!("Origin: {origin}\r\n")));
            let answer = http.response_to_head();
            if answer.status == 403 {
                assert_eq!(answer.field("connection"), Some("close"));
            }
            answer.status
        })
        .collect();
    assert!(statuses.iter().all(|status| *status == statuses[0]));
    statuses[0]
}

fn origins_are_checked(shards: u16) {
    let server = Server::start(shards);
    let own = server.host();
    for (origin, host, status) in [
        (format!("http://{own}"), own.as_str(), 101),
        (format!("https://{own}"), &own, 101),
        ("http://chat.example".to_owned(), "chat.example", 101),
        ("https://chat.example".to_owned(), "chat.example", 101),
        ("https://CHAT.example".to_owned(), "chat.example:443", 101),
        ("http://chat.example:80".to_owned(), "chat.example", 101),
        ("http://[::1]:8080".to_owned(), "[::1]:8080", 101),
        ("http://localhost:1".to_owned(), &own, 403),
        ("http://127.0.0.1".to_owned(), &own, 403),
        ("http://chat.example".to_owned(), "chat.example:8080", 403),
        ("http://evil.example".to_owned(), "chat.example", 403),
        (
            "http://chat.example.evil.example".to_owned(),
            "chat.example",
            403,
        ),
        ("http://evilchat.example".to_owned(), "chat.example", 403),
        ("http://chat.example/".to_owned(), "chat.example", 403),
        (
            "http://chat.example@evil.example".to_owned(),
            "chat.example",
            403,
        ),
        (
            "http://a http://chat.example".to_owned(),
            "chat.example",
            403,
        ),
        ("chat.example".to_owned(), "chat.example", 403),
        ("null".to_owned(), "chat.example", 403),
        (String::new(), "chat.example", 403),
        ("file://".to_owned(), "chat.example", 403),
    ] {
        assert_eq!(
            status_of(&server, &origin, host),
            status,
            "{origin} on {host}"
        );
    }
    server.metric_is("origin_refused_total", 3 * 13);
    // The page may be read from anywhere; only upgrades are checked.
    let mut http = server.http();
    http.send("GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\n\r\n");
    assert_eq!(http.response().status, 200);
}

fn origins_can_be_allowed(shards: u16) {
    let server = Server::with(
        shards,
        &[
            "--origin",
            "https://chat.example",
            "--origin",
            "http://localhost:3000",
        ],
    );
    for (origin, status) in [
        ("https://chat.example", 101),
        ("https://chat.example:443", 101),
        ("HTTPS://Chat.Example", 101),
        ("http://localhost:3000", 101),
        ("http://chat.example", 403),
        ("https://chat.example:8443", 403),
        ("https://www.chat.example", 403),
        ("http://localhost:3001", 403),
        ("null", 403),
    ] {
        assert_eq!(
            status_of(&server, origin, &server.host()),
            status,
            "{origin}"
        );
    }
    // The own origin is allowed besides.
    let own = format!("http://{}", server.host());
    assert_eq!(status_of(&server, &own, &server.host()), 101);
    let open = Server::with(shards, &["--origin", "*"]);
    for origin in ["http://evil.example", "null", "file://"] {
        assert_eq!(status_of(&open, origin, "chat.example"), 101, "{origin}");
    }
}
