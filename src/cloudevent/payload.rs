//! The data of an event, from the payload column's bytes to the record's value.

use super::attribute::Envelope;
use super::context::{RowContext, Scratch};
use super::json::Nesting;
use super::options::NullPayload;
use super::{json, media_type};
use crate::outbox::bad_row::{BadRow, Reason};
use crate::outbox::bytea;
use crate::outbox::column::ColumnType;
use crate::outbox::role::Role;

/// A payload as the row has it.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    /// SQL NULL.
    Null,
    /// Any text.
    Text(&'a [u8]),
    /// Text of a `json` or `jsonb` column: Postgres has checked it.
    Json(&'a [u8]),
    /// A printed `bytea`.
    Bytea(&'a [u8]),
}

impl<'a> Payload<'a> {
    pub(super) fn of(context: &RowContext<'a>) -> Self {
        let Some(field) = context.mapping.role(Role::Payload) else { return Self::Null };
        let Some(printed) = context.row.printed(field) else { return Self::Null };
        match field.column_type {
            ColumnType::Json | ColumnType::Jsonb => Self::Json(printed),
            ColumnType::Bytea => Self::Bytea(printed),
            ColumnType::Bool => Self::Text(context.row.text(field).unwrap_or(printed)),
            // A blank at the end of a `char(n)` is part of the payload.
            ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::TimestampTz
            | ColumnType::Other => Self::Text(printed),
        }
    }

    pub(super) const fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    /// Bytes of data.
    pub(super) const fn length(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(bytes) | Self::Json(bytes) => bytes.len(),
            Self::Bytea(printed) => bytea::decoded_length(printed),
        }
    }

    /// The data as it is, a `bytea` decoded into `buffer`.
    pub(super) fn bytes<'b>(self, buffer: &'b mut Vec<u8>) -> Result<Option<&'b [u8]>, BadRow>
    where
        'a: 'b,
    {
        match self {
            Self::Null => Ok(None),
            Self::Text(bytes) | Self::Json(bytes) => Ok(Some(bytes)),
            Self::Bytea(printed) => {
                buffer.clear();
                bytea::decode(printed, buffer).map_err(|not_hex| not_hex.of("payload"))?;
                Ok(Some(buffer))
            }
        }
    }

    /// Text that goes by a JSON media type has to be JSON.
    pub(super) fn check(self, content_type: &str, nesting: &mut Nesting) -> Result<(), BadRow> {
        match self {
            Self::Text(bytes) if media_type::is_json(content_type) => {
                let text = utf8(bytes)?;
                json::check(text, nesting).map_err(|json::Invalid { at }| {
                    let what = format_args!(
                        "is not JSON at byte {at}; if it is not meant to be, set \
                         WALPOST_CE_DATACONTENTTYPE or a content type column"
                    );
                    BadRow::new("payload", Reason::InvalidJson, what)
                })
            }
            Self::Null | Self::Text(_) | Self::Json(_) | Self::Bytea(_) => Ok(()),
        }
    }
}

/// A NULL payload in binary mode.
pub(super) fn null_value(policy: NullPayload) -> Result<Option<&'static [u8]>, BadRow> {
    match policy {
        NullPayload::Tombstone => Ok(None),
        NullPayload::Empty => Ok(Some(b"")),
        NullPayload::Reject => {
            Err(BadRow::new("payload", Reason::Missing, "is NULL (WALPOST_NULL_PAYLOAD=reject)"))
        }
    }
}

/// Writes the member `data` or `data_base64` of an envelope; none for a NULL payload.
///
/// What decides is the type of the column before the content type: binary data is Base64 even
/// where it is labelled as JSON (JSON event format, "Handling of Data").
pub(super) fn write_member(
    payload: Payload<'_>,
    content_type: &str,
    envelope: &mut Envelope<'_>,
    scratch: &mut Scratch,
) -> Result<(), BadRow> {
    match payload {
        Payload::Null => {}
        Payload::Bytea(_) => {
            let bytes = payload.bytes(&mut scratch.decoded)?.unwrap_or_default();
            envelope.member("data_base64");
            envelope.0.push(b'"');
            bytea::push_base64(envelope.0, bytes);
            envelope.0.push(b'"');
        }
        Payload::Text(bytes) | Payload::Json(bytes) => {
            let text = utf8(bytes)?;
            payload.check(content_type, &mut scratch.nesting)?;
            envelope.member("data");
            if media_type::is_json(content_type) {
                // One whole JSON value: nothing in it can end the member.
                envelope.0.extend_from_slice(bytes);
            } else {
                json::push_string(envelope.0, text);
            }
        }
    }
    Ok(())
}

fn utf8(bytes: &[u8]) -> Result<&str, BadRow> {
    std::str::from_utf8(bytes)
        .map_err(|_| BadRow::new("payload", Reason::NotRepresentable, "is not UTF-8"))
}
