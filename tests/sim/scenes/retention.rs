//! What is not kept any more is not told any more either.

use crate::scenes::{narrow, numbers};
use crate::stage::Stage;
use crate::table::DiskFaults;
use crate::told::Told;
use roomcast::limits::Limits;

/// Two members of room `a`, on two shards, of which six messages of 30 kB are kept; and the room's epoch.
fn stage(shard: usize) -> (Stage, usize, usize, String) {
    let mut stage = Stage::on_disk(2, Limits::default(), DiskFaults::default(), 1);
    let ann = stage.enter(shard, "/ws?user=ann&room=a");
    let bob = stage.enter(1 - shard, "/ws?user=bob&room=a");
    let epoch = stage.told(bob).into_iter().find_map(|told| match told {
        Told::Joined { head, .. } => Some(head.epoch),
        _ => None,
    });
    let text = "x".repeat(30_000);
    for _ in 0..6 {
        let message = format!(r#"{{"type":"message","room_id":"a","content":"{text}"}}"#);
        stage.say(ann, &message);
        stage.rest();
    }
    assert_eq!(numbers(&stage.told(ann)).len(), 6);
    assert_eq!(numbers(&stage.told(bob)).len(), 6);
    stage.wait(5_000);
    (stage, ann, bob, epoch.unwrap())
}

fn page(stage: &mut Stage, place: usize, bounds: &str) -> (Vec<u64>, bool) {
    stage.say(
        place,
        &format!(r#"{{"type":"history","room_id":"a"{bounds}}}"#),
    );
    let told = stage.told(place);
    let page = told.into_iter().find_map(|told| match told {
        Told::History { messages, more, .. } => Some((messages, more)),
        _ => None,
    });
    let (messages, more) = page.unwrap();
    (messages.iter().map(|message| message.seq).collect(), more)
}

#[test]
fn a_message_that_is_not_kept_any_more_is_not_in_memory_either() {
    for shard in [0, 1] {
        let (mut stage, ann, bob, epoch) = stage(shard);
        let bytes = stage.count(|counters| counters.log_bytes);
        assert_eq!(page(&mut stage, bob, ""), ((1..=6).collect(), false));
        stage.net.disk().trim_room("a", 3);
        stage.rest();
        for place in [ann, bob] {
            assert_eq!(page(&mut stage, place, ""), (vec![4, 5, 6], false));
            assert_eq!(
                page(&mut stage, place, r#","limit":3"#),
                (vec![4, 5, 6], false)
            );
            assert_eq!(page(&mut stage, place, r#","before":4"#), (vec![], false));
            assert_eq!(
                page(&mut stage, place, r#","after":0,"limit":1"#),
                (vec![4], true)
            );
        }
        // Who goes on from before that is told so, on both shards.
        for place in [ann, bob] {
            for (seq, is_there) in [(2, false), (3, true)] {
                let since = format!(r#"{{"epoch":"{epoch}","seq_id":{seq}}}"#);
                stage.say(
                    place,
                    &format!(r#"{{"type":"join","room_id":"a","since":{since}}}"#),
                );
                let told = stage.told(place);
                let reason = told.iter().find_map(|told| match told {
                    Told::Joined { reason, .. } => Some(reason.clone()),
                    _ => None,
                });
                let expected = (!is_there).then(|| "expired".to_owned());
                assert_eq!(reason, Some(expected), "since {seq}");
                let seqs = if is_there { vec![4, 5, 6] } else { vec![] };
                assert_eq!(numbers(&told), seqs, "since {seq}");
            }
        }
        // Two messages are a segment, and whole segments go, on both shards.
        let left = stage.count(|counters| counters.log_bytes);
        assert!(left < bytes * 3 / 4, "{left} of {bytes}");
        stage.net.disk().trim_room("a", 6);
        stage.wait(5_000);
        assert_eq!(stage.count(|counters| counters.log_bytes), 0);
        assert_eq!(page(&mut stage, bob, ""), (vec![], false));
        stage.say(ann, r#"{"type":"message","room_id":"a","content":7}"#);
        assert_eq!(numbers(&stage.told(bob)), [7]);
        assert_eq!(page(&mut stage, bob, ""), (vec![7], false));
    }
}

#[test]
fn a_reader_that_is_behind_is_told_of_what_is_not_kept_any_more() {
    for shard in [0, 1] {
        let (mut stage, ann, _, epoch) = stage(shard);
        let eve = stage.enter_through(1 - shard, "/ws?user=eve", narrow(5_000));
        stage.told(eve);
        stage.reads(eve, false);
        let since = format!(r#"{{"epoch":"{epoch}","seq_id":0}}"#);
        stage.say(
            eve,
            &format!(r#"{{"type":"join","room_id":"a","since":{since}}}"#),
        );
        stage.wait(5_000);
        stage.net.disk().trim_room("a", 5);
        stage.wait(5_000);
        stage.reads(eve, true);
        stage.say(ann, r#"{"type":"message","room_id":"a","content":7}"#);
        let told = stage.told(eve);
        // The message in which it stood is finished.
        assert_eq!(numbers(&told), [1, 6, 7], "{shard}");
        let gap = told.iter().find_map(|told| match told {
            Told::Gap { first, last, .. } => Some((*first, *last)),
            _ => None,
        });
        assert_eq!(gap, Some((2, 5)), "{shard}");
    }
}
