//! Tables that are not plain: generated, dropped and added columns, quoted names, partitions, several
//! tables at once.

use super::relay::{Relay, server};
use super::{Case, EVENT, Example, check};
use crate::servers::{Kafka, Settings};

pub(super) const CASES: &[Case] =
    &[DOMAINS, ALTERED, PARTITIONED, QUOTED, NOT_ASCII, QUOTED_COLUMNS, SEVERAL];

const DOMAINS: Case = Case {
    title: "Domains, enums, numbers",
    about: "Roles take columns of any type; a domain is as its base type.",
    table: "create type kind as enum ('Placed', 'Ver sandt');
    create domain body as jsonb check (value is not null); create domain moment as timestamptz;
    create domain bag as json; create domain flag as boolean;
    create table outbox (id numeric default 1, aggregatetype varchar(9) default 'order',
    aggregateid flag, type kind default 'Placed', payload body default '{\"b\":1,\"a\":2}',
    created_at moment default '2024-05-01 10:00+02', headers bag, partition_key numeric)",
    settings: &[],
    common: &[
        "topic: shop.order",
        "key: (null)",
        "ce_specversion: 1.0",
        "ce_id: 1",
        "ce_source: /shop/public/outbox",
        "ce_type: Placed",
        "ce_time: 2024-05-01T08:00:00Z",
        "content-type: application/json",
        "value: {\"a\": 2, \"b\": 1}",
    ],
    examples: &[
        Example {
            rule: "An enum is its label; domains over `jsonb`, `json` and `timestamptz` are these.",
            row: "(type, headers) values ('Ver sandt', '{\"h\": 1}')",
            events: &[&["ce_type: Ver sandt", "h: 1"]],
        },
        Example {
            rule: "A `numeric` is its text, whatever its size.",
            row: "(id, partition_key) values (repeat('9', 60)::numeric, 'NaN'), ('-0.50', 1e20)",
            events: &[
                &[
                    "ce_id: 999999999999999999999999999999999999999999999999999999999999",
                    "key: NaN",
                    "ce_partitionkey: NaN",
                ],
                &[
                    "ce_id: -0.50",
                    "key: 100000000000000000000",
                    "ce_partitionkey: 100000000000000000000",
                ],
            ],
        },
        Example {
            rule: "A boolean is `true` or `false`, also as a key.",
            row: "(aggregateid) values (false)",
            events: &[&["key: false", "ce_subject: false"]],
        },
    ],
};

const ALTERED: Case = Case {
    title: "Altered tables",
    about: "The columns are looked for again whenever the table was altered, and each row is read \
            by the columns of its own time.",
    table:
        "create table outbox (gone int, id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}',
    subject text generated always as ('of ' || id) stored);
    alter table outbox drop column gone",
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "Dropped columns count no more; generated ones are not in the stream, so they \
                   play no role.",
            row: "default values",
            events: &[&[]],
        },
        Example {
            rule: "A column that is added plays its role from then on …",
            row: "alter table outbox add column tenant_id text; \
                  insert into outbox (tenant_id) values ('t1')",
            events: &[&["ce_tenantid: t1"]],
        },
        Example {
            rule: "… also before another that played it.",
            row: "alter table outbox add column aggregate_id text; \
                  insert into outbox (aggregate_id) values ('second'); \
                  alter table outbox add column aggregateid text; \
                  insert into outbox (aggregateid, aggregate_id) values ('first', 'second')",
            events: &[&["key: second", "ce_subject: second"], &["key: first", "ce_subject: first"]],
        },
        Example {
            rule: "A column that is dropped plays it no more.",
            row: "alter table outbox drop column aggregateid; \
                  insert into outbox (aggregate_id) values ('second')",
            events: &[&["key: second", "ce_subject: second"]],
        },
        Example {
            rule: "A change of type changes what it is.",
            row: "alter table outbox alter column payload drop default, \
                  alter column payload type bytea using convert_to(payload::text, 'UTF8'); \
                  insert into outbox (payload) values ('\\xff')",
            events: &[&["content-type: application/octet-stream", "value: (hex) ff"]],
        },
    ],
};

const PARTITIONED: Case = Case {
    title: "Partitioned tables",
    about: "The publication has `publish_via_partition_root`: rows are those of the table, whatever \
            partition they lie in.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', created_at timestamptz
    default '2024-05-01Z') partition by range (created_at);
    create table outbox_old partition of outbox for values from (minvalue) to ('2024-01-01');
    -- Another order of columns, as tables have that were attached.
    create table outbox_new (created_at timestamptz, payload json, type text, aggregatetype text, id text);
    alter table outbox attach partition outbox_new for values from ('2024-01-01') to (maxvalue)",
    settings: &[],
    common: &[
        "topic: shop.order",
        "key: (null)",
        "ce_specversion: 1.0",
        "ce_id: e1",
        "ce_source: /shop/public/outbox",
        "ce_type: Placed",
        "ce_time: 2024-05-01T00:00:00Z",
        "content-type: application/json",
        "value: {}",
    ],
    examples: &[
        Example {
            rule: "`source` names the table, also for a partition with other columns' order.",
            row: "(created_at) values ('2024-05-01Z'), ('2023-05-01Z')",
            events: &[&[], &["ce_time: 2023-05-01T00:00:00Z"]],
        },
        Example {
            rule: "A row that is inserted into a partition itself is one of the table.",
            row: "insert into outbox_new values ('2024-05-01Z', '[]', 'Placed', 'order', 'e1')",
            events: &[&["value: []"]],
        },
        Example {
            rule: "A partition that is made later is one too; a dropped one publishes nothing.",
            row: "drop table outbox_old; create table outbox_older partition of outbox \
                  for values from (minvalue) to ('2024-01-01'); \
                  insert into outbox (created_at) values ('2022-05-01Z')",
            events: &[&["ce_time: 2022-05-01T00:00:00Z"]],
        },
    ],
};

const QUOTED: Case = Case {
    title: "Quoted names",
    about: "`WALPOST_TABLE` is written as in SQL. In `source` names are in percent form.",
    table: "create schema \"My Shop\"; create table \"My Shop\".\"out/\"\"box\"\"\" (id text default 'e1',
    aggregatetype text default 'order', type text default 'Placed', payload json default '{}')",
    settings: &[("WALPOST_TABLE", "\"My Shop\".\"out/\"\"box\"\"\"")],
    common: EVENT,
    examples: &[Example {
        rule: "Everything but letters, digits and `-._~`",
        row: "insert into \"My Shop\".\"out/\"\"box\"\"\" default values",
        events: &[&["ce_source: /shop/My%20Shop/out%2F%22box%22"]],
    }],
};

const NOT_ASCII: Case = Case {
    title: "Names beyond ASCII",
    about: "Without quotes Postgres makes lower case of A to Z, and of no other letter.",
    table: "create schema LÄDEN; create table LÄDEN.Ausgang_Übersee (id text default 'e1',
    aggregatetype text default 'order', type text default 'Placed', payload json default '{}')",
    settings: &[("WALPOST_TABLE", "LÄDEN.Ausgang_Übersee")],
    common: EVENT,
    examples: &[Example {
        rule: "The table is `lÄden.ausgang_Übersee`.",
        row: "insert into \"lÄden\".\"ausgang_Übersee\" default values",
        events: &[&["ce_source: /shop/l%C3%84den/ausgang_%C3%9Cbersee"]],
    }],
};

const QUOTED_COLUMNS: Case = Case {
    title: "Quoted columns",
    about: "Columns in variables are written as they are in the table, without quotes.",
    table:
        "create table outbox (id text default 'e1', \"Art\" text default 'order',
    type text default 'Placed', payload json default '{}', \"a,b\" text, \"Größe: \"\"L\"\"\" text)",
    settings: &[
        ("WALPOST_COLUMN_AGGREGATE_TYPE", "Art"),
        ("WALPOST_COLUMN_SUBJECT", "Größe: \"L\""),
        ("WALPOST_TOPIC", "shop.{Art}"),
        ("WALPOST_CE_TYPE", "{a,b}"),
    ],
    common: EVENT,
    examples: &[Example {
        rule: "In upper and lower case, with blanks, quotes and commas",
        row: "(\"a,b\", \"Größe: \"\"L\"\"\") values ('x', 'y')",
        events: &[&["ce_type: x", "ce_subject: y"]],
    }],
};

const SEVERAL: Case = Case {
    title: "Several tables",
    about: "One connector may follow several tables; each has its own columns, under the same \
            settings.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', tenant text);
    create schema billing; create table billing.events (event_id int default 7,
    aggregate_type text default 'invoice', event_type text default 'Sent',
    data bytea default '\\xff', occurred_at timestamptz default '2024-05-01Z')",
    settings: &[("WALPOST_TABLE", "outbox, billing.events")],
    common: EVENT,
    examples: &[
        Example { rule: "One", row: "(tenant) values ('t')", events: &[&["ce_tenantid: t"]] },
        Example {
            rule: "The other",
            row: "insert into billing.events default values",
            events: &[&[
                "topic: shop.invoice",
                "ce_id: 7",
                "ce_source: /shop/billing/events",
                "ce_type: Sent",
                "ce_time: 2024-05-01T00:00:00Z",
                "content-type: application/octet-stream",
                "value: (hex) ff",
            ]],
        },
        Example {
            rule: "Both in one transaction, in the order of the inserts",
            row: "insert into outbox default values; insert into billing.events (aggregate_type) \
                  values ('order'); insert into outbox (id) values ('e2')",
            events: &[
                &[],
                &[
                    "ce_id: 7",
                    "ce_source: /shop/billing/events",
                    "ce_type: Sent",
                    "ce_time: 2024-05-01T00:00:00Z",
                    "content-type: application/octet-stream",
                    "value: (hex) ff",
                ],
                &["ce_id: e2"],
            ],
        },
    ],
};

#[test]
fn a_role_takes_a_column_of_any_type() {
    check(&DOMAINS);
}

#[test]
fn a_row_is_read_by_the_columns_of_its_own_time() {
    check(&ALTERED);
}

#[test]
fn rows_of_partitions_are_rows_of_the_table() {
    check(&PARTITIONED);
}

#[test]
fn names_are_those_that_sql_means() {
    check(&QUOTED);
    check(&NOT_ASCII);
    check(&QUOTED_COLUMNS);
}

#[test]
fn several_tables_are_read_each_by_its_own_columns() {
    check(&SEVERAL);
}

/// What a table can be is told before a slot exists, with every reason at once.
#[test]
fn a_table_that_is_no_outbox_is_named_with_all_that_is_amiss() {
    let database = server().database("shop");
    database.execute(
        "create table outbox (type text, body json, created_at boolean, headers int,
         size int generated always as (1) stored)",
    );
    let finished = Settings::new(&database, Kafka::shared())
        .env("WALPOST_COLUMN_SUBJECT", "nowhere")
        .env("WALPOST_CE_EXTENSIONS", "size=size")
        .arguments(&["check"])
        .run();
    assert_eq!(finished.code, 1, "{finished:?}");
    for part in [
        "no column for the id (looked for id, event_id), set WALPOST_COLUMN_ID to its name",
        "no column for the payload (looked for payload, data), set WALPOST_COLUMN_PAYLOAD",
        "\"created_at\" has no type for the time",
        "\"headers\" has no type for the headers",
        "no published column \"nowhere\", which WALPOST_COLUMN_SUBJECT names",
        "no published column \"size\", which WALPOST_CE_EXTENSIONS names for size",
        "WALPOST_TOPIC uses {aggregate_type}",
    ] {
        assert!(finished.stdout.contains(part), "`{part}` is not in {}", finished.stdout);
    }
}

#[test]
fn the_oldest_postgres_makes_the_same_events() {
    for case in [&DOMAINS, &SEVERAL] {
        let mut relay = Relay::start_on(crate::servers::Postgres::oldest(), case, "binary");
        let rows: Vec<_> = case.examples.iter().map(|one| relay.insert_only(one.row)).collect();
        let expected = super::shown::expected(case);
        let records = relay.finish(expected.len());
        let records = super::shown::in_order(&records, &expected, &rows, relay.name());
        let settled: Vec<_> = records
            .into_iter()
            .map(|mut record| {
                for (name, value) in &mut record.headers {
                    let text = String::from_utf8(value.clone().unwrap()).unwrap();
                    if name == "ce_time" && !text.starts_with("2024-05-01") {
                        *value = Some(b"(commit time)".to_vec());
                    }
                }
                record
            })
            .collect();
        super::shown::compare(&settled, &expected);
    }
}
