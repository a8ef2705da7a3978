//! One row on its way to an event: each attribute's value, and the order they are written in.

use std::fmt::Write as _;

use super::attribute::{self, Sink, Value};
use super::encoder::Settings;
use super::json::{self, Nesting};
use super::time::TimeText;
use super::{media_type, span_context, uri};
use crate::outbox::bad_row::{BadRow, Reason};
use crate::outbox::column::{ColumnType, Field};
use crate::outbox::mapping::{Extension, Mapping, ROLE_EXTENSIONS};
use crate::outbox::role::Role;
use crate::outbox::row::OutboxRow;
use crate::postgres::timestamp::PgTimestamp;
use crate::route;

/// What a row's value becomes in between; memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) text: String,
    pub(super) decoded: Vec<u8>,
    pub(super) base64: Vec<u8>,
    pub(super) nesting: Nesting,
}

/// What to do about a value that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// The row is bad.
    Strict,
    /// Leave it out: a dead letter carries what could be made.
    Lenient,
}

impl Strictness {
    pub(super) fn judge(self, result: Result<(), BadRow>) -> Result<(), BadRow> {
        match self {
            Self::Strict => result,
            Self::Lenient => Ok(()),
        }
    }
}

/// A row with all that decides about its event.
#[derive(Clone, Copy)]
pub(super) struct RowContext<'a> {
    pub(super) settings: &'a Settings,
    pub(super) mapping: &'a Mapping,
    pub(super) row: OutboxRow<'a>,
    pub(super) commit_time: PgTimestamp,
    /// Where the schema of the payload is found, when a registry has one.
    pub(super) schema_uri: Option<&'a str>,
}

impl<'a> RowContext<'a> {
    /// Writes all attributes but the content type.
    pub(super) fn write_attributes(
        &self,
        sink: &mut impl Sink,
        scratch: &mut Scratch,
        strictness: Strictness,
    ) -> Result<(), BadRow> {
        sink.attribute("specversion", Value::Text("1.0"));
        strictness.judge(self.id().map(|id| sink.attribute("id", Value::Text(id))))?;
        let source = self.source().map(|source| sink.attribute("source", Value::Text(source)));
        strictness.judge(source)?;
        let event_type = self.event_type(&mut scratch.text);
        let event_type = event_type.map(|text| sink.attribute("type", Value::Text(text)));
        strictness.judge(event_type)?;
        let subject = self.subject().map(|subject| optional(sink, "subject", subject));
        strictness.judge(subject)?;
        let time = self.time().map(|time| sink.attribute("time", Value::Text(time.as_str())));
        strictness.judge(time)?;
        let schema = self.dataschema().map(|schema| optional(sink, "dataschema", schema));
        strictness.judge(schema)?;
        for (name, role) in ROLE_EXTENSIONS {
            let value = self.role_extension(name, role, &mut scratch.text);
            strictness.judge(value.map(|value| optional(sink, name, value)))?;
        }
        for extension in self.mapping.extensions() {
            strictness.judge(self.write_extension(extension, sink, scratch))?;
        }
        Ok(())
    }

    /// The text of a role's column; NULL and empty are none.
    fn filled(&self, role: Role) -> Option<&'a [u8]> {
        let text = self.row.text(self.mapping.role(role)?)?;
        if text.is_empty() { None } else { Some(text) }
    }

    /// The text of a role's column that must be there and not empty.
    fn required(&self, name: &str, role: Role) -> Result<&'a str, BadRow> {
        let text = self
            .mapping
            .role(role)
            .and_then(|field| self.row.text(field))
            .ok_or_else(|| BadRow::new(name, Reason::Missing, "is NULL"))?;
        if text.is_empty() {
            return Err(BadRow::new(name, Reason::Empty, "is empty"));
        }
        attribute::text(name, text)
    }

    /// The attribute `id`.
    pub(super) fn id(&self) -> Result<&'a str, BadRow> {
        self.required("id", Role::Id)
    }

    /// What the role `type` has, before the template of the attribute is filled.
    pub(super) fn type_column(&self) -> Result<Option<&'a str>, BadRow> {
        self.filled(Role::Type).map(|text| attribute::text("type", text)).transpose()
    }

    fn source(&self) -> Result<&'a str, BadRow> {
        let Some(own) = self.filled(Role::Source) else { return Ok(self.mapping.source()) };
        let own = attribute::text("source", own)?;
        if uri::is_reference(own) {
            return Ok(own);
        }
        Err(BadRow::new("source", Reason::InvalidUri, "is no URI reference (RFC 3986)"))
    }

    fn event_type<'s>(&self, out: &'s mut String) -> Result<&'s str, BadRow> {
        out.clear();
        let pieces = self.mapping.event_type();
        route::fill("type", pieces, &self.row, attribute::MAX_ATTRIBUTE, out)?;
        attribute::text("type", out.as_bytes())
    }

    fn subject(&self) -> Result<Option<&'a str>, BadRow> {
        let text = self.filled(Role::Subject).or_else(|| self.filled(Role::AggregateId));
        text.map(|text| attribute::text("subject", text)).transpose()
    }

    fn time(&self) -> Result<TimeText, BadRow> {
        let field = self.mapping.role(Role::Time);
        let printed = field.and_then(|field| Some((field, self.row.printed(field)?)));
        match printed {
            Some((field, printed)) => self.read_time("time", field, printed),
            None => TimeText::of_unix_micros(self.commit_time.to_unix_micros()).ok_or_else(|| {
                BadRow::new("time", Reason::NotRepresentable, "is a commit time past year 9999")
            }),
        }
    }

    fn read_time(&self, name: &str, field: Field, printed: &[u8]) -> Result<TimeText, BadRow> {
        self.settings.time.read(printed, field.column_type).ok_or_else(|| {
            let what = "is no time that RFC 3339 can write, which are those of the years 1 to 9999";
            BadRow::new(name, Reason::NotRepresentable, what)
        })
    }

    fn dataschema(&self) -> Result<Option<&'a str>, BadRow> {
        let Some(text) = self.filled(Role::DataSchema) else { return Ok(self.schema_uri) };
        let text = attribute::text("dataschema", text)?;
        if !uri::is_reference(text) {
            return Err(BadRow::new("dataschema", Reason::InvalidUri, "is no URI (RFC 3986)"));
        }
        if !uri::is_absolute(text) {
            let what = "is no absolute URI, which begins with a scheme";
            return Err(BadRow::new("dataschema", Reason::NotAbsoluteUri, what));
        }
        Ok(Some(text))
    }

    /// The extension that a role makes by itself; the two of a trace may come from Debezium's
    /// column, and are then written to `out`.
    pub(super) fn role_extension<'s>(
        &self,
        name: &str,
        role: Role,
        out: &'s mut String,
    ) -> Result<Option<&'s str>, BadRow>
    where
        'a: 's,
    {
        if let Some(text) = self.filled(role) {
            return attribute::text(name, text).map(Some);
        }
        if role == Role::PartitionKey {
            let Some((aggregate_id, sub_key)) = route::sub_key(self.mapping, &self.row) else {
                return Ok(None);
            };
            out.clear();
            out.push_str(attribute::text(name, aggregate_id)?);
            write!(out, "#{sub_key}").expect("a string takes everything");
            return Ok(Some(out));
        }
        let is_trace = matches!(role, Role::TraceParent | Role::TraceState);
        let span_context = if is_trace { self.mapping.span_context() } else { None };
        let Some(printed) = span_context.and_then(|field| self.row.text(field)) else {
            return Ok(None);
        };
        let Ok(properties) = std::str::from_utf8(printed) else {
            return Err(BadRow::new(name, Reason::NotRepresentable, "is not UTF-8"));
        };
        out.clear();
        let found = span_context::property(properties, name, |piece| out.push_str(piece));
        if !found || out.is_empty() {
            return Ok(None);
        }
        attribute::text(name, out.as_bytes()).map(Some)
    }

    fn write_extension(
        &self,
        extension: &Extension,
        sink: &mut impl Sink,
        scratch: &mut Scratch,
    ) -> Result<(), BadRow> {
        let Extension { name, field } = extension;
        let Some(text) = self.row.text(*field).filter(|text| !text.is_empty()) else {
            return Ok(());
        };
        match field.column_type {
            ColumnType::Timestamp | ColumnType::TimestampTz => {
                let time = self.read_time(name, *field, text)?;
                sink.attribute(name, Value::Text(time.as_str()));
            }
            ColumnType::Bytea => {
                let printed = self.row.printed(*field).unwrap_or_default();
                let (decoded, buffer) = (&mut scratch.decoded, &mut scratch.base64);
                let text = attribute::base64(name, printed, decoded, buffer)?;
                sink.attribute(name, Value::Text(text));
            }
            ColumnType::Bool => {
                let text = attribute::text(name, text)?;
                let bare = matches!(text, "true" | "false");
                sink.attribute(name, if bare { Value::Bare(text) } else { Value::Text(text) });
            }
            ColumnType::Int2 | ColumnType::Int4 => {
                let text = attribute::text(name, text)?;
                // What is written without quotes has to be a number, whatever the server printed.
                let bare =
                    text.parse::<i32>().is_ok() && json::check(text, &mut scratch.nesting).is_ok();
                sink.attribute(name, if bare { Value::Bare(text) } else { Value::Text(text) });
            }
            ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Date
            | ColumnType::Other => {
                sink.attribute(name, Value::Text(attribute::text(name, text)?));
            }
        }
        Ok(())
    }

    /// The type of the data: the row's, else the configured, else by the column's type.
    pub(super) fn content_type(&self) -> Result<&'a str, BadRow> {
        if let Some(own) = self.filled(Role::ContentType) {
            let own = attribute::text("datacontenttype", own)?;
            media_type::check_media_type(own)
                .map_err(|what| BadRow::new("datacontenttype", Reason::InvalidMediaType, what))?;
            return Ok(own);
        }
        if let Some(configured) = self.settings.datacontenttype.as_deref() {
            return Ok(configured);
        }
        let column_type = self.mapping.role(Role::Payload).map(|field| field.column_type);
        Ok(match column_type {
            Some(ColumnType::Json | ColumnType::Jsonb | ColumnType::Text | ColumnType::Char) => {
                "application/json"
            }
            Some(ColumnType::Bytea) => "application/octet-stream",
            Some(
                ColumnType::Bool
                | ColumnType::Int2
                | ColumnType::Int4
                | ColumnType::Int8
                | ColumnType::Date
                | ColumnType::Timestamp
                | ColumnType::TimestampTz
                | ColumnType::Other,
            )
            | None => "text/plain",
        })
    }
}

fn optional(sink: &mut impl Sink, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        sink.attribute(name, Value::Text(value));
    }
}
