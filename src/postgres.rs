//! Postgres: the connection, the replication stream, and what the catalog says.

pub mod options;
