//! Deleting messages. A deletion is a numbered entry of its room, kept like a message, so that who is away learns of
//! it; of the message only a tombstone stays, on the disk and in memory.

use super::Hub;
use super::clients::member_mut;
use super::command::chat_room;
use super::members::Sent;
use super::publish::draft_bytes;
use crate::limits::HISTORY_BYTES_MAX;
use crate::log::{Asked, Deleter, Deletion, Draft, Purpose, Read, Span, Stretch, TableError, What};
use crate::mail::{Mail, Reserve};
use crate::proto::{Code, Refusal, Request, Seen, event};
use crate::room::{Key, Link, Room};
use crate::slots::Slot;
use crate::ws::frame::payload_of;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Why a message is not deleted.
pub(super) type Refused = (Code, &'static str);

/// What the message itself says of a deletion.
enum Judged {
    /// The user may delete it.
    Granted,
    /// It may if it had the name then, in milliseconds since the Unix epoch.
    ToItsOwner { unix_ms: u64 },
}

const MISSING: Refused = (Code::BadField, "`seq_id` is not the number of a message");
const DELETED: Refused = (Code::BadField, "this message is deleted already");
const FOREIGN: Refused = (
    Code::Forbidden,
    "only its author and moderators delete a message",
);
const EARLIER: Refused = (
    Code::Forbidden,
    "this message was sent before the name was yours",
);
const STALLED: Refused = (Code::Overloaded, "the disk is too slow: try again later");
const UNREAD: Refused = (Code::Storage, "the message could not be read: try again");

impl Hub {
    /// At the connection's side: a user wants a message to be deleted.
    pub(super) fn delete(&mut self, peer: Slot, request: &Request<'_>, room: &str, seq: u64) {
        let room = chat_room(room);
        if self.joined_room(peer, room.space, &room.name).is_none() {
            self.refuse_not_joined(peer, request);
            return;
        }
        let (from, id) = (self.connection(peer), request.id.as_deref().map(Box::from));
        let deletion = Box::new(Deletion {
            seq,
            by: Arc::from(self.user_name(peer).unwrap_or_default()),
            right: self.right_to_delete(peer, &room),
            asked: Asked { from, id },
        });
        self.clients.reserve(peer, reserve(&deletion));
        self.post_home(&room.clone(), Mail::Delete { room, deletion });
    }

    fn right_to_delete(&self, peer: Slot, room: &Key) -> Deleter {
        if self.is_moderator(peer, room) {
            Deleter::Moderator
        } else if self.permits.user(peer).is_some() {
            Deleter::Subject
        } else {
            Deleter::Owner
        }
    }

    /// At the home: looks whether the user may delete that, in memory or on the disk.
    pub(super) fn delete_home(&mut self, key: &Key, deletion: Box<Deletion>) {
        let sent = Sent {
            from: deletion.asked.from,
            request: "delete",
            id: deletion.asked.id.as_deref(),
            reserve: reserve(&deletion),
        };
        if let Some(code) = self.refuse_outsider(key, &deletion.by, sent) {
            let Deletion { seq, by, asked, .. } = &*deletion;
            self.record_refused_deletion(key, *seq, by, asked.from, code);
            return;
        }
        let room = self.find(key).and_then(|index| self.rooms.at(index));
        let Some(room) = room.filter(|room| (1..=room.tail.seq()).contains(&deletion.seq)) else {
            self.refuse_deletion(key, &deletion, MISSING);
            return;
        };
        let Some(frame) = room.tail.numbered_frame(deletion.seq) else {
            self.look_for(key, deletion);
            return;
        };
        let judged = judge(payload_of(frame.bytes), &deletion);
        self.judged(key, deletion, judged);
    }

    fn judged(&mut self, key: &Key, deletion: Box<Deletion>, judged: Result<Judged, Refused>) {
        match judged {
            Ok(Judged::Granted) => self.keep_deletion(key, &deletion),
            Ok(Judged::ToItsOwner { unix_ms }) => self.ask_owner(key, deletion, unix_ms),
            Err(refused) => self.refuse_deletion(key, &deletion, refused),
        }
    }

    /// At the room's home: the home of the deleter's name has said whether the message is its owner's.
    pub(super) fn owner_known(&mut self, key: &Key, deletion: &Deletion, is_owner: bool) {
        match is_owner {
            true => self.keep_deletion(key, deletion),
            false => self.refuse_deletion(key, deletion, EARLIER),
        }
    }

    fn look_for(&mut self, key: &Key, deletion: Box<Deletion>) {
        let room = self.find(key).and_then(|index| self.rooms.at(index));
        let home = room.and_then(Room::home);
        let Some(room) =
            room.filter(|_| home.is_some_and(|home| home.has_stored(deletion.seq - 1)))
        else {
            self.refuse_deletion(key, &deletion, MISSING);
            return;
        };
        self.reads.push(Read {
            key: key.clone(),
            epoch: room.epoch,
            span: Span {
                after: deletion.seq - 1,
                until: deletion.seq,
                newest_first: false,
            },
            count_max: 1,
            bytes_max: HISTORY_BYTES_MAX,
            without: 0,
            purpose: Purpose::Deletion(deletion),
        });
    }

    /// At the home: the message was looked for on the disk.
    pub(super) fn found_to_delete(
        &mut self,
        key: &Key,
        deletion: Box<Deletion>,
        result: Result<Stretch, TableError>,
    ) {
        let judged = match &result {
            Ok(stretch) => match stretch.batch.iter().next() {
                Some((frame, _)) => judge(payload_of(frame), &deletion),
                None => Err(MISSING),
            },
            Err(_) => Err(UNREAD),
        };
        self.judged(key, deletion, judged);
    }

    /// Hands a deletion to the log service.
    fn keep_deletion(&mut self, key: &Key, deletion: &Deletion) {
        let Some(index) = self.find(key) else {
            self.refuse_deletion(key, deletion, MISSING);
            return;
        };
        if self.is_stalled() && self.is_kept(key) {
            self.counters.storage_stalled_total += 1;
            self.refuse_deletion(key, deletion, STALLED);
            return;
        }
        let draft = draft(deletion);
        let dedupe = draft
            .id
            .map(|id| self.id_key.wide(&[draft.sender.as_bytes(), id.as_bytes()]));
        self.submit(index, deletion.asked.from, dedupe, false, &draft);
    }

    /// At the home: a deletion has its number, and goes to the members. Of the message it is of only a tombstone stays,
    /// here and on the other shards.
    pub(super) fn deleted(&mut self, index: u32, seq: u64, by: &str, client: u64) {
        self.counters.deletions_total += 1;
        self.erase(index, seq);
        let Some(room) = self.rooms.at(index) else {
            return;
        };
        let key = room.key.clone();
        self.record_deletion(&key, seq, by, client);
        let Some(home) = self.rooms.at_mut(index).and_then(Room::home_mut) else {
            return;
        };
        home.deletion_count += 1;
        let subscribers = home.subscribers.iter();
        let shards: Vec<u16> = subscribers.map(|subscriber| subscriber.shard).collect();
        for shard in shards {
            let room = key.clone();
            self.answer_in_order(index, shard, Mail::Erase { room, seq });
        }
    }

    /// On a shard with members: a message was deleted.
    pub(super) fn erase_in(&mut self, key: &Key, seq: u64) {
        if let Some(index) = self.find(key) {
            self.erase(index, seq);
        }
    }

    /// Puts a tombstone in the place of a message that memory has.
    fn erase(&mut self, index: u32, seq: u64) {
        let Some(room) = self.rooms.at(index) else {
            return;
        };
        let Some(frame) = room.tail.numbered_frame(seq) else {
            return;
        };
        let (payload, end) = (
            payload_of(frame.bytes),
            frame.start + frame.bytes.len() as u64,
        );
        let Some(seen) = Seen::read(payload) else {
            debug_assert!(false, "what was encoded here can be read");
            self.counters.bugs_total += 1;
            return;
        };
        let target = room.key.target();
        let tombstone = event::Tombstone {
            target: &target,
            seq_id: seq,
            timestamp: seen.timestamp,
            sender: &seen.sender,
        };
        // Positions stay what they are, so it fills the place of the message.
        let header_bytes = frame.bytes.len() - payload.len();
        let mut bytes = frame.bytes.get(..header_bytes).unwrap_or_default().to_vec();
        bytes.extend(tombstone.encode_in(payload.len()));
        self.finish_readers(index, frame.start..end);
        if let Some(room) = self.rooms.at_mut(index) {
            room.tail.replace(seq, &bytes);
        }
    }

    /// Who stands inside a frame that is about to go gets the rest of it with its own replies.
    fn finish_readers(&mut self, index: u32, frame: Range<u64>) {
        let room = self.rooms.at(index);
        let members = room.map(|room| room.members.as_slice()).unwrap_or_default();
        let is_inside = |cursor: u64| cursor > frame.start && cursor < frame.end;
        let places = (0..).zip(members).filter(|(_, member)| {
            member.is_mid_frame() && !member.is_lost() && is_inside(member.cursor)
        });
        let inside: Vec<(u32, u32)> = places.map(|(place, member)| (place, member.peer)).collect();
        for (member, peer) in inside {
            let link = Link {
                room: index,
                member,
            };
            self.save_rest(self.clients.slot_at(peer), link);
            if let Some(member) = member_mut(&mut self.rooms, link) {
                member.finish(frame.end);
            }
        }
    }

    pub(super) fn refuse_deletion(
        &mut self,
        key: &Key,
        deletion: &Deletion,
        (code, text): Refused,
    ) {
        let Asked { from, id } = &deletion.asked;
        if code == Code::Forbidden {
            self.record_refused_deletion(key, deletion.seq, &deletion.by, *from, code);
        }
        let refusal = Refusal {
            code,
            message: text.into(),
            request: "delete".into(),
            id: id.as_deref().map(Cow::Borrowed),
            target: Some(key.target()),
        };
        self.send_refusal(*from, key, &refusal, reserve(deletion));
    }
}

/// Whether a user may delete what was read.
fn judge(text: &[u8], deletion: &Deletion) -> Result<Judged, Refused> {
    let Some(seen) = Seen::read(text).filter(Seen::is_message) else {
        return Err(MISSING);
    };
    if seen.deleted {
        return Err(DELETED);
    }
    let is_its_name = *seen.sender == *deletion.by;
    match deletion.right {
        Deleter::Moderator => Ok(Judged::Granted),
        Deleter::Subject if is_its_name => Ok(Judged::Granted),
        Deleter::Owner if is_its_name => Ok(Judged::ToItsOwner {
            unix_ms: seen.timestamp.unwrap_or(0),
        }),
        Deleter::Subject | Deleter::Owner => Err(FOREIGN),
    }
}

fn draft(deletion: &Deletion) -> Draft<'_> {
    Draft {
        what: What::Deletion(deletion.seq),
        sender: &deletion.by,
        to: None,
        id: deletion.asked.id.as_deref(),
        content: "",
        metadata: None,
    }
}

/// What it counts as until it is answered.
fn reserve(deletion: &Deletion) -> Reserve {
    Reserve::Message(draft_bytes(&draft(deletion)))
}
