//! Templates of topic, type and source.

use super::relay::Relay;
use super::{Case, EVENT, Example, check};

pub(super) const CASES: &[Case] = &[TEMPLATES, BRACES, TOPIC_COLUMN];

const TEMPLATES: Case = Case {
    title: "Templates",
    about: "In braces: a role in lower case, whatever its column is called, or the name of any \
            column. `WALPOST_CE_SOURCE` knows `{database}`, `{schema}` and `{table}`.",
    table: "create table outbox (id text default 'e1', kind text default 'order',
    type text default 'Placed', payload json default '{}', region text default 'eu',
    schemaversion smallint default 2, live boolean default true, code char(5) default 'ab')",
    settings: &[
        ("WALPOST_COLUMN_AGGREGATE_TYPE", "kind"),
        ("WALPOST_TOPIC", "shop.{region}.{aggregate_type}_{code}-{live}"),
        ("WALPOST_CE_TYPE", "com.example.{region}.{type}.v{schema_version}"),
        ("WALPOST_CE_SOURCE", "https://example.com/{table}/of/{schema}"),
    ],
    common: &[
        "topic: shop.eu.order_ab-true",
        "key: (null)",
        "ce_specversion: 1.0",
        "ce_id: e1",
        "ce_source: https://example.com/outbox/of/public",
        "ce_type: com.example.eu.Placed.v2",
        "ce_time: (commit time)",
        "content-type: application/json",
        "value: {}",
    ],
    examples: &[
        Example {
            rule: "A boolean is `true` or `false`; a `char(n)` has no blanks at its end.",
            row: "default values",
            events: &[&[]],
        },
        Example {
            rule: "What a column has is taken as it is, and not read as a template again.",
            row: "(type) values ('{region}')",
            events: &[&["ce_type: com.example.eu.{region}.v2"]],
        },
    ],
};

const BRACES: Case = Case {
    title: "Braces in a template",
    about: "`{{` is a brace, and so is `}}`. Only `type` can have one: topics cannot, and in a URI \
            a brace is written `%7B`.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', \"Weird {Name\" text)",
    settings: &[("WALPOST_CE_TYPE", "{{{type}}}"), ("WALPOST_CE_SOURCE", "/%7B{table}%7D")],
    common: EVENT,
    examples: &[Example {
        rule: "Three braces are a brace and a name.",
        row: "default values",
        events: &[&["ce_type: {Placed}", "ce_source: /%7Boutbox%7D"]],
    }],
};

const TOPIC_COLUMN: Case = Case {
    title: "The topic of one row",
    about: "",
    table: "create table outbox (id text default 'e1', type text default 'Placed',
    payload json default '{}', topic text)",
    settings: &[("WALPOST_TOPIC", "shop.order")],
    common: EVENT,
    examples: &[
        Example {
            rule: "A row with a topic goes there, in upper and lower case as it is written.",
            row: "(topic) values ('shop.Own_Topic-1')",
            events: &[&["topic: shop.Own_Topic-1"]],
        },
        Example { rule: "NULL is none.", row: "(topic) values (null)", events: &[&[]] },
        Example { rule: "An empty text is none.", row: "(topic) values ('')", events: &[&[]] },
    ],
};

#[test]
fn templates_are_filled_from_roles_and_columns() {
    check(&TEMPLATES);
}

#[test]
fn two_braces_are_one() {
    check(&BRACES);
}

#[test]
fn a_row_may_name_its_topic() {
    check(&TOPIC_COLUMN);
}

#[test]
fn a_topic_has_up_to_249_characters() {
    let mut relay = Relay::start(&TOPIC_COLUMN, "binary");
    let name = format!("{}.{}", relay.name(), "a".repeat(248 - relay.name().len()));
    relay.insert(&format!("(topic) values ('{name}')"));
    let records = relay.finish(1);
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.topic.len(), &record.topic), (249, &name));
}
