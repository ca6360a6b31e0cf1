//! What a seed decides before anything happens: how many of everything, how bad the network is, which bounds are
//! tight, and how often what is done. Much of it is switched off in most seeds, so that rare things meet each other
//! undiluted in some.

use crate::link::Quality;
use crate::network::Faults;
use crate::oracle::Excuses;
use crate::rng::Rng;
use crate::table::DiskFaults;
use roomcast::engine::Settings;
use roomcast::http::Endpoints;
use roomcast::limits::{Limits, SEND_COUNT_PER_TURN};
use roomcast::rights::Pattern;
use roomcast::rules::{RoomRule, RoomRules, Who};
use std::sync::Arc;

/// The user who moderates every room.
pub const MODERATOR: &str = "user-0";

/// What a client of the chat protocol may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Join,
    Leave,
    Message,
    Resend,
    Private,
    Signal,
    PrivateSignal,
    History,
    Who,
    Heartbeat,
    Ping,
    Wrong,
    Stall,
    Disconnect,
    Delete,
    Kick,
    Ban,
    Unban,
}

impl Action {
    /// Every action, in the order of the weights.
    pub const ALL: [Action; 18] = [
        Action::Join,
        Action::Leave,
        Action::Message,
        Action::Resend,
        Action::Private,
        Action::Signal,
        Action::PrivateSignal,
        Action::History,
        Action::Who,
        Action::Heartbeat,
        Action::Ping,
        Action::Wrong,
        Action::Stall,
        Action::Disconnect,
        Action::Delete,
        Action::Kick,
        Action::Ban,
        Action::Unban,
    ];
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Plan {
    pub shard_count: u16,
    pub limits: Limits,
    pub faults: Faults,
    /// Sends of room frames in one turn of a shard.
    pub send_count: u32,
    pub step_count: usize,
    /// Longest time of a step, in milliseconds.
    pub step_ms_max: usize,
    /// How bad the disk is, where there is one.
    pub disk: Option<DiskFaults>,
    /// How often the clock jumps, in cases of 1000.
    pub jumps: u32,
    pub named_count: usize,
    pub guest_count: usize,
    /// Most connections that one named user has at a time.
    pub devices_per_user: usize,
    pub room_count: usize,
    pub relay_count: usize,
    pub echo_count: usize,
    pub hostile_count: usize,
    pub weights: Vec<u32>,
    /// Most users of a room, where that is bounded.
    pub members_max: Option<u32>,
    /// How often a client does something, in cases of 1000 of its steps.
    pub activity: u32,
    /// Most actions at once.
    pub burst_count: usize,
    /// Longest content, in bytes.
    pub content_bytes_max: usize,
    /// All contents together, in bytes, after which they are short.
    pub content_bytes: usize,
    /// Clients that read everything at once, in cases of 1000.
    pub eager_clients: u32,
    /// Clients that offer permessage-deflate, in cases of 1000.
    pub deflating_clients: u32,
    /// Named clients that speak before they are welcomed, in cases of 1000.
    pub impatient_clients: u32,
    /// Whether the server stops at the end, while everyone is there.
    pub is_stopped: bool,
    /// Buffers of clients that are not eager are at most so large, in bytes.
    pub buffer_bytes_max: usize,
    /// Longest delay of a client's bytes, in milliseconds.
    pub delay_ms_max: u64,
    /// How often sends are cut.
    pub cut_sends: u32,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(rng: &mut Rng) -> Plan {
        let is_storm = rng.chance(10);
        let plan = Plan::usual(rng);
        if is_storm { plan.storm() } else { plan }
    }

    /// The same with passes of a few sends, which take many turns.
    pub fn in_small_slices(self, rng: &mut Rng) -> Plan {
        Plan {
            send_count: *rng.pick(&[1, 2, 5]),
            ..self
        }
    }

    /// So much at once that even what is bounded in megabytes is full.
    fn storm(self) -> Plan {
        Plan {
            shard_count: 2,
            limits: Limits {
                message_bytes_max: 16 * 1024,
                name_hold_days: 1,
                ..Limits::default()
            },
            faults: Faults {
                mail_delay_ms_max: 300,
                crashes: self.faults.crashes,
                ..Faults::default()
            },
            step_count: 130,
            step_ms_max: 1,
            jumps: 0,
            named_count: 8,
            devices_per_user: 2,
            room_count: 1,
            hostile_count: 0,
            weights: vec![2, 0, 20, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            activity: 1000,
            content_bytes_max: 14_000,
            burst_count: 40,
            content_bytes: 16_000_000,
            eager_clients: 1000,
            delay_ms_max: 0,
            ..self
        }
    }

    fn usual(rng: &mut Rng) -> Plan {
        let disk = rng.chance(500).then(|| disk(rng));
        let crashes = match disk {
            Some(_) => *rng.pick(&[0, 2, 5, 20]),
            None => 0,
        };
        let mut weights = weights(rng);
        if crashes > 0 {
            // Who comes back joins again, and repeats what was not acknowledged.
            (weights[0], weights[3]) = (weights[0].max(20), weights[3].max(15));
        }
        // A relay loses what it held; that nobody missed anything can only be said of one that lives on.
        let relay_counts: &[usize] = if crashes > 0 { &[0] } else { &[0, 0, 2, 4] };
        Plan {
            disk,
            shard_count: *rng.pick(&[1, 1, 2, 2, 3]),
            limits: limits(rng),
            send_count: SEND_COUNT_PER_TURN,
            faults: Faults {
                crashes,
                ..faults(rng)
            },
            step_count: *rng.pick(&[200, 400, 700]),
            step_ms_max: *rng.pick(&[1, 5, 20, 60]),
            jumps: *rng.pick(&[0, 0, 2, 20]),
            named_count: rng.between(1, 4),
            guest_count: rng.below(3),
            devices_per_user: *rng.pick(&[1, 1, 2, 3]),
            room_count: *rng.pick(&[1, 1, 2, 4]),
            relay_count: *rng.pick(relay_counts),
            echo_count: *rng.pick(&[0, 0, 1]),
            hostile_count: *rng.pick(&[0, 0, 1, 3]),
            weights,
            members_max: None,
            activity: *rng.pick(&[50, 200, 500]),
            burst_count: 8,
            content_bytes: 500_000,
            content_bytes_max: *rng.pick(&[20, 20, 300, 3_000, 12_000]),
            eager_clients: *rng.pick(&[0, 300, 700, 1000]),
            deflating_clients: *rng.pick(&[0, 0, 500, 1000]),
            impatient_clients: *rng.pick(&[0, 0, 500]),
            is_stopped: rng.chance(300),
            buffer_bytes_max: *rng.pick(&[64, 300, 2_000, 30_000]),
            delay_ms_max: *rng.pick(&[0, 3, 40]),
            cut_sends: *rng.pick(&[0, 0, 50, 400]),
        }
    }

    /// Keeps some users out of rooms in a third of the seeds. What is decided here has a chance of its own, so that the
    /// other seeds mean what they meant without it.
    pub fn guard(&mut self, rng: &mut Rng) {
        if !rng.chance(333) {
            return;
        }
        self.members_max = *rng.pick(&[None, None, Some(1), Some(2)]);
        self.impatient_clients = *rng.pick(&[0, 500, 1000]);
        let [.., ban, unban] = &mut self.weights[..] else {
            return;
        };
        (*ban, *unban) = *rng.pick(&[(0, 0), (3, 3), (12, 4)]);
    }

    /// What the server is told.
    pub fn settings(&self) -> Settings {
        Settings {
            limits: self.limits.clone(),
            endpoints: Endpoints {
                raw: true,
                echo: true,
                has_admin: false,
            },
            deflate: true,
            room_rules: Arc::new(RoomRules::new(vec![RoomRule {
                pattern: Pattern::new("*"),
                join: Who::All,
                read: Who::All,
                write: Who::All,
                moderate: Who::users([MODERATOR.into()]),
                is_private: false,
                members_max: self.members_max,
                slow_mode_ms: None,
            }])),
            ..Settings::default()
        }
    }

    /// What the limits excuse.
    pub fn excuses(&self) -> Excuses {
        Excuses {
            tail_bytes_max: self.limits.tail_bytes_max,
            inbox_bytes_max: self.limits.inbox_bytes_max,
            few_rooms: self.limits.room_count_max < 1000
                || self.limits.rooms_per_connection_max < 100,
            few_members: self.members_max.is_some(),
            has_bans: self.weights.get(Action::Ban as usize) > Some(&0),
            few_names: self.limits.name_count_max < 1000,
            strict_stalls: self.limits.stalled_bytes_max < 1 << 20,
            is_durable: self.disk.is_some(),
            // To a server that stood still it looks as if the disk had.
            slow_disk: self
                .disk
                .is_some_and(|disk| disk.commit_ms_max > 1_000 || self.jumps > 0),
            has_jumps: self.jumps > 0,
            failing_disk: self
                .disk
                .is_some_and(|disk| disk.commits + disk.writes + disk.reads > 0),
        }
    }

    /// The kernel of one connection; an eager client's has room for everything.
    pub fn quality(&self, is_eager: bool, rng: &mut Rng) -> Quality {
        let delay_ms_max = self.delay_ms_max;
        if is_eager {
            return Quality {
                delay_ms_max,
                ..Quality::IDEAL
            };
        }
        Quality {
            up_bytes_max: rng.between(16, self.buffer_bytes_max.max(200)),
            down_bytes_max: rng.between(8, self.buffer_bytes_max),
            delay_ms_max,
            cut_sends: self.cut_sends,
        }
    }
}

fn weights(rng: &mut Rng) -> Vec<u32> {
    let usual = [8, 3, 30, 8, 10, 4, 3, 4, 2, 1, 2, 2, 3, 3];
    let mut weights: Vec<u32> = usual
        .iter()
        .map(|weight| match rng.below(5) {
            0 => 0,
            1 => weight * 4,
            _ => *weight,
        })
        .collect();
    // Without these nothing happens at all.
    weights[0] = weights[0].max(2);
    weights[2] = weights[2].max(2);
    // Who looks back deletes as well, and who asks who is there takes others out.
    weights.extend([weights[7], weights[8], 0, 0]);
    weights
}

fn faults(rng: &mut Rng) -> Faults {
    Faults {
        spurious_wakes: *rng.pick(&[0, 0, 0, 100]),
        spurious_events: *rng.pick(&[0, 0, 100]),
        late_events: *rng.pick(&[0, 0, 200]),
        slow_shards: *rng.pick(&[0, 0, 300, 800]),
        mail_delay_ms_max: *rng.pick(&[0, 0, 10, 100]),
        crashes: 0,
    }
}

fn disk(rng: &mut Rng) -> DiskFaults {
    let is_failing = rng.chance(400);
    let mut often = |per_mille: &[u32]| if is_failing { *rng.pick(per_mille) } else { 0 };
    let (commits, writes) = (often(&[0, 30, 200]), often(&[0, 0, 20]));
    let (recoveries, reads) = (often(&[0, 0, 500]), often(&[0, 100]));
    DiskFaults {
        commits,
        writes,
        recoveries,
        reads,
        trims: *rng.pick(&[0, 0, 100]),
        commit_ms_max: *rng.pick(&[0, 0, 5, 50, 400, 8_000]),
        read_ms_max: *rng.pick(&[0, 0, 20, 300]),
    }
}

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        connection_count_max: *rng.pick(&[8, 10_000, 10_000, 10_000]),
        message_bytes_max: 16 * 1024,
        room_count_max: *rng.pick(&[6, 100_000, 100_000, 100_000]),
        rooms_per_connection_max: *rng.pick(&[2, 100, 100]),
        presence_events_max: *rng.pick(&[0, 2, 100]),
        name_count_max: *rng.pick(&[3, 1_000_000, 1_000_000, 1_000_000]),
        names_per_address_max: 20_000,
        name_hold_days: 1,
        inbox_bytes_max: *rng.pick(&[2_000, 100_000, 1 << 20]),
        tail_bytes_max: *rng.pick(&[1, 20_000, 100_000, 256 * 1024]),
        log_bytes_max: *rng.pick(&[300_000, 1 << 28, 1 << 28, 1 << 28]),
        stalled_bytes_max: *rng.pick(&[1, 5_000, 1 << 24, 1 << 24]),
        heartbeat_ms: *rng.pick(&[2_000, 25_000]),
        handshake_ms: 10_000,
        http_idle_ms: 5_000,
        close_ms: 5_000,
        drain_ms: 10_000,
        presence_debounce_ms: *rng.pick(&[100, 3_000]),
        presence_count_ms: *rng.pick(&[200, 5_000]),
        room_hold_ms: *rng.pick(&[100, 2_000, 60_000]),
        ..Limits::default()
    }
}
