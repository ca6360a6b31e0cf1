//! A disk that is full or fails: sends are refused with a retryable error, nothing that was acknowledged is lost, and
//! service returns without a restart. The full one is a small file system of its own, where the tests may mount one.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Client, Server, json, seqs, until};
use std::fs;
use std::path::Path;
use std::process::Command;
use store::{Folder, stop};

/// A file system of 8 MiB on a folder, which ends with this value.
struct Volume<'a>(&'a Path);

impl Volume<'_> {
    fn mount(path: &Path) -> Option<Volume<'_>> {
        fs::create_dir_all(path).expect("a folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(path);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        is_mounted.then_some(Volume(path))
    }
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
    let Some(volume) = Volume::mount(folder.path()) else {
        println!("skipped: no file system can be mounted here");
        return;
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
