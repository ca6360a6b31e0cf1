//! The log service of a shard: in the shard itself, or on disk.

use crate::hashing::HashKey;
use crate::log::{Answers, Found, LogPort, MemoryLog, Read, Submission};
use crate::store::StorePort;

/// See the [module](self).
pub enum Port {
    /// Everything is in memory.
    Memory(MemoryLog),
    /// There is a data folder.
    Store(StorePort),
}

impl LogPort for Port {
    fn submit(&mut self, submission: Submission, unix_ms: u64) {
        match self {
            Port::Memory(port) => port.submit(submission, unix_ms),
            Port::Store(port) => port.submit(submission, unix_ms),
        }
    }

    fn take(&mut self) -> Option<Answers> {
        match self {
            Port::Memory(port) => port.take(),
            Port::Store(port) => port.take(),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Port::Memory(port) => port.memory(),
            Port::Store(port) => port.memory(),
        }
    }

    fn is_durable(&self) -> bool {
        match self {
            Port::Memory(port) => port.is_durable(),
            Port::Store(port) => port.is_durable(),
        }
    }

    fn read(&mut self, read: Read) -> Result<(), Read> {
        match self {
            Port::Memory(port) => port.read(read),
            Port::Store(port) => port.read(read),
        }
    }

    fn found(&mut self) -> Option<Found> {
        match self {
            Port::Memory(port) => port.found(),
            Port::Store(port) => port.found(),
        }
    }

    fn standstill_ms(&self) -> Option<u64> {
        match self {
            Port::Memory(port) => port.standstill_ms(),
            Port::Store(port) => port.standstill_ms(),
        }
    }

    fn waiting_bytes(&self) -> usize {
        match self {
            Port::Memory(port) => port.waiting_bytes(),
            Port::Store(port) => port.waiting_bytes(),
        }
    }

    fn id_key(&self) -> Option<HashKey> {
        match self {
            Port::Memory(port) => port.id_key(),
            Port::Store(port) => port.id_key(),
        }
    }
}
