//! Structured mode as a consumer sees it. That it says the same as binary mode is compared for every
//! other case.

use super::{Case, Example, check};
use crate::servers::Settings;

pub(super) const CASES: &[Case] = &[ENVELOPE];

const ENVELOPE: Case = Case {
    title: "Structured mode",
    about: "`WALPOST_CE_MODE=structured`: the value is one JSON object. Plain headers stay headers.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid text, type text default 'Placed', payload text default '{}', content_type text,
    data bytea, headers jsonb, small smallint, big bigint, yes boolean)",
    settings: &[
        ("WALPOST_CE_MODE", "structured"),
        ("WALPOST_CE_EXTENSIONS", "small=small,big=big,yes=yes"),
    ],
    common: &[
        "topic: shop.order",
        "key: (null)",
        "content-type: application/cloudevents+json; charset=UTF-8",
    ],
    examples: &[
        Example {
            rule: "`time` is always there, and nothing is null.",
            row: "default values",
            events: &[&["value: {\"specversion\":\"1.0\",\"id\":\"e1\",\
                 \"source\":\"/shop/public/outbox\",\"type\":\"Placed\",\"time\":\"(commit time)\",\
                 \"datacontenttype\":\"application/json\",\"data\":{}}"]],
        },
        Example {
            rule: "JSON is put in as it is.",
            row: "(aggregateid, payload) values ('42', ' [1e400, 1.10] ')",
            events: &[&[
                "key: 42",
                "value: {\"specversion\":\"1.0\",\"id\":\"e1\",\"source\":\"/shop/public/outbox\",\
                 \"type\":\"Placed\",\"subject\":\"42\",\"time\":\"(commit time)\",\
                 \"datacontenttype\":\"application/json\",\"data\": [1e400, 1.10] }",
            ]],
        },
        Example {
            rule: "Other text is a JSON string.",
            row: "(payload, content_type) values (E'a \"b\"\\n', 'text/plain')",
            events: &[&["value: {\"specversion\":\"1.0\",\"id\":\"e1\",\
                 \"source\":\"/shop/public/outbox\",\"type\":\"Placed\",\"time\":\"(commit time)\",\
                 \"datacontenttype\":\"text/plain\",\"data\":\"a \\\"b\\\"\\u000a\"}"]],
        },
        Example {
            rule: "Booleans and Integers have no quotes; 64 bits have.",
            row: "(small, big, yes) values (7, 7, true)",
            events: &[&["value: {\"specversion\":\"1.0\",\"id\":\"e1\",\
                 \"source\":\"/shop/public/outbox\",\"type\":\"Placed\",\"time\":\"(commit time)\",\
                 \"small\":7,\"big\":\"7\",\"yes\":true,\
                 \"datacontenttype\":\"application/json\",\"data\":{}}"]],
        },
        Example {
            rule: "A NULL payload is an envelope without `data`: the value is never null.",
            row: "(payload) values (null)",
            events: &[&["value: {\"specversion\":\"1.0\",\"id\":\"e1\",\
                 \"source\":\"/shop/public/outbox\",\"type\":\"Placed\",\"time\":\"(commit time)\"}"]],
        },
        Example {
            rule: "Headers of the row",
            row: "(headers) values ('{\"h\": \"x\"}')",
            events: &[&[
                "h: x",
                "value: {\"specversion\":\"1.0\",\"id\":\"e1\",\"source\":\"/shop/public/outbox\",\
                 \"type\":\"Placed\",\"time\":\"(commit time)\",\
                 \"datacontenttype\":\"application/json\",\"data\":{}}",
            ]],
        },
    ],
};

#[test]
fn a_structured_event_is_one_json_object() {
    check(&ENVELOPE);
}

#[test]
fn there_is_no_batch_mode() {
    let finished = Settings::none()
        .env("DATABASE_URL", "postgres://u@127.0.0.1/shop")
        .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
        .env("WALPOST_CE_MODE", "batch")
        .arguments(&["config"])
        .run();
    assert_eq!(finished.code, 78, "{finished:?}");
    assert!(finished.stderr.contains("has no batch mode"), "{finished:?}");
}
