//! Joining, leaving and reading rooms and relays.

use crate::network::Faults;
use crate::scenes::{narrow, numbers, words};
use crate::stage::Stage;
use crate::told::Told;
use roomcast::limits::Limits;
use roomcast::ws::Opcode;

#[test]
fn what_waited_for_a_room_to_open_is_answered_in_order() {
    let mut stage = Stage::new(1, Limits::default());
    let ann = stage.enter(0, "/ws?user=ann");
    stage.told(ann);
    let join = r#"{"type":"join","room_id":"a"}"#;
    stage.say(
        ann,
        &format!(r#"{join}{join}{{"type":"leave","room_id":"a"}}{join}"#),
    );
    let told = stage.told(ann);
    assert_eq!(words(&told), ["joined", "joined", "left", "joined"]);
}

#[test]
fn who_stands_in_a_message_that_is_deleted_gets_the_rest_of_it() {
    for (shard_count, shard) in [(1, 0), (2, 0), (2, 1), (3, 2)] {
        let mut stage = Stage::new(shard_count, Limits::default());
        let ann = stage.enter(0, "/ws?user=ann&room=a");
        let bob = stage.enter_through(shard, "/ws?user=bob&room=a", narrow(700));
        let behind = stage.enter_through(shard, "/ws?user=cy&room=a", narrow(700));
        stage.told(bob);
        stage.told(behind);
        stage.reads(bob, false);
        stage.reads(behind, false);
        let text = "x".repeat(2_000);
        for _ in 0..2 {
            stage.say(
                ann,
                &format!(r#"{{"type":"message","room_id":"a","content":"{text}"}}"#),
            );
        }
        stage.rest();
        // Both stand in the first message, and have the second before them.
        for seq in [1, 2] {
            stage.say(
                ann,
                &format!(r#"{{"type":"delete","room_id":"a","seq_id":{seq}}}"#),
            );
        }
        stage.rest();
        assert_eq!(stage.count(|counters| counters.deletions_total), 2);
        for reader in [bob, behind] {
            stage.reads(reader, true);
            let told = stage.told(reader);
            assert_eq!(numbers(&told), [1, 2, 3, 4], "{shard} of {shard_count}");
            let messages = told.iter().filter_map(|told| match told {
                Told::Message(message) => Some((message.is_deleted, message.content.len())),
                _ => None,
            });
            let messages: Vec<(bool, usize)> = messages.take(2).collect();
            assert_eq!(messages, [(false, 2_002), (true, 0)]);
        }
        // The next one has to make do with what is left.
        let dan = stage.enter(shard, "/ws?user=dan");
        stage.told(dan);
        stage.say(
            dan,
            r#"{"type":"join","room_id":"a"}{"type":"history","room_id":"a"}"#,
        );
        let told = stage.told(dan);
        let page = told.iter().find_map(|told| match told {
            Told::History { messages, .. } => Some(messages),
            _ => None,
        });
        let left: Vec<bool> = page
            .expect("a page")
            .iter()
            .map(|message| message.is_deleted)
            .collect();
        assert_eq!(left, [true, true, false, false]);
    }
}

#[test]
fn an_answer_to_a_join_that_was_given_up_does_not_serve_the_next() {
    // However turns and mail fall: the room's home may be either shard.
    for case in 0..128 {
        let (shard, turns) = (case % 2, [case / 2 % 4, case / 8 % 4, case / 32]);
        let faults = Faults {
            mail_delay_ms_max: 4,
            ..Faults::default()
        };
        let mut stage = Stage::with_faults(2, Limits::default(), faults, case as u64);
        let ann = stage.enter(0, "/ws?user=ann&room=a");
        let bob = stage.enter(shard, "/ws?user=bob");
        let epoch = stage.told(ann).iter().find_map(|told| match told {
            Told::Joined { head, .. } => Some(head.epoch.clone()),
            _ => None,
        });
        let since = format!(r#"{{"epoch":"{}","seq_id":0}}"#, epoch.unwrap());
        stage.told(bob);
        stage.say(bob, r#"{"type":"join","room_id":"a"}"#);
        stage.turns(turns[0]);
        stage.say(bob, r#"{"type":"leave","room_id":"a"}"#);
        stage.turns(turns[1]);
        stage.say(ann, r#"{"type":"message","room_id":"a","content":1}"#);
        stage.turns(turns[2]);
        stage.say(
            bob,
            &format!(r#"{{"type":"join","room_id":"a","since":{since}}}"#),
        );
        stage.rest();
        stage.say(ann, r#"{"type":"message","room_id":"a","content":2}"#);
        let told = stage.told(bob);
        let last = told
            .iter()
            .rposition(|told| matches!(told, Told::Joined { .. }));
        let told = &told[last.unwrap()..];
        assert_eq!(
            numbers(told),
            [1, 2],
            "on shard {shard}, {turns:?} turns: {told:?}"
        );
        assert!(
            !words(told).contains(&"gap"),
            "on shard {shard}, {turns:?} turns"
        );
    }
}

#[test]
fn a_leave_behind_a_join_that_was_refused_is_answered() {
    for shard in 0..2 {
        let limits = Limits {
            room_count_max: 2,
            ..Limits::default()
        };
        let mut stage = Stage::new(2, limits);
        let ann = stage.enter(shard, "/ws");
        stage.told(ann);
        for room in 0..8 {
            stage.say(
                ann,
                &format!(
                    r#"{{"type":"join","room_id":"r{room}"}}{{"type":"leave","room_id":"s{room}"}}"#
                ),
            );
            stage.say(
                ann,
                &format!(
                    r#"{{"type":"join","room_id":"s{room}"}}{{"type":"leave","room_id":"s{room}"}}"#
                ),
            );
            let answers = stage.told(ann);
            let answers = words(&answers)
                .iter()
                .filter(|word| **word != "system")
                .count();
            assert_eq!(answers, 4, "room {room} from shard {shard}");
        }
    }
}

#[test]
fn a_reader_that_stalls_delays_nobody() {
    for shard in 0..2 {
        let mut stage = Stage::new(2, Limits::default());
        let ann = stage.enter(0, "/ws?user=ann&room=a");
        let bob = stage.enter(shard, "/ws?user=bob&room=a");
        for place in 0..6 {
            let stalled = stage.enter_through(place % 2, "/ws?room=a", narrow(300));
            stage.reads(stalled, false);
        }
        stage.told(bob);
        let text = "x".repeat(3_000);
        for number in 1..=100 {
            stage.say(
                ann,
                &format!(r#"{{"type":"message","room_id":"a","content":"{text}"}}"#),
            );
            // To the room's home, and from there to the reader's shard.
            stage.turns(4);
            assert_eq!(
                numbers(&stage.told_by_now(bob)),
                [number],
                "on shard {shard}"
            );
        }
    }
}

#[test]
fn a_relay_closes_a_reader_that_is_too_slow_and_loses_nothing_for_the_others() {
    for shard in 0..2 {
        let limits = Limits {
            tail_bytes_max: 100_000,
            ..Limits::default()
        };
        let mut stage = Stage::new(2, limits);
        let ann = stage.enter(0, "/raw/a");
        let bob = stage.enter(shard, "/raw/a");
        let slow = stage.enter_through(shard, "/raw/a", narrow(300));
        stage.reads(slow, false);
        let frames: Vec<Vec<u8>> = (0..10).map(|number| vec![number; 30_000]).collect();
        for frame in &frames {
            stage.put(ann, Opcode::Binary, frame);
        }
        assert_eq!(stage.heard(bob), frames, "on shard {shard}");
        stage.wait(2_000);
        assert_eq!(stage.count(|counters| counters.raw_slow_closed_total), 1);
        stage.reads(slow, true);
        assert_eq!(stage.close_code(slow), Some(4200));
        assert_eq!(
            stage.heard(slow),
            frames[..1],
            "it has had one frame to its end"
        );
    }
}

#[test]
fn a_relay_that_is_too_fast_for_a_shard_skips_nothing() {
    for shard in 0..2 {
        let limits = Limits {
            tail_bytes_max: 1,
            log_bytes_max: 2 * 100_000,
            ..Limits::default()
        };
        let faults = Faults {
            mail_delay_ms_max: 20,
            ..Faults::default()
        };
        let mut stage = Stage::with_faults(2, limits, faults, 1);
        let ann = stage.enter(0, "/raw/a");
        let bob = stage.enter(shard, "/raw/a");
        let frames: Vec<Vec<u8>> = (0..100).map(|number| vec![number; 60_000]).collect();
        for frame in &frames {
            stage.put(ann, Opcode::Binary, frame);
        }
        let heard = stage.heard(bob);
        let order: Vec<u8> = heard.iter().map(|frame| frame[0]).collect();
        let is_whole = order.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        assert!(is_whole, "on shard {shard}: {order:?}");
        let is_closed = stage.close_code(bob) == Some(4200);
        assert!(order.ends_with(&[99]) || is_closed, "on shard {shard}");
    }
}

#[test]
fn no_signal_is_lost_where_a_segment_ends() {
    for shard in 0..2 {
        let mut stage = Stage::new(2, Limits::default());
        let ann = stage.enter(0, "/ws?user=ann&room=a");
        let bob = stage.enter(shard, "/ws?user=bob&room=a");
        stage.told(bob);
        let text = "x".repeat(1_100);
        let signal = format!(r#"{{"type":"signal","room_id":"a","content":"{text}"}}"#);
        for _ in 0..30 {
            stage.say(ann, &signal.repeat(20));
            let heard = stage.told(bob).len();
            assert_eq!(heard, 20, "on shard {shard}");
        }
        assert_eq!(stage.count(|counters| counters.passing_dropped_total), 0);
    }
}

#[test]
fn an_empty_room_makes_place_for_another_wherever_both_are_at_home() {
    for (shard_count, shard) in [(1, 0), (2, 0), (2, 1), (3, 2)] {
        let limits = Limits {
            room_count_max: 6,
            ..Limits::default()
        };
        let mut stage = Stage::new(shard_count, limits);
        let ann = stage.enter(shard, "/ws?user=ann");
        stage.told(ann);
        for number in 0..40 {
            let room = format!("room {number}");
            for command in [
                format!(r#"{{"type":"join","room_id":"{room}"}}"#),
                format!(r#"{{"type":"message","room_id":"{room}","content":1}}"#),
                format!(r#"{{"type":"leave","room_id":"{room}"}}"#),
            ] {
                stage.say(ann, &command);
            }
            let told = stage.told(ann);
            assert_eq!(
                words(&told).first(),
                Some(&"joined"),
                "{room} of {shard_count}"
            );
            // Its leave is told late, and until then it is not empty.
            stage.wait(5_000);
        }
        assert!(stage.count(|counters| counters.rooms) <= 6 + u64::from(shard_count));
        assert!(stage.count(|counters| counters.rooms_dropped_total) > 20);
    }
}
