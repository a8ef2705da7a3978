//! Watches the catalog while the stream runs.
//!
//! The stream itself does not tell when rows are missing: a publication that no longer contains
//! the table sends nothing, a table that was dropped and made again under its name has left the
//! publication, and Postgres 18 only warns in its own log when a publication is gone. So what was
//! proven at the start is asked again every few seconds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::first_start::{self, Unfit, Unsuitable};
use super::prepare::{Watched, moment};
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::floor::Moment;
use crate::lsn::Lsn;
use crate::mutant::{self, Mutant};
use crate::outbox::role::TableName;
use crate::pipeline::{CatalogFacts, Teller};
use crate::postgres::catalog::Catalog;
use crate::proof;
use crate::status::HaltCode;

/// A change is named within ten seconds; this leaves room for a slow answer.
const POLL: Duration = Duration::from_secs(3);

/// Between two looks the end of the log is asked for this often: what the stream does not say,
/// while the server decodes a large transaction, is that there is more to come.
const END_POLL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The running watch; dropped, it ends.
#[derive(Debug)]
pub(super) struct Watching {
    /// When all was well last, and the failure, once there is one.
    pub(super) facts: watch::Receiver<CatalogFacts>,
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the watch knows.
struct Watch {
    config: Arc<Config>,
    watched: Watched,
    teller: Teller,
    catalog: Option<Catalog>,
    /// When all was well last: place and time of the server.
    seen: (Lsn, i64),
    /// The server's transactions then.
    moment: Option<Moment>,
    /// A table that was renamed is named once.
    renamed: Option<TableName>,
}

/// Begins to watch. `seen` is a place of the server's log, and its clock, at which all was well.
pub(super) fn watch(
    catalog: Catalog,
    config: Arc<Config>,
    watched: Watched,
    teller: Teller,
    seen: (Lsn, i64),
) -> Watching {
    let (sender, facts) = watch::channel(said(seen, None, None));
    let task = tokio::spawn(async move {
        let mut watch = Watch {
            config,
            watched,
            teller,
            catalog: Some(catalog),
            seen,
            moment: None,
            renamed: None,
        };
        loop {
            match watch.look().await {
                Ok(()) => {
                    sender.send_replace(said(watch.seen, watch.moment, None));
                }
                Err(failure @ Failure::Halt { code, .. }) if !code.resumes_by_itself() => {
                    sender.send_replace(said(watch.seen, watch.moment, Some(failure)));
                    // The receiver ends the generation, and with it this task.
                    return std::future::pending().await;
                }
                Err(failure) => {
                    watch.catalog = None;
                    watch.teller.catalog_trouble(&failure);
                    tracing::debug!("the catalog cannot be watched: {failure}");
                }
            }
            watch.follow_the_end().await;
        }
    });
    Watching { facts, task }
}

fn said(
    (seen_lsn, seen_time): (Lsn, i64),
    moment: Option<Moment>,
    failure: Option<Failure>,
) -> CatalogFacts {
    CatalogFacts { failure, seen_lsn, seen_time, moment }
}

impl Watch {
    async fn look(&mut self) -> Result<(), Failure> {
        let Self { config, teller, catalog, .. } = self;
        let connected = match catalog {
            Some(connected) if !connected.is_closed() => connected,
            _ => {
                let connect = tokio::time::timeout(LIMIT, Catalog::connect(&config.database));
                let fresh = connect
                    .await
                    .map_err(|_| Failure::again("postgres_timeout", "connecting took too long"))?
                    .map_err(|error| Failure::postgres("connect to the database", &error))?;
                teller.postgres_certificate(fresh.certificate_not_after());
                catalog.insert(fresh)
            }
        };
        let slow = |_| Failure::again("postgres_timeout", "the catalog did not answer in time");
        let asked = Instant::now();
        let server = tokio::time::timeout(LIMIT, connected.server())
            .await
            .map_err(slow)?
            .map_err(|error| Failure::postgres("ask the server for its settings", &error))?;
        let slot = tokio::time::timeout(LIMIT, connected.slot(&config.slot))
            .await
            .map_err(slow)?
            .map_err(|error| {
            Failure::postgres(&format!("look at slot {}", config.slot), &error)
        })?;
        teller.servers_facts(&server, slot.as_ref(), asked);
        if mutant::is(Mutant::NotWatched) {
            return Ok(());
        }
        let now = (server.wal_end, server.now);
        let looked = tokio::time::timeout(LIMIT, unchanged(connected, config, &self.watched));
        match looked.await.map_err(slow)? {
            Ok(renamed) => {
                self.say_renamed(renamed);
                self.teller.catalog_is_as_before();
                self.seen = now;
                self.moment = Some(moment(&server));
                Ok(())
            }
            Err(Changed::Failed(failure)) => Err(failure),
            Err(Changed::Halt { code, message, hint }) => {
                let hint = format!(
                    "rows committed between {} and {} may be missing in Kafka. {hint}; then `walpost checkpoint accept` prints the range, and goes on with --yes",
                    proof::place(self.seen),
                    proof::place(now),
                );
                Err(Failure::halt(code, message, hint))
            }
        }
    }

    /// Waits until it is time for the next look, and tells meanwhile where the log ends. A failure
    /// is left to the look to tell.
    async fn follow_the_end(&mut self) {
        let until = Instant::now() + POLL;
        loop {
            let next = until.min(Instant::now() + END_POLL);
            tokio::time::sleep_until(next).await;
            if next == until {
                return;
            }
            let Some(catalog) = self.catalog.as_ref().filter(|catalog| !catalog.is_closed()) else {
                continue;
            };
            let asked = Instant::now();
            if let Ok(Ok(end)) = tokio::time::timeout(LIMIT, catalog.wal_end()).await {
                self.teller.log_ends(end, asked);
            }
        }
    }

    /// A renamed table is followed by its object id, so its rows go on. A restart would not find
    /// it under the name of the configuration, so it is named while there is time.
    fn say_renamed(&mut self, renamed: Option<(TableName, TableName)>) {
        match renamed {
            Some((before, now)) if self.renamed.as_ref() != Some(&now) => {
                let failure = first_start::renamed(&before, &now);
                tracing::warn!(hint = failure.hint(), "{}", failure.message());
                failure.tell_without_halting(&self.teller.status);
                self.renamed = Some(now);
            }
            Some(_) => {}
            None => self.renamed = None,
        }
    }
}

/// What is not as it was.
enum Changed {
    Failed(Failure),
    Halt { code: HaltCode, message: String, hint: String },
}

impl From<Failure> for Changed {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The publication and the tables are what they were at the start; answers which table has
/// another name since.
async fn unchanged(
    catalog: &Catalog,
    config: &Config,
    watched: &Watched,
) -> Result<Option<(TableName, TableName)>, Changed> {
    let name = &config.publication;
    let publication = catalog
        .publication(name)
        .await
        .map_err(|error| Failure::postgres(&format!("look at publication {name}"), &error))?;
    let Some(publication) = publication else {
        return Err(Changed::Halt {
            code: HaltCode::PublicationChanged,
            message: format!("publication {name} was dropped"),
            hint: format!("Create it again with {}", first_start::create_publication_sql(config)),
        });
    };
    let (now, renamed) = match first_start::examine(config, catalog, &publication).await {
        Err(Unsuitable::Unfit(Unfit { missing: Some(missing), .. })) => {
            let renamed = renamed(catalog, config, (watched, &missing)).await?;
            // By the object ids of the start: what has the name is not what is published.
            let oids = watched.table_oids.clone();
            let now = match &renamed {
                Some(_) => first_start::examine_tables(config, &publication, oids),
                None => Err(Unsuitable::Unfit(Unfit {
                    code: HaltCode::TableChanged,
                    message: format!("table {missing} was dropped"),
                    hint: "Create it again and add it to the publication".to_owned(),
                    missing: None,
                })),
            };
            (now, renamed.map(|now| (missing, now)))
        }
        other => (other, None),
    };
    match now {
        Ok(now) => match proof::compare(&watched.fingerprint, &now.fingerprint) {
            proof::Difference::None => Ok(renamed),
            proof::Difference::Added(_) => {
                Err(changed(HaltCode::TableChanged, watched, &now, name))
            }
            proof::Difference::Changed(code) => Err(changed(code, watched, &now, name)),
        },
        Err(Unsuitable::Unfit(Unfit { code, message, hint, .. })) => {
            Err(Changed::Halt { code, message, hint })
        }
        Err(Unsuitable::Failed(failure)) => Err(Changed::Failed(failure)),
    }
}

fn changed(code: HaltCode, before: &Watched, now: &Watched, publication: &str) -> Changed {
    Changed::Halt {
        code,
        message: format!(
            "publication {publication} or its tables changed: {} became {}",
            before.fingerprint, now.fingerprint
        ),
        hint: "Find out what was changed, and why".to_owned(),
    }
}

/// What the table that had this name at the start is called now.
async fn renamed(
    catalog: &Catalog,
    config: &Config,
    (watched, missing): (&Watched, &TableName),
) -> Result<Option<TableName>, Failure> {
    let place = config.tables.iter().position(|table| table == missing);
    let Some(oid) = place.and_then(|place| watched.table_oids.get(place)) else {
        return Ok(None);
    };
    let name = catalog
        .table_name(*oid)
        .await
        .map_err(|error| Failure::postgres(&format!("look for table {missing}"), &error))?;
    Ok(name.map(|(schema, table)| TableName { schema, table }))
}
