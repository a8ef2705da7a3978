//! The variables that decide how rows become events.

use std::collections::BTreeMap;

use super::reader::{Reader, word};
use crate::cloudevent::options::{EventOptions, Mode, NullPayload, TimeUnit};
use crate::cloudevent::{
    check_extension_name, check_media_type, check_source, check_time_zone, extension_name_is_long,
};
use crate::outbox::role::{ColumnChoice, Role, TableName};
use crate::outbox::spread::{HotAggregate, SUB_KEYS_MAX};
use crate::outbox::template::Template;
use crate::route::check_topic_template;

/// Reads how rows become events; `None` after a mistake, which is noted.
pub(super) fn read(
    reader: &mut Reader<'_>,
    database: &str,
    reserved_topics: Vec<String>,
) -> Option<EventOptions> {
    let columns = columns(reader);
    let topic = reader.parsed("WALPOST_TOPIC", |text| {
        let template = template(text)?;
        check_topic_template(&template).map(|()| template)
    });
    let type_template = reader.parsed("WALPOST_CE_TYPE", template);
    let mode = reader.parsed("WALPOST_CE_MODE", |text| {
        if text == "batch" {
            return Err(
                "the CloudEvents Kafka binding has no batch mode; expected binary or structured"
                    .to_owned(),
            );
        }
        let words = [("binary", Mode::Binary), ("structured", Mode::Structured)];
        word("WALPOST_CE_MODE", text, &words)
    });
    let source =
        reader.optional("WALPOST_CE_SOURCE", |text| check_source(text).map(|()| text.to_owned()));
    let datacontenttype = reader.optional("WALPOST_CE_DATACONTENTTYPE", |text| {
        check_media_type(text).map(|()| text.to_owned())
    });
    let extensions = extensions(reader);
    let time_unit = reader.word(
        "WALPOST_TIME_UNIT",
        &[
            ("seconds", TimeUnit::Seconds),
            ("milliseconds", TimeUnit::Milliseconds),
            ("microseconds", TimeUnit::Microseconds),
            ("nanoseconds", TimeUnit::Nanoseconds),
        ],
    );
    let time_zone =
        reader.parsed("WALPOST_TIME_ZONE", |text| check_time_zone(text).map(|()| text.to_owned()));
    let null_payload = reader.word(
        "WALPOST_NULL_PAYLOAD",
        &[
            ("tombstone", NullPayload::Tombstone),
            ("empty", NullPayload::Empty),
            ("reject", NullPayload::Reject),
        ],
    );
    let virtual_partitions =
        reader.optional("WALPOST_VIRTUAL_PARTITIONS", hot_aggregates).unwrap_or_default();
    let debezium_headers = reader.boolean("WALPOST_DEBEZIUM_HEADERS");
    // Kafka's own limit of a message is a 32-bit number; librdkafka's is a billion.
    let max_event = reader.size("WALPOST_MAX_EVENT").and_then(|bytes| usize::try_from(bytes).ok());
    Some(EventOptions {
        database: database.to_owned(),
        columns,
        topic: topic?,
        mode: mode?,
        source,
        type_template: type_template?,
        datacontenttype,
        extensions,
        time_unit: time_unit?,
        time_zone: time_zone?,
        null_payload: null_payload?,
        debezium_headers: debezium_headers?,
        max_event: max_event?,
        reserved_topics,
        virtual_partitions,
        schemas: None,
    })
}

fn template(text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|error| error.to_string())
}

fn columns(reader: &mut Reader<'_>) -> BTreeMap<Role, ColumnChoice> {
    let mut columns = BTreeMap::new();
    for role in Role::ALL {
        let name = format!("WALPOST_COLUMN_{}", role.name());
        let Some(value) = reader.filled(&name) else { continue };
        if value == "-" {
            if matches!(role, Role::Id | Role::Type | Role::Payload) {
                reader.refuse(&name, &value, "this role is required and cannot be none");
            }
            columns.insert(role, ColumnChoice::Absent);
        } else {
            columns.insert(role, ColumnChoice::Named(value));
        }
    }
    columns
}

fn extensions(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    const NAME: &str = "WALPOST_CE_EXTENSIONS";
    let mut extensions: Vec<(String, String)> = Vec::new();
    let Some(text) = reader.filled(NAME) else { return extensions };
    for pair in text.split(',').map(str::trim) {
        let Some((name, column)) = pair.split_once('=') else {
            reader.refuse(NAME, pair, "expected name=column");
            continue;
        };
        let (name, column) = (name.trim(), column.trim());
        if let Err(reason) = check_extension_name(name) {
            reader.refuse(NAME, name, reason);
        } else if column.is_empty() {
            reader.refuse(NAME, pair, "the column is missing");
        } else if extensions.iter().any(|(other, _)| other == name) {
            reader.refuse(NAME, name, "is named twice");
        } else {
            if extension_name_is_long(name) {
                reader.warn(format!(
                    "extension {name} is longer than the 20 characters that CloudEvents advises"
                ));
            }
            extensions.push((name.to_owned(), column.to_owned()));
        }
    }
    extensions
}

/// `WALPOST_MESSAGES` and `WALPOST_TABLE`, which has no default beside messages. No tables after a
/// mistake, which is noted.
pub(super) fn sources(reader: &mut Reader<'_>) -> (Option<String>, Option<Vec<TableName>>) {
    let messages = reader.filled("WALPOST_MESSAGES").is_some();
    let prefix = reader.optional("WALPOST_MESSAGES", prefix);
    let tables = if messages && reader.filled("WALPOST_TABLE").is_none() {
        Some(Vec::new())
    } else {
        reader.parsed("WALPOST_TABLE", tables)
    };
    // A prefix that was refused must not pass for none.
    (prefix.clone(), tables.filter(|_| messages == prefix.is_some()))
}

/// The prefix of messages: all of it, as it was given to `pg_logical_emit_message`.
fn prefix(text: &str) -> Result<String, String> {
    /// Postgres has no limit; it is part of each event's `source`.
    const BYTES_MAX: usize = 255;
    match text.len() {
        1..=BYTES_MAX if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(format!("expected a prefix of 1 to {BYTES_MAX} bytes without control characters")),
    }
}

/// Every row is compared with each.
const HOT_AGGREGATES_MAX: usize = 100;

/// A comma list of `type/id=n:column`.
fn hot_aggregates(text: &str) -> Result<Vec<HotAggregate>, String> {
    const EXPECTED: &str = "expected aggregate type/aggregate id=sub-keys:column";
    let mut hot: Vec<HotAggregate> = Vec::new();
    for entry in text.split(',').map(str::trim) {
        // From the end: an id may have any of these signs in it, a number and a column have none.
        let (rest, column) = entry.rsplit_once(':').ok_or(EXPECTED)?;
        let (aggregate, sub_keys) = rest.rsplit_once('=').ok_or(EXPECTED)?;
        let (aggregate_type, aggregate_id) = aggregate.split_once('/').ok_or(EXPECTED)?;
        let (column, sub_keys) = (column.trim(), sub_keys.trim());
        if aggregate_id.is_empty() || column.is_empty() {
            return Err(EXPECTED.to_owned());
        }
        let digits = sub_keys.bytes().all(|byte| byte.is_ascii_digit());
        let sub_keys =
            sub_keys.parse::<u32>().ok().filter(|n| digits && (2..=SUB_KEYS_MAX).contains(n));
        let Some(sub_keys) = sub_keys else {
            return Err(format!("expected 2 to {SUB_KEYS_MAX} sub-keys of {aggregate}"));
        };
        let same = |known: &HotAggregate| {
            known.aggregate_type == aggregate_type && known.aggregate_id == aggregate_id
        };
        if hot.iter().any(same) {
            return Err(format!("names {aggregate} twice"));
        }
        hot.push(HotAggregate {
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            sub_keys,
            column: column.to_owned(),
        });
    }
    if hot.len() > HOT_AGGREGATES_MAX {
        return Err(format!("names more than {HOT_AGGREGATES_MAX} aggregates"));
    }
    Ok(hot)
}

/// A comma list of tables, identifiers as in SQL: folded to lower case unless quoted.
pub(super) fn tables(text: &str) -> Result<Vec<TableName>, String> {
    let mut tables: Vec<TableName> = Vec::new();
    let mut rest = text;
    loop {
        let (first, after) = identifier(rest)?;
        let (name, after) = match after.strip_prefix('.') {
            Some(after) => {
                let (table, after) = identifier(after)?;
                (TableName { schema: first, table }, after)
            }
            None => (TableName { schema: "public".to_owned(), table: first }, after),
        };
        if tables.contains(&name) {
            return Err(format!("{name} is listed twice"));
        }
        tables.push(name);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(tables),
            None => return Err("expected schema.table, separated by commas".to_owned()),
        }
    }
}

/// One identifier, and what follows it.
///
/// Source: PostgreSQL manual, "Identifiers and Key Words"; `downcase_identifier` in Postgres'
/// `scansup.c`, which in a multi-byte encoding such as UTF-8 folds ASCII letters only.
fn identifier(text: &str) -> Result<(String, &str), String> {
    /// `NAMEDATALEN` less one. Postgres would cut a longer name, here it is refused.
    const BYTES_MAX: usize = 63;
    let (name, rest) = match text.trim_start().strip_prefix('"') {
        Some(quoted) => quoted_identifier(quoted)?,
        None => plain_identifier(text.trim_start())?,
    };
    if name.len() > BYTES_MAX {
        return Err("an identifier is longer than the 63 bytes that Postgres keeps".to_owned());
    }
    Ok((name, rest))
}

fn plain_identifier(text: &str) -> Result<(String, &str), String> {
    let end = text
        .find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
        return Err("expected an identifier as in SQL; put others in double quotes".to_owned());
    }
    Ok((name.to_ascii_lowercase(), rest))
}

/// What stands behind the first double quote; two of them are one.
fn quoted_identifier(quoted: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) =
            rest.split_once('"').ok_or_else(|| "a double quote is not closed".to_owned())?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None if name.is_empty() => return Err("an identifier is empty".to_owned()),
            None => return Ok((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&[(&str, &str)]>) {
        let expected: Option<Vec<_>> = expected.map(|names| {
            names
                .iter()
                .map(|(schema, table)| TableName {
                    schema: (*schema).to_owned(),
                    table: (*table).to_owned(),
                })
                .collect()
        });
        assert_eq!(tables(text).ok(), expected, "{text:?}");
    }

    #[test]
    fn hot_aggregates_are_read_strictly() {
        #[track_caller]
        fn check(text: &str, expected: Option<&[(&str, &str, u32, &str)]>) {
            let read = hot_aggregates(text).ok();
            let read: Option<Vec<_>> = read.as_ref().map(|hot| {
                hot.iter()
                    .map(|hot| {
                        let HotAggregate { aggregate_type, aggregate_id, sub_keys, column } = hot;
                        (aggregate_type.as_str(), aggregate_id.as_str(), *sub_keys, column.as_str())
                    })
                    .collect()
            });
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
        check("order/4711=16:line_id", Some(&[("order", "4711", 16, "line_id")]));
        check("a/1=2:x, b/2=1024:y", Some(&[("a", "1", 2, "x"), ("b", "2", 1_024, "y")]));
        check("/4711=4:x", Some(&[("", "4711", 4, "x")]));
        check("o/a/b=c:d=4:x", Some(&[("o", "a/b=c:d", 4, "x")]));
        check("o/1=4:x,p/1=4:x", Some(&[("o", "1", 4, "x"), ("p", "1", 4, "x")]));
        for refused in [
            "4711=16:x",
            "o/4711=16",
            "o/4711:x",
            "o/=16:x",
            "o/1=16:",
            "o/1=1:x",
            "o/1=1025:x",
            "o/1=+4:x",
            "o/1=-4:x",
            "o/1=many:x",
            "o/1=4:x,",
            "o/1=4:x,o/1=8:y",
            ",",
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn tables_are_named_as_in_sql() {
        check("outbox", Some(&[("public", "outbox")]));
        check("Shop.Outbox", Some(&[("shop", "outbox")]));
        check("\"Shop\".\"Out\"\"box\"", Some(&[("Shop", "Out\"box")]));
        check("a.b, c", Some(&[("a", "b"), ("public", "c")]));
        check("größe.tür", Some(&[("größe", "tür")]));
        check("ÄPFEL", Some(&[("public", "Äpfel")]));
        check("\"a.b\".\"c,d\" , \"\"\"\"", Some(&[("a.b", "c,d"), ("public", "\"")]));
        check(" _a$1 ", Some(&[("public", "_a$1")]));
        let longest = "x".repeat(63);
        check(&longest, Some(&[("public", &longest)]));
        check(&format!("{longest}x"), None);
        for refused in ["", ",", "a.", ".a", "a.b.c", "a b", "\"a", "\"\"", "1a", "a,a"] {
            check(refused, None);
        }
    }
}
