//! One thread of the server: a poll, an engine, and the turn that joins them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry};

use super::accepting::News;
use super::listener::Listener;
use super::mailbox::Exchange;
use super::port::Port;
use super::process::Process;
use super::signals::Signals;
use super::survey::{Surveys, Task};
use super::token::Subject;
use super::transport::{Common, Transport};
use crate::callers::Caller;
use crate::engine::{Engine, Now, Settings};
use crate::limits::EVENT_COUNT_PER_POLL;
use crate::mail::Mail;
use crate::slots::Slot;

/// One shard: everything that its thread alone touches, and its ends of what all shards share.
pub struct Shard {
    id: u16,
    poll: Poll,
    events: Events,
    /// None once the shard is stopping.
    listener: Option<Listener>,
    engine: Engine<Transport, Port>,
    /// The clock, as this turn read it.
    now: Now,
    stage: Stage,
    /// Of the process, where this is its first shard.
    signals: Option<Signals>,
    /// What an operator asked, while the answer is not complete.
    task: Option<Task>,
    shared: Shared,
}

/// What all shards share.
#[derive(Clone)]
pub struct Shared {
    /// What the operator decides.
    pub settings: Arc<Settings>,
    /// Questions of an operator, where there is an admin port.
    pub surveys: Option<Arc<Surveys>>,
    /// The process around them.
    pub process: Arc<Process>,
    /// Mail between them.
    pub exchange: Arc<Exchange<Mail>>,
    /// The clock of the process.
    pub clock: Clock,
    /// How long a stop may take.
    pub drain_ms: u64,
}

/// Where a shard is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It accepts connections.
    Serving,
    /// It has seen the stop. What was delivered on one shard is still delivered on all, so nobody is told before every
    /// shard has sent the others what it had, or the deadline has come.
    Pausing { until_ms: u64 },
    /// It flushes what is left, until the deadline.
    Draining { until_ms: u64 },
    /// It has nothing left of its own, but passes mail on for the others, until the deadline.
    Drained { until_ms: u64 },
}

impl Shard {
    /// A shard that serves as soon as it runs.
    pub fn new(
        id: u16,
        poll: Poll,
        listener: Listener,
        engine: Engine<Transport, Port>,
        shared: Shared,
    ) -> Shard {
        Shard {
            id,
            poll,
            events: Events::with_capacity(EVENT_COUNT_PER_POLL),
            listener: Some(listener),
            engine,
            now: shared.clock.now(),
            signals: None,
            stage: Stage::Serving,
            task: None,
            shared,
        }
    }

    /// Lets the shard look after the signals of the process.
    ///
    /// # Errors
    ///
    /// The poll does not take them.
    pub fn watch(&mut self, mut signals: Signals) -> io::Result<()> {
        signals.register(self.poll.registry(), Subject::Signals.token())?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Serves until the stop is done.
    ///
    /// # Errors
    ///
    /// The poll failed, which none of its connections can cause.
    pub fn run(mut self) -> io::Result<()> {
        while !self.is_over() {
            self.turn()
                .inspect_err(|error| log::error!("shard {} failed: {error}", self.id))?;
        }
        Ok(())
    }

    /// The turn. Events only set readiness bits, and connections come last, so that a slot freed in a turn is not in
    /// use again while events of the same turn may still mean its predecessor.
    fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        self.now = self.shared.clock.now();
        self.note_events();
        let is_to_drain = self.is_to_drain();
        self.take_mail()?;
        self.engine.common_mut().begin();
        self.engine.turn(self.now);
        if is_to_drain {
            self.drain();
        }
        self.send_mail()?;
        self.pause();
        self.accept();
        self.look();
        self.notice_drained();
        self.publish();
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        let timeout = self.timeout_ms().map(Duration::from_millis);
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    fn timeout_ms(&self) -> Option<u64> {
        let mono_ms = self.now.mono_ms;
        let listener = self
            .listener
            .as_ref()
            .and_then(|listener| listener.timeout_ms(mono_ms));
        let stop = match self.stage {
            Stage::Serving => None,
            Stage::Pausing { until_ms }
            | Stage::Draining { until_ms }
            | Stage::Drained { until_ms } => Some(until_ms.saturating_sub(mono_ms)),
        };
        let task = self.task.as_ref().map(|_| 0);
        [self.engine.timeout_ms(self.now), listener, stop, task]
            .into_iter()
            .flatten()
            .min()
    }

    fn note_events(&mut self) {
        for event in &self.events {
            match Subject::of(event.token()) {
                // Whoever rang has set something that every turn looks at.
                Subject::Waker => {}
                Subject::Signals => self.signals.iter_mut().for_each(Signals::take),
                Subject::Listener => {
                    if let Some(listener) = &mut self.listener {
                        listener.ready();
                    }
                }
                Subject::Peer(slot) => {
                    let closed =
                        event.is_read_closed() || event.is_write_closed() || event.is_error();
                    self.engine
                        .ready(slot, event.is_readable(), event.is_writable(), closed);
                }
            }
        }
    }

    /// The stop begins here: behind the mail of this turn.
    fn pause(&mut self) {
        if self.stage == Stage::Serving && self.shared.process.is_draining() {
            self.listener = None;
            self.stage = Stage::Pausing {
                until_ms: self.now.mono_ms.saturating_add(self.shared.drain_ms),
            };
            self.tell_paused();
        }
    }

    fn tell_paused(&self) {
        if self.shared.process.shard_paused() {
            // As for the last that is drained.
            let _ = self.shared.exchange.ring_all();
        }
    }

    /// Whether everybody is told in this turn. Asked before mail is taken: then all that there is to be delivered is in it.
    fn is_to_drain(&self) -> bool {
        match self.stage {
            Stage::Pausing { until_ms } => {
                self.shared.process.is_paused() || self.now.mono_ms >= until_ms
            }
            Stage::Serving | Stage::Draining { .. } | Stage::Drained { .. } => false,
        }
    }

    fn drain(&mut self) {
        if let Stage::Pausing { until_ms } = self.stage {
            self.engine.drain(self.now);
            self.stage = Stage::Draining { until_ms };
        }
    }

    /// In the turn that flushed the last byte: no event may come after it.
    fn notice_drained(&mut self) {
        match self.stage {
            Stage::Draining { until_ms } if self.engine.drained() => {
                self.stage = Stage::Drained { until_ms };
                self.tell_drained();
            }
            Stage::Serving
            | Stage::Pausing { .. }
            | Stage::Draining { .. }
            | Stage::Drained { .. } => {}
        }
    }

    fn tell_drained(&self) {
        if self.shared.process.shard_drained() {
            // The others wait for nothing but this. A shard that cannot be woken has its deadline.
            let _ = self.shared.exchange.ring_all();
        }
    }

    fn is_over(&self) -> bool {
        match self.stage {
            Stage::Serving | Stage::Pausing { .. } => false,
            Stage::Draining { until_ms } => self.now.mono_ms >= until_ms,
            Stage::Drained { until_ms } => {
                self.shared.process.is_drained() || self.now.mono_ms >= until_ms
            }
        }
    }

    fn take_mail(&mut self) -> io::Result<()> {
        let Shared { exchange, .. } = &self.shared;
        exchange.take(self.id, |from, mail| self.engine.mail(from, mail))?;
        for to in exchange.others(self.id) {
            self.engine.backlog(to, exchange.waiting_bytes(self.id, to));
        }
        Ok(())
    }

    fn send_mail(&mut self) -> io::Result<()> {
        let Shared { exchange, .. } = &self.shared;
        for to in exchange.others(self.id) {
            let mail = self.engine.outgoing(to);
            let bytes = mail.iter().map(Mail::bytes).sum();
            exchange.post(self.id, to, mail, bytes)?;
        }
        Ok(())
    }

    fn accept(&mut self) {
        let Some(listener) = &mut self.listener else {
            return;
        };
        let (registry, now) = (self.poll.registry(), self.now);
        let Shared {
            settings, surveys, ..
        } = &self.shared;
        let admit = |(stream, address): (TcpStream, SocketAddr)| {
            let is_proxy = settings.trusted_proxies.contain(address.ip());
            let caller = Caller {
                // A proxy has as many connections as all its clients together.
                address: (!is_proxy).then_some(address.ip()),
                is_plain: !settings.is_tls,
            };
            let wrap = |stream, slot, common: &mut Common| {
                let mut transport = Transport::new(stream, slot, common);
                if is_proxy {
                    transport = transport.fronted();
                }
                if surveys.is_some() {
                    transport = transport.observed(now.mono_ms);
                }
                transport
            };
            admit(&mut self.engine, registry, now, caller, stream, wrap)
        };
        match listener.accept(now.mono_ms, admit) {
            Some(News::Paused(error)) => {
                self.engine.counters_mut().accept_paused_total += 1;
                log::warn!("shard {} cannot accept and keeps trying: {error}", self.id);
            }
            Some(News::Resumed) => log::info!("shard {} accepts again", self.id),
            None => {}
        }
    }

    /// Looks on for an operator who asked.
    fn look(&mut self) {
        let Some(surveys) = &self.shared.surveys else {
            return;
        };
        if let Some(task) = surveys.take(self.id) {
            self.task = Some(task);
        }
        self.task = self.task.take().and_then(|mut task| {
            let is_all = self.engine.look(&mut task.survey);
            if is_all {
                task.finish();
                None
            } else {
                Some(task)
            }
        });
    }

    /// At the end of every turn: a copy of a few cache lines under a lock that nobody else holds, and a scrape is
    /// never older than the last turn.
    fn publish(&mut self) {
        if let Some(tally) = self.engine.common_mut().tally() {
            tally.count(self.engine.counters_mut());
        }
        self.shared.process.publish(self.id, self.engine.counters());
    }
}

impl Drop for Shard {
    /// However a shard ends, by an error or a panic too: the others neither serve on without it nor wait for it.
    fn drop(&mut self) {
        match self.stage {
            Stage::Serving => {
                self.shared.process.drain();
                self.tell_paused();
                self.tell_drained();
                let _ = self.shared.exchange.ring_all();
            }
            Stage::Pausing { .. } | Stage::Draining { .. } => self.tell_drained(),
            Stage::Drained { .. } => {}
        }
    }
}

/// Hands a new connection to the engine, which says under which slot events for it are to come. `wrap` makes a
/// transport of it.
fn admit(
    engine: &mut Engine<Transport, Port>,
    registry: &Registry,
    now: Now,
    caller: Caller,
    mut stream: TcpStream,
    wrap: impl FnOnce(TcpStream, Slot, &mut Common) -> Transport,
) -> io::Result<()> {
    let mut result = Ok(());
    engine.accept(now, caller, |slot, common: &mut Common| {
        let interest = Interest::READABLE | Interest::WRITABLE;
        result = registry.register(&mut stream, Subject::Peer(slot).token(), interest);
        result.is_ok().then(|| wrap(stream, slot, common))
    });
    result
}

/// The clock of the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock {
            start: Instant::now(),
        }
    }

    /// What time it is.
    pub fn now(self) -> Now {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now {
            mono_ms: whole_ms(self.start.elapsed()),
            // A clock set before 1970 reads as 1970.
            unix_ms: since_epoch.map_or(0, whole_ms),
        }
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
