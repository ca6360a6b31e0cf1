//! What the server answers, held against what was asked.

use super::super::logs::Logs;
use super::super::pages::Page;
use super::super::reader::Reader;
use super::super::{Asked, Excuses};
use super::Chat;
use super::open::{Open, room_of};
use crate::told::{Log, Position, Told};

impl Chat {
    pub(super) fn welcomed(
        &mut self,
        user: &str,
        inbox: &Position,
        recovered: Option<bool>,
        id: Option<&str>,
        logs: &mut Logs,
    ) -> Result<(), String> {
        if self.user.is_some() {
            return Err("a second welcome".to_owned());
        }
        if self.wanted.as_deref().is_some_and(|wanted| wanted != user) {
            return Err(format!("{:?} was wanted", self.wanted));
        }
        if id.is_some() {
            self.close(id, |asked| matches!(asked, Asked::Hello))?;
        }
        self.user = Some(user.to_owned());
        logs.inbox(user, &inbox.epoch, inbox.seq);
        let (log, epoch) = (Log::Inbox(user.to_owned()), &inbox.epoch);
        self.inbox = Some(match (&self.inbox_since, recovered) {
            (Some(since), Some(true)) => {
                if since.seq > inbox.seq || since.epoch.as_ref().is_some_and(|e| e != epoch) {
                    return Err(format!("{since:?} cannot be recovered"));
                }
                logs.confirmed(user, since.seq);
                Reader::after(self.conn, log, epoch, since.seq, true)
            }
            (Some(_), Some(false)) | (None, None) => {
                Reader::after_or_before(self.conn, log, epoch, logs.confirmed_max(user))
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(format!("{:?} was asked", self.inbox_since));
            }
        });
        Ok(())
    }

    pub(super) fn joined(&mut self, told: &Told, logs: &mut Logs) -> Result<(), String> {
        let Told::Joined {
            room,
            head,
            members,
            recovered,
            reason,
            id,
        } = told
        else {
            return Ok(());
        };
        let is_it =
            |asked: &Asked| matches!(asked, Asked::Join { room: other, .. } if other == room);
        let Open { asked, gone, .. } = self.close_open(id.as_deref(), is_it)?;
        let Asked::Join { since, echo, .. } = asked else {
            return Ok(());
        };
        let log = Log::Room(room.clone());
        logs.reached(&log, &head.epoch, head.seq);
        let after = match (&since, recovered) {
            (None, None) => head.seq,
            (Some(since), Some(true)) if since.epoch == head.epoch && since.seq <= head.seq => {
                since.seq
            }
            (Some(since), Some(false)) => {
                let is_so = match reason.as_deref() {
                    Some("epoch") => since.epoch != head.epoch,
                    Some("ahead") => since.seq > head.seq,
                    Some("expired") => {
                        let next = since.seq + 1;
                        logs.lost(self.conn, (&log, &head.epoch), (next, next), false);
                        since.epoch == head.epoch && since.seq < head.seq
                    }
                    Some(_) | None => false,
                };
                if !is_so {
                    return Err(format!(
                        "since {since:?} is not recovered, for a wrong reason"
                    ));
                }
                head.seq
            }
            (Some(_), _) | (None, Some(_)) => return Err(format!("since {since:?} was asked")),
        };
        if *members == 0 {
            return Err("nobody is in it".to_owned());
        }
        self.epochs.insert(room.clone(), head.epoch.clone());
        let mut reader = Reader::after(self.conn, log, &head.epoch, after, !echo);
        reader.gone = gone;
        self.rooms.insert(room.clone(), reader);
        for open in &mut self.open {
            open.was_inside |= room_of(&open.asked) == Some(room);
        }
        Ok(())
    }

    pub(super) fn left(&mut self, room: &str, id: Option<&str>) -> Result<(), String> {
        self.close(
            id,
            |asked| matches!(asked, Asked::Leave { room: other } if other == room),
        )?;
        let was_in_it = self.rooms.remove(room).is_some();
        // A join that was sent behind it may have been refused before.
        match was_in_it || self.refused_rooms.contains(room) {
            true => Ok(()),
            false => Err("it was not in it".to_owned()),
        }
    }

    /// A moderator has taken it out: what it says to the room meanwhile is refused.
    pub(super) fn removed(&mut self, room: &str) -> Result<(), String> {
        self.refused_rooms.insert(room.to_owned());
        let before = self.rooms.remove(room);
        before
            .map(|_| ())
            .ok_or_else(|| "it was not in it".to_owned())
    }

    pub(super) fn acked(
        &mut self,
        to: &Log,
        seq: u64,
        timestamp: u64,
        dup: bool,
        id: Option<&str>,
        logs: &mut Logs,
    ) -> Result<(), String> {
        self.close(id, |asked| match (asked, to) {
            (Asked::Message { to: other, .. }, to) => other == to,
            (Asked::Delete { room, .. }, Log::Room(other)) => room == other,
            _ => false,
        })?;
        let (Some(id), Some(user)) = (id, &self.user) else {
            return Ok(());
        };
        let epoch = match to {
            Log::Room(room) => self.epochs.get(room).map(String::as_str),
            Log::Inbox(_) => None,
        };
        logs.acked((to, epoch), (user, id), seq, timestamp, dup)
    }

    pub(super) fn history(&mut self, told: &Told, logs: &mut Logs) -> Result<(), String> {
        let Told::History {
            of,
            epoch,
            messages,
            more,
            id,
        } = told
        else {
            return Ok(());
        };
        let is_it =
            |asked: &Asked| matches!(asked, Asked::History { of: other, .. } if other == of);
        let Open {
            asked, gone, stood, ..
        } = self.close_open(id.as_deref(), is_it)?;
        let Asked::History {
            before,
            after,
            limit,
            ..
        } = asked
        else {
            return Ok(());
        };
        let page = Page {
            conn: self.conn,
            log: of,
            epoch,
            before,
            after,
            limit,
            stood,
            messages,
            more: *more,
        };
        page.judge(logs)?;
        for message in messages {
            let log = self.log_of(message)?;
            if log != *of {
                return Err("a message of another log".to_owned());
            }
            gone.check(epoch, message)?;
            logs.seen(of, epoch, message)?;
        }
        Ok(())
    }

    pub(super) fn presence(
        &mut self,
        room: &str,
        count: u64,
        members: Option<&[String]>,
        id: Option<&str>,
    ) -> Result<(), String> {
        let Some(members) = members else {
            return self.reader(&Log::Room(room.to_owned())).map(|_| ());
        };
        self.close(
            id,
            |asked| matches!(asked, Asked::Who { room: other } if other == room),
        )?;
        if members.len() as u64 == count {
            Ok(())
        } else {
            Err("the count is not that of the names".to_owned())
        }
    }

    pub(super) fn refused(
        &mut self,
        code: &str,
        request: &str,
        about: Option<&Log>,
        id: Option<&str>,
        logs: &Logs,
        excuses: &Excuses,
    ) -> Result<(), String> {
        if request == "signal" {
            return Ok(());
        }
        if self.user.is_none() && request == "hello" {
            self.is_refused = true;
            let is_known = match code {
                "name_taken" => true,
                "overloaded" => excuses.few_names,
                "storage" => excuses.failing_disk,
                _ => false,
            };
            return if is_known {
                Ok(())
            } else {
                Err("a claim refused".to_owned())
            };
        }
        let is_it = |open: &&Open| match (&open.asked, about) {
            (Asked::Message { to, .. }, Some(about)) if id.is_none() => to == about,
            _ => id.is_some() || matches!(open.asked, Asked::Wrong { .. }),
        };
        let same = |open: &&Open| open.id.as_deref() == id && is_it(open);
        // The same message may be on its way more than once.
        let place = self
            .open
            .iter()
            .position(|open| same(&open) && self.is_right(open, code, logs, excuses));
        let Some(place) = place else {
            return match self.open.iter().find(same) {
                Some(open) => Err(format!("a refusal of {open:?}")),
                None => Err("nothing was asked".to_owned()),
            };
        };
        let open = self.take(place);
        if let Asked::Join { room, .. } = open.asked {
            // Who was in it has left it for that.
            self.rooms.remove(&room);
            self.refused_rooms.insert(room);
        }
        Ok(())
    }
}
