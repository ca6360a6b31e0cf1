//! What memory holds.

use crate::network::Faults;
use crate::scenes::{narrow, numbers, words};
use crate::stage::Stage;
use crate::told::{Log, Told};
use roomcast::limits::Limits;

#[test]
fn bytes_of_logs_are_counted_right_while_a_stalled_reader_keeps_a_frame() {
    let limits = Limits {
        tail_bytes_max: 1,
        ..Limits::default()
    };
    let mut stage = Stage::new(1, limits);
    let ann = stage.enter(0, "/ws?user=ann&room=a");
    let bob = stage.enter_through(0, "/ws?user=bob&room=a", narrow(700));
    stage.reads(bob, false);
    let text = "x".repeat(30_000);
    for _ in 0..5 {
        stage.say(
            ann,
            &format!(r#"{{"type":"message","room_id":"a","content":"{text}"}}"#),
        );
        stage.rest();
    }
    stage.reads(bob, true);
    // The audit compares the counts.
    let told = stage.told(bob);
    let gaps: Vec<&Told> = told
        .iter()
        .filter(|told| matches!(told, Told::Gap { .. }))
        .collect();
    let of = Log::Room("a".to_owned());
    assert_eq!(
        gaps,
        [&Told::Gap {
            of,
            first: 2,
            last: 4
        }]
    );
    assert_eq!(numbers(&told), [1, 5]);
}

#[test]
fn logs_stay_within_their_bound() {
    let log_bytes_max = 600_000;
    let limits = Limits {
        log_bytes_max,
        ..Limits::default()
    };
    let mut stage = Stage::new(1, limits);
    let ann = stage.enter(0, "/ws");
    let text = "x".repeat(20_000);
    for number in 0..200 {
        let room = number % 30;
        stage.say(ann, &format!(r#"{{"type":"join","room_id":"r{room}"}}"#));
        stage.say(
            ann,
            &format!(r#"{{"type":"message","room_id":"r{room}","content":"{text}"}}"#),
        );
        stage.rest();
        let log_bytes = stage.count(|counters| counters.log_bytes);
        assert!(
            log_bytes <= log_bytes_max as u64,
            "{log_bytes} bytes of logs"
        );
    }
    assert!(stage.count(|counters| counters.log_evictions_total) > 0);
}

#[test]
fn what_is_yet_to_be_forwarded_is_not_dropped_to_make_room() {
    let limits = Limits {
        log_bytes_max: 3 * 100_000,
        ..Limits::default()
    };
    let faults = Faults {
        mail_delay_ms_max: 50,
        ..Faults::default()
    };
    let mut stage = Stage::with_faults(3, limits, faults, 1);
    let ann = stage.enter(0, "/ws?user=ann");
    let bob = stage.enter(0, "/ws?user=bob");
    for room in 0..20 {
        for reader in [ann, bob] {
            stage.say(reader, &format!(r#"{{"type":"join","room_id":"r{room}"}}"#));
        }
    }
    stage.told(bob);
    let text = "x".repeat(30_000);
    for room in 0..20 {
        stage.say(
            ann,
            &format!(r#"{{"type":"message","room_id":"r{room}","content":"{text}"}}"#),
        );
    }
    let told = stage.told(bob);
    assert_eq!(numbers(&told), [1; 20], "{:?}", words(&told));
}
