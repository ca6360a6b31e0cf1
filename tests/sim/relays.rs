//! Clients of relays and of the echo: they send bytes and hear bytes.

use crate::book::Book;
use crate::connection::{Connection, Pace, Seen, Stage};
use crate::link::Quality;
use crate::network::Network;
use crate::oracle::{Event, Purpose};
use crate::plan::Plan;
use crate::rng::Rng;
use roomcast::ws::Opcode;

/// See the [module](self).
pub struct Relay {
    purpose: Purpose,
    target: String,
    rng: Rng,
    pub connection: Option<Connection>,
    /// The upgrade was granted.
    is_upgraded: bool,
    back_at_ms: u64,
    number: u64,
}

impl Relay {
    /// A member of a relay. The recorder is there all the time and only listens.
    pub fn new(room: &str, is_recorder: bool, rng: Rng) -> Relay {
        let purpose = Purpose::Relay {
            room: room.to_owned(),
            is_recorder,
        };
        Relay::with(purpose, format!("/raw/{room}"), rng)
    }

    /// A client of the echo.
    pub fn echo(rng: Rng) -> Relay {
        Relay::with(Purpose::Echo, "/echo".to_owned(), rng)
    }

    fn with(purpose: Purpose, target: String, rng: Rng) -> Relay {
        Relay {
            purpose,
            target,
            rng,
            connection: None,
            is_upgraded: false,
            back_at_ms: 0,
            number: 0,
        }
    }

    /// Whether it only listens.
    pub fn is_recorder(&self) -> bool {
        matches!(
            self.purpose,
            Purpose::Relay {
                is_recorder: true,
                ..
            }
        )
    }

    /// Does whatever comes to its mind.
    ///
    /// # Errors
    ///
    /// A promise was broken.
    pub fn step(&mut self, plan: &Plan, net: &mut Network, book: &mut Book) -> Result<(), String> {
        let Some(connection) = &self.connection else {
            let comes = self.is_recorder() || self.rng.chance(plan.activity);
            return if comes && net.now_ms >= self.back_at_ms {
                self.connect(plan, net, book)
            } else {
                Ok(())
            };
        };
        let is_open = connection.stage == Stage::Open && connection.unsent_bytes() < 20_000;
        self.read(net.now_ms, book)?;
        if is_open && !self.is_recorder() && self.rng.chance(plan.activity) {
            match self.rng.below(20) {
                0 => self.misbehave(net.now_ms),
                _ => self.send(plan.content_bytes_max, book)?,
            }
        }
        if let Some(connection) = &mut self.connection {
            connection.flush(net.now_ms);
        }
        Ok(())
    }

    /// Reads, and reacts.
    ///
    /// # Errors
    ///
    /// A promise was broken.
    pub fn read(&mut self, now_ms: u64, book: &mut Book) -> Result<(), String> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let conn = connection.number;
        for seen in connection.read(now_ms, &mut self.rng)? {
            match seen {
                Seen::Upgraded => self.is_upgraded = true,
                Seen::Refused(503) => {}
                Seen::Refused(408) if book.has_jumps => {}
                Seen::Refused(status) => return Err(format!("c{conn} was refused with {status}")),
                Seen::Text(text) => book.note(Event::Heard {
                    conn,
                    payload: text.into_bytes(),
                })?,
                Seen::Binary(payload) => book.note(Event::Heard { conn, payload })?,
                Seen::Ping(payload) => {
                    connection.send_control(Opcode::Pong, &payload, &mut self.rng);
                }
                Seen::Ended(close) => {
                    // Time jumped before the request had come: without a word there is nothing to answer.
                    let is_late = book.has_jumps && !self.is_upgraded && close.is_none();
                    // A relay's reader may be too slow by the relay's nature, if not by its own.
                    let is_slow = matches!(close, Some(4200 | 1013));
                    let is_strict = !connection.is_excused && !is_late && !is_slow;
                    self.back_at_ms = now_ms + self.rng.below(300) as u64;
                    self.connection = None;
                    return book.note(Event::Ended {
                        conn,
                        close,
                        is_strict,
                    });
                }
            }
        }
        if connection.stage == Stage::Over {
            self.connection = None;
            return book.note(Event::Ended {
                conn,
                close: None,
                is_strict: false,
            });
        }
        Ok(())
    }

    fn connect(&mut self, plan: &Plan, net: &mut Network, book: &mut Book) -> Result<(), String> {
        let is_eager = self.is_recorder() || self.rng.chance(plan.eager_clients);
        let (quality, pace) = if self.is_recorder() {
            (Quality::IDEAL, Pace::Eager)
        } else if is_eager {
            (plan.quality(true, &mut self.rng), Pace::Eager)
        } else {
            let bytes_max = *self.rng.pick(&[10, 500, 50_000]);
            (plan.quality(false, &mut self.rng), Pace::Slow { bytes_max })
        };
        let link = net.connect(self.rng.below(usize::from(plan.shard_count)), quality);
        let conn = book.next_conn();
        let offers_deflate = self.rng.chance(plan.deflating_clients);
        let connection = Connection::new(conn, link, &self.target, pace, offers_deflate);
        self.connection = Some(connection);
        self.is_upgraded = false;
        book.note(Event::Opened {
            conn,
            purpose: self.purpose.clone(),
        })
    }

    /// Sends something that nobody has sent before.
    pub fn send(&mut self, bytes_max: usize, book: &mut Book) -> Result<(), String> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        self.number += 1;
        let mut payload = format!("r{}-{} ", connection.number, self.number).into_bytes();
        let opcode = *self.rng.pick(&[Opcode::Text, Opcode::Binary]);
        let fill = if opcode == Opcode::Text {
            b'x'
        } else {
            self.rng.bits().to_le_bytes()[0]
        };
        payload.resize(payload.len() + self.rng.below(bytes_max), fill);
        connection.send(opcode, &payload, &mut self.rng);
        let conn = connection.number;
        book.note(Event::Sent { conn, payload })
    }

    fn misbehave(&mut self, now_ms: u64) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        match self.rng.below(4) {
            0 => connection.close(&mut self.rng),
            1 => {
                connection.flush(now_ms);
                connection.cut(now_ms, &mut self.rng);
            }
            2 => connection.stall(Pace::Deaf),
            _ => connection.stall(Pace::Stalled {
                until_ms: now_ms + 3_000,
            }),
        }
    }
}
