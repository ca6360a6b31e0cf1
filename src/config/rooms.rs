//! Rules of rooms: the `[[room]]` tables of the file, which no flag or variable can say.

use super::error::Error;
use super::merge::Merged;
use crate::limits::{ROOM_RULE_COUNT_MAX, SLOW_MODE_MS_MAX};
use crate::proto::name;
use crate::rights::Pattern;
use crate::rules::{RoomRule, RoomRules, Who};
use serde::{Deserialize, Serialize};

/// The key of the tables.
pub const KEY: &str = "room";

/// One `[[room]]` table, as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomTable {
    pattern: String,
    join: Option<Whom>,
    read: Option<Whom>,
    write: Option<Whom>,
    moderate: Option<Whom>,
    read_only: Option<bool>,
    private: Option<bool>,
    members_max: Option<u32>,
    slow_mode_ms: Option<u32>,
}

/// Users in the file: a word for some of them, or a list of names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "write \"all\", \"moderators\", \"none\" or a list of user names"
)]
enum Whom {
    Word(String),
    Names(Vec<String>),
}

/// What is wrong with a table: which key of it, and why.
type Wrong = (&'static str, String);

/// Checks every table.
pub fn check(merged: &Merged) -> Result<RoomRules, Error> {
    let tables = merged.values().get(KEY).cloned();
    let tables: Vec<RoomTable> = match tables.map(toml::Value::try_into).transpose() {
        Ok(tables) => tables.unwrap_or_default(),
        Err(error) => return Err(merged.wrong(KEY, error.to_string())),
    };
    if tables.len() > ROOM_RULE_COUNT_MAX {
        let reason = format!("there are more than {ROOM_RULE_COUNT_MAX} of them");
        return Err(merged.wrong(KEY, reason));
    }
    let rules = (1..).zip(&tables).map(|(number, table)| {
        rule(table).map_err(|(key, reason)| {
            let pattern = &table.pattern;
            let place = format!("number {number} ({pattern:?}), {key}: {reason}");
            merged.wrong(KEY, place)
        })
    });
    rules.collect::<Result<_, _>>().map(RoomRules::new)
}

fn rule(table: &RoomTable) -> Result<RoomRule, Wrong> {
    check_pattern(&table.pattern)?;
    let is_private = table.private.unwrap_or(false);
    Ok(RoomRule {
        pattern: Pattern::new(&table.pattern),
        join: joiners(table.join.as_ref(), is_private)?,
        read: given("read", table.read.as_ref())?.unwrap_or_default(),
        write: writers(table)?,
        moderate: moderators(table.moderate.as_ref())?,
        is_private,
        members_max: within("members_max", table.members_max, u32::MAX)?,
        slow_mode_ms: within("slow_mode_ms", table.slow_mode_ms, SLOW_MODE_MS_MAX)?,
    })
}

fn check_pattern(pattern: &str) -> Result<(), Wrong> {
    name::check(pattern).map_err(|fault| ("pattern", format!("{pattern:?} {fault}")))
}

/// A private room is for who is listed.
fn joiners(whom: Option<&Whom>, is_private: bool) -> Result<Who, Wrong> {
    match given("join", whom)? {
        Some(Who::All) if is_private => {
            let reason = "opens a private room to everybody: list who may, or take private away";
            Err(("join", reason.to_owned()))
        }
        Some(whom) => Ok(whom),
        None if is_private => Ok(Who::Moderators),
        None => Ok(Who::All),
    }
}

/// A read-only room is one in which moderators write.
fn writers(table: &RoomTable) -> Result<Who, Wrong> {
    match (&table.write, table.read_only) {
        (Some(_), Some(true)) => {
            let reason = "means write = \"moderators\": give one of the two".to_owned();
            Err(("read_only", reason))
        }
        (None, Some(true)) => Ok(Who::Moderators),
        (whom, Some(false) | None) => Ok(given("write", whom.as_ref())?.unwrap_or_default()),
    }
}

fn moderators(whom: Option<&Whom>) -> Result<Who, Wrong> {
    match given("moderate", whom)? {
        None | Some(Who::Nobody) => Ok(Who::Nobody),
        Some(Who::Users(names)) => Ok(Who::Users(names)),
        Some(Who::All | Who::Moderators) => Err((
            "moderate",
            "takes \"none\" or a list of user names".to_owned(),
        )),
    }
}

fn given(key: &'static str, whom: Option<&Whom>) -> Result<Option<Who>, Wrong> {
    whom.map(|whom| who(key, whom)).transpose()
}

fn who(key: &'static str, whom: &Whom) -> Result<Who, Wrong> {
    match whom {
        Whom::Word(word) => match word.as_str() {
            "all" => Ok(Who::All),
            "moderators" => Ok(Who::Moderators),
            "none" => Ok(Who::Nobody),
            other => {
                let reason = format!(
                    "{other:?} is not \"all\", \"moderators\" or \"none\"; user names stand in a list"
                );
                Err((key, reason))
            }
        },
        Whom::Names(names) => {
            for text in names {
                name::check(text).map_err(|fault| (key, format!("the name {text:?} {fault}")))?;
            }
            Ok(Who::users(names.iter().map(|text| text.as_str().into())))
        }
    }
}

fn within(key: &'static str, value: Option<u32>, most: u32) -> Result<Option<u32>, Wrong> {
    match value {
        Some(value) if value == 0 || value > most => {
            Err((key, format!("{value} is out of range: 1 to {most}")))
        }
        value => Ok(value),
    }
}
