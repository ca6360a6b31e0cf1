//! What shards are made from.

use super::admission::Admission;
use super::listener::Listener;
use super::mailbox::Exchange;
use super::operator::Operator;
use super::port::Port;
use super::process::Process;
use super::shard::{Clock, Shard, Shared};
use super::signals::Signals;
use super::survey::Surveys;
use super::tls::{self, Tls};
use super::token::Subject;
use super::transport::{Common, Transport};
use super::{Stopper, sys};
use crate::authority::Auth;
use crate::config::{self, Config};
use crate::engine::{Engine, Place, Restored, Settings};
use crate::hashing::HashKey;
use crate::http::Endpoints;
use crate::log::MemoryLog;
use crate::metrics::About;
use crate::sanctions::Sanction;
use crate::store::{self, Store};
use mio::net::TcpListener;
use mio::{Poll, Waker};
use std::io;
use std::sync::Arc;

/// What it takes to start a shard; the same for all of them.
#[derive(Clone)]
pub(super) struct Plan {
    settings: Arc<Settings>,
    hash_key: HashKey,
    pub(super) shared: Shared,
    pin: bool,
    pub(super) tls: Option<Arc<tls::Current>>,
    desk: Option<Arc<store::Desk>>,
    names: Arc<Vec<Restored>>,
    /// Mutes and bans that were there before.
    sanctions: Arc<Vec<Arc<Sanction>>>,
}

impl Plan {
    pub(super) fn new(config: &Config, auth: Auth, polls: &[Poll]) -> io::Result<Plan> {
        let clock = Clock::start();
        let wakers = polls
            .iter()
            .map(|poll| Waker::new(poll.registry(), Subject::Waker.token()));
        let about = About {
            shard_count: config.shards,
            connection_count_max: config.limits.connection_count_max,
            started_unix_ms: clock.now().unix_ms,
        };
        let key = (
            u64::from_ne_bytes(sys::random()?),
            u64::from_ne_bytes(sys::random()?),
        );
        let settings = Arc::new(settings(config, auth));
        let shared = Shared {
            settings: Arc::clone(&settings),
            surveys: config.admin.map(|_| Arc::new(Surveys::new(config.shards))),
            process: Arc::new(Process::new(about, Admission::new(&config.limits))),
            exchange: Arc::new(Exchange::new(wakers.collect::<io::Result<_>>()?)),
            clock,
            drain_ms: u64::from(config.limits.drain_ms),
        };
        Ok(Plan {
            settings,
            hash_key: HashKey::new(key),
            shared,
            pin: config.pin,
            tls: None,
            desk: None,
            names: Arc::default(),
            sanctions: Arc::default(),
        })
    }

    /// Lets a store serve these shards.
    pub(super) fn start_store(&mut self, mut opened: store::Opened) -> io::Result<Store> {
        self.names = Arc::new(std::mem::take(&mut opened.names));
        self.sanctions = Arc::new(std::mem::take(&mut opened.sanctions));
        let exchange = Arc::clone(&self.shared.exchange);
        let ring = move |shard| {
            if let Err(error) = exchange.ring(shard) {
                log::error!("shard {shard} could not be woken: {error}");
            }
        };
        let store = opened.start(self.shared.exchange.shard_count(), Box::new(ring))?;
        let desk = Arc::clone(store.desk());
        self.shared.process.has_store(Arc::clone(&desk));
        self.desk = Some(desk);
        Ok(store)
    }

    /// What an admin port shows, where there is one.
    pub(super) fn operator(&self) -> Option<Operator> {
        let shared = &self.shared;
        let surveys = Arc::clone(shared.surveys.as_ref()?);
        Some(Operator {
            process: Arc::clone(&shared.process),
            exchange: Arc::clone(&shared.exchange),
            surveys,
            clock: shared.clock,
        })
    }

    pub(super) fn stopper(&self) -> Stopper {
        Stopper {
            process: Arc::clone(&self.shared.process),
            exchange: Arc::clone(&self.shared.exchange),
        }
    }

    /// A shard that is ready to be run, in whatever thread.
    pub(super) fn shard(
        &self,
        id: u16,
        poll: Poll,
        socket: TcpListener,
    ) -> io::Result<impl FnOnce(Option<Signals>) -> io::Result<()> + Send + use<>> {
        let plan = self.clone();
        let seed = sys::random()?;
        let listener = Listener::new(socket, poll.registry())?;
        // The engine is made in its thread: nothing of it ever leaves that.
        Ok(move |signals: Option<Signals>| {
            if plan.pin {
                sys::pin(id);
            }
            let mut shard = Shard::new(id, poll, listener, plan.engine(id, seed), plan.shared);
            signals.map_or(Ok(()), |signals| shard.watch(signals))?;
            shard.run()
        })
    }

    fn engine(&self, id: u16, seed: [u8; 32]) -> Engine<Transport, Port> {
        let place = Place {
            shard: id,
            count: self.shared.exchange.shard_count(),
        };
        let log = match &self.desk {
            Some(desk) => Port::Store(desk.port(id)),
            None => Port::Memory(MemoryLog::new(self.hash_key)),
        };
        let (settings, site) = (Arc::clone(&self.settings), Arc::clone(&self.shared.process));
        let mut engine: Engine<Transport, Port> =
            Engine::new(place, settings, site, log, self.hash_key, seed);
        let common: &mut Common = engine.common_mut();
        let held_bytes_max = self.settings.limits.stalled_bytes_max;
        let current = self.tls.as_ref().map(Arc::clone);
        common.tls = current.map(|current| Tls::new(current, held_bytes_max));
        self.names.iter().for_each(|name| engine.restore(name));
        let sanctions = self.sanctions.iter();
        sanctions.for_each(|sanction| engine.restore_sanction(sanction));
        engine
    }
}

/// A browser that has seen it never asks without TLS again, so nothing that is only made for development says it.
fn is_strict(config: &Config) -> bool {
    match config.tls.as_ref().map(|tls| &tls.pair) {
        Some(config::Pair::Files { .. }) => true,
        Some(config::Pair::Development) | None => false,
    }
}

fn settings(config: &Config, auth: Auth) -> Settings {
    Settings {
        limits: config.limits.clone(),
        endpoints: Endpoints {
            raw: config.raw,
            echo: config.echo,
            has_admin: config.admin.is_some(),
        },
        deflate: config.deflate,
        auth,
        is_tls: config.tls.is_some(),
        is_strict: is_strict(config),
        origins: config.origins.clone(),
        room_rules: Arc::new(config.room_rules.clone()),
        trusted_proxies: config.trusted_proxies.clone(),
    }
}
