//! The tools beside the server: `export`, `import` and `backup`.

mod common;
#[path = "common/store.rs"]
mod store;

use common::{Value, json, program, run_to_end, seq};
use roomcast::limits::IMPORT_AHEAD_MS;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
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
    let at = |unix_ms: u64| {
        json!({"room_id": "r", "seq_id": 2, "timestamp": unix_ms, "sender": "ann", "content": 1})
            .to_string()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = u64::try_from(now.expect("after 1970").as_millis()).expect("a number");
    let (ahead, far_ahead) = (
        at(now_ms + IMPORT_AHEAD_MS - 600_000),
        at(now_ms + IMPORT_AHEAD_MS + 600_000),
    );
    let (beyond_signed, beyond_json) = (at(u64::MAX), at(1 << 53));
    for (bad, reason) in [
        (far_ahead.as_str(), "has yet to come"),
        (beyond_signed.as_str(), "has yet to come"),
        (beyond_json.as_str(), "has yet to come"),
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
    // Clocks differ.
    fs::write(&file, format!("{good}\n{ahead}\n")).expect("a file");
    tool("import", &folder, &[path(&file)]);
    assert_eq!(folder.query("SELECT count(*) FROM messages"), ["2"]);
    let server = folder.serve(1);
    let (is_done, _, err) = run("import", &folder, &[path(&file)]);
    assert!(!is_done && err.contains("another server uses"), "{err}");
    stop(server);
}

#[test]
fn a_long_import_is_written_down_on_the_way() {
    let folder = Folder::new("long");
    fs::create_dir_all(folder.path()).expect("a folder");
    let line = |seq: u64| {
        let id = format!("id {seq}");
        json!({"room_id": "r", "seq_id": seq, "timestamp": seq, "sender": "ann", "content": seq, "id": id}).to_string()
    };
    let lines: Vec<String> = (1..=2_500).map(line).collect();
    let file = folder.path().join("lines");
    fs::write(&file, lines.join("\n")).expect("a file");
    tool("import", &folder, &[path(&file)]);
    let packed = folder.query("SELECT length(packed) / 40 FROM new_ids ORDER BY n");
    assert_eq!(
        packed,
        ["1000", "1000", "500"],
        "ids do not wait for the end"
    );
    assert_eq!(
        folder.query("SELECT head, unix_ms FROM logs"),
        ["2500", "2500"]
    );
    // It is one import all the same.
    fs::write(
        &file,
        format!("{}\n{{", lines.join("\n").replace(r#""r""#, r#""other""#)),
    )
    .expect("a file");
    let (is_done, _, err) = run("import", &folder, &[path(&file)]);
    assert!(!is_done && err.contains("line 2501"), "{err}");
    assert_eq!(folder.query("SELECT count(*) FROM logs"), ["1"]);
    let server = folder.serve(1);
    let mut ann = server.client("ann");
    assert_eq!(seq(&ann.join("r")), 2_500);
    for number in [1, 1_500, 2_500] {
        let again =
            json!({"type": "message", "room_id": "r", "content": 1, "id": format!("id {number}")});
        let known = ann.ask(again, "ack");
        assert_eq!((seq(&known), &known["dup"]), (number, &json!(true)));
    }
    stop(server);
}

#[test]
fn an_export_says_what_is_not_kept_any_more() {
    let (folder, server) = filled("trimmed");
    stop(server);
    let (_, lines, err) = run("export", &folder, &["--room", "r"]);
    assert_eq!((lines.lines().count(), err.as_str()), (5, ""));
    let connection = rusqlite::Connection::open(folder.database()).expect("a database");
    // As upkeep does it, also while an export is under way: between two of its steps.
    for (gone, left, told) in [
        ("seq_id <= 2", 3, "messages 1 to 2"),
        ("seq_id = 4", 2, "messages 4 to 4"),
        ("seq_id >= 5", 1, "messages 4 to 5"),
        ("true", 0, "messages 1 to 5"),
    ] {
        let sql = format!("DELETE FROM messages WHERE {gone}");
        connection.execute(&sql, []).expect("it is free");
        let (is_done, lines, err) = run("export", &folder, &["--room", "r"]);
        assert!(is_done && err.contains(told), "{err}");
        assert_eq!(lines.lines().count(), left);
    }
    let (_, _, err) = run("export", &folder, &["--room", "r", "--since", "5"]);
    assert_eq!(err, "", "nothing was to come");
}

#[test]
fn a_backup_is_for_nobody_else_and_is_whole_or_not_there() {
    let (folder, server) = filled("private");
    let scratch = Folder::new("copies");
    fs::create_dir_all(scratch.path()).expect("a folder");
    let copy = scratch.path().join("copy");
    let (is_done, _, err) = run("backup", &folder, &[path(&copy)]);
    let length = fs::metadata(&copy).expect("the copy").len();
    assert!(
        is_done && err.contains(path(&folder.database())) && err.contains(&length.to_string()),
        "what was copied is told: {err}"
    );
    let mode = fs::metadata(&copy).expect("the copy").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&copy, "").expect("a file");
    let (is_done, _, err) = run("backup", &folder, &[path(&copy)]);
    assert!(
        !is_done && err.contains("exists"),
        "not even an empty one: {err}"
    );
    assert_eq!(fs::read(&copy).expect("it is there").len(), 0);
    stop(server);
    let garbage = "x".repeat(10_000);
    fs::write(folder.database(), garbage).expect("a file");
    let broken = scratch.path().join("broken");
    let (is_done, _, err) = run("backup", &folder, &[path(&broken)]);
    assert!(!is_done && err.contains("not a database"), "{err}");
    assert!(!broken.exists(), "what was begun is gone");
}

#[test]
fn the_variable_names_the_folder_too() {
    let (folder, server) = filled("variable");
    let mut command = program();
    command.env("ROOMCAST_DATA", folder.path());
    let (status, out, err) = run_to_end(command.args(["export", "--room", "r"]));
    assert_eq!((status.success(), out.lines().count()), (true, 5), "{err}");
    stop(server);
}

#[test]
fn what_a_tool_cannot_do_is_told_with_the_remedy() {
    let (folder, server) = filled("remedies");
    let (is_done, out, err) = run("export", &folder, &["--room", "R"]);
    assert!(
        is_done && out.is_empty() && err.contains("nothing is kept of a room \"R\""),
        "{err}"
    );
    let (is_done, _, err) = run("export", &Folder::new("nowhere"), &["--room", "r"]);
    assert!(!is_done && err.contains("--data"), "{err}");
    // A file in the place of the folder: not that there is none.
    let scratch = Folder::new("a-file");
    fs::write(scratch.path(), "").expect("a file");
    let (is_done, _, err) = run("export", &scratch, &["--room", "r"]);
    assert!(
        !is_done && err.contains("as the user of the server"),
        "{err}"
    );
    fs::remove_file(scratch.path()).expect("it is there");
    let (status, _, err) = run_to_end(program().args(["bakup", "x"]));
    assert!(
        status.code() == Some(2) && err.contains("'backup'"),
        "{err}"
    );
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
