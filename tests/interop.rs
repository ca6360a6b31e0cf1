//! Clients that others wrote: Python's `websockets` and `websocket-client`, Node's `ws`, Chromium with the page, and the
//! Autobahn|Testsuite. A test whose tool is missing says so and passes, unless `ROOMCAST_REQUIRE` names the tool: any of
//! `python`, `node`, `chromium` and `autobahn`, separated by commas.

mod common;
#[path = "interop/tools.rs"]
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Server, sharded};
use tools::{Tool, have, run};

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(of)
}

fn url(server: &Server) -> String {
    format!("ws://{}", server.host())
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(path("interop/checks.py"));
    command
}

const PYTHON: [(&str, &str); 2] = [
    ("websockets", "websockets.sync.client"),
    ("websocket-client", "websocket"),
];

sharded!(python_libraries_chat, python_libraries_are_told_of_the_end);
sharded!(node_chats, autobahn_finds_nothing);

fn python_libraries_chat(shards: u16) {
    for (library, module) in PYTHON {
        if have(library, &[Tool::Python(module)]) {
            let server = Server::start(shards);
            run(python().args([library, &url(&server)]));
        }
    }
}

fn python_libraries_are_told_of_the_end(shards: u16) {
    for (library, module) in PYTHON {
        if have(library, &[Tool::Python(module)]) {
            let mut server = Server::with(shards, &["--heartbeat-ms", "500"]);
            let id = server.id().to_string();
            run(python().args([library, &url(&server), "--stop", &id]));
            assert!(server.wait().success());
        }
    }
}

fn node_chats(shards: u16) {
    if have("ws", &[Tool::Node, Tool::NodePackage("ws")]) {
        let server = Server::start(shards);
        run(Command::new("node")
            .arg(path("interop/checks.mjs"))
            .arg(url(&server)));
    }
}

fn autobahn_finds_nothing(shards: u16) {
    if have("autobahn", &[Tool::Autobahn]) {
        let server = Server::start(shards);
        // What is over in a moment. All of it takes many minutes, and flags of its own: see the script.
        run(Command::new(path("autobahn.sh"))
            .arg(format!("{}/echo", url(&server)))
            .args(["1.*", "2.*", "3.*", "4.*", "5.*", "7.*", "10.*"]));
    }
}

#[test]
fn the_client_library_passes_its_own_tests() {
    if have("the tests of roomcast.js", &[Tool::Node]) {
        let files = std::fs::read_dir(path("web")).expect("it is there");
        let files = files.map(|file| file.expect("it can be read").path());
        let is_test = |file: &PathBuf| file.to_string_lossy().ends_with(".test.mjs");
        let tests: Vec<_> = files.filter(is_test).collect();
        assert!(!tests.is_empty());
        run(Command::new("node").arg("--test").args(tests));
    }
}

#[test]
fn the_page_works_in_chromium() {
    let tools = [
        Tool::Node,
        Tool::NodePackage("playwright-core"),
        Tool::Chromium,
    ];
    if have("the page", &tools) {
        run(Command::new("node")
            .arg(path("web/browser.mjs"))
            .arg("--binary")
            .arg(env!("CARGO_BIN_EXE_roomcast")));
    }
}
