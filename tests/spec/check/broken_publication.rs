//! Publications that are broken in one way each.

use super::{PUBLICATION, check, execute, outbox};
use crate::servers::{Database, Kafka, Postgres, Settings};

#[test]
fn publications_that_lose_rows_are_found() {
    let (database, settings) = outbox(Postgres::newest(), Kafka::shared(), "publication");
    database.execute("create table other (id int primary key)");
    #[track_caller]
    fn case(
        (database, settings): &(Database, Settings),
        publication: &str,
        (problem, text): (bool, &str),
    ) {
        database.execute(&format!("drop publication if exists walpost; {publication}"));
        let checked = check(settings);
        let finding = if problem {
            checked.problem("publication", text)
        } else {
            checked.is_ready_but_for(&["publication"]);
            checked.warning("publication", text)
        };
        execute(database, finding);
        check(settings).is_ready();
    }
    let both = (database, settings);
    let whole = "create publication walpost for table public.outbox";
    case(&both, &format!("{whole} with (publish = 'update')"), (true, "does not publish inserts"));
    case(&both, whole, (false, "also publishes updates, deletes, truncates"));
    case(
        &both,
        "create publication walpost with (publish = 'insert')",
        (true, "does not contain table public.outbox"),
    );
    case(
        &both,
        &format!("{whole}, public.other with (publish = 'insert')"),
        (false, "public.other"),
    );
    case(
        &both,
        &format!("{whole} where (aggregatetype <> 'x') with (publish = 'insert')"),
        (false, "aggregatetype <> 'x'"),
    );
    case(
        &both,
        &format!(
            "{whole} (id, aggregatetype, aggregateid, type, payload) with (publish = 'insert')"
        ),
        (false, "created_at"),
    );
}

#[test]
fn with_nothing_to_create_the_statements_make_it_all() {
    for server in [Postgres::oldest(), Postgres::newest()] {
        let (database, settings) = outbox(server, Kafka::shared(), "fixed");
        let settings = settings.env("WALPOST_CREATE", "false");
        let kafka = Kafka::shared();
        let name = database.name();
        let checkpoint = format!("walpost.checkpoint.{name}.{name}");
        kafka.create_topic(&checkpoint, 1, &["cleanup.policy=compact"]);
        kafka.create_topic(&format!("{name}.dlq"), 1, &["retention.ms=-1"]);
        let checked = check(&settings);
        execute(&database, checked.problem("slot", "WALPOST_CREATE is false"));
        check(&settings).is_ready();
        // A publication that is younger than its slot.
        database.execute("drop publication walpost");
        let checked = check(&settings);
        execute(&database, checked.problem("publication", "does not"));
        check(&settings).is_ready();
        let mut walpost = settings.second().start();
        walpost.wait_until_ready();
    }
}

#[test]
fn a_changed_publication_is_a_problem_once_a_checkpoint_is_stored() {
    let (database, settings) = outbox(Postgres::oldest(), Kafka::shared(), "changed");
    let mut walpost = settings.second().start();
    walpost.wait_until_ready();
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    database.execute(&format!("drop publication walpost; {PUBLICATION}"));
    let checked = check(&settings);
    assert_eq!(checked.problem("checkpoint", "changed")["halt"], "publication_changed");
    database.execute("drop publication walpost");
    let checked = check(&settings);
    assert_eq!(checked.problem("publication", "any more")["halt"], "publication_changed");
}
