//! `walpost adopt`: goes on where another relay has stopped.
//!
//! A connector stores what it has sent in Kafka Connect's offsets topic. That place becomes walpost's
//! first checkpoint. walpost reads either a slot of its own, which must be there before the connector
//! stops, or the connector's: a slot that is made later begins later, and the rows in between would
//! be in neither stream.

use std::io;

use super::command::{self, Stopped, refused};
use super::{Exit, output};
use crate::config::Config;
use crate::config::env::Environment;
use crate::error::Failure;
use crate::kafka::client::auxiliary;
use crate::ledger::Mark;
use crate::lsn::Lsn;
use crate::postgres::catalog::{Catalog, Publication, Slot};
use crate::supervisor::decision::{self, Survey};
use offset::{Offset, Offsets, Record};
use scan::{Found, Wanted};

mod judge;
mod offset;
mod said;
mod scan;

/// Whose place.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// In the place of a stopped Debezium connector. A plan without --yes.
    ///
    /// Reads where the connector stands from Kafka Connect's offsets topic, proves that the slot of
    /// WALPOST_SLOT has every row since, says what may come twice, and writes walpost's first
    /// checkpoint. Make that slot while the connector is still at work (`walpost setup --apply
    /// --slot`), then stop the connector; or name the connector's own slot in WALPOST_SLOT and its
    /// publication in WALPOST_PUBLICATION.
    Debezium(Arguments),
}

/// Which connector.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("from").required(true).args(["connector", "from_slot"])))]
pub struct Arguments {
    /// The connector's name in Kafka Connect.
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// Takes the position of the connector's slot instead, for a connector whose offsets are not in
    /// this Kafka. All that it has sent since that position comes again.
    #[arg(long)]
    from_slot: bool,
    /// The topic of Kafka Connect's offsets: `offset.storage.topic` of the worker, or
    /// `offsets.storage.topic` of the connector.
    #[arg(long, value_name = "TOPIC", default_value = "connect-offsets")]
    offsets_topic: String,
    /// Where the connector's `topic.prefix` has changed: the one that counts.
    #[arg(long, value_name = "PREFIX", requires = "connector")]
    topic_prefix: Option<String>,
    /// The connector's slot: its `slot.name`.
    #[arg(long, value_name = "SLOT", default_value = "debezium")]
    debezium_slot: String,
    /// Writes the checkpoint.
    #[arg(long)]
    yes: bool,
    /// Prints it as JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(command: Command, environment: &Environment) -> io::Result<Exit> {
    let Command::Debezium(arguments) = command;
    command::run(environment, |config| debezium(config, arguments))
}

/// What the connector has stored, where it is asked for.
#[derive(Clone, Debug)]
struct Stored {
    partition: String,
    record: Record,
    offset: Offset,
}

/// All that is known before anything is written.
struct Plan {
    stored: Option<Stored>,
    debezium: Slot,
    slot: Slot,
    found: Found,
    mark: Mark,
}

async fn debezium(config: Config, arguments: Arguments) -> Result<Exit, Stopped> {
    if config.shards > 1 {
        return Err(refused(
            format!(
                "WALPOST_SHARDS is {}, and a connector has one slot, whose place is that of one stream",
                config.shards
            ),
            format!(
                "adopt it with WALPOST_SHARDS=1, and then go on with `walpost reshard {}`; nothing was changed",
                config.shards
            ),
        ));
    }
    let stored = match &arguments.connector {
        Some(connector) => Some(offset_of(&config, &arguments, connector).await?),
        None => None,
    };
    let survey = decision::survey(&config, false).await?;
    let (debezium, slot) = slots(&config, &survey.catalog, &arguments.debezium_slot).await?;
    judge::checkpoint(&config, &survey.found.stored)?;
    let offset = stored.as_ref().map(|it| &it.offset);
    let slots = judge::Slots { debezium, slot };
    let (base, slots) = slots.base(&config, &arguments.debezium_slot, offset)?;
    let publication = publication(&config, &survey.catalog).await?;
    let found = read_slot(&config, &survey, &publication, (&stored, base, &slots.slot)).await?;
    let mark = judge::mark(&config, &found, base, &slots.slot)?;
    let judge::Slots { debezium, slot } = slots;
    let plan = Plan { stored, debezium, slot, found, mark };
    let written = survey.found.adopt(&config, mark)?;
    if !arguments.json {
        output::line(&said::text(&config, &arguments, &plan))?;
    }
    let generation = if arguments.yes {
        let written = decision::carry_out(&config, survey, &written).await?;
        still_stopped(&config, &arguments.debezium_slot, &plan).await?;
        Some(written.generation)
    } else {
        None
    };
    output::line(&if arguments.json {
        format!("{:#}", said::json(&config, &arguments, &plan, generation))
    } else {
        said::end(&config, &arguments, generation)
    })?;
    Ok(Exit::Done)
}

/// What Kafka Connect has stored of the connector.
async fn offset_of(
    config: &Config,
    arguments: &Arguments,
    connector: &str,
) -> Result<Stored, Stopped> {
    let topic = &arguments.offsets_topic;
    let (client, name) = (auxiliary(&config.kafka, &config.name), topic.clone());
    let read = tokio::task::spawn_blocking(move || Offsets::read(&client, &name)).await;
    let read = read.map_err(|error| Failure::again("internal", error.to_string()))?;
    let offsets = read.map_err(|error| Failure::Again {
        code: "kafka_error",
        message: format!("failed to read the offsets of Kafka Connect from topic {topic}: {error}"),
        hint: Some(format!("it needs the rights Describe and Read on topic {topic}")),
    })?;
    let (partition, record) =
        judge::record(&offsets, topic, connector, arguments.topic_prefix.as_deref())?;
    let offset = Offset::parse(&record.value).map_err(|why| {
        refused(
            format!("what is stored of connector {connector} is no position in Postgres: {why}"),
            "only Debezium's Postgres connector can be adopted: name it with --connector",
        )
    })?;
    Ok(Stored { partition: partition.to_owned(), record: record.clone(), offset })
}

/// The connector's slot, and the one that walpost is to read.
async fn slots(
    config: &Config,
    catalog: &Catalog,
    debezium: &str,
) -> Result<(Option<Slot>, Option<Slot>), Stopped> {
    let look = async |name: &str| {
        let slot = catalog.slot(name).await;
        slot.map_err(|error| Failure::postgres(&format!("look at slot {name}"), &error))
    };
    Ok((look(debezium).await?, look(&config.slot).await?))
}

async fn publication(config: &Config, catalog: &Catalog) -> Result<Publication, Stopped> {
    let name = &config.publication;
    let publication = catalog
        .publication(name)
        .await
        .map_err(|error| Failure::postgres(&format!("look at publication {name}"), &error))?;
    publication.ok_or_else(|| {
        refused(
            format!("publication {name} does not exist"),
            format!(
                "a publication that is made now does not show the rows of before: {}",
                judge::AGAIN
            ),
        )
    })
}

/// Reads what decides, and proves that the publication has shown every row since.
async fn read_slot(
    config: &Config,
    survey: &Survey,
    publication: &Publication,
    (stored, base, slot): (&Option<Stored>, Lsn, &Slot),
) -> Result<Found, Stopped> {
    let asking = |error| Failure::postgres("ask how old the publication is", &error);
    let xids = judge::versions(config, publication);
    let older = survey.catalog.ended_before_slot(&xids, &config.slot).await.map_err(asking)?;
    let in_flight = stored.as_ref().and_then(|stored| stored.offset.in_flight);
    if older && in_flight.is_none() {
        return Ok(Found::default());
    }
    // Where the publication's age is not known otherwise, a row that came through it tells.
    let from = if older { base } else { Lsn::INVALID };
    let found = scan::scan(config, Wanted { in_flight, base, from, end: slot.wal_end }).await?;
    let seen = match found.witness {
        _ if older => true,
        Some(witness) => {
            survey.catalog.precede(&xids, &witness.to_string()).await.map_err(asking)?
        }
        None => false,
    };
    if seen { Ok(found) } else { Err(judge::unproven(config)) }
}

/// A connector that was started meanwhile sends the same rows.
async fn still_stopped(config: &Config, name: &str, plan: &Plan) -> Result<(), Stopped> {
    let catalog = Catalog::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect to the database", &error))?;
    let (now, _) = slots(config, &catalog, name).await?;
    let same = now.as_ref().is_some_and(|now| {
        !now.active && now.confirmed_flush_lsn == plan.debezium.confirmed_flush_lsn
    });
    if same || name == config.slot {
        return Ok(());
    }
    Err(refused(
        format!(
            "the checkpoint is written, but meanwhile somebody took or moved slot {name}: the connector is at work again"
        ),
        "stop the connector; what it sends beside walpost comes twice, and nothing is lost",
    ))
}
