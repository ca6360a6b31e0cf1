//! `--pin` keeps each shard on one core.

mod common;

use common::Server;
use std::fs;

/// The cores on which a thread may run, as `/proc` lists them.
fn cores(task: &str) -> String {
    let status = fs::read_to_string(format!("{task}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("Linux says where a thread may run")
        .trim()
        .to_owned()
}

/// Each shard's name and cores.
fn shards(server: &Server) -> Vec<(String, String)> {
    let folder = format!("/proc/{}/task", server.id());
    let mut shards = Vec::new();
    for task in fs::read_dir(folder).unwrap() {
        let task = task.unwrap().path().display().to_string();
        let name = fs::read_to_string(format!("{task}/comm")).unwrap();
        if name.starts_with("shard-") {
            shards.push((name.trim().to_owned(), cores(&task)));
        }
    }
    shards.sort();
    shards
}

#[test]
fn each_shard_stays_on_a_core_of_its_own() {
    let own = cores("/proc/thread-self");
    let pinned = Server::with(2, &["--pin"]);
    let [(_, first), (_, second)] = &*shards(&pinned) else {
        panic!("two shards");
    };
    assert!(first.parse::<u32>().is_ok(), "{first} is one core");
    assert!(second.parse::<u32>().is_ok(), "{second} is one core");
    assert_eq!(first == second, own.parse::<u32>().is_ok(), "of {own}");

    let free = Server::start(2);
    for (name, cores) in shards(&free) {
        assert_eq!(cores, own, "{name}");
    }
}
