//! What all clients of a run know together: every message under its number, as each of them saw it.

use std::collections::HashMap;

/// A log as the clients know it: `#room` or `@user`, and its epoch.
pub type Log = (String, String);

/// A message as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its time.
    pub timestamp: u64,
    /// Who sent it.
    pub sender: String,
    /// The bytes of its content.
    pub content: String,
}

/// A message as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The client that sent it.
    pub client: usize,
    /// `#room` or `@user`.
    pub to: String,
    /// The bytes of its content.
    pub content: String,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Ledger {
    sent: Vec<Sent>,
    seen: HashMap<(Log, u64), Seen>,
    /// Where each token stands in each log.
    places: HashMap<(Log, usize), u64>,
    /// By room and number: the token that an `ack` puts there. Numbers of different epochs have different logs, but an
    /// `ack` does not say which, so those of a room that lived twice are left out.
    acks: HashMap<(Log, u64), usize>,
    /// By relay: the order in which each connection saw the tokens.
    relayed: HashMap<String, Vec<Vec<usize>>>,
}

impl Ledger {
    /// Notes a message before it is sent, and gives it a number that stands in its content.
    pub fn send(&mut self, client: usize, to: String, pad_bytes: usize) -> (usize, String) {
        let token = self.sent.len();
        let content = format!("{{\"n\":{token}, \"pad\":\"{}\"}}", "p".repeat(pad_bytes));
        self.sent.push(Sent {
            client,
            to,
            content: content.clone(),
        });
        (token, content)
    }

    /// The message of a token.
    pub fn sent(&self, token: usize) -> Option<&Sent> {
        self.sent.get(token)
    }

    /// The tokens that a client has sent.
    pub fn tokens_of(&self, client: usize) -> impl Iterator<Item = usize> {
        let sent = self.sent.iter().enumerate();
        sent.filter(move |(_, sent)| sent.client == client)
            .map(|(token, _)| token)
    }

    /// A message was seen in a log.
    pub fn see(&mut self, log: &Log, seq: u64, seen: Seen) {
        let token = token_of(&seen.content).expect("content that somebody sent");
        assert_eq!(
            self.sent[token].content, seen.content,
            "other bytes than were sent"
        );
        assert!(
            self.sent[token].to == log.0 || log.0.starts_with('@'),
            "{log:?} has what was for {}",
            self.sent[token].to
        );
        let place = *self.places.entry((log.clone(), token)).or_insert(seq);
        assert_eq!(place, seq, "token {token} stands twice in {log:?}");
        let before = self
            .seen
            .entry((log.clone(), seq))
            .or_insert_with(|| seen.clone());
        assert_eq!(*before, seen, "number {seq} of {log:?} is two messages");
    }

    /// A message was acknowledged.
    pub fn ack(&mut self, log: &Log, seq: u64, token: usize) {
        let before = *self.acks.entry((log.clone(), seq)).or_insert(token);
        assert_eq!(
            before, token,
            "number {seq} of {log:?} was acknowledged twice"
        );
    }

    /// A message came out of a relay.
    pub fn relay(&mut self, room: &str, connection: &mut Option<usize>, token: usize) {
        let lists = self.relayed.entry(room.to_owned()).or_default();
        let place = *connection.get_or_insert_with(|| {
            lists.push(Vec::new());
            lists.len() - 1
        });
        assert!(!lists[place].contains(&token), "relayed twice");
        lists[place].push(token);
    }

    /// The last number of a log that a client shall have seen, and whether a message is that client's own.
    pub fn last_for(&self, log: &Log, client: usize, with_own: bool) -> u64 {
        let is_wanted = |seq: u64| with_own || self.owner(log, seq) != Some(client);
        let seen = self
            .seen
            .keys()
            .filter(|(other, seq)| other == log && is_wanted(*seq));
        let acks = self
            .acks
            .keys()
            .filter(|(other, seq)| other == log && is_wanted(*seq));
        seen.chain(acks).map(|(_, seq)| *seq).max().unwrap_or(0)
    }

    /// The client that sent a message, as far as anyone knows.
    pub fn owner(&self, log: &Log, seq: u64) -> Option<usize> {
        let key = (log.clone(), seq);
        let seen = self.seen.get(&key).and_then(|seen| token_of(&seen.content));
        let token = seen.or_else(|| self.acks.get(&key).copied())?;
        Some(self.sent[token].client)
    }

    /// What was acknowledged is what was seen, and relays have one order for all.
    pub fn check(&self) {
        for (place, token) in &self.acks {
            if let Some(seen) = self.seen.get(place) {
                assert_eq!(
                    token_of(&seen.content),
                    Some(*token),
                    "acknowledged at {place:?}"
                );
            }
        }
        for lists in self.relayed.values() {
            for (index, list) in lists.iter().enumerate() {
                lists[..index]
                    .iter()
                    .for_each(|other| check_order(list, other));
            }
        }
    }
}

fn check_order(list: &[usize], other: &[usize]) {
    let common = list.iter().filter(|token| other.contains(token));
    let common_of_other = other.iter().filter(|token| list.contains(token));
    assert!(common.eq(common_of_other), "two orders of one relay");
}

/// The token in content that a client made.
pub fn token_of(content: &str) -> Option<usize> {
    content
        .strip_prefix("{\"n\":")?
        .split(',')
        .next()?
        .parse()
        .ok()
}
