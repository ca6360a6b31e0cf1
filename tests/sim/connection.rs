//! One connection from its client's side: bytes out of a buffer of its own, frames in, and how fast it reads.

use crate::link::{Read, SharedLink};
use crate::oracle::Conn;
use crate::rng::Rng;
use crate::wire::{self, Answer, Frame, Incoming};
use roomcast::ws::Opcode;

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Everything, at once.
    Eager,
    /// Now and then, a few bytes.
    Slow { bytes_max: usize },
    /// Not before a time.
    Stalled { until_ms: u64 },
    /// Never again.
    Deaf,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The upgrade was asked for.
    Asking,
    /// Frames go both ways.
    Open,
    /// A close was sent or received; the end is awaited.
    Closing,
    /// Nothing comes any more.
    Over,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The upgrade was granted.
    Upgraded,
    /// It was not.
    Refused(u16),
    /// A message of text.
    Text(String),
    /// A message of bytes.
    Binary(Vec<u8>),
    /// A ping, which is answered by whoever drives the connection.
    Ping(Vec<u8>),
    /// The connection is over; with the code of the server's close, if it came.
    Ended(Option<u16>),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Connection {
    pub number: Conn,
    pub link: SharedLink,
    pub stage: Stage,
    pub pace: Pace,
    /// Its client did something that excuses any end.
    pub is_excused: bool,
    /// The server's close, once it came.
    close: Option<Option<u16>>,
    /// The client has ended its half.
    has_ended: bool,
    incoming: Incoming,
    outgoing: Vec<u8>,
}

impl Connection {
    /// Asks for an upgrade.
    pub fn new(
        number: Conn,
        link: SharedLink,
        target: &str,
        pace: Pace,
        offers_deflate: bool,
    ) -> Connection {
        Connection {
            number,
            link,
            stage: Stage::Asking,
            pace,
            is_excused: pace != Pace::Eager,
            close: None,
            has_ended: false,
            incoming: Incoming::default(),
            outgoing: wire::upgrade(target, offers_deflate),
        }
    }

    /// Whether there is something to read or to write.
    pub fn has_work(&self) -> bool {
        self.stage != Stage::Over && (self.unsent_bytes() > 0 || self.link.borrow().has_news())
    }

    /// Bytes that the kernel has not taken yet.
    pub fn unsent_bytes(&self) -> usize {
        self.outgoing.len()
    }

    /// Sends a message, sometimes in pieces.
    pub fn send(&mut self, opcode: Opcode, payload: &[u8], rng: &mut Rng) {
        if self.incoming.deflates && rng.chance(500) {
            wire::put_compressed(&mut self.outgoing, opcode, payload, rng);
        } else if rng.chance(100) {
            wire::put_in_pieces(&mut self.outgoing, opcode, payload, rng);
        } else {
            wire::put(&mut self.outgoing, opcode, payload, rng);
        }
    }

    /// Sends a control frame, which is never in pieces.
    pub fn send_control(&mut self, opcode: Opcode, payload: &[u8], rng: &mut Rng) {
        wire::put(&mut self.outgoing, opcode, payload, rng);
    }

    /// Forgets what was not sent yet.
    pub fn unsay(&mut self) {
        self.outgoing.clear();
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Lets the kernel take what it can.
    pub fn flush(&mut self, now_ms: u64) {
        if self.has_ended {
            self.outgoing.clear();
        }
        if self.stage == Stage::Over || self.outgoing.is_empty() {
            return;
        }
        let taken = self.link.borrow_mut().client_send(&self.outgoing, now_ms);
        self.outgoing.drain(..taken);
    }

    /// Stops reading.
    pub fn stall(&mut self, pace: Pace) {
        self.pace = pace;
        self.is_excused = true;
    }

    /// Sends a close and waits for the server's.
    pub fn close(&mut self, rng: &mut Rng) {
        if self.stage == Stage::Open {
            let payload: &[u8] = if rng.chance(500) { &[3, 232] } else { &[] };
            wire::put(&mut self.outgoing, Opcode::Close, payload, rng);
            self.stage = Stage::Closing;
        }
        self.is_excused = true;
    }

    /// Ends the connection without a word.
    pub fn cut(&mut self, now_ms: u64, rng: &mut Rng) {
        self.is_excused = true;
        let mut link = self.link.borrow_mut();
        match rng.below(3) {
            0 => link.reset(),
            1 => link.client_close(now_ms),
            _ => {
                // Half a close: the client reads on until the server ends as well.
                link.client_end(now_ms);
                self.has_ended = true;
                self.stage = Stage::Closing;
                return;
            }
        }
        self.stage = Stage::Over;
    }

    /// Breaks the connection.
    pub fn reset(&mut self) {
        self.is_excused = true;
        self.link.borrow_mut().reset();
        self.stage = Stage::Over;
    }

    /// Reads as its pace has it.
    ///
    /// # Errors
    ///
    /// The server sent what no server may send.
    pub fn read(&mut self, now_ms: u64, rng: &mut Rng) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        if self.link.borrow().has_crashed() {
            self.is_excused = true;
            self.pace = Pace::Eager;
        }
        let count = match self.pace {
            Pace::Eager => usize::MAX,
            Pace::Slow { bytes_max } if rng.chance(500) => rng.between(1, bytes_max),
            Pace::Slow { .. } | Pace::Deaf => 0,
            Pace::Stalled { until_ms } if now_ms >= until_ms => {
                self.pace = Pace::Slow { bytes_max: 5_000 };
                0
            }
            Pace::Stalled { .. } => 0,
        };
        if self.stage == Stage::Over || count == 0 {
            return Ok(seen);
        }
        let read = self
            .link
            .borrow_mut()
            .client_recv(count, self.incoming.buffer());
        match read {
            Read::Bytes(_) => self.take_frames(&mut seen, now_ms, rng)?,
            Read::Nothing => {}
            Read::End | Read::Broken => {
                if self.incoming.is_mid() && !self.is_excused {
                    return Err(format!("c{} ended within a frame", self.number));
                }
                self.over(&mut seen, now_ms);
            }
        }
        Ok(seen)
    }

    fn take_frames(
        &mut self,
        seen: &mut Vec<Seen>,
        now_ms: u64,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let fault = |fault| format!("c{}: {fault}", self.number);
        if self.stage == Stage::Asking {
            match self.incoming.answer().map_err(fault)? {
                None => return Ok(()),
                Some(Answer::Upgraded) => {
                    self.stage = Stage::Open;
                    seen.push(Seen::Upgraded);
                }
                Some(Answer::Refused(status)) => {
                    seen.push(Seen::Refused(status));
                    self.is_excused = true;
                    self.over(seen, now_ms);
                    return Ok(());
                }
            }
        }
        while let Some(frame) = self.incoming.frame().map_err(fault)? {
            if self.close.is_some() {
                return Err(format!("c{}: {frame:?} after the close", self.number));
            }
            match frame {
                Frame::Text(text) => seen.push(Seen::Text(text)),
                Frame::Binary(payload) => seen.push(Seen::Binary(payload)),
                Frame::Ping(payload) => seen.push(Seen::Ping(payload)),
                Frame::Pong(_) => {}
                Frame::Close(code) => {
                    self.close = Some(code);
                    if self.stage == Stage::Open {
                        wire::put(&mut self.outgoing, Opcode::Close, &[3, 232], rng);
                        self.stage = Stage::Closing;
                    }
                }
            }
        }
        Ok(())
    }

    fn over(&mut self, seen: &mut Vec<Seen>, now_ms: u64) {
        self.link.borrow_mut().client_close(now_ms);
        self.stage = Stage::Over;
        seen.push(Seen::Ended(self.close.flatten()));
    }
}
