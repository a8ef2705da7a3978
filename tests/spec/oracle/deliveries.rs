//! What Kafka holds, and the rules it must obey.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::servers::{Database, Kafka, Record};
use super::commits::id;
use super::reader::{Ends, Reader};
use super::workload::payload;

/// Whether a row may come twice while one process runs undisturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// No: within one period a key's rows follow each other without a step back.
    BetweenPeriods,
    /// Yes: the period has faults that end a generation without ending the process.
    WithinPeriods,
    /// Yes, and between newer rows: a process that was frozen sends what it still holds while its
    /// successor is ahead.
    AmongNewer,
    /// Never at all.
    Never,
}

/// One record of the topics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// The row's id.
    pub(crate) id: u128,
    /// Whether it came for the first time.
    pub(crate) first: bool,
}

/// What is known of one key.
#[derive(Clone, Copy, Debug)]
struct Key {
    topic: usize,
    partition: i32,
    /// The number that its next first delivery must have.
    next: u64,
    /// Period and number of its last delivery.
    last: (usize, u64),
}

/// All records of the workload's topics so far, in *periods* that the test divides them into, and
/// held against the rules as they are read:
///
/// - a record says what the row said: id, key, topic, and the payload to the byte;
/// - all records of a key are in one partition;
/// - first deliveries of a key come in commit order, 1, 2, 3, … without a gap;
/// - a key that goes back goes on from there without a gap, and goes back only where it may.
#[derive(Debug)]
pub(crate) struct Deliveries {
    reader: Reader,
    repeats: Repeats,
    keys: HashMap<String, Key>,
    rows: HashMap<u128, (String, u64)>,
    all: Vec<Delivery>,
    period: usize,
}

impl Deliveries {
    /// Reads nothing yet.
    pub(crate) fn new(database: &Database, kafka: &Kafka, repeats: Repeats) -> Self {
        Self {
            reader: Reader::new(kafka, super::topics(database)),
            repeats,
            keys: HashMap::new(),
            rows: HashMap::new(),
            all: Vec::new(),
            period: 0,
        }
    }

    /// Reads what is there now.
    #[track_caller]
    pub(crate) fn read(&mut self) {
        let Self { reader, repeats, keys, rows, all, period } = self;
        reader.read(|topic, message| {
            let record = Record::from(message);
            let (key, number) = parse(topic, &record);
            let id = id(record.header("ce_id").unwrap_or_else(|| panic!("no ce_id: {record:?}")));
            let seen = Key { topic, partition: record.partition, next: 1, last: (usize::MAX, 0) };
            let state = keys.entry(key.clone()).or_insert(seen);
            assert_eq!(
                (state.topic, state.partition),
                (topic, record.partition),
                "key {key} changed its partition"
            );
            let (last_period, last_number) = state.last;
            let goes_back = number <= last_number;
            assert!(
                number <= state.next,
                "row {number} of {key} came before row {} (period {period}, {record:?})",
                state.next
            );
            let first = number == state.next;
            assert!(
                first || *repeats != Repeats::Never,
                "row {number} of {key} came twice (period {period}, {record:?})"
            );
            let row = (key.clone(), number);
            let before = rows.insert(id, row.clone());
            assert_eq!(
                before.is_none(),
                first,
                "two rows are numbered {number} of {key}, or one id has two: {record:?}"
            );
            assert!(before.is_none_or(|before| before == row), "{record:?}");
            let must_follow = match repeats {
                Repeats::BetweenPeriods => last_period == *period,
                Repeats::WithinPeriods => last_period == *period && !goes_back,
                Repeats::AmongNewer | Repeats::Never => false,
            };
            if must_follow {
                assert_eq!(
                    number,
                    last_number + 1,
                    "rows of {key} do not follow each other in period {period}: {record:?}"
                );
            }
            if first {
                state.next += 1;
            }
            state.last = (*period, number);
            all.push(Delivery { id, first });
        });
    }

    /// Reads what is there now, and begins the next period; returns the number of deliveries so far.
    #[track_caller]
    pub(crate) fn close_period(&mut self) -> usize {
        self.read();
        self.period += 1;
        self.all.len()
    }

    /// How many records the topics have: it stands still when nobody writes.
    #[track_caller]
    pub(crate) fn end(&self) -> i64 {
        self.reader.end()
    }

    /// Where the partitions end.
    #[track_caller]
    pub(super) fn ends(&self) -> Ends {
        self.reader.ends()
    }

    /// Leaves out what lies before these ends.
    pub(super) fn begin_at(&mut self, ends: &Ends) {
        self.reader.begin_at(ends);
    }

    /// Everything that was read: key by key in order, across partitions in any.
    pub(crate) fn all(&self) -> &[Delivery] {
        &self.all
    }

    /// How many different rows were delivered.
    pub(crate) fn different(&self) -> usize {
        self.rows.len()
    }

    /// Reads until every committed row has come, for at most `time`; then compares with the table:
    /// nothing missing, nothing that was never committed. Nobody may write to the table meanwhile.
    #[track_caller]
    pub(crate) fn finish(&mut self, database: &Database, time: Duration) {
        let committed: usize = database.value("select count(*) from outbox").parse().unwrap();
        let deadline = Instant::now() + time;
        loop {
            self.read();
            if self.different() >= committed || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut missing = Vec::new();
        let mut rows = self.rows.clone();
        for row in database.query("select id, aggregateid, payload->>'seq' from outbox") {
            let [Some(text), Some(key), Some(number)] = row.as_slice() else { panic!("{row:?}") };
            match rows.remove(&id(text)) {
                Some((seen, count)) => assert_eq!((&seen, &count.to_string()), (key, number)),
                None => missing.push((key.clone(), number.clone())),
            }
        }
        let some = missing.iter().take(10).collect::<Vec<_>>();
        assert!(missing.is_empty(), "{} of {committed} rows are missing: {some:?}", missing.len());
        let some = rows.iter().take(10).collect::<Vec<_>>();
        assert!(rows.is_empty(), "{} events were never committed: {some:?}", rows.len());
    }
}

/// Key and number of a record, which must be what [`payload`] makes of them.
#[track_caller]
fn parse(topic: usize, record: &Record) -> (String, u64) {
    let value = record.value_json();
    let (Some(key), Some(number)) = (value["key"].as_str(), value["seq"].as_u64()) else {
        panic!("not a row of the workload: {record:?}")
    };
    assert_eq!(record.value_text(), payload(key, number), "the payload was changed");
    assert_eq!(record.key_text(), key, "{record:?}");
    assert_eq!(key.split('-').next(), Some(super::TYPES[topic]), "{record:?}");
    (key.to_owned(), number)
}
