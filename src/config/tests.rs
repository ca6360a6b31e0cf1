use super::*;
use crate::auth::Rules;
use crate::limits::SHARD_COUNT_MAX;

const MACHINE: Machine = Machine {
    core_count: 2,
    descriptor_count_max: 20_000,
    is_root: false,
};

/// Loads with these flags, variables and this file (`roomcast.toml`, named by a flag if it is not empty).
fn try_load(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Setup, Error> {
    let config_flag = ["--config", "roomcast.toml"];
    let config_flag = if file.is_empty() {
        &config_flag[..0]
    } else {
        &config_flag[..]
    };
    let arguments = ["roomcast"]
        .iter()
        .chain(config_flag)
        .chain(flags)
        .map(OsString::from);
    let environment = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    load_with(arguments, environment, MACHINE, |path| {
        match path.to_str() {
            Some("roomcast.toml") => Ok(file.to_owned()),
            Some(_) | None => Err(io::ErrorKind::NotFound.into()),
        }
    })
}

fn config(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Config {
    try_load(flags, variables, file)
        .expect("these settings are right")
        .config
}

fn error(flags: &[&str], variables: &[(&str, &str)], file: &str) -> String {
    try_load(flags, variables, file)
        .expect_err("these settings are wrong")
        .to_string()
}

#[test]
fn without_any_setting_the_defaults_hold() {
    let config = config(&[], &[], "");
    assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.shards, 2);
    assert_eq!(config.history, History::Folder("roomcast-data".into()));
    assert!(!config.raw && !config.echo && !config.deflate);
    assert_eq!(config.admin, None);
    assert!(config.origins.is_empty() && config.trusted_proxies.is_empty());
    let connection_count_max = config.limits.connection_count_max;
    assert!(
        (19_000..20_000).contains(&connection_count_max),
        "{connection_count_max}"
    );
    assert_eq!(
        config.limits,
        Limits {
            connection_count_max,
            connections_per_address_max: connection_count_max / 2,
            ..Limits::default()
        }
    );
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let flag = ["--heartbeat-ms", "1001"];
    let variable = [("ROOMCAST_HEARTBEAT_MS", "1002")];
    let file = "heartbeat_ms = 1003";
    for (expected, flags, variables, file) in [
        (1001, &flag[..], &variable[..], file),
        (1001, &flag[..], &[][..], file),
        (1001, &flag[..], &variable[..], ""),
        (1001, &flag[..], &[][..], ""),
        (1002, &[][..], &variable[..], file),
        (1002, &[][..], &variable[..], ""),
        (1003, &[][..], &[][..], file),
        (25_000, &[][..], &[][..], ""),
    ] {
        let heartbeat_ms = config(flags, variables, file).limits.heartbeat_ms;
        assert_eq!(heartbeat_ms, expected, "{flags:?} {variables:?} {file:?}");
    }
}

#[test]
fn a_switch_can_be_set_and_unset_by_every_source() {
    let file = "memory = true\necho = true";
    for (memory, flags, variables, file) in [
        (true, &["--memory"][..], &[][..], ""),
        (true, &[][..], &[("ROOMCAST_MEMORY", "1")][..], ""),
        (true, &[][..], &[][..], file),
        (
            false,
            &["--memory=false"][..],
            &[("ROOMCAST_MEMORY", "yes")][..],
            file,
        ),
        (false, &[][..], &[("ROOMCAST_MEMORY", "no")][..], file),
        (true, &[][..], &[("ROOMCAST_MEMORY", "")][..], file),
    ] {
        let history = config(flags, variables, file).history;
        assert_eq!(
            history == History::Memory,
            memory,
            "{flags:?} {variables:?} {file:?}"
        );
    }
}

#[test]
fn a_list_comes_from_every_source_whole() {
    let flags = [
        "--origin",
        "https://a.example",
        "--origin",
        "https://b.example:8443",
    ];
    let variables = [("ROOMCAST_ORIGIN", "https://c.example,https://d.example")];
    let file = "origin = [\"*\"]";
    let origins =
        |flags: &[&str], variables: &[(&str, &str)]| config(flags, variables, file).origins;
    assert_eq!(
        origins(&flags, &variables),
        ["https://a.example", "https://b.example:8443"]
    );
    assert_eq!(
        origins(&[], &variables),
        ["https://c.example", "https://d.example"]
    );
    assert_eq!(origins(&[], &[]), ["*"]);
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    for (text, is_right) in [
        ("*", true),
        ("https://chat.example.org", true),
        ("http://[::1]:8080", true),
        ("tauri://localhost", true),
        ("", false),
        ("null", false),
        ("chat.example.org", false),
        ("https://", false),
        ("://chat.example.org", false),
        ("https://chat.example.org/", false),
        ("https://*.example.org", false),
        ("https://chat.example.org\u{a0}", false),
    ] {
        let result = try_load(&["--origin", text], &[], "");
        assert_eq!(result.is_ok(), is_right, "{text:?}");
    }
}

#[test]
fn the_environment_can_name_the_file() {
    let variables = [
        ("ROOMCAST_CONFIG", "other.toml"),
        ("ROOMCAST_PORT", "tcp://10.0.0.1:80"),
    ];
    assert!(error(&[], &variables, "").starts_with("other.toml: cannot be read"));
    let setup = try_load(&[], &variables, "shards = 3").unwrap();
    assert_eq!(setup.config.shards, 3, "the flag names another file");
    assert!(
        setup
            .notes
            .iter()
            .any(|note| note.contains("ROOMCAST_PORT")),
        "{:?}",
        setup.notes
    );
    assert!(
        !setup
            .notes
            .iter()
            .any(|note| note.contains("ROOMCAST_CONFIG")),
        "{:?}",
        setup.notes
    );
}

#[test]
fn an_error_says_what_and_where() {
    for (flags, variables, file, parts) in [
        (
            &[][..],
            &[][..],
            "sahrds = 3",
            &["roomcast.toml", "line 1", "unknown field `sahrds`"][..],
        ),
        (
            &[],
            &[],
            "shards = \"two\"",
            &["roomcast.toml", "line 1", "shards", "u16"],
        ),
        (
            &[],
            &[],
            "shards = 0",
            &["roomcast.toml: shards", "0 is out of range", "1 to 64"],
        ),
        (
            &[],
            &[("ROOMCAST_SHARDS", "65")],
            "",
            &["ROOMCAST_SHARDS", "65 is out of range"],
        ),
        (
            &[],
            &[("ROOMCAST_SHARDS", "x")],
            "",
            &["ROOMCAST_SHARDS", "'x'", "invalid digit"],
        ),
        (
            &["--shards", "x"],
            &[],
            "",
            &["--shards", "'x'", "invalid digit"],
        ),
        (
            &["--heartbeat-ms", "25"],
            &[],
            "",
            &["--heartbeat-ms", "25 is out of range", "100 to"],
        ),
        (
            &["--listen", "8080"],
            &[],
            "",
            &["--listen", "8080", "127.0.0.1:8080"],
        ),
        (
            &["--origin", "chat.example"],
            &[],
            "",
            &["--origin", "chat.example", "https://"],
        ),
        (
            &["--origin", "https://a/b"],
            &[],
            "",
            &["--origin", "https://a/b"],
        ),
        (
            &["--tls-cert", "a.pem"],
            &[],
            "",
            &["--tls-cert", "--tls-key"],
        ),
        (
            &["--tls-key", "a.pem"],
            &[],
            "",
            &["--tls-key", "--tls-cert"],
        ),
        (
            &["--tls-cert", "a", "--tls-key", "b", "--tls-self-signed"],
            &[],
            "",
            &["--tls-self-signed", "--tls-cert"],
        ),
        (
            &["--tls-client-ca", "a.pem"],
            &[],
            "",
            &["--tls-client-ca", "--tls-cert", "--tls-self-signed"],
        ),
        (
            &["--max-message", "1048576", "--tail-bytes-max", "65536"],
            &[],
            "",
            &["--tail-bytes-max", "1048576"],
        ),
        (
            &[
                "--shards",
                "4",
                "--log-bytes-max",
                "1048576",
                "--max-message",
                "1048576",
            ],
            &[],
            "",
            &["--log-bytes-max", "4194304"],
        ),
        (
            &["--inbox-bytes-max", "65535"],
            &[],
            "",
            &["--inbox-bytes-max", "max_message", "65536"],
        ),
        (
            &["--room-count-max", "1", "--shards", "2"],
            &[],
            "",
            &["--room-count-max", "shards"],
        ),
        (
            &["--log-bytes-max", "18446744073709551615"],
            &[],
            "",
            &["command line", "too large"],
        ),
        (
            &["--presence-debounce-ms", "5001"],
            &[],
            "",
            &["--presence-debounce-ms", "0 to 5000"],
        ),
        (&["--log", "loud"], &[], "", &["--log", "loud", "debug"]),
        (&["--no-such-flag"], &[], "", &["--no-such-flag"]),
    ] {
        let message = error(flags, variables, file);
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}

#[test]
fn tls_comes_from_files_or_is_made() {
    assert_eq!(config(&[], &[], "").tls, None);
    let flags = ["--tls-cert", "a.pem", "--tls-key", "b.pem"];
    let files = Pair::Files {
        cert: "a.pem".into(),
        key: "b.pem".into(),
    };
    let given = |flags: &[&str]| config(flags, &[], "").tls.expect("it is asked for");
    assert_eq!(given(&flags).pair, files);
    assert_eq!(given(&flags).client_ca, None);
    let file = "tls_self_signed = true\ntls_client_ca = \"c.pem\"";
    let made = config(&[], &[], file).tls.expect("it is asked for");
    assert_eq!(made.pair, Pair::Development);
    assert_eq!(made.client_ca, Some("c.pem".into()));
}

#[test]
fn defaults_follow_from_other_settings() {
    let big = config(&["--max-message", "16777216", "--shards", "64"], &[], "");
    let message_bytes_max = big.limits.message_bytes_max;
    assert!(big.limits.tail_bytes_max >= message_bytes_max);
    assert!(big.limits.inbox_bytes_max >= message_bytes_max);
    assert_eq!(
        big.limits.bytes_per_connection_per_s_max as usize,
        message_bytes_max
    );
    assert!(big.limits.log_bytes_max >= 64 * big.limits.tail_bytes_max);
    assert!(
        config(&["--shards", "64"], &[], "")
            .limits
            .connection_count_max
            < 20_000 - 64 * 8
    );
}

#[test]
fn a_rate_that_is_set_holds_for_this_machine_as_well() {
    let for_all = |flags: &[&str], file| {
        let limits = config(flags, &[], file).limits;
        (
            limits.messages_bound_loopback,
            limits.bytes_bound_loopback,
            limits.joins_bound_loopback,
        )
    };
    assert_eq!(for_all(&[], ""), (false, false, false));
    assert_eq!(for_all(&["--bounds-loopback"], ""), (true, true, true));
    // If only to its default.
    let flag = ["--messages-per-connection-per-s-max=1000"];
    assert_eq!(for_all(&flag, ""), (true, false, false));
    let file = "joins_per_connection_per_s_max = 20";
    assert_eq!(for_all(&[], file), (false, false, true));
    // What is printed is set by nobody yet.
    for file in ["bounds_loopback = false", "bounds_loopback = true", file] {
        let setup = try_load(&[], &[], file).unwrap();
        let again = try_load(&[], &[], &setup.toml).unwrap();
        assert_eq!(again.config, setup.config, "{}", setup.toml);
    }
}

#[test]
fn few_descriptors_still_leave_some_for_connections() {
    for descriptor_count_max in [1, 16, 64, 1024, 20_000, u64::MAX] {
        let machine = Machine {
            core_count: 1000,
            descriptor_count_max,
            is_root: false,
        };
        let setup = load_with(["roomcast".into()], [], machine, |_| Ok(String::new())).unwrap();
        let count = u64::from(setup.config.limits.connection_count_max);
        assert!(
            count >= 1 && count <= descriptor_count_max,
            "{count} of {descriptor_count_max}"
        );
        assert_eq!(setup.config.shards, SHARD_COUNT_MAX);
    }
}

#[test]
fn the_printed_settings_give_the_same_settings() {
    let flags = [
        "--origin",
        "https://a.example",
        "--memory",
        "--max-message",
        "1000",
        "--log",
        "warn",
    ];
    let setup = try_load(&flags, &[("ROOMCAST_ECHO", "true")], "").unwrap();
    let again = try_load(&[], &[], &setup.toml).unwrap();
    assert_eq!(again.config, setup.config);
    assert!(
        setup.toml.contains("max_message = 1000  # --max-message\n"),
        "{}",
        setup.toml
    );
    assert!(
        setup.toml.contains("echo = true  # ROOMCAST_ECHO\n"),
        "{}",
        setup.toml
    );
    assert!(
        again.toml.contains("echo = true  # roomcast.toml\n"),
        "{}",
        again.toml
    );
    assert!(
        setup.toml.contains("heartbeat_ms = 25000\n"),
        "{}",
        setup.toml
    );
}

#[test]
fn the_help_shows_every_setting_with_its_default() {
    let help = error(&["--help"], &[], "");
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for key in layer::keys() {
        assert!(help.contains(&layer::flag(&key)), "{key}");
    }
    for default in [
        "127.0.0.1:8080",
        "roomcast-data",
        "[default: 65536]",
        "[default: 25000]",
        "[default: info]",
    ] {
        assert!(help.contains(default), "{default} is not in {help}");
    }
    assert!(error(&["--version"], &[], "").starts_with("roomcast "));
}

#[test]
fn names_are_guests_or_tokens() {
    assert_eq!(config(&[], &[], "").auth, Auth::Guest);
    assert_eq!(config(&["--auth", "guest"], &[], "").auth, Auth::Guest);
    let file = "auth = \"jwt\"\njwt_key = [\"a.pem\", \"b\"]\njwt_jwks = \"set.json\"\n\
        jwt_audience = [\"chat\"]\njwt_issuer = [\"https://a\", \"https://b\"]\njwt_leeway_s = 5";
    let flags = [
        "--auth=jwt",
        "--jwt-key=a.pem",
        "--jwt-key=b",
        "--jwt-jwks=set.json",
        "--jwt-audience=chat",
        "--jwt-issuer=https://a,https://b",
        "--jwt-leeway-s=5",
    ];
    let expected = Auth::Jwt(Rules {
        keys: vec!["a.pem".into(), "b".into()],
        key_set: Some("set.json".into()),
        audiences: vec!["chat".to_owned()],
        issuers: vec!["https://a".to_owned(), "https://b".to_owned()],
        leeway_s: 5,
    });
    assert_eq!(config(&[], &[], file).auth, expected);
    assert_eq!(config(&flags, &[], "").auth, expected);
    let Auth::Jwt(rules) = config(&["--auth=jwt", "--jwt-key=a"], &[], "").auth else {
        panic!("tokens are wanted");
    };
    assert_eq!(rules.leeway_s, 30);
    let flags = ["--auth=jwt", "--jwt-key=a", "--jwt-leeway-s=3600"];
    let longest = config(&flags, &[], "").auth;
    assert!(matches!(longest, Auth::Jwt(Rules { leeway_s: 3600, .. })));
    assert!(rules.audiences.is_empty() && rules.issuers.is_empty());
}

#[test]
fn rules_that_name_users_are_noted_where_names_are_free() {
    for (flags, rule, is_noted) in [
        (&[][..], "write = [\"ann\"]", true),
        (&[], "moderate = [\"ann\"]", true),
        (&["--auth=guest"], "join = [\"ann\", \"bob\"]", true),
        (&[], "join = []", false),
        (&[], "write = \"none\"", false),
        (&["--auth=jwt", "--jwt-key=a"], "write = [\"ann\"]", false),
    ] {
        let file = format!("[[room]]\npattern = \"news\"\n{rule}\n");
        let notes = try_load(flags, &[], &file).expect("it is right").notes;
        let is_about_names = |note: &String| note.contains("name users");
        assert_eq!(
            notes.iter().any(is_about_names),
            is_noted,
            "{rule}: {notes:?}"
        );
    }
}

#[test]
fn settings_of_identity_that_do_not_fit_are_refused() {
    for (flags, place, part) in [
        (&["--auth=jwt"][..], "--auth", "--jwt-key or --jwt-jwks"),
        (&["--auth=JWT"], "--auth", "guest or jwt"),
        (&["--auth=none"], "--auth", "guest or jwt"),
        (&["--jwt-key=a"], "--jwt-key", "--auth jwt"),
        (&["--jwt-jwks=a"], "--jwt-jwks", "--auth jwt"),
        (&["--jwt-audience=a"], "--jwt-audience", "--auth jwt"),
        (&["--jwt-issuer=a"], "--jwt-issuer", "--auth jwt"),
        (&["--jwt-leeway-s=1"], "--jwt-leeway-s", "--auth jwt"),
        (&["--auth=guest", "--jwt-key=a"], "--jwt-key", "--auth jwt"),
        (
            &["--auth=jwt", "--jwt-key=a", "--jwt-leeway-s=3601"],
            "--jwt-leeway-s",
            "0 to 3600",
        ),
    ] {
        let error = error(flags, &[], "");
        assert!(error.starts_with(&format!("{place}: ")), "{error}");
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
}
