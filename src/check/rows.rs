//! What a table's newest rows become, and how well their ids tell them apart.

use super::database::TableFacts;
use super::remedy::{identifier, table};
use super::sample::Sample;
use super::{Finding, Remedy};
use crate::config::{Config, OnBadRow};
use crate::outbox::column::ColumnType;
use crate::outbox::mapping::Mapping;
use crate::outbox::role::Role;
use crate::status::HaltCode;

/// Numbers from a sequence tell events apart within one table only.
pub(super) fn ids(config: &Config, mapping: &Mapping) -> Option<Finding> {
    let id = mapping.role(Role::Id)?;
    let number = matches!(id.column_type, ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8);
    if !number {
        return None;
    }
    let found = format!("the ids of table {} are numbers", mapping.table());
    if let Some(source) = &config.events.source {
        let several = config.tables.len() > 1 && !source.contains("{table}");
        return several.then(|| {
            Finding::warning(
                "ids",
                format!("{found}, and all tables have one source, {source}"),
                "consumers tell events apart by source and id, and two tables have the same numbers",
                Remedy::variable("WALPOST_CE_SOURCE", "/{database}/{schema}/{table}"),
            )
        });
    }
    Some(Finding::warning(
        "ids",
        format!("{found}, and WALPOST_CE_SOURCE is not set"),
        "consumers tell events apart by source and id; a database of the same name elsewhere, or a table that is made again, has the same numbers",
        Remedy::variable(
            "WALPOST_CE_SOURCE",
            &format!("//<your organization>{}", mapping.source()),
        ),
    ))
}

/// Findings of a sample.
pub(super) fn findings(config: &Config, facts: &TableFacts) -> Vec<Finding> {
    let name = &facts.name;
    match &facts.sample {
        Sample::None => Vec::new(),
        Sample::Forbidden => {
            let role = &config.database.user;
            let grant = Remedy::sql([
                format!(
                    "GRANT USAGE ON SCHEMA {} TO {}",
                    identifier(&name.schema),
                    identifier(role)
                ),
                format!("GRANT SELECT ON {} TO {}", table(name), identifier(role)),
            ]);
            vec![Finding {
                remedy: Some(
                    grant.then("only if this check is to read rows; the relay needs it only for a snapshot at its first start"),
                ),
                ..Finding::ok(
                    "rows",
                    format!("no row of {name} was looked at: role {role} may not read the table"),
                )
            }]
        }
        Sample::Slow => {
            vec![Finding::ok("rows", format!("no row of {name} was looked at: it took too long"))]
        }
        Sample::WithoutSchemas(why) => {
            vec![Finding::ok("rows", format!("no row of {name} was looked at: {why}"))]
        }
        Sample::Rows { rows, bad, .. } if bad.is_empty() => {
            let found = match rows {
                0 => format!("table {name} is empty"),
                rows => format!("the last {rows} rows of {name} all become events"),
            };
            vec![Finding::ok("rows", found)]
        }
        Sample::Rows { rows, bad, .. } => bad
            .iter()
            .map(|(message, count)| bad_rows(config, facts, message, (*count, *rows)))
            .collect(),
    }
}

fn bad_rows(
    config: &Config,
    facts: &TableFacts,
    message: &str,
    (count, rows): (usize, usize),
) -> Finding {
    let found = format!("{count} of the last {rows} rows of {} are bad: {message}", facts.name);
    let remedy = Remedy::note(
        "mend what writes the rows; a CHECK constraint on the table refuses such a row in the application's own transaction",
    );
    match config.on_bad_row {
        OnBadRow::DeadLetter => {
            Finding::warning("rows", found, "such rows go to the dead letters", remedy)
        }
        OnBadRow::Skip => Finding::warning(
            "rows",
            found,
            "such rows are skipped and never reach Kafka (WALPOST_ON_BAD_ROW=skip)",
            remedy.or_variable("WALPOST_ON_BAD_ROW", "dlq"),
        ),
        OnBadRow::Halt => Finding::problem(
            "rows",
            found,
            "such a row stops the stream (WALPOST_ON_BAD_ROW=halt)",
            remedy.or_variable("WALPOST_ON_BAD_ROW", "dlq"),
        )
        .halts(HaltCode::BadRow),
    }
}
