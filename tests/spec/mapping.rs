//! Goal: every rule by which a row becomes an event holds from a real row, through a real slot, to
//! a real topic, and a user finds it with an example in `deploy/docs/events.md`.
//! Method: tables of cases. Each case has a table, settings, and rows that are inserted one
//! transaction after the other; the records are read back by a consumer and compared whole: topic,
//! key, value, every header. Each case runs in binary and again in structured mode, where another
//! reading of the same rules says what the envelope has to hold. The page is made of the cases.

mod attributes;
mod bad_rows;
mod bad_topics;
mod columns;
mod content_type;
mod extensions;
mod hostile;
mod keys;
mod page;
mod payload_bytes;
mod plain_headers;
mod relay;
mod roles;
mod settings;
mod shown;
mod structured;
mod structured_mode;
mod templates;
mod time;
mod trace;

use self::relay::Relay;
use crate::servers::Record;

/// A table, settings, and what becomes of rows in it. The database is called `shop`.
pub(crate) struct Case {
    /// A heading.
    title: &'static str,
    /// A sentence or two on what the examples have in common.
    about: &'static str,
    /// Statements that make the table `outbox`.
    table: &'static str,
    /// Variables, besides `WALPOST_TOPIC=shop.{aggregate_type}` and the like.
    settings: &'static [(&'static str, &'static str)],
    /// What every record of the case has unless its own lines say otherwise.
    common: &'static [&'static str],
    /// The rows.
    examples: &'static [Example],
}

/// A row and its records.
pub(crate) struct Example {
    /// The rule, as a sentence.
    rule: &'static str,
    /// What follows `insert into outbox`, when it begins with a parenthesis; else statements.
    row: &'static str,
    /// The lines of each record; `no NAME` takes a common line away. One in the topic of dead
    /// letters has the lines of [`LETTER`] too.
    events: &'static [&'static [&'static str]],
}

/// What the record of a row has that sets nothing, where the defaults of the table are those of
/// [`attributes`].
const EVENT: &[&str] = &[
    "topic: shop.order",
    "key: (null)",
    "ce_specversion: 1.0",
    "ce_id: e1",
    "ce_source: /shop/public/outbox",
    "ce_type: Placed",
    "ce_time: (commit time)",
    "content-type: application/json",
    "value: {}",
];

/// The topic of dead letters.
const DEAD_LETTER: &str = "topic: shop.dlq";

/// What a dead letter has in addition to what could be made of the event.
const LETTER: &[&str] = &[
    "walpost-connector: shop.shop",
    "walpost-error-time: (now)",
    "walpost-position: (commit position)+0",
    "walpost-row-id: e1",
    "walpost-table: public.outbox",
    "walpost-topic: shop.order",
];

/// Every case that the page shows, in its order.
const CASES: &[&[Case]] = &[
    attributes::CASES,
    roles::CASES,
    templates::CASES,
    keys::CASES,
    content_type::CASES,
    structured_mode::CASES,
    time::CASES,
    extensions::CASES,
    trace::CASES,
    plain_headers::CASES,
    columns::CASES,
    bad_rows::CASES,
    bad_topics::CASES,
];

/// Runs a case in both modes, or in the one that its settings name.
#[track_caller]
pub(crate) fn check(case: &Case) {
    let own_mode = case.settings.iter().any(|(name, _)| *name == "WALPOST_CE_MODE");
    let modes: &[&str] = if own_mode { &[""] } else { &["binary", "structured"] };
    let mut binary: Vec<Record> = Vec::new();
    for mode in modes {
        let mut relay = Relay::start(case, mode);
        let transactions: Vec<_> =
            case.examples.iter().map(|example| relay.insert(example.row)).collect();
        let expected = shown::expected(case);
        let last = case.examples.last().map_or(0, |example| example.events.len());
        assert!(last > 0, "the last row shows that those before it have been dealt with");
        let records = relay.finish(expected.len());
        let records = shown::in_order(&records, &expected, &transactions, relay.name());
        if *mode == "structured" {
            structured::check(&binary, &records);
        } else {
            shown::compare(&records, &expected);
            binary = records;
        }
    }
}
