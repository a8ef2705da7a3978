//! Relation and tuple → row → event.

use serde::de::IgnoredAny;
use walpost::cloudevent::Unencoded;
use walpost::cloudevent::options::{EventOptions, Mode};
use walpost::cloudevent::{BadRow, DeadLetterContext, Encoder, Event};
use walpost::lsn::Position;
use walpost::outbox::column::{ColumnType, TypeNames};
use walpost::outbox::role::Role;
use walpost::outbox::{Mapping, OutboxRow, RowScratch};
use walpost::pgoutput::{self, LogicalMessage};
use walpost::postgres::timestamp::PgTimestamp;

use crate::recorded::Recorded;
use crate::row;
use crate::trial::Target;

/// An encoder's own books, and those of a mapping with a template each.
const FIXED: usize = 96 * 1024;

const TARGET: Target = Target { name: "rows", cases: 10_000, fixed: FIXED, each: 16, says: " " };

const VALUES: Target = Target { name: "values", ..TARGET };

/// Everything that a row needs besides itself.
pub(crate) struct Reader {
    pub(crate) options: EventOptions,
    pub(crate) encoder: Encoder,
}

impl Reader {
    pub(crate) fn both() -> [Self; 2] {
        [Mode::Binary, Mode::Structured].map(|mode| {
            let options = row::options(mode);
            let encoder = Encoder::new(&options).expect("an encoder");
            Self { options, encoder }
        })
    }

    /// The row's event, or its dead letter and why.
    pub(crate) fn encode<'e>(
        &'e mut self,
        mapping: &'e Mapping,
        row: &OutboxRow<'e>,
        found: Option<BadRow>,
    ) -> Result<(), String> {
        let found = match found {
            Some(bad) => Some(bad),
            None => match self.encoder.encode(mapping, row, PgTimestamp(0)) {
                Ok(event) => {
                    // What a server says to be JSON is taken for JSON.
                    let json = mapping.role(Role::Payload).is_some_and(|field| {
                        matches!(field.column_type, ColumnType::Json | ColumnType::Jsonb)
                    });
                    is_sound(&event, self.options.mode, json);
                    None
                }
                Err(Unencoded::Bad(bad)) => Some(bad),
                Err(Unencoded::NeedsSchema(subject)) => panic!("there are no schemas: {subject}"),
            },
        };
        let Some(bad) = found else { return Ok(()) };
        let context = DeadLetterContext {
            topic: "walpost.dlq",
            connector: "shop",
            position: Position::default(),
            largest: 1_000_000,
            commit_time: PgTimestamp(0),
            now_unix_micros: 0,
        };
        let letter = self.encoder.dead_letter(mapping, row, &bad, &context);
        assert_eq!(letter.topic, "walpost.dlq");
        assert!(letter.headers.get("walpost-error-reason").is_some_and(|it| !it.is_empty()));
        assert!(!bad.attribute.is_empty(), "{bad}");
        Err(bad.to_string())
    }
}

/// What every consumer may rely on.
#[track_caller]
fn is_sound(event: &Event<'_>, mode: Mode, json: bool) {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    assert!((1..=249).contains(&event.topic.len()) && event.topic.bytes().all(legal));
    if mode == Mode::Structured
        && let Some(value) = event.value
    {
        let ours = value.starts_with(br#"{"specversion":"1.0","#) && value.ends_with(b"}");
        // By its grammar, which allows half of a surrogate pair.
        let is_json = json || serde_json::from_slice::<IgnoredAny>(value).is_ok();
        assert!(ours && is_json, "{}", String::from_utf8_lossy(value));
    }
    if mode == Mode::Binary {
        assert_eq!(event.headers.get("ce_specversion"), Some(&b"1.0"[..]), "{:?}", event.headers);
        for (name, value) in event.headers.iter() {
            assert!(std::str::from_utf8(value).is_ok(), "{name} is not text");
        }
    }
}

/// A stream of messages, in the order in which they come.
fn read(reader: &mut Reader, parts: &[Vec<u8>]) -> Result<(), String> {
    let (mut types, mut mapping) = (TypeNames::new(), None);
    let mut scratch = RowScratch::new();
    for part in parts {
        match pgoutput::decode(part).map_err(|error| error.to_string())? {
            LogicalMessage::Type(found) => types.learn(&found),
            LogicalMessage::Relation(found) => {
                let made = Mapping::new(&found, &types, &reader.options);
                mapping = Some(made.map_err(|error| error.to_string())?);
            }
            LogicalMessage::Insert { tuple, .. } => {
                let Some(mapping) = &mapping else { continue };
                let row = mapping.row(&mut scratch, tuple).map_err(|error| error.to_string())?;
                reader.encode(mapping, &row, None)?;
            }
            LogicalMessage::Begin(_)
            | LogicalMessage::Commit(_)
            | LogicalMessage::Origin { .. }
            | LogicalMessage::Update { .. }
            | LogicalMessage::Delete { .. }
            | LogicalMessage::Truncate
            | LogicalMessage::Message(_) => {}
        }
    }
    Ok(())
}

#[test]
fn a_changed_relation_or_row_becomes_an_event_or_a_dead_letter() {
    let mut from = Vec::new();
    for recorded in Recorded::all() {
        let messages = recorded.messages();
        let wanted = |message: &&&[u8]| matches!(message.first(), Some(b'Y' | b'R' | b'I'));
        let of_rows: Vec<_> = messages.iter().filter(wanted).map(|it| it.to_vec()).collect();
        // The first relation, which is the outbox, with its types and rows.
        from.push(of_rows.into_iter().take(6).collect());
    }
    for (oid, payload) in
        [(row::JSONB, "{\"a\": [1.10]}"), (row::BYTEA, "\\x00ff"), (row::TEXT, "[1]")]
    {
        let (relation, insert) = row::every_role(oid, payload);
        from.push(vec![relation, insert]);
    }
    let mut readers = Reader::both();
    TARGET.run(&from, |parts| readers.iter_mut().try_for_each(|reader| read(reader, parts)));
}

/// Columns of every kind that means something, and a value of each. The lengths are always right here,
/// so that changes reach the encoder.
const COLUMNS: [(&str, u32, &str); 14] = [
    ("id", 2950, "6e8bc430-9c3a-11d9-9669-0800200c9a66"),
    ("aggregatetype", row::TEXT, "order"),
    ("aggregateid", row::TEXT, "ö 42"),
    ("type", row::TEXT, "OrderCreated"),
    ("payload", row::JSONB, "{\"total\": 12.30, \"id\": 9007199254740993}"),
    ("created_at", 1184, "2024-05-01 10:00:00.123456+00"),
    ("source", row::TEXT, "https://example.com/shop"),
    ("dataschema", row::TEXT, "https://example.com/schema"),
    ("tracingspancontext", row::TEXT, "traceparent=00-a-b-01\ntracestate=a\\=1\n"),
    ("headers", row::JSONB, "{\"a\": \"\\u00e9\\n\", \"b\": {\"c\": [[1]]}, \"ce_id\": \"evil\"}"),
    ("partition_key", row::BYTEA, "\\x00ff"),
    ("content_type", row::TEXT, "application/json; charset=utf-8"),
    ("region", row::BYTEA, "\\x0102"),
    ("until", 1114, "2024-05-01 10:00:00"),
];

#[test]
fn a_changed_value_becomes_an_event_or_a_dead_letter() {
    let from = [row::JSONB, row::TEXT, row::BYTEA].map(|payload| {
        let mut values: Vec<_> =
            COLUMNS.iter().map(|(.., value)| value.as_bytes().to_vec()).collect();
        if payload == row::BYTEA {
            values[4] = b"\\x00ff41".to_vec();
        }
        // The first part says what the payload is.
        values.insert(0, payload.to_be_bytes().to_vec());
        values
    });
    let mut readers = Reader::both();
    VALUES.run(&from, |parts| {
        let payload = match parts.first().map(Vec::as_slice) {
            Some([.., 0, 17]) => row::BYTEA,
            Some([.., 0, 25]) => row::TEXT,
            _ => row::JSONB,
        };
        let columns =
            COLUMNS.map(|(name, oid, _)| (name, if name == "payload" { payload } else { oid }));
        let messages = messages(&columns, parts.get(1..).unwrap_or_default());
        readers.iter_mut().try_for_each(|reader| read(reader, &messages))
    });
}

/// A relation of these columns, and a row of these values; NULL where there is none.
fn messages(columns: &[(&str, u32)], values: &[Vec<u8>]) -> [Vec<u8>; 2] {
    let mut relation = b"R\0\0\0\x01public\0outbox\0d".to_vec();
    let mut insert = b"I\0\0\0\x01N".to_vec();
    let count = u16::try_from(columns.len()).unwrap().to_be_bytes();
    relation.extend(count);
    insert.extend(count);
    for (number, (name, oid)) in columns.iter().enumerate() {
        relation.push(0);
        relation.extend(name.as_bytes());
        relation.push(0);
        relation.extend(oid.to_be_bytes());
        relation.extend((-1_i32).to_be_bytes());
        match values.get(number) {
            Some(value) => {
                insert.push(b't');
                insert.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                insert.extend(value);
            }
            None => insert.push(b'n'),
        }
    }
    [relation, insert]
}
