//! How a row becomes an event.

use super::Group::Events;
use super::{Variable, variable};

/// In the order of the help.
pub(super) const VARIABLES: &[Variable] = &[
    variable(
        Events,
        "WALPOST_TOPIC",
        "outbox.event.{aggregate_type}",
        "orders",
        "Topic template: a role in lower case or a column in braces; {{ is a brace.",
    ),
    variable(
        Events,
        "WALPOST_VIRTUAL_PARTITIONS",
        "",
        "order/4711=16:line_id",
        "Hot aggregates that have n keys instead of one, <id>#0 to <id>#<n-1>, by the hash of a second \
         column: aggregate type/aggregate id=n:column, separated by commas.",
    ),
    variable(
        Events,
        "WALPOST_CE_MODE",
        "binary",
        "structured",
        "Content mode: binary or structured.",
    )
    .words(&["binary", "structured"]),
    variable(
        Events,
        "WALPOST_CE_SOURCE",
        "/{database}/{schema}/{table}",
        "https://orders.example.com",
        "The events' source.",
    ),
    variable(
        Events,
        "WALPOST_CE_TYPE",
        "{type}",
        "com.example.{type}",
        "Template of the events' type.",
    ),
    variable(
        Events,
        "WALPOST_CE_DATACONTENTTYPE",
        "by column type",
        "application/json",
        "Content type of all payloads.",
    )
    .described(),
    variable(
        Events,
        "WALPOST_CE_EXTENSIONS",
        "",
        "region=region_code",
        "Extensions and their columns: name=column, separated by commas.",
    ),
    variable(
        Events,
        "WALPOST_TIME_UNIT",
        "milliseconds",
        "microseconds",
        "Unit of an integer time column: seconds, milliseconds, microseconds or nanoseconds.",
    )
    .words(&["seconds", "milliseconds", "microseconds", "nanoseconds"]),
    variable(
        Events,
        "WALPOST_TIME_ZONE",
        "UTC",
        "Europe/Berlin",
        "Zone of a timestamp without time zone.",
    ),
    variable(
        Events,
        "WALPOST_NULL_PAYLOAD",
        "tombstone",
        "reject",
        "What an SQL NULL payload becomes: tombstone, empty or reject.",
    )
    .words(&["tombstone", "empty", "reject"]),
    variable(
        Events,
        "WALPOST_DEBEZIUM_HEADERS",
        "false",
        "true",
        "Also write Debezium's plain headers id and eventType.",
    )
    .words(&["true", "false"]),
];
