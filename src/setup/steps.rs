//! The statements, in their order, and which of them are needed. Pure.

use sha2::{Digest as _, Sha256};

use super::checks::checks;
use super::found::{Found, FoundStream, FoundTable};
use super::table;
use crate::config::Config;
use crate::outbox::present::Present;
use crate::postgres::catalog::{Publication, PublishTable, create_publication, table_list};
use crate::postgres::identifier::{quote_identifier, quote_literal, quote_qualified};
use crate::secret::Secret;
use crate::shard;

/// What is asked for.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that is made or not")]
pub(crate) struct Wanted {
    /// The role that walpost will have.
    pub(crate) role: String,
    /// Its password, if it is given here.
    pub(crate) password: Option<Secret>,
    /// The outbox table, where there is none.
    pub(crate) table: bool,
    /// Constraints.
    pub(crate) checks: bool,
    /// The right to read the outbox table.
    pub(crate) read: bool,
    /// The right to delete from it.
    pub(crate) prune: bool,
    /// The slot.
    pub(crate) slot: bool,
}

/// One statement.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What it is for.
    pub(crate) title: String,
    /// The statement, as it may be shown.
    pub(crate) sql: String,
    /// The statement with what may not be shown.
    pub(crate) secret: Option<Secret>,
    /// It is not needed: all is as it says.
    pub(crate) present: bool,
    /// It cannot be part of the one transaction.
    pub(crate) alone: bool,
    /// Why it is not done by `--apply`.
    pub(crate) refused: Option<String>,
}

impl Step {
    fn new(title: impl Into<String>, sql: impl Into<String>, present: bool) -> Self {
        Self {
            title: title.into(),
            sql: sql.into(),
            secret: None,
            present,
            alone: false,
            refused: None,
        }
    }

    fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    fn refused(self, why: impl Into<String>) -> Self {
        Self { refused: Some(why.into()), ..self }
    }
}

/// A name that cannot be quoted, or a table that cannot be an outbox.
pub(crate) type Unusable = String;

/// All steps.
///
/// # Errors
/// The configuration does not fit what is there.
pub(crate) fn steps(
    config: &Config,
    found: &Found,
    wanted: &Wanted,
) -> Result<Vec<Step>, Unusable> {
    if config.shards > 1 && found.version_num < shard::OLDEST {
        return Err(format!(
            "{} shards need publications that filter rows: Postgres 15 or newer",
            config.shards
        ));
    }
    if config.shards > 1 && config.messages.is_some() {
        return Err(format!(
            "WALPOST_MESSAGES is set, and messages have no row that the filters of {} shards could divide: give them a walpost of their own",
            config.shards
        ));
    }
    if found.tables.is_empty() {
        let switches =
            [(wanted.table, "--table"), (wanted.checks, "--checks"), (wanted.prune, "--prune")];
        if let Some((_, switch)) = switches.iter().find(|(wanted, _)| *wanted) {
            return Err(format!(
                "{switch} is for a table, and there is none: WALPOST_MESSAGES needs none; name one in WALPOST_TABLE, if there is to be one beside"
            ));
        }
        runs_as_another(found, wanted)?;
    }
    let role = identifier(&wanted.role)?;
    let mut steps = role_steps(found, wanted, &role)?;
    for table in &found.tables {
        steps.extend(table_steps(config, found, (table, wanted), &role)?);
    }
    for stream in &found.streams {
        steps.push(publication_step(found, stream, &wanted.role)?);
    }
    if wanted.checks {
        let mut later = Vec::new();
        for table in &found.tables {
            let (now, validations) = check_steps(config, found, table)?;
            steps.extend(now);
            later.extend(validations);
        }
        steps.extend(later);
    }
    if wanted.slot {
        for stream in &found.streams {
            steps.push(slot_step(found, stream)?);
        }
    }
    Ok(steps)
}

fn identifier(name: &str) -> Result<String, Unusable> {
    quote_identifier(name).map_err(|error| error.to_string())
}

fn literal(text: &str) -> Result<String, Unusable> {
    quote_literal(text).map_err(|error| error.to_string())
}

fn role_steps(found: &Found, wanted: &Wanted, role: &str) -> Result<Vec<Step>, Unusable> {
    let mut steps = Vec::new();
    let attribute = if found.rds { "" } else { " REPLICATION" };
    match &found.role {
        None => steps.push(Step::new(
            "a role that may log in and open replication connections, and nothing else",
            format!(
                "CREATE ROLE {role} LOGIN{attribute} NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"
            ),
            false,
        )),
        Some(now) => {
            let fits = now.can_login && (now.replication || found.rds);
            steps.push(Step::new(
                "the role may log in and open replication connections",
                format!("ALTER ROLE {role} LOGIN{attribute}"),
                fits,
            ));
            if now.superuser {
                steps.push(
                    Step::new("the role is no superuser", format!("ALTER ROLE {role} NOSUPERUSER"), false)
                        .refused("somebody may need it: do it by hand, or name another role by --role"),
                );
            }
        }
    }
    if found.rds {
        let has = found.role.is_some_and(|role| role.replication);
        let grant = format!("GRANT rds_replication TO {role}");
        steps.push(Step::new("the right to open replication connections, at Amazon", grant, has));
    }
    match &wanted.password {
        Some(password) => {
            let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
            let sql = format!("ALTER ROLE {role} PASSWORD {}", literal(&verifier)?);
            let mut step = Step::new(
                "its password, of WALPOST_SETUP_PASSWORD, already hashed (SCRAM-SHA-256)",
                format!("ALTER ROLE {role} PASSWORD '***'"),
                false,
            );
            step.secret = Some(Secret::new(sql));
            steps.push(step);
        }
        None if found.role.is_none() => steps.push(
            Step::new(
                "its password, typed into psql, which hashes it before it sends it",
                format!("\\password {role}"),
                false,
            )
            .refused("set WALPOST_SETUP_PASSWORD, or give the password in psql"),
        ),
        None => {}
    }
    Ok(steps)
}

fn table_steps(
    config: &Config,
    found: &Found,
    (table, wanted): (&FoundTable, &Wanted),
    role: &str,
) -> Result<Vec<Step>, Unusable> {
    let mut steps = Vec::new();
    let name = &table.name;
    let quoted = quote_qualified(&name.schema, &name.table).map_err(|error| error.to_string())?;
    if wanted.table {
        let sql = table::statement(name, &config.events).ok_or("a column cannot be quoted")?;
        steps.push(Step::new(format!("the outbox table {name}"), sql, table.table.is_some()));
    } else if table.table.is_none() {
        return Err(format!(
            "table {name} does not exist: --table makes it, or name another one in WALPOST_TABLE"
        ));
    }
    let [usage, read, delete] = table.may;
    if wanted.read || wanted.prune {
        steps.push(Step::new(
            "the schema of the table",
            format!("GRANT USAGE ON SCHEMA {} TO {role}", identifier(&name.schema)?),
            usage,
        ));
        let (rights, has) = match wanted.prune {
            true => ("SELECT, DELETE", read && delete),
            false => ("SELECT", read),
        };
        steps.push(Step::new(
            match wanted.prune {
                true => "reading the outbox table and deleting delivered rows from it (prune)",
                false => "reading the outbox table: for the rows that are in it before the first start, peek, and the sample of check; the stream does not need it",
            },
            format!("GRANT {rights} ON {quoted} TO {role}"),
            has,
        ));
    }
    runs_as_another(found, wanted)?;
    Ok(steps)
}

fn runs_as_another(found: &Found, wanted: &Wanted) -> Result<(), Unusable> {
    if found.user == wanted.role {
        return Err(format!(
            "setup runs as the role {} itself: run it as the owner of the table, so that the role owns nothing",
            wanted.role
        ));
    }
    Ok(())
}

fn publication_step(found: &Found, stream: &FoundStream, role: &str) -> Result<Step, Unusable> {
    let name = identifier(&stream.publication_name)?;
    let filters = stream.filters.clone()?;
    let listed: Vec<PublishTable<'_>> = found
        .tables
        .iter()
        .zip(&filters)
        .map(|(found, filter)| {
            (found.name.schema.as_str(), found.name.table.as_str(), filter.as_deref())
        })
        .collect();
    let tables = table_list(&listed).map_err(|error| error.to_string())?;
    let made = create_publication(&name, &tables);
    let title = match (listed.as_slice(), stream.filters_now.as_slice()) {
        ([], _) => "a publication, which the server asks for; messages are sent whatever is in it",
        (_, []) => {
            "what is published: inserts into the outbox, owned by whoever runs this and not by the role"
        }
        (_, _) => {
            "what is published: inserts into the outbox, each row by the one publication that its key falls to, owned by whoever runs this and not by the role"
        }
    };
    let Some(publication) = &stream.publication else {
        return Ok(Step::new(title, made, false));
    };
    let mut changes = Vec::new();
    let inserts_only =
        publication.insert && !(publication.update || publication.delete || publication.truncate);
    if !inserts_only || !publication.via_partition_root {
        changes.push(format!(
            "ALTER PUBLICATION {name} SET (publish = 'insert', publish_via_partition_root = true)"
        ));
    }
    if stream.filters_now.is_empty() {
        let missing =
            found.tables.iter().zip(&listed).filter(|(table, _)| !publishes(publication, table));
        let missing: Vec<_> = missing.map(|(_, listed)| *listed).collect();
        if !missing.is_empty() {
            let missing = table_list(&missing).map_err(|error| error.to_string())?;
            changes.push(format!("ALTER PUBLICATION {name} ADD TABLE {missing}"));
        }
    } else if stream.filters_now != filters {
        changes.push(format!("ALTER PUBLICATION {name} SET TABLE {tables}"));
    }
    if stream.publication_owner.as_deref() == Some(role) {
        changes.push(format!("ALTER PUBLICATION {name} OWNER TO CURRENT_USER"));
    }
    if changes.is_empty() {
        return Ok(Step::new(title, made, true));
    }
    let step = Step::new(title, changes.join("; "), false);
    Ok(match stream.slot {
        None => step,
        Some(_) => step.refused(
            "a slot exists already: a relay at work halts when its publication changes, and says what that may have cost. Do it by hand while it is stopped",
        ),
    })
}

fn publishes(publication: &Publication, table: &FoundTable) -> bool {
    table
        .table
        .as_ref()
        .is_some_and(|table| publication.tables.iter().any(|published| published.oid == table.oid))
}

/// Constraints that are made at once, and the statements that look at the rows that are there.
fn check_steps(
    config: &Config,
    found: &Found,
    table: &FoundTable,
) -> Result<(Vec<Step>, Vec<Step>), Unusable> {
    if found.encoding != "UTF8" {
        return Err(format!(
            "the database has the encoding {}: constraints of --checks tell characters by their Unicode numbers, which only UTF8 has",
            found.encoding
        ));
    }
    let name = &table.name;
    let made = table::made(&config.events);
    let definition = table.table.as_ref().unwrap_or(&made);
    let present =
        Present::of(name, definition, &config.events).map_err(|error| error.to_string())?;
    let quoted = quote_qualified(&name.schema, &name.table).map_err(|error| error.to_string())?;
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for check in checks(&present, &config.events, found.version_num) {
        let constraint = identifier(&check.name)?;
        let mark = mark(&check.condition);
        let there = table.constraints.iter().find(|(name, _, _)| *name == check.name);
        let same = there.is_some_and(|(_, found, _)| *found == mark);
        let drop = match there {
            Some(_) if !same => format!("ALTER TABLE {quoted} DROP CONSTRAINT {constraint}; "),
            Some(_) | None => String::new(),
        };
        now.push(Step::new(
            format!("rows of {name} that walpost could not send fail in their own transaction"),
            format!(
                "{drop}ALTER TABLE {quoted} ADD CONSTRAINT {constraint} CHECK ({}) NOT VALID; COMMENT ON CONSTRAINT {constraint} ON {quoted} IS {}",
                check.condition,
                literal(&mark)?
            ),
            same,
        ));
        let validated = same && there.is_some_and(|(_, _, validated)| *validated);
        later.push(
            Step::new(
                "rows that are there already; writers go on meanwhile",
                format!("ALTER TABLE {quoted} VALIDATE CONSTRAINT {constraint}"),
                validated,
            )
            .alone(),
        );
    }
    let kept: Vec<_> = checks(&present, &config.events, found.version_num)
        .into_iter()
        .map(|check| check.name)
        .collect();
    for (name, mark, _) in &table.constraints {
        if mark.starts_with(MARK) && !kept.contains(name) {
            now.push(Step::new(
                "a constraint of a column that has no role any more",
                format!("ALTER TABLE {quoted} DROP CONSTRAINT {}", identifier(name)?),
                false,
            ));
        }
    }
    Ok((now, later))
}

const MARK: &str = "walpost setup: ";

/// The server prints a condition in its own words, so the mark of ours is kept beside it.
fn mark(condition: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::from(MARK);
    for byte in Sha256::digest(condition.as_bytes()).iter().take(8) {
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text
}

fn slot_step(found: &Found, stream: &FoundStream) -> Result<Step, Unusable> {
    let failover = if found.version_num >= 170_000 { ", false, false, true" } else { "" };
    Ok(Step::new(
        "the slot, which holds back the server's log from now on until walpost reads it; it waits for the transactions that run",
        format!(
            "SELECT pg_create_logical_replication_slot({}, 'pgoutput'{failover})",
            literal(&stream.slot_name)?
        ),
        stream.slot.is_some(),
    )
    .alone())
}

/// What `--drop` does; the publication, which may be somebody else's, stays with `slot_only`.
///
/// # Errors
/// A name cannot be quoted.
pub(crate) fn drop_steps(found: &Found, slot_only: bool) -> Result<Vec<Step>, Unusable> {
    let mut steps = Vec::new();
    for stream in &found.streams {
        let slot = Step::new(
            "the slot: what it holds and has not been delivered is in the table only",
            format!("SELECT pg_drop_replication_slot({})", literal(&stream.slot_name)?),
            stream.slot.is_none(),
        );
        steps.push(slot.alone());
    }
    if slot_only {
        return Ok(steps);
    }
    for stream in &found.streams {
        steps.push(Step::new(
            "the publication",
            format!("DROP PUBLICATION {}", identifier(&stream.publication_name)?),
            stream.publication.is_none(),
        ));
    }
    Ok(steps)
}
