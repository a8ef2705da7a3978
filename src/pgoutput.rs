//! The messages of Postgres' logical decoding plugin `pgoutput`, protocol version 1.
//!
//! Bytes of one `XLogData` in, one [`LogicalMessage`] out; nothing is copied. The bytes come from
//! a peer: a count they claim never drives an allocation, and everything but a whole message is
//! [`Malformed`].
//!
//! Source: `PostgreSQL` manual, "Logical Replication Message Formats", and
//! `src/backend/replication/logical/proto.c`.

mod reader;
mod tuple;

pub use reader::Malformed;
pub use tuple::{Datum, Datums, Tuple};

use crate::lsn::Lsn;
use crate::postgres::timestamp::PgTimestamp;
use reader::Reader;

/// A message of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogicalMessage<'a> {
    /// A committed transaction begins. The server sends whole transactions in commit order.
    Begin(Begin),
    /// The transaction is complete.
    Commit(Commit),
    /// The transaction was first committed on another server.
    Origin {
        /// Where it was committed there.
        commit_lsn: Lsn,
        /// Name of the replication origin.
        name: &'a str,
    },
    /// Columns of a table. Sent before its first row in a session, and after each change of it.
    Relation(Relation<'a>),
    /// A type that is not built in. Sent before the relation that uses it.
    Type(Type<'a>),
    /// A row was inserted.
    Insert {
        /// The table, as in [`Relation::oid`].
        relation_oid: u32,
        /// Its columns.
        tuple: Tuple<'a>,
    },
    /// A row was changed; walpost publishes nothing for it.
    Update {
        /// The table.
        relation_oid: u32,
    },
    /// A row was deleted; walpost publishes nothing for it.
    Delete {
        /// The table.
        relation_oid: u32,
    },
    /// Tables were emptied; walpost publishes nothing for it.
    Truncate,
    /// A message written by `pg_logical_emit_message`.
    Message(Message<'a>),
}

/// The begin of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// LSN of the transaction's commit record: the same as [`Commit::commit_lsn`].
    pub final_lsn: Lsn,
    /// When it was committed, by the server's clock.
    pub commit_time: PgTimestamp,
    /// Transaction id, without epoch.
    pub xid: u32,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// LSN of the commit record.
    pub commit_lsn: Lsn,
    /// The byte after the commit record: the position to confirm.
    pub end_lsn: Lsn,
    /// When it was committed, by the server's clock.
    pub commit_time: PgTimestamp,
}

/// A table and its published columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Object id of the table; of the root where the publication publishes via the root.
    pub oid: u32,
    /// Schema. The server sends an empty name for `pg_catalog`, which is filled in here.
    pub namespace: &'a str,
    /// Table.
    pub name: &'a str,
    /// Replica identity: `d`, `n`, `f` or `i`, as in `pg_class.relreplident`.
    pub replica_identity: u8,
    /// In the order in which tuples have them.
    pub columns: Vec<Column<'a>>,
}

/// A column of a [`Relation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// The column is part of the replica identity.
    pub in_key: bool,
    /// Name, without quotes.
    pub name: &'a str,
    /// Object id of the type; of the domain, not of its base, where the type is a domain.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`; −1 where the type has none.
    pub type_modifier: i32,
}

/// What a type id that is not built in stands for.
///
/// For a domain, `oid` is the domain's, but the names are those of its *base* type
/// (`logicalrep_write_typ` in proto.c looks them up through `getBaseType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type<'a> {
    /// As in [`Column::type_oid`].
    pub oid: u32,
    /// Schema; `pg_catalog` where the server sends an empty name.
    pub namespace: &'a str,
    /// Name of the type, for a domain of its base type.
    pub name: &'a str,
}

/// What `pg_logical_emit_message` wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// It is part of a transaction and arrives between its begin and commit.
    pub transactional: bool,
    /// LSN of the message itself.
    pub lsn: Lsn,
    /// The prefix it was written with.
    pub prefix: &'a str,
    /// Any bytes.
    pub content: &'a [u8],
}

/// Decodes the payload of one `XLogData`.
///
/// The columns of an [`LogicalMessage::Insert`] are checked as they are read: see [`Tuple`].
///
/// # Errors
///
/// When the bytes are not exactly one message of protocol version 1.
pub fn decode(bytes: &[u8]) -> Result<LogicalMessage<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let tag = reader.u8("message type")?;
    let message = match tag {
        b'B' => LogicalMessage::Begin(begin(&mut reader)?),
        b'C' => LogicalMessage::Commit(commit(&mut reader)?),
        b'O' => LogicalMessage::Origin {
            commit_lsn: reader.lsn("commit position of the origin")?,
            name: reader.str("name of the origin")?,
        },
        b'R' => LogicalMessage::Relation(relation(&mut reader)?),
        b'Y' => LogicalMessage::Type(Type {
            oid: reader.u32("type id")?,
            namespace: namespace(&mut reader)?,
            name: reader.str("type name")?,
        }),
        b'I' => {
            let relation_oid = reader.u32("relation id")?;
            reader.expect_u8(b'N', "new tuple")?;
            // The tuple takes all that is left, and complains about what is too much.
            let tuple = Tuple::rest(&mut reader)?;
            return Ok(LogicalMessage::Insert { relation_oid, tuple });
        }
        b'U' => update(&mut reader)?,
        b'D' => delete(&mut reader)?,
        b'T' => truncate(&mut reader)?,
        b'M' => LogicalMessage::Message(message(&mut reader)?),
        _ => return Err(reader.malformed("a message type of protocol version 1")),
    };
    reader.end("end of the message")?;
    Ok(message)
}

fn begin(reader: &mut Reader<'_>) -> Result<Begin, Malformed> {
    Ok(Begin {
        final_lsn: reader.lsn("final position")?,
        commit_time: PgTimestamp(reader.i64("commit time")?),
        xid: reader.u32("transaction id")?,
    })
}

fn commit(reader: &mut Reader<'_>) -> Result<Commit, Malformed> {
    // Unused flags: "currently unused", and the server itself refuses any other value.
    reader.expect_u8(0, "commit flags 0")?;
    Ok(Commit {
        commit_lsn: reader.lsn("commit position")?,
        end_lsn: reader.lsn("end position")?,
        commit_time: PgTimestamp(reader.i64("commit time")?),
    })
}

/// A schema's name; `logicalrep_write_namespace` shortens `pg_catalog` to nothing.
fn namespace<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let name = reader.str("schema name")?;
    Ok(if name.is_empty() { "pg_catalog" } else { name })
}

fn relation<'a>(reader: &mut Reader<'a>) -> Result<Relation<'a>, Malformed> {
    let oid = reader.u32("relation id")?;
    let namespace = namespace(reader)?;
    let name = reader.str("table name")?;
    let replica_identity = reader.u8("replica identity")?;
    let count = reader.count("number of columns")?;
    // Grown one by one: the bytes that are there decide, not the number that was claimed.
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(Column {
            in_key: reader.u8("column flags")? & 1 == 1,
            name: reader.str("column name")?,
            type_oid: reader.u32("type id of the column")?,
            type_modifier: reader.i32("type modifier of the column")?,
        });
    }
    Ok(Relation { oid, namespace, name, replica_identity, columns })
}

fn update<'a>(reader: &mut Reader<'a>) -> Result<LogicalMessage<'a>, Malformed> {
    let relation_oid = reader.u32("relation id")?;
    let mut kind = reader.u8("kind of tuple")?;
    if matches!(kind, b'K' | b'O') {
        tuple::skip(reader)?;
        kind = reader.u8("kind of tuple")?;
    }
    if kind != b'N' {
        return Err(reader.malformed("new tuple"));
    }
    tuple::skip(reader)?;
    Ok(LogicalMessage::Update { relation_oid })
}

fn delete<'a>(reader: &mut Reader<'a>) -> Result<LogicalMessage<'a>, Malformed> {
    let relation_oid = reader.u32("relation id")?;
    if !matches!(reader.u8("kind of tuple")?, b'K' | b'O') {
        return Err(reader.malformed("old tuple or key"));
    }
    tuple::skip(reader)?;
    Ok(LogicalMessage::Delete { relation_oid })
}

fn truncate<'a>(reader: &mut Reader<'a>) -> Result<LogicalMessage<'a>, Malformed> {
    let relations = reader.u32("number of relations")?;
    reader.u8("options")?;
    for _ in 0..relations {
        reader.u32("relation id")?;
    }
    Ok(LogicalMessage::Truncate)
}

fn message<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
    Ok(Message {
        transactional: reader.u8("message flags")? & 1 == 1,
        lsn: reader.lsn("message position")?,
        prefix: reader.str("message prefix")?,
        content: reader.sized_bytes("message content")?,
    })
}

#[cfg(test)]
pub(crate) mod tests;
