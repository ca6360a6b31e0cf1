//! Whether the oracle sees anything: what a good run has shown is falsified in one place, and has to be refused.

use super::{Asked, Conn, Event, Oracle, Purpose};
use crate::network::Faults;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::told::{Log, Position, Told};
use crate::world::World;
use roomcast::limits::Limits;

/// Most places at which one kind of falsehood is tried.
const PLACES_MAX: usize = 25;

/// A short run without excuses: nothing is lost, nobody is closed, everyone gets everything.
fn plan(rng: &mut Rng) -> Plan {
    let limits = Limits {
        name_hold_days: 1,
        room_hold_ms: 100,
        heartbeat_ms: 2_000,
        ..Limits::default()
    };
    Plan {
        shard_count: 2,
        limits,
        faults: Faults::default(),
        disk: None,
        step_count: 150,
        step_ms_max: 20,
        jumps: 0,
        named_count: 3,
        guest_count: 1,
        devices_per_user: 2,
        room_count: 2,
        relay_count: 3,
        echo_count: 1,
        hostile_count: 0,
        activity: 200,
        content_bytes_max: 20,
        eager_clients: 1000,
        delay_ms_max: 3,
        cut_sends: 0,
        weights: vec![8, 1, 30, 6, 8, 6, 4, 4, 3, 1, 1, 1, 0, 1],
        ..Plan::new(rng)
    }
}

fn oracle() -> Oracle {
    Oracle::new(plan(&mut Rng::new(0)).excuses())
}

/// What was seen in that run.
fn trace() -> Vec<Event> {
    let mut rng = Rng::new(7);
    let mut world = World::of_plan(plan(&mut rng), None, rng, false);
    world.keep_trace();
    world.run().unwrap();
    world.trace().to_vec()
}

fn judge(trace: &[Event]) -> Result<(), String> {
    let mut oracle = oracle();
    trace.iter().try_for_each(|event| oracle.note(event))
}

/// So many events, and what is put in their place.
type Lie = (usize, Vec<Event>);

/// Falsifies a good trace at places where `lie` finds something to falsify, and lets each be judged.
fn refused(lie: impl Fn(&[Event], usize) -> Option<Lie>) {
    let trace = trace();
    judge(&trace).unwrap();
    let lies = (0..trace.len()).filter_map(|place| Some((place, lie(&trace, place)?)));
    let lies: Vec<(usize, Lie)> = lies.collect();
    assert!(lies.len() >= 3, "only {} places to lie at", lies.len());
    let step = lies.len().div_ceil(PLACES_MAX);
    for (place, (count, events)) in lies.into_iter().step_by(step) {
        let mut falsified = trace.clone();
        falsified.splice(place..place + count, events);
        let verdict = judge(&falsified);
        assert!(verdict.is_err(), "not seen at {place}: {:?}", trace[place]);
    }
}

/// The same where one event is to be another.
fn refused_as(lie: impl Fn(&[Event], usize, &mut Event) -> bool) {
    refused(|trace, place| {
        let mut event = trace[place].clone();
        lie(trace, place, &mut event).then(|| (1, vec![event]))
    });
}

/// The connection and the log of a message that was delivered.
fn delivered(event: Option<&Event>) -> Option<(Conn, &Log, u64)> {
    match event {
        Some(Event::Told {
            conn,
            told: Told::Message(message),
            ..
        }) if matches!(message.to, Log::Room(_)) => Some((*conn, &message.to, message.seq)),
        _ => None,
    }
}

/// Whether the same connection gets another message of the same room behind it, and goes through no other `joined`.
fn goes_on(trace: &[Event], place: usize) -> bool {
    let Some((conn, room, _)) = delivered(trace.get(place)) else {
        return false;
    };
    let same = |event: &&Event| match event {
        Event::Told {
            conn: other,
            told: Told::Joined { .. } | Told::Left { .. },
            ..
        } => *other == conn,
        _ => delivered(Some(event)).is_some_and(|(c, r, _)| (c, r) == (conn, room)),
    };
    delivered(trace[place + 1..].iter().find(same)).is_some()
}

#[test]
fn a_message_that_is_missing_is_seen() {
    refused(|trace, place| goes_on(trace, place).then(|| (1, Vec::new())));
}

#[test]
fn a_message_that_comes_twice_is_seen() {
    refused(|trace, place| {
        delivered(trace.get(place))?;
        Some((0, vec![trace[place].clone()]))
    });
}

#[test]
fn two_messages_in_the_wrong_order_are_seen() {
    refused(|trace, place| {
        let (one, two) = (
            delivered(trace.get(place))?,
            delivered(trace.get(place + 1))?,
        );
        let swapped = || vec![trace[place + 1].clone(), trace[place].clone()];
        ((one.0, one.1) == (two.0, two.1)).then(|| (2, swapped()))
    });
}

#[test]
fn a_content_that_is_another_is_seen() {
    refused_as(|_, _, event| match event {
        Event::Told {
            told: Told::Message(message),
            ..
        } => {
            message.content.push(' ');
            true
        }
        _ => false,
    });
}

#[test]
fn a_message_under_a_wrong_name_is_seen() {
    refused_as(|_, _, event| match event {
        Event::Told {
            told: Told::Message(message),
            ..
        } => {
            message.sender = "somebody".to_owned();
            true
        }
        _ => false,
    });
}

#[test]
fn an_ack_with_a_wrong_number_is_seen() {
    refused_as(|_, _, event| match event {
        Event::Told {
            told:
                Told::Ack {
                    to: Log::Room(_),
                    id: Some(_),
                    seq,
                    ..
                },
            ..
        } => {
            *seq += 1;
            true
        }
        _ => false,
    });
}

#[test]
fn a_repetition_of_what_was_sent_once_is_seen() {
    refused_as(|trace, _, event| {
        let Event::Told {
            told: Told::Ack {
                id: Some(id), dup, ..
            },
            ..
        } = event
        else {
            return false;
        };
        *dup = true;
        let same =
            |event: &&Event| matches!(event, Event::Asked { id: Some(other), .. } if other == id);
        trace.iter().filter(same).count() == 1
    });
}

#[test]
fn an_answer_that_never_comes_is_seen() {
    refused(|trace, place| {
        let Event::Told {
            conn,
            told:
                Told::Ack { .. }
                | Told::History { .. }
                | Told::Joined { .. }
                | Told::Presence {
                    members: Some(_), ..
                },
            ..
        } = &trace[place]
        else {
            return None;
        };
        let end = trace[place..].iter().find(|event| match event {
            Event::Ended { conn: other, .. } => other == conn,
            other => matches!(other, Event::Done),
        });
        matches!(end, Some(Event::Done)).then(|| (1, Vec::new()))
    });
}

#[test]
fn a_page_that_is_wrong_about_more_is_seen() {
    refused_as(|trace, _, event| {
        let Event::Told {
            told: Told::History {
                id, messages, more, ..
            },
            ..
        } = event
        else {
            return false;
        };
        *more = !*more;
        let is_backwards = |event: &Event| match event {
            Event::Asked {
                id: other,
                asked: Asked::History { after: None, .. },
                ..
            } => other == id,
            _ => false,
        };
        // Of a page forwards it is not known whether more had come by then.
        messages.is_empty() || trace.iter().any(is_backwards)
    });
}

#[test]
fn a_signal_that_comes_back_is_seen() {
    refused_as(|trace, _, event| {
        let Event::Told {
            conn,
            told: Told::Signal { content, .. },
            ..
        } = event
        else {
            return false;
        };
        let sender = trace.iter().find_map(|event| match event {
            Event::Asked {
                conn,
                asked: Asked::Signal { content: sent, .. },
                ..
            } if sent == content => Some(*conn),
            _ => None,
        });
        *conn = sender.unwrap();
        true
    });
}

#[test]
fn a_signal_that_nobody_hears_is_seen() {
    refused(|trace, place| {
        let is_calm = trace[..place]
            .iter()
            .any(|event| matches!(event, Event::Calm));
        let is_signal = matches!(
            &trace[place],
            Event::Told {
                told: Told::Signal { .. },
                ..
            }
        );
        (is_calm && is_signal).then(|| (1, Vec::new()))
    });
}

#[test]
fn a_message_for_somebody_else_is_seen() {
    refused_as(|trace, _, event| {
        let last = trace.iter().filter_map(|event| match event {
            Event::Opened { conn, .. } => Some(*conn),
            _ => None,
        });
        let last = last.max().unwrap_or(0);
        match event {
            Event::Told {
                conn,
                told: Told::Message(_),
                ..
            } if *conn != last => {
                *conn = last;
                true
            }
            _ => false,
        }
    });
}

#[test]
fn a_gap_where_nothing_was_lost_is_seen() {
    refused_as(|trace, place, event| {
        let Some((_, of, seq)) = delivered(trace.get(place)) else {
            return false;
        };
        if let Event::Told { told, .. } = event {
            *told = Told::Gap {
                of: of.clone(),
                first: seq,
                last: seq,
            };
        }
        true
    });
}

#[test]
fn a_member_that_is_not_told_is_seen() {
    refused_as(|trace, place, event| {
        let is_calm = trace[..place]
            .iter()
            .any(|event| matches!(event, Event::Calm));
        match event {
            Event::Told {
                told:
                    Told::Presence {
                        members: Some(members),
                        count,
                        ..
                    },
                ..
            } if is_calm => {
                members.pop();
                *count -= 1;
                true
            }
            _ => false,
        }
    });
}

/// Whether something was heard with something before and behind it.
fn is_in_the_middle(trace: &[Event], place: usize) -> bool {
    let Event::Heard { conn, .. } = &trace[place] else {
        return false;
    };
    let same = |event: &&Event| matches!(event, Event::Heard { conn: other, .. } if other == conn);
    trace[..place].iter().any(|event| same(&event))
        && trace[place + 1..].iter().any(|event| same(&event))
}

#[test]
fn a_relay_that_loses_something_is_seen() {
    refused(|trace, place| is_in_the_middle(trace, place).then(|| (1, Vec::new())));
}

#[test]
fn a_relay_that_says_something_twice_is_seen() {
    refused(|trace, place| {
        let event = trace[place].clone();
        is_in_the_middle(trace, place).then(|| (0, vec![event]))
    });
}

#[test]
fn a_relay_that_changes_something_is_seen() {
    refused_as(|_, _, event| match event {
        Event::Heard { payload, .. } => {
            payload.push(b'!');
            true
        }
        _ => false,
    });
}

#[test]
fn who_is_served_without_being_let_in_is_seen() {
    let asked = |id: &str, asked| Event::Asked {
        conn: 0,
        id: Some(id.to_owned()),
        asked,
    };
    let told = |told| Event::Told { conn: 0, told };
    let head = || Position {
        epoch: "e".to_owned(),
        seq: 0,
    };
    let room = "r".to_owned();
    let purpose = Purpose::Chat {
        user: None,
        inbox_since: None,
        is_eager: true,
    };
    let join = Asked::Join {
        room: room.clone(),
        since: None,
        echo: true,
    };
    let before = [
        Event::Opened { conn: 0, purpose },
        told(Told::Welcome {
            user: "eve".to_owned(),
            session: None,
            inbox: head(),
            recovered: None,
            id: None,
        }),
        asked("join", join),
        asked("who", Asked::Who { room: room.clone() }),
    ];
    let joined = told(Told::Joined {
        room: room.clone(),
        head: head(),
        members: 1,
        recovered: None,
        reason: None,
        id: Some("join".to_owned()),
    });
    let served = told(Told::Presence {
        room,
        count: 1,
        members: Some(vec!["eve".to_owned()]),
        id: Some("who".to_owned()),
    });
    judge(&[&before[..], &[joined, served.clone()]].concat()).unwrap();
    judge(&[&before[..], &[served]].concat()).unwrap_err();
}
