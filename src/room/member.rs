//! A member: one connection's cursor into one room.

use super::segment::Encoding;
use super::tail::{Cut, Tail};
use super::{Connection, Space};

/// Where a membership lives: the room's place on this shard, and the place among its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Place of the room.
    pub room: u32,
    /// Place among the room's members.
    pub member: u32,
}

impl Link {
    /// No membership.
    pub const NONE: Link = Link {
        room: u32::MAX,
        member: u32::MAX,
    };
}

/// How far a member's cursor can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The home has not answered yet.
    Joining,
    /// The cursor lies between two frames.
    Boundary,
    /// A short write left the cursor inside a frame.
    MidFrame,
    /// The frames behind the cursor are gone; `mark` is the last `seq_id` that the member had.
    Lost,
    /// As `Lost`, but the frame in which the cursor stands is kept until it is finished.
    LostMidFrame,
}

/// One connection in one room. 32 bytes, one after the other in the room, so that a pass over them is a walk in a line.
#[derive(Debug)]
pub struct Membership {
    /// The position up to which the member has the room's frames. `u64::MAX` while joining.
    pub cursor: u64,
    /// Passing frames before this position are not for the member; after a loss, the last `seq_id` that it had; while
    /// joining, which join it is.
    mark: u64,
    /// The next membership of the same connection: they form a ring.
    pub next: Link,
    /// Place of the connection.
    pub peer: u32,
    progress: Progress,
    /// Whether the member's own messages come back to it.
    pub echo: bool,
    /// Whether a frame that must be left out may lie in the backlog.
    pub has_own: bool,
    /// Which encoding the member is sent.
    pub encoding: Encoding,
}

const _: () = assert!(size_of::<Membership>() == 32);

impl Membership {
    /// A member whose join, the one of this number, is on its way.
    pub fn joining(peer: u32, echo: bool, number: u64) -> Membership {
        Membership {
            cursor: u64::MAX,
            mark: number,
            next: Link::NONE,
            peer,
            progress: Progress::Joining,
            echo,
            has_own: false,
            encoding: Encoding::Plain,
        }
    }

    /// Lets the member read from `cursor`; passing frames only from `live_from` on.
    pub fn start(&mut self, cursor: u64, live_from: u64) {
        self.cursor = cursor;
        self.mark = live_from;
        self.progress = Progress::Boundary;
    }

    /// Lets the member read from `cursor`, after it is told what it lost behind message `had`.
    pub fn start_lost(&mut self, cursor: u64, had: u64) {
        self.cursor = cursor;
        self.mark = had;
        self.progress = Progress::Lost;
    }

    /// See [`Progress`].
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether the home has not answered yet.
    pub fn is_joining(&self) -> bool {
        self.progress == Progress::Joining
    }

    /// Whether the answer to the join of this number is awaited.
    pub fn is_joining_as(&self, number: u64) -> bool {
        self.is_joining() && self.mark == number
    }

    /// The number of the join whose answer is awaited, if one is.
    pub fn joining_number(&self) -> Option<u64> {
        self.is_joining().then_some(self.mark)
    }

    /// Whether the next byte for this connection must come from this room.
    pub fn is_mid_frame(&self) -> bool {
        matches!(self.progress, Progress::MidFrame | Progress::LostMidFrame)
    }

    /// Whether frames behind the cursor are gone.
    pub fn is_lost(&self) -> bool {
        matches!(self.progress, Progress::Lost | Progress::LostMidFrame)
    }

    /// The last `seq_id` that a member had which has lost frames.
    pub fn had(&self) -> u64 {
        self.mark
    }

    /// A member that has lost frames was given those up to message `seq` from elsewhere, or told that they are gone.
    pub fn has_read(&mut self, seq: u64) {
        debug_assert!(self.progress == Progress::Lost);
        self.mark = self.mark.max(seq);
    }

    /// Whether nothing of the backlog is left out.
    pub fn is_uncut(&self) -> bool {
        self.progress == Progress::Boundary && !self.has_own && self.cursor >= self.mark
    }

    /// Whether the member is sent all bytes behind its cursor as they lie in the segments; it may stand inside a frame.
    pub fn is_plain(&self) -> bool {
        let is_in_step = matches!(self.progress, Progress::Boundary | Progress::MidFrame);
        is_in_step && !self.has_own && self.cursor >= self.mark && self.encoding == Encoding::Plain
    }

    /// What the member does not get to see.
    pub fn cut(&self, space: Space, own: Connection) -> Cut {
        let own_messages = match space {
            Space::Chat => !self.echo,
            Space::Inbox | Space::Raw => true,
        };
        let live_from = if self.is_lost() { 0 } else { self.mark };
        Cut {
            own,
            own_messages,
            live_from,
            encoding: self.encoding,
        }
    }

    /// The frames at the cursor are about to go.
    pub(super) fn lose(&mut self, tail: &mut Tail) {
        let had = tail.seq_at(self.cursor);
        match self.progress {
            Progress::Boundary => self.progress = Progress::Lost,
            Progress::MidFrame => {
                tail.keep(self.cursor, self.encoding);
                self.progress = Progress::LostMidFrame;
            }
            Progress::Joining | Progress::Lost | Progress::LostMidFrame => return,
        }
        self.mark = had;
    }

    /// The member took bytes up to `cursor`.
    pub fn advance(&mut self, cursor: u64, tail: &mut Tail) {
        let boundary = tail.is_boundary(cursor, self.encoding);
        if self.progress == Progress::LostMidFrame && boundary && cursor != self.cursor {
            tail.unkeep(self.cursor, self.encoding);
        }
        self.cursor = cursor;
        self.progress = match (self.is_lost(), boundary) {
            (false, true) => Progress::Boundary,
            (false, false) => Progress::MidFrame,
            (true, true) => Progress::Lost,
            (true, false) => Progress::LostMidFrame,
        };
    }

    /// The rest of the frame in which the member stands goes another way: it is behind it, at `cursor`.
    pub fn finish(&mut self, cursor: u64) {
        debug_assert!(self.progress == Progress::MidFrame);
        self.cursor = cursor;
        self.progress = Progress::Boundary;
    }

    /// The whole backlog up to `cursor`, which is a boundary, was taken.
    pub fn reach(&mut self, cursor: u64) {
        self.cursor = cursor;
        self.has_own = false;
    }

    /// The member leaves: what is kept for it alone can go.
    pub fn forget(&self, tail: &mut Tail) {
        if self.progress == Progress::LostMidFrame {
            tail.unkeep(self.cursor, self.encoding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::Kind;
    use super::*;

    #[test]
    fn a_member_finishes_its_frame_before_the_gap() {
        let mut tail = Tail::new(0);
        let frame = [b'x'; 40_000];
        for _ in 0..3 {
            tail.append(&frame, None, Kind::Numbered, Connection::NONE);
        }
        let mut member = Membership::joining(0, true, 1);
        assert!(member.is_joining() && member.cursor == u64::MAX);
        member.start(tail.start(), 0);
        assert!(member.is_uncut());
        member.advance(tail.start() + 100, &mut tail);
        assert_eq!(member.progress(), Progress::MidFrame);
        member.lose(&mut tail);
        tail.drop_first();
        assert_eq!(
            (member.progress(), member.had()),
            (Progress::LostMidFrame, 1)
        );
        assert_eq!(tail.kept_bytes(), frame.len());
        member.advance(member.cursor + 100, &mut tail);
        assert_eq!(member.progress(), Progress::LostMidFrame);
        let end = member.cursor + 40_000 - 200;
        member.advance(end, &mut tail);
        assert_eq!((member.progress(), tail.kept_bytes()), (Progress::Lost, 0));
    }
}
