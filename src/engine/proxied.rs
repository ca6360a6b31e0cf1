//! Where connections come from: as their sockets say, or as proxies do that are believed.

use super::{Engine, Socket};
use crate::http::{Client, Request};
use crate::log::LogPort;
use crate::peer::{Marks, Peer};
use crate::slots::Slot;
use std::net::IpAddr;

/// What a proxy said of a connection. Kept aside: connections that come straight from their clients need none of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proxied {
    /// The next address on the way to the client: what the PROXY protocol said, or else the socket's.
    nearest: IpAddr,
    /// The client's, by the latest request.
    client: IpAddr,
}

impl<S: Socket, L: LogPort> Engine<S, L> {
    /// Where the client of a connection is, as far as that is known.
    pub(super) fn address(&self, slot: Slot) -> Option<IpAddr> {
        match self.proxied.get(&slot.index) {
            Some(proxied) => Some(proxied.client),
            None => self.peers.get(slot)?.socket.address(),
        }
    }

    /// A trusted proxy named the client before the connection's first byte. Where that is another trusted proxy, there may
    /// be any number of it, as if it had come straight: its requests say for whom the connection counts.
    pub(super) fn named_by_header(&mut self, slot: Slot, client: IpAddr) {
        self.hub.counters.proxied_total += 1;
        let nearest = client;
        self.proxied.insert(slot.index, Proxied { nearest, client });
        self.note_origin(slot, Some(client));
        if !self.settings.trusted_proxies.contain(client) {
            let is_plain = !self.settings.is_tls;
            self.reseat(slot, client, is_plain);
        }
    }

    /// Takes down what trusted proxies wrote into a request. Returns whether they say that it came by TLS.
    pub(super) fn named_by_request(&mut self, slot: Slot, request: &Request<'_>) -> bool {
        let trusted = &self.settings.trusted_proxies;
        let is_unnamed = |peer: &Peer<S>| peer.marks.has(Marks::UNNAMED);
        if trusted.is_empty() || self.peers.get(slot).is_none_or(is_unnamed) {
            return false;
        }
        let said = self.proxied.get(&slot.index).map(|said| said.nearest);
        let of_socket = || self.peers.get(slot)?.socket.address();
        let Some(nearest) = said.or_else(of_socket) else {
            return false;
        };
        let Client { address, is_secure } = request.forwarded.client(nearest, trusted);
        if said.is_some() || address != nearest {
            let client = address;
            self.proxied.insert(slot.index, Proxied { nearest, client });
            self.note_origin(slot, Some(client));
        }
        is_secure
    }

    /// Lets a client that a request named count for its own address. False: there are too many of that, and the
    /// connection ends. A handshake, where there is one, is over by then: it can be told so.
    pub(super) fn seat_client(&mut self, slot: Slot) -> bool {
        match self.proxied.get(&slot.index).copied() {
            Some(Proxied { nearest, client }) if client != nearest => {
                self.reseat(slot, client, true)
            }
            Some(_) | None => true,
        }
    }

    /// The connection is over.
    pub(super) fn forget_proxied(&mut self, index: u32) {
        self.proxied.remove(&index);
        if self.proxied.capacity() > 1024 && self.proxied.len() < self.proxied.capacity() / 4 {
            self.proxied.shrink_to_fit();
        }
    }
}
