//! What happens by itself: timers of rooms, memory, rooms and names that nobody needs any more.

use super::Hub;
use crate::limits::{BURST_MS, KEPT_HOLD_MS};
use crate::log::{Head, Request};
use crate::room::{Home, Membership, Parked, Progress, Space};
use crate::slots::Slot;
use crate::timers::{Tick, ticks};
use crate::users::Claim;
use crate::ws::CloseCode;

pub(super) const TICKS_PER_HOUR: Tick = 36_000;
/// The hour at which the process starts: names may have been left long before.
pub(super) const FIRST_HOUR: u16 = 30_000;

impl Hub {
    /// Runs what is due.
    pub fn expire(&mut self) {
        let mut fired = Vec::new();
        self.timers.advance(self.now.tick(), &mut fired);
        for (index, tick) in fired {
            let room = self.rooms.at_mut(index);
            if let Some(room) = room.filter(|room| room.armed == tick) {
                room.armed = 0;
                self.room_due(index);
            }
        }
        let hour = u16::try_from(self.now.tick() / TICKS_PER_HOUR).unwrap_or(u16::MAX);
        let hour = hour.saturating_add(FIRST_HOUR);
        if hour != self.hour {
            self.hour = hour;
            self.release_names();
        }
        self.ask_late();
        self.settle();
        self.close_stalled();
    }

    /// The next tick at which something may be due.
    pub fn next_tick(&self) -> Option<Tick> {
        let late = self.late_reads.front().map(|(tick, _)| *tick);
        [self.timers.next(), late, self.stall_tick()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Lets a room's timer fire at `tick`, or before.
    pub(super) fn arm_room(&mut self, index: u32, tick: Tick) {
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        if room.armed == 0 || tick < room.armed {
            room.armed = self.timers.arm(index, tick);
        }
    }

    fn room_due(&mut self, index: u32) {
        self.trim(index);
        self.open_again(index);
        self.tell_leaves(index);
        self.tell_count(index);
        self.drop_if_idle(index);
        let Some(room) = self.rooms.at(index) else {
            return;
        };
        let Some(home) = room.home() else { return };
        let leave = home.leaving.front().map(|pending| pending.tick);
        let count = home.count_changed.then_some(home.count_tick);
        let is_held = home.is_kept || room.key.space == Space::Chat;
        let end = (home.is_deserted() && room.members.is_empty() && is_held)
            .then_some(room.touched + self.hold(home));
        if let Some(tick) = [leave, count, end].into_iter().flatten().min() {
            self.arm_room(index, tick);
        }
    }

    pub(super) fn touch(&mut self, index: u32) {
        let now = self.now.tick();
        if let Some(room) = self.rooms.at_mut(index) {
            room.touched = now;
        }
    }

    /// Drops a room that nobody is in and whose log nobody can want: an empty one at once, one with messages after
    /// the time for which it is held.
    pub(super) fn drop_if_idle(&mut self, index: u32) {
        let Some(room) = self.rooms.at(index) else {
            return;
        };
        let Some(home) = room.home().filter(|home| home.is_deserted()) else {
            return;
        };
        let is_over = match room.key.space {
            Space::Raw => true,
            Space::Chat if room.tail.seq() == 0 => true,
            // That of a connected user stays, so that what comes for them is seen to come.
            Space::Inbox if self.is_connected(&room.key.name) => false,
            Space::Inbox if !home.is_kept && room.tail.seq() > 0 => false,
            Space::Chat | Space::Inbox => self.now.tick() >= room.touched + self.hold(home),
        };
        if room.members.is_empty() && is_over {
            self.remove_room(index);
        }
    }

    /// How long a room is held that nobody is in: one that is kept elsewhere as well only so that coming back is quick.
    fn hold(&self, home: &Home) -> Tick {
        let hold_ms = self.limits.room_hold_ms;
        ticks(match home.is_kept {
            true => hold_ms.min(KEPT_HOLD_MS),
            false => hold_ms,
        })
    }

    fn is_connected(&self, name: &str) -> bool {
        let user = self.users.find(name, self.hash_key);
        let user = user.and_then(|user| self.users.at(user));
        user.is_some_and(|user| user.connections > 0 || user.shards != 0)
    }

    /// Forgets a room. Whoever is still linked to it is unlinked.
    pub(super) fn remove_room(&mut self, index: u32) {
        while let Some(last) = self
            .rooms
            .at(index)
            .and_then(|room| room.members.len().checked_sub(1))
        {
            let link = crate::room::Link {
                room: index,
                member: u32::try_from(last).unwrap_or(u32::MAX),
            };
            if self.clients.unlink(link, &mut self.rooms).is_none() {
                break;
            }
        }
        let log = self.rooms.slot_at(index);
        // What waited for it is answered without it.
        let parked = self.unpark(index);
        let parked = parked.into_iter().flat_map(Parked::into_mail);
        self.local.extend(parked.map(|(_, mail)| mail));
        let Some(room) = self.rooms.remove(index, self.hash_key) else {
            return;
        };
        self.payers.release(index);
        self.log_bytes -= room.tail.memory();
        if room.key.space == Space::Raw || room.home().is_none() {
            return;
        }
        // Also where the answer to its opening is on its way: that comes before this.
        self.submission.requests.push(Request::Close { log });
        if room.key.space == Space::Inbox
            && let Some(user) = self.users.find(&room.key.name, self.hash_key)
            && let Some(user) = self.users.at_mut(user)
        {
            user.inbox = Head {
                epoch: room.epoch,
                seq: room.tail.seq(),
            };
        }
    }

    /// Drops what a room keeps beyond its bound, once a pass has brought everyone awake past it.
    pub fn trim(&mut self, index: u32) {
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        let tail_bytes_max = match room.key.space {
            Space::Chat | Space::Raw => self.limits.tail_bytes_max,
            // So much may wait unconfirmed, and has to be there when its user comes back.
            Space::Inbox => self.limits.inbox_bytes_max.max(self.limits.tail_bytes_max),
        };
        let before = room.tail.memory();
        let trimmed = room.trim(tail_bytes_max, self.now.tick());
        self.log_bytes = self.log_bytes + room.tail.memory() - before;
        if trimmed.left_behind {
            self.left_behind(index);
        }
        if trimmed.is_held {
            self.arm_room(index, self.now.tick() + ticks(BURST_MS));
        }
        self.evict();
    }

    /// Members of a room fell off its tail.
    pub(super) fn left_behind(&mut self, index: u32) {
        self.close_lost_relays(index);
        let slot = self.rooms.slot_at(index);
        if !self.stalled.contains(&slot) {
            self.stalled.push(slot);
        }
    }

    /// A reader of a relay that fell off the tail cannot be told what it missed.
    fn close_lost_relays(&mut self, index: u32) {
        let Some(room) = self.rooms.at(index) else {
            return;
        };
        if room.key.space != Space::Raw {
            return;
        }
        for member in room.members.iter().filter(|member| member.is_lost()) {
            self.counters.raw_slow_closed_total += 1;
            let slot = self.clients.slot_at(member.peer);
            self.effects
                .close(slot, CloseCode::SLOW, "too slow for this relay");
        }
    }

    /// Closes those that have stood in the middle of a frame for longest, while too much is kept for them alone. All
    /// readers of a frame are closed together, since it goes with the last of them.
    fn close_stalled(&mut self) {
        let rooms = &self.rooms;
        let kept_bytes = |slot: &Slot| rooms.get(*slot).map_or(0, |room| room.tail.kept_bytes());
        self.stalled.retain(|slot| kept_bytes(slot) > 0);
        let kept: usize = self.stalled.iter().map(kept_bytes).sum();
        let mut excess = (kept as u64).saturating_sub(self.limits.stalled_bytes_max as u64);
        for room in self.stalled.iter().filter_map(|slot| rooms.get(*slot)) {
            for frame in room.tail.kept_frames() {
                if excess == 0 {
                    return;
                }
                excess = excess.saturating_sub(frame.end - frame.start);
                let is_stalled = |member: &&Membership| {
                    member.progress() == Progress::LostMidFrame && frame.contains(&member.cursor)
                };
                for member in room.members.iter().filter(is_stalled) {
                    self.counters.stalled_closed_total += 1;
                    let slot = self.clients.slot_at(member.peer);
                    self.effects
                        .close(slot, CloseCode::SLOW, "stalled for too long");
                }
            }
        }
    }

    /// Brings the memory of all logs below its bound: the oldest tails go first, those of empty rooms before others.
    fn evict(&mut self) {
        let share = self.limits.log_bytes_max / usize::from(self.place.count.max(1));
        if self.log_bytes <= share {
            return;
        }
        let mut candidates: Vec<(bool, Tick, u32)> = self
            .rooms
            .iter()
            .filter(|(_, room)| !room.tail.is_empty())
            .map(|(index, room)| (!room.members.is_empty(), room.touched, index))
            .collect();
        candidates.sort_unstable();
        let enough = share / 10 * 9;
        for (_, _, index) in candidates {
            if self.log_bytes <= enough {
                return;
            }
            self.evict_from(index, enough);
        }
    }

    /// Drops the oldest frames of one room until all logs together hold `enough` bytes at most.
    fn evict_from(&mut self, index: u32, enough: usize) {
        let mut left_behind = false;
        while self.log_bytes > enough
            && let Some(room) = self.rooms.at_mut(index)
            && !room.tail.is_empty()
            && room.tail.first_end() <= room.released
        {
            let before = room.tail.memory();
            left_behind |= room.drop_first();
            self.log_bytes = self.log_bytes + room.tail.memory() - before;
            self.counters.log_evictions_total += 1;
        }
        if left_behind {
            self.left_behind(index);
        }
    }

    /// Names whose time without a connection is over are nobody's again, and their inboxes go.
    fn release_names(&mut self) {
        let hold_hours = u64::from(self.limits.name_hold_days) * 24;
        let hour = self.hour;
        let is_over = |claim: Claim| match claim {
            Claim::Left { since_hour } => u64::from(hour.saturating_sub(since_hour)) >= hold_hours,
            Claim::Mentioned | Claim::Guest { .. } | Claim::Held => false,
        };
        let over: Vec<u32> = self
            .users
            .iter()
            .filter(|(_, user)| is_over(user.claim))
            .map(|(index, _)| index)
            .collect();
        for user in over {
            let name = self
                .users
                .at(user)
                .map(|user| user.name.clone())
                .unwrap_or_default();
            if let Some(inbox) = self.rooms.find(Space::Inbox, &name, self.hash_key) {
                self.remove_room(inbox);
            }
            self.release_name(user);
        }
    }

    /// Brings the gauges up to date.
    pub fn gauge(&mut self) {
        self.counters.rooms = self.rooms.len() as u64;
        self.counters.users = self.users.len() as u64;
        self.counters.log_bytes = self.log_bytes as u64;
        self.counters.compressions_left_out_total = self.deflater.left_out_total();
    }
}
