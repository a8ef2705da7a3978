//! The page of rules, made of the cases, and what the cases leave out.

use std::fmt::Write as _;

use walpost::outbox::bad_row::Reason;
use walpost::outbox::role::Role;

use super::{CASES, Case, EVENT, Example, LETTER};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/docs/events.md");

/// Set to anything, the page is written anew.
const WRITE: &str = "WALPOST_WRITE_PAGES";

const HEAD: &str = "\
<!-- Made by tests/spec/mapping of its own cases, which run each row of this page through walpost, Postgres
and Kafka, in both modes. Do not edit: change a case, then
`WALPOST_WRITE_PAGES=1 cargo test --test spec page` -->

# From row to event, rule by rule

Each table below has a rule, a row, and the record that this row becomes. The database is called `shop`, so that
`ce_source` is `/shop/public/outbox`; topics are `shop.{aggregate_type}` (`WALPOST_TOPIC`), dead letters go to `shop.dlq`
(`WALPOST_DLQ_TOPIC`), and the connector is `shop.shop`.

How to read a record: `topic`, `key` and `value` are those of the record, every other line is a header, and there are
no others. What stands under \"every record\" is not repeated in each row; the tables have defaults, so that a row
says only what matters. `no NAME` says that a record has it not. `(null)` is a
null key or value, `(empty)` one of no bytes, `(hex)` bytes that are no text, `(escaped)` a text with control
characters, `(commit time)` the time at which the transaction was committed.

The page is in binary mode. In structured mode the `ce_` headers are members of one JSON object, see
[Structured mode](#structured-mode); topic, key, plain headers and dead letters are the same.

A row that cannot be an event becomes a **dead letter**. A record in `shop.dlq` has these headers too:

";

fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().flat_map(|cases| cases.iter())
}

fn page() -> String {
    let mut page = HEAD.to_owned() + "```text\n";
    for line in LETTER {
        writeln!(page, "{line}").unwrap();
    }
    page += "```\n\n`walpost-topic` is where the event should have gone.\n\n## Contents\n\n";
    for case in cases() {
        writeln!(page, "- [{}](#{})", case.title.replace('`', ""), anchor(case.title)).unwrap();
    }
    for case in cases() {
        section(&mut page, case);
    }
    page
}

/// The anchor that GitHub gives to a heading.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn section(page: &mut String, case: &Case) {
    writeln!(page, "\n## {}\n", case.title).unwrap();
    if !case.about.is_empty() {
        writeln!(page, "{}\n", case.about).unwrap();
    }
    let table: Vec<_> = case.table.lines().map(str::trim).collect();
    writeln!(page, "```sql\n{};\n```\n", table.join("\n  ").replace("\n  create", "\ncreate"))
        .unwrap();
    if !case.settings.is_empty() {
        page.push_str("```sh\n");
        for (name, value) in case.settings {
            writeln!(page, "{name}='{value}'").unwrap();
        }
        page.push_str("```\n\n");
    }
    let first = cases().next().expect("a case");
    if !std::ptr::eq(case, first) && case.common == EVENT {
        writeln!(page, "Every record: as in [the first table](#{}).\n", anchor(first.title))
            .unwrap();
    } else {
        page.push_str("Every record, where the row does not say otherwise:\n\n```text\n");
        for line in case.common {
            writeln!(page, "{line}").unwrap();
        }
        page.push_str("```\n\n");
    }
    page.push_str("| rule | `insert into outbox …` | record |\n| --- | --- | --- |\n");
    for example in case.examples {
        let Example { rule, row, .. } = example;
        let row = row.lines().map(str::trim_start).collect::<Vec<_>>().join(" ");
        let records = records(example);
        writeln!(page, "| {rule} | {} | {records} |", code(&row)).unwrap();
    }
}

/// The last cell of a row.
fn records(example: &Example) -> String {
    let record = |lines: &&[&str]| match lines {
        [] => "as above".to_owned(),
        lines => lines.iter().map(|line| code(line)).collect::<Vec<_>>().join("<br>"),
    };
    match example.events {
        [] => "none".to_owned(),
        events => events.iter().map(record).collect::<Vec<_>>().join("<br><br>"),
    }
}

/// Text as code within a cell of a table.
fn code(text: &str) -> String {
    assert!(!text.contains('`'), "{text} would end its code");
    format!("`{}`", text.replace('|', "\\|"))
}

#[test]
fn the_page_of_rules_is_made_of_the_cases() {
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PATH, &page).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap();
    assert!(
        written == page,
        "deploy/docs/events.md is stale: run `{WRITE}=1 cargo test --test spec page`"
    );
}

/// Every text of the cases in one.
fn everything() -> String {
    let mut all = String::new();
    for case in cases() {
        write!(all, "{}\n{:?}\n{:?}\n", case.table, case.settings, case.common).unwrap();
        for example in case.examples {
            write!(all, "{}\n{:?}\n", example.row, example.events).unwrap();
        }
    }
    all
}

#[test]
fn every_reason_that_a_row_can_cause_has_a_case() {
    let all = everything();
    for reason in Reason::ALL {
        // These come from a schema registry and from the brokers.
        let from_outside = matches!(
            reason,
            Reason::SchemaMismatch | Reason::UnknownTopic | Reason::RefusedByBroker
        );
        let line = format!("\"walpost-error-reason: {}\"", reason.word());
        assert_eq!(all.contains(&line), !from_outside, "{line}");
    }
}

#[test]
fn every_role_every_name_and_every_variable_has_a_case() {
    let all = everything();
    let words: std::collections::BTreeSet<_> =
        all.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for role in Role::ALL {
        for alias in role.aliases() {
            assert!(words.contains(alias), "no table has a column {alias}");
        }
        let variable = format!("(\"WALPOST_COLUMN_{}\", ", role.name());
        assert!(all.contains(&variable), "no case sets {variable}");
        let required = matches!(role, Role::Id | Role::Type | Role::Payload);
        let absent = all.contains(&format!("{variable}\"-\")"));
        assert_eq!(absent, !required, "{variable}\"-\"");
    }
    for variable in [
        "WALPOST_TOPIC",
        "WALPOST_TABLE",
        "WALPOST_CE_MODE",
        "WALPOST_CE_SOURCE",
        "WALPOST_CE_TYPE",
        "WALPOST_CE_DATACONTENTTYPE",
        "WALPOST_CE_EXTENSIONS",
        "WALPOST_TIME_UNIT",
        "WALPOST_TIME_ZONE",
        "WALPOST_NULL_PAYLOAD",
        "WALPOST_DEBEZIUM_HEADERS",
        "WALPOST_MAX_EVENT",
    ] {
        assert!(words.contains(variable), "no case sets {variable}");
    }
}
