//! One TLS connection: its protocol, what has come and is not whole yet, and what is encrypted and not sent yet.

use mio::net::TcpStream;
use rustls::HandshakeKind;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus, WriteTraffic,
};

use super::idle::IdleRecords;
use super::{Current, Tally};
use crate::engine::{Received, Sent};
use crate::limits::{
    TLS_EARLY_BYTES_MAX, TLS_PARTIAL_BYTES_MAX, TLS_RECORD_BYTES_MAX, TLS_RECORD_BYTES_SLOW,
};
use crate::reactor::raw::{self, Failure};
use crate::slots::Slot;

/// See the [module](self). Buffers are there only while something waits in them.
pub struct Session {
    /// The connection that it belongs to.
    pub slot: Slot,
    /// When it began to hold bytes, as a number that only grows.
    pub stalled_since: u64,
    stage: Stage,
    /// Made when the first byte has come: who only connects does not get that far.
    connection: Option<UnbufferedServerConnection>,
    /// Received, but no whole record or handshake message yet.
    partial: Vec<u8>,
    /// Encrypted, but not taken by the kernel yet.
    rest: Vec<u8>,
    /// How much of that was.
    rest_sent: usize,
    /// What was to be said before the handshake was over.
    early: Vec<u8>,
    /// What it may still spend on records that bring nothing.
    idle: IdleRecords,
    /// The socket was full: records are small, so that little is held when it is full again.
    is_slow: bool,
    /// Nothing follows what is held.
    is_ending: bool,
    /// It held bytes for too long, and does not count any more.
    is_given_up: bool,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The handshake goes on.
    Opening,
    /// Both sides talk.
    Open,
    /// The other side has said that it sends no more.
    Ended,
    /// A rule was broken. The other side was told, and what it sends is thrown away.
    Broken(Telling),
    /// The other side does not speak TLS: it is answered in the clear, and what it sends is thrown away.
    Clear(Telling),
}

/// Whether the engine knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    Due,
    Done,
}

/// What a session needs of its shard to take what has come.
pub struct Step<'a> {
    /// What new sessions are made with.
    pub current: &'a Current,
    /// Scratch for what came.
    pub incoming: &'a mut [u8],
    /// Scratch for what goes.
    pub outgoing: &'a mut [u8],
    /// The counters.
    pub tally: &'a mut Tally,
    /// Steps of handshakes that were done in this turn.
    pub step_count: &'a mut u32,
}

/// What came of a stretch of received bytes.
struct Taken {
    /// Bytes of the stretch that are done with.
    bytes: usize,
    /// Plain bytes that they gave.
    plain_bytes: usize,
    /// Whether the other side broke a rule.
    is_broken: bool,
}

impl Session {
    /// A connection of which nothing has come.
    pub fn new(slot: Slot) -> Session {
        Session {
            slot,
            stalled_since: 0,
            stage: Stage::Opening,
            connection: None,
            partial: Vec::new(),
            rest: Vec::new(),
            rest_sent: 0,
            early: Vec::new(),
            idle: IdleRecords::default(),
            is_slow: false,
            is_ending: false,
            is_given_up: false,
        }
    }

    /// Whether its handshake is not over.
    pub fn is_opening(&self) -> bool {
        self.stage == Stage::Opening
    }

    /// Whether its handshake has begun and is not over.
    pub fn is_half_open(&self) -> bool {
        self.is_opening() && self.connection.is_some()
    }

    /// Bytes that it holds to be sent.
    pub fn held_bytes(&self) -> usize {
        self.rest.len() - self.rest_sent + self.early.len()
    }

    /// Those of them that count against the bound.
    pub fn counted_bytes(&self) -> usize {
        if self.is_given_up {
            0
        } else {
            self.held_bytes()
        }
    }

    /// It held bytes for too long: the connection is being closed, and what it holds does not count any more.
    pub fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Takes what has come and decrypts it.
    pub fn recv(&mut self, stream: &TcpStream, step: &mut Step<'_>, into: &mut [u8]) -> Received {
        match self.stage {
            Stage::Opening | Stage::Open => self.take(stream, step, into),
            Stage::Ended => Received::Closed,
            Stage::Broken(Telling::Due) => {
                self.stage = Stage::Broken(Telling::Done);
                Received::Broken
            }
            Stage::Clear(Telling::Due) => {
                self.stage = Stage::Clear(Telling::Done);
                Received::Misused
            }
            Stage::Broken(Telling::Done) | Stage::Clear(Telling::Done) => raw::recv(stream, into),
        }
    }

    fn take(&mut self, stream: &TcpStream, step: &mut Step<'_>, into: &mut [u8]) -> Received {
        // Plain bytes are fewer than the encrypted ones: what comes of this much has room.
        let room = into.len().min(step.incoming.len());
        let kept = self.partial.len();
        let incoming = step.incoming.get_mut(..room).unwrap_or_default();
        let Some((before, new)) = incoming.split_at_mut_checked(kept) else {
            return Received::Failed;
        };
        before.copy_from_slice(&self.partial);
        let free = new.len();
        let count = match raw::recv(stream, new) {
            Received::Bytes(count) => count,
            other => return other,
        };
        if self.connection.is_none() && !self.begin(new, step.current) {
            return self.recv(stream, step, into);
        }
        let incoming = step.incoming.get_mut(..kept + count).unwrap_or_default();
        let was_opening = self.stage == Stage::Opening;
        let taken = self.process(incoming, into);
        self.keep(incoming.get(taken.bytes..).unwrap_or_default());
        if was_opening && taken.bytes > 0 {
            *step.step_count += 1;
        }
        if taken.is_broken || self.partial.len() > TLS_PARTIAL_BYTES_MAX {
            self.break_off(step.tally);
        } else if was_opening {
            self.notice_open(step);
        }
        if self.push(stream) == Pushed::Gone {
            return Received::Failed;
        }
        match self.stage {
            Stage::Opening | Stage::Open if count < free => Received::Bytes(taken.plain_bytes),
            Stage::Opening | Stage::Open => Received::Part(taken.plain_bytes),
            Stage::Ended | Stage::Broken(_) | Stage::Clear(_) if taken.plain_bytes > 0 => {
                Received::Part(taken.plain_bytes)
            }
            Stage::Ended | Stage::Broken(_) | Stage::Clear(_) => self.recv(stream, step, into),
        }
    }

    /// The first bytes have come. Returns whether they are TLS, as far as their first one tells.
    fn begin(&mut self, bytes: &[u8], current: &Current) -> bool {
        // Methods of HTTP are letters, and no type of a record is.
        if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            self.stage = Stage::Clear(Telling::Due);
            return false;
        }
        match UnbufferedServerConnection::new(current.load()) {
            Ok(connection) => self.connection = Some(connection),
            Err(_) => self.stage = Stage::Broken(Telling::Due),
        }
        self.connection.is_some()
    }

    /// Lets the protocol take what it can. Its own messages go behind the rest.
    fn process(&mut self, incoming: &mut [u8], into: &mut [u8]) -> Taken {
        let mut taken = Taken {
            bytes: 0,
            plain_bytes: 0,
            is_broken: false,
        };
        let Session {
            connection,
            rest,
            stage,
            idle,
            ..
        } = self;
        let Some(connection) = connection else {
            return taken;
        };
        loop {
            let (start, was_open) = (taken.bytes, !connection.is_handshaking());
            let (mut data_count, mut is_all) = (0, false);
            let bytes = incoming.get_mut(start..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = connection.process_tls_records(bytes);
            taken.bytes += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        taken.bytes += record.discard;
                        taken.plain_bytes += put(record.payload, into, taken.plain_bytes);
                        data_count += 1;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(&mut data, rest),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => *stage = Stage::Ended,
                // Early data is never offered, so that it cannot come.
                Ok(_) => is_all = true,
                Err(_) => {
                    taken.is_broken = true;
                    put_alert(connection, rest);
                }
            }
            // Looked at for each record with data, as rustls counts anew from there.
            let records = incoming.get(start..taken.bytes).unwrap_or_default();
            taken.is_broken |= was_open && idle.are_too_many(records, data_count);
            if is_all || taken.is_broken {
                return taken;
            }
        }
    }

    /// Keeps what is not whole yet. Most of the time that is nothing, and then there is no buffer either.
    fn keep(&mut self, partial: &[u8]) {
        if partial.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(partial);
        }
    }

    fn break_off(&mut self, tally: &mut Tally) {
        tally.failed += 1;
        self.stage = Stage::Broken(Telling::Due);
        self.partial = Vec::new();
        self.early = Vec::new();
    }

    /// If the handshake is over now, what waited for that goes out.
    fn notice_open(&mut self, step: &mut Step<'_>) {
        let Some(connection) = self.connection.as_ref().filter(|c| !c.is_handshaking()) else {
            return;
        };
        step.tally.done += 1;
        step.tally.resumed +=
            u64::from(connection.handshake_kind() == Some(HandshakeKind::Resumed));
        if self.stage == Stage::Opening {
            self.stage = Stage::Open;
        }
        let early = std::mem::take(&mut self.early);
        for record in early.chunks(TLS_RECORD_BYTES_MAX) {
            let length = self.seal(record, step.outgoing).unwrap_or_default();
            self.rest
                .extend_from_slice(step.outgoing.get(..length).unwrap_or_default());
        }
    }

    /// Encrypts what fits and sends it, a record at a time: what the kernel does not take of one has to be held.
    pub fn send(&mut self, stream: &TcpStream, outgoing: &mut [u8], bytes: &[u8]) -> Sent {
        match self.stage {
            Stage::Opening => return self.put_early(bytes),
            Stage::Open | Stage::Ended => {}
            // Nobody could read it.
            Stage::Broken(_) => return Sent::Bytes(bytes.len()),
            Stage::Clear(_) => return raw::send(stream, bytes),
        }
        match self.push(stream) {
            Pushed::All => {}
            Pushed::Full => return Sent::Blocked,
            Pushed::Gone => return Sent::Failed,
        }
        let mut taken = 0;
        let record_bytes = if self.is_slow {
            TLS_RECORD_BYTES_SLOW
        } else {
            TLS_RECORD_BYTES_MAX
        };
        for record in bytes.chunks(record_bytes) {
            let Some(length) = self.seal(record, outgoing) else {
                return Sent::Failed;
            };
            taken += record.len();
            let sealed = outgoing.get(..length).unwrap_or_default();
            let sent = match raw::transmit(stream, sealed) {
                Ok(count) => count,
                Err(Failure::Blocked) => 0,
                Err(Failure::Gone) => return Sent::Failed,
            };
            if sent < length {
                self.rest
                    .extend_from_slice(sealed.get(sent..).unwrap_or_default());
                self.is_slow = true;
                return Sent::Held(taken);
            }
        }
        self.is_slow = false;
        Sent::Bytes(taken)
    }

    fn put_early(&mut self, bytes: &[u8]) -> Sent {
        if self.early.len() + bytes.len() > TLS_EARLY_BYTES_MAX {
            return Sent::Blocked;
        }
        self.early.extend_from_slice(bytes);
        Sent::Held(bytes.len())
    }

    /// One record of these bytes, behind whatever the protocol itself has to say. Returns its length in `outgoing`.
    fn seal(&mut self, plain: &[u8], outgoing: &mut [u8]) -> Option<usize> {
        self.with_traffic(outgoing, |traffic, out| traffic.encrypt(plain, out).ok())
    }

    /// Goes on with what it holds.
    pub fn flush(&mut self, stream: &TcpStream) -> Sent {
        match self.push(stream) {
            Pushed::All if self.held_bytes() == 0 => Sent::Bytes(0),
            Pushed::All | Pushed::Full => Sent::Blocked,
            Pushed::Gone => Sent::Failed,
        }
    }

    /// Says that nothing more is sent, once what is held has gone.
    pub fn shutdown(&mut self, stream: &TcpStream, outgoing: &mut [u8], tally: &mut Tally) {
        match self.stage {
            Stage::Open | Stage::Ended => {
                let length = self.with_traffic(outgoing, |traffic, out| {
                    traffic.queue_close_notify(out).ok()
                });
                let notice = outgoing.get(..length.unwrap_or_default());
                self.rest.extend_from_slice(notice.unwrap_or_default());
            }
            Stage::Opening => {
                tally.timed_out += 1;
                self.stage = Stage::Broken(Telling::Done);
                self.early = Vec::new();
            }
            Stage::Broken(_) | Stage::Clear(_) => {}
        }
        self.is_ending = true;
        self.push(stream);
    }

    /// Lets the protocol write, once it can.
    fn with_traffic(
        &mut self,
        outgoing: &mut [u8],
        write: impl FnOnce(&mut Traffic<'_>, &mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let Session {
            connection,
            partial,
            ..
        } = self;
        let connection = connection.as_mut()?;
        let mut length = 0;
        loop {
            // It was given these before, and has nothing new to take; but it counts on seeing them again.
            let UnbufferedStatus { discard, state } = connection.process_tls_records(partial);
            let out = outgoing.get_mut(length..)?;
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    length += write(&mut traffic, out)?;
                    partial.drain(..discard);
                    return Some(length);
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => length += data.encode(out).ok()?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) | Err(_) => return None,
            }
            partial.drain(..discard);
        }
    }

    /// Sends what is left of earlier records.
    fn push(&mut self, stream: &TcpStream) -> Pushed {
        while let Some(rest) = self
            .rest
            .get(self.rest_sent..)
            .filter(|rest| !rest.is_empty())
        {
            match raw::transmit(stream, rest) {
                Ok(count) => self.rest_sent += count,
                Err(Failure::Blocked) => {
                    self.is_slow = true;
                    return Pushed::Full;
                }
                Err(Failure::Gone) => return Pushed::Gone,
            }
        }
        if !self.rest.is_empty() {
            self.rest = Vec::new();
            self.rest_sent = 0;
        }
        if self.is_ending {
            raw::shutdown(stream);
        }
        Pushed::All
    }
}

type Encode<'c> = EncodeTlsData<'c, ServerConnectionData>;
type Traffic<'c> = WriteTraffic<'c, ServerConnectionData>;

/// What became of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushed {
    All,
    Full,
    Gone,
}

/// Puts the alert behind the rest that says what was wrong. The protocol must not look at bytes again after that.
fn put_alert(connection: &mut UnbufferedServerConnection, rest: &mut Vec<u8>) {
    while connection.wants_write() {
        match connection.process_tls_records(&mut []).state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => append(&mut data, rest),
            Ok(_) | Err(_) => return,
        }
    }
}

/// Puts what the protocol has to say behind what waits already.
fn append(data: &mut Encode<'_>, rest: &mut Vec<u8>) {
    // Where there is no room it says how much it takes.
    let Err(EncodeError::InsufficientSize(need)) = data.encode(&mut []) else {
        return;
    };
    let at = rest.len();
    rest.resize(at + need.required_size, 0);
    let count = data.encode(rest.get_mut(at..).unwrap_or_default());
    rest.truncate(at + count.unwrap_or_default());
}

/// Copies plain bytes behind those that are there.
fn put(payload: &[u8], into: &mut [u8], at: usize) -> usize {
    let place = into.get_mut(at..at + payload.len());
    debug_assert!(place.is_some(), "plain bytes are fewer than encrypted ones");
    place.map_or(0, |place| {
        place.copy_from_slice(payload);
        payload.len()
    })
}
