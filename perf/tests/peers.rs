//! Every peer in this program relays and echoes what it gets: short runs of the program itself, which fail where
//! something is lost, repeated, changed or out of order.

use std::process::Command;

const PEERS: &[&str] = if cfg!(feature = "peers") {
    &["bare", "tokio-tungstenite", "fastwebsockets"]
} else {
    &["bare"]
};

fn run(command: &str) {
    for peer in PEERS {
        let output = Command::new(env!("CARGO_BIN_EXE_roomcast-perf"))
            .args(command.split(' '))
            .args([
                "--server",
                peer,
                "--server-cores",
                "0",
                "--client-cores",
                "0",
            ])
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command}, {peer}:\n{out}\n{errors}"
        );
    }
}

#[test]
fn every_peer_relays_to_all_others() {
    run("fanout --members 20 --publishers 3 --in-flight 8 --warm-up 1 --seconds 1");
}

#[test]
fn every_peer_echoes() {
    run("echo --connections 10 --depth 4 --bytes 300 --warm-up 1 --seconds 1");
}
