//! What an operator should know about settings that are right.

use super::check::connection_count;
use super::{Auth, Config, History, Machine, Pair, Tls};

/// One sentence each, for the start-up log.
pub fn notes(config: &Config, machine: Machine, unknown_variables: &[String]) -> Vec<String> {
    let mut notes: Vec<String> = history(&config.history).into_iter().collect();
    notes.extend(tls(config.tls.as_ref()));
    let wanted = config.limits.connection_count_max;
    let possible = connection_count(machine.descriptor_count_max, usize::from(config.shards));
    if wanted > possible {
        let limit = machine.descriptor_count_max;
        notes.push(format!(
            "--max-connections is {wanted}, but {limit} descriptors (ulimit -Hn) are enough for about {possible}"
        ));
    }
    if machine.is_root && config.user.is_none() {
        notes
            .push("it runs as root: --user NAME gives that up once the ports are bound".to_owned());
    }
    if let Some(address) = config.admin.filter(|address| !address.ip().is_loopback()) {
        notes.push(format!(
            "whoever reaches the admin port {address} sees who is connected, and from where"
        ));
    }
    if config.trusted_proxies.contain_everybody() {
        notes.push(
            "--trusted-proxy has a network of prefix 0: every client chooses its own address"
                .to_owned(),
        );
    }
    if config.auth == Auth::Guest && config.room_rules.names_users() {
        notes.push(
            "rules of rooms name users, and without accounts a name is whose it was first"
                .to_owned(),
        );
    }
    notes.extend(
        unknown_variables
            .iter()
            .map(|name| format!("the variable {name} is no setting and is ignored")),
    );
    notes
}

fn history(history: &History) -> Option<String> {
    match history {
        History::Memory => Some("history is kept in memory and is lost at exit".to_owned()),
        History::Folder(_) => None,
    }
}

fn tls(tls: Option<&Tls>) -> Option<String> {
    match tls.map(|tls| &tls.pair) {
        Some(Pair::Development) => Some(
            "the certificate is made for development: nobody vouches for it, and browsers say so"
                .to_owned(),
        ),
        Some(Pair::Files { .. }) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn noted(flags: &[&str]) -> Vec<String> {
        let arguments = ["roomcast"].iter().chain(flags).map(OsString::from);
        let machine = Machine {
            core_count: 2,
            descriptor_count_max: 1024,
            is_root: flags.contains(&"--user"),
        };
        super::super::load(arguments, [], machine)
            .expect("these settings are right")
            .notes
    }

    #[test]
    fn each_surprise_is_told_in_one_sentence() {
        for (flags, expected) in [
            (&[][..], &[][..]),
            (&["--memory"], &["lost at exit"]),
            (
                &["--memory", "--max-connections", "1024"],
                &["lost at exit", "1024 descriptors"],
            ),
            (&["--memory", "--max-connections", "500"], &["lost at exit"]),
            (&["--admin"], &[]),
            (&["--admin", "0.0.0.0:9090"], &["sees who is connected"]),
            (&["--trusted-proxy", "10.0.0.0/8"], &[]),
            (
                &["--trusted-proxy", "::1,0.0.0.0/0"],
                &["every client chooses"],
            ),
            (&["--tls-self-signed"], &["development"]),
            (&["--tls-cert", "a", "--tls-key", "b"], &[]),
        ] {
            let notes = noted(flags);
            assert_eq!(notes.len(), expected.len(), "{notes:?}");
            for (note, part) in notes.iter().zip(expected) {
                assert!(note.contains(part), "{part:?} is not in {note:?}");
            }
        }
    }
}
