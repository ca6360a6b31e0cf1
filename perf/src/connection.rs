//! One client connection: its handshake, the frames that come, and what could not be sent yet.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::line::Line;
use crate::{deflate, wire};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP is not there yet.
    Connecting,
    /// The answer to the upgrade is awaited.
    Upgrading,
    /// The server has still to say that this is a member of the room.
    Joining,
    /// Messages come and go.
    Open,
}

/// When a connection counts as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// After the upgrade.
    Upgrade,
    /// After `joined`.
    Joined,
}

/// See the [module](self). At rest it holds no buffer.
pub struct Connection {
    line: Line,
    stage: Stage,
    /// Which of the crowd's destinations it goes to.
    route: usize,
    is_deflated: bool,
    /// The beginning of a frame that was cut.
    carry: Vec<u8>,
    /// What the socket did not take, from `unsent_at` on.
    unsent: Vec<u8>,
    unsent_at: usize,
}

impl Connection {
    /// A connection that is being made.
    pub fn new(line: Line, route: usize) -> Connection {
        Connection {
            line,
            stage: Stage::Connecting,
            route,
            is_deflated: false,
            carry: Vec::new(),
            unsent: Vec::new(),
            unsent_at: 0,
        }
    }

    /// The socket.
    pub fn stream_mut(&mut self) -> &mut TcpStream {
        self.line.stream_mut()
    }

    /// See [`Stage`].
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Which of the crowd's destinations it goes to.
    pub fn route(&self) -> usize {
        self.route
    }

    /// Whether something waits for the socket to take more.
    pub fn is_blocked(&self) -> bool {
        self.unsent_at < self.unsent.len() || self.line.is_blocked()
    }

    /// The socket can take more: begins the handshake, or goes on with what waits.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn writable(&mut self, request: &[u8]) -> io::Result<()> {
        if self.stage == Stage::Connecting {
            let stream = self.line.stream();
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            if stream.peer_addr().is_err() {
                return Ok(());
            }
            self.stage = Stage::Upgrading;
            return self.send(request);
        }
        self.line.flush()?;
        while self.unsent_at < self.unsent.len() {
            match self.line.write(&self.unsent[self.unsent_at..]) {
                // Enough is on its way.
                Ok(0) => return Ok(()),
                Ok(count) => self.unsent_at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.clear();
        self.unsent_at = 0;
        Ok(())
    }

    /// Sends bytes, now or as soon as the socket takes them.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stage != Stage::Upgrading && self.is_blocked() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let count = match self.line.write(bytes) {
            Ok(count) => count,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                0
            }
            Err(error) => return Err(error),
        };
        self.unsent.extend_from_slice(&bytes[count..]);
        Ok(())
    }

    /// Reads once. Returns how many bytes of `scratch` there are to [take](Connection::take), those of the last time
    /// included, and whether the socket is empty now.
    ///
    /// # Errors
    ///
    /// The connection is broken, or the server ended it.
    pub fn read(&mut self, scratch: &mut [u8]) -> io::Result<(usize, bool)> {
        let kept = self.carry.len();
        scratch[..kept].copy_from_slice(&self.carry);
        loop {
            match self.line.read(&mut scratch[kept..]) {
                Ok(0) => return Err(io::Error::other("the server ended the connection")),
                Ok(count) => {
                    self.carry.clear();
                    return Ok((kept + count, kept + count < scratch.len()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((0, true)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what was read: hands the payload of each message, and whether it is compressed, to `message`, and keeps a
    /// frame that is cut. Returns how many pings there were, which it answers.
    ///
    /// # Errors
    ///
    /// The server said no, closed, or speaks something else.
    pub fn take(
        &mut self,
        bytes: &[u8],
        welcome: Welcome,
        mut message: impl FnMut(&[u8], bool),
    ) -> io::Result<u64> {
        let mut ping_count = 0;
        let mut rest = bytes;
        if self.stage == Stage::Upgrading {
            let Some(answer) = wire::accepted(rest)? else {
                self.carry.extend_from_slice(rest);
                return Ok(0);
            };
            rest = &rest[answer.length..];
            self.is_deflated = answer.is_deflated;
            self.stage = match welcome {
                Welcome::Upgrade => Stage::Open,
                Welcome::Joined => Stage::Joining,
            };
        }
        while let Some(head) = wire::head(rest)? {
            let payload = &rest[head.start..head.end];
            if head.is_deflated && !self.is_deflated {
                return Err(io::Error::other("compression was not agreed on"));
            }
            match head.opcode {
                wire::TEXT | wire::BINARY if self.stage == Stage::Open => {
                    message(payload, head.is_deflated);
                }
                wire::TEXT if head.is_deflated => self.welcomed(&deflate::inflated(payload)?)?,
                wire::TEXT => self.welcomed(payload)?,
                opcode => {
                    ping_count += u64::from(opcode == wire::PING);
                    self.control(opcode, payload)?;
                }
            }
            rest = &rest[head.end..];
        }
        self.carry.extend_from_slice(rest);
        Ok(ping_count)
    }

    fn welcomed(&mut self, payload: &[u8]) -> io::Result<()> {
        if payload.starts_with(b"{\"type\":\"joined\"") {
            self.stage = Stage::Open;
        } else if payload.starts_with(b"{\"type\":\"error\"") {
            return Err(io::Error::other(String::from_utf8_lossy(payload)));
        }
        Ok(())
    }

    fn control(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        match opcode {
            wire::PING => {
                let mut pong = Vec::with_capacity(payload.len() + 6);
                wire::encode_masked(wire::PONG, payload, &mut pong);
                self.send(&pong)
            }
            wire::PONG => Ok(()),
            wire::CLOSE => {
                let code = payload
                    .first_chunk()
                    .map_or(1005, |code| u16::from_be_bytes(*code));
                Err(io::Error::other(format!("the server closed with {code}")))
            }
            other => Err(io::Error::other(format!(
                "a frame with opcode {other} was not asked for"
            ))),
        }
    }
}
