//! `datacontenttype`, and what becomes of a NULL payload.

use super::{Case, DEAD_LETTER, EVENT, Example, check};
use crate::servers::Settings;

pub(super) const CASES: &[Case] =
    &[JSON, JSONB, TEXT, VARCHAR, BYTES, OTHER, COLUMN, VARIABLE, EMPTY, REJECT];

/// The table of an outbox with a payload column of this type.
macro_rules! table {
    ($columns:literal) => {
        concat!(
            "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', ",
            $columns,
            ")"
        )
    };
}

const JSON: Case = Case {
    title: "Payload: `json`",
    about: "The bytes as they were inserted.",
    table: table!("payload json"),
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "Never printed again: order, repeats, white space and numbers stay.",
            row: "(payload) values (' { \"b\" : 1.10, \"a\":1e400,  \"b\":12345678901234567890123 } ')",
            events: &[&["value:  { \"b\" : 1.10, \"a\":1e400,  \"b\":12345678901234567890123 } "]],
        },
        Example {
            rule: "JSON's null is a payload of four bytes.",
            row: "(payload) values ('null')",
            events: &[&["value: null"]],
        },
        Example {
            rule: "SQL's NULL is a null value, a tombstone in a compacted topic, without a content \
                   type. (In structured mode: an envelope without `data`.)",
            row: "(payload) values (null)",
            events: &[&["value: (null)", "no content-type"]],
        },
    ],
};

const JSONB: Case = Case {
    title: "Payload: `jsonb`",
    about: "As Postgres prints it: it has no order and no repeats of its own.",
    table: table!("payload jsonb"),
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "Numbers keep their digits.",
            row: "(payload) values ('{\"bb\": 12345678901234567890123, \"a\": 1.10, \"a\": -0.00}')",
            events: &[&["value: {\"a\": 0.00, \"bb\": 12345678901234567890123}"]],
        },
        Example {
            rule: "JSON's null is a payload.",
            row: "(payload) values ('null')",
            events: &[&["value: null"]],
        },
    ],
};

const TEXT: Case = Case {
    title: "Payload: `text`",
    about: "By default it has to be JSON, and is checked and left as it is.",
    table: table!("payload text default '{}'"),
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "Untouched, also with what is around it",
            row: "(payload) values (E'\\n[1e400, 0.10]\\t ')",
            events: &[&["value: (escaped) \"\\n[1e400, 0.10]\\t \""]],
        },
        Example {
            rule: "What is no JSON is bad.",
            row: "(payload) values ('{\"a\": 01}')",
            events: &[&[
                DEAD_LETTER,
                "value: {\"a\": 01}",
                "walpost-error-attribute: payload",
                "walpost-error-reason: invalid_json",
                "walpost-error-message: payload is not JSON at byte 7; if it is not meant to be, set \
                 WALPOST_CE_DATACONTENTTYPE or a content type column",
            ]],
        },
        Example {
            rule: "An empty text is no JSON.",
            row: "(payload) values ('')",
            events: &[&[
                DEAD_LETTER,
                "value: (empty)",
                "walpost-error-attribute: payload",
                "walpost-error-reason: invalid_json",
                "walpost-error-message: payload is not JSON at byte 0; if it is not meant to be, set \
                 WALPOST_CE_DATACONTENTTYPE or a content type column",
            ]],
        },
    ],
};

const VARCHAR: Case = Case {
    title: "Payload: `varchar` and `char`",
    about: "",
    table: "create domain body as char(9);
    create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', data varchar(20), payload body)",
    settings: &[],
    common: EVENT,
    examples: &[Example {
        rule: "A `char(n)` has its blanks, which are white space to JSON.",
        row: "(data, payload) values ('no', '[1]')",
        events: &[&["value: [1]      "]],
    }],
};

const BYTES: Case = Case {
    title: "Payload: `bytea`",
    about: "The bytes. In structured mode they are `data_base64`, whatever their content type.",
    table: table!("payload bytea, content_type text"),
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "`application/octet-stream`",
            row: "(payload) values ('\\x00ff')",
            events: &[&["content-type: application/octet-stream", "value: (hex) 00ff"]],
        },
        Example {
            rule: "None are an empty value, not a null one.",
            row: "(payload) values ('')",
            events: &[&["content-type: application/octet-stream", "value: (empty)"]],
        },
        Example {
            rule: "They are not looked into, also where they are called JSON.",
            row: "(payload, content_type) values ('{\"a\":', 'application/json')",
            events: &[&["value: {\"a\":"]],
        },
    ],
};

const OTHER: Case = Case {
    title: "Payload: other types",
    about: "Text as Postgres prints it.",
    table: table!("payload numeric"),
    settings: &[],
    common: EVENT,
    examples: &[Example {
        rule: "`text/plain`",
        row: "(payload) values (12.30), ('NaN')",
        events: &[
            &["content-type: text/plain", "value: 12.30"],
            &["content-type: text/plain", "value: NaN"],
        ],
    }],
};

const COLUMN: Case = Case {
    title: "Content type of a row",
    about: "",
    table: table!("payload text default '{}', datacontenttype varchar(60)"),
    settings: &[("WALPOST_CE_DATACONTENTTYPE", "text/csv; charset=utf-8")],
    common: EVENT,
    examples: &[
        Example {
            rule: "The column says it, as it is written.",
            row: "(payload, datacontenttype) values ('<a/>', 'Application/XML ;charset=\"utf-8\"')",
            events: &[&["content-type: Application/XML ;charset=\"utf-8\"", "value: <a/>"]],
        },
        Example {
            rule: "NULL and empty: the variable says it.",
            row: "(payload, datacontenttype) values ('a,b', null), ('a,b', '')",
            events: &[
                &["content-type: text/csv; charset=utf-8", "value: a,b"],
                &["content-type: text/csv; charset=utf-8", "value: a,b"],
            ],
        },
        Example {
            rule: "Any `…/json` and `…+json` is checked as JSON.",
            row: "(payload, datacontenttype) values ('a,b', 'application/vnd.acme.order+json; v=2')",
            events: &[&[
                DEAD_LETTER,
                "content-type: application/vnd.acme.order+json; v=2",
                "value: a,b",
                "walpost-error-attribute: payload",
                "walpost-error-reason: invalid_json",
                "walpost-error-message: payload is not JSON at byte 0; if it is not meant to be, set \
                 WALPOST_CE_DATACONTENTTYPE or a content type column",
            ]],
        },
        Example {
            rule: "What is no media type is bad.",
            row: "(payload, datacontenttype) values ('{}', 'json')",
            events: &[&[
                DEAD_LETTER,
                "no content-type",
                "walpost-error-attribute: datacontenttype",
                "walpost-error-reason: invalid_media_type",
                "walpost-error-message: datacontenttype is no media type, which looks like \
                 application/json or text/plain; charset=utf-8",
            ]],
        },
        Example {
            rule: "A payload cannot pass for an event.",
            row: "(payload, datacontenttype) values ('{}', 'Application/CloudEvents+json')",
            events: &[&[
                DEAD_LETTER,
                "no content-type",
                "walpost-error-attribute: datacontenttype",
                "walpost-error-reason: invalid_media_type",
                "walpost-error-message: datacontenttype is a media type of CloudEvents itself, which \
                 would make the payload pass for an event",
            ]],
        },
    ],
};

const VARIABLE: Case = Case {
    title: "Content type of all rows",
    about: "",
    table: table!("payload jsonb default '{}'"),
    settings: &[("WALPOST_CE_DATACONTENTTYPE", "application/vnd.acme+json")],
    common: EVENT,
    examples: &[Example {
        rule: "`WALPOST_CE_DATACONTENTTYPE` stands for the type of the column.",
        row: "default values",
        events: &[&["content-type: application/vnd.acme+json"]],
    }],
};

const EMPTY: Case = Case {
    title: "A NULL payload as an empty value",
    about: "",
    table: table!("payload json"),
    settings: &[("WALPOST_NULL_PAYLOAD", "empty")],
    common: EVENT,
    examples: &[Example {
        rule: "`WALPOST_NULL_PAYLOAD=empty`: a value of no bytes, which compaction keeps.",
        row: "default values",
        events: &[&["value: (empty)", "no content-type"]],
    }],
};

const REJECT: Case = Case {
    title: "A NULL payload as a bad row",
    about: "",
    table: table!("payload json"),
    settings: &[("WALPOST_NULL_PAYLOAD", "reject")],
    common: EVENT,
    examples: &[Example {
        rule: "`WALPOST_NULL_PAYLOAD=reject`",
        row: "default values",
        events: &[&[
            DEAD_LETTER,
            "value: (null)",
            "no content-type",
            "walpost-error-attribute: payload",
            "walpost-error-reason: missing",
            "walpost-error-message: payload is NULL (WALPOST_NULL_PAYLOAD=reject)",
        ]],
    }],
};

#[test]
fn json_is_sent_as_postgres_has_it() {
    check(&JSON);
    check(&JSONB);
}

#[test]
fn a_text_has_to_be_json_unless_something_else_is_said() {
    check(&TEXT);
    check(&VARCHAR);
}

#[test]
fn bytes_and_other_types_have_content_types_of_their_own() {
    check(&BYTES);
    check(&OTHER);
}

#[test]
fn a_column_or_a_variable_says_the_content_type() {
    check(&COLUMN);
    check(&VARIABLE);
}

#[test]
fn a_null_payload_is_what_the_variable_says() {
    check(&EMPTY);
    check(&REJECT);
}

#[test]
fn a_content_type_that_is_none_is_a_wrong_configuration() {
    for wrong in ["json", "a/b;", "application/cloudevents+json", "text/plain\nx: y"] {
        let finished = Settings::none()
            .env("DATABASE_URL", "postgres://u@127.0.0.1/shop")
            .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
            .env("WALPOST_CE_DATACONTENTTYPE", wrong)
            .arguments(&["config"])
            .run();
        assert_eq!(finished.code, 78, "{wrong}");
        assert!(finished.stderr.contains("WALPOST_CE_DATACONTENTTYPE"), "{finished:?}");
    }
}
