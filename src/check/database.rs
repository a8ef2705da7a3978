//! Questions to the database. Nothing here judges, and nothing here changes anything.

use std::time::Duration;

use super::connection::{self, Refusal};
use super::{
    Finding, long_transactions, messages, publication, room, sample, server, shards, slot, standby,
    table,
};
use crate::config::Config;
use crate::outbox::role::TableName;
use crate::postgres::catalog::{
    Catalog, LongTransaction, Publication, Sent, Server, Slot, Storage, Table,
};
use crate::postgres::error::Error;
use crate::postgres::replication::{ReplicationConnection, SystemIdentity};
use crate::proof::TimelineSwitch;
use crate::shard::{self, FilterError};

/// Transactions that are open for longer than this are told of.
const LONG: Duration = Duration::from_secs(10);

/// The oldest server that the questions here are understood by.
const OLDEST: u32 = 140_000;

/// What was found, and what later questions need of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) findings: Vec<Finding>,
    /// `None` when the database was not reached, or is one that walpost cannot follow.
    pub(super) facts: Option<Facts>,
}

/// What the database says.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) catalog: Catalog,
    pub(super) server: Server,
    pub(super) walsender: Result<Walsender, Refusal>,
    pub(super) slot: Option<Slot>,
    pub(super) publication: Option<Publication>,
    pub(super) tables: Vec<TableFacts>,
    pub(super) sessions: Sessions,
}

/// What the replication connection says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walsender {
    pub(super) identity: SystemIdentity,
    pub(super) history: Vec<TimelineSwitch>,
    /// The server of the other connection knows this one.
    pub(super) known: bool,
}

/// One of `WALPOST_TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableFacts {
    pub(super) name: TableName,
    pub(super) table: Option<Table>,
    pub(super) storage: Option<Storage>,
    /// Our role owns it, so may put it into a publication.
    pub(super) owner: bool,
    /// What the publication sends of it, where the server can tell.
    pub(super) sent: Option<Sent>,
    /// The row filter that the table is to have, where there are shards; or why it can have none.
    pub(super) filter: Option<Result<String, String>>,
    pub(super) sample: sample::Sample,
}

/// What others do at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sessions {
    pub(super) long: Vec<LongTransaction>,
    /// Our role sees the sessions of other roles.
    pub(super) sees_all: bool,
    /// The slots of `synchronized_standby_slots`, and whether a standby reads each; `None` where
    /// there is no such slot.
    pub(super) standby_slots: Vec<(String, Option<bool>)>,
}

/// Asks, and judges what can be judged without Kafka.
pub(super) async fn ask(config: &Config) -> Asked {
    let catalog = match Catalog::connect(&config.database).await {
        Ok(catalog) => catalog,
        Err(error) => {
            let finding = connection::finding("postgres", config, &Refusal::from(&error));
            return Asked { findings: vec![finding], facts: None };
        }
    };
    match asked(config, catalog).await {
        Ok(asked) => asked,
        Err(error) => {
            let refusal = Refusal::from(&error);
            Asked { findings: vec![connection::finding("postgres", config, &refusal)], facts: None }
        }
    }
}

async fn asked(config: &Config, catalog: Catalog) -> Result<Asked, Error> {
    let server = catalog.server().await?;
    let skew = server.clock_skew_micros();
    let mut findings = vec![Finding::ok(
        "postgres",
        format!("connected to database {} as role {}", config.database.database, server.role.name),
    )];
    findings.extend(server::findings(&server, skew));
    findings.extend(shards::server(config, &server));
    if server.version_num < OLDEST {
        return Ok(Asked { findings, facts: None });
    }
    let walsender = walsender(config, &catalog).await?;
    findings.push(server::walsender(config, &walsender));
    let slot = catalog.slot(&config.slot).await?;
    let publication = catalog.publication(&config.publication).await?;
    let mut tables = Vec::new();
    for name in &config.tables {
        tables.push(table_facts(config, &catalog, name).await?);
    }
    let sessions = sessions(&catalog, &server).await?;
    findings.extend(messages::ask(config, &catalog).await?);
    let facts = Facts { catalog, server, walsender, slot, publication, tables, sessions };
    findings.extend(room::findings(config, &facts.server, facts.slot.as_ref()));
    findings.extend(standby::findings(config, &facts.server, &facts.sessions.standby_slots));
    findings.extend(slot::findings(config, facts.slot.as_ref(), &facts.server));
    if facts.slot.is_some() {
        findings.extend(long_transactions::prepared(&facts.sessions.long));
    }
    for table in &facts.tables {
        findings.extend(table::findings(config, table));
    }
    findings.extend(shards::keys(&facts.tables));
    findings.extend(publication::findings(config, facts.publication.as_ref(), &facts.tables));
    Ok(Asked { findings, facts: Some(facts) })
}

/// Opens a replication connection, which a pooler, `pg_hba.conf` or a missing right may refuse.
async fn walsender(
    config: &Config,
    catalog: &Catalog,
) -> Result<Result<Walsender, Refusal>, Error> {
    let opened = async {
        let mut connection = ReplicationConnection::connect(&config.database).await?;
        let identity = connection.identify_system().await?;
        let history = connection.timeline_history(identity.timeline).await?;
        Ok::<_, Error>((connection, identity, history))
    };
    let (connection, identity, history) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(Refusal::from(&error))),
    };
    let known = catalog.knows_session(connection.backend_pid()).await?;
    let history = history
        .into_iter()
        .map(|switch| TimelineSwitch {
            timeline: switch.timeline,
            switch_point: switch.switch_point,
        })
        .collect();
    Ok(Ok(Walsender { identity, history, known }))
}

async fn table_facts(
    config: &Config,
    catalog: &Catalog,
    name: &TableName,
) -> Result<TableFacts, Error> {
    let mut facts = TableFacts {
        name: name.clone(),
        table: catalog.table(&name.schema, &name.table).await?,
        storage: None,
        owner: false,
        sent: None,
        filter: None,
        sample: sample::Sample::None,
    };
    let Some(table) = &facts.table else { return Ok(facts) };
    facts.storage = catalog.storage(table.oid).await?;
    facts.owner = catalog.privileges(table.oid).await?.is_some_and(|privileges| privileges.owner);
    facts.sent = catalog.sent(&config.publication, &name.schema, &name.table).await?;
    if let Some(shard) = config.shard {
        let alone = config.tables.len() == 1;
        let of = (name, table);
        facts.filter = match shard::filter(shard, of, &config.events, alone, catalog).await {
            Ok(filter) => Some(Ok(filter)),
            // A table that cannot be an outbox has a finding of its own.
            Err(FilterError::Mapping(_)) => None,
            Err(FilterError::Postgres(error)) => return Err(error),
            Err(FilterError::Key(error)) => Some(Err(format!("{error}; {}", error.hint))),
        };
    }
    facts.sample = sample::take(config, catalog, &facts).await?;
    Ok(facts)
}

async fn sessions(catalog: &Catalog, server: &Server) -> Result<Sessions, Error> {
    let mut standby_slots = Vec::new();
    let listed = server.synchronized_standby_slots.as_deref().unwrap_or_default();
    for name in standby::names(listed) {
        let active = catalog.slot(&name).await?.map(|slot| slot.active);
        standby_slots.push((name, active));
    }
    Ok(Sessions {
        long: catalog.long_transactions(LONG).await?,
        sees_all: catalog.sees_all_sessions().await?,
        standby_slots,
    })
}
