//! What the catalog says: plain SQL, on a connection of its own.
//!
//! The socket is opened, encrypted and authenticated by the same code as the replication
//! connection's, and then handed to `tokio-postgres`. The session's `search_path` is `pg_catalog`,
//! so the queries here mean the catalog whatever else has the same names, and types that are not
//! built in are named with their schema.
//!
//! Every method is cancel safe: a query that is cancelled goes on at the server, and its answer is
//! thrown away.

mod contents;
mod cursor;
mod first_start;
mod handover;
mod preflight;
mod publication;
mod server;
mod slot;
mod table;
mod transaction;

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

pub use self::contents::{Newest, PrintedRow, Readable, SlotMessage};
pub use self::cursor::{Cursor, Wanted};
use self::handover::Handover;
pub use self::preflight::{Sent, Storage};
pub use self::publication::{
    Membership, Publication, PublishTable, PublishedSchema, PublishedTable, create_publication,
    table_list,
};
pub use self::server::{Role, Server};
#[cfg(test)]
pub(crate) use self::slot::tests::slot as slot_for_tests;
pub use self::slot::{Holder, Slot};
pub use self::table::{Column, Privileges, Table, TableSize};
pub use self::transaction::{LongTransaction, XactStatus};
use super::connect::connect;
use super::connection::{Purpose, Row as TextRow};
use super::error::Error;
use super::options::ConnectOptions;
use crate::lsn::Lsn;

/// The limit for one query of the catalog. Each reads a few rows and takes milliseconds; one that
/// takes so long waits for a lock, or for a server that is gone.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The values of a row as texts; `None` is SQL NULL.
pub type PrintedTexts = Vec<Option<String>>;

/// A connection for questions about the server, its slots, publications and tables.
pub struct Catalog {
    client: Client,
    version_num: u32,
    certificate_not_after: Option<i64>,
    /// Why the connection ended, once it has.
    end: Arc<Mutex<Option<Error>>>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("version_num", &self.version_num)
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// Connects to the first host that takes the session and is of the wanted kind.
    ///
    /// A task is started that owns the socket. It ends with the connection, or when the `Catalog`
    /// is dropped.
    ///
    /// # Errors
    ///
    /// No host does; see [`Error::kind`].
    pub async fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        let connection = connect(options, Purpose::Queries).await?;
        let version_num = connection.parameters.version_num();
        let certificate_not_after =
            connection.stream.peer_certificate().and_then(|peer| peer.not_after);
        let (client, mut driver) = tokio_postgres::Config::new()
            .user(&options.user)
            .ssl_mode(tokio_postgres::config::SslMode::Disable)
            .connect_raw(Handover::new(connection), NoTls)
            .await?;

        let end = Arc::new(Mutex::new(None));
        let reason = Arc::clone(&end);
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| driver.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) if notice.severity() == "WARNING" => {
                        tracing::warn!("the server warns: {}", notice.message());
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let error = Error::from(error);
                        tracing::debug!("the catalog connection has ended: {error}");
                        if let Ok(mut reason) = reason.lock() {
                            *reason = Some(error);
                        }
                        return;
                    }
                }
            }
        });

        let catalog = Self { client, version_num, certificate_not_after, end };
        // Unknown before 17, so it cannot be among the startup options.
        if version_num >= 170_000 {
            catalog
                .execute("switch transaction_timeout off", "SET transaction_timeout = 0")
                .await?;
        }
        Ok(catalog)
    }

    /// Whether the connection has ended, so that a new one is needed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The server's version as `server_version_num` has it: 150018 for 15.18.
    #[must_use]
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    /// End of the validity of the server's certificate, in seconds since 1970, on an encrypted
    /// connection.
    #[must_use]
    pub fn certificate_not_after(&self) -> Option<i64> {
        self.certificate_not_after
    }

    /// The client underneath, for queries of other rooms. `search_path` is `pg_catalog`: tables
    /// must be named with their schema.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client underneath, for transactions.
    #[must_use]
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// An error of the client underneath, with the reason of the connection's end where that is
    /// what it means.
    #[must_use]
    pub fn explain(&self, error: tokio_postgres::Error) -> Error {
        if error.is_closed()
            && let Ok(mut reason) = self.end.lock()
            && let Some(reason) = reason.take()
        {
            return reason;
        }
        Error::from(error)
    }

    /// Runs statements, separated by semicolons, of other rooms: the rows as texts, and how many rows
    /// the commands have read or changed, all together. Without a limit of time of its own.
    ///
    /// # Errors
    ///
    /// The connection or a statement fails.
    pub async fn statements(&self, sql: &str) -> Result<(Vec<PrintedTexts>, u64), Error> {
        let messages = self.client.simple_query(sql).await.map_err(|error| self.explain(error))?;
        let (mut rows, mut count) = (Vec::new(), 0);
        for message in &messages {
            if let SimpleQueryMessage::Row(row) = message {
                let texts = (0..row.len()).map(|column| row.get(column).map(str::to_owned));
                rows.push(texts.collect());
            } else if let SimpleQueryMessage::CommandComplete(changed) = message {
                count += changed;
            }
        }
        Ok((rows, count))
    }

    /// Runs a query with parameters, in one round trip.
    async fn query(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Error> {
        match tokio::time::timeout(QUERY_TIMEOUT, self.client.query_typed(sql, parameters)).await {
            Ok(Ok(rows)) => Ok(rows.into_iter().map(Row).collect()),
            Ok(Err(error)) => Err(self.explain(error).doing(doing)),
            Err(_) => Err(Error::timeout("no answer", QUERY_TIMEOUT).doing(doing)),
        }
    }

    /// Runs statements without parameters, as one transaction, and gives back all rows as text.
    async fn execute(&self, doing: &'static str, sql: &str) -> Result<Vec<TextRow>, Error> {
        self.execute_within(QUERY_TIMEOUT, doing, sql).await
    }

    async fn execute_within(
        &self,
        limit: Duration,
        doing: &'static str,
        sql: &str,
    ) -> Result<Vec<TextRow>, Error> {
        let messages = match tokio::time::timeout(limit, self.client.simple_query(sql)).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => return Err(self.explain(error).doing(doing)),
            Err(_) => return Err(Error::timeout("no answer", limit).doing(doing)),
        };
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                let values = (0..row.len()).map(|column| row.try_get(column));
                let values = values.map(|value| Ok(value?.map(|text| text.as_bytes().to_vec())));
                rows.push(values.collect::<Result<TextRow, tokio_postgres::Error>>()?);
            }
        }
        Ok(rows)
    }
}

/// A row whose columns are read by name, without a panic where one is missing or of another type.
struct Row(tokio_postgres::Row);

impl Row {
    fn get<'a, T: FromSql<'a>>(&'a self, column: &str) -> Result<T, Error> {
        self.0.try_get(column).map_err(Error::from)
    }

    /// A `pg_lsn` that the query has cast to text.
    fn lsn(&self, column: &str) -> Result<Option<Lsn>, Error> {
        self.get::<Option<&str>>(column)?
            .map(|text| text.parse().map_err(|error| Error::protocol(format!("{column}: {error}"))))
            .transpose()
    }

    /// A full transaction number that the query has cast to text.
    fn xid(&self, column: &str) -> Result<u64, Error> {
        let text = self.get::<&str>(column)?;
        text.parse().map_err(|_| Error::protocol(format!("{column} is no transaction number")))
    }

    fn text(&self, column: &str) -> Result<String, Error> {
        self.get(column)
    }

    fn optional_text(&self, column: &str) -> Result<Option<String>, Error> {
        self.get(column)
    }
}
