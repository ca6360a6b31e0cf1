//! What is on the disk, compared with what was seen.

use super::logs::{Life, Logs};
use crate::image::{Image, Stored, StoredLog};
use crate::told::{Log, deletion};
use roomcast::log::What;
use roomcast::room::{Key, Space};
use std::collections::{BTreeMap, BTreeSet};

/// Checks every log on the disk, and every log that anyone has seen.
pub fn check(image: &Image, logs: &Logs) -> Result<(), String> {
    for (key, stored) in &image.logs {
        check_log(key, stored, logs).map_err(|fault| format!("on disk, {key:?}: {fault}"))?;
    }
    for ((log, epoch), life) in logs.lives.iter().filter(|((log, _), _)| log.is_durable()) {
        check_life(image, log, epoch, life)
            .map_err(|fault| format!("on disk, {log:?} of {epoch}: {fault}"))?;
    }
    let losses = logs.losses.iter().filter(|loss| loss.log.is_durable());
    for loss in losses {
        check_gone(image, &loss.log, loss.last).map_err(|fault| format!("{fault}: {loss:?}"))?;
    }
    let pages = logs.short_pages.iter().filter(|page| page.log.is_durable());
    for page in pages {
        check_gone(image, &page.log, page.head)
            .map_err(|fault| format!("{}; {fault}", page.fault))?;
    }
    check_sides(image)
}

/// Numbers have no holes, and everything was sent, once.
fn check_log(key: &Key, stored: &StoredLog, logs: &Logs) -> Result<(), String> {
    if !stored
        .entries
        .keys()
        .copied()
        .eq(stored.trimmed + 1..=stored.head)
    {
        let numbers: Vec<&u64> = stored.entries.keys().collect();
        return Err(format!("it ends at {} and has {numbers:?}", stored.head));
    }
    let mut seqs = BTreeMap::new();
    for (seq, entry) in &stored.entries {
        if entry.what == What::Deleted {
            let mut entries = stored.entries.values();
            if !entries.any(|entry| entry.what == What::Deletion(*seq)) {
                return Err(format!("{seq} was deleted by nothing"));
            }
            continue;
        }
        if let Some(before) = seqs.insert(content(entry), seq) {
            return Err(format!("{before} and {seq} are the same: {entry:?}"));
        }
        let sending = logs.sendings.get(&content(entry));
        let sending = sending.ok_or_else(|| format!("nobody sent {entry:?}"))?;
        let is_it = match &sending.to {
            Log::Room(room) => key.space == Space::Chat && *key.name == **room,
            Log::Inbox(to) => {
                key.space == Space::Inbox && (*key.name == **to || *key.name == *sending.user)
            }
        };
        if !is_it || sending.user != entry.sender {
            return Err(format!("{entry:?} was sent as {sending:?}"));
        }
    }
    Ok(())
}

/// What was seen, or has an `ack`, is there under its number.
fn check_life(image: &Image, log: &Log, epoch: &str, life: &Life) -> Result<(), String> {
    if life.head == 0 {
        return Ok(());
    }
    let Some(stored) = stored(image, log) else {
        return Err(format!(
            "it was seen to end at {}, and is not there",
            life.head
        ));
    };
    if format!("{:016x}", stored.epoch) != epoch {
        return Err(format!("its epoch is {:016x}", stored.epoch));
    }
    if stored.head < life.head {
        return Err(format!("it ends at {}, not at {}", stored.head, life.head));
    }
    let kept = stored.trimmed + 1..;
    for (seq, message) in life.facts.range(kept.clone()) {
        let is_it = |entry: &&Stored| {
            let is_same = content(entry) == message.content
                && entry.metadata == message.metadata
                && entry.id == message.id;
            entry.sender == message.sender
                && entry.unix_ms == message.timestamp
                && (is_same || entry.what == What::Deleted)
        };
        find(stored, *seq)
            .filter(is_it)
            .ok_or_else(|| format!("{message:?} was seen"))?;
    }
    for (seq, given) in life.given.range(kept) {
        let is_it = |entry: &&Stored| {
            entry.sender == given.user
                && (entry.id.as_ref() == Some(&given.id) || entry.what == What::Deleted)
                && entry.unix_ms == given.timestamp
        };
        find(stored, *seq)
            .filter(is_it)
            .ok_or_else(|| format!("{seq} was acknowledged as {given:?}"))?;
    }
    Ok(())
}

/// The content as the clients know it.
fn content(entry: &Stored) -> String {
    match entry.what {
        What::Message | What::Deleted => entry.content.clone(),
        What::Deletion(seq) => deletion(seq, entry.id.as_deref()),
    }
}

/// What was told to be gone, up to message `last`, is.
fn check_gone(image: &Image, log: &Log, last: u64) -> Result<(), String> {
    let trimmed = stored(image, log).map_or(0, |stored| stored.trimmed);
    if last <= trimmed {
        Ok(())
    } else {
        Err(format!("on disk, only the first {trimmed} are gone"))
    }
}

fn stored<'a>(image: &'a Image, log: &Log) -> Option<&'a StoredLog> {
    let (space, name) = match log {
        Log::Room(room) => (Space::Chat, room),
        Log::Inbox(user) => (Space::Inbox, user),
    };
    let name = name.as_str().into();
    image.logs.get(&Key { space, name })
}

fn find(stored: &StoredLog, seq: u64) -> Option<&Stored> {
    stored.entries.get(&seq).map(|entry| &**entry)
}

/// A private message is in both inboxes, where both are kept.
fn check_sides(image: &Image) -> Result<(), String> {
    if image.owed_count() > 0 {
        return Err(format!(
            "{} copies are owed on the disk",
            image.owed_count()
        ));
    }
    let inboxes = || {
        image
            .logs
            .iter()
            .filter(|(key, _)| key.space == Space::Inbox)
    };
    let sides = inboxes().flat_map(|(key, stored)| {
        let entries = stored.entries.values();
        entries.map(|entry| (&*key.name, entry.content.as_str()))
    });
    let sides: BTreeSet<(&str, &str)> = sides.collect();
    for (key, stored) in inboxes() {
        for entry in stored.entries.values() {
            let is_own = *key.name == *entry.sender;
            let other = if is_own {
                entry.to.as_ref()
            } else {
                Some(&entry.sender)
            };
            let other = other.filter(|other| Log::Inbox((*other).clone()).is_durable());
            if other.is_some_and(|other| !sides.contains(&(other.as_str(), &entry.content))) {
                return Err(format!("{entry:?} is in {key:?} alone"));
            }
        }
    }
    Ok(())
}
