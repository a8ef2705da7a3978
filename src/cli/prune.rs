//! `walpost prune`: deletes rows of the outbox table that are proven to be in Kafka.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::command::{self, Stopped, refused};
use super::{Exit, confirm, output};
use crate::config::Config;
use crate::config::env::Environment;
use crate::error::Failure;
use crate::kafka::checkpoint::Checkpoint;
use crate::postgres::catalog::{Catalog, Publication};
use crate::prune::{
    Batch, Batches, Counted, Dropping, Horizon, NotPassed, Obstacle, Scope, Wanted, count,
    drop_partitions, published, scopes,
};
use crate::status::HaltCode;
use crate::supervisor::decision;

mod holding;
mod text;

use holding::Holding;

/// How often the checkpoint is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(500);

/// How often a long deletion says where it is.
const SAY: Duration = Duration::from_secs(5);

/// What to delete.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// Only rows whose time column says that they are older than this, such as 12h or 30d; 0 is any
    /// age.
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = crate::config::duration)]
    older_than: Duration,
    /// Says what would be deleted, what not, and why. Changes nothing; reads all of the table.
    #[arg(long)]
    dry_run: bool,
    /// Drops whole partitions too, those of which every row may be deleted and whose range of
    /// times has passed. Needs the owner's rights.
    #[arg(long)]
    drop_partitions: bool,
    /// Also rows that are not known to be in Kafka: of before the stream's beginning, skipped ones,
    /// dead letters without payload, attached partitions. They are then nowhere.
    #[arg(long)]
    including_undelivered: bool,
    /// With --including-undelivered: does not ask. Without this, the slot's name must be typed.
    #[arg(long)]
    yes: bool,
    /// How long the relay may take to deliver what is in the table now.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::config::duration)]
    wait: Duration,
    /// Rests after each batch, so many times as long as the batch took; 0 is as fast as possible.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    rest: u32,
    /// Prints counts, partitions and obstacles as JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(arguments: Arguments, environment: &Environment) -> io::Result<Exit> {
    command::run(environment, |config| prune(config, arguments))
}

/// What became of one table.
struct Done {
    table: String,
    counted: Option<Counted>,
    deleted: u64,
    busy_pages: u64,
    partitions: Vec<Dropping>,
}

async fn prune(config: Config, arguments: Arguments) -> Result<Exit, Stopped> {
    if config.shards > 1 {
        return Err(refused(
            format!("WALPOST_SHARDS is {}: each shard proves its own rows only", config.shards),
            "delete by age with a job of your own, older than the longest stop that you expect; nothing was deleted",
        ));
    }
    if config.tables.is_empty() {
        return Err(command::no_table(
            "to delete from",
            "messages leave nothing behind: the server removes its log when the slot has moved on",
        ));
    }
    let survey = decision::survey(&config, false).await?;
    let mut objections = survey.found.objections(&config);
    // A relay at work moved its slot after the checkpoint had been read here.
    let now = decision::stored(&config).await?.checkpoint;
    let slot = survey.found.facts.confirmed_flush_lsn;
    if now.is_some_and(|now| now.resume_lsn >= slot) {
        objections.retain(|objection| objection.code != HaltCode::SlotAhead);
    }
    if let Some(objection) = objections.into_iter().next() {
        return Err(refused(
            format!(
                "nothing is proven while the stream cannot go on ({}): {}",
                objection.code.as_str(),
                objection.message
            ),
            "`walpost checkpoint accept` says more; nothing was deleted",
        ));
    }
    let catalog = survey.catalog;
    let horizon = Horizon::take(&catalog).await?;
    let holding = holding::ask(&config, &catalog).await?;
    let (checkpoint, publication) = wait(&config, &catalog, (&horizon, arguments.wait)).await?;
    let server = catalog
        .server()
        .await
        .map_err(|error| Failure::postgres("ask the server for its clock", &error))?;
    let wanted = Wanted {
        older_than: arguments.older_than,
        now: server.now,
        including_undelivered: arguments.including_undelivered,
    };
    let (scopes, obstacles) =
        scopes(&config, &catalog, (&checkpoint, &publication), &wanted).await?;
    if arguments.including_undelivered && !arguments.dry_run && !scopes.is_empty() {
        let names: Vec<_> = scopes.iter().map(|scope| scope.name.to_string()).collect();
        let question = format!(
            "rows of {} that are not known to be in Kafka are deleted too; then they are nowhere",
            names.join(", ")
        );
        confirm::word(&question, &config.slot, arguments.yes)?;
    }
    let mut done = Vec::new();
    for scope in &scopes {
        done.push(table(&catalog, (scope, &horizon), &wanted, arguments).await?);
    }
    say(arguments, (&horizon, &obstacles, &holding), &done)?;
    let nothing_can_be = scopes.is_empty() && !obstacles.is_empty();
    Ok(if nothing_can_be { Exit::Failed } else { Exit::Done })
}

/// Waits until what is in the table now is delivered, as far as it is for the stream to deliver.
async fn wait(
    config: &Config,
    catalog: &Catalog,
    (horizon, limit): (&Horizon, Duration),
) -> Result<(Checkpoint, Publication), Stopped> {
    let deadline = Instant::now() + limit;
    let mut said = false;
    loop {
        let stored = decision::stored(config).await?;
        let Some(checkpoint) = stored.checkpoint.filter(|_| stored.unreadable.is_none()) else {
            return Err(refused(
                format!("topic {} has no checkpoint that can be read", config.checkpoint_topic),
                "nothing is proven delivered before walpost has run; nothing was deleted",
            ));
        };
        // Read after the horizon was taken: what it is now, it was when those rows were committed.
        let (publication, fingerprint) = published(config, catalog).await?;
        let stands = match horizon.passed(&checkpoint, &fingerprint) {
            Ok(()) if !checkpoint.kept.unknown => return Ok((checkpoint, publication)),
            Ok(()) => checkpoint.resume_lsn,
            Err(NotPassed::Yet { stands }) => stands,
            Err(NotPassed::Never(why)) => {
                return Err(refused(format!("nothing is proven: {why}"), "nothing was deleted"));
            }
        };
        if Instant::now() >= deadline {
            return Err(refused(
                format!(
                    "nothing is proven: within {limit:?} the checkpoint has not passed {}; it stands at {stands}",
                    horizon.lsn
                ),
                "see `walpost status` whether the relay runs, and how far it is behind; --wait 10m waits longer. Nothing was deleted",
            ));
        }
        if !said {
            said = true;
            output::error(&format!(
                "waiting until the checkpoint, at {stands}, has passed {}; an idle relay takes up to ten seconds",
                horizon.lsn
            ));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn table(
    catalog: &Catalog,
    (scope, horizon): (&Scope, &Horizon),
    wanted: &Wanted,
    arguments: Arguments,
) -> Result<Done, Stopped> {
    let mut done = Done {
        table: scope.name.to_string(),
        counted: None,
        deleted: 0,
        busy_pages: 0,
        partitions: Vec::new(),
    };
    if arguments.drop_partitions {
        done.partitions =
            drop_partitions(catalog, (scope, horizon), wanted, arguments.dry_run).await?;
    }
    if arguments.dry_run {
        done.counted = Some(count(catalog, (scope, horizon), wanted).await?);
        return Ok(done);
    }
    let mut batches = Batches::begin(catalog, (scope, horizon), wanted, arguments.rest).await?;
    let mut said = Instant::now();
    while let Batch::Deleted(_, pause) = batches.next(catalog).await? {
        if said.elapsed() >= SAY {
            said = Instant::now();
            let (page, pages) = batches.progress();
            output::error(&format!(
                "{}: {} rows deleted, page {page} of {pages}",
                scope.name,
                batches.deleted()
            ));
        }
        tokio::time::sleep(pause).await;
    }
    (done.deleted, done.busy_pages) = (batches.deleted(), batches.busy());
    Ok(done)
}

fn say(
    arguments: Arguments,
    (horizon, obstacles, holding): (&Horizon, &[Obstacle], &[Holding]),
    done: &[Done],
) -> Result<(), Stopped> {
    output::line(&if arguments.json {
        format!("{:#}", as_json(arguments, (horizon, obstacles, holding), done))
    } else {
        text::of(arguments, (obstacles, holding), done)
    })?;
    Ok(())
}

fn as_json(
    arguments: Arguments,
    (horizon, obstacles, holding): (&Horizon, &[Obstacle], &[Holding]),
    done: &[Done],
) -> Value {
    let tables: Vec<_> = done
        .iter()
        .map(|done| {
            json!({
                "table": done.table,
                "counted": done.counted,
                "deleted": done.deleted,
                "busy_pages": done.busy_pages,
                "partitions": done.partitions,
            })
        })
        .collect();
    json!({
        "dry_run": arguments.dry_run,
        "delivered_up_to": horizon.lsn.to_string(),
        "tables": tables,
        "obstacles": obstacles,
        "held_back_by": holding,
    })
}
