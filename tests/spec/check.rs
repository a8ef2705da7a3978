//! Goal: `walpost check` finds each broken set-up, names it and nothing else, and what it prints
//! mends it.
//! Method: real servers, broken for real in one way each. Where the remedy is SQL or a command of
//! Kafka's, it is executed as it was printed, and the finding must be gone.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::servers::{Database, Kafka, Postgres, Session, Settings};

mod broken_between;
mod broken_kafka;
mod broken_login;
mod broken_postgres;
mod broken_publication;
mod broken_slot;
mod broken_table;
mod list;
mod rights;

/// Makes the publication that walpost would make.
const PUBLICATION: &str = "create publication walpost for table public.outbox
    with (publish = 'insert', publish_via_partition_root = true)";

/// Warned of everywhere here: tests connect as superuser, nothing limits a slot, there is one broker.
const HERE: &[&str] = &["role", "max_slot_wal_keep_size", "topic_copies", "transactions"];

/// What one run of `walpost check --json` said.
#[derive(Debug)]
struct Checked {
    code: i32,
    findings: Vec<Value>,
    verdict: Value,
}

/// Runs the check with these settings.
#[track_caller]
fn check(settings: &Settings) -> Checked {
    let finished = settings.clone().arguments(&["check", "--json"]).run();
    let report: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr));
    assert_eq!(finished.stderr, "", "everything is said on standard output");
    let checked = Checked {
        code: finished.code,
        findings: report["findings"].as_array().expect("findings").clone(),
        verdict: report["verdict"].clone(),
    };
    let problems = checked.of("problem").count();
    assert_eq!(checked.verdict["problems"], problems, "{checked:#?}");
    assert_eq!(checked.verdict["ready"], problems == 0, "{checked:#?}");
    checked
}

impl Checked {
    fn of(&self, level: &str) -> impl Iterator<Item = &Value> {
        self.findings.iter().filter(move |finding| finding["level"] == level)
    }

    /// Asserts that nothing stands in the way, and that nothing is said but what is true of every
    /// server here.
    #[track_caller]
    fn is_ready(&self) {
        self.is_ready_but_for(&[]);
    }

    /// As [`is_ready`](Self::is_ready), and warns under each of `checks`.
    #[track_caller]
    fn is_ready_but_for(&self, checks: &[&str]) {
        assert_eq!(self.of("problem").count(), 0, "{self:#?}");
        assert_eq!(self.code, 0);
        let warned: BTreeSet<_> =
            self.of("warning").filter_map(|finding| finding["check"].as_str()).collect();
        let unknown: Vec<_> = warned.iter().filter(|check| !HERE.contains(check)).collect();
        let unknown: Vec<&str> = unknown.into_iter().copied().collect();
        let mut expected = checks.to_vec();
        expected.sort_unstable();
        assert_eq!(unknown, expected, "{self:#?}");
    }

    /// The one problem, which must be under `check` and say `text`; nothing else is found.
    #[track_caller]
    fn problem(&self, check: &str, text: &str) -> &Value {
        let problems: Vec<_> = self.of("problem").collect();
        let [problem] = problems.as_slice() else { panic!("one problem, not {problems:#?}") };
        assert_eq!(problem["check"], check, "{problem:#}");
        let known = |warning: &&Value| HERE.iter().any(|known| warning["check"] == *known);
        let beside: Vec<_> = self.of("warning").filter(|warning| !known(warning)).collect();
        assert!(beside.iter().all(|warning| warning["check"] == check), "{beside:#?}");
        let found = problem["found"].as_str().expect("a text");
        assert!(found.contains(text), "{found}");
        assert!(!problem["why"].as_str().expect("a text").is_empty());
        assert_eq!(self.code, 1);
        problem
    }

    /// A warning under `check` that says `text`.
    #[track_caller]
    fn warning(&self, check: &str, text: &str) -> &Value {
        let mut warnings = self.of("warning");
        let found = warnings.find(|finding| {
            finding["check"] == check
                && finding["found"].as_str().is_some_and(|found| found.contains(text))
        });
        found.unwrap_or_else(|| panic!("no warning {check} says {text}: {self:#?}"))
    }

    /// Whether anything but `ok` is under `check`.
    fn complains_of(&self, check: &str) -> bool {
        self.findings.iter().any(|finding| finding["check"] == check && finding["level"] != "ok")
    }
}

/// The lines of a remedy of this kind: `sql`, `commands`, `variables`.
#[track_caller]
fn remedy(finding: &Value, kind: &str) -> Vec<String> {
    let lines = finding["remedy"][kind].as_array();
    let lines = lines.unwrap_or_else(|| panic!("no {kind} among the remedies of {finding:#}"));
    lines.iter().map(|line| line.as_str().expect("a text").to_owned()).collect()
}

/// Executes a finding's statements as they were printed, each by itself.
#[track_caller]
fn execute(database: &Database, finding: &Value) {
    let session = database.session();
    remedy(finding, "sql").iter().for_each(|statement| session.execute(statement));
}

/// Sets a finding's first variable as it was printed.
#[track_caller]
fn set(settings: Settings, finding: &Value) -> Settings {
    let variables = remedy(finding, "variables");
    let (name, value) = variables[0].split_once('=').expect("NAME=value");
    settings.env(name, value)
}

/// A database with an outbox, and the settings to relay it to `kafka`.
fn outbox(server: &Postgres, kafka: &Kafka, name: &str) -> (Database, Settings) {
    let database = server.database(name);
    database.create_outbox();
    let settings = Settings::new(&database, kafka)
        .without("WALPOST_HTTP_ADDR")
        .env("WALPOST_PUBLICATION", "walpost");
    (database, settings)
}

/// A role of this test's own, with rights but without ownership, and a connection URL as it.
fn role(server: &Postgres, database: &Database, options: &str) -> (String, String) {
    let role = format!("{}_role", database.name());
    Session::open(&server.url("postgres")).execute(&format!("create role {role} {options}"));
    let url = format!("postgres://{role}@127.0.0.1:{}/{}", server.port(), database.name());
    (role, url)
}

fn state(database: &Database, kafka: &Kafka) -> Vec<String> {
    let mut state = vec![
        database.value("select count(*) from pg_publication"),
        database.value(&format!(
            "select count(*) from pg_replication_slots where database = '{}'",
            database.name()
        )),
        database.value("select count(*) from pg_class"),
        database.value("select count(*) from outbox"),
    ];
    state.extend(kafka.topics().into_iter().filter(|topic| topic.contains(database.name())));
    state
}

#[test]
fn a_good_set_up_is_ready_before_during_and_after_a_run_and_nothing_changes() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let kafka = Kafka::shared();
        let (database, settings) = outbox(server, kafka, "good");
        database.insert_rows("order", 1, 3, 2);
        let before = state(&database, kafka);
        let first = check(&settings);
        first.is_ready();
        assert_eq!(state(&database, kafka), before);
        assert!(!first.complains_of("rows"), "{first:#?}");

        let running = settings.second();
        let mut walpost = running.start();
        walpost.wait_until_ready();
        database.insert_rows("order", 4, 3, 2);
        kafka.wait_for_records(&format!("{}.order", database.name()), 3);
        check(&settings).is_ready();
        walpost.terminate();
        assert_eq!(walpost.wait(), 0);

        let last = check(&settings);
        last.is_ready();
        let proven = last.findings.iter().find(|finding| finding["check"] == "checkpoint");
        let found = proven.expect("a checkpoint")["found"].as_str().expect("a text");
        assert!(found.contains("goes on after"), "{found}");
    }
}

#[test]
fn the_text_ends_in_the_verdict_and_has_what_the_json_has() {
    let (database, settings) = outbox(Postgres::newest(), Kafka::shared(), "text");
    database.execute("alter table outbox rename column payload to body");
    let json = check(&settings);
    let problem = json.problem("columns", "payload");
    let finished = settings.arguments(&["check"]).run();
    assert_eq!(finished.code, 1);
    let last = finished.stdout.lines().last().expect("a line");
    assert_eq!(last, json.verdict["text"].as_str().expect("a text"));
    assert!(last.starts_with("not ready: 1 problem"), "{last}");
    let levels = ["ok", "warning", "problem"];
    let said: Vec<_> = finished
        .stdout
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let level =
                words.next().filter(|level| levels.contains(level) && !line.starts_with(' '));
            Some((level?, words.next()?))
        })
        .collect();
    let text = |finding: &Value, member: &str| finding[member].as_str().expect("text").to_owned();
    let same: Vec<_> =
        json.findings.iter().map(|found| (text(found, "level"), text(found, "check"))).collect();
    let same: Vec<_> = same.iter().map(|(level, check)| (level.as_str(), check.as_str())).collect();
    assert_eq!(said, same, "the text has every finding of the JSON, in its order");
    for statement in remedy(problem, "sql") {
        assert!(finished.stdout.contains(&statement), "{}", finished.stdout);
    }
}

#[test]
fn offline_asks_no_server() {
    let settings = Settings::none()
        .env("DATABASE_URL", "postgres://walpost:secret@127.0.0.1:1/shop")
        .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
        .arguments(&["check", "--offline"]);
    let finished = settings.run();
    assert_eq!(finished.code, 0, "{}", finished.stdout);
    assert!(!finished.stdout.contains("secret"));
    let wrong = settings.env("WALPOST_MAX_EVENT", "many").env("WALPOST_SLOTT", "x").run();
    assert_eq!(wrong.code, 78, "{}", wrong.stdout);
    let last = wrong.stdout.lines().last().expect("a line");
    assert_eq!(last, "not ready: 2 problems");
    assert!(wrong.stdout.contains("WALPOST_SLOTT") && wrong.stdout.contains("WALPOST_MAX_EVENT"));
}
