//! What Kafka Connect has stored of a Debezium connector.
//!
//! Connect keeps one record for each source partition in its offsets topic, with the key
//! `["connector",{"server":"topic.prefix"}]` and the connector's own object as the value, both as
//! plain JSON; the last record of a key counts (measured with Connect 4.3.1 and Debezium 3.7.0; the
//! fields are those of `PostgresOffsetContext.getOffset`). A record is written only after Kafka has
//! confirmed every event before it.

use std::collections::BTreeMap;

use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use serde_json::{Map, Value};

use crate::kafka::client::Auxiliary;
use crate::kafka::reading::{Reader, Start};
use crate::lsn::Lsn;

/// Where a connector stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// End of the last transaction of which the connector saw the end before the last event:
    /// whatever was committed before it is in Kafka. `None` while the first one is under way.
    pub(super) commit: Option<Lsn>,
    /// The transaction of the last event, and that event's place in the log.
    pub(super) in_flight: Option<InFlight>,
    /// The initial snapshot.
    pub(super) snapshot: Snapshot,
    /// An incremental snapshot is under way.
    pub(super) incremental: bool,
}

/// The transaction of the last event that is in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InFlight {
    /// Its number, without epoch.
    pub(super) xid: u32,
    /// Where the log has the row. Rows that `COPY` writes share such a place.
    pub(super) last: Lsn,
}

/// How far the initial snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// There was none, or the connector has streamed since.
    Over,
    /// All its rows are in Kafka, and nothing of the stream.
    Complete,
    /// Some of its rows are not.
    Incomplete,
}

impl Offset {
    /// Reads the connector's object.
    ///
    /// # Errors
    /// It is none of Debezium's Postgres connector.
    pub(super) fn parse(value: &[u8]) -> Result<Self, String> {
        let object: Map<String, Value> =
            serde_json::from_slice(value).map_err(|error| format!("it is no object: {error}"))?;
        let lsn = |name: &str| object.get(name).and_then(Value::as_u64).map(Lsn::new);
        let Some(last) = lsn("lsn") else {
            return Err("it has no member `lsn`".to_owned());
        };
        // The place of a begin is that of the first row, which is not sent yet; that of a commit is
        // the commit's own.
        let of_a_row = matches!(
            object.get("messageType").and_then(Value::as_str),
            Some("INSERT" | "UPDATE" | "DELETE" | "TRUNCATE")
        );
        let xid = object.get("txId").and_then(Value::as_u64);
        // Written as the low half, but what is compared is only that.
        let xid = xid.and_then(|xid| u32::try_from(xid & u64::from(u32::MAX)).ok());
        let said = |name: &str| match object.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => text != "false",
            Some(_) => true,
        };
        let snapshot =
            match (said("snapshot"), said("last_snapshot_record"), said("snapshot_completed")) {
                (false, _, _) => Snapshot::Over,
                (true, false, false) => Snapshot::Incomplete,
                (true, _, _) => Snapshot::Complete,
            };
        Ok(Self {
            commit: lsn("lsn_commit"),
            in_flight: xid.filter(|_| of_a_row).map(|xid| InFlight { xid, last }),
            snapshot,
            incremental: object.keys().any(|name| name.starts_with("incremental_snapshot_")),
        })
    }
}

/// One record of the offsets topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The connector's object as it stands there.
    pub(super) value: Vec<u8>,
    /// Milliseconds since 1970.
    pub(super) written_at: Option<i64>,
}

/// What the topic holds: by connector and source partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    /// The topic is there.
    pub(super) exists: bool,
    records: BTreeMap<(String, String), Record>,
}

impl Offsets {
    /// Reads the whole topic, which is compacted and short. Blocks.
    ///
    /// # Errors
    /// Kafka does not answer as it should.
    pub(super) fn read(client: &Auxiliary, topic: &str) -> Result<Self, KafkaError> {
        let mut found = Self::default();
        let extents = Reader::new(client)?.read(topic, Start::Beginning, |record| {
            found.take(record.key(), record.payload(), record.timestamp().to_millis());
        })?;
        found.exists = !extents.is_empty();
        Ok(found)
    }

    pub(super) fn take(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        written_at: Option<i64>,
    ) {
        let Some((connector, partition)) =
            key.and_then(|key| serde_json::from_slice::<(String, Value)>(key).ok())
        else {
            return;
        };
        let key = (connector, partition.to_string());
        match value {
            Some(value) => self.records.insert(key, Record { value: value.to_vec(), written_at }),
            None => self.records.remove(&key),
        };
    }

    /// The records of a connector; mostly one, several after a change of its `topic.prefix`.
    pub(super) fn of(&self, connector: &str) -> Vec<(&str, &Record)> {
        let of = self.records.iter().filter(|((name, _), _)| name == connector);
        of.map(|((_, partition), record)| (partition.as_str(), record)).collect()
    }

    /// The connectors that have a record.
    pub(super) fn connectors(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.records.keys().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debezium 3.7.0 writes it after 20 rows of one transaction.
    const RECORDED: &str = r#"{"lsn_proc":28870312,"lsn_events_processed":1,"messageType":"INSERT",
        "lsn_commit":28866712,"lsn":28870312,"txId":758,"ts_usec":1795282949665408}"#;

    /// The place, the transaction with its last row, and the snapshot.
    type Read = (Option<u64>, Option<(u32, u64)>, Snapshot);

    #[track_caller]
    fn check(value: &str, expected: Result<Read, &str>) {
        let read = Offset::parse(value.as_bytes());
        let found = read.as_ref().map(|offset| {
            let in_flight = offset.in_flight.map(|it| (it.xid, it.last.as_u64()));
            (offset.commit.map(Lsn::as_u64), in_flight, offset.snapshot)
        });
        match expected {
            Ok(expected) => assert_eq!(found, Ok(expected), "{value}"),
            Err(part) => assert!(read.expect_err(value).contains(part), "{value}"),
        }
    }

    #[test]
    fn the_offset_of_a_connector_is_read() {
        check(RECORDED, Ok((Some(28_866_712), Some((758, 28_870_312)), Snapshot::Over)));
        check(r#"{"lsn":7,"txId":1}"#, Ok((None, None, Snapshot::Over)));
        check(r#"{"server":"x"}"#, Err("`lsn`"));
        check(r#"{"file":"mysql-bin.1","pos":4}"#, Err("`lsn`"));
        check("x", Err("no object"));
    }

    #[test]
    fn only_the_place_of_a_row_says_that_a_row_was_sent() {
        for (word, of_a_row) in
            [("INSERT", true), ("DELETE", true), ("BEGIN", false), ("COMMIT", false)]
        {
            let value = format!(r#"{{"lsn":7,"lsn_commit":5,"txId":1,"messageType":"{word}"}}"#);
            let in_flight = of_a_row.then_some((1, 7));
            check(&value, Ok((Some(5), in_flight, Snapshot::Over)));
        }
    }

    #[test]
    fn a_snapshot_that_is_under_way_is_known() {
        let of = |more: &str| format!(r#"{{"lsn":7,"snapshot":"INITIAL",{more}}}"#);
        check(&of(r#""last_snapshot_record":false"#), Ok((None, None, Snapshot::Incomplete)));
        check(&of(r#""last_snapshot_record":true"#), Ok((None, None, Snapshot::Complete)));
        check(&of(r#""snapshot_completed":true"#), Ok((None, None, Snapshot::Complete)));
        let incremental = br#"{"lsn":7,"incremental_snapshot_signal_id":"a"}"#;
        assert!(Offset::parse(incremental).expect("readable").incremental);
    }

    #[test]
    fn the_last_record_of_a_connector_counts() {
        let mut offsets = Offsets::default();
        let mut take = |key: &str, value: Option<&str>| {
            offsets.take(Some(key.as_bytes()), value.map(str::as_bytes), Some(1));
        };
        take(r#"["shop",{"server":"a"}]"#, Some("1"));
        take(r#"["shop",{"server":"a"}]"#, Some("2"));
        take(r#"["other",{"server":"a"}]"#, Some("3"));
        take(r#"["gone",{"server":"a"}]"#, Some("4"));
        take(r#"["gone",{"server":"a"}]"#, None);
        take("garbage", Some("5"));
        let of = offsets.of("shop");
        assert_eq!(of.len(), 1);
        assert_eq!((of[0].0, of[0].1.value.as_slice()), (r#"{"server":"a"}"#, b"2".as_slice()));
        assert_eq!(offsets.connectors(), ["other", "shop"]);
    }
}
