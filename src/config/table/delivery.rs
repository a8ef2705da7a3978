//! How events reach Kafka, and how much may be on the way.

use super::Group::Delivery;
use super::{Variable, variable};

/// In the order of the help.
pub(super) const VARIABLES: &[Variable] = &[
    variable(
        Delivery,
        "WALPOST_DELIVERY",
        "at-least-once",
        "at-least-once",
        "at-least-once, or exactly-once: events and checkpoint in Kafka transactions, for \
         consumers with isolation.level=read_committed.",
    )
    .words(&["at-least-once", "exactly-once"]),
    variable(
        Delivery,
        "WALPOST_TRANSACTION_INTERVAL",
        "100ms",
        "100ms",
        "Length of a Kafka transaction in exactly-once.",
    )
    .duration("10ms", "1m"),
    variable(
        Delivery,
        "WALPOST_CHECKPOINT_TOPIC",
        "walpost.checkpoint.{name}",
        "walpost.checkpoint.shop",
        "This connector's checkpoint topic: one partition, compacted.",
    )
    .described(),
    variable(
        Delivery,
        "WALPOST_ON_BAD_ROW",
        "dlq",
        "halt",
        "What is done with a row that becomes no event: dlq, halt or skip.",
    )
    .words(&["dlq", "halt", "skip"]),
    variable(Delivery, "WALPOST_DLQ_TOPIC", "walpost.dlq", "walpost.dlq", "Topic of dead letters."),
    variable(
        Delivery,
        "WALPOST_TOPIC_PARTITIONS",
        "",
        "6",
        "Set: missing event topics are created with so many partitions; else the broker's \
         auto-creation decides.",
    )
    .number(1, 10_000),
    variable(
        Delivery,
        "WALPOST_TOPIC_REPLICATION",
        "the broker's",
        "3",
        "Copies of each partition of topics that walpost creates.",
    )
    .described()
    .number(1, 100),
    variable(
        Delivery,
        "WALPOST_MAX_IN_FLIGHT",
        "16MiB",
        "64MiB",
        "Read from Postgres and not yet confirmed by Kafka, by the memory that it may take: key, \
         value and headers twice, 1,024 bytes an event, 64 a header.",
    )
    .size("64KiB", "16GiB"),
    variable(
        Delivery,
        "WALPOST_MAX_EVENT",
        "1MB",
        "900kB",
        "Largest key + value + headers; a larger event is a bad row.",
    )
    .size("1kB", "900MB"),
    variable(Delivery, "WALPOST_SHUTDOWN_TIMEOUT", "25s", "25s", "How long a drain may take.")
        .duration("0", "1d"),
    variable(
        Delivery,
        "WALPOST_WAL_SENDER_TIMEOUT",
        "20s",
        "20s",
        "Asked of the server for this connection.",
    )
    .duration("1s", "1d"),
    variable(
        Delivery,
        "WALPOST_PRUNE_AFTER",
        "off",
        "7d",
        "Delete rows that are proven delivered and older than this from the table: off, or 1s and more.",
    ),
    variable(
        Delivery,
        "WALPOST_CONSUMER_GROUPS",
        "",
        "billing,mail",
        "Consumer groups, separated by commas, whose lag, members and rebalances on walpost's topics \
         are measured.",
    ),
];
