//! The schema of a payload: which one it is, and what it makes of the value.

use std::sync::Arc;

use super::context::Scratch;
use super::encoder::Unencoded;
use super::headers::Headers;
use super::options::SchemaMode;
use super::payload::Payload;
use super::{json, media_type};
use crate::outbox::bad_row::{BadRow, Reason};
use crate::outbox::mapping::{Mapping, SubjectPiece};
use crate::outbox::row::OutboxRow;
use crate::registry::schema::{GUID_HEADER, Mismatch, Schema};
use crate::registry::schemas::{Known, Schemas};
use crate::route;

/// Longest subject, in bytes. A topic has at most 249, and the name of a type is not longer.
const MAX_SUBJECT: usize = 1024;

/// The schemas that an encoder uses.
#[derive(Debug)]
pub(super) struct SchemaUse {
    pub(super) schemas: Schemas,
    pub(super) mode: SchemaMode,
    /// The subject of the row at hand; memory that is used again.
    subject: String,
    /// The name of its message, where the configuration has a template for it.
    message: Option<String>,
}

/// What a payload has to fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used<'a> {
    pub(super) schema: &'a Schema,
    pub(super) mode: SchemaMode,
    /// The message that it is of, in a schema that has several.
    pub(super) message: Option<&'a str>,
}

impl SchemaUse {
    pub(super) const fn new(schemas: Schemas, mode: SchemaMode) -> Self {
        Self { schemas, mode, subject: String::new(), message: None }
    }

    /// How the row at hand, for which this schema was found, uses it.
    pub(super) fn of<'a>(&'a self, schema: &'a Schema) -> Used<'a> {
        Used { schema, mode: self.mode, message: self.message.as_deref() }
    }

    /// The schema of a row that goes to `topic`.
    pub(super) fn find(
        &mut self,
        mapping: &Mapping,
        row: &OutboxRow<'_>,
        topic: &str,
    ) -> Result<Arc<Schema>, Unencoded> {
        fill("schema subject", mapping.subject(), (row, topic), &mut self.subject)?;
        if !mapping.message().is_empty() {
            let message = self.message.get_or_insert_default();
            fill("schema message", mapping.message(), (row, topic), message)?;
        }
        let subject = &self.subject;
        match self.schemas.known(subject) {
            Known::Schema(schema) => Ok(schema),
            Known::Unasked => Err(Unencoded::NeedsSchema(subject.clone())),
            Known::Absent => {
                let what = "has no schema: the registry knows none under the row's subject \
                            (WALPOST_REGISTRY_SUBJECT)";
                Err(BadRow::new("payload", Reason::SchemaMismatch, what).into())
            }
        }
    }
}

fn fill(
    what: &'static str,
    pieces: &[SubjectPiece],
    (row, topic): (&OutboxRow<'_>, &str),
    out: &mut String,
) -> Result<(), BadRow> {
    out.clear();
    for piece in pieces {
        match piece {
            SubjectPiece::Topic => out.push_str(topic),
            SubjectPiece::Row(piece) => {
                route::fill(what, std::slice::from_ref(piece), row, MAX_SUBJECT, out)?;
            }
        }
    }
    Ok(())
}

/// The content type of an event whose payload has this schema.
pub(super) fn content_type<'a>(
    own: &'a str,
    schema: Option<&Schema>,
    mode: Option<SchemaMode>,
) -> &'a str {
    match (schema.and_then(Schema::media_type), mode) {
        (Some(encoded), Some(SchemaMode::Prefix | SchemaMode::Header)) => encoded,
        (Some(_) | None, _) => own,
    }
}

/// Checks a payload against its schema, and leaves in `out` what the value is in the modes that
/// change it; in the others `out` has nothing to say.
pub(super) fn write(
    used: Used<'_>,
    payload: Payload<'_>,
    content_type: &str,
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
) -> Result<(), BadRow> {
    out.clear();
    if !media_type::is_json(content_type) {
        let what = "is not labelled as JSON, and the schema registry checks JSON; label it by \
                    WALPOST_CE_DATACONTENTTYPE or a content type column, or leave the table to a \
                    walpost without a registry";
        return Err(BadRow::new("payload", Reason::SchemaMismatch, what));
    }
    let is_bytea = matches!(payload, Payload::Bytea(_));
    let bytes = payload.bytes(&mut scratch.decoded)?.unwrap_or_default();
    if is_bytea {
        let not_json = || BadRow::new("payload", Reason::InvalidJson, "is not JSON");
        let text = std::str::from_utf8(bytes).map_err(|_| not_json())?;
        json::check(text, &mut scratch.nesting).map_err(|_| not_json())?;
    }
    let Used { schema, mode, message } = used;
    if mode == SchemaMode::Prefix {
        schema.write_prefix(message, out).map_err(mismatch)?;
    }
    schema.write(message, bytes, out).map_err(mismatch)
}

fn mismatch(mismatch: Mismatch) -> BadRow {
    BadRow::new("payload", Reason::SchemaMismatch, mismatch.what)
}

/// The value of the event, and in the mode `header` a header more: `own` is the payload as it is,
/// `framed` what [`write`] has left.
pub(super) fn value<'a>(
    Used { schema, mode, message }: Used<'_>,
    own: Option<&'a [u8]>,
    framed: &'a [u8],
    headers: &mut Headers,
) -> Result<Option<&'a [u8]>, BadRow> {
    Ok(match mode {
        SchemaMode::Validate => own,
        SchemaMode::Prefix => Some(framed),
        SchemaMode::Header => {
            // A schema without a GUID is never learnt in this mode.
            if let Some(guid) = schema.guid_header(message).map_err(mismatch)? {
                headers.push(GUID_HEADER, &guid);
            }
            Some(framed)
        }
    })
}
