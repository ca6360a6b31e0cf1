//! What is acknowledged is on the disk, not only on its way there. A library between the server and the system counts
//! syncs, holds them up, lets them fail, and keeps what a loss of power would leave (`tests/syncs/shim.c`).

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Client, Server, Value, json, sharded, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use store::{Folder, stop};

const LOG: &str = "roomcast.db-wal";
const DATABASE: &str = "roomcast.db";

/// The library, built once.
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/syncs/shim.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (new, library) = (
        folder.join(format!("libshim-{}.so", std::process::id())),
        folder.join("libshim.so"),
    );
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-pthread", "-o"])
        .args([&new, &source])
        .output()
        .expect("a C compiler, as for building");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // Servers of another run may have the old one.
    fs::rename(new, &library).expect("a file");
    library
});

/// A data folder whose syncs are in the test's hands.
struct Disk {
    folder: Folder,
    /// Where the test speaks with the library.
    desk: Folder,
}

impl Disk {
    fn new(name: &str) -> Disk {
        let desk = Folder::new(&format!("{name}-desk"));
        fs::create_dir_all(desk.path().join("disk")).expect("a folder");
        Disk {
            folder: Folder::new(name),
            desk,
        }
    }

    fn serve(&self, shards: u16) -> Server {
        let mut command = self.folder.command(shards, &[]);
        command
            .env("LD_PRELOAD", &*SHIM)
            .env("SYNCS_FOLDER", self.desk.path());
        Server::run(command)
    }

    /// How often that became of a sync of this file.
    fn count(&self, file: &str, what: &str) -> usize {
        let log = fs::read_to_string(self.desk.path().join("log")).unwrap_or_default();
        let line = format!("{file} {what}");
        log.lines().filter(|other| **other == line).count()
    }

    /// From now on syncs of this file `hold` or `fail`.
    fn tell(&self, what: &str, file: &str) {
        fs::write(self.word(what, file), "").expect("a file");
    }

    /// And not any more.
    fn take_back(&self, what: &str, file: &str) {
        fs::remove_file(self.word(what, file)).expect("it is there");
    }

    fn word(&self, what: &str, file: &str) -> PathBuf {
        self.desk.path().join(format!("{what}-{file}"))
    }

    /// The power goes. What is left is what was synced.
    fn cut_power(&self, server: Server) {
        drop(server);
        fs::remove_dir_all(self.folder.path()).expect("a folder");
        fs::rename(self.desk.path().join("disk"), self.folder.path()).expect("a folder");
        fs::create_dir(self.desk.path().join("disk")).expect("a folder");
    }
}

/// Whether the server says that it can commit.
fn is_ready(server: &Server) -> bool {
    server.get("/readyz").status == 200
}

fn message(number: usize) -> Value {
    let content = format!("{number} {}", "x".repeat(number * 997 % 20_000));
    json!({"type": "message", "room_id": "r", "content": content, "id": format!("id {number}")})
}

/// Joins as a new client, and reads what the room has: exactly these messages, in this order.
fn check(server: &Server, epoch: &Value, numbers: std::ops::RangeInclusive<usize>) {
    let mut client = Client::open(server, "");
    let since = json!({"epoch": epoch, "seq_id": 0});
    let joined = client.ask(
        json!({"type": "join", "room_id": "r", "since": since}),
        "joined",
    );
    assert_eq!(joined["recovered"], true, "{joined}");
    for (seq, number) in (1_u64..).zip(numbers.clone()) {
        let read = client.take_of("message", "r");
        assert_eq!(
            (&read["seq_id"], &read["content"]),
            (&json!(seq), &message(number)["content"])
        );
    }
    assert_eq!(joined["seq_id"], numbers.count());
}

sharded!(every_ack_has_its_sync, nobody_hears_of_what_is_not_synced);
sharded!(a_failed_sync_is_a_storage_error_until_the_disk_recovers);

fn every_ack_has_its_sync(shards: u16) {
    let disk = Disk::new("acks");
    let server = disk.serve(shards);
    let mut ann = server.client("ann");
    ann.join("r");
    for number in 1..=30 {
        let before = disk.count(LOG, "done");
        ann.ask(message(number), "ack");
        assert!(disk.count(LOG, "done") > before, "message {number}");
    }
    let before = disk.count(LOG, "done");
    ann.write_to("ann", "to oneself");
    assert!(disk.count(LOG, "done") > before, "a private message");
    let before = disk.count(LOG, "done");
    server.client("bob");
    assert!(disk.count(LOG, "done") > before, "a name");
    stop(server);
}

fn nobody_hears_of_what_is_not_synced(shards: u16) {
    let disk = Disk::new("held");
    let server = disk.serve(shards);
    let mut ann = server.client("ann");
    let mut bob = Client::open(&server, "");
    ann.join("r");
    bob.join("r");
    disk.tell("hold", LOG);
    ann.say(message(1));
    until("the commit is at its sync", || disk.count(LOG, "held") == 1);
    let heard = [ann.rest(), bob.rest()].concat();
    let is_news = |event: &&Value| event["type"] == "ack" || event["type"] == "message";
    assert_eq!(heard.iter().find(is_news), None);
    let done = disk.count(LOG, "done");
    disk.take_back("hold", LOG);
    assert_eq!(ann.take("ack")["seq_id"], 1);
    assert_eq!(bob.take("message")["seq_id"], 1);
    assert_eq!(disk.count(LOG, "done"), done + 1);
    stop(server);
}

fn a_failed_sync_is_a_storage_error_until_the_disk_recovers(shards: u16) {
    let disk = Disk::new("eio");
    let server = disk.serve(shards);
    let mut ann = server.client("ann");
    let joined = ann.join("r");
    for number in 1..=3 {
        ann.ask(message(number), "ack");
    }
    for round in 4..=6 {
        disk.tell("fail", LOG);
        let error = ann.ask(message(round), "error");
        assert_eq!(
            (&error["code"], &error["retryable"], &error["id"]),
            (&json!("storage"), &json!(true), &message(round)["id"])
        );
        assert!(disk.count(LOG, "failed") > 0);
        until("readiness is taken back", || !is_ready(&server));
        let failed = disk.count(LOG, "failed");
        until("it is tried again", || disk.count(LOG, "failed") > failed);
        let error = ann.ask(message(round), "error");
        assert_eq!(error["code"], "storage", "{error}");
        assert!(!is_ready(&server));
        disk.take_back("fail", LOG);
        until("it is ready again", || is_ready(&server));
        let ack = ann.ask(message(round), "ack");
        assert_eq!(ack["seq_id"], round, "{ack}");
    }
    disk.cut_power(server);
    let server = disk.serve(shards);
    check(&server, &joined["epoch"], 1..=6);
    stop(server);
}

#[test]
fn a_checkpoint_that_cannot_be_synced_loses_nothing() {
    let disk = Disk::new("checkpoint");
    let server = disk.serve(1);
    let mut ann = server.client("ann");
    let joined = ann.join("r");
    disk.tell("fail", DATABASE);
    let (mut number, mut refused) = (0, 0);
    until("a checkpoint fails", || {
        ann.say(message(number + 1));
        let answer = ann.next_of(&["ack", "error"]);
        if answer["type"] == "ack" {
            number += 1;
        } else {
            assert_eq!(answer["code"], "storage", "{answer}");
            refused += 1;
        }
        refused > 0
    });
    assert!(number > 5, "{number}");
    until("readiness is taken back", || !is_ready(&server));
    disk.take_back("fail", DATABASE);
    until("it is ready again", || is_ready(&server));
    ann.ask(message(number + 1), "ack");
    disk.cut_power(server);
    let server = disk.serve(1);
    check(&server, &joined["epoch"], 1..=number + 1);
    stop(server);
}

#[test]
fn what_was_acknowledged_is_there_after_a_loss_of_power() {
    let disk = Disk::new("power");
    let (mut number, mut epoch) = (0, Value::Null);
    for round in 0..4 {
        let server = disk.serve(2);
        let mut ann = Client::open(&server, "?user=ann&session=the-secret-of-ann");
        let joined = ann.join("r");
        if round > 0 {
            assert_eq!(joined["epoch"], epoch, "it is no restored backup");
            check(&server, &epoch, 1..=number);
            let known = ann.ask(message(number), "ack");
            assert_eq!(known["dup"], true, "{known}");
        }
        epoch = joined["epoch"].clone();
        // In the third round there are checkpoints, and in the fourth what they leave.
        for _ in 0..[1, 10, 80, 3][round] {
            number += 1;
            ann.ask(message(number), "ack");
        }
        if round == 2 {
            until("there are checkpoints", || disk.count(DATABASE, "done") > 3);
        }
        disk.cut_power(server);
    }
    let server = disk.serve(2);
    check(&server, &epoch, 1..=number);
    stop(server);
}
