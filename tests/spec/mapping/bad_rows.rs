//! Every reason for which a row by itself is bad, with its whole dead letter.

use super::{Case, DEAD_LETTER, EVENT, Example, check};

pub(super) const CASES: &[Case] = &[ATTRIBUTES, HEADERS, SIZE];

const ATTRIBUTES: Case = Case {
    title: "Bad rows: attributes",
    about: "A dead letter has the row's payload and key, the headers that could be made, and what \
            was wrong. It is in binary mode always.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid text default '42', type text default 'Placed', payload json default '{}', source text,
    subject text, dataschema text, partition_key text, traceparent text)",
    settings: &[("WALPOST_CE_EXTENSIONS", "ext=subject")],
    common: &[
        "topic: shop.order",
        "key: 42",
        "ce_specversion: 1.0",
        "ce_id: e1",
        "ce_source: /shop/public/outbox",
        "ce_type: Placed",
        "ce_subject: 42",
        "ce_time: (commit time)",
        "content-type: application/json",
        "value: {}",
    ],
    examples: &[
        Example {
            rule: "`missing`: `id` is NULL.",
            row: "(id) values (null)",
            events: &[&[
                DEAD_LETTER,
                "no ce_id",
                "no walpost-row-id",
                "walpost-error-attribute: id",
                "walpost-error-reason: missing",
                "walpost-error-message: id is NULL",
            ]],
        },
        Example {
            rule: "`missing`: `type` is NULL.",
            row: "(type) values (null)",
            events: &[&[
                DEAD_LETTER,
                "no ce_type",
                "walpost-error-attribute: type",
                "walpost-error-reason: missing",
                "walpost-error-message: type needs type, which is NULL",
            ]],
        },
        Example {
            rule: "`empty`: `id` is empty.",
            row: "(id) values ('')",
            events: &[&[
                DEAD_LETTER,
                "no ce_id",
                "walpost-row-id: (empty)",
                "walpost-error-attribute: id",
                "walpost-error-reason: empty",
                "walpost-error-message: id is empty",
            ]],
        },
        Example {
            rule: "`empty`: `type` is empty.",
            row: "(type) values ('')",
            events: &[&[
                DEAD_LETTER,
                "no ce_type",
                "walpost-error-attribute: type",
                "walpost-error-reason: empty",
                "walpost-error-message: type needs type, which is empty",
            ]],
        },
        Example {
            rule: "`control_character`: CloudEvents refuses U+0000 to U+001F, U+007F to U+009F and \
                   noncharacters in attributes.",
            row: "(id) values (E'e\\n1')",
            events: &[&[
                DEAD_LETTER,
                "no ce_id",
                "walpost-row-id: (escaped) \"e\\n1\"",
                "walpost-error-attribute: id",
                "walpost-error-reason: control_character",
                "walpost-error-message: id has the character U+000A, which CloudEvents refuses in \
                 attributes",
            ]],
        },
        Example {
            rule: "`control_character`: the aggregate id is an attribute too; the key is kept.",
            row: "(aggregateid) values (E'a\\u0085')",
            events: &[&[
                DEAD_LETTER,
                "key: (escaped) \"a\\u{85}\"",
                "no ce_subject",
                "walpost-error-attribute: subject",
                "walpost-error-reason: control_character",
                "walpost-error-message: subject has the character U+0085, which CloudEvents refuses \
                 in attributes",
            ]],
        },
        Example {
            rule: "`control_character`: so are extensions.",
            row: "(traceparent) values (E'a\\uFDD0')",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: traceparent",
                "walpost-error-reason: control_character",
                "walpost-error-message: traceparent has the character U+FDD0, which CloudEvents \
                 refuses in attributes",
            ]],
        },
        Example {
            rule: "`invalid_uri`: `source` is no reference of RFC 3986.",
            row: "(source) values ('/my shop')",
            events: &[&[
                DEAD_LETTER,
                "no ce_source",
                "walpost-error-attribute: source",
                "walpost-error-reason: invalid_uri",
                "walpost-error-message: source is no URI reference (RFC 3986)",
            ]],
        },
        Example {
            rule: "`invalid_uri`: other characters than ASCII and a lone `%` are none either.",
            row: "(source) values ('/größe')",
            events: &[&[
                DEAD_LETTER,
                "no ce_source",
                "walpost-error-attribute: source",
                "walpost-error-reason: invalid_uri",
                "walpost-error-message: source is no URI reference (RFC 3986)",
            ]],
        },
        Example {
            rule: "`invalid_uri`: `dataschema`",
            row: "(dataschema) values ('https://example.com/{id}')",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: dataschema",
                "walpost-error-reason: invalid_uri",
                "walpost-error-message: dataschema is no URI (RFC 3986)",
            ]],
        },
        Example {
            rule: "`not_absolute_uri`: `dataschema` begins with a scheme.",
            row: "(dataschema) values ('/schemas/order')",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: dataschema",
                "walpost-error-reason: not_absolute_uri",
                "walpost-error-message: dataschema is no absolute URI, which begins with a scheme",
            ]],
        },
    ],
};

const HEADERS: Case = Case {
    title: "Bad rows: headers",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', headers json)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "`invalid_json`: an array is no object.",
            row: "(headers) values ('[1]')",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: headers",
                "walpost-error-reason: invalid_json",
                "walpost-error-message: headers is not a JSON object",
            ]],
        },
        Example {
            rule: "`empty`: a header has a name.",
            row: "(headers) values ('{\"a\": \"x\", \"\": \"y\"}')",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: headers",
                "walpost-error-reason: empty",
                "walpost-error-message: headers has a member without a name",
            ]],
        },
        Example {
            rule: "`control_character`: without control characters",
            row: "(headers) values ('{\"a\\r\\nce_id: b\": \"x\"}')",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: headers",
                "walpost-error-reason: control_character",
                "walpost-error-message: headers has a control character in the name of a member",
            ]],
        },
        Example {
            rule: "`not_representable`: half a surrogate pair is no UTF-8.",
            row: "(headers) values ('{\"a\": \"\\ud800\"}')",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: headers",
                "walpost-error-reason: not_representable",
                "walpost-error-message: headers has half of a surrogate pair, which is no text",
            ]],
        },
        Example {
            rule: "`too_long`: 64 KiB are the most.",
            row: "(headers) values (json_build_object('a', repeat('x', 65536)))",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: headers",
                "walpost-error-reason: too_long",
                "walpost-error-message: headers are more than 65536 bytes",
            ]],
        },
    ],
};

const SIZE: Case = Case {
    title: "Bad rows: size",
    about: "A letter for size has a null value, and says how many bytes there were.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload text default '{}', tenant text)",
    settings: &[("WALPOST_MAX_EVENT", "1kB")],
    common: EVENT,
    examples: &[
        Example {
            rule: "`too_large`: the payload alone is over `WALPOST_MAX_EVENT`.",
            row: "(payload) values ('\"' || repeat('x', 999) || '\"')",
            events: &[&[
                DEAD_LETTER,
                "value: (null)",
                "walpost-error-attribute: payload",
                "walpost-error-reason: too_large",
                "walpost-error-message: payload is larger than 1000 bytes (WALPOST_MAX_EVENT)",
                "walpost-payload-bytes: 1001",
            ]],
        },
        Example {
            rule: "`too_large`: key, value and headers together are.",
            row: "(payload) values ('\"' || repeat('x', 998) || '\"')",
            events: &[&[
                DEAD_LETTER,
                "value: (null)",
                "walpost-error-attribute: event",
                "walpost-error-reason: too_large",
                "walpost-error-message: event is larger than 1000 bytes (WALPOST_MAX_EVENT)",
                "walpost-payload-bytes: 1000",
            ]],
        },
    ],
};

#[test]
fn a_bad_attribute_makes_a_dead_letter() {
    check(&ATTRIBUTES);
}

#[test]
fn a_bad_headers_column_makes_a_dead_letter() {
    check(&HEADERS);
}

#[test]
fn an_event_that_is_too_large_makes_a_dead_letter() {
    check(&SIZE);
}
