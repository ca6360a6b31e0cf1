//! Several clients in rooms, inboxes and relays of one shard or two: they join, leave, send, page, stall, go and come
//! back, in any order and in any number at once.
//!
//! What must hold, besides what [`connection`](super::connection) asks for: within a log every reader sees the same
//! messages under the same numbers, one after the other, without a gap that was not told and without a duplicate; what
//! was acknowledged stands at its place; and once everyone reads, everyone has everything.

use super::chatter::Chatter;
use super::ledger::Ledger;
use super::world::World;
use arbitrary::{Arbitrary, Unstructured};

/// One thing that happens. In an input each is a byte whose low bits choose, then the client and the operands. A byte
/// from 128 on lets it happen together with what follows, before the shards get a turn.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    /// `a`: connects, or connects again: through which door, with or without compression, on which shard.
    Connect(u8),
    /// `b`: joins a room: which, with or without `since`, with or without its echo.
    Join(u8),
    /// `c`: leaves a room.
    Leave(u8),
    /// `d`: sends to a room: which, how much.
    Message(u8, u8),
    /// `e`: sends to a user: whom, how much.
    Private(u8, u8),
    /// `f`: signals to a room: which, how much.
    Signal(u8, u8),
    /// `g`: pages a log.
    History(u8),
    /// `h`: asks who is in a room.
    Who(u8),
    /// `i`: sends a message through a relay or an echo: how much.
    Bytes(u8),
    /// `j`: reads so many bytes, times 64.
    Read(u8),
    /// `k`: lets so many bytes wait, times 64; 255: any number.
    Window(u8),
    /// `l`: cuts the connection, or ends it in order.
    Cut(u8),
    /// `m`: time goes by.
    Pass(u8),
    /// `n`: sends a message again under its `id`.
    Resend(u8),
    /// `o`: sends a message to a room many times over.
    Flood(u8, u8),
    /// `p`: says something that is refused.
    Wrong(u8),
}

impl<'a> Arbitrary<'a> for Operation {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Operation> {
        Ok(match u.arbitrary::<u8>()? % 16 {
            1 => Operation::Connect(u.arbitrary()?),
            2 => Operation::Join(u.arbitrary()?),
            3 => Operation::Leave(u.arbitrary()?),
            4 => Operation::Message(u.arbitrary()?, u.arbitrary()?),
            5 => Operation::Private(u.arbitrary()?, u.arbitrary()?),
            6 => Operation::Signal(u.arbitrary()?, u.arbitrary()?),
            7 => Operation::History(u.arbitrary()?),
            8 => Operation::Who(u.arbitrary()?),
            9 => Operation::Bytes(u.arbitrary()?),
            10 => Operation::Read(u.arbitrary()?),
            11 => Operation::Window(u.arbitrary()?),
            12 => Operation::Cut(u.arbitrary()?),
            13 => Operation::Pass(u.arbitrary()?),
            14 => Operation::Resend(u.arbitrary()?),
            15 => Operation::Flood(u.arbitrary()?, u.arbitrary()?),
            _ => Operation::Wrong(u.arbitrary()?),
        })
    }
}

/// Milliseconds that go by.
const TIMES: [u64; 6] = [1, 101, 1_000, 3_001, 10_001, 26_000];

/// Bytes of padding in what is sent.
const SIZES: [usize; 6] = [0, 10, 130, 3_000, 18_000, 66_000];

/// Clients; two of them are the same user.
const CLIENT_COUNT: usize = 5;

/// Input: a byte whose lowest bit gives one shard or two, then, for each operation, its bytes behind the client's.
pub fn run(data: &[u8]) {
    let Some((&shards, data)) = data.split_first() else {
        return;
    };
    let mut play = Play {
        world: World::new(u16::from(shards % 2) + 1),
        ledger: Ledger::default(),
        clients: (0..CLIENT_COUNT).map(Chatter::new).collect(),
    };
    let mut input = Unstructured::new(data);
    while !input.is_empty() {
        let next = input
            .arbitrary::<u8>()
            .and_then(|client| Ok((client, input.arbitrary()?)));
        let Ok((client, operation)) = next else {
            break;
        };
        play.perform(usize::from(client) % CLIENT_COUNT, &operation);
        if client < 128 {
            play.settle();
        }
    }
    play.finish();
}

struct Play {
    world: World,
    ledger: Ledger,
    clients: Vec<Chatter>,
}

impl Play {
    fn perform(&mut self, place: usize, operation: &Operation) {
        if let Operation::Connect(how) = *operation {
            return self.connect(place, how);
        }
        let (client, ledger) = (&mut self.clients[place], &mut self.ledger);
        let size = |which: u8| SIZES[usize::from(which) % SIZES.len()];
        match *operation {
            Operation::Connect(_) => {}
            Operation::Join(how) => client.join(how),
            Operation::Leave(room) => client.leave(room),
            Operation::Message(room, which) => client.message(room, size(which), ledger),
            Operation::Private(user, which) => client.private(user, size(which), ledger),
            Operation::Signal(room, which) => client.signal(room, size(which)),
            Operation::History(how) => client.history(how),
            Operation::Who(room) => client.who(room),
            Operation::Bytes(which) => client.bytes(size(which), ledger),
            Operation::Read(bytes) => client.read(usize::from(bytes) * 64, ledger),
            Operation::Window(255) => client.open_window(usize::MAX),
            Operation::Window(bytes) => client.open_window(usize::from(bytes) * 64),
            Operation::Cut(how) => client.cut(how),
            Operation::Pass(which) => self.world.pass(TIMES[usize::from(which) % TIMES.len()]),
            Operation::Resend(which) => client.resend(which, ledger),
            Operation::Flood(room, which) => {
                (0..which % 16).for_each(|_| client.message(room, size(which / 16), ledger));
            }
            Operation::Wrong(which) => client.wrong(which),
        }
    }

    fn connect(&mut self, place: usize, how: u8) {
        let client = &mut self.clients[place];
        client.cut(0);
        client.forget();
        // The shard has to notice, or there would be too many connections.
        self.world.settle();
        let pipe = self.world.connect(usize::from(how >> 7));
        self.clients[place].enter(pipe, how);
    }

    /// Turns, and clients that read at their own pace: those without a window read everything.
    fn settle(&mut self) {
        self.world.settle();
        for client in self.clients.iter_mut().filter(|client| client.is_eager()) {
            client.read(usize::MAX, &mut self.ledger);
        }
    }

    /// Everyone reads everything; then it is all there; then the server stops.
    fn finish(&mut self) {
        for client in &mut self.clients {
            client.open_window(usize::MAX);
        }
        // Credit of replicas and retries take some milliseconds.
        for _ in 0..60 {
            self.settle();
            self.world.pass(1);
        }
        self.settle();
        for client in &self.clients {
            client.check_complete(&self.ledger);
        }
        self.ledger.check();
        self.world.stop();
        for client in &mut self.clients {
            client.read(usize::MAX, &mut self.ledger);
            client.forget();
        }
    }
}
