//! `CHECK` constraints that refuse what the encoder would refuse, from the same mapping and the
//! same limits.
//!
//! A constraint passes where its condition is NULL, so the conditions of what may be NULL do not
//! say so. What only the broker knows (an unknown topic, its limits), and what a row alone does not
//! tell (the size of the whole event, a property in Debezium's `tracingspancontext`), is not
//! checked; `deploy/docs/setup.md` lists all that differs.

use super::pattern;
use crate::cloudevent::options::{EventOptions, NullPayload, TimeUnit};
use crate::cloudevent::{MAX_ATTRIBUTE, is_json};
use crate::outbox::column::{ColumnType, Field};
use crate::outbox::mapping::{Piece, ROLE_EXTENSIONS};
use crate::outbox::present::Present;
use crate::outbox::role::Role;
use crate::postgres::identifier::{quote_identifier, quote_literal};

/// Most bytes of a `headers` column and of a key.
const MAX_OTHER: usize = 64 * 1024;

/// The members of a headers object that the encoder refuses: not null, without a name or with a
/// control character in it, and not among those that it leaves out.
const BAD_HEADERS: &str = r#"$.keyvalue() ? (@.value != null
    && (@.key == "" || @.key like_regex "[\u0001-\u001F\u007F-\u009F]")
    && !(@.key like_regex "^(ce_|walpost-|content-type$)" flag "i"))"#;

/// A constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// Its name, which tells the attribute.
    pub(crate) name: String,
    /// Its condition.
    pub(crate) condition: String,
}

/// The constraints of a table; `version_num` is the server's.
#[must_use]
pub(crate) fn checks(
    present: &Present<'_>,
    options: &EventOptions,
    version_num: u32,
) -> Vec<Check> {
    let rules = Rules { present, options, version_num };
    let mut checks = Vec::new();
    let mut add = |name: &str, condition: Option<String>| {
        if let Some(condition) = condition {
            checks.push(Check { name: format!("walpost_{name}"), condition });
        }
    };
    add("id", rules.required(Role::Id));
    add("source", rules.uri(Role::Source, &pattern::uri_reference()));
    add("type", rules.event_type());
    add("subject", rules.subject());
    add("time", rules.time());
    add("dataschema", rules.uri(Role::DataSchema, &pattern::absolute_uri()));
    for (name, role) in ROLE_EXTENSIONS {
        add(name, rules.text(role).map(|text| attribute(&text)));
    }
    for extension in present.mapping.extensions() {
        let condition = rules.extension(extension.field);
        add(&format!("extension_{}", extension.name), condition);
    }
    add("content_type", rules.content_type());
    add("payload", rules.payload());
    add("headers", rules.headers());
    add("topic", rules.topic());
    add("key", rules.key());
    checks
}

struct Rules<'a> {
    present: &'a Present<'a>,
    options: &'a EventOptions,
    version_num: u32,
}

/// A text as the value of an attribute.
fn attribute(text: &str) -> String {
    format!(
        "octet_length({text}) <= {MAX_ATTRIBUTE} AND {text} !~ {}",
        literal(&pattern::refused_character())
    )
}

fn literal(text: &str) -> String {
    // Nothing here holds a zero byte, which alone cannot be quoted.
    quote_literal(text).unwrap_or_else(|_| "NULL".to_owned())
}

/// An instant in the years that RFC 3339 can write.
fn in_range(instant: &str) -> String {
    format!(
        "{instant} >= timestamptz '0001-01-01 00:00:00+00' AND {instant} < timestamptz '10000-01-01 00:00:00+00'"
    )
}

impl Rules<'_> {
    fn field(&self, role: Role) -> Option<Field> {
        self.present.mapping.role(role)
    }

    fn column(&self, field: Field) -> Option<String> {
        quote_identifier(&self.present.columns.get(field.index)?.name).ok()
    }

    /// The text of a column, as the encoder takes it.
    fn text_of(&self, field: Field) -> Option<String> {
        let column = self.column(field)?;
        Some(match field.column_type {
            ColumnType::Bytea => format!("encode({column}, 'hex')"),
            ColumnType::Other => format!("format('%s', {column})"),
            ColumnType::Bool
            | ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::TimestampTz => format!("{column}::text"),
        })
    }

    fn text(&self, role: Role) -> Option<String> {
        self.text_of(self.field(role)?)
    }

    fn required(&self, role: Role) -> Option<String> {
        let field = self.field(role)?;
        let (column, text) = (self.column(field)?, self.text_of(field)?);
        Some(format!("{column} IS NOT NULL AND {text} <> '' AND {}", attribute(&text)))
    }

    fn uri(&self, role: Role, pattern: &str) -> Option<String> {
        let text = self.text(role)?;
        Some(format!("{text} = '' OR ({} AND {text} ~ {})", attribute(&text), literal(pattern)))
    }

    /// A template: the text, and the condition that every column in it has one.
    fn template(&self, pieces: &[Piece]) -> Option<(String, String)> {
        let (mut texts, mut conditions) = (Vec::new(), vec!["true".to_owned()]);
        for piece in pieces {
            match piece {
                Piece::Literal(text) => texts.push(literal(text)),
                Piece::Column { field, .. } => {
                    let (column, text) = (self.column(*field)?, self.text_of(*field)?);
                    conditions.push(format!("{column} IS NOT NULL AND {text} <> ''"));
                    texts.push(text);
                }
            }
        }
        if texts.is_empty() {
            texts.push("''".to_owned());
        }
        Some((format!("({})", texts.join(" || ")), conditions.join(" AND ")))
    }

    fn event_type(&self) -> Option<String> {
        let (text, filled) = self.template(self.present.mapping.event_type())?;
        let mut condition = format!("{filled} AND {}", attribute(&text));
        if let (true, Some(own)) = (self.options.debezium_headers, self.text(Role::Type)) {
            condition = format!("{condition} AND ({}) IS NOT FALSE", attribute(&own));
        }
        Some(condition)
    }

    fn subject(&self) -> Option<String> {
        let text = match (self.text(Role::Subject), self.text(Role::AggregateId)) {
            (Some(own), Some(aggregate)) => format!("coalesce(nullif({own}, ''), {aggregate})"),
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => return None,
        };
        Some(attribute(&text))
    }

    fn time(&self) -> Option<String> {
        self.time_of(self.field(Role::Time)?)
    }

    fn zoned(&self, timestamp: &str) -> String {
        format!("({timestamp} AT TIME ZONE {})", literal(&self.options.time_zone))
    }

    fn time_of(&self, field: Field) -> Option<String> {
        const SECOND: i128 = 1_000_000;
        // As in the encoder: the first and the last microsecond of the years 1 to 9999.
        const FIRST: i128 = -719_162 * 86_400 * SECOND;
        const LAST: i128 = 2_932_897 * 86_400 * SECOND - 1;
        let column = self.column(field)?;
        let local = |timestamp: &str| {
            let instant = self.zoned(timestamp);
            let years = format!(
                "{timestamp} >= timestamp '0001-01-01 00:00:00' AND {timestamp} < timestamp '10000-01-01 00:00:00' AND {}",
                in_range(&instant)
            );
            if self.options.time_zone.eq_ignore_ascii_case("UTC") {
                return years;
            }
            // The library that knows the zones has no later instant.
            const LATEST: &str = "9999-12-30 22:00:00.999999";
            format!(
                "{years} AND {timestamp} <= timestamp '{LATEST}' AND {instant} <= timestamptz '{LATEST}+00'"
            )
        };
        Some(match field.column_type {
            ColumnType::TimestampTz => in_range(&column),
            ColumnType::Timestamp => local(&column),
            ColumnType::Date => local(&format!("{column}::timestamp")),
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => {
                let unit = match self.options.time_unit {
                    TimeUnit::Seconds => SECOND,
                    TimeUnit::Milliseconds => 1_000,
                    TimeUnit::Microseconds => 1,
                    // No bigint is outside.
                    TimeUnit::Nanoseconds => return None,
                };
                format!("{column} BETWEEN {} AND {}", FIRST / unit, LAST.div_euclid(unit))
            }
            ColumnType::Bool
            | ColumnType::Bytea
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Other => {
                let text = self.text_of(field)?;
                format!(
                    "{column} IS NULL OR CASE WHEN {text} ~ {} THEN {} WHEN {text} ~ {} THEN {} ELSE false END",
                    literal(&pattern::offset_time()),
                    in_range(&format!("(upper({text})::timestamptz)")),
                    literal(&pattern::local_time()),
                    local(&format!("(upper({text})::timestamp)")),
                )
            }
        })
    }

    fn extension(&self, field: Field) -> Option<String> {
        match field.column_type {
            ColumnType::Timestamp | ColumnType::TimestampTz => self.time_of(field),
            // Base64 makes four bytes of three.
            ColumnType::Bytea => {
                let column = self.column(field)?;
                Some(format!("octet_length({column}) <= {}", MAX_ATTRIBUTE / 4 * 3))
            }
            ColumnType::Bool
            | ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Date
            | ColumnType::Other => Some(attribute(&self.text_of(field)?)),
        }
    }

    fn content_type(&self) -> Option<String> {
        let text = self.text(Role::ContentType)?;
        Some(format!(
            "{text} = '' OR ({} AND {text} ~ {} AND {text} !~* {})",
            attribute(&text),
            literal(&pattern::media_type()),
            literal(pattern::EVENT_TYPE)
        ))
    }

    fn payload(&self) -> Option<String> {
        let field = self.field(Role::Payload)?;
        let (column, text) = (self.column(field)?, self.text_of(field)?);
        let bytes = match field.column_type {
            // Of a char(n) with the blanks at its end.
            ColumnType::Bytea | ColumnType::Char => format!("octet_length({column})"),
            ColumnType::Bool
            | ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::TimestampTz
            | ColumnType::Other => format!("octet_length({text})"),
        };
        let mut condition = format!("{bytes} <= {}", self.options.max_event);
        if self.options.null_payload == NullPayload::Reject {
            condition = format!("{column} IS NOT NULL AND {condition}");
        }
        let checked_by_type =
            matches!(field.column_type, ColumnType::Json | ColumnType::Jsonb | ColumnType::Bytea);
        let says_json = self.says_json(field);
        if checked_by_type || says_json == "false" {
            return Some(condition);
        }
        let is_valid = if self.version_num >= 160_000 {
            format!("{text} IS JSON")
        } else {
            // An error is a refusal too.
            format!("{text}::json IS NOT NULL")
        };
        Some(format!(
            "{condition} AND CASE WHEN {column} IS NOT NULL AND ({says_json}) THEN {is_valid} ELSE true END"
        ))
    }

    /// The condition that the payload goes by a media type of JSON.
    fn says_json(&self, payload: Field) -> String {
        let by_default = match self.options.datacontenttype.as_deref() {
            Some(configured) => is_json(configured),
            None => matches!(payload.column_type, ColumnType::Text | ColumnType::Char),
        };
        match self.text(Role::ContentType) {
            Some(own) => format!(
                "CASE WHEN {own} <> '' THEN {own} ~* {} ELSE {by_default} END",
                literal(pattern::JSON_TYPE)
            ),
            None => by_default.to_string(),
        }
    }

    fn headers(&self) -> Option<String> {
        let text = self.text(Role::Headers)?;
        Some(format!(
            "CASE WHEN {text} IN ('', 'null') THEN true ELSE octet_length({text}) <= {MAX_OTHER} AND jsonb_typeof({text}::jsonb) = 'object' AND NOT jsonb_path_exists({text}::jsonb, {}) END",
            literal(BAD_HEADERS)
        ))
    }

    fn topic(&self) -> Option<String> {
        let legal = |text: &str| {
            let own = self.options.reserved_topics.iter().map(|topic| literal(topic));
            let refused: Vec<_> =
                ["'.'".to_owned(), "'..'".to_owned()].into_iter().chain(own).collect();
            format!(
                "{text} ~ {} AND {text} !~ '^__' AND {text} NOT IN ({})",
                literal(pattern::TOPIC),
                refused.join(", ")
            )
        };
        let by_template = match self.present.mapping.topic() {
            Some(pieces) => {
                let (text, filled) = self.template(pieces)?;
                format!("{filled} AND {}", legal(&text))
            }
            None => "false".to_owned(),
        };
        Some(match self.text(Role::Topic) {
            Some(own) => {
                format!("CASE WHEN {own} <> '' THEN {} ELSE {by_template} END", legal(&own))
            }
            None => by_template,
        })
    }

    fn key(&self) -> Option<String> {
        let text = match (self.text(Role::PartitionKey), self.text(Role::AggregateId)) {
            (Some(own), Some(aggregate)) => format!("coalesce(nullif({own}, ''), {aggregate})"),
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => return None,
        };
        Some(format!("octet_length({text}) <= {MAX_OTHER}"))
    }
}
