//! Goal: with SASL/OAUTHBEARER every client of walpost's gets its tokens, in time, and an endpoint that is
//! away is told from one that refuses.
//!
//! Method: a real OpenID provider (oidc-provider), whose tokens live for seconds, and a real broker that
//! verifies them with the provider's keys and ends each session with its token.

use std::time::Duration;

use crate::connections::certificates::Certificates;
use crate::servers::tokens::{TokenEndpoint, broker};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, Settings, until, within};

mod commands;
#[cfg(feature = "msk-iam")]
mod msk_iam;
mod page;

/// A part of every secret here, looked for in all that walpost shows.
const CANARY: &str = "canary word%55a";

/// How long a token lives. The next one is asked for after three quarters of it.
const LIFE: Duration = Duration::from_secs(16);

/// The code of the halt, "" without one.
fn halted_by(walpost: &Walpost) -> String {
    let status = walpost.get("/status.json").json();
    status["halt"]["code"].as_str().unwrap_or_default().to_owned()
}

/// Waits until so many rows are in Kafka, none of them missing.
#[track_caller]
fn wait_for(database: &Database, kafka: &Kafka, count: u32) {
    let topic = format!("{}.order", database.name());
    until(&format!("{count} rows in Kafka"), || {
        let records = kafka.committed_records(&topic);
        let seen: std::collections::BTreeSet<_> =
            records.iter().map(|record| record.value_json()["n"].as_u64().unwrap()).collect();
        (seen == (0..u64::from(count)).collect()).then_some(())
    });
}

#[track_caller]
fn assert_shows_no_secret(walpost: &Walpost) {
    let mut shown = walpost.log();
    for path in ["/", "/metrics", "/status.json", "/readyz"] {
        shown.push_str(&walpost.get(path).body);
    }
    assert!(!shown.contains("canary"), "a secret is shown: {shown}");
    // The beginning of every JWT: {"alg"
    assert!(!shown.contains("eyJhbGci"), "a token is shown: {shown}");
}

#[test]
fn tokens_that_expire_are_renewed_while_events_flow() {
    let certificates = Certificates::make(CANARY);
    let [certificate, key] = ["right.pem", "right.key"].map(|file| certificates.path(file));
    // A quarter of its life is left when the next one is asked for: 12 s, for the slowest machine.
    let life = LIFE * 3;
    let endpoint = TokenEndpoint::start_with_tls(life, CANARY, &certificate, &key);
    let (kafka, address, _) = broker(&endpoint);
    let (endpoint, kafka, address) = (&endpoint, &kafka, address.as_str());
    let mut running = Vec::new();
    for delivery in ["at-least-once", "exactly-once"] {
        let database = Postgres::newest().database("tokens");
        database.create_outbox();
        let settings = endpoint
            .client(Settings::new(&database, kafka), address, CANARY)
            .env("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", endpoint.https_url())
            .env("KAFKA_HTTPS_CA_LOCATION", certificates.path("ours.pem"))
            .env("WALPOST_DELIVERY", delivery);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        running.push((database, walpost));
    }
    let generations: Vec<_> = running.iter().map(|(_, walpost)| generation(walpost)).collect();
    let before = endpoint.given();
    // Each process renews its token twice, while rows come all the time.
    let mut written = 0;
    let renewed = within(Duration::from_secs(300), || {
        for (database, _) in &running {
            database.insert_rows("order", written, 10, 5);
        }
        written += 10;
        std::thread::sleep(Duration::from_millis(500));
        (endpoint.given() >= before + 4).then_some(())
    });
    assert!(renewed.is_some(), "{} tokens in 5 minutes", endpoint.given() - before);
    for ((database, walpost), generation_before) in running.iter().zip(generations) {
        wait_for(database, kafka, written);
        // Nothing was sent twice, so no session has ended that was not renewed.
        let records = kafka.committed_records(&format!("{}.order", database.name()));
        assert_eq!(records.len(), usize::try_from(written).unwrap(), "{}", walpost.log());
        assert_eq!(generation(walpost), generation_before, "{}", walpost.log());
        assert_eq!(halted_by(walpost), "");
        assert_shows_no_secret(walpost);
    }
}

fn generation(walpost: &Walpost) -> Option<f64> {
    walpost.metrics().get("walpost_producer_generation", &[])
}

#[test]
fn an_endpoint_that_is_away_is_waited_for_and_one_that_refuses_halts() {
    let endpoint = TokenEndpoint::start(LIFE, "not the secret");
    let (kafka, address, _) = broker(&endpoint);
    endpoint.kill();
    let database = Postgres::newest().database("tokens");
    database.create_outbox();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), CANARY).unwrap();
    let mut walpost = endpoint
        .client(Settings::new(&database, &kafka), &address, "")
        .without("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET")
        .env("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET_FILE", secret.path().to_str().unwrap())
        .start();

    // Nobody is there.
    walpost.wait_for_line("no answer from kafka at");
    let line = format!("token endpoint {} is not reached", endpoint.url());
    walpost.wait_for_line(&line);
    assert_eq!(halted_by(&walpost), "");

    // It knows another secret.
    endpoint.start_with("not the secret");
    until("the halt", || (halted_by(&walpost) == "authentication").then_some(()));
    walpost.wait_for_line("refuses client walpost (401)");

    // The secret is changed there, and the process is not touched.
    endpoint.start_with(CANARY);
    walpost.wait_until_ready();
    database.insert_rows("order", 0, 20, 5);
    wait_for(&database, &kafka, 20);

    // It goes away while events flow, until the broker has ended the session with its token.
    endpoint.kill();
    walpost.wait_for_line("invalid_token");
    database.insert_rows("order", 20, 20, 5);
    assert_eq!(halted_by(&walpost), "", "an outage is no refusal: {}", walpost.log());

    // It comes back, with a secret that the file has since.
    std::fs::write(secret.path(), format!("{CANARY}-2\n")).unwrap();
    endpoint.start_with(&format!("{CANARY}-2"));
    wait_for(&database, &kafka, 40);
    walpost.wait_until_ready();
    assert_eq!(halted_by(&walpost), "");
    assert_shows_no_secret(&walpost);
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}
