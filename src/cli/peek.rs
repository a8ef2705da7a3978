//! `walpost peek`: the events that rows would become, through the encoder of the relay.
//!
//! Values of rows are printed here: that is what the command is for.

use std::io;

use super::command::{self, Stopped};
use super::{Exit, output};
use crate::config::Config;
use crate::config::env::{Environment, Source};
use crate::error::Failure;
use crate::postgres::catalog::Catalog;

mod shown;
mod slot;
mod table;

use shown::{Form, Shown};

/// What to show, and how.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// How many rows at most, of each table or of the slot.
    #[arg(short = 'n', long = "rows", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: u32,
    /// One JSON object a line, with whole values; bytes that are no text in base64.
    #[arg(long)]
    json: bool,
    /// What the idle slot still holds, oldest first, instead of the newest rows of the table.
    /// Nothing is consumed.
    #[arg(long)]
    slot: bool,
    /// With --slot: of which shard, from 0, where there are several.
    #[arg(long, value_name = "K", requires = "slot")]
    shard: Option<u32>,
}

/// Prints them.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(arguments: Arguments, environment: &Environment) -> io::Result<Exit> {
    let form = if arguments.json {
        Form::Json
    } else {
        let columns = environment.get("COLUMNS").and_then(|(value, _)| value.into_string().ok());
        Form::Text { width: columns.and_then(|text| text.parse().ok()).unwrap_or(120) }
    };
    command::run_on_database(environment, |config| peek(config, arguments, form))
}

async fn peek(config: Config, arguments: Arguments, form: Form) -> Result<Exit, Stopped> {
    let config = match arguments.slot {
        true => command::stream(config, arguments.shard)?,
        false => config,
    };
    let catalog = Catalog::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect to the database", &error))?;
    let mut encoder = command::encoder(&config)?;
    let shown = if arguments.slot {
        slot::events(&config, &catalog, &mut encoder, arguments.rows).await?
    } else if config.tables.is_empty() {
        return Err(command::no_table(
            "to look into",
            "messages are in the server's log only: `walpost peek --slot` shows those that an idle slot still holds",
        ));
    } else {
        let mut shown = Vec::new();
        for table in &config.tables {
            let table = (table, arguments.rows);
            shown.extend(table::events(&config, &catalog, &mut encoder, table).await?);
        }
        shown
    };
    if shown.is_empty() && !arguments.json {
        let nothing = if arguments.slot {
            match &config.messages {
                None => format!("slot {} holds no row of an outbox table", config.slot),
                Some(_) => format!("slot {} holds no row and no message of an outbox", config.slot),
            }
        } else {
            "no rows".to_owned()
        };
        output::line(&nothing)?;
    }
    for event in &shown {
        output::line(&event.print(form))?;
    }
    Ok(Exit::Done)
}
