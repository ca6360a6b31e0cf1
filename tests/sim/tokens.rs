//! Scenes with tokens: in which turn they are checked, and at what time they end.

use crate::stage::{Place, Stage};
use crate::told::Told;
use roomcast::authority::{Authority, Badge, Denial};
use roomcast::limits::{
    OBJECT_COUNT_PER_PEER_MAX, TOKEN_COUNT_PER_TURN, TOKEN_OBJECT_COUNT, TOKEN_WARNING_MS,
};

/// Believes every token of the form `user+milliseconds`.
#[derive(Debug)]
struct Gullible;

impl Authority for Gullible {
    fn check(&self, token: &str, unix_ms: u64) -> Result<Badge, Denial> {
        let (user, ms) = token.split_once('+').ok_or(Denial::Malformed)?;
        let ms: u64 = ms.parse().map_err(|_| Denial::Expired)?;
        Ok(Badge {
            user: user.into(),
            until_unix_ms: unix_ms + ms,
            rights: None,
        })
    }
}

fn hello(token: &str) -> String {
    format!(r#"{{"type":"hello","token":"{token}"}}"#)
}

fn enter(stage: &mut Stage, shard: usize, token: &str) -> Place {
    let place = stage.enter(shard, "/ws?hello");
    stage.say(place, &hello(token));
    let told = stage.told(place);
    assert!(matches!(told[..], [Told::Welcome { .. }]), "{told:?}");
    place
}

/// How often a client was told when its token expires, since it was last asked.
fn warnings(stage: &mut Stage, place: Place) -> usize {
    let heard = stage.heard(place);
    let is_warning = |text: &Vec<u8>| text.starts_with(br#"{"type":"token_expires","#);
    assert!(heard.iter().all(is_warning), "{heard:?}");
    heard.len()
}

#[test]
fn a_storm_of_tokens_is_spread_over_turns() {
    const COUNT: u32 = 200;
    let mut stage = Stage::with_tokens(1, Gullible);
    let ann = enter(&mut stage, 0, "ann+1000000");
    stage.say(ann, r#"{"type":"join","room_id":"a"}"#);
    stage.told(ann);
    let crowd: Vec<Place> = (0..COUNT).map(|_| stage.enter(0, "/ws?hello")).collect();
    for (number, place) in crowd.iter().enumerate() {
        stage.say(*place, &hello(&format!("user {number}+1000000")));
    }
    stage.say(ann, r#"{"type":"message","room_id":"a","content":1}"#);
    let checked = |stage: &Stage| stage.count(|counters| counters.tokens_checked_total);
    let (mut before, mut turn_count, mut heard_in_turn) = (checked(&stage), 0, None);
    while checked(&stage) < u64::from(COUNT) + 1 {
        stage.turns(1);
        turn_count += 1;
        let after = checked(&stage);
        assert!(after - before <= u64::from(TOKEN_COUNT_PER_TURN));
        before = after;
        let told = stage.told_by_now(ann);
        if told.iter().any(|told| matches!(told, Told::Message(_))) {
            heard_in_turn.get_or_insert(turn_count);
        }
        assert!(turn_count < 100, "every turn takes some of them");
    }
    assert!(turn_count >= COUNT / TOKEN_COUNT_PER_TURN, "{turn_count}");
    let heard_in_turn = heard_in_turn.expect("a member is served meanwhile");
    assert!(heard_in_turn <= 4, "{heard_in_turn} turns");
    for place in crowd {
        let told = stage.told(place);
        assert!(matches!(told[..], [Told::Welcome { .. }]), "{told:?}");
    }
    assert!(stage.count(|counters| counters.tokens_postponed_total) > 0);
}

#[test]
fn one_connection_has_few_tokens_checked_in_a_turn() {
    let mut stage = Stage::with_tokens(1, Gullible);
    let ann = enter(&mut stage, 0, "ann+1000000");
    let checked = |stage: &Stage| stage.count(|counters| counters.tokens_checked_total);
    let mut before = checked(&stage);
    stage.say(ann, &hello("bad").repeat(40));
    let per_turn = u64::from(OBJECT_COUNT_PER_PEER_MAX / TOKEN_OBJECT_COUNT);
    while before < 41 {
        stage.turns(1);
        let after = checked(&stage);
        assert!(after - before <= per_turn, "{}", after - before);
        before = after;
    }
    assert_eq!(stage.told(ann).len(), 40);
}

#[test]
fn a_token_warns_after_three_quarters_of_its_time_and_ends_with_it() {
    for shards in [1, 2] {
        let mut stage = Stage::with_tokens(shards, Gullible);
        let ann = enter(&mut stage, usize::from(shards) - 1, "ann+4000");
        stage.wait(2_900);
        assert_eq!(warnings(&mut stage, ann), 0);
        stage.wait(300);
        assert_eq!(warnings(&mut stage, ann), 1);
        stage.wait(700);
        assert_eq!(stage.close_code(ann), None);
        stage.wait(300);
        assert_eq!(stage.close_code(ann), Some(4002));
        assert!(matches!(stage.told(ann)[..], [Told::Bye { .. }]));
    }
}

#[test]
fn a_refresh_moves_the_end_both_ways() {
    let mut stage = Stage::with_tokens(1, Gullible);
    let ann = enter(&mut stage, 0, "ann+4000");
    stage.say(ann, &hello("ann+100000"));
    assert_eq!(warnings(&mut stage, ann), 1, "the answer");
    stage.wait(50_000);
    assert_eq!(
        (warnings(&mut stage, ann), stage.close_code(ann)),
        (0, None)
    );
    // Neither another user's token nor a bad one moves it.
    for token in ["bob+1000000", "bad"] {
        stage.say(ann, &hello(token));
        assert!(matches!(stage.told(ann)[..], [Told::Error { .. }]));
    }
    stage.say(ann, &hello("ann+4000"));
    stage.wait(5_000);
    assert_eq!(stage.close_code(ann), Some(4002));
}

#[test]
fn a_long_token_warns_a_minute_before() {
    let mut stage = Stage::with_tokens(1, Gullible);
    let ann = enter(&mut stage, 0, "ann+3600000");
    stage.wait(3_600_000 - TOKEN_WARNING_MS - 1_000);
    assert_eq!(warnings(&mut stage, ann), 0);
    stage.wait(2_000);
    assert_eq!(warnings(&mut stage, ann), 1);
    stage.wait(TOKEN_WARNING_MS - 2_000);
    assert_eq!(
        (warnings(&mut stage, ann), stage.close_code(ann)),
        (0, None)
    );
    stage.wait(2_000);
    assert_eq!(stage.close_code(ann), Some(4002));
}

#[test]
fn a_token_that_is_good_for_ever_ends_never() {
    let mut stage = Stage::with_tokens(1, Gullible);
    let ann = enter(&mut stage, 0, &format!("ann+{}", u64::MAX / 2));
    stage.wait(100_000_000);
    assert_eq!(
        (warnings(&mut stage, ann), stage.close_code(ann)),
        (0, None)
    );
}
