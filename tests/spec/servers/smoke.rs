//! Goal: the servers of the tests do what their names say, or no other test proves anything.
//! Method: one use of each.

use std::io::{Read, Write};
use std::net::TcpListener;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{Kafka, Metrics, PATIENCE, Postgres, Settings, http, until};

#[test]
fn the_oldest_and_the_newest_postgres_decode_logically() {
    for (server, major) in [(Postgres::oldest(), 14), (Postgres::newest(), 18)] {
        let database = server.database("smoke");
        assert_eq!(server.major(), major);
        assert_eq!(
            database.value("select current_setting('server_version_num')::int / 10000"),
            major.to_string()
        );
        database.create_outbox();
        database.execute("create publication walpost for table outbox with (publish = 'insert')");
        database.value(&format!(
            "select lsn from pg_create_logical_replication_slot('{}', 'pgoutput')",
            database.name()
        ));
        database.insert_rows("order", 1, 10, 3);
        let keys = database.query("select distinct aggregateid from outbox order by 1");
        assert_eq!(keys, ["key-0", "key-1", "key-2"].map(|key| vec![Some(key.to_owned())]));
        let changes = database.value(&format!(
            "select count(*) from pg_logical_slot_peek_binary_changes('{}', null, null,
             'proto_version', '1', 'publication_names', 'walpost')",
            database.name()
        ));
        // Begin, Relation, ten Inserts, Commit.
        assert_eq!(changes, "13");
    }
}

#[test]
fn a_dropped_database_leaves_no_slot() {
    let server = Postgres::oldest();
    let database = server.database("left");
    let name = database.name().to_owned();
    database.value(&format!(
        "select lsn from pg_create_logical_replication_slot('{name}', 'pgoutput')"
    ));
    drop(database);
    let admin = super::Session::open(&server.url("postgres"));
    let slots = format!("select count(*) from pg_replication_slots where slot_name = '{name}'");
    assert_eq!(admin.value(&slots), "0");
}

#[test]
fn a_postgres_of_ones_own_comes_back_with_its_data() {
    let server = Postgres::start_with(18, &["work_mem=5MB"]);
    let database = server.database("own");
    database.execute("create table t (n int); insert into t values (1)");
    for stop in [Postgres::stop_fast, Postgres::stop_immediate, Postgres::kill] {
        stop(&server);
        assert!(super::Session::try_open(database.url()).is_err(), "it has stopped");
        server.start_again();
        assert_eq!(database.value("select n from t"), "1");
    }
    server.stop_fast();
    server.start_again_with(&["work_mem=6MB"]);
    assert_eq!(database.value("show work_mem"), "6MB");
    assert!(server.path().join("log").exists());
    assert!(server.url("x").contains(&server.port().to_string()));
}

#[test]
fn two_sessions_have_two_transactions() {
    let database = Postgres::newest().database("sessions");
    database.execute("create table t (n int)");
    let (first, second) = (database.session(), database.session());
    first.execute("begin; insert into t values (1)");
    assert_eq!(second.value("select count(*) from t"), "0");
    first.execute("commit");
    assert_eq!(second.query("select n, null from t"), [[Some("1".to_owned()), None]]);
    assert!(second.try_query("select nonsense").is_err());
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let kafka = Kafka::shared();
    kafka.create_topic("smoke.read", 3, &["retention.ms=-1"]);
    let producer = producer(kafka, &[]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "b", value: Some("1") })
        .insert(Header { key: "a", value: None::<&str> });
    let record = BaseRecord::to("smoke.read").partition(2).key("k").payload("{\"a\":1}");
    producer.send(record.headers(headers)).unwrap();
    producer.send(BaseRecord::<[u8], [u8]>::to("smoke.read").partition(0)).unwrap();
    producer.flush(PATIENCE).unwrap();

    let records = kafka.records("smoke.read");
    assert_eq!(records.iter().map(|record| record.partition).collect::<Vec<_>>(), [0, 2]);
    assert_eq!((&records[0].key, &records[0].value), (&None, &None));
    let full = &records[1];
    assert_eq!((full.key_text(), full.value_text(), full.offset), ("k", "{\"a\":1}", 0));
    assert_eq!(full.value_json()["a"], 1);
    assert_eq!(full.header("b"), Some("1"));
    assert_eq!(full.header("c"), None);
    assert_eq!(full.headers, [("b".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None)]);
    assert!(full.timestamp.is_some());
    assert_eq!(kafka.records("smoke.unknown"), []);
    assert!(kafka.topics().contains(&"smoke.read".to_owned()));
    assert!(!kafka.topics().contains(&"smoke.unknown".to_owned()), "reading makes no topic");
}

#[test]
fn a_committed_reader_does_not_see_an_aborted_transaction() {
    let kafka = Kafka::shared();
    let producer = producer(kafka, &[("transactional.id", "smoke")]);
    producer.init_transactions(PATIENCE).unwrap();
    for commit in [false, true] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<str, str>::to("smoke.tx").payload("x")).unwrap();
        producer.flush(PATIENCE).unwrap();
        if commit {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    assert_eq!(kafka.records_of(&["smoke.tx"]).len(), 2);
    assert_eq!(kafka.committed_records("smoke.tx").len(), 1);
}

#[test]
fn a_kafka_of_ones_own_freezes_and_comes_back_with_its_records() {
    let kafka = Kafka::start_with(&["num.partitions=2"]);
    let producer = producer(&kafka, &[]);
    let send = |n: usize| {
        producer.send(BaseRecord::<str, str>::to("t").key("k").payload("x")).unwrap();
        producer.flush(PATIENCE).unwrap();
        assert_eq!(kafka.wait_for_records("t", n).len(), n);
    };
    send(1);
    kafka.freeze();
    producer.send(BaseRecord::<str, str>::to("t").key("k").payload("x")).unwrap();
    assert!(
        producer.flush(std::time::Duration::from_millis(300)).is_err(),
        "a frozen broker is silent"
    );
    kafka.thaw();
    send(3);
    kafka.kill();
    kafka.start_again();
    send(4);
    kafka.stop();
    kafka.start_again();
    send(5);
    assert!(kafka.path().join("log").exists());
}

#[test]
fn the_program_can_be_run_to_its_end() {
    let finished = Settings::none().arguments(&["--help"]).run();
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
}

#[test]
fn a_page_is_read_with_its_status() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 64];
        let length = stream.read(&mut request).unwrap();
        assert!(request[..length].starts_with(b"GET /readyz HTTP/1.0\r\n"));
        stream.write_all(b"HTTP/1.0 503 No\r\nContent-Type: text/plain\r\n\r\nwhy\n").unwrap();
    });
    let response = http::get(address, "/readyz").unwrap();
    server.join().unwrap();
    assert_eq!((response.status, response.body.as_str()), (503, "why\n"));
    assert_eq!(response.headers, [("content-type".to_owned(), "text/plain".to_owned())]);
    let gone = until("the port to be free again", || http::get(address, "/").err());
    assert_eq!(gone.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_metric_is_found_by_name_and_labels() {
    let metrics = Metrics::parse(
        "# HELP a one\n# TYPE a counter\na{x=\"1\",y=\"q\\\"},{\"} 2\na{x=\"2\",y=\"\"} 3.5\n\nb 1e3\n",
    );
    assert_eq!(metrics.get("a", &[("x", "2")]), Some(3.5));
    assert_eq!(metrics.get("a", &[("y", "q\"},{")]), Some(2.0));
    assert_eq!(metrics.get("b", &[]), Some(1000.0));
    assert_eq!(metrics.get("c", &[]), None);
    assert!((metrics.sum("a", &[]) - 5.5).abs() < f64::EPSILON);
    assert_eq!(metrics.names(), ["a", "b"]);
}

fn producer(kafka: &Kafka, properties: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.create().unwrap()
}
