//! A slab whose indices cannot be mistaken: each value is known by its index and a generation.
//!
//! A slot that is freed and reused within one batch of events must never receive its predecessor's event, so every
//! index that outlives a statement is a [`Slot`].

use slab::Slab;

/// Where a value lives, and which of the values that lived there it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Place in the slab.
    pub index: u32,
    /// Counts insertions; two values of one place differ in it.
    pub generation: u32,
}

impl Slot {
    /// A slot that no value ever has.
    pub const NONE: Slot = Slot {
        index: u32::MAX,
        generation: u32::MAX,
    };

    /// Both halves in one number, as an event token carries them.
    pub fn to_u64(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.index)
    }

    /// The inverse of [`Slot::to_u64`].
    pub fn from_u64(number: u64) -> Slot {
        let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
        Slot {
            index: u32::from_le_bytes([a, b, c, d]),
            generation: u32::from_le_bytes([e, f, g, h]),
        }
    }
}

/// A slab of values with generations.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Slab<(u32, T)>,
    generation: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots {
            entries: Slab::new(),
            generation: 0,
        }
    }
}

impl<T> Slots<T> {
    /// Where the next value will live.
    pub fn next_slot(&self) -> Slot {
        Slot {
            index: index_of(self.entries.vacant_key()),
            generation: self.generation,
        }
    }

    /// Adds a value.
    pub fn insert(&mut self, value: T) -> Slot {
        let slot = self.next_slot();
        self.entries.insert((slot.generation, value));
        self.generation = self.generation.wrapping_add(1);
        slot
    }

    /// Takes the value at `index` out.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        self.entries
            .try_remove(index as usize)
            .map(|(_, value)| value)
    }

    /// The value that `slot` means, if it still lives.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        match self.entries.get(slot.index as usize) {
            Some((generation, value)) if *generation == slot.generation => Some(value),
            Some(_) | None => None,
        }
    }

    /// See [`Slots::get`].
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        match self.entries.get_mut(slot.index as usize) {
            Some((generation, value)) if *generation == slot.generation => Some(value),
            Some(_) | None => None,
        }
    }

    /// Whatever lives at `index` now. For indices that were checked, or that are kept in step with the slab.
    pub fn at(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize).map(|(_, value)| value)
    }

    /// See [`Slots::at`].
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize).map(|(_, value)| value)
    }

    /// The full slot of whatever lives at `index` now.
    pub fn slot_at(&self, index: u32) -> Option<Slot> {
        let (generation, _) = self.entries.get(index as usize)?;
        Some(Slot {
            index,
            generation: *generation,
        })
    }

    /// How many values live here.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Places that a value may be at: those below this.
    pub fn places(&self) -> u32 {
        u32::try_from(self.entries.capacity()).unwrap_or(u32::MAX)
    }

    /// Whether nothing lives here.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every value with its slot, in order of index.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.entries.iter().map(|(index, (generation, value))| {
            (
                Slot {
                    index: index_of(index),
                    generation: *generation,
                },
                value,
            )
        })
    }

    /// Gives memory back after many values have gone.
    pub fn shrink(&mut self) {
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
    }
}

/// Slabs here hold connections, rooms and users, each bounded far below 2^32.
fn index_of(key: usize) -> u32 {
    u32::try_from(key).expect("a slab holds fewer than 2^32 values")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_place_is_another_slot() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first.index), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.index, second.index);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.slot_at(second.index), Some(second));
    }

    #[test]
    fn a_slot_goes_through_a_number_and_back() {
        for slot in [
            Slot {
                index: 0,
                generation: 0,
            },
            Slot {
                index: 7,
                generation: u32::MAX,
            },
            Slot::NONE,
        ] {
            assert_eq!(Slot::from_u64(slot.to_u64()), slot);
        }
    }
}
