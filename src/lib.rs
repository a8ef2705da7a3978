//! walpost relays a Postgres transactional outbox to Kafka as `CloudEvents`.
//!
//! # The way of one row
//!
//! ```text
//!  Postgres ─► connection ─► replication ─► pgoutput ─► outbox ─► cloudevent ─► producer ─► Kafka
//!              bytes⇄frames   CopyBoth:      LogicalMessage  OutboxRow   Event =        enqueue     │
//!              TLS, SCRAM     XLogData,      Begin Relation  typed by    topic, key,    in order    │ delivery
//!                             Keepalive      Insert Commit   role        headers, value             │ reports
//!  Postgres ◄─ status update ◄─ slot may move ◄─ checkpoint written and confirmed ◄─ ledger ◄───────┘
//!              flush = end of the last transaction below which everything is confirmed AND checkpointed
//! ```
//!
//! One direction, one owner of each state, no row waits in a queue between tasks: one task reads,
//! decodes, encodes and enqueues; delivery reports come back as counts. Everything between the
//! socket and the producer is pure: no clock, no I/O, no environment.
//!
//! # Rooms, in the order of reading
//!
//! - [`pipeline`]: the loop; when the slot moves, and what a crash repeats.
//! - [`ledger`]: confirmations → position that may be checkpointed → LSN that may be flushed.
//! - [`supervisor`]: get ready, take the slot, prove, claim, work, begin again.
//! - [`proof`]: whether a stream can go on from its checkpoint without a gap.
//! - [`postgres`]: the connection, the replication stream, what the catalog says.
//! - [`pgoutput`]: bytes → logical message. [`outbox`]: logical message → row, by roles.
//! - [`route`]: topic and key. [`cloudevent`]: row → event, in binary and structured mode.
//! - [`shard`]: which rows are those of one stream of several.
//! - [`request`]: one HTTP request. [`registry`]: the schema that a payload has to fit, from a schema registry.
//! - [`kafka`]: the ordered producer, the checkpoint topic, walpost's own topics.
//! - [`prune`]: which rows are proven delivered, and deleting them.
//! - [`setup`]: what the database needs, as statements.
//! - [`check`]: what a start will find, and what mends it.
//! - [`config`]: one table of all variables. [`cli`]: one file a command.
//! - [`status`], [`metrics`], [`http`]: what the process says of itself.
//! - [`error`]: what went wrong → again, or halt under a code. [`lsn`]: positions.
//!   [`secret`]: texts that cannot be printed. [`crash`], [`mutant`]: where a test may
//!   end the process, and mistakes that it has to notice.
//!
//! # Invariants, and what holds each
//!
//! 1. `flush ≤ checkpoint ≤ confirmed ≤ taken`, and each only grows within a generation: asserted
//!    in [`ledger`], in release too.
//! 2. Bytes from a peer never panic, never allocate more than was received, never recurse: lints,
//!    and property tests of every decoder.
//! 3. Everything has a maximum: frame, row, record, in-flight bytes, relations, topics, back-off.
//! 4. An error is tried again, halts with a code, or ends the process with a code: [`error`]
//!    matches exhaustively.
//! 5. Secrets live in [`secret::Secret`], which cannot be printed; row values reach no log.
//! 6. `unsafe` stands in one room, [`kafka::librdkafka`].
//! 7. Every variable stands in one table, [`config::table`]; help, template, schema and README
//!    follow from it.

pub mod lsn;

pub mod secret;

pub mod crash;

pub mod mutant;

pub mod postgres;

pub mod pgoutput;

pub mod outbox;

pub mod route;

pub mod request;

pub mod registry;

pub mod cloudevent;

pub mod shard;

pub mod kafka;

pub mod ledger;

pub mod proof;

pub mod pipeline;

pub mod supervisor;

pub mod error;

pub mod config;

pub mod prune;

pub mod setup;

pub mod check;

pub mod status;

pub mod metrics;

pub mod http;

pub mod cli;
