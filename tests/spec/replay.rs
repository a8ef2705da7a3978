//! Goal: a replay sends what its plan says, once, whatever happens to it, and touches nothing else.
//! Method: plans compared with what arrives, record by record; runs killed at random and resumed by
//! the command that they printed; slot and checkpoint compared before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::checkpoint_command::{arrived, command, done};
use crate::servers::{Kafka, Postgres, Record, Settings, figure, until};

#[track_caller]
fn plan(settings: &Settings, arguments: &[&str]) -> Value {
    let printed = done(settings, &[&["replay", "--json"], arguments].concat());
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// The numbers of the records, in the order of the topic.
fn numbers(records: &[Record]) -> Vec<u64> {
    let number = |record: &Record| {
        let value = record.value_json();
        value["n"].as_u64().or_else(|| value["data"]["n"].as_u64()).unwrap()
    };
    records.iter().map(number).collect()
}

/// A record less its place and what a replay adds.
fn content(record: &Record) -> Record {
    let mut content = record.clone();
    content.headers.retain(|(name, _)| name != "walpost-replay");
    Record { topic: String::new(), partition: 0, offset: 0, timestamp: None, ..content }
}

fn bytes(record: &Record) -> u64 {
    let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + length(value));
    u64::try_from(length(&record.key) + length(&record.value) + headers.sum::<usize>()).unwrap()
}

/// The command that a run printed for its resumption, as arguments.
#[track_caller]
fn resumption(said: &str) -> Vec<String> {
    let line = said.lines().find_map(|line| line.split_once("walpost replay "));
    let (_, words) = line.unwrap_or_else(|| panic!("no command in {said}"));
    assert!(!words.contains('\''), "no word here needs quotes: {words}");
    std::iter::once("replay").chain(words.split(' ')).map(str::to_owned).collect()
}

/// What must not be touched: the slot's place and all of the checkpoint.
#[track_caller]
fn untouched(settings: &Settings) -> Value {
    let shown: Value =
        serde_json::from_str(&done(settings, &["checkpoint", "show", "--json"])).unwrap();
    json!({"checkpoint": shown["checkpoint"], "place": shown["slot"]["confirmed_flush_lsn"]})
}

#[test]
fn what_the_dry_run_says_is_what_is_sent() {
    for (server, mode) in [(Postgres::oldest(), "binary"), (Postgres::newest(), "structured")] {
        let (database, kafka) = (server.database("replay"), Kafka::shared());
        let (name, copy) = (database.name(), format!("{}.copy", database.name()));
        database.create_outbox();
        let settings = Settings::new(&database, kafka).env("WALPOST_CE_MODE", mode);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        database.insert_rows("order", 1, 40, 3);
        database.insert_rows("parcel", 41, 10, 3);
        database.insert_rows("no topic", 51, 2, 1);
        let orders = kafka.wait_for_records(&format!("{name}.order"), 40);
        let parcels = kafka.wait_for_records(&format!("{name}.parcel"), 10);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0);
        let before = untouched(&settings);

        let into = ["--all", "--to-topic", &copy];
        let dry = plan(&settings, &into);
        assert!(!kafka.topics().contains(&copy), "a dry run makes no topic");
        let act = plan(&settings, &[&into[..], &["--yes"]].concat());
        let sent = kafka.wait_for_records(&copy, 50);
        assert_eq!(sent.len(), 50);
        check_same(&dry, &act, 50);
        assert_eq!(dry["topics"][0]["bytes"], sent.iter().map(bytes).sum::<u64>());
        assert_eq!(dry["bad_rows"][0]["reason"], "illegal_name");
        assert_eq!(dry["bad_rows"][0]["rows"], 2);
        assert_eq!(dry["tables"], json!([{"table": "public.outbox", "rows": 52}]));
        let run = act["run"].as_str().unwrap();
        assert!(sent.iter().all(|record| record.header("walpost-replay") == Some(run)));
        let first: Vec<_> = orders.iter().chain(&parcels).map(content).collect();
        assert_eq!(sent.iter().map(content).collect::<Vec<_>>(), first, "the same events");

        // To their own topics, on purpose.
        let same = ["--all", "--same-topic"];
        let (dry, act) =
            (plan(&settings, &same), plan(&settings, &["--all", "--same-topic", "--yes"]));
        check_same(&dry, &act, 50);
        let all = kafka.wait_for_records(&format!("{name}.order"), 80);
        assert_eq!(all.len(), 80);
        assert_eq!(numbers(&all[40..]), (1..=40).collect::<Vec<_>>());
        assert_eq!(kafka.records(&format!("{name}.parcel")).len(), 20);
        assert_eq!(untouched(&settings), before, "slot and checkpoint");
        assert!(kafka.records(&format!("{name}.dlq")).len() == 2, "no letter is written again");
    }
}

/// The two plans are the same but for the run, and all of it was sent.
#[track_caller]
fn check_same(dry: &Value, act: &Value, events: u64) {
    assert_eq!((&dry["sent"], &act["sent"]), (&Value::Null, &json!(events)));
    assert_eq!(dry["events"], events);
    let stripped = |plan: &Value| {
        let mut plan = plan.as_object().unwrap().clone();
        plan.retain(|name, _| name != "run" && name != "sent");
        plan
    };
    assert_eq!(stripped(dry), stripped(act));
}

#[test]
fn rows_are_selected_by_time_id_aggregate_and_type() {
    let (database, kafka) = (Postgres::newest().database("replay_of"), Kafka::shared());
    database.create_outbox();
    database.execute(
        "insert into outbox (aggregatetype, aggregateid, type, payload, created_at)
         select case when n <= 6 then 'order' else 'parcel' end, 'key-' || n % 3,
                case when n % 2 = 0 then 'Placed' else 'Paid' end, jsonb_build_object('n', n),
                '2026-01-01 00:00:00+00'::timestamptz + n * interval '1 hour'
         from generate_series(1, 10) n",
    );
    let settings = Settings::new(&database, kafka);
    let id = |n: u32| database.value(&format!("select id from outbox where payload->>'n' = '{n}'"));
    let (third, ninth) = (id(3), id(9));
    let cases: &[(&[&str], &[u64])] = &[
        (&["--all"], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (&["--since", "2026-01-01T03:00:00Z", "--until", "2026-01-01T05:00:00Z"], &[3, 4, 5]),
        (&["--since", "2026-01-01T09:00"], &[9, 10]),
        (&["--until", "2026-01-01"], &[]),
        (&["--id", &third, "--id", &ninth.to_uppercase()], &[3, 9]),
        (&["--aggregate", "key-1"], &[1, 4, 7, 10]),
        (&["--aggregate", "key-1", "--type", "Placed", "--aggregate-type", "order"], &[4]),
        (&["--type", "Paid", "--until", "2026-01-01T04:00:00Z"], &[1, 3]),
    ];
    for (number, (selection, expected)) in cases.iter().enumerate() {
        let topic = format!("{}.case{number}", database.name());
        kafka.make_topic(&topic, 1, &[]);
        let arguments = [&["replay", "--to-topic", &topic, "--yes"], *selection].concat();
        done(&settings, &arguments);
        assert_eq!(numbers(&kafka.records(&topic)), *expected, "{selection:?}");
    }
    let refused = command(&settings, &["replay", "--id", "no-uuid", "--same-topic"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("invalid input syntax for type uuid"), "{}", refused.stderr);
}

#[test]
fn a_replay_that_is_killed_at_random_is_resumed_and_sends_each_event_once() {
    let (database, kafka) = (Postgres::newest().database("replay_kill"), Kafka::shared());
    let topic = format!("{}.copy", database.name());
    kafka.make_topic(&topic, 3, &[]);
    database.create_outbox();
    // Two rows of one id: both are events.
    database.execute("alter table outbox drop constraint outbox_pkey");
    database.insert_rows("order", 1, 6_000, 50);
    database
        .execute("insert into outbox select * from outbox where payload->>'n' in ('10', '5990')");
    let settings = Settings::new(&database, kafka);
    let begin = ["replay", "--all", "--to-topic", &topic, "--rate", "3000", "--yes"];
    let mut arguments: Vec<_> = begin.map(str::to_owned).to_vec();
    let (mut kills, mut seed) = (0_u32, u64::from(std::process::id()));
    loop {
        let words: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut replay = settings.clone().arguments(&words).start();
        let said = replay.wait_for_line("if this is interrupted: ");
        arguments = resumption(&said);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if kills < 4 {
            // At any moment of it: also while the topics are looked up.
            std::thread::sleep(Duration::from_millis(seed >> 33 & 0x1FF));
            replay.kill();
            kills += 1;
            continue;
        }
        assert_eq!(replay.wait(), 0, "{}", replay.log());
        break;
    }
    let records = kafka.records(&topic);
    let mut times = BTreeMap::new();
    for record in &records {
        *times.entry(record.value_json()["n"].as_u64().unwrap()).or_insert(0) += 1;
    }
    let expected: BTreeMap<_, _> =
        (1..=6_000).map(|n| (n, if n == 10 || n == 5_990 { 2 } else { 1 })).collect();
    assert_eq!(times, expected, "after {kills} kills");
    // In order within each key, across the kills.
    let mut last = BTreeMap::new();
    for record in &records {
        let n = record.value_json()["n"].as_u64().unwrap();
        if n != 10 && n != 5_990 {
            let before = last.insert(record.key_text().to_owned(), n);
            assert!(before < Some(n), "{before:?} before {n}");
        }
    }
    let runs: std::collections::BTreeSet<_> =
        records.iter().map(|record| record.header("walpost-replay").unwrap()).collect();
    assert_eq!(runs.len(), 1, "one run");
    // Once more: nothing is left to send.
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let again = done(&settings, &words);
    assert!(again.contains("done        0 sent and confirmed, and 6002 before"), "{again}");
    assert_eq!(kafka.records(&topic).len(), 6_002);
    figure(&format!("a replay of 6002 events was killed {kills} times; each was sent once"));
}

#[test]
fn a_signal_ends_a_replay_in_order_and_a_frozen_one_is_not_resumed_beside_it() {
    let (database, kafka) = (Postgres::newest().database("replay_stop"), Kafka::shared());
    let topic = format!("{}.copy", database.name());
    database.create_outbox();
    database.insert_rows("order", 1, 1_000, 5);
    let settings = Settings::new(&database, kafka);
    let begin = ["replay", "--all", "--to-topic", &topic, "--rate", "100", "--yes"];
    let mut replay = settings.clone().arguments(&begin).start();
    let resume = resumption(&replay.wait_for_line("if this is interrupted: "));
    let resume: Vec<_> = resume.iter().map(String::as_str).collect();
    kafka.wait_for_records(&topic, 10);
    replay.freeze();
    let beside = command(&settings, &resume);
    assert_eq!(beside.code, 1);
    assert!(beside.stderr.contains("still being sent by another process"), "{}", beside.stderr);
    replay.thaw();
    replay.terminate();
    assert_eq!(replay.wait(), 1);
    let said = replay.log();
    let confirmed = kafka.records(&topic).len();
    assert!(said.contains(&format!("kafka has confirmed {confirmed} of 1000 events")), "{said}");
    assert!(said.contains("go on with: walpost replay --all "), "{said}");
    let fast = resume.iter().copied().filter(|word| *word != "--rate" && *word != "100");
    done(&settings, &fast.collect::<Vec<_>>());
    let sent = numbers(&kafka.records(&topic));
    assert_eq!(sent, (1..=1_000).collect::<Vec<_>>());

    // A run is bound to what it was asked for.
    let run = resume[resume.iter().position(|word| *word == "--run").unwrap() + 1];
    let other = command(
        &settings,
        &["replay", "--aggregate=key-1", "--to-topic", &topic, "--run", run, "--yes"],
    );
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("was asked for other rows"), "{}", other.stderr);
    assert_eq!(kafka.records(&topic).len(), 1_000);
}

#[test]
fn a_relay_beside_a_replay_sends_its_rows_and_keeps_its_place() {
    let (database, kafka) = (Postgres::newest().database("replay_live"), Kafka::shared());
    let topic = format!("{}.order", database.name());
    database.create_outbox();
    let settings = Settings::new(&database, kafka);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("order", 1, 2_000, 7);
    kafka.wait_for_records(&topic, 2_000);
    let generation = untouched(&settings)["checkpoint"]["generation"].clone();
    let beside = settings.second();
    let mut replay = beside
        .clone()
        .arguments(&["replay", "--all", "--same-topic", "--rate", "2000", "--yes"])
        .start();
    replay.wait_for_line("if this is interrupted: ");
    for n in 0..20 {
        database.insert_rows("order", 10_000 + n * 10, 10, 3);
    }
    assert_eq!(replay.wait(), 0, "{}", replay.log());
    let records = kafka.wait_for_records(&topic, 4_200);
    assert_eq!(records.len(), 4_200, "each once more, and the new rows once");
    let replayed: Vec<_> = records
        .iter()
        .filter(|record| record.header("walpost-replay").is_some())
        .cloned()
        .collect();
    assert_eq!(numbers(&replayed), (1..=2_000).collect::<Vec<_>>());
    let relayed: Vec<_> = records
        .iter()
        .filter(|record| record.header("walpost-replay").is_none())
        .cloned()
        .collect();
    let expected: Vec<_> = (1..=2_000).chain(10_000..10_200).collect();
    assert_eq!(numbers(&relayed), expected);
    assert_eq!(untouched(&settings)["checkpoint"]["generation"], generation, "no restart");
    let metrics = walpost.metrics();
    assert!((metrics.sum("walpost_postgres_reconnects_total", &[])).abs() < f64::EPSILON);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("order", 20_000, 1, 1);
    let records = kafka.wait_for_records(&topic, 4_201);
    assert_eq!(records.len(), 4_201, "and a restart repeats nothing");
    assert!(arrived(kafka, &topic).contains(&20_000));
}

#[test]
fn a_compacted_topic_a_missing_one_and_rows_without_time_are_warned_of() {
    let (database, kafka) = (Postgres::oldest().database("replay_warn"), Kafka::shared());
    let name = database.name();
    database.create_outbox();
    database.execute("alter table outbox alter created_at drop not null");
    database.insert_rows("order", 1, 3, 3);
    database.execute("update outbox set created_at = null where payload->>'n' = '2'");
    let settings = Settings::new(&database, kafka);
    let compacted = format!("{name}.state");
    kafka.make_topic(&compacted, 1, &[("cleanup.policy", "compact")]);
    let said = done(&settings, &["replay", "--all", "--to-topic", &compacted]);
    assert!(said.contains(&format!("warning     compacted: {compacted}: ")), "{said}");
    assert!(said.contains("1 event without a time of its own"), "{said}");
    assert!(said.contains("nothing was sent; --yes sends them"), "{said}");
    let json = plan(&settings, &["--since", "2020-01-01", "--same-topic", "--rate", "1"]);
    assert_eq!((&json["events"], &json["seconds"]), (&json!(2), &json!(2)));
    assert_eq!(json["topics"][0]["exists"], false);
    let warnings = json["warnings"].to_string();
    assert!(
        warnings.contains("1 row without a time, which --since and --until leave out"),
        "{warnings}"
    );
    assert!(warnings.contains("does not exist"), "{warnings}");
    // What walpost keeps for itself is no target.
    let own = format!("{name}.dlq");
    let refused = command(&settings, &["replay", "--all", "--to-topic", &own, "--yes"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("keeps for itself"), "{}", refused.stderr);
}

#[test]
fn a_large_row_beyond_the_brokers_limit_stops_a_replay_with_what_to_do() {
    let (database, kafka) = (Postgres::newest().database("replay_big"), Kafka::shared());
    let topic = format!("{}.small", database.name());
    kafka.make_topic(&topic, 1, &[("max.message.bytes", "2000")]);
    database.create_outbox();
    database.insert_rows("order", 1, 5, 1);
    database.execute(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         values ('order', 'key-0', 'Placed', jsonb_build_object('n', 6, 'x', (select string_agg(md5(n::text), '') from generate_series(1, 200) n)))",
    );
    database.insert_rows("order", 7, 3, 1);
    // All rows would be in one batch, which the topic refuses whole.
    let settings = Settings::new(&database, kafka).env("KAFKA_PROP_LINGER_MS", "1000");
    let arguments = ["replay", "--all", "--to-topic", &topic, "--rate", "50", "--yes"];
    let stopped = command(&settings, &arguments);
    assert_eq!(stopped.code, 1, "{}", stopped.stdout);
    assert!(stopped.stderr.contains("max.message.bytes"), "{}", stopped.stderr);
    assert_eq!(numbers(&kafka.records(&topic)), [1, 2, 3, 4, 5], "none behind it");
    let bootstrap = kafka.bootstrap();
    kafka.run(&format!(
        "kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {topic} --add-config max.message.bytes=100000"
    ));
    let resume = resumption(&stopped.stderr);
    until("the broker to take it", || {
        let words: Vec<_> = resume.iter().map(String::as_str).collect();
        (command(&settings, &words).code == 0).then_some(())
    });
    assert_eq!(numbers(&kafka.records(&topic)), (1..=9).collect::<Vec<_>>());
}

#[test]
fn the_help_names_the_selectors_and_a_wrong_command_line_is_refused() {
    let help = Settings::none().arguments(&["replay", "--help"]).run();
    assert_eq!(help.code, 0);
    for word in [
        "--since",
        "--until",
        "--id",
        "--aggregate",
        "--type",
        "--to-topic",
        "--same-topic",
        "--rate",
        "--dry-run",
        "--yes",
        "--run",
        "--json",
    ] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    for arguments in [
        &["replay", "--same-topic"][..],
        &["replay", "--all"],
        &["replay", "--all", "--same-topic", "--to-topic", "x"],
        &["replay", "--all", "--since", "1h", "--same-topic"],
        &["replay", "--since", "yesterday", "--same-topic"],
        &["replay", "--all", "--same-topic", "--run", "x"],
        &["replay", "--all", "--same-topic", "--dry-run", "--yes"],
        &["replay", "--all", "--same-topic", "--rate", "0"],
    ] {
        let refused = Settings::none().arguments(arguments).run();
        assert_eq!(refused.code, 2, "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn a_table_far_larger_than_memory_is_replayed_in_little_of_it() {
    let (database, kafka) = (Postgres::newest().database("replay_mem"), Kafka::shared());
    let topic = format!("{}.copy", database.name());
    kafka.make_topic(&topic, 1, &[]);
    database.create_outbox();
    // 240 MB of payloads, read twice: for the plan, and to be sent.
    database.execute(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         select 'order', 'k' || n % 9, 'Placed', jsonb_build_object('n', n, 'x', repeat(md5(n::text), 125))
         from generate_series(1, 60000) n",
    );
    let settings = Settings::new(&database, kafka).arguments(&[
        "replay",
        "--all",
        "--to-topic",
        &topic,
        "--yes",
    ]);
    let mut replay = settings.start();
    let mut peak = 0;
    until("the end of the replay", || {
        if !replay.is_running() {
            return Some(());
        }
        // It may end between the two questions; what was seen before counts.
        let status = std::fs::read_to_string(format!("/proc/{}/status", replay.pid()));
        let line =
            status.ok()?.lines().find_map(|line| Some(line.strip_prefix("VmHWM:")?.to_owned()));
        let kilobytes = line?.trim().trim_end_matches(" kB").parse::<u64>().ok()?;
        peak = peak.max(kilobytes * 1024);
        None
    });
    assert_eq!(replay.wait(), 0, "{}", replay.log());
    assert!(replay.log().contains("done        60000 sent"), "{}", replay.log());
    figure(&format!("a replay of 240 MB took {} MB at most", peak / 1_000_000));
    assert!((1..120_000_000).contains(&peak), "{peak} bytes");
}
