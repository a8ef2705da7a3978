//! Extension attributes, by the type of their column.

use super::{Case, DEAD_LETTER, EVENT, Example, check};
use crate::servers::Settings;

pub(super) const CASES: &[Case] = &[TYPES, ODD_TYPES, ROLES];

const TYPES: Case = Case {
    title: "Extensions by type",
    about: "`boolean` is a Boolean, `smallint` and `integer` are Integers, `timestamp` and \
            `timestamptz` Timestamps in UTC, `bytea` is Binary, which is Base64; all others are \
            Strings, `bigint` too, since an Integer of CloudEvents has 32 bits. In structured mode \
            Booleans and Integers have no quotes.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', yes boolean, small smallint,
    middle integer, big bigint, at timestamptz, local_at timestamp, raw bytea, words text,
    code char(6), short varchar(9))",
    settings: &[
        (
            "WALPOST_CE_EXTENSIONS",
            "yes=yes,small=small,middle=middle,big=big,at=at,localat=local_at,raw=raw,words=words,\
             code=code,short=short",
        ),
        ("WALPOST_TIME_ZONE", "Asia/Kolkata"),
    ],
    common: EVENT,
    examples: &[
        Example {
            rule: "A Boolean",
            row: "(yes) values (true), (false)",
            events: &[&["ce_yes: true"], &["ce_yes: false"]],
        },
        Example {
            rule: "Integers",
            row: "(small, middle) values (-32768, 2147483647)",
            events: &[&["ce_small: -32768", "ce_middle: 2147483647"]],
        },
        Example {
            rule: "A String of digits",
            row: "(big) values (9223372036854775807)",
            events: &[&["ce_big: 9223372036854775807"]],
        },
        Example {
            rule: "Timestamps; `WALPOST_TIME_ZONE` is the zone of a `timestamp`, here Asia/Kolkata.",
            row: "(at, local_at) values ('2024-05-01 10:00:00.5+02', '2024-05-01 10:00:00')",
            events: &[&["ce_at: 2024-05-01T08:00:00.500000Z", "ce_localat: 2024-05-01T04:30:00Z"]],
        },
        Example {
            rule: "Base64, with padding",
            row: "(raw) values ('\\x00ff41fb')",
            events: &[&["ce_raw: AP9B+w=="]],
        },
        Example {
            rule: "Strings; a `char(n)` without the blanks at its end",
            row: "(words, code, short) values ('true', ' a b', ' ')",
            events: &[&["ce_words: true", "ce_code:  a b", "ce_short:  "]],
        },
        Example {
            rule: "NULL is left out, and so is what is empty.",
            row: "(words, raw, code) values ('', '\\x', '')",
            events: &[&[]],
        },
    ],
};

const ODD_TYPES: Case = Case {
    title: "Extensions of other types",
    about: "As Postgres prints them under settings that walpost chooses: `DateStyle` ISO, \
            `IntervalStyle` postgres, time zone UTC. A domain is as its base type.",
    table: "create type mood as enum ('so so', 'glücklich');
    create domain flag as boolean; create domain deep as smallint; create domain deeper as deep;
    create domain blob as bytea; create domain instant as timestamptz;
    create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', n numeric, f double precision, r real,
    d date, u uuid, j jsonb, a int[], w text[], m mood, i interval, t time, tz timetz, ip inet,
    k point, rng int4range, b bit(4), df flag, dd deeper, db blob, di instant)",
    settings: &[(
        "WALPOST_CE_EXTENSIONS",
        "n=n,f=f,r=r,d=d,u=u,j=j,a=a,w=w,m=m,i=i,t=t,tz=tz,ip=ip,k=k,rng=rng,b=b,df=df,dd=dd,db=db,\
         di=di",
    )],
    common: EVENT,
    examples: &[
        Example {
            rule: "`numeric` keeps its digits.",
            row: "(n) values (12345678901234567890123.4500), ('NaN'), ('-Infinity')",
            events: &[
                &["ce_n: 12345678901234567890123.4500"],
                &["ce_n: NaN"],
                &["ce_n: -Infinity"],
            ],
        },
        Example {
            rule: "Floats are the shortest text that reads back as the same number.",
            row: "(f, r) values (0.1 + 0.2::float8, 0.1), (1e300, '-0')",
            events: &[
                &["ce_f: 0.30000000000000004", "ce_r: 0.1"],
                &["ce_f: 1e+300", "ce_r: -0"],
            ],
        },
        Example {
            rule: "A `date` is no Timestamp.",
            row: "(d) values ('2024-05-01')",
            events: &[&["ce_d: 2024-05-01"]],
        },
        Example {
            rule: "`uuid`, `jsonb`, enums, arrays",
            row: "(u, j, m, a, w) values ('6E8BC430-9C3A-11D9-9669-0800200C9A66', '{\"b\":1,\"a\":2}',
                  'glücklich', '{1,null,3}', '{\"a b\",\"c\"}')",
            events: &[&[
                "ce_u: 6e8bc430-9c3a-11d9-9669-0800200c9a66",
                "ce_j: {\"a\": 2, \"b\": 1}",
                "ce_m: glücklich",
                "ce_a: {1,NULL,3}",
                "ce_w: {\"a b\",c}",
            ]],
        },
        Example {
            rule: "Times that are no Timestamps, addresses, points, ranges, bits",
            row: "(i, t, tz, ip, k, rng, b) values ('1 year 2 days 03:04:05.6', '10:00', '10:00+02',
                  '10.0.0.1/8', '(1,2)', '[1,5]', '1010')",
            events: &[&[
                "ce_i: 1 year 2 days 03:04:05.6",
                "ce_t: 10:00:00",
                "ce_tz: 10:00:00+02",
                "ce_ip: 10.0.0.1/8",
                "ce_k: (1,2)",
                "ce_rng: [1,6)",
                "ce_b: 1010",
            ]],
        },
        Example {
            rule: "Domains, also of domains",
            row: "(df, dd, db, di) values (true, 7, '\\xff', '2024-05-01 10:00+02')",
            events: &[&["ce_df: true", "ce_dd: 7", "ce_db: /w==", "ce_di: 2024-05-01T08:00:00Z"]],
        },
        Example {
            rule: "A Timestamp has to be one that RFC 3339 can write.",
            row: "(di) values ('infinity')",
            events: &[&[
                DEAD_LETTER,
                "walpost-error-attribute: di",
                "walpost-error-reason: not_representable",
                "walpost-error-message: di is no time that RFC 3339 can write, which are those of the \
                 years 1 to 9999",
            ]],
        },
    ],
};

const ROLES: Case = Case {
    title: "Extensions that a role makes",
    about: "`WALPOST_CE_EXTENSIONS` may name them; the column then plays the role.",
    table: "create table outbox (id text default 'e1', aggregatetype text default 'order',
    aggregateid text, type text default 'Placed', payload json default '{}', region text, tp text)",
    settings: &[("WALPOST_CE_EXTENSIONS", "partitionkey=region, traceparent=tp")],
    common: EVENT,
    examples: &[Example {
        rule: "`partitionkey` is the key too, `traceparent` a plain header too.",
        row: "(aggregateid, region, tp) values ('42', 'eu', 'x')",
        events: &[&[
            "key: eu",
            "ce_subject: 42",
            "ce_partitionkey: eu",
            "ce_traceparent: x",
            "traceparent: x",
        ]],
    }],
};

#[test]
fn an_extension_has_the_type_of_its_column() {
    check(&TYPES);
}

#[test]
fn an_extension_of_another_type_is_the_text_that_postgres_prints() {
    check(&ODD_TYPES);
}

#[test]
fn an_extension_of_a_role_gives_its_column_to_the_role() {
    check(&ROLES);
}

/// The end of `walpost config` with these extensions.
#[track_caller]
fn config(extensions: &str) -> (i32, String) {
    let finished = Settings::none()
        .env("DATABASE_URL", "postgres://u@127.0.0.1/shop")
        .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
        .env("WALPOST_CE_EXTENSIONS", extensions)
        .arguments(&["config"])
        .run();
    (finished.code, finished.stdout + &finished.stderr)
}

#[test]
fn an_extension_that_cloudevents_refuses_is_a_wrong_configuration() {
    for name in [
        "",
        "Region",
        "re_gion",
        "ré",
        "data",
        "id",
        "source",
        "type",
        "time",
        "subject",
        "specversion",
        "datacontenttype",
        "dataschema",
        "data_base64",
    ] {
        let (code, said) = config(&format!("{name}=region"));
        assert_eq!(code, 78, "{name}: {said}");
        assert!(said.contains("WALPOST_CE_EXTENSIONS"), "{name}: {said}");
    }
    for wrong in ["region", "region=", "a=b,a=c", "a=b,,c=d"] {
        assert_eq!(config(wrong).0, 78, "{wrong}");
    }
}

#[test]
fn a_long_extension_name_is_a_warning() {
    let (code, said) = config("abcdefghijklmnopqrst=region");
    assert_eq!((code, said.contains("longer than the 20")), (0, false), "{said}");
    let (code, said) = config("abcdefghijklmnopqrstu=region");
    assert_eq!((code, said.contains("longer than the 20")), (0, true), "{said}");
}
