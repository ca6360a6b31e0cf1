//! What the process may do: started as root it becomes another user, for good and in all its threads.
//!
//! These tests need root. Where they are not run as root they say so and pass, unless `ROOMCAST_REQUIRE` names `root`.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Server, program, run_to_end};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;
use store::Folder;

/// A user that every system has, and its number.
const USER: &str = "nobody";

fn is_root() -> bool {
    let is_root = id("-u") == "0";
    if !is_root {
        let required = std::env::var("ROOMCAST_REQUIRE").unwrap_or_default();
        let is_required = required.split(',').any(|tool| tool == "root");
        assert!(
            !is_required,
            "ROOMCAST_REQUIRE is {required}, and this is not root"
        );
        eprintln!("skipped: only root can become another user");
    }
    is_root
}

fn id(argument: &str) -> String {
    output(Command::new("id").arg(argument))
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().to_owned()
}

fn number_of(user: &str, argument: &str) -> u32 {
    output(Command::new("id").args([argument, user]))
        .parse()
        .expect("a number")
}

/// A line of the status of each thread of a server: its words behind the name.
fn of_threads(server: &Server, name: &str) -> Vec<Vec<String>> {
    let threads = fs::read_dir(format!("/proc/{}/task", server.id())).expect("it runs");
    let status =
        threads.map(|thread| fs::read_to_string(thread.expect("it runs").path().join("status")));
    status
        .map(|status| {
            let status = status.expect("it runs");
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .expect("a line");
            line.split_whitespace().map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn every_thread_is_the_user_and_root_is_gone() {
    if !is_root() {
        return;
    }
    let (uid, gid) = (number_of(USER, "-u"), number_of(USER, "-g"));
    for (account, gid, groups) in [
        (USER.to_owned(), gid, None),
        (
            format!("{USER}:daemon"),
            number_of("daemon", "-g"),
            Some(number_of("daemon", "-g")),
        ),
        (format!("{uid}:12345"), 12345, Some(12345)),
    ] {
        let mut server = Server::with(2, &["--user", &account, "--admin", "127.0.0.1:0"]);
        let ids = of_threads(&server, "Uid:");
        assert!(ids.len() >= 3, "two shards and admin: {ids:?}");
        for ids in ids {
            assert_eq!(ids, vec![uid.to_string(); 4]);
        }
        for ids in of_threads(&server, "Gid:") {
            assert_eq!(ids, vec![gid.to_string(); 4]);
        }
        for listed in of_threads(&server, "Groups:") {
            assert!(!listed.contains(&"0".to_owned()), "{listed:?}");
            if let Some(only) = groups {
                assert_eq!(listed, [only.to_string()]);
            }
        }
        for name in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            for set in of_threads(&server, name) {
                assert_eq!(set, ["0000000000000000"], "{name}");
            }
        }
        for is_set in of_threads(&server, "NoNewPrivs:") {
            assert_eq!(is_set, ["1"], "no program gives it back");
        }
        let mut ann = server.client("ann");
        ann.join("r");
        ann.post("r", "hello");
        server.signal("TERM");
        drop(ann);
        assert!(server.wait().success());
    }
}

#[test]
fn a_low_port_is_bound_before() {
    if !is_root() {
        return;
    }
    // Some port below 1024 that nobody has.
    let port = (600..1000)
        .rev()
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let address = format!("127.0.0.1:{}", port.expect("one is free"));
    let mut command = program();
    command.args([
        "--memory", "--shards", "2", "--user", USER, "--listen", &address,
    ]);
    let server = Server::run(command);
    assert_eq!(server.address().to_string(), address);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_missing_data_folder_is_made_for_the_user() {
    if !is_root() {
        return;
    }
    let outer = Folder::new("user_made");
    fs::create_dir(outer.path()).expect("it is ours");
    fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let data = outer.path().join("deep").join("data");
    let run = || {
        let mut command = program();
        command
            .args([
                "--listen",
                "127.0.0.1:0",
                "--shards",
                "1",
                "--user",
                USER,
                "--data",
            ])
            .arg(&data);
        Server::run(command)
    };
    let server = run();
    let mut ann = server.client("ann");
    ann.join("r");
    assert_eq!(ann.post("r", "kept")["durable"], true);
    store::stop(server);
    let (uid, gid) = (number_of(USER, "-u"), number_of(USER, "-g"));
    let files = fs::read_dir(&data)
        .expect("it is there")
        .map(|file| file.expect("a file").path());
    for path in files.chain([data.clone()]) {
        let metadata = fs::metadata(&path).expect("it is there");
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (uid, gid),
            "{}",
            path.display()
        );
    }
    let mode = fs::metadata(&data).expect("it is there").mode();
    assert_eq!(mode & 0o077, 0, "nobody else looks into it");
    assert_eq!(
        fs::metadata(data.parent().expect("deep"))
            .expect("it is there")
            .uid(),
        0
    );
    // The next start finds it.
    let server = run();
    let mut ann = server.again(&ann);
    ann.join("r");
    assert_eq!(ann.post("r", "more")["seq_id"], 2);
}

#[test]
fn a_data_folder_of_someone_else_is_left_as_it_is() {
    if !is_root() {
        return;
    }
    let outer = Folder::new("user_foreign");
    fs::create_dir(outer.path()).expect("it is ours");
    fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let data = outer.path().join("data");
    fs::create_dir(&data).expect("it is ours");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let mut command = program();
    command
        .args(["--listen", "127.0.0.1:0", "--user", USER, "--data"])
        .arg(&data);
    let (status, out, err) = run_to_end(&mut command);
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(
        out.is_empty() && err.contains(data.to_str().expect("text")),
        "{err}"
    );
    assert_eq!(fs::metadata(&data).expect("it is there").uid(), 0);
    // Given to the user, it serves.
    chown(&data, Some(number_of(USER, "-u")), None).expect("root may");
    let mut command = program();
    command
        .args(["--listen", "127.0.0.1:0", "--user", USER, "--data"])
        .arg(&data);
    assert_eq!(Server::run(command).get("/readyz").status, 200);
}

#[test]
fn a_key_that_the_user_cannot_read_is_named() {
    if !is_root() {
        return;
    }
    let outer = Folder::new("user_key");
    fs::create_dir(outer.path()).expect("it is ours");
    fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let data = outer.path().join("data");
    let run = |flags: &[&str]| {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--shards", "1", "--user", USER]);
        command.arg("--data").arg(&data).args(flags);
        command
    };
    // A pair for development is made, and kept, as the user.
    store::stop(Server::run(run(&["--tls-self-signed"])));
    let made = fs::read_dir(&data)
        .expect("it is there")
        .map(|file| file.expect("a file").path());
    let pems: Vec<_> = made
        .filter(|path| path.extension().is_some_and(|end| end == "pem"))
        .collect();
    let of = |word: &str| {
        pems.iter()
            .find(|path| path.to_string_lossy().contains(word))
            .expect(word)
    };
    let copy = |path: &std::path::Path| {
        let copy = outer.path().join(path.file_name().expect("a name"));
        fs::copy(path, &copy).expect("there is room");
        copy.to_str().expect("text").to_owned()
    };
    let (cert, key) = (copy(of("-cert.pem")), copy(of("-key.pem")));
    let mode =
        |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("it is ours");
    fs::set_permissions(&cert, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let flags = ["--tls-cert", &cert, "--tls-key", &key];
    // It is read again while the server runs, so that root's own could not be.
    mode(0o600);
    let (status, out, err) = run_to_end(&mut run(&flags));
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(out.is_empty() && err.contains(&key), "{err}");
    chown(&key, Some(number_of(USER, "-u")), None).expect("root may");
    assert_eq!(Server::run(run(&flags)).get("/readyz").status, 200);
}

#[test]
fn a_wrong_user_is_named() {
    if !is_root() {
        return;
    }
    for (account, word) in [
        ("no-such-user", "no-such-user"),
        ("nobody:no-such-group", "no-such-group"),
        ("root", "root"),
        ("0", "root"),
    ] {
        let mut command = program();
        let (status, out, err) =
            run_to_end(command.args(["--memory", "--listen", "127.0.0.1:0", "--user", account]));
        assert_eq!(status.code(), Some(1), "{account}: {err}");
        assert!(
            out.is_empty() && err.contains(word) && err.contains("--user"),
            "{account}: {err}"
        );
    }
}

#[test]
fn who_is_not_root_is_told() {
    if !is_root() {
        return;
    }
    let run = |flags: &[&str]| {
        // The program may lie where only root can go.
        let folder = Folder::new("not_root");
        fs::create_dir(folder.path()).expect("it is ours");
        let copy = folder.path().join("roomcast");
        fs::copy(program().get_program(), &copy).expect("there is room");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut command = Command::new("setpriv");
        let (uid, gid) = (number_of(USER, "-u"), number_of(USER, "-g"));
        command.args([
            format!("--reuid={uid}"),
            format!("--regid={gid}"),
            "--clear-groups".into(),
        ]);
        command
            .arg(&copy)
            .args(["--memory", "--listen", "127.0.0.1:0"])
            .args(flags);
        run_to_end(&mut command)
    };
    let (status, out, err) = run(&["--user", USER]);
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(
        out.is_empty() && err.contains("only root") && err.contains("--user"),
        "{err}"
    );
    let (_, _, err) = run(&["--check-config"]);
    assert!(!err.contains("root"), "{err}");
}

#[test]
fn root_without_a_user_is_warned() {
    if !is_root() {
        return;
    }
    let server = Server::start(1);
    server.await_log("it runs as root");
    let server = Server::with(1, &["--user", USER]);
    assert_eq!(server.get("/healthz").status, 200);
    assert!(!server.log().contains("it runs as root"));
}
