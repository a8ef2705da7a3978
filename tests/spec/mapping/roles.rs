//! Which column plays which role: the names that are looked for, and the variables.

use super::{Case, EVENT, Example, check};

pub(super) const CASES: &[Case] = &[FIRST, SECOND, THIRD, FOURTH, NAMED, ABSENT, UNSENT];

const FIRST: Case = Case {
    title: "The first name wins",
    about: "Every name that is looked for has a column, and the first of each role is taken.",
    table: "create table outbox (event_id text, id text, aggregate_type text,
    aggregatetype text, aggregate_id text, aggregateid text, event_type text, type text,
    data json, payload json, event_time timestamptz, occurred_at timestamptz,
    \"timestamp\" timestamptz, created_at timestamptz, datacontenttype text, content_type text,
    data_schema text, dataschema text, tenant text, tenant_id text, schemaversion text,
    schema_version text)",
    settings: &[("WALPOST_CE_TYPE", "{type}.v{schema_version}")],
    common: EVENT,
    examples: &[Example {
        rule: "The names in the order of the table in the README.",
        row: "values ('2', '1', 'second', 'first', 'second', 'first', 'second', 'first',
              '\"second\"', '\"first\"', '2004-01-01Z', '2003-01-01Z', '2002-01-01Z',
              '2001-01-01Z', 'text/second', 'text/json', 'urn:second', 'urn:first', 'second',
              'first', '2', '1')",
        events: &[&[
            "topic: shop.first",
            "ce_id: 1",
            "key: first",
            "ce_subject: first",
            "ce_type: first.v1",
            "value: \"first\"",
            "ce_time: 2001-01-01T00:00:00Z",
            "content-type: text/json",
            "ce_dataschema: urn:first",
            "ce_tenantid: first",
        ]],
    }],
};

const SECOND: Case = Case {
    title: "The second names",
    about: "The same row without the columns of the first names.",
    table: "create table outbox (event_id text, aggregate_type text, aggregate_id text,
    event_type text, data json, event_time timestamptz, occurred_at timestamptz,
    \"timestamp\" timestamptz, datacontenttype text, data_schema text, tenant text,
    schemaversion text)",
    settings: &[("WALPOST_CE_TYPE", "{type}.v{schema_version}")],
    common: EVENT,
    examples: &[Example {
        rule: "`event_id`, `aggregate_type`, `aggregate_id`, `event_type`, `data`, `timestamp`, \
               `datacontenttype`, `data_schema`, `tenant`, `schemaversion`",
        row: "values ('2', 'second', 'second', 'second', '\"second\"', '2004-01-01Z',
              '2003-01-01Z', '2002-01-01Z', 'text/json', 'urn:second', 'second', '2')",
        events: &[&[
            "topic: shop.second",
            "ce_id: 2",
            "key: second",
            "ce_subject: second",
            "ce_type: second.v2",
            "value: \"second\"",
            "ce_time: 2002-01-01T00:00:00Z",
            "content-type: text/json",
            "ce_dataschema: urn:second",
            "ce_tenantid: second",
        ]],
    }],
};

const THIRD: Case = Case {
    title: "The third name of the time",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', event_time timestamptz,
    occurred_at timestamptz)",
    settings: &[],
    common: EVENT,
    examples: &[Example {
        rule: "`occurred_at` comes before `event_time`.",
        row: "(event_time, occurred_at) values ('2004-01-01Z', '2003-01-01Z')",
        events: &[&["ce_time: 2003-01-01T00:00:00Z"]],
    }],
};

const FOURTH: Case = Case {
    title: "The fourth name of the time",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', event_time timestamptz)",
    settings: &[],
    common: EVENT,
    examples: &[Example {
        rule: "`event_time` is looked for last.",
        row: "(event_time) values ('2004-01-01Z')",
        events: &[&["ce_time: 2004-01-01T00:00:00Z"]],
    }],
};

const NAMED: Case = Case {
    title: "Columns by name",
    about: "`WALPOST_COLUMN_<ROLE>` names the column, written as it is in the table, without quotes.",
    table: "create table outbox (id text, type text, payload text, \"Key No\" text, kind text,
    \"Größe\" text, what text, body json, at timestamptz, media text, schema text, origin text,
    about text, part text, destination text, extra jsonb, tp text, ts text, corr text, cause text,
    client text, revision int)",
    settings: &[
        ("WALPOST_COLUMN_ID", "Key No"),
        ("WALPOST_COLUMN_AGGREGATE_TYPE", "kind"),
        ("WALPOST_COLUMN_AGGREGATE_ID", "Größe"),
        ("WALPOST_COLUMN_TYPE", "what"),
        ("WALPOST_COLUMN_PAYLOAD", "body"),
        ("WALPOST_COLUMN_TIME", "at"),
        ("WALPOST_COLUMN_CONTENT_TYPE", "media"),
        ("WALPOST_COLUMN_DATASCHEMA", "schema"),
        ("WALPOST_COLUMN_SOURCE", "origin"),
        ("WALPOST_COLUMN_SUBJECT", "about"),
        ("WALPOST_COLUMN_PARTITION_KEY", "part"),
        ("WALPOST_COLUMN_TOPIC", "destination"),
        ("WALPOST_COLUMN_HEADERS", "extra"),
        ("WALPOST_COLUMN_TRACEPARENT", "tp"),
        ("WALPOST_COLUMN_TRACESTATE", "ts"),
        ("WALPOST_COLUMN_CORRELATION_ID", "corr"),
        ("WALPOST_COLUMN_CAUSATION_ID", "cause"),
        ("WALPOST_COLUMN_TENANT_ID", "client"),
        ("WALPOST_COLUMN_SCHEMA_VERSION", "revision"),
        ("WALPOST_CE_TYPE", "{type}.v{schema_version}"),
    ],
    common: EVENT,
    examples: &[
        Example {
            rule: "All nineteen roles have other columns than those that would be found.",
            row: "values ('no', 'no', 'no', 'e7', 'invoice', 'a1', 'Sent', '[1]',
                  '2024-05-01Z', 'text/json', 'urn:s', 'urn:o', 'ab', 'p1', null, '{\"h\": \"x\"}',
                  'tp1', 'ts1', 'co', 'ca', 'cl', 3)",
            events: &[&[
                "topic: shop.invoice",
                "ce_id: e7",
                "ce_source: urn:o",
                "ce_type: Sent.v3",
                "ce_subject: ab",
                "ce_time: 2024-05-01T00:00:00Z",
                "ce_dataschema: urn:s",
                "key: p1",
                "ce_partitionkey: p1",
                "ce_traceparent: tp1",
                "ce_tracestate: ts1",
                "ce_correlationid: co",
                "ce_causationid: ca",
                "ce_tenantid: cl",
                "content-type: text/json",
                "value: [1]",
                "traceparent: tp1",
                "tracestate: ts1",
                "h: x",
            ]],
        },
        Example {
            rule: "The topic's column too.",
            row: "(\"Key No\", what, revision, body, destination) \
                  values ('e8', 'Sent', 3, '{}', 'shop.elsewhere')",
            events: &[&["topic: shop.elsewhere", "ce_id: e8", "ce_type: Sent.v3"]],
        },
    ],
};

const ABSENT: Case = Case {
    title: "Roles without a column",
    about: "`WALPOST_COLUMN_<ROLE>=-`: no column plays the role, whatever the table has. `id`, `type` \
            and `payload` are required and cannot be none.",
    table: "create table outbox (id text, aggregatetype text, aggregateid text, type text,
    payload json, created_at timestamptz, content_type text, dataschema text, source text,
    subject text, partition_key text, topic text, headers jsonb, traceparent text, tracestate text,
    correlation_id text, causation_id text, tenant_id text, schema_version int,
    tracingspancontext text)",
    settings: &[
        ("WALPOST_COLUMN_AGGREGATE_TYPE", "-"),
        ("WALPOST_COLUMN_AGGREGATE_ID", "-"),
        ("WALPOST_COLUMN_TIME", "-"),
        ("WALPOST_COLUMN_CONTENT_TYPE", "-"),
        ("WALPOST_COLUMN_DATASCHEMA", "-"),
        ("WALPOST_COLUMN_SOURCE", "-"),
        ("WALPOST_COLUMN_SUBJECT", "-"),
        ("WALPOST_COLUMN_PARTITION_KEY", "-"),
        ("WALPOST_COLUMN_TOPIC", "-"),
        ("WALPOST_COLUMN_HEADERS", "-"),
        ("WALPOST_COLUMN_TRACEPARENT", "-"),
        ("WALPOST_COLUMN_TRACESTATE", "-"),
        ("WALPOST_COLUMN_CORRELATION_ID", "-"),
        ("WALPOST_COLUMN_CAUSATION_ID", "-"),
        ("WALPOST_COLUMN_TENANT_ID", "-"),
        ("WALPOST_COLUMN_SCHEMA_VERSION", "-"),
        ("WALPOST_TOPIC", "shop.order"),
    ],
    common: EVENT,
    examples: &[Example {
        rule: "Only what is required is left.",
        row: "values ('e1', 'a', 'b', 'Placed', '{}', '2024-05-01Z', 'text/plain', 'urn:a',
              'urn:b', 'c', 'd', 'shop.e', '{\"f\": 1}', 'g', 'h', 'i', 'j', 'k', 1,
              E'traceparent=l\\ntracestate=m')",
        events: &[&[]],
    }],
};

const UNSENT: Case = Case {
    title: "Columns that play no role",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', card_number text, eventtype text,
    \"ID\" text, \"Subject\" text, schema_version int)",
    settings: &[],
    common: EVENT,
    examples: &[Example {
        rule: "They are not sent; a name in another case is another name, and a version is for \
               templates only.",
        row: "(card_number, eventtype, \"ID\", \"Subject\", schema_version) \
              values ('4111', 'x', 'y', 'z', 3)",
        events: &[&[]],
    }],
};

#[test]
fn the_first_name_of_a_role_wins() {
    check(&FIRST);
    check(&SECOND);
    check(&THIRD);
    check(&FOURTH);
}

#[test]
fn a_variable_names_the_column_of_a_role() {
    check(&NAMED);
}

#[test]
fn a_role_without_a_column_takes_none() {
    check(&ABSENT);
}

#[test]
fn a_column_that_plays_no_role_is_not_sent() {
    check(&UNSENT);
}
