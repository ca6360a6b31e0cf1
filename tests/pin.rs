//! `--pin` keeps each shard on one core.

mod common;

use common::{PATIENCE, Server};
use std::fs;
use std::thread;
use std::time::Instant;

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

/// Where each shard may run, once all of them are as `wanted`: a server listens before its threads have begun.
fn settled(server: &Server, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let cores = shards(server);
        if cores.len() == 2 && cores.iter().all(|cores| wanted(cores)) {
            return cores;
        }
        assert!(Instant::now() < deadline, "shards on {cores:?}");
        thread::yield_now();
    }
}

fn shards(server: &Server) -> Vec<String> {
    let folder = format!("/proc/{}/task", server.id());
    let mut shards = Vec::new();
    for task in fs::read_dir(folder).unwrap() {
        let task = task.unwrap().path().display().to_string();
        let name = fs::read_to_string(format!("{task}/comm")).unwrap();
        // The first shard runs in the first thread of the process, which has the name of the program.
        if name.starts_with("shard-") || task.ends_with(&format!("/{}", server.id())) {
            shards.push(cores(&task));
        }
    }
    shards
}

#[test]
fn each_shard_stays_on_a_core_of_its_own() {
    let own = cores("/proc/thread-self");
    let pinned = Server::with(2, &["--pin"]);
    let pinned = settled(&pinned, |cores| cores.parse::<u32>().is_ok());
    let own_is_one = own.parse::<u32>().is_ok();
    assert_eq!(pinned[0] == pinned[1], own_is_one, "{pinned:?} of {own}");

    let free = Server::start(2);
    settled(&free, |cores| cores == own);
}
