//! Commands behind a join of which nobody knows yet that it was refused.

use crate::network::Faults;
use crate::scenes::{numbers, words};
use crate::stage::Stage;
use crate::told::Told;
use roomcast::rights::Pattern;
use roomcast::rules::{RoomRule, Who};

/// Two shards with rooms for one user and the moderator, between which mail takes its time.
fn stage(seed: u64) -> Stage {
    let rule = RoomRule {
        pattern: Pattern::new("*"),
        join: Who::All,
        read: Who::All,
        write: Who::All,
        moderate: Who::users(["mo".into()]),
        is_private: false,
        members_max: Some(2),
        slow_mode_ms: None,
    };
    let faults = Faults {
        mail_delay_ms_max: 12,
        ..Faults::default()
    };
    Stage::with_rules(2, rule, faults, seed)
}

const ANN: &str = "/ws?user=ann&session=the-secret-of-ann";
const JOIN: &str = r#"{"type":"join","room_id":"a"}"#;
const LEAVE: &str = r#"{"type":"leave","room_id":"a"}"#;
const MESSAGE: &str = r#"{"type":"message","room_id":"a","content":1}"#;

/// Whoever waits to be let in keeps the shard's replica in memory, though the home has ended it when the last who had
/// been let in left: whoever is let in next, without news for the room, had a `gap` of all that was said in between.
#[test]
fn who_is_refused_leaves_no_stale_replica_to_the_next() {
    let mut kept_count = 0;
    for case in 0..512 {
        let (shard, turns) = (case % 2, [case / 2 % 4, case / 8 % 16, case / 128]);
        let mut stage = stage(case as u64);
        let moderator = stage.enter(1 - shard, "/ws?user=mo&room=a");
        let ann = stage.enter(shard, &format!("{ANN}&room=a"));
        let again = stage.enter(shard, ANN);
        let bob = stage.enter(shard, "/ws?user=bob");
        stage.say(moderator, MESSAGE);
        for place in [moderator, ann, bob, again] {
            stage.told(place);
        }
        stage.say(bob, JOIN);
        stage.turns(turns[0]);
        stage.say(ann, LEAVE);
        for _ in 0..turns[1] {
            stage.say(moderator, MESSAGE);
            stage.turns(1);
        }
        stage.say(again, JOIN);
        stage.turns(turns[2]);
        stage.say(moderator, MESSAGE);
        let told = stage.told(again);
        let case = format!("on shard {shard}, {turns:?} turns: {told:?}");
        let is_refused = words(&stage.told(bob)) == ["error"];
        let head = told.iter().find_map(|told| match told {
            Told::Joined { head, .. } => Some(head.seq),
            _ => None,
        });
        if let Some(head) = head {
            kept_count += usize::from(is_refused && head > 1);
            let seen = numbers(&told);
            let all: Vec<u64> = (head + 1..head + 1 + seen.len() as u64).collect();
            assert_eq!(seen, all, "{case}");
            assert!(!words(&told).contains(&"gap"), "{case}");
        }
    }
    assert!(
        kept_count > 0,
        "nobody was let in behind a refusal and messages"
    );
}

/// The leave of a connection that was never let in took its user out of the room, who was in it by another.
#[test]
fn a_leave_behind_a_refused_join_takes_no_other_connection_out() {
    let mut is_overtaken = false;
    for case in 0..256 {
        let (shard, turns) = (case % 2, [case / 2 % 4, case / 8 % 4, case / 32]);
        let mut stage = stage(case as u64);
        let ann = stage.enter(1 - shard, "/ws?user=ann&room=a");
        let other = stage.enter(1 - shard, "/ws?user=mo&room=a");
        let bob = stage.enter(shard, "/ws?user=bob&session=the-secret-of-bob");
        let again = stage.enter(1 - shard, "/ws?user=bob&session=the-secret-of-bob");
        for place in [ann, other, bob, again] {
            stage.told(place);
        }
        stage.say(bob, JOIN);
        stage.turns(turns[0]);
        stage.say(ann, LEAVE);
        stage.say(again, JOIN);
        stage.turns(turns[1]);
        stage.say(bob, LEAVE);
        let (first, second) = (stage.told(bob), stage.told(again));
        let case = format!("on shard {shard}, {turns:?} turns: {first:?} {second:?}");
        is_overtaken |= words(&first) == ["error", "error"] && words(&second)[0] == "joined";
        if words(&second)[0] == "joined" {
            stage.say(again, MESSAGE);
            assert_eq!(numbers(&stage.told(again)), [1], "{case}");
        }
        // Nobody is counted who has gone, or was never there.
        for place in [ann, bob, again] {
            stage.reset(place);
        }
        stage.rest();
        stage.say(other, r#"{"type":"who","room_id":"a"}"#);
        let told = stage.told(other);
        let count = told.iter().find_map(|told| match told {
            Told::Presence { count, .. } => Some(*count),
            _ => None,
        });
        assert_eq!(count, Some(1), "{case}");
    }
    assert!(is_overtaken);
}
