//! Goal: an event costs no allocation once the buffers have grown.
//! Method: an allocator that counts, and a thousand events of several kinds after a few to warm
//! up. A binary of its own, because a process has one allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use walpost::cloudevent::Encoder;
use walpost::cloudevent::options::Mode;
use walpost::outbox::column::TypeNames;
use walpost::outbox::{Mapping, MessageReader, RowScratch};
use walpost::pgoutput::{self, LogicalMessage};
use walpost::postgres::timestamp::PgTimestamp;

#[path = "row/insert.rs"]
mod row;

use row::{BYTEA, JSONB, TEXT};

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
        for (oid, payload) in
            [(JSONB, nested), (TEXT, nested), (BYTEA, "\\x00ff00"), (TEXT, "\"a\"")]
        {
            let (relation, insert) = row::every_role(oid, payload);
            let Ok(LogicalMessage::Relation(relation)) = pgoutput::decode(&relation) else {
                panic!("a relation")
            };
            let options = row::options(mode);
            let mapping = Mapping::new(&relation, &TypeNames::new(), &options).expect("a mapping");
            let mut encoder = Encoder::new(&options).expect("an encoder");
            let allocations = encode(&insert, &mapping, &mut encoder, 1100);
            assert_eq!(allocations, 0, "{mode:?} {payload}");
        }
    }
}

#[test]
fn a_message_costs_no_allocation() {
    let order = br#"{"id": 1, "aggregatetype": "order", "aggregateid": "\u00e9", "type": "Placed",
        "payload": {"a": [[1.10]]}, "headers": {"a": "b"}, "region": true}"#;
    // Another shape with each message, as an application has that leaves members out.
    let paid =
        br#"{"type": "Paid", "id": "2", "aggregatetype": "order", "payload": "\"\\u00e9\""}"#;
    for mode in [Mode::Binary, Mode::Structured] {
        let options = row::options(mode);
        let mut reader = MessageReader::new("shop", &options).expect("a reader");
        let mut encoder = Encoder::new(&options).expect("an encoder");
        let mut scratch = RowScratch::new();
        let mut before = 0;
        for time in 0..1100 {
            if time == 100 {
                before = allocations();
            }
            for content in [&order[..], paid] {
                let read = reader.read(&mut scratch, content);
                assert_eq!(read.bad, None);
                let event = encoder.encode(&read.mapping, &read.row, PgTimestamp(0));
                assert!(event.expect("an event").byte_size() > 0);
            }
        }
        assert_eq!(allocations() - before, 0, "{mode:?}");
    }
}
