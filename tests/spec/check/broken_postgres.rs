//! Servers and roles that are broken in one way each.

use serde_json::Value;

use super::{PUBLICATION, check, execute, outbox, remedy, role, set};
use crate::servers::{Kafka, PATIENCE, Postgres, Session, within};

#[test]
fn a_server_without_logical_wal_level_is_found() {
    let server = Postgres::start_with(16, &["wal_level=replica"]);
    let (database, settings) = outbox(&server, Kafka::shared(), "wal_level");
    let checked = check(&settings);
    let problem = checked.problem("wal_level", "replica");
    execute(&database, problem);
    server.stop_fast();
    server.start_again();
    check(&settings).is_ready();
}

#[test]
fn a_role_without_replication_is_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "right");
    database.execute(PUBLICATION);
    let (role, url) = role(server, &database, "login");
    database.execute(&format!("grant select on outbox to {role}"));
    let settings = settings.env("DATABASE_URL", url);
    let checked = check(&settings);
    let problem = checked.problem("replication_right", "SQLSTATE 42501");
    assert_eq!(problem["halt"], "authorization");
    execute(&database, problem);
    check(&settings).is_ready();
}

#[test]
fn a_role_that_may_not_publish_is_found_and_needs_no_more_than_replication() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "least");
    let (_, url) = role(server, &database, "login replication");
    let initial = settings.env("DATABASE_URL", url);
    let settings = initial.clone().env("WALPOST_SNAPSHOT", "never");
    let checked = check(&settings);
    execute(&database, checked.problem("publication", "does not own"));
    let checked = check(&settings);
    checked.is_ready();
    // What is in the table already has to be read.
    let unread = check(&initial);
    let problem = unread.problem("snapshot", "may not read table public.outbox");
    assert_eq!(problem["halt"], "not_ready");
    assert_eq!(problem["remedy"]["variables"], serde_json::json!(["WALPOST_SNAPSHOT=never"]));
    let rows = checked.findings.iter().find(|finding| finding["check"] == "rows").expect("rows");
    assert_eq!(rows["level"], "ok", "the relay does not need to read the table: {rows:#}");
    execute(&database, rows);
    let checked = check(&initial);
    checked.is_ready();
    assert!(
        checked.findings.iter().any(|finding| finding["found"] == "table public.outbox is empty")
    );
    // And the relay agrees.
    let mut walpost = initial.second().start();
    walpost.wait_until_ready();
}

#[test]
fn an_owner_that_may_not_create_in_the_database_is_found() {
    let server = Postgres::oldest();
    let (database, settings) = outbox(server, Kafka::shared(), "owner");
    let (role, url) = role(server, &database, "login replication");
    database.execute(&format!("alter table outbox owner to {role}"));
    let settings = settings.env("DATABASE_URL", url);
    let checked = check(&settings);
    execute(&database, checked.problem("publication", "may not create"));
    check(&settings).is_ready();
}

#[test]
fn a_wrong_password_and_a_missing_line_in_pg_hba_are_found() {
    let server = Postgres::start(15);
    let (database, settings) = outbox(&server, Kafka::shared(), "password");
    let (role, url) = role(&server, &database, "login replication password 'right'");
    database.execute(&format!("grant select on outbox to {role}"));
    database.execute(PUBLICATION);
    let file = server.path().join("data/pg_hba.conf");
    let others = std::fs::read_to_string(&file).expect("pg_hba.conf");
    let first = |line: &str| {
        std::fs::write(&file, format!("{line}\n{others}")).expect("pg_hba.conf");
        database.value("select pg_reload_conf()");
    };
    first(&format!("host all {role} 127.0.0.1/32 scram-sha-256"));
    let with = |password: &str| {
        settings.clone().env("DATABASE_URL", url.replacen('@', &format!(":{password}@"), 1))
    };
    within(std::time::Duration::from_secs(5), || (check(&with("wrong")).code == 1).then_some(()));
    let checked = check(&with("wrong"));
    let problem = checked.problem("postgres", "password authentication failed");
    assert_eq!(problem["halt"], "authentication");
    assert!(problem["remedy"]["note"].as_str().expect("a note").contains("PGPASSWORD"));
    assert!(!format!("{checked:?}").contains("wrong"), "no secret is said: {checked:#?}");
    check(&with("right")).is_ready();

    first(&format!("host all {role} 127.0.0.1/32 reject"));
    within(std::time::Duration::from_secs(5), || (check(&with("right")).code == 1).then_some(()));
    let checked = check(&with("right"));
    let problem = checked.problem("postgres", "pg_hba.conf");
    assert!(problem["remedy"]["note"].as_str().expect("a note").contains(&role));
}

#[test]
fn an_unreachable_server_and_a_missing_database_are_found() {
    let server = Postgres::newest();
    let (database, settings) = outbox(server, Kafka::shared(), "unreachable");
    let nobody = settings.clone().env("DATABASE_URL", "postgres://postgres@127.0.0.1:1/shop");
    check(&nobody).problem("postgres", "127.0.0.1:1");
    let name = format!("{}_other", database.name());
    let other = settings.env("DATABASE_URL", server.url(&name));
    let checked = check(&other.clone().env("WALPOST_CREATE", "true"));
    let problem = checked.problem("postgres", "does not exist");
    execute(&database, problem);
    // The table is the next that is missing; its statement mends it too.
    let checked = check(&other);
    let missing = checked.problem("table", "public.outbox");
    let session = Session::open(&server.url(&name));
    remedy(missing, "sql").iter().for_each(|statement| session.execute(statement));
    check(&other).is_ready();
    drop(session);
    database.execute(&format!("drop database {name} with (force)"));
}

#[test]
fn settings_that_somebody_may_regret_are_warnings() {
    let server = Postgres::start_with(
        18,
        &[
            "idle_replication_slot_timeout=1h",
            "synchronous_commit=local",
            "max_slot_wal_keep_size=1GB",
        ],
    );
    let (database, settings) = outbox(&server, Kafka::shared(), "settings");
    let mends = |finding: &Value| {
        execute(&database, finding);
        let mended = within(PATIENCE, || {
            let checked = check(&settings);
            (!checked.complains_of(finding["check"].as_str().expect("a word"))).then_some(checked)
        });
        mended.unwrap_or_else(|| panic!("{:#?}", check(&settings))).is_ready();
    };
    let checked = check(&settings);
    checked.warning("role", "superuser");
    assert!(!checked.complains_of("max_slot_wal_keep_size"), "{checked:#?}");
    mends(checked.warning("idle_replication_slot_timeout", "3600 s"));

    server.set(&[("max_slot_wal_keep_size", "-1")]);
    mends(check(&settings).warning("max_slot_wal_keep_size", "-1"));

    let name = format!("walpost/{0}.{0}", database.name());
    server.set(&[("synchronous_standby_names", &format!("ANY 2 (\"s-1\", \"{name}\")"))]);
    mends(check(&settings).warning("synchronous_standby_names", "matches walpost"));
    assert_eq!(database.value("show synchronous_standby_names"), "ANY 1 (\"s-1\")");

    // Who the standbys are, only their owner knows.
    server.set(&[("synchronous_standby_names", "ANY 1 (s1, \"*\")")]);
    let checked = check(&settings);
    checked.is_ready_but_for(&["synchronous_standby_names"]);
    let warning = checked.warning("synchronous_standby_names", "matches walpost");
    let note = warning["remedy"]["note"].as_str().expect("a note");
    assert!(note.contains("name the standbys in synchronous_standby_names"), "{note}");
}

#[test]
fn a_transaction_that_the_slot_would_wait_for_is_found() {
    let server = Postgres::start_with(14, &["max_prepared_transactions=2"]);
    let (database, settings) = outbox(&server, Kafka::shared(), "waiting");
    check(&settings).is_ready();
    let open = database.session();
    open.execute("begin; create table held (n int)");
    let pid = open.value("select pg_backend_pid()");
    database.execute("begin; create table kept (n int); prepare transaction 'it''s kept'");
    let both = within(PATIENCE, || {
        let checked = check(&settings);
        let seen = checked.of("warning").filter(|found| found["check"] == "long_transactions");
        (seen.count() == 2).then_some(checked)
    });
    let checked = both.unwrap_or_else(|| panic!("{:#?}", check(&settings)));
    checked.is_ready_but_for(&["long_transactions"]);
    let running = checked.warning("long_transactions", &format!("process {pid} "));
    assert!(running["why"].as_str().expect("a text").contains("creation of the slot waits"));
    execute(&database, running);
    execute(&database, checked.warning("long_transactions", "\"it's kept\""));
    let ended =
        within(PATIENCE, || (!check(&settings).complains_of("long_transactions")).then_some(()));
    assert!(ended.is_some(), "{:#?}", check(&settings));
    check(&settings).is_ready();
}

#[test]
fn a_forgotten_prepared_transaction_is_found_beside_a_slot() {
    let server = Postgres::start_with(18, &["max_prepared_transactions=2"]);
    let (database, settings) = outbox(&server, Kafka::shared(), "forgotten");
    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
    let insert = "insert into outbox (aggregatetype, aggregateid, type, payload)
        values ('order', 'a', 'Placed', '{}')";
    let session = database.session();
    session.execute(&format!("begin; {insert}; prepare transaction 'forgotten'"));
    let found = within(PATIENCE, || {
        let checked = check(&settings);
        checked.complains_of("long_transactions").then_some(checked)
    });
    let checked = found.unwrap_or_else(|| panic!("{:#?}", check(&settings)));
    checked.is_ready_but_for(&["long_transactions"]);
    let warning = checked.warning("long_transactions", "prepared transaction \"forgotten\"");
    assert!(warning["why"].as_str().expect("a text").contains("`walpost prune` deletes no row"));
    execute(&database, warning);
    check(&settings).is_ready();
}

#[test]
fn a_standby_that_is_down_or_was_never_there_is_found() {
    let server =
        Postgres::start_with(17, &["max_slot_wal_keep_size=1GB", "hot_standby_feedback=on"]);
    let (database, settings) = outbox(&server, Kafka::shared(), "standby");
    database.value("select pg_create_physical_replication_slot('s1')");
    let standby = server.standby();
    standby.stop_fast();
    standby.start_again_with(&["primary_slot_name=s1"]);
    server.set(&[("synchronized_standby_slots", "s1")]);
    let checks_ready = || {
        let ready = within(PATIENCE, || (check(&settings).code == 0).then_some(()));
        assert!(ready.is_some(), "{:#?}", check(&settings));
        check(&settings).is_ready();
    };
    checks_ready();

    standby.stop_fast();
    let down = within(PATIENCE, || {
        let checked = check(&settings);
        (checked.code != 0).then_some(checked)
    });
    let down = down.expect("the standby that is down is found");
    let problem = down.problem("synchronized_standby_slots", "lists s1");
    assert!(problem["remedy"]["note"].as_str().expect("a note").contains("bring the standby back"));
    standby.start_again();
    checks_ready();

    // With two, one of them never there: the one that is there stays in the setting.
    server.set(&[("synchronized_standby_slots", "s1, gone")]);
    let checked = check(&settings);
    execute(&database, checked.problem("synchronized_standby_slots", "lists gone"));
    checks_ready();
    assert_eq!(database.value("show synchronized_standby_slots"), "s1");

    // The standby itself cannot be followed.
    let address = format!("127.0.0.1:{}", standby.port());
    let url =
        format!("postgres://postgres@{address},127.0.0.1:{}/{}", server.port(), database.name());
    let copied = || Session::try_open(&standby.url(database.name())).ok();
    assert!(within(PATIENCE, copied).is_some(), "the standby lets nobody in");
    let wrong = settings.clone().env("DATABASE_URL", url).env("PGTARGETSESSIONATTRS", "any");
    let checked = check(&wrong);
    let problems: Vec<_> = checked.of("problem").map(|problem| &problem["check"]).collect();
    assert_eq!(problems, ["primary"], "{checked:#?}");
    check(&set(wrong, checked.problem("primary", "is a standby"))).is_ready();
}

#[test]
fn a_server_without_room_is_found() {
    let server = Postgres::start_with(14, &["max_replication_slots=1", "max_wal_senders=1"]);
    let (database, settings) = outbox(&server, Kafka::shared(), "room");
    database.value("select pg_create_physical_replication_slot('other')");
    let checked = check(&settings);
    let problem = checked.problem("replication_slots", "1 of 1");
    execute(&database, problem);
    server.stop_fast();
    server.start_again();
    check(&settings).is_ready();
}
