//! Whether a stream can go on where a connector has stopped, without a gap. Pure.
//!
//! The argument: Debezium sends transactions in the order of their commits and Connect stores an
//! offset only when Kafka has confirmed every event before it. So of what the offset names, all that
//! committed before `lsn_commit` is in Kafka, and with the transaction of the last event all that
//! committed before that one. A slot that stands at or before such a place has every row that comes
//! after, and a publication that is older than the place shows them.

use super::offset::{Offset, Offsets, Record, Snapshot};
use super::scan::Found;
use crate::cli::command::{Stopped, refused};
use crate::config::Config;
use crate::kafka::checkpoint_topic::Stored;
use crate::ledger::Mark;
use crate::lsn::Lsn;
use crate::postgres::catalog::{Publication, Slot};
use crate::supervisor::decision::{self, To};

/// The way out where slot or publication were made too late.
pub(super) const AGAIN: &str = "start the connector again, make publication and slot with `walpost setup --apply --slot`, wait until the connector has sent a row that was written after that, stop it, and run this again";

/// The slots, of which both are there.
#[derive(Clone, Debug)]
pub(super) struct Slots<D = Option<Slot>> {
    /// The connector's.
    pub(super) debezium: D,
    /// walpost's, which may be the same.
    pub(super) slot: D,
}

/// Which record of the offsets topic counts.
pub(super) fn record<'a>(
    offsets: &'a Offsets,
    topic: &str,
    connector: &str,
    prefix: Option<&str>,
) -> Result<(&'a str, &'a Record), Stopped> {
    if !offsets.exists {
        return Err(refused(
            format!("topic {topic} does not exist in this Kafka"),
            "name the topic with --offsets-topic: offset.storage.topic of the worker, or offsets.storage.topic of the connector. If Connect keeps its offsets elsewhere (another Kafka, a file), --from-slot takes the position of the connector's slot",
        ));
    }
    let mut records = offsets.of(connector);
    if let Some(prefix) = prefix {
        let wanted = serde_json::json!({ "server": prefix }).to_string();
        records.retain(|(partition, _)| *partition == wanted);
    }
    match records.as_slice() {
        [one] => Ok(*one),
        [] => {
            let known = offsets.connectors().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            Err(refused(
                format!("topic {topic} has no offset of connector {connector}; it knows: {known}"),
                "name the connector as Connect does. One that was stopped before it stored anything has no offset: let it send a row, and stop it with `PUT /connectors/NAME/stop`, which stores its place",
            ))
        }
        several => {
            let partitions: Vec<_> = several.iter().map(|(partition, _)| *partition).collect();
            Err(refused(
                format!("connector {connector} has several offsets: {}", partitions.join(", ")),
                "say with --topic-prefix which one it had last",
            ))
        }
    }
}

/// There must be no checkpoint yet.
pub(super) fn checkpoint(config: &Config, stored: &Stored) -> Result<(), Stopped> {
    if let Some(record) = &stored.unreadable {
        return Err(refused(
            format!(
                "topic {}, offset {}: {}",
                config.checkpoint_topic, record.offset, record.cause
            ),
            "`walpost checkpoint show` says more; a new WALPOST_NAME begins with a topic of its own",
        ));
    }
    if stored.checkpoint.is_none() {
        return Ok(());
    }
    Err(refused(
        format!(
            "a checkpoint is stored already in topic {}: walpost has worked under the name {}",
            config.checkpoint_topic, config.name
        ),
        "`walpost checkpoint show` prints it, and `walpost checkpoint set` moves it. After a time back with Debezium, a new WALPOST_NAME and WALPOST_SLOT begin anew",
    ))
}

impl Slots {
    /// The place before which everything is in Kafka, if the slots are as they must be.
    pub(super) fn base(
        self,
        config: &Config,
        name: &str,
        offset: Option<&Offset>,
    ) -> Result<(Lsn, Slots<Slot>), Stopped> {
        let debezium = self.debezium.ok_or_else(|| {
            refused(
                format!("slot {name} does not exist, so it cannot be seen that the connector is stopped"),
                "name the connector's slot.name with --debezium-slot. With slot.drop.on.stop=true the connector drops it when it stops: set that to false, then start and stop the connector again",
            )
        })?;
        of_this_database(config, &debezium, name)?;
        if debezium.active {
            let by =
                debezium.active_pid.map_or_else(String::new, |pid| format!(" by process {pid}"));
            return Err(refused(
                format!("slot {name} is in use{by}: the connector is at work"),
                "stop it with `PUT /connectors/NAME/stop` of Connect's REST interface; pausing is not enough",
            ));
        }
        let slot = self.slot.ok_or_else(|| {
            refused(
                format!("slot {} does not exist, and one that is made now begins too late", config.slot),
                format!("{AGAIN}. Or name the connector's slot in WALPOST_SLOT, and its publication in WALPOST_PUBLICATION"),
            )
        })?;
        readable(config, &slot)?;
        let confirmed = debezium.confirmed_flush_lsn.unwrap_or(Lsn::INVALID);
        let base = match offset {
            None => confirmed,
            Some(offset) => stored(offset, name, confirmed, slot.wal_end)?,
        };
        Ok((base, Slots { debezium, slot }))
    }
}

fn of_this_database(config: &Config, slot: &Slot, name: &str) -> Result<(), Stopped> {
    let database = slot.database.as_deref().unwrap_or("none");
    if database == config.database.database {
        return Ok(());
    }
    Err(refused(
        format!(
            "slot {name} belongs to the database {database}, not to {}",
            config.database.database
        ),
        "connect walpost to the connector's database.dbname with DATABASE_URL or PGDATABASE",
    ))
}

/// The slot that walpost is to read.
fn readable(config: &Config, slot: &Slot) -> Result<(), Stopped> {
    let name = &config.slot;
    of_this_database(config, slot, name)?;
    if slot.plugin.as_deref() != Some("pgoutput") {
        return Err(refused(
            format!(
                "slot {name} has the output plug-in {}, and walpost reads pgoutput only",
                slot.plugin.as_deref().unwrap_or("of a physical slot")
            ),
            format!("a slot of walpost's own is needed: {AGAIN}"),
        ));
    }
    if let Some(why) = decision::lost(slot) {
        return Err(refused(
            format!("slot {name} is lost ({why}): rows since its position cannot be read any more"),
            format!(
                "with a new slot under WALPOST_SLOT: {AGAIN}. Raise max_slot_wal_keep_size before"
            ),
        ));
    }
    if slot.active {
        return Err(refused(
            format!("slot {name} is in use: a walpost is at work"),
            "stop it first",
        ));
    }
    Ok(())
}

/// The place that an offset names.
fn stored(offset: &Offset, name: &str, confirmed: Lsn, end: Lsn) -> Result<Lsn, Stopped> {
    match offset.snapshot {
        Snapshot::Over => {}
        Snapshot::Incomplete => {
            return Err(refused(
                "the connector stopped inside its initial snapshot: not all rows of the table were sent",
                "start it again, and let the snapshot end",
            ));
        }
        Snapshot::Complete => {
            return Err(refused(
                "the connector has sent its initial snapshot, and stored nothing of the stream yet",
                "start it again, and let it send a new row; or --from-slot, which begins where its slot was made",
            ));
        }
    }
    if offset.incremental {
        return Err(refused(
            "the connector stopped inside an incremental snapshot: not all of its rows were sent",
            "start it again, and let the snapshot end; or end it with a stop-snapshot signal",
        ));
    }
    // The first transaction of the stream has not ended, so the slot is still where it began.
    let base = offset.commit.unwrap_or(confirmed);
    if base < confirmed {
        return Err(refused(
            format!(
                "slot {name} stands at {confirmed}, after what the connector has stored, {base}: the offset is not of this slot, or the slot was moved"
            ),
            "compare --connector and --debezium-slot with the connector's configuration. --from-slot takes the slot's position, if you know that everything before it was sent",
        ));
    }
    let last = offset.in_flight.map_or(base, |in_flight| base.max(in_flight.last));
    if last > end {
        return Err(refused(
            format!(
                "the connector has stored {last}, after the end of this server's log at {end}: it read another server, or this one was restored from an older state"
            ),
            "connect walpost to the server that the connector read",
        ));
    }
    Ok(base)
}

/// The row versions of what makes the publication show the tables.
pub(super) fn versions(config: &Config, publication: &Publication) -> Vec<String> {
    let mut versions = vec![publication.xmin.clone()];
    versions.extend(publication.schemas.iter().map(|schema| schema.xmin.clone()));
    let ours = publication.tables.iter().filter(|published| {
        config.tables.iter().any(|it| it.schema == published.schema && it.table == published.name)
    });
    versions.extend(ours.filter_map(|table| table.membership.as_ref()).map(|it| it.xmin.clone()));
    versions
}

/// The publication may be younger than the place.
pub(super) fn unproven(config: &Config) -> Stopped {
    refused(
        format!(
            "it cannot be proven that publication {} showed the table by then: slot {} has no row that came through it before the connector stopped",
            config.publication, config.slot
        ),
        format!(
            "if publication and slot were there in time, let the connector send one more row: start it, write a row, stop it, and run this again. Otherwise {AGAIN}"
        ),
    )
}

/// Where the stream goes on.
pub(super) fn mark(
    config: &Config,
    found: &Found,
    base: Lsn,
    slot: &Slot,
) -> Result<Mark, Stopped> {
    let confirmed = slot.confirmed_flush_lsn.unwrap_or(Lsn::INVALID);
    if let Some(sent) = found.in_flight {
        let complete = sent.sent == sent.rows;
        return Ok(Mark {
            commit_lsn: sent.begin.final_lsn,
            next_ordinal: sent.sent,
            complete,
            // The transaction came from the slot, so the slot stands before its end.
            resume_lsn: if complete { sent.end } else { base.max(confirmed) },
            xid: sent.begin.xid,
            commit_time: sent.begin.commit_time.to_unix_micros(),
        });
    }
    if base < confirmed {
        return Err(refused(
            format!(
                "slot {} begins at {confirmed}, and what the connector has sent ends at {base}: rows in between would be lost",
                config.slot
            ),
            "let the connector send one more row: start it, write a row, stop it, and run this again",
        ));
    }
    Ok(To::Resume(base).mark())
}

#[cfg(test)]
mod tests {
    use super::super::offset::InFlight;
    use super::super::scan::Sent;
    use super::*;
    use crate::config::env::Variables;
    use crate::kafka::checkpoint::tests::checkpoint as any_checkpoint;
    use crate::pgoutput::Begin;
    use crate::postgres::catalog::slot_for_tests as any_slot;
    use crate::postgres::timestamp::PgTimestamp;

    const L: fn(u64) -> Lsn = Lsn::new;

    fn config() -> Config {
        let variables = Variables::from([
            ("DATABASE_URL", "postgres://walpost@localhost/shop"),
            ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        ]);
        Config::load(&variables).expect("valid").config
    }

    fn slot(confirmed: u64) -> Slot {
        Slot {
            restart_lsn: Some(L(50)),
            confirmed_flush_lsn: Some(L(confirmed)),
            wal_end: L(200),
            ..any_slot()
        }
    }

    struct Case {
        debezium: Option<Slot>,
        slot: Option<Slot>,
        offset: Offset,
    }

    /// The connector stopped at 120 in transaction 5 and has confirmed 90; walpost's slot was made
    /// at 80.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Case), expected: Result<u64, &str>) {
        let in_flight = Some(InFlight { xid: 5, last: L(120) });
        let mut case = Case {
            debezium: Some(slot(90)),
            slot: Some(slot(80)),
            offset: Offset {
                commit: Some(L(100)),
                in_flight,
                snapshot: Snapshot::Over,
                incremental: false,
            },
        };
        change(&mut case);
        let slots = Slots { debezium: case.debezium, slot: case.slot };
        let base = slots.base(&config(), "debezium", Some(&case.offset)).map(|(base, _)| base);
        is(base.map(Lsn::as_u64), expected);
    }

    /// A refusal says what is wrong, and what to do.
    #[track_caller]
    fn is<T: PartialEq + std::fmt::Debug>(found: Result<T, Stopped>, expected: Result<T, &str>) {
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(Stopped::Failure(failure)), Err(part)) => {
                assert!(failure.message().contains(part), "{part}: {failure:?}");
                assert!(failure.hint().is_some_and(|hint| !hint.is_empty()), "{failure:?}");
            }
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn a_stopped_connector_says_what_is_in_kafka() {
        check(|_| {}, Ok(100));
        check(|case| case.offset.commit = None, Ok(90));
        check(|case| case.debezium = Some(slot(100)), Ok(100));
    }

    #[test]
    fn what_cannot_be_proven_is_refused() {
        check(|case| case.debezium = None, Err("slot debezium does not exist"));
        check(|case| case.debezium.as_mut().expect("a slot").active = true, Err("is at work"));
        check(|case| case.slot = None, Err("slot walpost does not exist"));
        check(|case| case.slot.as_mut().expect("a slot").active = true, Err("in use"));
        let other = |slot: &mut Option<Slot>| {
            slot.as_mut().expect("a slot").database = Some("other".to_owned());
        };
        check(|case| other(&mut case.debezium), Err("belongs to the database other"));
        check(|case| other(&mut case.slot), Err("belongs to the database other"));
        let plugin = |case: &mut Case| {
            case.slot.as_mut().expect("a slot").plugin = Some("wal2json".to_owned());
        };
        check(plugin, Err("wal2json"));
        let lost = |case: &mut Case| {
            case.slot.as_mut().expect("a slot").wal_status = Some("lost".to_owned());
        };
        check(lost, Err("is lost"));
        check(|case| case.debezium = Some(slot(101)), Err("after what the connector has stored"));
        check(|case| case.offset.commit = Some(L(201)), Err("after the end"));
        let last = InFlight { xid: 5, last: L(201) };
        check(|case| case.offset.in_flight = Some(last), Err("after the end"));
        check(|case| case.offset.snapshot = Snapshot::Incomplete, Err("inside its initial"));
        check(|case| case.offset.snapshot = Snapshot::Complete, Err("nothing of the stream"));
        check(|case| case.offset.incremental = true, Err("incremental"));
    }

    fn sent(sent: u64) -> Found {
        let begin = Begin { final_lsn: L(140), commit_time: PgTimestamp::default(), xid: 5 };
        let sent = Sent { begin, end: L(150), rows: 3, sent, doubtful: 0 };
        Found { in_flight: Some(sent), witness: Some(5) }
    }

    /// Commit, next row, whether complete, and where the stream is resumed; of a slot that was made
    /// there.
    #[track_caller]
    fn goes_on(found: &Found, made_at: u64, expected: Result<(u64, u64, bool, u64), &str>) {
        let mark = mark(&config(), found, L(100), &slot(made_at)).map(|mark| {
            let resume = mark.resume_lsn.as_u64();
            (mark.commit_lsn.as_u64(), mark.next_ordinal, mark.complete, resume)
        });
        is(mark, expected);
    }

    #[test]
    fn the_stream_goes_on_behind_the_last_row() {
        goes_on(&sent(3), 80, Ok((140, 3, true, 150)));
        goes_on(&sent(2), 80, Ok((140, 2, false, 100)));
        // The slot is younger than the last transaction but one.
        goes_on(&sent(3), 110, Ok((140, 3, true, 150)));
        goes_on(&sent(2), 110, Ok((140, 2, false, 110)));
        goes_on(&Found::default(), 80, Ok((99, 0, true, 100)));
        goes_on(&Found::default(), 110, Err("would be lost"));
    }

    #[test]
    fn a_stored_checkpoint_is_not_written_over() {
        let stored = |checkpoint| Stored { checkpoint, ..Stored::default() };
        is(checkpoint(&config(), &stored(None)), Ok(()));
        is(checkpoint(&config(), &stored(Some(any_checkpoint()))), Err("is stored already"));
    }

    #[test]
    fn a_connector_is_found_by_its_name() {
        let mut offsets = Offsets::default();
        is(record(&offsets, "t", "shop", None).map(|_| ()), Err("does not exist"));
        offsets.exists = true;
        is(record(&offsets, "t", "shop", None).map(|_| ()), Err("it knows: none"));
        let mut take = |prefix: &str| {
            let key = format!(r#"["shop",{{"server":"{prefix}"}}]"#);
            offsets.take(Some(key.as_bytes()), Some(prefix.as_bytes()), None);
        };
        take("a");
        take("b");
        let value =
            |prefix| record(&offsets, "t", "shop", prefix).map(|(_, record)| record.value.clone());
        is(value(Some("b")), Ok(b"b".to_vec()));
        is(value(Some("c")), Err("no offset of connector shop; it knows: shop"));
        is(value(None), Err("several offsets"));
    }
}
