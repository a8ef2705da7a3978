//! The scenes: each passes without a mistake.

use std::time::Duration;

use super::Mistake;
use crate::oracle::{Repeats, Workload, seed};
use crate::scene::{BadRows, Mode, Scene, stop};
use crate::servers::walpost::Walpost;
use crate::servers::wire::{Fault, Protocol, Wire};
use crate::servers::{Kafka, PATIENCE, Postgres, Settings, until, within};

/// A successor that must wait for a transaction's time-out waits for a minute.
const SOON: Duration = Duration::from_secs(45);

fn new_scene(mistake: Mistake, kafka: &Kafka, mode: Mode) -> Scene {
    let database = Postgres::newest().database("mutant");
    let repeats = mode.allows(Repeats::BetweenPeriods);
    let mut scene = Scene::new(database, kafka, mode, repeats);
    scene.settings = mistake.settings(&scene.settings);
    scene
}

/// Dies at this point under load.
#[track_caller]
fn die_at(point: &str, settings: &Settings) {
    let mut walpost = settings.clone().env("WALPOST_CRASH_AT", point).start();
    within(PATIENCE * 2, || (!walpost.is_running()).then_some(()));
    let name = point.split(':').next().unwrap();
    walpost.wait_for_line(&format!("crash point {name} is reached"));
}

#[track_caller]
fn at_work(walpost: &Walpost, time: Duration) {
    let streaming = within(time, || {
        let status = walpost.try_get("/status.json")?.json();
        (status["state"] == "streaming").then_some(())
    });
    assert!(streaming.is_some(), "walpost is not at work after {time:?}: {}", walpost.log());
}

fn generation(walpost: &Walpost) -> String {
    walpost.metrics().sum("walpost_producer_generation", &[]).to_string()
}

#[track_caller]
fn same_generation(walpost: &mut Walpost, before: &str) {
    assert!(walpost.is_running(), "walpost ended: {}", walpost.log());
    let now = generation(walpost);
    assert_eq!(now, before, "walpost began anew: {}", walpost.log());
}

/// Waits until `count` more rows are there.
#[track_caller]
fn flow(scene: &mut Scene, count: usize) {
    let before = scene.deliveries.different();
    until(&format!("{count} more rows"), || {
        scene.deliveries.read();
        (scene.deliveries.different() >= before + count).then_some(())
    });
}

/// Rows are confirmed and no checkpoint was written since: the slot may not have moved.
pub(super) fn unread_checkpoint(mistake: Mistake) {
    let mut scene = new_scene(mistake, Kafka::shared(), Mode::AtLeastOnce);
    scene.begin();
    let workload = Workload::start_gentle(&scene.database, seed());
    let settings = scene.settings.clone();
    for _ in 0..3 {
        die_at("before_checkpoint:20", &settings);
        scene.look();
    }
    let walpost = settings.start();
    scene.conclude(workload, walpost);
}

/// Kafka does not answer for some seconds, while rows come: the generation stays.
pub(super) fn silent_broker(mistake: Mistake) {
    let (kafka, wire, address) =
        Kafka::start_behind(|port, broker| Wire::start_on(port, broker, Protocol::Kafka));
    let database = Postgres::newest().database("mutant");
    let mut scene = Scene::new(database, &kafka, Mode::AtLeastOnce, Repeats::AmongNewer);
    scene.settings = mistake.settings(&scene.settings).env("KAFKA_BOOTSTRAP_SERVERS", address);
    let mut walpost = scene.settings.start();
    walpost.wait_for_state("streaming");
    let workload = Workload::start_gentle(&scene.database, seed());
    flow(&mut scene, 200);
    let before = generation(&walpost);
    wire.strike(Fault::BlackHole);
    std::thread::sleep(Duration::from_secs(10));
    wire.heal();
    flow(&mut scene, 500);
    same_generation(&mut walpost, &before);
    scene.conclude(workload, walpost);
}

/// A death in the middle of a large transaction, of which a part is committed in Kafka.
pub(super) fn half_transaction(mistake: Mistake) {
    let mut scene = new_scene(mistake, Kafka::shared(), Mode::ExactlyOnce);
    scene.settings = scene.settings.clone().env("WALPOST_MAX_IN_FLIGHT", "64KiB");
    scene.begin();
    let workload = Workload::start_large(&scene.database, seed());
    let settings = scene.settings.clone();
    for hit in [12, 20] {
        die_at(&format!("checkpoint_confirmed:{hit}"), &settings);
        scene.look();
    }
    scene.conclude(workload, settings.start());
}

/// A record in the middle of many that the broker refuses.
pub(super) fn refused_record(mistake: Mistake) {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("refused");
    database.create_outbox();
    let topic = format!("{}.order", database.name());
    kafka.make_topic(&topic, 1, &[]);
    let settings = mistake.settings(
        &Settings::new(&database, kafka)
            .env("KAFKA_PROP_BATCH_NUM_MESSAGES", "10")
            .env("KAFKA_PROP_COMPRESSION_CODEC", "none"),
    );
    let walpost = settings.start();
    at_work(&walpost, PATIENCE);
    // Later than walpost asks for the limit, so that it is the broker that refuses.
    database.insert_rows("order", 0, 1, 1);
    kafka.wait_for_records(&topic, 1);
    kafka.configure_topic(&topic, &[("max.message.bytes", "6000")]);
    let refused = 500;
    database.execute(&format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         select 'order', 'key', 'Placed', jsonb_build_object('n', n, 'pad',
             repeat('x', case n when {refused} then 20000 else 10 end))
         from generate_series(1, 2000) as n"
    ));
    let mut last = 0;
    let mut seen = std::collections::BTreeSet::new();
    let records = until("all rows but one", || {
        let records = kafka.records(&topic);
        let ids: std::collections::BTreeSet<_> =
            records.iter().map(|record| record.header("ce_id").unwrap()).collect();
        (ids.len() >= 2_000).then_some(records)
    });
    for record in &records {
        let n = record.value_json()["n"].as_u64().unwrap();
        if n == 0 {
            continue;
        }
        if seen.insert(n) {
            let next = if last + 1 == refused { last + 2 } else { last + 1 };
            assert_eq!(n, next, "rows came out of order");
            last = n;
        }
    }
    stop(walpost);
}

/// The first batch of a partition is refused by a broker that is just being told of the topic, and more
/// batches wait behind it.
pub(super) fn first_batch(mistake: Mistake) {
    let (kafka, proxy, address) = Kafka::start_with_proxy();
    let database = Postgres::newest().database("first_batch");
    database.create_outbox();
    // Whether a second batch leaves before the refusal of the first one comes is a matter of chance each
    // time; in some runs none of twenty topics showed it.
    let count = if mistake.0.is_some() { 100 } else { 20 };
    let topics: Vec<_> = (0..count).map(|n| (format!("kind{n}r"), n)).collect();
    for (kind, _) in &topics {
        kafka.make_topic(&format!("{}.{kind}", database.name()), 1, &[]);
    }
    let settings = mistake.settings(
        &Settings::new(&database, &kafka)
            .env("KAFKA_BOOTSTRAP_SERVERS", &address)
            .env("KAFKA_PROP_BATCH_NUM_MESSAGES", "10"),
    );
    let walpost = settings.start();
    at_work(&walpost, PATIENCE);
    let rows = 500;
    for (kind, n) in &topics {
        let topic = format!("{}.{kind}", database.name());
        proxy.misname(&topic);
        database.insert_rows(kind, n * rows, rows, 7);
        let rows = usize::try_from(rows).unwrap();
        until("all rows", || {
            let records = kafka.records(&topic);
            let ids: std::collections::BTreeSet<_> =
                records.iter().map(|record| record.header("ce_id").unwrap()).collect();
            (ids.len() == rows).then_some(())
        });
        assert!(proxy.has_misnamed());
        let numbers: Vec<_> =
            kafka.records(&topic).iter().map(|it| it.value_json()["n"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted(), "rows came out of order: {:?}", &numbers[..60]);
        assert_eq!(numbers.len(), rows, "rows came twice");
    }
    stop(walpost);
}

/// A death with an open Kafka transaction. Its successor ends it, and goes on at once.
pub(super) fn open_transaction(mistake: Mistake) {
    let mut scene = new_scene(mistake, Kafka::shared(), Mode::ExactlyOnce);
    scene.begin();
    let workload = Workload::start_gentle(&scene.database, seed());
    die_at("before_commit:5", &scene.settings);
    let walpost = scene.settings.start();
    at_work(&walpost, SOON);
    scene.conclude(workload, walpost);
}

/// A second instance waits, and the first one does not notice.
pub(super) fn standby(mistake: Mistake) {
    let mut scene = new_scene(mistake, Kafka::shared(), Mode::ExactlyOnce);
    let mut walpost = scene.settings.start();
    walpost.wait_for_state("streaming");
    let workload = Workload::start_gentle(&scene.database, seed());
    flow(&mut scene, 200);
    let before = generation(&walpost);
    let second = scene.settings.second().start();
    // Two that fence each other wait for a moment only, if at all.
    until("the second one to wait, or the first one to begin anew", || {
        let waits = second.log().contains("another holds the slot");
        (waits || generation(&walpost) != before).then_some(())
    });
    same_generation(&mut walpost, &before);
    flow(&mut scene, 200);
    same_generation(&mut walpost, &before);
    drop(second);
    scene.conclude(workload, walpost);
}

/// A record of an older generation arrives behind those of its successor.
pub(super) fn late_record(mistake: Mistake) {
    let kafka = Kafka::shared();
    let mut scene = new_scene(mistake, kafka, Mode::AtLeastOnce);
    scene.begin();
    let workload = Workload::start_gentle(&scene.database, seed());
    let topic = format!("walpost.checkpoint.{}", scene.database.name());
    let mut old = None;
    for _ in 0..2 {
        let mut walpost = scene.settings.start();
        walpost.wait_for_state("streaming");
        flow(&mut scene, 200);
        stop(walpost);
        scene.deliveries.close_period();
        let newest = kafka.records(&topic).into_iter().rfind(|record| record.value.is_some());
        old = old.or(newest);
    }
    let old = old.unwrap();
    kafka.write(&topic, old.key.as_deref(), old.value.as_deref());
    let walpost = scene.settings.start();
    at_work(&walpost, SOON);
    scene.conclude(workload, walpost);
}

/// A death right after rows were committed in Kafka: their checkpoint was too.
pub(super) fn stored_with_rows(mistake: Mistake) {
    let mut scene = new_scene(mistake, Kafka::shared(), Mode::ExactlyOnce);
    scene.begin();
    let workload = Workload::start_gentle(&scene.database, seed());
    for _ in 0..3 {
        die_at("before_checkpoint:6", &scene.settings);
        scene.look();
    }
    let walpost = scene.settings.start();
    scene.conclude(workload, walpost);
}

/// The slot is lost while Kafka does not answer and the producer's queue is full: the queue is
/// thrown away, or its rows would come long after their successors'.
pub(super) fn drained_queue(mistake: Mistake) {
    let kafka = Kafka::start();
    let database = Postgres::newest().database("mutant");
    let mut scene = Scene::new(database, &kafka, Mode::AtLeastOnce, Repeats::AmongNewer);
    // So that few of the rows are on the wire, and most in the queue.
    scene.settings = mistake.settings(&scene.settings).env("KAFKA_PROP_BATCH_NUM_MESSAGES", "10");
    let mut walpost = scene.settings.start();
    walpost.wait_for_state("streaming");
    // So many that both topics are known.
    Workload::fill(&scene.database, seed(), 3_000);
    scene.deliveries.finish(&scene.database, PATIENCE);
    kafka.freeze();
    Workload::fill(&scene.database, seed(), 10_000);
    until("rows in flight", || {
        (walpost.metrics().sum("walpost_in_flight_events", &[]) > 5_000.0).then_some(())
    });
    scene.database.query(&format!(
        "select pg_terminate_backend(active_pid) from pg_replication_slots
         where slot_name = '{}' and active",
        scene.database.name()
    ));
    // What ended it, the server says or the connection: nothing is read while Kafka takes nothing.
    walpost.wait_for_line(r#""to":"starting""#);
    kafka.thaw();
    kafka.wait_for_leaders();
    let workload = Workload::start_gentle(&scene.database, seed());
    flow(&mut scene, 100);
    scene.conclude(workload, walpost);
    let again = scene.deliveries.all().len() - scene.deliveries.different();
    assert!(again < 1_500, "{again} rows came again, though they had not left the process");
}

/// Rows that lie in the table before a first start that dies before it is over.
pub(super) fn first_start(mistake: Mistake) {
    let mut scene = new_scene(mistake, Kafka::shared(), Mode::AtLeastOnce);
    Workload::fill(&scene.database, seed(), 1_000);
    die_at("slot_created:1", &scene.settings);
    let mut walpost = scene.settings.start();
    walpost.wait_for_state("streaming");
    scene.deliveries.finish(&scene.database, Duration::from_secs(15));
    stop(walpost);
}

/// The table leaves the publication, and its rows are lost in silence; walpost says so.
pub(super) fn lost_publication(mistake: Mistake) {
    let scene = new_scene(mistake, Kafka::shared(), Mode::AtLeastOnce);
    let mut walpost = scene.settings.start();
    walpost.wait_for_state("streaming");
    scene.database.execute("alter publication walpost drop table outbox");
    let halted = within(SOON, || {
        let status = walpost.try_get("/status.json")?.json();
        (status["state"] == "halted").then_some(())
    });
    assert!(halted.is_some(), "walpost did not halt: {}", walpost.log());
}

/// Bad rows among good ones: their dead letters are waited for like events.
pub(super) fn dead_letters(mistake: Mistake) {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("mutant");
    let mut scene = Scene::new(database, kafka, Mode::AtLeastOnce, Repeats::AmongNewer);
    scene.settings = BadRows::prepare(&scene.database, &mistake.settings(&scene.settings));
    let mut walpost = scene.settings.start();
    walpost.wait_for_state("streaming");
    let before = generation(&walpost);
    let bad_rows = BadRows::start(&scene.database);
    let workload = Workload::start_gentle(&scene.database, seed());
    // Looked at meanwhile: a generation that ends with each bad row lets hardly any other through.
    until("300 rows beside the bad ones", || {
        same_generation(&mut walpost, &before);
        scene.deliveries.read();
        (scene.deliveries.different() >= 300).then_some(())
    });
    bad_rows.conclude(&scene.database, kafka, scene.mode);
    same_generation(&mut walpost, &before);
    scene.conclude(workload, walpost);
}

/// After a stop the slot stands where the checkpoint does; the rows come while it stops.
pub(super) fn clean_stop(mistake: Mistake) {
    let mut scene = new_scene(mistake, Kafka::shared(), Mode::AtLeastOnce);
    let workload = Workload::start_gentle(&scene.database, seed());
    // A stop in the moment after a status update has nothing left to say.
    for _ in 0..4 {
        let mut walpost = scene.settings.start();
        walpost.wait_for_state("streaming");
        flow(&mut scene, 200);
        stop(walpost);
        let flushed = scene.flushed().unwrap();
        let stored = scene.checkpoints.newest().unwrap();
        assert_eq!(
            flushed, stored.resume_lsn,
            "the slot is behind the checkpoint after a stop: {flushed:X}, {stored:X?}"
        );
        scene.deliveries.close_period();
    }
    scene.conclude(workload, scene.settings.start());
}
