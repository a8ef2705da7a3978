//! The attribute `time`.

use super::{Case, DEAD_LETTER, EVENT, Example, check};

pub(super) const CASES: &[Case] =
    &[ZONED, LOCAL, BERLIN, MILLISECONDS, SECONDS, MICROSECONDS, NANOSECONDS, DATE, TEXT];

/// What a letter has beside an event, for a time that has no form.
const NO_TIME: &[&str] = &[
    DEAD_LETTER,
    "no ce_time",
    "walpost-error-attribute: time",
    "walpost-error-reason: not_representable",
    NO_TIME_MESSAGE,
];

const NO_TIME_MESSAGE: &str = "walpost-error-message: time is no time that RFC 3339 can write, which \
                               are those of the years 1 to 9999";

/// The table of an outbox with a time column of this type.
macro_rules! table {
    ($column:literal) => {
        concat!(
            "create table outbox (id text default 'e1', aggregatetype text default 'order',
    type text default 'Placed', payload json default '{}', ",
            $column,
            ")"
        )
    };
}

const ZONED: Case = Case {
    title: "Time: `timestamptz`",
    about: "",
    table: table!("created_at timestamptz"),
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "RFC 3339 in UTC, with microseconds",
            row: "(created_at) values ('2024-05-01 10:00:00.123456+02')",
            events: &[&["ce_time: 2024-05-01T08:00:00.123456Z"]],
        },
        Example {
            rule: "A part of a second has six digits, a full second none.",
            row: "(created_at) values ('2024-05-01 10:00:00.5Z'), ('2024-05-01 10:00:00Z')",
            events: &[
                &["ce_time: 2024-05-01T10:00:00.500000Z"],
                &["ce_time: 2024-05-01T10:00:00Z"],
            ],
        },
        Example {
            rule: "NULL: the commit time of the transaction, which is the same when it is sent again",
            row: "(created_at) values (null)",
            events: &[&["ce_time: (commit time)"]],
        },
        Example {
            rule: "The years 1 to 9999",
            row: "(created_at) values ('0001-01-01 00:00Z'), ('9999-12-31 23:59:59.999999Z')",
            events: &[
                &["ce_time: 0001-01-01T00:00:00Z"],
                &["ce_time: 9999-12-31T23:59:59.999999Z"],
            ],
        },
        Example {
            rule: "Others cannot be written: the row is bad.",
            row: "(created_at) values ('0001-12-31 23:59:59Z BC')",
            events: &[NO_TIME],
        },
        Example {
            rule: "The year 10000 is one of them,",
            row: "(created_at) values ('10000-01-01 00:00Z')",
            events: &[NO_TIME],
        },
        Example {
            rule: "and `infinity`.",
            row: "(created_at) values ('infinity'), ('-infinity')",
            events: &[
                NO_TIME,
                &[
                    DEAD_LETTER,
                    "no ce_time",
                    "walpost-position: (commit position)+1",
                    "walpost-error-attribute: time",
                    "walpost-error-reason: not_representable",
                    NO_TIME_MESSAGE,
                ],
            ],
        },
    ],
};

const LOCAL: Case = Case {
    title: "Time: `timestamp`",
    about: "Without a zone of its own it is read as UTC.",
    table: table!("\"timestamp\" timestamp"),
    settings: &[],
    common: EVENT,
    examples: &[Example {
        rule: "As it stands",
        row: "(\"timestamp\") values ('2024-05-01 10:00:00.000001')",
        events: &[&["ce_time: 2024-05-01T10:00:00.000001Z"]],
    }],
};

const BERLIN: Case = Case {
    title: "Time: `timestamp` in a zone",
    about: "",
    table: table!("created_at timestamp"),
    settings: &[("WALPOST_TIME_ZONE", "Europe/Berlin")],
    common: EVENT,
    examples: &[
        Example {
            rule: "Summer and winter",
            row: "(created_at) values ('2024-07-01 12:00'), ('2024-01-01 12:00')",
            events: &[&["ce_time: 2024-07-01T10:00:00Z"], &["ce_time: 2024-01-01T11:00:00Z"]],
        },
        Example {
            rule: "A time that clocks show twice is the later one, as in Postgres' `at time zone`.",
            row: "(created_at) values ('2024-10-27 02:30')",
            events: &[&["ce_time: 2024-10-27T01:30:00Z"]],
        },
        Example {
            rule: "A time that clocks leave out is read with the offset before the change.",
            row: "(created_at) values ('2024-03-31 02:30')",
            events: &[&["ce_time: 2024-03-31T01:30:00Z"]],
        },
    ],
};

const MILLISECONDS: Case = Case {
    title: "Time: a number",
    about: "Since 1970-01-01 UTC; in milliseconds, as in Debezium's table.",
    table: table!("\"timestamp\" bigint"),
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "Milliseconds",
            row: "(\"timestamp\") values (1714557600123), (-1), (0)",
            events: &[
                &["ce_time: 2024-05-01T10:00:00.123000Z"],
                &["ce_time: 1969-12-31T23:59:59.999000Z"],
                &["ce_time: 1970-01-01T00:00:00Z"],
            ],
        },
        Example {
            rule: "A number past the year 9999 is bad, as one of another unit often is.",
            row: "(\"timestamp\") values (1714557600123000)",
            events: &[NO_TIME],
        },
        Example {
            rule: "The greatest number does not overflow.",
            row: "(\"timestamp\") values (9223372036854775807)",
            events: &[NO_TIME],
        },
    ],
};

const SECONDS: Case = Case {
    title: "Time: seconds",
    about: "",
    table: table!("created_at integer"),
    settings: &[("WALPOST_TIME_UNIT", "seconds")],
    common: EVENT,
    examples: &[Example {
        rule: "`WALPOST_TIME_UNIT=seconds`",
        row: "(created_at) values (1714557600)",
        events: &[&["ce_time: 2024-05-01T10:00:00Z"]],
    }],
};

const MICROSECONDS: Case = Case {
    title: "Time: microseconds",
    about: "",
    table: table!("created_at bigint"),
    settings: &[("WALPOST_TIME_UNIT", "microseconds")],
    common: EVENT,
    examples: &[Example {
        rule: "`WALPOST_TIME_UNIT=microseconds`",
        row: "(created_at) values (1714557600123456)",
        events: &[&["ce_time: 2024-05-01T10:00:00.123456Z"]],
    }],
};

const NANOSECONDS: Case = Case {
    title: "Time: nanoseconds",
    about: "",
    table: table!("created_at bigint"),
    settings: &[("WALPOST_TIME_UNIT", "nanoseconds")],
    common: EVENT,
    examples: &[Example {
        rule: "`WALPOST_TIME_UNIT=nanoseconds`; what is finer than a microsecond is cut off.",
        row: "(created_at) values (1714557600123456999)",
        events: &[&["ce_time: 2024-05-01T10:00:00.123456Z"]],
    }],
};

const DATE: Case = Case {
    title: "Time: `date`",
    about: "",
    table: table!("created_at date"),
    settings: &[("WALPOST_TIME_ZONE", "America/New_York")],
    common: EVENT,
    examples: &[Example {
        rule: "Midnight in `WALPOST_TIME_ZONE`, here America/New_York",
        row: "(created_at) values ('2024-05-01')",
        events: &[&["ce_time: 2024-05-01T04:00:00Z"]],
    }],
};

const TEXT: Case = Case {
    title: "Time: a text",
    about: "",
    table: table!("created_at text"),
    settings: &[],
    common: EVENT,
    examples: &[
        Example {
            rule: "As RFC 3339 writes it, or Postgres",
            row: "(created_at) values ('2024-05-01T10:00:00.1-07:30'), ('2024-05-01 10:00:00+02')",
            events: &[
                &["ce_time: 2024-05-01T17:30:00.100000Z"],
                &["ce_time: 2024-05-01T08:00:00Z"],
            ],
        },
        Example {
            rule: "Any other text is bad, the empty one too.",
            row: "(created_at) values ('yesterday')",
            events: &[NO_TIME],
        },
    ],
};

#[test]
fn the_time_is_rfc_3339_in_utc_to_the_microsecond() {
    check(&ZONED);
}

#[test]
fn a_timestamp_without_a_zone_is_of_the_configured_one() {
    check(&LOCAL);
    check(&BERLIN);
}

#[test]
fn a_number_is_a_time_in_the_configured_unit() {
    check(&MILLISECONDS);
    check(&SECONDS);
    check(&MICROSECONDS);
    check(&NANOSECONDS);
}

#[test]
fn a_date_and_a_text_may_be_a_time() {
    check(&DATE);
    check(&TEXT);
}
