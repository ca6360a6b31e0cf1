//! Who is in a room, kept at its home, and how the members learn of it.
//!
//! In a small room each coming and going is told; a `leave` is told late, so that a reconnect is not news. In a large
//! one only the count is told, now and then.

use super::Hub;
use crate::proto::event::{self, SystemEvent};
use crate::room::{Connection, Kind, Pending, Room};
use crate::timers::ticks;
use std::sync::Arc;

impl Hub {
    /// One more connection of a user is in a room.
    pub(super) fn enter(&mut self, index: u32, name: &str, from: Connection) {
        let user = self.users.mention(name, self.hash_key);
        let Some(home) = self.rooms.at_mut(index).and_then(Room::home_mut) else {
            return;
        };
        let count = home.presence.entry(user).or_insert(0);
        *count += 1;
        if *count > 1 {
            return;
        }
        if let Some(place) = home.leaving.iter().position(|pending| pending.user == user) {
            // The room never heard that the user had gone; its entry is still held.
            home.leaving.remove(place);
            return;
        }
        if let Some(user) = self.users.at_mut(user) {
            user.mentions += 1;
        }
        self.tell_change(index, SystemEvent::Join, name, from);
    }

    /// One connection of a user less is in a room.
    pub(super) fn exit(&mut self, index: u32, name: &str) {
        let Some(user) = self.users.find(name, self.hash_key) else {
            return;
        };
        let tick = self.now.tick() + ticks(self.limits.presence_debounce_ms);
        let Some(home) = self.rooms.at_mut(index).and_then(Room::home_mut) else {
            return;
        };
        let Some(count) = home.presence.get_mut(&user) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            home.presence.remove(&user);
            home.presence.shrink_to(home.presence.len() * 2);
            home.leaving.push_back(Pending { tick, user });
            self.arm_room(index, tick);
        }
    }

    /// Tells the users whose time to come back is over.
    pub(super) fn tell_leaves(&mut self, index: u32) {
        let now = self.now.tick();
        loop {
            let Some(home) = self.rooms.at_mut(index).and_then(Room::home_mut) else {
                return;
            };
            match home.leaving.front() {
                Some(pending) if pending.tick <= now => {
                    let user = pending.user;
                    home.leaving.pop_front();
                    self.tell_leave(index, user);
                }
                Some(_) | None => return,
            }
        }
    }

    fn tell_leave(&mut self, index: u32, user: u32) {
        let Some(entry) = self.users.at_mut(user) else {
            return;
        };
        entry.mentions -= 1;
        let name = entry.name.clone();
        self.users.sweep(user, self.hash_key);
        if self.member_count(index) > 0 {
            self.tell_change(index, SystemEvent::Leave, &name, Connection::NONE);
        }
    }

    fn tell_change(&mut self, index: u32, what: SystemEvent, name: &str, from: Connection) {
        let (now, interval) = (self.now.tick(), ticks(self.limits.presence_count_ms));
        let events_max = self.limits.presence_events_max;
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        let key = Arc::clone(&room.key.name);
        let Some(home) = room.home_mut() else { return };
        if home.presence.len() > events_max as usize {
            if !home.count_changed {
                home.count_changed = true;
                home.count_tick = home.count_tick.max(now + 1).min(now + interval);
                let tick = home.count_tick;
                self.arm_room(index, tick);
            }
            return;
        }
        let timestamp = self.now.unix_ms;
        let event = event::System {
            event: what,
            room_id: &key,
            sender: name,
            timestamp,
            measure: event::Measure::default(),
        };
        self.append_event(index, from, |out| event.encode(out));
    }

    /// Tells the count of a large room, if it is time.
    pub(super) fn tell_count(&mut self, index: u32) {
        let (now, interval) = (self.now.tick(), ticks(self.limits.presence_count_ms));
        let count = u64::from(self.member_count(index));
        let Some(room) = self.rooms.at_mut(index) else {
            return;
        };
        let key = Arc::clone(&room.key.name);
        let Some(home) = room.home_mut() else { return };
        if !home.count_changed || home.count_tick > now {
            return;
        }
        home.count_changed = false;
        home.count_tick = now + interval;
        let event = event::Presence {
            room_id: &key,
            count,
            id: None,
        };
        self.append_event(index, Connection::NONE, |out| event.encode(out));
    }

    /// Distinct users in a room.
    pub(super) fn member_count(&self, index: u32) -> u32 {
        let home = self.rooms.at(index).and_then(Room::home);
        home.map_or(0, |home| {
            u32::try_from(home.presence.len()).unwrap_or(u32::MAX)
        })
    }

    pub(super) fn append_event(
        &mut self,
        index: u32,
        from: Connection,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        self.encode_frame(encode);
        self.append(index, Kind::Passing, from);
    }
}
