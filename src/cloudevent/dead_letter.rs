//! The dead letter of a bad row: what could be made of its event, and what was wrong.

use super::attribute::Sink;
use super::context::{RowContext, Scratch, Strictness};
use super::encoder::{Encoder, Event};
use super::payload::Payload;
use super::plain_headers;
use super::time::TimeText;
use crate::lsn::Position;
use crate::outbox::bad_row::{BadRow, Reason};
use crate::outbox::mapping::Mapping;
use crate::outbox::role::Role;
use crate::outbox::row::OutboxRow;
use crate::postgres::timestamp::PgTimestamp;
use crate::route;

/// What a letter may be larger than an event, in bytes: its own headers. Less than what is between
/// the default `WALPOST_MAX_EVENT` and the broker's default `max.message.bytes`.
const ALLOWANCE: usize = 16 * 1024;

/// Most bytes of a row's id that are kept.
const MAX_ROW_ID: usize = 1024;

/// Where a bad row was found.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterContext<'a> {
    /// The dead-letter topic.
    pub topic: &'a str,
    /// Name of the connector.
    pub connector: &'a str,
    /// Place of the row in the stream.
    pub position: Position,
    /// What the letter may weigh at most, in bytes of key, value and headers; a heavier one goes
    /// without the payload.
    pub largest: usize,
    /// Commit time of its transaction.
    pub commit_time: PgTimestamp,
    /// The present, in microseconds since 1970-01-01 00:00 UTC.
    pub now_unix_micros: i64,
}

impl Encoder {
    /// The dead letter of a row: its payload, its key, the headers that could be made, and what
    /// was wrong with it. Always in binary mode, so that a payload which breaks an envelope is
    /// still there.
    ///
    /// A row that is bad for its size has a letter without value, and so has one whose letter would
    /// be over `found.largest`.
    pub fn dead_letter<'e>(
        &'e mut self,
        mapping: &'e Mapping,
        row: &OutboxRow<'e>,
        bad: &BadRow,
        found: &DeadLetterContext<'e>,
    ) -> Event<'e> {
        let commit_time = found.commit_time;
        let context = RowContext {
            settings: &self.settings,
            mapping,
            row: *row,
            commit_time,
            schema_uri: None,
        };
        let payload = Payload::of(&context);
        let limit = self.settings.max_event.saturating_add(ALLOWANCE).min(found.largest);
        let headers = &mut self.headers;
        headers.clear();
        let scratch = &mut self.scratch;
        let attributes = context.write_attributes(headers, scratch, Strictness::Lenient);
        debug_assert!(attributes.is_ok(), "lenient");
        if let (false, Ok(content_type)) = (payload.is_null(), context.content_type()) {
            headers.content_type(content_type);
        }
        let Scratch { text, nesting, .. } = scratch;
        let left_out_headers =
            plain_headers::write(&context, headers, text, nesting, Strictness::Lenient)
                .unwrap_or(0);

        headers.push("walpost-error-attribute", bad.attribute.as_bytes());
        headers.push("walpost-error-reason", bad.reason.word().as_bytes());
        headers.push("walpost-error-message", bad.message.as_bytes());
        if let Some(now) = TimeText::of_unix_micros(found.now_unix_micros) {
            headers.push("walpost-error-time", now.as_str().as_bytes());
        }
        // Only a topic that the row may go to: whoever sends letters again must not be led astray.
        let reserved = &self.settings.reserved_topics;
        if route::topic(mapping, row, reserved, &mut self.topic).is_ok() {
            headers.push("walpost-topic", self.topic.as_bytes());
        }
        headers.push("walpost-position", found.position.to_string().as_bytes());
        headers.push("walpost-table", mapping.table_text().as_bytes());
        if let Some(id) = mapping.role(Role::Id).and_then(|field| row.text(field)) {
            let id = String::from_utf8_lossy(id.get(..MAX_ROW_ID).unwrap_or(id));
            headers.push("walpost-row-id", id.as_bytes());
        }
        headers.push("walpost-connector", found.connector.as_bytes());

        let key = route::key(mapping, row, &mut self.key).unwrap_or(None);
        let size = headers.byte_size().saturating_add(key.map_or(0, <[u8]>::len));
        let fits = size.saturating_add(payload.length()) <= limit;
        let value = if bad.reason == Reason::TooLarge || !fits {
            headers.push("walpost-payload-bytes", payload.length().to_string().as_bytes());
            None
        } else {
            match (payload, payload.bytes(&mut self.value)) {
                (_, Ok(value)) => value,
                // Not in hex format: as it was printed.
                (Payload::Bytea(printed), Err(_)) => Some(printed),
                (Payload::Null | Payload::Text(_) | Payload::Json(_), Err(_)) => None,
            }
        };
        Event { topic: found.topic, key, value, headers: &self.headers, left_out_headers }
    }
}
