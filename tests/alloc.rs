//! Goal: an event costs no allocation once the buffers have grown.
//! Method: an allocator that counts, and a thousand events of several kinds after a few to warm
//! up. A binary of its own, because a process has one allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use walpost::cloudevent::Encoder;
use walpost::cloudevent::options::{EventOptions, Mode, NullPayload, TimeUnit};
use walpost::outbox::column::TypeNames;
use walpost::outbox::template::Template;
use walpost::outbox::{Mapping, RowScratch};
use walpost::pgoutput::{self, LogicalMessage};
use walpost::postgres::timestamp::PgTimestamp;

struct Counting;

thread_local! {
    /// Allocations of this thread. Of this thread only: the test harness has one of its own, which
    /// allocates when it likes. Constant and without a destructor, so that it needs no memory.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const JSONB: u32 = 3802;
const TEXT: u32 = 25;
const BYTEA: u32 = 17;

fn options(mode: Mode) -> EventOptions {
    EventOptions {
        database: "shop".into(),
        columns: BTreeMap::new(),
        topic: Template::parse("outbox.event.{aggregate_type}").expect("template"),
        mode,
        source: None,
        type_template: Template::parse("com.shop.{type}").expect("template"),
        datacontenttype: None,
        extensions: vec![("region".into(), "region".into()), ("until".into(), "until".into())],
        time_unit: TimeUnit::Milliseconds,
        time_zone: "Europe/Berlin".into(),
        null_payload: NullPayload::Tombstone,
        debezium_headers: true,
        max_event: 1_000_000,
        virtual_partitions: Vec::new(),
        schemas: None,
        reserved_topics: vec!["walpost.dlq".into()],
    }
}

/// A relation and an insert with every role that costs work.
fn messages(payload_oid: u32, payload: &str) -> (Vec<u8>, Vec<u8>) {
    let columns: &[(&str, u32, &str)] = &[
        ("id", 2950, "6e8bc430-9c3a-11d9-9669-0800200c9a66"),
        ("aggregatetype", TEXT, "order"),
        ("aggregateid", BYTEA, "\\x00ff"),
        ("type", TEXT, "OrderCreated"),
        ("payload", payload_oid, payload),
        ("created_at", 1114, "2024-05-01 10:00:00.123456"),
        ("source", TEXT, "https://example.com/shop"),
        ("dataschema", TEXT, "https://example.com/schema"),
        ("tracingspancontext", TEXT, "traceparent=00-a-b-01\ntracestate=a\\=1\n"),
        ("headers", JSONB, "{\"a\": \"\\u00e9\\n\", \"b\": {\"c\": [[1]]}, \"ce_id\": \"evil\"}"),
        ("region", BYTEA, "\\x0102"),
        ("until", 1184, "2024-05-01 10:00:00+00"),
    ];
    let mut relation = b"R\0\0\0\x01public\0outbox\0d".to_vec();
    let mut insert = b"I\0\0\0\x01N".to_vec();
    let count = u16::try_from(columns.len()).expect("few").to_be_bytes();
    relation.extend(count);
    insert.extend(count);
    for (name, oid, value) in columns {
        relation.push(0);
        relation.extend(name.as_bytes());
        relation.push(0);
        relation.extend(oid.to_be_bytes());
        relation.extend((-1_i32).to_be_bytes());
        insert.push(b't');
        insert.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
        insert.extend(value.as_bytes());
    }
    (relation, insert)
}

/// Decodes and encodes the same insert so many times, as a stream of them.
fn encode(insert: &[u8], mapping: &Mapping, encoder: &mut Encoder, times: usize) -> usize {
    let mut scratch = RowScratch::new();
    let mut bytes = 0;
    let mut before = 0;
    for time in 0..times {
        // The first hundred make the buffers as large as they need to be.
        if time == 100 {
            before = allocations();
        }
        let message = pgoutput::decode(insert).expect("a message");
        let LogicalMessage::Insert { tuple, .. } = message else { return usize::MAX };
        let row = mapping.row(&mut scratch, tuple).expect("a row");
        let event = encoder.encode(mapping, &row, PgTimestamp(0)).expect("an event");
        assert_eq!(event.left_out_headers, 1);
        bytes += event.byte_size();
    }
    let allocations = allocations() - before;
    assert!(bytes > 0);
    allocations
}

#[test]
fn an_event_costs_no_allocation() {
    let nested = "{\"a\": [[[{\"b\": \"\\u00e9\"}]]], \"c\": 1.10}";
    for mode in [Mode::Binary, Mode::Structured] {
        for (oid, payload) in [(JSONB, nested), (TEXT, nested), (BYTEA, "\\x00ff00"), (25, "\"a\"")]
        {
            let (relation, insert) = messages(oid, payload);
            let Ok(LogicalMessage::Relation(relation)) = pgoutput::decode(&relation) else {
                panic!("a relation")
            };
            let options = options(mode);
            let mapping = Mapping::new(&relation, &TypeNames::new(), &options).expect("a mapping");
            let mut encoder = Encoder::new(&options).expect("an encoder");
            let allocations = encode(&insert, &mapping, &mut encoder, 1100);
            assert_eq!(allocations, 0, "{mode:?} {payload}");
        }
    }
}
