//! Headers that are no attributes: the trace, Debezium's, and those of the row's `headers` column.

use super::context::{RowContext, Strictness};
use super::headers::Headers;
use super::json::{self, LoneSurrogate, Nesting};
use crate::outbox::bad_row::{BadRow, Reason};
use crate::outbox::role::Role;
use crate::registry::schema::GUID_HEADER;

/// Most bytes of names and values that a `headers` column may bring.
const MAX_COLUMN: usize = 64 * 1024;

/// Writes all plain headers; returns how many of the row's own were left out, because their names
/// are not a row's to give.
pub(super) fn write(
    context: &RowContext<'_>,
    headers: &mut Headers,
    text: &mut String,
    nesting: &mut Nesting,
    strictness: Strictness,
) -> Result<usize, BadRow> {
    let start = headers.len();
    for (name, role) in [("traceparent", Role::TraceParent), ("tracestate", Role::TraceState)] {
        let value = context.role_extension(name, role, text);
        strictness.judge(value.map(|value| push(headers, name, value)))?;
    }
    if context.settings.debezium_headers {
        strictness.judge(context.id().map(|id| headers.push("id", id.as_bytes())))?;
        let event_type = context.type_column();
        let written = event_type.map(|text| push(headers, "eventType", text));
        strictness.judge(written)?;
    }
    let own = headers.len();
    let mut left_out = 0;
    let written = write_column(context, headers, start, nesting).map(|count| left_out = count);
    if written.is_err() {
        headers.truncate(own);
    }
    strictness.judge(written)?;
    Ok(left_out)
}

fn push(headers: &mut Headers, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        headers.push(name, value.as_bytes());
    }
}

/// Why a column makes no headers.
enum Refused {
    Json,
    Row(BadRow),
}

impl From<json::Invalid> for Refused {
    fn from(_: json::Invalid) -> Self {
        Self::Json
    }
}

impl From<BadRow> for Refused {
    fn from(bad: BadRow) -> Self {
        Self::Row(bad)
    }
}

/// Writes the members of the row's JSON object, but none with a name of the headers from `start`.
fn write_column(
    context: &RowContext<'_>,
    headers: &mut Headers,
    start: usize,
    nesting: &mut Nesting,
) -> Result<usize, BadRow> {
    let field = context.mapping.role(Role::Headers);
    let Some(printed) = field.and_then(|field| context.row.printed(field)) else { return Ok(0) };
    let text = std::str::from_utf8(printed)
        .map_err(|_| BadRow::new("headers", Reason::NotRepresentable, "is not UTF-8"))?;
    if text.is_empty() || text == "null" {
        return Ok(0);
    }
    let size = headers.byte_size();
    let own = start..headers.len();
    let mut left_out = 0;
    let walked = json::for_each_member(text, nesting, |name, value| {
        if value == "null" {
            return Ok(());
        }
        json::unescape(name, |piece| headers.extend_name(piece)).map_err(lone_surrogate)?;
        if is_reserved(headers, own.clone()) {
            let count = headers.len();
            headers.truncate(count);
            left_out += 1;
            return Ok(());
        }
        check_name(headers.unfinished_name())?;
        if value.starts_with('"') {
            let written = json::unescape(value, |piece| headers.extend_value(piece.as_bytes()));
            written.map_err(lone_surrogate)?;
        } else {
            headers.extend_value(value.as_bytes());
        }
        headers.finish();
        if headers.byte_size().saturating_sub(size) > MAX_COLUMN {
            let what = format_args!("are more than {MAX_COLUMN} bytes");
            return Err(Refused::Row(BadRow::new("headers", Reason::TooLong, what)));
        }
        Ok(())
    });
    match walked {
        Ok(()) => Ok(left_out),
        Err(Refused::Row(bad)) => Err(bad),
        Err(Refused::Json) => {
            Err(BadRow::new("headers", Reason::InvalidJson, "is not a JSON object"))
        }
    }
}

/// Whether the unfinished name is one that no row may give: an attribute's, walpost's own, or one
/// that has been written from a column of its own. Consumers in Go and Python read names in any
/// case.
fn is_reserved(headers: &Headers, own: std::ops::Range<usize>) -> bool {
    let name = headers.unfinished_name();
    let begins = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    begins("ce_")
        || begins("walpost-")
        || name.eq_ignore_ascii_case("content-type")
        // Where it names the schema of the value, as a reader takes the last of the name.
        || (name.eq_ignore_ascii_case(GUID_HEADER) && headers.get(GUID_HEADER).is_some())
        || headers
            .iter()
            .skip(own.start)
            .take(own.len())
            .any(|(written, _)| written.eq_ignore_ascii_case(name))
}

/// Kafka's clients in C take names as strings that end at a zero byte.
fn check_name(name: &str) -> Result<(), BadRow> {
    if name.is_empty() {
        return Err(BadRow::new("headers", Reason::Empty, "has a member without a name"));
    }
    if name.chars().any(char::is_control) {
        let what = "has a control character in the name of a member";
        return Err(BadRow::new("headers", Reason::ControlCharacter, what));
    }
    Ok(())
}

fn lone_surrogate(LoneSurrogate: LoneSurrogate) -> BadRow {
    let what = "has half of a surrogate pair, which is no text";
    BadRow::new("headers", Reason::NotRepresentable, what)
}
