//! What the log service keeps beyond what memory holds: pages of history, and chunks for members that fell off the
//! tail of their room.
//!
//! A member that fell off reads on from the log service, one chunk at a time: the next is asked for when the one
//! before is through its socket. It returns to memory at the first frame of the tail.

use super::{Hub, epoch_text};
use crate::limits::{
    CHUNK_BYTES, CHUNK_COUNT_MAX, STORE_RETRY_MS, STORE_STALL_MS, UNCOMMITTED_BYTES_MAX,
};
use crate::log::{Found, LogPort, Purpose, Read, Request, Span, Stretch, TableError};
use crate::mail::{Mail, Reserve};
use crate::proto::{Code, Refusal, event};
use crate::room::{Connection, Key, Link, Membership, Progress, Room};
use crate::slots::Slot;
use crate::timers::{Tick, ticks};
use crate::ws::frame::{self, Opcode, payload_of};
use std::borrow::Cow;

/// How the log service keeps up, as it last said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    waiting_bytes: usize,
    standstill_ms: Option<u64>,
    /// Whether sends were refused in the turn before.
    is_refusing: bool,
}

impl Hub {
    /// Takes what the log service has found.
    pub(super) fn take_found(&mut self, log: &mut impl LogPort) {
        while let Some(Found { read, result }) = log.found() {
            self.found(read, result);
        }
    }

    /// Asks the log service what there is to ask.
    pub(super) fn ask_reads(&mut self, log: &mut impl LogPort) {
        for read in std::mem::take(&mut self.reads) {
            if let Err(read) = log.read(read) {
                self.found(read, Err(TableError("too much is asked already".into())));
            }
        }
    }

    /// Notes how the log service keeps up.
    pub(super) fn look_at(&mut self, log: &impl LogPort) {
        self.pace.waiting_bytes = log.waiting_bytes();
        self.pace.standstill_ms = log.standstill_ms();
    }

    /// The same at the start of a turn. Says whether sends are refused from now on: who was held back is to be read.
    pub fn begin_stall(&mut self, log: &impl LogPort) -> bool {
        self.look_at(log);
        let is_stalled = self.is_stalled();
        !std::mem::replace(&mut self.pace.is_refusing, is_stalled) && is_stalled
    }

    /// When [`Hub::begin_stall`] is to be asked again, if nothing is kept until then.
    pub(super) fn stall_tick(&self) -> Option<Tick> {
        let standstill_ms = self.pace.standstill_ms.filter(|_| !self.pace.is_refusing)?;
        let rest_ms =
            STORE_STALL_MS.saturating_sub(u32::try_from(standstill_ms).unwrap_or(u32::MAX));
        Some(self.now.tick() + ticks(rest_ms).max(1))
    }

    /// Whether so much waits for the disk, with what this turn has brought, that senders are not read. The other shards
    /// may bring as much at the same time.
    pub(super) fn is_log_full(&self) -> bool {
        let new_bytes = self.submission.bytes() * usize::from(self.place.count);
        self.durable && self.pace.waiting_bytes + new_bytes > UNCOMMITTED_BYTES_MAX
    }

    /// Whether the disk has stood still for so long that sends are refused.
    pub(super) fn is_stalled(&self) -> bool {
        self.pace
            .standstill_ms
            .is_some_and(|standstill_ms| standstill_ms >= u64::from(STORE_STALL_MS))
    }

    /// At the home: a page of a log whose memory does not reach so far back.
    pub(super) fn ask_page(&mut self, index: u32, span: Span, count_max: usize, purpose: Purpose) {
        let Some(room) = self.rooms.at(index) else {
            return;
        };
        self.reads.push(Read {
            key: room.key.clone(),
            epoch: room.epoch,
            span,
            count_max,
            bytes_max: crate::limits::HISTORY_BYTES_MAX,
            without: 0,
            purpose,
        });
    }

    /// Asks for the next frames of a member that fell off the tail. Returns false where only memory has any.
    pub fn ask_chunk(&mut self, link: Link, to: Slot) -> bool {
        let Some(room) = self.rooms.at(link.room) else {
            return false;
        };
        let Some(member) = room.members.get(link.member as usize) else {
            return false;
        };
        let is_kept = match room.home() {
            Some(home) => home.is_kept,
            None => self.durable,
        };
        if !is_kept {
            return false;
        }
        self.reads.push(Read {
            key: room.key.clone(),
            epoch: room.epoch,
            span: Span {
                after: member.had(),
                until: room.tail.seq(),
                newest_first: false,
            },
            count_max: CHUNK_COUNT_MAX,
            bytes_max: CHUNK_BYTES,
            without: self.left_out(room, member, to),
            purpose: Purpose::Chunk { to },
        });
        true
    }

    /// Whose messages are left out of a member's chunks: its own, where it does not want to see them.
    fn left_out(&self, room: &Room, member: &Membership, to: Slot) -> u64 {
        let own = self.connection(to);
        match member.cut(room.key.space, own).own_messages {
            true => self.client_number(own),
            false => 0,
        }
    }

    /// Connections whose reading failed may ask again.
    pub(super) fn ask_late(&mut self) {
        while let Some((tick, slot)) = self.late_reads.front().copied()
            && tick <= self.now.tick()
        {
            self.late_reads.pop_front();
            self.effects.chunk(slot, &[]);
        }
    }

    /// The log service keeps only what is behind message `seq`. Nor do the tails, here and on the other shards.
    pub(super) fn trimmed(&mut self, log: Slot, seq: u64) {
        let Some(room) = self.rooms.get_mut(log) else {
            return;
        };
        let key = room.key.clone();
        let Some(home) = room.home_mut() else { return };
        home.trimmed = home.trimmed.max(seq);
        let shards: Vec<u16> = home.subscribers.iter().map(|one| one.shard).collect();
        for shard in shards {
            let room = key.clone();
            self.post(shard, Mail::Trimmed { room, seq });
        }
        self.let_go(log.index, seq);
    }

    /// Messages of a room up to `seq` are kept nowhere any more.
    pub(super) fn let_go(&mut self, index: u32, seq: u64) {
        if let Some(room) = self.rooms.at_mut(index) {
            room.expired = room.expired.max(seq);
            self.trim(index);
        }
    }

    fn found(&mut self, read: Read, result: Result<Stretch, TableError>) {
        if result.is_ok() && self.is_outdated(&read) {
            self.ask_page_again(read);
            return;
        }
        match (&read.purpose, result) {
            (Purpose::Page { from, id, .. }, Ok(stretch)) => {
                self.send_page(&read, &stretch, *from, id.as_deref());
            }
            (Purpose::Page { from, id, .. }, Err(_)) => {
                self.refuse_page(&read.key, *from, id.as_deref());
            }
            (Purpose::Deletion(deletion), result) => {
                self.found_to_delete(&read.key, deletion.clone(), result);
            }
            (Purpose::Chunk { to }, Ok(stretch)) => self.send_chunk(&read, &stretch, *to),
            (Purpose::Chunk { to }, Err(_)) => {
                self.counters.storage_errors_total += 1;
                let tick = self.now.tick() + ticks(STORE_RETRY_MS);
                self.late_reads.push_back((tick, *to));
            }
        }
    }

    /// Whether a message was deleted while a page was read: it might still be on it.
    fn is_outdated(&self, read: &Read) -> bool {
        let Purpose::Page { deletion_count, .. } = &read.purpose else {
            return false;
        };
        *deletion_count != self.deletion_count(&read.key)
    }

    fn ask_page_again(&mut self, mut read: Read) {
        let now = self.deletion_count(&read.key);
        if let Purpose::Page { deletion_count, .. } = &mut read.purpose {
            *deletion_count = now;
        }
        self.reads.push(read);
    }

    /// At the home: how many messages of a room were deleted since it is in memory.
    pub(super) fn deletion_count(&self, key: &Key) -> u64 {
        let home = self
            .find(key)
            .and_then(|index| self.rooms.at(index)?.home());
        home.map_or(0, |home| home.deletion_count)
    }

    fn send_page(&mut self, read: &Read, stretch: &Stretch, from: Connection, id: Option<&str>) {
        let target = read.key.target();
        let epoch = epoch_text(read.epoch);
        let is_found = stretch.first <= stretch.last;
        let trimmed = stretch.log.map_or(0, |log| log.trimmed);
        let more = match read.span.newest_first {
            true => is_found && stretch.first > trimmed + 1,
            false => is_found && stretch.last < read.span.until,
        };
        let history = event::History {
            target: &target,
            epoch: &epoch,
            more,
            id,
        };
        let mut text = Vec::new();
        let messages = stretch.batch.iter().map(|(frame, _)| payload_of(frame));
        history.encode(messages, &mut text);
        self.reply(self.find(&read.key), from, Reserve::Page, |out| {
            out.extend_from_slice(&text)
        });
    }

    fn refuse_page(&mut self, key: &Key, from: Connection, id: Option<&str>) {
        self.counters.storage_errors_total += 1;
        let refusal = Refusal {
            code: Code::Storage,
            message: "the history could not be read: ask again".into(),
            request: "history".into(),
            id: id.map(Cow::Borrowed),
            target: Some(key.target()),
        };
        self.send_refusal(from, key, &refusal, Reserve::Page);
    }

    /// Hands a chunk to its connection, if it still is where it asked. In any case it may ask again.
    fn send_chunk(&mut self, read: &Read, stretch: &Stretch, to: Slot) {
        let mut frames = Vec::new();
        if let Some(link) = self.reading_member(read, to) {
            let gap_end = self.continue_member(link, read.span.after, stretch);
            if let Some(gap_end) = gap_end.filter(|end| *end > read.span.after) {
                self.counters.gaps_total += 1;
                encode_gap(&read.key, read.span.after + 1, gap_end, &mut frames);
            }
            frames.extend_from_slice(&stretch.batch.bytes);
        }
        self.counters.chunks_total += 1;
        self.effects.chunk(to, &frames);
    }

    /// The membership that a chunk is for.
    fn reading_member(&self, read: &Read, to: Slot) -> Option<Link> {
        self.clients.get(to)?;
        let room = self.find(&read.key)?;
        let link = self.clients.membership(to.index, room, &self.rooms)?;
        let room = self.rooms.at(room)?;
        let member = room.members.get(link.member as usize)?;
        // It may have joined anew, and want other messages than when it asked.
        let is_there = room.epoch == read.epoch
            && member.progress() == Progress::Lost
            && member.had() == read.span.after
            && self.left_out(room, member, to) == read.without;
        is_there.then_some(link)
    }

    /// Moves a member behind its chunk. Returns the end of what is missing before that, if anything may be.
    fn continue_member(&mut self, link: Link, had: u64, stretch: &Stretch) -> Option<u64> {
        let room = self.rooms.at_mut(link.room)?;
        let kept = room.tail.seq_before();
        let member = room.members.get_mut(link.member as usize)?;
        if stretch.first > stretch.last {
            // Nothing of it is kept any more, or ever was.
            let trimmed = stretch.log.map_or(kept, |log| log.trimmed);
            let end = if trimmed > had {
                trimmed.min(kept)
            } else {
                kept
            };
            member.has_read(end);
            return Some(end);
        }
        member.has_read(stretch.last);
        (stretch.first > had + 1).then_some(stretch.first - 1)
    }

    /// A log service that could not say where a log stands is asked again.
    pub(super) fn open_again(&mut self, index: u32) {
        let now = self.now.tick();
        let log = self.rooms.slot_at(index);
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        let hint = crate::log::Head {
            epoch: room.epoch,
            seq: room.tail.seq(),
        };
        let key = room.key.clone();
        let Some(home) = room.home_mut() else { return };
        let Some(tick) = home.ask_again else { return };
        if tick > now {
            self.arm_room(index, tick);
            return;
        }
        home.ask_again = None;
        let open = Request::Open {
            log,
            key,
            hint,
            is_kept: home.is_kept,
        };
        self.submission.requests.push(open);
    }
}

/// Appends the frame that tells a reader of a log which messages it will not get: those from `from_seq_id` to
/// `to_seq_id`, both inclusive.
pub fn encode_gap(key: &Key, from_seq_id: u64, to_seq_id: u64, out: &mut Vec<u8>) {
    let target = key.target();
    let gap = event::Gap {
        target: &target,
        from_seq_id,
        to_seq_id,
        reason: "expired",
    };
    let mut text = Vec::new();
    gap.encode(&mut text);
    frame::encode(out, Opcode::Text, &text);
}
