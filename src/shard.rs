//! One stream of several: which rows are its own.
//!
//! One slot is decoded by one process of the server. Past its speed there are shards: N
//! publications with row filters, N slots, N streams, each of which knows nothing of the others.
//! Shard k of N has the rows with `hash(key) & (N - 1) = k`, so every row is in exactly one of
//! them, and all rows of one key are in the same one, in their order.
//!
//! The filter is a function of the record *key*, as [`key`] makes it, and of nothing else. The
//! server evaluates it while it decodes, with the publication as it was when the row was written
//! (row filters exist since Postgres 15; manual, "Row Filters"). So a publication has to be older
//! than its slot, and a changed filter is as grave as a changed publication.
//!
//! [`key`]: key

use std::fmt;

use crate::cloudevent::options::EventOptions;
use crate::outbox::mapping::MappingError;
use crate::outbox::present::Present;
use crate::outbox::role::TableName;
use crate::postgres::catalog::{Catalog, Table};
use crate::postgres::error::Error;

pub mod key;

use key::{Key, Unshardable};

/// The oldest server that filters rows.
pub const OLDEST: u32 = 150_000;

/// One of several streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// How many there are: a power of two, two at least.
    pub of: u32,
}

impl Shard {
    /// The name of this shard's slot or publication.
    #[must_use]
    pub fn name(self, base: &str) -> String {
        format!("{base}_{}", self.index)
    }

    /// The condition on a hash, as the server prints it.
    fn condition(self, hash: &str) -> String {
        format!("((COALESCE({hash}, 0) & {}) = {})", self.of - 1, self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {}", self.index, self.of)
    }
}

/// Why there is no filter for a table.
#[derive(Debug)]
pub enum FilterError {
    /// Its columns do not make an outbox.
    Mapping(MappingError),
    /// Its key cannot be hashed by a filter.
    Key(Unshardable),
    /// The server was asked and failed.
    Postgres(Error),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapping(error) => error.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::Postgres(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FilterError {}

/// The row filter of one table, word for word as the server prints it back.
///
/// `alone`: no other table is followed, so that keys need be compared within this one only.
///
/// # Errors
///
/// See [`FilterError`].
pub async fn filter(
    shard: Shard,
    (name, table): (&TableName, &Table),
    options: &EventOptions,
    alone: bool,
    catalog: &Catalog,
) -> Result<String, FilterError> {
    let present = Present::of(name, table, options).map_err(FilterError::Mapping)?;
    let mut key = Key::of(name, &present).map_err(FilterError::Key)?;
    for column in key.columns_mut() {
        // As the server decides, by its own list of keywords.
        column.name = catalog.quoted(&column.name).await.map_err(FilterError::Postgres)?;
    }
    let hash = key.hash(name, alone).map_err(FilterError::Key)?;
    Ok(shard.condition(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_is_of_one_shard_and_a_missing_one_of_the_first() {
        let shard = Shard { index: 3, of: 4 };
        assert_eq!(shard.condition("hashint8(id)"), "((COALESCE(hashint8(id), 0) & 3) = 3)");
        assert_eq!(shard.name("walpost"), "walpost_3");
        assert_eq!(shard.to_string(), "shard 3 of 4");
    }
}
