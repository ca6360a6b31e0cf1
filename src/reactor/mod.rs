//! The shell around the engine: threads, sockets, the clock and signals.
//!
//! [`Server`] binds the address, and gives each shard a poll, a listening socket and a thread: the first one that of its
//! caller, so that a process of one shard can do with one thread. The turn of a shard (`shard`) reads top to bottom;
//! what it needs stands beside it: tokens, listening sockets and when to accept from them, transports, mail between
//! shards (`mailbox`), and what all shards share (`process`).
//! Nothing in here knows HTTP, WebSocket or rooms.

mod accepting;
mod admission;
mod error;
mod keys;
mod listener;
mod mailbox;
mod operator;
mod plan;
mod port;
mod preface;
pub mod privileges;
mod process;
mod raw;
pub mod reload;
mod shard;
pub mod signals;
mod survey;
pub mod sys;
mod tls;
mod token;
mod transport;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use mio::Poll;
use mio::net::TcpListener;

pub use self::error::{ShardFailed, StartError};
pub use self::process::AUDIT;

use self::mailbox::Exchange;
use self::plan::Plan;
use self::process::Process;
use self::reload::{Reloader, Reloads};
use self::signals::Signals;
use crate::admin::Admin;
use crate::authority::Auth;
use crate::config::Config;
use crate::counters::Counters;
use crate::mail::Mail;
use crate::store::{self, Store};

/// A running server.
pub struct Server {
    address: SocketAddr,
    stopper: Stopper,
    /// The first shard, which runs where [`Server::run`] is called.
    first: Option<FirstShard>,
    /// Those of the others.
    threads: Vec<ShardThread>,
    /// None where everything is in memory.
    store: Option<Store>,
    admin: Option<Admin>,
    /// None where nothing can be read again.
    reloader: Option<Reloader>,
}

type FirstShard = Box<dyn FnOnce(Option<Signals>) -> io::Result<()> + Send>;

type ShardThread = JoinHandle<io::Result<()>>;

/// Asks a server to stop. May be kept by anyone, for any time.
#[derive(Clone)]
pub struct Stopper {
    process: Arc<Process>,
    exchange: Arc<Exchange<Mail>>,
}

impl Server {
    /// Starts a server. When this returns, it listens, and serves as soon as it [runs](Server::run).
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start(config: &Config) -> Result<Server, StartError> {
        let sockets = Sockets::bind(config)?;
        if let Some(account) = &config.user {
            privileges::become_user(account, config.history.folder()).map_err(StartError::User)?;
        }
        let opened = open_store(config)?;
        let mut reloads = Reloads::default();
        let tls = open_tls(config, &mut reloads)?;
        let auth = keys::open(&config.auth, &mut reloads).map_err(StartError::Keys)?;
        let opened = Opened {
            store: opened,
            tls,
            auth,
            reloads,
        };
        let polls = sockets
            .public
            .iter()
            .map(|_| Poll::new())
            .collect::<io::Result<Vec<_>>>();
        polls
            .and_then(|polls| Server::serve(config, sockets, polls, opened))
            .map_err(StartError::System)
    }

    fn serve(
        config: &Config,
        sockets: Sockets,
        polls: Vec<Poll>,
        opened: Opened,
    ) -> io::Result<Server> {
        let address = sockets
            .public
            .first()
            .map_or(Ok(config.listen), TcpListener::local_addr)?;
        let mut plan = Plan::new(config, opened.auth, &polls)?;
        plan.tls = opened.tls;
        let mut server = Server {
            address,
            stopper: plan.stopper(),
            first: None,
            threads: Vec::new(),
            store: None,
            admin: None,
            reloader: opened.reloads.start(Arc::clone(&plan.shared.process))?,
        };
        if let Some(store) = opened.store {
            server.store = Some(plan.start_store(store)?);
        }
        for (id, (poll, socket)) in (0..).zip(polls.into_iter().zip(sockets.public)) {
            let added = plan
                .shard(id, poll, socket)
                .and_then(|shard| server.add(id, shard));
            if let Err(error) = added {
                return Err(server.give_up(error));
            }
        }
        if let Some((socket, operator)) = sockets.admin.zip(plan.operator()) {
            match Admin::start(socket, Arc::new(operator)) {
                Ok(admin) => server.admin = Some(admin),
                Err(error) => return Err(server.give_up(error)),
            }
        }
        Ok(server)
    }

    fn add(
        &mut self,
        id: u16,
        shard: impl FnOnce(Option<Signals>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        if id == 0 {
            self.first = Some(Box::new(shard));
        } else {
            let thread = thread::Builder::new().name(format!("shard-{id}"));
            self.threads.push(thread.spawn(move || shard(None))?);
        }
        Ok(())
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its admin port is, if it has one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Something that can ask it to stop.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Something that makes it read its certificate and keys again; none where it has none.
    pub fn reloader(&self) -> Option<Reloader> {
        self.reloader.clone()
    }

    /// Serves until it has stopped, and says what was counted. The first shard runs in this thread, and looks after the
    /// signals.
    ///
    /// # Errors
    ///
    /// See [`ShardFailed`].
    pub fn run(self, signals: Option<Signals>) -> Result<Counters, ShardFailed> {
        // Nothing of a shard that panics is used again; the others are told by its end.
        let first = self.first.map_or(Ok(Ok(())), |first| {
            panic::catch_unwind(AssertUnwindSafe(|| first(signals)))
        });
        let others = self.threads.into_iter().map(JoinHandle::join);
        let results: Vec<_> = std::iter::once(first).chain(others).collect();
        if let Some(admin) = self.admin {
            admin.stop();
        }
        if let Some(store) = self.store {
            store.stop();
        }
        let is_well = results
            .into_iter()
            .all(|result| matches!(result, Ok(Ok(()))));
        if is_well {
            Ok(self.stopper.process.total())
        } else {
            Err(ShardFailed)
        }
    }

    /// Stops the shards that did start.
    fn give_up(self, error: io::Error) -> io::Error {
        self.stopper.stop();
        let _ = self.run(None);
        error
    }
}

impl Stopper {
    /// Makes every shard stop accepting, say goodbye to its connections and end. Returns at once.
    pub fn stop(&self) {
        self.process.drain();
        if let Err(error) = self.exchange.ring_all() {
            log::error!("a shard could not be woken to stop: {error}");
        }
    }

    /// Connections that are open now; once the server has stopped, those that were cut by its deadline.
    pub fn connection_count(&self) -> u32 {
        self.process.connection_count()
    }

    /// What all shards together have counted so far.
    pub fn counters(&self) -> Counters {
        self.process.total()
    }
}

/// The listening sockets.
struct Sockets {
    /// One for each shard, all of one address.
    public: Vec<TcpListener>,
    admin: Option<StdListener>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Sockets, StartError> {
        let failed = |flag, address| {
            move |error: io::Error| match error.kind() {
                io::ErrorKind::AddrInUse => StartError::AddressInUse(flag, address),
                _ => StartError::Bind(flag, address, error),
            }
        };
        let public = listener::bind(config.listen, config.shards)
            .map_err(failed("--listen", config.listen))?;
        let admin = config
            .admin
            .map(|address| StdListener::bind(address).map_err(failed("--admin", address)))
            .transpose()?;
        Ok(Sockets { public, admin })
    }
}

/// What was opened before any thread starts.
struct Opened {
    store: Option<store::Opened>,
    tls: Option<Arc<tls::Current>>,
    auth: Auth,
    reloads: Reloads,
}

/// Opens the store that a configuration asks for.
fn open_store(config: &Config) -> Result<Option<store::Opened>, StartError> {
    let Some(folder) = config.history.folder() else {
        return Ok(None);
    };
    let plan = store::Plan {
        folder: folder.to_owned(),
        retention: config.retention.clone(),
        is_new_epoch: config.is_new_epoch,
        inbox_bytes_max: config.limits.inbox_bytes_max,
        seed: sys::random().map_err(StartError::System)?,
    };
    store::open(plan).map(Some).map_err(StartError::Store)
}

/// Reads certificate and key, if TLS is asked for.
fn open_tls(
    config: &Config,
    reloads: &mut Reloads,
) -> Result<Option<Arc<tls::Current>>, StartError> {
    let Some(wanted) = &config.tls else {
        return Ok(None);
    };
    let folder = config.history.folder();
    let (current, files) = tls::open(wanted, folder).map_err(StartError::Tls)?;
    if let Some(files) = files {
        reloads.add(files);
    }
    Ok(Some(current))
}

#[cfg(test)]
mod tests;
