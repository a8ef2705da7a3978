//! Logins by token that are broken in one way each.

use std::process::Command;
use std::time::Duration;

use super::{check, outbox};
use crate::connections::certificates::Certificates;
use crate::servers::tokens::{TokenEndpoint, broker};
use crate::servers::{Postgres, script};

const LIFE: Duration = Duration::from_secs(300);
const SECRET: &str = "canary-word-2c9";

#[test]
fn a_token_endpoint_that_gives_no_token_is_found() {
    let certificates = Certificates::make(SECRET);
    let [certificate, key] = ["right.pem", "right.key"].map(|file| certificates.path(file));
    let endpoint = TokenEndpoint::start_with_tls(LIFE, SECRET, &certificate, &key);
    let (kafka, address, other) = broker(&endpoint);
    let (_database, settings) = outbox(Postgres::newest(), &kafka, "login");
    let settings = endpoint.client(settings, &address, SECRET);
    check(&settings).is_ready();
    let note = |finding: &serde_json::Value| finding["remedy"]["note"].to_string();

    let secret = "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET";
    let checked = check(&settings.clone().env(secret, "canary-word-wrong"));
    let problem = checked.problem("kafka_login", "refuses client walpost (401): invalid_client");
    assert_eq!(problem["halt"], "authentication");
    assert!(note(problem).contains("_CLIENT_SECRET"), "{problem:#}");
    assert!(!format!("{checked:?}").contains("canary"), "{checked:?}");

    let url = "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL";
    let checked = check(&settings.clone().env(url, "http://127.0.0.1:1/token"));
    let problem = checked.problem("kafka_login", "is not reached: Connection refused");
    assert_eq!(problem["halt"], serde_json::Value::Null);
    assert!(note(problem).contains(url), "{problem:#}");

    let checked = check(&settings.clone().env(url, endpoint.url().replace("token", "nothing")));
    checked.problem("kafka_login", "answers with status 404");

    let by_tls = settings.clone().env(url, endpoint.https_url());
    let ca = |name: &str| by_tls.clone().env("KAFKA_HTTPS_CA_LOCATION", certificates.path(name));
    check(&ca("ours.pem")).is_ready();
    check(&ca("other.pem")).problem("kafka_login", "UnknownIssuer");

    // This broker wants tokens for another audience.
    let checked = check(&settings.env("KAFKA_BOOTSTRAP_SERVERS", other));
    let problem = checked.problem("kafka", "invalid_token");
    assert_eq!(problem["halt"], "authentication");
    assert!(note(problem).contains("expected.audience"), "{problem:#}");
}

#[test]
fn a_clock_that_differs_from_the_token_endpoint_s_is_found() {
    script("install", &["faketime"]);
    let library = Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let library = String::from_utf8(library.expect("faketime").stdout).expect("a path");
    // The endpoint lives two minutes in the past, and so do its tokens, which are valid all the same.
    let endpoint = TokenEndpoint::absent(LIFE);
    let past = [("LD_PRELOAD", library.trim()), ("FAKETIME", "-120"), ("DONT_FAKE_MONOTONIC", "1")];
    endpoint.start_in(SECRET, &past);
    let (kafka, address, _) = broker(&endpoint);
    let (_database, settings) = outbox(Postgres::newest(), &kafka, "login_clock");
    let checked = check(&endpoint.client(settings, &address, SECRET));
    checked.is_ready_but_for(&["kafka_login"]);
    let warning = checked.warning("kafka_login", "our clock is 1");
    let found = warning["found"].as_str().expect("a text");
    assert!(found.contains("s ahead of that of token endpoint"), "{found}");
    assert_eq!(warning["remedy"]["note"], "set the clock of this machine by NTP");
}
