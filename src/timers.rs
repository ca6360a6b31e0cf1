//! A hashed wheel of coarse timers: arming and firing cost the same for ten connections and for a million.
//!
//! The wheel holds bare indices. The owner of an index keeps the tick for which it is armed, and a firing that does
//! not meet that tick is stale and means nothing. So a timer is moved by writing one number, and cancelled by none.

/// Milliseconds in one tick of the wheel.
pub const TICK_MS: u64 = 100;

const SLOT_COUNT: usize = 1024;

const WORD_COUNT: usize = SLOT_COUNT / u64::BITS as usize;

/// A point in time in ticks of [`TICK_MS`] since the start of the process; lasts 13 years.
pub type Tick = u32;

/// The tick in which the millisecond `mono_ms` lies.
pub fn tick_at(mono_ms: u64) -> Tick {
    Tick::try_from(mono_ms / TICK_MS).unwrap_or(Tick::MAX)
}

/// The length of `ms` in ticks, rounded up, at least one.
pub fn ticks(ms: u32) -> Tick {
    ms.div_ceil(TICK_MS as u32).max(1)
}

/// Timers by the tick in which they fire.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<u32>>,
    /// A bit for each slot: whether anything is in it. Each turn asks for the next one.
    occupied: [u64; WORD_COUNT],
    /// Every slot up to this tick has fired.
    at: Tick,
    count: usize,
}

impl Wheel {
    /// An empty wheel that stands at `now`.
    pub fn new(now: Tick) -> Wheel {
        Wheel {
            slots: vec![Vec::new(); SLOT_COUNT],
            occupied: [0; WORD_COUNT],
            at: now,
            count: 0,
        }
    }

    /// Lets `index` fire at `tick`, or as far ahead of now as the wheel reaches, or in the next tick if that has
    /// passed. Returns the tick for which it is armed now.
    pub fn arm(&mut self, index: u32, tick: Tick) -> Tick {
        let tick = tick.clamp(self.at + 1, self.at + SLOT_COUNT as Tick - 1);
        let slot = tick as usize % SLOT_COUNT;
        self.slots[slot].push(index);
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.count += 1;
        tick
    }

    /// Moves the wheel to `now`; `fired` gets each index that was armed on the way, with its tick.
    pub fn advance(&mut self, now: Tick, fired: &mut Vec<(u32, Tick)>) {
        // However long the process slept: nothing is armed for later than a round from where the wheel stands.
        let end = now.min(self.at.saturating_add(SLOT_COUNT as Tick));
        while self.at < end {
            self.at += 1;
            let index = self.at as usize % SLOT_COUNT;
            self.occupied[index / 64] &= !(1 << (index % 64));
            let slot = &mut self.slots[index];
            self.count -= slot.len();
            fired.extend(slot.drain(..).map(|index| (index, self.at)));
            slot.shrink_to(64);
        }
        self.at = self.at.max(now);
    }

    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The next tick at which something may fire.
    pub fn next(&self) -> Option<Tick> {
        if self.is_empty() {
            return None;
        }
        let first = (self.at + 1) as usize % SLOT_COUNT;
        // The word of the first slot comes twice: with what is from there on, and at last with what is before.
        let mut from = u64::MAX << (first % 64);
        for word in (first / 64..WORD_COUNT).chain(0..=first / 64) {
            let bits = self.occupied[word] & from;
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (slot + SLOT_COUNT - first) % SLOT_COUNT;
                return Some(self.at + 1 + ahead as Tick);
            }
            from = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_fires_once_in_its_tick() {
        let mut wheel = Wheel::new(5);
        for (index, tick) in [(1, 6), (2, 9), (3, 9), (4, 900)] {
            assert_eq!(wheel.arm(index, tick), tick);
        }
        let mut fired = Vec::new();
        wheel.advance(8, &mut fired);
        assert_eq!(fired, [(1, 6)]);
        assert_eq!(wheel.next(), Some(9));
        wheel.advance(1000, &mut fired);
        assert_eq!(fired, [(1, 6), (2, 9), (3, 9), (4, 900)]);
        assert!(wheel.is_empty() && wheel.next().is_none());
    }

    #[test]
    fn the_past_and_the_far_future_are_clamped() {
        let mut wheel = Wheel::new(10);
        assert_eq!(wheel.arm(1, 3), 11);
        assert_eq!(wheel.arm(2, 1_000_000), 10 + SLOT_COUNT as Tick - 1);
    }

    #[test]
    fn a_long_sleep_fires_everything_as_it_was_armed() {
        for sleep in [1_000, 1_024, 1_100, 2_048, 5_000_000] {
            let mut wheel = Wheel::new(7);
            wheel.arm(1, 10);
            wheel.arm(2, 700);
            wheel.arm(3, 1_000_000);
            let mut fired = Vec::new();
            wheel.advance(7 + sleep, &mut fired);
            let expected = [(1, 10), (2, 700), (3, 7 + 1_023)];
            let count = if sleep < 1_023 { 2 } else { 3 };
            assert_eq!(fired, expected[..count], "after {sleep}");
            assert_eq!(wheel.is_empty(), count == 3);
            assert_eq!(wheel.arm(4, 1), 7 + sleep + 1);
        }
    }

    #[test]
    fn the_next_tick_is_the_first_of_those_armed() {
        for at in (0..2_100).step_by(7) {
            for ahead in [
                1, 2, 23, 62, 63, 64, 65, 66, 127, 128, 500, 959, 960, 961, 1_022, 1_023,
            ] {
                let mut wheel = Wheel::new(at);
                assert_eq!(wheel.next(), None);
                wheel.arm(1, at + 1_023);
                wheel.arm(2, at + ahead);
                assert_eq!(wheel.next(), Some(at + ahead), "from {at}");
                wheel.advance(at + ahead, &mut Vec::new());
                let left = (ahead < 1_023).then_some(at + 1_023);
                assert_eq!(wheel.next(), left, "from {at}, {ahead} later");
            }
        }
    }
}
