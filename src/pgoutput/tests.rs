//! Goal: whatever bytes arrive, they are one message or an error.
//! Method: messages recorded from a real server, every prefix of them, and arbitrary bytes.

use super::*;

/// The messages that a real server sent.
pub(crate) fn recorded() -> Vec<Vec<u8>> {
    read(include_str!("recorded/postgres15.txt"))
}

/// What `pg_logical_emit_message` wrote, as the oldest and the newest server send it.
pub(crate) fn recorded_messages() -> [Vec<Vec<u8>>; 2] {
    [read(include_str!("recorded/messages14.txt")), read(include_str!("recorded/messages18.txt"))]
}

fn read(recorded: &str) -> Vec<Vec<u8>> {
    let lines = recorded.lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let byte = |at| u8::from_str_radix(line.get(at..at + 2).expect(line), 16).expect(line);
            (0..line.len()).step_by(2).map(byte).collect()
        })
        .collect()
}

/// A message whose tuple, if it has one, is read to its end.
fn decode_whole(bytes: &[u8]) -> Result<LogicalMessage<'_>, Malformed> {
    let message = decode(bytes)?;
    if let LogicalMessage::Insert { tuple, .. } = &message {
        for datum in tuple.datums() {
            datum?;
        }
    }
    Ok(message)
}

#[track_caller]
fn check_malformed(bytes: &[u8], expected: &str) {
    let malformed = decode_whole(bytes).expect_err("malformed");
    assert_eq!(malformed.to_string(), format!("malformed replication message {expected}"));
}

#[test]
fn what_a_real_server_sends_is_decoded() {
    let recorded = recorded();
    let messages: Vec<_> =
        recorded.iter().map(|bytes| decode_whole(bytes).expect("recorded")).collect();
    let commit_time = PgTimestamp(0x0003_03C3_4A03_7D6D);
    let begin = Begin { final_lsn: Lsn::new(0x0192_DBB8), commit_time, xid: 731 };
    assert_eq!(messages[0], LogicalMessage::Begin(begin));
    // A domain over a domain: the server names the base type under the id of the domain.
    let document = Type { oid: 0x400A, namespace: "pg_catalog", name: "jsonb" };
    assert_eq!(messages[1], LogicalMessage::Type(document));
    let mood = Type { oid: 0x4002, namespace: "public", name: "mood" };
    assert_eq!(messages[2], LogicalMessage::Type(mood));
    let LogicalMessage::Relation(relation) = &messages[3] else { panic!("{:?}", messages[3]) };
    assert_eq!((relation.oid, relation.namespace, relation.name), (0x400B, "public", "outbox"));
    assert_eq!((relation.replica_identity, relation.columns.len()), (b'd', 18));
    let id = Column { in_key: true, name: "id", type_oid: 2950, type_modifier: -1 };
    assert_eq!(relation.columns[0], id);
    let payload = Column { in_key: false, name: "payload", type_oid: 0x400A, type_modifier: -1 };
    assert_eq!(relation.columns[4], payload);
    let LogicalMessage::Insert { relation_oid: 0x400B, tuple } = &messages[4] else {
        panic!("{:?}", messages[4])
    };
    assert_eq!(tuple.columns(), 18);
    let datums: Vec<_> = tuple.datums().map(|datum| datum.expect("recorded")).collect();
    assert_eq!(datums[2], Datum::Text("ö 42".as_bytes()));
    assert_eq!(datums[4], Datum::Text(br#"{"id": 9007199254740993, "total": 12.30}"#));
    assert_eq!(datums[8], Datum::Text(b"ab      "));
    let LogicalMessage::Insert { tuple, .. } = &messages[5] else { panic!("{:?}", messages[5]) };
    assert_eq!(tuple.datums().last(), Some(Ok(Datum::Null)));
    let end_lsn = Lsn::new(0x0192_DBE8);
    let commit = Commit { commit_lsn: Lsn::new(0x0192_DBB8), end_lsn, commit_time };
    assert_eq!(messages[6], LogicalMessage::Commit(commit));
    let emitted = Message {
        transactional: true,
        lsn: Lsn::new(0x0192_DC30),
        prefix: "walpost",
        content: br#"{"id":"1"}"#,
    };
    assert_eq!(messages[8], LogicalMessage::Message(emitted));
    // Two updates, the second with the old key; a delete, the relation again, a truncate.
    let other = 0x4012;
    assert_eq!(messages[11], LogicalMessage::Update { relation_oid: other });
    assert_eq!(messages[12], LogicalMessage::Update { relation_oid: other });
    assert_eq!(messages[13], LogicalMessage::Delete { relation_oid: other });
    assert_eq!(messages[15], LogicalMessage::Truncate);
    assert_eq!(messages.len(), 17);
}

/// Transactional or not, prefix and content; `begin` and `commit` between.
#[track_caller]
fn check_messages(recorded: &[Vec<u8>]) {
    let told: Vec<_> = recorded
        .iter()
        .map(|bytes| match decode_whole(bytes).expect("recorded") {
            LogicalMessage::Begin(_) => "begin".to_owned(),
            LogicalMessage::Commit(_) => "commit".to_owned(),
            LogicalMessage::Message(Message { transactional, prefix, content, .. }) => {
                let content = String::from_utf8_lossy(content);
                format!("{transactional} {prefix} {content}")
            }
            other @ (LogicalMessage::Origin { .. }
            | LogicalMessage::Relation(_)
            | LogicalMessage::Type(_)
            | LogicalMessage::Insert { .. }
            | LogicalMessage::Update { .. }
            | LogicalMessage::Delete { .. }
            | LogicalMessage::Truncate) => panic!("{other:?}"),
        })
        .collect();
    let order = "true shop {\"id\" : \"6e8bc430-9c3a-11d9-9669-0800200c9a66\", \
                 \"aggregatetype\" : \"order\", \"aggregateid\" : \"ö 42\", \
                 \"type\" : \"OrderCreated\", \
                 \"payload\" : {\"total\": 12.30, \"id\": 9007199254740993}}";
    let expected = [
        "begin",
        order,
        "commit",
        "false shop {\"id\":\"2\"}",
        "begin",
        "true shop ",
        "true shop's \"ö\" \0\u{fffd}",
        "commit",
        // Of a transaction that was rolled back: what was transactional never comes.
        "false shop {\"id\":\"3\"}",
    ];
    assert_eq!(told, expected);
}

#[test]
fn emitted_messages_come_in_their_transactions_from_the_oldest_and_the_newest_server() {
    for recorded in recorded_messages() {
        check_messages(&recorded);
    }
}

#[test]
fn every_prefix_of_a_message_is_an_error() {
    for message in recorded().into_iter().chain(recorded_messages().concat()) {
        for length in 0..message.len() {
            assert!(decode_whole(&message[..length]).is_err(), "{length} of {message:x?}");
        }
    }
}

#[test]
fn a_byte_after_a_message_is_an_error() {
    for mut message in recorded().into_iter().chain(recorded_messages().concat()) {
        message.push(0);
        assert!(decode_whole(&message).is_err(), "{message:x?}");
    }
}

#[test]
fn a_message_beside_transactions_is_decoded() {
    let expected =
        Message { transactional: false, lsn: Lsn::new(1), prefix: "", content: &[0, 255] };
    assert_eq!(
        decode(b"M\0\0\0\0\0\0\0\0\x01\0\0\0\0\x02\0\xFF"),
        Ok(LogicalMessage::Message(expected))
    );
}

#[test]
fn an_origin_is_decoded() {
    let origin = LogicalMessage::Origin { commit_lsn: Lsn::new(2), name: "far" };
    assert_eq!(decode(b"O\0\0\0\0\0\0\0\x02far\0"), Ok(origin));
}

#[test]
fn claims_that_the_bytes_do_not_keep_are_errors() {
    check_malformed(b"", "'\\0': expected message type at byte 0");
    check_malformed(b"S", "'S': expected a message type of protocol version 1 at byte 1");
    check_malformed(b"R\0\0\0\x01n\0t\0d\xFF\xFF", "'R': expected number of columns at byte 12");
    check_malformed(b"R\0\0\0\x01n\0t\0d\x7F\xFF", "'R': expected column flags at byte 12");
    check_malformed(b"R\0\0\0\x01n\xFF\0t\0d\0\0", "'R': expected schema name at byte 5");
    check_malformed(b"I\0\0\0\x01N\xFF\xFF", "'I': expected number of columns at byte 8");
    check_malformed(b"I\0\0\0\x01K\0\0", "'I': expected new tuple at byte 5");
    check_malformed(
        b"I\0\0\0\x01N\0\x01t\x7F\xFF\xFF\xFFa",
        "'I': expected text of a column at byte 13",
    );
    check_malformed(
        b"I\0\0\0\x01N\0\x01t\xFF\xFF\xFF\xFFa",
        "'I': expected text of a column at byte 13",
    );
    check_malformed(
        b"I\0\0\0\x01N\0\x01x",
        "'I': expected kind of column value: n, u, t or b at byte 8",
    );
    check_malformed(b"I\0\0\0\x01N\0\x01nn", "'I': expected end of the tuple at byte 9");
    check_malformed(b"T\xFF\xFF\xFF\xFF\0", "'T': expected relation id at byte 6");
    check_malformed(b"C\x01", "'C': expected commit flags 0 at byte 1");
}

#[test]
fn a_value_that_was_not_sent_is_not_null() {
    let Ok(LogicalMessage::Insert { tuple, .. }) = decode(b"I\0\0\0\x01N\0\x03nub\0\0\0\x01\x07")
    else {
        panic!("an insert")
    };
    let datums: Vec<_> = tuple.datums().collect();
    assert_eq!(datums, [Ok(Datum::Null), Ok(Datum::UnchangedToast), Ok(Datum::Binary(&[7]))]);
}

#[test]
fn the_servers_clock_counts_from_2000() {
    assert_eq!(PgTimestamp(0).to_unix_micros(), 946_684_800_000_000);
    assert_eq!(PgTimestamp::from_unix_micros(946_684_800_000_001), PgTimestamp(1));
    assert_eq!(PgTimestamp(i64::MAX).to_unix_micros(), i64::MAX);
}

/// Whatever is claimed, no more columns than bytes come out.
fn is_bounded(bytes: &[u8]) -> bool {
    match decode_whole(bytes) {
        Ok(LogicalMessage::Relation(relation)) => relation.columns.len() < bytes.len(),
        Ok(LogicalMessage::Insert { tuple, .. }) => tuple.datums().count() < bytes.len(),
        Ok(_) => true,
        Err(malformed) => malformed.to_string().starts_with("malformed replication message"),
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0_u8.., 0..200)) {
        proptest::prop_assert!(is_bounded(&bytes), "{:x?}", bytes);
    }

    #[test]
    fn a_message_with_some_bytes_changed_never_panics(
        which in 0_usize..17,
        changes in proptest::collection::vec((0_usize..600, 0_u8..), 1..4),
    ) {
        let mut message = recorded()[which].clone();
        let length = message.len();
        for (at, byte) in changes {
            message[at % length] = byte;
        }
        proptest::prop_assert!(is_bounded(&message), "{:x?}", message);
    }
}
