//! Postgres: the connection, the replication stream, and what the catalog says.
//!
//! `tokio-postgres` has no CopyBoth mode, so the replication connection is ours from the socket up:
//! [`options`] say where to go, a private connection dials, encrypts and authenticates, and
//! [`replication`] speaks the streaming replication protocol over it. [`catalog`] asks questions in
//! plain SQL through `tokio-postgres`, over a socket that the same code opened and authenticated,
//! so both connections obey the same `sslmode`, `channel_binding` and `target_session_attrs`.
//!
//! Bytes of the server never panic, and no buffer grows past twice of what arrived.

mod auth;
pub mod catalog;
mod connect;
mod connection;
pub mod error;
mod frame;
pub mod identifier;
pub mod options;
pub mod replication;
mod server_message;
pub mod snapshot;
mod socket;
mod stream;
pub mod timestamp;
mod tls;
