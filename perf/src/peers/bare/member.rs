//! One connection of the bare server.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

use super::{answer, requested};
use crate::wire;

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its request has not come yet.
    Http,
    /// It is in the room.
    Room,
    /// What it sends comes back.
    Echo,
    /// It is in another room, in which nobody speaks.
    Aside,
}

/// See the [module](self).
pub struct Member {
    stream: TcpStream,
    mode: Mode,
    carry: Vec<u8>,
    unsent: Vec<u8>,
    /// When it is pinged next, where anybody is.
    pub ping_tick: u32,
}

/// Bytes that one member may leave unread before it is closed.
const UNSENT_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Member {
    /// A connection that was just accepted.
    pub fn new(stream: TcpStream) -> Member {
        Member {
            stream,
            mode: Mode::Http,
            carry: Vec::new(),
            unsent: Vec::new(),
            ping_tick: 0,
        }
    }

    /// See [`Mode`].
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether something waits for the socket to take more.
    pub fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads once. Returns how many bytes there are, those left over last time included, and whether the socket is
    /// empty now.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn read(&mut self, scratch: &mut [u8]) -> io::Result<(usize, bool)> {
        let kept = self.carry.len();
        scratch[..kept].copy_from_slice(&self.carry);
        match self.stream.read(&mut scratch[kept..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.carry.clear();
                Ok((kept + count, kept + count < scratch.len()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok((0, true)),
            Err(error) => Err(error),
        }
    }

    /// Takes what was read: appends what is to be sent on, as frames of a server, to `frames`.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn take(&mut self, bytes: &mut [u8], frames: &mut Vec<u8>) -> io::Result<()> {
        let mut at = 0;
        if self.mode == Mode::Http && !bytes.is_empty() {
            let Some((end, mode)) = requested(bytes) else {
                self.carry.extend_from_slice(bytes);
                return Ok(());
            };
            self.mode = mode;
            self.send(answer().as_bytes())?;
            at = end;
        }
        while let Some(head) = wire::head(bytes.get(at..).unwrap_or_default())? {
            let payload = &mut bytes[at + head.start..at + head.end];
            match head.opcode {
                wire::TEXT | wire::BINARY => {
                    unmask(payload, head.mask.unwrap_or_default());
                    wire::encode_head(head.opcode, payload.len(), frames);
                    frames.extend_from_slice(payload);
                }
                wire::CLOSE => return Err(ErrorKind::UnexpectedEof.into()),
                // Nobody here waits for a sign of life.
                _ => {}
            }
            at += head.end;
        }
        self.carry
            .extend_from_slice(bytes.get(at..).unwrap_or_default());
        Ok(())
    }

    /// Sends bytes, now or later.
    ///
    /// # Errors
    ///
    /// The connection is over, or too far behind.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = if self.is_blocked() {
            0
        } else {
            self.write(bytes)?
        };
        self.unsent
            .extend_from_slice(bytes.get(count..).unwrap_or_default());
        if self.unsent.len() > UNSENT_BYTES_MAX {
            return Err(ErrorKind::OutOfMemory.into());
        }
        Ok(())
    }

    /// Sends what waits.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn flush(&mut self) -> io::Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        let count = self.write(&unsent)?;
        self.unsent = unsent;
        self.unsent.drain(..count);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut()
            .zip(mask)
            .for_each(|(byte, mask)| *byte ^= mask);
    }
    words
        .into_remainder()
        .iter_mut()
        .zip(mask)
        .for_each(|(byte, mask)| *byte ^= mask);
}
