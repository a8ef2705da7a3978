//! One walpost with a database of its own, on servers that all cases share.

use std::sync::OnceLock;

use super::Case;
use crate::oracle::lsn;
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Metrics, Postgres, Record, Settings, until};

/// A transaction as Postgres remembers it.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    /// `pg_xact_commit_timestamp` as RFC 3339 writes it.
    pub(super) commit_time: String,
    /// The position of its commit record lies between these.
    pub(super) positions: (u64, u64),
}

pub(super) struct Relay {
    database: Database,
    walpost: Walpost,
}

/// A server that remembers the times of commits.
pub(super) fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start_with(18, &["track_commit_timestamp=on"]))
}

impl Relay {
    /// Makes the table and starts walpost; `mode` is empty where the case sets its own.
    #[track_caller]
    pub(super) fn start(case: &Case, mode: &str) -> Self {
        Self::start_on(server(), case, mode)
    }

    #[track_caller]
    pub(super) fn start_on(server: &Postgres, case: &Case, mode: &str) -> Self {
        let database = server.database("shop");
        database.execute(&inner(case.table, database.name()));
        let mut settings = Settings::new(&database, Kafka::shared());
        for (name, value) in case.settings {
            settings = settings.env(name, inner(value, database.name()));
        }
        if !mode.is_empty() {
            settings = settings.env("WALPOST_CE_MODE", mode);
        }
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        Self { database, walpost }
    }

    pub(super) fn name(&self) -> &str {
        self.database.name()
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.walpost.metrics()
    }

    pub(super) fn log(&self) -> String {
        self.walpost.log()
    }

    /// Runs statements in a transaction of their own, or as they are when they begin one.
    #[track_caller]
    pub(super) fn insert(&self, row: &str) -> Transaction {
        let (id, transaction) = self.insert_numbered(row);
        let commit_time = id.map_or_else(String::new, |id| {
            self.database.value(&format!(
                "select to_char(pg_xact_commit_timestamp('{id}') at time zone 'UTC',
                 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
            ))
        });
        // A full second has no fraction.
        Transaction { commit_time: commit_time.replace(".000000Z", "Z"), ..transaction }
    }

    /// As [`Self::insert`], in a server that does not remember the times of commits.
    #[track_caller]
    pub(super) fn insert_only(&self, row: &str) -> Transaction {
        self.insert_numbered(row).1
    }

    #[track_caller]
    fn insert_numbered(&self, row: &str) -> (Option<String>, Transaction) {
        let sql = inner(row, self.name());
        let begins = ["(", "values", "default values"].iter().any(|start| sql.starts_with(start));
        let sql = if begins { format!("insert into outbox {sql}") } else { sql };
        let from = self.database.value("select pg_current_wal_insert_lsn()");
        let id = if sql.starts_with("begin") {
            self.database.execute(&sql);
            None
        } else {
            let number = "select pg_current_xact_id()::xid";
            let rows = self.database.query(&format!("begin; {sql}; {number}; commit"));
            rows.last().and_then(|row| row.first()?.clone())
        };
        let to = self.database.value("select pg_current_wal_insert_lsn()");
        let positions = (lsn(&from), lsn(&to));
        (id, Transaction { commit_time: String::new(), positions })
    }

    /// Waits for so many records in the topics of this database, stops walpost in order, so that all
    /// it has taken is written, and returns every record there is.
    #[track_caller]
    pub(super) fn finish(&mut self, count: usize) -> Vec<Record> {
        let log = self.log();
        until(&format!("{count} records; it said:\n{log}"), || {
            (self.records().len() >= count).then_some(())
        });
        self.walpost.terminate();
        assert_eq!(self.walpost.wait(), 0, "{}", self.log());
        self.records()
    }

    /// Every record in the topics of this database, in the order they were sent.
    pub(super) fn records(&self) -> Vec<Record> {
        let (kafka, prefix) = (Kafka::shared(), format!("{}.", self.name()));
        let topics: Vec<_> =
            kafka.topics().into_iter().filter(|topic| topic.starts_with(&prefix)).collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        if topics.is_empty() {
            return Vec::new();
        }
        let mut records = kafka.records_of(&topics);
        records.sort_by_key(|record| record.timestamp);
        records
    }
}

/// What a user writes of a database `shop`, for the one that this test has.
fn inner(text: &str, name: &str) -> String {
    text.replace("shop.", &format!("{name}."))
}
