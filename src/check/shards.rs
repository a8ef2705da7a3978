//! Shards: whether rows can be divided, and are divided as walpost would.

use super::database::TableFacts;
use super::{Finding, Remedy};
use crate::config::Config;
use crate::postgres::catalog::{Publication, Server};
use crate::shard;
use crate::status::HaltCode;

const CHECK: &str = "shards";

/// The server filters rows.
pub(super) fn server(config: &Config, server: &Server) -> Option<Finding> {
    if config.shards <= 1 {
        return None;
    }
    if server.version_num < shard::OLDEST {
        return Some(
            Finding::problem(
                CHECK,
                format!("publications of Postgres {} cannot filter rows", server.version()),
                "every shard would send every row",
                Remedy::variable("WALPOST_SHARDS", "1").then("or upgrade to Postgres 15 or newer"),
            )
            .halts(HaltCode::NotReady),
        );
    }
    Some(Finding::ok(
        CHECK,
        format!(
            "{} streams, each with a slot and a publication of its own; one key is always in one of them",
            config.shards
        ),
    ))
}

/// The keys can be hashed.
pub(super) fn keys(tables: &[TableFacts]) -> Vec<Finding> {
    let refused = tables.iter().filter_map(|facts| facts.filter.as_ref()?.as_ref().err());
    refused
        .map(|why| {
            Finding::problem(
                CHECK,
                why.clone(),
                "rows of one key could come to different shards, and lose their order",
                Remedy::variable("WALPOST_SHARDS", "1").then("or as the finding says"),
            )
            .halts(HaltCode::NotReady)
        })
        .collect()
}

/// The publication has the rows of its shard.
pub(super) fn filter(
    config: &Config,
    publication: &Publication,
    facts: &TableFacts,
) -> Option<Finding> {
    let shard = config.shard?;
    let expected = facts.filter.as_ref()?.as_ref().ok()?;
    let sent = facts.sent.as_ref()?;
    let name = &config.publication;
    if sent.row_filter.as_ref() == Some(expected) && publication.via_partition_root {
        return None;
    }
    let found = match &sent.row_filter {
        _ if !publication.via_partition_root => {
            "does not publish through the root, so a filter would not be that of all partitions"
                .to_owned()
        }
        None => "has no row filter".to_owned(),
        Some(filter) => format!("has the row filter {filter}"),
    };
    Some(
        Finding::problem(
            CHECK,
            format!("publication {name} {found} for table {}; {shard} is {expected}", facts.name),
            "rows would be in two shards, or in none",
            Remedy::note(
                "`walpost setup` prints the publications of all shards; a publication must be older than the slot that reads it",
            ),
        )
        .halts(HaltCode::NotReady),
    )
}
