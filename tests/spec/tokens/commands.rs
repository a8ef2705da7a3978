//! Every command that speaks to Kafka.

use super::{CANARY, LIFE};
use crate::servers::tokens::{TokenEndpoint, broker};
use crate::servers::{Postgres, Settings};

#[test]
fn every_command_logs_in_with_a_token() {
    let endpoint = TokenEndpoint::start(LIFE, CANARY);
    let (kafka, address, _) = broker(&endpoint);
    let database = Postgres::newest().database("tokens");
    database.create_outbox();
    let settings = endpoint.client(Settings::new(&database, &kafka), &address, CANARY);
    let topic = format!("{}.order", database.name());
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    database.insert_rows("order", 0, 5, 5);
    kafka.wait_for_records(&topic, 5);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
    for (arguments, expected) in [
        (&["check"][..], "token endpoint http://"),
        (&["checkpoint", "show"], "generation"),
        (&["dlq", "list"], ""),
        (&["groups", "show", "nobody"], ""),
        (&["replay", "--all", "--to-topic", "again", "--yes"], "5"),
    ] {
        let finished = settings.clone().arguments(arguments).run();
        assert_eq!(finished.code, 0, "{arguments:?}: {finished:?}");
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("canary") && !said.contains("eyJhbGci"), "{arguments:?}: {said}");
    }
    assert_eq!(kafka.records("again").len(), 5);
}
