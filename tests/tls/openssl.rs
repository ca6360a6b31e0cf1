//! The same seen by OpenSSL, where it is installed.

use super::common::{PATIENCE, Server};
use super::{Authority, ready};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Instant;

/// Whether there is an `openssl`. Where `ROOMCAST_REQUIRE` names it, it has to be.
fn is_there() -> bool {
    let is_there = Command::new("openssl")
        .arg("version")
        .output()
        .is_ok_and(|output| output.status.success());
    let required = std::env::var("ROOMCAST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| name == "openssl");
    assert!(
        is_there || !is_required,
        "ROOMCAST_REQUIRE names openssl, which is not here"
    );
    if !is_there {
        println!("skipped: there is no openssl");
    }
    is_there
}

/// Asks for `/healthz` with `openssl s_client`, with these flags as well.
fn ask(server: &Server, folder: &super::Folder, flags: &[&str]) -> Output {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &server.host(),
            "-servername",
            "localhost",
        ])
        .args(["-verify_return_error", "-CAfile"])
        .arg(folder.path().join("ca.pem"))
        .args(["-ign_eof"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.host()
    );
    let mut stdin = child.stdin.take().expect("it is piped");
    let _ = stdin.write_all(request.as_bytes());
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
    child.wait_with_output().expect("it has ended")
}

fn served(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("HTTP/1.1 200 OK")
}

fn started() -> (Authority, super::Folder, Server) {
    let (authority, folder, server) = ready(2, &[]);
    folder.write("ca.pem", &authority.pem());
    (authority, folder, server)
}

#[test]
fn versions_of_openssl() {
    if !is_there() {
        return;
    }
    let (_authority, folder, server) = started();
    for (flags, version) in [
        (&[][..], Some("TLSv1.3")),
        (&["-tls1_3"], Some("TLSv1.3")),
        (&["-tls1_2"], Some("TLSv1.2")),
        (&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], None),
        (&["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], None),
        (&["-tls1_2", "-cipher", "AES128-SHA:AES256-SHA"], None),
        (&["-alpn", "h2"], None),
    ] {
        let output = ask(&server, &folder, flags);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(served(&output), version.is_some(), "{flags:?}: {output:?}");
        if let Some(version) = version {
            assert!(text.contains(version), "{flags:?}: {text}");
            assert!(
                text.contains("Verify return code: 0 (ok)"),
                "{flags:?}: {text}"
            );
        }
    }
}

#[test]
fn openssl_negotiates_http() {
    if !is_there() {
        return;
    }
    let (_authority, folder, server) = started();
    let output = ask(&server, &folder, &["-alpn", "h2,http/1.1"]);
    assert!(served(&output), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
    assert!(
        text.contains("Secure Renegotiation IS") || text.contains("TLSv1.3"),
        "{text}"
    );
}

#[test]
fn openssl_resumes() {
    if !is_there() {
        return;
    }
    let (_authority, folder, server) = started();
    for version in ["-tls1_2", "-tls1_3"] {
        let session = folder.path().join("session.pem");
        let session = session.to_str().expect("text");
        let first = ask(&server, &folder, &[version, "-sess_out", session]);
        assert!(served(&first), "{first:?}");
        let second = ask(&server, &folder, &[version, "-sess_in", session]);
        assert!(served(&second), "{second:?}");
        let text = String::from_utf8_lossy(&second.stdout);
        assert!(text.contains("\nReused, TLSv1."), "{version}: {text}");
    }
    assert_eq!(server.metric("tls_resumed_total"), 2);
}
