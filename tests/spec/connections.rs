//! Goal: walpost reaches Postgres as libpq does and Kafka as Kafka's own clients do, and where it does
//! not get in, it says why in words that name the cause, and no secret.
//!
//! Method: real servers with certificates made for the test; each cell of a matrix is one run of the
//! program, which either relays a row or is read for its reason. What libpq does is not assumed: psql
//! is run with the same settings beside each cell of Postgres' matrix. Every cell prints a line
//! (`cargo test --test spec connections -- --nocapture`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Settings, until};

mod authentication;
mod between;
pub(crate) mod certificates;
mod hosts;
mod kafka_security;
mod rotation;
mod sslmode;

/// A part of every password here, looked for in all that walpost shows.
const CANARY: &str = "canary-word-71c";

/// One run of walpost: its name in the output, what is set beside the usual, and what is to come of it.
struct Cell<'a> {
    name: String,
    environment: Vec<(&'static str, String)>,
    expected: Expected<'a>,
}

/// What is to come of a run.
#[derive(Clone, Copy)]
enum Expected<'a> {
    /// A row arrives.
    Streams,
    /// A row arrives, and the replication connection is encrypted, or is not.
    StreamsOver { tls: bool },
    /// It says so, and goes on trying.
    Refused(&'a str),
    /// It says so at once, and ends with the exit code for a wrong configuration.
    Misconfigured(&'a str),
    /// It says so, and halts with this code.
    Halted(&'static str, &'a str),
}

impl Cell<'_> {
    /// Runs walpost from `database` to `kafka` and holds what comes of it against what is expected.
    #[track_caller]
    fn check(&self, database: &Database, kafka: &Kafka) {
        let mut settings = Settings::new(database, kafka);
        if self.environment.iter().any(|(name, _)| *name == "PGHOST") {
            settings = settings.without("DATABASE_URL");
        }
        for (name, value) in &self.environment {
            settings = settings.env(name, value);
        }
        let mut walpost = settings.start();
        let seen = match self.expected {
            Expected::Streams => {
                relays_a_row(&mut walpost, database, kafka);
                assert_eq!(expiry(&walpost, "kafka"), self.kafka_expiry(), "{}", self.name);
                "streams".to_owned()
            }
            Expected::StreamsOver { tls } => {
                relays_a_row(&mut walpost, database, kafka);
                assert_eq!(is_encrypted(database), tls, "{}: {}", self.name, walpost.log());
                let expiry = expiry(&walpost, "postgres");
                assert_eq!(expiry.is_finite(), tls, "{}: {expiry}", self.name);
                if tls { "streams, encrypted" } else { "streams, in the clear" }.to_owned()
            }
            Expected::Refused(reason) => {
                let line = walpost.wait_for_line(reason);
                is_refused(&walpost, "", &self.name);
                message(&line)
            }
            Expected::Misconfigured(reason) => {
                let line = walpost.wait_for_line(reason);
                assert_eq!(walpost.wait(), 78, "{}: {line}", self.name);
                assert_shows_no_secret(&walpost.log(), &self.name);
                println!("{:<58} {}", self.name, line.trim());
                return;
            }
            Expected::Halted(code, reason) => {
                let line = walpost.wait_for_line(reason);
                is_refused(&walpost, code, &self.name);
                message(&line)
            }
        };
        let shown = all_it_shows(&walpost);
        assert_shows_no_secret(&shown, &self.name);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}: {}", self.name, walpost.log());
        println!("{:<58} {seen}", self.name);
    }
}

impl Cell<'_> {
    /// When the brokers' certificate expires, as far as one is verified.
    fn kafka_expiry(&self) -> f64 {
        let value = |name: &str| {
            let found = self.environment.iter().find(|(variable, _)| *variable == name);
            found.map_or("", |(_, value)| value.as_str())
        };
        let encrypted = value("KAFKA_SECURITY_PROTOCOL").contains("ssl");
        let verified = value("KAFKA_PROP_ENABLE_SSL_CERTIFICATE_VERIFICATION") != "false";
        if encrypted && verified { certificates::EXPIRY } else { f64::INFINITY }
    }
}

/// Inserts a row and waits until it is in Kafka.
#[track_caller]
fn relays_a_row(walpost: &mut Walpost, database: &Database, kafka: &Kafka) {
    walpost.wait_until_ready();
    let topic = format!("{}.order", database.name());
    let before = kafka.records(&topic).len();
    database.insert_rows("order", 1, 1, 1);
    kafka.wait_for_records(&topic, before + 1);
}

#[track_caller]
fn is_refused(walpost: &Walpost, halt: &str, cell: &str) {
    assert_eq!(walpost.get("/readyz").status, 503, "{cell}: {}", walpost.log());
    // The halt is told a moment after its line is logged, or before it.
    until(&format!("{cell}: halt code {halt:?}"), || (halted_by(walpost) == halt).then_some(()));
}

/// When the certificate of `peer` expires, in seconds since 1970.
#[track_caller]
fn expiry(walpost: &Walpost, peer: &str) -> f64 {
    let name = "walpost_tls_certificate_expiry_timestamp_seconds";
    walpost.metrics().get(name, &[("peer", peer)]).unwrap()
}

/// The code of the halt, "" without one.
#[track_caller]
fn halted_by(walpost: &Walpost) -> String {
    let metrics = walpost.metrics();
    let halted = walpost::status::HaltCode::ALL.iter().map(|code| code.as_str());
    let mut halted = halted.filter(|code| metrics.sum("walpost_halted", &[("code", code)]) > 0.0);
    halted.next().unwrap_or("").to_owned()
}

/// Whether the connection that holds the database's slot is encrypted.
#[track_caller]
fn is_encrypted(database: &Database) -> bool {
    let name = database.name();
    let ssl = database.value(&format!(
        "select ssl from pg_replication_slots join pg_stat_ssl on pid = active_pid
         where slot_name = '{name}'"
    ));
    ssl == "t"
}

/// Secrets are looked for as they are, and as headers and URLs have them.
#[track_caller]
fn assert_shows_no_secret(shown: &str, cell: &str) {
    for form in [CANARY.to_owned(), STANDARD.encode(CANARY), CANARY.replace('-', "%2D")] {
        assert!(!shown.contains(&form), "{cell} shows a secret: {shown}");
    }
}

/// Everything that a running relay shows.
fn all_it_shows(walpost: &Walpost) -> String {
    let mut shown = walpost.log();
    for path in ["/", "/metrics", "/status.json", "/readyz", "/livez", "/startupz"] {
        if let Some(answer) = walpost.try_get(path) {
            shown.push_str(&answer.body);
        }
    }
    shown
}

/// The text of a line of the log.
fn message(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| line.into());
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    text(&line["message"]).or_else(|| text(&line["fields"]["message"])).unwrap_or(line.to_string())
}

/// Checks cells side by side, each with a database that `make` makes. `DATABASE` in a URL, and a
/// `PGDATABASE` that is not set, become that database.
#[track_caller]
fn check_all(cells: &mut [Cell<'_>], make: impl Fn() -> Database + Sync, kafka: &Kafka) {
    std::thread::scope(|scope| {
        for cell in cells {
            let make = &make;
            scope.spawn(move || {
                let database = make();
                database.create_outbox();
                for (_, value) in &mut cell.environment {
                    *value = value.replace("DATABASE", database.name());
                }
                cell.environment.push(("PGDATABASE", database.name().to_owned()));
                cell.check(&database, kafka);
            });
        }
    });
}
