//! What the promises mean for what clients see: a reference model that is fed every command and every event of every
//! connection, and knows nothing else of the server.
//!
//! | file | what it checks |
//! |---|---|
//! | `logs` | within one log a number means one message, and an `id` one number, for everyone and for ever |
//! | `reader` | one connection gets a log's messages one after the other, each once, or is told what it does not get |
//! | `chat` | every command gets its one answer, and nobody gets what is not theirs |
//! | `pages` | a page is the one that was asked for, and says truly whether there are more |
//! | `kept` | what anyone has seen, or has an `ack` for, is on the disk once, under its number |
//! | `relay` | a relay's frames come to all others in one order, as they are |

mod chat;
mod kept;
mod logs;
mod pages;
mod reader;
mod relay;
#[cfg(test)]
mod tests;

use crate::image::Image;
use crate::told::{Log, Position, Told};
use chat::Chat;
use logs::Logs;
use relay::{Echo, Relays};
use std::collections::{BTreeMap, BTreeSet};

/// A connection, numbered in the order of opening.
pub type Conn = u32;

/// What a connection is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// `/ws`, under this name if any, with the inbox from this position if any.
    Chat {
        user: Option<String>,
        inbox_since: Option<Since>,
        /// Its client reads everything at once.
        is_eager: bool,
    },
    /// `/raw/{room}`. The recorder is there from first to last and never sends.
    Relay { room: String, is_recorder: bool },
    /// `/echo`
    Echo,
}

/// A position in an inbox; the URL gives no epoch.
#[derive(Clone, Debug)]
pub struct Since {
    pub epoch: Option<String>,
    pub seq: u64,
}

/// A command.
#[derive(Clone, Debug)]
pub enum Asked {
    Hello,
    Join {
        room: String,
        since: Option<Position>,
        echo: bool,
    },
    Leave {
        room: String,
    },
    Message {
        to: Log,
        content: String,
        metadata: Option<String>,
    },
    Signal {
        to: Log,
        content: String,
    },
    History {
        of: Log,
        before: Option<u64>,
        after: Option<u64>,
        limit: Option<usize>,
    },
    Who {
        room: String,
    },
    Delete {
        room: String,
        seq: u64,
    },
    Moderate {
        room: String,
    },
    /// Something that is refused with one of these codes.
    Wrong {
        codes: &'static [&'static str],
    },
}

/// Something that a client did or saw.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection begins.
    Opened { conn: Conn, purpose: Purpose },
    /// A command is on its way.
    Asked {
        conn: Conn,
        id: Option<String>,
        asked: Asked,
    },
    /// The server told something.
    Told { conn: Conn, told: Told },
    /// The server pinged; the mark is how much of the inbox it has written.
    Pinged { conn: Conn, mark: Option<u64> },
    /// The ping with this mark is answered.
    Ponged { conn: Conn, mark: u64 },
    /// Something is on its way to a relay or an echo.
    Sent { conn: Conn, payload: Vec<u8> },
    /// It came out of one.
    Heard { conn: Conn, payload: Vec<u8> },
    /// The client stops reading for a while.
    Stalled { conn: Conn },
    /// The connection is over. `is_strict`: its client read all the time, did nothing wrong and did not end it.
    Ended {
        conn: Conn,
        close: Option<u16>,
        is_strict: bool,
    },
    /// From here on nothing goes wrong any more, and everyone reads.
    Calm,
    /// Everything has come to rest.
    Done,
    /// The server was told to stop.
    Stopping,
}

/// What the limits of a run excuse.
#[derive(Clone, Copy, Debug)]
pub struct Excuses {
    /// Bytes of messages that a room keeps.
    pub tail_bytes_max: usize,
    /// Bytes that an inbox keeps.
    pub inbox_bytes_max: usize,
    /// Rooms are so few that a join may be refused.
    pub few_rooms: bool,
    /// A room takes so few members that a join may be refused.
    pub few_members: bool,
    /// Users may be banned.
    pub has_bans: bool,
    /// Names are so few that a claim may be refused.
    pub few_names: bool,
    /// Stalled readers are closed early.
    pub strict_stalls: bool,
    /// What anyone has seen, or has an `ack` for, is kept for good, or for as long as the retention says.
    pub is_durable: bool,
    /// The disk may be so slow that sends are refused.
    pub slow_disk: bool,
    /// The disk may refuse.
    pub failing_disk: bool,
    /// Time jumps, so that what should take moments may take too long.
    pub has_jumps: bool,
}

/// See the [module](self).
pub struct Oracle {
    excuses: Excuses,
    /// Logs were dropped because all together were too large.
    pub was_evicted: bool,
    is_calm: bool,
    is_stopping: bool,
    /// Signals since the calm, with who sent them: nobody may miss one.
    calm_signals: Vec<(Conn, Log, String)>,
    logs: Logs,
    chats: BTreeMap<Conn, Chat>,
    relays: Relays,
    echoes: BTreeMap<Conn, Echo>,
    over: BTreeSet<Conn>,
}

impl Oracle {
    /// A model of a server on which nothing has happened.
    pub fn new(excuses: Excuses) -> Oracle {
        Oracle {
            excuses,
            was_evicted: false,
            is_calm: false,
            is_stopping: false,
            calm_signals: Vec::new(),
            logs: Logs::default(),
            chats: BTreeMap::new(),
            relays: Relays::default(),
            echoes: BTreeMap::new(),
            over: BTreeSet::new(),
        }
    }

    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// A promise was broken.
    pub fn note(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Opened { conn, purpose } => self.opened(*conn, purpose),
            Event::Asked { conn, id, asked } => {
                if let (true, Asked::Signal { to, content }) = (self.is_calm, asked) {
                    self.calm_signals.push((*conn, to.clone(), content.clone()));
                }
                let (chat, logs) = self.chat(*conn)?;
                chat.asked(id.as_deref(), asked, logs);
                Ok(())
            }
            Event::Told { conn, told } => self.told(*conn, told),
            Event::Pinged { conn, mark } => {
                let Some(mark) = mark else { return Ok(()) };
                let (chat, logs) = self.chat(*conn)?;
                chat.pinged(*mark, logs)
            }
            Event::Ponged { conn, mark } => {
                let (chat, logs) = self.chat(*conn)?;
                chat.ponged(*mark, logs);
                Ok(())
            }
            Event::Sent { conn, payload } => match self.echoes.get_mut(conn) {
                Some(echo) => echo.sent(payload),
                None => self.relays.sent(*conn, payload),
            },
            Event::Heard { conn, payload } => match self.echoes.get_mut(conn) {
                Some(echo) => echo.heard(payload),
                None => self.relays.heard(*conn, payload),
            },
            Event::Ended {
                conn,
                close,
                is_strict,
            } => self.ended(*conn, *close, *is_strict),
            Event::Stalled { conn } => {
                self.chat(*conn)?.0.stalled();
                Ok(())
            }
            Event::Calm => {
                self.is_calm = true;
                Ok(())
            }
            Event::Stopping => {
                self.is_stopping = true;
                Ok(())
            }
            Event::Done => self.done(),
        }
    }

    fn opened(&mut self, conn: Conn, purpose: &Purpose) -> Result<(), String> {
        match purpose {
            Purpose::Chat {
                user,
                inbox_since,
                is_eager,
            } => {
                let since = inbox_since.clone();
                let chat = Chat::new(conn, user.clone(), since, *is_eager, &mut self.logs);
                self.chats.insert(conn, chat);
            }
            Purpose::Relay { room, is_recorder } => self.relays.opened(conn, room, *is_recorder),
            Purpose::Echo => {
                self.echoes.insert(conn, Echo::default());
            }
        }
        Ok(())
    }

    fn chat(&mut self, conn: Conn) -> Result<(&mut Chat, &mut Logs), String> {
        let chat = self.chats.get_mut(&conn);
        let chat = chat.ok_or_else(|| format!("c{conn} is not a chat"))?;
        Ok((chat, &mut self.logs))
    }

    fn told(&mut self, conn: Conn, told: &Told) -> Result<(), String> {
        let excuses = self.excuses;
        let (chat, logs) = self.chat(conn)?;
        let result = chat.told(told, logs, &excuses);
        result.map_err(|fault| format!("c{conn}: {fault}: {told:?}"))?;
        if let Some(room) = chat.take_intrusion() {
            self.check_intrusion(conn, &room)?;
        }
        if let Told::Presence {
            room,
            members: Some(members),
            ..
        } = told
            && self.is_calm
        {
            self.check_members(room, members)?;
        }
        Ok(())
    }

    /// Only members are served in a room; of a user each connection is, where one of them is.
    fn check_intrusion(&self, conn: Conn, room: &str) -> Result<(), String> {
        let user = self.chats.get(&conn).and_then(Chat::user);
        let mut others = self.chats.iter().filter(|(other, chat)| {
            **other != conn && !self.over.contains(*other) && chat.user() == user
        });
        match others.any(|(_, chat)| chat.may_be_in(room)) {
            true => Ok(()),
            false => Err(format!("c{conn} was served in {room:?} and never let in")),
        }
    }

    /// In the calm everyone knows who is there.
    fn check_members(&self, room: &str, members: &[String]) -> Result<(), String> {
        let here = self
            .chats
            .iter()
            .filter(|(conn, chat)| !self.over.contains(conn) && chat.is_in(room))
            .filter_map(|(_, chat)| chat.user());
        let here: BTreeSet<&str> = here.collect();
        let told: BTreeSet<&str> = members.iter().map(String::as_str).collect();
        if told.len() != members.len() || told != here {
            return Err(format!(
                "{room:?} is told to have {members:?}, but has {here:?}"
            ));
        }
        Ok(())
    }

    /// In the calm every signal comes to all others.
    fn check_signals(&self, conn: Conn, chat: &Chat) -> Result<(), String> {
        let others = self.calm_signals.iter().filter(|(from, ..)| *from != conn);
        let mut missed = others.filter(|(_, to, signal)| chat.reads(to) && !chat.has_heard(signal));
        match missed.next() {
            None => Ok(()),
            Some(signal) => Err(format!("c{conn} never heard {signal:?}")),
        }
    }

    fn ended(&mut self, conn: Conn, close: Option<u16>, is_strict: bool) -> Result<(), String> {
        self.over.insert(conn);
        self.relays.ended(conn);
        let is_refused = self.chats.get(&conn).is_some_and(Chat::is_refused);
        let is_known = match close {
            Some(1001) => self.is_stopping,
            Some(4200) => self.excuses.strict_stalls,
            // Its claim was not kept in time.
            Some(4100) => self.excuses.slow_disk || self.excuses.has_jumps,
            Some(_) | None => false,
        };
        if is_strict && !is_refused && !is_known {
            return Err(format!("c{conn} was ended with {close:?} without a reason"));
        }
        Ok(())
    }

    /// Compares what is on the disk with what was seen.
    ///
    /// # Errors
    ///
    /// A promise was broken.
    pub fn check_kept(&self, image: &Image) -> Result<(), String> {
        kept::check(image, &self.logs)
    }

    fn done(&mut self) -> Result<(), String> {
        let is_alive = |(conn, _): &(&Conn, &Chat)| !self.over.contains(*conn);
        for (conn, chat) in self.chats.iter().filter(is_alive) {
            chat.done(&mut self.logs)
                .map_err(|fault| format!("c{conn} at the end: {fault}"))?;
        }
        for (conn, chat) in self.chats.iter().filter(is_alive) {
            self.check_signals(*conn, chat)?;
        }
        self.logs.done(&self.excuses, self.was_evicted)?;
        self.relays.done()?;
        let mut alive = self
            .echoes
            .iter()
            .filter(|(conn, _)| !self.over.contains(conn));
        alive.try_for_each(|(_, echo)| echo.done())
    }
}
