//! `walpost checkpoint accept`: ends a halt that needs a decision.

use super::rows;
use super::show::{described, slot_line};
use crate::cli::command::Stopped;
use crate::cli::{Exit, output};
use crate::config::{Config, Delivery};
use crate::error::Failure;
use crate::kafka::checkpoint::Phase;
use crate::proof::place;
use crate::status::HaltCode;
use crate::supervisor::decision::{self, Action, Missing, Plan, Survey};

/// Prints what is stored, what is found, what may be missing and what would be written; with `yes`
/// writes it.
pub(super) async fn run(config: Config, yes: bool) -> Result<Exit, Stopped> {
    let survey = decision::survey(&config, true).await?;
    said(&config, &survey)?;
    let plan = match survey.found.accept(&config) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            output::line(&nothing(&config, &survey))?;
            return Ok(Exit::Done);
        }
        Err(failure) => {
            for objection in survey.found.objections(&config) {
                output::line(&format!(
                    "halts       {}: {}",
                    objection.code.as_str(),
                    objection.message
                ))?;
            }
            return Err(failure.into());
        }
    };
    for objection in &plan.objections {
        output::line(&format!("halts       {}: {}", objection.code.as_str(), objection.message))?;
    }
    say_missing(&config, &survey, &plan).await?;
    output::line(&format!("does        {}", what(&config, &plan)))?;
    super::finish(&config, survey, &plan, yes).await
}

/// What is stored and found.
pub(super) fn said(config: &Config, survey: &Survey) -> Result<(), Stopped> {
    let mut lines = vec![format!("connector   {}", config.name)];
    match &survey.found.stored.checkpoint {
        Some(checkpoint) => lines.extend(described(&survey.found.stored, checkpoint)),
        None => lines.push(format!("checkpoint  none in topic {}", config.checkpoint_topic)),
    }
    match &survey.found.slot {
        Some(slot) => lines.push(slot_line(config, slot)),
        None => lines.push(format!(
            "slot        {} does not exist; the server's log ends at {}",
            config.slot, survey.found.facts.wal_end
        )),
    }
    lines.push(format!(
        "found       system {} timeline {}, kafka cluster {}, {}",
        survey.found.facts.system_identifier,
        survey.found.facts.timeline,
        survey.found.facts.cluster_id,
        survey.found.facts.fingerprint
    ));
    output::line(&lines.join("\n"))?;
    Ok(())
}

fn nothing(config: &Config, survey: &Survey) -> String {
    match (&survey.found.stored.checkpoint, &survey.found.slot) {
        // Here what may be missing or sent again is not known, so it is not accepted, it is said.
        (None, Some(_)) if config.delivery == Delivery::ExactlyOnce => format!(
            "nothing to accept: no checkpoint is stored, and in exactly-once the relay halts rather than guess what of slot {} it has sent; `walpost checkpoint set --resume-lsn {}` begins where the slot stands",
            config.slot, survey.found.facts.confirmed_flush_lsn
        ),
        (None, Some(_)) => format!(
            "nothing to decide: no checkpoint is stored, and the next start takes the position of slot {}",
            config.slot
        ),
        (None, None) => "nothing to decide: the next start is a first start".to_owned(),
        (Some(stored), _) if stored.phase == Phase::Snapshot => {
            "nothing to decide: the next start publishes the rows that are in the table, and then the stream"
                .to_owned()
        }
        (Some(_), _) => "nothing to decide: the stream can go on as it is".to_owned(),
    }
}

async fn say_missing(config: &Config, survey: &Survey, plan: &Plan) -> Result<(), Failure> {
    let mut lines = Vec::new();
    match &plan.missing {
        None => lines.push("missing     no rows: the slot has all since the checkpoint".to_owned()),
        Some(missing) => {
            lines.push(format!("missing     {}", range(missing)));
            lines.push(
                "            the rows that lie in that time, with five minutes before it; some of them were sent:"
                    .to_owned(),
            );
            let (queries, replay) = rows::queries(config, &survey.catalog, missing).await?;
            lines.extend(queries.iter().map(|query| format!("  {query}")));
            if config.messages.is_some() {
                lines.push(
                    "  -- messages of that time are in no table, so no replay sends them: what wrote them has to write them again"
                        .to_owned(),
                );
            }
            if let Some(replay) = replay {
                lines.push(
                    "            what sends those rows again, all of them; it says first how many they are:"
                        .to_owned(),
                );
                lines.push(format!("  {replay}"));
            }
        }
    }
    let has = |code| plan.objections.iter().any(|objection| objection.code == code);
    if has(HaltCode::CheckpointAhead) || has(HaltCode::TimelineChanged) {
        lines.push(format!(
            "sent        events whose rows this server does not have, up to {}: consumers know more than the database",
            survey.found.stored.checkpoint.as_ref().map_or_else(|| "-".to_owned(), |stored| {
                place((stored.resume_lsn, stored.commit_time))
            })
        ));
    }
    if has(HaltCode::KafkaChanged) {
        lines.push(
            "missing     also events that the other kafka cluster had and this one does not: compare the topics"
                .to_owned(),
        );
    }
    // Standard output that is gone is found out by the next line.
    output::line(&lines.join("\n")).map_err(|error| Failure::again("output", error.to_string()))
}

fn range(missing: &Missing) -> String {
    let to = missing.to_lsn.map_or_else(
        || "the beginning of the new slot".to_owned(),
        |to_lsn| place((to_lsn, missing.to_time)),
    );
    match (missing.from_lsn, missing.from_time) {
        (Some(from), time) => {
            format!(
                "rows committed between {} and {to} may be missing in Kafka",
                place((from, time))
            )
        }
        (None, 0) => format!("rows committed before {to} may be missing in Kafka"),
        (None, time) => format!(
            "rows committed before {to} may be missing in Kafka; the last one that was sent was committed at {}",
            jiff::Timestamp::from_microsecond(time)
                .map_or_else(|_| "-".to_owned(), |time| time.to_string())
        ),
    }
}

fn what(config: &Config, plan: &Plan) -> String {
    let record = match plan.record.phase {
        Phase::Stream => "writes a new record of these servers, this publication and these tables",
        Phase::Snapshot => {
            "writes a new record of these servers, this publication and these tables; the next start begins the snapshot again, all rows that are in the table by then"
        }
    };
    match plan.action {
        Action::Keep => {
            format!("{record}; the stream goes on at {}, where it was", plan.record.resume_lsn)
        }
        Action::FromSlot => format!(
            "{record}; the stream goes on where slot {} stands, at {}",
            config.slot, plan.record.resume_lsn
        ),
        Action::NewSlot { drop } => format!(
            "{}makes slot {} anew, then {record}; the stream goes on at the end of the log",
            if drop { format!("drops slot {}, ", config.slot) } else { String::new() },
            config.slot
        ),
        Action::Set => format!("{record} at {}", plan.record.resume_lsn),
    }
}
