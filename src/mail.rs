//! What shards send each other. All mail between two shards is one FIFO.
//!
//! Commands go to the home of a room or a user; answers and frames come back. A shard sends mail to itself by the same
//! path, within the turn, so that one shard runs the same code as many.

use crate::log::{Asked, Deletion, Draft, Head, Standing, What};
use crate::proto::event::{Measure, SystemEvent};
use crate::proto::{Action, Code};
use crate::room::{Batch, Connection, Key};
use crate::secret::Secret;
use crate::slots::Slot;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// A position that a client named: an epoch, where it named one, and the last `seq_id` that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// `None`: whichever epoch is current.
    pub epoch: Option<u64>,
    /// See above.
    pub seq: u64,
}

/// The texts of a message on their way to another shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The user who sent it.
    pub sender: Box<str>,
    /// Of a private message: the user to whom.
    pub to: Option<Box<str>>,
    /// The sender's `id`.
    pub id: Option<Box<str>>,
    /// Raw JSON.
    pub content: Box<str>,
    /// Raw JSON.
    pub metadata: Option<Box<str>>,
}

impl Letter {
    /// Copies a draft.
    pub fn new(draft: &Draft<'_>) -> Letter {
        Letter {
            sender: draft.sender.into(),
            to: draft.to.map(Box::from),
            id: draft.id.map(Box::from),
            content: draft.content.into(),
            metadata: draft.metadata.map(Box::from),
        }
    }

    /// The draft again.
    pub fn draft(&self) -> Draft<'_> {
        Draft {
            what: What::Message,
            sender: &self.sender,
            to: self.to.as_deref(),
            id: self.id.as_deref(),
            content: &self.content,
            metadata: self.metadata.as_deref(),
        }
    }
}

/// How a reader comes to follow a log.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Names the numbering.
    pub epoch: u64,
    /// The head at which the answer was made.
    pub head: u64,
    /// Delivery starts behind this `seq_id`.
    pub from: u64,
    /// Whether the reader goes on where it was; `None` where it named no position. `Err` has the reason.
    pub recovered: Option<Result<(), &'static str>>,
    /// Whether the shard follows from here on, and whatever it had is not in step.
    pub is_new: bool,
    /// The frames between `from` and what the replica has, where it lacks them; for one that is new, up to the head.
    pub backfill: Option<Arc<Batch>>,
    /// Of an inbox: the last `seq_id` that its user has surely had.
    pub confirmed: u64,
}

/// What the rules let a connection do that joins a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Whether it may have what was said before it came.
    pub may_read: bool,
    /// Whether its user moderates the room.
    pub is_moderator: bool,
}

/// Why a home does not do what was asked.
#[derive(Clone, Debug)]
pub struct Denied {
    /// For programs.
    pub code: Code,
    /// For humans.
    pub message: Cow<'static, str>,
    /// Whether the same may be asked again as it is, though the code alone does not say so.
    pub is_for_now: bool,
    /// When it may be asked again, where that is known.
    pub retry_after_ms: Option<u64>,
}

impl Denied {
    /// A refusal of which nobody knows when it ends.
    pub fn new(code: Code, message: &'static str) -> Box<Denied> {
        Box::new(Denied {
            code,
            message: message.into(),
            is_for_now: false,
            retry_after_ms: None,
        })
    }
}

/// What a moderator wants done to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub action: Action,
    /// To whom.
    pub user: Arc<str>,
    /// The moderator.
    pub by: Arc<str>,
    /// Of a mute or a ban: how long it lasts.
    pub seconds: Option<u64>,
    /// Why.
    pub reason: Option<Box<str>>,
}

/// A user is taken out of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The user.
    pub user: Box<str>,
    /// By what.
    pub what: SystemEvent,
    /// The moderator.
    pub by: Option<Box<str>>,
    /// Why.
    pub reason: Option<Box<str>>,
    /// Until when it may not come back, in milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
    /// Distinct users that stay.
    pub members: u32,
}

impl Removal {
    /// What the user is told of it.
    pub fn measure(&self) -> Measure<'_> {
        Measure {
            by: self.by.as_deref(),
            reason: self.reason.as_deref(),
            until: self.until_ms,
        }
    }
}

/// By what a connection may have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: a name that is free is given, with a new secret.
    Nothing,
    /// The secret of a session.
    Session(Secret<Box<str>>),
    /// A token that names the user, and was checked where the connection is.
    Token,
}

impl Proof {
    /// What a client brings of its own.
    pub fn of_session(session: Option<Secret<&str>>) -> Proof {
        match session {
            Some(session) => Proof::Session(Secret::new(session.reveal().into())),
            None => Proof::Nothing,
        }
    }
}

/// A claim that was granted.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The session secret, for the user to keep; none where a token proves who they are.
    pub session: Option<Secret<Box<str>>>,
    /// How its inbox is followed.
    pub inbox: Sync,
}

/// A window of a log's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only messages before this `seq_id`.
    pub before: Option<u64>,
    /// Only messages behind this `seq_id`.
    pub after: Option<u64>,
    /// At most so many.
    pub count: usize,
}

/// One piece of mail.
#[derive(Clone, Debug)]
pub enum Mail {
    /// To a user's home: a connection wants this name.
    Claim {
        /// The name.
        name: Arc<str>,
        /// Who asks.
        from: Connection,
        /// What it brings; once the claim is granted, what it may keep.
        proof: Proof,
        /// Where it comes from.
        address: Option<IpAddr>,
        /// From where the inbox is pushed.
        since: Option<Since>,
        /// The `seq_id` before the frames that the shard's replica of the inbox has.
        have: Option<u64>,
        /// The command's `id`.
        id: Option<Box<str>>,
    },
    /// The answer to `Claim`.
    Claimed {
        /// Who asked.
        to: Slot,
        /// The name.
        name: Arc<str>,
        /// What became of it.
        outcome: Result<Box<Granted>, Code>,
        /// The command's `id`.
        id: Option<Box<str>>,
    },
    /// To a user's home: this shard's last connection of the user has gone.
    Gone {
        /// The user.
        name: Arc<str>,
    },
    /// To a room's home.
    Join {
        /// The room.
        room: Key,
        /// Who joins.
        from: Connection,
        /// Its user; empty in a relay.
        user: Arc<str>,
        /// See [`Pass`].
        pass: Pass,
        /// From where it wants to go on.
        since: Option<Since>,
        /// The `seq_id` before the frames that the shard's replica has.
        have: Option<u64>,
        /// Which join of the shard it is.
        number: u64,
        /// Who pays for the room if it has to be made; `None` where that is not counted.
        payer: Option<IpAddr>,
        /// The command's `id`.
        id: Option<Box<str>>,
    },
    /// The answer to `Join`.
    Joined {
        /// The room.
        room: Key,
        /// Who joined.
        to: Slot,
        /// How it follows, and the count of distinct users; or why it may not.
        outcome: Result<(Box<Sync>, u32), Box<Denied>>,
        /// Which join is answered.
        number: u64,
        /// The command's `id`.
        id: Option<Box<str>>,
    },
    /// To a room's home: a connection leaves. Answered by `left` where `to` is told.
    Leave {
        /// The room.
        room: Key,
        /// Its user; empty in a relay.
        user: Arc<str>,
        /// Which join of the shard it takes back, where that is not answered yet.
        join: Option<u64>,
        /// Who wants the answer; `None` where it has gone.
        to: Option<Slot>,
        /// The command's `id`.
        id: Option<Box<str>>,
    },
    /// To a room's or inbox's home: a message.
    Publish {
        /// The log.
        room: Key,
        /// Who sent it.
        from: Connection,
        /// See [`Standing`]. Whether it moderates the room is only said where that matters.
        standing: Standing,
        /// The message.
        letter: Box<Letter>,
    },
    /// To the sender's home: its own copy of a private message.
    Copy {
        /// The sender's inbox.
        room: Key,
        /// The connection that sent it.
        from: Connection,
        /// Names the first: log, epoch and `seq_id`.
        dedupe: u128,
        /// The message.
        letter: Box<Letter>,
    },
    /// To a relay's home: one encoded frame.
    Relay {
        /// The relay.
        room: Key,
        /// Who sent it.
        from: Connection,
        /// The frame as it goes to the others.
        frame: Box<[u8]>,
    },
    /// To a room's or inbox's home: something for whoever is there now.
    Signal {
        /// The log.
        room: Key,
        /// Who sent it.
        from: Connection,
        /// The signal.
        letter: Box<Letter>,
    },
    /// To a log's home: a page of its history is wanted.
    History {
        /// The log.
        room: Key,
        /// Who asks.
        from: Connection,
        /// Its user.
        user: Arc<str>,
        /// Which.
        page: Page,
        /// The command's `id`.
        id: Option<Box<str>>,
    },
    /// To a room's home: who is there?
    Who {
        /// The room.
        room: Key,
        /// Who asks.
        from: Connection,
        /// Its user.
        user: Arc<str>,
        /// The command's `id`.
        id: Option<Box<str>>,
    },
    /// To a room's home: something is to be done to a user.
    Moderate {
        /// The room.
        room: Key,
        /// Who wants it.
        asked: Asked,
        /// See [`Order`].
        order: Box<Order>,
    },
    /// To a room's home: a message is to be deleted.
    Delete {
        /// The room.
        room: Key,
        /// See [`Deletion`].
        deletion: Box<Deletion>,
    },
    /// To a user's home: had the deleter the name when the message was numbered?
    AskOwner {
        /// The room.
        room: Key,
        /// See [`Deletion`].
        deletion: Box<Deletion>,
        /// When the message was numbered, in milliseconds since the Unix epoch.
        unix_ms: u64,
    },
    /// The answer to `AskOwner`, to the room's home.
    Owner {
        /// The room.
        room: Key,
        /// See [`Deletion`].
        deletion: Box<Deletion>,
        /// See above.
        is_owner: bool,
    },
    /// To a shard with members: a message was deleted.
    Erase {
        /// The room.
        room: Key,
        /// The message.
        seq: u64,
    },
    /// To a shard with members: messages up to this one are kept nowhere any more.
    Trimmed {
        /// The room.
        room: Key,
        /// See above.
        seq: u64,
    },
    /// To a shard with members: a user is taken out of the room.
    Remove {
        /// The room.
        room: Key,
        /// See [`Removal`].
        removal: Arc<Removal>,
    },
    /// To a user's home: the inbox was surely had up to here.
    Confirm {
        /// The user's inbox.
        room: Key,
        /// See above.
        seq: u64,
    },
    /// To a replica: frames.
    Frames {
        /// The log.
        room: Key,
        /// Its epoch.
        epoch: u64,
        /// The frames.
        batch: Arc<Batch>,
    },
    /// To a room's home: the replica has taken so many bytes.
    Took {
        /// The log.
        room: Key,
        /// See above.
        bytes: u64,
    },
    /// To a connection: an encoded frame of its own.
    Reply {
        /// Whose.
        to: Slot,
        /// The frame.
        frame: Box<[u8]>,
        /// The room that was reserved for it.
        reserve: Reserve,
    },
}

/// Room reserved in a connection's replies for an answer that is on its way. Without it, answers from other shards
/// could outgrow any bound while the connection goes on asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// None: few of them can be on their way.
    Nothing,
    /// For the answer to a message of so many bytes, which also counts as uncommitted until then.
    Message(usize),
    /// For a `history` or a `presence`: one at a time.
    Page,
}

impl Mail {
    /// About how much memory it holds on its way, in bytes.
    pub fn bytes(&self) -> usize {
        let heap = match self {
            Mail::Publish { letter, .. }
            | Mail::Copy { letter, .. }
            | Mail::Signal { letter, .. } => {
                letter.content.len()
                    + letter
                        .metadata
                        .as_ref()
                        .map_or(0, |metadata| metadata.len())
            }
            Mail::Relay { frame, .. } | Mail::Reply { frame, .. } => frame.len(),
            Mail::Frames { batch, .. } => batch.bytes.len(),
            Mail::Joined {
                outcome: Ok((sync, _)),
                ..
            } => backfill_bytes(sync),
            Mail::Claimed {
                outcome: Ok(granted),
                ..
            } => backfill_bytes(&granted.inbox),
            Mail::Joined {
                outcome: Err(_), ..
            }
            | Mail::Claimed {
                outcome: Err(_), ..
            }
            | Mail::Claim { .. }
            | Mail::Gone { .. }
            | Mail::Join { .. }
            | Mail::Leave { .. }
            | Mail::History { .. }
            | Mail::Who { .. }
            | Mail::Moderate { .. }
            | Mail::Remove { .. }
            | Mail::Delete { .. }
            | Mail::AskOwner { .. }
            | Mail::Owner { .. }
            | Mail::Erase { .. }
            | Mail::Trimmed { .. }
            | Mail::Confirm { .. }
            | Mail::Took { .. } => 0,
        };
        size_of::<Mail>() + heap
    }

    /// The room that a piece of mail goes to the home of, if it does.
    pub fn home_room(&self) -> Option<&Key> {
        match self {
            Mail::Join { room, .. }
            | Mail::Leave { room, .. }
            | Mail::Publish { room, .. }
            | Mail::Copy { room, .. }
            | Mail::Relay { room, .. }
            | Mail::Signal { room, .. }
            | Mail::History { room, .. }
            | Mail::Who { room, .. }
            | Mail::Moderate { room, .. }
            | Mail::Delete { room, .. }
            | Mail::Owner { room, .. }
            | Mail::Confirm { room, .. }
            | Mail::Took { room, .. } => Some(room),
            Mail::Claim { .. }
            | Mail::Claimed { .. }
            | Mail::Gone { .. }
            | Mail::Joined { .. }
            | Mail::Frames { .. }
            | Mail::Remove { .. }
            | Mail::AskOwner { .. }
            | Mail::Erase { .. }
            | Mail::Trimmed { .. }
            | Mail::Reply { .. } => None,
        }
    }
}

fn backfill_bytes(sync: &Sync) -> usize {
    sync.backfill.as_ref().map_or(0, |batch| batch.bytes.len())
}

impl Sync {
    /// Following nothing.
    pub const NOTHING: Sync = Sync {
        epoch: 0,
        head: 0,
        from: 0,
        is_new: false,
        recovered: None,
        backfill: None,
        confirmed: 0,
    };
}

impl Since {
    /// Whether a log that stands at `head` has this position. The error is the reason that the client is told.
    pub fn check(self, head: Head) -> Result<(), &'static str> {
        if self.epoch.is_some_and(|epoch| epoch != head.epoch) {
            Err("epoch")
        } else if self.seq > head.seq {
            Err("ahead")
        } else {
            Ok(())
        }
    }
}
