//! Settings: flags, environment and file, which beats which, and what is said about wrong ones.

mod common;

use common::{Server, Settings, program, run_to_end};
use std::process::Command;

/// What `--check-config` prints for a command, as a table.
fn effective(command: &mut Command) -> toml::Table {
    let (status, out, err) = run_to_end(command.arg("--check-config"));
    assert_eq!(status.code(), Some(0), "{err}");
    out.parse().expect("it prints TOML")
}

/// Sees to it that a command is refused, with all of these words.
fn refused(command: &mut Command, words: &[&str]) {
    let (status, out, err) = run_to_end(command);
    assert_eq!(status.code(), Some(2), "{command:?} gives {out}{err}");
    assert_eq!(out, "", "nothing listens");
    for word in words {
        assert!(err.contains(word), "{word:?} is not in {err}");
    }
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let file = Settings::new(
        "max_message = 1111\nheartbeat_ms = 1111\nhandshake_ms = 1111\norigin = [\"http://file\"]\n",
    );
    let settings = effective(
        program()
            .arg("--config")
            .arg(&file)
            .env("ROOMCAST_HEARTBEAT_MS", "2222")
            .env("ROOMCAST_HANDSHAKE_MS", "2222")
            .env("ROOMCAST_ECHO", "yes")
            .args(["--handshake-ms", "3333"]),
    );
    assert_eq!(settings["max_message"].as_integer(), Some(1111));
    assert_eq!(settings["heartbeat_ms"].as_integer(), Some(2222));
    assert_eq!(settings["handshake_ms"].as_integer(), Some(3333));
    assert_eq!(settings["echo"].as_bool(), Some(true));
    assert_eq!(settings["raw"].as_bool(), Some(false), "a default");
    assert_eq!(settings["origin"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let settings = effective(&mut program());
    assert_eq!(settings["listen"].as_str(), Some("127.0.0.1:8080"));
    assert_eq!(settings["data"].as_str(), Some("roomcast-data"));
    for (key, value) in [
        ("max_message", 65_536),
        ("heartbeat_ms", 25_000),
        ("handshake_ms", 10_000),
        ("drain_ms", 10_000),
        ("presence_events_max", 100),
        ("name_hold_days", 30),
        ("tail_bytes_max", 262_144),
    ] {
        assert_eq!(settings[key].as_integer(), Some(value), "{key}");
    }
    for key in ["memory", "raw", "echo", "deflate"] {
        assert_eq!(settings[key].as_bool(), Some(false), "{key}");
    }
}

#[test]
fn what_check_config_prints_is_a_file_that_says_the_same() {
    let first = effective(program().args([
        "--memory",
        "--raw",
        "--listen",
        "[::1]:4000",
        "--origin",
        "https://a.example",
        "--origin",
        "https://b.example",
        "--shards",
        "3",
        "--max-message",
        "1234567",
        "--max-connections",
        "77",
    ]));
    let text = first.to_string();
    let file = Settings::new(&text);
    let second = effective(program().arg("--config").arg(&file));
    assert_eq!(first, second);
    assert_eq!(first["origin"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_wrong_setting_is_named() {
    let unknown = Settings::new("listen = \"127.0.0.1:0\"\nmax_mesage = 5\n");
    refused(
        program().arg("--config").arg(&unknown),
        &["max_mesage", unknown.path()],
    );
    let kind = Settings::new("max_message = \"big\"\n");
    refused(program().arg("--config").arg(&kind), &["max_message"]);
    let range = Settings::new("heartbeat_ms = 5\n");
    refused(
        program().arg("--config").arg(&range),
        &["heartbeat_ms", "100"],
    );
    let broken = Settings::new("listen = \n");
    refused(program().arg("--config").arg(&broken), &[broken.path()]);
    refused(
        program().args(["--config", "/nowhere/roomcast.toml"]),
        &["/nowhere/roomcast.toml"],
    );
    refused(program().arg("--max-mesage=5"), &["--max-mesage"]);
    refused(
        program().env("ROOMCAST_SHARDS", "many"),
        &["ROOMCAST_SHARDS", "many"],
    );
    for (flags, words) in [
        (&["--shards", "0"][..], &["--shards", "1 to 64"][..]),
        (&["--shards", "65"], &["--shards"]),
        (&["--listen", "8080"], &["--listen", "127.0.0.1:8080"]),
        (&["--user", ""], &["--user", "roomcast"]),
        (&["--user", "ann:"], &["--user", "ann:"]),
        (&["--admin", "9090"], &["--admin", "127.0.0.1:8080"]),
        (&["--log", "loud"], &["--log", "info"]),
        (&["--origin", "chat.example"], &["--origin", "https://"]),
        (
            &["--trusted-proxy", "::1", "--trusted-proxy", "10.0.0.1/8"],
            &["--trusted-proxy", "10.0.0.1/8", "10.0.0.0/8"],
        ),
        (&["--trusted-proxy", "proxy"], &["--trusted-proxy", "proxy"]),
        (&["--tls-cert", "x"], &["--tls-cert", "--tls-key"]),
        (&["--max-connections", "0"], &["--max-connections"]),
        (
            &["--max-connections", "4000001"],
            &["--max-connections", "4000000"],
        ),
        (
            &["--connections-per-address-max", "4000001"],
            &["--connections-per-address-max", "4000000"],
        ),
        (
            &["--handshakes-per-address-per-s-max", "1000001"],
            &["--handshakes-per-address-per-s-max", "1000000"],
        ),
        (
            &["--max-message", "67108865"],
            &["--max-message", "67108864"],
        ),
        (
            &["--max-message", "100000", "--tail-bytes-max", "1024"],
            &["--tail-bytes-max", "100000"],
        ),
    ] {
        refused(program().args(flags), words);
    }
}

#[test]
fn a_variable_that_is_no_setting_is_noted() {
    let mut command = program();
    command
        .args(["--memory", "--listen", "127.0.0.1:0", "--shards", "1"])
        .env("ROOMCAST_MAX_MESAGE", "5");
    let server = Server::run(command);
    server.await_log("ROOMCAST_MAX_MESAGE");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn an_address_in_use_is_refused() {
    for shards in [1, 2] {
        let server = Server::start(shards);
        let host = server.host();
        for (other, level) in [("1", "info"), ("2", "off")] {
            let flags = [
                "--memory", "--listen", &host, "--shards", other, "--log", level,
            ];
            let (status, out, err) = run_to_end(program().args(flags));
            assert_eq!(status.code(), Some(1), "{err}");
            assert_eq!(out, "", "it does not say that it listens");
            assert!(err.contains(&host) && err.contains("in use"), "{err}");
        }
        assert_eq!(server.get("/healthz").status, 200, "the first is unharmed");
        drop(server);
        // Once it has gone, the address is free at once.
        let mut command = program();
        command.args(["--memory", "--listen", &host, "--shards", "2"]);
        assert_eq!(Server::run(command).host(), host);
    }
}

#[test]
fn the_start_is_told_in_the_log() {
    let server = Server::start(2);
    server.await_log("history is kept in memory");
    server.await_log("shards: 2");
}

#[test]
fn the_help_names_every_setting() {
    let (status, out, _) = run_to_end(program().arg("--help"));
    assert_eq!(status.code(), Some(0));
    let settings = effective(&mut program());
    let given = settings
        .keys()
        .map(|key| format!("--{}", key.replace('_', "-")));
    let others = [
        "--tls-cert",
        "--tls-key",
        "--tls-client-ca",
        "--config",
        "--check-config",
    ]
    .map(str::to_owned);
    for flag in given.chain(others) {
        assert!(
            out.contains(&format!("{flag} "))
                || out.contains(&format!("{flag}\n"))
                || out.contains(&format!("{flag}[=")),
            "{flag}"
        );
    }
    for word in [
        "ROOMCAST_MAX_MESSAGE",
        "TOML",
        "SIGTERM",
        "[default: 127.0.0.1:8080]",
        "http://127.0.0.1:8080",
    ] {
        assert!(out.contains(word), "{word} is not in the help");
    }
    assert!(
        out.lines().all(|line| line.chars().count() <= 100),
        "it fits a terminal"
    );
    let (status, out, _) = run_to_end(program().arg("--version"));
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        out.trim(),
        format!("roomcast {}", env!("CARGO_PKG_VERSION"))
    );
}
