//! Streams stop alone, and what the process says of itself says which.

use super::{check_order, shards, table, topic};
use crate::checkpoint_command::done;
use crate::servers::{Kafka, Postgres, until};

#[test]
fn one_halted_shard_does_not_stop_the_others_and_readiness_names_it() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("shards_halt");
    database.execute(&table("integer", false));
    let settings = shards(&database, kafka, 2);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    assert_eq!(walpost.get("/readyz").body, "ok: 2 shards: streaming\n");
    let insert = |first: u32| {
        database.execute(&format!(
            "insert into outbox (aggregateid, payload)
             select n % 40, jsonb_build_object('n', n) from generate_series({first}, {first} + 99) n"
        ));
    };
    insert(0);
    kafka.wait_for_records(&topic(&database), 100);

    database.execute("alter publication walpost_1 set (publish = 'insert, update')");
    let ready = until("a shard to halt", || {
        Some(walpost.get("/readyz")).filter(|answer| answer.status == 503)
    });
    assert!(ready.body.starts_with("no: shard 1 of 2: halted (publication_changed)"), "{ready:?}");
    assert_eq!(walpost.get("/livez").status, 200);
    let metrics = walpost.metrics();
    let halted =
        |shard| metrics.sum("walpost_halted", &[("shard", shard), ("code", "publication_changed")]);
    assert_eq!((halted("0"), halted("1")), (0.0, 1.0));
    let status = walpost.get("/status.json").json();
    assert_eq!((&status["state"], &status["shard"]), (&"halted".into(), &1.into()));
    assert_eq!(status["shards"][0]["state"], "streaming");
    assert!(walpost.get("/").body.contains("/?shard=0"));
    assert!(walpost.get("/?shard=0").body.contains("All is well"));

    insert(100);
    let own = "select count(*) from outbox where (coalesce(hashint4(aggregateid), 0) & 1) = 0";
    let sent = 100
        + database
            .value(&format!("{own} and (payload->>'n')::int >= 100"))
            .parse::<usize>()
            .unwrap();
    assert!(sent > 100 && sent < 200, "{sent}");
    kafka.wait_for_records(&topic(&database), sent);
    assert_eq!(kafka.records(&topic(&database)).len(), sent);

    let which = settings.clone().arguments(&["checkpoint", "accept", "--yes"]).run();
    assert!(which.stderr.contains("--shard 0 to --shard 1"), "{which:?}");
    done(&settings, &["checkpoint", "accept", "--shard", "1", "--yes"]);
    check_order(&kafka.wait_for_records(&topic(&database), 200), 200);
    until("both shards to be ready", || (walpost.get("/readyz").status == 200).then_some(()));
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

#[test]
fn a_second_process_waits_for_every_shard_and_takes_over_all_of_them() {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("shards_standby");
    database.execute(&table("integer", false));
    let settings = shards(&database, kafka, 2);
    let mut first = settings.start();
    first.wait_until_ready();
    let mut second = settings.second().start();
    second.wait_until_ready();
    assert!(second.get("/readyz").body.starts_with("ok: 2 shards: standby"), "{}", second.log());
    first.kill();
    until("both shards to be taken over", || {
        let leaders = second.metrics().sum("walpost_leader", &[]);
        (leaders > 1.5).then_some(())
    });
    database.execute(
        "insert into outbox (aggregateid, payload)
         select n % 40, jsonb_build_object('n', n) from generate_series(1, 100) n",
    );
    check_order(&kafka.wait_for_records(&topic(&database), 100), 100);
    assert_eq!(second.metrics().sum("walpost_handoffs_total", &[]), 2.0);
}
