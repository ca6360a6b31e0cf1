//! Programs that tests run and that may be missing.

use std::fmt;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a program may take. Much more than any needs, so that a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(600);

/// Names, separated by commas, of what has to be there: then its absence is a failure.
const REQUIRE: &str = "ROOMCAST_REQUIRE";

/// What a test needs besides the program itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Python 3 with this module.
    Python(&'static str),
    /// Node, 20 or later.
    Node,
    /// Node with this package, which may be in `NODE_PATH`.
    NodePackage(&'static str),
    /// Chromium at the path in `ROOMCAST_CHROMIUM`, or where Debian has it.
    Chromium,
    /// `wstest`, or Docker with the image that has it: it is not pulled here.
    Autobahn,
}

impl Tool {
    /// The name that the variable has for it.
    fn name(self) -> &'static str {
        match self {
            Tool::Python(_) => "python",
            Tool::Node | Tool::NodePackage(_) => "node",
            Tool::Chromium => "chromium",
            Tool::Autobahn => "autobahn",
        }
    }

    fn is_there(self) -> bool {
        match self {
            Tool::Python(module) => succeeds("python3", &["-c", &format!("import {module}")]),
            Tool::Node => succeeds(
                "node",
                &[
                    "-e",
                    "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)",
                ],
            ),
            Tool::NodePackage(name) => succeeds("node", &["-e", &format!("require('{name}')")]),
            Tool::Chromium => chromium().is_file(),
            Tool::Autobahn => {
                let image = ["image", "inspect", "crossbario/autobahn-testsuite"];
                succeeds("wstest", &["-a"]) || succeeds("docker", &image)
            }
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tool::Python(module) => write!(f, "Python with the module {module}"),
            Tool::Node => f.write_str("Node 20 or later"),
            Tool::NodePackage(name) => write!(f, "Node with the package {name}"),
            Tool::Chromium => write!(f, "Chromium as {}", chromium().display()),
            Tool::Autobahn => f.write_str("Autobahn's wstest"),
        }
    }
}

/// Whether all of these are there. If not, it says so in one line, which `cargo test` shows for tests that pass too;
/// or fails the test, where `ROOMCAST_REQUIRE` names the tool.
pub fn have(test: &str, tools: &[Tool]) -> bool {
    let Some(missing) = tools.iter().find(|tool| !tool.is_there()) else {
        return true;
    };
    let required = std::env::var(REQUIRE).unwrap_or_default();
    let is_required = required.split(',').any(|name| name == missing.name());
    assert!(
        !is_required,
        "{REQUIRE} is {required}, and {missing} is missing"
    );
    // Not with a macro, whose output the test harness keeps to itself.
    let line = format!("skipped {test}: {missing} is missing\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    false
}

/// Runs a program to its end, which has to be a success.
pub fn run(command: &mut Command) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} starts: {error}"));
    let group = child.id();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait_with_output()));
    let output = told.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        kill(group);
        told.recv().expect("the thread ends with the program")
    });
    let output = output.expect("the output can be read");
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// Ends a program and those that it started.
fn kill(group: u32) {
    let _ = Command::new("kill")
        .args(["-KILL", "--", &format!("-{group}")])
        .status();
}

fn chromium() -> PathBuf {
    let path = std::env::var_os("ROOMCAST_CHROMIUM");
    path.map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from)
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
