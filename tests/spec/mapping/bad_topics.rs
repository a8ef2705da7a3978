//! Rows whose topic, or whose type by its template, cannot be.

use super::{Case, DEAD_LETTER, EVENT, Example, check};

pub(super) const CASES: &[Case] = &[TOPICS, TEMPLATES];

const TOPICS: Case = Case {
    title: "Bad rows: topics",
    about: "`illegal_name`: topics are never rewritten, since two aggregate types could then fall into \
            one. A letter says where it should have gone only if that is possible.",
    table: "create table outbox (id text default 'e1', type text default 'Placed',
    payload json default '{}', topic text)",
    settings: &[("WALPOST_TOPIC", "shop.order"), ("WALPOST_CHECKPOINT_TOPIC", "positions.shop.a")],
    common: EVENT,
    examples: &[
        Example {
            rule: "Kafka allows `[A-Za-z0-9._-]`.",
            row: "(topic) values ('a b'), ('größe'), (E'a\\nb')",
            events: &[
                &[
                    DEAD_LETTER,
                    "no walpost-topic",
                    "walpost-error-attribute: topic",
                    "walpost-error-reason: illegal_name",
                    CHARACTERS,
                ],
                &[
                    DEAD_LETTER,
                    "no walpost-topic",
                    "walpost-position: (commit position)+1",
                    "walpost-error-attribute: topic",
                    "walpost-error-reason: illegal_name",
                    CHARACTERS,
                ],
                &[
                    DEAD_LETTER,
                    "no walpost-topic",
                    "walpost-position: (commit position)+2",
                    "walpost-error-attribute: topic",
                    "walpost-error-reason: illegal_name",
                    CHARACTERS,
                ],
            ],
        },
        Example {
            rule: "`.` and `..` are none.",
            row: "(topic) values ('..')",
            events: &[&[
                DEAD_LETTER,
                "no walpost-topic",
                "walpost-error-attribute: topic",
                "walpost-error-reason: illegal_name",
                "walpost-error-message: topic is . or .., which Kafka refuses",
            ]],
        },
        Example {
            rule: "`__*` are Kafka's own.",
            row: "(topic) values ('__consumer_offsets')",
            events: &[&[
                DEAD_LETTER,
                "no walpost-topic",
                "walpost-error-attribute: topic",
                "walpost-error-reason: illegal_name",
                "walpost-error-message: topic begins with __, as Kafka's own topics do",
            ]],
        },
        Example {
            rule: "The topic of dead letters is walpost's own.",
            row: "(topic) values ('shop.dlq')",
            events: &[OWN_TOPIC],
        },
        Example {
            rule: "The topic of the checkpoint is,",
            row: "(topic) values ('positions.shop.a')",
            events: &[OWN_TOPIC],
        },
        Example {
            rule: "and those of other connectors are.",
            row: "(topic) values ('walpost.checkpoint.warehouse.walpost')",
            events: &[OWN_TOPIC],
        },
        Example {
            rule: "`too_long`: 249 characters are the most.",
            row: "(topic) values (repeat('a', 250))",
            events: &[&[
                DEAD_LETTER,
                "no walpost-topic",
                "walpost-error-attribute: topic",
                "walpost-error-reason: too_long",
                "walpost-error-message: topic is longer than 249 bytes",
            ]],
        },
    ],
};

const CHARACTERS: &str = "walpost-error-message: topic has a character that Kafka does not allow: only \
                          letters, digits and ._-";

const OWN_TOPIC: &[&str] = &[
    DEAD_LETTER,
    "no walpost-topic",
    "walpost-error-attribute: topic",
    "walpost-error-reason: illegal_name",
    "walpost-error-message: topic is a topic that walpost keeps for itself",
];

const TEMPLATES: Case = Case {
    title: "Bad rows: templates",
    about: "Every column that a template names has to have a text in the row.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', schema_version int default 1,
    region text default 'eu')",
    settings: &[("WALPOST_CE_TYPE", "{type}.v{schema_version}.{region}")],
    common: &[
        "topic: shop.order",
        "key: (null)",
        "ce_specversion: 1.0",
        "ce_id: e1",
        "ce_source: /shop/public/outbox",
        "ce_type: Placed.v1.eu",
        "ce_time: (commit time)",
        "content-type: application/json",
        "value: {}",
    ],
    examples: &[
        Example {
            rule: "`missing`: the topic needs an aggregate type.",
            row: "(aggregatetype) values (null)",
            events: &[&[
                DEAD_LETTER,
                "no walpost-topic",
                "walpost-error-attribute: topic",
                "walpost-error-reason: missing",
                "walpost-error-message: topic needs aggregate_type, which is NULL",
            ]],
        },
        Example {
            rule: "`empty`: one with a text in it",
            row: "(aggregatetype) values ('')",
            events: &[&[
                DEAD_LETTER,
                "no walpost-topic",
                "walpost-error-attribute: topic",
                "walpost-error-reason: empty",
                "walpost-error-message: topic needs aggregate_type, which is empty",
            ]],
        },
        Example {
            rule: "`missing`: the type needs a version.",
            row: "(schema_version) values (null)",
            events: &[&[
                DEAD_LETTER,
                "no ce_type",
                "walpost-error-attribute: type",
                "walpost-error-reason: missing",
                "walpost-error-message: type needs schema_version, which is NULL",
            ]],
        },
        Example {
            rule: "`empty`: and a region",
            row: "(region) values ('')",
            events: &[&[
                DEAD_LETTER,
                "no ce_type",
                "walpost-error-attribute: type",
                "walpost-error-reason: empty",
                "walpost-error-message: type needs region, which is empty",
            ]],
        },
    ],
};

#[test]
fn an_impossible_topic_makes_a_dead_letter() {
    check(&TOPICS);
    check(&TEMPLATES);
}
