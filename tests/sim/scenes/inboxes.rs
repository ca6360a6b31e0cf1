//! Inboxes and private messages.

use crate::scenes::{numbers, words};
use crate::stage::Stage;
use crate::table::DiskFaults;
use crate::told::{Log, Told};
use roomcast::limits::{KEPT_HOLD_MS, Limits, STORE_RETRY_MS};
use roomcast::ws::Opcode;

#[test]
fn an_inbox_that_was_there_before_is_followed_from_any_shard() {
    for shard in 0..3 {
        let mut stage = Stage::new(3, Limits::default());
        let ann = stage.enter(0, "/ws?user=ann");
        let bob = stage.enter(0, "/ws?user=bob&session=the-secret-of-bob");
        stage.say(ann, r#"{"type":"message","to":"bob","content":1}"#);
        assert_eq!(numbers(&stage.told(bob)), [1]);
        stage.reset(bob);
        stage.rest();
        let bob = stage.enter(
            shard,
            "/ws?user=bob&session=the-secret-of-bob&inbox_since=1",
        );
        assert_eq!(words(&stage.told(bob)), ["welcome"]);
        stage.say(ann, r#"{"type":"message","to":"bob","content":2}"#);
        assert_eq!(numbers(&stage.told(bob)), [2], "on shard {shard}");
    }
}

#[test]
fn an_inbox_keeps_what_its_user_has_not_confirmed() {
    for shard in 0..2 {
        let limits = Limits {
            tail_bytes_max: 1,
            ..Limits::default()
        };
        let mut stage = Stage::new(2, limits);
        let ann = stage.enter(0, "/ws?user=ann");
        let bob = stage.enter(1, "/ws?user=bob&session=the-secret-of-bob");
        let text = "x".repeat(30_000);
        for _ in 0..10 {
            stage.say(
                ann,
                &format!(r#"{{"type":"message","to":"bob","content":"{text}"}}"#),
            );
        }
        assert_eq!(numbers(&stage.told(bob)).len(), 10);
        stage.reset(bob);
        stage.rest();
        let bob = stage.enter(shard, "/ws?user=bob&session=the-secret-of-bob");
        let told = stage.told(bob);
        assert_eq!(
            numbers(&told),
            (1..=10).collect::<Vec<u64>>(),
            "{:?}",
            words(&told)
        );
    }
}

#[test]
fn an_inbox_of_which_nothing_is_left_is_told_to_have_a_gap() {
    for shard in 0..3 {
        let limits = Limits {
            log_bytes_max: 3 * 70_000,
            ..Limits::default()
        };
        let mut stage = Stage::new(3, limits);
        let ann = stage.enter(0, "/ws?user=ann");
        let bob = stage.enter(0, "/ws?user=bob&session=the-secret-of-bob");
        stage.say(ann, r#"{"type":"message","to":"bob","content":1}"#);
        stage.reset(bob);
        stage.rest();
        // So many rooms that every shard has to let go of what it holds.
        let text = "x".repeat(60_000);
        for room in 0..12 {
            stage.say(ann, &format!(r#"{{"type":"join","room_id":"r{room}"}}"#));
            for _ in 0..2 {
                stage.say(
                    ann,
                    &format!(r#"{{"type":"message","room_id":"r{room}","content":"{text}"}}"#),
                );
            }
            stage.rest();
        }
        let bob = stage.enter(
            shard,
            "/ws?user=bob&session=the-secret-of-bob&inbox_since=0",
        );
        let told = stage.told(bob);
        let of = Log::Inbox("bob".to_owned());
        assert!(
            told.contains(&Told::Gap {
                of,
                first: 1,
                last: 1
            }),
            "{told:?}"
        );
    }
}

#[test]
fn a_message_to_a_guest_who_goes_at_that_moment_is_answered() {
    // The first message opens the inbox, later ones find it open; the guest goes while they are on their way.
    for (shard, before, turns) in (0..24).map(|case| (case % 2, case / 2 % 3, case / 6)) {
        let mut stage = Stage::new(2, Limits::default());
        let ann = stage.enter(shard, "/ws?user=ann");
        let guest = stage.enter(0, "/ws");
        stage.told(ann);
        let name = stage.told(guest).iter().find_map(|told| match told {
            Told::Welcome { user, .. } => Some(user.clone()),
            _ => None,
        });
        let text = format!(
            r#"{{"type":"message","to":"{}","content":1}}"#,
            name.unwrap()
        );
        for _ in 0..before {
            stage.say(ann, &text);
        }
        assert_eq!(stage.told(ann).len(), before);
        stage.say(ann, &text);
        stage.say(guest, r#"{"type":"heartbeat"}"#);
        stage.turns(turns);
        stage.put(guest, Opcode::Close, &[3, 232]);
        let answers = stage.told(ann);
        assert_eq!(
            answers.len(),
            1,
            "on shard {shard}, {turns} turns: {answers:?}"
        );
    }
}

#[test]
fn an_inbox_whose_first_message_was_refused_but_kept_is_pushed_from_there() {
    let failing = DiskFaults {
        commits: 1000,
        recoveries: 1000,
        ..DiskFaults::default()
    };
    let mut kept_count = 0;
    for (seed, shard) in (0..16).map(|seed| (seed, seed as usize % 2)) {
        let mut stage = Stage::on_disk(2, Limits::default(), DiskFaults::default(), seed);
        let ann = stage.enter(0, "/ws?user=ann");
        let bob = stage.enter(shard, "/ws?user=bob&session=the-secret-of-bob");
        stage.reset(bob);
        stage.told(ann);
        stage.net.disk().set_faults(failing);
        stage.say(ann, r#"{"type":"message","to":"bob","content":1,"id":"1"}"#);
        assert_eq!(words(&stage.told(ann)), ["error"], "seed {seed}");
        // Nobody needs the inbox for so long that it is dropped before the disk recovers.
        stage.wait(2 * u64::from(KEPT_HOLD_MS));
        stage.net.disk().set_faults(DiskFaults::default());
        stage.wait(2 * u64::from(STORE_RETRY_MS));
        let bob = stage.enter(shard, "/ws?user=bob&session=the-secret-of-bob");
        let mut told = stage.told(bob);
        stage.say(ann, r#"{"type":"message","to":"bob","content":2,"id":"2"}"#);
        told.extend(stage.told(bob));
        let count = numbers(&told).len() as u64;
        assert!(
            numbers(&told).into_iter().eq(1..=count),
            "seed {seed}: {told:?}"
        );
        kept_count += u64::from(count == 2);
    }
    assert!(kept_count > 0 && kept_count < 16, "{kept_count} were kept");
}

#[test]
fn a_copy_that_a_failing_disk_refuses_is_there_once_it_has_recovered() {
    let failing = DiskFaults {
        commits: 1000,
        recoveries: 1000,
        ..DiskFaults::default()
    };
    let mut owed_count = 0;
    for (shard, turns) in (0..32).map(|case| (case % 2, case / 2)) {
        let seed = turns as u64;
        let mut stage = Stage::on_disk(2, Limits::default(), DiskFaults::default(), seed);
        let ann = stage.enter(shard, "/ws?user=ann&session=the-secret-of-ann");
        let beside = stage.enter(0, "/ws?user=ann&session=the-secret-of-ann");
        let bob = stage.enter(1, "/ws?user=bob&session=the-secret-of-bob");
        for place in [ann, beside, bob] {
            stage.told(place);
        }
        let text = br#"{"type":"message","to":"bob","content":1,"id":"1"}"#;
        stage.put(ann, Opcode::Text, text);
        stage.turns(turns);
        stage.net.disk().set_faults(failing);
        stage.wait(u64::from(STORE_RETRY_MS));
        let is_acked = words(&stage.told(ann)).contains(&"ack");
        let is_owed = stage.net.disk().table().durable().owed_count() > 0;
        owed_count += u32::from(is_acked && is_owed);
        stage.net.disk().set_faults(DiskFaults::default());
        stage.wait(2 * u64::from(STORE_RETRY_MS));
        let mut kept = numbers(&stage.told(beside));
        assert!(!is_acked || kept == [1], "on shard {shard}, {turns} turns");
        // Where it was not acknowledged, it is sent again.
        stage.put(ann, Opcode::Text, text);
        stage.rest();
        kept.extend(numbers(&stage.told(beside)));
        assert_eq!(numbers(&stage.told(bob)), [1]);
        assert_eq!(kept, [1], "on shard {shard}, {turns} turns");
        assert_eq!(stage.net.disk().table().durable().owed_count(), 0);
    }
    assert!(owed_count > 0, "the disk never failed between the two");
}
