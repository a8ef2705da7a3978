//! Goal: what `walpost setup` makes is enough to run and no more, and its constraints refuse what
//! the encoder would refuse.
//! Method: make it in an empty database, run as the role; compare random rows, one by one, in a
//! real table and in the encoder.

use serde_json::Value;

use super::checkpoint_command::{command, done};
use super::servers::{Database, Kafka, Postgres, Settings};

mod rows;

/// The role of a database; it is dropped with this.
struct Role<'a> {
    database: &'a Database,
    name: String,
}

impl<'a> Role<'a> {
    fn of(database: &'a Database) -> Self {
        Self { database, name: format!("{}_walpost", database.name()) }
    }

    fn settings(&self, settings: &Settings) -> Settings {
        let url = self.database.url().replace("postgres@", &format!("{}@", self.name));
        settings.clone().env("DATABASE_URL", url)
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        let session = self.database.session();
        drop(session.try_query(&format!("drop owned by {name}; drop role {name}")));
    }
}

#[track_caller]
fn states(said: &str) -> Vec<(String, String)> {
    let said: Value = serde_json::from_str(said).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = said["steps"].as_array().unwrap().iter();
    steps.map(|step| (text(&step["state"]), text(&step["sql"]))).collect()
}

#[test]
fn the_role_that_setup_makes_runs_the_relay_and_reads_nothing_else() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        for create in ["true", "false"] {
            let (database, kafka) = (server.database("made"), Kafka::shared());
            let settings = Settings::new(&database, kafka);
            let role = Role::of(&database);
            let name = database.name();
            database.execute("create table salaries (n int); insert into salaries values (1)");
            let mut arguments = vec![
                "setup", "--role", &role.name, "--table", "--checks", "--prune", "--apply",
                "--json",
            ];
            if create == "false" {
                arguments.push("--slot");
                let topic = format!("walpost.checkpoint.{name}.{name}");
                kafka.make_topic(&topic, 1, &[("cleanup.policy", "compact")]);
                kafka.make_topic(&format!("{name}.dlq"), 1, &[]);
            }
            let first = states(&done(&settings, &arguments));
            let done_now = first.iter().filter(|(state, _)| state == "done").count();
            assert!(done_now > 10, "{first:?}");
            // Once more: all is there, but for the password, which is given by hand or not at all.
            let second = states(&done(&settings, &arguments));
            assert!(second.iter().all(|(state, _)| state == "present"), "{second:?}");

            let as_role = role.settings(&settings).env("WALPOST_CREATE", create);
            let mut walpost = as_role.start();
            walpost.wait_until_ready();
            database.insert_rows("order", 1, 3, 2);
            kafka.wait_for_records(&format!("{name}.order"), 3);
            let pruned = done(&as_role, &["prune", "--older-than", "0"]);
            assert!(pruned.contains("3 rows deleted"), "{pruned}");
            let peek = command(&as_role, &["peek"]);
            assert_eq!(peek.code, 0, "{}", peek.stderr);
            let session = super::servers::Session::open(
                &database.url().replace("postgres@", &format!("{}@", role.name)),
            );
            for refused in [
                "select * from salaries",
                "update outbox set type = 'x'",
                "insert into outbox (aggregatetype, aggregateid, type) values ('a', 'a', 'a')",
                "alter publication walpost set (publish = 'insert, delete')",
                "create role other",
            ] {
                let error = session.try_query(refused).expect_err(refused);
                assert_eq!(error.code().unwrap().code(), "42501", "{refused}: {error:?}");
            }
            walpost.kill();
        }
    }
}

#[test]
fn setup_prints_first_and_never_the_password() {
    let (database, kafka) = (Postgres::newest().database("printed"), Kafka::shared());
    let role = Role::of(&database);
    let settings = Settings::new(&database, kafka);
    let without = command(&settings, &["setup", "--role", &role.name]);
    assert_eq!(without.code, 1);
    assert!(without.stderr.contains("--table makes it"), "{}", without.stderr);
    let arguments = ["setup", "--role", &role.name, "--table", "--checks", "--slot"];
    let printed = done(&settings, &arguments);
    assert!(printed.contains(&format!("\\password \"{}\"", role.name)), "{printed}");
    assert_eq!(database.value("select to_regclass('outbox')"), "", "nothing was made");

    let secret = "correct horse 7c3f";
    let with = settings.clone().env("WALPOST_SETUP_PASSWORD", secret);
    let printed = done(&with, &arguments);
    let applied = done(&with, &[&arguments[..], &["--apply"]].concat());
    for said in [&printed, &applied] {
        assert!(!said.contains(secret) && !said.contains("SCRAM-SHA-256$"), "{said}");
        assert!(said.contains("PASSWORD '***'"), "{said}");
    }
    let stored = database
        .value(&format!("select rolpassword from pg_authid where rolname = '{}'", role.name));
    assert!(stored.starts_with("SCRAM-SHA-256$4096:"), "{stored}");

    // What was printed without a password is what psql would run: the same as was applied.
    let refused = command(&settings, &["setup", "--drop"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    let slots = format!(
        "select count(*) from pg_replication_slots where slot_name = '{}'",
        database.name()
    );
    assert_eq!(database.value(&slots), "1");
    done(&settings, &["setup", "--drop", "--yes"]);
    assert_eq!(database.value(&slots), "0");
    assert_eq!(database.value("select count(*) from pg_publication"), "0");
}

#[test]
fn a_bad_row_that_is_there_already_is_named_and_later_ones_are_refused() {
    let (database, kafka) = (Postgres::oldest().database("badrow"), Kafka::shared());
    let role = Role::of(&database);
    let settings = Settings::new(&database, kafka);
    database.create_outbox();
    database.insert_rows("no topic", 1, 1, 1);
    let applied = command(&settings, &["setup", "--role", &role.name, "--checks", "--apply"]);
    assert_eq!(applied.code, 1, "{}", applied.stdout);
    let failed: Vec<_> = applied.stdout.lines().filter(|line| line.starts_with("failed")).collect();
    assert_eq!(failed.len(), 1, "{}", applied.stdout);
    assert!(failed[0].contains("VALIDATE CONSTRAINT \"walpost_topic\""), "{failed:?}");
    let refused = database.session().try_query(
        "insert into outbox (aggregatetype, aggregateid, type) values ('a b', 'a', 'a')",
    );
    let message = format!("{:?}", refused.expect_err("a topic with a blank"));
    assert!(message.contains("walpost_topic"), "{message}");
    database.insert_rows("order", 2, 1, 1);
    database.execute("delete from outbox where aggregatetype = 'no topic'");
    done(&settings, &["setup", "--role", &role.name, "--checks", "--apply"]);
}

#[test]
fn setup_and_peek_need_no_kafka_and_refuse_a_wrong_word_of_it() {
    let (database, kafka) = (Postgres::newest().database("no_kafka"), Kafka::shared());
    let settings = Settings::new(&database, kafka).without("KAFKA_BOOTSTRAP_SERVERS");
    let role = Role::of(&database);
    let made = done(&settings, &["setup", "--role", &role.name, "--table", "--apply", "--json"]);
    assert!(states(&made).iter().all(|(state, _)| state != "failed"), "{made}");
    database.execute(
        "insert into outbox (id, aggregatetype, aggregateid, type, payload)
         values (gen_random_uuid(), 'order', '42', 'Placed', '{}')",
    );
    let peeked = done(&settings, &["peek", "--json"]);
    assert_eq!(peeked.lines().count(), 1, "{peeked}");
    for arguments in [["setup", "--json"], ["peek", "--json"]] {
        let wrong =
            command(&settings.clone().env("KAFKA_BOOTSTRAP_SERVERS", "kafka:x"), &arguments);
        assert_eq!(wrong.code, 78, "{wrong:?}");
        assert!(wrong.stderr.contains("KAFKA_BOOTSTRAP_SERVERS"), "{wrong:?}");
    }
    // What speaks to Kafka still asks for it.
    let refused = command(&settings, &["prune"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(refused.stderr.contains("KAFKA_BOOTSTRAP_SERVERS: is required"), "{refused:?}");
}
