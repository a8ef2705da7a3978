//! `walpost setup`: what the database needs, printed as SQL or done.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{self, Stopped, refused};
use super::{Exit, confirm, output};
use crate::config::Config;
use crate::config::env::Environment;
use crate::error::Failure;
use crate::postgres::catalog::Catalog;
use crate::secret::Secret;
use crate::setup::found::{Found, FoundStream};
use crate::setup::steps::{Step, Wanted, drop_steps, steps};

/// How long a statement waits for a lock. Writers queue behind one that waits.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// What to make.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Arguments {
    /// Does it, as the role of DATABASE_URL. Without this, the statements are printed.
    #[arg(long)]
    apply: bool,
    /// The role that walpost will have; its password is that of WALPOST_SETUP_PASSWORD.
    #[arg(long, value_name = "NAME", default_value = "walpost")]
    role: String,
    /// Makes the table of WALPOST_TABLE, where there is none.
    #[arg(long)]
    table: bool,
    /// Makes constraints on the table, so that a row that walpost could not send fails in the application's own
    /// transaction.
    #[arg(long)]
    checks: bool,
    /// Leaves out the right to read the outbox table: no rows of before the first start, no peek.
    #[arg(long, conflicts_with = "prune")]
    no_select: bool,
    /// Adds the right to delete from the outbox table, for `walpost prune` and WALPOST_PRUNE_AFTER.
    #[arg(long)]
    prune: bool,
    /// Makes the slot too. From then on it holds back the server's log until walpost reads it.
    #[arg(long)]
    slot: bool,
    /// For so many streams, a power of two: as many publications with row filters, and slots.
    /// WALPOST_SHARDS when nothing is said.
    #[arg(long, value_name = "N", value_parser = parse_shards)]
    shards: Option<u32>,
    /// Drops slot and publication instead, with --slot only the slot. Asks for the slot's name, to
    /// be typed.
    #[arg(long, conflicts_with_all = ["apply", "table", "checks", "no_select", "prune"])]
    drop: bool,
    /// With --drop: does not ask.
    #[arg(long, requires = "drop")]
    yes: bool,
    /// Prints the steps as JSON.
    #[arg(long)]
    json: bool,
}

/// A power of two.
pub(super) fn parse_shards(text: &str) -> Result<u32, String> {
    let shards = text.parse::<u32>().ok().filter(|shards| shards.is_power_of_two());
    let most = 64;
    shards
        .filter(|shards| *shards <= most)
        .ok_or_else(|| format!("expected a power of two, {most} at most"))
}

/// Prints it or does it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(arguments: Arguments, environment: &Environment) -> io::Result<Exit> {
    let password = match crate::config::text(environment, "WALPOST_SETUP_PASSWORD") {
        Ok(password) => password.map(Secret::new),
        Err(message) => {
            output::error(&format!("configuration error: {message}"));
            return Ok(Exit::Configuration);
        }
    };
    command::run_on_database(environment, |config| setup(config, arguments, password))
}

async fn setup(
    mut config: Config,
    arguments: Arguments,
    password: Option<Secret>,
) -> Result<Exit, Stopped> {
    config.shards = arguments.shards.unwrap_or(config.shards);
    let catalog = Catalog::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect to the database", &error))?;
    let found = Found::look(&config, &catalog, &arguments.role).await?;
    let unusable = |message: String| refused(message, "nothing was changed");
    if arguments.drop {
        return drop(&config, (&catalog, &found), &arguments).await;
    }
    let wanted = Wanted {
        role: arguments.role.clone(),
        password,
        table: arguments.table,
        checks: arguments.checks,
        read: !arguments.no_select,
        prune: arguments.prune,
        slot: arguments.slot,
    };
    let steps = steps(&config, &found, &wanted).map_err(unusable)?;
    if !arguments.apply {
        print(&steps, arguments.json)?;
        return Ok(Exit::Done);
    }
    carry_out(&catalog, &steps, arguments.json).await
}

async fn drop(
    config: &Config,
    (catalog, found): (&Catalog, &Found),
    arguments: &Arguments,
) -> Result<Exit, Stopped> {
    let steps =
        drop_steps(found, arguments.slot).map_err(|error| refused(error, "nothing was changed"))?;
    if let Some(used) = found.streams.iter().find(|stream| stream.slot == Some(true)) {
        return Err(refused(
            format!("slot {} is in use: a walpost is at work", used.slot_name),
            "stop it first; nothing was changed",
        ));
    }
    if steps.iter().any(|step| !step.present) {
        if !arguments.json {
            print(&steps, false)?;
        }
        let database = &config.database.database;
        let (slots, publications) =
            (names(found, |it| &it.slot_name), names(found, |it| &it.publication_name));
        let what = match (arguments.slot, found.streams.len()) {
            (true, 1) => format!("slot {slots} of database {database} is"),
            (true, _) => format!("slots {slots} of database {database} are"),
            (false, 1) => {
                format!("slot {slots} and publication {publications} of database {database} are")
            }
            (false, _) => {
                format!("slots {slots} and publications {publications} of database {database} are")
            }
        };
        let question = format!(
            "{what} dropped; a later walpost begins anew, and halts where its checkpoint topic is still there"
        );
        confirm::word(&question, &config.slot, arguments.yes)?;
    }
    carry_out(catalog, &steps, arguments.json).await
}

fn names(found: &Found, name: fn(&FoundStream) -> &str) -> String {
    found.streams.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Present,
    Missing,
    ByHand(String),
    Done,
    Failed(String),
    NotDone,
}

impl State {
    fn of(step: &Step) -> Self {
        match (&step.refused, step.present) {
            (_, true) => Self::Present,
            (Some(why), false) => Self::ByHand(why.clone()),
            (None, false) => Self::Missing,
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "missing",
            Self::ByHand(_) => "by_hand",
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::NotDone => "not_done",
        }
    }

    fn note(&self) -> Option<&str> {
        match self {
            Self::ByHand(note) | Self::Failed(note) => Some(note),
            Self::Present | Self::Missing | Self::Done | Self::NotDone => None,
        }
    }
}

fn print(steps: &[Step], as_json: bool) -> Result<(), Stopped> {
    let states: Vec<_> = steps.iter().map(State::of).collect();
    if as_json {
        return said(steps, &states);
    }
    let mut lines = vec![
        "-- to be run in the database, as a role that may create roles and owns the table"
            .to_owned(),
    ];
    let mut title = "";
    let mut in_transaction = false;
    for (step, state) in steps.iter().zip(&states) {
        let together = !step.alone && !step.sql.starts_with('\\');
        if together != in_transaction && *state != State::Present {
            lines.push(if together { "BEGIN;" } else { "COMMIT;" }.to_owned());
            in_transaction = together;
        }
        if step.title != title {
            lines.push(format!("\n-- {}", step.title));
            title = &step.title;
        }
        let end = if step.sql.starts_with('\\') { "" } else { ";" };
        lines.push(match state {
            State::Present => format!("-- is there already: {}", step.sql.replace('\n', "\n-- ")),
            State::Missing | State::ByHand(_) | State::Done | State::Failed(_) | State::NotDone => {
                format!("{}{end}", step.sql)
            }
        });
    }
    if in_transaction {
        lines.push("COMMIT;".to_owned());
    }
    output::line(&lines.join("\n"))?;
    Ok(())
}

/// Does what is missing: in one transaction what can be, then the others one by one.
async fn carry_out(catalog: &Catalog, steps: &[Step], as_json: bool) -> Result<Exit, Stopped> {
    let mut states: Vec<_> = steps.iter().map(State::of).collect();
    let missing = |alone: bool, states: &[State]| -> Vec<usize> {
        let places = steps.iter().zip(states).enumerate();
        let wanted =
            places.filter(|(_, (step, state))| step.alone == alone && **state == State::Missing);
        wanted.map(|(place, _)| place).collect()
    };
    let together = missing(false, &states);
    let mut failed = false;
    if !together.is_empty() {
        let begin = format!("BEGIN; SET LOCAL lock_timeout = {}", LOCK_LIMIT.as_millis());
        execute(catalog, &begin).await.map_err(|why| refused(why, "nothing was changed"))?;
        for place in &together {
            if failed {
                set(&mut states, *place, State::NotDone);
                continue;
            }
            let outcome = match steps.get(*place) {
                Some(step) => execute(catalog, statement(step)).await,
                None => Ok(()),
            };
            failed = outcome.is_err();
            set(&mut states, *place, outcome.map_or_else(State::Failed, |()| State::Done));
        }
        let end = if failed { "ROLLBACK" } else { "COMMIT" };
        execute(catalog, end)
            .await
            .map_err(|why| refused(why, "look what is there by running this again"))?;
        if failed {
            for place in &together {
                if states.get(*place) == Some(&State::Done) {
                    set(&mut states, *place, State::NotDone);
                }
            }
        }
    }
    for place in missing(true, &states) {
        let Some(step) = steps.get(place) else { continue };
        let state = if failed {
            State::NotDone
        } else {
            let limit = format!("SET lock_timeout = {}", LOCK_LIMIT.as_millis());
            let outcome = match execute(catalog, &limit).await {
                Ok(()) => execute(catalog, statement(step)).await,
                Err(why) => Err(why),
            };
            outcome.map_or_else(State::Failed, |()| State::Done)
        };
        set(&mut states, place, state);
    }
    if as_json {
        said(steps, &states)?;
    } else {
        let lines: Vec<_> = steps.iter().zip(&states).map(line).collect();
        output::line(&lines.join("\n"))?;
    }
    let bad = states.iter().any(|state| matches!(state, State::Failed(_) | State::NotDone));
    Ok(if bad { Exit::Failed } else { Exit::Done })
}

fn set(states: &mut [State], place: usize, state: State) {
    if let Some(at) = states.get_mut(place) {
        *at = state;
    }
}

fn statement(step: &Step) -> &str {
    step.secret.as_ref().map_or(step.sql.as_str(), Secret::expose)
}

/// Runs a statement; the error is the server's words, without the statement, which may be secret.
async fn execute(catalog: &Catalog, sql: &str) -> Result<(), String> {
    match catalog.statements(sql).await {
        Ok(_) => Ok(()),
        Err(error) => Err(crate::error::chain(&error)),
    }
}

fn line((step, state): (&Step, &State)) -> String {
    let short: String =
        step.sql.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(100).collect();
    let note = state.note().map_or_else(String::new, |note| format!("\n            {note}"));
    format!("{:<11} {short}{note}", state.word().replace('_', " "))
}

fn said(steps: &[Step], states: &[State]) -> Result<(), Stopped> {
    let steps: Vec<Value> = steps
        .iter()
        .zip(states)
        .map(|(step, state)| {
            json!({
                "for": step.title,
                "sql": step.sql,
                "state": state.word(),
                "note": state.note(),
            })
        })
        .collect();
    output::line(&format!("{:#}", json!({ "steps": steps })))?;
    Ok(())
}
