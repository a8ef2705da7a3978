//! walpost relays a Postgres transactional outbox to Kafka as CloudEvents.

pub mod error;
pub mod lsn;
pub mod secret;

pub mod config;

pub mod postgres;

pub mod pgoutput;

pub mod outbox;

pub mod cloudevent;

pub mod route;

pub mod kafka;

pub mod ledger;

pub mod proof;

pub mod pipeline;

pub mod supervisor;

pub mod status;

pub mod metrics;

pub mod http;

pub mod cli;
