//! Clients that mean harm. What they are told is only looked at as far as that the server keeps to RFC 6455.

use crate::book::Book;
use crate::connection::{Connection, Pace, Stage};
use crate::network::Network;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::wire;
use roomcast::ws::Opcode;
use roomcast::ws::frame::encode_masked;

/// What one of them is up to.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Bytes that are no request.
    NotHttp,
    /// A request that never ends.
    Dripping,
    /// Requests for everything but a WebSocket, faster than they are answered.
    Requests,
    /// Bytes that are no frames.
    NotFrames,
    /// Frames that break a rule each.
    BadFrames,
    /// Text that is not JSON, or too much of it.
    BadJson,
    /// Pings, and no reading.
    Pings,
    /// Commands with long answers, and no reading.
    LongAnswers,
    /// Fragments without an end.
    Fragments,
}

const ATTACKS: [Attack; 9] = [
    Attack::NotHttp,
    Attack::Dripping,
    Attack::Requests,
    Attack::NotFrames,
    Attack::BadFrames,
    Attack::BadJson,
    Attack::Pings,
    Attack::LongAnswers,
    Attack::Fragments,
];

/// See the [module](self).
pub struct Hostile {
    rng: Rng,
    attack: Attack,
    pub connection: Option<Connection>,
}

impl Hostile {
    /// One that has not connected yet.
    pub fn new(mut rng: Rng) -> Hostile {
        let attack = *rng.pick(&ATTACKS);
        Hostile {
            rng,
            attack,
            connection: None,
        }
    }

    /// Attacks.
    ///
    /// # Errors
    ///
    /// The server sent what no server may send.
    pub fn step(&mut self, plan: &Plan, net: &mut Network, book: &mut Book) -> Result<(), String> {
        if self.connection.is_none() {
            if self.rng.chance(100) {
                self.connect(plan, net, book);
            }
            return Ok(());
        }
        let rooms = &book.rooms;
        if let Some(connection) = &mut self.connection {
            connection.read(net.now_ms, &mut self.rng)?;
            if connection.stage != Stage::Over && connection.unsent_bytes() < 100_000 {
                let bytes = bytes(self.attack, rooms, &mut self.rng);
                connection.send_raw(&bytes);
            }
            connection.flush(net.now_ms);
            if self.rng.chance(5) {
                connection.reset();
            }
            if connection.stage == Stage::Over {
                self.connection = None;
            }
        }
        Ok(())
    }

    fn connect(&mut self, plan: &Plan, net: &mut Network, book: &mut Book) {
        self.attack = *self.rng.pick(&ATTACKS);
        let quality = plan.quality(self.rng.chance(500), &mut self.rng);
        let link = net.connect(self.rng.below(usize::from(plan.shard_count)), quality);
        let number = book.next_conn();
        book.tell(|| format!("  c{number} attacks: {:?}", self.attack));
        let pace = match self.attack {
            Attack::Pings | Attack::LongAnswers => *self.rng.pick(&[
                Pace::Deaf,
                Pace::Slow { bytes_max: 50 },
                Pace::Stalled {
                    until_ms: net.now_ms + 1000,
                },
            ]),
            _ => *self.rng.pick(&[Pace::Eager, Pace::Deaf]),
        };
        let target = *self.rng.pick(&["/ws", "/ws?hello", "/raw/r0", "/echo"]);
        let target = match self.attack {
            Attack::LongAnswers => "/ws?room=room-0",
            _ => target,
        };
        let mut connection = Connection::new(number, link, target, pace, self.rng.chance(300));
        connection.is_excused = true;
        if matches!(
            self.attack,
            Attack::NotHttp | Attack::Dripping | Attack::Requests
        ) {
            connection.unsay();
        }
        self.connection = Some(connection);
    }
}

/// The next bytes of an attack.
fn bytes(attack: Attack, rooms: &[String], rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    match attack {
        Attack::NotHttp => {
            for _ in 0..rng.below(200) {
                out.push(rng.bits() as u8);
            }
        }
        Attack::Dripping => out.extend_from_slice(b"GET / HTTP/1.1\r\nHost: sim\r\nX: "),
        Attack::Requests => {
            for path in ["/", "/healthz", "/metrics", "/readyz"] {
                out.extend_from_slice(
                    format!("GET {path} HTTP/1.1\r\nHost: sim\r\n\r\n").as_bytes(),
                );
            }
        }
        Attack::NotFrames => {
            for _ in 0..rng.below(50) {
                out.push(rng.bits() as u8);
            }
        }
        Attack::BadFrames => bad_frame(&mut out, rng),
        Attack::BadJson => {
            let text = match rng.below(5) {
                0 => "[".repeat(5_000),
                1 => "{\"type\":\"join\",\"room_id\":\"\\ud800\"}".to_owned(),
                2 => "{} ".repeat(2_000),
                3 => "{\"type\":".to_owned(),
                _ => format!(
                    "{{\"type\":\"message\",\"content\":{}1}}",
                    " ".repeat(10_000)
                ),
            };
            wire::put(&mut out, Opcode::Text, text.as_bytes(), rng);
        }
        Attack::Pings => {
            for _ in 0..100 {
                wire::put(&mut out, Opcode::Ping, &[b'p'; 125], rng);
            }
        }
        Attack::LongAnswers => {
            for room in rooms {
                let text = format!(
                    "{{\"type\":\"join\",\"room_id\":\"{room}\",\"since\":{{\"epoch\":\"\",\"seq_id\":1}}}}\
                     {{\"type\":\"history\",\"room_id\":\"{room}\",\"limit\":500}}\
                     {{\"type\":\"who\",\"room_id\":\"{room}\"}}{{\"type\":\"heartbeat\"}}"
                );
                wire::put(&mut out, Opcode::Text, text.as_bytes(), rng);
            }
        }
        Attack::Fragments => {
            let is_first = rng.chance(50);
            let opcode = if is_first {
                Opcode::Binary
            } else {
                Opcode::Continuation
            };
            encode_masked(&mut out, false, false, opcode, [7; 4], &[b'f'; 100]);
        }
    }
    out
}

fn bad_frame(out: &mut Vec<u8>, rng: &mut Rng) {
    match rng.below(8) {
        0 => out.extend_from_slice(&[0x81, 5, b'h', b'e', b'l', b'l', b'o']),
        1 => out.extend_from_slice(&[0x83, 0x80, 0, 0, 0, 0]),
        2 => encode_masked(out, true, true, Opcode::Text, [1; 4], b"reserved"),
        3 => out.extend_from_slice(&[
            0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0,
        ]),
        4 => encode_masked(out, true, false, Opcode::Ping, [2; 4], &[0; 126]),
        5 => encode_masked(out, true, false, Opcode::Text, [3; 4], &[0xff, 0xfe]),
        6 => encode_masked(out, true, false, Opcode::Close, [4; 4], &[0, 1]),
        _ => wire::put(
            out,
            Opcode::Text,
            b"{\"type\":\"who\",\"room_id\":\"x\"}",
            rng,
        ),
    }
}
