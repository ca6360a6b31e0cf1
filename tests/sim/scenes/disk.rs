//! Waiting for the disk.

use crate::scenes::{numbers, words};
use crate::stage::Stage;
use crate::table::DiskFaults;
use crate::told::Told;
use roomcast::limits::{
    Limits, RETRY_COUNT_PER_TURN, ROOM_BACKLOG_BYTES_MAX, STORE_STALL_MS, UNCOMMITTED_BYTES_MAX,
    UNCOMMITTED_BYTES_PER_CONNECTION_MAX, UNCOMMITTED_BYTES_UNIT,
};

#[test]
fn who_sends_to_a_disk_that_stands_still_is_held_back_and_then_refused() {
    // What is uncommitted has a bound for each connection, and a short message counts 4 KiB.
    const COUNT_MAX: usize = UNCOMMITTED_BYTES_PER_CONNECTION_MAX / UNCOMMITTED_BYTES_UNIT;
    for (shard, length, count, held_count) in [
        (0, 10_000, 120, COUNT_MAX.div_ceil(3)),
        (1, 10_000, 120, COUNT_MAX.div_ceil(3)),
        (0, 1, 300, COUNT_MAX),
        (1, 1, 300, COUNT_MAX),
    ] {
        let mut stage = Stage::on_disk(2, Limits::default(), DiskFaults::default(), 1);
        let ann = stage.enter(shard, "/ws?user=ann&room=a");
        let bob = stage.enter(shard, "/ws?user=bob");
        stage.told(ann);
        stage.told(bob);
        let content = "x".repeat(length);
        let text = format!(r#"{{"type":"message","room_id":"a","content":"{content}"}}"#);
        stage.net.disk().stand_still();
        for _ in 0..count {
            stage.say(ann, &text);
        }
        stage.wait(u64::from(STORE_STALL_MS) - 100);
        let (waiting_count, waiting_bytes) = stage.net.disk().waiting();
        assert_eq!(waiting_count, held_count, "{length} bytes on shard {shard}");
        assert!(waiting_bytes < 2 * UNCOMMITTED_BYTES_PER_CONNECTION_MAX);
        assert!(words(&stage.told(ann)).is_empty(), "nothing is kept yet");
        assert!(stage.count(|counters| counters.uncommitted_full_total) > 0);
        // Whoever sends nothing that is to be kept is served.
        stage.say(bob, r#"{"type":"heartbeat"}"#);
        assert_eq!(words(&stage.told(bob)), ["heartbeat"]);
        stage.wait(200);
        let refused = stage.told(ann);
        assert_eq!(refused.len(), count - held_count);
        let is_overloaded =
            |told: &Told| matches!(told, Told::Error { code, .. } if code == "overloaded");
        assert!(refused.iter().all(is_overloaded), "{refused:?}");
        assert_eq!(
            stage.count(|counters| counters.storage_stalled_total),
            refused.len() as u64
        );
        // It may go on for long: nothing more comes to wait, and nobody is closed.
        for _ in 0..count {
            stage.say(ann, &text);
        }
        stage.wait(100_000);
        assert_eq!(stage.told(ann).len(), count);
        assert_eq!(stage.net.disk().waiting(), (waiting_count, waiting_bytes));
        stage.net.disk().go_on();
        let told = stage.told(ann);
        let is_ack = |told: &&Told| matches!(told, Told::Ack { .. });
        assert_eq!(told.iter().filter(is_ack).count(), held_count);
        assert!(numbers(&told).into_iter().eq(1..=held_count as u64));
        stage.say(ann, &text);
        assert_eq!(numbers(&stage.told(ann)), [held_count as u64 + 1]);
    }
}

#[test]
fn a_room_and_a_log_hold_so_much_that_is_not_kept_yet() {
    let text = |room: usize| {
        let content = "x".repeat(60_000);
        format!(r#"{{"type":"message","room_id":"r{room}","content":"{content}"}}"#)
    };
    // Senders to one room, and senders each to a room of their own.
    for (sender_count, room_count) in [(4, 1), (40, 40)] {
        let mut stage = Stage::on_disk(1, Limits::default(), DiskFaults::default(), 1);
        let senders: Vec<_> = (0..sender_count)
            .map(|number| {
                let room = number % room_count;
                (
                    room,
                    stage.enter(0, &format!("/ws?user=u{number}&room=r{room}")),
                )
            })
            .collect();
        stage.rest();
        stage.net.disk().stand_still();
        for _ in 0..20 {
            for (room, sender) in &senders {
                stage.say(*sender, &text(*room));
            }
            stage.turns(4);
        }
        // Those who wait look again each millisecond, so a scene does not come to rest before sends are refused.
        stage.turns(200);
        let (_, waiting_bytes) = stage.net.disk().waiting();
        let room_full = stage.count(|counters| counters.room_backlog_full_total);
        let log_full = stage.count(|counters| counters.log_full_total);
        if room_count == 1 {
            assert!(room_full > 0 && log_full == 0, "{room_full} {log_full}");
            assert!(waiting_bytes < ROOM_BACKLOG_BYTES_MAX + 256 * 1024);
        } else {
            assert!(room_full == 0 && log_full > 0, "{room_full} {log_full}");
            assert!(waiting_bytes < UNCOMMITTED_BYTES_MAX + 256 * 1024);
        }
        // Nothing of it is lost.
        stage.net.disk().go_on();
        for (_, sender) in senders {
            let told = stage.told(sender);
            let is_ack = |told: &&Told| matches!(told, Told::Ack { .. });
            assert_eq!(told.iter().filter(is_ack).count(), 20);
        }
    }
}

/// A disk that stands still, and so many who have sent a long message, each to a room of its own.
fn long_messages_that_wait(sender_count: usize) -> (Stage, Vec<usize>) {
    let mut stage = Stage::on_disk(1, Limits::default(), DiskFaults::default(), 1);
    let target = |number| (0, format!("/ws?user=u{number}&room=r{number}"));
    let senders = stage.enter_all(sender_count, target);
    stage.net.disk().stand_still();
    let content = "x".repeat(60_000);
    for (number, sender) in senders.iter().enumerate() {
        let text = format!(r#"{{"type":"message","room_id":"r{number}","content":"{content}"}}"#);
        stage.say(*sender, &text);
    }
    stage.turns(8);
    (stage, senders)
}

/// The disk goes on, and nothing of that is lost.
fn all_are_kept(mut stage: Stage, senders: Vec<usize>) {
    stage.net.disk().go_on();
    stage.rest();
    for sender in senders {
        let told = stage.told_by_now(sender);
        assert!(told.iter().any(|told| matches!(told, Told::Ack { .. })));
    }
}

#[test]
fn those_who_wait_are_tried_again_a_few_at_a_time() {
    let (mut stage, senders) = long_messages_that_wait(800);
    let before = stage.count(|counters| counters.retries_total);
    let turns = 50;
    stage.turns(turns);
    let retried = stage.count(|counters| counters.retries_total) - before;
    // More than so many wait, so that the share is used up, and nobody is tried twice before all were once.
    let most = u64::from(RETRY_COUNT_PER_TURN) * turns as u64;
    assert_eq!(retried, most);
    assert!(stage.count(|counters| counters.retries_postponed_total) >= turns as u64);
    // What waits goes on at once when there is room.
    all_are_kept(stage, senders);
}

#[test]
fn many_who_send_in_the_same_turn_do_not_go_beyond_what_may_wait() {
    let (mut stage, senders) = long_messages_that_wait(700);
    let (_, waiting_bytes) = stage.net.disk().waiting();
    assert!(
        waiting_bytes < UNCOMMITTED_BYTES_MAX + 128 * 1024,
        "{waiting_bytes}"
    );
    assert!(stage.count(|counters| counters.log_full_total) > 0);
    all_are_kept(stage, senders);
}

/// A room on a disk, with more messages of its only member than memory keeps, and its epoch.
fn stored_room(limits: &Limits, disk: DiskFaults, seed: u64) -> (Stage, usize, String) {
    let limits = Limits {
        tail_bytes_max: 1,
        ..limits.clone()
    };
    let mut stage = Stage::on_disk(1, limits, disk, seed);
    let ann = stage.enter(0, "/ws?user=ann&room=a");
    let epoch = stage.told(ann).iter().find_map(|told| match told {
        Told::Joined { head, .. } => Some(head.epoch.clone()),
        _ => None,
    });
    let text = "x".repeat(30_000);
    for _ in 0..6 {
        stage.say(
            ann,
            &format!(r#"{{"type":"message","room_id":"a","content":"{text}"}}"#),
        );
        stage.rest();
    }
    stage.wait(5_000);
    assert_eq!(numbers(&stage.told(ann)), [1, 2, 3, 4, 5, 6]);
    (stage, ann, epoch.unwrap())
}

#[test]
fn a_chunk_that_was_asked_for_before_one_joined_anew_is_not_taken_for_another() {
    let disk = DiskFaults {
        read_ms_max: 5,
        ..DiskFaults::default()
    };
    for case in 0..40 {
        let (mut stage, ann, epoch) = stored_room(&Limits::default(), disk, case);
        let since = format!(r#"{{"epoch":"{epoch}","seq_id":0}}"#);
        let join =
            |echo| format!(r#"{{"type":"join","room_id":"a","echo":{echo},"since":{since}}}"#);
        stage.say(ann, &join(false));
        stage.turns(case as usize % 8);
        stage.say(ann, &join(true));
        let told = stage.told(ann);
        let last = told
            .iter()
            .rposition(|told| matches!(told, Told::Joined { .. }));
        let told = &told[last.unwrap()..];
        assert_eq!(numbers(told), [1, 2, 3, 4, 5, 6], "case {case}");
    }
}

#[test]
fn waiting_for_the_disk_is_not_silence() {
    let limits = Limits {
        heartbeat_ms: 500,
        ..Limits::default()
    };
    let disk = DiskFaults {
        read_ms_max: 10_000,
        ..DiskFaults::default()
    };
    for seed in 0..8 {
        let (mut stage, ann, _) = stored_room(&limits, disk, seed);
        let page = r#"{"type":"history","room_id":"a","after":0}"#;
        stage.say(ann, page);
        stage.wait(11_000);
        assert_eq!(stage.close_code(ann), None, "seed {seed}");
        assert_eq!(words(&stage.told(ann)), ["history"], "seed {seed}");
    }
}

#[test]
fn a_room_is_dropped_whose_last_message_is_answered_after_everyone_has_left() {
    let disk = DiskFaults {
        commit_ms_max: 40_000,
        ..DiskFaults::default()
    };
    for seed in 0..8 {
        let mut stage = Stage::on_disk(1, Limits::default(), disk, seed);
        let ann = stage.enter(0, "/ws");
        stage.say(ann, r#"{"type":"join","room_id":"a"}"#);
        stage.wait(100_000);
        let message = r#"{"type":"message","room_id":"a","content":1,"id":"1"}"#;
        for _ in 0..2 {
            stage.say(ann, message);
            stage.turns(4);
        }
        stage.reset(ann);
        stage.wait(200_000);
        assert_eq!(stage.count(|counters| counters.rooms), 0, "seed {seed}");
    }
}

/// Neither who never left nor who came back has left when the process ends.
#[test]
fn a_name_is_held_for_its_owner_after_a_crash() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let limits = Limits {
        name_hold_days: 1,
        ..Limits::default()
    };
    for shard in [0, 1] {
        let mut stage = Stage::on_disk(2, limits.clone(), DiskFaults::default(), 1);
        let own = |name: &str| format!("/ws?user={name}&session={name:0>16}");
        let back = stage.enter(shard, &own("bea"));
        stage.rest();
        stage.reset(back);
        stage.wait(60_000);
        for name in ["ann", "bea"] {
            let place = stage.enter(shard, &own(name));
            assert_eq!(words(&stage.told(place)), ["welcome"], "{name}");
        }
        stage.net.crash();
        let other = stage.enter(shard, "/ws");
        stage.wait(2 * 3_600_000);
        stage.reset(other);
        for name in ["ann", "bea"] {
            let thief = format!("/ws?user={name}&session=0123456789abcdef");
            let thief = stage.enter(1 - shard, &thief);
            let told = stage.told(thief);
            let is_taken = matches!(&told[..], [Told::Error { code, .. }] if code == "name_taken");
            assert!(is_taken, "{name}: {told:?}");
        }
        // Who does not come back is forgotten in the end.
        stage.pause(2 * DAY_MS);
        for shard in [0, 1] {
            let other = stage.enter(shard, "/ws");
            stage.reset(other);
        }
        stage.rest();
        let next = stage.enter(shard, "/ws?user=ann&session=0123456789abcdef");
        assert_eq!(words(&stage.told(next)), ["welcome"]);
    }
}

#[test]
fn a_name_is_held_for_nobody_who_went_before_it_was_kept() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let limits = Limits {
        name_hold_days: 1,
        ..Limits::default()
    };
    for shard in [0, 1] {
        let mut stage = Stage::on_disk(2, limits.clone(), DiskFaults::default(), 1);
        stage.net.disk().stand_still();
        let ann = stage.enter(shard, "/ws?user=ann");
        stage.wait(u64::from(limits.handshake_ms + limits.close_ms));
        assert_eq!(stage.close_code(ann), Some(4100));
        stage.net.disk().go_on();
        stage.rest();
        assert!(stage.count(|counters| counters.users) > 0, "it is kept");
        stage.pause(3 * DAY_MS);
        // Something has to wake each of them.
        for shard in [0, 1] {
            let other = stage.enter(shard, "/ws");
            stage.reset(other);
        }
        stage.rest();
        assert_eq!(stage.count(|counters| counters.users), 0);
    }
}
