//! Goal: the way of a row stays as short as it is.
//! Method: this binary runs itself in valgrind's callgrind, which counts instructions: once with a
//! thousand rows and once with three thousand, so that what both do once cancels out. Instructions, since
//! time on a shared machine says nothing; of the debug profile (`opt-level = 1`), which is what the
//! tests are built with: a copy, an allocation or a second parse shows in either.
//!
//! A bound is 20 % above what was counted when it was set. A change that needs more has a reason to be
//! given here; one that needs less moves the bound down.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test without the harness: it says what it counted, and learns from the environment that it is the child"
)]

use std::process::Command;

use walpost::cloudevent::Encoder;
use walpost::cloudevent::options::{EventOptions, Mode};
use walpost::outbox::column::TypeNames;
use walpost::outbox::template::Template;
use walpost::outbox::{Mapping, RowScratch};
use walpost::pgoutput::{self, LogicalMessage};
use walpost::postgres::timestamp::PgTimestamp;

#[path = "row/insert.rs"]
mod row;

use row::{JSONB, TEXT};

/// What this binary does when it is its own child: `<kind of row> <how many>`.
const TASK: &str = "WALPOST_INSTRUCTIONS_OF";

/// Kinds of row, and the instructions that decoding and encoding one may take.
const BOUNDS: [(&str, u64); 3] = [
    ("an order, binary", 10_000),
    ("an order, structured", 18_700),
    ("every role and option, binary", 48_400),
];

fn main() {
    if let Ok(task) = std::env::var(TASK) {
        let (kind, times) = task.rsplit_once(' ').expect("kind and number");
        work(kind, times.parse().expect("a number"));
        return;
    }
    let mut over = 0;
    for (kind, bound) in BOUNDS {
        let (few, many) = (counted(kind, 1_000), counted(kind, 3_000));
        let each = (many - few) / 2_000;
        println!("{kind}: {each} instructions a row, at most {bound}");
        over += usize::from(each > bound);
    }
    assert_eq!(over, 0, "rows that take more instructions than they may, see above");
}

/// Instructions of a whole run with so many rows.
fn counted(kind: &str, times: usize) -> u64 {
    let program = std::env::current_exe().expect("this program's path");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .env(TASK, format!("{kind} {times}"))
        .output();
    let output = run.unwrap_or_else(|error| {
        panic!("cannot run valgrind ({error}): `deploy/dev/install valgrind` installs it")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "valgrind failed:\n{said}");
    let count = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = count.unwrap_or_else(|| panic!("no count from callgrind:\n{said}"));
    count.trim().parse().expect("a number of instructions")
}

/// Nothing configured but the database.
fn no_options(mode: Mode) -> EventOptions {
    EventOptions {
        topic: Template::parse("outbox.event.{aggregate_type}").expect("template"),
        type_template: Template::parse("{type}").expect("template"),
        extensions: Vec::new(),
        time_zone: "UTC".into(),
        debezium_headers: false,
        ..row::options(mode)
    }
}

/// Decodes and encodes the same row so many times.
fn work(kind: &str, times: usize) {
    let payload = format!(
        "{{\"note\": \"{}\", \"items\": [{{\"sku\": \"A-1\", \"quantity\": 2}}, {{\"sku\": \"B-1\", \
         \"quantity\": 1}}], \"total\": 10.50, \"orderId\": 1, \"currency\": \"EUR\", \"customer\": \
         \"customer-1\", \"placedAt\": \"2026-01-01T12:00:00Z\"}}",
        "abcdefghij".repeat(14),
    );
    let (relation, insert, options) = if kind.starts_with("every") {
        let (relation, insert) = row::every_role(JSONB, &payload);
        (relation, insert, row::options(Mode::Binary))
    } else {
        let (relation, insert) = row::messages(&[
            ("id", 2950, "6e8bc430-9c3a-11d9-9669-0800200c9a66"),
            ("aggregatetype", TEXT, "order"),
            ("aggregateid", TEXT, "customer-1"),
            ("type", TEXT, "OrderPlaced"),
            ("payload", JSONB, &payload),
            ("created_at", 1184, "2026-01-01 12:00:00.123456+00"),
        ]);
        let mode = if kind.ends_with("structured") { Mode::Structured } else { Mode::Binary };
        (relation, insert, no_options(mode))
    };
    let Ok(LogicalMessage::Relation(relation)) = pgoutput::decode(&relation) else {
        panic!("a relation")
    };
    let mapping = Mapping::new(&relation, &TypeNames::new(), &options).expect("a mapping");
    let mut encoder = Encoder::new(&options).expect("an encoder");
    let mut scratch = RowScratch::new();
    let mut bytes = 0;
    for _ in 0..times {
        let message = pgoutput::decode(&insert).expect("a message");
        let LogicalMessage::Insert { tuple, .. } = message else { panic!("an insert") };
        let row = mapping.row(&mut scratch, tuple).expect("a row");
        let event = encoder.encode(&mapping, &row, PgTimestamp(0)).expect("an event");
        bytes += std::hint::black_box(event).byte_size();
    }
    assert!(bytes > times * payload.len(), "the payload is in every event");
}
