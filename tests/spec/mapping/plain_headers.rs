//! Headers that are no attributes: the column `headers`, and Debezium's.

use super::relay::Relay;
use super::{Case, EVENT, Example, check};

pub(super) const CASES: &[Case] = &[JSONB, JSON, TEXT, DEBEZIUM];

const JSONB: Case = Case {
    title: "Headers",
    about: "A JSON object in the column `headers` becomes plain headers.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', headers jsonb, traceparent text)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "Strings have no quotes, others are JSON text, null is left out.",
            row: "(headers) values ('{\"s\": \"a \\\"b\\\" ü\\n\", \"n\": 1.50, \"b\": true, \
                  \"a\": [1, \"x\"], \"o\": {\"k\": null}, \"z\": null}')",
            events: &[&[
                "s: (escaped) \"a \\\"b\\\" ü\\n\"",
                "n: 1.50",
                "b: true",
                "a: [1, \"x\"]",
                "o: {\"k\": null}",
            ]],
        },
        Example {
            rule: "An empty string is an empty header, and never a null one.",
            row: "(headers) values ('{\"s\": \"\"}')",
            events: &[&["s: (empty)"]],
        },
        Example {
            rule: "Names are kept as they are, in upper and lower case.",
            row: "(headers) values ('{\"X-Request-ID\": \"7\", \"größe\": \"L\", \"__TypeId__\": \"T\"}')",
            events: &[&["X-Request-ID: 7", "größe: L", "__TypeId__: T"]],
        },
        Example {
            rule: "`ce_*` and `content-type` in any case are left out, with a warning: no row \
                   overrides an attribute. So are walpost's own.",
            row: "(headers) values ('{\"ce_id\": \"x\", \"CE_Source\": \"x\", \"ce_new\": \"x\", \
                  \"content-type\": \"x\", \"Content-TYPE\": \"x\", \"walpost-topic\": \"x\", \
                  \"Walpost-Replay\": \"x\", \"kept\": \"x\"}')",
            events: &[&["kept: x"]],
        },
        Example {
            rule: "And so is one that the row has as a column.",
            row: "(traceparent, headers) values ('tp', '{\"TraceParent\": \"x\"}')",
            events: &[&["ce_traceparent: tp", "traceparent: tp"]],
        },
        Example {
            rule: "NULL, JSON's null and an empty object are no headers.",
            row: "(headers) values (null), ('null'), ('{}')",
            events: &[&[], &[], &[]],
        },
    ],
};

const JSON: Case = Case {
    title: "Headers from `json`",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', headers json)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "What is twice in the object is twice in the record; text that is no string is as \
                   it was written.",
            row: "(headers) values ('{ \"h\" : 1e0, \"h\":\"\\u00fc\\ud83d\\ude00\" , \"l\": [ 1 ] }')",
            events: &[&["h: 1e0", "h: ü😀", "l: [ 1 ]"]],
        },
        Example {
            rule: "Escapes do not hide a name.",
            row: "(headers) values ('{\"\\u0063e_id\": \"x\", \"content\\u002dtype\": \"x\", \"k\": \"y\"}')",
            events: &[&["k: y"]],
        },
    ],
};

const TEXT: Case = Case {
    title: "Headers from `text`",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', headers text)",
    settings: &[],
    common: EVENT,
    examples: &[Example {
        rule: "A text that is a JSON object; an empty one is none.",
        row: "(headers) values ('{\"h\": \"x\"}'), ('')",
        events: &[&["h: x"], &[]],
    }],
};

const DEBEZIUM: Case = Case {
    title: "Debezium's headers",
    about: "For consumers that move over: `WALPOST_DEBEZIUM_HEADERS=true` adds the plain headers `id` \
            and `eventType`. The latter is the column's text, before `WALPOST_CE_TYPE`.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', headers jsonb)",
    settings: &[("WALPOST_DEBEZIUM_HEADERS", "true"), ("WALPOST_CE_TYPE", "com.example.{type}")],
    common: EVENT,
    examples: &[
        Example {
            rule: "Both",
            row: "default values",
            events: &[&["ce_type: com.example.Placed", "id: e1", "eventType: Placed"]],
        },
        Example {
            rule: "A row cannot override them.",
            row: "(headers) values ('{\"ID\": \"x\", \"eventtype\": \"x\", \"k\": \"y\"}')",
            events: &[&["ce_type: com.example.Placed", "id: e1", "eventType: Placed", "k: y"]],
        },
    ],
};

#[test]
fn a_json_object_becomes_plain_headers() {
    check(&JSONB);
    check(&JSON);
    check(&TEXT);
}

#[test]
fn debeziums_plain_headers_are_there_when_asked_for() {
    check(&DEBEZIUM);
}

#[test]
fn headers_that_are_left_out_are_told_once_and_not_shown() {
    let mut relay = Relay::start(&JSONB, "binary");
    relay.insert("(headers) values ('{\"ce_id\": \"Geheimnis\"}')");
    relay.insert("(headers) values ('{\"content-type\": \"Geheimnis\"}')");
    relay.finish(2);
    let log = relay.log();
    assert_eq!(log.matches("they are left out").count(), 1, "{log}");
    assert!(!log.contains("Geheimnis"), "{log}");
}
