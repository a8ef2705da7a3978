//! Required attributes, those that a role gives, and those that are left out.

use super::{Case, EVENT, Example, check};

pub(super) const CASES: &[Case] = &[DEFAULTS, OVERRIDES];

const DEFAULTS: Case = Case {
    title: "A row and its event",
    about: "Debezium's table. Nothing is configured but the addresses and the topic.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid text, type text default 'Placed', payload json default '{}')",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "The aggregate id is the record's key and the event's `subject`.",
            row: "(aggregateid) values ('42')",
            events: &[&["key: 42", "ce_subject: 42"]],
        },
        Example {
            rule: "NULL is a null key, and there is no `subject`.",
            row: "(aggregateid) values (null)",
            events: &[&[]],
        },
        Example {
            rule: "An empty text is an empty key, and no `subject`: an attribute is never empty.",
            row: "(aggregateid) values ('')",
            events: &[&["key: (empty)"]],
        },
        Example {
            rule: "The aggregate type names the topic, and is no attribute.",
            row: "(aggregatetype) values ('invoice')",
            events: &[&["topic: shop.invoice"]],
        },
        Example {
            rule: "Texts are UTF-8 as they are. Only `source` has percent forms, since it is a URI.",
            row: "(id, type, aggregateid) values ('ü 100%', 'Größe/😀', '日本 \"x\"\\')",
            events: &[&[
                "ce_id: ü 100%",
                "ce_type: Größe/😀",
                "key: 日本 \"x\"\\",
                "ce_subject: 日本 \"x\"\\",
            ]],
        },
        Example {
            rule: "Blanks around a text are part of it.",
            row: "(id, aggregateid) values (' e ', ' ')",
            events: &[&["ce_id:  e ", "key:  ", "ce_subject:  "]],
        },
        Example {
            rule: "An update is no event.",
            row: "update outbox set type = 'Changed'",
            events: &[],
        },
        Example {
            rule: "A delete is none, and a truncate is none.",
            row: "begin; delete from outbox; truncate outbox; commit",
            events: &[],
        },
        Example {
            rule: "A row that is rolled back never appears.",
            row: "begin; insert into outbox default values; rollback",
            events: &[],
        },
        Example {
            rule: "A row inserted, changed and deleted in one transaction is an event, as it was inserted.",
            row: "insert into outbox (id) values ('e2'); update outbox set type = 'Changed'; \
                  delete from outbox",
            events: &[&["ce_id: e2"]],
        },
        Example {
            rule: "Rows of one transaction are events in the order of their inserts.",
            row: "(id) values ('b'), ('a'), ('b')",
            events: &[&["ce_id: b"], &["ce_id: a"], &["ce_id: b"]],
        },
    ],
};

const OVERRIDES: Case = Case {
    title: "Attributes from columns",
    about: "A table with a column for each attribute that has one.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid text, type text default 'Placed', payload json default '{}', source text,
    subject text, dataschema text, correlation_id uuid, causation_id text, tenant_id int)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "`source` overrides the default; it may be absolute …",
            row: "(source) values ('https://shop.example.com/a?b=c%20d#e')",
            events: &[&["ce_source: https://shop.example.com/a?b=c%20d#e"]],
        },
        Example {
            rule: "… a URN …",
            row: "(source) values ('urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66')",
            events: &[&["ce_source: urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"]],
        },
        Example {
            rule: "… or relative.",
            row: "(source) values ('../warehouse')",
            events: &[&["ce_source: ../warehouse"]],
        },
        Example {
            rule: "An empty `source` is as none.",
            row: "(source) values ('')",
            events: &[&[]],
        },
        Example {
            rule: "`subject` overrides the aggregate id, and leaves the key alone.",
            row: "(aggregateid, subject) values ('42', 'orders/42')",
            events: &[&["key: 42", "ce_subject: orders/42"]],
        },
        Example {
            rule: "An empty `subject` is as none.",
            row: "(aggregateid, subject) values ('42', '')",
            events: &[&["key: 42", "ce_subject: 42"]],
        },
        Example {
            rule: "`subject` needs no aggregate id.",
            row: "(subject) values ('orders')",
            events: &[&["ce_subject: orders"]],
        },
        Example {
            rule: "`dataschema` is an absolute URI.",
            row: "(dataschema) values ('https://schemas.example.com/order/1')",
            events: &[&["ce_dataschema: https://schemas.example.com/order/1"]],
        },
        Example {
            rule: "An empty `dataschema` is left out.",
            row: "(dataschema) values ('')",
            events: &[&[]],
        },
        Example {
            rule: "Correlation, causation and tenant are extensions without an underscore, and texts \
                   whatever their column is.",
            row: "(correlation_id, causation_id, tenant_id) \
                  values ('6E8BC430-9C3A-11D9-9669-0800200C9A66', 'e0', 7)",
            events: &[&[
                "ce_correlationid: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
                "ce_causationid: e0",
                "ce_tenantid: 7",
            ]],
        },
        Example {
            rule: "Where they are NULL or empty they are left out.",
            row: "(causation_id) values ('')",
            events: &[&[]],
        },
    ],
};

#[test]
fn debeziums_row_becomes_an_event() {
    check(&DEFAULTS);
}

#[test]
fn an_attribute_comes_from_its_column_and_is_left_out_when_that_is_empty() {
    check(&OVERRIDES);
}
