//! What is printed of a plan.

use serde_json::{Value, json};

use super::{Arguments, Plan};
use crate::cli::printed::count;
use crate::config::Config;
use crate::postgres::catalog::Slot;
use crate::proof::place;

/// The plan, for people.
pub(super) fn text(config: &Config, arguments: &Arguments, plan: &Plan) -> String {
    let mut lines = Vec::new();
    if let (Some(connector), Some(stored)) = (&arguments.connector, &plan.stored) {
        lines.push(format!(
            "connector   {connector} {}, place stored at {}",
            stored.partition,
            stored_at(plan)
        ));
    }
    let at =
        |slot: &Slot| slot.confirmed_flush_lsn.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let end = format!("the server's log ends at {}", plan.slot.wal_end);
    if arguments.debezium_slot == config.slot {
        lines.push(format!(
            "slot        {} at {}, idle, taken over from the connector; {end}",
            config.slot,
            at(&plan.slot)
        ));
    } else {
        lines.push(format!(
            "its slot    {} at {}, idle",
            arguments.debezium_slot,
            at(&plan.debezium)
        ));
        lines.push(format!("slot        {} at {}, idle; {end}", config.slot, at(&plan.slot)));
    }
    lines.push(format!(
        "publication {} showed the table before the connector stopped",
        config.publication
    ));
    lines.push(sent(plan));
    lines.extend(repeats(arguments, plan));
    lines.push("missing     no rows: the slot has all that were committed since".to_owned());
    lines.push(format!(
        "does        writes the first checkpoint of {}; the stream goes on at {}",
        config.name, plan.mark.resume_lsn
    ));
    lines.join("\n")
}

fn sent(plan: &Plan) -> String {
    let last = place((plan.mark.commit_lsn, plan.mark.commit_time));
    match (plan.found.in_flight, plan.mark.complete) {
        (None, _) => {
            format!("sent        all that was committed before {}", plan.mark.resume_lsn)
        }
        (Some(_), true) => format!("sent        up to transaction {last}, all of it"),
        (Some(sent), false) => format!(
            "sent        up to transaction {last}, the first {} of its {}",
            sent.sent,
            count(sent.rows, "row", "rows")
        ),
    }
}

/// What comes twice. What a connector did after it had stored its place is in no record.
fn repeats(arguments: &Arguments, plan: &Plan) -> Vec<String> {
    if arguments.from_slot {
        return vec![
            "repeats     what the connector sent of later transactions: its slot follows behind"
                .to_owned(),
        ];
    }
    let doubtful = plan.found.in_flight.map_or(0, |sent| sent.doubtful);
    let orderly = match (plan.found.in_flight, doubtful) {
        (_, 1..) => format!(
            "up to {} that share a place in the log, as COPY writes them",
            count(doubtful, "row", "rows")
        ),
        (Some(_), 0) => "none".to_owned(),
        (None, 0) => "none of this outbox".to_owned(),
    };
    vec![
        format!("repeats     {orderly}, where the connector was stopped in order;"),
        format!(
            "            where it was killed, also what it sent after {}, with the same ids",
            stored_at(plan)
        ),
    ]
}

fn stored_at(plan: &Plan) -> String {
    let stored = plan.stored.as_ref().and_then(|stored| stored.record.written_at);
    let time = stored.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

/// The last lines.
pub(super) fn end(config: &Config, arguments: &Arguments, generation: Option<u64>) -> String {
    let Some(generation) = generation else {
        return "nothing was changed; --yes does it".to_owned();
    };
    let mut lines = vec![format!(
        "done        generation {generation} is stored: start walpost with these variables"
    )];
    if arguments.debezium_slot != config.slot {
        lines.push(format!(
            "then        slot {0} holds back the log until it is dropped. When there is no way back any more: delete the connector, and SELECT pg_drop_replication_slot('{0}')",
            arguments.debezium_slot
        ));
    } else {
        lines.push(
            "then        delete the connector: started again, it would read the slot that is walpost's now"
                .to_owned(),
        );
    }
    lines.join("\n")
}

/// The plan and what became of it, for programs.
pub(super) fn json(
    config: &Config,
    arguments: &Arguments,
    plan: &Plan,
    generation: Option<u64>,
) -> Value {
    let stored = plan.stored.as_ref();
    let offset = stored.and_then(|it| serde_json::from_slice::<Value>(&it.record.value).ok());
    let sent = plan.found.in_flight;
    json!({
        "name": config.name,
        "connector": arguments.connector,
        "partition": stored.map(|it| &it.partition),
        "offset": offset,
        "stored_at": stored.map(|_| stored_at(plan)),
        "debezium_slot": {"name": arguments.debezium_slot, "slot": plan.debezium},
        "slot": {"name": config.slot, "slot": plan.slot},
        "commit_lsn": plan.mark.commit_lsn,
        "next_ordinal": plan.mark.next_ordinal,
        "complete": plan.mark.complete,
        "resume_lsn": plan.mark.resume_lsn,
        "rows_of_last_transaction": sent.map(|it| it.rows),
        "rows_that_may_repeat": sent.map(|it| it.doubtful),
        "written": generation.is_some(),
        "generation": generation,
    })
}
