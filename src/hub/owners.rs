//! Owners of claimed names, at the name's home: whose share their claims count in, and since when each name is theirs. Who
//! has a name now need not be who had it before, and does not own what was said under it then.

use super::Hub;
use super::upkeep::{FIRST_HOUR, TICKS_PER_HOUR};
use crate::callers::network_of;
use crate::log::Deletion;
use crate::mail::{Mail, Proof};
use crate::proto::Code;
use crate::room::{Key, Space};
use crate::timers::{TICK_MS, Tick};
use crate::users::Claim;
use std::net::IpAddr;

/// What a home knows of a claimed name beside its user. There is one for each, so it is kept small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    /// Whose claim it is, of those that are bounded together.
    pub address: IpAddr,
    /// The time in milliseconds since the Unix epoch, without its two highest bytes, which are 0 until the year 10889.
    since: [u8; 6],
}

const _: () = assert!(size_of::<(u32, Claimed)>() <= 28);

impl Claimed {
    /// A name that was claimed at this time, in milliseconds since the Unix epoch.
    pub fn new(address: IpAddr, since_ms: u64) -> Claimed {
        let [a, b, c, d, e, f, _, _] = since_ms.to_le_bytes();
        Claimed {
            address,
            since: [a, b, c, d, e, f],
        }
    }

    /// That time.
    pub fn since_ms(&self) -> u64 {
        let [a, b, c, d, e, f] = self.since;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }
}

impl Hub {
    /// Counts a claim against its address and the whole. Names that tokens give are not the address's choice.
    pub(super) fn charge_name(
        &mut self,
        user: u32,
        proof: &Proof,
        address: Option<IpAddr>,
    ) -> Result<(), Code> {
        let share = |all: u32| all.div_ceil(u32::from(self.place.count)) as usize;
        let address = claimant_of(address);
        let of_address = self.claims_by_address.get(&address).copied().unwrap_or(0) as usize;
        let is_own_choice = *proof != Proof::Token;
        if self.claims.len() >= share(self.limits.name_count_max)
            || is_own_choice && of_address >= share(self.limits.names_per_address_max)
        {
            self.counters.names_refused_total += 1;
            return Err(Code::Overloaded);
        }
        self.charge(user, Some(address), self.now.unix_ms);
        Ok(())
    }

    pub(super) fn charge(&mut self, user: u32, address: Option<IpAddr>, since_ms: u64) {
        let address = claimant_of(address);
        self.claims.insert(user, Claimed::new(address, since_ms));
        *self.claims_by_address.entry(address).or_insert(0) += 1;
    }

    /// A name is nobody's any more.
    pub(super) fn uncharge(&mut self, user: u32) {
        let address = self.claims.remove(&user).map(|claimed| claimed.address);
        if let Some(address) = address
            && let Some(count) = self.claims_by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.claims_by_address.remove(&address);
            }
        }
    }

    /// Asks the home of the deleter's name whether it had the name when the message was numbered, in milliseconds since
    /// the Unix epoch.
    pub(super) fn ask_owner(&mut self, room: &Key, deletion: Box<Deletion>, unix_ms: u64) {
        let home = self.home_of(Space::Inbox, &deletion.by);
        let room = room.clone();
        let asked = Mail::AskOwner {
            room,
            deletion,
            unix_ms,
        };
        self.post(home, asked);
    }

    /// At the name's home: answers that.
    pub(super) fn answer_owner(&mut self, room: Key, deletion: Box<Deletion>, unix_ms: u64) {
        let is_owner = self
            .owned_since(&deletion.by)
            .is_some_and(|since_ms| since_ms <= unix_ms);
        let answer = Mail::Owner {
            room: room.clone(),
            deletion,
            is_owner,
        };
        self.post_home(&room, answer);
    }

    /// Since when a name is its present owner's, if it has one.
    fn owned_since(&self, name: &str) -> Option<u64> {
        let user = self.users.find(name, self.hash_key)?;
        match self.users.at(user)?.claim {
            Claim::Mentioned => None,
            Claim::Held | Claim::Left { .. } => Some(self.claims.get(&user)?.since_ms()),
            // Nobody can choose a name that is made up: that two guests of one hour get the same is no way to anything.
            Claim::Guest { since_hour } => {
                let hours = Tick::from(since_hour.saturating_sub(FIRST_HOUR));
                let ticks = self.now.tick().saturating_sub(hours * TICKS_PER_HOUR);
                // The tick that has begun is not among them.
                let ms = (u64::from(ticks) + 1) * TICK_MS;
                Some(self.now.unix_ms.saturating_sub(ms))
            }
        }
    }
}

/// Whose names an address's claims are; those from nowhere have one claimant as well.
fn claimant_of(address: Option<IpAddr>) -> IpAddr {
    network_of(address.unwrap_or(IpAddr::from([0, 0, 0, 0])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_out_as_it_went_in() {
        let address = IpAddr::from([127, 0, 0, 1]);
        for since_ms in [0, 1, 1_795_410_600_963, (1 << 48) - 1] {
            assert_eq!(Claimed::new(address, since_ms).since_ms(), since_ms);
        }
    }
}
