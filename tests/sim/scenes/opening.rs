//! Logs that a disk which stands still keeps closed.

use crate::scenes::{numbers, words};
use crate::stage::Stage;
use crate::table::DiskFaults;
use crate::told::Told;
use roomcast::limits::{Limits, PARKED_BYTES_MAX, PASSING_BYTES_MAX, STORE_STALL_MS};

/// Shards with a disk and without rates.
fn stage(shard_count: u16) -> Stage {
    let limits = Limits {
        messages_per_connection_per_s_max: 0,
        bytes_per_connection_per_s_max: 0,
        joins_per_connection_per_s_max: 0,
        ..Limits::default()
    };
    Stage::on_disk(shard_count, limits, DiskFaults::default(), 1)
}

fn overloaded(told: &[Told]) -> usize {
    let is_it = |told: &&Told| matches!(told, Told::Error { code, .. } if code == "overloaded");
    told.iter().filter(is_it).count()
}

const FRAME_COUNT: usize = 250;
const JOIN_COUNT: usize = 200;

/// Joins room `a` again and again while the disk stands still, until that is refused. Gives what was told.
fn join_without_end(stage: &mut Stage, place: usize) -> Vec<Told> {
    let joins = r#"{"type":"join","room_id":"a"}"#.repeat(JOIN_COUNT);
    let mut told = Vec::new();
    for _ in 0..FRAME_COUNT {
        stage.say(place, &joins);
        stage.turns(4);
        told.extend(stage.told_by_now(place));
    }
    // What a shard itself holds back it refuses when the disk has stood still for long.
    stage.pause(u64::from(STORE_STALL_MS));
    told.extend(stage.told(place));
    told
}

#[test]
fn joins_of_a_room_that_is_not_open_yet_are_bounded() {
    for shard in [0, 1] {
        let mut stage = stage(2);
        let ann = stage.enter(shard, "/ws?user=ann");
        let bob = stage.enter(1 - shard, "/ws?user=bob&room=other");
        stage.told(ann);
        stage.told(bob);
        stage.net.disk().stand_still();
        let told = join_without_end(&mut stage, ann);
        let refused_count = overloaded(&told);
        assert_eq!(refused_count, told.len(), "nothing else is answered yet");
        assert!(
            (10_000..40_000).contains(&refused_count),
            "{refused_count} on shard {shard}"
        );
        assert_eq!(
            stage.count(|counters| counters.parked_full_total),
            refused_count as u64
        );
        // Others are served, and what is refused leaves nothing behind.
        stage.say(bob, r#"{"type":"who","room_id":"other"}"#);
        assert_eq!(words(&stage.told(bob)), ["presence"]);
        stage.net.disk().go_on();
        let told = stage.told(ann);
        let is_joined = |told: &&Told| matches!(told, Told::Joined { .. });
        let joined_count = told.iter().filter(is_joined).count();
        assert_eq!(joined_count + refused_count, FRAME_COUNT * JOIN_COUNT);
        // Its last join was refused, so it is not in the room until it asks again.
        stage.say(ann, r#"{"type":"message","room_id":"a","content":1}"#);
        stage.say(ann, r#"{"type":"join","room_id":"a"}"#);
        stage.say(ann, r#"{"type":"message","room_id":"a","content":2}"#);
        let told = stage.told(ann);
        assert_eq!(words(&told), ["error", "joined", "ack", "message"]);
        assert_eq!(numbers(&told), [1]);
        stage.say(ann, r#"{"type":"leave","room_id":"a"}"#);
        let told = stage.told(ann);
        assert!(matches!(&told[..], [Told::Left { .. }]), "{told:?}");
        stage.reset(bob);
        stage.say(ann, r#"{"type":"join","room_id":"a"}"#);
        let told = stage.told(ann);
        assert!(
            matches!(&told[..], [Told::Joined { members: 1, .. }]),
            "{told:?}"
        );
    }
}

#[test]
fn what_waits_for_all_logs_together_is_bounded() {
    const SENDER_COUNT: usize = 40;
    const MESSAGE_COUNT: usize = 17;
    let mut stage = stage(1);
    let senders = stage.enter_all(SENDER_COUNT, |number| (0, format!("/ws?user=u{number}")));
    for sender in &senders {
        stage.told_by_now(*sender);
    }
    stage.net.disk().stand_still();
    let content = "x".repeat(60_000);
    for (number, sender) in senders.iter().enumerate() {
        stage.say(
            *sender,
            &format!(r#"{{"type":"join","room_id":"r{number}"}}"#),
        );
        let message =
            format!(r#"{{"type":"message","room_id":"r{number}","content":"{content}"}}"#);
        for _ in 0..MESSAGE_COUNT {
            stage.say(*sender, &message);
        }
    }
    stage.turns(100);
    let refused = stage.count(|counters| counters.parked_full_total);
    let most = PARKED_BYTES_MAX / content.len();
    let least = SENDER_COUNT * MESSAGE_COUNT - most - 1;
    assert!(
        (least as u64..least as u64 + 30).contains(&refused),
        "{refused}, not {least}"
    );
    stage.net.disk().go_on();
    stage.rest();
    let mut acks = 0;
    for sender in senders {
        let told = stage.told_by_now(sender);
        acks += words(&told).iter().filter(|word| **word == "ack").count();
    }
    assert_eq!(acks + refused as usize, SENDER_COUNT * MESSAGE_COUNT);
}

#[test]
fn signals_to_an_inbox_that_is_not_open_yet_are_bounded() {
    for shard in [0, 1] {
        let mut stage = stage(2);
        let ann = stage.enter(shard, "/ws?user=ann");
        assert_eq!(words(&stage.told(ann)), ["welcome"]);
        let bob = stage.enter(shard, "/ws?user=bob");
        stage.told(bob);
        stage.net.disk().stand_still();
        let content = "x".repeat(10_000);
        let signal = format!(r#"{{"type":"signal","to":"ann","content":"{content}"}}"#);
        for _ in 0..100 {
            stage.say(bob, &signal);
        }
        assert!(words(&stage.told(bob)).is_empty());
        let dropped = stage.count(|counters| counters.passing_dropped_total);
        let kept = PASSING_BYTES_MAX / content.len();
        assert_eq!(dropped, 100 - kept as u64);
        stage.net.disk().go_on();
        assert_eq!(words(&stage.told(ann)), vec!["signal"; kept]);
    }
}

#[test]
fn who_was_refused_while_a_room_was_not_open_takes_nobody_out_of_it() {
    for shard in [0, 1] {
        let mut stage = stage(2);
        let ann = stage.enter(shard, "/ws?user=ann&session=the-secret-of-ann");
        let again = stage.enter(shard, "/ws?user=ann&session=the-secret-of-ann");
        let bob = stage.enter(0, "/ws?user=bob");
        for place in [ann, again, bob] {
            stage.told(place);
        }
        stage.net.disk().stand_still();
        stage.say(ann, r#"{"type":"join","room_id":"a"}"#);
        assert!(stage.told(ann).is_empty());
        join_without_end(&mut stage, bob);
        stage.say(
            again,
            r#"{"type":"join","room_id":"a"}{"type":"leave","room_id":"a"}"#,
        );
        let told = stage.told(again);
        assert_eq!(words(&told), ["error", "error"], "{told:?}");
        assert_eq!(overloaded(&told), 1);
        stage.net.disk().go_on();
        assert_eq!(words(&stage.told(ann))[0], "joined");
        stage.say(ann, r#"{"type":"message","room_id":"a","content":1}"#);
        assert_eq!(numbers(&stage.told(ann)), [1], "on shard {shard}");
    }
}
