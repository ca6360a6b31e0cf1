//! Relays and echoes: bytes in, the same bytes out.

use super::Conn;
use std::collections::{BTreeMap, VecDeque};

/// One connection of a relay.
#[derive(Debug)]
struct Member {
    room: String,
    is_recorder: bool,
    is_over: bool,
    sent: Vec<Vec<u8>>,
    heard: Vec<Vec<u8>>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Relays {
    members: BTreeMap<Conn, Member>,
    senders: BTreeMap<Vec<u8>, Conn>,
}

/// One connection of the echo: everything comes back, in order.
#[derive(Debug, Default)]
pub struct Echo {
    awaited: VecDeque<Vec<u8>>,
}

impl Relays {
    pub fn opened(&mut self, conn: Conn, room: &str, is_recorder: bool) {
        let member = Member {
            room: room.to_owned(),
            is_recorder,
            is_over: false,
            sent: Vec::new(),
            heard: Vec::new(),
        };
        self.members.insert(conn, member);
    }

    /// Every payload is sent once.
    pub fn sent(&mut self, conn: Conn, payload: &[u8]) -> Result<(), String> {
        let member = self.members.get_mut(&conn).ok_or("not a relay")?;
        member.sent.push(payload.to_vec());
        self.senders.insert(payload.to_vec(), conn);
        Ok(())
    }

    pub fn heard(&mut self, conn: Conn, payload: &[u8]) -> Result<(), String> {
        let sender = self.senders.get(payload);
        let sender =
            sender.ok_or_else(|| format!("c{conn} heard what nobody sent: {payload:?}"))?;
        if *sender == conn {
            return Err(format!("c{conn} heard itself"));
        }
        let room = self.members.get(sender).map(|member| member.room.clone());
        let member = self.members.get_mut(&conn).ok_or("not a relay")?;
        if room.as_ref() != Some(&member.room) {
            return Err(format!("c{conn} heard another room"));
        }
        member.heard.push(payload.to_vec());
        Ok(())
    }

    pub fn ended(&mut self, conn: Conn) {
        if let Some(member) = self.members.get_mut(&conn) {
            member.is_over = true;
        }
    }

    /// The recorder of a room has heard everything, so its order is the room's.
    pub fn done(&self) -> Result<(), String> {
        let recorders = || self.members.values().filter(|member| member.is_recorder);
        // One that fell behind because its shard did has no say.
        let is_whole = |room: &str| recorders().all(|other| other.room != room || !other.is_over);
        for recorder in recorders().filter(|recorder| is_whole(&recorder.room)) {
            let places: BTreeMap<&[u8], usize> = recorder
                .heard
                .iter()
                .enumerate()
                .map(|(place, payload)| (payload.as_slice(), place))
                .collect();
            if places.len() != recorder.heard.len() {
                return Err(format!("{:?} relayed something twice", recorder.room));
            }
            let members = self.members.iter();
            for (conn, member) in members.filter(|(_, member)| member.room == recorder.room) {
                self.check_heard(*conn, member, recorder, &places)?;
                check_sent(*conn, member, &places)?;
            }
        }
        Ok(())
    }

    /// A member hears all of the room from some point on, up to some point, and not itself.
    fn check_heard(
        &self,
        conn: Conn,
        member: &Member,
        recorder: &Member,
        places: &BTreeMap<&[u8], usize>,
    ) -> Result<(), String> {
        let mut next = None;
        for payload in &member.heard {
            let Some(place) = places.get(payload.as_slice()).copied() else {
                return Err(format!("c{conn} heard what its room did not"));
            };
            self.check_between(conn, recorder, next.unwrap_or(place), place)?;
            next = Some(place + 1);
        }
        match next {
            Some(next) if !member.is_over => {
                self.check_between(conn, recorder, next, recorder.heard.len())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What a member did not hear between two places is its own.
    fn check_between(
        &self,
        conn: Conn,
        recorder: &Member,
        first: usize,
        end: usize,
    ) -> Result<(), String> {
        let Some(missed) = recorder.heard.get(first..end) else {
            return Err(format!("c{conn} heard {end} after {first} of its room"));
        };
        let is_own = |payload: &Vec<u8>| self.senders.get(payload) == Some(&conn);
        if missed.iter().all(is_own) {
            Ok(())
        } else {
            Err(format!(
                "c{conn} missed something in {first}..{end} of its room"
            ))
        }
    }
}

/// What one member sends is relayed in its order, without holes, and all of it while it stays.
fn check_sent(conn: Conn, member: &Member, places: &BTreeMap<&[u8], usize>) -> Result<(), String> {
    let mut relayed = Vec::new();
    let mut sent = member.sent.iter();
    for payload in sent.by_ref() {
        match places.get(payload.as_slice()) {
            Some(place) => relayed.push(place),
            None => break,
        }
    }
    let is_rest_lost = sent.all(|payload| !places.contains_key(payload.as_slice()));
    if !relayed.is_sorted() || !is_rest_lost {
        return Err(format!("the room heard c{conn} out of order"));
    }
    if !member.is_over && relayed.len() < member.sent.len() {
        return Err(format!(
            "the room heard {} of {} frames of c{conn}",
            relayed.len(),
            member.sent.len()
        ));
    }
    Ok(())
}

impl Echo {
    pub fn sent(&mut self, payload: &[u8]) -> Result<(), String> {
        self.awaited.push_back(payload.to_vec());
        Ok(())
    }

    pub fn heard(&mut self, payload: &[u8]) -> Result<(), String> {
        match self.awaited.pop_front() {
            Some(awaited) if awaited == payload => Ok(()),
            other => Err(format!("an echo of {payload:?} where {other:?} was due")),
        }
    }

    pub fn done(&self) -> Result<(), String> {
        match self.awaited.front() {
            None => Ok(()),
            Some(payload) => Err(format!("no echo of {payload:?}")),
        }
    }
}
