//! Node's `ws`, where `node` is on the path and the module in `NODE_PATH`.

use std::process::{Command, Stdio};

const SCRIPT: &str = include_str!("relay.js");

/// The server.
pub fn command() -> Command {
    let mut command = Command::new("node");
    command.args(["--eval", SCRIPT]);
    command
}

/// Whether this machine has both.
pub fn is_there() -> bool {
    let found = Command::new("node")
        .args(["--eval", "require('ws')"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}
