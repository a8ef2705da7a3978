//! What walpost promises, as tests: each name is a sentence.
#![cfg_attr(feature = "crash-points", expect(dead_code, reason = "tests/torture uses the rest"))]

#[cfg(test)]
mod adopt;
#[cfg(test)]
mod bad_rows;
#[cfg(test)]
mod brokers;
#[cfg(test)]
mod check;
#[cfg(test)]
mod checkpoint_command;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod consumer_groups;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod dead_letters;
#[cfg(test)]
mod events;
#[cfg(test)]
mod exactly_once;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod first_batch;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod halts;
#[cfg(test)]
mod hot_keys;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod lag;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod load;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod mapping;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod partition;
#[cfg(test)]
mod peek;
#[cfg(test)]
mod progress;
#[cfg(test)]
mod prune;
#[cfg(test)]
#[path = "../corpus/recorded.rs"]
#[cfg_attr(
    not(feature = "crash-points"),
    expect(dead_code, reason = "tests of hostile input use the rest")
)]
mod recorded;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod rollback;
#[cfg(test)]
mod rolling_update;
#[cfg(test)]
mod schema_changes;
#[cfg(test)]
mod sdk;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod slot;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod standby;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod transactions;
