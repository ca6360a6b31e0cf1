//! One connection in memory: bytes each way, a window that the client opens and closes, ends, and readiness that is
//! told once for each change, as `EPOLLET` does.

use roomcast::engine::{Received, Sent, Socket};
use roomcast::slots::Slot;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

/// A connection, shared by its client and the server's [`End`].
pub type SharedPipe = Rc<RefCell<Pipe>>;

/// Bytes that wait for the server, over which a client sends no more.
const UNREAD_BYTES_MAX: usize = 512 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct Pipe {
    up: Vec<u8>,
    up_ended: bool,
    down: Vec<u8>,
    down_ended: bool,
    /// Bytes that wait for the client at most; 0 lets nothing through.
    pub window_bytes: usize,
    /// A send was cut, so room is worth an event.
    wants_room: bool,
    is_broken: bool,
    is_dropped: bool,
    is_news: bool,
    is_room: bool,
    slot: Option<Slot>,
}

impl Pipe {
    /// A connection that waits to be accepted.
    pub fn shared() -> SharedPipe {
        Rc::new(RefCell::new(Pipe {
            up: Vec::new(),
            up_ended: false,
            down: Vec::new(),
            down_ended: false,
            window_bytes: usize::MAX,
            wants_room: false,
            is_broken: false,
            is_dropped: false,
            is_news: false,
            is_room: false,
            slot: None,
        }))
    }

    /// The client sends; it arrives at once.
    pub fn send(&mut self, bytes: &[u8]) {
        if !self.up_ended && !self.is_broken && !self.is_dropped && !bytes.is_empty() {
            self.up.extend_from_slice(bytes);
            self.is_news = true;
        }
    }

    /// The client sends no more.
    pub fn end(&mut self) {
        self.is_news |= !self.up_ended;
        self.up_ended = true;
    }

    /// The connection breaks.
    pub fn reset(&mut self) {
        self.is_broken = true;
        self.is_news = true;
        self.is_room = true;
        self.up.clear();
    }

    /// The client reads at most so many bytes.
    pub fn take(&mut self, bytes_max: usize) -> Vec<u8> {
        let rest = self.down.split_off(bytes_max.min(self.down.len()));
        let taken = std::mem::replace(&mut self.down, rest);
        self.offer_room();
        taken
    }

    /// The client lets so many bytes wait.
    pub fn open_window(&mut self, window_bytes: usize) {
        self.window_bytes = window_bytes;
        self.offer_room();
    }

    /// Tells the server's readiness again, although nothing changed.
    pub fn nudge(&mut self) {
        self.is_news = true;
        self.is_room = true;
    }

    /// What a poll would tell, once: the slot, readable, writable, hung up.
    pub fn poll(&mut self) -> Option<(Slot, bool, bool, bool)> {
        let slot = self.slot.filter(|_| self.has_edge())?;
        let readable = !self.up.is_empty() || self.up_ended || self.is_broken;
        let writable = self.room() > 0 || self.is_broken;
        // Room that is gone before it was told of is awaited again, as in the kernel's `tcp_poll`.
        self.wants_room |= self.is_room && !writable;
        self.is_news = false;
        self.is_room = false;
        Some((slot, readable, writable, self.up_ended || self.is_broken))
    }

    /// Whether there is something to tell.
    pub fn has_edge(&self) -> bool {
        self.slot.is_some() && !self.is_dropped && (self.is_news || self.is_room)
    }

    /// The server has registered it.
    pub fn register(&mut self, slot: Slot) {
        self.slot = Some(slot);
        self.nudge();
    }

    /// Whether nothing more comes: all that the server sent was taken, and it has ended.
    pub fn is_over(&self) -> bool {
        self.down.is_empty() && (self.down_ended || self.is_dropped || self.is_broken)
    }

    /// Whether the end came in order, so that nothing may be missing.
    pub fn ended_in_order(&self) -> bool {
        self.down_ended && !self.is_broken
    }

    /// Whether the server has let go of it.
    pub fn is_dropped(&self) -> bool {
        self.is_dropped
    }

    /// Whether so much waits for the server that the client has to wait too.
    pub fn is_full(&self) -> bool {
        self.up.len() > UNREAD_BYTES_MAX
    }

    /// Whether the client may still send.
    pub fn is_open(&self) -> bool {
        !self.up_ended && !self.is_broken && !self.is_dropped
    }

    fn room(&self) -> usize {
        self.window_bytes.saturating_sub(self.down.len())
    }

    fn offer_room(&mut self) {
        if self.wants_room && self.room() > 0 {
            self.wants_room = false;
            self.is_room = true;
        }
    }
}

/// The server's end of a [`Pipe`].
#[derive(Debug)]
pub struct End(pub SharedPipe);

impl Socket for End {
    type Common = ();

    fn recv(&mut self, (): &mut (), into: &mut [u8]) -> Received {
        let mut pipe = self.0.borrow_mut();
        assert!(!into.is_empty(), "a read of nothing");
        if pipe.is_broken {
            return Received::Failed;
        }
        let count = into.len().min(pipe.up.len());
        if count == 0 {
            return if pipe.up_ended {
                Received::Closed
            } else {
                Received::Blocked
            };
        }
        into[..count].copy_from_slice(&pipe.up[..count]);
        pipe.up.drain(..count);
        Received::Bytes(count)
    }

    fn send(&mut self, (): &mut (), bytes: &[u8]) -> Sent {
        let mut pipe = self.0.borrow_mut();
        assert!(!bytes.is_empty(), "a send of nothing");
        assert!(!pipe.down_ended, "a send after the end");
        if pipe.is_broken {
            return Sent::Failed;
        }
        let count = pipe.room().min(bytes.len());
        pipe.down.extend_from_slice(&bytes[..count]);
        pipe.wants_room |= count < bytes.len();
        if count == 0 {
            Sent::Blocked
        } else {
            Sent::Bytes(count)
        }
    }

    fn shutdown(&mut self, (): &mut ()) {
        self.0.borrow_mut().down_ended = true;
    }

    fn address(&self) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.borrow_mut().is_dropped = true;
    }
}
