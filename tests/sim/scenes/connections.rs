//! How connections end, and when they do not.

use crate::scenes::{narrow, words};
use crate::stage::Stage;
use roomcast::limits::Limits;
use roomcast::ws::Opcode;

#[test]
fn nothing_follows_a_close_not_even_a_pong_that_was_put_aside() {
    let mut stage = Stage::new(1, Limits::default());
    let ann = stage.enter_through(0, "/ws", narrow(500));
    stage.reads(ann, false);
    for _ in 0..100 {
        stage.put(ann, Opcode::Ping, &[b'p'; 100]);
    }
    stage.rest();
    stage.put(ann, Opcode::Close, &[3, 232]);
    stage.rest();
    // Whoever reads a frame behind the close panics.
    stage.reads(ann, true);
    assert_eq!(stage.close_code(ann), Some(1000));
}

#[test]
fn a_connection_that_breaks_within_a_frame_leaves_nothing() {
    let mut stage = Stage::new(1, Limits::default());
    let ann = stage.enter(0, "/ws?user=ann&room=a");
    let bob = stage.enter_through(0, "/ws?user=bob&room=a", narrow(700));
    stage.reads(bob, false);
    let text = "x".repeat(2_000);
    stage.say(
        ann,
        &format!(r#"{{"type":"message","room_id":"a","content":"{text}"}}"#),
    );
    stage.rest();
    stage.reset(bob);
    // The audit would find what is left.
    stage.rest();
    assert_eq!(stage.net.peer_counts().sum::<usize>(), 1);
}

#[test]
fn everyone_who_is_closed_in_one_turn_gets_the_own_bye_and_the_own_rest() {
    let limits = Limits {
        tail_bytes_max: 1,
        stalled_bytes_max: 1,
        ..Limits::default()
    };
    let mut stage = Stage::new(1, limits);
    let ann = stage.enter(0, "/ws?user=ann&room=a");
    let readers: Vec<_> = (0..3)
        .map(|place| stage.enter_through(0, &format!("/ws?user=u{place}&room=a"), narrow(700)))
        .collect();
    for reader in &readers {
        stage.told(*reader);
        stage.reads(*reader, false);
    }
    let text = "x".repeat(30_000);
    for _ in 0..5 {
        stage.say(
            ann,
            &format!(r#"{{"type":"message","room_id":"a","content":"{text}"}}"#),
        );
        stage.rest();
    }
    for reader in readers {
        stage.reads(reader, true);
        let told = stage.told(reader);
        assert_eq!(words(&told), ["message", "bye"], "{told:?}");
        assert_eq!(stage.close_code(reader), Some(4200));
    }
}

#[test]
fn time_in_which_the_server_stood_still_is_not_silence() {
    let limits = Limits::default();
    let interval_ms = u64::from(limits.heartbeat_ms);
    let mut stage = Stage::new(1, limits);
    let ann = stage.enter(0, "/ws?user=ann");
    stage.pause(3 * interval_ms);
    assert_eq!(stage.close_code(ann), None);
    stage.reads(ann, false);
    // It was asked when the server went on, and is silent from now on.
    stage.wait(3 * interval_ms);
    stage.reads(ann, true);
    assert_eq!(stage.close_code(ann), Some(4200));
}

#[test]
fn timers_go_on_after_a_machine_has_slept() {
    let limits = Limits::default();
    let interval_ms = u64::from(limits.heartbeat_ms);
    for sleep_ms in [90_000, 110_000, 3_600_000] {
        let mut stage = Stage::new(1, limits.clone());
        let ann = stage.enter(0, "/ws?user=ann&room=a");
        stage.pause(sleep_ms);
        assert_eq!(stage.close_code(ann), None);
        stage.reads(ann, false);
        stage.wait(3 * interval_ms);
        stage.reads(ann, true);
        // Its silence is noticed, and its room is dropped in time.
        assert_eq!(stage.close_code(ann), Some(4200), "after {sleep_ms} ms");
        stage.wait(3_600_000);
        assert_eq!(
            stage.count(|counters| counters.rooms),
            0,
            "after {sleep_ms} ms"
        );
    }
}
