//! What is measured, with whom, and how the servers are started for it.

use super::shown::{self, Shown};
use super::task::{Length, Task};
use crate::args::Contestant;
use crate::idle;
use crate::load::Pace;
use crate::room::Dialect;
use crate::server::{Choice, Setting};

/// One measurement.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// What happens in it.
    pub title: String,
    /// What is done.
    pub task: Task,
    /// Figures that the table shows.
    pub shown: &'static [Shown],
    /// Whether it is measured in every round.
    pub is_repeated: bool,
    /// Threads of roomcast, where it is not what was asked for.
    shard_count: Option<u16>,
    /// Whether each thread is kept on a core of its own.
    is_pinned: bool,
    /// Whether TLS is spoken, which only roomcast does.
    is_tls: bool,
}

/// Members of the rooms whose cost is drawn against their number.
pub const MEMBER_COUNTS: [u32; 5] = [10, 100, 500, 1000, 5000];
/// Messages under way in the rooms whose cost is drawn against them.
pub const IN_FLIGHT_COUNTS: [u32; 5] = [1, 4, 16, 64, 256];
/// Connections at which memory is drawn.
pub const IDLE_COUNTS: [u32; 5] = [500, 1000, 5000, 10_000, 18_000];
/// The same with TLS: the generator has a session for each as well.
const TLS_IDLE_COUNTS: [u32; 3] = [2000, 5000, 10_000];

/// All of them.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for members in MEMBER_COUNTS {
        let title = format!("{members} members, 1 message in flight");
        let task = fan_out(members, 1, window(1));
        rows.push(row(
            &format!("members-{members}"),
            &title,
            task,
            shown::CLOSED,
        ));
    }
    // The first of them is the room of 500 above.
    for in_flight in &IN_FLIGHT_COUNTS[1..] {
        let title = format!("500 members, {in_flight} messages in flight");
        let task = fan_out(500, 1, window(*in_flight));
        rows.push(row(
            &format!("in-flight-{in_flight}"),
            &title,
            task,
            shown::CLOSED,
        ));
    }
    rows.extend(busy());
    for in_flight in [1, 16] {
        let name = format!("deflate-{in_flight}");
        let title = format!("500 members with permessage-deflate, {in_flight} in flight");
        let task = Task::Fanout {
            members: 500,
            publishers: 1,
            pace: window(in_flight),
            length: Length::Content,
            deflate: true,
        };
        rows.push(row(&name, &title, task, shown::LENGTHS));
    }
    rows.extend(open());
    rows.extend(others());
    rows.extend(with_tls());
    rows
}

/// Rooms in which many publish, and those that two threads share.
fn busy() -> [Row; 4] {
    let busy = "500 members, 64 of them with 64 messages in flight each";
    let two = "roomcast with 2 threads, each on a core, one of them the generator's";
    let on_two_cores = |row: Row| Row {
        shard_count: Some(2),
        is_pinned: true,
        ..row
    };
    let (sixteen, many) = (fan_out(500, 1, window(16)), fan_out(500, 64, window(64)));
    let as_long = Task::Fanout {
        members: 500,
        publishers: 64,
        pace: window(64),
        length: Length::Wire,
        deflate: false,
    };
    [
        row("busy", busy, many, shown::CLOSED),
        row(
            "busy-wire",
            &format!("{busy}, all messages as long as those of `/ws`"),
            as_long,
            shown::LENGTHS,
        ),
        on_two_cores(row(
            "in-flight-16-2-shards",
            &format!("500 members, 16 messages in flight; {two}"),
            sixteen,
            shown::CLOSED,
        )),
        on_two_cores(row(
            "busy-2-shards",
            &format!("{busy}; {two}"),
            many,
            shown::CLOSED,
        )),
    ]
}

/// Rooms in which messages are due at fixed times.
fn open() -> Vec<Row> {
    let title = "5,000 members, 20 messages a second";
    let task = fan_out(5000, 1, Pace::Open { rate_per_s: 20 });
    let latency = row("latency", title, task, shown::OPEN);
    let mut rows = vec![
        latency.clone(),
        Row {
            name: "latency-2-shards".into(),
            title: format!("{title}, 2 threads"),
            shard_count: Some(2),
            ..latency
        },
    ];
    for members in [500, 5000] {
        let title = format!(
            "{members} members, five times as many deliveries as one write for each allows"
        );
        let task = Task::Overload { members };
        rows.push(row(
            &format!("overload-{members}"),
            &title,
            task,
            shown::OVERLOAD,
        ));
    }
    rows
}

fn others() -> [Row; 6] {
    [
        row(
            "stalled",
            "900 members, whom 100 join who never read",
            Task::Stalled,
            shown::STALLED,
        ),
        row(
            "arrivals",
            "500 members, while 15,000 others join another room in 2 s",
            Task::Arrivals,
            shown::ARRIVALS,
        ),
        row(
            "burst",
            "10,000 connections at once",
            Task::Burst,
            shown::BURST,
        ),
        row(
            "echo-1",
            "echo, 100 connections, 1 in flight",
            Task::Echo { depth: 1 },
            shown::ECHO,
        ),
        row(
            "echo-16",
            "echo, 100 connections, 16 in flight",
            Task::Echo { depth: 16 },
            shown::ECHO,
        ),
        row(
            "idle",
            "idle members",
            Task::Idle(&IDLE_COUNTS),
            shown::IDLE,
        ),
    ]
}

/// The rows that tell what TLS costs, beside those of the same name without it.
fn with_tls() -> impl Iterator<Item = Row> {
    let tls_idle = Row {
        task: Task::Idle(&TLS_IDLE_COUNTS),
        shown: shown::TLS_IDLE,
        ..row("idle", "idle members", Task::Burst, shown::BURST)
    };
    let [_, _, burst, echo_1, echo_16, _] = others();
    let in_flight = |name: &str, title: &str, count| {
        row(name, title, fan_out(500, 1, window(count)), shown::CLOSED)
    };
    let rows = [
        in_flight("members-500", "500 members, 1 message in flight", 1),
        in_flight("in-flight-16", "500 members, 16 messages in flight", 16),
        echo_1,
        echo_16,
        burst,
        tls_idle,
    ];
    rows.into_iter().map(|row| Row {
        name: format!("tls-{}", row.name),
        title: format!("TLS: {}", row.title),
        is_tls: true,
        ..row
    })
}

/// Memory differs so little between rounds, and takes so long, that it is repeated only where it is asked for.
fn row(name: &str, title: &str, task: Task, shown: &'static [Shown]) -> Row {
    Row {
        name: name.into(),
        title: title.into(),
        task,
        shown,
        is_repeated: !matches!(task, Task::Idle(_)),
        shard_count: None,
        is_pinned: false,
        is_tls: false,
    }
}

fn window(in_flight_count: u32) -> Pace {
    Pace::Closed { in_flight_count }
}

fn fan_out(members: u32, publishers: u32, pace: Pace) -> Task {
    Task::Fanout {
        members,
        publishers,
        pace,
        length: Length::Content,
        deflate: false,
    }
}

impl Row {
    /// Whether one of these names means it: its own, or what stands before a dash in it. No name means all.
    pub fn is_named(&self, names: &[String]) -> bool {
        let is_mine = |name: &String| {
            let rest = self.name.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        names.is_empty() || names.iter().any(is_mine)
    }

    /// Whether it is measured in a round.
    pub fn is_due(&self, round: u32) -> bool {
        round == 1 || self.is_repeated
    }

    /// Whether a server takes part.
    pub fn takes(&self, contestant: &Contestant) -> bool {
        let is_roomcast = matches!(contestant.choice, Choice::Roomcast(_));
        let is_chat = contestant.room.dialect == Dialect::Chat;
        if (self.is_tls || self.shard_count.is_some()) && !is_roomcast {
            return false;
        }
        match self.task {
            Task::Echo { .. } => !is_chat,
            Task::Fanout { deflate, .. } => !deflate || is_roomcast,
            Task::Overload { .. }
            | Task::Stalled
            | Task::Arrivals
            | Task::Burst
            | Task::Idle(_) => true,
        }
    }

    /// Who shares the generator's cores, where the server has them as well.
    pub fn who_shares(&self, setting: &Setting) -> Option<String> {
        let mut cores = setting.server_cores.clone();
        cores.sort_unstable();
        cores.dedup();
        let is_shared = |core: &&usize| setting.client_cores.contains(core);
        let core = cores.iter().filter(is_shared).min()?;
        let place = cores.iter().position(|other| other == core)?;
        Some(match self.is_pinned {
            true => format!("the generator's core {core} is that of shard {place} too"),
            false => {
                format!("the generator's core {core} is open to all threads of the server too")
            }
        })
    }

    /// How a server is started for it: two threads have all cores.
    pub fn setting(&self, mut setting: Setting) -> Setting {
        if let Some(shard_count) = self.shard_count {
            setting.shard_count = shard_count;
            let clients = setting.client_cores.clone();
            setting.server_cores.extend(clients);
        }
        if self.is_pinned {
            setting.arguments.push("--pin".into());
        }
        setting.is_tls |= self.is_tls;
        match self.task {
            Task::Fanout { deflate: true, .. } => setting.arguments.push("--deflate".into()),
            Task::Idle(_) => setting.ping_ms = Some(idle::PING_MS),
            Task::Fanout { .. }
            | Task::Overload { .. }
            | Task::Stalled
            | Task::Arrivals
            | Task::Burst
            | Task::Echo { .. } => {}
        }
        setting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Storage;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<String> = all().into_iter().map(|row| row.name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn rows_are_chosen_by_the_beginning_of_their_names() {
        let chosen = |name: &str| {
            let names = [name.to_owned()];
            all().iter().filter(|row| row.is_named(&names)).count()
        };
        assert_eq!(chosen("members"), MEMBER_COUNTS.len());
        assert_eq!(chosen("members-100"), 1);
        assert_eq!(chosen("latency"), 2);
        assert_eq!(chosen("overload"), 2);
        assert_eq!(chosen("nothing"), 0);
    }

    #[test]
    fn a_row_on_two_cores_says_who_shares_the_generators() {
        let setting = Setting {
            server_cores: vec![0],
            client_cores: vec![1],
            shard_count: 1,
            is_tls: false,
            arguments: Vec::new(),
            storage: Storage::Memory,
            ping_ms: None,
        };
        let told = |name: &str| {
            let row = all().into_iter().find(|row| row.name == name).unwrap();
            row.who_shares(&row.setting(setting.clone()))
        };
        assert_eq!(told("busy"), None);
        let expected = "the generator's core 1 is that of shard 1 too";
        assert_eq!(told("busy-2-shards").as_deref(), Some(expected));
        let expected = "the generator's core 1 is open to all threads of the server too";
        assert_eq!(told("latency-2-shards").as_deref(), Some(expected));
    }
}
