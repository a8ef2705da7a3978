//! `walpost checkpoint show`: what is stored, and where the slot stands.

use serde_json::{Value, json};

use crate::cli::command::Stopped;
use crate::cli::{Exit, output};
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::checkpoint::{Checkpoint, Phase};
use crate::kafka::checkpoint_topic::Stored;
use crate::postgres::catalog::{Catalog, Slot};
use crate::proof::place;
use crate::supervisor::decision;

/// Reads and prints it. The database is asked too, and need not answer.
pub(super) async fn run(config: Config, as_json: bool) -> Result<Exit, Stopped> {
    let stored = decision::stored(&config).await?;
    let slot = slot(&config).await;
    output::line(&if as_json {
        format!("{:#}", json(&config, &stored, &slot))
    } else {
        text(&config, &stored, &slot)
    })?;
    Ok(if stored.unreadable.is_some() { Exit::Failed } else { Exit::Done })
}

async fn slot(config: &Config) -> Result<Option<Slot>, Failure> {
    let catalog = Catalog::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect to the database", &error))?;
    catalog
        .slot(&config.slot)
        .await
        .map_err(|error| Failure::postgres(&format!("look at slot {}", config.slot), &error))
}

fn json(config: &Config, stored: &Stored, slot: &Result<Option<Slot>, Failure>) -> Value {
    let written = stored.written_at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let unreadable = stored.unreadable.as_ref();
    json!({
        "topic": config.checkpoint_topic,
        "checkpoint": stored.checkpoint,
        "written_at": written.map(|time| time.to_string()),
        "unreadable": unreadable.map(|record| {
            json!({"offset": record.offset, "cause": record.cause.to_string()})
        }),
        "slot": slot.as_ref().ok(),
        "database_error": slot.as_ref().err().map(Failure::message),
    })
}

fn text(config: &Config, stored: &Stored, slot: &Result<Option<Slot>, Failure>) -> String {
    let mut lines = vec![format!("connector   {}", config.name)];
    match &stored.checkpoint {
        None => lines.push(format!("checkpoint  none in topic {}", config.checkpoint_topic)),
        Some(checkpoint) => lines.extend(described(stored, checkpoint)),
    }
    if let Some(record) = &stored.unreadable {
        lines.push(format!("unreadable  offset {}: {}", record.offset, record.cause));
    }
    lines.push(match slot {
        Ok(Some(slot)) => slot_line(config, slot),
        Ok(None) => format!("slot        {} does not exist", config.slot),
        Err(failure) => format!("slot        unknown: {}", failure.message()),
    });
    lines.join("\n")
}

/// The lines about a record.
pub(super) fn described(stored: &Stored, checkpoint: &Checkpoint) -> Vec<String> {
    let written = stored.written_at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let written = written.map_or_else(String::new, |time| format!(", written {time}"));
    let phase = match checkpoint.phase {
        Phase::Snapshot => ", snapshot not complete",
        Phase::Stream => "",
    };
    let mut lines =
        vec![format!("checkpoint  generation {}{written}{phase}", checkpoint.generation)];
    let last = (checkpoint.commit_lsn, checkpoint.commit_time);
    lines.push(match (checkpoint.commit_lsn.as_u64(), checkpoint.complete) {
        (0, _) => "sent        nothing yet of this stream".to_owned(),
        (_, true) => format!("sent        up to transaction {}, all of it", place(last)),
        (_, false) => format!(
            "sent        up to transaction {}, its first {} rows",
            place(last),
            checkpoint.next_ordinal
        ),
    });
    lines.push(format!("resumes at  {}", checkpoint.resume_lsn));
    if checkpoint.seen_time != 0 {
        let seen = place((checkpoint.seen_lsn, checkpoint.seen_time));
        lines.push(format!("watched     publication and tables last seen unchanged at {seen}"));
    }
    let kept = &checkpoint.kept;
    if !kept.ids.is_empty() || kept.unknown {
        let more = if kept.unknown { " and others" } else { "" };
        lines.push(format!(
            "kept        {}{more} rows that were passed are in the table only: skipped, or lettered without payload",
            kept.ids.len()
        ));
    }
    lines.push(format!(
        "of          system {} timeline {}, kafka cluster {}, slot {}, {}",
        checkpoint.system_identifier,
        checkpoint.timeline,
        checkpoint.cluster_id,
        checkpoint.slot,
        checkpoint.fingerprint
    ));
    lines
}

/// The line about the slot.
pub(super) fn slot_line(config: &Config, slot: &Slot) -> String {
    let place = slot.confirmed_flush_lsn.map_or_else(|| "-".to_owned(), |lsn| lsn.to_string());
    let holder = match (slot.active, slot.active_pid) {
        (true, Some(pid)) => format!("in use by process {pid}"),
        (true, None) => "in use".to_owned(),
        (false, _) => "idle".to_owned(),
    };
    let lost = decision::lost(slot).map_or_else(String::new, |why| format!(", lost: {why}"));
    format!(
        "slot        {} at {place}, {holder}{lost}; the server's log ends at {}",
        config.slot, slot.wal_end
    )
}
