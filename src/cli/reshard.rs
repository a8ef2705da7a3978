//! `walpost reshard`: another number of streams.

use std::io;

use super::command::{self, Stopped};
use super::{Exit, output};
use crate::config::Config;
use crate::config::env::Environment;
use crate::supervisor::reshard;

/// How many, and whether it is meant.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// How many streams there are to be: 1, or a power of two where there is one now.
    #[arg(value_name = "N", value_parser = super::setup::parse_shards)]
    shards: u32,
    /// Does it.
    #[arg(long)]
    yes: bool,
}

/// Says what would be done; with `--yes` does it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(arguments: Arguments, environment: &Environment) -> io::Result<Exit> {
    command::run(environment, |config| act(config, arguments))
}

async fn act(config: Config, arguments: Arguments) -> Result<Exit, Stopped> {
    let plan = reshard::plan(&config, arguments.shards).await?;
    let slots = |streams: &[Config]| {
        streams.iter().map(|stream| stream.slot.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![format!("connector   {}", config.name)];
    match plan.interrupted_at {
        None => {
            lines.push(format!("makes       publications and slots {}", slots(&plan.new)));
            lines.push(format!(
                "sends       what slots {} still hold, up to one place",
                slots(&plan.old)
            ));
            lines.push("writes      that place for each of the new slots".to_owned());
        }
        Some(at) => lines.push(format!(
            "goes on     where an earlier run ended: writes {at} for those of the new slots that have no place"
        )),
    }
    lines.push(format!("drops       slots and publications {}", slots(&plan.old)));
    output::line(&lines.join("\n"))?;
    if !arguments.yes {
        output::line("nothing was changed; --yes does it")?;
        return Ok(Exit::Done);
    }
    // What cannot be said is found out by the last line.
    let at = reshard::carry_out(&plan, |step| drop(output::line(&format!("step        {step}"))))
        .await?;
    output::line(&format!(
        "done        everything up to {at} is sent; set WALPOST_SHARDS={} and start walpost",
        arguments.shards
    ))?;
    Ok(Exit::Done)
}
