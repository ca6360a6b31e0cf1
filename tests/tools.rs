//! The tools beside the server: `export`, `import` and `backup`.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Value, json, program, run_to_end, seq};
use std::fs;
use std::path::Path;
use store::{Folder, stop};

/// Runs a tool that must succeed, and gives its standard output.
fn tool(name: &str, folder: &Folder, rest: &[&str]) -> String {
    let (status, out, err) = run(name, folder, rest);
    assert!(status, "{err}");
    out
}

fn run(name: &str, folder: &Folder, rest: &[&str]) -> (bool, String, String) {
    let mut command = program();
    command
        .arg(name)
        .arg("--data")
        .arg(folder.path())
        .args(rest);
    let (status, out, err) = run_to_end(&mut command);
    (status.success(), out, err)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A folder whose room `r` has five messages and whose server runs.
fn filled(name: &str) -> (Folder, common::Server) {
    let folder = Folder::new(name);
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    ann.join("r");
    for number in 1..=5 {
        let message = json!({"type": "message", "room_id": "r", "content": {"n": number, "é": "\u{1f600}"},
                             "metadata": [number], "id": format!("id {number}")});
        ann.ask(message, "ack");
    }
    (folder, server)
}

#[test]
fn what_is_exported_is_imported_again() {
    let (folder, server) = filled("export");
    let lines = tool("export", &folder, &["--room", "r"]);
    assert_eq!(lines.lines().count(), 5, "while the server runs");
    let some = tool("export", &folder, &["--room", "r", "--since", "3"]);
    assert_eq!(some.lines().count(), 2);
    assert!(lines.ends_with(&some));
    let last: Value = serde_json::from_str(lines.lines().last().expect("five")).expect("JSON");
    assert_eq!((seq(&last), &last["content"]["n"]), (5, &json!(5)));
    assert_eq!(tool("export", &folder, &["--room", "other"]), "");
    stop(server);

    let other = Folder::new("import");
    fs::create_dir_all(other.path()).expect("a folder");
    let file = other.path().join("lines");
    fs::write(&file, &some).expect("a file");
    tool("import", &other, &[path(&file)]);
    let (is_done, _, err) = run("import", &other, &[path(&file)]);
    assert!(
        !is_done && err.contains("line 1") && err.contains("ends at 5"),
        "{err}"
    );
    let server = other.serve(1);
    let mut ann = server.client("ann");
    let joined = ann.join("r");
    assert_eq!(seq(&joined), 5);
    let again = json!({"type": "message", "room_id": "r", "content": 1, "id": "id 5"});
    assert_eq!(ann.ask(again, "ack")["dup"], true, "ids come along");
    let before = json!({"epoch": joined["epoch"], "seq_id": 2});
    let join = json!({"type": "join", "room_id": "r", "since": before});
    ann.say(join.clone());
    assert_eq!(
        ann.take("joined")["reason"],
        "expired",
        "what was not imported is not there"
    );
    let page = ann.ask(json!({"type": "history", "room_id": "r"}), "history");
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
    assert_eq!(page["more"], false);
    stop(server);
    let back = tool("export", &other, &["--room", "r"]);
    let plain = |text: &str| -> Vec<Value> {
        let values = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        values
            .map(|mut value: Value| {
                value.as_object_mut().expect("an object").remove("epoch");
                value
            })
            .collect()
    };
    assert_eq!(plain(&back), plain(&some));
}

#[test]
fn an_import_is_whole_or_not_at_all() {
    let folder = Folder::new("wrong");
    fs::create_dir_all(folder.path()).expect("a folder");
    let file = folder.path().join("lines");
    let good = r#"{"room_id":"r","seq_id":1,"timestamp":1,"sender":"ann","content":1}"#;
    for (bad, reason) in [
        ("{", "line 2"),
        (
            r#"{"room_id":"r","seq_id":3,"timestamp":1,"sender":"ann","content":1}"#,
            "does not follow",
        ),
        (
            r#"{"room_id":"","seq_id":2,"timestamp":1,"sender":"ann","content":1}"#,
            "room_id",
        ),
        (
            r#"{"room_id":"r","seq_id":2,"timestamp":1,"sender":"ann","content":"\ud800"}"#,
            "content",
        ),
    ] {
        fs::write(&file, format!("{good}\n{bad}\n")).expect("a file");
        let (is_done, _, err) = run("import", &folder, &[path(&file)]);
        assert!(
            !is_done && err.contains("line 2") && err.contains(reason),
            "{err}"
        );
        assert_eq!(folder.query("SELECT count(*) FROM messages"), ["0"]);
    }
    let server = folder.serve(1);
    let (is_done, _, err) = run("import", &folder, &[path(&file)]);
    assert!(!is_done && err.contains("another server uses"), "{err}");
    stop(server);
}

#[test]
fn a_backup_of_a_running_server_can_be_restored() {
    let (folder, server) = filled("backup");
    let backup = Folder::new("restored");
    fs::create_dir_all(backup.path()).expect("a folder");
    tool("backup", &folder, &[path(&backup.database())]);
    let (is_done, _, _) = run("backup", &folder, &[path(&backup.database())]);
    assert!(!is_done, "nothing is overwritten");
    let (is_done, _, err) = run("backup", &Folder::new("none"), &["x"]);
    assert!(!is_done && err.contains("there is no"), "{err}");
    let mut bob = server.client("bob");
    let before = bob.join("r");
    bob.post("r", "after the backup");
    stop(server);
    let server = backup.serve(1);
    let mut bob = server.client("bob");
    let join =
        json!({"type": "join", "room_id": "r", "since": {"epoch": before["epoch"], "seq_id": 5}});
    let joined = bob.ask(join, "joined");
    assert_eq!(
        (seq(&joined), &joined["reason"]),
        (5, &json!("epoch")),
        "{joined}"
    );
    let mut ann = server.socket("/ws?user=ann");
    assert!(ann.text().contains("name_taken"), "names come along");
    stop(server);
}
