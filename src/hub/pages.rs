//! Reading a log backwards, and naming who is there: answered by the home.

use super::members::Sent;
use super::{Hub, epoch_text};
use crate::limits::{HISTORY_BYTES_MAX, PRESENCE_MEMBER_COUNT_MAX};
use crate::log::{Purpose, Span};
use crate::mail::{Mail, Page, Reserve};
use crate::proto::event;
use crate::room::{Connection, Home, Key, Space, Tail};
use crate::ws::frame::payload_of;
use std::sync::Arc;

impl Hub {
    /// At the home: a page of history from what memory keeps.
    pub(super) fn history_home(
        &mut self,
        key: &Key,
        (from, user): (Connection, &Arc<str>),
        page: Page,
        id: Option<&str>,
    ) {
        let sent = Sent {
            from,
            request: "history",
            id,
            reserve: Reserve::Page,
        };
        if self.refuse_outsider(key, user, sent).is_some() {
            return;
        }
        let target = key.target();
        if key.space == Space::Inbox && self.is_inbox_stored(&key.name) {
            self.find_or_make(key);
        }
        let index = self.find(key);
        if index.is_some_and(|index| self.is_opening(index)) {
            let (room, user, id) = (key.clone(), Arc::clone(user), id.map(Box::from));
            self.set_aside(Mail::History {
                room,
                from,
                user,
                page,
                id,
            });
            return;
        }
        let Some(room) = index.and_then(|index| self.rooms.at(index)) else {
            // An inbox that never had a message.
            let epoch = epoch_text(self.first_head(key).0);
            let history = event::History {
                target: &target,
                epoch: &epoch,
                more: false,
                id,
            };
            self.reply(None, from, Reserve::Page, |out| history.encode([], out));
            return;
        };
        if let Some(index) = index
            && let Some(span) = room.home().and_then(|home| stored(&room.tail, home, page))
        {
            let id = id.map(Box::from);
            let deletion_count = self.deletion_count(key);
            let purpose = Purpose::Page {
                from,
                id,
                deletion_count,
            };
            self.ask_page(index, span, page.count.max(1), purpose);
            return;
        }
        let gone = match room.home() {
            Some(home) if home.is_kept => home.trimmed,
            Some(_) | None => room.tail.seq_before(),
        };
        let (first, last, more) = window(&room.tail, gone, page);
        let epoch = epoch_text(room.epoch);
        let history = event::History {
            target: &target,
            epoch: &epoch,
            more,
            id,
        };
        let mut text = Vec::new();
        history.encode(messages(&room.tail, first, last), &mut text);
        self.reply(index, from, Reserve::Page, |out| {
            out.extend_from_slice(&text)
        });
    }

    /// At the home: the members of a room.
    pub(super) fn who_home(
        &mut self,
        key: &Key,
        (from, user): (Connection, &str),
        id: Option<&str>,
    ) {
        let sent = Sent {
            from,
            request: "who",
            id,
            reserve: Reserve::Page,
        };
        if self.refuse_outsider(key, user, sent).is_some() {
            return;
        }
        let index = self.find(key);
        let Some(home) = index.and_then(|index| self.rooms.at(index)?.home()) else {
            return;
        };
        let name = Arc::clone(&key.name);
        let presence = event::Presence {
            room_id: &name,
            count: home.presence.len() as u64,
            id,
        };
        let users = home.presence.keys().filter_map(|user| self.users.at(*user));
        let mut names: Vec<&str> = users
            .take(PRESENCE_MEMBER_COUNT_MAX)
            .map(|user| &*user.name)
            .collect();
        names.sort_unstable();
        let mut text = Vec::new();
        presence.encode_with(names, &mut text);
        self.reply(index, from, Reserve::Page, |out| {
            out.extend_from_slice(&text)
        });
    }
}

/// The stretch of a page that memory does not have all of, but the log service may.
fn stored(tail: &Tail, home: &Home, page: Page) -> Option<Span> {
    let until = page
        .before
        .map_or(tail.seq(), |before| before.saturating_sub(1))
        .min(tail.seq());
    let after = page.after.unwrap_or(0);
    let first = match page.after {
        Some(after) => after.saturating_add(1),
        None => (until + 1).saturating_sub(page.count.max(1) as u64),
    };
    let is_wanted = first.max(home.trimmed + 1) <= tail.seq_before().min(until);
    (home.is_kept && is_wanted).then_some(Span {
        after,
        until,
        newest_first: page.after.is_none(),
    })
}

/// The first and last `seq_id` of a page (empty where the last is before the first), and whether the log goes on in
/// the direction paged. Messages up to `gone` are not kept any more, neither here nor by the log service.
fn window(tail: &Tail, gone: u64, page: Page) -> (u64, u64, bool) {
    let kept = tail.seq_before().max(gone) + 1;
    let count = (page.count as u64).max(1);
    match (page.after, page.before) {
        (Some(after), before) => {
            let first = after.saturating_add(1).max(kept);
            let end = before
                .map_or(tail.seq(), |before| before.saturating_sub(1))
                .min(tail.seq());
            let last = forward(tail, first, end.min(first.saturating_add(count - 1)));
            (first, last, last < end)
        }
        (None, before) => {
            let last = before
                .map_or(tail.seq(), |before| before.saturating_sub(1))
                .min(tail.seq());
            let first = last.saturating_sub(count - 1).max(kept);
            let first = backward(tail, first, last);
            (first, last, first > gone + 1 && last >= first)
        }
    }
}

/// The last of `first..=last` that fits a page which starts at `first`.
fn forward(tail: &Tail, first: u64, last: u64) -> u64 {
    let mut bytes = 0;
    (first..=last)
        .take_while(|seq| fits(tail, *seq, &mut bytes))
        .last()
        .unwrap_or(last)
}

/// The first of `first..=last` that fits a page which ends at `last`.
fn backward(tail: &Tail, first: u64, last: u64) -> u64 {
    let mut bytes = 0;
    (first..=last)
        .rev()
        .take_while(|seq| fits(tail, *seq, &mut bytes))
        .last()
        .unwrap_or(first)
}

/// Whether one more message fits; the first always does.
fn fits(tail: &Tail, seq: u64, bytes: &mut usize) -> bool {
    let is_first = *bytes == 0;
    *bytes += tail
        .numbered_frame(seq)
        .map_or(0, |frame| frame.bytes.len());
    is_first || *bytes <= HISTORY_BYTES_MAX
}

fn messages(tail: &Tail, first: u64, last: u64) -> impl Iterator<Item = &[u8]> {
    (first..=last)
        .filter_map(|seq| tail.numbered_frame(seq))
        .map(|frame| payload_of(frame.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Kind;

    fn tail(bytes: usize) -> Tail {
        let mut tail = Tail::new(10);
        for _ in 0..10 {
            tail.append(&vec![b'x'; bytes], None, Kind::Numbered, Connection::NONE);
        }
        tail
    }

    #[test]
    fn pages_are_windows_within_what_is_kept() {
        let tail = tail(100);
        let page = |before, after, count| {
            window(
                &tail,
                10,
                Page {
                    before,
                    after,
                    count,
                },
            )
        };
        assert_eq!(page(None, None, 50), (11, 20, false));
        assert_eq!(page(None, None, 3), (18, 20, true));
        assert_eq!(page(Some(18), None, 3), (15, 17, true));
        assert_eq!(page(Some(13), None, 3), (11, 12, false));
        assert_eq!(page(None, Some(10), 3), (11, 13, true));
        assert_eq!(page(None, Some(0), 3), (11, 13, true));
        assert_eq!(page(None, Some(17), 3), (18, 20, false));
        // Nothing there: an empty window, and nothing more.
        for (first, last, more) in [
            page(Some(11), None, 3),
            page(None, Some(20), 3),
            page(Some(1), None, 3),
        ] {
            assert!(first > last && !more, "{first} {last} {more}");
        }
    }

    #[test]
    fn what_the_log_service_keeps_before_memory_is_more_and_what_it_let_go_of_is_not() {
        let tail = tail(100);
        let page = |gone, before, after, count| {
            let page = Page {
                before,
                after,
                count,
            };
            window(&tail, gone, page)
        };
        // The page begins where memory does.
        assert_eq!(page(9, None, None, 10), (11, 20, true));
        assert_eq!(page(9, Some(12), None, 1), (11, 11, true));
        assert_eq!(page(10, None, None, 10), (11, 20, false));
        // Memory has more than is kept.
        assert_eq!(page(15, None, None, 10), (16, 20, false));
        assert_eq!(page(15, None, None, 4), (17, 20, true));
        assert_eq!(page(15, None, Some(0), 3), (16, 18, true));
        assert_eq!(page(15, Some(18), Some(0), 5), (16, 17, false));
        for (first, last, more) in [
            page(15, Some(16), None, 3),
            page(20, None, None, 3),
            page(20, None, Some(0), 3),
        ] {
            assert!(first > last && !more, "{first} {last} {more}");
        }
    }

    #[test]
    fn a_page_ends_at_its_bytes_but_holds_one_message() {
        let big = tail(HISTORY_BYTES_MAX / 2 - 1);
        assert_eq!(
            window(
                &big,
                10,
                Page {
                    before: None,
                    after: None,
                    count: 50
                }
            ),
            (19, 20, true)
        );
        assert_eq!(
            window(
                &big,
                10,
                Page {
                    before: None,
                    after: Some(12),
                    count: 50
                }
            ),
            (13, 14, true)
        );
        let huge = tail(HISTORY_BYTES_MAX + 1);
        assert_eq!(
            window(
                &huge,
                10,
                Page {
                    before: None,
                    after: None,
                    count: 50
                }
            ),
            (20, 20, true)
        );
    }
}
