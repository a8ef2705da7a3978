//! Goal: what is published is what was committed, as it was inserted, whoever reads it.
//! Method: everything that a transaction can do to a row; sessions with odd settings.

use crate::servers::{Database, Kafka, Postgres, Settings};

/// The outbox of these tests: ids are chosen by the test.
const TABLE: &str = "create table outbox (id int primary key, aggregatetype text not null,
    aggregateid text not null, type text not null, payload jsonb)";

fn row(id: u32) -> String {
    format!("insert into outbox values ({id}, 'order', 'k', 'Placed', '{{\"n\": {id}}}')")
}

/// Waits for the row with the id `last`, and returns the ids that were published, in order.
#[track_caller]
fn published(database: &Database, kafka: &Kafka, last: &str) -> Vec<String> {
    let topic = format!("{}.order", database.name());
    let ids = || -> Vec<String> {
        let records = kafka.records(&topic);
        records.iter().map(|record| record.header("ce_id").unwrap().to_owned()).collect()
    };
    crate::servers::until(&format!("row {last}"), || {
        ids().iter().any(|id| id == last).then_some(())
    });
    ids()
}

#[test]
fn only_what_was_committed_is_published_in_the_order_of_commits() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("committed"), Kafka::shared());
        database.execute(TABLE);
        let mut walpost = Settings::new(&database, kafka).start();
        walpost.wait_until_ready();
        let (first, second) = (database.session(), database.session());

        first.execute(&format!("begin; {}; rollback", row(1)));
        first.execute(&format!("begin; {}; {}; commit", row(2), row(3)));
        first.execute(&format!(
            "begin; {}; savepoint s; {}; rollback to s; {}; savepoint t; {}; release t; commit",
            row(4),
            row(5),
            row(6),
            row(7)
        ));
        // Begun first, committed last: the order is that of commits.
        first.execute(&format!("begin; {}", row(8)));
        second.execute(&row(9));
        first.execute("commit");
        // A session that dies with its transaction open.
        first.execute(&format!("begin; {}", row(10)));
        drop(first);
        assert!(second.try_query(&format!("begin; {}; select 1 / 0", row(11))).is_err());
        second.execute("rollback");
        second.execute(&row(12));
        assert_eq!(published(&database, kafka, "12"), ["2", "3", "4", "6", "7", "9", "8", "12"]);
    }
}

#[test]
fn a_row_inserted_and_deleted_in_one_transaction_is_published() {
    let (database, kafka) = (Postgres::newest().database("transient"), Kafka::shared());
    database.execute(TABLE);
    let mut walpost = Settings::new(&database, kafka).start();
    walpost.wait_until_ready();
    database.execute(&format!("begin; {}; delete from outbox where id = 1; commit", row(1)));
    // What is published is the row as it was inserted.
    let change =
        "update outbox set payload = '{\"n\": \"changed\"}', type = 'Changed' where id = 2";
    database.execute(&format!("begin; {}; {change}; delete from outbox; commit", row(2)));
    database.execute(&row(3));
    assert_eq!(published(&database, kafka, "3"), ["1", "2", "3"]);
    let records = kafka.records(&format!("{}.order", database.name()));
    assert_eq!(records[1].value_text(), "{\"n\": 2}");
    assert_eq!(records[1].header("ce_type"), Some("Placed"));
}

#[test]
fn updates_deletes_and_truncates_publish_nothing() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("changes"), Kafka::shared());
        database.execute(TABLE);
        let mut walpost = Settings::new(&database, kafka).start();
        walpost.wait_until_ready();
        for id in 1..=3 {
            database.execute(&row(id));
        }
        database.execute("update outbox set payload = '{\"n\": 0}'");
        database.execute("update outbox set id = 20 where id = 2");
        database.execute("delete from outbox where id = 1");
        database.execute("truncate outbox");
        // On conflict: one row is new, one is an update.
        database.execute(&row(4));
        let upsert = "on conflict (id) do update set type = 'Again'";
        database.execute(&format!("{} {upsert}", row(4)));
        database.execute(&format!("{} {upsert}", row(5)));
        database.execute(&row(6));
        assert_eq!(published(&database, kafka, "6"), ["1", "2", "3", "4", "5", "6"]);
    }
}

#[test]
fn rows_of_a_copy_are_published_each_once_and_in_order() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("copy"), Kafka::shared());
        database.execute(TABLE);
        let mut walpost = Settings::new(&database, kafka).start();
        walpost.wait_until_ready();
        // All rows of a COPY share one LSN, which is also that of the commit before.
        database.execute(&row(1));
        let rows = r"for n in $(seq 2 1001); do printf '%d\torder\tk\tPlaced\t{}\n' $n; done";
        database.execute(&format!("copy outbox from program $${rows}$$"));
        database.execute(&row(1002));
        let expected: Vec<_> = (1..=1002).map(|n| n.to_string()).collect();
        assert_eq!(published(&database, kafka, "1002"), expected);
    }
}

#[test]
fn settings_of_roles_and_databases_do_not_show() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("odd_settings"), Kafka::shared());
        let name = database.name();
        database.execute(
            "create table outbox (id int primary key, aggregatetype text, aggregateid bytea,
             type text, payload bytea, created_at timestamp, a timestamptz, b date, c interval,
             d double precision, e bytea, f time with time zone, g xml, h money)",
        );
        let odd = [
            ("datestyle", "German, DMY"),
            ("timezone", "Asia/Kolkata"),
            ("bytea_output", "escape"),
            ("intervalstyle", "sql_standard"),
            ("extra_float_digits", "-5"),
            ("xmlbinary", "hex"),
            ("quote_all_identifiers", "on"),
        ];
        database.execute(&format!("create role {name}_odd superuser login replication"));
        for (setting, value) in odd {
            database.execute(&format!("alter role {name}_odd set {setting} = '{value}'"));
        }
        let settings = |user: &str| {
            Settings::new(&database, kafka)
                .env("DATABASE_URL", database.url().replace("postgres@", &format!("{user}@")))
                .env("WALPOST_SLOT", user)
                .env("WALPOST_TOPIC", user)
                .env("WALPOST_CE_EXTENSIONS", "a=a,b=b,c=c,d=d,e=e,f=f")
        };
        let (plain, odd) = (format!("{name}_plain"), format!("{name}_odd"));
        database.execute(&format!("create role {plain} superuser login replication"));
        let mut relays = [settings(&plain).start(), settings(&odd).start()];
        for walpost in &mut relays {
            walpost.wait_until_ready();
        }
        database.execute(
            "insert into outbox values (1, 'order', '\\x00ff5c41', 'Placed', '\\x005c27ff',
             '2024-02-01 10:00:00.25', '2024-02-01 10:00:00+02', '2024-02-01',
             '1 year 2 days 03:04:05', 0.1::float8 + 0.2::float8, '\\x5c00', '10:00:00+02')",
        );
        let [expected, found] = [plain, odd].map(|topic| {
            let records = kafka.wait_for_records(&topic, 1);
            (records[0].key.clone(), records[0].value.clone(), records[0].headers.clone())
        });
        assert_eq!(expected, found);
        assert_eq!(found.0.as_deref(), Some(&b"\x00\xff\\A"[..]));
        assert_eq!(found.1.as_deref(), Some(&b"\x00\\'\xff"[..]));
        let header = |name: &str| {
            let (_, value) = found.2.iter().find(|(own, _)| own == name).unwrap();
            String::from_utf8(value.clone().unwrap()).unwrap()
        };
        assert_eq!(header("ce_time"), "2024-02-01T10:00:00.250000Z");
        assert_eq!(header("ce_a"), "2024-02-01T08:00:00Z");
        assert_eq!(header("ce_b"), "2024-02-01");
        assert_eq!(header("ce_d"), "0.30000000000000004");
        assert_eq!(header("ce_e"), "XAA=");
        drop(relays);
        for role in ["plain", "odd"] {
            database.execute(&format!("drop owned by {name}_{role}; drop role {name}_{role}"));
        }
    }
}

#[test]
fn a_partitioned_outbox_is_one_table() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, kafka) = (server.database("partitioned"), Kafka::shared());
        database.execute(
            "create table outbox (id int, aggregatetype text, aggregateid text, type text,
             payload jsonb) partition by range (id);
             create table outbox_1 partition of outbox for values from (0) to (3);
             create table outbox_2 partition of outbox for values from (3) to (100)",
        );
        let mut walpost = Settings::new(&database, kafka).start();
        walpost.wait_until_ready();
        (1..=4).for_each(|id| database.execute(&row(id)));
        database.execute("drop table outbox_1");
        database.execute("create table outbox_1 partition of outbox for values from (-9) to (3)");
        database.execute(&row(0));
        database.execute(&row(5));
        assert_eq!(published(&database, kafka, "5"), ["1", "2", "3", "4", "0", "5"]);
        let records = kafka.records(&format!("{}.order", database.name()));
        let source = format!("/{}/public/outbox", database.name());
        assert!(records.iter().all(|record| record.header("ce_source") == Some(&source)));
    }
}
