use super::super::{Draft, First, Note, Owed, Reader, Span, What};
use super::*;
use crate::log::Standing;
use crate::room::Connection;

const LOG: Slot = Slot {
    index: 1,
    generation: 1,
};
const EPOCH: u64 = 77;
const KEY: HashKey = HashKey::new((1, 2));

/// One row of the shelf.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    key: Key,
    seq: u64,
    unix_ms: u64,
    dedupe: Option<u128>,
    sender: String,
    to: Option<String>,
}

/// A copy that is owed: its key, and the message.
type Debt = (u128, Key, u64);

/// What becomes of the next commit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fate {
    #[default]
    Good,
    /// It fails, and nothing is kept.
    Lost,
    /// It fails, and is kept nevertheless.
    Kept,
}

/// A table in memory with transactions that can fail.
#[derive(Debug, Default)]
struct Shelf {
    rows: Vec<Row>,
    copies: Vec<Debt>,
    /// Both, as the transaction leaves them.
    draft: Option<(Vec<Row>, Vec<Debt>)>,
    fate: Fate,
    is_broken: bool,
    /// Claimed names, and whose they are.
    names: Vec<(String, u64)>,
}

impl Shelf {
    fn rows(&self) -> &[Row] {
        self.draft.as_ref().map_or(&self.rows, |(rows, _)| rows)
    }

    fn log(&self, key: &Key) -> Option<Opened> {
        let last = self.rows().iter().rfind(|row| row.key == *key)?;
        Some(Opened {
            trimmed: 0,
            confirmed: 0,
            unix_ms: last.unix_ms,
            ..Opened::nothing(Head {
                epoch: EPOCH,
                seq: last.seq,
            })
        })
    }

    fn staged(&mut self) -> &mut (Vec<Row>, Vec<Debt>) {
        self.draft.as_mut().expect("a transaction was begun")
    }
}

impl Reader for Shelf {
    fn read(
        &mut self,
        key: &Key,
        span: Span,
        each: &mut dyn FnMut(&Entry<'_>) -> bool,
    ) -> Result<Option<Opened>, TableError> {
        let is_wanted =
            |row: &&Row| row.key == *key && row.seq > span.after && row.seq <= span.until;
        for row in self.rows().iter().filter(is_wanted) {
            let entry = Entry {
                seq: row.seq,
                unix_ms: row.unix_ms,
                dedupe: row.dedupe,
                client: 0,
                copy: Copy::None,
                draft: draft(&row.sender, row.to.as_deref()),
            };
            if !each(&entry) {
                break;
            }
        }
        Ok(self.log(key))
    }
}

impl Table for Shelf {
    fn open(&mut self, key: &Key) -> Result<Option<Opened>, TableError> {
        Ok(self.log(key))
    }

    fn epoch(&self) -> u64 {
        EPOCH
    }

    fn find(&mut self, key: &Key, dedupe: u128) -> Result<Option<First>, TableError> {
        let is_it = |row: &&Row| row.key == *key && row.dedupe == Some(dedupe);
        Ok(self
            .rows()
            .iter()
            .find(is_it)
            .map(|row| (row.seq, row.unix_ms)))
    }

    fn begin(&mut self) -> Result<(), TableError> {
        assert!(!self.is_broken, "nothing is begun before it has recovered");
        self.draft = Some((self.rows.clone(), self.copies.clone()));
        Ok(())
    }

    fn append(&mut self, key: &Key, _: u64, entry: &Entry<'_>) -> Result<(), TableError> {
        let row = Row {
            key: key.clone(),
            seq: entry.seq,
            unix_ms: entry.unix_ms,
            dedupe: entry.dedupe,
            sender: entry.draft.sender.to_owned(),
            to: entry.draft.to.map(str::to_owned),
        };
        let seq = entry.seq;
        self.staged().0.push(row);
        match entry.copy {
            Copy::None => Ok(()),
            Copy::Owed(dedupe) => {
                self.staged().1.push((dedupe, key.clone(), seq));
                Ok(())
            }
            Copy::Settles(dedupe) => self.settle(dedupe),
        }
    }

    fn note(&mut self, _: &Note) -> Result<(), TableError> {
        Ok(())
    }

    fn settle(&mut self, dedupe: u128) -> Result<(), TableError> {
        self.staged().1.retain(|(key, ..)| *key != dedupe);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), TableError> {
        let (rows, copies) = self.draft.take().expect("a transaction was begun");
        let fate = std::mem::take(&mut self.fate);
        if fate != Fate::Lost {
            (self.rows, self.copies) = (rows, copies);
        }
        self.is_broken = fate != Fate::Good;
        match self.is_broken {
            false => Ok(()),
            true => Err(TableError("the disk is full".into())),
        }
    }

    fn recover(&mut self) -> Result<(), TableError> {
        self.is_broken = false;
        Ok(())
    }

    fn owed(&mut self) -> Result<Vec<Owed>, TableError> {
        let owed = |(dedupe, key, seq): &Debt| Owed {
            dedupe: *dedupe,
            key: key.clone(),
            seq: *seq,
        };
        Ok(self.copies.iter().map(owed).collect())
    }

    fn is_owed(&mut self, dedupe: u128) -> Result<bool, TableError> {
        let copies = self.draft.as_ref().map_or(&self.copies, |draft| &draft.1);
        Ok(copies.iter().any(|(owed, _, _)| *owed == dedupe))
    }

    fn owner(&mut self, name: &str) -> Result<Option<u64>, TableError> {
        let claim = self.names.iter().find(|(claimed, _)| claimed == name);
        Ok(claim.map(|(_, owner)| *owner))
    }
}

fn draft<'a>(sender: &'a str, to: Option<&'a str>) -> Draft<'a> {
    Draft {
        what: What::Message,
        sender,
        to,
        id: None,
        content: "1",
        metadata: None,
    }
}

fn key(space: Space, name: &str) -> Key {
    let name = name.into();
    Key { space, name }
}

/// Opens `key` as `log`.
fn open<T: Table>(service: &mut LogService<T>, log: Slot, key: Key) -> Outcome {
    let mut submission = Submission::default();
    submission.requests.push(Request::Open {
        log,
        key,
        hint: Head { epoch: 9, seq: 0 },
        is_kept: true,
    });
    outcomes(service, submission, 0).remove(0)
}

fn service() -> LogService<Shelf> {
    let mut service = LogService::new(Shelf::default(), KEY);
    open(&mut service, LOG, key(Space::Chat, "room"));
    service
}

fn batch(ids: &[Option<u128>]) -> Submission {
    let mut submission = Submission::default();
    for id in ids {
        submission.append(LOG, (Connection::NONE, 0), *id, false, &draft("ann", None));
    }
    submission
}

fn submitted(submission: Submission, unix_ms: u64) -> Submitted {
    Submitted {
        shard: 0,
        unix_ms,
        submission,
    }
}

fn outcomes<T: Table>(
    service: &mut LogService<T>,
    submission: Submission,
    unix_ms: u64,
) -> Vec<Outcome> {
    let mut answers = service.process(vec![submitted(submission, unix_ms)]);
    assert_eq!(answers.len(), 1);
    answers.remove(0).1.outcomes
}

fn kept(seq: u64, unix_ms: u64) -> Outcome {
    Outcome::Kept { seq, unix_ms }
}

fn met(seq: u64, unix_ms: u64) -> Outcome {
    Outcome::Met {
        seq,
        unix_ms,
        is_owed: false,
    }
}

#[test]
fn numbers_are_given_in_order_and_a_repeated_id_meets_its_first() {
    let mut in_memory = LogService::in_memory(KEY);
    let opened = open(&mut in_memory, LOG, key(Space::Chat, "room"));
    let nothing = |epoch| Outcome::Opened(Opened::nothing(Head { epoch, seq: 0 }));
    assert_eq!(opened, nothing(9), "in memory, an epoch is the shard's");
    let mut durable = LogService::new(Shelf::default(), KEY);
    let opened = open(&mut durable, LOG, key(Space::Chat, "room"));
    assert_eq!(opened, nothing(EPOCH), "on disk, it is the store's");
    let ids = [None, Some(7), Some(7), None];
    let expected = [kept(1, 100), kept(2, 100), met(2, 100), kept(3, 100)];
    assert_eq!(outcomes(&mut in_memory, batch(&ids), 100), expected);
    assert_eq!(outcomes(&mut durable, batch(&ids), 100), expected);
    let again = [met(2, 100)];
    assert_eq!(outcomes(&mut in_memory, batch(&[Some(7)]), 200), again);
    assert_eq!(outcomes(&mut durable, batch(&[Some(7)]), 200), again);
}

#[test]
fn several_submissions_share_a_transaction_and_its_ids() {
    let mut service = service();
    let batches = vec![
        submitted(batch(&[Some(7)]), 100),
        submitted(batch(&[Some(7), None]), 101),
    ];
    let answers = service.process(batches);
    assert_eq!(answers[0].1.outcomes, [kept(1, 100)]);
    assert_eq!(answers[1].1.outcomes, [met(1, 100), kept(2, 101)]);
}

#[test]
fn a_failed_batch_leaves_no_hole_and_no_id() {
    let mut service = service();
    outcomes(&mut service, batch(&[None]), 100);
    service.table_mut().fate = Fate::Lost;
    let answers = outcomes(&mut service, batch(&[Some(7), None, Some(7)]), 200);
    assert_eq!(answers, [Outcome::Refused; 3]);
    assert!(service.failure().is_some());
    let answers = outcomes(&mut service, batch(&[None]), 250);
    assert_eq!(answers, [Outcome::Refused], "it has not recovered yet");
    assert!(service.recover().unwrap().is_empty());
    assert_eq!(
        outcomes(&mut service, batch(&[Some(7)]), 300),
        [kept(2, 300)]
    );
}

/// Asks for messages with these ids.
fn search(ids: &[u128]) -> Submission {
    let mut submission = Submission::default();
    for id in ids {
        let from = (Connection::NONE, 0);
        submission.find(LOG, from, *id, Standing::Reader, &draft("ann", None));
    }
    submission
}

#[test]
fn a_message_that_is_only_looked_for_is_not_kept() {
    let mut in_memory = LogService::in_memory(KEY);
    open(&mut in_memory, LOG, key(Space::Chat, "room"));
    let mut durable = service();
    let expected = [met(1, 100), Outcome::Missing];
    outcomes(&mut in_memory, batch(&[Some(7)]), 100);
    assert_eq!(outcomes(&mut in_memory, search(&[7, 8]), 200), expected);
    assert_eq!(
        outcomes(&mut in_memory, batch(&[Some(8)]), 300),
        [kept(2, 300)]
    );
    outcomes(&mut durable, batch(&[Some(7)]), 100);
    assert_eq!(outcomes(&mut durable, search(&[7, 8]), 200), expected);
    assert!(durable.table_mut().draft.is_none(), "no transaction");
    // What a transaction that fails may have kept is not known before the recovery.
    durable.table_mut().fate = Fate::Lost;
    let mut both = batch(&[Some(9)]);
    both.requests.extend(search(&[7, 9]).requests);
    assert_eq!(outcomes(&mut durable, both, 300), [Outcome::Refused; 3]);
    assert_eq!(
        outcomes(&mut durable, search(&[7]), 400),
        [Outcome::Refused]
    );
    durable.recover().unwrap();
    let expected = [met(1, 100), Outcome::Missing];
    assert_eq!(outcomes(&mut durable, search(&[7, 9]), 500), expected);
}

#[test]
fn what_was_kept_after_all_is_told_before_anything_else() {
    let mut service = service();
    outcomes(&mut service, batch(&[None]), 100);
    service.table_mut().fate = Fate::Kept;
    let answers = outcomes(&mut service, batch(&[Some(7), None]), 200);
    assert_eq!(answers, [Outcome::Refused; 2]);
    let told = service.recover().unwrap();
    assert_eq!(told.len(), 1);
    let (shard, answers) = &told[0];
    assert!(*shard == 0 && !answers.is_asked);
    assert_eq!(answers.outcomes, [kept(2, 200), kept(3, 200)]);
    let expected = [met(2, 200), kept(4, 300)];
    assert_eq!(
        outcomes(&mut service, batch(&[Some(7), None]), 300),
        expected
    );
}

#[test]
fn where_a_failed_batch_has_left_a_log_is_not_told_before_the_recovery() {
    let other = Slot {
        index: 2,
        generation: 1,
    };
    for (fate, head) in [(Fate::Lost, 1), (Fate::Kept, 2)] {
        let mut service = service();
        outcomes(&mut service, batch(&[None]), 100);
        service.table_mut().fate = fate;
        // The shard lets go of the room and makes it again, all within one transaction.
        let mut submission = batch(&[None]);
        let room = key(Space::Chat, "room");
        submission.requests.push(Request::Close { log: LOG });
        submission.requests.push(Request::Open {
            log: other,
            key: room.clone(),
            hint: Head { epoch: 9, seq: 0 },
            is_kept: true,
        });
        let expected = [Outcome::Refused, Outcome::Closed, Outcome::Refused];
        assert_eq!(outcomes(&mut service, submission, 200), expected);
        assert_eq!(open(&mut service, other, room.clone()), Outcome::Refused);
        let elsewhere = open(&mut service, LOG, key(Space::Chat, "other"));
        assert_ne!(elsewhere, Outcome::Refused, "others can be read");
        service.recover().unwrap();
        let Outcome::Opened(opened) = open(&mut service, other, room) else {
            panic!("it has recovered");
        };
        assert_eq!(opened.head.seq, head, "{fate:?}");
    }
}

#[test]
fn reading_and_logs_in_memory_go_on_without_the_table() {
    let mut service = service();
    service.fail(TableError("the disk is full".into()));
    let mut submission = Submission::default();
    let guest = Slot {
        index: 2,
        generation: 1,
    };
    for (log, is_kept) in [(LOG, true), (guest, false)] {
        submission.requests.push(Request::Open {
            log,
            key: key(Space::Inbox, "guest"),
            hint: Head { epoch: 9, seq: 4 },
            is_kept,
        });
    }
    submission.append(
        guest,
        (Connection::NONE, 0),
        None,
        false,
        &draft("ann", Some("guest")),
    );
    let opened = Outcome::Opened(Opened::nothing(Head { epoch: 9, seq: 4 }));
    let answers = outcomes(&mut service, submission, 100);
    assert_eq!(answers, [opened, opened, kept(5, 100)]);
}

#[test]
fn time_does_not_run_backwards_within_a_log() {
    let mut service = service();
    outcomes(&mut service, batch(&[None]), 500);
    assert_eq!(outcomes(&mut service, batch(&[None]), 400), [kept(2, 500)]);
    open(&mut service, LOG, key(Space::Chat, "room"));
    assert_eq!(outcomes(&mut service, batch(&[None]), 300), [kept(3, 500)]);
}

#[test]
fn a_log_that_is_not_open_refuses() {
    let mut service = service();
    let mut close = Submission::default();
    close.requests.push(Request::Close { log: LOG });
    outcomes(&mut service, close, 0);
    assert_eq!(
        outcomes(&mut service, batch(&[None]), 0),
        [Outcome::Refused]
    );
}

#[test]
fn a_copy_that_is_owed_is_kept_at_the_next_start() {
    let mut service = LogService::new(Shelf::default(), KEY);
    for name in ["ann", "bob"] {
        service.table_mut().names.push((name.into(), 0));
    }
    open(&mut service, LOG, key(Space::Inbox, "bob"));
    let mut submission = Submission::default();
    let from = (Connection::NONE, 0);
    for sender in ["ann", "guest", "bob"] {
        submission.append(LOG, from, None, false, &draft(sender, Some("bob")));
    }
    outcomes(&mut service, submission, 100);
    let mut table = service.into_table();
    let owed: Vec<u64> = table.copies.iter().map(|(_, _, seq)| *seq).collect();
    assert_eq!(
        owed,
        [1],
        "nothing to a guest, and one to oneself is one entry"
    );
    // Twice: a copy that is there is not kept again.
    for _ in 0..2 {
        let mut service = LogService::new(table, KEY);
        service.start().unwrap();
        table = service.into_table();
        assert_eq!(table.copies, []);
        let copies: Vec<_> = table
            .rows
            .iter()
            .filter(|row| row.key == key(Space::Inbox, "ann"))
            .collect();
        assert_eq!(copies.len(), 1);
        assert_eq!(copies[0].to.as_deref(), Some("bob"));
    }
}

#[test]
fn a_repetition_says_whether_its_copy_is_still_owed() {
    let mut service = LogService::new(Shelf::default(), KEY);
    service.table_mut().names.push(("ann".into(), 0));
    let anns = Slot {
        index: 2,
        generation: 1,
    };
    open(&mut service, LOG, key(Space::Inbox, "bob"));
    open(&mut service, anns, key(Space::Inbox, "ann"));
    let (from, message) = ((Connection::NONE, 0), draft("ann", Some("bob")));
    let mut submission = Submission::default();
    submission.append(LOG, from, Some(7), false, &message);
    assert_eq!(
        outcomes(&mut service, submission.clone(), 100),
        [kept(1, 100)]
    );
    let again = outcomes(&mut service, submission.clone(), 200);
    let is_owed = Outcome::Met {
        seq: 1,
        unix_ms: 100,
        is_owed: true,
    };
    assert_eq!(again, [is_owed]);
    let mut copy = Submission::default();
    let dedupe = Some(copy_key(KEY, "bob", 9, 1));
    copy.append(anns, from, dedupe, true, &message);
    assert_eq!(outcomes(&mut service, copy, 300), [kept(1, 300)]);
    assert_eq!(outcomes(&mut service, submission, 400), [met(1, 100)]);
}

#[test]
fn whoever_takes_a_name_repeats_nothing_of_its_last_owner() {
    let mut service = LogService::new(Shelf::default(), KEY);
    open(&mut service, LOG, key(Space::Chat, "room"));
    let from = (Connection::NONE, 0);
    let (mut message, mut find) = (Submission::default(), Submission::default());
    message.append(LOG, from, Some(7), false, &draft("ann", None));
    find.find(LOG, from, 7, Standing::Reader, &draft("ann", None));
    // A guest, one who is not known to be another, and two who are.
    for (owner, seq) in [(None, 1), (Some(0), 1), (Some(100), 2), (Some(90), 3)] {
        let names = owner.map(|owner| ("ann".into(), owner));
        service.table_mut().names = names.into_iter().collect();
        let is_known = owner == Some(0);
        let first = if is_known { met(1, 1) } else { kept(seq, seq) };
        let missing = if is_known {
            met(1, 1)
        } else {
            Outcome::Missing
        };
        assert_eq!(outcomes(&mut service, find.clone(), seq), [missing]);
        assert_eq!(outcomes(&mut service, message.clone(), seq), [first]);
        for again in [&find, &message] {
            let again = outcomes(&mut service, again.clone(), 500);
            assert_eq!(again, [met(seq, seq)], "{owner:?}");
        }
    }
}

/// The disk fails under the copy, and fails again under what recovers it.
#[test]
fn a_copy_that_is_refused_is_kept_and_told_once_the_table_recovers() {
    let anns = Slot {
        index: 2,
        generation: 1,
    };
    for (fate, again) in [
        (Fate::Lost, Fate::Good),
        (Fate::Kept, Fate::Good),
        (Fate::Lost, Fate::Lost),
        (Fate::Lost, Fate::Kept),
    ] {
        let mut service = LogService::new(Shelf::default(), KEY);
        service.table_mut().names.push(("ann".into(), 0));
        open(&mut service, LOG, key(Space::Inbox, "bob"));
        open(&mut service, anns, key(Space::Inbox, "ann"));
        let mut submission = Submission::default();
        let (from, message) = ((Connection::NONE, 0), draft("ann", Some("bob")));
        submission.append(LOG, from, None, false, &message);
        assert_eq!(outcomes(&mut service, submission, 100), [kept(1, 100)]);
        service.table_mut().fate = fate;
        let mut copy = Submission::default();
        let dedupe = Some(copy_key(KEY, "bob", 9, 1));
        copy.append(anns, from, dedupe, true, &message);
        assert_eq!(
            outcomes(&mut service, copy.clone(), 200),
            [Outcome::Refused]
        );
        service.table_mut().fate = again;
        if again != Fate::Good {
            assert!(service.recover().is_err());
            let opened = open(&mut service, anns, key(Space::Inbox, "ann"));
            assert_eq!(opened, Outcome::Refused, "{again:?}: nobody knows it now");
        }
        let told = service.recover().unwrap();
        let outcomes_told: Vec<_> = told.iter().flat_map(|(_, told)| &told.outcomes).collect();
        assert!(
            matches!(outcomes_told[..], [Outcome::Kept { seq: 1, .. }]),
            "{fate:?}, {again:?}: {told:?}"
        );
        assert_eq!(service.table_mut().copies, []);
        let [Outcome::Met { seq: 1, .. }] = outcomes(&mut service, copy, 300)[..] else {
            panic!("{fate:?}: it is there once");
        };
    }
}
