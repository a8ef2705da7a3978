//! The trace: columns of its own, and Debezium's.

use super::{Case, EVENT, Example, check};

pub(super) const CASES: &[Case] = &[COLUMNS, SPAN_CONTEXT, BOTH];

const COLUMNS: Case = Case {
    title: "Trace",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', traceparent text, tracestate text,
    tracingspancontext text)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "An extension, and a plain header of the same name for OpenTelemetry",
            row: "(traceparent, tracestate) values \
                  ('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'a=b,c=d')",
            events: &[&[
                "ce_traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "ce_tracestate: a=b,c=d",
                "tracestate: a=b,c=d",
            ]],
        },
        Example {
            rule: "NULL and empty are left out.",
            row: "(traceparent, tracestate) values (null, '')",
            events: &[&[]],
        },
        Example {
            rule: "Where there is a column `traceparent`, Debezium's is not read.",
            row: "(tracingspancontext) values ('traceparent=x')",
            events: &[&[]],
        },
    ],
};

const SPAN_CONTEXT: Case = Case {
    title: "Debezium's trace",
    about: "`tracingspancontext` is the text of a `java.util.Properties`.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', tracingspancontext text)",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "Its escapes are read as Java does.",
            row: "(tracingspancontext) values (E'#Thu Oct 22 10:15:30 UTC 2026\\n\
                  traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\\n\
                  tracestate=a\\\\=b,c\\\\u003dd\\n')",
            events: &[&[
                "ce_traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "ce_tracestate: a=b,c=d",
                "tracestate: a=b,c=d",
            ]],
        },
        Example {
            rule: "Other properties are not sent.",
            row: "(tracingspancontext) values ('uber-trace-id=1:2:3:1')",
            events: &[&[]],
        },
        Example {
            rule: "NULL and a text that is no properties are left out.",
            row: "(tracingspancontext) values (null), (''), ('traceparent=\\uzzzz')",
            events: &[&[], &[], &[]],
        },
    ],
};

const BOTH: Case = Case {
    title: "A trace from two columns",
    about: "",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', tracestate text,
    tracingspancontext text)",
    settings: &[],
    common: EVENT,
    examples: &[Example {
        rule: "Each comes from its own column, and else from Debezium's.",
        row: "(tracestate, tracingspancontext) values ('own=1', E'traceparent=tp\\ntracestate=theirs')",
        events: &[&[
            "ce_traceparent: tp",
            "traceparent: tp",
            "ce_tracestate: own=1",
            "tracestate: own=1",
        ]],
    }],
};

#[test]
fn the_trace_is_an_extension_and_a_plain_header() {
    check(&COLUMNS);
}

#[test]
fn debeziums_span_context_has_the_trace() {
    check(&SPAN_CONTEXT);
    check(&BOTH);
}
