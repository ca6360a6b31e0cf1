//! Certificates and keys: what is refused at the start, what is read again, and whose certificates clients need.

use super::authority::{Authority, Folder, Pair};
use super::common::{Server, Socket, program, run_to_end, until};
use super::{VERSIONS, ready, serve};
use rustls::pki_types::CertificateDer;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// The certificate that a server shows to who comes now.
fn shown(server: &Server) -> CertificateDer<'static> {
    let socket = server.socket("/echo");
    shown_to(&socket)
}

fn shown_to(socket: &Socket) -> CertificateDer<'static> {
    let certificates = socket.tls().and_then(|tls| tls.peer_certificates());
    certificates.expect("it was shown")[0].clone().into_owned()
}

#[test]
fn what_does_not_serve_is_refused_at_the_start() {
    let authority = Authority::new("authority");
    let (pair, other) = (authority.issue("localhost"), authority.issue("localhost"));
    let folder = Folder::with(&pair);
    let empty = folder.write("empty.pem", "");
    let text = folder.write("text.pem", "no certificate\n");
    let cut = folder.write("cut.pem", &pair.key[..pair.key.len() / 2]);
    let foreign = folder.write("foreign.pem", &other.key);
    let certificate = folder.write("certificate.pem", &pair.cert);
    let key = folder.write("secret.pem", &pair.key);
    let odd = folder.write(
        "odd.pem",
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0IHNlY3JldA==\n-----END PRIVATE KEY-----\n",
    );
    let wrong = folder.write(
        "wrong.pem",
        "-----BEGIN CERTIFICATE-----\nc2VjcmV0IHNlY3JldA==\n-----END CERTIFICATE-----\n",
    );
    for (cert, key, words) in [
        (
            "/nowhere/cert.pem",
            key.as_str(),
            &["/nowhere/cert.pem", "No such file"][..],
        ),
        (
            &certificate,
            "/nowhere/key.pem",
            &["/nowhere/key.pem", "No such file"],
        ),
        (&empty, &key, &["empty.pem", "no certificate"]),
        (&text, &key, &["text.pem", "no certificate"]),
        (&key, &key, &["secret.pem", "no certificate"]),
        (&wrong, &key, &["wrong.pem"]),
        (&certificate, &text, &["text.pem", "no private key"]),
        (
            &certificate,
            &certificate,
            &["certificate.pem", "no private key"],
        ),
        (&certificate, &cut, &["cut.pem", "END"]),
        (&certificate, &odd, &["odd.pem", "private key"]),
        (
            &certificate,
            &foreign,
            &["foreign.pem", "certificate.pem", "not the key"],
        ),
    ] {
        let mut command = program();
        command.args([
            "--memory",
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ]);
        let (status, out, err) = run_to_end(&mut command);
        assert_eq!(status.code(), Some(1), "{err}");
        assert_eq!(out, "", "it does not say that it listens");
        for word in words {
            assert!(err.contains(word), "{word:?} is not in {err:?}");
        }
        let secret = pair.key.lines().nth(1).expect("a line of the key");
        assert!(!err.contains(secret) && !err.contains("c2VjcmV0"), "{err}");
    }
}

#[test]
fn a_changed_pair_is_read_again() {
    let (authority, folder, server) = ready(2, &[]);
    let (first, mut old) = (shown(&server), server.socket("/echo"));
    let second = authority.issue("localhost");
    folder.put(&second);
    // Nobody has to ask for it.
    server.await_metric("reloads_total", 1);
    assert_ne!(first, second.der);
    assert_eq!(shown(&server), second.der);
    // At once for who asks.
    let third = authority.issue("localhost");
    folder.put(&third);
    server.signal("HUP");
    until("the new one is shown", || shown(&server) == third.der);
    assert_eq!(shown_to(&old), first, "who is there keeps what was theirs");
    old.send_text("and stays");
    assert_eq!(old.text(), "and stays");
    server.metric_is("reload_failures_total", 0);
}

#[test]
fn a_bad_pair_is_refused_and_the_old_one_stays() {
    let (authority, folder, server) = ready(1, &[]);
    let first = shown(&server);
    let other = authority.issue("localhost");
    for (round, (name, text)) in [
        ("key.pem", other.key.as_str()),
        ("key.pem", "nothing"),
        ("cert.pem", ""),
    ]
    .into_iter()
    .enumerate()
    {
        folder.write(name, text);
        server.signal("HUP");
        server.await_metric("reload_failures_total", round as u64 + 1);
        assert_eq!(shown(&server), first);
    }
    server.await_log("the old one stays");
    assert!(
        !server
            .log()
            .contains(other.key.lines().nth(1).expect("a line"))
    );
    fs::remove_file(folder.path().join("key.pem")).expect("it is there");
    server.signal("HUP");
    server.await_metric("reload_failures_total", 4);
    assert_eq!(shown(&server), first);
    let new = authority.issue("localhost");
    folder.put(&new);
    server.signal("HUP");
    until("the new one is shown", || shown(&server) == new.der);
}

#[test]
fn nobody_is_lost_while_it_is_read_again() {
    const ROUNDS: u64 = 10;
    let (authority, folder, server) = ready(2, &[]);
    let pairs: Vec<Pair> = (0..2).map(|_| authority.issue("localhost")).collect();
    let (is_over, count) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // Any failure panics.
                    let mut socket = server.socket("/echo");
                    socket.send_text("hello");
                    assert_eq!(socket.text(), "hello");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..=ROUNDS {
            folder.put(&pairs[round as usize % pairs.len()]);
            server.signal("HUP");
            server.await_metric("reloads_total", round);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(count.into_inner() > 0);
    server.metric_is("tls_failed_total", 0);
}

#[test]
fn clients_may_need_a_certificate() {
    let authority = Authority::new("authority");
    let (members, strangers) = (Authority::new("members"), Authority::new("strangers"));
    let folder = Folder::with(&authority.issue("localhost"));
    let ca = folder.write("ca.pem", &members.pem());
    for version in VERSIONS {
        let mut server = serve(&authority, &folder, 1, &["--tls-client-ca", &ca]);
        server.set_tls(authority.client_with(&[version], &members.issue("member")));
        let mut echo = server.socket("/echo");
        echo.send_text("one of us");
        assert_eq!(echo.text(), "one of us");
        let stranger = authority.client_with(&[version], &strangers.issue("member"));
        for config in [authority.client(&[version]), stranger] {
            let member = server.metric("tls_failed_total");
            let mut refused = common_stream(&server, config);
            let _ = refused.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let result = refused.read(&mut [0; 100]);
            assert!(result.is_err(), "{result:?}");
            server.await_metric("tls_failed_total", member + 1);
        }
    }
    let (status, _, err) = run_to_end(program().args([
        "--memory",
        "--listen",
        "127.0.0.1:0",
        "--tls-self-signed",
        "--tls-client-ca",
        "/nowhere/ca.pem",
    ]));
    assert_eq!(status.code(), Some(1));
    assert!(err.contains("/nowhere/ca.pem"), "{err}");
}

/// A stream of a client of another kind than the server's usual ones.
fn common_stream(server: &Server, config: rustls::ClientConfig) -> super::Stream {
    super::Stream::secure(server.connect(), &std::sync::Arc::new(config))
}

#[test]
fn a_pair_for_development_is_kept() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let serve = || {
        let mut command: Command = program();
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--shards",
            "1",
            "--echo",
            "--tls-self-signed",
        ]);
        command.arg("--data").arg(&data);
        Server::run(command)
    };
    let server = serve();
    server.await_log("made for development");
    assert_eq!(server.get("/").field("strict-transport-security"), None);
    let first = shown(&server);
    drop(server);
    assert_eq!(shown(&serve()), first);
    let key = fs::metadata(data.join("tls-self-signed-key.pem")).expect("it is kept");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    // In memory there is a new one each time.
    let memory = || shown(&Server::with(1, &["--tls-self-signed"]));
    assert_ne!(memory(), memory());
}
