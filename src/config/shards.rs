//! The number of streams, and what each of them has of the whole configuration.

use super::Config;
use super::reader::Reader;
use crate::shard::Shard;

/// The longest name of a slot, and of anything else in the catalog.
const NAME_MAX: usize = 63;

/// Reads the number of streams, and refuses what several of them cannot do.
pub(super) fn read(
    reader: &mut Reader<'_>,
    slot: Option<&str>,
    publication: Option<&str>,
) -> Option<u32> {
    const NAME: &str = "WALPOST_SHARDS";
    let before = reader.problems();
    let shards = match reader.number(NAME) {
        None if reader.problems() > before => return None,
        None | Some(1) => return Some(1),
        Some(shards) => shards,
    };
    if !shards.is_power_of_two() {
        reader.refuse(NAME, &shards.to_string(), "expected a power of two: 1, 2, 4, 8, 16, 32, 64");
        return None;
    }
    let longest = format!("_{}", shards - 1).len();
    for (variable, name) in [("WALPOST_SLOT", slot), ("WALPOST_PUBLICATION", publication)] {
        if let Some(name) = name.filter(|name| name.len() + longest > NAME_MAX) {
            reader.refuse(
                variable,
                name,
                format!(
                    "with {NAME}={shards} names such as {name}_{} are made of it, which are longer than the 63 bytes that Postgres keeps",
                    shards - 1
                ),
            );
        }
    }
    if reader.differs("WALPOST_MESSAGES", "") {
        let reason = format!(
            "messages have no row that a filter could divide, so they cannot come with {NAME}={shards}; give them a walpost of their own, with another WALPOST_SLOT"
        );
        reader.problem("WALPOST_MESSAGES", None, reason);
    }
    if reader.differs("WALPOST_PRUNE_AFTER", "off") {
        let reason = format!(
            "is not possible with {NAME}={shards} in this version: each stream proves its own rows only; leave it off, and delete by age with a job of your own"
        );
        reader.problem("WALPOST_PRUNE_AFTER", None, reason);
    }
    Some(shards)
}

impl Config {
    /// The number of the stream in the checkpoint topic: 0 where there is one.
    #[must_use]
    pub fn shard_index(&self) -> u32 {
        self.shard.map_or(0, |shard| shard.index)
    }

    /// What each stream is told, in the order of their numbers. One stream is told all as it is.
    #[must_use]
    pub fn streams(&self) -> Vec<Self> {
        if self.shards <= 1 {
            return vec![self.clone()];
        }
        (0..self.shards).filter_map(|index| self.stream(index)).collect()
    }

    /// What the stream of this number is told: a slot and a publication of its own, and its share
    /// of what may be in flight. `None` where there is no such stream.
    #[must_use]
    pub fn stream(&self, index: u32) -> Option<Self> {
        if index >= self.shards {
            return None;
        }
        if self.shards <= 1 {
            return Some(self.clone());
        }
        let shard = Shard { index, of: self.shards };
        Some(Self {
            slot: shard.name(&self.slot),
            publication: shard.name(&self.publication),
            max_in_flight: self.max_in_flight / u64::from(self.shards),
            shard: Some(shard),
            ..self.clone()
        })
    }

    /// What the stream's `transactional.id` is made of. A connector's name has no slash, so the
    /// stream of one connector never has the id of another connector.
    #[must_use]
    pub fn transactional_name(&self) -> String {
        match self.shard {
            None => self.name.clone(),
            Some(shard) => format!("{}/{}", self.name, shard.index),
        }
    }
}
