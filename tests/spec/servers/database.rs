//! A database of one test, and sessions in it.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::runtime::{Builder, Handle};
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use super::{PATIENCE, within};

/// The outbox table that Debezium's documentation proposes, with a column for the time.
const OUTBOX: &str = "create table outbox (
    id uuid primary key default gen_random_uuid(),
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload jsonb,
    created_at timestamptz not null default clock_timestamp()
)";

/// A fresh database of one test. Dropping it drops the database and the slots in it.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    url: String,
    admin_url: String,
    session: Mutex<Option<Session>>,
}

impl Database {
    #[track_caller]
    pub(super) fn create(name: &str, admin_url: &str, url: &str) -> Self {
        Session::open(admin_url).execute(&format!("create database {name}"));
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            admin_url: admin_url.to_owned(),
            session: Mutex::new(None),
        }
    }

    /// Its name, unique in the server: good as a slot's name and a topic's prefix too.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its connection URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Makes `public.outbox` with Debezium's columns and `created_at`.
    #[track_caller]
    pub(crate) fn create_outbox(&self) {
        self.execute(OUTBOX);
    }

    /// Inserts `count` outbox rows in one transaction, spread over `keys` aggregate ids `key-0`, `key-1`, …
    ///
    /// The payload is `{"n": N}`, with N counting from `first`.
    #[track_caller]
    pub(crate) fn insert_rows(&self, aggregate_type: &str, first: u32, count: u32, keys: u32) {
        self.execute(&format!(
            "insert into outbox (aggregatetype, aggregateid, type, payload)
             select '{aggregate_type}', 'key-' || n % {keys}, 'Placed', jsonb_build_object('n', n)
             from generate_series({first}, {first} + {count} - 1) as n"
        ));
    }

    /// Runs statements, separated by semicolons, outside of a transaction unless they begin one.
    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        self.with_session(|session| session.execute(sql));
    }

    /// The rows of a query, each value as Postgres prints it.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.with_session(|session| session.query(sql))
    }

    /// The one value of a query that has one; NULL is "".
    #[track_caller]
    pub(crate) fn value(&self, sql: &str) -> String {
        self.with_session(|session| session.value(sql))
    }

    /// A session of one's own, for transactions that are open at the same time.
    #[track_caller]
    pub(crate) fn session(&self) -> Session {
        Session::open(&self.url)
    }

    #[track_caller]
    fn with_session<T>(&self, run: impl FnOnce(&Session) -> T) -> T {
        // A test that panicked inside `run` has nothing half done here.
        let mut session = self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if session.as_ref().is_none_or(Session::is_closed) {
            *session = Some(Session::open(&self.url));
        }
        run(session.as_ref().unwrap())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Best effort, since the server may be down by now. A shared server would keep the WAL of a slot
        // that is left behind; an active one (walpost just killed) is given a moment.
        let Ok(session) = Session::try_open(&self.admin_url) else { return };
        let name = &self.name;
        let slots = format!("from pg_replication_slots where database = '{name}'");
        let end = format!("select pg_terminate_backend(active_pid) {slots} and active");
        let remove = format!("select pg_drop_replication_slot(slot_name) {slots} and not active");
        within(std::time::Duration::from_secs(5), || {
            session.try_query(&end).ok()?;
            session.try_query(&remove).ok()?;
            session.try_query(&format!("drop database if exists {name} with (force)")).ok()
        });
    }
}

/// One connection; statements of one transaction go through the same session.
#[derive(Debug)]
pub(crate) struct Session {
    client: Arc<Client>,
}

impl Session {
    /// Connects, waiting for a server that is still starting.
    #[track_caller]
    pub(crate) fn open(url: &str) -> Self {
        let mut refusal = None;
        let session = within(PATIENCE, || match Self::try_open(url) {
            Ok(session) => Some(session),
            // Only a server that is down or still starting gets better by waiting.
            Err(error) if error.code().is_none_or(|code| code.code() == "57P03") => {
                refusal = Some(error);
                None
            }
            Err(error) => panic!("cannot connect to {url}: {error:?}"),
        });
        session.unwrap_or_else(|| panic!("no connection to {url} after {PATIENCE:?}: {refusal:?}"))
    }

    /// Connects once.
    pub(crate) fn try_open(url: &str) -> Result<Self, Error> {
        let url = url.to_owned();
        wait(async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            tokio::spawn(connection);
            Ok(Self { client: Arc::new(client) })
        })
    }

    /// Runs statements, separated by semicolons.
    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        if let Err(error) = self.try_query(sql) {
            panic!("{sql}\nfailed: {error:?}");
        }
    }

    /// The rows of a query, each value as Postgres prints it.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_query(sql).unwrap_or_else(|error| panic!("{sql}\nfailed: {error:?}"))
    }

    /// The one value of a query that has one; NULL is "".
    #[track_caller]
    pub(crate) fn value(&self, sql: &str) -> String {
        let rows = self.query(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_default(),
            _ => panic!("{sql}\ngave {} rows, not one value: {rows:?}", rows.len()),
        }
    }

    /// The rows of a query, or the server's refusal.
    pub(crate) fn try_query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let (client, sql) = (Arc::clone(&self.client), sql.to_owned());
        let messages = wait(async move { client.simple_query(&sql).await })?;
        let row = |message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// Runs `future` on a thread of its own and waits for it, so that a test may call this from
/// anywhere, also from inside a runtime.
fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    let handle = RUNTIME.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    });
    let (sender, receiver) = mpsc::sync_channel(1);
    handle.spawn(async move { sender.send(future.await) });
    receiver.recv().expect("the task does not panic and the runtime never ends")
}
