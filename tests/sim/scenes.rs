//! What the simulator has found, each as the shortest scene that shows it.

use crate::link::Quality;
use crate::network::Faults;
use crate::stage::Stage;
use crate::table::DiskFaults;
use crate::told::{Log, Told};
use roomcast::limits::{
    Limits, STORE_STALL_MS, UNCOMMITTED_BYTES_PER_CONNECTION_MAX, UNCOMMITTED_BYTES_UNIT,
};
use roomcast::ws::Opcode;

/// A connection whose client's kernel takes only so many bytes.
fn narrow(down_bytes_max: usize) -> Quality {
    Quality {
        down_bytes_max,
        ..Quality::IDEAL
    }
}

/// What was told, as words.
fn words(told: &[Told]) -> Vec<&'static str> {
    told.iter()
        .map(|told| match told {
            Told::Welcome { .. } => "welcome",
            Told::Joined { .. } => "joined",
            Told::Left { .. } => "left",
            Told::Done { .. } => "done",
            Told::Message(_) => "message",
            Told::Ack { .. } => "ack",
            Told::Signal { .. } => "signal",
            Told::History { .. } => "history",
            Told::Presence { .. } => "presence",
            Told::Gap { .. } => "gap",
            Told::System { .. } => "system",
            Told::Error { .. } => "error",
            Told::Heartbeat => "heartbeat",
            Told::Bye { .. } => "bye",
        })
        .collect()
}

/// The numbers of the messages among what was told.
fn numbers(told: &[Told]) -> Vec<u64> {
    let message = |told: &Told| match told {
        Told::Message(message) => Some(message.seq),
        _ => None,
    };
    told.iter().filter_map(message).collect()
}

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
