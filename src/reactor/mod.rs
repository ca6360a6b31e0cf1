//! The shell around the engine: threads, sockets, the clock and signals.
//!
//! [`Server`] binds the address, gives each shard a thread, a poll and a listening socket of its own, and waits for
//! them. The turn of a shard (`shard`) reads top to bottom; what it needs stands beside it: tokens, listening sockets
//! and when to accept from them, transports, mail between shards (`mailbox`), and what all shards share (`process`).
//! Nothing in here knows HTTP, WebSocket or rooms.

mod accepting;
mod admission;
mod keys;
mod listener;
mod mailbox;
mod operator;
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

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use mio::net::TcpListener;
use mio::{Poll, Waker};

use self::admission::Admission;
use self::listener::Listener;
use self::mailbox::Exchange;
use self::operator::Operator;
use self::port::Port;
use self::privileges::UserError;
use self::process::Process;
use self::reload::{Reloader, Reloads};
use self::shard::{Clock, Shard, Shared};
use self::survey::Surveys;
use self::tls::{KeyError, Tls};
use self::token::Subject;
use self::transport::{Common, Transport};
use crate::admin::Admin;
use crate::auth;
use crate::authority::Auth;
use crate::config::{self, Config};
use crate::counters::Counters;
use crate::engine::{Engine, Place, Restored, Settings};
use crate::hashing::HashKey;
use crate::http::Endpoints;
use crate::log::MemoryLog;
use crate::mail::Mail;
use crate::metrics::About;
use crate::sanctions::Sanction;
use crate::store::{self, Store, StoreError};

/// A running server.
pub struct Server {
    address: SocketAddr,
    stopper: Stopper,
    threads: Vec<ShardThread>,
    /// None where everything is in memory.
    store: Option<Store>,
    admin: Option<Admin>,
    /// None where nothing can be read again.
    reloader: Option<Reloader>,
}

type ShardThread = JoinHandle<io::Result<()>>;

/// Asks a server to stop. May be kept by anyone, for any time.
#[derive(Clone)]
pub struct Stopper {
    process: Arc<Process>,
    exchange: Arc<Exchange<Mail>>,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// Another program listens there: the flag that names it, and the address.
    AddressInUse(&'static str, SocketAddr),
    /// The address cannot be listened on.
    Bind(&'static str, SocketAddr, io::Error),
    /// The process could not become another user.
    User(UserError),
    /// The keys that tokens are checked with cannot be used.
    Keys(auth::KeyError),
    /// The data folder cannot be used.
    Store(StoreError),
    /// TLS was asked for with a certificate, a key or authorities that do not serve.
    Tls(KeyError),
    /// The system refused a thread, a descriptor or random numbers.
    System(io::Error),
}

/// A shard ended before it was asked to, on which the others were stopped.
#[derive(Debug)]
pub struct ShardFailed;

impl Server {
    /// Starts a server. When this returns, it serves.
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
            threads: Vec::new(),
            store: None,
            admin: None,
            reloader: opened.reloads.start(Arc::clone(&plan.shared.process))?,
        };
        if let Some(store) = opened.store {
            server.store = Some(plan.start_store(store)?);
        }
        for (id, (poll, socket)) in (0..).zip(polls.into_iter().zip(sockets.public)) {
            match plan.spawn(id, poll, socket) {
                Ok(thread) => server.threads.push(thread),
                Err(error) => return Err(server.give_up(error)),
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

    /// Waits until it has stopped, and says what was counted.
    ///
    /// # Errors
    ///
    /// See [`ShardFailed`].
    pub fn join(self) -> Result<Counters, ShardFailed> {
        let results: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
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
        let _ = self.join();
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

/// What it takes to start a shard; the same for all of them.
#[derive(Clone)]
struct Plan {
    settings: Arc<Settings>,
    hash_key: HashKey,
    shared: Shared,
    pin: bool,
    tls: Option<Arc<tls::Current>>,
    desk: Option<Arc<store::Desk>>,
    names: Arc<Vec<Restored>>,
    /// Mutes and bans that were there before.
    sanctions: Arc<Vec<Arc<Sanction>>>,
}

/// What was opened before any thread starts.
struct Opened {
    store: Option<store::Opened>,
    tls: Option<Arc<tls::Current>>,
    auth: Auth,
    reloads: Reloads,
}

impl Plan {
    fn new(config: &Config, auth: Auth, polls: &[Poll]) -> io::Result<Plan> {
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
    fn start_store(&mut self, mut opened: store::Opened) -> io::Result<Store> {
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
    fn operator(&self) -> Option<Operator> {
        let shared = &self.shared;
        let surveys = Arc::clone(shared.surveys.as_ref()?);
        Some(Operator {
            process: Arc::clone(&shared.process),
            exchange: Arc::clone(&shared.exchange),
            surveys,
            clock: shared.clock,
        })
    }

    fn stopper(&self) -> Stopper {
        Stopper {
            process: Arc::clone(&self.shared.process),
            exchange: Arc::clone(&self.shared.exchange),
        }
    }

    fn spawn(&self, id: u16, poll: Poll, socket: TcpListener) -> io::Result<ShardThread> {
        let plan = self.clone();
        let seed = sys::random()?;
        let listener = Listener::new(socket, poll.registry())?;
        // The engine is made in its thread: nothing of it ever leaves that.
        let run = move || {
            if plan.pin {
                sys::pin(id);
            }
            Shard::new(id, poll, listener, plan.engine(id, seed), plan.shared).run()
        };
        thread::Builder::new()
            .name(format!("shard-{id}"))
            .spawn(run)
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

/// Opens the store that a configuration asks for.
fn open_store(config: &Config) -> Result<Option<store::Opened>, StartError> {
    let Some(folder) = config.history.folder() else {
        return Ok(None);
    };
    let plan = store::Plan {
        folder: folder.to_owned(),
        retention: config.retention.clone(),
        is_new_epoch: config.is_new_epoch,
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

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::AddressInUse(flag, address) => {
                write!(
                    f,
                    "{address} is in use: stop the program that listens there, or choose another {flag}"
                )
            }
            StartError::Bind(flag, address, error) => {
                write!(f, "cannot listen on {address} ({flag}): {error}")
            }
            StartError::User(error) => error.fmt(f),
            StartError::Keys(error) => write!(f, "tokens cannot be checked: {error}"),
            StartError::Store(error) => error.fmt(f),
            StartError::Tls(error) => write!(f, "no TLS: {error}"),
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl fmt::Display for ShardFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shard failed, and the others were stopped")
    }
}

impl std::error::Error for ShardFailed {}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::History;
    use crate::limits::Limits;
    use crate::proxy::Networks;
    use crate::store::Retention;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn config(shards: u16) -> Config {
        Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: None,
            shards,
            user: None,
            pin: false,
            tls: None,
            history: History::Memory,
            retention: Retention::default(),
            is_new_epoch: false,
            raw: true,
            echo: true,
            deflate: false,
            auth: config::Auth::Guest,
            origins: Vec::new(),
            trusted_proxies: Networks::default(),
            log: log::LevelFilter::Info,
            room_rules: Default::default(),
            limits: Limits {
                drain_ms: 60_000,
                ..Limits::default()
            },
        }
    }

    /// Joins within a deadline that is shorter than what a stop is given at most: nothing here needs that time.
    fn join(server: Server) -> Counters {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(Box::new(server.join())));
        told.recv_timeout(PATIENCE)
            .expect("it stops in time")
            .expect("no shard failed")
    }

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_serves_and_stops_with_one_shard_and_with_several() {
        for shards in [1, 2, 3] {
            let server = Server::start(&config(shards)).unwrap();
            for _ in 0..20 {
                let answer = ask(server.address(), "/healthz");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
            server.stopper().stop();
            let counters = join(server);
            assert_eq!(counters.accepted_total, 20, "{shards} shards");
            assert_eq!(counters.connections, 0, "{shards} shards");
        }
    }

    #[test]
    fn nothing_is_accepted_once_it_has_stopped() {
        let server = Server::start(&config(2)).unwrap();
        let address = server.address();
        server.stopper().stop();
        join(server);
        TcpStream::connect(address).expect_err("nobody listens");
        let again = Server::start(&Config {
            listen: address,
            ..config(1)
        })
        .expect("the address is free");
        again.stopper().stop();
        join(again);
    }

    #[test]
    fn an_idle_server_sleeps() {
        let server = Server::start(&config(2)).unwrap();
        ask(server.address(), "/healthz");
        let before = server.stopper().counters().turns_total;
        thread::sleep(Duration::from_millis(500));
        let turn_count = server.stopper().counters().turns_total - before;
        assert!(
            turn_count < 100,
            "{turn_count} turns in half a second of nothing"
        );
        server.stopper().stop();
        join(server);
    }

    #[test]
    fn a_silent_connection_does_not_delay_the_stop_beyond_its_deadline() {
        let mut config = config(2);
        config.limits.drain_ms = 500;
        let server = Server::start(&config).unwrap();
        let silent = TcpStream::connect(server.address()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while server.stopper().counters().accepted_total == 0 {
            assert!(Instant::now() < deadline, "it is accepted");
            thread::yield_now();
        }
        server.stopper().stop();
        join(server);
        drop(silent);
    }

    #[test]
    fn an_address_in_use_is_an_error_that_says_so() {
        let server = Server::start(&config(2)).unwrap();
        let address = server.address();
        for shards in [1, 2] {
            let error = Server::start(&Config {
                listen: address,
                ..config(shards)
            })
            .err()
            .expect("it is in use");
            assert!(
                matches!(error, StartError::AddressInUse("--listen", _)),
                "{error}"
            );
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
        server.stopper().stop();
        join(server);
    }
}
