//! What real servers sent, read: the same of each major version.

use crate::recorded::{MAJORS, Recorded, summary};

/// The outbox when it is first met, and after it has got a column.
const OUTBOX: &str = "relation public.outbox d (id 2950 -1 key, aggregatetype 1043 259, aggregateid 25 -1, \
    type 25 -1, payload own -1, created_at 1184 -1, headers 114 -1, partition_key 17 -1, c 1042 12, b 16 -1, \
    i2 21 -1, i4 23 -1, i8 20 -1, n 1700 655366, d 1082 -1, t 1114 -1, m own -1, a 1007 -1";

#[test]
fn servers_of_every_major_version_say_the_same() {
    let nulls = "null, null, null, null, null, null, null, null, null, null, null, null, null";
    let expected = [
        "begin".to_owned(),
        "type pg_catalog.jsonb".to_owned(),
        "type public.mood".to_owned(),
        format!("{OUTBOX})"),
        "insert public.outbox ('6e8bc430-9c3a-11d9-9669-0800200c9a66', 'order', 'ö 42', 'OrderCreated', \
         '{\"id\": 9007199254740993, \"total\": 12.30}', '2024-05-01 10:00:00.123456+00', '{ \"a\" : \"b\" }', \
         '\\x00ff', 'ab      ', 't', '-1', '2', '9007199254740993', '1.10', '2024-05-01', \
         '2024-05-01 10:00:00.5', 'happy', '{1,NULL}')"
            .to_owned(),
        "insert public.outbox ('6e8bc430-9c3a-11d9-9669-0800200c9a67', 'order', '', 'x', null, 'infinity', \
         null, '\\x', '        ', 'f', null, null, null, null, null, null, null, null)"
            .to_owned(),
        "commit".to_owned(),
        "message beside transactions shop {\"id\": \"2\"}".to_owned(),
        "begin".to_owned(),
        "origin far".to_owned(),
        format!(
            "insert public.outbox ('6e8bc430-9c3a-11d9-9669-0800200c9a68', 'order', 'far', 'OrderCreated', \
             '[]', {nulls})"
        ),
        "commit".to_owned(),
        "begin".to_owned(),
        "relation public.other d (id 23 -1 key, note 25 -1)".to_owned(),
        "insert public.other ('1', 'a')".to_owned(),
        "update public.other".to_owned(),
        "update public.other".to_owned(),
        "delete public.other".to_owned(),
        // A truncate is a change of the table's file, after which the table is told anew.
        "relation public.other d (id 23 -1 key, note 25 -1)".to_owned(),
        "truncate".to_owned(),
        "commit".to_owned(),
        "begin".to_owned(),
        "message shop {\"id\" : \"6e8bc430-9c3a-11d9-9669-0800200c9a66\", \"aggregatetype\" : \"order\", \
         \"aggregateid\" : \"ö 42\", \"type\" : \"OrderCreated\", \"payload\" : {\"total\": 12.30, \
         \"id\": 9007199254740993}}"
            .to_owned(),
        "type pg_catalog.jsonb".to_owned(),
        "type public.mood".to_owned(),
        format!("{OUTBOX}, tenant 25 -1)"),
        format!(
            "insert public.outbox ('6e8bc430-9c3a-11d9-9669-0800200c9a69', 'order', 'k', 'OrderCreated', \
             '\"é\"', {nulls}, 'north')"
        ),
        "commit".to_owned(),
        "begin".to_owned(),
        "message shop the end".to_owned(),
        "commit".to_owned(),
    ];
    for (recorded, major) in Recorded::all().into_iter().zip(MAJORS) {
        let mut said = summary(&recorded.messages());
        // Postgres 14 tells of transactions in which there is nothing for the publication.
        while let Some(at) = said.windows(2).position(|two| two == ["begin", "commit"]) {
            assert_eq!(major, 14, "an empty transaction");
            drop(said.drain(at..at + 2));
        }
        assert_eq!(said, expected, "Postgres {major}");
    }
}
