//! A disk that is full, fails, or stands still: sends are refused with a retryable error, nothing that was acknowledged
//! is lost, and service returns without a restart. For some of that the disk is a small file system of its own. Where the
//! tests may not mount one they say so and pass, unless `ROOMCAST_REQUIRE` names `mount`.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Client, Server, Value, json, run_to_end, seqs, until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use store::{Folder, stop};

/// A small file system on a folder, which ends with this value.
struct Volume<'a>(&'a Path);

impl Volume<'_> {
    fn mount<'a>(path: &'a Path, size: &str) -> Option<Volume<'a>> {
        fs::create_dir_all(path).expect("a folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(path);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        is_mounted.then_some(Volume(path))
    }
}

/// A disk in a file, with a file system that can be told to take no more writes for a while.
struct Still<'a> {
    volume: Volume<'a>,
    image: PathBuf,
}

impl Still<'_> {
    fn mount(path: &Path) -> Option<Still<'_>> {
        fs::create_dir_all(path).expect("a folder");
        let image = path.with_extension("image");
        let file = fs::File::create(&image).expect("a file");
        file.set_len(64 << 20).expect("a sparse file");
        let is_mounted = runs(Command::new("mkfs.ext4").arg("-q").arg(&image))
            && runs(
                Command::new("mount")
                    .args(["-o", "loop"])
                    .arg(&image)
                    .arg(path),
            );
        let volume = Volume(path);
        let still = Still { volume, image };
        is_mounted.then_some(still)
    }

    /// From now on whoever writes waits.
    fn freeze(&self) -> Option<Frozen<'_>> {
        let is_frozen = runs(Command::new("fsfreeze").arg("--freeze").arg(self.volume.0));
        is_frozen.then_some(Frozen(self.volume.0))
    }

    /// From now on nobody can write to it, as when a disk has failed under a file system.
    fn make_read_only(&self) -> bool {
        let mut mount = Command::new("mount");
        runs(mount.args(["-o", "remount,abort"]).arg(self.volume.0))
    }

    /// Mounts it anew, for writing.
    fn mount_again(&self) -> bool {
        let mut mount = Command::new("mount");
        runs(Command::new("umount").arg(self.volume.0))
            && runs(
                mount
                    .args(["-o", "loop"])
                    .arg(&self.image)
                    .arg(self.volume.0),
            )
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.image);
    }
}

/// A file system that stands still as long as this value is there. Who waits for it cannot even be killed before.
struct Frozen<'a>(&'a Path);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        runs(Command::new("fsfreeze").arg("--unfreeze").arg(self.0));
    }
}

/// Says in one line why a test does no more here, which `cargo test` shows for tests that pass too; or fails it.
fn skip(why: &str) {
    let required = std::env::var("ROOMCAST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| name == "mount");
    assert!(!is_required, "ROOMCAST_REQUIRE is {required}, and {why}");
    // Not with a macro, whose output the test harness keeps to itself.
    let line = format!("skipped: {why} here\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).output();
    }
}

/// Sends until something is refused. Gives how many were acknowledged.
fn fill(ann: &mut Client) -> usize {
    let text = "x".repeat(20_000);
    for number in 0..2_000 {
        let id = format!("fill {number}");
        ann.say(json!({"type": "message", "room_id": "r", "content": text, "id": id}));
        let answer = ann.next_of(&["ack", "error"]);
        if answer["type"] == "error" {
            assert_eq!(answer["code"], "storage", "{answer}");
            assert_eq!(answer["retryable"], true);
            return number;
        }
    }
    panic!("it is never full");
}

fn readiness(server: &Server) -> u16 {
    server.get("/readyz").status
}

#[test]
fn a_full_disk_refuses_and_comes_back() {
    let folder = Folder::new("full");
    let Some(volume) = Volume::mount(folder.path(), "8m") else {
        return skip("no file system can be mounted");
    };
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    let joined = ann.join("r");
    let session = ann.session.clone();
    let kept = fill(&mut ann);
    assert!(kept > 10, "{kept}");
    until("readiness is taken back", || readiness(&server) == 503);
    let mut bob = Client::open(&server, "");
    assert_eq!(bob.join("r")["seq_id"], kept);
    let page = bob.ask(
        json!({"type": "history", "room_id": "r", "after": 0, "limit": 3}),
        "history",
    );
    assert_eq!(
        seqs(page["messages"].as_array().expect("messages")),
        [1, 2, 3],
        "reading goes on"
    );
    // Room comes from outside: a larger volume.
    let grown = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(folder.path())
        .status();
    assert!(grown.is_ok_and(|status| status.success()));
    until("it is ready again", || readiness(&server) == 200);
    let again = json!({"type": "message", "room_id": "r", "content": "again", "id": "again"});
    assert_eq!(ann.ask(again.clone(), "ack")["seq_id"], kept + 1);
    stop(server);
    let server = folder.serve(1);
    let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
    let since = json!({"epoch": joined["epoch"], "seq_id": 0});
    let joined = ann.ask(
        json!({"type": "join", "room_id": "r", "since": since}),
        "joined",
    );
    assert_eq!(
        (&joined["recovered"], &joined["seq_id"]),
        (&json!(true), &json!(kept + 1))
    );
    let seqs = ann.take_seqs("r", kept + 1);
    assert!(seqs.iter().copied().eq(1..=kept as u64 + 1));
    assert_eq!(ann.ask(again, "ack")["dup"], true);
    stop(server);
    drop(volume);
}

#[test]
fn a_full_disk_comes_back_when_old_messages_are_trimmed() {
    const COUNT: u64 = 1_500;
    let folder = Folder::new("trimmed");
    let Some(volume) = Volume::mount(folder.path(), "64m") else {
        return skip("no file system can be mounted");
    };
    let server = folder.serve_with(1, &["--retain-messages", "log-*=20"]);
    let mut ann = server.client("ann");
    ann.join("log-1");
    // More than the volume holds, so that there is no room but what was trimmed.
    let text = "x".repeat(60_000);
    let mut refused_count = 0;
    for number in 1..=COUNT {
        let id = number.to_string();
        let message = json!({"type": "message", "room_id": "log-1", "content": text, "id": id});
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            ann.say(message.clone());
            let answer = ann.next_of(&["ack", "error"]);
            if answer["type"] == "ack" {
                assert_eq!(answer["seq_id"], number);
                break;
            }
            assert_eq!(answer["code"], "storage", "{answer}");
            assert!(Instant::now() < deadline, "{number} is never kept");
            refused_count += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert!(refused_count > 0, "it was never full");
    until("it is ready", || readiness(&server) == 200);
    let page = json!({"type": "history", "room_id": "log-1", "limit": 2});
    let page = ann.ask(page, "history");
    let messages = page["messages"].as_array().expect("messages");
    assert_eq!(seqs(messages), [COUNT - 1, COUNT]);
    drop(ann);
    stop(server);
    drop(volume);
}

#[test]
fn a_recovery_says_who_is_in_its_way() {
    let folder = Folder::new("busy");
    let server = with_limited_files(&folder);
    let mut ann = server.client("ann");
    ann.join("r");
    ann.post("r", 1);
    let reader = rusqlite::Connection::open(folder.database()).expect("a database");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM messages;")
        .expect("it reads");
    limit_files(&server, Some(0));
    let message = json!({"type": "message", "room_id": "r", "content": 2, "id": "two"});
    assert_eq!(ann.ask(message.clone(), "error")["code"], "storage");
    limit_files(&server, None);
    server.await_log(&format!(
        "(process {}) reads the database",
        std::process::id()
    ));
    assert_eq!(readiness(&server), 503);
    drop(reader);
    until("it is ready again", || readiness(&server) == 200);
    assert_eq!(ann.ask(message, "ack")["seq_id"], 2);
    drop(ann);
    stop(server);
}

#[test]
fn a_database_that_cannot_be_written_refuses_and_comes_back() {
    for shards in [1, 2] {
        let folder = Folder::new("locked");
        let server = folder.serve(shards);
        let mut ann = server.client("ann");
        ann.join("r");
        ann.post("r", 1);
        // Somebody else writes into the database, for longer than is waited for.
        let other = rusqlite::Connection::open(folder.database()).expect("a database");
        other.execute_batch("BEGIN IMMEDIATE").expect("it is free");
        let message = json!({"type": "message", "room_id": "r", "content": 2, "id": "two"});
        let error = ann.ask(message.clone(), "error");
        assert_eq!(
            (&error["code"], &error["id"]),
            (&json!("storage"), &json!("two"))
        );
        until("readiness is taken back", || readiness(&server) == 503);
        let claim = server.socket("/ws?user=bob").text();
        assert!(
            claim.contains("storage"),
            "a name is not given before it is kept: {claim}"
        );
        let mut guest = Client::open(&server, "");
        guest.join("r");
        let page = guest.ask(json!({"type": "history", "room_id": "r"}), "history");
        assert_eq!(
            seqs(page["messages"].as_array().expect("messages")),
            [1],
            "reading goes on"
        );
        let guests = json!({"type": "message", "to": guest.user, "content": 1});
        assert_eq!(
            guest.ask(guests, "ack")["durable"],
            false,
            "so does what is in memory"
        );
        other.execute_batch("ROLLBACK").expect("it ends");
        until("it is ready again", || readiness(&server) == 200);
        let ack = ann.ask(message, "ack");
        assert_eq!(
            (&ack["seq_id"], &ack["dup"]),
            (&json!(2), &json!(null)),
            "{ack}"
        );
        server.client("bob");
        assert_eq!(ann.take_seqs("r", 2), [1, 2]);
        stop(server);
    }
}

/// A server that gets an error for each write to a file, and not a signal, when its files may not grow.
fn with_limited_files(folder: &Folder) -> Server {
    let inner = folder.command(2, &[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    Server::run(command)
}

/// Bounds what a server may write to its files, from now on.
fn limit_files(server: &Server, bytes: Option<u64>) {
    let id = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: bytes,
        maximum: getrlimit(Resource::Fsize).maximum,
    };
    prlimit(id, Resource::Fsize, limit).expect("it is our process");
}

#[test]
fn a_disk_that_fails_refuses_and_comes_back() {
    let folder = Folder::new("failing");
    let server = with_limited_files(&folder);
    let mut ann = server.client("ann");
    let joined = ann.join("r");
    for number in 1..=3 {
        ann.post("r", number);
    }
    let mut kept = 3;
    for round in 0..3 {
        limit_files(&server, Some(0));
        let id = format!("round {round}");
        let message = json!({"type": "message", "room_id": "r", "content": round, "id": id});
        let error = ann.ask(message.clone(), "error");
        assert_eq!(
            (&error["code"], &error["retryable"], &error["id"]),
            (&json!("storage"), &json!(true), &json!(id))
        );
        until("readiness is taken back", || readiness(&server) == 503);
        let answer = server.get("/readyz");
        assert!(answer.text().contains("disk"), "{}", answer.text());
        limit_files(&server, None);
        until("it is ready again", || readiness(&server) == 200);
        kept += 1;
        let ack = ann.ask(message, "ack");
        assert_eq!(ack["seq_id"], kept, "{ack}");
    }
    let session = ann.session.clone();
    // What was acknowledged is there after the worst end.
    drop(server);
    let server = folder.serve(1);
    let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
    let since = json!({"epoch": joined["epoch"], "seq_id": 0});
    ann.ask(
        json!({"type": "join", "room_id": "r", "since": since}),
        "joined",
    );
    assert_eq!(
        ann.take_seqs("r", kept),
        (1..=kept as u64).collect::<Vec<_>>()
    );
    stop(server);
}

#[test]
fn a_disk_that_stands_still_holds_senders_back_and_then_refuses() {
    let folder = Folder::new("still");
    let Some(disk) = Still::mount(folder.path()) else {
        return skip("no file system can be mounted");
    };
    let server = folder.serve(2);
    let mut ann = server.client("ann");
    let mut bob = Client::open(&server, "");
    ann.join("r");
    ann.post("r", 0);
    let Some(frozen) = disk.freeze() else {
        return skip("no file system can be frozen");
    };
    let began = Instant::now();
    let text = "x".repeat(10_000);
    for number in 0..120 {
        ann.say(
            json!({"type": "message", "room_id": "r", "content": text, "id": number.to_string()}),
        );
    }
    until("it is held back", || {
        server.metric("uncommitted_full_total") > 0
    });
    assert!(server.metric("store_waiting_bytes") < 2 << 20);
    bob.barrier();
    let refused = ann.take("error");
    let took = began.elapsed();
    assert_eq!(
        (&refused["code"], &refused["retryable"]),
        (&json!("overloaded"), &json!(true))
    );
    assert!(took >= Duration::from_secs(4), "{took:?}");
    until("readiness is taken back", || readiness(&server) == 503);
    bob.barrier();
    drop(frozen);
    until("it is ready again", || readiness(&server) == 200);
    // Each was answered once: kept in the end, or refused.
    let answers: Vec<Value> = (1..120).map(|_| ann.next_of(&["ack", "error"])).collect();
    let (acks, errors): (Vec<Value>, Vec<Value>) = answers
        .into_iter()
        .partition(|answer| answer["type"] == "ack");
    assert!(errors.iter().all(|error| error["code"] == "overloaded"));
    assert!(acks.len() >= 64, "{}", acks.len());
    assert!(seqs(&acks).into_iter().eq(2..acks.len() as u64 + 2));
    ann.post("r", "after");
    stop(server);
}

#[test]
fn a_disk_that_becomes_read_only_refuses_and_keeps_what_was_acknowledged() {
    let folder = Folder::new("aborted");
    let Some(disk) = Still::mount(folder.path()) else {
        return skip("no file system can be mounted");
    };
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    ann.join("r");
    for number in 1..=3 {
        ann.post("r", number);
    }
    if !disk.make_read_only() {
        return skip("no file system can be made read-only");
    }
    let message = json!({"type": "message", "room_id": "r", "content": 4, "id": "four"});
    for _ in 0..3 {
        let error = ann.ask(message.clone(), "error");
        assert_eq!(
            (&error["code"], &error["retryable"]),
            (&json!("storage"), &json!(true))
        );
    }
    until("readiness is taken back", || readiness(&server) == 503);
    let mut bob = Client::open(&server, "");
    assert_eq!(bob.join("r")["seq_id"], 3);
    let page = bob.ask(json!({"type": "history", "room_id": "r"}), "history");
    let messages = page["messages"].as_array().expect("messages");
    assert_eq!(seqs(messages), [1, 2, 3], "reading goes on");
    let session = ann.session.clone();
    drop(server);
    assert!(disk.mount_again());
    let server = folder.serve(1);
    let mut ann = Client::open(&server, &format!("?user=ann&session={session}"));
    assert_eq!(ann.join("r")["seq_id"], 3);
    let ack = ann.ask(message, "ack");
    assert_eq!((&ack["seq_id"], &ack["dup"]), (&json!(4), &json!(null)));
    stop(server);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_at_the_start() {
    let folder = Folder::new("read-only");
    stop(folder.serve(1));
    let blocked = folder.path().join("roomcast.db").join("below");
    let mut command = common::program();
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(&blocked);
    let (status, _, err) = run_to_end(&mut command);
    assert!(!status.success());
    assert!(
        err.contains("cannot use") && err.contains("--data"),
        "{err}"
    );
    let is_mounted = runs(
        Command::new("mount")
            .arg("--bind")
            .args([folder.path(), folder.path()]),
    );
    let volume = Volume(folder.path());
    let is_read_only = is_mounted
        && runs(
            Command::new("mount")
                .args(["-o", "remount,ro,bind"])
                .arg(folder.path()),
        );
    if !is_read_only {
        return skip("nothing can be mounted");
    }
    let (status, _, err) = run_to_end(&mut folder.command(1, &[]));
    assert!(!status.success());
    assert!(
        err.contains("cannot use") && err.contains("Read-only file system"),
        "{err}"
    );
    drop(volume);
    stop(folder.serve(1));
}
