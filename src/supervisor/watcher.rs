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

use super::first_start;
use super::prepare::Watched;
use crate::config::Config;
use crate::error::Failure;
use crate::pipeline::Teller;
use crate::postgres::catalog::Catalog;
use crate::proof;
use crate::status::HaltCode;

/// A change is named within ten seconds; this leaves room for a slow answer.
const POLL: Duration = Duration::from_secs(3);

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The running watch; dropped, it ends.
#[derive(Debug)]
pub(super) struct Watching {
    /// The failure, once there is one.
    pub(super) facts: watch::Receiver<Option<Failure>>,
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to watch.
pub(super) fn watch(
    catalog: Catalog,
    config: Arc<Config>,
    watched: Watched,
    teller: Teller,
) -> Watching {
    let (sender, facts) = watch::channel(None);
    let task = tokio::spawn(async move {
        let mut catalog = Some(catalog);
        loop {
            match look(&mut catalog, &config, &watched, &teller).await {
                Ok(()) => {}
                Err(failure @ Failure::Halt { code, .. }) if !code.resumes_by_itself() => {
                    sender.send_replace(Some(failure));
                    // The receiver ends the generation, and with it this task.
                    return std::future::pending().await;
                }
                Err(failure) => {
                    catalog = None;
                    teller.catalog_trouble(&failure);
                    tracing::debug!("the catalog cannot be watched: {failure}");
                }
            }
            tokio::time::sleep(POLL).await;
        }
    });
    Watching { facts, task }
}

async fn look(
    catalog: &mut Option<Catalog>,
    config: &Config,
    watched: &Watched,
    teller: &Teller,
) -> Result<(), Failure> {
    let connected = match catalog {
        Some(connected) if !connected.is_closed() => connected,
        _ => {
            let connect = tokio::time::timeout(LIMIT, Catalog::connect(&config.database));
            let fresh = connect
                .await
                .map_err(|_| Failure::again("postgres_timeout", "connecting took too long"))?
                .map_err(|error| Failure::postgres("connect to the database", &error))?;
            catalog.insert(fresh)
        }
    };
    let slow = |_| Failure::again("postgres_timeout", "the catalog did not answer in time");
    let server = tokio::time::timeout(LIMIT, connected.server())
        .await
        .map_err(slow)?
        .map_err(|error| Failure::postgres("ask the server for its settings", &error))?;
    let slot = tokio::time::timeout(LIMIT, connected.slot(&config.slot))
        .await
        .map_err(slow)?
        .map_err(|error| Failure::postgres(&format!("look at slot {}", config.slot), &error))?;
    teller.servers_facts(&server, slot.as_ref());
    tokio::time::timeout(LIMIT, unchanged(connected, config, watched)).await.map_err(slow)?
}

/// The publication and the tables are what they were at the start.
async fn unchanged(catalog: &Catalog, config: &Config, watched: &Watched) -> Result<(), Failure> {
    let name = &config.publication;
    let publication = catalog
        .publication(name)
        .await
        .map_err(|error| Failure::postgres(&format!("look at publication {name}"), &error))?;
    let hint = "Put it right; then `walpost checkpoint accept` goes on, after printing the range";
    let Some(publication) = publication else {
        return Err(Failure::halt(
            HaltCode::PublicationChanged,
            format!("publication {name} was dropped"),
            hint,
        ));
    };
    let now = first_start::examine(config, catalog, &publication).await;
    let fingerprint = match now {
        Ok(now) if now == *watched => return Ok(()),
        Ok(now) => now.fingerprint,
        // Behind what is left of the publication, so that it is known whose change this is.
        Err(Failure::Halt { message, .. }) => {
            format!("{}; {message}", first_start::fingerprint(&publication, &[]))
        }
        Err(again @ Failure::Again { .. }) => return Err(again),
    };
    Err(Failure::halt(
        proof::changed(&watched.fingerprint, &fingerprint),
        format!(
            "publication {name} or its tables changed: {} became {fingerprint}",
            watched.fingerprint
        ),
        hint,
    ))
}
