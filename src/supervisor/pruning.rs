//! What the leader does about the outbox tables beside relaying them: it tells how large they are,
//! and with `WALPOST_PRUNE_AFTER` it deletes what is proven delivered.
//!
//! It has a connection of its own and waits for nobody, and nobody waits for it: whatever goes wrong
//! here is said, and tried again later, while the stream goes on.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::claim;
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::checkpoint::Checkpoint;
use crate::pipeline::Teller;
use crate::postgres::catalog::{Catalog, Publication};
use crate::prune::{Batch, Batches, Horizon, NotPassed, Obstacle, Wanted, published, scopes};

/// How often the tables are measured.
const MEASURE: Duration = Duration::from_secs(30);

/// How often the checkpoint is looked at while it is waited for. An idle one moves every ten
/// seconds.
const POLL: Duration = Duration::from_secs(2);

/// How long a checkpoint is waited for before a new horizon is taken.
const PATIENCE: Duration = Duration::from_secs(600);

/// After each batch the relay rests so many times as long as that took.
const REST: u32 = 3;

/// The running task; dropped, it ends. A batch that is under way is then ended by the server.
#[derive(Debug)]
pub(super) struct Pruning(JoinHandle<()>);

impl Drop for Pruning {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins. `claimed` is the record of this generation.
pub(super) fn start(config: &Config, claimed: &Checkpoint, teller: &Teller) -> Pruning {
    let (config, claimed, teller) = (config.clone(), claimed.clone(), teller.clone());
    Pruning(tokio::spawn(async move {
        let mut work = Work { config, claimed, teller, catalog: None, said: Vec::new() };
        let mut next = Instant::now();
        loop {
            if let Err(failure) = work.measure().await {
                work.trouble(&failure);
            }
            if let Some(after) = work.config.prune_after
                && Instant::now() >= next
            {
                if let Err(failure) = work.prune(after).await {
                    work.trouble(&failure);
                }
                next = Instant::now() + interval(after);
            }
            let wake = match work.config.prune_after {
                Some(_) => next.min(Instant::now() + MEASURE),
                None => Instant::now() + MEASURE,
            };
            tokio::time::sleep_until(wake).await;
        }
    }))
}

/// How long after a walk over the table the next one begins. Each reads all of it.
fn interval(after: Duration) -> Duration {
    (after / 100).clamp(Duration::from_secs(1), Duration::from_secs(3_600))
}

struct Work {
    config: Config,
    claimed: Checkpoint,
    teller: Teller,
    catalog: Option<Catalog>,
    /// What stands in the way and was said.
    said: Vec<Obstacle>,
}

impl Work {
    fn trouble(&mut self, failure: &Failure) {
        self.catalog = None;
        tracing::warn!(hint = failure.hint(), "the outbox table is not looked after: {failure}");
        failure.tell_without_halting(&self.teller.status);
    }

    async fn connected(&mut self) -> Result<&Catalog, Failure> {
        let catalog = match self.catalog.take() {
            Some(catalog) if !catalog.is_closed() => catalog,
            Some(_) | None => Catalog::connect(&self.config.database)
                .await
                .map_err(|error| Failure::postgres("connect to the database", &error))?,
        };
        Ok(self.catalog.insert(catalog))
    }

    async fn measure(&mut self) -> Result<(), Failure> {
        // The tables are those of all streams; the first one tells how large they are.
        if self.config.shard_index() > 0 {
            return Ok(());
        }
        let tables = self.config.tables.clone();
        let catalog = self.connected().await?;
        let (mut rows, mut bytes) = (0, 0);
        for name in &tables {
            let failed = |error| Failure::postgres(&format!("measure table {name}"), &error);
            let table = catalog.table(&name.schema, &name.table).await.map_err(failed)?;
            let Some(table) = table else { continue };
            if let Some(size) = catalog.table_size(table.oid).await.map_err(failed)? {
                rows += size.rows_estimate.unwrap_or(0);
                bytes += size.total_bytes;
            }
        }
        self.teller.metrics.outbox(rows, bytes);
        Ok(())
    }

    /// One walk over the tables.
    async fn prune(&mut self, after: Duration) -> Result<(), Failure> {
        let catalog = self.connected().await?;
        let horizon = Horizon::take(catalog).await?;
        let Some((checkpoint, publication)) = self.wait(&horizon).await? else { return Ok(()) };
        let config = self.config.clone();
        let catalog = self.connected().await?;
        let server = catalog
            .server()
            .await
            .map_err(|error| Failure::postgres("ask the server for its clock", &error))?;
        let wanted = Wanted { older_than: after, now: server.now, including_undelivered: false };
        let (scopes, obstacles) =
            scopes(&config, catalog, (&checkpoint, &publication), &wanted).await?;
        self.say(obstacles);
        for scope in &scopes {
            let catalog = self.connected().await?;
            let mut batches = Batches::begin(catalog, (scope, &horizon), &wanted, REST).await?;
            loop {
                let batch = batches.next(self.connected().await?).await?;
                let Batch::Deleted(rows, pause) = batch else { break };
                self.teller.metrics.pruned_rows(rows);
                tokio::time::sleep(pause).await;
            }
            if batches.deleted() > 0 {
                tracing::info!(table = %scope.name, rows = batches.deleted(), "delivered rows were deleted");
            }
        }
        Ok(())
    }

    /// Waits until this generation's checkpoint has passed the horizon; `None` when it takes too
    /// long.
    async fn wait(
        &mut self,
        horizon: &Horizon,
    ) -> Result<Option<(Checkpoint, Publication)>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let stored = claim::read(&self.config).await?;
            // A record of anybody else was proven by somebody else.
            let ours = |stored: &Checkpoint| {
                stored.generation == self.claimed.generation && stored.nonce == self.claimed.nonce
            };
            if let Some(checkpoint) = stored.checkpoint.filter(ours) {
                let config = self.config.clone();
                let (publication, fingerprint) =
                    published(&config, self.connected().await?).await?;
                match horizon.passed(&checkpoint, &fingerprint) {
                    Ok(()) if !checkpoint.kept.unknown => {
                        return Ok(Some((checkpoint, publication)));
                    }
                    Ok(()) | Err(NotPassed::Yet { .. }) => {}
                    Err(NotPassed::Never(why)) => return Err(Failure::again("not_pruned", why)),
                }
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(None)
    }

    /// Says what stands in the way: once, and again when it is something else.
    fn say(&mut self, obstacles: Vec<Obstacle>) {
        if obstacles == self.said {
            return;
        }
        for Obstacle { table, why } in &obstacles {
            tracing::warn!(table, "nothing of it is pruned: {why}");
            self.teller.status.error(
                "not_pruned",
                &format!("nothing of {table} is pruned: {why}"),
                "",
            );
        }
        self.said = obstacles;
    }
}
