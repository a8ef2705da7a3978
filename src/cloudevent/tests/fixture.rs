//! A row from its columns to its record, through the bytes of the replication stream.

use crate::cloudevent::options::{EventOptions, Mode};
use crate::cloudevent::{BadRow, DeadLetterContext, Encoder, Event, Unencoded};
use crate::lsn::{Lsn, Position};
use crate::outbox::column::TypeNames;
use crate::outbox::mapping::Mapping;
pub(super) use crate::outbox::mapping::tests::options;
use crate::outbox::row::RowScratch;
use crate::pgoutput::{self, LogicalMessage};
use crate::postgres::timestamp::PgTimestamp;

pub(super) const BOOL: u32 = 16;
pub(super) const BYTEA: u32 = 17;
pub(super) const INT8: u32 = 20;
pub(super) const INT2: u32 = 21;
pub(super) const INT4: u32 = 23;
pub(super) const TEXT: u32 = 25;
pub(super) const JSON: u32 = 114;
pub(super) const BPCHAR: u32 = 1042;
pub(super) const DATE: u32 = 1082;
pub(super) const TIMESTAMP: u32 = 1114;
pub(super) const TIMESTAMPTZ: u32 = 1184;
pub(super) const NUMERIC: u32 = 1700;
pub(super) const UUID: u32 = 2950;
pub(super) const JSONB: u32 = 3802;

/// 2024-05-01 10:00:00.123456 UTC.
pub(super) const COMMIT_TIME: i64 = 1_714_557_600_123_456;

/// A table of one row, and the options it is read with.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) options: EventOptions,
    pub(super) columns: Vec<(String, u32, Option<Vec<u8>>)>,
}

/// A record that owns its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) left_out_headers: usize,
}

impl Record {
    pub(super) fn of(event: Event<'_>) -> Self {
        let headers: Vec<_> =
            event.headers.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let size = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let of_headers: usize =
            headers.iter().map(|(name, value): &(String, Vec<u8>)| name.len() + value.len()).sum();
        assert_eq!(event.byte_size(), size(event.key) + size(event.value) + of_headers);
        Self {
            topic: event.topic.into(),
            key: event.key.map(Into::into),
            value: event.value.map(Into::into),
            headers,
            left_out_headers: event.left_out_headers,
        }
    }

    /// All headers as text, one a line.
    pub(super) fn header_lines(&self) -> Vec<String> {
        let line = |(name, value): &(String, Vec<u8>)| {
            format!("{name}: {}", std::str::from_utf8(value).expect("UTF-8"))
        };
        self.headers.iter().map(line).collect()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other == name);
        let value = found.next().map(|(_, value)| std::str::from_utf8(value).expect("UTF-8"));
        assert_eq!(found.next(), None, "{name} is there twice");
        value
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_ref().expect("a value")).expect("UTF-8")
    }
}

/// An order's row in a table as Debezium's.
pub(super) fn order() -> Case {
    Case { options: options(), columns: Vec::new() }
        .with("id", UUID, "6e8bc430-9c3a-11d9-9669-0800200c9a66")
        .with("aggregatetype", TEXT, "order")
        .with("aggregateid", TEXT, "42")
        .with("type", TEXT, "OrderCreated")
        .with("payload", JSONB, "{\"total\": 12.30}")
}

impl Case {
    /// The case with a column of this value, in the place of one of the same name.
    pub(super) fn with(self, name: &str, oid: u32, value: impl AsRef<[u8]>) -> Self {
        self.with_value(name, oid, Some(value.as_ref().to_vec()))
    }

    pub(super) fn with_null(self, name: &str, oid: u32) -> Self {
        self.with_value(name, oid, None)
    }

    fn with_value(mut self, name: &str, oid: u32, value: Option<Vec<u8>>) -> Self {
        match self.columns.iter_mut().find(|column| column.0 == name) {
            Some(column) => *column = (name.into(), oid, value),
            None => self.columns.push((name.into(), oid, value)),
        }
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.columns.retain(|column| column.0 != name);
        self
    }

    pub(super) fn set(mut self, change: impl FnOnce(&mut EventOptions)) -> Self {
        change(&mut self.options);
        self
    }

    pub(super) fn structured(self) -> Self {
        self.set(|options| options.mode = Mode::Structured)
    }

    fn relation(&self) -> Vec<u8> {
        let mut bytes = b"R\0\0\0\x01public\0outbox\0d".to_vec();
        bytes.extend(u16::try_from(self.columns.len()).expect("columns").to_be_bytes());
        for (name, oid, _) in &self.columns {
            bytes.push(0);
            bytes.extend(name.as_bytes());
            bytes.push(0);
            bytes.extend(oid.to_be_bytes());
            bytes.extend((-1_i32).to_be_bytes());
        }
        bytes
    }

    fn insert(&self) -> Vec<u8> {
        let mut bytes = b"I\0\0\0\x01N".to_vec();
        bytes.extend(u16::try_from(self.columns.len()).expect("columns").to_be_bytes());
        for (_, _, value) in &self.columns {
            match value {
                None => bytes.push(b'n'),
                Some(value) => {
                    bytes.push(b't');
                    bytes.extend(u32::try_from(value.len()).expect("length").to_be_bytes());
                    bytes.extend(value);
                }
            }
        }
        bytes
    }

    /// The way from bytes to what `then` makes of the row.
    pub(super) fn run<T>(
        &self,
        then: impl FnOnce(&mut Encoder, &Mapping, &crate::outbox::OutboxRow<'_>) -> T,
    ) -> T {
        let (relation, insert) = (self.relation(), self.insert());
        let Ok(LogicalMessage::Relation(relation)) = pgoutput::decode(&relation) else {
            panic!("a relation")
        };
        let Ok(LogicalMessage::Insert { tuple, .. }) = pgoutput::decode(&insert) else {
            panic!("an insert")
        };
        let mapping = Mapping::new(&relation, &TypeNames::new(), &self.options).expect("a mapping");
        let mut encoder = Encoder::new(&self.options).expect("an encoder");
        let mut scratch = RowScratch::new();
        let row = mapping.row(&mut scratch, tuple).expect("a row");
        then(&mut encoder, &mapping, &row)
    }

    pub(super) fn encode(&self) -> Result<Record, BadRow> {
        let commit_time = PgTimestamp::from_unix_micros(COMMIT_TIME);
        self.run(|encoder, mapping, row| {
            // Twice, so that nothing of the row before is left in the memory that is used again.
            let first = encoder.encode(mapping, row, commit_time).map(Record::of);
            let second = encoder.encode(mapping, row, commit_time).map(Record::of);
            assert_eq!(first, second);
            second.map_err(|refused| match refused {
                Unencoded::Bad(bad) => bad,
                Unencoded::NeedsSchema(subject) => panic!("no registry, but {subject}"),
            })
        })
    }

    #[track_caller]
    pub(super) fn record(&self) -> Record {
        self.encode().expect("a good row")
    }

    #[track_caller]
    pub(super) fn bad(&self) -> BadRow {
        self.encode().expect_err("a bad row")
    }

    pub(super) fn letter(&self, bad: &BadRow) -> Record {
        self.run(|encoder, mapping, row| {
            let found = DeadLetterContext {
                largest: usize::MAX,
                topic: "walpost.dlq",
                connector: "shop.walpost",
                position: Position { commit_lsn: Lsn::new(0x0192_DBB8), ordinal: 3 },
                commit_time: PgTimestamp::from_unix_micros(COMMIT_TIME),
                now_unix_micros: COMMIT_TIME + 1_000_000,
            };
            Record::of(encoder.dead_letter(mapping, row, bad, &found))
        })
    }
}
