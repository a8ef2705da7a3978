//! The encoder: owns the memory of one event and writes rows to it.

use std::fmt;
use std::sync::Arc;

use super::attribute::{Envelope, Sink, check_extension_name};
use super::context::{RowContext, Scratch, Strictness};
use super::headers::Headers;
use super::options::{EventOptions, Mode, NullPayload};
use super::payload::{self, Payload};
use super::schema::{self, SchemaUse};
use super::time::TimeReader;
use super::{check_media_type, check_source, plain_headers};
use crate::outbox::bad_row::{BadRow, Reason};
use crate::outbox::mapping::Mapping;
use crate::outbox::row::OutboxRow;
use crate::postgres::timestamp::PgTimestamp;
use crate::registry::schema::Schema;
use crate::registry::schemas::Schemas;
use crate::route;

/// Value of `content-type` in structured mode (Kafka protocol binding, "Structured Content Mode").
const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";

/// What of the options an encoder uses for every row.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) mode: Mode,
    pub(super) datacontenttype: Option<String>,
    pub(super) time: TimeReader,
    pub(super) null_payload: NullPayload,
    pub(super) debezium_headers: bool,
    pub(super) max_event: usize,
    pub(super) reserved_topics: Vec<String>,
}

/// Options that no encoder can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.reason)
    }
}

impl std::error::Error for OptionsError {}

/// Why there is no event of a row, or none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unencoded {
    /// There is none.
    Bad(BadRow),
    /// The schema of this subject has to be learnt first ([`Schemas::learn`]).
    NeedsSchema(String),
}

impl From<BadRow> for Unencoded {
    fn from(bad: BadRow) -> Self {
        Self::Bad(bad)
    }
}

/// An event as a Kafka record. It borrows from the encoder and the row.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The record key; `None` is a null key, which is not an empty one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a null value, a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a Headers,
    /// How many headers of the row were left out, because their names are not a row's to give.
    /// Worth a warning: once, not for every row.
    pub left_out_headers: usize,
}

impl Event<'_> {
    /// Key, value and headers, in bytes: what counts against `WALPOST_MAX_EVENT`.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        let key = self.key.map_or(0, <[u8]>::len);
        let value = self.value.map_or(0, <[u8]>::len);
        key.saturating_add(value).saturating_add(self.headers.byte_size())
    }
}

impl fmt::Debug for Event<'_> {
    /// Without the values: rows reach no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("topic", &self.topic)
            .field("headers", &self.headers)
            .field("byte_size", &self.byte_size())
            .finish_non_exhaustive()
    }
}

/// Writes rows as events.
#[derive(Debug)]
pub struct Encoder {
    pub(super) settings: Settings,
    pub(super) topic: String,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) headers: Headers,
    pub(super) scratch: Scratch,
    schemas: Option<SchemaUse>,
    /// The schema of the row at hand.
    schema: Option<Arc<Schema>>,
    /// Its payload as the schema's mode has it.
    framed: Vec<u8>,
}

impl Encoder {
    /// An encoder under these options, for any number of tables.
    ///
    /// # Errors
    ///
    /// When a `source`, media type, time zone or extension name is none; the configuration has
    /// checked them with the same functions before.
    pub fn new(options: &EventOptions) -> Result<Self, OptionsError> {
        let wrong = |variable| move |reason| OptionsError { variable, reason };
        if let Some(source) = &options.source {
            check_source(source).map_err(wrong("WALPOST_CE_SOURCE"))?;
        }
        if let Some(text) = &options.datacontenttype {
            check_media_type(text)
                .map_err(|what| format!("datacontenttype {what}"))
                .map_err(wrong("WALPOST_CE_DATACONTENTTYPE"))?;
        }
        for (number, (name, _)) in options.extensions.iter().enumerate() {
            let twice = options.extensions.iter().take(number).any(|(other, _)| other == name);
            let checked = check_extension_name(name).and_then(|()| match twice {
                false => Ok(()),
                true => Err(format!("extension {name} is there twice")),
            });
            checked.map_err(wrong("WALPOST_CE_EXTENSIONS"))?;
        }
        let time = TimeReader::new(options.time_unit, &options.time_zone)
            .map_err(wrong("WALPOST_TIME_ZONE"))?;
        let settings = Settings {
            mode: options.mode,
            datacontenttype: options.datacontenttype.clone(),
            time,
            null_payload: options.null_payload,
            debezium_headers: options.debezium_headers,
            max_event: options.max_event,
            reserved_topics: options.reserved_topics.clone(),
        };
        Ok(Self {
            settings,
            topic: String::new(),
            key: Vec::new(),
            value: Vec::new(),
            headers: Headers::new(),
            scratch: Scratch::default(),
            schemas: None,
            schema: None,
            framed: Vec::new(),
        })
    }

    /// The same encoder, which uses these schemas where `options` ask for some.
    #[must_use]
    pub fn with_schemas(mut self, options: &EventOptions, schemas: Option<Schemas>) -> Self {
        self.schemas = options
            .schemas
            .as_ref()
            .zip(schemas)
            .map(|(options, schemas)| SchemaUse::new(schemas, options.mode));
        self
    }

    /// The schemas that are used, for whoever has to learn one.
    #[must_use]
    pub fn schemas(&self) -> Option<Schemas> {
        self.schemas.as_ref().map(|used| used.schemas.clone())
    }

    /// The event of a row. `commit_time` is the `time` of rows that have none.
    ///
    /// # Errors
    ///
    /// When the row breaks a rule of `CloudEvents`, of Kafka, of the configuration or of its
    /// schema; or when the schema has to be learnt first.
    pub fn encode<'e>(
        &'e mut self,
        mapping: &'e Mapping,
        row: &OutboxRow<'e>,
        commit_time: PgTimestamp,
    ) -> Result<Event<'e>, Unencoded> {
        let context = RowContext {
            settings: &self.settings,
            mapping,
            row: *row,
            commit_time,
            schema_uri: None,
        };
        let payload = Payload::of(&context);
        // Before anything is copied, so that no row makes the buffers grow past the limit.
        if payload.length() > self.settings.max_event {
            return Err(too_large("payload", self.settings.max_event).into());
        }
        route::topic(mapping, row, &self.settings.reserved_topics, &mut self.topic)?;
        let key = route::key(mapping, row, &mut self.key)?;
        self.headers.clear();
        self.value.clear();
        let content_type = context.content_type()?;
        self.schema = match &mut self.schemas {
            // No data is of no schema.
            Some(schemas) if !payload.is_null() => Some(schemas.find(mapping, row, &self.topic)?),
            Some(_) | None => None,
        };
        let mode = self.schemas.as_ref().map(|schemas| schemas.mode);
        let schema = self.schema.as_deref();
        let context = RowContext { schema_uri: schema.map(Schema::uri), ..context };
        let (headers, scratch) = (&mut self.headers, &mut self.scratch);
        let value = match self.settings.mode {
            Mode::Binary => {
                context.write_attributes(headers, scratch, Strictness::Strict)?;
                if payload.is_null() {
                    payload::null_value(self.settings.null_payload)?
                } else {
                    headers.content_type(schema::content_type(content_type, schema, mode));
                    payload.check(content_type, &mut scratch.nesting)?;
                    payload.bytes(&mut self.value)?
                }
            }
            Mode::Structured => {
                headers.push("content-type", STRUCTURED.as_bytes());
                write_envelope(&context, payload, content_type, &mut self.value, scratch)?;
                Some(self.value.as_slice())
            }
        };
        let value = match schema.zip(self.schemas.as_ref()) {
            Some((schema, schemas)) => {
                let used = schemas.of(schema);
                schema::write(used, payload, content_type, &mut self.framed, scratch)?;
                schema::value(used, value, &self.framed, headers)?
            }
            None => value,
        };
        let Scratch { text, nesting, .. } = scratch;
        let left_out_headers =
            plain_headers::write(&context, headers, text, nesting, Strictness::Strict)?;
        let event =
            Event { topic: &self.topic, key, value, headers: &self.headers, left_out_headers };
        if event.byte_size() > self.settings.max_event {
            return Err(too_large("event", self.settings.max_event).into());
        }
        Ok(event)
    }
}

/// Writes a structured event.
fn write_envelope(
    context: &RowContext<'_>,
    payload: Payload<'_>,
    content_type: &str,
    value: &mut Vec<u8>,
    scratch: &mut Scratch,
) -> Result<(), BadRow> {
    value.push(b'{');
    let mut envelope = Envelope(value);
    context.write_attributes(&mut envelope, scratch, Strictness::Strict)?;
    if payload.is_null() {
        // An event without data still is one: its value is never null in this mode.
        payload::null_value(context.settings.null_payload)?;
    } else {
        envelope.content_type(content_type);
        payload::write_member(payload, content_type, &mut envelope, scratch)?;
    }
    value.push(b'}');
    Ok(())
}

fn too_large(what: &'static str, limit: usize) -> BadRow {
    let message = format_args!("is larger than {limit} bytes (WALPOST_MAX_EVENT)");
    BadRow::new(what, Reason::TooLarge, message)
}
