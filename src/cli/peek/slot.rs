//! The events of the rows that a slot still holds.

use std::collections::HashMap;

use super::Shown;
use crate::cli::command::{Stopped, refused};
use crate::cli::readable::unfit;
use crate::cloudevent::Encoder;
use crate::config::Config;
use crate::error::Failure;
use crate::lsn::{Lsn, Position};
use crate::outbox::column::TypeNames;
use crate::outbox::mapping::{Mapping, MappingError};
use crate::outbox::message::MessageReader;
use crate::outbox::role::TableName;
use crate::outbox::row::RowScratch;
use crate::pgoutput::{self, LogicalMessage};
use crate::postgres::catalog::{Catalog, SlotMessage};
use crate::postgres::timestamp::PgTimestamp;

/// Messages that are looked through at most. Each is held in memory once.
const MESSAGES_MAX: i32 = 1_000_000;

/// The oldest `rows` that the slot holds, as events. Some may be delivered already: the slot
/// follows the checkpoint with a delay.
pub(super) async fn events(
    config: &Config,
    catalog: &Catalog,
    encoder: &mut Encoder,
    rows: u32,
) -> Result<Vec<Shown>, Stopped> {
    idle(config, catalog).await?;
    // A row comes with the begin, the commit and the table of its transaction; transactions of
    // other tables are empty but there (up to Postgres 14).
    let mut decode = i32::try_from(rows).unwrap_or(i32::MAX).saturating_mul(4).saturating_add(100);
    loop {
        decode = decode.min(MESSAGES_MAX);
        let limit = usize::try_from(decode).unwrap_or(usize::MAX);
        let messages = catalog
            .slot_messages(
                &config.slot,
                (&config.publication, config.messages.is_some()),
                (decode, limit),
            )
            .await
            .map_err(|error| unreadable(config, &error))?;
        let enough = messages.len() < limit || decode == MESSAGES_MAX;
        let shown = decoded(config, encoder, &messages, rows).await?;
        if enough || shown.len() >= usize::try_from(rows).unwrap_or(usize::MAX) {
            return Ok(shown);
        }
        decode = decode.saturating_mul(8);
    }
}

async fn idle(config: &Config, catalog: &Catalog) -> Result<(), Stopped> {
    let name = &config.slot;
    let slot = catalog
        .slot(name)
        .await
        .map_err(|error| Failure::postgres(&format!("look at slot {name}"), &error))?;
    let Some(slot) = slot else {
        return Err(refused(
            format!("replication slot {name} does not exist"),
            "name the slot in WALPOST_SLOT; the first start of walpost makes it",
        ));
    };
    if slot.active {
        return Err(in_use(config, slot.active_pid));
    }
    Ok(())
}

fn in_use(config: &Config, pid: Option<i32>) -> Stopped {
    let by = pid.map_or_else(String::new, |pid| format!(" by process {pid}"));
    refused(
        format!("slot {} is in use{by}: only an idle slot can be looked into", config.slot),
        "a running walpost empties it: `walpost status` says how far it is; `walpost peek` without --slot shows the table",
    )
}

fn unreadable(config: &Config, error: &crate::postgres::error::Error) -> Stopped {
    match error.sqlstate() {
        Some("55006") => in_use(config, None),
        _ => Failure::postgres(&format!("read what slot {} holds", config.slot), error).into(),
    }
}

/// A table that the slot's log announces.
enum Announced {
    Outbox(Box<Mapping>),
    Unfit(MappingError),
    Other,
}

async fn decoded(
    config: &Config,
    encoder: &mut Encoder,
    messages: &[SlotMessage],
    rows: u32,
) -> Result<Vec<Shown>, Stopped> {
    let mut shown = Vec::new();
    let mut types = TypeNames::new();
    let mut tables: HashMap<u32, Announced> = HashMap::new();
    let mut scratch = RowScratch::new();
    let prefix = config.messages.as_deref();
    let mut reader = prefix.map(|prefix| MessageReader::new(prefix, &config.events)).transpose();
    let reader = reader.as_mut().map_err(|error| unfit(error))?;
    let (mut commit_lsn, mut commit_time, mut ordinal) = (Lsn::INVALID, PgTimestamp::default(), 0);
    for message in messages {
        let malformed = |error: &pgoutput::Malformed| {
            Failure::again("postgres_protocol", format!("at {}: {error}", message.lsn))
        };
        match pgoutput::decode(&message.data).map_err(|error| malformed(&error))? {
            LogicalMessage::Begin(begin) => {
                (commit_lsn, commit_time, ordinal) = (begin.final_lsn, begin.commit_time, 0);
            }
            LogicalMessage::Type(named) => types.learn(&named),
            LogicalMessage::Relation(relation) => {
                let name = TableName {
                    schema: relation.namespace.to_owned(),
                    table: relation.name.to_owned(),
                };
                let announced = if config.tables.contains(&name) {
                    match Mapping::new(&relation, &types, &config.events) {
                        Ok(mapping) => Announced::Outbox(Box::new(mapping)),
                        Err(error) => Announced::Unfit(error),
                    }
                } else {
                    Announced::Other
                };
                tables.insert(relation.oid, announced);
            }
            LogicalMessage::Insert { relation_oid, tuple } => match tables.get(&relation_oid) {
                Some(Announced::Outbox(mapping)) => {
                    let row =
                        mapping.row(&mut scratch, tuple).map_err(|error| malformed(&error))?;
                    let position = Some(Position { commit_lsn, ordinal });
                    ordinal += 1;
                    let row = (&**mapping, &row);
                    let of_row = Shown::of_row(config, encoder, row, position, commit_time);
                    shown.push(of_row.await?);
                }
                Some(Announced::Unfit(error)) => return Err(unfit(error)),
                Some(Announced::Other) | None => {}
            },
            LogicalMessage::Message(emitted) => {
                let ours = reader.as_mut().filter(|reader| reader.takes(&emitted));
                let Some(reader) = ours else { continue };
                let read = reader.read(&mut scratch, emitted.content);
                let position = Some(Position { commit_lsn, ordinal });
                ordinal += 1;
                let of_row = Shown::of_message(config, encoder, &read, position, commit_time);
                shown.push(of_row.await?);
            }
            LogicalMessage::Commit(_)
            | LogicalMessage::Origin { .. }
            | LogicalMessage::Update { .. }
            | LogicalMessage::Delete { .. }
            | LogicalMessage::Truncate => {}
        }
        if shown.len() >= usize::try_from(rows).unwrap_or(usize::MAX) {
            break;
        }
    }
    Ok(shown)
}
