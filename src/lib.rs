//! walpost relays a Postgres transactional outbox to Kafka as CloudEvents.
pub mod cli;
pub mod cloudevent;
pub mod config;
pub mod http;
pub mod kafka;
pub mod lsn;
pub mod metrics;
pub mod outbox;
pub mod pgoutput;
pub mod postgres;
pub mod secret;
pub mod status;
